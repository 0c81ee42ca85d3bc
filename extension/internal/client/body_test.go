package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
)

// noLeaks fails the test when goroutines of its connections stay; the reader thread's stay on purpose.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, append(readerThread, before)...)
	})
}

// bodyPeer is the server's end of one connection in a test that scripts every byte.
type bodyPeer struct {
	net.Conn
	in     *bufio.Reader
	number int // of the connection, from 1
}

// request reads one request; nil: the client closed.
func (p *bodyPeer) request() *http.Request {
	r, err := http.ReadRequest(p.in)
	if err != nil {
		return nil
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return r
}

func (p *bodyPeer) say(s string) { _, _ = io.WriteString(p, s) }

// bodyServer serves every connection by talk, which runs on a goroutine of its own, and returns its URL.
func bodyServer(t *testing.T, talk func(*bodyPeer)) (url string, connections *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	connections = new(atomic.Int64)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := connections.Add(1)
			all.Go(func() {
				defer func() { _ = c.Close() }()
				talk(&bodyPeer{c, bufio.NewReader(c), int(n)})
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return "http://" + l.Addr().String() + "/stream", connections
}

// serveOverTLS is bodyServer over TLS, with the options of a client that trusts it.
func serveOverTLS(t *testing.T, talk func(*bodyPeer)) (url string, options func(*Options)) {
	t.Helper()
	server, trusting := certified(t)
	url, _ = bodyServer(t, func(p *bodyPeer) {
		conn := tls.Server(p.Conn, server)
		defer func() { _ = conn.Close() }()
		talk(&bodyPeer{conn, bufio.NewReader(conn), p.number})
	})
	return strings.Replace(url, "http:", "https:", 1), func(o *Options) { o.TLS = trusting }
}

// notForTheReader is a TCP connection that the reader thread does not recognize as one, so that a goroutine reads it.
type notForTheReader struct{ *net.TCPConn }

// readers are the two ways in which a connection is read.
var readers = []string{"read ahead", "by the reader thread, where there is one"}

func streamTransport(t *testing.T, o Options) *StreamTransport {
	return transportRead(t, readers[1], o)
}

func transportRead(t *testing.T, how string, o Options) *StreamTransport {
	t.Helper()
	o.Dial = func(ctx context.Context, network, address string) (Counted, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if tcp, ok := c.(*net.TCPConn); ok && how == readers[0] {
			c = notForTheReader{tcp}
		}
		return Counted{Conn: c}, err
	}
	tr := NewStreamTransport(o)
	t.Cleanup(tr.CloseIdle)
	return tr
}

func request(t *testing.T, ctx context.Context, method, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	require.NoError(t, err)
	return r
}

func bodyOf(t *testing.T, resp *http.Response) *Body {
	t.Helper()
	b, ok := resp.Body.(*Body)
	require.True(t, ok)
	return b
}

// all reads a body to its end and closes it.
func all(t *testing.T, resp *http.Response) (string, error) {
	t.Helper()
	var out strings.Builder
	for b := bodyOf(t, resp); ; {
		data, atNs, _, err := b.Next()
		if err != nil {
			require.NoError(t, b.Close())
			return out.String(), err
		}
		assert.Positive(t, atNs)
		out.Write(data)
	}
}

func TestBodiesAndReuse(t *testing.T) {
	for _, tc := range []struct {
		name, method, reply, body string
		err                       error
		reused                    bool
	}{
		{"a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", io.EOF, true},
		{"chunks with an extension and a trailer", "GET",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\nC\r\n, wide world\r\n0\r\nX: y\r\n\r\n", "hello, wide world", io.EOF, true},
		{"bare line feeds", "GET", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", "hello", io.EOF, true},
		{"no body", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "", io.EOF, true},
		{"a HEAD request's length is no body", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", io.EOF, true},
		{"an interim response first", "GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", io.EOF, true},
		{"until the connection ends", "GET", "HTTP/1.1 200 OK\r\n\r\nhello", "hello", io.EOF, false},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", io.EOF, false},
		{"the server wants to close", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "hello", io.EOF, false},
		{"bytes behind the body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP", "hello", io.EOF, false},
		{"a length not reached", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "hello", io.ErrUnexpectedEOF, false},
		{"chunks without an end", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "hello", io.ErrUnexpectedEOF, false},
	} {
		for _, how := range readers {
			t.Run(tc.name+", "+how, func(t *testing.T) {
				noLeaks(t)
				url, connections := bodyServer(t, func(p *bodyPeer) {
					for p.request() != nil {
						p.say(tc.reply)
						if !tc.reused {
							return
						}
					}
				})
				tr := transportRead(t, how, Options{})
				for n := range 2 {
					resp, x, err := tr.Do(request(t, t.Context(), tc.method, url))
					require.NoError(t, err)
					body, err := all(t, resp)
					assert.Equal(t, tc.body, body)
					assert.ErrorIs(t, err, tc.err)
					assert.Equal(t, tc.reused && n > 0, x.Reused)
					assert.NotNil(t, x.Remote)
					order := []int64{x.StartedNs, x.ReadyNs, x.SentNs, x.FirstByteNs, x.EndNs, clock.Now()}
					for k := 1; k < len(order); k++ {
						assert.GreaterOrEqual(t, order[k]+x.SentUncertaintyNs+clockNoiseNs, order[k-1], "stage %d of %v", k, order)
					}
				}
				assert.EqualValues(t, map[bool]int{true: 1, false: 2}[tc.reused], connections.Load())
			})
		}
	}
}

func TestBodyRefusesWhatIsNotHTTP(t *testing.T) {
	for name, reply := range map[string]string{
		"another protocol":    "SSH-2.0-OpenSSH_9.6\r\n",
		"a bad status line":   "HTTP/1.1 abc\r\n\r\n",
		"an endless head":     "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead) + "\r\n",
		"a half head":         "HTTP/1.1 200 OK\r\nX",
		"no response":         "",
		"two codings at once": "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			url, _ := bodyServer(t, func(p *bodyPeer) {
				if p.request() != nil {
					p.say(reply)
				}
			})
			_, x, err := streamTransport(t, Options{}).Do(request(t, t.Context(), "GET", url))
			require.Error(t, err)
			assert.Positive(t, x.EndNs)
		})
	}
	for name, chunk := range map[string]string{
		"no size": "\r\nhello", "no hex": "5g\r\nhello", "a negative size": "-5\r\nhello", "too many digits": "1000000000000000\r\n",
		"no line break behind it": "5\r\nhello5\r\n",
	} {
		t.Run("a chunk with "+name, func(t *testing.T) {
			url, _ := bodyServer(t, func(p *bodyPeer) {
				if p.request() != nil {
					p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
					p.request() // keeps the connection open: the client has to see it by itself
				}
			})
			resp, _, err := streamTransport(t, Options{}).Do(request(t, t.Context(), "GET", url))
			require.NoError(t, err)
			_, err = all(t, resp)
			assert.ErrorContains(t, err, "chunk")
		})
	}
}

// A kept-alive connection that the server closed meanwhile is no failure of the request.
func TestClosedKeptConnectionIsReplaced(t *testing.T) {
	noLeaks(t)
	second := make(chan struct{})
	url, connections := bodyServer(t, func(p *bodyPeer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
		if p.number == 1 {
			// Closed only when the next request is there, so that the idle connection looks sound until then.
			p.request()
			close(second)
			return
		}
		p.request()
	})
	tr := streamTransport(t, Options{})
	tr.c.raceFloorNs = int64(promptly) // however late this machine runs the server
	for n := range 2 {
		resp, x, err := tr.Do(request(t, t.Context(), "GET", url))
		require.NoError(t, err)
		body, _ := all(t, resp)
		assert.Equal(t, "x", body)
		assert.Equal(t, n, x.Retries)
		assert.False(t, x.Reused)
	}
	<-second
	assert.EqualValues(t, 2, connections.Load())
}

func TestBody_WithoutReuseTheServerIsAskedToClose(t *testing.T) {
	noLeaks(t)
	asked := make(chan string, 2)
	url, connections := bodyServer(t, func(p *bodyPeer) {
		if r := p.request(); r != nil {
			asked <- fmt.Sprint(r.Close)
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
			p.request()
		}
	})
	tr := streamTransport(t, Options{NoReuse: true})
	for range 2 {
		resp, _, err := tr.Do(request(t, t.Context(), "GET", url))
		require.NoError(t, err)
		_, err = all(t, resp)
		assert.ErrorIs(t, err, io.EOF)
		assert.Equal(t, "true", <-asked)
	}
	assert.EqualValues(t, 2, connections.Load())
}

func TestContextEndsABody(t *testing.T) {
	for _, how := range readers {
		t.Run(how, func(t *testing.T) { contextEndsABody(t, how) })
	}
}

func contextEndsABody(t *testing.T, how string) {
	noLeaks(t)
	gone := make(chan struct{})
	url, _ := bodyServer(t, func(p *bodyPeer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		p.request() // until the client closes
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	resp, x, err := transportRead(t, how, Options{}).Do(request(t, ctx, "GET", url))
	require.NoError(t, err)
	b := bodyOf(t, resp)
	data, _, _, err := b.Next()
	require.NoError(t, err)
	assert.Equal(t, "hello", string(data))
	cancel()
	_, _, _, err = b.Next()
	require.ErrorIs(t, err, context.Canceled)
	_, _, _, err = b.Next()
	require.ErrorIs(t, err, context.Canceled, "it stays so")
	<-gone
	assert.Positive(t, x.EndNs)
}

// Whoever has seen enough keeps the connection if the end is there, and gives it up if it does not come.
func TestCloseBeforeTheEnd(t *testing.T) {
	for _, ends := range []bool{true, false} {
		t.Run(fmt.Sprintf("the end comes: %v", ends), func(t *testing.T) {
			noLeaks(t)
			url, connections := bodyServer(t, func(p *bodyPeer) {
				for p.request() != nil {
					p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
					if ends {
						p.say("3\r\nend\r\n0\r\n\r\n")
					}
				}
			})
			tr := streamTransport(t, Options{})
			if ends {
				tr.grace = promptly // however late this machine runs the server
			}
			for range 2 {
				resp, x, err := tr.Do(request(t, t.Context(), "GET", url))
				require.NoError(t, err)
				b := bodyOf(t, resp)
				_, _, _, err = b.Next()
				require.NoError(t, err)
				require.NoError(t, b.Close())
				require.NoError(t, b.Close())
				_, _, _, err = b.Next()
				require.Error(t, err)
				assert.Positive(t, x.EndNs)
			}
			if ends {
				assert.EqualValues(t, 1, connections.Load(), "what has ended is used again")
			} else {
				assert.EqualValues(t, 2, connections.Load())
			}
		})
	}
}

func TestBodyOverTLS(t *testing.T) {
	for _, how := range readers {
		t.Run(how, func(t *testing.T) { bodyOverTLS(t, how) })
	}
}

func bodyOverTLS(t *testing.T, how string) {
	noLeaks(t)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, part := range []string{"one", "two"} {
			_, _ = io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it says what the refused handshake below is
	defer s.Close()
	tr := transportRead(t, how, Options{TLS: s.Client().Transport.(*http.Transport).TLSClientConfig})
	defer tr.CloseIdle()
	for n := range 2 {
		resp, x, err := tr.Do(request(t, t.Context(), "GET", s.URL))
		require.NoError(t, err)
		body, err := all(t, resp)
		assert.ErrorIs(t, err, io.EOF)
		assert.Equal(t, "onetwo", body)
		assert.Equal(t, n > 0, x.Reused)
		assert.NotNil(t, resp.TLS)
		assert.Equal(t, n == 0, x.TLSNs > 0)
	}
	_, x, err := streamTransport(t, Options{TLS: &tls.Config{MinVersion: tls.VersionTLS12}}).Do(request(t, t.Context(), "GET", s.URL))
	var unknown *tls.CertificateVerificationError
	assert.ErrorAs(t, err, &unknown)
	assert.Zero(t, x.SentNs)
}

// What arrives while nobody asks keeps the time of its arrival, and a peer that sends without end is held up.
func TestReadAhead(t *testing.T) {
	noLeaks(t)
	near, far := net.Pipe() // unbuffered: a write returns when it was read
	r := newReadAhead(&slowSegmentConn{plainConn{Counted: Counted{Conn: near}}})
	assert.True(t, r.quiet())
	_, err := far.Write([]byte("one"))
	require.NoError(t, err)
	_, err = far.Write([]byte("two")) // taken only after "one" was stamped
	require.NoError(t, err)
	twoNs := clock.Now()
	b := make([]byte, 2)
	n, err := r.Read(b)
	require.NoError(t, err)
	assert.Equal(t, "on", string(b[:n]))
	oneNs, stamp := r.stamp()
	assert.Less(t, oneNs, twoNs)
	assert.Equal(t, reader.StampUser, stamp)
	n, _ = r.Read(b)
	assert.Equal(t, "e", string(b[:n]), "a receive is not mixed with the next one")
	again, _ := r.stamp()
	assert.Equal(t, oneNs, again)
	n, _ = r.Read(b)
	assert.Equal(t, "tw", string(b[:n]))

	written := make(chan int)
	go func() {
		total := 0
		for range 4 * aheadBytes / (16 << 10) {
			k, err := far.Write(make([]byte, 16<<10))
			total += k
			if err != nil {
				break
			}
		}
		written <- total
	}()
	r.mu.Lock()
	for r.unread < aheadBytes {
		r.changed.Wait()
	}
	r.mu.Unlock()
	require.NoError(t, r.Close())
	assert.Less(t, <-written, 2*aheadBytes)
	_, err = io.Copy(io.Discard, r)
	assert.ErrorIs(t, err, net.ErrClosed)
}

// slowSegmentConn makes a plain connection a segmentConn.
type slowSegmentConn struct{ plainConn }

func (c *slowSegmentConn) quiet() bool { return true }
