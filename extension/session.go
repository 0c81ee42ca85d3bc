package tokenclock

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// session is Session of index.d.ts: a conversation that holds a slot of a load shape until it is over. Its turns are due so
// long after the end of those that they follow; no wait is any request's queue delay.
type session struct {
	i   *instance
	ctx context.Context // of the VU's iteration
	s   *slot           // of the load shape
	id  string

	mu       sync.Mutex // the end of the VU's iteration may look meanwhile
	planned  int
	given    int
	lastNs   int64 // the last end of a turn, 0 = none has ended
	waitNs   int64
	failure  stream.Failure // of the turn that ended it
	cut      bool
	tasks    []task
	finished bool
}

// task is a user's turn with the turns of tools behind it.
type task struct{ beganNs, endNs int64 }

// newSession is `new Session(slot, turns?)`.
func (i *instance) newSession(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	s, ok := call.Argument(0).Export().(*slot)
	if !ok || s.turnAt == nil {
		i.throw(errors.New("new Session: slot is not one of a load of sessions (sessions: true)"))
	}
	if s.over != nil {
		i.throw(errors.New("new Session: the slot has a session already"))
	}
	sess := &session{i: i, ctx: i.vu.Context(), s: s, id: i.root.current().idPrefix + "s" + strconv.Itoa(s.Serial)}
	if turns := call.Argument(1); !sobek.IsUndefined(turns) {
		sess.planned = int(turns.ToInteger())
	}
	s.over = sess.over
	o := i.methods(map[string]func(call sobek.FunctionCall) sobek.Value{
		"turn": func(call sobek.FunctionCall) sobek.Value { return rt.ToValue(sess.turn(call.Argument(0))) },
		"plan": func(call sobek.FunctionCall) sobek.Value {
			sess.mu.Lock()
			defer sess.mu.Unlock()
			sess.planned += int(call.Argument(0).ToInteger())
			return sobek.Undefined()
		},
	})
	if err := o.DefineDataProperty("id", rt.ToValue(sess.id), sobek.FLAG_FALSE, sobek.FLAG_FALSE, sobek.FLAG_TRUE); err != nil {
		i.throw(err)
	}
	return o
}

// turnOptions is TurnOptions of index.d.ts.
type turnOptions struct {
	waitNs      int64
	notBeforeNs int64
	tool        bool
	after       []*slot
	since       bool // after was given
}

func (i *instance) turnOptions(v sobek.Value) turnOptions {
	var o turnOptions
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
	o.waitNs, o.notBeforeNs = ms("waitMs"), ms("notBeforeMs")
	if v := object.Get("tool"); v != nil {
		o.tool = v.ToBoolean()
	}
	if v := object.Get("after"); v != nil && !sobek.IsUndefined(v) {
		var values []sobek.Value
		if err := i.vu.Runtime().ExportTo(v, &values); err != nil {
			i.throw(fmt.Errorf("session.turn: after: %w", err))
		}
		o.since = true
		for _, value := range values {
			s, ok := value.Export().(*slot)
			if !ok || s.session == nil {
				i.throw(errors.New("session.turn: after has a value that is no turn"))
			}
			o.after = append(o.after, s)
		}
	}
	return o
}

// turn is `session.turn(options?)`: a promise of the next turn's slot, null where no more is to be sent.
func (t *session) turn(v sobek.Value) *sobek.Promise {
	o := t.i.turnOptions(v)
	promise, resolve, _ := t.i.vu.Runtime().NewPromise()
	sinceNs := t.since(o)
	dueNs := max(sinceNs+o.waitNs, t.s.scheduledNs+o.notBeforeNs)
	give := func() error { return resolve(t.permit(sinceNs, dueNs, o.tool)) }
	left := time.Duration(dueNs - clock.Now())
	if left <= 0 || t.ended() {
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

// since returns when the turns that the next one follows have ended; before the first that is the session's own time.
func (t *session) since(o turnOptions) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	sinceNs := t.lastNs
	if o.since {
		sinceNs = 0
		for _, s := range o.after {
			sinceNs = max(sinceNs, s.endNs.Load())
		}
	}
	if sinceNs == 0 {
		sinceNs = t.s.scheduledNs
	}
	return sinceNs
}

// ended reports whether a turn has ended the session.
func (t *session) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failure != stream.None || t.finished
}

// permit returns the slot of a turn that is due, nil where none is to be sent.
func (t *session) permit(sinceNs, dueNs int64, tool bool) sobek.Value {
	if t.ended() {
		return sobek.Null()
	}
	phase, ok := tally.Phase(""), false
	if t.ctx.Err() == nil {
		phase, ok = t.s.turnAt(dueNs)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok {
		t.cut = true
		return sobek.Null()
	}
	t.given++
	t.waitNs += max(dueNs-sinceNs, 0)
	if !tool || len(t.tasks) == 0 {
		t.tasks = append(t.tasks, task{beganNs: dueNs})
	}
	s := &slot{
		Level: t.s.Level, Phase: string(phase), Index: t.s.Index, Serial: t.s.Serial, Turn: t.given,
		scheduledNs: dueNs, session: t, tool: tool, task: len(t.tasks) - 1, carried: t.s.carried,
	}
	t.i.root.current().tally.Asked(dueNs)
	return t.i.vu.Runtime().ToValue(s)
}

// turnEnded notes the end of a turn. The session's slot ends with its last one.
func (t *session) turnEnded(s *slot, endNs int64, failure stream.Failure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lastNs = max(t.lastNs, endNs)
	if failure == stream.None {
		t.tasks[s.task].endNs = max(t.tasks[s.task].endNs, endNs)
	} else if t.failure == stream.None {
		t.failure = failure
	}
	t.s.ended(t.lastNs, failure)
}

// over is called when the load shape takes the slot back.
func (t *session) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.finished {
		return
	}
	t.finished = true
	of := tally.Session{
		Level: t.s.Level, Phase: tally.Phase(t.s.Phase), Turns: t.given, NotSent: max(t.planned-t.given, 0), Outcome: tally.SessionCompleted,
		StartNs: t.s.scheduledNs, EndNs: t.lastNs, WaitNs: t.waitNs,
	}
	switch {
	case t.failure == stream.Aborted:
		of.Outcome = tally.SessionAbandoned
	case t.failure == stream.Interrupted || t.failure == stream.None && (t.cut || t.ctx.Err() != nil):
		of.Outcome = tally.SessionCut
	case t.failure != stream.None:
		of.Outcome = tally.SessionFailed
	}
	for _, task := range t.tasks {
		if task.endNs > 0 {
			of.TasksNs = append(of.TasksNs, task.endNs-task.beganNs)
		}
	}
	t.i.root.current().tally.AddSession(&of)
	records.line(sessionLine{
		Type: "session", ID: t.id, Level: of.Level, Phase: of.Phase, Outcome: of.Outcome, Turns: of.Turns, NotSent: of.NotSent,
		StartNs: of.StartNs, EndNs: of.EndNs, WaitNs: of.WaitNs,
	})
}

// sessionLine follows the last turn of a session.
type sessionLine struct {
	Type    string               `json:"type"`
	ID      string               `json:"id"`
	Level   string               `json:"level"`
	Phase   tally.Phase          `json:"phase"`
	Outcome tally.SessionOutcome `json:"outcome"`
	Turns   int                  `json:"turns,omitempty"`
	NotSent int                  `json:"notSent,omitempty"`
	StartNs int64                `json:"startNs,omitempty"`
	EndNs   int64                `json:"endNs,omitempty"`
	WaitNs  int64                `json:"waitNs,omitempty"`
}
