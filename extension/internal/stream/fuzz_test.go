package stream

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzParser feeds arbitrary bytes in arbitrary receives: nothing panics, what comes out does not depend on the receives
// but for times and coalescing, and the result keeps what it promises.
func FuzzParser(f *testing.F) {
	for _, tt := range recorded {
		if r := loadRecording(f, tt.file, tt.title); r.raw != nil {
			f.Add(r.raw, []byte{200, 1, 7, 100, 30, 30}, uint8(tt.api), uint8(0))
		}
	}
	for i, bench := range benchmarkStreams {
		var events []string
		for k, word := range words[:3] {
			events = append(events, bench.event(k, word))
		}
		f.Add([]byte(chunkedStream(events...)), []byte{255, 3, 90, 1, 1, 1}, uint8(bench.api), uint8(i))
	}
	for i, w := range loadWires(f) {
		if w.Huge == 0 {
			response, _ := w.respond(framings[i%len(framings)], w.Type, func() int { return 90 })
			f.Add(response, []byte{255, 255, 1, 7, 90, 200, 3}, uint8(w.api(f)), uint8(0))
		}
	}
	f.Add([]byte("HTTP/1.1 103 X\r\n\r\nHTTP/1.0 200 OK\nContent-Type: text/event-stream\n\nid: 1\rdata: {\"error\":\"x\"}\r\r"), []byte{9}, uint8(Messages), uint8(1))
	var described []*Wire
	for i, description := range []string{chatWire, ollamaWire, tgiWire, sglangWire, converseWire, namedWire, typedWire, rerankWire} {
		described = append(described, wireOf(f, description))
		f.Add([]byte(chunkedStream(data(`{"text":"a","event":"message","answer":"b","n":2}`, chatText, chatFinish, "[DONE]")...)), []byte{9, 200}, uint8(Custom), uint8(i<<1))
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"a\":{\"b\":3}}"), []byte{50}, uint8(JSON), uint8(3))
	f.Fuzz(func(t *testing.T, response, split []byte, api, ending uint8) {
		o := Options{API: API(int(api) % len(apiNames)), ExpectedOutputTokens: int(ending>>4) % 4, KeepText: true,
			InputTokensPointer: "/a/b", OutputTokensPointer: "/a"}
		if o.API == Custom {
			o.Wire = described[int(ending>>1)%len(described)]
		}
		var end error
		if ending&1 != 0 {
			end = errors.New("reset")
		}
		check := func(r *Result, receives int) {
			require.LessOrEqual(t, len(r.Message), maxMessageBytes)
			require.True(t, utf8.ValidString(r.Message))
			for _, c := range r.Message {
				require.False(t, unicode.IsControl(c))
			}
			require.Equal(t, r.Failure == None, r.Message == "")
			require.Equal(t, len(r.Arrivals) > 0, r.Streamed && r.FirstOutputNs > 0)
			last := int64(0)
			choices := map[int32]bool{}
			for _, a := range r.Arrivals {
				choices[a.Choice] = true
				require.GreaterOrEqual(t, a.AtNs, last)
				require.GreaterOrEqual(t, a.Tokens, int32(0))
				last = a.AtNs
			}
			if n := len(r.Arrivals); n > 0 {
				require.Equal(t, r.Arrivals[0].AtNs, r.FirstOutputNs)
				require.Equal(t, r.Arrivals[n-1].AtNs, r.LastOutputNs)
				require.GreaterOrEqual(t, n, r.Coalesced+1)
				require.LessOrEqual(t, n-r.Coalesced, (receives+1)*len(choices))
				require.GreaterOrEqual(t, r.EndNs, r.LastOutputNs)
			}
			if r.Failure == None {
				require.NotZero(t, r.FirstOutputNs)
				require.GreaterOrEqual(t, r.OutputTokens, o.ExpectedOutputTokens)
			}
			require.GreaterOrEqual(t, r.OutputTokens, 0)
			require.LessOrEqual(t, r.BodyBytes, int64(len(response)))
		}
		var whole, parts, framed Parser
		whole.Reset(o)
		whole.Feed(response, 1)
		whole.End(end, 2)
		check(whole.Result(), 1)

		// A parser that read another response before, and bytes that go away after each receive.
		parts.Reset(Options{API: Chat})
		parts.Feed([]byte(chunkedStream(chatEvent(0, "x"))), 1)
		parts.Reset(o)
		rest, receives := response, 0
		for len(rest) > 0 {
			n := len(rest)
			if receives < len(split) {
				n = min(n, int(split[receives]))
			}
			receive := bytes.Clone(rest[:n])
			parts.Feed(receive, int64(receives)+1)
			for i := range receive {
				receive[i] = 'x'
			}
			rest = rest[n:]
			receives++
		}
		parts.End(end, int64(receives)+1)
		check(parts.Result(), receives)
		require.Equal(t, shownResult(whole.Result()), shownResult(parts.Result()))

		if _, body, ok := bytes.Cut(response, []byte("\r\n\r\n")); ok {
			framed.Reset(o)
			framed.FeedHead(200, map[string][]string{"Content-Type": {"text/event-stream"}}, 1)
			framed.FeedBody(body, 2)
			framed.End(end, 3)
			check(framed.Result(), 1)
		}
	})
}

func shownResult(r *Result) string {
	s := fmt.Sprintf("%+v %v %v", comparable(*r), r.Streamed, r.KeepAlive)
	for _, a := range r.Arrivals {
		s += fmt.Sprint(" ", a.Tokens)
	}
	return s
}
