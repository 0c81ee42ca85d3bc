package tokenclock

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"syscall"
	"time"

	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/errext/exitcodes"
	"go.k6.io/k6/v2/js/modules"
)

// Events of k6's event system, whose own names are internal to k6. Their words are compared before anything rests on them.
const (
	eventTestStart = 2
	eventExit      = 6
)

// exitNotValid is the exit code of a run that says nothing about the server; docs/ci.md has the table.
const exitNotValid = 98

// parentVariable names the process that k6 was started by and shall not outlive. Set by this project's own programs.
const parentVariable = "K6_TOKENCLOCK_PARENT_PID"

// watchEnd learns from k6 when the test begins and when the process is about to end.
func (r *rootModule) watchEnd(vu modules.VU) {
	global := vu.Events().Global
	if global == nil {
		return // a VU of a unit test
	}
	go endWithParent(os.Getenv(parentVariable), os.Getppid)
	_, events := global.Subscribe(eventTestStart, eventExit)
	go func() {
		for e := range events {
			switch fmt.Sprint(e.Type) {
			case "TestStart":
				// Not before: k6 itself takes signals from here on only, and this would take them away from the system's own rule.
				r.watchSignals()
			case "Exit":
				code := exitCodeIn(e.Data)
				if judged := r.exitCode(code); judged != code {
					// Everything that k6 does at its end is done but for its log, which goes to a file or a server in its own time.
					os.Exit(judged)
				}
			}
			e.Done()
		}
	}()
}

// watchSignals remembers that the run was interrupted. A terminal that goes away (HUP) interrupts it as TERM does.
func (r *rootModule) watchSignals() {
	signals := make(chan os.Signal, 4)
	watched := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		watched = append(watched, syscall.SIGHUP)
	}
	signal.Notify(signals, watched...)
	go func() {
		for s := range signals {
			// A second signal ends k6 at once, without its teardown: of a terminal that goes away several may come.
			if again := r.interrupted.Swap(true); s == syscall.SIGHUP && !again {
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

// exitCode returns what a run ends with for which k6 itself would end with k6Code. k6's own codes stand but for 0 and that
// of crossed thresholds: those know nothing of what makes a run invalid.
func (r *rootModule) exitCode(k6Code int) int {
	run := r.run.Load()
	if run == nil || !run.judged || k6Code != 0 && k6Code != int(exitcodes.ThresholdsHaveFailed) {
		return k6Code
	}
	if judged := run.concluded.Load(); judged == nil {
		run.logError("tokenclock: nobody judged this run: its handleSummary did not run (--summary-mode=disabled?) or failed")
		return exitNotValid
	} else if *judged != 0 {
		return *judged
	}
	if err := records.failure(); err != nil {
		run.logError(fmt.Sprintf("tokenclock: the records are not whole: %v", err))
		return exitNotValid
	}
	return k6Code
}

// conclude is `conclude(code)`: what the run came to.
func (i *instance) conclude(code int) {
	i.root.current().concluded.Store(&code)
}

// shape is a load that knows whether all of it was sent.
type shape interface {
	// unsent says in words what of the load was not sent, "" when all was.
	unsent() string
}

// How a run ended.
const (
	endedComplete    = "complete"    // all of the load was sent and waited for
	endedCut         = "cut"         // MAX_DURATION, an abort or a request through k6's REST API ended it
	endedInterrupted = "interrupted" // by a signal
)

// ended returns how the run ended, for when it has, and what of its load is missing.
func (r *run) ended() (how, missing string) {
	r.shapesMu.Lock()
	shapes := slices.Clone(r.shapes)
	r.shapesMu.Unlock()
	for _, s := range shapes {
		if missing = s.unsent(); missing != "" {
			break
		}
	}
	if n := r.tally.Interrupted(); missing == "" && n > 0 {
		missing = fmt.Sprintf("%d requests were cut off by the end of the run", n)
	}
	switch {
	case r.root != nil && r.root.interrupted.Load():
		return endedInterrupted, missing
	case missing != "":
		return endedCut, missing
	}
	return endedComplete, ""
}

// addShape makes a load count in how the run ended, once.
func (r *run) addShape(s shape) {
	r.shapesMu.Lock()
	defer r.shapesMu.Unlock()
	if !slices.Contains(r.shapes, s) {
		r.shapes = append(r.shapes, s)
	}
}

func (r *run) logError(line string) {
	if r.logger != nil {
		r.logger.Error(line)
	}
}
