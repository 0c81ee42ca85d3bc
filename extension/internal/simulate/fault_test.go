package simulate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

// faulty asks for ten tokens with a fault of the request's own.
func faulty(fault string) string {
	return `{"messages":[],"max_tokens":10,"ignore_eos":true,"stream":true,"simulate":{` + fault + `}}`
}

// rawStream is a response as it came over the wire.
type rawStream struct {
	head   string
	chunks []string // payloads of the HTTP chunks
	ended  bool     // by the last chunk
	err    error    // nil: the connection was closed in order, or the response ended
}

// tokens counts the chunks' events with content.
func (r rawStream) tokens() int {
	n := 0
	for _, event := range strings.Split(strings.Join(r.chunks, ""), "data: ") {
		if gjson.Get(event, "choices.0.delta.content").String() != "" {
			n++
		}
	}
	return n
}

func (r rawStream) body() string { return strings.Join(r.chunks, "") }

// raw sends a chat request and reads the response's framing.
func raw(t *testing.T, s *Server, body string) rawStream {
	t.Helper()
	nc := dial(t, s)
	say(t, nc, post(pathChat, body))
	in := bufio.NewReader(nc)
	var r rawStream
	for {
		line, err := in.ReadString('\n')
		r.head += line
		if err != nil {
			r.err = err
			return r
		}
		if line == "\r\n" {
			break
		}
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.err = err
			}
			return r
		}
		var size int
		_, err = fmt.Sscanf(line, "%x\r\n", &size)
		require.NoError(t, err, "chunk size %q", line)
		payload := make([]byte, size+2)
		if _, err := io.ReadFull(in, payload); err != nil {
			r.err = err
			return r
		}
		require.Equal(t, "\r\n", string(payload[size:]))
		if size == 0 {
			r.ended = true
			return r
		}
		r.chunks = append(r.chunks, string(payload[:size]))
	}
}

// Unless a fault says so, each event is one HTTP chunk.
func TestEventsAreChunks(t *testing.T) {
	r := raw(t, start(t, nil), faulty(""))
	require.Len(t, r.chunks, 12, "role, 10 tokens, [DONE]")
	for _, c := range r.chunks {
		require.True(t, strings.HasPrefix(c, "data: ") && strings.HasSuffix(c, "\n\n"), c)
		require.Equal(t, 1, strings.Count(c, "data: "))
	}
	require.True(t, r.ended)
}

func TestFaultStatus(t *testing.T) {
	s := start(t, nil)
	for _, status := range []int{400, 429, 500, 503} {
		r := ask(t, s, "POST", pathChat, faulty(fmt.Sprintf(`"status":%d`, status)))
		require.Equal(t, status, r.status)
		require.Equal(t, status == 429 || status == 503, r.header.Get("Retry-After") != "")
		r = ask(t, s, "GET", "/tokenizer?output_tokens=1", "", "X-Simulate", fmt.Sprintf(`{"status":%d}`, status))
		require.Equal(t, status, r.status)
	}
	require.Equal(t, 200, ask(t, s, "POST", pathChat, faulty(`"status":500,"share":0`)).status)
}

// A share is drawn for each request, the same at each run with the same seed.
func TestFaultShare(t *testing.T) {
	pattern := func() string {
		s := start(t, func(c *Config) {
			share429, share500 := 0.2, 0.1
			c.Faults = []Fault{{Share: &share429, Status: 429}, {Share: &share500, Status: 500}}
		})
		client := httpClient(t)
		out := ""
		for range 300 {
			out += fmt.Sprint(askWith(t, client, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":1}`).status, " ")
		}
		return out
	}
	first := pattern()
	require.Equal(t, first, pattern())
	// Four standard deviations around 60 and 24 (those that 429 took are not drawn again).
	require.InDelta(t, 60, strings.Count(first, "429"), 28)
	require.InDelta(t, 24, strings.Count(first, "500"), 19)
}

func TestFaultCap(t *testing.T) {
	s := start(t, func(c *Config) {
		paced(0, time.Second)(c)
		c.MaxInFlight = 2
	})
	for range 2 {
		nc := dial(t, s)
		say(t, nc, post(pathChat, faulty("")))
		_, err := nc.Read(make([]byte, 10)) // it is being answered
		require.NoError(t, err)
	}
	require.Equal(t, 429, ask(t, s, "POST", pathChat, faulty("")).status)
}

func TestFaultRefuse(t *testing.T) {
	r := raw(t, start(t, nil), faulty(`"refuse":true`))
	require.Empty(t, r.head)
	require.Error(t, r.err)
}

func TestFaultCut(t *testing.T) {
	s := start(t, nil)
	for _, how := range []string{"rst", "fin", "end"} {
		for _, after := range []int{0, 4} {
			name := fmt.Sprint(how, after)
			r := raw(t, s, faulty(fmt.Sprintf(`"cut":%d,"cutHow":"%s"`, after, how)))
			if how == "rst" {
				// A reset may overtake what was sent before it.
				require.ErrorIs(t, r.err, syscall.ECONNRESET, name)
				require.LessOrEqual(t, r.tokens(), after, name)
			} else {
				require.NoError(t, r.err, name)
				require.Equal(t, after, r.tokens(), name)
			}
			require.Equal(t, how == "end", r.ended, name)
			require.NotContains(t, r.body(), "[DONE]", name)
			require.NotContains(t, r.body(), `"finish_reason":"`, name)
		}
	}
	for _, r := range s.Truth().Requests {
		require.Equal(t, "cut", r.Fault)
	}
	for _, how := range []string{"rst", "fin"} {
		r := ask(t, s, "POST", pathChat, `{"messages":[],"max_tokens":10,"simulate":{"cut":1,"cutHow":"`+how+`"}}`)
		require.Error(t, r.err, "a reply that is not streamed")
	}
}

func TestFaultErrorEvent(t *testing.T) {
	s := start(t, nil)
	for _, row := range []struct {
		fault  string
		tokens int
		done   bool
	}{{`"error":0`, 0, true}, {`"error":4`, 4, true}, {`"error":4,"errorNoDone":true`, 4, false}} {
		r := raw(t, s, faulty(row.fault))
		require.Contains(t, r.head, "200 OK")
		require.Equal(t, row.tokens, r.tokens(), row.fault)
		require.Contains(t, r.body(), `data: {"error"`)
		require.Equal(t, row.done, strings.Contains(r.body(), "[DONE]"))
		require.True(t, r.ended)
	}
	require.Contains(t, ask(t, s, "POST", pathMessages, `{"messages":[],"max_tokens":9,"stream":true,"simulate":{"error":2}}`).body, "event: error\n")
	require.Contains(t, ask(t, s, "POST", pathResponses, `{"input":"a","stream":true,"simulate":{"error":2}}`).body, "event: error\n")
	require.Equal(t, 500, ask(t, s, "POST", pathChat, `{"messages":[],"simulate":{"error":2}}`).status)
}

// A stall moves the tokens behind it.
func TestFaultStall(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"schedule": paced(time.Millisecond, time.Millisecond),
		"unpaced":  nil,
		"engine": func(c *Config) {
			c.Pacing.Scheduled = false
			c.Pacing.Engine.StepTime = time.Millisecond
		},
	} {
		for _, at := range []int{0, 3} {
			s := start(t, change)
			r := raw(t, s, faulty(fmt.Sprintf(`"stall":%d,"stallMs":300`, at)))
			require.Equal(t, 10, r.tokens(), name)
			require.True(t, r.ended)
			truth := s.Truth().Requests[0]
			require.GreaterOrEqual(t, truth.SendsNs[at][0]-truth.BeginNs, 300*ms, "%s %d", name, at)
			// The longest gap is the one before that token.
			longest, longestNs, lastNs := 0, int64(0), truth.BeginNs
			for k, send := range truth.SendsNs {
				if gapNs := send[0] - lastNs; gapNs > longestNs {
					longest, longestNs = k, gapNs
				}
				lastNs = send[0]
			}
			require.Equal(t, at, longest, "%s: %v", name, truth.SendsNs)
		}
	}
}

func TestFaultShapes(t *testing.T) {
	s := start(t, nil)
	for name, row := range map[string]struct {
		fault string
		check func(t *testing.T, r rawStream)
	}{
		"a broken event": {`"malformed":3`, func(t *testing.T, r rawStream) {
			bad := 0
			for _, c := range r.chunks {
				if json := strings.TrimPrefix(strings.TrimSpace(c), "data: "); json != "[DONE]" && !gjson.Valid(json) {
					bad++
				}
			}
			require.Equal(t, 1, bad)
			require.Len(t, r.chunks, 13)
		}},
		"a huge event": {`"huge":3,"hugeBytes":3000000`, func(t *testing.T, r rawStream) {
			require.Greater(t, len(r.chunks[4]), 3_000_000)
			require.Equal(t, 10, r.tokens())
		}},
		"CRLF": {`"lineEnd":"crlf"`, func(t *testing.T, r rawStream) {
			require.Equal(t, 24, strings.Count(r.body(), "\r\n"))
			require.Equal(t, 24, strings.Count(r.body(), "\n"))
		}},
		"CR": {`"lineEnd":"cr"`, func(t *testing.T, r rawStream) {
			require.Equal(t, 24, strings.Count(r.body(), "\r"))
			require.NotContains(t, r.body(), "\n")
		}},
		"comments": {`"comments":2`, func(t *testing.T, r rawStream) {
			require.Equal(t, 5, strings.Count(r.body(), "\n\n: ping"))
			require.Equal(t, 10, r.tokens())
		}},
		"empty events": {`"emptyEvents":3`, func(t *testing.T, r rawStream) {
			require.Equal(t, 1+4, strings.Count(r.body(), `"content":""`), "role, and before tokens 0, 3, 6, 9")
			require.Equal(t, 10, r.tokens())
		}},
		"several tokens an event": {`"tokensPerChunk":4`, func(t *testing.T, r rawStream) {
			require.Equal(t, 3, r.tokens(), "events with 4, 4 and 2 tokens")
			require.Len(t, r.chunks, 5)
		}},
		"several events a chunk": {`"eventsPerChunk":4`, func(t *testing.T, r rawStream) {
			require.Len(t, r.chunks, 4, "4 + 4 + 3 and the end")
			require.Equal(t, 10, r.tokens())
		}},
		"role with the first token": {`"roleWithFirst":true`, func(t *testing.T, r rawStream) {
			require.Len(t, r.chunks, 11)
			require.Equal(t, 2, strings.Count(r.chunks[0], "data: "))
			require.Equal(t, 1, strings.Count(r.chunks[1], "data: "))
		}},
		"characters outside ASCII": {`"wide":true`, func(t *testing.T, r rawStream) {
			require.True(t, utf8.ValidString(r.body()))
			require.Greater(t, len(r.body()), utf8.RuneCountInString(r.body()))
		}},
		"cut between chunks": {`"split":"chunk"`, func(t *testing.T, r rawStream) {
			require.Len(t, r.chunks, 22)
			require.False(t, utf8.ValidString(r.chunks[1]))
			require.True(t, utf8.ValidString(r.body()))
			require.Equal(t, 10, r.tokens())
		}},
		"cut between writes": {`"split":"write"`, func(t *testing.T, r rawStream) {
			require.Len(t, r.chunks, 12)
			require.True(t, utf8.ValidString(r.body()))
			require.Equal(t, 10, r.tokens())
		}},
		"cut between events": {`"split":"event"`, func(t *testing.T, r rawStream) {
			require.Len(t, r.chunks, 12)
			require.False(t, utf8.ValidString(r.chunks[1]))
			joined := ""
			for _, c := range r.chunks {
				_, text, _ := strings.Cut(c, `"content":"`)
				text, _, _ = strings.Cut(text, `"`)
				joined += text
			}
			require.True(t, utf8.ValidString(joined))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := raw(t, s, faulty(row.fault))
			require.True(t, r.ended)
			require.NoError(t, r.err)
			require.Contains(t, r.body(), "[DONE]")
			row.check(t, r)
		})
	}
	for _, r := range s.Truth().Requests {
		require.Equal(t, 10, r.OutputTokens, "%+v", r)
	}
}

// llama-server promises keep-alive and closes; a response without framing ends with its connection.
func TestFaultClose(t *testing.T) {
	s := start(t, nil)
	for fault, head := range map[string]string{`"closeAfter":true`: "connection: keep-alive", `"contentLength":true`: "connection: close"} {
		nc := dial(t, s)
		say(t, nc, post(pathChat, faulty(fault)))
		b, err := io.ReadAll(nc) // ends because the server closes
		require.NoError(t, err)
		require.Contains(t, string(b), head)
		require.Contains(t, string(b), "[DONE]")
		require.Equal(t, fault == `"closeAfter":true`, strings.Contains(string(b), "chunked"))
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	s := start(t, func(c *Config) { c.IdleTimeout = 30 * time.Millisecond })
	nc := dial(t, s)
	say(t, nc, []byte("GET /health HTTP/1.1\r\n\r\n"))
	b, err := io.ReadAll(nc)
	require.NoError(t, err)
	require.Contains(t, string(b), "200 OK")
}

func TestDeath(t *testing.T) {
	refused := func(s *Server) func() bool {
		return func() bool {
			nc, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
			if err == nil {
				_ = nc.Close()
			}
			return err != nil
		}
	}
	t.Run("listener, after tokens", func(t *testing.T) {
		s := start(t, func(c *Config) {
			c.Pacing.ITL = Fixed(time.Millisecond)
			c.DieAfterTokens, c.DieHow = 5, DieListener
		})
		stream := dial(t, s)
		say(t, stream, post(pathChat, faulty(`"itlMs":10000`)))
		ask(t, s, "POST", pathChat, faulty(""))
		_, err := io.ReadAll(stream)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.Eventually(t, refused(s), testLimit, time.Millisecond)
	})
	t.Run("process, after requests", func(t *testing.T) {
		died := make(chan struct{})
		s := start(t, func(c *Config) {
			c.Pacing.ITL = Fixed(time.Millisecond)
			c.DieAfterRequests, c.OnDeath = 2, func() { close(died) }
		})
		require.Equal(t, 10, raw(t, s, faulty("")).tokens())
		select {
		case <-died:
			t.Fatal("one request too early")
		default:
		}
		ask(t, s, "POST", pathChat, faulty(""))
		<-died
	})
	t.Run("engine", func(t *testing.T) {
		s := start(t, func(c *Config) {
			c.Pacing.ITL = Fixed(time.Millisecond)
			c.DieAfterRequests, c.DieHow = 2, DieEngine
		})
		open := dial(t, s)
		say(t, open, post(pathChat, faulty(`"itlMs":100000`)))
		response, err := http.ReadResponse(bufio.NewReader(open), nil)
		require.NoError(t, err)
		ask(t, s, "POST", pathChat, faulty(`"ttftMs":100000`)) // the second request kills it, and is told
		b, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Contains(t, string(b), `data: {"error"`)
		require.Contains(t, string(b), "data: [DONE]")
		require.Eventually(t, refused(s), testLimit, time.Millisecond)
	})
}

func TestParseFault(t *testing.T) {
	f, err := ParseFault("cut=20, cutHow=fin,share=0.25,roleWithFirst")
	require.NoError(t, err)
	require.Equal(t, 20, *f.Cut)
	require.Equal(t, "fin", f.CutHow)
	require.InDelta(t, 0.25, *f.Share, 0)
	require.True(t, f.RoleWithFirst)
	f, err = ParseFault(`{"status":429}`)
	require.NoError(t, err)
	require.Equal(t, 429, f.Status)
	for _, text := range []string{"explode=1", "share=2", "status=99", "cutHow=x", "split=x", "lineEnd=x", "cut=many", "{", "reasoningField=x", "hugeBytes=-1"} {
		_, err := ParseFault(text)
		require.Error(t, err, text)
	}
}
