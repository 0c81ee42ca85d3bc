package clock

import "golang.org/x/sys/unix"

// monoAtZero is CLOCK_MONOTONIC, which Go's clock reads too, at this clock's zero.
var monoAtZero = func() int64 {
	best, zero := int64(1<<62), int64(0)
	for range 16 { // the reading with the least between its two neighbours is the truest
		before := Now()
		var ts unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
			continue
		}
		after := Now()
		if after-before < best {
			best, zero = after-before, ts.Nano()-(before+after)/2
		}
	}
	return zero
}()

// FromMonotonic converts a reading of CLOCK_MONOTONIC to this clock.
func FromMonotonic(ns int64) int64 { return ns - monoAtZero }

// ToMonotonic converts a time of this clock to CLOCK_MONOTONIC.
func ToMonotonic(ns int64) int64 { return ns + monoAtZero }
