package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// http2Server is net/http's server.
type http2Server struct {
	url          string
	connections  atomic.Int32
	requests     atomic.Int32
	client       func(o *Options)
	certificates []tls.Certificate
}

// serveHTTP2 starts one with TLS or, by prior knowledge, without.
func serveHTTP2(t *testing.T, secure bool, handler http.HandlerFunc) *http2Server {
	t.Helper()
	s := &http2Server{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if r.ProtoMajor != 2 {
			http.Error(w, "not HTTP/2", http.StatusHTTPVersionNotSupported)
			return
		}
		handler(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	var config *tls.Config
	if secure {
		server.EnableHTTP2 = true
		server.StartTLS()
		s.certificates = server.TLS.Certificates
		config = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	} else {
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
	}
	s.url = server.URL + "/v1/completions"
	s.client = func(o *Options) { o.HTTP2, o.TLS = true, config }
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return s
}

func transports(t *testing.T, run func(t *testing.T, secure bool)) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "prior knowledge", true: "TLS"}[secure], func(t *testing.T) { run(t, secure) })
	}
}

const tokenEvent = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n"

// writeEvents writes each event and flushes it; pause, where not nil, comes before each.
func writeEvents(w http.ResponseWriter, pause func(i int), events ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i, e := range events {
		if pause != nil {
			pause(i)
		}
		_, _ = io.WriteString(w, e)
		w.(http.Flusher).Flush()
	}
}

func answerHTTP2(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	writeEvents(w, nil, tokenEvent, tokenEvent, tokenEvent, lastEvents)
}

func TestHTTP2StreamsCarryTheTimeOfTheirReceive(t *testing.T) {
	const gap = 60 * time.Millisecond
	transports(t, func(t *testing.T, secure bool) {
		var writtenNs [4]atomic.Int64
		s := serveHTTP2(t, secure, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			writeEvents(w, func(i int) {
				time.Sleep(gap)
				writtenNs[i].Store(clock.Now())
			}, tokenEvent, tokenEvent, tokenEvent, lastEvents)
		})
		c := newClient(t, s.url, s.client)
		for round := range 2 {
			m := c.Do(t.Context(), &Request{Body: []byte("{}")})
			require.Equal(t, stream.None, m.Failure, m.Message)
			require.Equal(t, "HTTP/2.0", m.Proto)
			require.Equal(t, round > 0, m.Reused)
			require.Equal(t, 3, m.OutputTokens)
			require.Len(t, m.Arrivals, 3)
			require.LessOrEqual(t, m.SentNs-m.SentUncertaintyNs, m.FirstByteNs)
			require.Less(t, m.SentNs-m.SentUncertaintyNs, writtenNs[0].Load())
			for i, a := range m.Arrivals {
				const tolerance = int64(time.Millisecond) // of the conversion between the kernel's clock and ours
				require.GreaterOrEqual(t, a.AtNs, writtenNs[i].Load()-tolerance)
				if m.UserReceives == 0 { // a kernel stamp does not depend on when this process is scheduled
					require.Less(t, a.AtNs, writtenNs[i+1].Load())
				}
			}
			require.GreaterOrEqual(t, m.EndNs, m.LastOutputNs)
			require.GreaterOrEqual(t, m.EndNs, writtenNs[3].Load()-int64(time.Millisecond))
			require.GreaterOrEqual(t, m.KernelReceives+m.UserReceives, 4)
			m.Release()
		}
	})
}

func TestHTTP2ConnectionsAreReused(t *testing.T) {
	transports(t, func(t *testing.T, secure bool) {
		s := serveHTTP2(t, secure, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.Method != http.MethodPost || r.URL.RequestURI() != "/v1/completions?x=1" || string(body) != "{}" || r.ContentLength != 2 ||
				r.Header.Get("Authorization") != "Bearer key" || r.Header.Get("X-Own") != "y" || r.Header.Get("X-Request-Id") == "" ||
				r.Header.Get("Content-Type") != "application/json" || !strings.Contains(r.Header.Get("Accept"), "text/event-stream") ||
				r.UserAgent() != "test" || r.Header.Get("Keep-Alive") != "" || !strings.HasPrefix(r.Host, "127.0.0.1:") {
				http.Error(w, fmt.Sprintf("%v %v %v %v", r.Method, r.URL, r.Host, r.Header), http.StatusBadRequest)
				return
			}
			writeEvents(w, nil, tokenEvent, tokenEvent, tokenEvent, lastEvents)
		})
		c := newClient(t, s.url+"?x=1", func(o *Options) {
			s.client(o)
			o.Header = []Field{{"Authorization", "Bearer key"}, {"Keep-Alive", "5"}}
		})
		for i := range 20 {
			m := c.Do(t.Context(), &Request{Body: []byte("{}"), ID: fmt.Sprint("id-", i), Header: []Field{{"X-Own", "y"}}})
			require.Equal(t, stream.None, m.Failure, m.Message)
			require.Equal(t, i > 0, m.Reused)
			require.Equal(t, i == 0, m.ConnectNs > 0)
			require.Equal(t, i == 0 && secure, m.TLSNs > 0)
			m.Release()
		}
		require.EqualValues(t, 1, s.connections.Load())

		single := newClient(t, s.url+"?x=1", func(o *Options) { s.client(o); o.NoReuse = true })
		for range 2 {
			m := single.Do(t.Context(), &Request{Body: []byte("{}"), ID: "x"})
			require.NotZero(t, m.Status, m.Message)
			require.False(t, m.Reused)
			m.Release()
		}
		require.EqualValues(t, 3, s.connections.Load())
	})
}

func TestHTTP2BodiesOfAnySizeGoBothWays(t *testing.T) {
	// The server's windows are at most 1 MB: the request passes only if the client waits for them to open again, and the
	// response only because the client's are larger.
	const size = 8 << 20
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	transports(t, func(t *testing.T, secure bool) {
		s := serveHTTP2(t, secure, func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(got, body) {
				http.Error(w, "another body", http.StatusBadRequest)
				return
			}
			_, _ = io.WriteString(w, `{"choices":[{"index":0,"text":"`)
			_, _ = w.Write(body)
			_, _ = io.WriteString(w, `","finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":3}}`)
		})
		c := newClient(t, s.url, func(o *Options) { s.client(o); o.Streamed = false })
		for range 3 {
			m := c.Do(t.Context(), &Request{Body: body, KeepText: true})
			require.Equal(t, stream.None, m.Failure, m.Message)
			require.Equal(t, 3, m.OutputTokens)
			require.True(t, m.Text == string(body), "%d bytes of text", len(m.Text))
			require.Less(t, m.SentNs, m.FirstByteNs, "the send ends with the body")
			m.Release()
		}
		require.EqualValues(t, 1, s.connections.Load())
	})
}

func TestHTTP2BadEndsHaveTheirClass(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		handler  http.HandlerFunc
		want     stream.Failure
		message  string
	}{
		{"a plain 429", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error":{"message":"full"}}`, http.StatusTooManyRequests)
		}, stream.HTTP429, "full"},
		{"a stream reset in the middle", func(w http.ResponseWriter, _ *http.Request) {
			writeEvents(w, nil, tokenEvent)
			panic(http.ErrAbortHandler)
		}, stream.Reset, "INTERNAL_ERROR"},
		{"a stream reset before the head", func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}, stream.Reset, "INTERNAL_ERROR"},
		{"an end without a word", func(w http.ResponseWriter, _ *http.Request) {
			writeEvents(w, nil, tokenEvent)
		}, stream.Truncated, ""},
		{"no answer in time", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}, stream.Timeout, "500 ms"},
		{"no end in time", func(w http.ResponseWriter, r *http.Request) {
			writeEvents(w, nil, tokenEvent)
			<-r.Context().Done()
		}, stream.Timeout, "500 ms"},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			transports(t, func(t *testing.T, secure bool) {
				s := serveHTTP2(t, secure, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					tt.handler(w, r)
				})
				c := newClient(t, s.url, func(o *Options) {
					s.client(o)
					o.TimeoutNs = int64(500 * time.Millisecond)
				})
				m := c.Do(t.Context(), &Request{Body: []byte("{}")})
				require.Equal(t, tt.want, m.Failure, m.Message)
				require.Contains(t, m.Message, tt.message)
				require.NotEmpty(t, m.Message)
				require.Zero(t, m.Retries)
				m.Release()
				require.EqualValues(t, 1, s.requests.Load())
			})
		})
	}
}

func TestHTTP2_TimeoutWhileTheBodyWaitsForTheWindow(t *testing.T) {
	transports(t, func(t *testing.T, secure bool) {
		s := serveHTTP2(t, secure, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }) // reads nothing
		c := newClient(t, s.url, func(o *Options) {
			s.client(o)
			o.TimeoutNs = int64(300 * time.Millisecond)
		})
		m := c.Do(t.Context(), &Request{Body: make([]byte, 8<<20)})
		require.Equal(t, stream.Timeout, m.Failure, m.Message)
		m.Release()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		m = c.Do(ctx, &Request{Body: make([]byte, 8<<20)})
		require.Equal(t, stream.Interrupted, m.Failure, m.Message)
		m.Release()
	})
}

func TestHTTP2AnAnswerBeforeTheWholeBodyCounts(t *testing.T) {
	transports(t, func(t *testing.T, secure bool) {
		s := serveHTTP2(t, secure, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error":{"message":"too long"}}`, http.StatusRequestEntityTooLarge)
		})
		c := newClient(t, s.url, s.client)
		for range 3 {
			m := c.Do(t.Context(), &Request{Body: make([]byte, 8<<20)})
			require.Equal(t, stream.HTTP4xx, m.Failure, m.Message)
			require.Equal(t, 413, m.Status)
			require.False(t, m.Reused, "a connection with a request half sent takes no other")
			m.Release()
		}
	})
}

func TestHTTP2CancelledAndAbortedRequestsEndAtOnce(t *testing.T) {
	transports(t, func(t *testing.T, secure bool) {
		begun := make(chan struct{}, 2)
		s := serveHTTP2(t, secure, func(w http.ResponseWriter, r *http.Request) {
			writeEvents(w, nil, tokenEvent)
			begun <- struct{}{}
			<-r.Context().Done() // the client's giving up reaches the server
		})
		c := newClient(t, s.url, s.client)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-begun
			time.Sleep(50 * time.Millisecond) // the event is on its way
			cancel()
		}()
		m := c.Do(ctx, &Request{Body: []byte("{}")})
		require.Equal(t, stream.Interrupted, m.Failure)
		require.Len(t, m.Arrivals, 1, "what came before the end is kept")
		m.Release()
		m = c.Do(t.Context(), &Request{Body: []byte("{}"), AbortAfterNs: int64(100 * time.Millisecond)})
		require.Equal(t, stream.Aborted, m.Failure)
		require.Contains(t, m.Message, "100 ms")
		m.Release()
	})
}

func TestHTTP2PreparedRequestsAreReleasedTogether(t *testing.T) {
	transports(t, func(t *testing.T, secure bool) {
		s := serveHTTP2(t, secure, answerHTTP2)
		c := newClient(t, s.url, s.client)
		const n = 20
		for range 2 {
			prepared := make([]Prepared, n)
			for i := range prepared {
				prepared[i] = c.Prepare(t.Context(), &Request{Body: []byte("{}")})
			}
			ends := make(chan *Measurement, n)
			for _, p := range prepared {
				p.Send(t.Context(), func(m *Measurement) { ends <- m })
			}
			for range n {
				m := <-ends
				require.Equal(t, stream.None, m.Failure, m.Message)
				require.Equal(t, 3, m.OutputTokens)
				m.Release()
			}
		}
		require.EqualValues(t, n, s.connections.Load())
	})
}

func TestHTTP2IsChosenByTheServer(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answerHTTP2(w, r)
	}))
	server.StartTLS() // offers HTTP/1.1 only
	t.Cleanup(server.Close)
	c := newClient(t, server.URL, func(o *Options) {
		o.HTTP2, o.TLS = true, server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	})
	for i := range 2 {
		m := c.Do(t.Context(), &Request{Body: []byte("{}")})
		require.Equal(t, stream.None, m.Failure, m.Message)
		require.Equal(t, "HTTP/1.1", m.Proto)
		require.Equal(t, i > 0, m.Reused)
		m.Release()
	}
	c.CloseIdle()

	plain := httptest.NewServer(http.HandlerFunc(answerHTTP2)) // knows no HTTP/2 without TLS
	t.Cleanup(plain.Close)
	c = newClient(t, plain.URL, func(o *Options) { o.HTTP2 = true })
	m := c.Do(t.Context(), &Request{Body: []byte("{}")})
	require.Equal(t, stream.Connect, m.Failure, m.Message)
	require.Contains(t, m.Message, "HTTP/2")
	m.Release()
}

func TestHTTP2LeavesNothingBehind(t *testing.T) {
	warm := serveHTTP2(t, false, answerHTTP2) // the reader thread stays for the process
	newClient(t, warm.url, warm.client).Do(t.Context(), &Request{}).Release()
	before := goleak.IgnoreCurrent()
	t.Run("load", func(t *testing.T) {
		transports(t, func(t *testing.T, secure bool) {
			s := serveHTTP2(t, secure, func(w http.ResponseWriter, r *http.Request) {
				answerHTTP2(w, r)
				if r.Header.Get("X-Hang") != "" {
					<-r.Context().Done()
				}
			})
			c := newClient(t, s.url, s.client)
			var all sync.WaitGroup
			for i := range 10 {
				all.Go(func() {
					r := &Request{Body: make([]byte, 100<<10)}
					if i%2 == 0 {
						r.Header, r.AbortAfterNs = []Field{{"X-Hang", "1"}}, int64(100*time.Millisecond)
					}
					c.Do(t.Context(), r).Release()
				})
			}
			all.Wait()
		})
	})
	goleak.VerifyNone(t, before)
}

// peer is the server's side of one connection, frame by frame.
type peer struct {
	net.Conn
	*http2.Framer
	held  *heldConn
	hpack bytes.Buffer
	enc   *hpack.Encoder
}

// frames runs script on each connection, numbered from 0, after the client's preface came and the settings were sent; the
// connection is closed when it returns.
func frames(t *testing.T, script func(p *peer, n int), settings ...http2.Setting) string {
	t.Helper()
	return framesOver(t, func(conn net.Conn) (net.Conn, *heldConn) {
		held := &heldConn{Conn: conn}
		return held, held
	}, script, settings...)
}

// framesOver is frames over what wrap makes of a connection.
func framesOver(t *testing.T, wrap func(net.Conn) (net.Conn, *heldConn), script func(p *peer, n int), settings ...http2.Setting) string {
	t.Helper()
	l := listen(t)
	var all sync.WaitGroup
	all.Go(func() {
		for n := 0; ; n++ {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				conn, held := wrap(raw)
				defer func() { _ = conn.Close() }()
				if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				p := &peer{Conn: conn, Framer: http2.NewFramer(conn, conn), held: held}
				p.enc = hpack.NewEncoder(&p.hpack)
				p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				if p.WriteSettings(settings...) == nil {
					script(p, n)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return "http://" + l.Addr().String() + "/"
}

// heldConn can keep back what is written, to write it at once.
type heldConn struct {
	net.Conn
	holding bool
	bytes   bytes.Buffer
}

func (c *heldConn) Write(b []byte) (int, error) {
	if c.holding {
		return c.bytes.Write(b)
	}
	return c.Conn.Write(b)
}

// together makes one segment of what write writes.
func (p *peer) together(write func()) {
	p.held.holding = true
	write()
	p.held.holding = false
	_, _ = p.held.bytes.WriteTo(p.held.Conn)
}

// parted sends what write writes but for the last n bytes, and these after between.
func (p *peer) parted(n int, between, write func()) {
	p.held.holding = true
	write()
	p.held.holding = false
	b := p.held.bytes.Bytes()
	_, _ = p.held.Conn.Write(b[:len(b)-n])
	between()
	_, _ = p.held.Conn.Write(b[len(b)-n:])
	p.held.bytes.Reset()
}

// request reads on to the end of the next request and returns its stream, 0 at the end of the connection.
func (p *peer) request() uint32 {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return 0
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamEnded() {
				return f.StreamID
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return f.StreamID
			}
		}
	}
}

func (p *peer) block(fields ...string) []byte {
	p.hpack.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.hpack.Bytes())
}

func (p *peer) head(id uint32, end bool, fields ...string) {
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block(fields...), EndHeaders: true, EndStream: end})
}

// one sends a whole, good response.
func (p *peer) one(id uint32) {
	p.head(id, false, ":status", "200", "content-type", "text/event-stream")
	_ = p.WriteData(id, true, []byte(tokenEvent+lastEvents))
}

// drain reads until the client is gone.
func (p *peer) drain() { _, _ = io.Copy(io.Discard, p.Conn) }

func TestHTTP2FramesInOneReceiveShareItsStamp(t *testing.T) {
	script := func(p *peer, _ int) {
		for id := p.request(); id != 0; id = p.request() {
			p.together(func() {
				p.head(id, false, ":status", "200", "content-type", "text/event-stream")
				for range 3 {
					_ = p.WriteData(id, false, []byte(tokenEvent))
				}
				_ = p.WriteData(id, true, []byte(lastEvents))
			})
		}
	}
	UseStamps(StampsSocket)
	defer UseStamps(StampsAuto)
	check := func(t *testing.T, c *Client) {
		t.Helper()
		for range 2 {
			m := c.Do(t.Context(), &Request{Body: []byte("{}")})
			require.Equal(t, stream.None, m.Failure, m.Message)
			require.Len(t, m.Arrivals, 3)
			require.Equal(t, 2, m.Coalesced)
			require.Equal(t, 1, m.KernelReceives+m.UserReceives)
			for _, a := range m.Arrivals {
				require.Equal(t, m.FirstByteNs, a.AtNs)
				require.Positive(t, a.WidthNs, "the end of the stream came behind each")
			}
			require.Equal(t, m.FirstByteNs, m.EndNs)
			m.Release()
		}
		c.CloseIdle()
	}
	t.Run("prior knowledge", func(t *testing.T) {
		check(t, newClient(t, frames(t, script), func(o *Options) { o.HTTP2 = true }))
	})
	t.Run("a TLS record a frame", func(t *testing.T) {
		model := serveHTTP2(t, true, answerHTTP2)
		url := framesOver(t, func(conn net.Conn) (net.Conn, *heldConn) {
			held := &heldConn{Conn: conn}
			return tls.Server(held, &tls.Config{Certificates: model.certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}), held
		}, script)
		check(t, newClient(t, strings.Replace(url, "http:", "https:", 1), model.client))
	})
}

func TestHTTP2AFrameHasArrivedWhenItsLastByteHas(t *testing.T) {
	var restNs, endNs atomic.Int64
	url := frames(t, func(p *peer, _ int) {
		id := p.request()
		p.head(id, false, ":status", "200", "content-type", "text/event-stream")
		p.parted(1, func() { // all but the newline that ends the event
			time.Sleep(50 * time.Millisecond)
			restNs.Store(clock.Now())
		}, func() { _ = p.WriteData(id, false, []byte(tokenEvent)) })
		_ = p.WriteData(id, false, []byte(lastEvents))
		time.Sleep(50 * time.Millisecond)
		endNs.Store(clock.Now())
		_ = p.WriteData(id, true, nil)
		p.drain()
	})
	c := newClient(t, url, func(o *Options) { o.HTTP2 = true })
	m := c.Do(t.Context(), &Request{Body: []byte("{}")})
	c.CloseIdle()
	require.Equal(t, stream.None, m.Failure, m.Message)
	const tolerance = int64(time.Millisecond)
	require.Less(t, m.FirstByteNs, restNs.Load())
	require.GreaterOrEqual(t, m.LastOutputNs, restNs.Load()-tolerance)
	require.GreaterOrEqual(t, m.EndNs, endNs.Load()-tolerance, "the end is END_STREAM")
	m.Release()
}

func TestHTTP2WhatAServerMaySendIsUnderstood(t *testing.T) {
	var pingNs, openNs atomic.Int64
	url := frames(t, func(p *peer, _ int) {
		first := p.request()
		time.Sleep(20 * time.Millisecond)
		pingNs.Store(clock.Now())
		_ = p.WritePing(false, [8]byte{1, 2, 3})
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		p.head(first, false, ":status", "103", "link", "</x>")
		long := p.block(":status", "200", "content-type", "text/event-stream", "x-long", strings.Repeat("x", 30_000))
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: first, BlockFragment: long[:10_000]})
		_ = p.WriteContinuation(first, false, long[10_000:20_000])
		_ = p.WriteContinuation(first, true, long[20_000:])
		_ = p.WriteRawFrame(0xbe, 0, first, []byte("of a kind nobody knows"))
		_ = p.WriteDataPadded(first, false, []byte(tokenEvent), make([]byte, 200))
		_ = p.WriteData(first, false, []byte(lastEvents))
		p.head(first, true, "x-trailer", "y")
		// The client must have taken the new settings and answered the ping, before the next request or with it.
		pings, acks := 0, 0
		var second uint32
		var body []byte
		for ended := false; !ended; {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.PingFrame:
				if f.IsAck() && f.Data == [8]byte{1, 2, 3} {
					pings++
				}
			case *http2.SettingsFrame:
				if f.IsAck() {
					acks++
				}
			case *http2.MetaHeadersFrame:
				second = f.StreamID
			case *http2.DataFrame:
				if len(f.Data()) > 10 {
					return // more than the window
				}
				body = append(body, f.Data()...)
				ended = f.StreamEnded()
				if len(body) == 10 { // one byte more, then the rest
					_ = p.WriteWindowUpdate(second, 1)
				} else if len(body) == 11 {
					time.Sleep(20 * time.Millisecond)
					openNs.Store(clock.Now())
					_ = p.WriteWindowUpdate(second, 5)
				}
			}
		}
		if pings != 1 || acks < 1 || string(body) != "0123456789abcdef" || second != first+2 {
			return
		}
		p.one(second)
		p.drain()
	})
	c := newClient(t, url, func(o *Options) { o.HTTP2 = true })
	request := func() (sentNs, uncertaintyNs int64) {
		m := c.Do(t.Context(), &Request{Body: []byte("0123456789abcdef")})
		defer m.Release()
		require.Equal(t, stream.None, m.Failure, m.Message)
		require.Equal(t, 200, m.Status)
		require.Zero(t, m.Retries)
		return m.SentNs, m.SentUncertaintyNs
	}
	sentNs, uncertaintyNs := request()
	require.Less(t, sentNs-uncertaintyNs, pingNs.Load(), "sent is the request's write, not the answer to a ping")
	sentNs, _ = request()
	require.NotZero(t, openNs.Load(), "the client waited for the window")
	require.Greater(t, sentNs, openNs.Load()-int64(time.Millisecond), "sent is the write of the last byte")
	c.CloseIdle()
}

func TestHTTP2TheConnectionsWindowHoldsAcrossRequests(t *testing.T) {
	const size = 40_000 // two are more than the 65535 that a connection begins with
	url := frames(t, func(p *peer, _ int) {
		p.one(p.request())
		var id uint32
		opened := false
		for got := 0; got < size; {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			d, ok := f.(*http2.DataFrame)
			if !ok {
				continue
			}
			id = d.StreamID
			got += len(d.Data())
			switch {
			case got > http2Default-size && !opened:
				return // more than the window
			case got == http2Default-size:
				opened = true
				_ = p.WriteWindowUpdate(0, size)
			}
		}
		p.one(id)
		p.drain()
	}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	c := newClient(t, url, func(o *Options) { o.HTTP2 = true })
	for range 2 {
		m := c.Do(t.Context(), &Request{Body: make([]byte, size)})
		require.Equal(t, stream.None, m.Failure, m.Message)
		require.Zero(t, m.Retries)
		m.Release()
	}
	c.CloseIdle()
}

func TestHTTP2WindowsAreGivenBackBeforeTheyClose(t *testing.T) {
	url := frames(t, func(p *peer, _ int) {
		p.one(p.request())
		id := p.request()
		p.head(id, false, ":status", "200", "content-type", "text/event-stream")
		_ = p.WriteDataPadded(id, false, []byte(tokenEvent), make([]byte, 99))
		for { // the response ends only when the window is open again
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			if u, ok := f.(*http2.WindowUpdateFrame); ok && u.StreamID == 0 && u.Increment == http2Replenish+100+uint32(len(tokenEvent)) {
				break
			}
		}
		_ = p.WriteData(id, true, []byte(lastEvents))
		p.drain()
	})
	c := newClient(t, url, func(o *Options) { o.HTTP2, o.TimeoutNs = true, int64(20*time.Second) })
	c.Do(t.Context(), &Request{}).Release()
	c.idle.list[0].(*http2Link).connTaken = http2Replenish // as after a gigabyte
	m := c.Do(t.Context(), &Request{})
	require.Equal(t, stream.None, m.Failure, m.Message)
	require.True(t, m.Reused)
	m.Release()
	c.CloseIdle()
}

func TestHTTP2_RefusedRequestsAreSentAgainOnce(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		second   func(p *peer, id uint32)
		again    bool
	}{
		{"GOAWAY naming an earlier stream", func(p *peer, id uint32) { _ = p.WriteGoAway(id-2, http2.ErrCodeNo, nil); p.drain() }, true},
		{"REFUSED_STREAM", func(p *peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeRefusedStream); p.drain() }, true},
		{"a close without a word", func(*peer, uint32) {}, true},
		{"GOAWAY that says the request was seen", func(p *peer, id uint32) { _ = p.WriteGoAway(id, http2.ErrCodeNo, nil) }, false},
		{"a reset of a request that was begun", func(p *peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeInternal); p.drain() }, false},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			var connections atomic.Int32
			url := frames(t, func(p *peer, n int) {
				connections.Add(1)
				p.one(p.request())
				id := p.request()
				if id == 0 {
					return
				}
				tt.second(p, id)
			})
			c := newClient(t, url, func(o *Options) { o.HTTP2 = true })
			c.raceFloorNs = int64(promptly) // however late this machine runs the server
			c.Do(t.Context(), &Request{Body: []byte("{}")}).Release()
			m := c.Do(t.Context(), &Request{Body: []byte("{}")})
			if tt.again {
				require.Equal(t, stream.None, m.Failure, m.Message)
				require.Equal(t, 1, m.Retries)
				require.EqualValues(t, 2, connections.Load())
			} else {
				require.Equal(t, stream.Reset, m.Failure, m.Message)
				require.Zero(t, m.Retries)
				require.EqualValues(t, 1, connections.Load())
			}
			m.Release()
			c.CloseIdle()
		})
	}
}

func TestHTTP2AConnectionThatIsGoingAwayIsNotReused(t *testing.T) {
	var connections atomic.Int32
	url := frames(t, func(p *peer, _ int) {
		connections.Add(1)
		id := p.request()
		_ = p.WriteGoAway(id, http2.ErrCodeNo, nil)
		p.one(id)
		p.drain()
	})
	c := newClient(t, url, func(o *Options) { o.HTTP2 = true })
	for i := range 3 {
		m := c.Do(t.Context(), &Request{Body: []byte("{}")})
		require.Equal(t, stream.None, m.Failure, m.Message)
		require.False(t, m.Reused)
		require.Zero(t, m.Retries)
		require.EqualValues(t, i+1, connections.Load())
		m.Release()
	}
}

func TestHTTP2WhatBreaksTheProtocolIsNotAResult(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		write    func(p *peer, id uint32)
		want     stream.Failure
		message  string
	}{
		{"data before the head", func(p *peer, id uint32) { _ = p.WriteData(id, true, []byte(tokenEvent)) }, stream.Malformed, "before the head"},
		{"a head without a status", func(p *peer, id uint32) { p.head(id, true, "x", "y") }, stream.Malformed, "status"},
		{"an interim response that ends the stream", func(p *peer, id uint32) { p.head(id, true, ":status", "100") }, stream.Malformed, "100"},
		{"less than content-length says", func(p *peer, id uint32) {
			p.head(id, false, ":status", "200", "content-type", "text/event-stream", "content-length", "1000")
			_ = p.WriteData(id, true, []byte(tokenEvent))
		}, stream.Malformed, "1000"},
		{"a frame of a stream that nobody opened", func(p *peer, id uint32) { p.head(id+2, true, ":status", "200") }, stream.Malformed, "nobody opened"},
		{"a push", func(p *peer, id uint32) {
			_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, BlockFragment: p.block(":method", "GET"), EndHeaders: true})
		}, stream.Malformed, "push"},
		{"a frame larger than was allowed", func(p *peer, id uint32) {
			p.head(id, false, ":status", "200", "content-type", "text/event-stream")
			_ = p.WriteData(id, true, make([]byte, 17<<10))
		}, stream.Malformed, "too large"},
		{"a head larger than was allowed", func(p *peer, id uint32) {
			block := p.block(":status", "200", "x-long", strings.Repeat("~", 100<<10))
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:16<<10]})
			for block = block[16<<10:]; len(block) > 16<<10; block = block[16<<10:] {
				_ = p.WriteContinuation(id, false, block[:16<<10])
			}
			_ = p.WriteContinuation(id, true, block)
		}, stream.Malformed, ""},
		{"a header field in capitals", func(p *peer, id uint32) { p.head(id, true, ":status", "200", "X-Capital", "y") }, stream.Malformed, ""},
		{"a window that overflows", func(p *peer, id uint32) { _ = p.WriteWindowUpdate(id, 1<<31-1) }, stream.Malformed, "window"},
		{"a close within the response", func(p *peer, id uint32) {
			p.head(id, false, ":status", "200", "content-type", "text/event-stream")
			_ = p.WriteData(id, false, []byte(tokenEvent))
		}, stream.Truncated, ""},
		{"a close before the response", func(*peer, uint32) {}, stream.Reset, ""},
		{"a server that says why it goes", func(p *peer, id uint32) {
			_ = p.WriteGoAway(id, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))
		}, stream.Reset, "too_many_pings"},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			url := frames(t, func(p *peer, _ int) {
				p.AllowIllegalWrites = true
				id := p.request()
				if tt.write(p, id); tt.want == stream.Malformed {
					p.drain()
				}
			})
			c := newClient(t, url, func(o *Options) { o.HTTP2 = true })
			m := c.Do(t.Context(), &Request{Body: []byte("{}")})
			require.Equal(t, tt.want, m.Failure, m.Message)
			require.Contains(t, m.Message, tt.message)
			m.Release()
		})
	}
}

func TestHTTP2HeadersAreHeldAgainstTheServersLimit(t *testing.T) {
	url := frames(t, func(p *peer, _ int) {
		for id := p.request(); id != 0; id = p.request() {
			p.one(id)
		}
	}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000})
	c := newClient(t, url, func(o *Options) { o.HTTP2 = true })
	for range 2 {
		m := c.Do(t.Context(), &Request{})
		require.Equal(t, stream.None, m.Failure, m.Message)
		m.Release()
		m = c.Do(t.Context(), &Request{Header: []Field{{"X-Long", strings.Repeat("x", 2000)}}})
		require.Equal(t, stream.Reset, m.Failure)
		require.Contains(t, m.Message, "the server takes 1000")
		m.Release()
	}
	c.CloseIdle()
}

func TestHTTP2LongRequestHeadersGoOut(t *testing.T) {
	long := strings.Repeat("~", 40<<10)
	s := serveHTTP2(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Long") != long {
			http.Error(w, "another header", http.StatusBadRequest)
			return
		}
		answerHTTP2(w, r)
	})
	c := newClient(t, s.url, s.client)
	m := c.Do(t.Context(), &Request{Header: []Field{{"X-Long", long}}})
	require.Equal(t, stream.None, m.Failure, m.Message)
	m.Release()
}
