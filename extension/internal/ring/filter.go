package ring

import (
	"cmp"
	"fmt"
	"slices"
)

// The kernel runs a filter (classic BPF, as in Linux's Documentation/networking/filter.rst) on every packet of the host,
// so it is short, and says three things of a packet: whether it may be one of ours, how much of it is kept (its headers),
// and, by keeping a byte or two more, what its end looks like. So the payload itself never comes into the ring.

// Bytes kept of a packet, by what its last bytes are. A shorter packet is kept whole and says nothing.
const (
	keepPlain   = 108 // an IPv4 header with options or an IPv6 header, and a TCP header: 60 and 60, 40 and 60 at most
	keepChunked = 109 // ends as a chunked body does (RFC 9112, 7.1)
	keepFrame   = 110 // ends with an empty HTTP/2 DATA frame that ends a stream (RFC 9113, 6.1)
)

// portRange is a range of ports, both ends included.
type portRange struct{ low, high uint16 }

// maxRanges keeps the filter short; ports that lie closest together share a range beyond it.
const maxRanges = 48

// rangesOf covers ports, which it sorts, by few ranges.
func rangesOf(ports []uint16) []portRange {
	slices.Sort(ports)
	var ranges []portRange
	for _, p := range ports {
		if n := len(ranges); n > 0 && int(p)-int(ranges[n-1].high) <= 2 { // Linux gives a host's connections every other port
			ranges[n-1].high = p
			continue
		}
		ranges = append(ranges, portRange{p, p})
	}
	if len(ranges) <= maxRanges {
		return ranges
	}
	gaps := make([]int, len(ranges)-1)
	for k := range gaps {
		gaps[k] = k
	}
	width := func(k int) int { return int(ranges[k+1].low) - int(ranges[k].high) }
	slices.SortFunc(gaps, func(a, b int) int { return cmp.Compare(width(b), width(a)) })
	keep := gaps[:maxRanges-1]
	slices.Sort(keep)
	merged := make([]portRange, 0, maxRanges)
	from := 0
	for _, k := range keep {
		merged = append(merged, portRange{ranges[from].low, ranges[k].high})
		from = k + 1
	}
	return append(merged, portRange{ranges[from].low, ranges[len(ranges)-1].high})
}

// join sorts ranges and makes one of those that overlap.
func join(ranges []portRange) []portRange {
	slices.SortFunc(ranges, func(a, b portRange) int { return cmp.Compare(a.low, b.low) })
	joined := ranges[:0]
	for _, r := range ranges {
		if n := len(joined); n > 0 && r.low <= joined[n-1].high {
			joined[n-1].high = max(joined[n-1].high, r.high)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// instruction is the kernel's sock_filter.
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// Codes of the instructions used here (linux/bpf_common.h).
const (
	loadByte     = 0x30 // A = byte at k
	loadHalf     = 0x28 // A = 16 bits at k
	loadWordX    = 0x40 // A = 32 bits at X+k
	loadHalfX    = 0x48
	loadByteX    = 0x50
	loadLength   = 0x80 // A = length of the packet
	loadMemory   = 0x60 // A = M[k]
	loadXConst   = 0x01 // X = k
	loadXMemory  = 0x61 // X = M[k]
	loadXIPv4    = 0xb1 // X = 4 * (byte at k & 15)
	loadAncWord  = 0x20 // A = 32 bits at k; with k above ancillary: of the packet's metadata
	storeA       = 0x02 // M[k] = A
	storeX       = 0x03
	moveToX      = 0x07 // X = A
	andConst     = 0x54
	shiftRight   = 0x74
	shiftLeft    = 0x64
	addX         = 0x0c
	subConst     = 0x14
	subX         = 0x1c
	jump         = 0x05
	jumpEqual    = 0x15
	jumpGreater  = 0x25
	jumpAtLeast  = 0x35
	jumpAnyBit   = 0x45
	jumpGreaterX = 0x2d
	giveBack     = 0x06 // keep k bytes; 0 = not for us

	ancillary      = 0xfffff000 // SKF_AD_OFF
	ancillaryType  = ancillary + 4
	packetOutgoing = 4 // PACKET_OUTGOING
)

// program assembles instructions whose jumps name labels.
type program struct {
	code   []instruction
	labels map[string]int
	jumps  []struct {
		at    int
		label string
	}
}

func (p *program) do(code uint16, k uint32) { p.code = append(p.code, instruction{code: code, k: k}) }

func (p *program) label(name string) { p.labels[name] = len(p.code) }

func (p *program) goTo(label string) {
	p.jumps = append(p.jumps, struct {
		at    int
		label string
	}{len(p.code), label})
	p.do(jump, 0)
}

// when goes to a label if the comparison holds. Conditional jumps reach 255 instructions only, a plain one any.
func (p *program) when(code uint16, k uint32, label string) {
	p.code = append(p.code, instruction{code: code, jt: 0, jf: 1, k: k})
	p.goTo(label)
}

// unless goes to a label if the comparison does not hold.
func (p *program) unless(code uint16, k uint32, label string) {
	p.code = append(p.code, instruction{code: code, jt: 1, jf: 0, k: k})
	p.goTo(label)
}

func (p *program) assemble() []instruction {
	for _, j := range p.jumps {
		to, ok := p.labels[j.label]
		if !ok || to <= j.at {
			panic(fmt.Sprintf("ring: label %s is not ahead", j.label)) // a fault of filter below, which a test runs
		}
		p.code[j.at].k = uint32(to - j.at - 1)
	}
	return p.code
}

// Scratch memory of the filter.
const (
	memTCP    = iota // offset of the TCP header
	memLocal         // our end's port
	memRemote        // the other end's port
	memHeads         // offset of the payload
)

// filter returns the program that keeps the headers of packets with payload, or with FIN or RST, between one of our ports
// and one of the servers'. Packets that leave are kept where our end sends, those that come where our end receives; over
// loopback every packet does both.
func filter(local []portRange, remote []uint16) []instruction {
	p := &program{labels: map[string]int{}}
	p.do(loadByte, 0)
	p.do(andConst, 0xf0)
	p.when(jumpEqual, 0x60, "ipv6")
	p.unless(jumpEqual, 0x40, "drop")
	p.do(loadByte, 9)
	p.unless(jumpEqual, protocolTCP, "drop")
	p.do(loadHalf, 6)
	p.when(jumpAnyBit, 0x3fff, "drop")
	p.do(loadXIPv4, 0)
	p.goTo("tcp")
	p.label("ipv6")
	p.do(loadByte, 6)
	p.unless(jumpEqual, protocolTCP, "drop")
	p.do(loadXConst, ipv6Head)

	p.label("tcp")
	p.do(storeX, memTCP)
	p.do(loadAncWord, ancillaryType)
	p.when(jumpEqual, packetOutgoing, "leaves")
	p.do(loadHalfX, 2)
	p.do(storeA, memLocal)
	p.do(loadHalfX, 0)
	p.do(storeA, memRemote)
	p.goTo("ports")
	p.label("leaves")
	p.do(loadHalfX, 0)
	p.do(storeA, memLocal)
	p.do(loadHalfX, 2)
	p.do(storeA, memRemote)

	p.label("ports")
	for _, port := range remote {
		p.when(jumpEqual, uint32(port), "server")
	}
	p.goTo("drop")
	p.label("server")
	p.do(loadMemory, memLocal)
	for k, r := range local {
		next := fmt.Sprintf("range %d", k+1)
		p.unless(jumpAtLeast, uint32(r.low), "drop") // ranges ascend
		p.when(jumpGreater, uint32(r.high), next)
		p.goTo("ours")
		p.label(next)
	}
	p.goTo("drop")

	p.label("ours")
	p.do(loadByteX, 12)
	p.do(shiftRight, 4)
	p.do(shiftLeft, 2)
	p.do(addX, 0)
	p.do(storeA, memHeads)
	p.do(loadByteX, 13)
	p.when(jumpAnyBit, flagFIN|flagRST, "end")
	p.do(loadXMemory, memHeads)
	p.do(loadLength, 0)
	p.unless(jumpGreaterX, 0, "drop") // an acknowledgement
	p.label("end")
	p.do(loadLength, 0)
	p.unless(jumpAtLeast, keepFrame, "plain")
	p.do(subConst, 9)
	p.do(moveToX, 0)
	p.do(loadWordX, 5)
	p.unless(jumpEqual, 0x0d0a0d0a, "frame")
	p.do(loadHalfX, 3)
	p.when(jumpEqual, 0x0d0a, "plain") // an event with CRLF ends its chunk with three
	p.do(giveBack, keepChunked)
	p.label("frame")
	p.do(loadWordX, 0)
	p.unless(jumpEqual, 0, "plain")
	p.do(loadByteX, 4)
	p.unless(jumpEqual, 1, "plain")
	p.do(giveBack, keepFrame)
	p.label("plain")
	p.do(giveBack, keepPlain)
	p.label("drop")
	p.do(giveBack, 0)
	return p.assemble()
}
