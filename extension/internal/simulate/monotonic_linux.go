package simulate

import "github.com/tokenclock/tokenclock/extension/internal/clock"

// zeroMonotonicNs is CLOCK_MONOTONIC at the zero of the run's clock.
func zeroMonotonicNs() int64 { return -clock.FromMonotonic(0) }
