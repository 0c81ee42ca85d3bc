// Package schedule computes when the requests of an open load are due: arrival processes on a rate that changes over time.
package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// most bounds a schedule: its times take 16 bytes each.
const most = 50_000_000

// Process says how arrivals are spread.
type Process struct {
	Kind string  // "constant" (or ""), "poisson" or "gamma"
	CV   float64 // coefficient of variation of the gaps, gamma only
	Seed uint64
}

// Point is the rate at a time.
type Point struct {
	AtMs float64 // from the beginning of the stage
	Rate float64 // arrivals/s
}

// Stage is a part of the load. Between its points the rate follows straight lines; two points of one time are a jump. The
// first point is at 0, the last is the stage's end.
type Stage []Point

// Ramp is a stage whose rate goes from one value to another.
func Ramp(fromRate, toRate, durationMs float64) Stage {
	return Stage{{0, fromRate}, {durationMs, toRate}}
}

// Check refuses rates below 0, and times that do not begin at 0 or go back.
func (s Stage) Check() error {
	if len(s) < 2 || s[0].AtMs != 0 {
		return errors.New("a rate over time needs two points or more, the first at 0")
	}
	for k, p := range s {
		if !(p.Rate >= 0) || math.IsInf(p.Rate, 0) {
			return fmt.Errorf("the rate %v at %v ms is not 0 or more", p.Rate, p.AtMs)
		}
		if k > 0 && !(p.AtMs >= s[k-1].AtMs) || math.IsInf(p.AtMs, 0) {
			return fmt.Errorf("the time %v ms follows %v ms", p.AtMs, s[k-1].AtMs)
		}
	}
	if s.DurationMs() <= 0 {
		return errors.New("the rate over time has no length")
	}
	return nil
}

// DurationMs is how long the stage lasts.
func (s Stage) DurationMs() float64 { return s[len(s)-1].AtMs }

// Highest is the largest rate of the stage.
func (s Stage) Highest() float64 {
	highest := 0.0
	for _, p := range s {
		highest = max(highest, p.Rate)
	}
	return highest
}

// Times returns when all arrivals of the stages are due, in ns from the beginning of the first, and the stage of each.
//
// The i-th arrival comes when the integral of the rate reaches the sum of the first i gaps of a process of rate 1 (time
// rescaling; Brown et al., The Time-Rescaling Theorem, 2002): every gap is 1 for constant arrivals, exponential for poisson,
// and gamma distributed with mean 1 and the given coefficient of variation for gamma. The first constant arrival is at 0.
func Times(stages []Stage, process Process) (offsetsNs []int64, stageOf []int, err error) {
	for _, s := range stages {
		if err := s.Check(); err != nil {
			return nil, nil, err
		}
	}
	gap, err := process.gaps()
	if err != nil {
		return nil, nil, err
	}
	due := 0.0 // in arrivals of rate 1
	if process.Kind == "poisson" || process.Kind == "gamma" {
		due = gap()
	}
	before, startMs := 0.0, 0.0 // integral of the rate, and time, up to the stage
	for k, s := range stages {
		for i := 1; i < len(s); i++ {
			from, to := s[i-1], s[i]
			d := (to.AtMs - from.AtMs) / 1000
			in := (from.Rate + to.Rate) / 2 * d
			for due < before+in {
				t := timeOf(due-before, from.Rate, to.Rate, d)
				offsetsNs = append(offsetsNs, int64(((startMs+from.AtMs)/1000+t)*1e9))
				stageOf = append(stageOf, k)
				due += gap()
				if len(offsetsNs) > most {
					return nil, nil, fmt.Errorf("more than %d arrivals", most)
				}
			}
			before += in
		}
		startMs += s.DurationMs()
	}
	return offsetsNs, stageOf, nil
}

// Digest is the sha256 of the times in hex: equal where every arrival of two schedules is due at the same nanosecond.
func Digest(offsetsNs []int64) string {
	h := sha256.New()
	var b [8]byte
	for _, ns := range offsetsNs {
		binary.LittleEndian.PutUint64(b[:], uint64(ns))
		_, _ = h.Write(b[:])
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// timeOf returns the t at which the integral of a rate that goes from r0 to r1 in d seconds reaches n.
func timeOf(n, r0, r1, d float64) float64 {
	slope := (r1 - r0) / d
	switch {
	case n == 0:
		return 0
	case slope == 0:
		return n / r0
	}
	// r0*t + slope*t²/2 = n, in the form that loses no digits for small slopes.
	return 2 * n / (r0 + math.Sqrt(max(r0*r0+2*slope*n, 0)))
}

// gaps returns the source of the gaps of a process of rate 1.
func (p Process) gaps() (func() float64, error) {
	rng := rand.New(rand.NewPCG(p.Seed, 0x746f6b656e636c6b))
	switch p.Kind {
	case "", "constant":
		return func() float64 { return 1 }, nil
	case "poisson":
		return rng.ExpFloat64, nil
	case "gamma":
		if !(p.CV > 0) {
			return nil, fmt.Errorf("gamma arrivals need a coefficient of variation above 0, got %v", p.CV)
		}
		shape := 1 / (p.CV * p.CV)
		return func() float64 { return gamma(rng, shape) / shape }, nil
	}
	return nil, fmt.Errorf("arrival %q is not one of constant, poisson, gamma", p.Kind)
}

// gamma draws from the gamma distribution of that shape and scale 1 (Marsaglia and Tsang 2000).
func gamma(rng *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(rng, shape+1) * math.Pow(1-rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if u := 1 - rng.Float64(); math.Log(u) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
