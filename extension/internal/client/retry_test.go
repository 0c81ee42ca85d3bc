package client

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// wires are the ways that a request may go, those over TLS or all; change adapts a client's options to each.
func wires(t *testing.T, onlySecure bool, run func(t *testing.T, secure, http2 bool, change func(*Options))) {
	for _, w := range []struct {
		name                   string
		secure, http2, polling bool
	}{
		{name: "the reader thread"},
		{name: "Go's poller", polling: true},
		{name: "TLS", secure: true},
		{name: "TLS by Go's poller", secure: true, polling: true},
		{name: "HTTP/2", http2: true},
		{name: "HTTP/2 and TLS", secure: true, http2: true},
	} {
		if onlySecure && !w.secure {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			run(t, w.secure, w.http2, func(o *Options) {
				o.HTTP2, o.Streamed = w.http2, !w.polling
				if w.polling && w.secure {
					dial := o.Dial
					o.Dial = func(ctx context.Context, network, address string) (Counted, error) {
						c, err := dial(ctx, network, address)
						if err == nil {
							c.Conn = notForTheReader{c.Conn.(*net.TCPConn)}
						}
						return c, err
					}
				}
			})
		})
	}
}

// httpServer serves HTTP/1.1 and HTTP/2, with TLS and without, and counts its connections.
func httpServer(t *testing.T, secure bool, handler http.HandlerFunc) (s *httptest.Server, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	s = httptest.NewUnstartedServer(handler)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetHTTP2(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.EnableHTTP2 = true
	if secure {
		// Having asked for a certificate, a Go server sends its session tickets as others always do: behind the handshake.
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s, connections
}

func trusting(s *httptest.Server) *tls.Config {
	if s.TLS == nil {
		return nil
	}
	return s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

func TestRetry_LateEndOfAConnectionIsTheServersFailure(t *testing.T) {
	// The server reads each second request on a connection, waits for a second, and closes.
	wires(t, false, func(t *testing.T, secure, http2 bool, change func(*Options)) {
		t.Parallel() // they wait, and nothing of them is timed
		var requests atomic.Int32
		s, connections := httpServer(t, secure, func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1)%2 == 1 {
				answerHTTP2(w, r)
				return
			}
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler)
		})
		s.Config.ErrorLog = nil
		c := newClient(t, s.URL+"/v1/completions", func(o *Options) { change(o); o.TLS = trusting(s) })
		failures := 0
		for i := range 6 {
			m := c.Do(t.Context(), &Request{Body: []byte("{}")})
			require.Zero(t, m.Retries)
			if m.Failure != stream.None {
				failures++
				require.Equal(t, stream.Reset, m.Failure, m.Message)
				require.Equal(t, 1, i%2)
				require.True(t, m.Reused)
				require.InDelta(t, float64(m.StartedNs), float64(m.SentNs), 0.5e9, "sent once, when it was asked for")
				require.Greater(t, m.EndNs-m.SentNs, int64(900*time.Millisecond))
			}
			m.Release()
		}
		require.Equal(t, 3, failures)
		require.EqualValues(t, 6, requests.Load(), "none was sent twice")
		if !http2 { // a stream may end without its connection
			require.EqualValues(t, 3, connections.Load())
		}
	})
}

func TestRetry_RaceIsBoundedByTheRoundTrip(t *testing.T) {
	c := &Client{raceFloorNs: int64(raceFloor)}
	for _, tt := range []struct{ rtt, want time.Duration }{
		{100 * time.Microsecond, 25 * time.Millisecond},
		{12 * time.Millisecond, 25 * time.Millisecond},
		{60 * time.Millisecond, 120 * time.Millisecond},
		{240 * time.Millisecond, 480 * time.Millisecond},
		{3 * time.Second, 500 * time.Millisecond}, // connecting lost a packet
	} {
		require.Equal(t, int64(tt.want), c.raceNs(int64(tt.rtt)))
	}
}

func TestIdleLink_NoneOfAServerThatAlwaysCloses(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		var answered atomic.Int32
		url, connections := bodyServer(t, func(p *bodyPeer) {
			p.request()
			if answerThree(p.Conn, nil, 0) {
				answered.Add(1)
			}
			p.request() // the connection looks sound until the next request is there
		})
		c := newClient(t, url+"/v1/completions", func(o *Options) { o.Streamed = streamed })
		c.raceFloorNs = int64(promptly)
		retries := 0
		for range 20 {
			m := c.Do(t.Context(), &Request{Body: []byte("{}")})
			require.Equal(t, stream.None, m.Failure, m.Message)
			retries += m.Retries
			m.Release()
		}
		require.Equal(t, MostRaces, retries)
		require.Eventually(t, func() bool { return answered.Load() == 20 }, promptly, time.Millisecond)
		require.EqualValues(t, 20, connections.Load())
		c.CloseIdle()
	})
}

func TestRetry_FirstAttemptIsNamedWhereTheSecondFindsNoConnection(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		s := serve(t, listen(t), func(w net.Conn, b []byte, n int) bool { return n != 2 && answerThree(w, b, n) })
		dials := 0
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) {
			o.Streamed = streamed
			o.Dial = func(ctx context.Context, network, address string) (Counted, error) {
				if dials++; dials > 1 {
					return Counted{}, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
				}
				return dialTCP(ctx, network, address)
			}
		})
		c.raceFloorNs = int64(promptly)
		c.Do(t.Context(), &Request{Body: []byte("{}")}).Release()
		m := c.Do(t.Context(), &Request{Body: []byte("{}")})
		defer m.Release()
		require.Equal(t, stream.Connect, m.Failure)
		require.Contains(t, m.Message, "too many open files")
		require.Contains(t, m.Message, "the kept-alive connection before it had ended without a response")
		require.Equal(t, 1, m.Retries)
		require.Zero(t, m.SentNs, "the request that has this result was never sent")
		require.Equal(t, syscall.EMFILE, m.OwnLimit())
	})
}

// unacknowledged is a connection whose peer has gone: the kernel gives its bytes up.
type unacknowledged struct{ *net.TCPConn }

func (c unacknowledged) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ETIMEDOUT)}
}
func (c unacknowledged) Read([]byte) (int, error) { return 0, io.EOF }

func TestFailures_KernelTimeoutIsNoTimeLimit(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		s := serve(t, listen(t), answerThree)
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) {
			o.TimeoutNs, o.HTTP2 = int64(time.Hour), http2
			o.Dial = func(ctx context.Context, network, address string) (Counted, error) {
				c, err := dialTCP(ctx, network, address)
				if err == nil {
					c.Conn = unacknowledged{c.Conn.(*net.TCPConn)}
				}
				return c, err
			}
		})
		m := c.Do(t.Context(), &Request{Body: []byte("{}")})
		if http2 {
			require.Equal(t, stream.Connect, m.Failure) // its preface was not taken
		} else {
			require.Equal(t, stream.Reset, m.Failure, m.Message)
		}
		require.Contains(t, m.Message, "timed out")
		require.NotContains(t, m.Message, "no end within")
		m.Release()
	}
}

func TestFailures_MissingClientCertificateIsTLS(t *testing.T) {
	// With TLS 1.3 the handshake is over for the client before the server has looked at its certificate.
	for _, http2 := range []bool{false, true} {
		server, client := certified(t, "h2", "http/1.1")
		server.ClientAuth = tls.RequireAndVerifyClientCert
		l := tls.NewListener(listen(t), server)
		s := serve(t, l, answerThree)
		c := newClient(t, "https://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.TLS, o.HTTP2 = client, http2 })
		m := c.Do(t.Context(), &Request{Body: []byte("{}")})
		require.Equal(t, stream.TLS, m.Failure, m.Message)
		require.Contains(t, m.Message, "certificate required")
		m.Release()
	}
}

// noSessions makes a client take session tickets, and use none.
type noSessions struct{}

func (noSessions) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (noSessions) Put(string, *tls.ClientSessionState)        {}

func TestSessionTicketsDoNotCloseAPreparedConnection(t *testing.T) {
	// A TLS 1.3 server sends session tickets behind the handshake, which nothing reads before the first response.
	wires(t, true, func(t *testing.T, _, _ bool, change func(*Options)) {
		s, connections := httpServer(t, true, answerHTTP2)
		c := newClient(t, s.URL+"/v1/completions", func(o *Options) {
			change(o)
			o.TLS = trusting(s)
			o.TLS.ClientSessionCache = noSessions{}
		})
		for range 3 {
			p := c.Prepare(t.Context(), &Request{Body: []byte("{}")})
			require.NoError(t, p.x.err)
			if l, ok := p.x.l.(*blockingLink); ok && l.idleSinceNs == 0 { // over HTTP/2 they came before the server's settings
				require.Eventually(t, func() bool { return !l.seg.quiet() }, promptly, time.Millisecond, "no tickets came: this shows nothing")
			}
			time.Sleep(2 * longWait)
			ends := make(chan *Measurement, 1)
			p.Send(t.Context(), func(m *Measurement) { ends <- m })
			m := <-ends
			require.Equal(t, stream.None, m.Failure, m.Message)
			require.Zero(t, m.Retries)
			m.Release()
		}
		require.EqualValues(t, 1, connections.Load())
	})
}

func TestPrepare_BurstOverTLSUsesItsConnections(t *testing.T) {
	const n = 256
	s, connections := httpServer(t, true, answerHTTP2)
	c := newClient(t, s.URL+"/v1/completions", func(o *Options) {
		o.TLS = trusting(s)
		o.TLS.ClientSessionCache = noSessions{}
	})
	prepared := make([]Prepared, n)
	for i := range prepared {
		prepared[i] = c.Prepare(t.Context(), &Request{Body: []byte("{}")})
	}
	time.Sleep(2 * longWait)
	for _, p := range prepared {
		p.Check(t.Context())
	}
	ends := make(chan *Measurement, n)
	for _, p := range prepared {
		p.Send(t.Context(), func(m *Measurement) { ends <- m })
	}
	first, last := int64(1<<62), int64(0)
	for range n {
		m := <-ends
		require.Equal(t, stream.None, m.Failure, m.Message)
		first, last = min(first, m.SentNs), max(last, m.SentNs)
		m.Release()
	}
	require.EqualValues(t, n, connections.Load())
	t.Logf("%d requests over TLS were sent within %.1f ms", n, float64(last-first)/1e6)
}

func TestIdleLink_ClosedByTLSIsNotAlive(t *testing.T) {
	// asyncio's TLS sends close_notify and keeps the connection open until it is answered.
	server, client := certified(t, "http/1.1")
	farewell := make(chan struct{})
	l := listen(t)
	s := serve(t, tls.NewListener(l, server), func(w net.Conn, b []byte, n int) bool {
		if !answerThree(w, b, n) {
			return false
		}
		if n == 1 {
			_ = w.(*tls.Conn).CloseWrite()
			close(farewell)
		}
		return true
	})
	c := newClient(t, "https://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.TLS = client })
	c.Do(t.Context(), &Request{Body: []byte("{}")}).Release()
	<-farewell
	require.Eventually(t, func() bool {
		l, ok := c.idle.take(linkKey{"tcp", s.Addr().String(), true})
		if ok {
			c.idle.put(l)
		}
		return !ok
	}, promptly, time.Millisecond)
	m := c.Do(t.Context(), &Request{Body: []byte("{}")})
	require.Equal(t, stream.None, m.Failure, m.Message)
	require.False(t, m.Reused)
	require.Zero(t, m.Retries)
	m.Release()
}

func TestHeaders_AskForAnUnencodedAnswer(t *testing.T) {
	encodings := make(chan string, 1)
	s, _ := httpServer(t, false, func(w http.ResponseWriter, r *http.Request) {
		encodings <- r.Header.Get("Accept-Encoding")
		answerHTTP2(w, r)
	})
	for _, http2 := range []bool{false, true} {
		c := newClient(t, s.URL+"/v1/completions", func(o *Options) { o.HTTP2 = http2 })
		c.Do(t.Context(), &Request{Body: []byte("{}")}).Release()
		require.Equal(t, "identity", <-encodings)
		c.Do(t.Context(), &Request{Body: []byte("{}"), Header: []Field{{"accept-encoding", "br"}}}).Release()
		require.Equal(t, "br", <-encodings)
		c.CloseIdle()
	}
}

func TestConnect_TimeIsMeasured(t *testing.T) {
	const slow = 30 * time.Millisecond
	s := serve(t, listen(t), answerThree)
	c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) {
		o.NoReuse = true
		o.Dial = func(ctx context.Context, network, address string) (Counted, error) {
			time.Sleep(slow)
			return dialTCP(ctx, network, address)
		}
	})
	m := c.Do(t.Context(), &Request{Body: []byte("{}")})
	require.GreaterOrEqual(t, m.SetupNs, int64(slow))
	require.LessOrEqual(t, m.SetupNs, m.SentNs-m.StartedNs)
	m.Release()

	p := c.Prepare(t.Context(), &Request{Body: []byte("{}")})
	ends := make(chan *Measurement, 1)
	p.Send(t.Context(), func(m *Measurement) { ends <- m })
	m = <-ends
	require.GreaterOrEqual(t, m.ConnectNs, int64(slow))
	require.Zero(t, m.SetupNs, "it had connected before it was released")
	m.Release()
}

func TestHost_AndServerName(t *testing.T) {
	for _, tt := range []struct{ url, address, host, server string }{
		{"http://[fe80::1%25eth0]:8000/v1", "[fe80::1%eth0]:8000", "[fe80::1]:8000", "fe80::1"},
		{"https://[fe80::1%25eth0]/v1", "[fe80::1%eth0]:443", "[fe80::1]", "fe80::1"},
		{"https://bücher.example:8443/v1", "xn--bcher-kva.example:8443", "xn--bcher-kva.example:8443", "xn--bcher-kva.example"},
		{"http://h.example/v1", "h.example:80", "h.example", "h.example"},
	} {
		to, err := parseTarget(tt.url)
		require.NoError(t, err)
		require.Equal(t, tt.address, to.address)
		require.Equal(t, tt.host, to.host)
		require.Equal(t, tt.server, to.server)
	}
	_, err := parseTarget("http://a\u00ad..\u2028/")
	require.Error(t, err)
}
