// Package shape decides when requests are scheduled. A load shape (levels of constant concurrency, windows that a script opens
// itself, or a schedule of arrivals) gives slots: each is the permission to send one request. It knows neither k6 nor
// JavaScript.
package shape

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// Run is the run that a load shape belongs to.
type Run interface {
	// Tally has the levels, their windows, and the count of what was scheduled.
	Tally() *tally.Run
	// LevelOver is called after the last request of a level has ended and its window is closed.
	LevelOver(tally.Spec)
	// LateArrival is called for an arrival that found a VU free only so long after it was due.
	LateArrival(byNs int64)
	// SessionOver is called when a load shape takes a session's slot back.
	SessionOver(id string, of *tally.Session)
}

// VU is what a load shape needs of a virtual user.
type VU interface {
	// LevelBegins is called before the first slot of a level is scheduled. It may take its time.
	LevelBegins(level string)
	// ScheduleBegins is called when a schedule of arrivals has begun at zeroNs.
	ScheduleBegins(stages []Stage, zeroNs int64)
	// Part is what of the load is this instance's.
	Part() Part
}

// Slot is the permission to send one request.
type Slot struct {
	Level  string
	Phase  tally.Phase
	Index  int // of the level's slots
	Serial int // of the load's slots
	Turn   int // of a conversation, from 1; 0 = it is none
	// Members are the numbers of a burst's requests that are this instance's; nil = all are.
	Members []int

	scheduledNs int64
	due         func(ns int64)                                  // opens the window of the slot where it is not open yet; nil = it is
	endNs       atomic.Int64                                    // when its request ended, by the bytes; the end of the VU's iteration may look meanwhile
	unreached   atomic.Bool                                     // its request found no connection
	release     func(ctx context.Context) (ns int64, err error) // waits for the instances' common release of a burst; nil = it is alone
	reserve     func(n int)                                     // takes the next n indices of its level for the other requests of a batch; nil = they are none's
	client      *levelClient                                    // that holds it

	// A slot of a load of sessions: turnAt reports whether a turn that is due then may be sent, and its phase; over is called when the
	// load shape takes the slot back, nil = there is no session.
	turnAt func(dueNs int64) (tally.Phase, bool)
	over   func()
	fresh  bool // of a session that no other one in its place came before: it begins when its first turn has been made

	session *Session // of a turn
	tool    bool     // it hands over results of tools
	task    int      // of its session
}

// Unplanned returns the slot of a request that no load shape asked for, scheduled at nowNs.
func Unplanned(nowNs int64) *Slot { return &Slot{Phase: tally.Steady, scheduledNs: nowNs} }

// ScheduledNs returns the time at which the request is due.
func (s *Slot) ScheduledNs() int64 { return s.scheduledNs }

// Ended notes how the slot's request ended.
func (s *Slot) Ended(endNs int64, failure stream.Failure) {
	s.unreached.Store(failure == stream.Connect || failure == stream.TLS)
	s.endNs.Store(endNs)
	if s.session != nil {
		s.session.turnEnded(s, endNs, failure)
	}
}

// Session returns the id of the session that the slot is a turn of, "" for none, and whether the turn hands over results of
// tools.
func (s *Slot) Session() (id string, tool bool) {
	if s.session == nil {
		return "", false
	}
	return s.session.ID, s.tool
}

// takenBack ends the slot's session, if it has one.
func (s *Slot) takenBack() {
	if s.over != nil {
		s.over()
	}
}

// backoff is the pause of a closed loop's client after each request that found no connection: 5 ms, doubling to 100 ms. Without
// it a server that is gone would get ten thousand attempts a second, each with a record. A request that reaches the server ends it,
// also one that is refused with 429: a load is what the scenario says, and Retry-After is handed to scripts only.
type backoff struct{ failures int }

const (
	firstBackoff   = 5 * time.Millisecond
	longestBackoff = 100 * time.Millisecond
)

// after returns the pause after the client's last request; last may be nil.
func (b *backoff) after(last *Slot) time.Duration {
	if last == nil || !last.unreached.Load() {
		b.failures = 0
		return 0
	}
	d := min(firstBackoff<<b.failures, longestBackoff)
	if d < longestBackoff {
		b.failures++
	}
	return d
}

// Pending reports whether the slot's time is still open, as that of a burst is before its release.
func (s *Slot) Pending() bool { return s.due != nil }

// Release waits until all instances have come to the release of the slot's burst. It returns the time of the release.
func (s *Slot) Release(ctx context.Context) (ns int64, err error) {
	if s.release == nil {
		return clock.Now(), nil
	}
	if ns, err = s.release(ctx); err == nil {
		clock.WaitUntil(ctx, ns)
	}
	return ns, err
}

// Begin makes a pending slot due at ns. That of a burst becomes due with its release: the making of its prompts and connections
// is not the server's time.
func (s *Slot) Begin(ns int64) {
	if s.due != nil {
		s.scheduledNs = ns
		s.due(ns)
		s.due = nil
	}
}

// Twin is the slot of the k-th request of a batch.
func (s *Slot) Twin(k int, scheduledNs int64) *Slot {
	return &Slot{Level: s.Level, Phase: s.Phase, Index: s.Index + k, Serial: s.Serial + k, scheduledNs: scheduledNs}
}

// Reserve takes the next n indices of the slot's level for the other requests of a batch, once.
func (s *Slot) Reserve(n int) {
	if s.reserve != nil && (n > 0 || s.Members != nil) {
		s.reserve(n)
		s.reserve = nil
	}
}

// phaseOf reads the phase that a script names; none is steady.
func phaseOf(name string) (tally.Phase, error) {
	switch phase := tally.Phase(name); phase {
	case "":
		return tally.Steady, nil
	case tally.Warmup, tally.Steady, tally.Drain:
		return phase, nil
	}
	return "", fmt.Errorf("phase %q is not one of warmup, steady, drain", name)
}
