package ring

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// packet describes what build makes.
type packet struct {
	from, to  netip.AddrPort
	seq, ack  uint32
	flags     byte
	options   int // bytes of TCP options
	ipOptions int // of IPv4 options
	payload   []byte
	padding   int // bytes of the link's behind the packet
	fragment  uint16
	protocol  byte // 0 = TCP
}

func (p packet) build() []byte {
	protocol := p.protocol
	if protocol == 0 {
		protocol = protocolTCP
	}
	var b []byte
	tcpHead := leastTCPHead + p.options
	if p.from.Addr().Is4() {
		head := leastIPv4Head + p.ipOptions
		b = make([]byte, head)
		b[0] = 0x40 | byte(head/4)
		binary.BigEndian.PutUint16(b[2:], uint16(head+tcpHead+len(p.payload)))
		binary.BigEndian.PutUint16(b[6:], p.fragment)
		b[9] = protocol
		copy(b[12:], p.from.Addr().AsSlice())
		copy(b[16:], p.to.Addr().AsSlice())
	} else {
		b = make([]byte, ipv6Head)
		b[0] = 0x60
		binary.BigEndian.PutUint16(b[4:], uint16(tcpHead+len(p.payload)))
		b[6] = protocol
		copy(b[8:], p.from.Addr().AsSlice())
		copy(b[24:], p.to.Addr().AsSlice())
	}
	tcp := make([]byte, tcpHead)
	binary.BigEndian.PutUint16(tcp, p.from.Port())
	binary.BigEndian.PutUint16(tcp[2:], p.to.Port())
	binary.BigEndian.PutUint32(tcp[4:], p.seq)
	binary.BigEndian.PutUint32(tcp[8:], p.ack)
	tcp[12] = byte(tcpHead / 4 << 4)
	tcp[13] = p.flags
	b = append(append(b, tcp...), p.payload...)
	return append(b, make([]byte, p.padding)...)
}

var (
	v4Client, v4Server = netip.MustParseAddrPort("127.0.0.1:40000"), netip.MustParseAddrPort("10.1.2.3:8000")
	v6Client, v6Server = netip.MustParseAddrPort("[fe80::1]:40000"), netip.MustParseAddrPort("[2001:db8::7]:8000")
)

func TestParse(t *testing.T) {
	for name, tt := range map[string]struct {
		packet
		size int
		fin  bool
		rst  bool
		no   bool
	}{
		"IPv4":               {packet: packet{from: v4Server, to: v4Client, seq: 7, ack: 9, flags: flagACK, payload: []byte("hello")}, size: 5},
		"IPv6":               {packet: packet{from: v6Server, to: v6Client, seq: 7, ack: 9, flags: flagACK, payload: []byte("hello")}, size: 5},
		"options":            {packet: packet{from: v4Server, to: v4Client, flags: flagACK, options: 40, ipOptions: 40, payload: []byte("hi")}, size: 2},
		"padded by the link": {packet: packet{from: v4Server, to: v4Client, flags: flagACK, padding: 6}, size: 0},
		"FIN":                {packet: packet{from: v4Server, to: v4Client, flags: flagACK | flagFIN}, fin: true},
		"RST":                {packet: packet{from: v6Server, to: v6Client, flags: flagRST}, rst: true},
		"SYN":                {packet: packet{from: v4Server, to: v4Client, flags: flagSYN}, no: true},
		"SYN and ACK":        {packet: packet{from: v4Server, to: v4Client, flags: flagSYN | flagACK}, no: true},
		"no flags":           {packet: packet{from: v4Server, to: v4Client}, no: true},
		"UDP":                {packet: packet{from: v4Server, to: v4Client, protocol: 17, flags: flagACK}, no: true},
		"first fragment":     {packet: packet{from: v4Server, to: v4Client, fragment: 0x2000, flags: flagACK}, no: true},
		"later fragment":     {packet: packet{from: v4Server, to: v4Client, fragment: 5, flags: flagACK}, no: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := tt.build()
			kept := b[:min(len(b), keepPlain)]
			s, ok := parse(kept, len(b))
			require.Equal(t, !tt.no, ok)
			if tt.no {
				return
			}
			require.Equal(t, segment{from: endpointOf(tt.from), to: endpointOf(tt.to), seq: tt.seq, ack: tt.ack, size: tt.size, fin: tt.fin, rst: tt.rst}, s)
			for n := range kept { // cut off anywhere, it is no other packet
				if cut, ok := parse(kept[:n], len(b)); ok {
					require.Equal(t, s, cut)
				}
			}
		})
	}
}

func TestParseBeyond64KB(t *testing.T) {
	b := packet{from: v4Server, to: v4Client, flags: flagACK, payload: make([]byte, 60_000)}.build()
	binary.BigEndian.PutUint16(b[2:], 0)
	s, ok := parse(b[:keepPlain], 100_040)
	require.True(t, ok)
	require.Equal(t, 100_000, s.size)
}

func FuzzParse(f *testing.F) {
	f.Add(packet{from: v4Server, to: v4Client, flags: flagACK, payload: []byte("x")}.build(), 41)
	f.Add(packet{from: v6Server, to: v6Client, flags: flagACK, options: 12, payload: []byte("x")}.build(), 1000)
	f.Fuzz(func(t *testing.T, b []byte, length int) {
		s, ok := parse(b[:min(len(b), keepPlain)], length)
		if ok && (s.size < 0 || s.size > length) {
			t.Fatalf("%d bytes of payload in a packet of %d", s.size, length)
		}
	})
}

// interpret does what the kernel does with a filter, for the instructions that it consists of.
func interpret(t *testing.T, code []instruction, b []byte, outgoing bool) int {
	t.Helper()
	var a, x uint32
	var mem [16]uint32
	load := func(at, n uint32) (uint32, bool) {
		if uint64(at)+uint64(n) > uint64(len(b)) {
			return 0, false // the kernel drops such a packet
		}
		v := uint32(0)
		for k := range n {
			v = v<<8 | uint32(b[at+k])
		}
		return v, true
	}
	for pc := 0; ; pc++ {
		i := code[pc]
		ok := true
		branch := func(c bool) {
			if c {
				pc += int(i.jt)
			} else {
				pc += int(i.jf)
			}
		}
		switch i.code {
		case loadByte:
			a, ok = load(i.k, 1)
		case loadHalf:
			a, ok = load(i.k, 2)
		case loadByteX:
			a, ok = load(x+i.k, 1)
		case loadHalfX:
			a, ok = load(x+i.k, 2)
		case loadWordX:
			a, ok = load(x+i.k, 4)
		case loadAncWord:
			require.EqualValues(t, ancillaryType, i.k)
			a = 0
			if outgoing {
				a = packetOutgoing
			}
		case loadLength:
			a = uint32(len(b))
		case loadMemory:
			a = mem[i.k]
		case loadXConst:
			x = i.k
		case loadXMemory:
			x = mem[i.k]
		case loadXIPv4:
			x, ok = load(i.k, 1)
			x = x & 15 * 4
		case storeA:
			mem[i.k] = a
		case storeX:
			mem[i.k] = x
		case moveToX:
			x = a
		case andConst:
			a &= i.k
		case shiftRight:
			a >>= i.k
		case shiftLeft:
			a <<= i.k
		case addX:
			a += x
		case subConst:
			a -= i.k
		case jump:
			pc += int(i.k)
		case jumpEqual:
			branch(a == i.k)
		case jumpGreater:
			branch(a > i.k)
		case jumpAtLeast:
			branch(a >= i.k)
		case jumpAnyBit:
			branch(a&i.k != 0)
		case jumpGreaterX:
			branch(a > x)
		case giveBack:
			return min(int(i.k), len(b))
		default:
			t.Fatalf("code %#x", i.code)
		}
		if !ok {
			return 0
		}
	}
}

func TestFilter(t *testing.T) {
	local := []portRange{{30000, 30010}, {40000, 40000}, {50000, 50128}}
	code := filter(local, []uint16{443, 8000})
	require.Less(t, len(code), 4096)
	long := make([]byte, 300)
	for k := range long {
		long[k] = 'x'
	}
	ending := func(end string) []byte { return append(slices.Clone(long), end...) }
	port := func(a netip.AddrPort, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), port) }
	for name, tt := range map[string]struct {
		packet
		outgoing bool
		kept     int // -1 = all of it
	}{
		"a token":                       {packet: packet{from: v4Server, to: v4Client, flags: flagACK, payload: long}, kept: keepPlain},
		"a token over IPv6":             {packet: packet{from: v6Server, to: v6Client, flags: flagACK, payload: long}, kept: keepPlain},
		"its copy on loopback's way":    {packet: packet{from: v4Server, to: v4Client, flags: flagACK, payload: long}, outgoing: true},
		"a request":                     {packet: packet{from: v4Client, to: v4Server, flags: flagACK, payload: long}, outgoing: true, kept: keepPlain},
		"its copy at the server":        {packet: packet{from: v4Client, to: v4Server, flags: flagACK, payload: long}},
		"a short piece":                 {packet: packet{from: v4Server, to: v4Client, flags: flagACK, payload: []byte("0\r\n\r\n")}, kept: -1},
		"the end of a chunked body":     {packet: packet{from: v4Server, to: v4Client, flags: flagACK, payload: ending("\n\n\r\n0\r\n\r\n")}, kept: keepChunked},
		"... with options":              {packet: packet{from: v4Server, to: v4Client, flags: flagACK, options: 12, ipOptions: 4, payload: ending("0\r\n\r\n")}, kept: keepChunked},
		"... over IPv6":                 {packet: packet{from: v6Server, to: v6Client, flags: flagACK, options: 12, payload: ending("0\r\n\r\n")}, kept: keepChunked},
		"... with trailers":             {packet: packet{from: v4Server, to: v4Client, flags: flagACK, payload: ending("0\r\nA: b\r\n\r\n")}, kept: keepChunked},
		"a chunk with an event of LFs":  {packet: packet{from: v4Server, to: v4Client, flags: flagACK, payload: ending("data: x\n\n\r\n")}, kept: keepPlain},
		"a chunk with an event of CRLF": {packet: packet{from: v4Server, to: v4Client, flags: flagACK, payload: ending("data: x\r\n\r\n\r\n")}, kept: keepPlain},
		"the end of an HTTP/2 stream":   {packet: packet{from: v4Server, to: v4Client, flags: flagACK, payload: ending("\x00\x00\x00\x00\x01\x00\x00\x00\x05")}, kept: keepFrame},
		"an HTTP/2 frame that is none":  {packet: packet{from: v4Server, to: v4Client, flags: flagACK, payload: ending("\x00\x00\x00\x00\x00\x00\x00\x00\x05")}, kept: keepPlain},
		"an acknowledgement":            {packet: packet{from: v4Server, to: v4Client, flags: flagACK, options: 12}},
		"FIN":                           {packet: packet{from: v4Server, to: v4Client, flags: flagACK | flagFIN}, kept: -1},
		"RST":                           {packet: packet{from: v6Server, to: v6Client, flags: flagRST}, kept: -1},
		"another port of ours":          {packet: packet{from: v4Server, to: port(v4Client, 40001), flags: flagACK, payload: long}},
		"first of a range":              {packet: packet{from: v4Server, to: port(v4Client, 50000), flags: flagACK, payload: long}, kept: keepPlain},
		"last of a range":               {packet: packet{from: v4Server, to: port(v4Client, 50128), flags: flagACK, payload: long}, kept: keepPlain},
		"behind all ranges":             {packet: packet{from: v4Server, to: port(v4Client, 50129), flags: flagACK, payload: long}},
		"before all ranges":             {packet: packet{from: v4Server, to: port(v4Client, 29999), flags: flagACK, payload: long}},
		"another server":                {packet: packet{from: port(v4Server, 8001), to: v4Client, flags: flagACK, payload: long}},
		"the other port of servers":     {packet: packet{from: port(v6Server, 443), to: v6Client, flags: flagACK, payload: long}, kept: keepPlain},
		"UDP":                           {packet: packet{from: v4Server, to: v4Client, protocol: 17, payload: long}},
		"UDP over IPv6":                 {packet: packet{from: v6Server, to: v6Client, protocol: 17, payload: long}},
		"a fragment":                    {packet: packet{from: v4Server, to: v4Client, fragment: 0x2000, flags: flagACK, payload: long}},
	} {
		t.Run(name, func(t *testing.T) {
			b := tt.build()
			want := tt.kept
			if want < 0 {
				want = len(b)
			}
			require.Equal(t, want, interpret(t, code, b, tt.outgoing))
		})
	}
	t.Run("nobody's", func(t *testing.T) {
		b := packet{from: v4Server, to: v4Client, flags: flagACK, payload: long}.build()
		require.Zero(t, interpret(t, filter(nil, nil), b, false))
		require.Zero(t, interpret(t, filter(nil, []uint16{8000}), b, false))
		require.Zero(t, interpret(t, filter(local, nil), b, false))
	})
	t.Run("no IP", func(t *testing.T) {
		require.Zero(t, interpret(t, code, []byte{0x00, 0x01, 0x08, 0x00}, false))
		require.Zero(t, interpret(t, code, nil, false))
	})
}

func TestRangesOf(t *testing.T) {
	require.Empty(t, rangesOf(nil))
	require.Equal(t, []portRange{{5, 9}, {20, 20}}, rangesOf([]uint16{20, 9, 5, 7}))
	require.Equal(t, []portRange{{65533, 65535}}, rangesOf([]uint16{65535, 65533}))
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		ports := make([]uint16, rng.IntN(500))
		for k := range ports {
			ports[k] = uint16(rng.Uint32())
		}
		ranges := rangesOf(slices.Clone(ports))
		require.LessOrEqual(t, len(ranges), maxRanges)
		for k, r := range ranges {
			require.LessOrEqual(t, r.low, r.high)
			require.True(t, k == 0 || ranges[k-1].high < r.low)
		}
		for _, p := range ports {
			require.True(t, slices.ContainsFunc(ranges, func(r portRange) bool { return r.low <= p && p <= r.high }))
		}
	}
}

func TestJoin(t *testing.T) {
	require.Empty(t, join(nil))
	require.Equal(t, []portRange{{1, 9}, {20, 30}}, join([]portRange{{20, 25}, {1, 5}, {4, 9}, {22, 23}, {25, 30}}))
	require.Equal(t, []portRange{{1, 65535}}, join([]portRange{{65000, 65535}, {1, 65100}}))
}
