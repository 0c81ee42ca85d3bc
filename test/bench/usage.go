//go:build unix

// Command usage runs another command and writes what it cost, as the kernel counts it for the whole process and the
// children it waited for, to a file: usage FILE SECONDS COMMAND ARGS... It ends with the command's exit code; a command
// that takes longer than SECONDS is killed.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cost is what the file holds.
type cost struct {
	Code    int     `json:"code"`
	UserS   float64 `json:"userS"`
	SystemS float64 `json:"systemS"`
	WallS   float64 `json:"wallS"`
	PeakMB  float64 `json:"peakMB"` // largest resident set
	// The command's own resident set, every sampleMs; without /proc nobody says it.
	ResidentMB []float64 `json:"residentMB,omitempty"`
}

const sampleMs = 500

// residentMB reads the resident set of a process; false where there is no such process or no /proc.
func residentMB(pid int) (float64, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(b)) // pages: size, resident, ...
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	// A process that has ended and was not waited for yet has no pages.
	return pages * float64(os.Getpagesize()) / (1 << 20), err == nil && pages > 0
}

// watchMemory samples the resident set of a process until stop is closed, and sends all samples then.
func watchMemory(pid int, stop <-chan struct{}) <-chan []float64 {
	samples := make(chan []float64, 1)
	go func() {
		var all []float64
		ticker := time.NewTicker(sampleMs * time.Millisecond)
		defer ticker.Stop()
		for {
			if mb, ok := residentMB(pid); ok {
				all = append(all, mb)
			}
			select {
			case <-ticker.C:
			case <-stop:
				samples <- all
				return
			}
		}
	}()
	return samples
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage FILE SECONDS COMMAND ARGS...")
		os.Exit(2)
	}
	limit, err := strconv.ParseFloat(os.Args[2], 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	command := exec.Command(os.Args[3], os.Args[4:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	began := time.Now()
	if err := command.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(127)
	}
	time.AfterFunc(time.Duration(limit*float64(time.Second)), func() { _ = command.Process.Kill() })
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for s := range signals {
			_ = command.Process.Signal(s)
		}
	}()
	stop := make(chan struct{})
	samples := watchMemory(command.Process.Pid, stop)
	_ = command.Wait() // the code says it
	close(stop)
	state := command.ProcessState
	c := cost{
		Code: state.ExitCode(), WallS: time.Since(began).Seconds(),
		UserS: state.UserTime().Seconds(), SystemS: state.SystemTime().Seconds(),
		ResidentMB: <-samples,
	}
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		c.PeakMB = float64(r.Maxrss) / 1024
		if runtime.GOOS == "darwin" { // bytes there, kilobytes elsewhere
			c.PeakMB /= 1024
		}
	}
	b, err := json.Marshal(c)
	if err == nil {
		err = os.WriteFile(os.Args[1], b, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if c.Code < 0 { // killed
		os.Exit(1)
	}
	os.Exit(c.Code)
}
