package stream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const wires = "testdata/wires"

// wire is one body as some server sends it, made up after public reports, and how it is to be read: testdata/wires/cases.json.
type wire struct {
	Body   string // the file; "@HUGE@" in it stands for Huge letters
	Says   string
	Source string // who reported it
	Huge   int

	API        string
	Status     int // 0 = 200
	Type       string
	RetryAfter string
	Breaks     bool // the connection is reset behind the body

	Outcome   Failure
	Message   string // contained
	Chunks    []int  // output chunks: indices of events with data, or of lines that are not blank
	Tokens    *int   // nil = the server does not tell, so that chunks are counted
	Input     int
	Cached    int
	Reasoning int
	Finish    string
	Text      string // "" = not compared with a huge one

	bytes []byte
	ends  []int // offset behind each event or line, in the order of their indices
}

func loadWires(t testing.TB) []wire {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(wires, "cases.json"))
	require.NoError(t, err)
	var all []wire
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&all))
	for i := range all {
		w := &all[i]
		w.bytes, err = os.ReadFile(filepath.Join(wires, w.Body))
		require.NoError(t, err)
		if w.Huge > 0 {
			w.bytes = bytes.ReplaceAll(w.bytes, []byte("@HUGE@"), bytes.Repeat([]byte("x"), w.Huge))
		}
		if w.Status == 0 {
			w.Status = 200
		}
		switch filepath.Ext(w.Body) {
		case ".sse":
			w.ends = eventEnds(w.bytes)
		case ".ndjson":
			w.ends = lineEnds(w.bytes)
		}
	}
	return all
}

// eventEnds returns the offsets behind the events with data of a stream, by the standard's rules and no other code of this
// package. An event ends with the first byte of its blank line's end.
func eventEnds(b []byte) (ends []int) {
	hasData := false
	for i := 0; i < len(b); {
		n := bytes.IndexAny(b[i:], "\r\n")
		if n < 0 {
			break
		}
		line := b[i : i+n]
		if i += n + 1; len(line) == 0 && hasData {
			ends = append(ends, i)
			hasData = false
		}
		hasData = hasData || bytes.HasPrefix(line, []byte("data:"))
		if b[i-1] == '\r' && i < len(b) && b[i] == '\n' {
			i++
		}
	}
	return ends
}

func lineEnds(b []byte) (ends []int) {
	at := 0
	for line := range bytes.Lines(b) {
		at += len(line)
		if len(bytes.TrimSpace(line)) > 0 {
			ends = append(ends, at)
		}
	}
	return ends
}

func (w *wire) api(t require.TestingT) API {
	api, err := ParseAPI(w.API)
	require.NoError(t, err)
	return api
}

// framing is one of the ways in which a body crosses HTTP.
type framing struct {
	name      string
	keepAlive bool
	chunked   bool
	length    bool
}

var framings = []framing{
	{"chunked", true, true, false},
	{"chunked, then closed", false, true, false},
	{"with its length", true, false, true},
	{"with its length, then closed", false, false, true},
	{"closed at its end", false, false, false},
}

// respond returns the response and, for each byte of its body, the offset behind it. A response that breaks lacks the end of
// its framing. pieces are the sizes of chunks.
func (w *wire) respond(f framing, mediaType string, pieces func() int) (response []byte, behind []int) {
	head := fmt.Sprintf("HTTP/1.1 %d X\r\n", w.Status)
	if mediaType != "" {
		head += "Content-Type: " + mediaType + "\r\n"
	}
	if w.RetryAfter != "" {
		head += "Retry-After: " + w.RetryAfter + "\r\n"
	}
	if !f.keepAlive {
		head += "Connection: close\r\n"
	}
	behind = make([]int, 0, len(w.bytes))
	add := func(b []byte) {
		for i := range b {
			behind = append(behind, len(response)+i+1)
		}
		response = append(response, b...)
	}
	switch {
	case f.chunked:
		response = append(response, head+"Transfer-Encoding: chunked\r\n\r\n"...)
		for rest := w.bytes; len(rest) > 0; {
			n := min(pieces(), len(rest))
			response = fmt.Appendf(response, "%x\r\n", n)
			add(rest[:n])
			response = append(response, "\r\n"...)
			rest = rest[n:]
		}
		if !w.Breaks {
			response = append(response, "0\r\n\r\n"...)
		}
	case f.length:
		length := len(w.bytes)
		if w.Breaks {
			length += 100
		}
		response = fmt.Appendf(response, "%sContent-Length: %d\r\n\r\n", head, length)
		add(w.bytes)
	default:
		response = append(response, head+"\r\n"...)
		add(w.bytes)
	}
	return response, behind
}

// check compares a result with what the case says. stamp tells when the byte at that offset of the body arrived.
func (w *wire) check(t require.TestingT, r *Result, stamp func(offset int) int64) {
	require.Equal(t, w.Outcome, r.Failure, r.Message)
	require.Contains(t, r.Message, w.Message)
	require.Equal(t, w.Status, r.Status)
	require.Equal(t, w.RetryAfter, r.RetryAfter)
	require.Len(t, r.Arrivals, len(w.Chunks))
	tokens := int32(0)
	for i, chunk := range w.Chunks {
		require.Equal(t, stamp(w.ends[chunk]-1), r.Arrivals[i].AtNs, "output chunk %d", i)
		tokens += r.Arrivals[i].Tokens
	}
	if n := len(w.Chunks); n > 0 {
		require.True(t, r.Streamed)
		require.Equal(t, r.Arrivals[0].AtNs, r.FirstOutputNs)
		require.Equal(t, r.Arrivals[n-1].AtNs, r.LastOutputNs)
	}
	if w.Tokens != nil {
		require.Equal(t, *w.Tokens, r.OutputTokens)
		require.Equal(t, FromUsage, r.TokenSource)
	} else {
		require.Equal(t, FromChunks, r.TokenSource, "the server gives no count")
		require.Equal(t, len(w.Chunks), r.OutputTokens)
		require.EqualValues(t, len(w.Chunks), tokens)
	}
	require.Equal(t, []int{w.Input, w.Cached, w.Reasoning}, []int{r.InputTokens, r.CachedTokens, r.ReasoningTokens})
	require.False(t, r.TokenMismatch)
	require.Equal(t, w.Finish, r.FinishReason)
	if w.Huge == 0 {
		require.Equal(t, w.Text, r.Text)
	} else {
		require.Len(t, r.Text, w.Huge+len(" end"))
	}
	if len(w.ends) > 0 {
		require.InDelta(t, len(w.ends), r.Events, 1) // one may lack its blank line, or its data
	}
}

// splits draws the sizes of receives: any, or all of the response, or a byte, or up to the end of one of the events.
func (w *wire) splits(random *rand.Rand, behind []int) func(at int) int {
	most := []int{1, 7, 60, 400, 1 << 30}[random.IntN(5)]
	if w.Huge > 0 {
		most = max(most, 4000)
	}
	atEnds := random.IntN(2) == 0
	return func(at int) int {
		n := 1 + random.IntN(most)
		if !atEnds {
			return n
		}
		for _, end := range w.ends {
			if end = behind[end-1]; end > at {
				return min(n, end-at)
			}
		}
		return n
	}
}

// Every case of testdata/wires is read as it says, however it is framed and in whatever receives it comes.
func TestWires(t *testing.T) {
	var p Parser // one for all: nothing of one response may show in the next
	for k, w := range loadWires(t) {
		t.Run(w.Body, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(k)))
			o := Options{API: w.api(t), KeepText: true}
			rounds := 30
			if w.Huge > 0 {
				rounds = 3
			}
			for _, f := range framings {
				for range rounds {
					response, behind := w.respond(f, w.Type, func() int { return 1 + random.IntN(len(w.bytes)) })
					size := w.splits(random, behind)
					p.Reset(o)
					stamps := make([]int64, len(response)) // of each byte
					done := false
					for at, now := 0, int64(1); at < len(response); now += 1 + random.Int64N(5) {
						n := min(size(at), len(response)-at)
						for i := range n {
							stamps[at+i] = now
						}
						receive := bytes.Clone(response[at : at+n])
						done = p.Feed(receive, now)
						clear(receive) // it goes away
						at += n
					}
					require.Equal(t, !w.Breaks && (f.chunked || f.length), done, f.name)
					switch {
					case w.Breaks:
						p.End(errConnectionReset, 1e9)
					case !f.keepAlive:
						p.End(nil, 1e9)
					}
					r := p.Result()
					w.check(t, r, func(offset int) int64 { return stamps[behind[offset]-1] })
					require.Equal(t, f.keepAlive && !w.Breaks, r.KeepAlive, f.name)
					require.EqualValues(t, len(w.bytes), r.BodyBytes)
					if !w.Breaks && len(w.bytes) > 0 {
						require.Equal(t, stamps[len(stamps)-1], r.EndNs)
					}
				}
			}
		})
	}
}

// So they are from a transport that does its own framing, as HTTP/2's, and whatever the header calls them.
func TestWiresByAnyName(t *testing.T) {
	var p Parser
	for k, w := range loadWires(t) {
		for _, name := range []string{w.Type, "", "text/event-stream", "text/event-stream;charset=utf-8", "application/json", "application/x-ndjson", "text/plain"} {
			if len(w.ends) == 0 && name == "application/x-ndjson" && w.Status == 200 {
				continue // a reply of one line would be a stream of one
			}
			t.Run(w.Body+" as "+name, func(t *testing.T) {
				random := rand.New(rand.NewPCG(2, uint64(k)))
				rounds := 10
				if w.Huge > 0 {
					rounds = 2
				}
				for range rounds {
					size := w.splits(random, slices.Collect(func(yield func(int) bool) {
						for i := range w.bytes {
							if !yield(i + 1) {
								return
							}
						}
					}))
					header := http.Header{"Content-Type": {name}}
					if w.RetryAfter != "" {
						header.Set("Retry-After", w.RetryAfter)
					}
					p.Reset(Options{API: w.api(t), KeepText: true})
					p.FeedHead(w.Status, header, 1)
					stamps := make([]int64, len(w.bytes))
					for at, now := 0, int64(2); at < len(w.bytes); now++ {
						n := min(size(at), len(w.bytes)-at)
						for i := range n {
							stamps[at+i] = now
						}
						p.FeedBody(w.bytes[at:at+n], now)
						at += n
					}
					var end error
					if w.Breaks {
						end = errConnectionReset
					}
					p.End(end, 1e9)
					if w.Body == "34-empty-200.sse" { // nothing but the name tells what it should have been
						require.Equal(t, Empty, p.Result().Failure)
						continue
					}
					w.check(t, p.Result(), func(offset int) int64 { return stamps[offset] })
				}
			})
		}
	}
}

// No body is left out of the table, and each is in it once.
func TestWires_AreAllTested(t *testing.T) {
	var listed []string
	for _, w := range loadWires(t) {
		listed = append(listed, filepath.Join(wires, w.Body))
		require.NotEmpty(t, w.Says)
		require.NotEmpty(t, w.Source)
	}
	files, err := filepath.Glob(filepath.Join(wires, "*"))
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, "cases.json") })
	require.ElementsMatch(t, files, listed)
	require.GreaterOrEqual(t, len(listed), 47)
}
