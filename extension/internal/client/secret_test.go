package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

const key = "sk-4f1d-never-shown"

func TestAddressesAreShownWithoutTheirUser(t *testing.T) {
	for address, want := range map[string]string{
		"http://host:8000/v1":                   "http://host:8000/v1",
		"http://user:" + key + "@host/v1":       "http://****@host/v1",
		"https://" + key + "@host/v1?a=b@c":     "https://****@host/v1?a=b@c",
		"http://host/users/a@b":                 "http://host/users/a@b",
		"http://user:" + key + " x/y@host/v1":   "http://****@host/v1", // cannot be read
		"user:" + key + "@host:8000":            "****@host:8000",
		"unix:///run/server.sock:/v1":           "unix:///run/server.sock:/v1",
		"localhost:8000":                        "localhost:8000",
		"ftp://user:" + key + "@host/v1":        "ftp://****@host/v1",
		"http://user:" + key + "%zz@host:80/v1": "http://****@host:80/v1",
	} {
		require.Equal(t, want, Redact(address))
	}
}

func TestSecretsOfOptionsStayOutOfErrors(t *testing.T) {
	for sentence, o := range map[string]Options{
		"a scheme that is none of ours":  {URL: "ftp://user:" + key + "@host/"},
		"a URL that cannot be read":      {URL: "http://user:" + key + "/x@host/"},
		"a port that is none":            {URL: "http://user:" + key + "@host:port/"},
		"a socket's path that is no URL": {URL: "unix://" + key + "@:%zz"},
		"a header with a line break":     {URL: "http://host/", Header: []Field{{"Authorization", "Bearer " + key + "\n"}}},
		"a header name with a space":     {URL: "http://host/", Header: []Field{{"X Key", key}}},
		"a proxy of another scheme":      {URL: "http://host/", Proxy: proxied("socks5://user:" + key + "@host")},
		"a proxy that cannot be read":    {URL: "http://host/", Proxy: proxied("http://user:" + key + "@host:port")},
	} {
		_, err := New(o)
		require.Error(t, err, sentence)
		require.NotContains(t, err.Error(), key, sentence)
	}
}

func TestSecretsStayOutOfMessages(t *testing.T) {
	// What a server or a library says is part of the message; what it quotes of the request's credentials is not.
	header := []Field{{"Authorization", "Bearer " + key}}
	quotes := func(t *testing.T, what string) string {
		s := serve(t, listen(t), func(w net.Conn, _ []byte, _ int) bool {
			_, _ = io.WriteString(w, "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n{\"error\":{\"message\":\""+what+"\"}}")
			return false
		})
		return "http://" + s.Addr().String() + "/v1/completions"
	}
	dead := listen(t)
	require.NoError(t, dead.Close())
	for _, tt := range []struct {
		sentence string
		url      string
		change   func(*Options)
		header   []Field
		want     stream.Failure
	}{
		{"a server that quotes the key", quotes(t, "Incorrect API key "+key+" provided"), func(o *Options) { o.Header = header }, nil, stream.HTTP4xx},
		{"a server that quotes the header", quotes(t, "not authorized: Bearer "+key), func(o *Options) { o.Header = header }, nil, stream.HTTP4xx},
		{"a message that is cut within the key", quotes(t, strings.Repeat("x", 300-12)+key), func(o *Options) { o.Header = header }, nil, stream.HTTP4xx},
		{"a key of one request", quotes(t, "no: "+key), nil, []Field{{"X-Api-Key", key}}, stream.HTTP4xx},
		{"a password of the URL", strings.Replace(quotes(t, "no: "+key), "://", "://user:"+key+"@", 1), nil, nil, stream.HTTP4xx},
		{"no server", "http://user:" + key + "@" + dead.Addr().String() + "/", func(o *Options) { o.Header = header }, nil, stream.Connect},
		{"a proxy that cannot be had", "http://host/", func(o *Options) {
			o.Header = header
			o.Proxy = proxied("http://user:" + key + "@" + dead.Addr().String())
		}, nil, stream.Connect},
		{"a proxy that quotes its password", "http://host/", func(o *Options) {
			u, err := url.Parse(quotes(t, "who is "+key))
			require.NoError(t, err)
			o.Proxy = proxied("http://user:" + key + "@" + u.Host)
		}, nil, stream.HTTP4xx},
		{"an error of the dialer's", "http://host/", func(o *Options) {
			o.Header = header
			o.Dial = func(context.Context, string, string) (Counted, error) { return Counted{}, errors.New("refused " + key) }
		}, nil, stream.Connect},
		{"a request's own address that cannot be used", "http://host/", func(o *Options) { o.URL = "http://host/" }, []Field{{"X-Key", key + "\n"}}, stream.Connect},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			c := newClient(t, tt.url, tt.change)
			m := c.Do(t.Context(), &Request{Body: []byte("{}"), Header: tt.header})
			require.Equal(t, tt.want, m.Failure, m.Message)
			require.NotEmpty(t, m.Message)
			require.NotContains(t, m.Message, key[:secretMin])
			m.Release()
		})
	}
}

func TestSecrets_UserOfAnAddressIsAuthorized(t *testing.T) {
	got := make(chan [2]string, 1)
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got <- [2]string{user, password}
	})
	plain := httptest.NewServer(h)
	t.Cleanup(plain.Close)
	two := serveHTTP2(t, false, h)
	for _, base := range []string{plain.URL + "/", two.url} {
		c := newClient(t, strings.Replace(base, "://", "://me:pass%20word@", 1), func(o *Options) {
			if base == two.url {
				two.client(o)
			}
		})
		c.Do(t.Context(), &Request{Body: []byte("{}")}).Release()
		require.Equal(t, [2]string{"me", "pass word"}, <-got)
		c.Do(t.Context(), &Request{Body: []byte("{}"), Header: []Field{{"authorization", "Basic eDp5"}}}).Release()
		require.Equal(t, [2]string{"x", "y"}, <-got, "what the user set takes its place")
	}
}

func TestHeadersOfTheUsersTakeTheDefaultsPlace(t *testing.T) {
	got := make(chan http.Header, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header["Host"] = []string{r.Host}
		got <- r.Header
	})
	plain := httptest.NewServer(h)
	t.Cleanup(plain.Close)
	two := serveHTTP2(t, false, h)
	for _, base := range []string{plain.URL + "/", two.url} {
		c := newClient(t, base, func(o *Options) {
			if base == two.url {
				two.client(o)
			}
			o.Header = []Field{{"content-type", "application/x-ndjson"}, {"host", "llm.example.com"}, {"X-Team", "search"}}
		})
		do := func(header ...Field) http.Header {
			m := c.Do(t.Context(), &Request{Body: []byte("{}"), ID: "ours", Header: header})
			defer m.Release()
			require.Equal(t, 200, m.Status, m.Message) // two Host lines are answered with 400
			return <-got
		}
		header := do(Field{"Accept", "text/plain"})
		require.Equal(t, []string{"application/x-ndjson"}, header["Content-Type"])
		require.Equal(t, []string{"text/plain"}, header["Accept"])
		require.Equal(t, []string{"test"}, header["User-Agent"])
		require.Equal(t, []string{"llm.example.com"}, header["Host"])
		require.Equal(t, []string{"ours"}, header["X-Request-Id"])
		header = do(Field{"Host", "other.example.com"}, Field{"x-team", "chat"}, Field{"x-request-id", "theirs"})
		require.Equal(t, []string{"other.example.com"}, header["Host"])
		require.Equal(t, []string{"chat"}, header["X-Team"], "a request's own header takes the place of the client's")
		require.Equal(t, []string{"theirs"}, header["X-Request-Id"])
	}
}

func TestEarlyAnswer_Counts(t *testing.T) {
	modes(t, func(t *testing.T, streamed bool) {
		l := listen(t)
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				w, err := l.Accept()
				if err != nil {
					return
				}
				if _, err := http.ReadRequest(bufio.NewReader(w)); err == nil {
					_, _ = io.WriteString(w, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
				}
				_ = w.Close() // with the body unread: a reset follows the answer
			}
		}()
		c := newClient(t, "http://"+l.Addr().String()+"/", func(o *Options) { o.Streamed = streamed })
		for range 3 {
			m := c.Do(t.Context(), &Request{Body: make([]byte, 32<<20)})
			require.Equal(t, stream.HTTP4xx, m.Failure, m.Message)
			require.Equal(t, 413, m.Status)
			require.Positive(t, m.SentNs)
			require.False(t, m.Reused)
			m.Release()
		}
	})
}
