package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// request is what sse.open and sse.openAsync share: a request with its redirects, its samples, and the reading of its
// stream. It calls no JavaScript by itself and belongs to one goroutine.
type request struct {
	url          string
	p            *params
	ctx          context.Context // its end ends the request
	hops         *hops
	maxRedirects int
}

// newRequest must be called on the VU's goroutine; what it returns may be used on another.
func (i *instance) newRequest(ctx context.Context, url string, p *params) *request {
	state := i.vu.State()
	r := &request{url: url, p: p, ctx: ctx, maxRedirects: 10, hops: &hops{
		transport: i.connections(state),
		report:    &reporter{ctx: i.vu.Context(), state: state, event: i.event, tags: p.tags},
	}}
	if state.Options.MaxRedirects.Valid {
		r.maxRedirects = int(state.Options.MaxRedirects.Int64)
	}
	return r
}

// connect sends the request, follows redirects and returns with the head of the response in hops.
func (r *request) connect() error {
	req, err := http.NewRequestWithContext(r.ctx, r.p.method, r.url, strings.NewReader(r.p.body))
	if err != nil {
		return err
	}
	req.Header = r.p.header.Clone() // http.Client adds the jar's cookies to it
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	hc := http.Client{Transport: r.hops, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > r.maxRedirects {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	if r.p.jar != nil {
		hc.Jar = r.p.jar
	}
	resp, err := hc.Do(req)
	if err != nil && resp != nil {
		_ = resp.Body.Close()
	}
	return err
}

// body returns the body of the response that connect left in hops.
func (r *request) body() (*client.Body, error) {
	body, ok := r.hops.resp.Body.(*client.Body)
	if !ok {
		return nil, fmt.Errorf("sse: the body is a %T", r.hops.resp.Body) // net/http would have wrapped it: not seen up to Go 1.26
	}
	return body, nil
}

// read calls event and unknown (for lines that are no field) as the stream arrives, until it ends or going says no (nil),
// or a read fails. After going has returned false, events of what had been received may still be handed out.
func (r *request) read(body *client.Body, going func() bool, event func(stream.Event), unknown func(line string)) error {
	var s splitter
	lastNs := clock.Now()
	for going() {
		data, atNs, _, err := body.Next()
		if err == nil {
			s.feed(data, atNs, event, unknown)
			lastNs, err = atNs, s.d.Err()
		}
		if errors.Is(err, io.EOF) {
			s.end(lastNs, event)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// explain puts an error of read into words.
func (r *request) explain(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no end of the stream within %v: %w", r.p.timeout.Round(time.Millisecond), err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("the iteration ended before the stream: %w", err)
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

// harmless are the headers that a redirect to another server keeps: any other may be a key.
var harmless = regexp.MustCompile(`^(Accept(-.*)?|Content-(Type|Language|Encoding)|Cache-Control|Last-Event-Id|Referer|User-Agent)$`)

// RoundTrip implements http.RoundTripper.
func (h *hops) RoundTrip(req *http.Request) (*http.Response, error) {
	h.end(nil)
	if client.RedirectedElsewhere(req) {
		maps.DeleteFunc(req.Header, func(name string, _ []string) bool { return !harmless.MatchString(name) })
	}
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
