package schedule

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// rates are loads of some 20,000 arrivals, and the integral of each rate up to a time in s.
var rates = []struct {
	name     string
	stages   []Stage
	integral func(t float64) float64
}{
	{"constant", []Stage{Ramp(200, 200, 100_000)}, func(t float64) float64 { return 200 * t }},
	{"ramp", []Stage{Ramp(0, 400, 100_000)}, func(t float64) float64 { return 2 * t * t }},
	{"jump", []Stage{{{0, 100}, {50_000, 100}, {50_000, 300}, {100_000, 300}}}, func(t float64) float64 {
		return 100*min(t, 50) + 300*max(t-50, 0)
	}},
	{"two stages with a pause between them", []Stage{Ramp(400, 0, 50_000), Ramp(0, 0, 10_000), Ramp(0, 400, 50_000)}, func(t float64) float64 {
		down := min(t, 50)
		up := max(t-60, 0)
		return 400*down - 4*down*down + 4*up*up
	}},
}

// processes with the distribution of their gaps at rate 1.
var processes = []struct {
	process Process
	cv      float64
	cdf     func(x float64) float64 // nil = no test of the distribution
}{
	{Process{Kind: "constant"}, 0, nil},
	{Process{Kind: "poisson", Seed: 1}, 1, func(x float64) float64 { return 1 - math.Exp(-x) }},
	{Process{Kind: "gamma", CV: 1, Seed: 2}, 1, func(x float64) float64 { return 1 - math.Exp(-x) }},
	// CV 0.5 is shape 4 (Erlang), CV 2 shape 1/4; both are regularized incomplete gamma functions.
	{Process{Kind: "gamma", CV: 0.5, Seed: 3}, 0.5, func(x float64) float64 { return gammaCDF(4, 4*x) }},
	{Process{Kind: "gamma", CV: 2, Seed: 4}, 2, func(x float64) float64 { return gammaCDF(0.25, 0.25*x) }},
}

// gammaCDF is the regularized lower incomplete gamma function, by its series.
func gammaCDF(shape, x float64) float64 {
	if x <= 0 {
		return 0
	}
	term := 1 / shape
	sum := term
	for n := 1; term > sum*1e-15; n++ {
		term *= x / (shape + float64(n))
		sum += term
	}
	logGamma, _ := math.Lgamma(shape)
	return min(1, sum*math.Exp(-x+shape*math.Log(x)-logGamma))
}

// TestTimesFollowProcessAndRate takes the times back to a process of rate 1 through the integral of the rate, which the test has in
// closed form, and tests the gaps there: mean, coefficient of variation, and Kolmogorov and Smirnov's distance.
func TestTimesFollowProcessAndRate(t *testing.T) {
	for _, r := range rates {
		for _, p := range processes {
			name := r.name + " " + p.process.Kind
			offsets, stageOf, err := Times(r.stages, p.process)
			require.NoError(t, err, name)
			require.True(t, slices.IsSorted(offsets), name)
			require.True(t, slices.IsSorted(stageOf), name)
			n := float64(len(offsets))
			gaps := make([]float64, 0, len(offsets))
			for k := 1; k < len(offsets); k++ {
				gaps = append(gaps, r.integral(float64(offsets[k])/1e9)-r.integral(float64(offsets[k-1])/1e9))
			}
			mean, square := 0.0, 0.0
			for _, g := range gaps {
				mean += g / float64(len(gaps))
			}
			for _, g := range gaps {
				square += (g - mean) * (g - mean) / float64(len(gaps))
			}
			cv := math.Sqrt(square) / mean
			// Four standard errors. That of a mean is CV/√n; that of a CV is below √(CV²/2 + CV⁴)/√n for gamma distributions.
			require.InDelta(t, 1, mean, 4*p.cv/math.Sqrt(n)+1e-4, "mean gap of %s", name)
			require.InDelta(t, p.cv, cv, 4*math.Sqrt(p.cv*p.cv/2+p.cv*p.cv*p.cv*p.cv)/math.Sqrt(n)+1e-4, "CV of %s", name)
			if p.cdf == nil {
				continue
			}
			// Exceeded by chance by one of the sixteen in one of a hundred cases (Smirnov: √(-ln(0.01/16/2)/2)/√n).
			require.Less(t, distanceFrom(gaps, p.cdf), 2.01/math.Sqrt(n), "Kolmogorov-Smirnov distance of %s", name)
		}
	}
}

func TestSchedule_ConstantArrivalsFollowTheIntegralOfTheRate(t *testing.T) {
	for _, r := range rates {
		offsets, _, err := Times(r.stages, Process{})
		require.NoError(t, err)
		lastS := 0.0
		for _, s := range r.stages {
			lastS += s.DurationMs() / 1000
		}
		require.Len(t, offsets, int(math.Round(r.integral(lastS))), r.name)
		for k, ns := range offsets {
			require.InDelta(t, k, r.integral(float64(ns)/1e9), 1e-4, "arrival %d of %s", k, r.name)
		}
	}
}

func TestSchedule_NothingComesWhileTheRateIsZero(t *testing.T) {
	offsets, stageOf, err := Times([]Stage{Ramp(10, 10, 1000), Ramp(0, 0, 5000), Ramp(10, 10, 1000)}, Process{Kind: "poisson", Seed: 5})
	require.NoError(t, err)
	require.NotContains(t, stageOf, 1)
	for _, ns := range offsets {
		require.False(t, ns > 1e9 && ns < 6e9, "%d", ns)
	}
}

func TestSchedule_SeedDecidesIt(t *testing.T) {
	digests := map[string]uint64{}
	for seed := range uint64(20) {
		for range 2 {
			offsets, _, err := Times([]Stage{Ramp(0, 100, 2000)}, Process{Kind: "gamma", CV: 1.5, Seed: seed})
			require.NoError(t, err)
			digest := Digest(offsets)
			other, known := digests[digest]
			require.True(t, !known || other == seed, "seeds %d and %d", other, seed)
			digests[digest] = seed
		}
	}
	require.Len(t, digests, 20)
	// sha256 of 0, 1 and 256 as little-endian integers of 64 bits.
	require.Equal(t, "0b01f6a4424ebacd98f58513bfdf5d010b7c70121dacb2e18ecf157805764770", Digest([]int64{0, 1, 256}))
	require.NotEqual(t, Digest([]int64{0, 1}), Digest([]int64{0, 2}), "a nanosecond counts")
}

// The test above would be worth nothing if it took one process for another.
func TestSchedule_DistanceDistinguishesProcesses(t *testing.T) {
	offsets, _, err := Times([]Stage{Ramp(200, 200, 100_000)}, Process{Kind: "gamma", CV: 0.9, Seed: 2})
	require.NoError(t, err)
	gaps := make([]float64, 0, len(offsets))
	for k := 1; k < len(offsets); k++ {
		gaps = append(gaps, float64(offsets[k]-offsets[k-1])/1e9*200)
	}
	require.Greater(t, distanceFrom(gaps, func(x float64) float64 { return 1 - math.Exp(-x) }), 2.01/math.Sqrt(float64(len(gaps))))
}

// distanceFrom is Kolmogorov and Smirnov's: the largest distance of the values' distribution from cdf.
func distanceFrom(values []float64, cdf func(float64) float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	distance, n := 0.0, float64(len(sorted))
	for k, x := range sorted {
		f := cdf(x)
		distance = max(distance, f-float64(k)/n, float64(k+1)/n-f)
	}
	return distance
}

func TestSchedule_RefusesWhatIsNoRateOverTime(t *testing.T) {
	for _, c := range []struct {
		says  string
		stage Stage
	}{
		{"two points or more", Stage{{0, 1}}},
		{"the first at 0", Stage{{1, 1}, {2, 1}}},
		{"is not 0 or more", Stage{{0, 1}, {2, -1}}},
		{"is not 0 or more", Stage{{0, math.NaN()}, {2, 1}}},
		{"follows", Stage{{0, 1}, {2, 1}, {1, 1}}},
		{"follows", Stage{{0, 1}, {math.NaN(), 1}}},
		{"has no length", Stage{{0, 1}, {0, 1}}},
	} {
		_, _, err := Times([]Stage{c.stage}, Process{})
		require.ErrorContains(t, err, c.says)
	}
}
