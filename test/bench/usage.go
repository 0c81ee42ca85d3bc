//go:build unix

// Command usage runs another command and writes what it cost, as the kernel counts it for the whole process and the
// children it waited for, to a file: usage [-stop S,S -stop-for DURATION] FILE SECONDS COMMAND ARGS... It ends with the command's exit
// code; a command that takes longer than SECONDS is killed. With -stop the command and its children are stopped (SIGSTOP) those
// seconds after the start, each time for -stop-for.
package main

import (
	"encoding/json"
	"errors"
	"flag"
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
	// StartUnixNs is the wall clock right before the start; as text, for JavaScript's numbers hold no such integer.
	StartUnixNs string `json:"startUnixNs"`
	// StoppedS is how long the command was stopped in all: what was asked for, or less if it ended first.
	StoppedS float64 `json:"stoppedS"`
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

// seconds reads "1.5,6".
func seconds(list string) ([]time.Duration, error) {
	var all []time.Duration
	for _, text := range strings.Split(list, ",") {
		s, err := strconv.ParseFloat(text, 64)
		if err != nil || s <= 0 {
			return nil, fmt.Errorf("-stop %q: numbers of seconds above 0, with commas between", list)
		}
		all = append(all, time.Duration(s*float64(time.Second)))
	}
	return all, nil
}

// stopAt stops a process group at those times behind began, until end is closed, and sends how long it was stopped in all.
func stopAt(group int, began time.Time, at []time.Duration, length time.Duration, end <-chan struct{}) <-chan time.Duration {
	stopped := make(chan time.Duration, 1)
	go func() {
		total := time.Duration(0)
		defer func() { stopped <- total }()
		for _, d := range at {
			select {
			case <-time.After(time.Until(began.Add(d))):
			case <-end:
				return
			}
			since := time.Now()
			if syscall.Kill(-group, syscall.SIGSTOP) != nil {
				return
			}
			time.Sleep(length)
			_ = syscall.Kill(-group, syscall.SIGCONT)
			total += time.Since(since)
		}
	}()
	return stopped
}

func main() {
	stops := flag.String("stop", "", "seconds after the start at which the command is stopped")
	stopFor := flag.Duration("stop-for", 0, "how long it is stopped each time")
	flag.Parse()
	if flag.NArg() < 3 {
		fmt.Fprintln(os.Stderr, "usage [-stop S,S -stop-for DURATION] FILE SECONDS COMMAND ARGS...")
		os.Exit(2)
	}
	file, args := flag.Arg(0), flag.Args()[2:]
	limit, err := strconv.ParseFloat(flag.Arg(1), 64)
	var at []time.Duration
	if err == nil && *stops != "" {
		if at, err = seconds(*stops); err == nil && *stopFor <= 0 {
			err = errors.New("-stop needs a -stop-for above 0")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	command := exec.Command(args[0], args[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A group of its own, so that it is stopped, signalled and killed with its children.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	began := time.Now()
	if err := command.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(127)
	}
	time.AfterFunc(time.Duration(limit*float64(time.Second)), func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) })
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for s := range signals {
			_ = syscall.Kill(-command.Process.Pid, s.(syscall.Signal))
		}
	}()
	stop := make(chan struct{})
	samples := watchMemory(command.Process.Pid, stop)
	stopped := stopAt(command.Process.Pid, began, at, *stopFor, stop)
	_ = command.Wait() // the code says it
	close(stop)
	state := command.ProcessState
	c := cost{
		Code: state.ExitCode(), WallS: time.Since(began).Seconds(),
		UserS: state.UserTime().Seconds(), SystemS: state.SystemTime().Seconds(),
		ResidentMB: <-samples, StartUnixNs: strconv.FormatInt(began.UnixNano(), 10), StoppedS: (<-stopped).Seconds(),
	}
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		c.PeakMB = float64(r.Maxrss) / 1024
		if runtime.GOOS == "darwin" { // bytes there, kilobytes elsewhere
			c.PeakMB /= 1024
		}
	}
	b, err := json.Marshal(c)
	if err == nil {
		err = os.WriteFile(file, b, 0o644)
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
