package tokenclock

import (
	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// sleepPrecisely sleeps on the thread, which wakes some 50 us after the time where Go's timers may take a millisecond.
func sleepPrecisely(untilNs int64) {
	for left := untilNs - clock.Now(); left > 0; left = untilNs - clock.Now() {
		ts := unix.NsecToTimespec(left)
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
	}
}
