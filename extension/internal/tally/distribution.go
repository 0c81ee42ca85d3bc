package tally

import (
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Stats describes one quantity: in ms where the name that it stands under says so. Percentiles are interpolated
// linearly between neighbours (numpy's and k6's way), or read from an HDR histogram of three significant digits for
// pooled quantities and beyond exactLimit values. An empty quantity is all zeros.
type Stats struct {
	Count int64   `json:"count" js:"count"`
	Mean  float64 `json:"mean" js:"mean"`
	Std   float64 `json:"std" js:"std"` // of the population
	Min   float64 `json:"min" js:"min"`
	P50   float64 `json:"p50" js:"p50"`
	P90   float64 `json:"p90" js:"p90"`
	P95   float64 `json:"p95" js:"p95"`
	P99   float64 `json:"p99" js:"p99"`
	P999  float64 `json:"p999" js:"p999"`
	Max   float64 `json:"max" js:"max"`
}

// exactLimit bounds the memory of a quantity that has one value a request.
const exactLimit = 100_000

// hdrMaxNs and three significant digits make a histogram of some 250 KB.
const hdrMaxNs = int64(3600e9)

// distribution collects one quantity in an integer unit (ns, or thousandths): exactly while values are few, in a
// histogram afterwards or from the start.
type distribution struct {
	pooled bool // weighted values by the million: a histogram from the start
	values []int64
	hist   *hdrhistogram.Histogram

	count    int64
	min, max int64
	mean, m2 float64 // Welford's running mean and sum of squared deviations
}

// add counts value n times. A negative value is Undefined or an error of a clock and is left out: the latter counts among
// the clock errors.
func (d *distribution) add(value, n int64) {
	if n <= 0 || value < 0 {
		return
	}
	if d.count == 0 || value < d.min {
		d.min = value
	}
	d.max = max(d.max, value)
	d.count += n
	delta := float64(value) - d.mean
	d.mean += delta * float64(n) / float64(d.count)
	d.m2 += delta * (float64(value) - d.mean) * float64(n)
	if d.hist == nil && (d.pooled || len(d.values) >= exactLimit) {
		d.hist = hdrhistogram.New(1, hdrMaxNs, 3)
		for _, v := range d.values {
			_ = d.hist.RecordValue(min(v, hdrMaxNs))
		}
		d.values = nil
	}
	if d.hist != nil {
		_ = d.hist.RecordValues(min(value, hdrMaxNs), n)
		return
	}
	for range n {
		d.values = append(d.values, value)
	}
}

// stats returns the figures with every value divided by unit.
func (d *distribution) stats(unit float64) Stats {
	if d.count == 0 {
		return Stats{}
	}
	s := Stats{
		Count: d.count, Mean: d.mean / unit, Std: math.Sqrt(d.m2/float64(d.count)) / unit,
		Min: float64(d.min) / unit, Max: float64(d.max) / unit,
	}
	if d.hist == nil {
		slices.Sort(d.values)
	}
	at := func(q float64) float64 { return d.sorted(q) / unit }
	s.P50, s.P90, s.P95, s.P99, s.P999 = at(.5), at(.9), at(.95), at(.99), at(.999)
	return s
}

// quantile returns the value that the share q of all does not exceed, 0 of none.
func (d *distribution) quantile(q float64) float64 {
	slices.Sort(d.values)
	return d.sorted(q)
}

// sorted is quantile where the values are sorted.
func (d *distribution) sorted(q float64) float64 {
	if d.hist == nil {
		return Quantile(d.values, q)
	}
	// A histogram's bucket may reach past the largest value that fell into it.
	return min(float64(d.hist.ValueAtQuantile(q*100)), float64(d.max))
}

// encoded returns the histogram of a pooled quantity that has a value.
func (d *distribution) encoded() string {
	b, err := d.hist.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err) // it writes into memory
	}
	return string(b)
}

// Quantile interpolates linearly between the two sorted values around rank q*(n-1).
func Quantile(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := q * float64(len(sorted)-1)
	low := int(rank)
	if low+1 >= len(sorted) {
		return float64(sorted[len(sorted)-1])
	}
	return float64(sorted[low]) + (rank-float64(low))*float64(sorted[low+1]-sorted[low])
}

// Quantity is a distribution for others: integer values, exact while few.
type Quantity struct{ d distribution }

// Add counts one value.
func (q *Quantity) Add(value int64) { q.d.add(value, 1) }

// Stats returns the figures with every value divided by unit.
func (q *Quantity) Stats(unit float64) Stats { return q.d.stats(unit) }
