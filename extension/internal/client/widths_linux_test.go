//go:build linux && (amd64 || arm64)

package client

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/reader"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// On a slow machine a pause may not keep two receives apart, so whoever needs that tries several times.
const (
	deferredPause = 30 * time.Millisecond
	deferredTries = 100
)

// A server sends two chunks at once, then one, then what ends the stream. By the socket's times, and by the client's own,
// only the first of the two is uncertain: by less than the time since the last look at the socket, and never by more than
// the time since the request was sent.
func TestWidths_ChunkBeforeAnotherOfItsReceiveIsUncertain(t *testing.T) {
	steps := func(write func(string), chunk func(string) string) {
		for _, step := range []string{chunk(tokenEvent) + chunk(tokenEvent), chunk(tokenEvent), chunk(lastEvents)} {
			time.Sleep(deferredPause) // apart, so that they come in receives of their own
			write(step)
		}
	}
	http1 := func(w io.Writer) {
		write := func(s string) { _, _ = io.WriteString(w, s) }
		write(streamHead)
		steps(write, chunk)
		write("0\r\n\r\n")
	}
	plain := func(t *testing.T) (string, func(*Options)) {
		l := listen(t)
		serve(t, l, func(w net.Conn, _ []byte, _ int) bool { http1(w); return true })
		return "http://" + l.Addr().String() + "/", nil
	}
	two := func(secure bool) func(*testing.T) (string, func(*Options)) {
		return func(t *testing.T) (string, func(*Options)) {
			s := serveHTTP2(t, secure, func(w http.ResponseWriter, _ *http.Request) {
				steps(func(step string) { writeEvents(w, nil, step) }, func(event string) string { return event })
			})
			return s.url, s.client
		}
	}
	for _, tt := range []struct {
		over     string
		stamps   Stamps
		noReader bool
		serve    func(*testing.T) (url string, options func(*Options))
	}{
		{"the reader thread", StampsSocket, false, plain},
		{"Go's poller", StampsSocket, true, plain},
		{"the client's own times", StampsUser, true, plain},
		{"TLS", StampsSocket, false, func(t *testing.T) (string, func(*Options)) {
			return serveOverTLS(t, func(p *bodyPeer) {
				for p.request() != nil {
					http1(p.Conn)
				}
			})
		}},
		{"HTTP/2", StampsSocket, false, two(false)},
		{"HTTP/2 and TLS", StampsSocket, false, two(true)},
	} {
		t.Run(tt.over, func(t *testing.T) {
			UseStamps(tt.stamps)
			defer UseStamps(StampsAuto)
			if tt.noReader {
				shared := sharedReader
				sharedReader = func() *reader.Reader { return nil }
				defer func() { sharedReader = shared }()
			}
			url, options := tt.serve(t)
			c := newClient(t, url, options)
			for range deferredTries {
				m := c.Do(t.Context(), &Request{Body: []byte("{}")})
				require.Equal(t, stream.None, m.Failure, m.Message)
				require.Len(t, m.Arrivals, 3)
				require.Positive(t, m.Arrivals[0].WidthNs)
				for _, a := range m.Arrivals {
					require.LessOrEqual(t, a.WidthNs, a.AtNs-m.SentNs)
				}
				apart := m.Arrivals[1].WidthNs == 0 && m.Arrivals[2].WidthNs == 0
				m.Release()
				if apart {
					return
				}
			}
			t.Fatal("each time a chunk that was sent alone was uncertain, too")
		})
	}
}
