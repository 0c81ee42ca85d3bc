package module

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"strings"
	"time"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/client"
)

// fetchOptions are the options of fetch of index.d.ts.
type fetchOptions struct {
	Method    string            `js:"method"`
	Headers   map[string]string `js:"headers"`
	Body      string            `js:"body"`
	TimeoutMs float64           `js:"timeoutMs"`
}

// httpReply is HttpReply of index.d.ts.
type httpReply struct {
	Status int    `js:"status"`
	Body   string `js:"body"`
	Error  string `js:"error"`
}

const (
	fetchTimeoutMs = 10_000
	fetchMaxBytes  = 64 << 20
)

// fetch is `fetch(url, options?)`. It works in setup, teardown and VU code, and in the init context without k6's host
// settings.
func (i *instance) fetch(url string, optionsV sobek.Value) (*httpReply, error) {
	var o fetchOptions
	if optionsV != nil && !sobek.IsUndefined(optionsV) && !sobek.IsNull(optionsV) {
		if err := decode(i.vu.Runtime(), optionsV, &o); err != nil {
			return nil, err
		}
	}
	if o.TimeoutMs <= 0 {
		o.TimeoutMs = fetchTimeoutMs
	}
	if o.Method == "" {
		o.Method = http.MethodGet
	}
	ctx, cancel := context.WithTimeout(i.vu.Context(), time.Duration(o.TimeoutMs*1e6))
	defer cancel()
	transport := i.httpTransport()
	defer transport.CloseIdleConnections()
	let, err := i.root.authorize(transport, o.Headers)
	if err != nil {
		return nil, err
	}
	return httpDo(ctx, &http.Client{Transport: let}, url, o), nil
}

func httpDo(ctx context.Context, c *http.Client, url string, o fetchOptions) *httpReply {
	address, socket := url, ""
	if rest, ok := strings.CutPrefix(url, "unix://"); ok { // as client.Options.URL
		socket, address, _ = strings.Cut(rest, ":")
		address = "http://localhost" + address
		ctx = context.WithValue(ctx, socketKey{}, socket)
	}
	req, err := http.NewRequestWithContext(ctx, o.Method, address, strings.NewReader(o.Body))
	if err != nil {
		return &httpReply{Error: fmt.Sprintf("%s %q is not a request that can be sent", o.Method, client.Redact(url))}
	}
	if o.Body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(req)
	if err != nil {
		var ofURL *neturl.Error
		if errors.As(err, &ofURL) {
			err = ofURL.Err // without the address, which may hold a password
		}
		return &httpReply{Error: err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, fetchMaxBytes+1))
	if err == nil && len(body) > fetchMaxBytes {
		err = fmt.Errorf("the answer is larger than %d bytes", fetchMaxBytes)
	}
	reply := &httpReply{Status: resp.StatusCode, Body: string(body)}
	if err != nil {
		reply.Error = err.Error()
	}
	return reply
}

// socketKey finds the path of the Unix socket in the context of a request that goes to one.
type socketKey struct{}

// httpTransport is for unmeasured requests: under the VU's dialer and TLS settings, but with connections of its own.
func (i *instance) httpTransport() *http.Transport {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: new(net.Dialer).DialContext}
	if state := i.vu.State(); state != nil {
		t.DialContext = state.Dialer.DialContext
		t.TLSClientConfig = state.TLSConfig.Clone()
	}
	t.TLSClientConfig = i.root.access.Load().Secure(t.TLSClientConfig)
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if socket, ok := ctx.Value(socketKey{}).(string); ok {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		return dial(ctx, network, address)
	}
	return t
}
