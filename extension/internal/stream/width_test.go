package stream

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// widths returns how far apart the bounds of each output chunk's arrival are.
func widths(p *Parser) []int64 {
	var all []int64
	for _, a := range p.Result().Arrivals {
		all = append(all, a.WidthNs)
	}
	return all
}

// Of a receive only the last byte's arrival is known. What else came in it arrived since the socket was last seen empty.
func TestWidth_ChunkThatDoesNotEndItsReceiveIsUncertain(t *testing.T) {
	http1 := func(events ...string) string {
		var b strings.Builder
		for _, e := range events {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(e), e)
		}
		return b.String()
	}
	a, b := chatEvent(0, "a"), chatEvent(1, "b")
	crlf := strings.ReplaceAll(a, "\n", "\r\n")
	role, usage, done := data(`{"choices":[{"delta":{"role":"assistant"}}]}`)[0], data(chatUsage)[0], "data: [DONE]\n\n"
	for _, tt := range []struct {
		sentence string
		receives []string
		want     []int64
	}{
		{"a chunk a receive", []string{http1(a), http1(b)}, []int64{0, 0}},
		{"two chunks in a receive", []string{http1(a, b)}, []int64{7, 0}},
		{"three", []string{http1(a, b, a)}, []int64{7, 7, 0}},
		{"two events in one HTTP chunk", []string{http1(a + b)}, []int64{7, 0}},
		{"what comes before it in its receive changes nothing", []string{http1(role, a)}, []int64{0}},
		{"[DONE] behind it", []string{http1(a, done)}, []int64{7}},
		{"the usage behind it", []string{http1(a, usage)}, []int64{7}},
		{"a comment behind it", []string{http1(a, ": ping\n\n")}, []int64{7}},
		{"the end of the body behind it", []string{http1(a) + "0\r\n\r\n"}, []int64{7}},
		{"a part of the next chunk's size behind it", []string{http1(a) + "f"}, []int64{7}},
		{"a part of the next event", []string{http1(a + b[:9])[:len(http1(a+b[:9]))-2]}, []int64{7}},
		{"without the line break of its HTTP chunk, which comes later", []string{strings.TrimSuffix(http1(a), "\r\n"), "\r\n" + http1(b)}, []int64{0, 0}},
		{"with half of it", []string{strings.TrimSuffix(http1(a), "\n"), "\n" + http1(b)}, []int64{0, 0}},
		{"lines that end in CRLF", []string{http1(crlf), http1(crlf)}, []int64{0, 0}},
		{"two chunks of those", []string{http1(crlf, crlf)}, []int64{7, 0}},
		{"a receive that ends an event and begins the next", []string{http1(a)[:20], http1(a)[20:] + http1(b)[:20], http1(b)[20:]}, []int64{7, 0}},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			var p Parser
			p.Reset(Options{})
			p.FeedWithin([]byte(streamHead), 90, 99)
			for i, receive := range tt.receives {
				p.FeedWithin([]byte(receive), int64(100+10*i), int64(107+10*i))
			}
			require.Equal(t, tt.want, widths(&p))

			p.Reset(Options{})
			p.Feed([]byte(streamHead), 99)
			for i, receive := range tt.receives {
				p.Feed([]byte(receive), int64(107+10*i))
			}
			for _, width := range widths(&p) {
				require.Zero(t, width, "a segment whose own time is known")
			}

			// Under TLS a receive comes record by record.
			p.Reset(Options{})
			p.Feed([]byte(streamHead), 99)
			for i, receive := range tt.receives {
				p.FeedWithin([]byte(receive[:1]), int64(100+10*i), int64(107+10*i))
				for k := 1; k < len(receive); k++ {
					p.FeedRest([]byte(receive[k : k+1]))
				}
			}
			require.Equal(t, tt.want, widths(&p))
		})
	}
}

func TestWidth_StampMayPrecedeTheLookByTheClocksNoise(t *testing.T) {
	var p Parser
	p.Reset(Options{})
	p.Feed([]byte(streamHead), 99)
	one := chunkEvents(1, chatEvent)[0]
	p.FeedWithin(append(one[:len(one):len(one)], one...), 110, 107)
	require.Equal(t, []int64{0, 0}, widths(&p))
}

func TestWidth_EventWithoutItsBlankLineIsUncertain(t *testing.T) {
	var p Parser
	p.Reset(Options{})
	p.Feed([]byte(streamHead), 99)
	event := strings.TrimSuffix(chatEvent(0, "a"), "\n")
	p.FeedWithin([]byte(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(event), event)), 100, 107)
	require.Equal(t, []int64{7}, widths(&p))
}

func TestBody_BytesAfterAResponse(t *testing.T) {
	var p Parser
	p.Reset(Options{})
	a := chatEvent(0, "a")
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n", len(a))
	p.FeedWithin([]byte(head+a), 100, 107)
	require.Equal(t, []int64{0}, widths(&p))
	p.Reset(Options{})
	p.FeedWithin([]byte(head+a+"HTTP"), 100, 107)
	require.Equal(t, []int64{7}, widths(&p))
}

func TestWidth_HTTP2FramesAfterTheDataMakeItUncertain(t *testing.T) {
	var p Parser
	p.Reset(Options{})
	p.FeedHead(200, http.Header{"Content-Type": {"text/event-stream"}}, 99)
	a := chatEvent(0, "a")
	p.FeedBodyWithin([]byte(a), 100, 107)
	p.FeedBodyWithin([]byte(a+a), 110, 117)
	p.FeedBodyWithin([]byte(a), 120, 127)
	p.FeedFraming()
	p.FeedBodyWithin([]byte("data: [DONE]\n\n"), 130, 137)
	p.FeedFraming()
	p.FeedBody([]byte(a+a), 147)
	require.Equal(t, []int64{0, 7, 0, 7, 0, 0}, widths(&p))
}

// The bytes themselves say which chunks end their receives.
func TestWidthsOfAnyReceivesAreAsTheBytesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		crlf := rapid.Bool().Draw(t, "crlf")
		var wire strings.Builder
		wire.WriteString(streamHead)
		var ends []int // of the output chunks in wire
		for range rapid.IntRange(1, 12).Draw(t, "http chunks") {
			var content strings.Builder
			var within []int
			for range rapid.IntRange(1, 3).Draw(t, "events") {
				event, output := chatEvent(0, rapid.SampledFrom(words).Draw(t, "word")), true
				switch rapid.IntRange(0, 5).Draw(t, "kind") {
				case 0:
					event, output = ": ping\n\n", false
				case 1:
					event, output = data(chatUsage)[0], false
				case 2:
					event = changingEvent(content.Len(), "x")
				}
				if crlf {
					event = strings.ReplaceAll(event, "\n", "\r\n")
				}
				content.WriteString(event)
				if output {
					within = append(within, content.Len())
				}
			}
			fmt.Fprintf(&wire, "%x\r\n", content.Len())
			for _, end := range within {
				ends = append(ends, wire.Len()+end)
			}
			wire.WriteString(content.String() + "\r\n")
		}
		wire.WriteString("0\r\n\r\n")
		bytes := wire.String()

		var p Parser
		p.Reset(Options{})
		want := make([]int64, 0, len(ends))
		next := 0
		for from, sinceNs := 0, int64(100); from < len(bytes); sinceNs += 1000 {
			to := min(len(bytes), from+rapid.IntRange(1, 700).Draw(t, "receive"))
			for ; next < len(ends) && ends[next] <= to; next++ {
				width := int64(500)
				if behind := bytes[ends[next]:to]; strings.HasPrefix("\r\n", behind) {
					width = 0
				}
				want = append(want, width)
			}
			if crlf && next < len(ends) && ends[next] == to+1 { // the event is over with the CR of its blank line
				want = append(want, 0)
				next++
			}
			first := true
			for from < to { // in TLS records
				n := min(to-from, rapid.IntRange(1, 700).Draw(t, "record"))
				if first {
					p.FeedWithin([]byte(bytes[from:from+n]), sinceNs, sinceNs+500)
				} else {
					p.FeedRest([]byte(bytes[from : from+n]))
				}
				first = false
				from += n
			}
		}
		p.End(errors.New("over"), 1<<40)
		require.Len(t, p.Result().Arrivals, len(ends))
		require.Equal(t, want, append([]int64{}, widths(&p)...))
	})
}
