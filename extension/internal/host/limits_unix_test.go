//go:build unix

package host

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestCapacity_DescriptorsAreNamedWithTheirLimit(t *testing.T) {
	require.NoError(t, CheckCapacity(10))
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	low := limit
	low.Cur, low.Max = 300, limit.Max
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	require.NoError(t, CheckCapacity(250), "the soft limit is raised where the hard one allows it")
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &low))
	require.Greater(t, low.Cur, uint64(300))
	require.Error(t, CheckCapacity(1<<40))
}

func TestCapacity_LocalPortsAreNamedWithTheirRange(t *testing.T) {
	first, last, ok := localPorts()
	if !ok {
		t.Skip("only Linux says how many local ports there are")
	}
	ports := last - first + 1
	require.NoError(t, checkPorts(ports))
	require.ErrorContains(t, checkPorts(ports+1), fmt.Sprintf("net.ipv4.ip_local_port_range %d %d has %d", first, last, ports))
}

func TestCapacity_ExhaustedResourceIsNamedWithItsLimit(t *testing.T) {
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	require.Equal(t, fmt.Sprintf("too many open files, the limit is %d file descriptors (ulimit -n)", limit.Cur), DescribeLimit(syscall.EMFILE))
	if first, last, ok := localPorts(); ok {
		require.Contains(t, DescribeLimit(syscall.EADDRNOTAVAIL), fmt.Sprintf("there are %d local ports", last-first+1))
	}
	require.Equal(t, syscall.ENOBUFS.Error(), DescribeLimit(syscall.ENOBUFS))
}
