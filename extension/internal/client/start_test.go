package client

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

func started(t *testing.T, c *Client, r *Request) <-chan *Measurement {
	t.Helper()
	ended := make(chan *Measurement, 1)
	c.Start(t.Context(), r, func(m *Measurement) { ended <- m })
	return ended
}

func TestStartMeasuresAsDoDoesAndReusesConnections(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		s := serve(t, listen(t), answerThree)
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.Streamed = streamed })
		for k := range 3 {
			beforeNs := clock.Now()
			m := <-started(t, c, &Request{ID: "x", Body: []byte("{}")})
			require.Equal(t, stream.None, m.Failure, m.Message)
			require.Equal(t, 3, m.OutputTokens)
			require.Equal(t, k > 0, m.Reused)
			require.GreaterOrEqual(t, m.StartedNs, beforeNs)
			require.GreaterOrEqual(t, m.SentNs, m.StartedNs+m.ConnectNs, "it starts before its connection is opened, as with Do")
			m.Release()
		}
		require.EqualValues(t, 1, s.connections.Load())
	})
}

func TestStart_DoesNotWait(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, listen(t), answerThree)
	c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, address string) (Counted, error) {
			<-release
			return dial(ctx, network, address)
		}
	})
	first := started(t, c, &Request{ID: "1", Body: []byte("{}")}) // returns although nobody may connect
	close(release)
	require.Equal(t, stream.None, (<-first).Failure)

	// A server that reads no further than the head: the rest of a large request finds no room.
	l := listen(t)
	read := make(chan struct{})
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				buf := make([]byte, 64)
				_, _ = conn.Read(buf)
				<-read
			}()
		}
	}()
	deaf := newClient(t, "http://"+l.Addr().String()+"/v1/completions", nil)
	large := started(t, deaf, &Request{ID: "2", Body: []byte(strings.Repeat("x", 64<<20))})
	select {
	case m := <-large:
		t.Fatalf("ended with %v while nobody read it", m.Failure)
	case <-time.After(time.Millisecond):
	}
	close(read)
	require.Equal(t, stream.Reset, (<-large).Failure)
}

func TestStart_InvalidRequestIsNotSent(t *testing.T) {
	c := newClient(t, "http://127.0.0.1:1/v1/completions", nil)
	m := <-started(t, c, &Request{ID: "x", Method: "HEAD"})
	require.Equal(t, stream.Connect, m.Failure)
	require.Contains(t, m.Message, "method HEAD is not supported")
	require.Zero(t, m.SentNs)
	var opError *net.OpError
	m = <-started(t, c, &Request{ID: "x", Body: []byte("{}")})
	require.ErrorAs(t, m.x.err, &opError)
}
