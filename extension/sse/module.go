// Package sse is the k6 module k6/x/sse: the documented API of xk6-sse (github.com/phymbert/xk6-sse) on tokenclock's
// connections, so that existing scripts run unchanged and their events carry the time they arrived.
package sse

import (
	"context"
	"net/url"
	"sync"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/js/modules"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"golang.org/x/net/http/httpproxy"

	"github.com/tokenclock/tokenclock/extension/internal/client"
)

// Module is the k6 module, one per process.
type Module struct{}

// instance is one per VU. It keeps the VU's connections.
type instance struct {
	vu        modules.VU
	event     *eventMetric
	exports   *sobek.Object
	transport *client.StreamTransport
	iteration int64
}

var (
	_ modules.Module   = &Module{}
	_ modules.Instance = &instance{}
)

// New returns the module.
func New() *Module { return &Module{} }

// NewModuleInstance implements modules.Module.
func (*Module) NewModuleInstance(vu modules.VU) modules.Instance {
	rt := vu.Runtime()
	i := &instance{vu: vu, exports: rt.NewObject()}
	var err error
	if i.event, err = registerEventMetric(vu.InitEnv().Registry); err != nil {
		common.Throw(rt, err)
	}
	if err := i.exports.Set("open", i.open); err != nil {
		common.Throw(rt, err)
	}
	return i
}

// Exports implements modules.Instance: a default export only, as xk6-sse has.
func (i *instance) Exports() modules.Exports { return modules.Exports{Default: i.exports} }

// proxyFromEnvironment follows HTTP_PROXY, HTTPS_PROXY and NO_PROXY as k6 does.
var proxyFromEnvironment = sync.OnceValue(func() func(*url.URL) (*url.URL, error) {
	return httpproxy.FromEnvironment().ProxyFunc()
})

// connections returns the VU's transport. As in k6's own client, its connections outlive an iteration, unless
// noVUConnectionReuse says otherwise; the VU's context does not, so it says nothing about when to close them.
func (i *instance) connections(state *lib.State) *client.StreamTransport {
	if i.transport == nil {
		i.transport = client.NewStreamTransport(client.Options{
			TLS: state.TLSConfig, Proxy: proxyFromEnvironment(), NoReuse: state.Options.NoConnectionReuse.Bool,
			Dial: func(ctx context.Context, network, address string) (client.Counted, error) {
				conn, err := state.Dialer.DialContext(ctx, network, address)
				if err != nil {
					return client.Counted{}, err
				}
				if k6conn, ok := conn.(*netext.Conn); ok {
					return client.Counted{Conn: k6conn.Conn, Received: k6conn.BytesRead, Sent: k6conn.BytesWritten}, nil
				}
				return client.Counted{Conn: conn}, nil
			},
		})
	}
	if state.Options.NoVUConnectionReuse.Bool && i.iteration != state.Iteration {
		i.transport.CloseIdle()
	}
	i.iteration = state.Iteration
	return i.transport
}
