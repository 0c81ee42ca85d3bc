package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// Distribution is a random duration; the zero value is always 0.
type Distribution struct {
	kind string
	a, b float64 // ns, but b of lognormal: sigma
}

// Fixed returns the distribution that always gives d.
func Fixed(d time.Duration) Distribution { return Distribution{kind: "fixed", a: float64(d)} }

// ParseDistribution reads "50ms", "uniform:40ms,60ms", "normal:MEAN,DEVIATION", "exponential:MEAN" or
// "lognormal:MEDIAN,SIGMA" (sigma is a number: the deviation of the logarithm). Draws are never negative.
func ParseDistribution(text string) (Distribution, error) {
	kind, args, found := strings.Cut(text, ":")
	if !found {
		kind, args = "fixed", text
	}
	wanted, known := map[string]int{"fixed": 1, "uniform": 2, "normal": 2, "exponential": 1, "lognormal": 2}[kind]
	parts := strings.Split(args, ",")
	if !known || len(parts) != wanted {
		return Distribution{}, fmt.Errorf("distribution %q: use 50ms, uniform:LOW,HIGH, normal:MEAN,DEVIATION, exponential:MEAN or lognormal:MEDIAN,SIGMA", text)
	}
	var values [2]float64
	for i, part := range parts {
		if kind == "lognormal" && i == 1 {
			if _, err := fmt.Sscanf(part, "%g", &values[1]); err != nil || values[1] < 0 {
				return Distribution{}, fmt.Errorf("distribution %q: sigma must be a number of at least 0", text)
			}
			continue
		}
		if part == "0" {
			continue
		}
		d, err := time.ParseDuration(strings.TrimSpace(part))
		if err != nil || d < 0 {
			return Distribution{}, fmt.Errorf("distribution %q: %q is not a duration of at least 0, such as 50ms", text, part)
		}
		values[i] = float64(d)
	}
	if kind == "uniform" && values[1] < values[0] {
		return Distribution{}, fmt.Errorf("distribution %q: the upper bound lies below the lower one", text)
	}
	return Distribution{kind, values[0], values[1]}, nil
}

// zero reports whether every draw is 0.
func (d Distribution) zero() bool { return d.a == 0 && (d.b == 0 || d.kind == "lognormal") }

// times returns the distribution of a draw times a factor.
func (d Distribution) times(factor float64) Distribution {
	d.a *= factor
	if d.kind != "lognormal" {
		d.b *= factor
	}
	return d
}

// drawNs returns the next duration in nanoseconds.
func (d Distribution) drawNs(rng *rand.Rand) int64 {
	var ns float64
	switch d.kind {
	case "uniform":
		ns = d.a + (d.b-d.a)*rng.Float64()
	case "normal":
		ns = d.a + d.b*rng.NormFloat64()
	case "exponential":
		ns = d.a * rng.ExpFloat64()
	case "lognormal":
		ns = d.a * math.Exp(d.b*rng.NormFloat64())
	default:
		ns = d.a
	}
	return max(0, int64(ns))
}
