//go:build unix

package host

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// spareDescriptors are those that a run needs besides its connections.
const spareDescriptors = 128

// CheckCapacity returns in one line what keeps this process from opening so many connections at once to one address.
func CheckCapacity(connections int) error {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		need := limitOf(limit.Max, connections+spareDescriptors)
		if limit.Max >= need && limit.Cur < need {
			limit.Cur = limit.Max
			_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
			_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
		}
		if limit.Cur < need {
			return fmt.Errorf("%d connections at once need %d file descriptors, the limit is %d; raise it with ulimit -n %d", connections, need, limit.Cur, need)
		}
	}
	return checkPorts(connections)
}

// limitOf returns n as the type of a limit's fields, which is signed on some systems.
func limitOf[T int64 | uint64](_ T, n int) T { return T(n) }

// checkPorts is the part of it that concerns local ports.
func checkPorts(connections int) error {
	if first, last, ok := localPorts(); ok && last-first+1 < connections {
		return fmt.Errorf("%d connections at once need as many local ports, net.ipv4.ip_local_port_range %d %d has %d; widen it with sysctl",
			connections, first, last, last-first+1)
	}
	return nil
}

// localPorts is the range of ports that connections to one address share; not ok where the system is not Linux.
func localPorts() (first, last int, ok bool) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, false
	}
	n, _ := fmt.Sscan(string(b), &first, &last)
	return first, last, n == 2
}

// DescribeLimit says what ran out and how to have more of it.
func DescribeLimit(errno syscall.Errno) string {
	switch errno {
	case syscall.EMFILE:
		var limit unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
			return fmt.Sprintf("%v, the limit is %d file descriptors (ulimit -n)", errno, limit.Cur)
		}
	case syscall.EADDRNOTAVAIL:
		if first, last, ok := localPorts(); ok {
			return fmt.Sprintf("%v, there are %d local ports (net.ipv4.ip_local_port_range)", errno, last-first+1)
		}
	}
	return errno.Error()
}
