//go:build !linux

package host

import "runtime"

// ResidentBytes returns what the Go runtime has from the system, which is nearly all that the process occupies.
func ResidentBytes() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}
