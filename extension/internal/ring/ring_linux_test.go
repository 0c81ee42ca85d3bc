//go:build linux && (amd64 || arm64)

package ring

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
)

// open makes a ring, or skips the test where the process may not.
func open(t *testing.T) *Ring {
	t.Helper()
	r, err := Open()
	if err != nil {
		t.Skipf("no packet ring here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// pair returns a connection of the ring and the server's end of it.
func pair(t *testing.T, r *Ring, network, address string, ready func(*Conn)) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	d, err := net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	s, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	raw, err := d.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	fd := -1
	require.NoError(t, raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }))
	require.NoError(t, err)
	local, remote := d.LocalAddr().(*net.TCPAddr).AddrPort(), d.RemoteAddr().(*net.TCPAddr).AddrPort()
	require.NoError(t, d.Close())
	if ready == nil {
		ready = func(*Conn) {}
	}
	c, err := r.Add(fd, local, remote, ready)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(false) })
	return c, s.(*net.TCPConn)
}

func TestConn(t *testing.T) {
	r := open(t)
	for _, at := range []struct{ network, address string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		t.Run(at.network, func(t *testing.T) {
			c, s := pair(t, r, at.network, at.address, nil)
			beforeNs := clock.Now()
			sent, err := c.Write([]byte("hello"), nil)
			require.NoError(t, err)
			afterNs := clock.Now()
			b := make([]byte, 16)
			_, err = s.Read(b)
			require.NoError(t, err)
			at, ok := c.SentAt(sent)
			require.True(t, ok)
			require.GreaterOrEqual(t, at, beforeNs-clockNoiseNs)
			require.LessOrEqual(t, at, afterNs+clockNoiseNs)

			// Segments that wait unread together keep a time each.
			var wrote [][2]int64
			for range 10 {
				before := clock.Now()
				_, err = s.Write([]byte("data: something like a token's event\n\n"))
				require.NoError(t, err)
				wrote = append(wrote, [2]int64{before, clock.Now()})
				time.Sleep(3 * time.Millisecond)
			}
			n := 0
			c.Drain(func(data []byte, sinceNs, atNs int64, stamp reader.Stamp) bool {
				require.Equal(t, reader.StampRing, stamp)
				require.GreaterOrEqual(t, atNs, wrote[n][0]-clockNoiseNs)
				require.LessOrEqual(t, atNs, wrote[n][1]+clockNoiseNs)
				n++
				return true
			})
			require.Equal(t, 10, n)
			require.NoError(t, s.Close())
		})
	}
	t.Logf("%+v", r.Stats())
}
