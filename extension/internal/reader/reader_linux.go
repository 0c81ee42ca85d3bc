//go:build linux && (amd64 || arm64)

// Package reader receives for thousands of connections at once on one thread that Go's scheduler cannot hold up. The
// thread only receives, takes the kernel's time of each segment, and appends; whoever parses is called when a response
// looks complete, a wanted number of bytes is there, or the connection ended.
package reader

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// timestamping asks for the kernel's software times of receives and of sends; a send is named by the offset of its last
// byte (OPT_ID), and only the time comes back, not the packet (OPT_TSONLY).
const timestamping = unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE |
	unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY

// Reader is one reader thread with its connections.
type Reader struct {
	mem      *memory
	wakeFd   int
	notifyFd int

	mode      Mode
	abandoned bool // the thread was never heard of

	mu    sync.Mutex
	free  []uint32
	fresh uint32
	open  int // connections
	conns []atomic.Pointer[Conn]
	gone  sync.WaitGroup
}

// Conn is a connection that the reader thread serves. Its methods are for one goroutine at a time: ready is called on
// the reader's dispatching goroutine, so an owner with another goroutine needs a lock that both hold, and under it a note
// that the connection was closed, for ready may still be called once. ready must not block, and there may be nothing new
// to see.
type Conn struct {
	r     *Reader
	s     *cell
	id    uint32
	ready func()
	wrote int64 // bytes handed to the kernel

	closed atomic.Bool // for debug
}

// Mode is how a reader runs.
type Mode string

// The modes.
const (
	Detached Mode = "detached" // beside Go's scheduler: see thread_linux.go
	Attached Mode = "attached" // as a goroutine on a thread of its own, which Go's scheduler may hold up
	Off      Mode = "off"      // not at all
)

// modeVariable is the environment variable that chooses the mode.
const modeVariable = "TOKENCLOCK_READER"

// WantedMode returns the mode that the environment asks for, by default the best that this build has.
func WantedMode() (Mode, error) {
	switch mode := Mode(os.Getenv(modeVariable)); {
	case mode == "" && canDetach, mode == Detached && canDetach:
		return Detached, nil
	case mode == "" || mode == Attached || mode == Off:
		return cmp.Or(mode, Attached), nil
	case mode == Detached:
		return "", fmt.Errorf("%s=%s is not possible: this binary was built without it", modeVariable, mode)
	default:
		return "", fmt.Errorf("%s=%s is not one of %s, %s, %s", modeVariable, mode, Detached, Attached, Off)
	}
}

// New starts a reader in the mode that the environment asks for. It fails if that is Off, if the host refuses what the
// reader needs, or if its thread does not answer.
func New() (*Reader, error) {
	mode, err := WantedMode()
	if err == nil && mode == Off {
		err = fmt.Errorf("%s=%s", modeVariable, mode)
	}
	if err != nil {
		return nil, err
	}
	return start(mode, &host{mmap: mapMemory, run: runThread, maxBlocks: maxBlocks, answerTime: answerTime})
}

// host is what a reader takes from the machine that it runs on.
type host struct {
	mmap       func(size int) ([]byte, error)
	run        func(sh *sharedState, cells, blocks unsafe.Pointer)
	maxBlocks  uint32
	answerTime time.Duration
}

// answerTime is how long a new thread has to answer. It takes microseconds, or on a busy machine some turns of the kernel's
// scheduler; where it takes this long, the thread is of no use.
const answerTime = time.Second

func start(mode Mode, h *host) (_ *Reader, err error) {
	mem, err := newMemory(h)
	if err != nil {
		return nil, err
	}
	sh := mem.sh
	r := &Reader{mem: mem, mode: mode, conns: make([]atomic.Pointer[Conn], maxCells), fresh: 1, wakeFd: -1, notifyFd: -1}
	sh.epfd = -1
	if mode != Detached {
		sh.attached = 1
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("reader: %w", errors.Join(err, r.release()))
		}
	}()
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	sh.epfd = int32(epfd)
	if r.wakeFd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if r.notifyFd, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	sh.wakeFd, sh.notifyFd = int32(r.wakeFd), int32(r.notifyFd)
	if err = unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, r.wakeFd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeFd}); err != nil {
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	r.gone.Add(1)
	go func() {
		defer r.gone.Done()
		h.run(sh, mem.cells, mem.blocks)
	}()
	if !r.answers(&sh.answered, h.answerTime) {
		sh.stop.Store(1)
		if !r.answers(&sh.exited, h.answerTime) {
			r.abandoned = true // the thread may still use everything: it must stay as it is
		}
		return nil, fmt.Errorf("the thread did not answer within %v", h.answerTime)
	}
	clock.KeepStamping()
	r.gone.Add(1)
	go func() {
		defer r.gone.Done()
		r.dispatch()
	}()
	return r, nil
}

// answers rings wakeFd and reports whether the thread sets flag in time.
func (r *Reader) answers(flag *atomic.Uint32, within time.Duration) bool {
	one := [8]byte{1}
	_, _ = unix.Write(r.wakeFd, one[:])
	for until := time.Now().Add(within); flag.Load() == 0; {
		if time.Now().After(until) {
			return false
		}
		time.Sleep(50 * time.Microsecond)
	}
	return true
}

// release gives back what start took, as far as it got.
func (r *Reader) release() error {
	if r.abandoned {
		return nil
	}
	var err error
	for _, fd := range []int{int(r.mem.sh.epfd), r.wakeFd, r.notifyFd} {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	r.mem.unmap()
	return err
}

// Mode returns how the reader runs.
func (r *Reader) Mode() Mode { return r.mode }

// Class returns how promptly the kernel runs the thread, in words, for example "SCHED_RR 1".
func (r *Reader) Class() string {
	a, err := unix.SchedGetAttr(int(r.mem.sh.tid.Load()), 0)
	switch {
	case err != nil:
		return "unknown: " + err.Error()
	case a.Policy == unix.SCHED_RR:
		return fmt.Sprintf("SCHED_RR %d", a.Priority)
	}
	class := fmt.Sprintf("nice %d", a.Nice)
	if a.Runtime > 0 { // Linux 6.12
		class += fmt.Sprintf(", slice %.3g ms", float64(a.Runtime)/1e6)
	}
	return class
}

// Close ends the thread. It refuses while connections are open: they use its memory.
func (r *Reader) Close() error {
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	if open > 0 {
		return fmt.Errorf("reader: %d connections are open", open)
	}
	sh := r.mem.sh
	sh.stop.Store(1)
	one := [8]byte{1}
	_, err := unix.Write(r.wakeFd, one[:])
	for sh.exited.Load() == 0 {
		time.Sleep(100 * time.Microsecond)
	}
	_, err2 := unix.Write(r.notifyFd, one[:])
	r.gone.Wait()
	return errors.Join(err, err2, r.release())
}

// Add hands a connected, non-blocking stream socket to the thread, which owns the descriptor from then on, also when
// an error is returned. ready must be prepared to be called before Add returns.
func (r *Reader) Add(fd int, ready func(*Conn)) (*Conn, error) {
	// Refused on some socket types: receives are then stamped when the thread makes them.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, timestamping)
	c := &Conn{r: r}
	c.ready = func() { ready(c) }
	sh := r.mem.sh
	r.mu.Lock()
	if len(r.free) == 0 {
		for id := sh.released.Swap(0); id != 0; {
			next := r.mem.cell(id).link
			r.free = append(r.free, id)
			id = next
		}
	}
	switch {
	case len(r.free) > 0:
		c.id = r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
	case r.fresh < maxCells:
		c.id = r.fresh
		r.fresh++
	default:
		r.mu.Unlock()
		_ = unix.Close(fd)
		return nil, fmt.Errorf("reader: more than %d connections at once", maxCells-1)
	}
	r.open++
	r.mu.Unlock()
	s := r.mem.cell(c.id)
	c.s = s
	s.fd = int32(fd)
	s.head.Store(0)
	s.tail, s.offset, s.lastNs, s.endNs = 0, 0, 0, 0
	s.emptyNs, s.look, s.left = clock.ToMonotonic(clock.Now()), 0, 0
	s.notified.Store(0)
	s.errno.Store(0)
	s.paused.Store(0)
	s.endMark.Store(0)
	s.final.Store(0)
	s.usual = 0
	s.unread.Store(0)
	s.wakeAt.Store(1)
	s.sentHead.Store(0)
	for k := range s.sent {
		s.sent[k].ns.Store(0) // of the cell's last connection
	}
	r.conns[c.id].Store(c)
	sh.open.Add(1)
	s.state.Store(cellOpen)
	if err := unix.EpollCtl(int(sh.epfd), unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.id)}); err != nil {
		s.state.Store(cellEnded) // the thread never saw it
		c.Close(false)
		return nil, fmt.Errorf("reader: %w", err)
	}
	return c, nil
}

// misused panics in debug builds where the connection was closed.
func (c *Conn) misused() {
	if debug && c.closed.Load() {
		panic("reader: a connection is used after its Close")
	}
}

func (r *Reader) recycle(id uint32) {
	r.mu.Lock()
	r.free = append(r.free, id)
	r.mu.Unlock()
}

// dispatch calls ready for the connections that the thread found worth a look.
func (r *Reader) dispatch() {
	sh := r.mem.sh
	var buf [8]byte
	for {
		h := sh.readyHead.Load()
		if h == sh.readyTail.Load() {
			sh.waiting.Store(1)
			if h == sh.readyTail.Load() {
				if sh.exited.Load() != 0 {
					return
				}
				_, _ = unix.Read(r.notifyFd, buf[:])
			}
			sh.waiting.Store(0)
			continue
		}
		id := sh.ready[h%readySize]
		sh.readyHead.Store(h + 1)
		r.mem.cell(id).notified.Store(0)
		if c := r.conns[id].Load(); c != nil {
			c.ready()
		}
	}
}

// Drain hands over what has arrived and not been handed over before, receive by receive, until f returns false. The last
// byte arrived at atNs and those before it since sinceNs, times of package clock: when the thread last found the socket
// empty, which it looks for every millisecond and as often as it can. So sinceNs is early where the thread was kept from it.
func (c *Conn) Drain(f func(data []byte, sinceNs, atNs int64, stamp Stamp) bool) {
	c.misused()
	taken := c.drain(f)
	// Also where nothing was taken: the thread may have paused after what made it do so was drained, and it calls once.
	if s := c.s; s.unread.Add(-taken) < pauseBytes/2 && s.paused.Load() == 1 {
		s.paused.Store(0)
		_ = unix.EpollCtl(int(c.r.mem.sh.epfd), unix.EPOLL_CTL_MOD, int(s.fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.id)})
	}
}

// drain returns how many bytes it handed over.
func (c *Conn) drain(f func(data []byte, sinceNs, atNs int64, stamp Stamp) bool) (taken int64) {
	m, s := c.r.mem, c.s
	for more := true; more; {
		head := s.head.Load()
		if head == 0 {
			break // nothing ever arrived
		}
		b := m.block(head)
		next := b.next.Load() // before used: a block with a next one grows no more
		used := b.used.Load()
		for s.offset < used && more {
			seg := (*segment)(unsafe.Pointer(&b.data[s.offset]))
			data := b.data[s.offset+segmentHead : s.offset+segmentHead+seg.size]
			s.offset = (s.offset + segmentHead + seg.size + 7) &^ 7
			taken += int64(seg.size)
			stamp := StampUser
			if seg.flags&segmentKernel != 0 {
				stamp = StampSocket
			}
			more = f(data, clock.FromMonotonic(seg.sinceNs), clock.FromMonotonic(seg.atNs), stamp)
		}
		if s.offset < used {
			break
		}
		if next == 0 {
			break
		}
		s.head.Store(next)
		s.offset = 0
		m.giveBack(head)
	}
	return taken
}

// EndMark is what the bytes of a response look like where it ends, for the thread, which does not parse them.
type EndMark uint32

// The marks. What looks like one may be none, and an end may look like nothing of the kind.
const (
	NoEndMark  EndMark = iota
	ChunkedEnd         // the empty line behind a chunked body
	RecordEnd          // a TLS record too small for anything but the end of a body, or a receive unlike those before
	FrameEnd           // an empty HTTP/2 frame that ends a stream, or a receive unlike those before
)

// Want sets when ready is to be called next: when bytes unread bytes are there, and also when a receive has the mark.
// It reports whether that is so already (look again, there may be no call).
func (c *Conn) Want(bytes int64, mark EndMark) bool {
	c.misused()
	s := c.s
	if was := s.endMark.Swap(uint32(mark)); mark != NoEndMark && was == 0 && s.unread.Load() > 0 {
		// What came before was not looked at for an end: it may be the whole rest, with nothing to follow that would call.
		s.wakeAt.Store(bytes)
		return true
	}
	s.wakeAt.Store(bytes)
	return s.unread.Load() >= bytes || s.state.Load() == cellEnded
}

// Wants returns the mark that was wanted last.
func (c *Conn) Wants() EndMark { return EndMark(c.s.endMark.Load()) }

// LooksOver reports whether the last receive looked like the end that was wanted.
func (c *Conn) LooksOver() bool {
	c.misused()
	return c.s.final.Load() != 0
}

// Unread returns the number of bytes that have arrived and were not drained.
func (c *Conn) Unread() int64 {
	c.misused()
	return c.s.unread.Load()
}

// Quiet reports whether the connection is open and nothing waits to be read.
func (c *Conn) Quiet() bool {
	_, err := c.End()
	return err == nil && c.Unread() == 0
}

// Over notes that the response to what was last written has ended; it is nothing to this reader.
func (c *Conn) Over() {}

// End returns nil while the connection is open, io.EOF after an orderly end by the peer, else the error. atNs is when
// the thread saw it. Bytes received before may still be unread.
func (c *Conn) End() (atNs int64, err error) {
	c.misused()
	if c.s.state.Load() != cellEnded {
		return 0, nil
	}
	if e := c.s.errno.Load(); e != 0 {
		return clock.FromMonotonic(c.s.endNs), syscall.Errno(e)
	}
	return clock.FromMonotonic(c.s.endNs), io.EOF
}

// Sent is when a write's last byte was handed to the kernel.
type Sent struct {
	BeforeNs, AfterNs int64 // clock readings around the system call that completed the write
	Offset            int64 // bytes that were handed to the kernel on the connection, the write included
}

// Write sends all of b, as Send does.
func (c *Conn) Write(b []byte, wait func() error) (Sent, error) {
	c.misused()
	return Send(int(c.s.fd), b, &c.wrote, wait)
}

// Send sends all of b on a socket that does not block, and adds what it sent to wrote: the result's Offset is where the last
// byte stands in all that the connection has sent. Where the socket takes no more it calls wait, which returns when there may
// be room, or why to give up, which Send then returns.
func Send(fd int, b []byte, wrote *int64, wait func() error) (Sent, error) {
	var sent Sent
	for {
		sent.BeforeNs = clock.Now()
		// A raw call: on the way the goroutine keeps its P, so that the time after is read at once.
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		sent.AfterNs = clock.Now()
		switch e {
		case 0:
			*wrote += int64(n)
			b = b[n:]
			if len(b) == 0 {
				sent.Offset = *wrote
				return sent, nil
			}
		case unix.EINTR:
		case unix.EAGAIN:
			if err := wait(); err != nil {
				return sent, err
			}
		default:
			return sent, e
		}
	}
}

// Room waits for room in a connection's socket. It does so on Go's poller, by a duplicate of the descriptor, so that no
// thread is held meanwhile. It must be closed before the connection is.
type Room struct {
	file *os.File
	raw  syscall.RawConn
}

// Room is for one Write that found the socket full.
func (c *Conn) Room() (*Room, error) {
	c.misused()
	return RoomOf(int(c.s.fd))
}

// RoomOf waits for room in the socket of a descriptor, which stays the caller's.
func RoomOf(socket int) (*Room, error) {
	fd, err := unix.FcntlInt(uintptr(socket), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reader: %w", err)
	}
	r := &Room{file: os.NewFile(uintptr(fd), "socket")}
	if r.raw, err = r.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, r.file.Close())
	}
	return r, nil
}

// Wait returns when there is room or the connection has ended, and os.ErrDeadlineExceeded at the deadline.
func (r *Room) Wait() error {
	return r.raw.Write(func(fd uintptr) bool {
		// The transmit stamps that wait to be read wake the poller, too.
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(p, 0)
		return n > 0 && p[0].Revents&^unix.POLLERR != 0 || err != nil && err != unix.EINTR
	})
}

// SetDeadline ends a Wait at t, also one that is under way; the zero time takes the deadline away. It may be called from
// any goroutine.
func (r *Room) SetDeadline(t time.Time) { _ = r.file.SetWriteDeadline(t) }

// Close ends the waiting for good.
func (r *Room) Close() { _ = r.file.Close() }

// SentAt returns the kernel's transmit time of a write, where it is known by now.
func (c *Conn) SentAt(sent Sent) (atNs int64, ok bool) {
	c.misused()
	for i := range c.s.sent {
		st := &c.s.sent[i]
		if ns := st.ns.Load(); ns != 0 && st.byteID.Load() == uint32(sent.Offset-1) {
			at := clock.FromMonotonic(ns)
			// A stamp from before the cell's present connection, or after a step of the wall clock, is no time of this write.
			if at >= sent.BeforeNs-1_000_000 && at <= sent.AfterNs+1_000_000_000 {
				return at, true
			}
		}
	}
	return 0, false
}

// Close ends the connection; with abort it sends the peer a reset. The Conn must not be used afterwards.
func (c *Conn) Close(abort bool) {
	c.misused()
	c.closed.Store(true)
	r, s := c.r, c.s
	r.mu.Lock()
	r.open--
	r.mu.Unlock()
	r.conns[c.id].Store(nil)
	fd := int(s.fd)
	if abort {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	// The hang-up makes the thread look at the cell, whose state then tells it to do the rest. Shut down first: once the
	// state says closing, the descriptor is the thread's to close.
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	if s.state.CompareAndSwap(cellOpen, cellClosing) {
		return
	}
	_ = unix.Close(fd)
	for i := s.head.Load(); i != 0; {
		next := r.mem.block(i).next.Load()
		r.mem.giveBack(i)
		i = next
	}
	s.state.Store(cellFree)
	r.mem.sh.open.Add(-1)
	r.recycle(c.id)
}

// WaitedNs returns how long the thread has waited for a core since it began, ready to run, by the kernel's account; ok is
// false where the kernel keeps none. What arrives meanwhile may be merged under one time, and no receive shows that.
func (r *Reader) WaitedNs() (ns int64, ok bool) {
	tid := r.mem.sh.tid.Load()
	if tid == 0 {
		return 0, false
	}
	b, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(int(tid)) + "/schedstat")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(b)) // ns on a core, ns waiting for one, slices
	if len(fields) < 2 {
		return 0, false
	}
	ns, err = strconv.ParseInt(fields[1], 10, 64)
	return ns, err == nil
}

// Stats counts what the thread did.
type Stats struct {
	BlocksInUse int64
	// ClockSteps is how often the wall clock was set, and RejectedStamps how many of the kernel's times were not used: see
	// clock.Offset.
	ClockSteps, RejectedStamps int64
	// Starved is how often a connection was not read because the reader's memory was used up.
	Starved int64
}

// Stats returns the thread's counters.
func (r *Reader) Stats() Stats {
	sh := r.mem.sh
	return Stats{BlocksInUse: sh.inUse.Load(), ClockSteps: sh.wall.Steps.Load(), RejectedStamps: sh.wall.Rejected.Load(),
		Starved: sh.starvedTimes.Load()}
}

// AddTCP takes a connection over from Go's poller; it closes tcp, also when an error is returned.
func (r *Reader) AddTCP(tcp *net.TCPConn, ready func(*Conn)) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("reader: %w", errors.Join(err, tcp.Close()))
	}
	fd := -1
	ctlErr := raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(ctlErr, err, tcp.Close()); err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("reader: %w", err)
	}
	return r.Add(fd, ready) // non-blocking, as Go's sockets are
}
