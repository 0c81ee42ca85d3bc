package tokenclock

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// stageSpec is StageSpec of index.d.ts.
type stageSpec struct {
	Name       string         `js:"name"`
	FromRate   float64        `js:"fromRate"`
	ToRate     float64        `js:"toRate"`
	DurationMs float64        `js:"durationMs"`
	Phase      string         `js:"phase"`
	Labels     map[string]any `js:"labels"`
}

// arrivalSpec is ArrivalSpec of index.d.ts.
type arrivalSpec struct {
	Stages    []stageSpec `js:"stages"`
	Arrival   string      `js:"arrival"`
	CV        float64     `js:"cv"`
	Seed      uint64      `js:"seed"`
	TraceMs   []float64   `js:"traceMs"`
	TraceName string      `js:"traceName"`

	MaxInFlight int  `js:"maxInFlight"`
	Sessions    bool `js:"sessions"`
}

// arrivals is a schedule of sends, shared by all VUs of the process.
type arrivals struct {
	stages    []stageSpec
	offsetsNs []int64
	stageOf   []int

	run      *run
	opened   sync.Once
	begin    sync.Once
	next     atomic.Int64
	given    atomic.Int64 // slots that a VU took from the schedule
	apart    atomic.Bool  // slot(i) is used: k6 decides what is sent, and counts what it drops
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

// arrivalsOf is a VU's hold on the shared schedule.
type arrivalsOf struct {
	i *instance
	a *arrivals
}

func (i *instance) newArrivals(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	a, err := shared(i.root, "arrivals", call.Argument(0).String(), func() (*arrivals, error) {
		var spec arrivalSpec
		if err := decode(rt, call.Argument(1), &spec); err != nil {
			return nil, err
		}
		a, err := newArrivals(spec)
		if err == nil {
			i.needConnections(min(spec.MaxInFlight, len(a.offsetsNs)))
		}
		return a, err
	})
	if err != nil {
		i.throw(fmt.Errorf("new Arrivals: %w", err))
	}
	run := i.root.current()
	i.root.mu.Lock()
	if a.run == nil {
		a.run = run
		a.declareLevels()
		run.addShape(a)
	}
	i.root.mu.Unlock()
	return (&arrivalsOf{i: i, a: a}).object(rt)
}

// object is what JavaScript sees of the schedule. Its methods are native functions: `each` hands functions over.
func (h *arrivalsOf) object(rt *sobek.Runtime) *sobek.Object {
	orNull := func(s *slot) sobek.Value {
		if s == nil {
			return sobek.Null()
		}
		return rt.ToValue(s)
	}
	o := h.i.methods(map[string]func(call sobek.FunctionCall) sobek.Value{
		"next": func(sobek.FunctionCall) sobek.Value { return orNull(h.Next()) },
		"slot": func(call sobek.FunctionCall) sobek.Value { return orNull(h.Slot(int(call.Argument(0).ToInteger()))) },
		"each": func(call sobek.FunctionCall) sobek.Value {
			h.Each(h.i.clientsArgument("arrivals.each", call.Argument(0)), h.i.callbacksOf("arrivals.each", call.Argument(1), call.Argument(2)))
			return sobek.Undefined()
		},
	})
	if err := o.DefineDataProperty("count", rt.ToValue(len(h.a.offsetsNs)), sobek.FLAG_FALSE, sobek.FLAG_FALSE, sobek.FLAG_TRUE); err != nil {
		h.i.throw(err)
	}
	return o
}

// declareLevels names the levels. A warm-up may share its name with the stage that it precedes; the level is that stage's.
func (a *arrivals) declareLevels() {
	for _, steady := range []bool{true, false} {
		for _, s := range a.stages {
			if steady == (s.phase() == tally.Steady) {
				a.run.tally.Level(tally.Spec{Name: s.Name, Rate: max(s.FromRate, s.ToRate), Labels: s.Labels})
			}
		}
	}
}

// newArrivals computes the whole schedule. The i-th arrival comes when the integral of the rate reaches the sum of the
// first i gaps of a process with rate 1 (time rescaling): every gap 1 for constant arrivals, exponential for poisson,
// gamma distributed with the given coefficient of variation for gamma.
func newArrivals(spec arrivalSpec) (*arrivals, error) {
	a := &arrivals{stages: spec.Stages, most: spec.MaxInFlight, sessions: spec.Sessions, recorded: len(spec.TraceMs) > 0}
	if len(spec.TraceMs) > 0 {
		name := spec.TraceName
		if name == "" {
			name = "trace"
		}
		last := 0.0
		for k, ms := range spec.TraceMs {
			if ms < last || math.IsNaN(ms) {
				return nil, fmt.Errorf("trace offset %d is %v ms, before the one in front of it", k, ms)
			}
			last = ms
			a.offsetsNs = append(a.offsetsNs, int64(ms*1e6))
			a.stageOf = append(a.stageOf, 0)
		}
		rate := 0.0
		if last > 0 {
			rate = float64(len(spec.TraceMs)) / last * 1000
		}
		a.stages = []stageSpec{{Name: name, FromRate: rate, ToRate: rate, DurationMs: last + 1}}
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
	for _, s := range spec.Stages {
		phase, err := phaseOf(s.Phase)
		if err != nil {
			return nil, fmt.Errorf("stage %s: %w", s.Name, err)
		}
		if s.Name == "" || parts[part{s.Name, phase}] {
			return nil, fmt.Errorf("stage name %q is empty or stands twice in phase %s", s.Name, phase)
		}
		parts[part{s.Name, phase}] = true
		if !(s.FromRate >= 0) || !(s.ToRate >= 0) || !(s.DurationMs > 0) {
			return nil, fmt.Errorf("stage %s: rates must be at least 0 and durationMs above 0", s.Name)
		}
	}
	gap, err := gapSource(spec)
	if err != nil {
		return nil, err
	}
	due := 0.0 // in arrivals of rate 1
	if spec.Arrival == "poisson" || spec.Arrival == "gamma" {
		due = gap()
	}
	before, startMs := 0.0, 0.0 // integral of the rate, and time, up to the stage
	for k, s := range spec.Stages {
		d := s.DurationMs / 1000
		in := (s.FromRate + s.ToRate) / 2 * d
		for due < before+in {
			t := timeOf(due-before, s.FromRate, s.ToRate, d)
			a.offsetsNs = append(a.offsetsNs, int64((startMs/1000+t)*1e9))
			a.stageOf = append(a.stageOf, k)
			due += gap()
			if len(a.offsetsNs) > 50_000_000 {
				return nil, errors.New("more than 50,000,000 arrivals")
			}
		}
		before += in
		startMs += s.DurationMs
	}
	a.first = firstOfStages(a.stages, a.stageOf)
	return a, nil
}

// firstOfStages returns by stage the arrival from which its indices count. Stages of one name (a warm-up and what it
// precedes) go on counting.
func firstOfStages(stages []stageSpec, stageOf []int) []int {
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

// timeOf returns the t at which the integral of a rate that goes from r0 to r1 in d seconds reaches n.
func timeOf(n, r0, r1, d float64) float64 {
	slope := (r1 - r0) / d
	switch {
	case n == 0:
		return 0
	case slope == 0:
		return n / r0
	}
	// r0*t + slope*t²/2 = n, in the form that loses no digits for small slopes.
	return 2 * n / (r0 + math.Sqrt(max(r0*r0+2*slope*n, 0)))
}

func gapSource(spec arrivalSpec) (func() float64, error) {
	rng := rand.New(rand.NewPCG(spec.Seed, 0x746f6b656e636c6b))
	switch spec.Arrival {
	case "", "constant":
		return func() float64 { return 1 }, nil
	case "poisson":
		return rng.ExpFloat64, nil
	case "gamma":
		if !(spec.CV > 0) {
			return nil, fmt.Errorf("gamma arrivals need a coefficient of variation above 0, got %v", spec.CV)
		}
		shape := 1 / (spec.CV * spec.CV)
		return func() float64 { return gamma(rng, shape) / shape }, nil
	}
	return nil, fmt.Errorf("arrival %q is not one of constant, poisson, gamma", spec.Arrival)
}

// gamma draws from the gamma distribution of that shape and scale 1 (Marsaglia and Tsang 2000).
func gamma(rng *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(rng, shape+1) * math.Pow(1-rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if u := 1 - rng.Float64(); math.Log(u) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// open begins the schedule, of which offsetNs have passed.
func (h *arrivalsOf) open(offsetNs int64) {
	h.a.opened.Do(func() {
		h.i.levelBegins(h.a.stages[0].Name) // it may take its time: nothing is due yet
		h.a.open(clock.Now() - offsetNs)
		h.i.watchStages(h.i.vu.Context(), h.a.stages, h.a.zero)
	})
}

// open fixes the time of offset 0 and the stages' windows.
func (a *arrivals) open(zeroNs int64) {
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
				a.run.tally.Open(s.Name, startNs, closeNs)
			}
			startNs = endNs
		}
	})
}

func (s *stageSpec) phase() tally.Phase {
	p, _ := phaseOf(s.Phase) // newArrivals has checked it
	return p
}

// slot is the permission to send arrival k: its index is its place in the schedule, whichever VU wakes first.
func (a *arrivals) slot(k int) *slot {
	a.given.Add(1)
	stage := a.stageOf[k]
	s := &slot{
		Level: a.stages[stage].Name, Phase: string(a.stages[stage].phase()), Index: k - a.first[stage], Serial: k,
		scheduledNs: a.zero + a.offsetsNs[k],
	}
	if a.sessions {
		a.held.Add(1)
		s.turnAt = func(dueNs int64) (tally.Phase, bool) { return a.turn(s.Level, dueNs), true }
		return s
	}
	a.run.tally.Asked(s.scheduledNs)
	return s
}

// turn returns the phase of a turn by its time: one that is due after its level's window is drain. All turns are sent.
func (a *arrivals) turn(level string, dueNs int64) tally.Phase {
	openNs, closeNs, _ := a.run.tally.Window(level)
	switch {
	case dueNs < openNs:
		return tally.Warmup
	case closeNs > 0 && dueNs >= closeNs:
		return tally.Drain
	}
	return tally.Steady
}

// takeBack is the end of a slot. With a trace's last session its window ends.
func (a *arrivals) takeBack(s *slot) {
	if !a.sessions {
		return
	}
	s.takenBack()
	if a.held.Add(-1) > 0 || a.given.Load() < int64(len(a.offsetsNs)) || !a.recorded {
		return
	}
	name := a.stages[0].Name
	_, _, lastEndNs := a.run.tally.Window(name)
	a.run.tally.Close(name, lastEndNs)
}

// Next is `arrivals.next()`.
func (h *arrivalsOf) Next() *slot {
	a := h.a
	settleCollector()
	h.open(0)
	k := int(a.next.Add(1) - 1)
	if k < len(a.offsetsNs) && float64(clock.Now()-a.zero-a.offsetsNs[k]) > maxQueueDelayMs*1e6 {
		a.run.noVUFree.Add(1) // a free one would have taken it before it was due
	}
	if k >= len(a.offsetsNs) || !waitUntil(h.i.vu.Context(), a.zero+a.offsetsNs[k]) {
		return nil
	}
	return a.slot(k)
}

// Each is `arrivals.each(clients, send, failed?)`: this VU releases arrivals with at most so many requests of its in flight.
func (h *arrivalsOf) Each(perVU int, f callbacks) {
	settleCollector()
	h.open(0)
	v := &arrivalCarrier{a: h.a, carrier: newCarrier(h.i, f), waiter: waiter{i: h.i, ctx: h.i.vu.Context(), exact: true}, perVU: perVU, next: -1}
	v.waiter.again = v.release
	h.i.rethrow(v.release())
}

// arrivalCarrier releases the arrivals that one VU takes from the schedule. Only the goroutine of the VU's event loop uses it.
type arrivalCarrier struct {
	a        *arrivals
	carrier  carrier
	waiter   waiter
	perVU    int
	inFlight int
	next     int  // the arrival that it has taken and that is not due yet; -1 = none
	full     bool // it was kept from taking one by the requests in flight
}

// release sends what is due and waits for the next arrival.
func (v *arrivalCarrier) release() error {
	a := v.a
	for {
		if v.next < 0 && !v.take() {
			return nil
		}
		if v.waiter.ctx.Err() != nil {
			v.next = -1
			a.giveBack()
			return nil
		}
		if dueNs := a.zero + a.offsetsNs[v.next]; dueNs > clock.Now() {
			v.waiter.wait(nil, dueNs)
			return nil
		}
		s := a.slot(v.next)
		v.next = -1
		v.inFlight++
		over := func() {
			v.inFlight--
			a.takeBack(s)
			a.giveBack()
		}
		ended, err := v.carrier.send(s, func() error {
			over()
			return v.release()
		})
		if ended || err != nil {
			over()
		}
		if err != nil {
			return err
		}
	}
}

// take takes the next arrival, and reports whether there is one that may be released: with too many requests in flight, none.
func (v *arrivalCarrier) take() bool {
	a := v.a
	if v.waiter.ctx.Err() != nil {
		return false
	}
	if v.inFlight == v.perVU {
		v.full = true // the end of a request calls release
		return false
	}
	if freed := a.reserve(); freed != nil {
		v.full = true
		v.waiter.wait(freed, 0)
		return false
	}
	k := int(a.next.Add(1) - 1)
	if k >= len(a.offsetsNs) {
		a.giveBack()
		return false
	}
	if v.full && float64(clock.Now()-a.zero-a.offsetsNs[k]) > maxQueueDelayMs*1e6 {
		a.run.noVUFree.Add(1)
	}
	v.next, v.full = k, false
	return true
}

// reserve takes one of the requests that may be in flight at once. Where all are taken it returns the channel that is closed
// when one may be free.
func (a *arrivals) reserve() (freed <-chan struct{}) {
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
func (a *arrivals) giveBack() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight--
	if a.freed != nil {
		close(a.freed)
		a.freed = nil
	}
}

// unsent implements shape.
func (a *arrivals) unsent() string {
	if given := a.given.Load(); given < int64(len(a.offsetsNs)) && !a.apart.Load() {
		return fmt.Sprintf("%d of the schedule's %d requests were sent", given, len(a.offsetsNs))
	}
	return ""
}

// Slot is `arrivals.slot(i)`.
func (h *arrivalsOf) Slot(k int) *slot {
	a := h.a
	if k < 0 || len(a.offsetsNs) == 0 {
		return nil
	}
	a.apart.Store(true)
	// k6's executors may start one iteration more than the integral of the rate.
	last := min(k, len(a.offsetsNs)-1)
	h.open(a.offsetsNs[last])
	s := a.slot(last)
	s.Index += k - last
	s.Serial = k
	return s
}
