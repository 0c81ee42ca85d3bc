//go:build linux && (amd64 || arm64)

package reader

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// Everything the reader thread touches lies in memory that Go's collector does not know: the thread runs outside Go's
// scheduler (thread_linux.go) and may not allocate, grow its stack or cross a write barrier. Go code and the thread share it
// through atomics only; each field names its writer.

const (
	maxCells   = 1 << 16 // connections at once
	blockBytes = 16 << 10
	maxBlocks  = 1 << 16 // 1 GiB of address space; pages are touched as they are needed. Each open connection keeps one
	readySize  = maxCells
	eventsSize = 512

	blockHead   = 16  // bytes before a block's data
	segmentHead = 24  // bytes before each segment's data: its times, length, flags
	minRoom     = 768 // a receive is not started with less room than this left in a block

	// pauseBytes is where a connection whose parser lags is no longer read, so that TCP slows its sender down.
	pauseBytes = 8 << 20
)

// States of a cell. open -> closing is the owner's step, open -> ended the thread's; whoever finds the other's step
// already done frees the cell.
const (
	cellFree uint32 = iota
	cellOpen
	cellClosing // the owner gave it up; the thread closes the descriptor
	cellEnded   // end of file or an error; the thread no longer touches it
)

// cell is one connection.
type cell struct {
	state    atomic.Uint32
	fd       int32
	head     atomic.Uint32 // block to read from next: set by the thread with the first receive, then by the owner
	tail     uint32        // thread: block being filled; 0 = none yet
	offset   uint32        // owner: bytes of head block consumed
	notified atomic.Uint32 // 1 while the cell stands in the ready ring
	errno    atomic.Int32  // why it ended; 0 = orderly
	paused   atomic.Uint32 // thread sets, owner clears
	endMark  atomic.Uint32 // owner: an EndMark: a stream is running: wake when a receive looks like its end
	unread   atomic.Int64  // bytes received and not yet consumed
	wakeAt   atomic.Int64  // owner: wake when unread reaches this
	final    atomic.Uint32 // thread: 1 where the last receive looked like an end
	usual    int64         // thread: size of a stream's receives
	lastNs   int64         // thread: stamp of the receive before, for the rhythm of the stream
	emptyNs  int64         // thread: a time at which the socket had nothing unread; all that is unread now came after it
	look     uint32        // thread: the look at the sockets in which it had something
	left     uint32        // thread: 1 where the last receive may have left something
	endNs    int64         // thread: when the end was seen (written before state)
	sent     [4]sentStamp
	sentHead atomic.Uint32 // thread: number of transmit stamps written so far
	link     uint32        // stack of released cells
	_        [4]byte
}

// sentStamp is the kernel's transmit time of the byte with that offset in the connection's stream.
type sentStamp struct {
	byteID atomic.Uint32
	_      uint32
	ns     atomic.Int64
}

// What other code takes for granted: blocks and cells lie one behind the other, with 64-bit atomics in them.
const (
	_ = unsafe.Sizeof(block{}) - blockBytes
	_ = blockBytes - unsafe.Sizeof(block{})
	_ = -(unsafe.Sizeof(cell{}) % 8)
	_ = -(unsafe.Offsetof(block{}.data) % 8)
	_ = segmentHead - unsafe.Sizeof(segment{})
	_ = unsafe.Sizeof(segment{}) - segmentHead
)

// block holds segments one behind the other: head, data, padding to eight bytes.
type block struct {
	next atomic.Uint32 // set when the block is full; 0 = this is the last one
	used atomic.Uint32 // bytes of data that are published
	link uint32        // free list
	_    uint32
	data [blockBytes - blockHead]byte
}

// iovec and msghdr are the kernel's structures with integers for pointers: the thread must not store a Go pointer.
type iovec struct {
	base uintptr
	size uintptr
}

type msghdr struct {
	name       uintptr
	nameSize   uint32
	_          uint32
	iov        uintptr
	iovs       uintptr
	control    uintptr
	controlLen uintptr
	flags      int32
	_          uint32
}

// sharedState is what both sides know. Cell and block 0 are never used: 0 means none.
type sharedState struct {
	epfd     int32
	notifyFd int32
	wakeFd   int32
	attached uint32        // 1: the thread is a goroutine like others
	answered atomic.Uint32 // thread: 1 once it has heard wakeFd
	tid      atomic.Int32  // the thread's, once it runs
	stop     atomic.Uint32
	exited   atomic.Uint32
	waiting  atomic.Uint32 // 1: the dispatcher waits on notifyFd

	freed      atomic.Uint32 // blocks given back by Go, a stack; the thread takes all of it at once
	freeHead   uint32        // thread: blocks at hand
	freshBlock uint32        // thread: first block never used
	maxBlocks  uint32        // so many there are
	starved    uint32        // thread: 1 where no block was left in this poll
	inUse      atomic.Int64  // blocks in use

	starvedTimes atomic.Int64 // polls of a connection for which no block was left

	readyHead atomic.Uint32 // dispatcher: next to take
	readyTail atomic.Uint32 // thread: next to fill

	nowNs int64  // thread: CLOCK_MONOTONIC at the last poll or later
	look  uint32 // thread: number of the present look at the sockets
	_     uint32
	// thread: before the look before the present one. What was not found then came after it. 0 where that look may not have
	// told of all sockets.
	lookedNs int64
	lookNs   int64        // thread: before the present look
	open     atomic.Int32 // connections
	wall     clock.Offset // thread: of the wall clock, by which the kernel stamps, from it

	released atomic.Uint32 // cells that the thread closed, a stack; Go takes all of it at once

	gapNs       int64 // thread: moving mean of the gap between two receives of one stream
	windowNs    int64 // thread: begin of the window in which stream events are counted
	windowCount int64
	perSecond   int64 // thread: stream events a second in the last window

	msg     msghdr
	iov     iovec
	control [256]byte
	scratch [64]byte
	events  [eventsSize]unix.EpollEvent
	ready   [readySize]uint32
}

type memory struct {
	sh     *sharedState
	cells  unsafe.Pointer
	blocks unsafe.Pointer
	maps   [][]byte
}

func (m *memory) cell(i uint32) *cell {
	return (*cell)(unsafe.Add(m.cells, uintptr(i)*unsafe.Sizeof(cell{})))
}
func (m *memory) block(i uint32) *block { return (*block)(unsafe.Add(m.blocks, uintptr(i)*blockBytes)) }

// mapMemory returns zeroed memory, of which the kernel provides what is touched.
func mapMemory(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
}

func newMemory(h *host) (*memory, error) {
	m := &memory{}
	region := func(size uintptr) (unsafe.Pointer, error) {
		b, err := h.mmap(int(size))
		if err != nil {
			return nil, fmt.Errorf("reader: mapping %d bytes: %w", size, err)
		}
		m.maps = append(m.maps, b)
		return unsafe.Pointer(&b[0]), nil
	}
	p, err := region(unsafe.Sizeof(sharedState{}))
	if err == nil {
		m.sh = (*sharedState)(p)
		m.cells, err = region(maxCells * unsafe.Sizeof(cell{}))
	}
	if err == nil {
		m.blocks, err = region(uintptr(h.maxBlocks) * blockBytes)
	}
	if err != nil {
		m.unmap()
		return nil, err
	}
	m.sh.freshBlock, m.sh.maxBlocks = 1, h.maxBlocks
	return m, nil
}

func (m *memory) unmap() {
	for _, b := range m.maps {
		_ = unix.Munmap(b)
	}
	m.maps = nil
}

// giveBack returns a block to the thread.
func (m *memory) giveBack(i uint32) {
	b := m.block(i)
	for {
		old := m.sh.freed.Load()
		b.link = old
		if m.sh.freed.CompareAndSwap(old, i) {
			m.sh.inUse.Add(-1)
			return
		}
	}
}
