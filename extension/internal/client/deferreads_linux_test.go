//go:build linux && (amd64 || arm64)

package client

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// serveTLS answers streams over HTTP/1.1 and TLS; end writes the last events and the end of the body, once the client defers its reads.
func serveTLS(t *testing.T, deferred <-chan struct{}, end func(w io.Writer)) (url string, options func(*Options)) {
	t.Helper()
	server, trusting := certified(t, "http/1.1")
	secure := serve(t, tls.NewListener(listen(t), server), func(w net.Conn, _ []byte, _ int) bool {
		_, _ = io.WriteString(w, streamHead+token("a")+token("b")+token("c"))
		<-deferred
		end(w)
		return true
	})
	return "https://" + secure.Addr().String() + "/v1/completions", func(o *Options) { o.TLS = trusting }
}

// deferUntilEnd sends a request and lets the server end the response when the client's connection defers its reads; it returns the
// connection.
func deferUntilEnd(t *testing.T, c *Client, deferred chan<- struct{}) *readerConn {
	t.Helper()
	p := c.Prepare(t.Context(), &Request{Body: []byte("{}")})
	require.NoError(t, p.x.err)
	var conn *readerConn
	switch l := p.x.l.(type) {
	case *http2Link:
		conn = l.seg.(*readerConn)
	case *blockingLink:
		conn = l.seg.(*readerConn)
	}
	ends := make(chan *Measurement, 1)
	p.Send(t.Context(), func(m *Measurement) { ends <- m })
	require.Eventually(t, func() bool { return conn.conn.Wants() != reader.NoEndMark }, time.Minute, time.Millisecond, "it does not rest")
	deferred <- struct{}{}
	m := <-ends
	require.Equal(t, stream.None, m.Failure, m.Message)
	require.Equal(t, 3, m.OutputTokens)
	m.Release()
	return conn
}

func TestDeferReads_TLSStreamUntilItsEnd(t *testing.T) {
	deferred := make(chan struct{})
	url, options := serveTLS(t, deferred, func(w io.Writer) {
		_, _ = io.WriteString(w, chunk(lastEvents))
		_, _ = io.WriteString(w, "0\r\n\r\n")
	})
	c := newClient(t, url, options)
	conn := deferUntilEnd(t, c, deferred)
	require.True(t, conn.conn.LooksOver())
	require.False(t, c.endMissed.Load())
}

func TestDeferReads_HTTP2StreamUntilItsEnd(t *testing.T) {
	transports(t, func(t *testing.T, secure bool) {
		deferred := make(chan struct{})
		s := serveHTTP2(t, secure, func(w http.ResponseWriter, _ *http.Request) {
			writeEvents(w, nil, tokenEvent, tokenEvent, tokenEvent)
			<-deferred
			writeEvents(w, nil, lastEvents)
		})
		c := newClient(t, s.url, s.client)
		conn := deferUntilEnd(t, c, deferred)
		require.True(t, conn.conn.LooksOver())
		require.False(t, c.endMissed.Load())
	})
}

func TestDeferReads_UnforeseenEndIsWaitedForOnce(t *testing.T) {
	stamps(t, StampsSocket) // the ring has more reasons to look at a connection
	// On a busy machine the thread may look at the connection for another reason first: once in ten times it does not.
	for attempt := range 10 {
		deferred := make(chan struct{})
		url, options := serveTLS(t, deferred, func(w io.Writer) {
			// One record, as large as those before.
			_, _ = io.WriteString(w, chunk(lastEvents)+"0\r\n\r\n")
		})
		c := newClient(t, url, options)
		conn := deferUntilEnd(t, c, deferred)
		if !c.endMissed.Load() {
			t.Logf("attempt %d: the end was seen before deferTime was over", attempt+1)
			continue
		}
		conn.setReadMode(deferUntilRecord)
		require.Zero(t, conn.endMark, "it is read as it comes from now on")
		return
	}
	t.Fatal("deferTime never ended the wait")
}

func TestDeferReads_CutStreamEndsWithItsConnection(t *testing.T) {
	// The dispatching goroutine is held up while the server closes: the end is when the thread saw it, not when it is parsed.
	stamps(t, StampsSocket)
	written, cut := make(chan struct{}), make(chan struct{})
	s := serve(t, listen(t), func(w net.Conn, _ []byte, _ int) bool {
		_, _ = io.WriteString(w, streamHead+token("a"))
		close(written)
		<-cut
		return false
	})
	c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", nil)
	ends := make(chan *Measurement, 1)
	c.Prepare(t.Context(), &Request{Body: []byte("{}")}).Send(t.Context(), func(m *Measurement) { ends <- m })
	<-written

	l := listen(t)
	dialed, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	peer, err := l.Accept()
	require.NoError(t, err)
	held, release := make(chan struct{}), make(chan struct{})
	other, err := sharedReader().AddTCP(dialed.(*net.TCPConn), func(*reader.Conn) {
		close(held)
		<-release
	})
	require.NoError(t, err)
	require.False(t, other.Want(1, reader.NoEndMark))
	_, err = peer.Write([]byte("x"))
	require.NoError(t, err)
	<-held

	close(cut)
	const heldUp = 300 * time.Millisecond
	began := clock.Now()
	for clock.Now() < began+int64(heldUp) {
		time.Sleep(heldUp / 10)
	}
	close(release)
	m := <-ends
	require.Equal(t, stream.Truncated, m.Failure, m.Message)
	require.Less(t, m.EndNs, began+int64(heldUp)*2/3)
	require.GreaterOrEqual(t, m.EndNs, m.LastOutputNs)
	m.Release()
	other.Close(false)
	_ = peer.Close()
	_ = l.Close()
}
