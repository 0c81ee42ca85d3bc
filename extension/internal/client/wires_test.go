package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// served is a case of package stream's testdata/wires, as far as it is compared here.
type served struct {
	Body, API, Type string
	Huge, Status    int
	Breaks          bool

	Outcome stream.Failure
	Message string
	Chunks  []int
	Tokens  *int
	Finish  string
	Text    string

	content []byte
}

func loadServed(t *testing.T) []served {
	t.Helper()
	folder := filepath.Join("..", "stream", "testdata", "wires")
	list, err := os.ReadFile(filepath.Join(folder, "cases.json"))
	require.NoError(t, err)
	var all []served
	require.NoError(t, json.Unmarshal(list, &all))
	require.NotEmpty(t, all)
	for i := range all {
		w := &all[i]
		w.content, err = os.ReadFile(filepath.Join(folder, w.Body))
		require.NoError(t, err)
		w.content = bytes.ReplaceAll(w.content, []byte("@HUGE@"), bytes.Repeat([]byte("x"), w.Huge))
		if w.Status == 0 {
			w.Status = http.StatusOK
		}
	}
	return all
}

// pieces cuts the body at random places.
func (w *served) pieces(random *rand.Rand, yield func(piece []byte)) {
	for rest := w.content; len(rest) > 0; {
		n := min(1+random.IntN(max(len(w.content)/4, 1)), len(rest))
		yield(rest[:n])
		rest = rest[n:]
	}
}

// What package stream reads of each case comes through the real connections, too: the reader thread, Go's poller, TLS and
// HTTP/2, kept alive and closed, chunked and not.
func TestWiresOverConnections(t *testing.T) {
	for k, w := range loadServed(t) {
		var requests atomic.Int64
		plain := func(p *bodyPeer) {
			for p.request() != nil {
				n := requests.Add(1)
				random := rand.New(rand.NewPCG(uint64(k), uint64(n)))
				head := fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: %s\r\n", w.Status, w.Type)
				switch {
				case n%3 == 0 && !w.Breaks:
					p.say(head + "\r\n")
					w.pieces(random, func(piece []byte) { _, _ = p.Write(piece) })
					return
				case n%3 == 2:
					length := len(w.content)
					if w.Breaks {
						length++
					}
					p.say(head + fmt.Sprintf("Content-Length: %d\r\n\r\n", length))
					w.pieces(random, func(piece []byte) { _, _ = p.Write(piece) })
				default:
					p.say(head + "Transfer-Encoding: chunked\r\n\r\n")
					w.pieces(random, func(piece []byte) { p.say(chunk(string(piece))) })
					if !w.Breaks {
						p.say("0\r\n\r\n")
					}
				}
				if w.Breaks {
					if tcp, ok := p.Conn.(*net.TCPConn); ok {
						_ = tcp.SetLinger(0) // a reset
					}
					return
				}
			}
		}
		two := func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			rw.Header().Set("Content-Type", w.Type)
			rw.WriteHeader(w.Status)
			w.pieces(rand.New(rand.NewPCG(uint64(k), 9)), func(piece []byte) {
				_, _ = rw.Write(piece)
				rw.(http.Flusher).Flush()
			})
			if w.Breaks {
				panic(http.ErrAbortHandler)
			}
		}
		connections := map[string]func(t *testing.T) (url string, options func(*Options)){
			"the reader thread": func(t *testing.T) (string, func(*Options)) {
				url, _ := bodyServer(t, plain)
				return url, func(*Options) {}
			},
			"Go's poller": func(t *testing.T) (string, func(*Options)) {
				url, _ := bodyServer(t, plain)
				return url, func(o *Options) { o.Streamed = false }
			},
			"TLS": func(t *testing.T) (string, func(*Options)) { return serveOverTLS(t, plain) },
			"HTTP/2": func(t *testing.T) (string, func(*Options)) {
				s := serveHTTP2(t, true, two)
				return s.url, s.client
			},
		}
		names := []string{"the reader thread", "HTTP/2"}
		if k%2 == 1 { // two of the four each, for the time that all take
			names = []string{"Go's poller", "TLS"}
		}
		for _, name := range names {
			serve := connections[name]
			t.Run(strings.TrimSuffix(w.Body, filepath.Ext(w.Body))+" over "+name, func(t *testing.T) {
				requests.Store(0)
				url, options := serve(t)
				api, err := stream.ParseAPI(w.API)
				require.NoError(t, err)
				c := newClient(t, url, func(o *Options) {
					options(o)
					o.Stream.API = api
				})
				for n := range 3 {
					m := c.Do(t.Context(), &Request{Body: []byte("{}"), KeepText: true})
					failure := m.Failure
					if w.Breaks && name == "TLS" && failure == stream.Truncated {
						failure = stream.Reset // the connection is closed, not reset
					}
					require.Equal(t, w.Outcome, failure, m.Message)
					require.Equal(t, w.Status, m.Status)
					if !w.Breaks {
						require.Equal(t, n > 0, m.Reused, "request %d", n)
						require.Contains(t, m.Message, w.Message)
					}
					require.Len(t, m.Arrivals, len(w.Chunks))
					for i, a := range m.Arrivals {
						require.GreaterOrEqual(t, a.AtNs, m.SentNs-m.SentUncertaintyNs)
						require.True(t, i == 0 || a.AtNs >= m.Arrivals[i-1].AtNs)
					}
					if w.Tokens != nil {
						require.Equal(t, *w.Tokens, m.OutputTokens)
					} else {
						require.Equal(t, stream.FromChunks, m.TokenSource)
					}
					require.Equal(t, w.Finish, m.FinishReason)
					if w.Huge == 0 {
						require.Equal(t, w.Text, m.Text)
					}
					m.Release()
				}
			})
		}
	}
}
