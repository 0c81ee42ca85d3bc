package shape

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/schedule"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// Stage is StageSpec of index.d.ts.
type Stage struct {
	Name       string         `js:"name"`
	FromRate   float64        `js:"fromRate"`
	ToRate     float64        `js:"toRate"`
	DurationMs float64        `js:"durationMs"`
	Points     [][]float64    `js:"points"` // instead of the three
	Phase      string         `js:"phase"`
	Labels     map[string]any `js:"labels"`
}

// ArrivalSpec is ArrivalSpec of index.d.ts.
type ArrivalSpec struct {
	Stages    []Stage   `js:"stages"`
	Arrival   string    `js:"arrival"`
	CV        float64   `js:"cv"`
	Seed      uint64    `js:"seed"`
	TraceMs   []float64 `js:"traceMs"`
	TraceName string    `js:"traceName"`

	MaxInFlight int  `js:"maxInFlight"`
	Sessions    bool `js:"sessions"`
}

// Arrivals is a schedule of sends, shared by all VUs of the process.
type Arrivals struct {
	stages    []Stage
	offsetsNs []int64
	stageOf   []int // nil = all are of the first

	run      Run
	own      []int // numbers of the arrivals that are this instance's; nil = all
	failed   error // what kept it from knowing them
	opened   sync.Once
	begin    sync.Once
	next     atomic.Int64
	given    atomic.Int64 // slots that a VU took from the schedule
	apart    atomic.Bool  // At is used: k6 decides what is sent, and counts what it drops
	sessions bool         // its slots are sessions
	recorded bool         // their times are those of a trace, whose window ends with the last end
	held     atomic.Int64 // sessions that go on
	most     int          // requests in flight at once from VUs that carry several; 0 = no limit
	zero     int64        // the time of offset 0
	first    []int        // by stage: the arrival that has index 0, or would have it if the stages of one name followed each other

	mu       sync.Mutex
	inFlight int           // of most
	freed    chan struct{} // closed when one of most that all are taken is free again
}

// ArrivalsVU is a VU's part in the schedule.
type ArrivalsVU struct {
	a  *Arrivals
	vu VU

	// The fields of Each.
	ctx      context.Context
	clients  int
	inFlight int
	held     int  // the arrival that it has taken and that is not due yet; -1 = none
	full     bool // it was kept from taking one by the requests in flight
}

// MostInFlight returns the largest number of requests in flight that the schedule declares.
func (a *Arrivals) MostInFlight() int { return min(a.most, len(a.offsetsNs)) }

// Len returns the number of arrivals.
func (a *Arrivals) Len() int { return len(a.offsetsNs) }

// Schedule returns the digest of all times of the schedule, whoever sends them, and how many there are.
func (a *Arrivals) Schedule() (digest string, count int) {
	return schedule.Digest(a.offsetsNs), len(a.offsetsNs)
}

// Bind declares the schedule's levels in the run, once.
func (a *Arrivals) Bind(r Run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.run == nil {
		a.run = r
		a.declareLevels()
	}
}

// VU returns the part of one more VU.
func (a *Arrivals) VU(vu VU) *ArrivalsVU { return &ArrivalsVU{a: a, vu: vu, held: -1} }

// declareLevels names the levels. A warm-up may share its name with the stage that it precedes; the level is that stage's.
func (a *Arrivals) declareLevels() {
	for _, steady := range []bool{true, false} {
		for _, s := range a.stages {
			if steady == (s.phase() == tally.Steady) {
				a.run.Tally().Level(tally.Spec{Name: s.Name, Rate: s.highest(), Labels: a.labels(s)})
			}
		}
	}
}

// labels returns the stage's labels; load=changing says that its rate is not the same all the time, so that nobody expects the
// level to be steady (lib/figures/steady.ts).
func (a *Arrivals) labels(s Stage) map[string]any {
	if !a.recorded && len(s.Points) == 0 && s.FromRate == s.ToRate {
		return s.Labels
	}
	labels := map[string]any{"load": "changing"}
	maps.Copy(labels, s.Labels)
	return labels
}

// rate is the stage's rate over time.
func (s *Stage) rate() (schedule.Stage, error) {
	if len(s.Points) == 0 {
		if !(s.FromRate >= 0) || !(s.ToRate >= 0) || !(s.DurationMs > 0) {
			return nil, errors.New("rates must be at least 0 and durationMs above 0")
		}
		return schedule.Ramp(s.FromRate, s.ToRate, s.DurationMs), nil
	}
	rate := make(schedule.Stage, len(s.Points))
	for k, p := range s.Points {
		if len(p) != 2 {
			return nil, fmt.Errorf("point %d is not a time and a rate", k)
		}
		rate[k] = schedule.Point{AtMs: p[0], Rate: p[1]}
	}
	return rate, rate.Check()
}

// highest is the largest rate of the stage.
func (s *Stage) highest() float64 {
	if rate, err := s.rate(); err == nil && len(s.Points) > 0 {
		return rate.Highest()
	}
	return max(s.FromRate, s.ToRate)
}

// NewArrivals computes the whole schedule, by package schedule.
func NewArrivals(spec ArrivalSpec) (*Arrivals, error) {
	a := &Arrivals{stages: slices.Clone(spec.Stages), most: spec.MaxInFlight, sessions: spec.Sessions, recorded: len(spec.TraceMs) > 0}
	if len(spec.TraceMs) > 0 {
		name := spec.TraceName
		if name == "" {
			name = "trace"
		}
		a.offsetsNs = make([]int64, len(spec.TraceMs))
		last := 0.0
		for k, ms := range spec.TraceMs {
			if ms < last || math.IsNaN(ms) {
				return nil, fmt.Errorf("trace offset %d is %v ms, before the one in front of it", k, ms)
			}
			last = ms
			a.offsetsNs[k] = int64(ms * 1e6)
		}
		rate := 0.0
		if last > 0 {
			rate = float64(len(spec.TraceMs)) / last * 1000
		}
		a.stages = []Stage{{Name: name, FromRate: rate, ToRate: rate, DurationMs: last + 1}}
		a.first = []int{0}
		return a, nil
	}
	if len(spec.Stages) == 0 {
		return nil, errors.New("there is neither a stage nor a trace")
	}
	type part struct {
		name  string
		phase tally.Phase
	}
	parts := map[part]bool{}
	rates := make([]schedule.Stage, len(spec.Stages))
	for k, s := range spec.Stages {
		phase, err := phaseOf(s.Phase)
		if err != nil {
			return nil, fmt.Errorf("stage %s: %w", s.Name, err)
		}
		if s.Name == "" || parts[part{s.Name, phase}] {
			return nil, fmt.Errorf("stage name %q is empty or stands twice in phase %s", s.Name, phase)
		}
		parts[part{s.Name, phase}] = true
		if rates[k], err = s.rate(); err != nil {
			return nil, fmt.Errorf("stage %s: %w", s.Name, err)
		}
		a.stages[k].DurationMs = rates[k].DurationMs()
	}
	var err error
	process := schedule.Process{Kind: spec.Arrival, CV: spec.CV, Seed: spec.Seed}
	if a.offsetsNs, a.stageOf, err = schedule.Times(rates, process); err != nil {
		return nil, err
	}
	a.first = firstOfStages(a.stages, a.stageOf)
	return a, nil
}

// firstOfStages returns by stage the arrival from which its indices count. Stages of one name (a warm-up and what it
// precedes) go on counting.
func firstOfStages(stages []Stage, stageOf []int) []int {
	before := map[string]int{}
	first := make([]int, len(stages))
	k := 0
	for stage, s := range stages {
		begin := k
		for k < len(stageOf) && stageOf[k] == stage {
			k++
		}
		first[stage] = begin - before[s.Name]
		before[s.Name] += k - begin
	}
	return first
}

// open begins the schedule, of which offsetNs have passed.
func (h *ArrivalsVU) open(ctx context.Context, offsetNs int64) error {
	h.a.opened.Do(func() {
		h.vu.LevelBegins(h.a.stages[0].Name) // it may take its time: nothing is due yet
		zeroNs := clock.Now() - offsetNs
		if !h.a.apart.Load() {
			if zeroNs, h.a.failed = h.a.divide(ctx, h.vu); h.a.failed != nil {
				return
			}
		}
		h.a.open(zeroNs)
		h.vu.ScheduleBegins(h.a.stages, h.a.zero)
	})
	return h.a.failed
}

// divide leaves of the schedule what is this instance's, and of the requests that may be in flight its share. It returns the
// time of offset 0, which all instances have in common.
func (a *Arrivals) divide(ctx context.Context, vu VU) (zeroNs int64, err error) {
	p, err := partOf(vu)
	if err != nil {
		return 0, err
	}
	if p.Divided() {
		share := p.Share(max(a.most, 1))
		a.mu.Lock()
		a.own = share.All(len(a.offsetsNs))
		if a.most > 0 {
			a.most = share.Slots
		}
		a.mu.Unlock()
	}
	if !p.Meets() {
		return clock.Now(), nil
	}
	zeroNs, _, err = p.Meet(ctx, "the arrivals", 0, true)
	if err == nil {
		clock.WaitUntil(ctx, zeroNs)
	}
	return zeroNs, err
}

// count is how many arrivals are this instance's.
func (a *Arrivals) count() int {
	if a.own != nil {
		return len(a.own)
	}
	return len(a.offsetsNs)
}

// number returns the place in the schedule of this instance's k-th arrival.
func (a *Arrivals) number(k int) int {
	if a.own != nil {
		return a.own[k]
	}
	return k
}

// open fixes the time of offset 0 and the stages' windows.
func (a *Arrivals) open(zeroNs int64) {
	a.begin.Do(func() {
		a.zero = zeroNs
		startNs := zeroNs
		for _, s := range a.stages {
			endNs := startNs + int64(s.DurationMs*1e6)
			if s.phase() == tally.Steady {
				closeNs := endNs
				if a.sessions && a.recorded {
					closeNs = 0
				}
				a.run.Tally().Open(s.Name, startNs, closeNs)
			}
			startNs = endNs
		}
	})
}

func (s *Stage) phase() tally.Phase {
	p, _ := phaseOf(s.Phase) // NewArrivals has checked it
	return p
}

// slot is the permission to send arrival k: its index is its place in the schedule, whichever VU wakes first.
func (a *Arrivals) slot(k int) *Slot {
	a.given.Add(1)
	stage := 0
	if a.stageOf != nil {
		stage = a.stageOf[k]
	}
	s := &Slot{
		Level: a.stages[stage].Name, Phase: a.stages[stage].phase(), Index: k - a.first[stage], Serial: k,
		scheduledNs: a.zero + a.offsetsNs[k],
	}
	if a.sessions {
		a.held.Add(1)
		s.turnAt = func(dueNs int64) (tally.Phase, bool) { return a.turn(s.Level, dueNs), true }
		return s
	}
	a.run.Tally().Scheduled(s.scheduledNs)
	return s
}

// turn returns the phase of a turn by its time: one that is due after its level's window is drain. All turns are sent.
func (a *Arrivals) turn(level string, dueNs int64) tally.Phase {
	openNs, closeNs, _ := a.run.Tally().Window(level)
	switch {
	case dueNs < openNs:
		return tally.Warmup
	case closeNs > 0 && dueNs >= closeNs:
		return tally.Drain
	}
	return tally.Steady
}

// takeBack is the end of a slot. With a trace's last session its window ends.
func (a *Arrivals) takeBack(s *Slot) {
	if !a.sessions {
		return
	}
	s.takenBack()
	if a.held.Add(-1) > 0 || a.given.Load() < int64(a.count()) || !a.recorded {
		return
	}
	name := a.stages[0].Name
	_, _, lastEndNs := a.run.Tally().Window(name)
	a.run.Tally().Close(name, lastEndNs)
}

// Next takes the next arrival of the schedule and waits until it is due; nil when there is none left or the iteration ends.
func (h *ArrivalsVU) Next(ctx context.Context) (*Slot, error) {
	a := h.a
	if err := h.open(ctx, 0); err != nil {
		return nil, err
	}
	k := int(a.next.Add(1) - 1)
	if k >= a.count() {
		return nil, nil
	}
	k = a.number(k)
	a.run.LateArrival(clock.Now() - a.zero - a.offsetsNs[k]) // a free VU would have taken it before it was due
	if !clock.WaitUntil(ctx, a.zero+a.offsetsNs[k]) {
		return nil, nil
	}
	return a.slot(k), nil
}

// Each has this VU release arrivals, on its event loop, with at most so many requests of its in flight.
func (h *ArrivalsVU) Each(ctx context.Context, loop Loop, clients int, send Send) error {
	if err := h.open(ctx, 0); err != nil {
		return err
	}
	h.ctx, h.clients, h.inFlight, h.held, h.full = ctx, clients, 0, -1, false
	return feed(ctx, loop, h, send, true)
}

// next implements source. The VU's clients are alike: it takes one arrival at a time and waits until that is due.
func (h *ArrivalsVU) next() (*Slot, noSlot) {
	a := h.a
	if h.held < 0 {
		if none, ok := h.takeArrival(); !ok {
			return nil, none
		}
	}
	if h.ctx.Err() != nil {
		h.held = -1
		a.giveBack()
		return nil, noSlot{over: true}
	}
	if dueNs := a.zero + a.offsetsNs[h.held]; dueNs > clock.Now() {
		return nil, noSlot{untilNs: dueNs}
	}
	s := a.slot(h.held)
	h.held = -1
	h.inFlight++
	return s, noSlot{}
}

// giveBack implements source.
func (h *ArrivalsVU) giveBack(s *Slot) {
	h.inFlight--
	h.a.takeBack(s)
	h.a.giveBack()
}

// wake implements source.
func (h *ArrivalsVU) wake() {}

// takeArrival takes the next arrival. Where none may be taken, ok is false: with too many requests in flight, or at the end.
func (h *ArrivalsVU) takeArrival() (none noSlot, ok bool) {
	a := h.a
	if h.ctx.Err() != nil {
		return noSlot{over: true}, false
	}
	if h.inFlight == h.clients {
		h.full = true
		return noSlot{}, false
	}
	if freed := a.reserve(); freed != nil {
		h.full = true
		return noSlot{on: freed}, false
	}
	k := int(a.next.Add(1) - 1)
	if k >= a.count() {
		a.giveBack()
		return noSlot{over: true}, false
	}
	k = a.number(k)
	if h.full {
		a.run.LateArrival(clock.Now() - a.zero - a.offsetsNs[k])
	}
	h.held, h.full = k, false
	return noSlot{}, true
}

// reserve takes one of the requests that may be in flight at once. Where all are taken it returns the channel that is closed
// when one may be free.
func (a *Arrivals) reserve() (freed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.most == 0 || a.inFlight < a.most {
		a.inFlight++
		return nil
	}
	if a.freed == nil {
		a.freed = make(chan struct{})
	}
	return a.freed
}

// giveBack is the end of what reserve began.
func (a *Arrivals) giveBack() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight--
	if a.freed != nil {
		close(a.freed)
		a.freed = nil
	}
}

// Unsent says in words what of the schedule was not sent, "" when all was.
func (a *Arrivals) Unsent() string {
	if given := a.given.Load(); given < int64(a.count()) && !a.apart.Load() {
		return fmt.Sprintf("%d of the schedule's %d requests were sent", given, a.count())
	}
	return ""
}

// Remaining returns how many requests of the schedule have still to be sent; known is false where k6's executors give them.
func (a *Arrivals) Remaining() (requests int, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(a.count()-int(a.given.Load()), 0), !a.apart.Load()
}

// At returns the slot of the k-th arrival, at once: k6's executors decide when it is sent. nil where k is below 0 or the
// schedule is empty.
func (h *ArrivalsVU) At(k int) *Slot {
	a := h.a
	if k < 0 || len(a.offsetsNs) == 0 {
		return nil
	}
	a.apart.Store(true)
	// k6's executors may start one iteration more than the integral of the rate.
	last := min(k, len(a.offsetsNs)-1)
	_ = h.open(context.Background(), a.offsetsNs[last]) // nothing is divided here: k6 does it
	s := a.slot(last)
	s.Index += k - last
	s.Serial = k
	return s
}
