package clock

import (
	"context"
	"time"
)

// Precise is the last part of a wait, which SleepUntil takes over from a timer: Go's timers may fire a millisecond late.
const Precise = 1500 * time.Microsecond

// WaitUntil sleeps until ns, and reports whether ctx still lives then. It returns at once when ctx ends.
func WaitUntil(ctx context.Context, ns int64) bool {
	left := time.Duration(ns - Now())
	if left <= 0 {
		return ctx.Err() == nil
	}
	if left > Precise {
		timer := time.NewTimer(left - Precise)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	SleepUntil(ns)
	return ctx.Err() == nil
}
