package sse

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/grafana/sobek"
)

// retry is how often, and after what pauses, sse.openAsync tries to connect again.
type retry struct {
	times       int // after the first attempt
	base, limit time.Duration
}

// parseRetry reads maxRetries, baseDelay and maxDelay, which have xk6-sse's defaults.
func parseRetry(rt *sobek.Runtime, given sobek.Value) (retry, error) {
	r := retry{base: time.Second, limit: 30 * time.Second}
	if isNothing(given) {
		return r, nil
	}
	object := given.ToObject(rt)
	if v := object.Get("maxRetries"); !isNothing(v) {
		if r.times = int(v.ToInteger()); r.times < 0 {
			return r, fmt.Errorf("maxRetries: %d is negative", r.times)
		}
	}
	for name, to := range map[string]*time.Duration{"baseDelay": &r.base, "maxDelay": &r.limit} {
		if v := object.Get(name); !isNothing(v) {
			d, err := duration(v)
			if err != nil {
				return r, fmt.Errorf("%s: %w", name, err)
			}
			*to = d
		}
	}
	return r, nil
}

// pause is the time before the n-th retry, n from 1: the base, doubled with each and never above the limit, and up to a
// fifth of it at random on top, so that clients that failed together do not come back together.
func (r retry) pause(n int) time.Duration {
	d := min(r.base, r.limit)
	for ; n > 1 && d > 0 && d < r.limit; n-- {
		if d > r.limit/2 {
			d = r.limit
		} else {
			d *= 2
		}
	}
	return d + time.Duration(rand.Float64()*0.2*float64(d))
}
