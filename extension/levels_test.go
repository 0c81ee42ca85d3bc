package tokenclock

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/modulestest"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// vuOn gives one VU's hold on levels.
func vuOn(ctx context.Context, t *testing.T, l *levels) *levelsOf {
	t.Helper()
	vu := modulestest.NewRuntime(t).VU
	vu.CtxField = ctx
	return &levelsOf{i: &instance{root: &rootModule{}, vu: vu}, l: l}
}

func boundLevels(t *testing.T, specs ...levelSpec) (*levels, *run) {
	t.Helper()
	l, err := newLevels(specs)
	require.NoError(t, err)
	r := &run{tally: tally.NewRun(tally.SLO{}), probe: &probe{}}
	l.bind(r)
	return l, r
}

// request pretends to be one request of that slot.
func request(r *run, s *slot, lasts time.Duration) {
	sentNs := clock.Now()
	time.Sleep(lasts)
	endNs := clock.Now()
	s.endNs.Store(endNs)
	r.tally.Add(&tally.Observation{
		Level: s.Level, Phase: tally.Phase(s.Phase), Index: s.Index, ScheduledNs: s.scheduledNs, SentNs: sentNs,
		Result: &stream.Result{Status: 200, LastOutputNs: endNs, EndNs: endNs, OutputTokens: 1},
	})
}

// A collection that holds up the first requests is the client's delay, and a slot must not be due before it is over.
func TestTheCollectorSettlesBeforeAnySlotIsDue(t *testing.T) {
	settle := settleCollector
	t.Cleanup(func() { settleCollector = settle })
	r := &run{tally: tally.NewRun(tally.SLO{}), probe: &probe{}}
	l, _ := boundLevels(t, levelSpec{Name: "c1", Concurrency: 1, Requests: 1})
	schedule, err := newArrivals(arrivalSpec{TraceMs: []float64{0}})
	require.NoError(t, err)
	schedule.run = r
	i := vuOn(t.Context(), t, l).i
	windows := &windowsOf{i: i, w: &windowSet{run: r, specs: map[string]levelSpec{"b1": {}}, index: map[string]int{}}}
	for name, give := range map[string]func() *slot{
		"Levels":   (&levelsOf{i: i, l: l}).Acquire,
		"Arrivals": (&arrivalsOf{i: i, a: schedule}).Next,
		"Windows": func() *slot {
			s, err := windows.Begin("b1", "")
			require.NoError(t, err)
			return s
		},
	} {
		settledNs := int64(0)
		settleCollector = func() {
			time.Sleep(time.Millisecond)
			settledNs = clock.Now()
		}
		s := give()
		require.NotNil(t, s, name)
		require.NotZero(t, settledNs, name)
		require.GreaterOrEqual(t, s.scheduledNs, settledNs, name)
	}
}

func TestLevelsRunOneAfterTheOtherWithTheirConcurrency(t *testing.T) {
	three := 3
	l, r := boundLevels(t,
		levelSpec{Name: "c2", Concurrency: 2, Requests: 20},
		levelSpec{Name: "c8", Concurrency: 8, Requests: 50, WarmupRequests: &three},
		levelSpec{Name: "c4", Concurrency: 4, DurationMs: 60, WarmupMs: 20},
	)
	var inFlight, most [3]atomic.Int64
	at := map[string]int{"c2": 0, "c8": 1, "c4": 2}
	var all sync.WaitGroup
	wants := []int64{2, 8, 4}
	for vu := range uint64(8) {
		h := vuOn(t.Context(), t, l)
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

func TestALevelThatRefillsNoSlotEndsWithItsLastRequest(t *testing.T) {
	zero := 0
	l, r := boundLevels(t, levelSpec{Name: "c4", Concurrency: 4, Requests: 4, WarmupRequests: &zero})
	var all, taken sync.WaitGroup
	taken.Add(4)
	for k := range 4 {
		h := vuOn(t.Context(), t, l)
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

func TestAVUThatVanishesDoesNotHoldItsLevelUp(t *testing.T) {
	zero := 0
	l, r := boundLevels(t,
		levelSpec{Name: "c2", Concurrency: 2, Requests: 4, WarmupRequests: &zero},
		levelSpec{Name: "c1", Concurrency: 1, Requests: 1, WarmupRequests: &zero},
	)
	ctx, cancel := context.WithCancel(t.Context())
	lost := vuOn(ctx, t, l)
	require.NotNil(t, lost.Acquire())
	other := vuOn(t.Context(), t, l)
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

func TestTheRestBehindFruitlessRequestsGrowsAndEndsWithTheFirstThatArrives(t *testing.T) {
	var r rest
	require.Zero(t, r.after(nil))
	gone, there := &slot{}, &slot{}
	gone.ended(1, stream.Connect)
	there.ended(1, stream.HTTP5xx)
	for _, ms := range []time.Duration{5, 10, 20, 40, 80, 100, 100, 100} {
		require.Equal(t, ms*time.Millisecond, r.after(gone))
	}
	require.Zero(t, r.after(there), "a server that says no is there")
	gone.ended(1, stream.TLS)
	require.Equal(t, firstRest, r.after(gone))
}

func TestAClosedLoopDoesNotSpinOnAServerThatIsGone(t *testing.T) {
	zero := 0
	l, r := boundLevels(t,
		levelSpec{Name: "timed", Concurrency: 2, DurationMs: 300, WarmupRequests: &zero},
		levelSpec{Name: "counted", Concurrency: 2, Requests: 10, WarmupRequests: &zero},
	)
	var mu sync.Mutex
	var early int
	var all sync.WaitGroup
	for range 2 {
		h := vuOn(t.Context(), t, l)
		all.Go(func() {
			var lastEndNs int64
			level, pauses := "", rest{}
			for s := h.Acquire(); s != nil; s = h.Acquire() {
				now := clock.Now()
				if s.Level == level {
					gone := &slot{}
					gone.ended(lastEndNs, stream.Connect)
					dueNs := lastEndNs + int64(pauses.after(gone))
					mu.Lock()
					if s.scheduledNs < dueNs || s.scheduledNs > now {
						early++
					}
					mu.Unlock()
				}
				// The rest goes on growing from level to level, as the server is gone from both.
				if level != "" && s.Level != level {
					pauses.fruitless = h.clients[0].rest.fruitless
				}
				level, lastEndNs = s.Level, now
				s.ended(now, stream.Connect)
				r.tally.Add(&tally.Observation{
					Level: s.Level, Phase: tally.Steady, Index: s.Index, ScheduledNs: s.scheduledNs,
					Result: &stream.Result{Failure: stream.Connect, EndNs: now},
				})
			}
		})
	}
	all.Wait()
	out := r.tally.Levels(clock.Now())
	require.Zero(t, early, "a slot is due when the rest is over, not before")
	require.LessOrEqual(t, out[0].Requests, int64(2*8), "5, 10, 20, 40, 80, 100 ms")
	require.GreaterOrEqual(t, out[0].Requests, int64(2))
	require.EqualValues(t, 10, out[1].Requests, "a level of so many requests still ends")
}

func TestLevelsRefuseWhatMakesNoLevel(t *testing.T) {
	for sentence, specs := range map[string][]levelSpec{
		"there is no level":                  {},
		"stands twice":                       {{Name: "a", Concurrency: 1, Requests: 1}, {Name: "a", Concurrency: 1, Requests: 1}},
		"must be at least 1":                 {{Name: "a", Requests: 1}},
		"give either requests or durationMs": {{Name: "a", Concurrency: 1}},
	} {
		_, err := newLevels(specs)
		require.ErrorContains(t, err, sentence)
	}
}
