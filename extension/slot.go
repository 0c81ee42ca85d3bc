package tokenclock

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// slot is Slot of index.d.ts: the permission to send one request.
type slot struct {
	Level  string `js:"level"`
	Phase  string `js:"phase"`
	Index  int    `js:"index"`
	Serial int    `js:"serial"`
	Turn   int    `js:"turn"` // of a conversation, from 1; 0 = it is none

	scheduledNs int64
	due         func(ns int64) // opens the window of the slot where it is not open yet; nil = it is
	endNs       atomic.Int64   // when its request ended, by the bytes; the end of the VU's iteration may look meanwhile
	unreached   atomic.Bool    // its request found no connection
	reserve     func(n int)    // takes the next n indices of its level for the other requests of a batch; nil = they are none's

	// A slot of a load of sessions: turnAt says whether a turn that is due then may be sent, and its phase; over is called when the
	// load shape takes the slot back, nil = there is no session.
	turnAt func(dueNs int64) (tally.Phase, bool)
	over   func()

	session *session // of a turn
	tool    bool     // it hands over results of tools
	task    int      // of its session

	carried bool           // a carrier sends it
	promise *sobek.Promise // what client.start returned for it
	then    func() error   // called on the VU's event loop once that promise is resolved
}

// ended notes how the slot's request ended.
func (s *slot) ended(endNs int64, failure stream.Failure) {
	s.unreached.Store(failure == stream.Connect || failure == stream.TLS)
	s.endNs.Store(endNs)
	if s.session != nil {
		s.session.turnEnded(s, endNs, failure)
	}
}

// takenBack tells the slot's session that it is over.
func (s *slot) takenBack() {
	if s.over != nil {
		s.over()
	}
}

// rest is what a VU of a closed loop takes behind each request that never reached the server: a refused connection ends in
// no time, and without a rest a server that is gone would be asked ten thousand times a second, each time with a record.
// It grows from firstRest to longestRest, and a request that reaches the server ends it.
type rest struct{ fruitless int }

const (
	firstRest   = 5 * time.Millisecond
	longestRest = 100 * time.Millisecond
)

// after returns the rest behind the VU's last request; last may be nil.
func (r *rest) after(last *slot) time.Duration {
	if last == nil || !last.unreached.Load() {
		r.fruitless = 0
		return 0
	}
	d := min(firstRest<<r.fruitless, longestRest)
	if d < longestRest {
		r.fruitless++
	}
	return d
}

// begin makes the slot due. That of a burst becomes due with its release: the making of its prompts and connections is not
// the server's time.
func (s *slot) begin(ns int64) {
	if s.due != nil {
		s.scheduledNs = ns
		s.due(ns)
		s.due = nil
	}
}

// slotOrNone makes the slot of a request that no load shape asked for.
func (i *instance) slotOrNone(s *slot) *slot {
	if s != nil {
		if s.due != nil { // a single request of a burst's level
			s.begin(clock.Now())
			i.root.current().tally.Asked(s.scheduledNs)
		}
		return s
	}
	s = &slot{Phase: string(tally.Steady), scheduledNs: clock.Now()}
	i.root.current().tally.Asked(s.scheduledNs)
	return s
}

// twin is the slot of the k-th request of a batch.
func (s *slot) twin(k int, scheduledNs int64) *slot {
	return &slot{Level: s.Level, Phase: s.Phase, Index: s.Index + k, Serial: s.Serial + k, scheduledNs: scheduledNs}
}

// inParallel calls f for 0 to n-1, at most width calls at a time.
func inParallel(n, width int, f func(k int)) {
	var all sync.WaitGroup
	next := make(chan int)
	for range min(n, width) {
		all.Go(func() {
			for k := range next {
				f(k)
			}
		})
	}
	for k := range n {
		next <- k
	}
	close(next)
	all.Wait()
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
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
