package module

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/shape"
)

// session is Session of index.d.ts.
type session struct {
	*shape.Session
	i   *instance
	ctx context.Context // of the VU's iteration
	s   *slot           // of the load shape
}

// newSession is `new Session(slot, turns?)`.
func (i *instance) newSession(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	s, _ := call.Argument(0).Export().(*slot)
	turns := 0
	if v := call.Argument(1); !sobek.IsUndefined(v) {
		turns = int(v.ToInteger())
	}
	r := i.root.current()
	var of *shape.Slot
	id := ""
	if s != nil {
		of, id = s.of, r.SessionID(s.Serial)
	}
	held, err := shape.NewSession(i.vu.Context(), shapeRun{r, i.root}, of, id, turns)
	if err != nil {
		i.throw(fmt.Errorf("new Session: %w", err))
	}
	sess := &session{held, i, i.vu.Context(), s}
	o := i.methods(map[string]func(call sobek.FunctionCall) sobek.Value{
		"turn": func(call sobek.FunctionCall) sobek.Value { return rt.ToValue(sess.turn(call.Argument(0))) },
		"plan": func(call sobek.FunctionCall) sobek.Value {
			sess.Plan(int(call.Argument(0).ToInteger()))
			return sobek.Undefined()
		},
	})
	if err := o.DefineDataProperty("id", rt.ToValue(sess.ID), sobek.FLAG_FALSE, sobek.FLAG_FALSE, sobek.FLAG_TRUE); err != nil {
		i.throw(err)
	}
	return o
}

// turnOptions reads TurnOptions of index.d.ts.
func (i *instance) turnOptions(v sobek.Value) shape.Turn {
	var o shape.Turn
	object, ok := v.(*sobek.Object)
	if !ok {
		return o
	}
	ms := func(name string) int64 {
		v := object.Get(name)
		if v == nil || sobek.IsUndefined(v) {
			return 0
		}
		f := v.ToFloat()
		if !(f >= 0 && f <= longestTimeoutMs) {
			i.throw(fmt.Errorf("session.turn: %s is %v; it must be a number of ms from 0 to a month", name, v))
		}
		return int64(f * 1e6)
	}
	o.WaitNs, o.NotBeforeNs = ms("waitMs"), ms("notBeforeMs")
	if v := object.Get("tool"); v != nil {
		o.Tool = v.ToBoolean()
	}
	if v := object.Get("after"); v != nil && !sobek.IsUndefined(v) {
		var values []sobek.Value
		if err := i.vu.Runtime().ExportTo(v, &values); err != nil {
			i.throw(fmt.Errorf("session.turn: after: %w", err))
		}
		o.Follows = true
		for _, value := range values {
			s, ok := value.Export().(*slot)
			if !ok || s.Turn == 0 {
				i.throw(errors.New("session.turn: after has a value that is no turn"))
			}
			o.After = append(o.After, s.of)
		}
	}
	return o
}

// turn is `session.turn(options?)`: a promise of the next turn's slot, null where no more is to be sent.
func (t *session) turn(v sobek.Value) *sobek.Promise {
	o := t.i.turnOptions(v)
	promise, resolve, _ := t.i.vu.Runtime().NewPromise()
	sinceNs, dueNs := t.Due(o)
	give := func() error {
		s := slotOf(t.Permit(sinceNs, dueNs, o.Tool))
		if s == nil {
			return resolve(sobek.Null())
		}
		s.carried = t.s.carried
		return resolve(t.i.vu.Runtime().ToValue(s))
	}
	left := time.Duration(dueNs - clock.Now())
	if left <= 0 || t.Over() {
		t.i.rethrow(give())
		return promise
	}
	enqueue := t.i.vu.RegisterCallback()
	var once sync.Once
	var timer *time.Timer
	var stop func() bool
	due := func() {
		once.Do(func() {
			enqueue(func() error { // on the loop that runs turn now, so both are set
				timer.Stop()
				stop()
				return give()
			})
		})
	}
	timer = time.AfterFunc(left, due)
	stop = context.AfterFunc(t.ctx, due) // the iteration ends only when its callbacks have been called
	return promise
}
