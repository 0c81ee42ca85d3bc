package wiretap

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// However a stream is cut, repeated, overlapped and reordered, and wherever its sequence numbers wrap, its bytes are whole and
// each has the time at which it and all before it had come.
func TestBytes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		length := rapid.IntRange(1, 200).Draw(rt, "length")
		stream := make([]byte, length)
		for i := range stream {
			stream[i] = byte(i)
		}
		base := rapid.SampledFrom([]uint32{0, 1, 1 << 31, 1<<32 - 1, 1<<32 - 50}).Draw(rt, "base")
		var b Bytes
		b.begin(base)
		came := make([]bool, length)
		times := make([]int64, length)
		complete := 0
		add := func(from, n int, atNs int64) {
			b.add(base+uint32(from), stream[from:from+n], atNs)
			for i := range n {
				came[from+i] = true
			}
			for ; complete < length && came[complete]; complete++ {
				times[complete] = atNs
			}
		}
		atNs := int64(0)
		for range rapid.IntRange(0, 30).Draw(rt, "segments") {
			atNs++
			from := rapid.IntRange(0, length-1).Draw(rt, "from")
			add(from, rapid.IntRange(1, length-from).Draw(rt, "n"), atNs)
		}
		if string(b.Data) != string(stream[:complete]) {
			rt.Fatalf("%d bytes for %d", len(b.Data), complete)
		}
		for i := range complete {
			if b.TimeNs(i) != times[i] {
				rt.Fatalf("byte %d at %d for %d", i, b.TimeNs(i), times[i])
			}
		}
		if b.TimeNs(complete) != 0 || b.TimeNs(-1) != 0 {
			rt.Fatal("a byte that did not come has a time")
		}
	})
}

// The order in which segments are handed on moves no time: a byte came at the latest time of a packet up to it.
func TestTheOrderOfPacketsMovesNoTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const size = 3
		times := rapid.SliceOfN(rapid.Int64Range(1, 50), 1, 20).Draw(rt, "times")
		order := make([]int, len(times))
		for k := range order {
			order[k] = k
		}
		var b Bytes
		b.begin(0)
		for _, k := range rapid.Permutation(order).Draw(rt, "order") {
			b.add(uint32(size*k), []byte("abc"), times[k])
		}
		latest := int64(0)
		for k, atNs := range times {
			latest = max(latest, atNs)
			for i := range size {
				if got := b.TimeNs(size*k + i); got != latest {
					rt.Fatalf("byte %d of segment %d at %d for %d", i, k, got, latest)
				}
			}
		}
	})
}

func TestDuplicatesAreCounted(t *testing.T) {
	var b Bytes
	b.add(100, []byte("abc"), 1)
	b.add(100, []byte("abc"), 2)
	b.add(102, []byte("c"), 3)
	b.add(102, []byte("cd"), 4)
	b.add(99, []byte("x"), 5) // a keep-alive probe
	require.Equal(t, "abcd", string(b.Data))
	require.Equal(t, 3, b.Duplicates)
	require.EqualValues(t, 1, b.TimeNs(2))
	require.EqualValues(t, 4, b.TimeNs(3))
}

func TestMessages(t *testing.T) {
	tail := "tail"
	m := message{data: []byte("HTTP/1.1 100 Continue\r\n\r\n" +
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n" +
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxy" +
		"HTTP/1.1 200 OK\r\n\r\n" + tail)}
	for _, want := range []string{"", "abcde", "xy", tail} {
		require.NoError(t, m.read(true))
		require.Equal(t, want, string(m.body))
		for i, at := range m.places {
			require.Equal(t, want[i], m.data[at])
		}
		require.Equal(t, want != tail, m.complete)
	}
	require.Len(t, m.data, m.next)

	cut := message{data: []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")}
	require.NoError(t, cut.read(true))
	require.Equal(t, "ab", string(cut.body))
	require.False(t, cut.complete)
	bad := message{data: []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab")}
	require.ErrorIs(t, bad.read(true), errFraming)
}

// No packet makes the parser panic.
func FuzzPacket(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 44, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, 0x1f, 0x90, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c', 'd'})
	f.Fuzz(func(t *testing.T, b []byte) {
		a := newAssembler(80)
		a.packet(b, false, 1)
		a.packet(b, true, 2)
		for _, flow := range a.flows {
			_, _ = flow.Exchanges()
			flow.FromServer.Records()
		}
	})
}
