//go:build linux && (amd64 || arm64)

package reader

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// The reader thread runs beside Go's scheduler, not under it: it enters the state of a goroutine in a system call and
// stays there, so that no number of runnable goroutines, no garbage collection and no preemption keeps it from the
// sockets. In that state it owns no P: its code must not split the stack, allocate, or store Go pointers. Hence
// nosplit everywhere, raw system calls, and memory from mmap. The kernel alone decides when it runs.

const (
	napMaxNs     = 1_500_000 // longest nap between two polls
	napMinNs     = 60_000    // a shorter one costs more than it saves
	napEvents    = 3         // stream events that a nap must gather to be worth it
	rateWindowNs = 4_000_000 // over which stream events are counted
	// Streams that send as fast as they can have no rhythm to lose. Reading each segment at once would only cost: the
	// thread would never wait, and at real-time priority the parser could not run beside it.
	unpacedPerSecond = 50_000
	unpacedNapNs     = 300_000

	// lookMs is the longest that the thread waits for something to read. A receive tells the time of its last segment alone;
	// how early the others may have come is known from when the socket was last seen empty.
	lookMs = 1

	gapMaxNs  = 100_000_000 // a longer gap is a stall and says nothing about the rhythm
	fairReads = 4           // receives from one connection in one poll

	sliceNs  = 100_000 // the shortest that the kernel takes
	niceness = -15

	recordHead      = 5  // bytes before those of a TLS record (RFC 8446, 5.2)
	applicationData = 23 // its type
	smallRecord     = 64 // bytes with padding and tag: room for "[DONE]" and the chunk that ends a body, not for a token's event
	frameHead       = 9  // bytes of an HTTP/2 frame's head (RFC 9113, 4.1)

	starvedNs = 1_000_000 // pause between two tries of a thread without memory

	wakeFd = -1 // the epoll event that asks the thread for an answer, or to look at stop
)

// runThread is the body of the reader's goroutine; it returns after stop was set.
func runThread(sh *sharedState, cells, blocks unsafe.Pointer) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	askForPromptness()
	sh.tid.Store(int32(unix.Gettid()))
	if sh.attached == 0 {
		leaveScheduler()
	}
	loop(sh, cells, blocks)
	if sh.attached == 0 {
		returnToScheduler()
	}
	sh.exited.Store(1)
}

// askForPromptness tells the kernel that this thread runs briefly and should run at once. Segments that queue up unread
// are merged under one time, so what it waits for a core on a busy machine is lost to the gaps, and among ordinary
// threads it waits not only for its own turn: the scheduler holds the whole process (its group) to its share, so after a
// burst of JavaScript the thread would pay for that with tens of milliseconds. The lowest real-time priority is outside
// that account; who may not have it gets a higher weight, and who may not have that a shorter slice, which gives an
// earlier deadline (Linux 6.12). What remains is counted as late receives.
func askForPromptness() {
	for _, a := range []unix.SchedAttr{
		{Policy: unix.SCHED_RR, Priority: 1},
		{Policy: unix.SCHED_NORMAL, Runtime: sliceNs, Nice: niceness},
		{Policy: unix.SCHED_NORMAL, Runtime: sliceNs},
	} {
		a.Size, a.Flags = unix.SizeofSchedAttr, unix.SCHED_FLAG_RESET_ON_FORK // for this thread alone
		if unix.SchedSetAttr(0, &a, 0) == nil {
			return
		}
	}
}

// loop is a function of its own so that its frame lies below those that the collector scans.
//
//go:noinline
//go:nosplit
//go:norace
func loop(sh *sharedState, cells, blocks unsafe.Pointer) {
	napped := false
	for sh.stop.Load() == 0 {
		sh.lookNs = rawClock(sh, unix.CLOCK_MONOTONIC)
		timeoutMs := ^uintptr(0)
		switch {
		case napped:
			timeoutMs = 0 // it has waited already
		case sh.open.Load() > 0:
			timeoutMs = lookMs
		}
		n, e := pollEvents(sh, timeoutMs)
		if e != 0 {
			continue // EINTR: a signal of Go's runtime
		}
		sh.look++
		sh.nowNs = rawClock(sh, unix.CLOCK_MONOTONIC)
		pushed := false
		for i := uintptr(0); i < n; i++ {
			ev := (*unix.EpollEvent)(unsafe.Add(unsafe.Pointer(&sh.events[0]), i*unsafe.Sizeof(unix.EpollEvent{})))
			if ev.Fd == wakeFd {
				_, _, _ = syscall.RawSyscall(unix.SYS_READ, uintptr(sh.wakeFd), uintptr(unsafe.Pointer(&sh.scratch[32])), 8)
				sh.answered.Store(1)
				continue
			}
			id := uint32(ev.Fd)
			s := (*cell)(unsafe.Add(cells, uintptr(id)*unsafe.Sizeof(cell{})))
			if serve(sh, s, blocks, id, ev.Events) && s.notified.CompareAndSwap(0, 1) {
				t := sh.readyTail.Load()
				sh.ready[t%readySize] = id
				sh.readyTail.Store(t + 1)
				pushed = true
			}
		}
		if pushed && sh.waiting.CompareAndSwap(1, 0) {
			*(*uint64)(unsafe.Pointer(&sh.scratch[32])) = 1
			_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, uintptr(sh.notifyFd), uintptr(unsafe.Pointer(&sh.scratch[32])), 8)
		}
		sh.lookedNs = 0
		if n < eventsSize {
			sh.lookedNs = sh.lookNs
		}
		if sh.starved != 0 {
			// The paused connection is listened to again as soon as its owner finds nothing to drain, which takes microseconds.
			sh.starved = 0
			nap(sh, starvedNs)
			napped = true
			continue
		}
		napped = napBetweenPolls(sh)
	}
}

// pollAttached waits as a goroutine does: others run meanwhile.
//
//go:noinline
func pollAttached(sh *sharedState, timeoutMs uintptr) (n uintptr, e syscall.Errno) {
	n, _, e = syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(sh.epfd), uintptr(unsafe.Pointer(&sh.events[0])), eventsSize, timeoutMs, 0, 0)
	return n, e
}

// napAttached is nap of a goroutine.
//
//go:noinline
func napAttached(ts *unix.Timespec) {
	_, _, _ = syscall.Syscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(ts)), 0, 0, 0)
}

// napBetweenPolls sleeps between two polls when streams are many, so that one wake-up serves several of them. Times are the
// kernel's, so nothing is lost while the nap is a small part of a stream's gap: segments that wait unread together
// would be merged under the last one's time. It reports whether it slept.
//
//go:nosplit
//go:norace
func napBetweenPolls(sh *sharedState) bool {
	if d := sh.nowNs - sh.windowNs; d >= rateWindowNs {
		sh.perSecond = sh.windowCount * 1_000_000_000 / d
		sh.windowNs, sh.windowCount = sh.nowNs, 0
	}
	ns := sh.gapNs / 8
	if ns > napMaxNs {
		ns = napMaxNs
	}
	switch {
	case ns >= napMinNs && sh.perSecond*ns >= napEvents*1_000_000_000:
		nap(sh, ns)
	case sh.perSecond > unpacedPerSecond:
		nap(sh, unpacedNapNs)
	default:
		return false
	}
	return true
}

//go:nosplit
//go:norace
func nap(sh *sharedState, ns int64) {
	ts := (*unix.Timespec)(unsafe.Pointer(&sh.scratch[16]))
	ts.Sec, ts.Nsec = 0, ns
	if sh.attached != 0 {
		napAttached(ts)
		return
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(ts)), 0, 0, 0)
}

// serve reads what a connection has and reports whether its parser should look at it now.
//
//go:nosplit
//go:norace
func serve(sh *sharedState, s *cell, blocks unsafe.Pointer, id, events uint32) bool {
	switch s.state.Load() {
	case cellOpen:
	case cellClosing:
		stopListening(sh, s)
		release(sh, s, blocks, id)
		return false
	default:
		return false
	}
	// The look before found the socket empty if it did not name it, and so did this one if it names it for another reason.
	if s.left == 0 {
		if s.look != sh.look-1 && sh.lookedNs > s.emptyNs {
			s.emptyNs = sh.lookedNs
		}
		if events&unix.EPOLLIN == 0 && sh.lookNs > s.emptyNs {
			s.emptyNs = sh.lookNs
		}
	}
	s.look = sh.look
	if events&unix.EPOLLERR != 0 && readSentStamp(sh, s) && events&unix.EPOLLIN == 0 {
		return false
	}
	wake := false
	for range fairReads {
		switch receive(sh, s, blocks) {
		case receivedNothing:
			return wake
		case receivedFinal:
			return true
		case received:
			return wake || s.unread.Load() >= s.wakeAt.Load()
		case receivedFull: // there may be more, or it may just have been the end
			wake = wake || s.endMark.Load() != 0 || s.unread.Load() >= s.wakeAt.Load()
			if s.unread.Load() < pauseBytes {
				continue
			}
			fallthrough
		case noRoom:
			if s.unread.Load() < pauseBytes {
				sh.starved = 1
				sh.starvedTimes.Add(1)
			}
			// First stop listening, then say so: the owner's answer must come after.
			listen(sh, s, id, 0)
			s.paused.Store(1)
			return true
		case ended:
			s.endNs = rawClock(sh, unix.CLOCK_MONOTONIC)
			stopListening(sh, s)
			if s.state.CompareAndSwap(cellOpen, cellEnded) {
				return true
			}
			release(sh, s, blocks, id)
			return false
		}
	}
	return wake
}

// What one receive came to.
const (
	received        = iota
	receivedFinal   // the bytes end with the mark that the owner wants
	receivedFull    // as many bytes as there was room for
	receivedNothing // nothing was there
	noRoom          // no block is left
	ended           // end of file or an error
)

// receive makes one recvmsg call into the cell's current block and publishes the segment with its kernel time.
//
//go:nosplit
//go:norace
func receive(sh *sharedState, s *cell, blocks unsafe.Pointer) int {
	b := (*block)(unsafe.Add(blocks, uintptr(s.tail)*blockBytes))
	used := b.used.Load()
	if s.tail == 0 || uint32(len(b.data))-used < segmentHead+minRoom {
		next := takeBlock(sh, blocks)
		if next == 0 {
			s.left = 1
			return noRoom
		}
		if s.tail == 0 {
			s.head.Store(next) // the only time that the thread sets it
		} else {
			b.next.Store(next)
		}
		s.tail = next
		b = (*block)(unsafe.Add(blocks, uintptr(next)*blockBytes))
		used = 0
	}
	room := uint32(len(b.data)) - used - segmentHead
	data := unsafe.Add(unsafe.Pointer(&b.data[0]), uintptr(used)+segmentHead)
	sh.iov.base = uintptr(data)
	sh.iov.size = uintptr(room)
	resetMsg(sh)
	beforeNs := sh.nowNs
	n, _, e := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&sh.msg)), unix.MSG_DONTWAIT)
	if e == unix.EAGAIN || e == unix.EINTR {
		if e == unix.EAGAIN {
			s.emptyNs, s.left = beforeNs, 0
		}
		return receivedNothing
	}
	if e != 0 || n == 0 {
		s.errno.Store(int32(e))
		return ended
	}
	head := (*segment)(unsafe.Add(unsafe.Pointer(&b.data[0]), uintptr(used)))
	head.size = uint32(n)
	head.sinceNs = s.emptyNs
	if s.left = 1; n < uintptr(room) {
		s.emptyNs, s.left = beforeNs, 0
	}
	head.atNs, head.flags = sh.nowNs, 0
	if ns, ok := kernelTime(sh, controlStamp(sh)); ok {
		head.atNs, head.flags = ns, segmentKernel
	}
	if head.atNs < s.lastNs {
		head.atNs = s.lastNs // one without the kernel's time came before
	}
	if s.endMark.Load() != 0 {
		sh.windowCount++
		if gap := head.atNs - s.lastNs; gap > 0 && gap < gapMaxNs {
			if sh.gapNs == 0 {
				sh.gapNs = gap
			}
			sh.gapNs += (gap - sh.gapNs) / 64
		}
	}
	s.lastNs = head.atNs
	s.unread.Add(int64(n)) // first: the owner may drain the segment as soon as it is published
	b.used.Store((used + segmentHead + uint32(n) + 7) &^ 7)
	if n == uintptr(room) {
		return receivedFull
	}
	// Read after unread was raised: an owner who sets it meanwhile sees the one, or the thread the other.
	if mark := s.endMark.Load(); looksLikeEnd(mark, data, n) || breaksRhythm(s, mark, n) {
		s.final.Store(1)
		return receivedFinal
	}
	s.final.Store(0)
	return received
}

// breaksRhythm reports whether a receive is much larger or smaller than those before it. Tokens' events are much alike, and
// what ends a stream is not, even where it comes in one piece with its last event.
//
//go:nosplit
//go:norace
func breaksRhythm(s *cell, mark uint32, n uintptr) bool {
	if EndMark(mark) != RecordEnd && EndMark(mark) != FrameEnd {
		s.usual = 0
		return false
	}
	if s.usual == 0 {
		s.usual = int64(n)
	}
	d := int64(n) - s.usual
	s.usual += d / 8
	return d*4 > s.usual || -d*4 > s.usual
}

// looksLikeEnd reports whether a receive's n bytes end as a response does. Short pieces may be the rest of such an end.
//
//go:nosplit
//go:norace
func looksLikeEnd(mark uint32, data unsafe.Pointer, n uintptr) bool {
	switch EndMark(mark) {
	case ChunkedEnd:
		if n < 4 {
			return true
		}
		// An empty line closes the last chunk or its trailers. Lines may end in bare LFs, as the parser takes them; "\n\r\n"
		// also ends each chunk that holds an event.
		b := *(*[4]byte)(unsafe.Add(data, n-4))
		if b == [4]byte{'\r', '\n', '\r', '\n'} && n >= 6 && *(*[2]byte)(unsafe.Add(data, n-6)) == [2]byte{'\r', '\n'} {
			return false // a chunk with an event that ends in CRLFs: no two empty lines end a body
		}
		return b == [4]byte{'\r', '\n', '\r', '\n'} || b == [4]byte{'0', '\n', '\r', '\n'} || b[2] == '\n' && b[3] == '\n'
	case RecordEnd:
		if n < recordHead+smallRecord {
			return true
		}
		for size := uintptr(1); size <= smallRecord; size++ {
			h := *(*[recordHead]byte)(unsafe.Add(data, n-size-recordHead))
			if h == [recordHead]byte{applicationData, 3, 3, 0, byte(size)} {
				return true
			}
		}
	case FrameEnd:
		// An empty DATA frame with the flag END_STREAM (RFC 9113, 6.1), its stream's number behind.
		return n < frameHead || *(*[5]byte)(unsafe.Add(data, n-frameHead)) == [5]byte{0, 0, 0, 0, 1}
	}
	return false
}

// segment precedes the bytes of one receive in a block.
type segment struct {
	atNs    int64 // CLOCK_MONOTONIC: when the last of them had come
	sinceNs int64 // all of them came after it
	size    uint32
	flags   uint32
}

const segmentKernel = 1 // atNs is the kernel's receive time

//go:nosplit
//go:norace
func resetMsg(sh *sharedState) {
	sh.msg.iov = uintptr(unsafe.Pointer(&sh.iov))
	sh.msg.iovs = 1
	sh.msg.control = uintptr(unsafe.Pointer(&sh.control[0]))
	sh.msg.controlLen = uintptr(len(sh.control))
	sh.msg.flags = 0
}

// controlStamp returns the software time stamp among the control messages, wall clock in ns, or 0.
//
//go:nosplit
//go:norace
func controlStamp(sh *sharedState) int64 {
	for at := uintptr(0); at+16 <= sh.msg.controlLen; {
		h := unsafe.Add(unsafe.Pointer(&sh.control[0]), at)
		size := *(*uintptr)(h)
		if size < 16 {
			return 0
		}
		if *(*int32)(unsafe.Add(h, 8)) == unix.SOL_SOCKET && *(*int32)(unsafe.Add(h, 12)) == unix.SO_TIMESTAMPING {
			return *(*int64)(unsafe.Add(h, 16))*1_000_000_000 + *(*int64)(unsafe.Add(h, 24))
		}
		at += (size + 7) &^ 7
	}
	return 0
}

// readSentStamp takes one transmit stamp off the error queue, and reports whether there was one.
//
//go:nosplit
//go:norace
func readSentStamp(sh *sharedState, s *cell) bool {
	sh.iov.base = uintptr(unsafe.Pointer(&sh.scratch[48]))
	sh.iov.size = 16
	resetMsg(sh)
	_, _, e := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&sh.msg)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if e != 0 {
		return false
	}
	ns, ok := kernelTime(sh, controlStamp(sh))
	if !ok {
		return true
	}
	for at := uintptr(0); at+16 <= sh.msg.controlLen; {
		h := unsafe.Add(unsafe.Pointer(&sh.control[0]), at)
		size := *(*uintptr)(h)
		if size < 16 {
			break
		}
		level := *(*int32)(unsafe.Add(h, 8))
		if level == unix.SOL_IP || level == unix.SOL_IPV6 {
			e := (*unix.SockExtendedErr)(unsafe.Add(h, 16))
			if e.Origin == unix.SO_EE_ORIGIN_TIMESTAMPING && e.Info == unix.SCM_TSTAMP_SND {
				i := s.sentHead.Load()
				st := &s.sent[i%uint32(len(s.sent))]
				st.ns.Store(0)
				st.byteID.Store(e.Data)
				st.ns.Store(ns)
				s.sentHead.Store(i + 1)
			}
			break
		}
		at += (size + 7) &^ 7
	}
	return true
}

// takeBlock returns a block that is empty and last in its chain, or 0 when none is left.
//
//go:nosplit
//go:norace
func takeBlock(sh *sharedState, blocks unsafe.Pointer) uint32 {
	if sh.freeHead == 0 {
		sh.freeHead = sh.freed.Swap(0)
	}
	i := sh.freeHead
	if i != 0 {
		sh.freeHead = (*block)(unsafe.Add(blocks, uintptr(i)*blockBytes)).link
	} else {
		if sh.freshBlock >= sh.maxBlocks {
			return 0
		}
		i = sh.freshBlock
		sh.freshBlock++
	}
	b := (*block)(unsafe.Add(blocks, uintptr(i)*blockBytes))
	b.next.Store(0)
	b.used.Store(0)
	sh.inUse.Add(1)
	return i
}

// release closes a connection that its owner gave up and hands its cell and blocks back.
//
//go:nosplit
//go:norace
func release(sh *sharedState, s *cell, blocks unsafe.Pointer, id uint32) {
	_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(s.fd), 0, 0)
	for i := s.head.Load(); i != 0; {
		b := (*block)(unsafe.Add(blocks, uintptr(i)*blockBytes))
		next := b.next.Load()
		b.link = sh.freeHead
		sh.freeHead = i
		sh.inUse.Add(-1)
		i = next
	}
	s.state.Store(cellFree)
	sh.open.Add(-1)
	for {
		old := sh.released.Load()
		s.link = old
		if sh.released.CompareAndSwap(old, id) {
			return
		}
	}
}

//go:nosplit
//go:norace
func listen(sh *sharedState, s *cell, id, events uint32) {
	ev := (*unix.EpollEvent)(unsafe.Pointer(&sh.scratch[0]))
	ev.Events = events
	ev.Fd = int32(id)
	_, _, _ = syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(sh.epfd), unix.EPOLL_CTL_MOD, uintptr(s.fd), uintptr(unsafe.Pointer(ev)), 0, 0)
}

// kernelTime converts a kernel's stamp to CLOCK_MONOTONIC. ok is false where there is none or it cannot be trusted.
//
//go:nosplit
//go:norace
func kernelTime(sh *sharedState, wallNs int64) (atNs int64, ok bool) {
	if wallNs == 0 {
		return 0, false
	}
	if sh.wall.Doubtful(wallNs, sh.nowNs) { // it may only have come since the poll
		sh.nowNs = rawClock(sh, unix.CLOCK_MONOTONIC)
	}
	if sh.wall.Due(wallNs, sh.nowNs) {
		compareClocks(sh)
	}
	return sh.wall.At(wallNs, sh.nowNs)
}

// compareClocks tells sh.wall how the clocks read now.
//
//go:nosplit
//go:norace
func compareClocks(sh *sharedState) {
	before := rawClock(sh, unix.CLOCK_MONOTONIC)
	var bestBefore, bestReal, bestAfter int64
	for k := 0; k < clock.CompareTries; k++ {
		real := rawClock(sh, unix.CLOCK_REALTIME)
		after := rawClock(sh, unix.CLOCK_MONOTONIC)
		sh.nowNs = after
		if k == 0 || after-before < bestAfter-bestBefore {
			bestBefore, bestReal, bestAfter = before, real, after
		}
		if bestAfter-bestBefore <= clock.NarrowNs {
			break
		}
		before = after
	}
	sh.wall.Compare(bestBefore, bestReal, bestAfter)
}

// stopListening comes before every close: a descriptor that a system call still uses elsewhere stays in the epoll set
// when it is closed, and its late event would meet the cell's next connection.
//
//go:nosplit
//go:norace
func stopListening(sh *sharedState, s *cell) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(sh.epfd), unix.EPOLL_CTL_DEL, uintptr(s.fd), uintptr(unsafe.Pointer(&sh.scratch[0])), 0, 0)
}

//go:nosplit
//go:norace
func rawClock(sh *sharedState, id uintptr) int64 {
	_, _, _ = syscall.RawSyscall(unix.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&sh.scratch[16])), 0)
	return *(*int64)(unsafe.Pointer(&sh.scratch[16]))*1_000_000_000 + *(*int64)(unsafe.Pointer(&sh.scratch[24]))
}
