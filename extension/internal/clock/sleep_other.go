//go:build !linux

package clock

import (
	"time"
)

// SleepUntil is as precise as Go's timers are here.
func SleepUntil(untilNs int64) {
	if left := untilNs - Now(); left > 0 {
		time.Sleep(time.Duration(left))
	}
}
