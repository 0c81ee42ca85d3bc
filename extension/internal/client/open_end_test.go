package client

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

const grace = 100 * time.Millisecond

// openEnds runs test, over all that a stream may come, against servers that send three tokens, pause, send the ending, and
// leave the body open.
func openEnds(t *testing.T, pause time.Duration, ending string, test func(t *testing.T, c *Client)) {
	plain := func(p *bodyPeer) {
		for p.request() != nil {
			p.say(streamHead + token("a") + token("b") + token("c"))
			time.Sleep(pause)
			p.say(chunk(ending))
		}
	}
	two := func(t *testing.T, secure bool) (string, func(*Options)) {
		s := serveHTTP2(t, secure, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			writeEvents(w, nil, tokenEvent, tokenEvent, tokenEvent)
			time.Sleep(pause)
			writeEvents(w, nil, ending)
			<-r.Context().Done()
		})
		return s.url, s.client
	}
	for name, serve := range map[string]func(t *testing.T) (url string, options func(*Options)){
		"the reader thread": func(t *testing.T) (string, func(*Options)) {
			url, _ := bodyServer(t, plain)
			return url, nil
		},
		"Go's poller": func(t *testing.T) (string, func(*Options)) {
			url, _ := bodyServer(t, plain)
			return url, func(o *Options) { o.Streamed = false }
		},
		"TLS":            func(t *testing.T) (string, func(*Options)) { return serveOverTLS(t, plain) },
		"HTTP/2":         func(t *testing.T) (string, func(*Options)) { return two(t, false) },
		"HTTP/2 and TLS": func(t *testing.T) (string, func(*Options)) { return two(t, true) },
	} {
		t.Run(name, func(t *testing.T) {
			url, options := serve(t)
			c := newClient(t, url, options)
			c.graceNs = int64(grace)
			test(t, c)
		})
	}
}

func TestOpenEnd_CompleteStreamIsNotWaitedForForEver(t *testing.T) {
	finish, _, _ := strings.Cut(lastEvents, "data: [DONE]")
	for sentence, ending := range map[string]string{
		"the end mark":                     lastEvents,
		"the finish reason and the usage":  finish,
		"the end mark and nothing besides": "data: [DONE]\n\n",
	} {
		t.Run(sentence, func(t *testing.T) {
			openEnds(t, 0, ending, func(t *testing.T, c *Client) {
				c.o.TimeoutNs = int64(time.Minute)
				ends := make(chan *Measurement, 2)
				for _, send := range []func(){
					func() { ends <- c.Do(t.Context(), &Request{Body: []byte("{}")}) },
					func() {
						c.Prepare(t.Context(), &Request{Body: []byte("{}")}).Send(t.Context(), func(m *Measurement) { ends <- m })
					},
				} {
					send()
					m := <-ends
					require.Equal(t, stream.None, m.Failure, m.Message)
					require.Equal(t, 3, m.OutputTokens)
					require.Less(t, clock.Now()-m.StartedNs, int64(30*time.Second))
					require.Greater(t, clock.Now()-m.EndNs, int64(grace/2), "the waiting is no part of it")
					require.False(t, m.Reused, "a connection in the middle of a body takes no request")
					m.Release()
				}
			})
		})
	}
}

func TestOpenEnd_CompleteStreamStaysComplete(t *testing.T) {
	openEnds(t, 0, lastEvents, func(t *testing.T, c *Client) {
		for _, do := range []func(within time.Duration) *Measurement{
			func(within time.Duration) *Measurement {
				c.o.TimeoutNs = int64(within)
				defer func() { c.o.TimeoutNs = 0 }()
				return c.Do(t.Context(), &Request{Body: []byte("{}")})
			},
			func(within time.Duration) *Measurement {
				return c.Do(t.Context(), &Request{Body: []byte("{}"), AbortAfterNs: int64(within)})
			},
			func(within time.Duration) *Measurement {
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(within, cancel).Stop()
				defer cancel()
				return c.Do(ctx, &Request{Body: []byte("{}")})
			},
		} {
			// A busy machine may not bring the stream to its end in so short a time; a client that gets it wrong never does.
			for within := grace / 2; ; within *= 2 {
				c.graceNs = int64(2 * within)
				m := do(within)
				if m.Failure != stream.None && within < 4*time.Second {
					m.Release()
					continue
				}
				require.Equal(t, stream.None, m.Failure, m.Message)
				m.Release()
				break
			}
		}
	})
}

func TestOpenEnd_StreamThatGoesOnIsWaitedFor(t *testing.T) {
	// Longer than the grace, and than the time between two looks.
	const pause = 3 * grace
	openEnds(t, pause, lastEvents, func(t *testing.T, c *Client) {
		m := c.Do(t.Context(), &Request{Body: []byte("{}")})
		require.Equal(t, stream.None, m.Failure, m.Message)
		require.Greater(t, m.EndNs-m.FirstOutputNs, int64(grace))
		m.Release()
	})
}
