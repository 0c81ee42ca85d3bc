//go:build linux && (amd64 || arm64)

package reader

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns a connection on the reader and the peer's end of it.
func pair(t *testing.T, r *Reader, ready func(*Conn)) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	peer, err := l.Accept()
	require.NoError(t, err)
	conn, err := r.AddTCP(c.(*net.TCPConn), ready)
	require.NoError(t, err)
	return conn, peer.(*net.TCPConn)
}

// clockNoiseNs is more than two readings of the kernel's clocks can disagree by.
const clockNoiseNs = 100_000

// settle returns when the thread and the dispatcher are done with all that arrived before: both take one thing at a time.
func settle(t *testing.T, r *Reader) {
	t.Helper()
	called := make(chan struct{}, 1)
	c, peer := pair(t, r, func(*Conn) {
		select {
		case called <- struct{}{}:
		default:
		}
	})
	_, err := peer.Write([]byte("x"))
	require.NoError(t, err)
	<-called
	c.Close(false)
	_ = peer.Close()
}

// inbox collects what a connection receives, on the dispatching goroutine.
type inbox struct {
	mu     sync.Mutex
	data   []byte
	stamps []int64
	since  []int64
	ends   []int // bytes up to the end of each receive
	kernel int
	ended  chan error
	grown  chan struct{}
	closed bool
}

// close does what every owner must: no ready call may use the connection while or after it is closed.
func (b *inbox) close(c *Conn, abort bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	c.Close(abort)
}

func newInbox() *inbox { return &inbox{ended: make(chan error, 1), grown: make(chan struct{}, 1)} }

func (b *inbox) ready(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	for {
		c.Drain(func(d []byte, sinceNs, atNs int64, stamp Stamp) bool {
			b.data = append(b.data, d...)
			b.stamps = append(b.stamps, atNs)
			b.since = append(b.since, sinceNs)
			b.ends = append(b.ends, len(b.data))
			if stamp == StampSocket {
				b.kernel++
			}
			return true
		})
		_, err := c.End()
		if err == nil && c.Want(1, NoEndMark) {
			continue
		}
		if err != nil && c.Unread() == 0 {
			select {
			case b.ended <- err:
			default:
			}
		}
		break
	}
	select {
	case b.grown <- struct{}{}:
	default:
	}
}

func (b *inbox) waitFor(t *testing.T, n int) []byte {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		b.mu.Lock()
		data := b.data
		b.mu.Unlock()
		if len(data) >= n {
			return data
		}
		select {
		case <-b.grown:
		case <-deadline:
			t.Fatalf("only %d of %d bytes arrived", len(data), n)
		}
	}
}

func TestBytesArriveInOrderWithKernelTimes(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	in := newInbox()
	c, peer := pair(t, r, in.ready)
	rng := rand.New(rand.NewPCG(1, 2))
	var want []byte
	before := clock.Now()
	for range 400 {
		piece := make([]byte, 1+rng.IntN(9000))
		for i := range piece {
			piece[i] = byte(rng.Uint32())
		}
		want = append(want, piece...)
		_, err := peer.Write(piece)
		require.NoError(t, err)
	}
	require.NoError(t, peer.Close())
	got := in.waitFor(t, len(want))
	require.True(t, bytes.Equal(want, got))
	require.ErrorIs(t, <-in.ended, io.EOF)
	after := clock.Now()
	last := before - 1_000_000
	for _, ns := range in.stamps {
		require.GreaterOrEqual(t, ns, last)
		require.LessOrEqual(t, ns, after+1_000_000)
		last = ns
	}
	require.Equal(t, len(in.stamps), in.kernel, "every receive on TCP carries the kernel's time")
	in.close(c, false)
	require.NoError(t, r.Close())
}

func TestStampsAreTheKernelsEvenWhenGoIsBusy(t *testing.T) {
	// Goroutines keep every P busy for far longer than the gap between two sends. Receives must still carry the time of the
	// send that completed them, and a reader beside Go's scheduler must take most of them one by one.
	r, err := New()
	require.NoError(t, err)
	in := newInbox()
	c, peer := pair(t, r, in.ready)
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range 50 * runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			x := 0
			for {
				select {
				case <-stop:
					return
				default:
					x++
				}
			}
		})
	}
	const sends = 40
	token := []byte("data: token\n\n")
	before, after := make([]int64, sends), make([]int64, sends)
	for i := range sends {
		before[i] = clock.Now()
		_, err := peer.Write(token)
		require.NoError(t, err)
		after[i] = clock.Now()
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	busy.Wait()
	in.waitFor(t, sends*len(token))
	in.mu.Lock()
	require.Equal(t, len(in.stamps), in.kernel)
	for i, ns := range in.stamps {
		require.Zero(t, in.ends[i]%len(token))
		last := in.ends[i]/len(token) - 1
		require.GreaterOrEqual(t, ns, before[last]-clockNoiseNs, "send %d", last)
		require.LessOrEqual(t, ns, after[last]+clockNoiseNs, "send %d", last)
	}
	if r.Mode() == Detached { // a goroutine would run once in half a second
		require.GreaterOrEqual(t, len(in.stamps), sends/4)
	}
	in.mu.Unlock()
	in.close(c, false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

func TestStamps_SurviveAStepOfTheWallClock(t *testing.T) {
	// The reader is made to believe in an offset that is an hour off, as it is right after the wall clock was set.
	for _, step := range []time.Duration{time.Hour, -time.Hour, 20 * time.Millisecond, -20 * time.Millisecond} {
		t.Run(step.String(), func(t *testing.T) {
			r, err := New()
			require.NoError(t, err)
			in := newInbox()
			c, peer := pair(t, r, in.ready)
			monoNs := func() int64 {
				var ts unix.Timespec
				require.NoError(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
				return ts.Nano()
			}
			// Idle, the thread waits in epoll and does not touch the offset.
			nowNs := monoNs()
			r.mem.sh.wall.Compare(nowNs, time.Now().Add(-step).UnixNano(), nowNs)
			require.EqualValues(t, 0, r.Stats().ClockSteps)
			begunNs := clock.Now()
			const n = 50
			before, after := make([]int64, n), make([]int64, n)
			for i := range n {
				before[i] = clock.Now()
				_, err := peer.Write([]byte("data: token\n\n"))
				require.NoError(t, err)
				in.waitFor(t, 13*(i+1))
				after[i] = clock.Now()
			}
			in.mu.Lock()
			require.Len(t, in.stamps, n)
			for i, ns := range in.stamps {
				require.GreaterOrEqual(t, ns, before[i]-100_000, "stamp %d, %v after the step", i, time.Duration(ns-begunNs))
				require.LessOrEqual(t, ns, after[i]+100_000, "stamp %d", i)
			}
			require.Less(t, n-in.kernel, n/2, "the kernel's times are used again after the step")
			require.EqualValues(t, n-in.kernel, r.Stats().RejectedStamps, "and those that are not are counted")
			in.mu.Unlock()
			require.EqualValues(t, 1, r.Stats().ClockSteps)
			in.close(c, false)
			_ = peer.Close()
			require.NoError(t, r.Close())
		})
	}
}

// What a receive merged came at times that only its bounds tell. The lower one is never too late, whatever kept the thread
// from the socket: here it does not listen, as where the owner is so slow that it must not receive more.
func TestLowerBound_NothingInAReceiveCameBefore(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	in := newInbox()
	c, peer := pair(t, r, in.ready)
	var ends []int     // bytes written
	var doneNs []int64 // and when
	written := 0
	write := func(n int) {
		_, err := peer.Write(make([]byte, n))
		require.NoError(t, err)
		written += n
		ends, doneNs = append(ends, written), append(doneNs, clock.Now())
	}
	const wait = 5 * time.Millisecond
	for range 5 {
		for range 20 {
			write(100)
			in.waitFor(t, written)
		}
		in.mu.Lock()
		require.NoError(t, unix.EpollCtl(int(r.mem.sh.epfd), unix.EPOLL_CTL_MOD, int(c.s.fd), &unix.EpollEvent{Fd: int32(c.id)}))
		c.s.left = 1
		in.mu.Unlock()
		for range 8 {
			write(100)
			time.Sleep(wait) // the time that the receive's bounds must span
		}
		c.s.paused.Store(1)
		in.ready(c) // listens again
		in.waitFor(t, written)
	}
	in.mu.Lock()
	first, merged := 0, 0
	for i, end := range in.ends {
		k := 0
		for ends[k] <= first {
			k++
		}
		// What was written may take a moment to the other socket.
		require.LessOrEqual(t, in.since[i], doneNs[k]+int64(wait), "receive %d begins with byte %d", i, first)
		require.LessOrEqual(t, in.since[i], in.stamps[i]+int64(wait))
		if end-first > 400 {
			merged++
		}
		first = end
	}
	require.Equal(t, 5, merged)
	in.mu.Unlock()
	in.close(c, false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

// An idle socket is looked at all the time, so that a receive's bounds are close where nothing keeps the thread from it.
func TestLowerBound_IsNoOlderThanTheLastLook(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	in := newInbox()
	c, peer := pair(t, r, in.ready)
	const idle = 50 * time.Millisecond
	closest := time.Duration(1 << 62)
	for i := range 40 {
		time.Sleep(idle) // the length of the wait is what is tested
		_, err := peer.Write([]byte("data: token\n\n"))
		require.NoError(t, err)
		in.waitFor(t, 13*(i+1))
		if i > 0 { // the thread waits without end for the first
			in.mu.Lock()
			closest = min(closest, time.Duration(in.stamps[len(in.stamps)-1]-in.since[len(in.since)-1]))
			in.mu.Unlock()
		}
		if closest < idle/5 {
			break
		}
	}
	require.Less(t, closest, idle/5)
	in.close(c, false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

// waitForRoom is for Write.
func waitForRoom(c *Conn) func() error {
	return func() error {
		room, err := c.Room()
		if err != nil {
			return err
		}
		defer room.Close()
		return room.Wait()
	}
}

func TestWrite_WaitsForRoom(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	in := newInbox()
	c, peer := pair(t, r, in.ready)
	var room *Room
	body := make([]byte, 32<<20)
	_, err = c.Write(body, func() error {
		if room == nil {
			var err error
			room, err = c.Room()
			require.NoError(t, err)
			time.AfterFunc(50*time.Millisecond, func() { room.SetDeadline(time.Unix(1, 0)) })
		}
		return room.Wait()
	})
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nobody reads")
	room.Close()
	read := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, peer)
		close(read)
	}()
	_, err = c.Write(body, waitForRoom(c))
	require.NoError(t, err, "somebody reads")
	in.close(c, false)
	<-read
	_ = peer.Close()
	require.NoError(t, r.Close())
}

func TestSendTimeComesFromTheKernel(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	in := newInbox()
	c, peer := pair(t, r, in.ready)
	go func() { _, _ = io.Copy(peer, peer) }()
	total := 0
	for _, size := range []int{1, 100, 70_000, 3} {
		total += size
		sent, err := c.Write(make([]byte, size), waitForRoom(c))
		require.NoError(t, err)
		in.waitFor(t, total)
		ns, ok := c.SentAt(sent)
		require.True(t, ok, "a transmit stamp for %d bytes", size)
		require.GreaterOrEqual(t, ns, sent.BeforeNs-clockNoiseNs)
		require.LessOrEqual(t, ns, clock.Now()+clockNoiseNs, "the echo of the last byte has come")
	}
	in.close(c, false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

func TestThread_WaitForACoreIsMeasured(t *testing.T) {
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		t.Skip("the kernel keeps no account of it")
	}
	r, err := New()
	require.NoError(t, err)
	in := newInbox()
	c, peer := pair(t, r, in.ready)
	_, err = peer.Write([]byte("x"))
	require.NoError(t, err)
	in.waitFor(t, 1) // the thread runs
	first, ok := r.WaitedNs()
	require.True(t, ok)
	begunNs := clock.Now()

	// It is put on one core with a thread that never rests, and behind it.
	tid := int(r.mem.sh.tid.Load())
	var allowed, one unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &allowed))
	for cpu := 0; one.Count() == 0; cpu++ {
		if allowed.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	require.NoError(t, unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: 19}, 0))
	require.NoError(t, unix.SchedSetaffinity(tid, &one))
	var stop atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread ends here, and its affinity with it
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Error(err)
		}
		for !stop.Load() {
		}
	}()
	const enough = int64(5 * time.Millisecond)
	later := first
	for n := 2; later-first < enough && clock.Now()-begunNs < int64(20*time.Second); n++ {
		_, err = peer.Write([]byte("x"))
		require.NoError(t, err)
		in.waitFor(t, n)
		later, ok = r.WaitedNs()
		require.True(t, ok)
	}
	stop.Store(true)
	<-ended
	require.GreaterOrEqual(t, later-first, enough)
	require.LessOrEqual(t, later-first, clock.Now()-begunNs, "it cannot have waited longer than it lived")
	in.close(c, false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

func TestWantDelaysTheCall(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	calls := make(chan int64, 100)
	c, peer := pair(t, r, func(c *Conn) { calls <- c.Unread() })
	require.False(t, c.Want(1000, ChunkedEnd))
	_, err = peer.Write([]byte("a part that is no end"))
	require.NoError(t, err)
	for c.Unread() != 21 {
		runtime.Gosched()
	}
	settle(t, r)
	require.Empty(t, calls)
	_, err = peer.Write([]byte("0\r\n\r\n"))
	require.NoError(t, err)
	require.EqualValues(t, 26, <-calls)
	c.Drain(func([]byte, int64, int64, Stamp) bool { return true })
	require.False(t, c.Want(1000, RecordEnd))
	_, err = peer.Write([]byte("0\r\n\r\n, and more than a small record holds: no end of what is waited for now"))
	require.NoError(t, err)
	for c.Unread() == 0 {
		runtime.Gosched()
	}
	settle(t, r)
	require.Empty(t, calls)
	_, err = peer.Write(append([]byte{23, 3, 3, 0, 22}, make([]byte, 22)...))
	require.NoError(t, err)
	require.Greater(t, <-calls, int64(27))
	c.Want(1<<40, NoEndMark)
	require.NoError(t, peer.SetLinger(0))
	require.NoError(t, peer.Close())
	<-calls
	_, err = c.End()
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
	c.Close(false)
	require.NoError(t, r.Close())
}

func TestEndings(t *testing.T) {
	record := func(size int) []byte {
		return append([]byte{applicationData, 3, 3, byte(size >> 8), byte(size)}, make([]byte, size)...)
	}
	event := record(230)
	frame := func(flags byte, size int) []byte {
		return append([]byte{0, 0, byte(size), 0, flags, 0, 0, 0, 3}, make([]byte, size)...)
	}
	for _, tt := range []struct {
		ending EndMark
		data   []byte
		want   bool
	}{
		{NoEndMark, []byte("0\r\n\r\n"), false},
		{ChunkedEnd, []byte("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"), true},
		{ChunkedEnd, []byte("e\r\ndata: [DONE]\n\n\r\n"), false},
		{ChunkedEnd, []byte("\r\n"), true},                      // may be the rest of it
		{ChunkedEnd, []byte("f\r\ndata: x\r\n\r\n\r\n"), false}, // an event that ends in CRLFs
		{ChunkedEnd, []byte("f\r\ndata: x\r\n\r\n\r\n0\r\n\r\n"), true},
		{ChunkedEnd, []byte("\r\n\r\n\r\n"), false}, // the rest of such an event
		{ChunkedEnd, []byte("0\r\n\r\n"), true},
		{ChunkedEnd, []byte("0\r\nServer-Timing: x\r\n\r\n"), true},
		{ChunkedEnd, []byte("f\ndata: x\n\n\n0\n\n"), true},
		{RecordEnd, record(22), true}, // "0\r\n\r\n" under TLS 1.3
		{RecordEnd, append(event, record(29)...), true},
		{RecordEnd, append(event, record(smallRecord)...), true},
		{RecordEnd, append(event, record(smallRecord+1)...), false},
		{RecordEnd, append(event, event...), false},
		{RecordEnd, append(record(22), event...), false}, // small, but not the last
		{RecordEnd, make([]byte, 20), true},
		{FrameEnd, append(frame(0, 200), frame(1, 0)...), true},
		{FrameEnd, frame(0, 200), false},
		{FrameEnd, frame(1, 200), false},
		{FrameEnd, nil, true},
	} {
		require.Equal(t, tt.want, looksLikeEnd(uint32(tt.ending), unsafe.Pointer(unsafe.SliceData(tt.data)), uintptr(len(tt.data))), "%d %q", tt.ending, tt.data)
	}
}

func TestEnd_ReceiveUnlikeThoseBeforeLooksLikeOne(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	calls := make(chan int64, 100)
	c, peer := pair(t, r, func(c *Conn) { calls <- c.Unread() })
	require.False(t, c.Want(1<<40, RecordEnd))
	all := int64(0)
	send := func(size int) {
		_, err := peer.Write(make([]byte, size))
		require.NoError(t, err)
		for all += int64(size); c.Unread() != all; {
			runtime.Gosched()
		}
	}
	for _, size := range []int{232, 235, 228, 240, 232, 251, 230} {
		send(size)
		require.False(t, c.LooksOver())
	}
	settle(t, r)
	require.Empty(t, calls)
	send(500)
	require.Equal(t, all, <-calls)
	require.True(t, c.LooksOver())
	send(232)
	send(90)
	for <-calls != all {
	}
	c.Close(false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

func TestReader_ManyConnectionsOpenAndClose(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		for {
			p, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(p, p); _ = p.Close() }()
		}
	}()
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for i := range 60 {
				d, err := net.Dial("tcp", l.Addr().String())
				require.NoError(t, err)
				in := newInbox()
				c, err := r.AddTCP(d.(*net.TCPConn), in.ready)
				require.NoError(t, err)
				msg := []byte(fmt.Sprintf("hello %d %d", g, i))
				_, err = c.Write(msg, waitForRoom(c))
				require.NoError(t, err)
				require.Equal(t, string(msg), string(in.waitFor(t, len(msg))))
				in.close(c, i%3 == 0)
			}
		})
	}
	all.Wait()
	_ = l.Close()
	for r.Stats().BlocksInUse != 0 { // the thread closes what it was told to
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, r.Close())
}

func TestPause_SlowParserPausesTheSender(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	c, peer := pair(t, r, func(*Conn) {})
	c.Want(1<<40, NoEndMark)
	wrote := make(chan int, 1)
	total := 4 * pauseBytes
	go func() {
		n, _ := peer.Write(make([]byte, total))
		wrote <- n
	}()
	for c.s.paused.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	require.Less(t, c.Unread(), int64(2*pauseBytes))
	got := 0
	for got < total {
		c.Drain(func(d []byte, _, _ int64, _ Stamp) bool { got += len(d); return true })
		runtime.Gosched()
	}
	require.Equal(t, total, <-wrote)
	c.Close(false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

// hold keeps the thread from reading a connection until the returned function is called, as a pause does.
func hold(t *testing.T, c *Conn) (release func()) {
	t.Helper()
	set := func(events uint32) {
		ev := unix.EpollEvent{Events: events, Fd: int32(c.id)}
		require.NoError(t, unix.EpollCtl(int(c.r.mem.sh.epfd), unix.EPOLL_CTL_MOD, int(c.s.fd), &ev))
	}
	set(0)
	return func() { set(unix.EPOLLIN) }
}

func TestEnd_FromBeforeTheStreamWasKnownIsNotWaitedFor(t *testing.T) {
	// The last receive of a stream comes while the head is parsed: no receive follows that could call.
	r, err := New()
	require.NoError(t, err)
	c, peer := pair(t, r, func(*Conn) {})
	require.False(t, c.Want(1<<40, NoEndMark))
	_, err = peer.Write([]byte("0\r\n\r\n"))
	require.NoError(t, err)
	for c.Unread() != 5 {
		runtime.Gosched()
	}
	require.True(t, c.Want(1000, ChunkedEnd), "what is there has to be looked at")
	require.False(t, c.Want(1000, ChunkedEnd), "the owner has looked; the next receive that ends a stream calls")
	c.Close(false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

func TestEnd_ThatFillsTheRoomExactlyCalls(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	calls := make(chan int64, 100)
	c, peer := pair(t, r, func(c *Conn) { calls <- c.Unread() })
	require.False(t, c.Want(1<<40, ChunkedEnd))
	release := hold(t, c)
	room := len(block{}.data) - segmentHead
	end := "0\r\n\r\n"
	_, err = peer.Write(append(bytes.Repeat([]byte("x"), room-len(end)), end...))
	require.NoError(t, err)
	for waiting := 0; waiting < room; {
		waiting, err = unix.IoctlGetInt(int(c.s.fd), unix.TIOCINQ)
		require.NoError(t, err)
		runtime.Gosched()
	}
	release()
	require.EqualValues(t, room, <-calls)
	c.Close(false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

func TestPause_AfterTheDrainEnds(t *testing.T) {
	// The thread sees too much unread, the owner drains it all, and only then does the thread pause: the call that follows
	// finds nothing to drain.
	r, err := New()
	require.NoError(t, err)
	in := newInbox()
	c, peer := pair(t, r, in.ready)
	hold(t, c)
	c.s.paused.Store(1)
	c.ready() // as the dispatcher does
	_, err = peer.Write([]byte("more"))
	require.NoError(t, err)
	require.Equal(t, "more", string(in.waitFor(t, 4)))
	in.close(c, false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

func TestEventsThatEndInCRLFsWakeNobody(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	calls := make(chan int64, 100)
	c, peer := pair(t, r, func(c *Conn) { calls <- c.Unread() })
	require.False(t, c.Want(1<<20, ChunkedEnd))
	all := int64(0)
	for i := range 20 {
		event := fmt.Sprintf("data: token %d\r\n\r\n", i)
		n, err := fmt.Fprintf(peer, "%x\r\n%s\r\n", len(event), event)
		require.NoError(t, err)
		for all += int64(n); c.Unread() != all; {
			runtime.Gosched()
		}
	}
	settle(t, r)
	require.Empty(t, calls)
	n, err := io.WriteString(peer, "0\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, all+int64(n), <-calls)
	c.Close(false)
	_ = peer.Close()
	require.NoError(t, r.Close())
}

// descriptors returns the process's open descriptors but for those of Go's poller.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	var open []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // but for the folder's own
			open = append(open, e.Name()+" "+to)
		}
	}
	return open
}

func TestNew_ErrorNamesWhatTheHostRefusesAndLeavesNothing(t *testing.T) {
	good := func() *host {
		return &host{mmap: mapMemory, run: runThread, maxBlocks: maxBlocks, answerTime: 20 * time.Second}
	}
	r, err := start(Attached, good()) // Go's poller and the kernel's stamps begin once a process
	require.NoError(t, err)
	require.NoError(t, r.Close())

	for sentence, tt := range map[string]struct {
		change func(h *host)
		says   string
	}{
		"no memory at all": {func(h *host) {
			h.mmap = func(int) ([]byte, error) { return nil, unix.ENOMEM }
		}, "mapping"},
		"no memory for the blocks": {func(h *host) {
			h.mmap = func(size int) ([]byte, error) {
				if size == maxBlocks*blockBytes {
					return nil, unix.ENOMEM
				}
				return mapMemory(size)
			}
		}, fmt.Sprintf("mapping %d bytes: cannot allocate memory", maxBlocks*blockBytes)},
		"a thread that does not answer, and ends when it is told to": {func(h *host) {
			h.answerTime = 50 * time.Millisecond
			h.run = func(sh *sharedState, _, _ unsafe.Pointer) {
				for sh.stop.Load() == 0 {
					time.Sleep(time.Millisecond)
				}
				sh.exited.Store(1)
			}
		}, "the thread did not answer within 50ms"},
	} {
		t.Run(sentence, func(t *testing.T) {
			before := descriptors(t)
			h := good()
			tt.change(h)
			_, err := start(Detached, h)
			require.ErrorContains(t, err, tt.says)
			require.Equal(t, before, descriptors(t))
		})
	}

	t.Run("no descriptors", func(t *testing.T) {
		var was unix.Rlimit
		require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
		before := descriptors(t)
		for left := range 3 { // as many as are left: epoll, eventfd, eventfd
			limit := was
			limit.Cur = uint64(lowestFree(t) + left)
			require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
			_, err := start(Attached, good())
			require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
			require.ErrorIs(t, err, unix.EMFILE)
			require.Equal(t, before, descriptors(t))
		}
	})

	t.Run("a thread that is never heard of", func(t *testing.T) {
		h, free := good(), make(chan struct{})
		h.answerTime = 20 * time.Millisecond
		h.run = func(*sharedState, unsafe.Pointer, unsafe.Pointer) { <-free }
		_, err := start(Detached, h)
		require.ErrorContains(t, err, "did not answer", "what it may still use stays as it is")
		close(free)
	})
}

// lowestFree returns the number that the next descriptor gets.
func lowestFree(t *testing.T) int {
	t.Helper()
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	return fd
}

func TestMode_IsChosenByTheEnvironment(t *testing.T) {
	best := Attached
	if canDetach {
		best = Detached
	}
	for value, want := range map[string]Mode{"": best, "attached": Attached, "detached": best} {
		t.Setenv(modeVariable, value)
		r, err := New()
		if value == "detached" && !canDetach {
			require.ErrorContains(t, err, "TOKENCLOCK_READER=detached is not possible")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, r.Mode())
		require.NotEmpty(t, r.Class())
		require.NotContains(t, r.Class(), "unknown")
		in := newInbox()
		c, peer := pair(t, r, in.ready)
		_, err = peer.Write([]byte("read in either way"))
		require.NoError(t, err)
		in.waitFor(t, 18)
		in.close(c, false)
		_ = peer.Close()
		require.NoError(t, r.Close())
	}
	t.Setenv(modeVariable, "off")
	_, err := New()
	require.ErrorContains(t, err, "TOKENCLOCK_READER=off")
	t.Setenv(modeVariable, "of")
	_, err = New()
	require.ErrorContains(t, err, "TOKENCLOCK_READER=of is not one of detached, attached, off")
}

func TestReader_WithOpenConnectionsDoesNotClose(t *testing.T) {
	r, err := New()
	require.NoError(t, err)
	c, peer := pair(t, r, func(*Conn) {})
	require.ErrorContains(t, r.Close(), "1 connections are open")
	c.Close(false)
	if debug {
		require.Panics(t, func() { c.Unread() }, "its cell may be another's")
	}
	_ = peer.Close()
	require.NoError(t, r.Close())
}

func TestMemory_ConnectionWaitsForABlock(t *testing.T) {
	r, err := start(defaultMode(), &host{mmap: mapMemory, run: runThread, maxBlocks: 4, answerTime: 20 * time.Second}) // block 0 is none
	require.NoError(t, err)
	var inboxes [3]*inbox
	var conns [3]*Conn
	var peers [4]*net.TCPConn
	for i := range inboxes {
		inboxes[i] = newInbox()
		conns[i], peers[i] = pair(t, r, inboxes[i].ready)
		_, err := peers[i].Write([]byte("x"))
		require.NoError(t, err)
		inboxes[i].waitFor(t, 1)
	}
	var calls atomic.Int64
	late := newInbox()
	var lateConn *Conn
	lateConn, peers[3] = pair(t, r, func(c *Conn) { calls.Add(1); late.ready(c) })
	_, err = peers[3].Write([]byte("y"))
	require.NoError(t, err)
	begunNs := clock.Now()
	for r.Stats().Starved < 50 {
		time.Sleep(time.Millisecond)
	}
	tookNs := clock.Now() - begunNs
	require.GreaterOrEqual(t, tookNs, int64(45*starvedNs), "it does not try again and again at once")
	late.mu.Lock()
	require.Empty(t, late.data)
	late.mu.Unlock()

	_, err = peers[0].Write([]byte("z")) // those that have memory go on
	require.NoError(t, err)
	inboxes[0].waitFor(t, 2)
	inboxes[1].close(conns[1], false)
	late.waitFor(t, 1)
	require.Positive(t, calls.Load())
	late.close(lateConn, false)
	inboxes[0].close(conns[0], false)
	inboxes[2].close(conns[2], false)
	for _, p := range peers {
		_ = p.Close()
	}
	require.NoError(t, r.Close())
}

func defaultMode() Mode {
	if canDetach {
		return Detached
	}
	return Attached
}
