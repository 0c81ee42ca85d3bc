// Package clock is the one clock of a run: integer nanoseconds, monotonic, counted from the start of the process.
package clock

import "time"

// base carries Go's monotonic reading; every time of a run is an offset from it.
var base = time.Now()

// Now returns the nanoseconds since the start of the process. It never goes back and ignores changes of the wall clock.
func Now() int64 { return int64(time.Since(base)) }

// StartUnixNs returns the wall-clock time of the clock's zero, in nanoseconds since the Unix epoch.
func StartUnixNs() int64 { return base.UnixNano() }

// Wall converts a time of this clock to the wall-clock time it stood for when the process began counting.
func Wall(ns int64) time.Time { return base.Add(time.Duration(ns)) }
