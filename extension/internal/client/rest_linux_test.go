//go:build linux && (amd64 || arm64)

package client

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// restingPause lets the client read the head and come to rest before the stream ends. On a slow machine it may not
// suffice, so whoever needs a rest tries several times.
const (
	restingPause = 30 * time.Millisecond
	restingTries = 100
)

// serveTLS answers streams over HTTP/1.1 and TLS; end writes the last events and the end of the body.
func serveTLS(t *testing.T, end func(w io.Writer)) (url string, options func(*Options)) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	config := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	certificates := s.TLS.Certificates
	s.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	secure := serve(t, l, func(w net.Conn, _ []byte, _ int) bool {
		_, _ = io.WriteString(w, streamHead+token("a")+token("b")+token("c"))
		time.Sleep(restingPause)
		end(w)
		return true
	})
	return "https://" + secure.Addr().String() + "/v1/completions", func(o *Options) { o.TLS = config }
}

// connection is the one that the client's last request left.
func connection(t *testing.T, c *Client) *readerConn {
	t.Helper()
	require.Len(t, c.idle.list, 1)
	if l, ok := c.idle.list[0].(*http2Link); ok {
		return l.seg.(*readerConn)
	}
	return c.idle.list[0].(*blockingLink).seg.(*readerConn)
}

// foresees sends requests until the end of one was foreseen, and fails if one was not foreseen that should have been.
func foresees(t *testing.T, c *Client) {
	t.Helper()
	for range restingTries {
		m := c.Do(t.Context(), &Request{Body: []byte("{}")})
		require.Equal(t, stream.None, m.Failure, m.Message)
		require.Equal(t, 3, m.OutputTokens)
		m.Release()
		require.False(t, c.unforeseen.Load())
		if connection(t, c).conn.LooksOver() {
			return
		}
	}
	t.Fatal("no stream came to rest")
}

func TestAStreamOverTLSRestsUntilItsEnd(t *testing.T) {
	url, options := serveTLS(t, func(w io.Writer) {
		_, _ = io.WriteString(w, chunk(lastEvents))
		_, _ = io.WriteString(w, "0\r\n\r\n")
	})
	foresees(t, newClient(t, url, options))
}

func TestAStreamOverHTTP2RestsUntilItsEnd(t *testing.T) {
	transports(t, func(t *testing.T, secure bool) {
		s := serveHTTP2(t, secure, func(w http.ResponseWriter, _ *http.Request) {
			writeEvents(w, nil, tokenEvent, tokenEvent, tokenEvent)
			time.Sleep(restingPause)
			writeEvents(w, nil, lastEvents)
		})
		foresees(t, newClient(t, s.url, s.client))
	})
}

func TestAnEndThatIsNotForeseenIsWaitedForOnce(t *testing.T) {
	url, options := serveTLS(t, func(w io.Writer) { _, _ = io.WriteString(w, chunk(lastEvents)+"0\r\n\r\n") })
	c := newClient(t, url, options)
	for range restingTries {
		m := c.Do(t.Context(), &Request{Body: []byte("{}")})
		require.Equal(t, stream.None, m.Failure, m.Message)
		m.Release()
		if c.unforeseen.Load() {
			break
		}
	}
	require.True(t, c.unforeseen.Load(), "the last record is a large one")
	conn := connection(t, c)
	conn.rest(tlsEnding)
	require.Zero(t, conn.ending, "it is read as it comes from now on")
}
