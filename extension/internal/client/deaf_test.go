package client

import (
	"context"
	"crypto/tls"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// deafBody is more than the sockets' buffers take.
const deafBody = 32 << 20

// promptly bounds how long after its reason an end may come: below the five seconds for which crypto/tls says farewell.
const promptly = 3 * time.Second

// certified returns a server's TLS configuration and a client's that trusts it.
func certified(t *testing.T, protocols ...string) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	client = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: protocols, MinVersion: tls.VersionTLS12}, client
}

// deaf runs test against servers that take connections, shake hands and read nothing more, over all that a request may go.
// It does not return while the client has a connection open.
func deaf(t *testing.T, test func(t *testing.T, c *Client)) {
	server, trusting := certified(t, "h2", "http/1.1")
	for _, over := range []struct {
		name                string
		tls, http2, polling bool
	}{
		{name: "the reader thread"},
		{name: "Go's poller", polling: true},
		{name: "TLS", tls: true},
		{name: "HTTP/2", http2: true},
		{name: "HTTP/2 and TLS", tls: true, http2: true},
	} {
		t.Run(over.name, func(t *testing.T) {
			hold := make(chan struct{})
			wrap := func(raw net.Conn) (net.Conn, *heldConn) {
				if over.tls {
					raw = tls.Server(raw, server)
				}
				held := &heldConn{Conn: raw}
				return held, held
			}
			url := ""
			if over.http2 {
				url = framesOver(t, wrap, func(p *peer, _ int) {
					_ = p.WriteWindowUpdate(0, math.MaxInt32-http2Default)
					<-hold
					p.drain()
				}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: math.MaxInt32})
			} else {
				url, _ = bodyServer(t, func(p *bodyPeer) {
					conn, _ := wrap(p.Conn)
					_, _ = io.ReadFull(conn, make([]byte, 1))
					<-hold
					_, _ = io.Copy(io.Discard, p.Conn)
				})
			}
			t.Cleanup(func() { close(hold) }) // before the server's, which waits for it
			if over.tls {
				url = strings.Replace(url, "http:", "https:", 1)
			}
			test(t, newClient(t, url, func(o *Options) {
				o.TLS, o.HTTP2, o.Streamed, o.TimeoutNs = trusting, over.http2, !over.polling, int64(time.Minute)
			}))
		})
	}
}

func TestDeafServer_RequestEndsWithItsContext(t *testing.T) {
	deaf(t, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		var cancelled time.Time
		time.AfterFunc(200*time.Millisecond, func() { cancelled = time.Now(); cancel() })
		m := c.Do(ctx, &Request{Body: make([]byte, deafBody)})
		require.Equal(t, stream.Interrupted, m.Failure, m.Message)
		require.Less(t, time.Since(cancelled), promptly)
		m.Release()
	})
}

func TestDeafServer_RequestEndsWithItsTimeout(t *testing.T) {
	deaf(t, func(t *testing.T, c *Client) {
		c.o.TimeoutNs = int64(200 * time.Millisecond)
		began := time.Now()
		m := c.Do(t.Context(), &Request{Body: make([]byte, deafBody)})
		require.Equal(t, stream.Timeout, m.Failure, m.Message)
		require.Less(t, time.Since(began), promptly)
		m.Release()
		began = time.Now()
		m = c.Do(t.Context(), &Request{Body: make([]byte, deafBody), AbortAfterNs: int64(100 * time.Millisecond)})
		require.Equal(t, stream.Aborted, m.Failure, m.Message)
		require.Less(t, time.Since(began), promptly)
		m.Release()
	})
}

func TestDeafServer_ExchangeEndsWithItsContext(t *testing.T) {
	server, trusting := certified(t)
	for _, how := range readers {
		t.Run(how, func(t *testing.T) {
			noLeaks(t)
			hold := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			var cancelled time.Time
			url, _ := bodyServer(t, func(p *bodyPeer) {
				_ = tls.Server(p.Conn, server).Handshake()
				time.AfterFunc(200*time.Millisecond, func() { cancelled = time.Now(); cancel() })
				<-hold
			})
			defer close(hold)
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.Replace(url, "http:", "https:", 1), strings.NewReader(strings.Repeat("x", deafBody)))
			require.NoError(t, err)
			_, _, err = transportRead(t, how, Options{TLS: trusting}).Do(r)
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, time.Since(cancelled), promptly)
		})
	}
}

func TestDeafServer_BatchLeavesNothing(t *testing.T) {
	deaf(t, func(t *testing.T, c *Client) {
		const n = 6
		body := make([]byte, deafBody/2)
		ctx, cancel := context.WithCancel(t.Context())
		prepared := make([]Prepared, n)
		for i := range prepared {
			r := &Request{Body: body}
			if i%2 == 0 {
				r.AbortAfterNs = int64(100 * time.Millisecond)
			}
			prepared[i] = c.Prepare(ctx, r)
		}
		time.AfterFunc(300*time.Millisecond, cancel)
		ends := make(chan *Measurement, n)
		for _, p := range prepared {
			go p.Send(ctx, func(m *Measurement) { ends <- m })
		}
		for range n {
			m := <-ends
			require.Contains(t, []stream.Failure{stream.Aborted, stream.Interrupted}, m.Failure, m.Message)
			m.Release()
		}
		c.idle.mu.Lock()
		defer c.idle.mu.Unlock()
		require.Empty(t, c.idle.list, "a connection is not reused")
	})
}
