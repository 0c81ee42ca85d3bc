// Package sse is the k6 module k6/x/sse: the API of xk6-sse (github.com/phymbert/xk6-sse) on tokenclock's connections, so
// that existing scripts run unchanged and their events carry the time they arrived.
package sse

import (
	"errors"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/js/modules"
	"go.k6.io/k6/v2/lib"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/vunet"
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
	if err := errors.Join(i.exports.Set("open", i.open), i.exports.Set("openAsync", i.openAsync)); err != nil {
		common.Throw(rt, err)
	}
	return i
}

// Exports implements modules.Instance: a default export only, as xk6-sse has.
func (i *instance) Exports() modules.Exports { return modules.Exports{Default: i.exports} }

// connections returns the VU's transport. As in k6's own client, its connections outlive an iteration, unless
// noVUConnectionReuse says otherwise; the VU's context does not, so it says nothing about when to close them.
func (i *instance) connections(state *lib.State) *client.StreamTransport {
	if i.transport == nil {
		i.transport = client.NewStreamTransport(client.Options{
			Dial: vunet.Dial(state), TLS: state.TLSConfig, Proxy: vunet.Proxy(), NoReuse: state.Options.NoConnectionReuse.Bool,
		})
	}
	if state.Options.NoVUConnectionReuse.Bool && i.iteration != state.Iteration {
		i.transport.CloseIdle()
	}
	i.iteration = state.Iteration
	return i.transport
}
