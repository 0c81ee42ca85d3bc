//go:build unix

package host

import "golang.org/x/sys/unix"

// CPUNs returns the processor time that the process has used, or 0 where it is not to be had.
func CPUNs() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
