package tokenclock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// levelSpec is LevelSpec of index.d.ts.
type levelSpec struct {
	Name           string         `js:"name"`
	Concurrency    int            `js:"concurrency"`
	Rate           float64        `js:"rate"`
	BatchSize      int            `js:"batchSize"`
	Labels         map[string]any `js:"labels"`
	Requests       int            `js:"requests"`
	DurationMs     float64        `js:"durationMs"`
	WarmupRequests *int           `js:"warmupRequests"`
	WarmupMs       float64        `js:"warmupMs"`
	MaxInFlight    int            `js:"maxInFlight"`
	Sessions       bool           `js:"sessions"`
	Turns          int            `js:"turns"`
}

func (s levelSpec) tally() tally.Spec {
	return tally.Spec{Name: s.Name, Concurrency: s.Concurrency, Rate: s.Rate, BatchSize: s.BatchSize, Labels: s.Labels}
}

// levels runs levels of constant concurrency one after the other, for all VUs of the process.
type levels struct {
	run   *run
	specs []levelSpec

	mu       sync.Mutex
	perVU    int   // clients a VU carries; 0 = no VU has come yet
	vus      int   // VUs that have come so far
	vacant   []int // numbers of clients that are gone; one that waits takes the place
	at       int   // the level that runs
	serial   int   // slots given so far
	state    levelState
	advanced chan struct{} // closed when the next level begins
}

// levelState is the level that runs.
type levelState struct {
	begunNs  int64
	inFlight int
	warmup   int // given so far
	steady   int
	turns    int // steady ones of sessions
	openNs   int64
	closeNs  int64 // 0 = not yet
	index    int
}

// levelClient is one client: it sends one request after the other. levels.mu guards all of it.
type levelClient struct {
	i        *instance // of the VU that carries it
	number   int       // it takes part in levels whose concurrency is larger
	joinedNs int64
	held     *slot
	level    int // of held
	rest     rest
	restNs   int64 // it has no request to send before this time, in the level endedLevel; 0 = it need not wait

	endedNs    int64 // when its last request ended (its rest included), and in which level
	endedLevel int
}

// levelsOf is a VU's hold on the shared levels.
type levelsOf struct {
	i       *instance
	l       *levels
	clients []*levelClient
	ctx     context.Context
}

func (i *instance) newLevels(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	l, err := shared(i.root, "levels", call.Argument(0).String(), func() (*levels, error) {
		var specs []levelSpec
		if err := decode(rt, call.Argument(1), &specs); err != nil {
			return nil, err
		}
		l, err := newLevels(specs)
		if err == nil {
			i.needConnections(mostAtOnce(specs))
		}
		return l, err
	})
	if err != nil {
		i.throw(fmt.Errorf("new Levels: %w", err))
	}
	l.bind(i.root.current())
	return (&levelsOf{i: i, l: l}).object(rt)
}

// mostAtOnce is the largest number of requests in flight that levels declare.
func mostAtOnce(specs []levelSpec) int {
	most := 0
	for _, s := range specs {
		most = max(most, s.Concurrency, s.BatchSize, s.MaxInFlight)
	}
	return most
}

// declaredStreams is the largest number of requests in flight that a load of the process declares.
var declaredStreams atomic.Int64

// needConnections refuses a load that this host cannot carry, before it begins.
func (i *instance) needConnections(most int) {
	declaredStreams.Store(max(declaredStreams.Load(), int64(most)))
	if err := checkCapacity(most); err != nil {
		i.refuse("tokenclock: " + err.Error())
	}
}

func newLevels(specs []levelSpec) (*levels, error) {
	seen := map[string]bool{}
	for _, s := range specs {
		switch {
		case s.Name == "" || seen[s.Name]:
			return nil, fmt.Errorf("level name %q is empty or stands twice", s.Name)
		case s.Concurrency < 1:
			return nil, fmt.Errorf("level %s: concurrency is %d; it must be at least 1", s.Name, s.Concurrency)
		case s.Turns > 0 && !s.Sessions:
			return nil, fmt.Errorf("level %s: turns count in a level of sessions only", s.Name)
		case bounds(s) != 1:
			return nil, fmt.Errorf("level %s: give either requests or durationMs, or of sessions turns", s.Name)
		}
		seen[s.Name] = true
	}
	if len(specs) == 0 {
		return nil, errors.New("there is no level")
	}
	return &levels{specs: specs, advanced: make(chan struct{})}, nil
}

// bounds counts what bounds the level.
func bounds(s levelSpec) (n int) {
	for _, given := range []bool{s.Requests > 0, s.Turns > 0, s.DurationMs > 0} {
		if given {
			n++
		}
	}
	return n
}

// bind declares the levels in the run, once.
func (l *levels) bind(r *run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run == nil {
		l.run = r
		for _, s := range l.specs {
			r.tally.Level(s.tally())
		}
		r.addShape(l)
	}
}

// object is what JavaScript sees of the levels. Its methods are native functions: `each` hands functions over.
func (h *levelsOf) object(rt *sobek.Runtime) *sobek.Object {
	return h.i.methods(map[string]func(call sobek.FunctionCall) sobek.Value{
		"acquire": func(sobek.FunctionCall) sobek.Value {
			if s := h.Acquire(); s != nil {
				return rt.ToValue(s)
			}
			return sobek.Null()
		},
		"each": func(call sobek.FunctionCall) sobek.Value {
			h.Each(h.i.clientsArgument("levels.each", call.Argument(0)), h.i.callbacksOf("levels.each", call.Argument(1), call.Argument(2)))
			return sobek.Undefined()
		},
	})
}

// join gives the VU its clients, once an iteration of it.
func (h *levelsOf) join(perVU int) {
	ctx := h.i.vu.Context()
	if h.ctx == ctx {
		return
	}
	clients, err := h.l.join(h.i, perVU)
	if err != nil {
		h.i.throw(err)
	}
	h.ctx, h.clients = ctx, clients
	// An exception or an interruption ends the VU's iteration without another call.
	context.AfterFunc(ctx, func() { h.l.leave(clients) })
}

// join makes the clients of one more VU. The VUs' clients are numbered in turn, so that each VU carries its share of a level
// that has fewer clients than all of them together.
func (l *levels) join(i *instance, perVU int) ([]*levelClient, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perVU != 0 && l.perVU != perVU {
		return nil, fmt.Errorf("levels: a VU carries %d clients, another one %d; it must be the same number for all", perVU, l.perVU)
	}
	l.perVU = perVU
	most := 0
	for _, s := range l.specs {
		most = max(most, s.Concurrency)
	}
	vus := (most + perVU - 1) / perVU
	clients := make([]*levelClient, perVU)
	now := clock.Now()
	for k := range clients {
		number := l.vus + k*vus
		if l.vus >= vus {
			number = vus*perVU + (l.vus-vus)*perVU + k // more VUs than are needed: they wait for a place
		}
		clients[k] = &levelClient{i: i, number: number, joinedNs: now}
	}
	l.vus++
	return clients, nil
}

// unsent implements shape.
func (l *levels) unsent() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at >= len(l.specs) {
		return ""
	}
	s := l.specs[l.at]
	if s.Turns > 0 {
		return fmt.Sprintf("level %s began %d of %d turns", s.Name, l.state.turns, s.Turns)
	}
	if s.Requests > 0 {
		return fmt.Sprintf("level %s began %d of %d requests", s.Name, l.state.steady, s.Requests)
	}
	return fmt.Sprintf("level %s was not over", s.Name)
}

// Acquire is `levels.acquire()`.
func (h *levelsOf) Acquire() *slot {
	settleCollector()
	h.join(1)
	c := h.clients[0]
	h.l.giveBack(c)
	var sooner chan struct{} // nothing comes sooner
	for {
		s, none := h.l.next(h.ctx, c)
		if s != nil || none.over {
			return s
		}
		var untilNs atomic.Int64
		untilNs.Store(none.untilNs)
		awaitEither(h.ctx, none.on, &untilNs, sooner, false)
	}
}

// Each is `levels.each(clients, send, failed?)`: so many clients on this VU's event loop.
func (h *levelsOf) Each(perVU int, f callbacks) {
	settleCollector()
	h.join(perVU)
	v := &levelCarrier{h: h, carrier: newCarrier(h.i, f), waiter: waiter{i: h.i, ctx: h.ctx}, idle: slices.Clone(h.clients)}
	v.waiter.again = v.serveIdle
	h.i.rethrow(v.serveIdle())
}

// levelCarrier has the clients of one VU send. Only the goroutine of the VU's event loop uses it.
type levelCarrier struct {
	h       *levelsOf
	carrier carrier
	waiter  waiter
	idle    []*levelClient // those that have nothing to send for now
}

// serveIdle asks for a slot for each idle client.
func (v *levelCarrier) serveIdle() error {
	idle := v.idle
	v.idle = nil
	for k, c := range idle {
		if err := v.serve(c); err != nil {
			v.idle = append(v.idle, idle[k+1:]...)
			return err
		}
	}
	return nil
}

// serve has a client send until a request of its is under way or there is nothing to send.
func (v *levelCarrier) serve(c *levelClient) error {
	for {
		s, none := v.h.l.next(v.h.ctx, c)
		switch {
		case none.over:
			return nil
		case s == nil:
			v.idle = append(v.idle, c)
			v.waiter.wait(none.on, none.untilNs)
			return nil
		}
		ended, err := v.carrier.send(s, func() error {
			v.h.l.giveBack(c)
			return v.serve(c)
		})
		if err != nil || !ended {
			return err
		}
		v.h.l.giveBack(c)
	}
}

// noSlot says why a client gets no slot and when to ask again.
type noSlot struct {
	over    bool            // never: all levels are over
	on      <-chan struct{} // when it is closed
	untilNs int64           // at this time, 0 = none
}

// next returns a client's next slot.
func (l *levels) next(ctx context.Context, c *levelClient) (*slot, noSlot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.at >= len(l.specs) || ctx.Err() != nil {
			return nil, noSlot{over: true}
		}
		if c.restNs > 0 && c.endedLevel == l.at && clock.Now() < c.restNs {
			return nil, noSlot{on: l.advanced, untilNs: c.restNs}
		}
		c.restNs = 0
		if len(l.vacant) > 0 && slices.Min(l.vacant) < c.number {
			k := slices.Index(l.vacant, slices.Min(l.vacant))
			c.number, l.vacant[k] = l.vacant[k], c.number
		}
		if c.number >= l.specs[l.at].Concurrency {
			return nil, noSlot{on: l.advanced}
		}
		if s := l.give(c); s != nil {
			c.held, c.level = s, l.at
			return s, noSlot{}
		}
		if !l.advanceIfDrained(c.i.root) {
			return nil, noSlot{on: l.advanced}
		}
	}
}

// give returns the next slot of the level that runs, or nil when the level gives no more.
func (l *levels) give(c *levelClient) *slot {
	spec, st := &l.specs[l.at], &l.state
	if st.begunNs == 0 {
		c.i.levelBegins(spec.Name) // nothing is in flight now that this could disturb
	}
	now := clock.Now()
	if st.begunNs == 0 {
		st.begunNs = now
	}
	phase := tally.Steady
	switch {
	case st.openNs > 0:
	case spec.WarmupMs > 0:
		if now < st.begunNs+int64(spec.WarmupMs*1e6) {
			phase = tally.Warmup
		}
	case st.warmup < spec.warmupRequests():
		phase = tally.Warmup
	}
	if phase == tally.Steady {
		if l.spent(now) {
			l.exhausted(now)
			return nil
		}
	}
	// A client's slot becomes free when the last byte of its previous response arrives, which was before it came to ask, or when
	// its rest is over; its first one is free from the level's beginning.
	scheduledNs := max(st.begunNs, c.joinedNs)
	if c.endedNs > 0 && c.endedLevel == l.at {
		scheduledNs = max(st.begunNs, c.endedNs)
	}
	scheduledNs = min(now, scheduledNs)
	if phase == tally.Steady {
		l.openWindow(scheduledNs)
	}
	if phase == tally.Warmup {
		st.warmup++
	} else {
		st.steady++
	}
	st.inFlight++
	s := &slot{Level: spec.Name, Phase: string(phase), Index: st.index, Serial: l.serial, scheduledNs: scheduledNs}
	st.index++
	l.serial++
	if spec.Sessions {
		at := l.at
		s.turnAt = func(dueNs int64) (tally.Phase, bool) { return l.turn(at, phase, dueNs) }
		return s
	}
	l.run.tally.Asked(scheduledNs)
	return s
}

// openWindow opens the steady window of the level that runs, unless it is open.
func (l *levels) openWindow(scheduledNs int64) {
	spec, st := &l.specs[l.at], &l.state
	if st.openNs > 0 {
		return
	}
	st.openNs = max(scheduledNs, st.begunNs+int64(spec.WarmupMs*1e6))
	if spec.Sessions && spec.WarmupMs > 0 { // turns of several sessions are due around that time, and come in any order
		st.openNs = st.begunNs + int64(spec.WarmupMs*1e6)
	}
	if spec.DurationMs > 0 {
		st.closeNs = st.openNs + int64(spec.DurationMs*1e6)
	}
	l.run.tally.Open(spec.Name, st.openNs, st.closeNs)
}

// spent reports whether the level that runs gives no more.
func (l *levels) spent(now int64) bool {
	spec, st := &l.specs[l.at], &l.state
	return spec.Requests > 0 && st.steady == spec.Requests || spec.Turns > 0 && st.turns == spec.Turns || st.closeNs > 0 && now >= st.closeNs
}

// turn says whether a session of a level may send a turn that is due, and the turn's phase. Where a time bounds the warm-up, a
// session that began in it goes on into the steady part.
func (l *levels) turn(level int, phase tally.Phase, dueNs int64) (tally.Phase, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if level != l.at {
		return "", false
	}
	spec, st := &l.specs[l.at], &l.state
	if spec.WarmupMs > 0 {
		phase = tally.Warmup
		if dueNs >= st.begunNs+int64(spec.WarmupMs*1e6) {
			phase = tally.Steady
			l.openWindow(dueNs)
		}
	}
	if spec.DurationMs > 0 && st.closeNs > 0 && dueNs >= st.closeNs {
		return "", false
	}
	if phase != tally.Steady {
		return phase, true
	}
	if spec.Turns > 0 && st.turns == spec.Turns {
		return "", false
	}
	if st.turns++; st.turns == spec.Turns {
		l.exhausted(clock.Now())
	}
	return phase, true
}

// warmupRequests defaults to one a slot: every connection is open and every slot was used before the window opens.
func (s *levelSpec) warmupRequests() int {
	if s.WarmupRequests != nil {
		return *s.WarmupRequests
	}
	return s.Concurrency
}

// exhausted closes the window of a level that is bounded by requests, when its first slot stays empty. A level that
// never refills a slot has no such moment while its requests run: its window ends with the last of them.
func (l *levels) exhausted(now int64) {
	spec, st := &l.specs[l.at], &l.state
	if max(spec.Requests, spec.Turns) > spec.Concurrency && st.closeNs == 0 {
		st.closeNs = now
		l.run.tally.Close(spec.Name, now)
	}
}

// advanceIfDrained begins the next level once the last request of this one has ended, and reports whether it did.
func (l *levels) advanceIfDrained(root *rootModule) bool {
	st := &l.state
	if st.inFlight > 0 {
		return false
	}
	spec := &l.specs[l.at]
	if st.closeNs == 0 {
		_, _, lastEndNs := l.run.tally.Window(spec.Name)
		l.run.tally.Close(spec.Name, lastEndNs)
	}
	root.levelEnds(spec.Name)
	l.run.levelOver(spec.tally())
	l.at++
	l.state = levelState{}
	l.wake()
	return true
}

// wake has all clients that wait ask again.
func (l *levels) wake() {
	close(l.advanced)
	l.advanced = make(chan struct{})
}

// leave gives back the slots and the places of a VU whose iteration ended; a level must not wait for it.
func (l *levels) leave(clients []*levelClient) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range clients {
		l.takeBack(c)
		l.vacant = append(l.vacant, c.number)
	}
	l.wake()
}

// giveBack returns the held slot, if any. A level that gives no more and has nothing in flight is over.
func (l *levels) giveBack(c *levelClient) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takeBack(c)
}

func (l *levels) takeBack(c *levelClient) {
	s := c.held
	if s == nil {
		return
	}
	c.held = nil
	s.takenBack()
	d := c.rest.after(s)
	if c.level != l.at {
		return
	}
	c.endedNs, c.endedLevel = s.endNs.Load(), c.level
	if c.endedNs == 0 {
		c.endedNs = clock.Now() // the slot was used for no request
	}
	if d > 0 {
		c.endedNs += int64(d)
		c.restNs = c.endedNs
	}
	l.state.inFlight--
	if l.spent(clock.Now()) {
		l.advanceIfDrained(c.i.root)
	}
}
