package shape

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// fakeRun is a run that only has figures.
type fakeRun struct {
	tally *tally.Run
	late  []int64 // of arrivals
	over  []string
}

func newRun() *fakeRun { return &fakeRun{tally: tally.NewRun(tally.SLO{})} }

func (r *fakeRun) Tally() *tally.Run                       { return r.tally }
func (r *fakeRun) LevelOver(s tally.Spec)                  { r.over = append(r.over, s.Name) }
func (r *fakeRun) SessionOver(_ string, of *tally.Session) { r.tally.AddSession(of) }

func (r *fakeRun) LateArrival(byNs int64) { r.late = append(r.late, byNs) }

// idleVU is a VU of a run whose server keeps no metrics.
type idleVU struct{}

func (idleVU) LevelBegins(string)            {}
func (idleVU) ScheduleBegins([]Stage, int64) {}
func (idleVU) Part() Part                    { return alone{} }

// levelsVU is one VU's part in levels, in an iteration of that context.
type levelsVU struct {
	*LevelsVU
	ctx context.Context
}

func vuOn(ctx context.Context, l *Levels) levelsVU { return levelsVU{l.VU(idleVU{}), ctx} }

// Acquire is that of a VU whose clients all carry one.
func (v levelsVU) Acquire() *Slot {
	s, _ := v.LevelsVU.Acquire(v.ctx)
	return s
}

func boundLevels(t *testing.T, specs ...LevelSpec) (*Levels, *fakeRun) {
	t.Helper()
	l, err := NewLevels(specs, false)
	require.NoError(t, err)
	r := newRun()
	l.Bind(r)
	return l, r
}

// request pretends to be one request of that slot.
func request(r *fakeRun, s *Slot, lasts time.Duration) {
	sentNs := clock.Now()
	time.Sleep(lasts)
	endNs := clock.Now()
	s.endNs.Store(endNs)
	r.tally.Add(&tally.Observation{
		Level: s.Level, Phase: s.Phase, Index: s.Index, ScheduledNs: s.scheduledNs, SentNs: sentNs,
		Result: &stream.Result{Status: 200, LastOutputNs: endNs, EndNs: endNs, OutputTokens: 1},
	})
}

func TestLevels_OneAfterTheOtherWithTheirConcurrency(t *testing.T) {
	three := 3
	l, r := boundLevels(t,
		LevelSpec{Name: "c2", Concurrency: 2, Requests: 20},
		LevelSpec{Name: "c8", Concurrency: 8, Requests: 50, WarmupRequests: &three},
		LevelSpec{Name: "c4", Concurrency: 4, DurationMs: 60, WarmupMs: 20},
	)
	var inFlight, most [3]atomic.Int64
	at := map[string]int{"c2": 0, "c8": 1, "c4": 2}
	var all sync.WaitGroup
	wants := []int64{2, 8, 4}
	for vu := range uint64(8) {
		h := vuOn(t.Context(), l)
		rng := rand.New(rand.NewPCG(3, vu))
		all.Go(func() {
			for s := h.Acquire(); s != nil; s = h.Acquire() {
				k := at[s.Level]
				now := inFlight[k].Add(1)
				for old := most[k].Load(); now > old && !most[k].CompareAndSwap(old, now); old = most[k].Load() {
				}
				for other := range inFlight {
					if other != k && inFlight[other].Load() != 0 {
						t.Errorf("%s runs while level %d does", s.Level, other)
					}
				}
				// The first of a level wait for one another, so that all its slots are seen in use.
				for until := time.Now().Add(20 * time.Second); int64(s.Index) < wants[k] && most[k].Load() < wants[k] && time.Now().Before(until); {
					time.Sleep(100 * time.Microsecond)
				}
				request(r, s, time.Duration(rng.IntN(3000))*time.Microsecond)
				inFlight[k].Add(-1)
			}
		})
	}
	all.Wait()
	out := r.tally.Levels(clock.Now())
	require.EqualValues(t, 20, out[0].Requests)
	require.EqualValues(t, 2, out[0].WarmupRequests, "one a slot unless told otherwise")
	require.EqualValues(t, 50, out[1].Requests)
	require.EqualValues(t, 3, out[1].WarmupRequests)
	require.Positive(t, out[2].Requests)
	require.InDelta(t, 0.060, out[2].DurationS, 1e-9, "a window bounded by time is as long as asked")
	for k, want := range wants {
		require.Equal(t, want, most[k].Load())
	}
	require.Greater(t, out[1].WindowStartS, out[0].WindowStartS+out[0].DurationS)
}

func TestLevels_WithoutRefillEndWithTheLastRequest(t *testing.T) {
	zero := 0
	l, r := boundLevels(t, LevelSpec{Name: "c4", Concurrency: 4, Requests: 4, WarmupRequests: &zero})
	var all, taken sync.WaitGroup
	taken.Add(4)
	for k := range 4 {
		h := vuOn(t.Context(), l)
		all.Go(func() {
			s := h.Acquire()
			taken.Done()
			taken.Wait() // else a VU that is done might take the slot of one that has not begun
			request(r, s, time.Duration(10+20*k)*time.Millisecond)
			assert.Nil(t, h.Acquire())
		})
	}
	all.Wait()
	out := r.tally.Levels(clock.Now())[0]
	require.EqualValues(t, 4, out.Requests)
	require.GreaterOrEqual(t, out.DurationS, 0.070)
	require.InDelta(t, 4/out.DurationS, out.RequestThroughput, 1e-6, "all four ended inside")
}

func TestLevels_VanishedVUDoesNotHoldThemUp(t *testing.T) {
	zero := 0
	l, r := boundLevels(t,
		LevelSpec{Name: "c2", Concurrency: 2, Requests: 4, WarmupRequests: &zero},
		LevelSpec{Name: "c1", Concurrency: 1, Requests: 1, WarmupRequests: &zero},
	)
	ctx, cancel := context.WithCancel(t.Context())
	lost := vuOn(ctx, l)
	require.NotNil(t, lost.Acquire())
	other := vuOn(t.Context(), l)
	for range 3 {
		s := other.Acquire()
		require.Equal(t, "c2", s.Level)
		request(r, s, time.Millisecond)
	}
	cancel() // as when its script threw
	s := other.Acquire()
	require.Equal(t, "c1", s.Level, "the VU that is left takes the place of the one that is gone")
	request(r, s, time.Millisecond)
	require.Nil(t, other.Acquire())
}

func TestBackoff_GrowsUntilTheServerAnswers(t *testing.T) {
	var r backoff
	require.Zero(t, r.after(nil))
	gone, there := &Slot{}, &Slot{}
	gone.Ended(1, stream.Connect)
	there.Ended(1, stream.HTTP5xx)
	for _, ms := range []time.Duration{5, 10, 20, 40, 80, 100, 100, 100} {
		require.Equal(t, ms*time.Millisecond, r.after(gone))
	}
	require.Zero(t, r.after(there), "a server that answers with an error is there")
	gone.Ended(1, stream.TLS)
	require.Equal(t, firstBackoff, r.after(gone))
}

func TestBackoff_ClosedLoopDoesNotSpin(t *testing.T) {
	zero := 0
	l, r := boundLevels(t,
		LevelSpec{Name: "timed", Concurrency: 2, DurationMs: 300, WarmupRequests: &zero},
		LevelSpec{Name: "counted", Concurrency: 2, Requests: 10, WarmupRequests: &zero},
	)
	var mu sync.Mutex
	var early int
	var all sync.WaitGroup
	for range 2 {
		h := vuOn(t.Context(), l)
		all.Go(func() {
			var lastEndNs int64
			level, pauses := "", backoff{}
			for s := h.Acquire(); s != nil; s = h.Acquire() {
				now := clock.Now()
				if s.Level == level {
					gone := &Slot{}
					gone.Ended(lastEndNs, stream.Connect)
					dueNs := lastEndNs + int64(pauses.after(gone))
					mu.Lock()
					if s.scheduledNs < dueNs || s.scheduledNs > now {
						early++
					}
					mu.Unlock()
				}
				// The backoff goes on growing from level to level, as the server is gone from both.
				if level != "" && s.Level != level {
					pauses.failures = h.clients[0].backoff.failures
				}
				level, lastEndNs = s.Level, now
				s.Ended(now, stream.Connect)
				r.tally.Add(&tally.Observation{
					Level: s.Level, Phase: tally.Steady, Index: s.Index, ScheduledNs: s.scheduledNs,
					Result: &stream.Result{Failure: stream.Connect, EndNs: now},
				})
			}
		})
	}
	all.Wait()
	out := r.tally.Levels(clock.Now())
	require.Zero(t, early, "a slot is due when the backoff is over, not before")
	require.LessOrEqual(t, out[0].Requests, int64(2*8), "5, 10, 20, 40, 80, 100 ms")
	require.GreaterOrEqual(t, out[0].Requests, int64(2))
	require.EqualValues(t, 10, out[1].Requests, "a level of so many requests still ends")
}

func TestLevelsRefuseWhatMakesNoLevel(t *testing.T) {
	for sentence, specs := range map[string][]LevelSpec{
		"there is no level":                  {},
		"stands twice":                       {{Name: "a", Concurrency: 1, Requests: 1}, {Name: "a", Concurrency: 1, Requests: 1}},
		"must be at least 1":                 {{Name: "a", Requests: 1}},
		"give either requests or durationMs": {{Name: "a", Concurrency: 1}},
	} {
		_, err := NewLevels(specs, false)
		require.ErrorContains(t, err, sentence)
	}
}

func TestLevels_VUsHaveAllPlaces(t *testing.T) {
	for _, c := range []struct{ most, perVU int }{{1, 1}, {4, 1}, {10, 4}, {12, 4}, {7, 100}, {1000, 250}} {
		l, err := NewLevels([]LevelSpec{{Name: "a", Concurrency: c.most, BatchSize: 3 * c.most, Requests: 1}, {Name: "b", Concurrency: 1, Requests: 1}}, false)
		require.NoError(t, err)
		vus := (c.most + c.perVU - 1) / c.perVU
		taken := map[int]int{}
		for range vus + 1 {
			clients, err := l.join(t.Context(), idleVU{}, c.perVU)
			require.NoError(t, err)
			for _, client := range clients {
				taken[client.number]++
			}
		}
		require.Len(t, taken, (vus+1)*c.perVU, "%+v: no number twice", c)
		for number := range c.most {
			require.Equal(t, 1, taken[number], "%+v", c)
		}
	}
}

func TestLevels_TimeMayEndBetweenTwoRequests(t *testing.T) {
	zero := 0
	l, _ := boundLevels(t,
		LevelSpec{Name: "timed", Concurrency: 1, DurationMs: 20, WarmupRequests: &zero},
		LevelSpec{Name: "next", Concurrency: 1, Requests: 1, WarmupRequests: &zero},
	)
	clients, err := l.join(t.Context(), idleVU{}, 1)
	require.NoError(t, err)
	s, _ := l.next(t.Context(), clients[0])
	require.Equal(t, "timed", s.Level)
	s.Ended(clock.Now(), stream.None)
	l.giveBack(clients[0])
	for clock.Now() < l.state.closeNs {
		time.Sleep(time.Millisecond)
	}
	s, none := l.next(t.Context(), clients[0])
	require.NotNil(t, s, "%+v: nobody is left who would call it", none)
	require.Equal(t, "next", s.Level)
}

func TestLevels_ClientsAreScheduledAtTheBegin(t *testing.T) {
	zero := 0
	l, r := boundLevels(t,
		LevelSpec{Name: "a", Concurrency: 1, Requests: 1, WarmupRequests: &zero},
		LevelSpec{Name: "b", Concurrency: 3, Requests: 3, WarmupRequests: &zero},
	)
	clients, err := l.join(t.Context(), idleVU{}, 3)
	require.NoError(t, err)
	joined := clock.Now()
	s, _ := l.next(t.Context(), clients[0])
	request(r, s, time.Millisecond)
	l.giveBack(clients[0])
	var scheduled []int64
	for _, c := range clients {
		time.Sleep(2 * time.Millisecond) // the making of the prompt of the client before
		s, _ := l.next(t.Context(), c)
		require.Equal(t, "b", s.Level)
		scheduled = append(scheduled, s.scheduledNs)
	}
	require.Greater(t, scheduled[0], joined)
	require.Equal(t, []int64{scheduled[0], scheduled[0], scheduled[0]}, scheduled, "a client that comes late has a queue delay")
	open, _, _ := r.tally.Window("b")
	require.Equal(t, scheduled[0], open)
	require.Equal(t, tally.Steady, s.Phase)
}

func TestLevelsNameWhatWasNotSent(t *testing.T) {
	l, _ := boundLevels(t, LevelSpec{Name: "c1", Concurrency: 1, Requests: 3}, LevelSpec{Name: "c2", Concurrency: 2, DurationMs: 5})
	l.state.steady = 2
	require.Equal(t, "level c1 began 2 of 3 requests", l.Unsent())
	remaining := func(want int, wantKnown bool) {
		left, known := l.Remaining()
		require.Equal(t, wantKnown, known)
		require.Equal(t, want, left)
	}
	remaining(1, true)
	l.at = 1
	require.Equal(t, "level c2 was not over", l.Unsent())
	remaining(0, false)
	l.at = 2
	require.Empty(t, l.Unsent())
	remaining(0, true)
}
