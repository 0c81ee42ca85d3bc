// Package wiretap is a witness for tests: it captures the TCP segments of one port with a packet socket of its own and tells
// when the bytes of requests, responses and events passed. It shares no code with the client's packet ring or with the
// simulated server, so that a test can hold both against it. Only tests and the command in cmd import it.
//
// All times are the kernel's, in nanoseconds since the Unix epoch. On loopback every segment is captured twice: as it
// left (Sent) and as it arrived (Arrived). On another interface there is one of the two for each direction.
package wiretap

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
)

// ErrNotAllowed is returned by Open where this process may not capture; a test skips with it as the reason.
var ErrNotAllowed = errors.New("wiretap: capturing packets needs Linux and CAP_NET_RAW (run the test as root)")

// Capture is what a Tap saw.
type Capture struct {
	// Drops counts the packets that the kernel could not keep. A capture with drops proves nothing: tests refuse it.
	Drops int
	// Flows are the connections in the order in which their first packets came. A reused client port is another flow.
	Flows []*Flow
}

// Flow is one TCP connection to the captured port.
type Flow struct {
	Client, Server netip.AddrPort
	FromClient     Direction
	FromServer     Direction
}

// Direction is one side's bytes, seen as they left and as they arrived.
type Direction struct{ Sent, Arrived Bytes }

// Bytes returns the copy of the bytes that holds more: both hold the same where nothing was lost.
func (d *Direction) Bytes() []byte {
	if len(d.Sent.Data) > len(d.Arrived.Data) {
		return d.Sent.Data
	}
	return d.Arrived.Data
}

// Bytes is a byte stream in order of sequence, without the bytes behind a segment that never came.
type Bytes struct {
	Data []byte
	// Duplicates counts segments that brought no byte that had not come before, such as probes of the sender.
	Duplicates int

	ends    []int   // of what came at once: offsets in Data ...
	times   []int64 // ... and the latest time of a packet with one of the bytes up to there
	started bool
	base    uint32 // sequence number of Data[0]
	early   []segment
}

// segment is payload that came before the bytes in front of it.
type segment struct {
	from    int64 // offset
	payload []byte
	atNs    int64
}

// TimeNs returns when the byte at an offset had come and every byte before it; 0 where it never did.
func (b *Bytes) TimeNs(offset int) int64 {
	i, _ := slices.BinarySearchFunc(b.ends, offset, func(end, offset int) int {
		if end <= offset {
			return -1
		}
		return 1
	})
	if offset < 0 || i == len(b.ends) {
		return 0
	}
	return b.times[i]
}

// begin sets the sequence number of the first byte.
func (b *Bytes) begin(sequence uint32) { b.base, b.started = sequence, true }

// add takes a segment's payload as it was captured at atNs. It keeps a copy. Packets may be handed on in another order than
// the one in which they were stamped, by different processors: that moves no time.
func (b *Bytes) add(sequence uint32, payload []byte, atNs int64) {
	if len(payload) == 0 {
		return
	}
	if !b.started {
		b.begin(sequence)
	}
	// The offset is the one nearest to the end of what is there: sequence numbers wrap every 4 GiB.
	end := int64(len(b.Data))
	from := end + int64(int32(sequence-b.base-uint32(end)))
	if from > end {
		b.early = append(b.early, segment{from, slices.Clone(payload), atNs})
		return
	}
	if from+int64(len(payload)) <= end {
		b.Duplicates++
		return
	}
	b.early = append([]segment{{from, payload, atNs}}, b.early...)
	for {
		end = int64(len(b.Data))
		k := slices.IndexFunc(b.early, func(s segment) bool { return s.from <= end })
		if k < 0 {
			return
		}
		s := b.early[k]
		b.early = slices.Delete(b.early, k, k+1)
		if s.from+int64(len(s.payload)) > end {
			b.append(s.payload[end-s.from:], s.atNs)
		}
	}
}

func (b *Bytes) append(payload []byte, atNs int64) {
	if n := len(b.times); n > 0 {
		atNs = max(atNs, b.times[n-1])
	}
	b.Data = append(b.Data, payload...)
	b.ends = append(b.ends, len(b.Data))
	b.times = append(b.times, atNs)
}

// assembler makes flows of packets.
type assembler struct {
	port  uint16
	open  map[netip.AddrPort]*Flow // by the client's address, the present one of each
	flows []*Flow
}

func newAssembler(port int) *assembler {
	return &assembler{port: uint16(port), open: map[netip.AddrPort]*Flow{}}
}

const (
	tcpFlagSYN = 0x02
	tcpFlagACK = 0x10
)

// packet takes an IPv4 or IPv6 packet from its network header on. What is no TCP segment of the port is passed over.
func (a *assembler) packet(p []byte, outgoing bool, atNs int64) {
	source, destination, tcp, ok := cutIP(p)
	if !ok || len(tcp) < 20 {
		return
	}
	header := int(tcp[12]>>4) * 4
	if header < 20 || header > len(tcp) {
		return
	}
	from := netip.AddrPortFrom(source, binary.BigEndian.Uint16(tcp))
	to := netip.AddrPortFrom(destination, binary.BigEndian.Uint16(tcp[2:]))
	toServer := to.Port() == a.port
	client, server := from, to
	if !toServer {
		if from.Port() != a.port {
			return
		}
		client, server = to, from
	}
	sequence := binary.BigEndian.Uint32(tcp[4:])
	flags := tcp[13]
	f := a.open[client]
	if flags&(tcpFlagSYN|tcpFlagACK) == tcpFlagSYN && toServer {
		// The second copy of a SYN, or one sent again, belongs to the flow that the first began.
		if f == nil || !f.FromClient.Sent.started && !f.FromClient.Arrived.started || f.clientBase() != sequence+1 {
			f = a.newFlow(client, server)
		}
	}
	if f == nil { // the connection is older than the tap
		f = a.newFlow(client, server)
	}
	direction := &f.FromServer
	if toServer {
		direction = &f.FromClient
	}
	bytes := &direction.Arrived
	if outgoing {
		bytes = &direction.Sent
	}
	if flags&tcpFlagSYN != 0 {
		if !bytes.started {
			bytes.begin(sequence + 1)
		}
		return
	}
	bytes.add(sequence, tcp[header:], atNs)
}

// clientBase is the sequence number of the client's first byte.
func (f *Flow) clientBase() uint32 {
	if f.FromClient.Sent.started {
		return f.FromClient.Sent.base
	}
	return f.FromClient.Arrived.base
}

func (a *assembler) newFlow(client, server netip.AddrPort) *Flow {
	f := &Flow{Client: client, Server: server}
	a.open[client] = f
	a.flows = append(a.flows, f)
	return f
}

// cutIP returns the addresses and the TCP segment of a packet. Headers between IPv6's and TCP's are not understood: such a
// packet is passed over, and so is a fragment.
func cutIP(p []byte) (source, destination netip.Addr, tcp []byte, ok bool) {
	const protocolTCP = 6
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		header, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
		if total == 0 { // larger than the field can tell
			total = len(p)
		}
		fragment := binary.BigEndian.Uint16(p[6:])&0x3fff != 0
		if header < 20 || total < header || total > len(p) || fragment || p[9] != protocolTCP {
			return
		}
		return netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20])), p[header:total], true
	case len(p) >= 40 && p[0]>>4 == 6:
		total := 40 + int(binary.BigEndian.Uint16(p[4:]))
		if total == 40 {
			total = len(p)
		}
		if total > len(p) || p[6] != protocolTCP {
			return
		}
		return netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40])), p[40:total], true
	}
	return
}
