package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// open is `sse.open(url, params?, setup)`. It returns when the stream has ended. All JavaScript runs here, on the VU's
// goroutine; what arrives meanwhile is stamped elsewhere and waits.
//
// As in xk6-sse, setup is called when the head of the response is there; without one there is nobody to tell, and the
// error is in the response, or thrown if k6's option `throw` is set.
func (i *instance) open(url string, args ...sobek.Value) (*Response, error) {
	state, vuCtx, rt := i.vu.State(), i.vu.Context(), i.vu.Runtime()
	if state == nil {
		return nil, common.NewInitContextError("sse.open cannot be used in the init context")
	}
	p, err := parseParams(state, rt, args)
	if err != nil {
		return nil, err
	}
	ctx := vuCtx
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.timeout)
		defer cancel()
	}
	maxRedirects := int64(10)
	if state.Options.MaxRedirects.Valid {
		maxRedirects = state.Options.MaxRedirects.Int64
	}
	c := &call{
		url: url, p: p, ctx: ctx, rt: rt,
		hops:   &hops{transport: i.connections(state), report: &reporter{ctx: vuCtx, state: state, event: i.event, tags: p.tags}},
		client: &Client{handlers: map[string][]sobek.Callable{}},
	}
	err = c.connect(int(maxRedirects))
	if err != nil {
		c.hops.end(err)
		if state.Options.Throw.Bool {
			return nil, err
		}
		return newResponse(url, nil, c.hops.x, err), nil
	}
	return c.stream()
}

// call is one call of sse.open.
type call struct {
	url    string
	p      *params
	ctx    context.Context
	rt     *sobek.Runtime
	hops   *hops
	client *Client
}

// connect sends the request, follows redirects and returns with the head of the response in hops.
func (c *call) connect(maxRedirects int) error {
	req, err := http.NewRequestWithContext(c.ctx, c.p.method, c.url, strings.NewReader(c.p.body))
	if err != nil {
		return err
	}
	req.Header = c.p.header
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	hc := http.Client{Transport: c.hops, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	if c.p.jar != nil {
		hc.Jar = c.p.jar
	}
	resp, err := hc.Do(req)
	if err != nil && resp != nil {
		_ = resp.Body.Close()
	}
	return err
}

// stream runs the script's function and hands it the events until the stream ends, one way or another.
func (c *call) stream() (r *Response, err error) {
	h := c.hops
	body, ok := h.resp.Body.(*client.Body)
	if !ok {
		return nil, fmt.Errorf("sse: the body is a %T", h.resp.Body) // net/http would have wrapped it: not seen up to Go 1.26
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
	if _, err := c.p.setup(sobek.Undefined(), c.rt.ToValue(c.client)); err != nil {
		return nil, err
	}
	if err := c.client.fire("open"); err != nil {
		return nil, err
	}
	tags := h.report.tagsOf(h.req, h.resp, h.x)
	var (
		s     splitter
		jsErr error // the exception of a callback
	)
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
	lastNs := clock.Now()
	for going() {
		data, atNs, _, readErr := body.Next()
		if readErr == nil {
			s.feed(data, atNs, onEvent, onUnknown)
			lastNs, readErr = atNs, s.d.Err()
		}
		if errors.Is(readErr, io.EOF) {
			s.end(lastNs, onEvent)
			break
		}
		if readErr != nil {
			if streamErr = c.explain(readErr); going() && !errors.Is(readErr, context.Canceled) {
				jsErr = c.client.fire("error", c.rt.ToValue(streamErr))
			}
			break
		}
	}
	if jsErr != nil {
		return nil, jsErr
	}
	return newResponse(c.url, h.resp, h.x, streamErr), nil
}

// explain puts a read error into words.
func (c *call) explain(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no end of the stream within %v: %w", c.p.timeout.Round(time.Millisecond), err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("the run ended before the stream: %w", err)
	}
	return fmt.Errorf("reading the stream: %w", err)
}

// hops is the http.RoundTripper of one call: each redirect is a request with samples of its own.
type hops struct {
	transport *client.StreamTransport
	report    *reporter

	req  *http.Request // the last one, whose samples are still to be emitted; nil = none
	resp *http.Response
	x    *client.Exchange
}

// RoundTrip implements http.RoundTripper.
func (h *hops) RoundTrip(req *http.Request) (*http.Response, error) {
	h.end(nil)
	var err error
	h.req = req
	h.resp, h.x, err = h.transport.Do(req)
	return h.resp, err
}

// end emits the last request's samples.
func (h *hops) end(err error) {
	if h.req != nil {
		h.report.exchange(h.report.tagsOf(h.req, h.resp, h.x), h.resp, h.x, err)
	}
	h.req = nil
}
