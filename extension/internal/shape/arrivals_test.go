package shape

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

func TestConstantArrivalsAreEvenlySpaced(t *testing.T) {
	a, err := NewArrivals(ArrivalSpec{Stages: []Stage{{Name: "r4", FromRate: 4, ToRate: 4, DurationMs: 2000}}})
	require.NoError(t, err)
	require.Len(t, a.offsetsNs, 8)
	for i, ns := range a.offsetsNs {
		require.InDelta(t, float64(i)*0.25e9, float64(ns), 10)
	}
}

func TestRampFollowsTheIntegralOfItsRate(t *testing.T) {
	// From 0 to 10 requests/s in 10 s: the n-th comes when t²/2 = n.
	a, err := NewArrivals(ArrivalSpec{Stages: []Stage{
		{Name: "up", FromRate: 0, ToRate: 10, DurationMs: 10_000}, {Name: "hold", FromRate: 10, ToRate: 10, DurationMs: 1000},
	}})
	require.NoError(t, err)
	require.Len(t, a.offsetsNs, 60)
	for i := range 50 {
		require.InDelta(t, math.Sqrt(2*float64(i)), float64(a.offsetsNs[i])/1e9, 1e-6)
		require.Equal(t, 0, a.stageOf[i])
	}
	require.InDelta(t, 10.0, float64(a.offsetsNs[50])/1e9, 1e-6)
	require.Equal(t, 1, a.stageOf[50])
}

func TestArrivals_RandomOnesHaveTheirRateAndVariation(t *testing.T) {
	for _, c := range []struct {
		sentence string
		spec     ArrivalSpec
		cv       float64
	}{
		{"exponential gaps vary as much as their mean", ArrivalSpec{Arrival: "poisson", Seed: 7}, 1},
		{"gamma gaps with CV 3 are bursty", ArrivalSpec{Arrival: "gamma", CV: 3, Seed: 7}, 3},
		{"gamma gaps with CV 0.5 are smoother than Poisson", ArrivalSpec{Arrival: "gamma", CV: 0.5, Seed: 7}, 0.5},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			c.spec.Stages = []Stage{{Name: "r", FromRate: 1000, ToRate: 1000, DurationMs: 100_000}}
			a, err := NewArrivals(c.spec)
			require.NoError(t, err)
			n := len(a.offsetsNs)
			require.InEpsilon(t, 100_000, n, 0.05*math.Max(1, c.cv))
			sum, squares := 0.0, 0.0
			for i := 1; i < n; i++ {
				gap := float64(a.offsetsNs[i]-a.offsetsNs[i-1]) / 1e9
				sum += gap
				squares += gap * gap
			}
			mean := sum / float64(n-1)
			cv := math.Sqrt(squares/float64(n-1)-mean*mean) / mean
			require.InEpsilon(t, c.cv, cv, 0.05)
			again, err := NewArrivals(c.spec)
			require.NoError(t, err)
			require.Equal(t, a.offsetsNs, again.offsetsNs, "the same seed gives the same schedule")
		})
	}
}

func TestTraceIsTakenAsItIs(t *testing.T) {
	a, err := NewArrivals(ArrivalSpec{TraceMs: []float64{0, 0, 12.5, 100}})
	require.NoError(t, err)
	require.Equal(t, []int64{0, 0, 12_500_000, 100_000_000}, a.offsetsNs)
	_, err = NewArrivals(ArrivalSpec{TraceMs: []float64{5, 4}})
	require.ErrorContains(t, err, "trace offset 1 is 4 ms")
}

// 150 rows 1 ms apart, taken in the order in which VUs happen to wake: row k is sent at row k's time.
func TestArrivals_RowIsSentAtItsOwnTime(t *testing.T) {
	offsets := make([]float64, 150)
	for k := range offsets {
		offsets[k] = float64(k)
	}
	a, err := NewArrivals(ArrivalSpec{TraceMs: offsets})
	require.NoError(t, err)
	a.Bind(newRun())
	a.open(1e9)
	for _, k := range rand.New(rand.NewPCG(1, 2)).Perm(len(offsets)) {
		s := a.slot(k)
		require.Equal(t, []int64{int64(k), 1e9 + int64(k)*1e6}, []int64{int64(s.Index), s.scheduledNs})
	}
}

// What lib makes of WARMUP=1s and RATE=20,40.
func TestArrivals_WarmUpBearsTheNameOfItsStage(t *testing.T) {
	a, err := NewArrivals(ArrivalSpec{Stages: []Stage{
		{Name: "r20", FromRate: 5, ToRate: 5, DurationMs: 1000, Phase: "warmup"},
		{Name: "r20", FromRate: 20, ToRate: 20, DurationMs: 1000}, {Name: "r40", FromRate: 40, ToRate: 40, DurationMs: 1000},
	}})
	require.NoError(t, err)
	a.Bind(newRun())
	a.open(1e9)
	indices := map[string][]int{}
	for k := range a.offsetsNs {
		s := a.slot(k)
		indices[s.Level+" "+string(s.Phase)] = append(indices[s.Level+" "+string(s.Phase)], s.Index)
	}
	require.Equal(t, []int{0, 1, 2, 3, 4}, indices["r20 warmup"])
	require.Equal(t, []int{5, 24}, []int{indices["r20 steady"][0], indices["r20 steady"][19]}, "no index of a level comes twice")
	require.Equal(t, 0, indices["r40 steady"][0])
	levels := a.run.Tally().Levels(10e9)
	require.Len(t, levels, 2)
	require.Equal(t, []float64{20, 40}, []float64{levels[0].Rate, levels[1].Rate}, "a level has the rate of its steady part")
	require.InDelta(t, 2.0, levels[0].WindowStartS, 1e-9, "its window opens behind the warm-up")
}

func TestArrivals_LabelLevelsWhoseRateChanges(t *testing.T) {
	for why, c := range map[string]struct {
		spec ArrivalSpec
		want map[string]any
	}{
		"a constant rate": {ArrivalSpec{Stages: []Stage{{Name: "r2", FromRate: 2, ToRate: 2, DurationMs: 1000, Labels: map[string]any{"k": 1}}}}, map[string]any{"k": 1}},
		"a ramp": {
			ArrivalSpec{Stages: []Stage{{Name: "s1", FromRate: 0, ToRate: 20, DurationMs: 1000, Labels: map[string]any{"k": 1}}}},
			map[string]any{"k": 1, "load": "changing"},
		},
		"a pattern": {ArrivalSpec{Stages: []Stage{{Name: "sine", Points: [][]float64{{0, 2}, {500, 20}, {1000, 2}}}}}, map[string]any{"load": "changing"}},
		"a trace":   {ArrivalSpec{TraceMs: []float64{0, 1, 500}}, map[string]any{"load": "changing"}},
	} {
		a, err := NewArrivals(c.spec)
		require.NoError(t, err, why)
		require.Equal(t, c.want, a.labels(a.stages[0]), why)
	}
}

func TestArrivalsRefuseWhatMakesNoSchedule(t *testing.T) {
	for sentence, spec := range map[string]ArrivalSpec{
		"neither a stage nor a trace": {},
		"stands twice":                {Stages: []Stage{{Name: "a", FromRate: 1, ToRate: 1, DurationMs: 1}, {Name: "a", FromRate: 1, ToRate: 1, DurationMs: 1}}},
		"durationMs above 0":          {Stages: []Stage{{Name: "a", FromRate: 1, ToRate: 1}}},
		"is not one of warmup":        {Stages: []Stage{{Name: "a", FromRate: 1, ToRate: 1, DurationMs: 1, Phase: "warm"}}},
		"coefficient of variation":    {Arrival: "gamma", Stages: []Stage{{Name: "a", FromRate: 1, ToRate: 1, DurationMs: 1}}},
		"is not one of":               {Arrival: "uniform", Stages: []Stage{{Name: "a", FromRate: 1, ToRate: 1, DurationMs: 1}}},
	} {
		_, err := NewArrivals(spec)
		require.ErrorContains(t, err, sentence)
	}
}

func TestArrivalsThatFindNoFreeVUAreReportedAsLate(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel() // nothing is waited for
	for _, lateNs := range []int64{-3600e9, 3600e9} {
		a, err := NewArrivals(ArrivalSpec{TraceMs: []float64{0, 1}})
		require.NoError(t, err)
		run := newRun()
		a.Bind(run)
		a.open(clock.Now() - lateNs)
		h := a.VU(idleVU{})
		for range 3 { // the third finds nothing more to send, which is no lateness
			_, _ = h.Next(over)
		}
		require.Len(t, run.late, 2)
		for _, late := range run.late {
			require.InDelta(t, lateNs, late, 60e9)
		}
	}
}

func TestArrivals_NameWhatWasNotSent(t *testing.T) {
	a, err := NewArrivals(ArrivalSpec{TraceMs: []float64{0, 5}})
	require.NoError(t, err)
	a.given.Store(1)
	require.Equal(t, "1 of the schedule's 2 requests were sent", a.Unsent())
	left, known := a.Remaining()
	require.Equal(t, 1, left)
	require.True(t, known)
	a.given.Store(2)
	require.Empty(t, a.Unsent())
	left, _ = a.Remaining()
	require.Zero(t, left)
	a.apart.Store(true)
	_, known = a.Remaining()
	require.False(t, known, "k6's executors decide")
}
