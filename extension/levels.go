package tokenclock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

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
}

func (s levelSpec) tally() tally.Spec {
	return tally.Spec{Name: s.Name, Concurrency: s.Concurrency, Rate: s.Rate, BatchSize: s.BatchSize, Labels: s.Labels}
}

// levels runs levels of constant concurrency one after the other, for all VUs of the process.
type levels struct {
	run   *run
	specs []levelSpec

	mu       sync.Mutex
	joined   int   // VUs that have asked for a slot so far; each has the number at which it came
	vacant   []int // numbers of VUs that are gone; one that waits takes the place
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
	openNs   int64
	closeNs  int64 // 0 = not yet
	index    int
}

// levelsOf is a VU's hold on the shared levels.
type levelsOf struct {
	i      *instance
	l      *levels
	number int
	held   *slot
	level  int // of held
	ctx    context.Context
	mu     sync.Mutex // held: the VU, or the end of its iteration

	rest       rest
	ended      int64 // when the VU's last request ended (its rest included), and in which level; guarded by l.mu
	endedLevel int
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
	return rt.ToValue(&levelsOf{i: i, l: l, number: -1}).ToObject(rt)
}

// mostAtOnce is the largest number of requests in flight that levels declare.
func mostAtOnce(specs []levelSpec) int {
	most := 0
	for _, s := range specs {
		most = max(most, s.Concurrency, s.BatchSize, s.MaxInFlight)
	}
	return most
}

// needConnections refuses a load that this host cannot carry, before it begins.
func (i *instance) needConnections(most int) {
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
		case (s.Requests > 0) == (s.DurationMs > 0):
			return nil, fmt.Errorf("level %s: give either requests or durationMs", s.Name)
		}
		seen[s.Name] = true
	}
	if len(specs) == 0 {
		return nil, errors.New("there is no level")
	}
	return &levels{specs: specs, advanced: make(chan struct{})}, nil
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
	}
}

// Acquire is `levels.acquire()`.
func (h *levelsOf) Acquire() *slot {
	settleCollector()
	ctx := h.i.vu.Context()
	l := h.l
	last := h.giveBack()
	if h.ctx != ctx {
		h.ctx = ctx
		// An exception or an interruption ends the VU's iteration without another call.
		context.AfterFunc(ctx, h.leave)
	}
	if d := h.rest.after(last); d > 0 {
		h.wait(ctx, d)
	}
	for {
		l.mu.Lock()
		if h.number < 0 {
			h.number = l.joined
			l.joined++
		}
		if len(l.vacant) > 0 && slices.Min(l.vacant) < h.number {
			k := slices.Index(l.vacant, slices.Min(l.vacant))
			h.number, l.vacant[k] = l.vacant[k], h.number
		}
		if l.at >= len(l.specs) || ctx.Err() != nil {
			l.mu.Unlock()
			return nil
		}
		if h.number < l.specs[l.at].Concurrency {
			if s := l.give(h); s != nil {
				level := l.at
				l.mu.Unlock()
				h.mu.Lock()
				h.held, h.level = s, level
				h.mu.Unlock()
				if ctx.Err() != nil {
					h.giveBack()
				}
				return s
			}
			l.advanceIfDrained(h.i.root)
			if l.at >= len(l.specs) {
				l.mu.Unlock()
				return nil
			}
		}
		wait := l.advanced
		l.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil
		}
	}
}

// wait keeps a VU that rests from its next slot, unless the level is over before: the slot becomes free d later.
func (h *levelsOf) wait(ctx context.Context, d time.Duration) {
	l := h.l
	l.mu.Lock()
	h.ended += int64(d)
	timer := time.NewTimer(time.Duration(h.ended - clock.Now()))
	l.mu.Unlock()
	defer timer.Stop()
	for {
		l.mu.Lock()
		over, advanced := l.at != h.endedLevel, l.advanced
		l.mu.Unlock()
		if over {
			return
		}
		select {
		case <-timer.C:
			return
		case <-advanced: // or somebody left
		case <-ctx.Done():
			return
		}
	}
}

// give returns the next slot of the level that runs, or nil when the level gives no more.
func (l *levels) give(h *levelsOf) *slot {
	spec, st := &l.specs[l.at], &l.state
	if st.begunNs == 0 {
		h.i.levelBegins(spec.Name) // nothing is in flight now that this could disturb
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
		if spec.Requests > 0 && st.steady == spec.Requests || st.closeNs > 0 && now >= st.closeNs {
			l.exhausted(now)
			return nil
		}
	}
	// The slot became free when the last byte of the VU's previous response arrived, which was before it came to ask, or
	// when its rest was over.
	scheduledNs := now
	if h.ended > 0 && h.endedLevel == l.at {
		scheduledNs = min(now, max(h.ended, st.begunNs))
	}
	if phase == tally.Steady && st.openNs == 0 {
		st.openNs = scheduledNs
		if spec.DurationMs > 0 {
			st.closeNs = st.openNs + int64(spec.DurationMs*1e6)
		}
		l.run.tally.Open(spec.Name, st.openNs, st.closeNs)
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
	l.run.tally.Asked(scheduledNs)
	return s
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
	if spec.Requests > spec.Concurrency && st.closeNs == 0 {
		st.closeNs = now
		l.run.tally.Close(spec.Name, now)
	}
}

// advanceIfDrained begins the next level once the last request of this one has ended.
func (l *levels) advanceIfDrained(root *rootModule) {
	st := &l.state
	if st.inFlight > 0 {
		return
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
	close(l.advanced)
	l.advanced = make(chan struct{})
}

// leave gives back the slot and the place of a VU whose iteration ended; a level must not wait for it.
func (h *levelsOf) leave() {
	h.giveBack()
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	if h.number >= 0 {
		h.l.vacant = append(h.l.vacant, h.number)
		h.number = -1
		close(h.l.advanced)
		h.l.advanced = make(chan struct{})
	}
}

// giveBack returns the held slot, if any. A level that gives no more and has nothing in flight is over.
func (h *levelsOf) giveBack() *slot {
	h.mu.Lock()
	s, level := h.held, h.level
	h.held = nil
	h.mu.Unlock()
	if s == nil {
		return nil
	}
	l := h.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if level != l.at {
		return nil
	}
	h.ended, h.endedLevel = s.endNs.Load(), level
	l.state.inFlight--
	spec, st := &l.specs[l.at], &l.state
	if spec.Requests > 0 && st.steady == spec.Requests || st.closeNs > 0 && clock.Now() >= st.closeNs {
		l.advanceIfDrained(h.i.root)
	}
	return s
}
