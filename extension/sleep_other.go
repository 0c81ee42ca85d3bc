//go:build !linux

package tokenclock

import (
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// sleepPrecisely is as precise as Go's timers are here.
func sleepPrecisely(untilNs int64) {
	if left := untilNs - clock.Now(); left > 0 {
		time.Sleep(time.Duration(left))
	}
}
