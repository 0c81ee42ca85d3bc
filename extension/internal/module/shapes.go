package module

import (
	"context"
	"errors"
	"fmt"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/heap"
	"github.com/tokenclock/tokenclock/extension/internal/host"
	"github.com/tokenclock/tokenclock/extension/internal/run"
	"github.com/tokenclock/tokenclock/extension/internal/shape"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// slot is Slot of index.d.ts.
type slot struct {
	Level   string `js:"level"`
	Phase   string `js:"phase"`
	Index   int    `js:"index"`
	Serial  int    `js:"serial"`
	Members any    `js:"members"` // of a burst: []int; nil = all are this instance's
	Turn    int    `js:"turn"`    // of a conversation, from 1; 0 = it is none

	of      *shape.Slot
	carried bool           // a carrier sends it
	promise *sobek.Promise // what client.start returned for it
	then    func() error   // called on the VU's event loop once that promise is resolved
}

// slotOf returns a slot as JavaScript sees it; nil for nil.
func slotOf(s *shape.Slot) *slot {
	if s == nil {
		return nil
	}
	out := &slot{Level: s.Level, Phase: string(s.Phase), Index: s.Index, Serial: s.Serial, Turn: s.Turn, of: s}
	if s.Members != nil {
		out.Members = s.Members
	}
	return out
}

// slotOrNone makes the slot of a request that no load shape asked for.
func (i *instance) slotOrNone(s *slot) *slot {
	now := clock.Now()
	switch {
	case s == nil:
		s = slotOf(shape.Unplanned(now))
	case s.of.Pending(): // a single request of a burst's level
		s.of.Begin(now)
	default:
		return s
	}
	i.root.current().Tally().Scheduled(s.of.ScheduledNs())
	return s
}

// settleHeap is called before a load shape schedules a slot: a collection that holds up the first requests would be the
// client's delay.
var settleHeap = func() { heap.Settle() }

// needConnections refuses a load that this host cannot carry, before it begins.
func (i *instance) needConnections(most int) {
	most = (most + max(i.root.runners.count, 1) - 1) / max(i.root.runners.count, 1) // this instance's part
	heap.DeclareStreams(most)
	if err := host.CheckCapacity(most); err != nil {
		i.refuse("tokenclock: " + err.Error())
	}
}

// load is a load shape that all VUs of the process share.
type load interface {
	run.Load
	Bind(shape.Run)
	MostInFlight() int
}

// sharedLoad returns the load shape of that kind and name. The first VU that asks makes it.
func sharedLoad[L load](i *instance, kind, name string, make func() (L, error)) (L, error) {
	l, err := oncePerProcess(i.root, kind, name, func() (L, error) {
		l, err := make()
		if err == nil {
			i.needConnections(l.MostInFlight())
		}
		return l, err
	})
	if err == nil {
		r := i.root.current()
		l.Bind(shapeRun{r, i.root})
		r.AddLoad(l)
	}
	return l, err
}

// shapeRun is the run as a load shape sees it.
type shapeRun struct {
	*run.Run
	root *Root
}

// LevelOver implements shape.Run.
func (r shapeRun) LevelOver(s tally.Spec) {
	r.root.levelEnds(s.Name)
	r.Run.LevelOver(s)
}

// LevelBegins implements shape.VU.
func (i *instance) LevelBegins(level string) { i.levelBegins(level) }

// ScheduleBegins implements shape.VU.
func (i *instance) ScheduleBegins(stages []shape.Stage, zeroNs int64) {
	i.watchStages(i.vu.Context(), stages, zeroNs)
}

// orNull is a slot for JavaScript; null for nil.
func (i *instance) orNull(s *shape.Slot) sobek.Value {
	if s == nil {
		return sobek.Null()
	}
	return i.vu.Runtime().ToValue(slotOf(s))
}

// each is the method of that name of a load shape.
func (i *instance) each(what string, f func(ctx context.Context, loop shape.Loop, clients int, send shape.Send) error) func(call sobek.FunctionCall) sobek.Value {
	return func(call sobek.FunctionCall) sobek.Value {
		clients := i.clientsArgument(what, call.Argument(0))
		functions := i.callbacksOf(what, call.Argument(1), call.Argument(2))
		settleHeap()
		c := newCarrier(i, functions)
		i.rethrow(f(i.vu.Context(), i.vu, clients, c.send))
		return sobek.Undefined()
	}
}

// newLevels is `new Levels(name, specs)`.
func (i *instance) newLevels(call sobek.ConstructorCall) *sobek.Object {
	between, hasBetween := sobek.AssertFunction(call.Argument(2))
	if !hasBetween && !sobek.IsUndefined(call.Argument(2)) {
		i.throw(errors.New("new Levels: between is not a function"))
	}
	l, err := sharedLoad(i, "levels", call.Argument(0).String(), func() (*shape.Levels, error) {
		var specs []shape.LevelSpec
		if err := decode(i.vu.Runtime(), call.Argument(1), &specs); err != nil {
			return nil, err
		}
		return shape.NewLevels(specs, hasBetween)
	})
	if err != nil {
		i.throw(fmt.Errorf("new Levels: %w", err))
	}
	h := l.VU(i)
	if hasBetween {
		h.Between = func() error {
			_, err := between(sobek.Undefined())
			return err
		}
	}
	return i.methods(map[string]func(call sobek.FunctionCall) sobek.Value{
		"acquire": func(sobek.FunctionCall) sobek.Value {
			settleHeap()
			s, err := h.Acquire(i.vu.Context())
			i.rethrow(err)
			return i.orNull(s)
		},
		"each": i.each("levels.each", h.Each),
	})
}

// newArrivals is `new Arrivals(name, spec)`.
func (i *instance) newArrivals(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	a, err := sharedLoad(i, "arrivals", call.Argument(0).String(), func() (*shape.Arrivals, error) {
		var spec shape.ArrivalSpec
		if err := decode(rt, call.Argument(1), &spec); err != nil {
			return nil, err
		}
		return shape.NewArrivals(spec)
	})
	if err != nil {
		i.throw(fmt.Errorf("new Arrivals: %w", err))
	}
	h := a.VU(i)
	o := i.methods(map[string]func(call sobek.FunctionCall) sobek.Value{
		"next": func(sobek.FunctionCall) sobek.Value {
			settleHeap()
			s, err := h.Next(i.vu.Context())
			if err != nil {
				i.throw(err)
			}
			return i.orNull(s)
		},
		"slot": func(call sobek.FunctionCall) sobek.Value { return i.orNull(h.At(int(call.Argument(0).ToInteger()))) },
		"each": i.each("arrivals.each", h.Each),
	})
	if err := o.DefineDataProperty("count", rt.ToValue(a.Len()), sobek.FLAG_FALSE, sobek.FLAG_FALSE, sobek.FLAG_TRUE); err != nil {
		i.throw(err)
	}
	return o
}

// windows is Windows of index.d.ts.
type windows struct {
	i *instance
	h *shape.WindowsVU
}

// newWindows is `new Windows(name, specs)`.
func (i *instance) newWindows(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	var specs []shape.LevelSpec
	if err := decode(rt, call.Argument(1), &specs); err != nil {
		i.throw(fmt.Errorf("new Windows: %w", err))
	}
	w, err := sharedLoad(i, "windows", call.Argument(0).String(), func() (*shape.Windows, error) { return shape.NewWindows(specs) })
	if err != nil {
		i.throw(fmt.Errorf("new Windows: %w", err))
	}
	return rt.ToValue(&windows{i: i, h: w.VU(i)}).ToObject(rt)
}

// Declare is `windows.declare(level)`.
func (w *windows) Declare(spec shape.LevelSpec) error { return w.h.Declare(spec) }

// Now is `windows.now()`.
func (w *windows) Now() float64 { return float64(clock.Now()) / 1e6 }

// Begin is `windows.begin(level, phase?, dueMs?)`.
func (w *windows) Begin(level, phase string, dueMs float64) (*slot, error) {
	settleHeap()
	s, err := w.h.Begin(w.i.vu.Context(), level, phase, int64(dueMs*1e6))
	return slotOf(s), err
}

// End is `windows.end(level)`.
func (w *windows) End(level string) error { return w.h.End(w.i.vu.Context(), level) }
