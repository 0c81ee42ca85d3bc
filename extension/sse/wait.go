package sse

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// pollEvents is `client.pollEvents()`: all events that wait.
func (c *asyncClient) pollEvents() *sobek.Object {
	events := []any{}
	for n := c.queue.len(); n > 0; n-- { // not those that come meanwhile
		events = append(events, c.queue.take(noDeadline))
	}
	return c.vu.Runtime().NewArray(events...)
}

// waitForEvent is `client.waitForEvent(predicate?, timeoutMs?)`. It blocks the VU until an event matches, and takes those
// before it. Without a predicate any event matches; without a timeout it waits for the end of the stream. The timeout is
// one of the arrival: what arrived in time is looked at, however late that is.
func (c *asyncClient) waitForEvent(predicate sobek.Value, timeoutMs float64) (sobek.Value, error) {
	matches, err := newPredicate(predicate)
	if err != nil {
		return nil, err
	}
	var timeout <-chan time.Time
	deadlineNs, left := deadline(timeoutMs)
	if left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		timeout = timer.C
	}
	for {
		if e := c.queue.take(deadlineNs); e != nil {
			v := c.vu.Runtime().ToValue(e)
			if match, err := matches(v); match || err != nil {
				return v, err
			}
			continue
		}
		if err := c.ended(); err != nil {
			return nil, err
		}
		select {
		case <-c.news:
		case <-timeout:
			return nil, errWaitTimeout
		case <-c.ctx.Done():
			return nil, errIteration
		}
	}
}

// ended returns why no event will come any more, nil = one may come, or waits to be taken.
func (c *asyncClient) ended() error {
	c.mu.Lock()
	closed, over, err := c.closedNs != 0, c.over, c.err
	c.mu.Unlock()
	switch {
	case !closed && !over, c.queue.has(noDeadline): // in this order: nothing is put once it is over
		return nil
	case err != nil:
		return err
	case closed:
		return errClosed
	}
	return errStreamEnded
}

// predicate reports whether a waiter wants an event. It calls JavaScript, so on the VU's goroutine only.
type predicate func(event sobek.Value) (bool, error)

func newPredicate(v sobek.Value) (predicate, error) {
	if isNothing(v) {
		return func(sobek.Value) (bool, error) { return true, nil }, nil
	}
	call, ok := sobek.AssertFunction(v)
	if !ok {
		return nil, errors.New("the predicate is not a function")
	}
	return func(event sobek.Value) (bool, error) {
		result, err := call(sobek.Undefined(), event)
		return err == nil && result.ToBoolean(), err
	}, nil
}

const noDeadline = math.MaxInt64

// deadline is when a timeout that begins now ends, on package clock, and how long that is; noDeadline and 0 where the
// script gave none: 0 or less, or no number.
func deadline(timeoutMs float64) (ns int64, left time.Duration) {
	const mostMs = 1e12 // 30 years
	if !(timeoutMs > 0 && timeoutMs < mostMs) {
		return noDeadline, 0
	}
	left = max(time.Duration(timeoutMs*float64(time.Millisecond)), 1)
	return clock.Now() + int64(left), left
}

// waiter is one promise of waitForEventAsync.
type waiter struct {
	matches         predicate
	resolve, reject func(any) error
	deadlineNs      int64
	timer           *time.Timer // nil = no deadline
}

func (w *waiter) late() bool { return w.deadlineNs <= clock.Now() }

// waitForEventAsync is `client.waitForEventAsync(predicate?, timeoutMs?)`: waitForEvent as a promise. Where several wait,
// an event is offered to them in the order of their calls, goes to the first that it matches, and is dropped if it
// matches none; so promises that wait for different events do not take each other's.
func (c *asyncClient) waitForEventAsync(predicate sobek.Value, timeoutMs float64) *sobek.Promise {
	promise, resolve, reject := c.vu.Runtime().NewPromise()
	w := &waiter{resolve: resolve, reject: reject}
	var err error
	if w.matches, err = newPredicate(predicate); err != nil {
		_ = reject(c.jsError(err)) // nobody listens yet, so no JavaScript runs that could fail
		return promise
	}
	var left time.Duration
	if w.deadlineNs, left = deadline(timeoutMs); left > 0 {
		w.timer = time.AfterFunc(left, c.ring)
	}
	c.waiters = append(c.waiters, w)
	c.arm()
	return promise
}

// bell brings dispatch onto the event loop. From arm to the end of dispatch it is armed; it is rung once meanwhile, by
// whoever has news first.
type bell struct {
	armed   bool
	enqueue func(func() error) // of RegisterCallback; nil = rung, or not armed
}

// arm registers dispatch with the event loop, which so keeps running for those who wait.
func (c *asyncClient) arm() {
	c.mu.Lock()
	if !c.bell.armed {
		c.bell = bell{armed: true, enqueue: c.vu.RegisterCallback()}
	}
	news := c.over || c.closedNs != 0
	c.mu.Unlock()
	if news || c.queue.has(noDeadline) || c.ctx.Err() != nil || slices.ContainsFunc(c.waiters, (*waiter).late) {
		c.ring()
	}
}

// ring may be called on any goroutine.
func (c *asyncClient) ring() {
	c.mu.Lock()
	enqueue := c.bell.enqueue
	c.bell.enqueue = nil
	c.mu.Unlock()
	if enqueue != nil {
		enqueue(c.dispatch)
	}
}

// dispatch settles what can be settled. It runs on the event loop; so does the JavaScript behind a promise, before
// resolve or reject returns, and it may wait anew. Its error is one that no script can catch: it ends the iteration.
func (c *asyncClient) dispatch() error {
	defer func() {
		c.mu.Lock()
		c.bell = bell{}
		c.mu.Unlock()
		if len(c.waiters) > 0 {
			c.arm()
		}
	}()
	for n := c.queue.len(); n > 0; n-- { // not those that come meanwhile: the loop has other work
		latestNs := int64(0)
		for _, w := range c.waiters {
			latestNs = max(latestNs, w.deadlineNs)
		}
		e := c.queue.take(latestNs)
		if e == nil {
			break
		}
		if err := c.offer(e); err != nil {
			return err
		}
	}
	over := c.ended()
	if over == nil && c.ctx.Err() != nil {
		over = errIteration
	}
	for _, w := range slices.Clone(c.waiters) {
		reason := over
		if w.late() && !c.queue.has(w.deadlineNs) {
			reason = errWaitTimeout
		}
		if reason != nil {
			if err := c.settle(w, w.reject, c.jsError(reason)); err != nil {
				return err
			}
		}
	}
	return nil
}

// offer gives an event to the first waiter that wants it.
func (c *asyncClient) offer(e *Event) error {
	v := c.vu.Runtime().ToValue(e)
	for _, w := range slices.Clone(c.waiters) {
		if e.atNs > w.deadlineNs {
			continue
		}
		match, err := w.matches(v)
		var thrown *sobek.Exception
		switch {
		case errors.As(err, &thrown):
			if err := c.settle(w, w.reject, thrown.Value()); err != nil {
				return err
			}
		case err != nil:
			return err
		case match:
			return c.settle(w, w.resolve, v)
		}
	}
	return nil
}

func (c *asyncClient) settle(w *waiter, by func(any) error, value any) error {
	if w.timer != nil {
		w.timer.Stop()
	}
	c.waiters = slices.DeleteFunc(c.waiters, func(other *waiter) bool { return other == w })
	return by(value)
}
