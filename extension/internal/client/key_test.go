package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/auth"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// rotating is a server that takes one key at a time, kept in a file that credentials read.
type rotating struct {
	path    string
	valid   atomic.Pointer[string]
	refused atomic.Int64
	bodies  chan string
}

func newRotating(t *testing.T) *rotating {
	r := &rotating{path: filepath.Join(t.TempDir(), "key"), bodies: make(chan string, 64)}
	r.issue(t, key+"-1")
	r.accept(key + "-1")
	return r
}

func (r *rotating) issue(t *testing.T, key string) {
	require.NoError(t, os.WriteFile(r.path, []byte(key), 0o600))
}

func (r *rotating) accept(key string) { r.valid.Store(&key) }

func (r *rotating) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	if got := req.Header.Get("Authorization"); got != "Bearer "+*r.valid.Load() {
		r.refused.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"error":{"message":"Incorrect API key provided: %s"}}`, got)
		return
	}
	r.bodies <- string(body)
	w.Header().Set("Content-Type", "text/event-stream")
	for _, text := range []string{"a", "b", "c"} {
		_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"text\":%q}]}\n\n", text)
	}
	_, _ = io.WriteString(w, lastEvents)
}

func (r *rotating) credentials(t *testing.T) auth.Credentials {
	c, err := auth.New(auth.Spec{File: r.path}, auth.Options{})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestRefusedKey_IsRenewedAndTheRequestSentAgain(t *testing.T) {
	ways := map[string]func(c *Client, r *Request) *Measurement{
		"do": func(c *Client, r *Request) *Measurement { return c.Do(context.Background(), r) },
		"start": func(c *Client, r *Request) *Measurement {
			ended := make(chan *Measurement, 1)
			c.Start(context.Background(), r, func(m *Measurement) { ended <- m })
			return <-ended
		},
		"batch": func(c *Client, r *Request) *Measurement {
			ended := make(chan *Measurement, 1)
			c.Prepare(context.Background(), r).Send(context.Background(), func(m *Measurement) { ended <- m })
			return <-ended
		},
	}
	for way, send := range ways {
		for _, protocol := range []string{"reader thread", "blocking", "HTTP/2"} {
			t.Run(way+" "+protocol, func(t *testing.T) {
				r := newRotating(t)
				url, change := "", func(o *Options) { o.Streamed = protocol == "reader thread" }
				if protocol == "HTTP/2" {
					s := serveHTTP2(t, false, r.ServeHTTP)
					url, change = s.url, func(o *Options) { s.client(o) }
				} else {
					s := httptest.NewServer(r)
					t.Cleanup(s.Close)
					url = s.URL
				}
				c := newClient(t, url+"/v1/completions", func(o *Options) {
					change(o)
					o.Credentials = r.credentials(t)
					o.Keyed = []auth.Field{{Name: "Authorization", Value: "Bearer {{key}}"}}
				})
				body := bytes.Repeat([]byte("x"), 1000)
				request := func() *Request { return &Request{ID: "x", Body: bytes.Clone(body)} }
				m := send(c, request())
				require.Equal(t, stream.None, m.Failure, m.Message)
				require.Zero(t, m.KeyRetries)
				m.Release()
				require.Equal(t, string(body), <-r.bodies)

				r.issue(t, key+"-2")
				r.accept(key + "-2") // the first expires
				m = sendUntilRenewed(t, c, send, request)
				require.Equal(t, stream.None, m.Failure, m.Message)
				require.Equal(t, 1, m.KeyRetries)
				require.Equal(t, 3, m.OutputTokens)
				require.Positive(t, m.SetupNs)
				require.GreaterOrEqual(t, m.SentNs-m.StartedNs, m.SetupNs/2, "it is measured from its second send")
				require.LessOrEqual(t, m.SetupNs, clock.Now()-m.StartedNs)
				m.Release()
				require.Equal(t, string(body), <-r.bodies)

				r.accept(key + "-3") // which nobody has
				m = send(c, request())
				require.Equal(t, stream.HTTP4xx, m.Failure)
				require.Equal(t, 401, m.Status)
				require.NotContains(t, m.Message, key)
				require.Contains(t, m.Message, "Incorrect API key")
				m.Release()
			})
		}
	}
}

// sendUntilRenewed sends until the rest between two renewals is over; the requests before fail with 401.
func sendUntilRenewed(t *testing.T, c *Client, send func(*Client, *Request) *Measurement, request func() *Request) *Measurement {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		m := send(c, request())
		if m.Failure == stream.None || time.Now().After(deadline) {
			return m
		}
		require.Equal(t, 401, m.Status, m.Message)
		m.Release()
	}
}

func TestRefusedKey_RequestIsSentTwiceAtMost(t *testing.T) {
	r := newRotating(t)
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	c := newClient(t, s.URL+"/v1/completions", func(o *Options) { o.Credentials = always{} })
	m := c.Do(t.Context(), &Request{Body: []byte("{}")})
	require.Equal(t, 401, m.Status)
	require.Equal(t, 1, m.KeyRetries)
	require.EqualValues(t, 2, r.refused.Load())
	m.Release()
}

// always has another key, and none that the server takes.
type always struct{}

func (always) Ready() bool { return true }
func (always) Authorize(context.Context, auth.Outgoing) ([]auth.Field, uint64, error) {
	return []auth.Field{{Name: "Authorization", Value: "Bearer wrong"}}, 1, nil
}
func (always) Refused(status int, _ []byte) bool  { return status == http.StatusUnauthorized }
func (always) Renew(context.Context, uint64) bool { return true }
func (always) Secrets() []string                  { return nil }
func (always) Counts() auth.Counts                { return auth.Counts{} }
func (always) Close()                             {}
