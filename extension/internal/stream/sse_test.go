package stream

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shown is an event as text, so that nil and empty differ and slices are copied.
func shown(ev Event) string {
	part := func(name string, b []byte) string {
		if b == nil {
			return ""
		}
		return fmt.Sprintf(" %s=%q", name, b)
	}
	s := fmt.Sprintf("name=%q", ev.Name) + part("id", ev.ID) + part("data", ev.Data) + part("comment", ev.Comment)
	if ev.RetryMs >= 0 {
		s += fmt.Sprintf(" retry=%d", ev.RetryMs)
	}
	return s
}

// decode splits s, given in parts of the given sizes (the rest in one), and returns the events.
func decode(s string, sizes ...int) (events []string) {
	var d Decoder
	note := func(ev Event) { events = append(events, shown(ev)) }
	b := []byte(s)
	for _, size := range sizes {
		size = min(size, len(b))
		part := bytes.Clone(b[:size])
		d.Feed(part, 1, note)
		clear(part) // what the decoder keeps must be its own
		b = b[size:]
	}
	part := bytes.Clone(b)
	d.Feed(part, 2, note)
	clear(part)
	d.Flush(3, note)
	return events
}

func ones(n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 1
	}
	return sizes
}

// reference is the algorithm of the standard as it is written there, on the whole text: lines first, then fields.
func reference(s string) (events []string) {
	s = strings.TrimPrefix(s, "\xef\xbb\xbf")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	var ev Event
	dirty := false
	dispatch := func() {
		if dirty {
			events = append(events, shown(ev))
		}
		ev, dirty = Event{RetryMs: -1}, false
	}
	dispatch()
	add := func(to *[]byte, value string) {
		if *to == nil {
			*to = []byte(value)
			return
		}
		*to = append(append(*to, '\n'), value...)
	}
	for line := range strings.SplitSeq(s, "\n") {
		if line == "" {
			dispatch()
			continue
		}
		dirty = true
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "":
			add(&ev.Comment, value)
		case "data":
			add(&ev.Data, value)
		case "event":
			ev.Name = []byte(value)
		case "id":
			if !strings.Contains(value, "\x00") {
				ev.ID = []byte(value)
			}
		case "retry":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && strings.Trim(value, "0123456789") == "" && len(value) <= 18 {
				ev.RetryMs = n
			}
		}
	}
	dispatch()
	return events
}

func TestDecoder(t *testing.T) {
	for _, tt := range []struct {
		sentence, stream string
		want             []string
	}{
		{"LF ends lines.", "data: a\n\ndata: b\n\n", []string{`name="" data="a"`, `name="" data="b"`}},
		{"CRLF ends lines.", "data: a\r\n\r\ndata: b\r\n\r\n", []string{`name="" data="a"`, `name="" data="b"`}},
		{"CR ends lines.", "data: a\r\rdata: b\r\r", []string{`name="" data="a"`, `name="" data="b"`}},
		{"All three mix.", "data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\r", []string{`name="" data="a"`, `name="" data="b"`, `name="" data="c"`, `name="" data="d"`}},
		{"Data lines are joined by LF.", "data: a\ndata\ndata:  b\n\n", []string{`name="" data="a\n\n b"`}},
		{"One space after the colon goes, no more.", "data:  a \n\ndata:b\n\n", []string{`name="" data=" a "`, `name="" data="b"`}},
		{"A field without a colon has an empty value.", "data\n\n", []string{`name="" data=""`}},
		{"An empty line between events is nothing.", "\n\n\r\n\rdata: a\n\n\n\n", []string{`name="" data="a"`}},
		{"A byte order mark at the start goes.", "\xef\xbb\xbfdata: a\n\n", []string{`name="" data="a"`}},
		{"A byte order mark later is part of a field's name.", "data: a\n\n\xef\xbb\xbfdata: b\n\n", []string{`name="" data="a"`, `name=""`}},
		{"Name, id and retry belong to their event.", "event: x\nid: 7\nretry: 250\ndata: a\n\ndata: b\n\n", []string{`name="x" id="7" data="a" retry=250`, `name="" data="b"`}},
		{"The last name and id count.", "event: x\nevent: y\nid: 1\nid\ndata: a\n\n", []string{`name="y" id="" data="a"`}},
		{"An id with NUL and a retry that is no number are ignored.", "id: a\x00b\nretry: 1s\ndata: a\n\n", []string{`name="" data="a"`}},
		{"Comments are kept and unknown fields ignored.", ": one\n:two\nfoo: bar\ndata: a\n\n", []string{`name="" data="a" comment="one\ntwo"`}},
		{"A comment alone is an event without data.", ": ping\n\n", []string{`name="" comment="ping"`}},
		{"Names differ in case.", "Data: a\n\n", []string{`name=""`}},
		{"An event without its blank line is delivered at the end.", "data: a\n\ndata: b\n", []string{`name="" data="a"`, `name="" data="b"`}},
		{"So is one without its last line break.", "data: a\n\ndata: b", []string{`name="" data="a"`, `name="" data="b"`}},
		{"A colon in the value stays.", "data: {\"a\":1}\n\n", []string{`name="" data="{\"a\":1}"`}},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			require.Equal(t, tt.want, decode(tt.stream), "whole")
			require.Equal(t, tt.want, decode(tt.stream, ones(len(tt.stream))...), "byte by byte")
			for i := range len(tt.stream) {
				require.Equal(t, tt.want, decode(tt.stream, i), "split at %d", i)
			}
			require.Equal(t, tt.want, reference(tt.stream), "the reference")
		})
	}
}

// An event has the time of the byte that made its last line blank; it must not wait for an LF that may follow a CR.
func TestDecoderStamps(t *testing.T) {
	for _, tt := range []struct {
		stream string
		at     int // the byte that ends the event
	}{
		{"data: a\n\n", 8},
		{"data: a\r\n\r\n", 9},
		{"data: a\r\r", 8},
		{"data: a\n\r\n", 8},
		{"data: a\r\n\n", 9},
	} {
		t.Run(strconv.Quote(tt.stream), func(t *testing.T) {
			var d Decoder
			var stamps []int64
			for i := range len(tt.stream) {
				d.Feed([]byte{tt.stream[i]}, int64(i), func(ev Event) { stamps = append(stamps, ev.AtNs) })
			}
			d.Flush(99, func(ev Event) { stamps = append(stamps, ev.AtNs) })
			require.Equal(t, []int64{int64(tt.at)}, stamps)
		})
	}
}

func TestDecoderLargeEvents(t *testing.T) {
	value := strings.Repeat("x", 3<<20)
	var d Decoder
	var got int
	stream := []byte("data: " + value + "\ndata: y\n\n")
	for len(stream) > 0 {
		n := min(len(stream), 1500)
		d.Feed(stream[:n], 1, func(ev Event) { got = len(ev.Data) })
		stream = stream[n:]
	}
	require.Equal(t, len(value)+2, got)
	require.NoError(t, d.Err())

	// The limit is the same for an event in one piece and in several, and for one that the end of the stream ends.
	large := []byte("data: " + strings.Repeat("x", maxEventBytes*3/4) + "\n\n")
	for _, first := range []int{len(large), 100, len(large) - 1, len(large) - 2} {
		d.Reset()
		got = 0
		d.Feed(large[:first], 1, func(ev Event) { got = len(ev.Data) })
		d.Feed(large[first:], 1, func(ev Event) { got = len(ev.Data) })
		require.NoError(t, d.Err(), first)
		require.Equal(t, maxEventBytes*3/4, got)
	}
	d.Reset()
	d.Feed(large[:len(large)-2], 1, func(Event) { t.Fatal("no event has ended") })
	d.Flush(1, func(ev Event) { got = -len(ev.Data) })
	require.Equal(t, -maxEventBytes*3/4, got)

	part := []byte(strings.Repeat("x", 1<<20))
	d.Reset()
	d.Feed([]byte("data: "), 1, func(Event) { t.Fatal("no event has ended") })
	for range maxEventBytes >> 20 {
		d.Feed(part, 1, func(Event) { t.Fatal("no event has ended") })
	}
	require.ErrorIs(t, d.Err(), ErrEventTooLarge)
	d.Feed([]byte("\n\ndata: a\n\n"), 1, func(Event) { t.Fatal("nothing is read after an error") })
	d.Reset()
	require.NoError(t, d.Err())
	d.Feed([]byte("data: a\n\n"), 1, func(ev Event) { got = len(ev.Data) })
	require.Equal(t, 1, got)
}

func TestDecoderAllocatesNothing(t *testing.T) {
	stream := []byte("event: x\nid: 1\ndata: a\ndata: b\n: c\n\n")
	var d Decoder
	n := 0
	count := func(ev Event) { n += len(ev.Data) }
	feed := func() {
		d.Feed(stream[:9], 1, count)
		d.Feed(stream[9:], 1, count)
	}
	feed()
	require.Zero(t, testing.AllocsPerRun(100, feed))
	require.NotZero(t, n)
}

func FuzzSSE(f *testing.F) {
	f.Add("data: a\n\nevent: x\r\nid: 1\rretry: 3\n\n: c\n\ndata", []byte{3, 1, 4})
	f.Add("\xef\xbb\xbfdata: a\r\n\r\n\rdata:\n\n", []byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1})
	f.Add("data: a\ndata: b\r\rid:\x00\n\n", []byte{10, 6})
	f.Fuzz(func(t *testing.T, stream string, split []byte) {
		want := reference(stream)
		sizes := make([]int, len(split))
		for i, size := range split {
			sizes[i] = int(size)
		}
		require.Equal(t, want, decode(stream))
		require.Equal(t, want, decode(stream, sizes...))
	})
}
