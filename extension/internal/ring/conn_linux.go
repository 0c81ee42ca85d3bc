//go:build linux && (amd64 || arm64)

package ring

import (
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
)

// Conn is a connection whose bytes are read when they are wanted, and whose times the ring tells. Its methods are for one
// goroutine at a time, as reader.Conn's are; ready is called on the ring's own goroutine, must not block, and there may be
// nothing new to see.
type Conn struct {
	w     Watch
	fd    int
	ready func()

	// The owner's.
	wrote   int64        // bytes handed to the kernel
	read    int64        // bytes taken from the socket
	handed  atomic.Int64 // of these, bytes that were handed over; the ring's goroutine looks at it
	buf     *[]byte
	pending []byte // read and not handed over, in buf
	pieces  []piece
	stampNs int64 // the socket's time of the last receive; 0 = it told none
	sinceNs int64 // the last receive's bytes came after
	emptyNs int64 // the socket was last seen empty
	ended   error
	endNs   int64
	drained bool // the last receive took all there was

	// Under the ring's lock.
	index    int // in the ring's list
	wakeAt   int64
	endMark  reader.EndMark
	usual    int64 // size of a stream's segments
	unread   int   // segments since the last receive
	sinceAny int64 // arrival of the first of these
	lookNs   int64 // it was last looked at, or called
	sentNs   int64 // of the present request; 0 = its response has ended
	ack      acks
	isDue    bool
	final    bool // the last segment looked like an end
}

const (
	readBytes    = 256 << 10              // largest receive
	maxUnread    = 48                     // segments that may wait in a socket: each takes about a kilobyte of its memory
	deferTime    = 250 * time.Millisecond // longest that a segment waits to be read
	lookTime     = 250 * time.Millisecond // a connection is looked at that often though the ring tells nothing,
	looksPerTime = 2000                   // for each so many connections there are
	sweepTime    = 20 * time.Millisecond
	tlsRecord    = 5 + 64 // a TLS record that can hold nothing but the end of a body, head and tag included
	timestamping = unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE
)

// bufferSizes are those of receives. Many connections are read at once, and most of them have a few kilobytes.
var bufferSizes = [...]int{8 << 10, 64 << 10, readBytes}

var buffers [len(bufferSizes)]sync.Pool

// bufferFor returns one that more than so many bytes fit into, if there is such a size, and else the largest.
func bufferFor(bytes int64) *[]byte {
	k := 0
	for k < len(bufferSizes)-1 && int64(bufferSizes[k]) <= bytes {
		k++
	}
	if b, ok := buffers[k].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, bufferSizes[k])
	return &b
}

func giveBackBuffer(b *[]byte) {
	buffers[slices.Index(bufferSizes[:], len(*b))].Put(b)
}

// Add takes over a connected, non-blocking TCP socket, which it owns from then on, also when an error is returned. Nothing
// may be on its way from the peer.
func (r *Ring) Add(fd int, local, remote netip.AddrPort, ready func(*Conn)) (*Conn, error) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, timestamping) // for where the ring knows no time
	// The kernel acknowledges at once what is below the mark, as if it had been read, and gives the socket the room for it.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, readBytes)
	c := &Conn{fd: fd, wakeAt: 1, emptyNs: clock.Now()}
	c.ready = func() { ready(c) }
	c.w = Watch{r: r, local: endpointOf(local), remote: endpointOf(remote), conn: c}
	if err := r.watch(&c.w); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	r.mu.Lock()
	c.index = len(r.conns)
	c.lookNs = c.emptyNs
	r.conns = append(r.conns, c)
	r.mu.Unlock()
	return c, nil
}

// extended notes that bytes arrived, and calls for the owner when they are enough or look like the end of a response.
func (c *Conn) extended(size, kept, length int, atNs int64) {
	if c.unread == 0 {
		c.sinceAny = atNs
	}
	c.unread++
	c.waits(size, atNs)
	short := length < keepFrame // all of the packet was kept, so that kept says nothing of its end
	switch c.endMark {
	case reader.ChunkedEnd:
		c.final = short || kept == keepChunked
	case reader.RecordEnd:
		c.final = size <= tlsRecord || c.breaksRhythm(size)
	case reader.FrameEnd:
		c.final = short || kept == keepFrame || c.breaksRhythm(size)
	default:
		c.final = false
	}
	if c.final || c.unread >= maxUnread || c.w.in.next-c.handed.Load() >= c.wakeAt {
		c.w.r.makeDue(c)
	}
}

// breaksRhythm reports whether a segment is much larger or smaller than those before it: tokens' events are much alike,
// and what ends a stream is not, even where it comes in one piece with its last event.
func (c *Conn) breaksRhythm(size int) bool {
	if c.usual == 0 {
		c.usual = int64(size)
	}
	d := int64(size) - c.usual
	c.usual += d / 8
	return d*4 > c.usual || -d*4 > c.usual
}

// makeDue has the serving goroutine call ready. r.mu must be held.
func (r *Ring) makeDue(c *Conn) {
	if !c.isDue {
		c.isDue = true
		r.due = append(r.due, c)
	}
}

// Drain hands over what has arrived and not been handed over before, in pieces that arrived together, until f returns
// false. atNs is when all of a piece had arrived, by the source that stamp names. Where that is not the ring, all that is
// known of bytes before the last is that they arrived between sinceNs and atNs.
func (c *Conn) Drain(f func(data []byte, sinceNs, atNs int64, stamp reader.Stamp) bool) {
	for {
		if len(c.pending) == 0 && !c.receive() {
			return
		}
		for len(c.pending) > 0 {
			p := c.pieces[0]
			n := int(p.end - c.handed.Load())
			data := c.pending[:n]
			c.pending = c.pending[n:]
			c.pieces = c.pieces[1:]
			c.handed.Store(p.end)
			stamp, sinceNs, atNs := reader.StampRing, p.atNs, p.atNs
			if !p.ok {
				stamp, sinceNs, atNs = reader.StampUser, c.sinceNs, c.endNs
				if c.stampNs != 0 {
					stamp, atNs = reader.StampSocket, c.stampNs
				}
			}
			if !f(data, sinceNs, atNs, stamp) {
				if len(c.pending) == 0 {
					c.release()
				}
				return
			}
		}
		c.release()
		if c.drained {
			return
		}
	}
}

// release gives the buffer back, all of which was handed over.
func (c *Conn) release() {
	if c.buf != nil {
		giveBackBuffer(c.buf)
		c.buf = nil
	}
	c.pieces = c.pieces[:0]
}

// receive reads from the socket and reports whether there was something.
func (c *Conn) receive() bool {
	if c.ended != nil {
		return false
	}
	before, after, waiting := c.w.r.looked(c)
	c.acknowledge(before)
	defer func() {
		c.acknowledge(after)
		c.w.r.settled(c)
	}()
	c.buf = bufferFor(waiting)
	buf := *c.buf
	var control [128]byte
	iov := unix.Iovec{Base: unsafe.SliceData(buf), Len: uint64(len(buf))}
	msg := unix.Msghdr{Iov: &iov, Iovlen: 1, Control: &control[0]}
	msg.SetControllen(len(control))
	sinceNs := c.emptyNs
	beforeNs := clock.Now()
	n, _, e := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_DONTWAIT)
	switch {
	case e == unix.EAGAIN || e == unix.EINTR:
		c.emptyNs, c.drained = beforeNs, true
		c.release()
		return false
	case e != 0:
		c.end(e)
		return false
	case n == 0:
		c.end(io.EOF)
		return false
	}
	c.drained = int(n) < len(buf)
	if c.drained {
		c.emptyNs = beforeNs
	}
	c.endNs, c.sinceNs, c.stampNs = clock.Now(), sinceNs, 0
	c.pieces = c.w.times(c.pieces[:0], c.read, c.read+int64(n))
	c.read += int64(n)
	c.pending = buf[:n]
	for _, p := range c.pieces {
		if !p.ok {
			c.stampNs = c.socketTime(control[:msg.Controllen])
			break
		}
	}
	return true
}

func (c *Conn) end(err error) {
	c.ended = err
	c.endNs = clock.Now()
	c.release()
}

// socketTime returns the kernel's time of the last segment of a receive, or 0.
func (c *Conn) socketTime(control []byte) int64 {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPING && len(m.Data) >= 16 {
			ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			if ns, ok := clock.FromWall(ts.Nano(), c.endNs); ok && ns >= c.sinceNs && ns <= c.endNs+clockNoiseNs {
				return ns
			}
		}
	}
	return 0
}

// Want sets when ready is to be called next: when that many bytes have come that were not handed over, and when a segment
// looks like that end. It reports whether that is so already.
func (c *Conn) Want(bytes int64, mark reader.EndMark) bool {
	r := c.w.r
	r.mu.Lock()
	defer r.mu.Unlock()
	was := c.endMark
	c.wakeAt, c.endMark = bytes, mark
	if c.ended != nil || len(c.pending) > 0 {
		return c.ended != nil || int64(len(c.pending)) >= bytes || was == reader.NoEndMark && mark != reader.NoEndMark
	}
	unread := c.w.in.next - c.handed.Load()
	if c.w.in.known && unread > 0 && (unread >= bytes || c.final || was == reader.NoEndMark && mark != reader.NoEndMark) {
		// The packet has passed the ring and may not be in the socket yet: rather than ask again at once, be called soon.
		r.makeDue(c)
	}
	return false
}

// Wants returns the mark that was wanted last.
func (c *Conn) Wants() reader.EndMark {
	c.w.r.mu.Lock()
	defer c.w.r.mu.Unlock()
	return c.endMark
}

// LooksOver reports whether the last segment looked like the end that was wanted.
func (c *Conn) LooksOver() bool {
	c.w.r.mu.Lock()
	defer c.w.r.mu.Unlock()
	return c.final
}

// Unread returns the number of bytes that were read from the socket and not handed over.
func (c *Conn) Unread() int64 { return int64(len(c.pending)) }

// End returns nil while the connection is open as far as it was read, io.EOF after an orderly end by the peer, else the
// error. atNs is when that was seen. Bytes received before may still be unread.
func (c *Conn) End() (atNs int64, err error) { return c.endNs, c.ended }

// Quiet reports whether the connection is open and nothing waits to be read.
func (c *Conn) Quiet() bool {
	if c.ended != nil || len(c.pending) > 0 {
		return false
	}
	_, _, err := unix.Recvfrom(c.fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == unix.EAGAIN
}

// Write sends all of b. Where the socket takes no more it calls wait, which returns when there may be room, or why to give
// up, which Write then returns.
func (c *Conn) Write(b []byte, wait func() error) (reader.Sent, error) {
	c.w.Sending(c.wrote, c.read)
	sent, err := reader.Send(c.fd, b, &c.wrote, wait)
	if err == nil {
		c.w.r.wakeUp(c)
	}
	return sent, err
}

// Room is for one Write that found the socket full.
func (c *Conn) Room() (*reader.Room, error) { return reader.RoomOf(c.fd) }

// SentAt returns when the packet left that carried the last byte of a write.
func (c *Conn) SentAt(sent reader.Sent) (atNs int64, ok bool) {
	atNs, ok = c.w.Sent(sent.Offset)
	return atNs, ok && atNs >= sent.BeforeNs-clockNoiseNs
}

// Close ends the connection; with abort it sends the peer a reset. The Conn must not be used afterwards, but
// for closing it again.
func (c *Conn) Close(abort bool) {
	r := c.w.r
	r.mu.Lock()
	if c.index < 0 {
		r.mu.Unlock()
		return
	}
	last := len(r.conns) - 1
	r.conns[c.index] = r.conns[last]
	r.conns[c.index].index = c.index
	r.conns = r.conns[:last]
	c.index = -1
	if c.ack.state == ackPrompt {
		r.prompt--
	}
	for k, d := range r.due {
		if d == c {
			r.due[k] = nil
		}
	}
	r.mu.Unlock()
	c.w.Close()
	if abort {
		_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(c.fd)
	c.pending = nil
	c.ended = os.ErrClosed
	c.release()
}

// The goroutine that serves naps between two looks at the ring. A nap costs only that a response's end is seen late, by
// which the next request of a closed loop is late, too: so it is a small part of a request's time.
const (
	napLeast = 250 * time.Microsecond
	napMost  = 5 * time.Millisecond
	napSoon  = 2 * time.Millisecond // while a segment is to be read soon
	napPart  = 256
	napIdle  = 20 * time.Millisecond // when nothing was sent or came for...
	idleTime = 200 * time.Millisecond
	helpTime = 5 * time.Millisecond // the longest time without a nap that leaves the processor to others
)

// wakeUp ends a long nap: a request was sent.
func (r *Ring) wakeUp(c *Conn) {
	nowNs := clock.Now()
	r.mu.Lock()
	r.activeNs = nowNs
	c.sentNs = nowNs
	if r.firstNs == 0 {
		r.firstNs = nowNs
	}
	r.mu.Unlock()
	if r.napping.Load() {
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
}

func (r *Ring) serve() {
	defer close(r.gone)
	timer := time.NewTimer(napIdle)
	defer timer.Stop()
	var due []*Conn
	var sweptNs, narrowedNs, helpedNs int64
	for {
		select {
		case <-r.done:
			return
		default:
		}
		nowNs := clock.Now()
		r.mu.Lock()
		r.scan()
		r.sweepSoon(nowNs)
		if nowNs-sweptNs >= int64(sweepTime) {
			r.sweep(nowNs)
			sweptNs = nowNs
		}
		if nowNs-narrowedNs >= int64(time.Second) {
			r.narrow()
			narrowedNs = nowNs
		}
		due, r.due = r.due, due[:0]
		for _, c := range due {
			if c != nil {
				c.isDue = false
			}
		}
		idle := nowNs-r.activeNs > int64(idleTime)
		tookNs := r.meanNs
		if tookNs == 0 && r.firstNs != 0 {
			tookNs = nowNs - r.firstNs // no response has ended yet, so each takes at least that long
		}
		nap := min(max(time.Duration(tookNs/napPart), napLeast), napMost)
		if len(r.soon) > 0 {
			nap = min(nap, napSoon)
		}
		if r.prompt > 0 {
			nap = min(nap, max(time.Duration(r.gapNs/8), napLeast))
		}
		r.mu.Unlock()
		for _, c := range due {
			if c != nil {
				c.ready()
			}
		}
		switch {
		case !idle && nowNs-helpedNs < int64(helpTime):
			sleep(nap)
			continue
		case !idle:
			helpedNs = nowNs
			time.Sleep(nap) // see sleep
			continue
		}
		r.napping.Store(true)
		timer.Reset(napIdle)
		select {
		case <-r.kick:
		case <-timer.C:
		case <-r.done:
		}
		r.napping.Store(false)
	}
}

// sleep is a nap in the kernel. Go's own timers would wake a second thread for each. The call of the scheduler ends this
// goroutine's time slice: one that lasts for 10 ms makes Go's monitor take the processor from the sleeping thread and then
// poll some thousand times a second, because it expects to take another soon.
//
// A processor that naps so is never without work to the scheduler, so it takes none from the others. What they have in
// their queues waits for their threads, and where other processes keep the cores busy, the kernel may hold such a thread up
// for hundreds of milliseconds. Therefore a nap in helpTime is one of Go's.
func sleep(d time.Duration) {
	runtime.Gosched()
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil)
}

// sweep calls for the connections whose bytes have waited long enough, and for those of which the ring has told nothing
// for a while: it may have lost the packet. r.mu must be held.
func (r *Ring) sweep(nowNs int64) {
	// Looks are for what the ring did not tell. Those of ten thousand connections would take a fifth of a core.
	look := int64(lookTime) * int64(1+len(r.conns)/looksPerTime)
	for _, c := range r.conns {
		if c.unread > 0 && nowNs-c.sinceAny >= int64(deferTime) || c.sentNs != 0 && nowNs-c.lookNs >= look {
			c.lookNs = nowNs
			r.makeDue(c)
		}
	}
}

// Over notes that the response to what was last written has ended.
func (c *Conn) Over() {
	r := c.w.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.sentNs != 0 {
		took := clock.Now() - c.sentNs
		if r.meanNs == 0 {
			r.meanNs = took
		}
		r.meanNs += (took - r.meanNs) / 16
		c.sentNs = 0
	}
}
