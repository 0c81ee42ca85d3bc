package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// script is a server that answers each request on each connection with what answer writes.
type script struct {
	net.Listener
	connections atomic.Int32
	requests    atomic.Int32
	done        sync.WaitGroup
}

// serve runs answer for each request; false closes the connection (with a reset where linger is 0).
func serve(t *testing.T, l net.Listener, answer func(w net.Conn, body []byte, n int) bool) *script {
	t.Helper()
	s := &script{Listener: l}
	s.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			s.done.Go(func() {
				defer func() { _ = c.Close() }()
				br := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					body, err := io.ReadAll(r.Body)
					if err != nil {
						return
					}
					if !answer(c, body, int(s.requests.Add(1))) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	return s
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func dialTCP(ctx context.Context, network, address string) (Counted, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	return Counted{Conn: c}, err
}

func newClient(t *testing.T, url string, change func(*Options)) *Client {
	t.Helper()
	o := Options{URL: url, Stream: stream.Options{API: stream.Completions}, Streamed: true, Dial: dialTCP, UserAgent: "test"}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdle)
	return c
}

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

func chunk(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }

func token(text string) string {
	return chunk(`data: {"choices":[{"index":0,"text":"` + text + `"}]}` + "\n\n")
}

const lastEvents = "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n"

func answerThree(w net.Conn, _ []byte, _ int) bool {
	_, err := io.WriteString(w, streamHead+token("a")+token("b")+token("c")+chunk(lastEvents)+"0\r\n\r\n")
	return err == nil
}

func modes(t *testing.T, run func(t *testing.T, streamed bool)) {
	for _, streamed := range []bool{true, false} {
		t.Run(fmt.Sprintf("reader thread %v", streamed), func(t *testing.T) { run(t, streamed) })
	}
}

func TestClient_MeasuresAStreamAndReusesItsConnection(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		s := serve(t, listen(t), answerThree)
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.Streamed = streamed })
		for i := range 20 {
			before := clock.Now()
			m := c.Do(t.Context(), &Request{Body: []byte("{}"), ID: "x"})
			require.Equal(t, stream.None, m.Failure, m.Message)
			require.Equal(t, 3, m.OutputTokens)
			require.Equal(t, 2, m.InputTokens)
			require.Len(t, m.Arrivals, 3)
			require.Equal(t, "length", m.FinishReason)
			require.Equal(t, i > 0, m.Reused)
			require.LessOrEqual(t, before, m.StartedNs)
			require.LessOrEqual(t, m.StartedNs, m.SentNs)
			require.LessOrEqual(t, m.SentNs-m.SentUncertaintyNs, m.FirstByteNs)
			require.LessOrEqual(t, m.FirstByteNs, m.FirstOutputNs)
			require.LessOrEqual(t, m.LastOutputNs, m.EndNs)
			m.Release()
		}
		require.EqualValues(t, 1, s.connections.Load())
	})
}

func TestFailures_EveryBadEndHasItsClass(t *testing.T) {
	reset := func(w net.Conn) bool {
		_ = w.(*net.TCPConn).SetLinger(0)
		return false
	}
	for _, tt := range []struct {
		sentence string
		answer   func(w net.Conn, body []byte, n int) bool
		want     stream.Failure
	}{
		{"a plain 429", func(w net.Conn, _ []byte, _ int) bool {
			_, _ = io.WriteString(w, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 28\r\n\r\n{\"error\":{\"message\":\"full\"}}")
			return true
		}, stream.HTTP429},
		{"a reset in mid-stream", func(w net.Conn, _ []byte, _ int) bool {
			_, _ = io.WriteString(w, streamHead+token("a"))
			time.Sleep(20 * time.Millisecond) // so that the bytes are not thrown away with the connection
			return reset(w)
		}, stream.Reset},
		{"an end without a word", func(w net.Conn, _ []byte, _ int) bool {
			_, _ = io.WriteString(w, streamHead+token("a")+"0\r\n\r\n")
			return true
		}, stream.Truncated},
		{"no answer at all in time", func(net.Conn, []byte, int) bool {
			time.Sleep(400 * time.Millisecond)
			return false
		}, stream.Timeout},
		{"a close before the first byte of the first request", func(net.Conn, []byte, int) bool { return false }, stream.Reset},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			modes(t, func(t *testing.T, streamed bool) {
				s := serve(t, listen(t), tt.answer)
				c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) {
					o.Streamed = streamed
					o.TimeoutNs = int64(200 * time.Millisecond)
				})
				m := c.Do(t.Context(), &Request{Body: []byte("{}")})
				require.Equal(t, tt.want, m.Failure, m.Message)
				require.NotEmpty(t, m.Message)
				m.Release()
			})
		})
	}
}

func TestFailures_NoServerIsConnect(t *testing.T) {
	l := listen(t)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	c := newClient(t, "http://"+address+"/v1/completions", nil)
	m := c.Do(t.Context(), &Request{Body: []byte("{}")})
	require.Equal(t, stream.Connect, m.Failure)
	require.Zero(t, m.SentNs)
	m.Release()
}

func TestRetry_ClosedKeepAliveConnectionLosesNoRequest(t *testing.T) {
	// The server closes each connection right behind its response, as llama-server does, without saying so.
	modes(t, func(t *testing.T, streamed bool) {
		s := serve(t, listen(t), func(w net.Conn, b []byte, n int) bool { answerThree(w, b, n); return false })
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.Streamed = streamed })
		for range 100 {
			m := c.Do(t.Context(), &Request{Body: []byte("{}")})
			require.Equal(t, stream.None, m.Failure, m.Message)
			m.Release()
		}
		require.EqualValues(t, 100, s.requests.Load(), "no request was answered twice")
	})
}

func TestRetry_ClosingConnectionOnce(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		s := serve(t, listen(t), func(w net.Conn, b []byte, n int) bool {
			return n != 2 && answerThree(w, b, n) // takes the second request and closes without a byte
		})
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.Streamed = streamed })
		c.raceFloorNs = int64(promptly) // however late this machine runs the server
		for i := range 2 {
			m := c.Do(t.Context(), &Request{Body: []byte("{}")})
			require.Equal(t, stream.None, m.Failure, m.Message)
			require.Equal(t, i, m.Retries)
			m.Release()
		}
	})
}

func TestCancelledAndAbortedRequestsEndAtOnce(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		hold := make(chan struct{})
		defer close(hold)
		s := serve(t, listen(t), func(w net.Conn, _ []byte, _ int) bool {
			_, _ = io.WriteString(w, streamHead+token("a"))
			<-hold
			return false
		})
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.Streamed = streamed })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		m := c.Do(ctx, &Request{Body: []byte("{}")})
		require.Equal(t, stream.Interrupted, m.Failure)
		require.Len(t, m.Arrivals, 1, "what came before the end is kept")
		m.Release()
		m = c.Do(t.Context(), &Request{Body: []byte("{}"), AbortAfterNs: int64(50 * time.Millisecond)})
		require.Equal(t, stream.Aborted, m.Failure)
		require.Contains(t, m.Message, "50 ms")
		m.Release()
	})
}

func TestAbort_BeforeAllWasSentIsOnPurpose(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		l := listen(t) // takes connections and reads nothing
		t.Cleanup(func() { _ = l.Close() })
		c := newClient(t, "http://"+l.Addr().String()+"/", func(o *Options) {
			o.Streamed = streamed
			o.TimeoutNs = int64(time.Minute)
		})
		m := c.Do(t.Context(), &Request{Body: make([]byte, 32<<20), AbortAfterNs: int64(20 * time.Millisecond)})
		require.Equal(t, stream.Aborted, m.Failure, m.Message)
		m.Release()
	})
}

func TestPrepare_ManyRequestsAreReleasedTogether(t *testing.T) {
	s := serve(t, listen(t), answerThree)
	c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", nil)
	const n = 200
	for range 2 { // the second round on the connections of the first
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
}

func TestLargeRequestsArriveWhole(t *testing.T) {
	const size = 8 << 20
	modes(t, func(t *testing.T, streamed bool) {
		got := make(chan int, 1)
		s := serve(t, listen(t), func(w net.Conn, b []byte, n int) bool { got <- len(b); return answerThree(w, b, n) })
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.Streamed = streamed })
		m := c.Do(t.Context(), &Request{Body: []byte(strings.Repeat("x", size))})
		require.Equal(t, stream.None, m.Failure, m.Message)
		require.Equal(t, size, <-got)
		m.Release()
	})
}

func TestTLSAndUnixSockets(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	certificate := s.TLS.Certificates[0]
	pool := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	s.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	secure := serve(t, l, answerThree)
	c := newClient(t, "https://"+secure.Addr().String()+"/v1/completions", func(o *Options) {
		o.TLS = &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12}
	})
	for i := range 3 {
		m := c.Do(t.Context(), &Request{Body: []byte("{}")})
		require.Equal(t, stream.None, m.Failure, m.Message)
		require.Equal(t, i == 0, m.TLSNs > 0)
		m.Release()
	}
	require.EqualValues(t, 1, secure.connections.Load())
	untrusting := newClient(t, "https://"+secure.Addr().String()+"/", nil)
	m := untrusting.Do(t.Context(), &Request{Body: []byte("{}")})
	require.Equal(t, stream.TLS, m.Failure, m.Message)
	m.Release()

	socket := filepath.Join(t.TempDir(), "s")
	u, err := net.Listen("unix", socket)
	require.NoError(t, err)
	local := serve(t, u, answerThree)
	c = newClient(t, "unix://"+socket+":/v1/completions", nil)
	m = c.Do(t.Context(), &Request{Body: []byte("{}")})
	require.Equal(t, stream.None, m.Failure, m.Message)
	m.Release()
	require.EqualValues(t, 1, local.requests.Load())
	_, err = os.Stat(socket)
	require.NoError(t, err)
}

func TestAddressesAndHeadersAreChecked(t *testing.T) {
	for _, bad := range []string{"", "localhost:8000", "ftp://x/", "http://", "unix://"} {
		_, err := New(Options{URL: bad})
		require.Error(t, err, bad)
	}
	_, err := New(Options{URL: "http://x/", Header: []Field{{Name: "Authorization", Value: "Bearer secret\r\nX: y"}}})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
	_, err = New(Options{URL: "http://x/", Method: "HEAD"})
	require.ErrorContains(t, err, "HEAD")
	m := newClient(t, "http://127.0.0.1:1/", nil).Do(t.Context(), &Request{Method: "HEAD"})
	require.Contains(t, m.Message, "HEAD")
	m.Release()
	for _, name := range []string{"Content-Length", "transfer-encoding", "Connection"} {
		_, err := New(Options{URL: "http://x/", Header: []Field{{Name: name, Value: "1"}}})
		require.ErrorContains(t, err, name)
	}
}

func TestContext_NothingIsSentAfterItsEnd(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		s := serve(t, listen(t), answerThree)
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.Streamed = streamed })
		c.Do(t.Context(), &Request{Body: []byte("{}")}).Release() // leaves a connection
		ctx, cancel := context.WithCancel(t.Context())
		prepared := make([]Prepared, 20)
		for i := range prepared {
			prepared[i] = c.Prepare(ctx, &Request{Body: []byte("{}")})
		}
		cancel()
		ends := make(chan *Measurement, len(prepared)+1)
		for _, p := range prepared {
			p.Send(ctx, func(m *Measurement) { ends <- m })
		}
		ends <- c.Do(ctx, &Request{Body: []byte("{}")})
		for range len(prepared) + 1 {
			m := <-ends
			require.Equal(t, stream.Interrupted, m.Failure)
			require.Zero(t, m.SentNs)
			m.Release()
		}
		m := c.Do(t.Context(), &Request{Body: []byte("{}")}) // whatever was sent before it comes first
		require.True(t, m.Reused, "their connections are kept")
		m.Release()
		require.EqualValues(t, 2, s.requests.Load())
	})
}

func TestPrepare_ReplacesAConnectionThatClosed(t *testing.T) {
	transports := map[string]func(*Options){
		"the reader thread": nil,
		"Go's poller":       func(o *Options) { o.Streamed = false },
		"HTTP/2":            func(o *Options) { o.HTTP2 = true },
	}
	for name, options := range transports {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(answerHTTP2))
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetHTTP1(true)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			var open sync.Map
			s.Config.ConnState = func(c net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					open.Delete(c)
				} else {
					open.Store(c, true)
				}
			}
			s.Start()
			defer s.Close()
			c := newClient(t, s.URL+"/v1/completions", options)
			for _, checked := range []bool{false, true, false, true} {
				require.Eventually(t, func() bool { // the server has heard of the end of the one before
					left := 0
					open.Range(func(any, any) bool { left++; return true })
					return left == 0
				}, promptly, time.Millisecond)
				p := c.Prepare(t.Context(), &Request{Body: []byte("{}")})
				for closed := 0; closed == 0; { // the server may not have taken it yet
					open.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); closed++; return true })
				}
				time.Sleep(2 * longWait)
				if checked {
					p.Check(t.Context())
				}
				ends := make(chan *Measurement, 1)
				p.Send(t.Context(), func(m *Measurement) { ends <- m })
				m := <-ends
				require.Equal(t, stream.None, m.Failure, m.Message)
				require.Zero(t, m.Retries)
				require.Equal(t, checked, m.SetupNs == 0, "it connects before the release, or after it")
				m.Release()
				c.CloseIdle()
			}
		})
	}
}

func TestPrepare_ClosingConnectionIsRetriedOnce(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		s := serve(t, listen(t), func(w net.Conn, b []byte, n int) bool {
			return n != 1 && answerThree(w, b, n) // takes the first request and closes without a byte
		})
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.Streamed = streamed })
		c.raceFloorNs = int64(promptly) // however late this machine runs the server
		p := c.Prepare(t.Context(), &Request{Body: []byte("{}")})
		time.Sleep(2 * longWait)
		ends := make(chan *Measurement, 1)
		p.Send(t.Context(), func(m *Measurement) { ends <- m })
		m := <-ends
		require.Equal(t, stream.None, m.Failure, m.Message)
		require.Equal(t, 1, m.Retries)
		m.Release()
	})
}

func TestConnectingIsLimited(t *testing.T) {
	// Its time is the request's where that is shorter than ten seconds; what has no connection is no request that took long.
	for _, tt := range []struct {
		sentence, scheme string
		change           func(*Options)
		want             stream.Failure
	}{
		{"a port that does not answer", "http", func(o *Options) {
			o.Dial = func(ctx context.Context, _, _ string) (Counted, error) {
				<-ctx.Done()
				return Counted{}, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
			}
		}, stream.Connect},
		{"a server that shakes no hands", "https", nil, stream.TLS},
		{"a server that sends no settings", "http", func(o *Options) { o.HTTP2 = true }, stream.Connect},
		{"a proxy that does not answer", "https", func(o *Options) {
			silent := o.URL
			o.Proxy = func(*url.URL) (*url.URL, error) { return url.Parse(strings.Replace(silent, "https:", "http:", 1)) }
		}, stream.Connect},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			l := listen(t)
			defer func() { _ = l.Close() }()
			c := newClient(t, tt.scheme+"://"+l.Addr().String()+"/", func(o *Options) {
				o.TimeoutNs = int64(200 * time.Millisecond)
				if tt.change != nil {
					tt.change(o)
				}
			})
			began := time.Now()
			m := c.Do(t.Context(), &Request{})
			require.Less(t, time.Since(began), connectTimeout/2)
			require.Equal(t, tt.want, m.Failure, m.Message)
			require.Contains(t, m.Message, "within 0.2 s")
			m.Release()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			m = c.Do(ctx, &Request{})
			require.Equal(t, stream.Interrupted, m.Failure, m.Message)
			m.Release()
			cancel()
		})
	}
}

func TestClient_SeesTheEndOfABodyWithBareLineFeeds(t *testing.T) {
	for _, end := range []string{"0\n\n", "0\r\n\n", "0\n\r\n", "0\nX: y\n\n"} {
		modes(t, func(t *testing.T, streamed bool) {
			url, _ := bodyServer(t, func(p *bodyPeer) {
				for p.request() != nil {
					p.say(streamHead + token("a"))
					time.Sleep(10 * time.Millisecond) // the stream is known to run before it ends
					p.say(chunk(lastEvents) + end)
				}
			})
			c := newClient(t, url, func(o *Options) { o.Streamed = streamed })
			c.graceNs = int64(time.Minute) // nothing looks but for what came
			for i := range 3 {
				m := c.Do(t.Context(), &Request{Body: []byte("{}")})
				require.Equal(t, stream.None, m.Failure, m.Message)
				require.Less(t, clock.Now()-m.EndNs, int64(30*time.Second))
				require.Equal(t, i > 0, m.Reused)
				m.Release()
			}
		})
	}
}
