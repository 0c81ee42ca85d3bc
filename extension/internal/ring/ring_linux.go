//go:build linux && (amd64 || arm64)

// Package ring tells when the bytes of TCP connections arrived and left, by the kernel's time of each packet. The packets'
// headers come in a memory ring that the kernel fills (packet(7), PACKET_RX_RING), so that a time does not depend on when
// this process runs: it may be stopped, throttled or starved. The bytes themselves are read from the sockets, seldom and
// in large pieces.
//
// A time is that of the packet: where the network card or the kernel joined segments into one packet, that of the packet.
package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// The ring's frames have one size (TPACKET_V2), and each is there to be read as soon as the kernel has filled it. With
// TPACKET_V3 packets are packed more tightly, but a block of them can be read only when it is full or 4 ms old, and a
// reply's time could not be told when the reply is read.
const (
	frameHead  = 80 // tpacket2_hdr and sockaddr_ll, aligned
	frameBytes = 192
	blockBytes = 64 << 10
	ringBlocks = 256 // 16 MB: 87,000 packets, some 9 s of 100 streams with 100 chunks/s each
	perBlock   = blockBytes / frameBytes

	offsetLength   = 4 // in tpacket2_hdr
	offsetKept     = 8
	offsetNet      = 14
	offsetSec      = 16
	offsetNsec     = 20
	offsetPacketTo = 32 + 10 // sll_pkttype in sockaddr_ll
)

var _ [frameBytes - frameHead - keepFrame]struct{} // what the filter keeps fits

// Ring is one packet socket with its ring, and the goroutine that serves the connections which are read by it.
type Ring struct {
	fd     int
	mem    []byte
	frames int

	mu      sync.Mutex // guards all below, and the memory of the ring
	at      int        // the frame to be filled next
	byPort  [1 << 16]*Watch
	watches int
	remotes map[uint16]int // watches of each server port
	ports   map[uint16]int // and of each port of our own
	passing []portRange    // what the filter lets through
	loose   bool           // it lets through more than it must
	ahead   int            // by how many ports at the next change
	due     []*Conn
	soon    []*Conn           // of these a segment waits for a read soon
	held    map[endpoint]bool // servers that wait for acknowledgements; false = one of their connections did not
	prompt  int               // connections that are read as soon as something comes
	conns   []*Conn
	stats   Stats
	epoch   int // raised when packets were lost

	wall     clock.Offset
	newestNs int64 // latest time of a packet, wall clock
	nowNs    int64 // a clock reading after it
	closed   bool

	gapNs    int64 // moving mean of the time between two segments of a stream
	meanNs   int64 // moving mean of the time from a request to the end of its response
	firstNs  int64 // the first request was sent; 0 = none was
	activeNs int64 // the last time something was sent or arrived

	napping atomic.Bool
	kick    chan struct{}
	done    chan struct{}
	gone    chan struct{}
}

// Stats counts what came by the ring.
type Stats struct {
	Packets    int64 // packets of watched connections
	Duplicates int64 // of these, segments that brought no new byte
	Reordered  int64 // segments that came ahead of a hole
	Strays     int64 // packets that passed the filter and were of no watched connection
	Drops      int64 // packets that found no room in the ring
	LostBytes  int64 // bytes that were read and have no time from the ring
}

// Open makes a ring. The error says why there can be none: the process lacks CAP_NET_RAW as a rule.
func Open() (*Ring, error) { return openRing(ringBlocks) }

func openRing(blocks int) (*Ring, error) {
	fd, err := packetSocket()
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			err = errors.New("the process has no CAP_NET_RAW")
		}
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	r := &Ring{
		fd: fd, frames: blocks * perBlock, remotes: map[uint16]int{}, ports: map[uint16]int{}, held: map[endpoint]bool{},
		kick: make(chan struct{}, 1), done: make(chan struct{}), gone: make(chan struct{}),
	}
	if err := r.setUp(blocks); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	go r.serve()
	return r, nil
}

func (r *Ring) setUp(blocks int) error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return fmt.Errorf("packet socket: TPACKET_V2: %w", err)
	}
	if err := r.attach(nil, nil); err != nil { // first: nothing is to come in that is not ours
		return err
	}
	req := unix.TpacketReq{Block_size: blockBytes, Block_nr: uint32(blocks), Frame_size: frameBytes, Frame_nr: uint32(r.frames)}
	if err := unix.SetsockoptTpacketReq(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("packet socket: a ring of %d MB: %w", blocks*blockBytes>>20, err)
	}
	mem, err := unix.Mmap(r.fd, 0, blocks*blockBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("packet socket: mapping the ring: %w", err)
	}
	r.mem = mem
	// All protocols, or packets that leave would not be seen; all interfaces of this network namespace.
	if err := unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL)}); err != nil {
		return errors.Join(fmt.Errorf("packet socket: %w", err), unix.Munmap(mem))
	}
	return nil
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// attach replaces the filter.
func (r *Ring) attach(local []portRange, remote []uint16) error {
	code := filter(local, remote)
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	if err := unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("packet socket: filter: %w", err)
	}
	return nil
}

// Close ends the ring. All connections must have been closed before.
func (r *Ring) Close() error {
	close(r.done)
	<-r.gone
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return errors.Join(unix.Munmap(r.mem), unix.Close(r.fd))
}

// Stats returns the counters.
func (r *Ring) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.countDrops()
	return r.stats
}

// countDrops asks the kernel, which counts from the last question on.
func (r *Ring) countDrops() {
	s, err := unix.GetsockoptTpacketStats(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err == nil && s.Drops > 0 {
		r.stats.Drops += int64(s.Drops)
		r.epoch++
	}
}

// Watch follows one connection. Its methods may be called from any goroutine.
type Watch struct {
	r             *Ring
	local, remote endpoint
	sinceNs       int64 // what came before belongs to another connection
	in, out       flow
	epoch         int // of the ring, when the present write began
	conn          *Conn
	next          *Watch // with the same port
}

// Watch begins to follow a connection. Nothing of it may be on its way: it begins with what our end sends next.
func (r *Ring) Watch(local, remote netip.AddrPort) (*Watch, error) {
	w := &Watch{r: r, local: endpointOf(local), remote: endpointOf(remote)}
	return w, r.watch(w)
}

func (r *Ring) watch(w *Watch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.sinceNs, w.epoch = clock.Now(), r.epoch
	r.ports[w.local.port]++
	r.remotes[w.remote.port]++
	if err := r.letPass(w); err != nil {
		r.forget(w)
		return err
	}
	w.next = r.byPort[w.local.port]
	r.byPort[w.local.port] = w
	r.watches++
	return nil
}

// lookAhead is how many ports on both sides of a new connection's the filter is opened for at once, as the next connections
// are likely to have them. It doubles with each change, so that thousands of connections that are opened at once take few
// changes. The serving goroutine narrows the filter again, once a second.
const lookAhead = 64

// letPass sees that the filter lets a connection's packets through.
func (r *Ring) letPass(w *Watch) error {
	port := w.local.port
	if r.remotes[w.remote.port] > 1 {
		for _, p := range r.passing {
			if port >= p.low && port <= p.high {
				return nil
			}
		}
	}
	if r.ahead == 0 {
		r.ahead = lookAhead
	}
	opened := portRange{uint16(max(int(port)-r.ahead, 1)), uint16(min(int(port)+r.ahead, 1<<16-1))}
	r.ahead *= 2
	r.loose = true
	return r.pass(join(append(slices.Clone(r.passing), opened)))
}

func (r *Ring) portList() []uint16 {
	ports := make([]uint16, 0, len(r.ports))
	for p := range r.ports {
		ports = append(ports, p)
	}
	return ports
}

func (r *Ring) pass(ranges []portRange) error {
	remotes := make([]uint16, 0, len(r.remotes))
	for p := range r.remotes {
		remotes = append(remotes, p)
	}
	r.passing = ranges
	return r.attach(ranges, remotes)
}

// narrow takes back what letPass opened ahead.
func (r *Ring) narrow() {
	r.ahead = 0
	if r.loose {
		r.loose = r.pass(rangesOf(r.portList())) != nil
	}
}

// Close ends the watching. It may be called twice.
func (w *Watch) Close() {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	at := &w.r.byPort[w.local.port]
	for *at != nil && *at != w {
		at = &(*at).next
	}
	if *at == nil {
		return
	}
	*at = w.next
	w.r.watches--
	w.r.stats.LostBytes += w.in.lost
	w.r.forget(w)
}

// forget takes a watch's ports out of the account; the filter follows later.
func (r *Ring) forget(w *Watch) {
	release(r.ports, w.local.port)
	release(r.remotes, w.remote.port)
	r.loose = true
}

func release(counts map[uint16]int, port uint16) {
	if counts[port]--; counts[port] <= 0 {
		delete(counts, port)
	}
}

func (r *Ring) frame(k int) []byte {
	at := k/perBlock*blockBytes + k%perBlock*frameBytes
	return r.mem[at : at+frameBytes : at+frameBytes]
}

func status(frame []byte) *uint32 { return (*uint32)(unsafe.Pointer(&frame[0])) }

// scan takes all packets that are there. r.mu must be held.
func (r *Ring) scan() {
	if r.closed {
		return
	}
	for {
		f := r.frame(r.at)
		st := atomic.LoadUint32(status(f))
		if st&unix.TP_STATUS_USER == 0 {
			return
		}
		if st&unix.TP_STATUS_LOSING != 0 {
			r.countDrops()
		}
		r.handleFrame(f)
		atomic.StoreUint32(status(f), unix.TP_STATUS_KERNEL)
		if r.at++; r.at == r.frames {
			r.at = 0
		}
	}
}

// filling reports whether a later packet is there while the next one is still being written by another processor.
func (r *Ring) filling() bool {
	for k := 1; k <= 64; k++ {
		if atomic.LoadUint32(status(r.frame((r.at+k)%r.frames)))&unix.TP_STATUS_USER != 0 {
			return true
		}
	}
	return false
}

// handleFrame makes of one frame what it tells of a connection.
func (r *Ring) handleFrame(f []byte) {
	length := int(binary.NativeEndian.Uint32(f[offsetLength:]))
	kept := int(binary.NativeEndian.Uint32(f[offsetKept:]))
	net := int(binary.NativeEndian.Uint16(f[offsetNet:]))
	if net < frameHead || net+kept > len(f) {
		return
	}
	s, ok := parse(f[net:net+kept], length)
	if !ok {
		return
	}
	leaves := f[offsetPacketTo] == packetOutgoing
	local, remote := s.to, s.from
	if leaves {
		local, remote = s.from, s.to
	}
	w := r.byPort[local.port]
	for w != nil && (w.local != local || w.remote != remote) {
		w = w.next
	}
	if w == nil {
		r.stats.Strays++
		return
	}
	wallNs := int64(binary.NativeEndian.Uint32(f[offsetSec:]))*int64(time.Second) + int64(binary.NativeEndian.Uint32(f[offsetNsec:]))
	if wallNs > r.newestNs { // no packet was seen that came so late: it may be younger than the last look at the clock
		r.newestNs, r.nowNs = wallNs, clock.Now()
	}
	atNs, ok := r.wall.FromWall(wallNs, r.nowNs)
	if !ok || atNs < w.sinceNs-clockNoiseNs {
		return
	}
	r.stats.Packets++
	r.activeNs = max(r.activeNs, atNs)
	if leaves {
		w.sentSegment(s, atNs)
		return
	}
	w.receivedSegment(s, kept, length, atNs)
}

// clockNoiseNs is more than two readings of the kernel's clocks can disagree by.
const clockNoiseNs = 100_000

// sentSegment takes a packet that our end sent. The first one tells where both directions begin: its sequence number is that of
// the first byte sent, its acknowledgement that of the first byte to come.
func (w *Watch) sentSegment(s segment, atNs int64) {
	if s.size == 0 {
		return
	}
	if !w.out.known {
		if w.epoch != w.r.epoch {
			return // it may not be the first: packets were lost
		}
		w.out.start(s.seq)
		w.in.start(s.ack)
	}
	if w.out.add(s.seq, s.size, atNs) && len(w.out.marks)-w.out.head > keepSends {
		w.out.head = len(w.out.marks) - keepSends
	}
}

// keepSends bounds how many packets of a request are remembered: the last ones matter.
const keepSends = 8

// receivedSegment takes a packet that the peer sent.
func (w *Watch) receivedSegment(s segment, kept, length int, atNs int64) {
	if w.in.known && s.size > 0 {
		before := w.in.duplicates
		grew := w.in.add(s.seq, s.size, atNs)
		w.r.stats.Duplicates += w.in.duplicates - before
		if c := w.conn; c != nil && grew {
			c.extended(s.size, kept, length, atNs)
		}
	}
	if c := w.conn; c != nil && (s.fin || s.rst || !w.in.known) {
		c.final = true
		w.r.makeDue(c)
	}
}

// Sending notes that a write begins at an offset of the connection's stream, all before which was sent. Packets that told
// of it and were lost are no longer waited for.
func (w *Watch) Sending(offset, read int64) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.epoch = w.r.epoch
	if w.out.known {
		w.out.skip(offset)
	} else {
		w.out.next, w.in.next = offset, read
	}
}

// Sent returns when the packet left that carried the byte before an offset of what was sent.
func (w *Watch) Sent(offset int64) (atNs int64, ok bool) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.r.scan()
	for _, m := range w.out.marks[w.out.head:] {
		if m.end >= offset {
			return m.atNs, m.atNs != unknownNs
		}
	}
	return 0, false
}

// piece is a run of bytes that arrived together.
type piece struct {
	end  int64 // offset behind it
	atNs int64
	ok   bool // the ring knows the time
}

// times appends the pieces of the bytes from one offset to another, which have been read from the socket.
func (w *Watch) times(pieces []piece, from, to int64) []piece {
	r := w.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.in.next < to {
		r.scan()
	}
	// A packet passes the ring before its bytes can be read, so all is there by now, unless a packet before it is still
	// being copied by another processor.
	for began := time.Now(); w.in.known && w.in.next < to && r.filling() && time.Since(began) < fillTime; {
		r.mu.Unlock()
		time.Sleep(20 * time.Microsecond)
		r.mu.Lock()
		r.scan()
	}
	if w.in.known {
		w.in.skip(to)
	}
	for from < to {
		atNs, until, ok := w.in.arrived(from)
		until = min(until, to)
		pieces = append(pieces, piece{until, atNs, ok})
		from = until
	}
	w.in.arrived(to) // forget
	return pieces
}

// fillTime is how long a packet is waited for that another processor is copying into the ring.
const fillTime = 50 * time.Millisecond

// Arrived returns when the first and the last of the bytes had come that were read from the socket between two offsets; ok
// is false where the ring does not know one of them.
func (w *Watch) Arrived(from, to int64) (firstNs, lastNs int64, ok bool) {
	pieces := w.times(make([]piece, 0, 8), from, to)
	first, last := pieces[0], pieces[len(pieces)-1]
	return first.atNs, last.atNs, first.ok && last.ok
}
