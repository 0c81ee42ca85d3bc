package client

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// fourTokens are sent at once, and nothing behind them.
const fourTokens = 4

func requireEnough(t *testing.T, c *Client, more func(*Request)) {
	for _, n := range []int{1, fourTokens} {
		r := &Request{Body: []byte("{}"), AbortAfterTokens: n}
		if more != nil {
			more(r)
		}
		m := c.Do(t.Context(), r)
		require.Equal(t, stream.Aborted, m.Failure, m.Message)
		require.Contains(t, m.Message, "output tokens, on purpose")
		require.Len(t, m.Arrivals, fourTokens)
		m.Release()
	}
}

func TestAbandonAfterTokens_EndsTheRequest(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		hold := make(chan struct{})
		defer close(hold)
		s := serve(t, listen(t), func(w net.Conn, _ []byte, _ int) bool {
			head := streamHead
			for range fourTokens {
				head += token("a")
			}
			_, _ = io.WriteString(w, head)
			<-hold
			return false
		})
		requireEnough(t, newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.Streamed = streamed }), nil)
	})
}

func TestHTTP2ARequestIsGivenUpAfterSoManyTokens(t *testing.T) {
	transports(t, func(t *testing.T, secure bool) {
		s := serveHTTP2(t, secure, func(w http.ResponseWriter, r *http.Request) {
			writeEvents(w, nil, tokenEvent, tokenEvent, tokenEvent, tokenEvent)
			<-r.Context().Done()
		})
		requireEnough(t, newClient(t, s.url, s.client), nil)
	})
}

func TestAbandonAfterTokens_CompletedAnswerStaysCompleted(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		s := serve(t, listen(t), answerThree)
		c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) { o.Streamed = streamed })
		for _, n := range []int{3, 4} {
			m := c.Do(t.Context(), &Request{Body: []byte("{}"), AbortAfterTokens: n, KeepHeader: "Content-Type"})
			require.Equal(t, stream.None, m.Failure, m.Message)
			require.Equal(t, "text/event-stream", m.Header, "the header that was asked for")
			m.Release()
		}
	})
}
