package sse

import (
	"context"
	"errors"
	"fmt"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// open is `sse.open(url, params?, setup)`. It returns when the stream has ended. All JavaScript runs here, on the VU's
// goroutine; what arrives meanwhile is stamped elsewhere and waits.
//
// As in xk6-sse, setup is called when the head of the response is there; without one there is nobody to tell, and the
// error is in the response, or thrown if k6's option `throw` is set.
func (i *instance) open(url string, args ...sobek.Value) (*Response, error) {
	state, rt := i.vu.State(), i.vu.Runtime()
	if state == nil {
		return nil, common.NewInitContextError("sse.open cannot be used in the init context")
	}
	given, setup, err := openArguments(args)
	if err != nil {
		return nil, err
	}
	p, err := parseParams(state, rt, given)
	if err != nil {
		return nil, fmt.Errorf("sse.open: %w", err)
	}
	ctx, cancel := p.within(i.vu.Context())
	defer cancel()
	c := &call{
		request: i.newRequest(ctx, url, p), rt: rt, setup: setup,
		client: &Client{handlers: map[string][]sobek.Callable{}},
	}
	err = c.connect()
	if err != nil {
		c.hops.end(err)
		if state.Options.Throw.Bool {
			return nil, err
		}
		return newResponse(url, nil, c.hops.x, err), nil
	}
	return c.stream()
}

// openArguments takes what follows the URL apart: (setup) or (params, setup).
func openArguments(args []sobek.Value) (given sobek.Value, setup sobek.Callable, err error) {
	switch len(args) {
	case 1:
	case 2:
		given = args[0]
	default:
		return nil, nil, fmt.Errorf("sse.open takes a URL, optional params and a function; it got %d arguments after the URL", len(args))
	}
	setup, ok := sobek.AssertFunction(args[len(args)-1])
	if !ok {
		return nil, nil, errors.New("the last argument of sse.open must be a function")
	}
	return given, setup, nil
}

// call is one call of sse.open.
type call struct {
	*request
	rt     *sobek.Runtime
	setup  sobek.Callable
	client *Client
}

// stream runs the script's function and hands it the events until the stream ends, one way or another.
func (c *call) stream() (r *Response, err error) {
	h := c.hops
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	var streamErr error
	defer func() { // an exception in a callback ends the stream too
		_ = body.Close()
		h.end(streamErr)
		if r != nil {
			r.SentMs = unixMs(h.x.SentNs) // the kernel's own time may have come in since
		}
	}()
	c.client.SentMs = unixMs(h.x.SentNs)
	if _, err := c.setup(sobek.Undefined(), c.rt.ToValue(c.client)); err != nil {
		return nil, err
	}
	if err := c.client.fire("open"); err != nil {
		return nil, err
	}
	tags := h.report.tagsOf(h.req, h.resp, h.x)
	var jsErr error // the exception of a callback
	going := func() bool { return jsErr == nil && !c.client.closed }
	onEvent := func(ev stream.Event) {
		if going() {
			h.report.eventAt(&tags, ev.AtNs)
			jsErr = c.client.fire("event", c.rt.ToValue(newEvent(ev)))
		}
	}
	onUnknown := func(line string) {
		if going() {
			jsErr = c.client.fire("error", c.rt.ToValue(errors.New("unknown event: "+line)))
		}
	}
	if readErr := c.read(body, going, onEvent, onUnknown); readErr != nil {
		if streamErr = c.explain(readErr); going() && !errors.Is(readErr, context.Canceled) {
			jsErr = c.client.fire("error", c.rt.ToValue(streamErr))
		}
	}
	if jsErr != nil {
		return nil, jsErr
	}
	return newResponse(c.url, h.resp, h.x, streamErr), nil
}
