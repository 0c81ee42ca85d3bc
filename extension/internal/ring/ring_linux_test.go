//go:build linux && (amd64 || arm64)

package ring

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

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
				require.Equal(t, atNs, sinceNs)
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

// drain returns what a connection has, with the source of each piece's time.
func drain(c *Conn) (data []byte, stamps []reader.Stamp) {
	c.Drain(func(b []byte, _, _ int64, stamp reader.Stamp) bool {
		data = append(data, b...)
		stamps = append(stamps, stamp)
		return true
	})
	return data, stamps
}

func TestPacketsThatTheRingLost(t *testing.T) {
	r, err := openRing(1)
	if err != nil {
		t.Skipf("no packet ring here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	c, s := pair(t, r, "tcp4", "127.0.0.1:0", nil)
	exchange := func(answers int) {
		sent, err := c.Write([]byte("ask"), nil)
		require.NoError(t, err)
		b := make([]byte, 16)
		_, err = s.Read(b)
		require.NoError(t, err)
		_, ok := c.SentAt(sent)
		require.True(t, ok)
		for range answers {
			_, err := s.Write([]byte("12345678"))
			require.NoError(t, err)
		}
	}
	all := func(bytes int) (stamps []reader.Stamp) {
		got := 0
		require.Eventually(t, func() bool {
			data, more := drain(c)
			got += len(data)
			stamps = append(stamps, more...)
			return got == bytes
		}, 10*time.Second, time.Millisecond)
		return stamps
	}
	exchange(5)
	require.NotContains(t, all(40), reader.StampSocket)

	other, far := pair(t, r, "tcp4", "127.0.0.1:0", nil)
	_, err = other.Write([]byte("ask"), nil)
	require.NoError(t, err)
	r.mu.Lock() // nobody empties the ring, as when the process is stopped
	b := make([]byte, 16)
	for range 2 * perBlock { // another connection fills it
		_, err := far.Write([]byte("filler"))
		require.NoError(t, err)
		_, err = unix.Read(other.fd, b)
		require.NoError(t, err)
	}
	for range 5 {
		_, err := s.Write([]byte("12345678"))
		require.NoError(t, err)
	}
	r.mu.Unlock()
	stamps := all(40)
	require.Equal(t, []reader.Stamp{reader.StampSocket}, slices.Compact(stamps), "what the ring lost has the socket's time")
	require.GreaterOrEqual(t, r.Stats().Drops, int64(perBlock))

	exchange(5)
	require.Equal(t, []reader.Stamp{reader.StampRing}, slices.Compact(all(40)), "and what comes later is timed as before")
	c.Close(false)
	require.Positive(t, r.Stats().LostBytes)
}

func TestConnectionsThatBeginWhilePacketsAreLost(t *testing.T) {
	r := open(t)
	c, s := pair(t, r, "tcp4", "127.0.0.1:0", nil)
	r.mu.Lock()
	r.epoch++ // the first packet may be among those that were lost
	r.mu.Unlock()
	c.w.epoch--
	for range 2 { // from the next write on all is known again
		_, err := c.Write([]byte("ask"), nil)
		require.NoError(t, err)
		b := make([]byte, 16)
		_, err = s.Read(b)
		require.NoError(t, err)
		_, err = s.Write([]byte("answer"))
		require.NoError(t, err)
		var stamps []reader.Stamp
		require.Eventually(t, func() bool {
			_, stamps = drain(c)
			return len(stamps) > 0
		}, 10*time.Second, time.Millisecond)
		require.Equal(t, []reader.Stamp{reader.StampRing}, stamps)
	}
}

// TestReady: what calls for the owner, and what does not.
func TestReady(t *testing.T) {
	r := open(t)
	called := make(chan int64, 100)
	c, s := pair(t, r, "tcp4", "127.0.0.1:0", func(c *Conn) {
		c.w.r.mu.Lock()
		n := c.w.in.next
		c.w.r.mu.Unlock()
		select {
		case called <- n:
		default:
		}
	})
	_, err := c.Write([]byte("ask"), nil)
	require.NoError(t, err)
	_, err = s.Read(make([]byte, 16))
	require.NoError(t, err)
	token := []byte("5a\r\ndata: " + strings.Repeat("x", 80) + "\n\n\r\n")
	c.Want(1<<20, reader.ChunkedEnd)
	last := int64(0)
	for last < int64(3*len(token)) { // the long wait for the end of a stream calls, too: after deferTime
		if last == 0 {
			for range 3 {
				_, err := s.Write(token)
				require.NoError(t, err)
			}
		}
		last = <-called
	}
	drain(c)
	_, err = s.Write([]byte("0\r\n\r\n"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return <-called == int64(3*len(token)+5) }, 10*time.Second, time.Millisecond)
	require.True(t, c.LooksOver())
	data, _ := drain(c)
	require.Equal(t, "0\r\n\r\n", string(data))
	c.Over()

	c.Want(10, reader.NoEndMark)
	_, err = s.Write([]byte("0123456789"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return <-called == int64(3*len(token)+15) }, 10*time.Second, time.Millisecond)
	drain(c)
	require.True(t, c.Quiet())
	require.NoError(t, s.Close())
	<-called
	require.Eventually(t, func() bool {
		drain(c)
		_, err := c.End()
		return err == io.EOF
	}, 10*time.Second, time.Millisecond)
	require.False(t, c.Quiet())
}

func TestFilter_OnlyOwnPacketsPass(t *testing.T) {
	r := open(t)
	c, s := pair(t, r, "tcp4", "127.0.0.1:0", nil)
	_, _ = c.Write([]byte("ask"), nil)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	d, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	defer func() { _ = d.Close() }()
	e, err := l.Accept()
	require.NoError(t, err)
	defer func() { _ = e.Close() }()
	before := r.Stats()
	for range 100 {
		_, err := d.Write([]byte("not ours"))
		require.NoError(t, err)
		b := make([]byte, 16)
		_, err = e.Read(b)
		require.NoError(t, err)
	}
	r.mu.Lock()
	r.scan()
	r.mu.Unlock()
	after := r.Stats()
	require.Equal(t, before.Strays, after.Strays)
	require.NoError(t, s.Close())
}

// TestRing_ManyConnections: the filter follows the connections, also where they are many, close and come back.
func TestRing_ManyConnections(t *testing.T) {
	r := open(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		for {
			s, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b := make([]byte, 16)
				for {
					n, err := s.Read(b)
					if err != nil {
						_ = s.Close()
						return
					}
					_, _ = s.Write(b[:n])
				}
			}()
		}
	}()
	defer func() { _ = l.Close() }()
	for round := range 3 {
		var conns []*Conn
		for range 300 {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			to := l.Addr().(*net.TCPAddr).AddrPort()
			require.NoError(t, unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}))
			require.NoError(t, unix.SetNonblock(fd, true))
			name, err := unix.Getsockname(fd)
			require.NoError(t, err)
			in := name.(*unix.SockaddrInet4)
			c, err := r.Add(fd, netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)), to, func(*Conn) {})
			require.NoError(t, err)
			conns = append(conns, c)
		}
		if round == 1 {
			r.mu.Lock()
			r.narrow()
			r.mu.Unlock()
		}
		for _, c := range conns {
			_, err := c.Write([]byte("hello"), nil)
			require.NoError(t, err)
		}
		for _, c := range conns {
			var stamps []reader.Stamp
			require.Eventually(t, func() bool {
				_, stamps = drain(c)
				return len(stamps) > 0
			}, 10*time.Second, time.Millisecond)
			require.Equal(t, []reader.Stamp{reader.StampRing}, stamps)
			c.Close(round == 2)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(t, r.ports)
	require.Empty(t, r.remotes)
	require.Zero(t, r.watches)
	require.Empty(t, r.conns)
}

// Many connections that are opened at once need few changes of the filter.
func TestFilter_ManyPortsPassTogether(t *testing.T) {
	r := open(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remotes[80] = 20_000
	changes := 0
	for k := range 20_000 {
		port := uint16(1000 + 37*k)
		r.ports[port]++
		before := slices.Clone(r.passing)
		require.NoError(t, r.letPass(&Watch{local: endpoint{port: port}, remote: endpoint{port: 80}}))
		require.True(t, slices.ContainsFunc(r.passing, func(p portRange) bool { return p.low <= port && port <= p.high }))
		if !slices.Equal(before, r.passing) {
			changes++
		}
	}
	require.Less(t, changes, 12)
	r.narrow()
	require.LessOrEqual(t, len(r.passing), maxRanges)
	clear(r.ports)
	r.ports[4242]++
	r.loose = true
	r.narrow()
	require.Equal(t, []portRange{{4242, 4242}}, r.passing)
}

// TestLazyReadingKeepsAcknowledgementsFlowing: a sender that is not acknowledged sends its last segment again, which would
// load the server that is measured.
func TestLazyReadingKeepsAcknowledgementsFlowing(t *testing.T) {
	r := open(t)
	var servers []*net.TCPConn
	for range 20 {
		c, s := pair(t, r, "tcp4", "127.0.0.1:0", func(c *Conn) {
			drain(c)
			c.Want(16<<10, reader.ChunkedEnd)
		})
		_, err := c.Write([]byte("ask"), nil)
		require.NoError(t, err)
		c.Want(16<<10, reader.ChunkedEnd)
		servers = append(servers, s)
	}
	event := []byte("b0\r\ndata: " + strings.Repeat("x", 168) + "\n\n\r\n")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		<-tick.C
		for _, s := range servers {
			_, err := s.Write(event)
			require.NoError(t, err)
		}
	}
	stats := r.Stats()
	share := float64(stats.Duplicates) / float64(stats.Packets)
	t.Logf("%d of %d segments came twice: %.3f %%", stats.Duplicates, stats.Packets, 100*share)
	require.Less(t, share, 0.02) // 0.05 without slowReads
}

// TestServersThatWaitForAcknowledgements: a server with Nagle's algorithm (RFC 1122, 4.2.3.4) holds a token back until the
// one before is acknowledged. It must not be slower for being read seldom than for being read at once.
func TestServersThatWaitForAcknowledgements(t *testing.T) {
	r := open(t)
	for _, noDelay := range []bool{true, false} {
		t.Run(fmt.Sprintf("TCP_NODELAY %v", noDelay), func(t *testing.T) {
			late := 0
			for range 5 { // a busy machine holds the server or the ring up now and then, a client that leaves bytes unread always
				late = lateTokens(t, r, noDelay)
				t.Logf("%d of 200 came late", late)
				if late < 30 {
					return
				}
			}
			t.Errorf("%d of 200 came late; three quarters do where the bytes are left unread", late)
		})
	}
}

// lateTokens counts those of 200 tokens, one each 10 ms, that arrive more than 5 ms after the server wrote them.
func lateTokens(t *testing.T, r *Ring, noDelay bool) (late int) {
	var mu sync.Mutex
	var arrivals []int64
	c, s := pair(t, r, "tcp4", "127.0.0.1:0", func(c *Conn) {
		c.Drain(func(b []byte, _, atNs int64, _ reader.Stamp) bool {
			mu.Lock()
			defer mu.Unlock()
			for range len(b) / 182 {
				arrivals = append(arrivals, atNs)
			}
			return true
		})
		c.Want(16<<10, reader.ChunkedEnd)
	})
	require.NoError(t, s.SetNoDelay(noDelay))
	_, err := c.Write([]byte("ask"), nil)
	require.NoError(t, err)
	c.Want(16<<10, reader.ChunkedEnd)
	event := []byte("b0\r\ndata: " + strings.Repeat("x", 168) + "\n\n\r\n")
	require.Len(t, event, 182)
	var written []int64
	for range 200 {
		written = append(written, clock.Now())
		_, err := s.Write(event)
		require.NoError(t, err)
		time.Sleep(10 * time.Millisecond)
	}
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(arrivals) == len(written)
	}, 5*time.Second, time.Millisecond)
	for k := range arrivals {
		if arrivals[k]-written[k] > 5_000_000 {
			late++
		}
	}
	return late
}

// Where the kernel holds a thread of this process up, the thread keeps its processor, and what waits in the processor's
// queue can only run if another one takes it.
func TestRing_LeavesNoWorkToAHeldThread(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	r := open(t)
	_, s := pair(t, r, "tcp4", "127.0.0.1:0", nil)
	raw, err := s.SyscallConn()
	require.NoError(t, err)
	ran := make(chan bool)
	for range 20 {
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			_ = raw.Control(func(fd uintptr) { ran <- whileHeld(fd) })
		}()
		require.True(t, <-ran)
	}
}

// whileHeld reports whether a goroutine of this processor's queue runs while the thread is held up, for 3 s at most. Meanwhile
// it sends on a connection, so that the ring does not rest.
func whileHeld(fd uintptr) bool {
	var ran atomic.Bool
	all, some := ^uint64(0), [1]byte{}
	ts := unix.NsecToTimespec(int64(10 * time.Millisecond))
	// Without the scheduler's signals the thread is not preempted, and of raw system calls the scheduler does not know.
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&all)), 0, 8, 0, 0)
	go ran.Store(true)
	for k := 0; k < 300 && !ran.Load(); k++ {
		_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&some)), 1)
		_, _, _ = syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
	return ran.Load()
}
