package simulate

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Over TLS, with HTTP/1.1 and HTTP/2, the same endpoints, tokens, faults and truth.
func TestTLS(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		s := start(t, func(c *Config) {
			paced(5*time.Millisecond, time.Millisecond)(c)
			c.TLS = true
		})
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!h2)
		protocols.SetHTTP2(h2)
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: protocols}
		client := &http.Client{Transport: transport, Timeout: testLimit}
		t.Cleanup(transport.CloseIdleConnections)

		response, err := client.Get(s.URL + "/health")
		require.NoError(t, err)
		_ = response.Body.Close()
		require.Equal(t, map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2], response.Proto)
		for range 3 {
			r := askWith(t, client, s, "POST", pathChat, faulty(""), "X-Request-Id", "mine")
			require.NoError(t, r.err)
			require.Len(t, r.events(), 12)
		}
		require.Len(t, askWith(t, client, s, "GET", "/tokenizer?output_tokens=300000", "").field("output_text").String(), 300_000*tokenBytes)
		require.Error(t, askWith(t, client, s, "POST", pathChat, faulty(`"cut":4`)).err)
		require.Equal(t, 503, askWith(t, client, s, "POST", pathChat, faulty(`"status":503`)).status)
		big := askWith(t, client, s, "POST", pathChat, faulty(`"huge":2,"hugeBytes":5000000`))
		require.NoError(t, big.err)
		require.Greater(t, len(big.body), 5_000_000)
		truth := s.Truth().Requests[0]
		require.Equal(t, "mine", truth.ID)
		requireKernelBegins(t, s.Truth())
		require.GreaterOrEqual(t, truth.SendsNs[0][0]-truth.BeginNs, 5*ms)
	}
}

// A client that leaves a TLS connection frees its place, and bytes that are no TLS do no harm.
func TestTLSDisconnect(t *testing.T) {
	s := start(t, func(c *Config) {
		paced(0, time.Millisecond)(c)
		c.TLS = true
	})
	nc, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "https://"), &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	_, err = nc.Write(post(pathCompletions, `{"prompt":"a","max_tokens":8000,"ignore_eos":true,"stream":true}`))
	require.NoError(t, err)
	_, err = nc.Read(make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, nc.NetConn().Close())
	require.Eventually(t, func() bool { return s.Truth().LiveCount == 0 }, testLimit, time.Millisecond)

	plain := dial(t, &Server{URL: "http://" + strings.TrimPrefix(s.URL, "https://")})
	say(t, plain, []byte("GET / HTTP/1.1\r\n\r\n"))
	for err == nil {
		_, err = plain.Read(make([]byte, 100))
	}
}
