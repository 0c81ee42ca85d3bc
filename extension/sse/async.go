package sse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/js/modules"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// Why a wait for an event ended without one, if the stream has no error of its own.
var (
	errWaitTimeout = errors.New("timeout waiting for event")
	errStreamEnded = errors.New("connection closed")
	errClosed      = errors.New("client is closed")
	errIteration   = errors.New("context cancelled: the iteration has ended")
)

// closeGrace is how long close() waits for a stream that is about to end by itself, so that its connection can be kept.
const closeGrace = 20 * time.Millisecond

// openAsync is `sse.openAsync(url, params?)`. It returns the client at once. A goroutine of the client's own connects,
// reads and puts the events into the queue until the stream ends, close() is called, or the iteration ends. It is not
// registered with the event loop: an iteration does not wait for the end of a stream that it does not wait for itself.
func (i *instance) openAsync(url string, given sobek.Value) (*sobek.Object, error) {
	state, rt := i.vu.State(), i.vu.Runtime()
	if state == nil {
		return nil, common.NewInitContextError("sse.openAsync cannot be used in the init context")
	}
	p, err := parseParams(state, rt, given)
	if err != nil {
		return nil, fmt.Errorf("sse.openAsync: %w", err)
	}
	r, err := parseRetry(rt, given)
	if err != nil {
		return nil, fmt.Errorf("sse.openAsync: %w", err)
	}
	p.method = strings.ToUpper(p.method)
	if p.header.Get("Cache-Control") == "" {
		p.header.Set("Cache-Control", "no-cache")
	}
	c := &asyncClient{
		vu: i.vu, ctx: i.vu.Context(), queue: newQueue(), news: make(chan struct{}, 1),
		done: make(chan struct{}),
	}
	reading, cancel := p.within(c.ctx)
	c.cancel = cancel
	object, err := c.object()
	if err != nil {
		cancel()
		return nil, err
	}
	go c.run(i.newRequest(reading, url, p), r)
	return object, nil
}

// asyncClient is what sse.openAsync returns. Its methods are called on the VU's goroutine, run and what run calls on the
// reader's.
type asyncClient struct {
	vu      modules.VU
	ctx     context.Context    // of the iteration that opened it
	cancel  context.CancelFunc // ends the reader
	queue   *queue
	news    chan struct{} // has a token when waitForEvent is to look again
	done    chan struct{} // the reader has ended
	waiters []*waiter     // in the order of their calls

	mu       sync.Mutex // guards all below
	bell     bell
	open     bool  // the head of an event stream is there, its end is not
	closedNs int64 // when the script closed it; 0 = it did not
	over     bool  // nothing will be put into the queue any more
	err      error // why the stream ended, or never began
	status   int
	sentMs   float64
}

// object is the client as JavaScript sees it.
func (c *asyncClient) object() (*sobek.Object, error) {
	rt := c.vu.Runtime()
	o := rt.NewObject()
	var err error
	for name, method := range map[string]any{
		"pollEvents": c.pollEvents, "waitForEvent": c.waitForEvent, "waitForEventAsync": c.waitForEventAsync,
		"isOpen": c.isOpen, "getError": c.getError, "getStatus": c.getStatus, "close": c.close,
	} {
		err = errors.Join(err, o.Set(name, method))
	}
	sentMs := rt.ToValue(func() float64 { c.mu.Lock(); defer c.mu.Unlock(); return c.sentMs })
	return o, errors.Join(err, o.DefineAccessorProperty("sentMs", sentMs, nil, sobek.FLAG_FALSE, sobek.FLAG_TRUE))
}

// run is the reader: it connects, several times where that was asked for, and reads the stream.
func (c *asyncClient) run(r *request, again retry) {
	defer close(c.done)
	defer c.cancel()
	// The loop learns of the iteration's end even if the reader is slow to see it, in a name look-up for instance.
	defer context.AfterFunc(c.ctx, c.ring)()
	err := c.connect(r)
	for n := 1; err != nil && n <= again.times && sleep(r.ctx, again.pause(n)); n++ {
		if err = c.connect(r); err != nil {
			err = fmt.Errorf("after %d retries: %w", n, err)
		}
	}
	if err == nil {
		err = c.stream(r)
	}
	c.mu.Lock()
	c.open, c.over = false, true
	if c.closedNs == 0 { // what close() cut off is no error
		c.err = err
	}
	c.mu.Unlock()
	c.tell()
}

// connect returns nil with the head of a 200 in r.hops.
func (c *asyncClient) connect(r *request) error {
	err := r.connect()
	h := r.hops
	c.note(h)
	switch {
	case err != nil && c.isClosed():
		h.req = nil // given up by the script before there was a response: nothing to count
		return err
	case err != nil:
		h.end(err)
		return err
	case h.resp.StatusCode != http.StatusOK:
		_ = h.resp.Body.Close()
		h.end(nil)
		return fmt.Errorf("unexpected status code: %d", h.resp.StatusCode)
	}
	return nil
}

// sleep reports whether the time passed before the context ended.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stream reads the stream whose head is in r.hops.
func (c *asyncClient) stream(r *request) error {
	h := r.hops
	body, err := r.body()
	if err != nil {
		return err
	}
	var streamErr error
	defer func() {
		_ = body.Close()
		if ns := c.closedAtNs(); ns != 0 {
			h.x.EndNs = min(h.x.EndNs, ns)
		}
		h.end(streamErr)
		c.note(h) // the kernel's own time of the send may have come in since
	}()
	if got := h.resp.Header.Get("Content-Type"); !strings.Contains(strings.ToLower(got), "text/event-stream") {
		return fmt.Errorf("unexpected content-type: %s", got)
	}
	c.mu.Lock()
	c.open = true
	c.mu.Unlock()
	defer context.AfterFunc(r.ctx, c.queue.stop)()
	tags := h.report.tagsOf(h.req, h.resp, h.x)
	full, cut := false, false
	// It reads on after close(), which ends the context if the stream does not end first: what had arrived before is still
	// to be delivered, and a connection whose response is complete is kept. One that is not is reset, which a server sees
	// even where it is held up in a write.
	going := func() bool {
		cut = r.ctx.Err() != nil
		return !cut
	}
	err = r.read(body, going, func(ev stream.Event) {
		e := newEvent(ev)
		if e.Data == "" && e.Name == "" { // a comment that keeps the connection alive, most likely
			return
		}
		if closedNs := c.closedAtNs(); full || closedNs != 0 && ev.AtNs > closedNs {
			return
		}
		h.report.eventAt(&tags, ev.AtNs)
		full = !c.queue.put(e)
		c.tell()
	}, func(string) {})
	if cut {
		err = r.ctx.Err()
	}
	if err != nil && !c.isClosed() {
		streamErr = r.explain(err)
	}
	return streamErr
}

// note makes the last response known to the script.
func (c *asyncClient) note(h *hops) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.resp != nil {
		c.status = h.resp.StatusCode
	}
	if h.x != nil {
		c.sentMs = unixMs(h.x.SentNs)
	}
}

func (c *asyncClient) isClosed() bool { return c.closedAtNs() != 0 }

func (c *asyncClient) closedAtNs() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closedNs
}

// tell makes those who wait look again.
func (c *asyncClient) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
	c.ring()
}

// isOpen is `client.isOpen()`. It reports whether the head of the response has come and the stream has not ended.
func (c *asyncClient) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open && c.closedNs == 0
}

// getStatus is `client.getStatus()`: the status of the last response, 0 = there was none yet.
func (c *asyncClient) getStatus() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// getError is `client.getError()`: why the stream ended early or never began; undefined where neither is so.
func (c *asyncClient) getError() sobek.Value {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err == nil {
		return sobek.Undefined()
	}
	return c.jsError(err)
}

// jsError is an Error that also has the error() of what other callbacks of this module get.
func (c *asyncClient) jsError(err error) *sobek.Object {
	o := c.vu.Runtime().NewGoError(err)
	_ = o.Set("error", err.Error)
	return o
}

// close is `client.close()`: the stream is ended, and its connection kept if its end comes at once. What was received can
// still be taken.
func (c *asyncClient) close() {
	c.mu.Lock()
	open, again := c.open, c.closedNs != 0
	if !again {
		c.closedNs = clock.Now()
	}
	c.mu.Unlock()
	if again {
		return
	}
	limit := time.After(closeGrace)
	if open {
		select {
		case <-c.done:
		case <-limit:
		}
		limit = nil // its samples are to be out when this returns
	}
	c.cancel()
	select {
	case <-c.done:
	case <-limit: // a name look-up, for instance, cannot be ended
	case <-c.ctx.Done():
	}
	c.ring()
}
