package tally

import (
	"slices"
	"sync"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// Run folds a whole run. Its methods may be called from any goroutine.
type Run struct {
	// Now returns the present time. Nothing has happened later than a second after it, so a later time, an error of a clock,
	// counts there: the table of seconds would grow to meet it. nil = there is no such limit.
	Now func() int64
	// Slices is into how many equal parts the window of each level is divided whose end is known when it opens; 0 = none.
	Slices int
	// Memory returns what the client's memory takes, in bytes; nil = it is not looked at.
	Memory func() int64
	// Opened is called when a level's steady window opens; nil = nobody wants to know. It must not call the run.
	Opened func()

	mu      sync.Mutex
	slo     SLO
	order   []string
	levels  map[string]*level
	total   *level
	zeroNs  int64 // where second 0 begins; 0 = not known yet
	seconds []second
	sendUnc distribution
	retried int64

	scheduled int64  // requests, of any phase
	opened    string // the level whose window opened last
}

// second is one second of the run. Latencies are folded into figures when the second is long over.
type second struct {
	scheduled, scheduledFailed            int64
	sent, left, succeeded, failed, tokens int64 // left: sent ones that ended
	latencies                             []int64
	measured                              int64 // latencies so far
	sum                                   float64
	p50, p95                              float64
}

// keepSeconds is how long a second's latencies are kept exactly.
const keepSeconds = 120

// Second is one second of the run; extension/index.d.ts documents the fields.
type Second struct {
	T               int     `json:"t" js:"t"`
	Scheduled       int64   `json:"scheduled" js:"scheduled"`
	Sent            int64   `json:"sent" js:"sent"`
	Succeeded       int64   `json:"succeeded" js:"succeeded"`
	Failed          int64   `json:"failed" js:"failed"`
	ScheduledFailed int64   `json:"scheduledFailed" js:"scheduledFailed"`
	MeanMs          float64 `json:"meanMs" js:"meanMs"`
	P50Ms           float64 `json:"p50Ms" js:"p50Ms"`
	P95Ms           float64 `json:"p95Ms" js:"p95Ms"`
	InFlight        int64   `json:"inFlight" js:"inFlight"`
	OutputTokens    int64   `json:"outputTokens" js:"outputTokens"`
}

// NewRun returns an empty run.
func NewRun(slo SLO) *Run {
	return &Run{slo: slo, levels: map[string]*level{}, total: newLevel(Spec{Name: "total"})}
}

// SLO returns what a request of a level must meet to be good; "" is a request of none.
func (r *Run) SLO(level string) SLO {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.levels[level]; l != nil {
		return r.slo.own(l.spec.Labels)
	}
	return r.slo
}

// Level declares a level, so that it is reported even when nothing reaches it.
func (r *Run) Level(s Spec) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.levels[s.Name] == nil {
		r.levels[s.Name] = newLevel(s)
		r.order = append(r.order, s.Name)
	}
}

// Open begins a level's steady window; closeNs is its end where that is known already, else 0.
func (r *Run) Open(name string, openNs, closeNs int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.levels[name]; l != nil && l.openNs == 0 {
		l.open(openNs, closeNs, r.Slices)
		r.opened = name
		if r.Opened != nil {
			r.Opened()
		}
		if r.zeroNs == 0 {
			r.zeroNs = openNs
		}
		if r.total.openNs == 0 || openNs < r.total.openNs {
			r.total.openNs = openNs
		}
	}
}

// Close ends a level's steady window, at a time not before any request folded so far had ended.
func (r *Run) Close(name string, closeNs int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.levels[name]; l != nil && l.openNs > 0 && l.closeNs == 0 {
		l.closeNs = closeNs
	}
}

// CacheCounted notes what the server's own counters of its prefix cache grew by while a level ran, in tokens; "" is the run.
func (r *Run) CacheCounted(name string, hits, queries float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.levels[name]
	if name == "" {
		l = r.total
	}
	if l != nil {
		l.cacheCounted, l.cacheHits, l.cacheQueries = true, hits, queries
	}
}

// CacheCounts returns what CacheCounted added for a level.
func (r *Run) CacheCounts(name string) (hits, queries float64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.levels[name]; l != nil {
		return l.cacheHits, l.cacheQueries, l.cacheCounted
	}
	return 0, 0, false
}

// Window returns a level's window and last end.
func (r *Run) Window(name string) (openNs, closeNs, lastEndNs int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.levels[name]; l != nil {
		return l.openNs, l.closeNs, l.lastEndNs
	}
	return 0, 0, 0
}

// Scheduled counts a request by the time at which it is due.
func (r *Run) Scheduled(scheduledNs int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scheduled++
	if r.inSeconds(scheduledNs) {
		r.second(scheduledNs).scheduled++
	}
}

// inSeconds reports whether a request due at dueNs counts in the run's seconds. They begin with the first steady window, so
// that they are those of the load and not of what came before it; where no level is declared, with the first request.
func (r *Run) inSeconds(dueNs int64) bool {
	if r.zeroNs == 0 && len(r.order) == 0 {
		r.zeroNs = dueNs
	}
	return r.zeroNs > 0 && dueNs >= r.zeroNs
}

// Add folds one ended request and returns its figures and whether it is good.
func (r *Run) Add(o *Observation) (f Figures, good bool) {
	f = o.Figure()
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.levels[o.Level]
	slo := r.slo
	if l != nil {
		slo = slo.own(l.spec.Labels)
	}
	good = o.Failure == stream.None && slo.Met(f)
	if o.SentNs > 0 {
		r.sendUnc.add(o.SentUncertaintyNs, 1)
	}
	r.retried += int64(o.Retries)
	if dueNs := firstOf(o.ScheduledNs, o.StartedNs); r.inSeconds(dueNs) {
		r.addToSeconds(o, f, dueNs)
	}
	if l != nil {
		l.add(o, f, slo)
		l.addToSlices(o, f, r.Memory)
	}
	if r.total.openNs == 0 {
		r.total.openNs = firstOf(o.ScheduledNs, o.StartedNs)
	}
	all := *o
	all.Phase = Steady // the whole run, warm-up and drain included
	r.total.add(&all, f, r.slo)
	return f, good
}

// addToSeconds counts what happened to a request, each in the second in which it happened.
func (r *Run) addToSeconds(o *Observation, f Figures, dueNs int64) {
	if o.SentNs > 0 {
		r.second(o.SentNs).sent++
		r.second(o.EndNs).left++
	}
	s := r.second(o.EndNs)
	if o.Failure != stream.None {
		s.failed++
		r.second(dueNs).scheduledFailed++
		return
	}
	s.succeeded++
	if f.E2E >= 0 {
		s.latencies = append(s.latencies, f.E2E)
		s.measured++
		s.sum += float64(f.E2E)
	}
	o.Chunks(func(atNs int64, tokens, _ int) { r.second(atNs).tokens += int64(tokens) })
}

// second returns the second in which a time lies; one before second 0 (a clock's error) counts in that.
func (r *Run) second(ns int64) *second {
	if r.Now != nil {
		ns = min(ns, r.Now()+1e9)
	}
	i := int(max(ns-r.zeroNs, 0) / 1e9)
	for len(r.seconds) <= i {
		r.seconds = append(r.seconds, second{})
		if old := len(r.seconds) - keepSeconds; old >= 0 {
			r.seconds[old].fold()
		}
	}
	return &r.seconds[i]
}

func (s *second) fold() {
	if len(s.latencies) > 0 {
		slices.Sort(s.latencies)
		s.p50, s.p95 = Quantile(s.latencies, .5)/1e6, Quantile(s.latencies, .95)/1e6
	}
	s.latencies = nil
}

// Levels returns the levels' figures in the order in which they were declared.
func (r *Run) Levels(nowNs int64) []LevelSummary {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]LevelSummary, 0, len(r.order))
	for _, name := range r.order {
		l := r.levels[name]
		out = append(out, l.summary(r.slo.own(l.spec.Labels), nowNs))
	}
	return out
}

// ITLHistograms returns the pooled inter-token latency of a level by phase, in ns, in HdrHistogram's compressed V2 encoding
// as base64: histograms of several levels or runs can be added up. A phase without a value is left out.
func (r *Run) ITLHistograms(name string) map[Phase]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	encoded := map[Phase]string{}
	if l := r.levels[name]; l != nil {
		for phase, itl := range l.itl {
			if itl.count > 0 {
				encoded[phase] = itl.encoded()
			}
		}
	}
	return encoded
}

// ClockErrors returns how many of a level's steady requests have an impossible latency.
func (r *Run) ClockErrors(name string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.levels[name]; l != nil {
		return l.clockErrors
	}
	return 0
}

// ClientMB returns the client's memory by part of a level's window, in MB; nil where the window has no parts.
func (r *Run) ClientMB(name string) []float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.levels[name]
	if l == nil {
		return nil
	}
	var memory []float64
	for _, s := range l.sliceFigures() {
		memory = append(memory, s.ClientMB)
	}
	return memory
}

// Total returns the figures of the whole run, warm-up and drain included.
func (r *Run) Total(nowNs int64) LevelSummary {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total.summary(r.slo, nowNs)
}

// Interrupted returns how many requests the end of the run cut off.
func (r *Run) Interrupted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total.failures[string(stream.Interrupted)]
}

// Seconds returns the run second by second, from the opening of its first steady window on.
func (r *Run) Seconds() []Second {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Second, 0, len(r.seconds))
	inFlight := int64(0)
	for i := range r.seconds {
		s := &r.seconds[i]
		inFlight += s.sent - s.left
		p50, p95 := s.p50, s.p95
		if len(s.latencies) > 0 {
			slices.Sort(s.latencies)
			p50, p95 = Quantile(s.latencies, .5)/1e6, Quantile(s.latencies, .95)/1e6
		}
		sec := Second{
			T: i, Scheduled: s.scheduled, ScheduledFailed: s.scheduledFailed, Sent: s.sent, Succeeded: s.succeeded, Failed: s.failed,
			P50Ms: p50, P95Ms: p95, InFlight: max(inFlight, 0), OutputTokens: s.tokens,
		}
		if s.measured > 0 {
			sec.MeanMs = s.sum / float64(s.measured) / 1e6
		}
		out = append(out, sec)
	}
	return out
}

// Receives returns how many receives of the whole run, or pieces of them, each source stamped, and how many requests the
// ring stamped only in part.
func (r *Run) Receives() (ring, socket, user, mixed int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total.ringReceives, r.total.kernelReceives - r.total.ringReceives, r.total.userReceives, r.total.mixed
}

// Client returns what concerns the client itself: the uncertainty of its sends and how often a request was sent again
// because the server had closed a kept-alive connection.
func (r *Run) Client() (sendUncertaintyMs Stats, retried int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sendUnc.stats(1e6), r.retried
}
