// Package vunet reaches servers the way k6's own HTTP client does: by the VU's dialer, with its hosts, blocks and byte
// counts, and through the proxy of the environment.
package vunet

import (
	"context"
	"net/url"
	"sync"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"golang.org/x/net/http/httpproxy"

	"github.com/tokenclock/tokenclock/extension/internal/client"
)

// Proxy returns the rule of HTTP_PROXY, HTTPS_PROXY and NO_PROXY, read once.
var Proxy = sync.OnceValue(func() func(*url.URL) (*url.URL, error) {
	return httpproxy.FromEnvironment().ProxyFunc()
})

// Dial connects by the VU's dialer. Its connection is taken out of k6's wrapper, which hides the descriptor, and counted
// where k6 counts.
func Dial(state *lib.State) func(ctx context.Context, network, address string) (client.Counted, error) {
	return func(ctx context.Context, network, address string) (client.Counted, error) {
		conn, err := state.Dialer.DialContext(ctx, network, address)
		if err != nil {
			return client.Counted{}, err
		}
		if k6conn, ok := conn.(*netext.Conn); ok {
			return client.Counted{Conn: k6conn.Conn, Received: k6conn.BytesRead, Sent: k6conn.BytesWritten}, nil
		}
		return client.Counted{Conn: conn}, nil
	}
}
