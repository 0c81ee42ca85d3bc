package simulate

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync/atomic"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

const (
	ringBlockBytes = 32 << 10
	ringBlocks     = 256 // 8 MB: 50,000 packets
	ringRetireMs   = 5   // a block is handed over after it, however little is in it
	ringSnapBytes  = 100 // the headers of IPv6 and TCP; no payload is kept
)

// departureRing is a packet ring (AF_PACKET, TPACKET_V3) that holds the headers of the packets that leave the server's port,
// with the kernel's time of each. A system call is never needed to read it. It tells when bytes left, whatever held the
// thread up that wrote them, at a cost far below that of a transmit time stamp from the error queue.
type departureRing struct {
	fd     int
	memory []byte
	block  int // the next to be read
	flows  map[flowKey]*departures
}

// flowKey is a connection: the client's address and port, then the server's address.
type flowKey struct {
	client netip.AddrPort
	server netip.Addr
}

// newDepartureRing opens a ring for packets from a TCP port, on all interfaces.
func newDepartureRing(port int) (*departureRing, error) {
	// Without a protocol nothing is captured before the filter and the ring are there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket (it needs CAP_NET_RAW): %w", err)
	}
	r := &departureRing{fd: fd, flows: map[flowKey]*departures{}}
	if err := r.prepare(port); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *departureRing) prepare(port int) error {
	program, err := bpf.Assemble(departureFilter(uint32(port)))
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(program))
	for i, op := range program {
		code[i] = unix.SockFilter{Code: op.Op, Jt: op.Jt, Jf: op.Jf, K: op.K}
	}
	if err := unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}); err != nil {
		return fmt.Errorf("the packet filter: %w", err)
	}
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("TPACKET_V3: %w", err)
	}
	const frameBytes = 2048 // unused by version 3, but checked
	request := unix.TpacketReq3{
		Block_size: ringBlockBytes, Block_nr: ringBlocks, Frame_size: frameBytes, Frame_nr: ringBlockBytes / frameBytes * ringBlocks,
		Retire_blk_tov: ringRetireMs,
	}
	if err := unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return fmt.Errorf("the packet ring: %w", err)
	}
	r.memory, err = unix.Mmap(r.fd, 0, ringBlockBytes*ringBlocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping the packet ring: %w", err)
	}
	all := uint16(unix.ETH_P_ALL) // only a socket of all protocols sees what leaves
	if err := unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8}); err != nil {
		return fmt.Errorf("binding the packet socket: %w", err)
	}
	return nil
}

// departureFilter lets outgoing TCP packets from the port through, cut behind their headers. Offsets count from the network
// header.
func departureFilter(port uint32) []bpf.Instruction {
	fromPort := func(protocolAt, length uint32, x bpf.Instruction) []bpf.Instruction {
		return []bpf.Instruction{
			bpf.LoadAbsolute{Off: protocolAt, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_TCP, SkipTrue: 4},
			x,
			bpf.LoadIndirect{Off: length, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: port, SkipTrue: 1},
			bpf.RetConstant{Val: ringSnapBytes},
			bpf.RetConstant{Val: 0},
		}
	}
	v4 := fromPort(9, 0, bpf.LoadMemShift{Off: 0})
	v6 := fromPort(6, 40, bpf.LoadConstant{Dst: bpf.RegX, Val: 0})
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: uint8(len(v4))},
	}
	program = append(program, v4...)
	program = append(program,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipTrue: 1},
		bpf.RetConstant{Val: 0})
	return append(program, v6...)
}

func (r *departureRing) close() {
	if r.memory != nil {
		_ = unix.Munmap(r.memory)
		r.memory = nil
	}
	_ = unix.Close(r.fd)
}

// drops returns how many packets the ring has lost since the last call.
func (r *departureRing) drops() int64 {
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return int64(s.Drops)
}

// add has the packets of an accepted connection tell d.
func (r *departureRing) add(d *departures, peer, local unix.Sockaddr) {
	client, ok := addrPort(peer)
	server, ok2 := addrPort(local)
	if !ok || !ok2 {
		d.lost = true
		return
	}
	key := flowKey{client, server.Addr()}
	present := r.flows[key]
	switch {
	case present == nil:
		r.flows[key] = d
	case present.truth == nil: // its first packet came before it was accepted
		d.based, d.base, d.high = present.based, present.base, present.high
		r.flows[key] = d
	default: // an earlier connection of these addresses, of which packets may wait in the ring
		for present.next != nil {
			present = present.next
		}
		present.next = d
	}
}

func addrPort(address unix.Sockaddr) (netip.AddrPort, bool) {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

// leftFunc is told the part of a connection's bytes that left in a packet, the wall clock's time of it, and a later time of the
// run's clock, the same for packets that were read together.
type leftFunc func(from, to, realNs, nowNs int64, d *departures)

// read calls left for every packet with payload since the last call.
func (r *departureRing) read(left leftFunc) {
	for {
		block := unsafe.Pointer(&r.memory[r.block*ringBlockBytes])
		head := (*unix.TpacketHdrV1)(unsafe.Add(block, unsafe.Offsetof(unix.TpacketBlockDesc{}.Hdr)))
		if atomic.LoadUint32(&head.Block_status)&unix.TP_STATUS_USER == 0 {
			return
		}
		nowNs := clock.Now()
		at := int(head.Offset_to_first_pkt)
		for range head.Num_pkts {
			if at < 0 || at+int(unsafe.Sizeof(unix.Tpacket3Hdr{})) > ringBlockBytes {
				break
			}
			packet := (*unix.Tpacket3Hdr)(unsafe.Add(block, at))
			start := at + int(packet.Net)
			if end := start + int(packet.Snaplen); start >= 0 && end <= ringBlockBytes {
				bytes := r.memory[r.block*ringBlockBytes+start : r.block*ringBlockBytes+end]
				r.packet(bytes, int64(packet.Len), int64(packet.Sec)*1e9+int64(packet.Nsec), nowNs, left)
			}
			at += int(packet.Next_offset)
		}
		atomic.StoreUint32(&head.Block_status, unix.TP_STATUS_KERNEL)
		r.block = (r.block + 1) % ringBlocks
	}
}

// packet takes the headers of one packet, which was length bytes long from its network header on.
func (r *departureRing) packet(b []byte, length, realNs, nowNs int64, left leftFunc) {
	var tcp []byte
	var key flowKey
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		header := int(b[0]&15) * 4
		if total := int64(binary.BigEndian.Uint16(b[2:])); total != 0 { // 0 = larger than the field can tell
			length = total
		}
		if header < 20 || len(b) < header+20 {
			return
		}
		tcp = b[header:]
		length -= int64(header)
		key.server, key.client = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(tcp[2:]))
	case len(b) >= 60 && b[0]>>4 == 6:
		tcp = b[40:]
		if payload := int64(binary.BigEndian.Uint16(b[4:])); payload != 0 {
			length = payload
		} else {
			length -= 40
		}
		key.server, key.client = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])), binary.BigEndian.Uint16(tcp[2:]))
	default:
		return
	}
	const (
		fin = 0x01
		syn = 0x02
		rst = 0x04
	)
	sequence, flags := binary.BigEndian.Uint32(tcp[4:]), tcp[13]
	d := r.flows[key]
	if flags&syn != 0 {
		switch {
		case d == nil:
			d = &departures{}
			r.flows[key] = d
		case d.based && d.base != sequence+1: // a later connection of these addresses
			d.giveUp()
			if d = d.next; d == nil {
				d = &departures{}
			}
			r.flows[key] = d
		}
		d.based, d.base, d.high = true, sequence+1, 0
		return
	}
	if d == nil {
		return
	}
	if !d.based { // its first packet was not seen, so offsets are not known
		if d.truth != nil {
			d.giveUp()
		}
		return
	}
	if payload := length - int64(tcp[12]>>4)*4; payload > 0 {
		// The offset is the one nearest to how far packets reached: sequence numbers wrap every 4 GiB.
		from := d.high + int64(int32(sequence-d.base-uint32(d.high)))
		to := from + payload
		if to > d.high { // else it was sent again
			// What left before is part of no event that waits.
			if from <= d.high {
				from = -1
			}
			d.high = to
			left(from, to, realNs, nowNs, d)
		}
	}
	if flags&(fin|rst) != 0 && d.next == nil && (d.truth == nil || d.closedNs != 0 && len(d.waiting()) == 0) {
		delete(r.flows, key)
	}
}
