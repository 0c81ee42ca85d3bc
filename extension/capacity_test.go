//go:build unix

package tokenclock

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestTooManyConnectionsAreRefusedWithTheLimit(t *testing.T) {
	require.NoError(t, checkCapacity(10))
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	low := limit
	low.Cur, low.Max = 300, limit.Max
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	require.NoError(t, checkCapacity(250), "the soft limit is raised where the hard one allows it")
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &low))
	require.Greater(t, low.Cur, uint64(300))
	require.Error(t, checkCapacity(1<<40))
}
