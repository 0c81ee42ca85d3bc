package shape

import (
	"context"
	"errors"
	"sync"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// Session is a conversation that holds a slot of a load shape until it is over. Its turns are due so long after the end of
// those that they follow; no wait is any request's queue delay.
type Session struct {
	ID string

	run Run
	ctx context.Context // of the VU's iteration
	s   *Slot           // of the load shape

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

// NewSession begins the session of a slot, in an iteration of that context. Turns are planned, 0 = not known.
func NewSession(ctx context.Context, run Run, s *Slot, id string, turns int) (*Session, error) {
	if s == nil || s.turnAt == nil {
		return nil, errors.New("slot is not one of a load of sessions (sessions: true)")
	}
	if s.over != nil {
		return nil, errors.New("the slot has a session already")
	}
	t := &Session{ID: id, run: run, ctx: ctx, s: s, planned: turns}
	s.over = t.over
	return t, nil
}

// Plan adds turns to those that are planned.
func (t *Session) Plan(turns int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.planned += turns
}

// Turn is when the next turn of a session is due: so long after the end of those that it follows, and not before so long after
// the session's begin.
type Turn struct {
	WaitNs      int64
	NotBeforeNs int64
	Tool        bool    // it hands over results of tools
	After       []*Slot // turns that it follows
	Follows     bool    // After counts; without, it follows all that have ended
}

// Due returns when a turn is due, and when those that it follows ended.
func (t *Session) Due(o Turn) (sinceNs, dueNs int64) {
	sinceNs = t.since(o)
	return sinceNs, max(sinceNs+o.WaitNs, t.s.scheduledNs+o.NotBeforeNs)
}

// since returns when the turns that the next one follows have ended; before the first that is the session's own time.
func (t *Session) since(o Turn) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	sinceNs := t.lastNs
	if o.Follows {
		sinceNs = 0
		for _, s := range o.After {
			sinceNs = max(sinceNs, s.endNs.Load())
		}
	}
	if sinceNs == 0 {
		sinceNs = t.s.scheduledNs
	}
	return sinceNs
}

// Over reports whether a turn has ended the session.
func (t *Session) Over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failure != stream.None || t.finished
}

// Permit returns the slot of a turn that is due, nil where none is to be sent.
func (t *Session) Permit(sinceNs, dueNs int64, tool bool) *Slot {
	if t.Over() {
		return nil
	}
	phase, ok := tally.Phase(""), false
	if t.ctx.Err() == nil {
		phase, ok = t.s.turnAt(dueNs)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok {
		t.cut = true
		return nil
	}
	fresh := t.s.fresh && t.given == 0
	t.given++
	t.waitNs += max(dueNs-sinceNs, 0)
	if !tool || len(t.tasks) == 0 {
		t.tasks = append(t.tasks, task{beganNs: dueNs})
	}
	s := &Slot{
		Level: t.s.Level, Phase: phase, Index: t.s.Index, Serial: t.s.Serial, Turn: t.given,
		scheduledNs: dueNs, session: t, tool: tool, task: len(t.tasks) - 1,
	}
	if fresh {
		// A thousand sessions begin at once with the level: making the prompts of all of them is not the server's time.
		s.due = func(ns int64) { t.begin(ns, max(dueNs-sinceNs, 0)) }
	} else {
		t.run.Tally().Scheduled(dueNs)
	}
	return s
}

// begin begins a session whose first turn is due with its request, at ns, behind a wait.
func (t *Session) begin(ns, waitNs int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.s.scheduledNs = ns - waitNs
	t.tasks[0].beganNs = ns
}

// turnEnded notes the end of a turn. The session's slot ends with its last one.
func (t *Session) turnEnded(s *Slot, endNs int64, failure stream.Failure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lastNs = max(t.lastNs, endNs)
	if failure == stream.None {
		t.tasks[s.task].endNs = max(t.tasks[s.task].endNs, endNs)
	} else if t.failure == stream.None {
		t.failure = failure
	}
	t.s.Ended(t.lastNs, failure)
}

// over is called when the load shape takes the slot back.
func (t *Session) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.finished {
		return
	}
	t.finished = true
	of := tally.Session{
		Level: t.s.Level, Phase: t.s.Phase, Turns: t.given, NotSent: max(t.planned-t.given, 0), Outcome: tally.SessionCompleted,
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
	t.run.SessionOver(t.ID, &of)
}
