package shape

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// alone is the part of an instance without others.
type alone struct{}

func (alone) Divided() bool        { return false }
func (alone) Count() int           { return 1 }
func (alone) Share(n int) Share    { return Whole(n) }
func (alone) Meets() bool          { return false }
func (alone) SharesCounters() bool { return false }
func (alone) Meet(context.Context, string, int, bool) (int64, int, error) {
	panic("an instance that is alone meets nobody")
}

// hall is where instances of one process meet.
type hall struct {
	mu   sync.Mutex
	n    int
	came map[string][]int // numbers by place
	full map[string]chan struct{}
}

func newHall(n int) *hall {
	return &hall{n: n, came: map[string][]int{}, full: map[string]chan struct{}{}}
}

func (h *hall) meet(ctx context.Context, at string, number int) (startNs int64, largest int, err error) {
	h.mu.Lock()
	if h.full[at] == nil {
		h.full[at] = make(chan struct{})
	}
	full := h.full[at]
	h.came[at] = append(h.came[at], number)
	if len(h.came[at]) == h.n {
		close(full)
	}
	h.mu.Unlock()
	select {
	case <-full:
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return clock.Now(), slices.Max(h.came[at]), nil
}

// every is the part of instance k of n: every n-th slot and number.
type every struct {
	k, n int
	*hall
}

func (e every) Divided() bool        { return e.n > 1 }
func (e every) Count() int           { return e.n }
func (e every) Meets() bool          { return e.hall != nil }
func (e every) SharesCounters() bool { return false }
func (e every) Meet(ctx context.Context, at string, number int, _ bool) (int64, int, error) {
	return e.meet(ctx, at, number)
}

func (e every) Share(n int) Share {
	slots := (n + e.n - 1 - e.k) / e.n
	if slots == 0 {
		return Share{}
	}
	first := []int{}
	for number := e.k; number < n; number += e.n {
		first = append(first, number)
	}
	return Share{Slots: slots, First: first, Cycle: n}
}

type partVU struct {
	idleVU
	part Part
}

func (v partVU) Part() Part { return v.part }

// given is what of a slot all instances together must have as one would.
type given struct {
	level  string
	phase  tally.Phase
	index  int
	serial int
}

// sendAll has all clients of an instance take their slots to the end, and never two levels at once.
func sendAll(t *testing.T, p Part, specs []LevelSpec, running *sync.Map) []given {
	t.Helper()
	l, _ := boundLevels(t, specs...)
	most := 1
	for _, s := range specs {
		most = max(most, s.Concurrency)
	}
	var mu sync.Mutex
	var out []given
	var all sync.WaitGroup
	for range most {
		v := levelsVU{l.VU(partVU{part: p}), t.Context()}
		all.Go(func() {
			for s := v.Acquire(); s != nil; s = v.Acquire() {
				running.Store(v, s.Level)
				running.Range(func(_, level any) bool {
					if level != s.Level {
						t.Errorf("%s runs while %s does", s.Level, level)
					}
					return true
				})
				mu.Lock()
				out = append(out, given{s.Level, s.Phase, s.Index, s.Serial})
				mu.Unlock()
				running.Delete(v)
			}
		})
	}
	all.Wait()
	require.Empty(t, l.Unsent())
	return out
}

func sorted(of []given) []given {
	slices.SortFunc(of, func(a, b given) int { return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.index, b.index)) })
	return of
}

// The union of all instances' slots is that of one process, and no instance begins a level that another has not come to.
func TestInstancesTogetherGiveTheSlotsOfOne(t *testing.T) {
	three := 3
	specs := []LevelSpec{
		{Name: "c1", Concurrency: 1, Requests: 7},
		{Name: "c2", Concurrency: 2, Requests: 1},
		{Name: "c5", Concurrency: 5, Requests: 23, WarmupRequests: &three},
		{Name: "c3", Concurrency: 3, Requests: 3},
	}
	one := sorted(sendAll(t, alone{}, specs, &sync.Map{}))
	for _, n := range []int{1, 2, 3, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			h := newHall(n)
			var running sync.Map
			parts := make([][]given, n)
			var wait sync.WaitGroup
			for k := range n {
				wait.Go(func() { parts[k] = sendAll(t, every{k, n, h}, specs, &running) })
			}
			wait.Wait()
			require.Equal(t, one, sorted(slices.Concat(parts...)))
		})
	}
}

func TestInstancesTogetherReleaseTheArrivalsAndBurstsOfOne(t *testing.T) {
	spec := ArrivalSpec{Stages: []Stage{{Name: "r", FromRate: 4000, ToRate: 4000, DurationMs: 20}}, Arrival: "poisson", Seed: 3, MaxInFlight: 5}
	const n = 3
	h := newHall(n)
	var mu sync.Mutex
	indices, members := []int{}, map[string][]int{}
	var wait sync.WaitGroup
	for k := range n {
		wait.Go(func() {
			r := newRun()
			a, err := NewArrivals(spec)
			require.NoError(t, err)
			a.Bind(r)
			v := a.VU(partVU{part: every{k, n, h}})
			for s, _ := v.Next(t.Context()); s != nil; s, _ = v.Next(t.Context()) {
				mu.Lock()
				indices = append(indices, s.Index)
				mu.Unlock()
			}
			require.Empty(t, a.Unsent())
			w, err := NewWindows([]LevelSpec{{Name: "b2", BatchSize: 2}, {Name: "b7", BatchSize: 7}})
			require.NoError(t, err)
			w.Bind(r)
			burst := w.VU(partVU{part: every{k, n, h}})
			for _, name := range []string{"b2", "b7"} {
				s, err := burst.Begin(t.Context(), name, "", 0)
				require.NoError(t, err)
				require.NotNil(t, s.Members)
				s.Reserve(len(s.Members) - 1)
				ns, err := s.Release(t.Context())
				require.NoError(t, err)
				if len(s.Members) > 0 {
					s.Begin(ns)
				}
				mu.Lock()
				members[name] = append(members[name], s.Members...)
				mu.Unlock()
				require.NoError(t, burst.End(t.Context(), name))
				again, err := burst.Begin(t.Context(), name, "warmup", 0)
				require.NoError(t, err)
				require.Equal(t, map[string]int{"b2": 2, "b7": 7}[name], again.Index, "the others' requests have indices, too")
				_, err = again.Release(t.Context())
				require.NoError(t, err)
			}
			require.Empty(t, w.Unsent())
		})
	}
	wait.Wait()
	a, err := NewArrivals(spec)
	require.NoError(t, err)
	slices.Sort(indices)
	require.Len(t, indices, a.Len())
	for k, index := range indices {
		require.Equal(t, k, index)
	}
	for name, size := range map[string]int{"b2": 2, "b7": 7} {
		slices.Sort(members[name])
		require.Len(t, members[name], size)
		require.Equal(t, size-1, members[name][size-1])
	}
}

func TestParts_WithoutAPlaceToMeetAreRefused(t *testing.T) {
	vu := partVU{part: every{0, 2, nil}}
	l, _ := boundLevels(t, LevelSpec{Name: "c1", Concurrency: 1, Requests: 1})
	_, err := l.VU(vu).Acquire(t.Context())
	require.ErrorContains(t, err, "no way to begin together: set RUNNERS and COORDINATOR")
	a, err := NewArrivals(ArrivalSpec{TraceMs: []float64{0}})
	require.NoError(t, err)
	_, err = a.VU(vu).Next(t.Context())
	require.ErrorContains(t, err, "no way to begin together")
	w, err := NewWindows([]LevelSpec{{Name: "b2", BatchSize: 2}})
	require.NoError(t, err)
	_, err = w.VU(vu).Begin(t.Context(), "b2", "", 0)
	require.ErrorContains(t, err, "no way to begin together")
	turns, _ := boundLevels(t, LevelSpec{Name: "c1", Concurrency: 2, Sessions: true, Turns: 4})
	_, err = turns.VU(partVU{part: every{0, 2, newHall(2)}}).Acquire(t.Context())
	require.ErrorContains(t, err, "REQUESTS counts the turns of all sessions together")
}
