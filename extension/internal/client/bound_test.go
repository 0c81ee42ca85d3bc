package client

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

func TestHeadersThatAreBoundGoToTheirServersOnly(t *testing.T) {
	const own = "https://gpu.example.com/v1"
	elsewhere := []string{
		"http://gpu.example.com/v1", "https://gpu.example.com:8443/v1", "https://other.example.com/v1", "https://gpu.example.com.evil/v1",
		"https://gpu.example.com@evil.example/v1", "https://evil.example#@gpu.example.com/", "unix:///run/x:/v1",
	}
	c, err := New(Options{URL: own, Bound: true})
	require.NoError(t, err)
	for _, url := range elsewhere {
		require.ErrorContains(t, c.Check(&Request{URL: url}), "another server", url)
	}
	for _, url := range []string{own, "https://gpu.example.com:443/x?y", "https://GPU.example.com/x", "https://u:p@gpu.example.com/x", ""} {
		require.NoError(t, c.Check(&Request{URL: url}), url)
	}
	more, err := New(Options{URL: own, Bound: true, Origins: []string{"https://other.example.com"}})
	require.NoError(t, err)
	require.NoError(t, more.Check(&Request{URL: elsewhere[2]}))
	require.ErrorContains(t, more.Check(&Request{URL: elsewhere[1]}), "another server")
	free, err := New(Options{URL: own})
	require.NoError(t, err)
	for _, url := range elsewhere {
		require.NoError(t, free.Check(&Request{URL: url}), "nothing is private")
	}
	_, err = New(Options{URL: own, Bound: true, Origins: []string{"other"}})
	require.Error(t, err)
}

func TestMeasuredRequestsFollowNoRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other server was asked") }))
	defer other.Close()
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}))
		protocols := &http.Protocols{}
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		server.Config.Protocols = protocols
		server.Start()
		c, err := New(Options{URL: server.URL, HTTP2: http2, Header: []Field{{"X-Api-Key", key}}, Stream: stream.Options{API: stream.Chat}, Dial: dialTCP})
		require.NoError(t, err)
		m := c.Do(t.Context(), &Request{Body: []byte("{}"), ID: "tc-1"})
		require.Equal(t, 307, m.Status, m.Message)
		require.Contains(t, m.Message, "which is not followed")
		m.Release()
		c.CloseIdle()
		server.Close()
	}
}
