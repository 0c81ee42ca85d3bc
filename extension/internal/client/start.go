package client

import (
	"context"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// inlineBytes of a request fit into the socket of an idle connection, so that writing them does not block.
const inlineBytes = 16 << 10

// Start sends one request and returns at once, without waiting for a connection, for room in the socket or for the response.
// done is called once, from any goroutine, when the request has ended; it must not block. The request's Body may be gone then.
func (c *Client) Start(ctx context.Context, r *Request, done func(*Measurement)) {
	x := newExchange(c, r)
	x.m.StartedNs = clock.Now()
	x.reset()
	if c.o.Credentials != nil && !c.o.Credentials.Ready() {
		go func() { // a key is waited for
			x.prepare(ctx, r)
			x.sendAsync(ctx, done)
		}()
		return
	}
	x.build(ctx, r)
	if x.err == nil && !c.o.HTTP2 {
		r.Body = nil // it is in buf; a long prompt must not be there twice while its response is awaited
	}
	if x.err == nil && len(x.buf)+len(r.Body) <= inlineBytes {
		if l, ok := c.idle.take(linkKey{x.t.network, x.t.address, x.t.tls}); ok {
			x.l, x.m.Reused = l, true
			x.sendAsync(ctx, done)
			return
		}
	}
	go func() {
		if x.err == nil {
			x.connect(ctx, false)
		}
		x.sendAsync(ctx, done)
	}()
}
