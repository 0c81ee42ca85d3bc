package clock

import (
	"golang.org/x/sys/unix"
)

// SleepUntil sleeps on the thread, which wakes some 50 us after the time where Go's timers may take a millisecond.
func SleepUntil(untilNs int64) {
	for left := untilNs - Now(); left > 0; left = untilNs - Now() {
		ts := unix.NsecToTimespec(left)
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
	}
}
