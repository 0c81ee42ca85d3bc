package client

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// proxied sends everything through one proxy.
func proxied(address string) func(*url.URL) (*url.URL, error) {
	return func(*url.URL) (*url.URL, error) { return url.Parse(address) }
}

// testProxy opens tunnels to one port, and forwards plain requests, which may be for any host, to one handler.
type testProxy struct {
	address            string // with user and password
	tunnels, forwarded atomic.Int32
}

const proxyUser = "Basic cHJveHk6cGFzc3dvcmQ=" // proxy:password

func newTestProxy(t *testing.T, tunnelTo string, forward http.HandlerFunc) *testProxy {
	t.Helper()
	p := &testProxy{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Proxy-Authorization") != proxyUser:
			w.WriteHeader(http.StatusProxyAuthRequired)
		case r.Method == http.MethodConnect && r.Host != tunnelTo:
			w.WriteHeader(http.StatusForbidden) // as proxies do for ports other than 443
		case r.Method == http.MethodConnect:
			p.tunnels.Add(1)
			server, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.Host)
			if err != nil {
				return
			}
			client, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			_, _ = io.Copy(client, server)
			_ = client.Close()
		case !r.URL.IsAbs():
			w.WriteHeader(http.StatusBadRequest) // it is no server
		default:
			p.forwarded.Add(1)
			forward(w, r)
		}
	}))
	t.Cleanup(s.Close)
	p.address = strings.Replace(s.URL, "://", "://proxy:password@", 1)
	return p
}

func TestProxy_ForwardsHTTPAndTunnelsTLS(t *testing.T) {
	secure := serveHTTP2(t, true, answerHTTP2)
	forward := func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "http://llm.internal:8000/v1/completions?x=1" || r.Host != "llm.internal:8000" {
			http.Error(w, r.RequestURI+" "+r.Host, http.StatusBadRequest)
			return
		}
		answerHTTP2(w, r)
	}
	modes(t, func(t *testing.T, streamed bool) {
		p := newTestProxy(t, "", forward)
		c := newClient(t, "http://llm.internal:8000/v1/completions?x=1", func(o *Options) {
			o.Proxy, o.Streamed = proxied(p.address), streamed
		})
		for i := range 3 {
			m := c.Do(t.Context(), &Request{Body: []byte("{}")})
			require.Equal(t, stream.None, m.Failure, m.Message)
			require.Equal(t, i > 0, m.Reused)
			m.Release()
		}
		require.EqualValues(t, 3, p.forwarded.Load())
	})
	t.Run("TLS", func(t *testing.T) {
		host := strings.TrimSuffix(strings.TrimPrefix(secure.url, "https://"), "/v1/completions")
		p := newTestProxy(t, host, forward)
		c := newClient(t, secure.url, func(o *Options) { secure.client(o); o.Proxy = proxied(p.address) })
		m := c.Do(t.Context(), &Request{Body: []byte("{}")})
		require.Equal(t, stream.None, m.Failure, m.Message)
		m.Release()
		require.EqualValues(t, 1, p.tunnels.Load())
		c.CloseIdle()
	})
	t.Run("an exchange", func(t *testing.T) {
		p := newTestProxy(t, "", forward)
		tr := streamTransport(t, Options{Proxy: proxied(p.address)})
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://llm.internal:8000/v1/completions?x=1", strings.NewReader("{}"))
		require.NoError(t, err)
		resp, _, err := tr.Do(r)
		require.NoError(t, err)
		body, err := all(t, resp)
		require.ErrorIs(t, err, io.EOF)
		require.Contains(t, body, "[DONE]")
		require.Empty(t, r.Header.Get("Proxy-Authorization"), "the caller's request stays as it is")
	})
}

func TestProxiesThatAreNotSupportedAreNamed(t *testing.T) {
	for _, scheme := range []string{"https", "socks5"} {
		_, err := New(Options{URL: "http://x/", Proxy: proxied(scheme + "://proxy:1")})
		require.ErrorContains(t, err, scheme+"://")
		require.ErrorContains(t, err, "only http://")
		_, _, err = streamTransport(t, Options{Proxy: proxied(scheme + "://proxy:1")}).Do(request(t, t.Context(), "GET", "http://x/"))
		require.ErrorContains(t, err, "only http://")
	}
	unix, err := New(Options{URL: "unix:///x:/", Proxy: proxied("socks5://proxy:1")})
	require.NoError(t, err)
	require.Nil(t, unix.t.proxy, "a socket of this machine has none")
}
