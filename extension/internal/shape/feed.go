package shape

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// Loop is the event loop of a VU. RegisterCallback is called on it and keeps it alive until the returned function has handed
// over what it is to call.
type Loop interface {
	RegisterCallback() (enqueue func(func() error))
}

// Send sends the request of a slot. ended reports whether the slot's work is over. If it is not, then is called once on the
// event loop when it is. An error ends the VU's iteration.
type Send func(s *Slot, then func() error) (ended bool, err error)

// source is what a load shape has for the clients of one VU. Only the goroutine of the VU's event loop uses it.
type source interface {
	// next returns a slot for one of the clients, or when to ask again.
	next() (*Slot, noSlot)
	// giveBack ends a slot's work: its client may send again.
	giveBack(*Slot)
	// wake is called before next once a wait is over.
	wake()
}

// noSlot says why there is no slot and when to ask again. The zero value: when a slot is given back.
type noSlot struct {
	over    bool            // never
	on      <-chan struct{} // when it is closed
	untilNs int64           // at this time, 0 = none
	gap     bool            // between two levels, whose work this client is to do first
	first   func() error    // at once, after this; an error ends the VU's iteration
}

// add makes one of two reasons: the earlier one ends the wait. Where both wait on a channel it is the same.
func (n *noSlot) add(other noSlot) {
	n.over = false
	n.on = other.on
	if n.untilNs == 0 || other.untilNs > 0 && other.untilNs < n.untilNs {
		n.untilNs = other.untilNs
	}
}

// feed hands the slots of a source to send until there are none. exact has times met within microseconds.
func feed(ctx context.Context, loop Loop, of source, send Send, exact bool) error {
	w := &waiter{loop: loop, ctx: ctx, exact: exact}
	var run func() error
	run = func() error {
		for {
			s, none := of.next()
			switch {
			case s != nil:
			case none.first != nil:
				if err := none.first(); err != nil {
					return err
				}
				continue
			case none.over || none.on == nil && none.untilNs == 0:
				return nil
			default:
				w.wait(none.on, none.untilNs)
				return nil
			}
			ended, err := send(s, func() error {
				of.giveBack(s)
				return run()
			})
			if ended || err != nil {
				of.giveBack(s)
			}
			if err != nil {
				return err
			}
		}
	}
	w.again = func() error {
		of.wake()
		return run()
	}
	return run()
}

// waiter calls again on the VU's event loop when there may be something to do. Only the goroutine of that loop uses it.
type waiter struct {
	loop  Loop
	ctx   context.Context // of the VU's iteration
	exact bool            // times are met within microseconds instead of a millisecond
	again func() error

	waits   bool
	untilNs *atomic.Int64
	sooner  chan struct{}
}

// wait has again called once: when on is closed, at a time of package clock (0 = none), or when the iteration ends. Where
// it already waits, the earlier time counts. on must then be the same channel, unless the earlier one has been closed.
func (w *waiter) wait(on <-chan struct{}, untilNs int64) {
	if w.waits {
		if was := w.untilNs.Load(); untilNs > 0 && (was == 0 || untilNs < was) {
			w.untilNs.Store(untilNs)
			select {
			case w.sooner <- struct{}{}:
			default: // it has not looked yet
			}
		}
		return
	}
	w.waits, w.untilNs, w.sooner = true, &atomic.Int64{}, make(chan struct{}, 1)
	w.untilNs.Store(untilNs)
	enqueue := w.loop.RegisterCallback()
	go func(untilNs *atomic.Int64, sooner <-chan struct{}) {
		await(w.ctx, on, untilNs, sooner, w.exact)
		enqueue(func() error {
			w.waits = false
			return w.again()
		})
	}(w.untilNs, w.sooner)
}

// await returns when on is closed, at untilNs (0 = never), or when ctx ends. It looks at untilNs again with each
// value of sooner.
func await(ctx context.Context, on <-chan struct{}, untilNs *atomic.Int64, sooner <-chan struct{}, exact bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due := untilNs.Load()
		var timed <-chan time.Time
		if due > 0 {
			left := time.Duration(due - clock.Now())
			if exact {
				left -= clock.Precise
			}
			timer.Reset(left)
			timed = timer.C
		}
		select {
		case <-timed:
			if exact {
				clock.SleepUntil(due)
			}
			return
		case <-on:
			return
		case <-ctx.Done():
			return
		case <-sooner:
		}
	}
}
