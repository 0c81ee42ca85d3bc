//go:build linux && (amd64 || arm64)

package client

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
	"github.com/tokenclock/tokenclock/extension/internal/ring"
)

// sharedReader is the process's reader thread, started with the first connection or question that wants it and never
// ended. nil where there is none, for noReader; connections are then read by goroutines.
var sharedReader = sync.OnceValue(func() *reader.Reader {
	r, err := reader.New()
	if err != nil {
		noReader.Store(&err)
		return nil
	}
	readerRuns.Store(true)
	return r
})

var noReader atomic.Pointer[error]

// CheckReader returns what is wrong with the environment's choice of the reader's mode.
func CheckReader() error {
	_, err := reader.WantedMode()
	return err
}

// ReaderState returns how streams are read: "detached" or "attached" by the reader thread, with the class in which the
// kernel schedules it, or "none: " and why.
func ReaderState() (mode, class string) {
	switch {
	case readerRuns.Load():
	case sharedRing() != nil:
		return "none: the packet ring's goroutine reads", ""
	case !stampsAllow(reader.StampSocket):
		return "none: " + string(StampsUser) + " stamps were asked for, and goroutines take them", ""
	}
	if r := sharedReader(); r != nil {
		return string(r.Mode()), r.Class()
	}
	if err := noReader.Load(); err != nil {
		return "none: " + (*err).Error(), ""
	}
	return "none: it was not started", ""
}

// ClockSteps returns how often the wall clock was found to have been set, and how many of the kernel's time stamps were
// rejected since: see clock.Offset.
func ClockSteps() (steps, rejected int64) {
	steps, rejected = clock.WallSteps()
	if readerRuns.Load() {
		s := sharedReader().Stats()
		steps, rejected = max(steps, s.ClockSteps), rejected+s.RejectedStamps
	}
	return steps, rejected
}

// ReaderWaitedNs returns how long the reader thread has waited for a core since it began; false where there is no such
// thread or no account of it.
func ReaderWaitedNs() (ns int64, ok bool) {
	if !readerRuns.Load() {
		return 0, false
	}
	return sharedReader().WaitedNs()
}

var readerRuns atomic.Bool

// flushBytes of a stream may wait unread by the parser; the reader thread's memory a stream is this and a block.
const flushBytes = 16 << 10

// deferTime is the longest that a stream which is not parsed at once waits for it: ten wake-ups a second.
const deferTime = 100 * time.Millisecond

// newLink puts a connection on the reader thread where its replies are streams, else leaves it to Go's poller: there a
// reply is one receive, and the goroutine that waits for it is woken without a detour.
func (c *Client) newLink(raw Counted, key linkKey) (link, error) {
	tcp, ok := raw.Conn.(*net.TCPConn)
	if !ok || !c.o.Streamed || !canAdopt() {
		seg, err := newNetConn(raw)
		if err != nil {
			return nil, err
		}
		return &blockingLink{id: key, conn: seg, seg: seg}, nil
	}
	l := &readerLink{id: key, counted: raw}
	l.mu.Lock() // ready may be called before conn is set
	defer l.mu.Unlock()
	var err error
	if l.conn, err = adopt(tcp, l.ready); err != nil {
		return nil, err
	}
	return l, nil
}

// wire is a connection out of Go's poller: of the packet ring, or of the reader thread.
type wire interface {
	Drain(f func(data []byte, sinceNs, atNs int64, stamp reader.Stamp) bool)
	Want(bytes int64, endMark reader.EndMark) bool
	Wants() reader.EndMark
	LooksOver() bool
	Unread() int64
	End() (atNs int64, err error)
	Quiet() bool
	Write(b []byte, wait func() error) (reader.Sent, error)
	Room() (*reader.Room, error)
	SentAt(sent reader.Sent) (atNs int64, ok bool)
	Over()
	Close(abort bool)
}

// canAdopt reports whether connections can be taken out of Go's poller.
func canAdopt() bool {
	return sharedRing() != nil || stampsAllow(reader.StampSocket) && sharedReader() != nil
}

// adopt moves a connection's descriptor from Go's poller to the packet ring, or where there is none to the reader thread.
func adopt(tcp *net.TCPConn, ready func()) (wire, error) {
	_ = tcp.SetNoDelay(true)
	local, remote := addresses(tcp)
	raw, err := tcp.SyscallConn()
	fd := -1
	if err == nil {
		ctlErr := raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) })
		err = errors.Join(ctlErr, err)
	}
	if err = errors.Join(err, tcp.Close()); err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, err
	}
	if r := sharedRing(); r != nil {
		return r.Add(fd, local, remote, func(*ring.Conn) { ready() })
	}
	return sharedReader().Add(fd, func(*reader.Conn) { ready() })
}

// addresses returns both ends of a connection, as they stand in its packets.
func addresses(tcp *net.TCPConn) (local, remote netip.AddrPort) {
	l, _ := tcp.LocalAddr().(*net.TCPAddr)
	r, _ := tcp.RemoteAddr().(*net.TCPAddr)
	return l.AddrPort(), r.AddrPort()
}

// newSegmentConn is what TLS runs on: the reader thread's receives, one a read.
func (c *Client) newSegmentConn(raw Counted) (segmentConn, error) {
	tcp, ok := raw.Conn.(*net.TCPConn)
	if !ok || !canAdopt() {
		return newNetConn(raw)
	}
	s := &readerConn{counted: raw, local: tcp.LocalAddr(), remote: tcp.RemoteAddr(), wake: make(chan struct{}, 1), interrupt: make(chan struct{})}
	conn, err := adopt(tcp, func() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	s.conn = conn
	if c.o.Streamed {
		s.endMissed = &c.endMissed
	}
	return s, nil
}

// readerLink is a plain connection whose bytes the reader thread takes; the parser runs on its dispatching goroutine.
type readerLink struct {
	linkTimes
	id      linkKey
	counted Counted

	mu     sync.Mutex // guards all below, and every use of conn but the write
	conn   wire
	x      *exchange
	sent   reader.Sent
	broken bool // not all of the request could be sent
	closed bool
}

func (l *readerLink) key() linkKey { return l.id }

func (l *readerLink) alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn.Quiet()
}

func (l *readerLink) close(abort bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.conn.Close(abort)
	}
}

func (l *readerLink) send(ctx context.Context, x *exchange, request []byte) (over bool, err error) {
	l.mu.Lock()
	l.conn.Want(1, reader.NoEndMark)
	l.mu.Unlock()
	full := fullSocket{ctx: ctx, conn: l.conn}
	full.deadlineNs, _ = x.limit(clock.Now())
	// Not under the lock: a peer that takes a long request slowly must not hold the dispatching goroutine up. The response
	// may begin, and end, before Write returns; it waits with the reader until x is made known.
	sent, writeErr := l.conn.Write(request, full.wait)
	full.close()
	l.mu.Lock()
	l.sent = sent
	x.sentAt(sendTime(sent.BeforeNs, sent.AfterNs))
	if writeErr == nil {
		l.counted.sent(len(request))
	}
	// The peer has closed: an answer, an error most likely, may have come before all was sent, and the thread be behind.
	broken := endedEarly(writeErr)
	l.broken = broken
	finished, endErr := l.pump(x)
	if !finished && (writeErr == nil || broken) {
		l.x = x
	}
	l.mu.Unlock()
	switch {
	case finished && endErr == nil:
		x.finish(nil, endComplete)
	case finished:
		x.finish(endErr, endConnection)
	case writeErr != nil && !broken:
		return false, writeErr
	}
	return finished, nil
}

// fullSocket waits for room to send in, until a time of package clock (0 = for ever) or the end of the context.
type fullSocket struct {
	ctx        context.Context
	conn       wire
	deadlineNs int64

	room *reader.Room // once there was none
	stop func() bool
}

func (f *fullSocket) wait() error {
	if f.room == nil {
		room, err := f.conn.Room()
		if err != nil {
			return err
		}
		f.room = room
		if f.deadlineNs > 0 {
			room.SetDeadline(clock.Wall(f.deadlineNs))
		}
		f.stop = context.AfterFunc(f.ctx, func() { room.SetDeadline(past) })
	}
	return f.room.Wait()
}

func (f *fullSocket) close() {
	if f.room != nil {
		f.stop()
		f.room.Close()
	}
}

// ready parses what has arrived. It runs on the reader's dispatching goroutine.
func (l *readerLink) ready() {
	l.mu.Lock()
	x := l.x
	if l.closed || x == nil {
		l.mu.Unlock()
		return // an idle connection was closed by the server: alive will see it
	}
	finished, err := l.pump(x)
	if finished {
		l.x = nil
	}
	l.mu.Unlock()
	if !finished {
		return
	}
	if err != nil {
		x.finish(err, endConnection)
	} else {
		x.finish(nil, endComplete)
	}
}

// pump feeds the parser all that is there and reports whether the response is over: complete (nil) or cut (the error).
func (l *readerLink) pump(x *exchange) (finished bool, err error) {
	for {
		done := false
		received := 0
		l.conn.Drain(func(data []byte, sinceNs, atNs int64, stamp reader.Stamp) bool {
			received += len(data)
			x.countReceive(stamp)
			done = x.p.FeedWithin(data, x.since(sinceNs), atNs)
			return !done
		})
		l.counted.received(received)
		if done {
			l.noteSent(x)
			l.conn.Over()
			if l.broken {
				x.p.Result().KeepAlive = false
			}
			return true, nil
		}
		if atNs, err := l.conn.End(); err != nil && l.conn.Unread() == 0 {
			l.noteSent(x)
			x.overNs = atNs
			return true, err
		}
		want, mark := int64(1), reader.NoEndMark
		if x.p.HeadDone() {
			switch left := x.p.Remaining(); {
			case left == -1:
				want, mark = flushBytes, reader.ChunkedEnd
			case left < 0:
				want = flushBytes
			default:
				want = min(left, flushBytes)
			}
		}
		if !l.conn.Want(want, mark) {
			return false, nil
		}
	}
}

func (l *readerLink) noteSent(x *exchange) {
	if ns, ok := l.conn.SentAt(l.sent); ok {
		x.takeSentStamp(ns, 0, true)
	}
}

// giveUp ends x from outside the dispatching goroutine, unless it has ended by itself. Callbacks may run so late that x was
// recycled since and stands for the next request on this very link: use tells.
func (l *readerLink) giveUp(x *exchange, use uint64, err error, kind endKind) {
	l.mu.Lock()
	if l.x != x || x.use != use {
		l.mu.Unlock()
		return
	}
	finished, endErr := l.pump(x) // what has arrived by now counts
	l.x = nil
	if !finished {
		l.noteSent(x)
	}
	l.mu.Unlock()
	switch {
	case finished && endErr == nil:
		x.finish(nil, endComplete)
	case finished:
		x.finish(endErr, endConnection)
	default:
		x.finish(err, kind)
	}
}

func (l *readerLink) wait(ctx context.Context, x *exchange) {
	nowNs := clock.Now()
	timer := time.NewTimer(time.Duration(x.nextCheckNs(nowNs) - nowNs))
	defer timer.Stop()
	for use := x.use; ; {
		select {
		case <-x.ended:
			x.ended <- struct{}{} // for run, which takes it
		case <-ctx.Done():
			l.giveUp(x, use, ctx.Err(), endInterrupted)
		case <-timer.C:
			if l.check(x, use, timer) {
				continue
			}
		}
		return
	}
}

// check ends x where its time is over, or where the answer is complete while the reader thread saw no end. It reports whether x goes
// on; the timer, nil = x's own, is then set for the next check.
func (l *readerLink) check(x *exchange, use uint64, timer *time.Timer) bool {
	l.mu.Lock()
	if l.x != x || x.use != use {
		l.mu.Unlock()
		return false
	}
	nowNs := clock.Now()
	finished, err := l.pump(x)
	kind := endConnection
	x.enough(nowNs)
	switch {
	case finished && err == nil:
		kind = endComplete
	case finished:
	case x.graceOver(nowNs):
		kind = endGraceOver
	case x.endAtNs > 0 && nowNs >= x.endAtNs:
		err, kind = os.ErrDeadlineExceeded, endDeadline
	default:
		if timer == nil {
			timer = x.timer
		}
		timer.Reset(time.Duration(x.nextCheckNs(nowNs) - nowNs))
		l.mu.Unlock()
		return true
	}
	l.x = nil
	if !finished {
		l.noteSent(x)
	}
	l.mu.Unlock()
	x.finish(err, kind)
	return false
}

func (l *readerLink) async(ctx context.Context, x *exchange) {
	// Under the lock, so that an end cannot run ahead of stop and timer being set.
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.x != x {
		return
	}
	use := x.use
	x.stop = context.AfterFunc(ctx, func() { l.giveUp(x, use, ctx.Err(), endInterrupted) })
	nowNs := clock.Now()
	x.timer = time.AfterFunc(time.Duration(x.nextCheckNs(nowNs)-nowNs), func() { l.check(x, use, nil) })
}

// readerConn is a connection on the reader thread with the blocking reads that crypto/tls wants.
type readerConn struct {
	counted       Counted
	conn          wire
	local, remote net.Addr
	wake          chan struct{}
	interrupt     chan struct{} // closed and replaced when the deadline changes

	mu            sync.Mutex
	readDeadline  time.Time
	writeDeadline time.Time
	room          *reader.Room // while Write waits for some
	abort, closed bool

	noWait    bool
	endMark   reader.EndMark // what wakes it while its reads are deferred
	timedOut  bool           // nothing did, but deferTime
	endMissed *atomic.Bool   // the client's; nil: its reads are never deferred
	timer     *time.Timer

	pending []byte // rest of a receive that did not fit
	buf     []byte
	sinceNs int64
	atNs    int64
	source  reader.Stamp
	last    reader.Sent
}

func (c *readerConn) Read(b []byte) (int, error) {
	for {
		if len(c.pending) == 0 {
			c.mu.Lock()
			if c.closed {
				c.mu.Unlock()
				return 0, net.ErrClosed
			}
			c.conn.Drain(func(data []byte, sinceNs, atNs int64, stamp reader.Stamp) bool {
				c.buf = append(c.buf[:0], data...)
				c.pending, c.sinceNs, c.atNs, c.source = c.buf, sinceNs, atNs, stamp
				return false
			})
			c.counted.received(len(c.pending))
			c.mu.Unlock()
		}
		if len(c.pending) > 0 {
			n := copy(b, c.pending)
			c.pending = c.pending[n:]
			return n, nil
		}
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return 0, net.ErrClosed
		}
		_, err := c.conn.End()
		if err != nil && c.conn.Unread() == 0 {
			c.mu.Unlock()
			return 0, err
		}
		want, left := int64(1), time.Duration(math.MaxInt64)
		if c.endMark != reader.NoEndMark {
			want, left = flushBytes, deferTime
		}
		more := c.conn.Want(want, c.endMark) && c.conn.Unread() > 0
		deadline, interrupt := c.readDeadline, c.interrupt
		c.mu.Unlock()
		if more {
			continue
		}
		if c.noWait {
			return 0, os.ErrDeadlineExceeded
		}
		if !deadline.IsZero() {
			left = min(left, time.Until(deadline))
			if left <= 0 {
				return 0, os.ErrDeadlineExceeded
			}
		}
		if c.timer == nil {
			c.timer = time.NewTimer(left)
		} else {
			c.timer.Reset(left)
		}
		c.timedOut = false
		select {
		case <-c.wake:
		case <-interrupt:
		case <-c.timer.C:
			c.timedOut = true
		}
		c.timer.Stop()
	}
}

// setReadMode gives deferred reads up for good where nothing but deferTime ended the wait: the response ended in another way than
// its mark says.
func (c *readerConn) setReadMode(mode readMode) {
	was := c.endMark
	switch {
	case mode == readEagerly || c.endMissed == nil || c.endMissed.Load():
		c.endMark = reader.NoEndMark
	case mode == deferUntilRecord:
		c.endMark = reader.RecordEnd
	case mode == deferUntilFrame:
		c.endMark = reader.FrameEnd
	}
	if mode == readEagerly {
		c.conn.Over()
	}
	if mode == readEagerly && was != reader.NoEndMark && c.timedOut && !c.conn.LooksOver() {
		c.endMissed.Store(true)
	}
}

func (c *readerConn) Write(b []byte) (int, error) {
	sent, err := c.conn.Write(b, c.waitForRoom)
	if c.room != nil { // only this goroutine sets it
		c.mu.Lock()
		c.room.Close()
		c.room = nil
		c.mu.Unlock()
	}
	if err != nil {
		return 0, err
	}
	c.last = sent
	c.counted.sent(len(b))
	return len(b), nil
}

func (c *readerConn) waitForRoom() error {
	c.mu.Lock()
	if c.room == nil {
		room, err := c.conn.Room()
		if err != nil {
			c.mu.Unlock()
			return err
		}
		room.SetDeadline(c.writeDeadline)
		c.room = room
	}
	c.mu.Unlock()
	return c.room.Wait()
}

func (c *readerConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.conn.Close(c.abort)
		close(c.interrupt)
		c.interrupt = make(chan struct{})
	}
	return nil
}

func (c *readerConn) LocalAddr() net.Addr  { return c.local }
func (c *readerConn) RemoteAddr() net.Addr { return c.remote }

func (c *readerConn) SetDeadline(t time.Time) error {
	_ = c.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

func (c *readerConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline = t
	close(c.interrupt)
	c.interrupt = make(chan struct{})
	return nil
}

func (c *readerConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeDeadline = t
	if c.room != nil {
		c.room.SetDeadline(t)
	}
	return nil
}

func (c *readerConn) stamp() (int64, reader.Stamp) { return c.atNs, c.source }
func (c *readerConn) since() int64                 { return c.sinceNs }

func (c *readerConn) sentStamp() (atNs, uncertaintyNs int64, kernel bool) {
	if ns, ok := c.conn.SentAt(c.last); ok {
		return ns, 0, true
	}
	return sendTime(c.last.BeforeNs, c.last.AfterNs)
}

func (c *readerConn) quiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) == 0 && c.conn.Quiet()
}

func (c *readerConn) setNoWait(on bool) { c.noWait = on }

func (c *readerConn) setAbort() {
	c.mu.Lock()
	c.abort = true
	c.mu.Unlock()
}

// netConn is a connection in Go's poller whose receives carry the kernel's time. Transmit times are not asked for: the
// error queue's event would look to Go's poller like a broken descriptor.
type netConn struct {
	plainConn
	watch   *ring.Watch // nil: the socket's times are what there is
	read    int64       // bytes so far
	wrote   int64
	raw     syscall.RawConn
	control []byte
	source  reader.Stamp
	noWait  bool

	into    []byte
	n       int
	oob     int
	err     error
	receive func(fd uintptr) bool
}

// newNetConn closes raw if an error is returned.
func newNetConn(raw Counted) (segmentConn, error) {
	c := &netConn{plainConn: plainConn{Counted: raw}}
	sc, ok := raw.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.Join(errors.New("a connection without a descriptor"), raw.Close())
	}
	var err error
	if c.raw, err = sc.SyscallConn(); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	if tcp, ok := raw.Conn.(*net.TCPConn); ok && stampsAllow(reader.StampSocket) {
		if r := sharedRing(); r != nil {
			if c.watch, err = r.Watch(addresses(tcp)); err != nil {
				return nil, errors.Join(err, raw.Close())
			}
		}
		clock.KeepStamping()
		ctlErr := c.raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		})
		if ctlErr == nil && err == nil {
			c.control = make([]byte, 64)
		}
	}
	c.receive = func(fd uintptr) bool {
		beforeNs := clock.Now()
		c.n, c.oob, _, _, c.err = unix.Recvmsg(int(fd), c.into, c.control, 0)
		if c.err == unix.EAGAIN {
			c.emptyNs = beforeNs
			return c.noWait
		}
		c.took(c.n, len(c.into), beforeNs)
		return true
	}
	return c, nil
}

func (c *netConn) Read(b []byte) (int, error) {
	if c.control == nil {
		return c.plainConn.Read(b)
	}
	c.into = b
	if err := c.raw.Read(c.receive); err != nil {
		return 0, err
	}
	if c.err == unix.EAGAIN && c.noWait {
		return 0, os.ErrDeadlineExceeded
	}
	if c.err != nil {
		return 0, c.err
	}
	if c.n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	c.atNs, c.source = clock.Now(), reader.StampUser
	c.received(c.n)
	c.read += int64(c.n)
	if c.watch != nil {
		if firstNs, lastNs, ok := c.watch.Arrived(c.read-int64(c.n), c.read); ok {
			c.sinceNs, c.atNs, c.source = firstNs, lastNs, reader.StampRing
			return c.n, nil
		}
	}
	if c.oob >= unix.SizeofCmsghdr+16 {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c.control[0]))
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS {
			ts := (*unix.Timespec)(unsafe.Pointer(&c.control[unix.SizeofCmsghdr]))
			if ns, ok := clock.FromWall(ts.Nano(), c.atNs); ok {
				c.atNs, c.source = ns, reader.StampSocket
			}
		}
	}
	return c.n, nil
}

func (c *netConn) stamp() (int64, reader.Stamp) { return c.atNs, c.source }

func (c *netConn) Write(b []byte) (int, error) {
	if c.watch != nil {
		c.watch.Sending(c.wrote, c.read)
	}
	n, err := c.plainConn.Write(b)
	c.wrote += int64(n)
	return n, err
}

func (c *netConn) sentStamp() (atNs, uncertaintyNs int64, kernel bool) {
	if c.watch != nil {
		if atNs, ok := c.watch.Sent(c.wrote); ok {
			return atNs, 0, true
		}
	}
	return c.plainConn.sentStamp()
}

func (c *netConn) Close() error {
	if c.watch != nil {
		c.watch.Close()
	}
	return c.plainConn.Close()
}

func (c *netConn) setNoWait(on bool) {
	if c.noWait = on; c.control == nil {
		c.plainConn.setNoWait(on)
	}
}

func (c *netConn) quiet() bool {
	quiet := false
	_ = c.raw.Control(func(fd uintptr) {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = err == unix.EAGAIN
	})
	return quiet
}
