// Package module is k6/x/tokenclock: all that JavaScript sees.
package module

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/errext/exitcodes"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/js/modules"

	"github.com/tokenclock/tokenclock/extension/internal/access"
	"github.com/tokenclock/tokenclock/extension/internal/heap"
	"github.com/tokenclock/tokenclock/extension/internal/process"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/run"
)

// Root is one per process: what the VUs share.
type Root struct {
	log    *records.Log
	end    process.End
	run    atomic.Pointer[run.Run]
	mu     sync.Mutex
	m      *llmMetrics
	named  map[string]any // load shapes and pollers by kind and name
	values map[string]any // of shared(), by name

	access  atomic.Pointer[access.Access]
	runners runners

	pollersMu sync.Mutex
	pollers   []*poller

	carriers atomic.Int64 // VUs' iterations that carry clients, less the requests that stand for one, see emitIteration
}

// New returns the module of a process whose records are in log.
func New(log *records.Log) *Root { return &Root{log: log} }

// instance is one per VU.
type instance struct {
	root *Root
	vu   modules.VU
	m    *llmMetrics
	tags tagCache
	io   ioClock
}

var (
	_ modules.Module   = &Root{}
	_ modules.Instance = &instance{}
)

// NewModuleInstance implements modules.Module. The first VU's init registers the metrics.
func (r *Root) NewModuleInstance(vu modules.VU) modules.Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		m, err := registerMetrics(vu.InitEnv().Registry)
		if err != nil {
			common.Throw(vu.Runtime(), err)
		}
		r.m = m
		heap.ExpectVUs()
		r.end.Watch(vu.Events(), r.exitCode)
	}
	return &instance{root: r, vu: vu, m: r.m}
}

// exitCode returns what the process ends with for which k6 itself would end with k6Code.
func (r *Root) exitCode(k6Code int) int {
	// Even where k6 has failed: the other instances must not wait for this one.
	if r.leave() {
		return process.ExitEndedForAll
	}
	if run := r.run.Load(); run != nil {
		return run.ExitCode(k6Code)
	}
	return k6Code
}

// exported is what scripts see, by name: its value for a VU.
var exported = map[string]func(*instance) any{
	"Client":           func(i *instance) any { return i.newClient },
	"Levels":           func(i *instance) any { return i.newLevels },
	"Arrivals":         func(i *instance) any { return i.newArrivals },
	"Windows":          func(i *instance) any { return i.newWindows },
	"Session":          func(i *instance) any { return i.newSession },
	"MetricsPoller":    func(i *instance) any { return i.newPoller },
	"TextFile":         func(i *instance) any { return i.newTextFile },
	"Rows":             func(i *instance) any { return i.newRows },
	"run":              func(i *instance) any { return i.declareRun },
	"report":           func(i *instance) any { return i.report },
	"emitLevelMetrics": func(i *instance) any { return i.emitLevelMetrics },
	"fetch":            func(i *instance) any { return i.fetch },
	"watchCache":       func(i *instance) any { return i.watchCache },
	"refuse":           func(i *instance) any { return i.refuse },
	"shared":           func(i *instance) any { return i.shareValue },
	"settings":         func(i *instance) any { return i.settings },
	"clearOld":         func(i *instance) any { return i.clearOld },
	"writeResult":      func(i *instance) any { return i.writeResult },
	"fileDigest":       func(i *instance) any { return i.fileDigest },
	"conclude":         func(i *instance) any { return i.conclude },
	"joinRunners":      func(i *instance) any { return i.joinRunners },
	"meetRunners":      func(i *instance) any { return i.meetRunners },
}

// Exports implements modules.Instance. k6 makes a function in each VU for each name that a script imports, and calls this at each
// use of one; of the default export it makes one function, and that asks once.
func (i *instance) Exports() modules.Exports {
	named := make(map[string]any, len(exported))
	for name, of := range exported {
		named[name] = of(i)
	}
	return modules.Exports{Default: i.vu.Runtime().NewDynamicObject(members{i}), Named: named}
}

// members is the default export: what has a name, made when it is read.
type members struct{ of *instance }

var _ sobek.DynamicObject = members{}

// Get implements sobek.DynamicObject.
func (m members) Get(name string) sobek.Value {
	if of, ok := exported[name]; ok {
		return m.of.vu.Runtime().ToValue(of(m.of))
	}
	return nil
}

// Has implements sobek.DynamicObject.
func (m members) Has(name string) bool { return exported[name] != nil }

// Keys implements sobek.DynamicObject.
func (m members) Keys() []string { return slices.Sorted(maps.Keys(exported)) }

// Set implements sobek.DynamicObject: scripts cannot change it.
func (m members) Set(string, sobek.Value) bool { return false }

// Delete implements sobek.DynamicObject.
func (m members) Delete(string) bool { return false }

// oncePerProcess returns the object of that kind and name, made by the first VU that asks.
func oncePerProcess[T any](r *Root, kind, name string, make func() (T, error)) (T, error) {
	key := kind + "\x00" + name
	r.mu.Lock()
	v, ok := r.named[key]
	r.mu.Unlock()
	if ok {
		return v.(T), nil
	}
	// Without the lock: what make reads of the script may be a getter that calls this module. The first VU has ended its init
	// before others begin theirs.
	made, err := make()
	if err != nil {
		return made, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.named[key]; ok { // that getter's
		return v.(T), nil
	}
	if r.named == nil {
		r.named = map[string]any{}
	}
	r.named[key] = made
	return made, nil
}

// throw ends the calling JavaScript with an exception.
func (i *instance) throw(err error) { common.Throw(i.vu.Runtime(), err) }

// methods makes an object of native functions. Through sobek's reflection a call costs some microseconds more, which counts
// where a request takes a hundred.
func (i *instance) methods(of map[string]func(call sobek.FunctionCall) sobek.Value) *sobek.Object {
	o := i.vu.Runtime().NewObject()
	for name, method := range of {
		if err := o.Set(name, method); err != nil {
			i.throw(err)
		}
	}
	return o
}

// refusal ends the test with k6's exit code for a bad configuration, as one line without a stack.
type refusal struct{ line string }

func (r refusal) Error() string                { return r.line }
func (r refusal) ExitCode() exitcodes.ExitCode { return exitcodes.InvalidConfig }

// AbortReason and StackTrace make it an errext.Exception, of which k6 shows the trace alone: the line.
func (r refusal) AbortReason() errext.AbortReason { return errext.AbortedByScriptAbort }
func (r refusal) StackTrace() string              { return r.line }

// refuse interrupts the script, which unlike an exception can neither be caught nor be mistaken for the script's fault.
func (i *instance) refuse(line string) {
	i.vu.Runtime().Interrupt(refusal{line})
}

// decode reads a JavaScript object into a Go struct with js tags.
func decode(rt *sobek.Runtime, v sobek.Value, into any) error {
	if v == nil || sobek.IsUndefined(v) || sobek.IsNull(v) {
		return errors.New("an object is missing")
	}
	return rt.ExportTo(v, into)
}
