package ring

import (
	"encoding/binary"
	"net/netip"
)

// endpoint is one end of a connection.
type endpoint struct {
	addr [16]byte // IPv4 as IPv6 maps it
	port uint16
}

func endpointOf(a netip.AddrPort) endpoint {
	return endpoint{addr: a.Addr().As16(), port: a.Port()}
}

// segment is what the headers of a TCP packet say.
type segment struct {
	from, to endpoint
	seq, ack uint32
	size     int // bytes of payload
	fin      bool
	rst      bool
}

// Bits of the TCP header's flags (RFC 9293, 3.1).
const (
	flagFIN = 1
	flagSYN = 2
	flagRST = 4
	flagACK = 16
)

const (
	protocolTCP   = 6
	ipv6Head      = 40
	leastTCPHead  = 20
	leastIPv4Head = 20
)

// parse reads the headers at the front of a packet of which b was kept and that has length bytes in all, beginning with
// its IP header. ok is false for whatever is no whole TCP header of an unfragmented packet.
func parse(b []byte, length int) (s segment, ok bool) {
	if len(b) < 1 {
		return s, false
	}
	var tcp []byte
	switch b[0] >> 4 {
	case 4:
		if len(b) < leastIPv4Head {
			return s, false
		}
		head := int(b[0]&15) * 4
		const fragment = 0x3fff // more fragments, or an offset
		if head < leastIPv4Head || len(b) < head || b[9] != protocolTCP || binary.BigEndian.Uint16(b[6:])&fragment != 0 {
			return s, false
		}
		// What lies behind the packet is an Ethernet frame's padding. A length of 0 is that of a packet above 64 KB, which
		// only exists inside a host.
		if total := int(binary.BigEndian.Uint16(b[2:])); total != 0 {
			length = min(length, total)
		}
		s.from.addr, s.to.addr = netip.AddrFrom4([4]byte(b[12:])).As16(), netip.AddrFrom4([4]byte(b[16:])).As16()
		tcp, length = b[head:], length-head
	case 6:
		if len(b) < ipv6Head || b[6] != protocolTCP {
			return s, false
		}
		if payload := int(binary.BigEndian.Uint16(b[4:])); payload != 0 {
			length = min(length, ipv6Head+payload)
		}
		s.from.addr, s.to.addr = [16]byte(b[8:]), [16]byte(b[24:])
		tcp, length = b[ipv6Head:], length-ipv6Head
	default:
		return s, false
	}
	if len(tcp) < leastTCPHead {
		return s, false
	}
	head := int(tcp[12]>>4) * 4
	if head < leastTCPHead || length < head {
		return s, false
	}
	flags := tcp[13]
	if flags&flagACK == 0 && flags&flagRST == 0 || flags&flagSYN != 0 {
		return s, false
	}
	s.from.port, s.to.port = binary.BigEndian.Uint16(tcp), binary.BigEndian.Uint16(tcp[2:])
	s.seq, s.ack = binary.BigEndian.Uint32(tcp[4:]), binary.BigEndian.Uint32(tcp[8:])
	s.size = length - head
	s.fin, s.rst = flags&flagFIN != 0, flags&flagRST != 0
	return s, true
}
