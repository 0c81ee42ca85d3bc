package shape

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// LevelSpec is LevelSpec of index.d.ts.
type LevelSpec struct {
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

func (s LevelSpec) tally() tally.Spec {
	return tally.Spec{Name: s.Name, Concurrency: s.Concurrency, Rate: s.Rate, BatchSize: s.BatchSize, Labels: s.Labels}
}

// Levels runs levels of constant concurrency one after the other, for all VUs of the process.
type Levels struct {
	run     Run
	specs   []LevelSpec
	between bool // the script has work to do between two levels

	mu       sync.Mutex
	ctx      context.Context // of the VU that came first
	first    VU
	part     Part        // nil = no VU has come yet
	own      []LevelSpec // what of the specs is this instance's
	shares   []Share     // of each level's clients
	meeting  bool        // the instances have not all come to the next level
	base     int         // serial of the level's first slot, where the slots before were other instances', too
	perVU    int         // clients a VU carries; 0 = no VU has come yet
	vus      int         // VUs that have come so far
	vacant   []int       // numbers of clients that are gone; one that waits takes the place
	at       int         // the level that runs
	serial   int         // slots given so far
	state    levelState
	advanced chan struct{} // closed when the next level begins
	gap      gap           // before the level at
	gapOver  chan struct{} // closed when its work is done, of instances that meet
}

// gap is the time between two levels, in which one client of one VU does the script's work and nobody sends anything.
type gap int

const (
	noGap    gap = iota
	openGap      // its work waits for a client
	takenGap     // a client does it
)

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

// levelClient is one client: it sends one request after the other. Levels.mu guards all of it.
type levelClient struct {
	vu        VU  // that carries it
	number    int // it takes part in levels whose concurrency is larger
	joinedNs  int64
	held      *Slot
	level     int // of held
	backoff   backoff
	notBefore int64 // it has no request to send before this time, in the level endedLevel; 0 = it need not wait

	endedNs    int64 // when its last request ended (its backoff included), and in which level
	endedLevel int
}

// LevelsVU is a VU's part in the levels.
type LevelsVU struct {
	// Between does the script's work between two levels, on the goroutine of the VU's event loop; nil = there is none. An error ends
	// the VU's iteration.
	Between func() error

	l       *Levels
	vu      VU
	clients []*levelClient
	ctx     context.Context // of the iteration that they belong to

	ready   []*levelClient // of Each: those that ask for a slot next
	waiting []*levelClient // those that have nothing to send for now
	until   noSlot         // when the ones that began to wait since next returned none ask again
}

// mostInFlight is the largest number of requests in flight that levels declare.
func mostInFlight(specs []LevelSpec) int {
	most := 0
	for _, s := range specs {
		most = max(most, s.Concurrency, s.BatchSize, s.MaxInFlight)
	}
	return most
}

// NewLevels checks the levels. between: each VU has work to do between two levels (LevelsVU.Between).
func NewLevels(specs []LevelSpec, between bool) (*Levels, error) {
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
	return &Levels{specs: specs, between: between, advanced: make(chan struct{})}, nil
}

// bounds counts what bounds the level.
func bounds(s LevelSpec) (n int) {
	for _, given := range []bool{s.Requests > 0, s.Turns > 0, s.DurationMs > 0} {
		if given {
			n++
		}
	}
	return n
}

// MostInFlight returns the largest number of requests in flight that the levels declare.
func (l *Levels) MostInFlight() int { return mostInFlight(l.specs) }

// Bind declares the levels in the run, once.
func (l *Levels) Bind(r Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run == nil {
		l.run = r
		for _, s := range l.specs {
			r.Tally().Level(s.tally())
		}
	}
}

// VU returns the part of one more VU.
func (l *Levels) VU(vu VU) *LevelsVU { return &LevelsVU{l: l, vu: vu} }

// join gives the VU its clients, once an iteration of it, whose context is ctx.
func (h *LevelsVU) join(ctx context.Context, perVU int) error {
	if h.ctx == ctx {
		return nil
	}
	clients, err := h.l.join(ctx, h.vu, perVU)
	if err != nil {
		return err
	}
	h.ctx, h.clients = ctx, clients
	// An exception or an interruption ends the VU's iteration without another call.
	context.AfterFunc(ctx, func() { h.l.leave(clients) })
	return nil
}

// divide leaves of each level what is this instance's: so many clients, and the requests whose numbers are theirs. All
// instances together send what one would.
func (l *Levels) divide(ctx context.Context, vu VU) error {
	p, err := partOf(vu)
	if err != nil {
		return err
	}
	own := slices.Clone(l.specs)
	shares := make([]Share, len(own))
	for k := range own {
		s := &own[k]
		if p.Divided() && s.Turns > 0 {
			return fmt.Errorf("level %s: REQUESTS counts the turns of all sessions together, which several instances cannot; set SESSIONS or DURATION", s.Name)
		}
		shares[k] = p.Share(s.Concurrency)
		all := s.warmupRequests()
		warmup := shares[k].Below(all)
		if s.Requests > 0 {
			s.Requests = shares[k].Below(all+s.Requests) - warmup
		}
		s.WarmupRequests, s.Concurrency = &warmup, shares[k].Slots
	}
	l.ctx, l.first, l.part, l.own, l.shares = ctx, vu, p, own, shares
	if p.Meets() {
		l.meetAt(0, 0)
	}
	return nil
}

// meetAt has level k begin when all instances have come to it. serial is the largest that this one has given so far, plus
// one. The caller holds l.mu.
func (l *Levels) meetAt(k, serial int) {
	l.meeting = true
	go func() {
		if k > 0 {
			last := l.specs[k-1]
			works := l.between && k < len(l.specs)
			if k == len(l.specs) || works || l.part.SharesCounters() {
				if _, _, err := l.part.Meet(l.ctx, "the end of level "+last.Name, 0, false); err != nil {
					return // ctx ends
				}
			}
			l.run.LevelOver(last.tally())
			// One instance does it for all; they meet again at the next level.
			if works && l.part.Share(1).Slots > 0 && !l.haveGap() {
				return
			}
		}
		startNs := int64(0)
		if k < len(l.specs) {
			l.first.LevelBegins(l.specs[k].Name)
			var err error
			if startNs, serial, err = l.part.Meet(l.ctx, "level "+l.specs[k].Name, serial, true); err != nil {
				return
			}
			clock.WaitUntil(l.ctx, startNs)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.at, l.base, l.meeting = k, serial, false
		// The common start, whenever this instance wakes: by how much it is late is queue delay.
		l.state = levelState{begunNs: min(startNs, clock.Now())}
		if k < len(l.specs) && l.own[k].Concurrency == 0 {
			l.meetAt(k+1, serial)
		}
		l.wake()
	}()
}

// haveGap has a client do the script's work between two levels, and reports whether that is done; not where ctx ends first.
func (l *Levels) haveGap() bool {
	l.mu.Lock()
	over := make(chan struct{})
	l.gap, l.gapOver = openGap, over
	l.wake()
	l.mu.Unlock()
	select {
	case <-over:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// passGap does the script's work between two levels.
func (h *LevelsVU) passGap() error {
	defer h.l.endGap()
	if h.Between == nil {
		return nil
	}
	return h.Between()
}

// endGap lets the next level begin.
func (l *Levels) endGap() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gap = noGap
	if l.gapOver != nil {
		close(l.gapOver)
		l.gapOver = nil
		return
	}
	l.wake()
}

// join makes the clients of one more VU. The VUs' clients are numbered in turn, so that each VU carries its share of a level
// that has fewer clients than all of them together.
func (l *Levels) join(ctx context.Context, vu VU, perVU int) ([]*levelClient, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perVU != 0 && l.perVU != perVU {
		return nil, fmt.Errorf("levels: a VU carries %d clients, another one %d; it must be the same number for all", perVU, l.perVU)
	}
	l.perVU = perVU
	if l.part == nil {
		if err := l.divide(ctx, vu); err != nil {
			return nil, err
		}
	}
	most := 0
	for _, s := range l.own {
		most = max(most, s.Concurrency)
	}
	vus := max((most+perVU-1)/perVU, 1)
	clients := make([]*levelClient, perVU)
	now := clock.Now()
	for k := range clients {
		number := l.vus + k*vus
		if l.vus >= vus {
			number = vus*perVU + (l.vus-vus)*perVU + k // more VUs than are needed: they wait for a place
		}
		clients[k] = &levelClient{vu: vu, number: number, joinedNs: now}
	}
	l.vus++
	return clients, nil
}

// Unsent says in words what of the levels was not sent, "" when all was.
func (l *Levels) Unsent() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at >= len(l.specs) {
		return ""
	}
	s := l.specs[l.at]
	if l.part != nil {
		s = l.own[l.at]
	}
	if s.Turns > 0 {
		return fmt.Sprintf("level %s began %d of %d turns", s.Name, l.state.turns, s.Turns)
	}
	if s.Requests > 0 {
		return fmt.Sprintf("level %s began %d of %d requests", s.Name, l.state.steady, s.Requests)
	}
	return fmt.Sprintf("level %s was not over", s.Name)
}

// Remaining returns how many requests the level that runs has still to send; known is false where its time decides.
func (l *Levels) Remaining() (requests int, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at >= len(l.specs) {
		return 0, true
	}
	s := l.specs[l.at]
	if l.part != nil {
		s = l.own[l.at]
	}
	return max(s.Requests-l.state.steady, 0), s.Requests > 0
}

// Acquire gives back the VU's last slot and waits for the next one; nil when all levels are over or the iteration ends.
func (h *LevelsVU) Acquire(ctx context.Context) (*Slot, error) {
	if err := h.join(ctx, 1); err != nil {
		return nil, err
	}
	c := h.clients[0]
	h.l.giveBack(c)
	for {
		s, none := h.l.next(ctx, c)
		if s != nil || none.over {
			return s, nil
		}
		if none.gap {
			if err := h.passGap(); err != nil {
				return nil, err
			}
			continue
		}
		var untilNs atomic.Int64
		untilNs.Store(none.untilNs)
		await(ctx, none.on, &untilNs, nil, false)
	}
}

// Each has so many clients of this VU send, on its event loop, until all levels are over.
func (h *LevelsVU) Each(ctx context.Context, loop Loop, perVU int, send Send) error {
	if err := h.join(ctx, perVU); err != nil {
		return err
	}
	h.ready, h.waiting, h.until = slices.Clone(h.clients), nil, noSlot{over: true}
	return feed(ctx, loop, h, send, false)
}

// next implements source.
func (h *LevelsVU) next() (*Slot, noSlot) {
	for len(h.ready) > 0 {
		c := h.ready[0]
		h.ready = h.ready[1:]
		s, none := h.l.next(h.ctx, c)
		switch {
		case s != nil:
			return s, noSlot{}
		case none.gap:
			h.ready = slices.Insert(h.ready, 0, c)
			return nil, noSlot{first: h.passGap}
		case !none.over:
			h.waiting = append(h.waiting, c)
			h.until.add(none)
		}
	}
	none := h.until
	h.until = noSlot{over: true}
	return nil, none
}

// giveBack implements source.
func (h *LevelsVU) giveBack(s *Slot) {
	h.l.giveBack(s.client)
	h.ready = slices.Insert(h.ready, 0, s.client)
}

// wake implements source.
func (h *LevelsVU) wake() {
	h.ready = append(h.ready, h.waiting...)
	h.waiting = h.waiting[:0]
}

// next returns a client's next slot.
func (l *Levels) next(ctx context.Context, c *levelClient) (*Slot, noSlot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.at >= len(l.specs) || ctx.Err() != nil {
			return nil, noSlot{over: true}
		}
		if l.gap == openGap {
			l.gap = takenGap
			return nil, noSlot{gap: true}
		}
		if l.meeting || l.gap == takenGap {
			return nil, noSlot{on: l.advanced}
		}
		if c.notBefore > 0 && c.endedLevel == l.at && clock.Now() < c.notBefore {
			return nil, noSlot{on: l.advanced, untilNs: c.notBefore}
		}
		c.notBefore = 0
		if len(l.vacant) > 0 && slices.Min(l.vacant) < c.number {
			k := slices.Index(l.vacant, slices.Min(l.vacant))
			c.number, l.vacant[k] = l.vacant[k], c.number
		}
		if c.number >= l.own[l.at].Concurrency {
			return nil, noSlot{on: l.advanced}
		}
		if s := l.schedule(c); s != nil {
			s.client, c.held, c.level = c, s, l.at
			return s, noSlot{}
		}
		if !l.advanceIfDrained() {
			return nil, noSlot{on: l.advanced}
		}
	}
}

// schedule returns the next slot of the level that runs, or nil when the level gives no more.
func (l *Levels) schedule(c *levelClient) *Slot {
	spec, st := &l.own[l.at], &l.state
	if st.begunNs == 0 {
		c.vu.LevelBegins(spec.Name) // nothing is in flight now that this could disturb
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
	// its backoff is over; its first one is free from the level's beginning.
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
	s := &Slot{Level: spec.Name, Phase: phase, Index: l.shares[l.at].Nth(st.index), Serial: l.serial, scheduledNs: scheduledNs}
	if l.part.Meets() {
		s.Serial = l.base + s.Index
	}
	st.index++
	l.serial++
	if spec.Sessions {
		at := l.at
		s.fresh = c.endedNs == 0 || c.endedLevel != l.at
		s.turnAt = func(dueNs int64) (tally.Phase, bool) { return l.turn(at, phase, dueNs) }
		return s
	}
	l.run.Tally().Scheduled(scheduledNs)
	return s
}

// openWindow opens the steady window of the level that runs, unless it is open.
func (l *Levels) openWindow(scheduledNs int64) {
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
	l.run.Tally().Open(spec.Name, st.openNs, st.closeNs)
}

// spent reports whether the level that runs gives no more.
func (l *Levels) spent(now int64) bool {
	spec, st := &l.specs[l.at], &l.state
	return spec.Requests > 0 && st.steady == l.own[l.at].Requests || spec.Turns > 0 && st.turns == spec.Turns || st.closeNs > 0 && now >= st.closeNs
}

// turn reports whether a session of a level may send a turn that is due, and the turn's phase. Where a time bounds the warm-up, a
// session that began in it goes on into the steady part.
func (l *Levels) turn(level int, phase tally.Phase, dueNs int64) (tally.Phase, bool) {
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
func (s *LevelSpec) warmupRequests() int {
	if s.WarmupRequests != nil {
		return *s.WarmupRequests
	}
	return s.Concurrency
}

// exhausted closes the window of a level that is bounded by requests, when its first slot stays empty. A level that
// never refills a slot has no such moment while its requests run: its window ends with the last of them.
func (l *Levels) exhausted(now int64) {
	spec, st := &l.specs[l.at], &l.state
	if max(spec.Requests, spec.Turns) > spec.Concurrency && st.closeNs == 0 {
		st.closeNs = now
		l.run.Tally().Close(spec.Name, now)
	}
}

// advanceIfDrained begins the next level once the last request of this one has ended, and reports whether it did.
func (l *Levels) advanceIfDrained() bool {
	st := &l.state
	if st.inFlight > 0 || l.meeting {
		return false
	}
	spec := &l.specs[l.at]
	// An instance whose requests of the level were all warm-up has opened no window.
	if st.closeNs == 0 && (st.openNs > 0 || !l.part.Meets()) {
		_, _, lastEndNs := l.run.Tally().Window(spec.Name)
		l.run.Tally().Close(spec.Name, lastEndNs)
	}
	if l.part.Meets() {
		serial := l.base
		if st.index > 0 {
			serial += l.shares[l.at].Nth(st.index-1) + 1
		}
		l.meetAt(l.at+1, serial)
		return false
	}
	l.run.LevelOver(spec.tally())
	l.at++
	l.state = levelState{}
	if l.between && l.at < len(l.specs) {
		l.gap = openGap
	}
	l.wake()
	return true
}

// wake has all clients that wait ask again.
func (l *Levels) wake() {
	close(l.advanced)
	l.advanced = make(chan struct{})
}

// leave gives back the slots and the places of a VU whose iteration ended; a level must not wait for it.
func (l *Levels) leave(clients []*levelClient) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range clients {
		l.takeBack(c)
		l.vacant = append(l.vacant, c.number)
	}
	l.wake()
}

// giveBack returns the held slot, if any. A level that gives no more and has nothing in flight is over.
func (l *Levels) giveBack(c *levelClient) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takeBack(c)
}

func (l *Levels) takeBack(c *levelClient) {
	s := c.held
	if s == nil {
		return
	}
	c.held = nil
	s.takenBack()
	d := c.backoff.after(s)
	if c.level != l.at {
		return
	}
	c.endedNs, c.endedLevel = s.endNs.Load(), c.level
	if c.endedNs == 0 {
		c.endedNs = clock.Now() // the slot was used for no request
	}
	if d > 0 {
		c.endedNs += int64(d)
		c.notBefore = c.endedNs
	}
	l.state.inFlight--
	if l.spent(clock.Now()) {
		l.advanceIfDrained()
	}
}
