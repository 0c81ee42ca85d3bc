//go:build !linux

package simulate

// zeroMonotonicNs is not known here.
func zeroMonotonicNs() int64 { return 0 }
