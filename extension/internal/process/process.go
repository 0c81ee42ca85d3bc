// Package process is how the k6 process ends: its exit code, its signals, and the parent that it must not outlive.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"sync/atomic"
	"syscall"
	"time"

	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/js/common"
)

// Events of k6's event system, whose own names are internal to k6. Their words are compared before anything rests on them.
const (
	eventTestStart = 2
	eventExit      = 6
)

// ExitNotValid is the exit code of a run that says nothing about the server; docs/ci.md has the table.
const ExitNotValid = 98

// ExitEndedForAll is the exit code of one of several runners whose run ended early for all of them.
const ExitEndedForAll = 95

// parentVariable names the process that k6 was started by and shall not outlive. Set by this project's own programs.
const parentVariable = "K6_TOKENCLOCK_PARENT_PID"

// End is the end of the process, as far as signals bring it about.
type End struct{ interrupted atomic.Bool }

// Interrupted reports whether a signal ended the run.
func (e *End) Interrupted() bool { return e.interrupted.Load() }

// Watch learns from k6 when the test begins and when the process is about to end. judge gets the exit code that k6 would end
// with and returns the one to end with. Where a VU has no events (in a unit test) nothing is watched.
func (e *End) Watch(vu common.Events, judge func(k6Code int) int) {
	if vu.Global == nil {
		return
	}
	go endWithParent(os.Getenv(parentVariable), os.Getppid)
	_, events := vu.Global.Subscribe(eventTestStart, eventExit)
	go func() {
		for event := range events {
			switch fmt.Sprint(event.Type) {
			case "TestStart":
				// Not before: k6 itself takes signals from here on only, and this would take them away from the system's own rule.
				e.watchSignals()
			case "Exit":
				code := exitCodeIn(event.Data)
				if judged := judge(code); judged != code {
					// Everything that k6 does at its end is done but for its log, which goes to a file or a server in its own time.
					os.Exit(judged)
				}
			}
			event.Done()
		}
	}()
}

// watchSignals remembers that the run was interrupted. A terminal that goes away (HUP) interrupts it as TERM does.
func (e *End) watchSignals() {
	signals := make(chan os.Signal, 4)
	watched := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		watched = append(watched, syscall.SIGHUP)
	}
	signal.Notify(signals, watched...)
	go func() {
		for s := range signals {
			// A second signal ends k6 at once, without its teardown: of a terminal that goes away several may come.
			if again := e.interrupted.Swap(true); s == syscall.SIGHUP && !again {
				terminateSelf()
			}
		}
	}()
}

// endWithParent interrupts this process once its parent is gone, however that ended. pid is in decimal; "" is none.
func endWithParent(pid string, parent func() int) {
	var id int
	if _, err := fmt.Sscan(pid, &id); err != nil {
		return
	}
	if parent() != id && processExists(id) {
		return // a shell or another program stands between
	}
	for parent() == id {
		time.Sleep(500 * time.Millisecond)
	}
	terminateSelf()
}

// Interrupt ends this process as a TERM from outside would: what was measured is written.
func Interrupt() { terminateSelf() }

// exitCodeIn returns the exit code that k6 is going to end with: the event's data has the error of its command.
func exitCodeIn(data any) int {
	v := reflect.Indirect(reflect.ValueOf(data))
	if v.Kind() != reflect.Struct {
		return -1
	}
	field := v.FieldByName("Error")
	if !field.IsValid() {
		return -1
	}
	err, _ := field.Interface().(error)
	if err == nil {
		return 0
	}
	var coded errext.HasExitCode
	if errors.As(err, &coded) {
		return int(coded.ExitCode())
	}
	return -1
}
