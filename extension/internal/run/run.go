// Package run is the state of one test run: what was measured, how it ended, and whether the client measured the server or
// itself.
package run

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sirupsen/logrus"
	"go.k6.io/k6/v2/errext/exitcodes"

	"github.com/tokenclock/tokenclock/extension/internal/access"
	"github.com/tokenclock/tokenclock/extension/internal/auth"
	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/host"
	"github.com/tokenclock/tokenclock/extension/internal/process"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
	"github.com/tokenclock/tokenclock/extension/internal/version"
)

// Spec is RunSpec of index.d.ts.
type Spec struct {
	Scenario string         `js:"scenario"`
	Config   map[string]any `js:"config"`
	SLOMs    records.SLOMs  `js:"sloMs"`

	Cache      string `js:"cache"`
	ResultsDir string `js:"resultsDir"`
	Stamps     string `js:"stamps"`
	Judged     bool   `js:"judged"`
	Live       string `js:"live"` // auto, true or false; "" = false
	Profile    any    `js:"profile"`

	MaxStolen *float64 `js:"maxStolen"` // %; nil = 100 * maxPausedShare

	Slices int `js:"slices"`

	Digests map[string]string `js:"digests"`
	Access  *access.Spec      `js:"access"`
}

// Env is what a run has of its process.
type Env struct {
	Log         *records.Log
	Logger      logrus.FieldLogger      // nil = nobody to tell
	Interrupted func() bool             // reports whether a signal ended the process; nil never does
	Credentials func() auth.Credentials // of the run; it returns nil where it has none
	Part        func() *Part            // of the load; it returns nil where the process is alone
	Watched     bool                    // somebody sees the log as it grows: LIVE=auto has a line a second
}

func (e Env) part() *Part {
	if e.Part == nil {
		return nil
	}
	return e.Part()
}

// LogError logs a fault.
func (r *Run) LogError(line string) { r.logError(line) }

// Run is the state of one test run.
type Run struct {
	spec   Spec
	env    Env
	tally  *tally.Run
	probe  *probe
	live   *live // nil = no line a second
	stamps records.Stamps
	ring   atomic.Pointer[host.RingStats]

	over     sync.Map                 // levels whose line was written
	reported atomic.Pointer[Validity] // what the level metrics made of the client

	noVUFree  atomic.Int64   // arrivals that were long due when a VU became free for them
	ownLimits atomic.Int64   // requests that this host had no descriptor, port or memory for ...
	ownLimit  atomic.Uintptr // ... and the errno of the first
	clients   atomic.Int64   // that have sent, of all VUs
	sent      atomic.Int64   // requests that were handed to the client
	wholeOnce sync.Once      // the line about replies that were no stream
	keyOnce   sync.Once      // the line about a key that the server refuses

	keyRetries atomic.Int64 // requests that were sent once more with another key
	requestID  atomic.Uint64
	idPrefix   string

	concluded atomic.Pointer[int] // the exit code that handleSummary came to
	loadsMu   sync.Mutex
	loads     []Load
}

// New begins a run: its records get their first line.
func New(spec Spec, env Env) *Run {
	slo := tally.SLO{TTFT: int64(spec.SLOMs.TTFT * 1e6), TPOT: int64(spec.SLOMs.TPOT * 1e6), E2E: int64(spec.SLOMs.E2E * 1e6)}
	r := &Run{
		spec: spec, env: env, tally: tally.NewRun(slo), probe: &probe{},
		idPrefix: "tc-" + strconv.FormatInt(clock.StartUnixNs(), 36) + "-", stamps: stampsOfProcess(),
	}
	r.tally.Now, r.tally.Slices, r.tally.Memory = clock.Now, spec.Slices, host.ResidentBytes
	if env.Logger != nil && (spec.Live == "true" || spec.Live == "auto" && env.Watched) {
		r.live = &live{say: func(line string) { env.Logger.Info(line) }, look: r.progress}
	}
	mode, class := client.ReaderState()
	env.Log.Begin(records.Run{
		Type: "run", Schema: 1, Scenario: spec.Scenario, StartUnixNs: clock.StartUnixNs(), Config: spec.Config, SLOMs: spec.SLOMs,
		Profile: spec.Profile, Digests: spec.Digests, Versions: version.OfProcess(), Stamps: r.stamps, Reader: mode, ReaderClass: class,
	}, r.finish)
	return r
}

// Spec returns what the run was declared with.
func (r *Run) Spec() Spec { return r.spec }

// Tally returns the run's figures.
func (r *Run) Tally() *tally.Run { return r.tally }

// NextID returns a request id that the run has not given yet.
func (r *Run) NextID() string { return r.idPrefix + strconv.FormatUint(r.requestID.Add(1), 10) }

// SessionID returns the id of the session that a load's slot of that serial number holds.
func (r *Run) SessionID(serial int) string { return r.idPrefix + "s" + strconv.Itoa(serial) }

// SessionOver folds a session into the figures and writes its line.
func (r *Run) SessionOver(id string, of *tally.Session) {
	r.tally.AddSession(of)
	r.env.Log.Line(records.Session{
		Type: "session", ID: id, Level: of.Level, Phase: of.Phase, Outcome: of.Outcome, Turns: of.Turns, NotSent: of.NotSent,
		StartNs: of.StartNs, EndNs: of.EndNs, WaitNs: of.WaitNs,
	})
}

// Began is called before each request. The first one starts what watches the process.
func (r *Run) Began() {
	r.probe.start()
	r.live.start()
}

// AddSent counts a request that is handed to the client.
func (r *Run) AddSent() { r.sent.Add(1) }

// AddClient counts a client that sends its first request.
func (r *Run) AddClient() { r.clients.Add(1) }

// Add folds a request into the figures. It returns the request's own, and whether they kept the latency limits of goodput.
func (r *Run) Add(o *tally.Observation) (f tally.Figures, good bool) {
	r.probe.saw(o)
	return r.tally.Add(o)
}

// LateArrival counts an arrival that found a VU free only so long after it was due, where that is too late for a sound run.
func (r *Run) LateArrival(byNs int64) {
	if float64(byNs) > maxQueueDelayMs*1e6 {
		r.noVUFree.Add(1)
	}
}

// HitOwnLimit counts a request that this host could open no connection for.
func (r *Run) HitOwnLimit(errno syscall.Errno) {
	r.ownLimits.Add(1)
	r.ownLimit.CompareAndSwap(0, uintptr(errno))
}

// WarnWhole says once that what was asked for as a stream came as a whole: no figure that needs tokens one by one exists.
func (r *Run) WarnWhole() {
	r.wholeOnce.Do(func() {
		if r.env.Logger != nil {
			r.env.Logger.Warn("tokenclock: STREAM=true, but the server replied without an event stream (its type is not text/event-stream): " +
				"such requests have no TTFT, TPOT or ITL; does the server or a gateway before it ignore stream: true?")
		}
	})
}

// LevelOver writes a level's line, once.
func (r *Run) LevelOver(s tally.Spec) {
	if _, twice := r.over.LoadOrStore(s.Name, true); twice {
		return
	}
	r.announce(s.Name)
	openNs, closeNs, endNs := r.tally.Window(s.Name)
	line := records.Level{
		Type: "level", Name: s.Name, Concurrency: s.Concurrency, Rate: s.Rate, BatchSize: s.BatchSize, Labels: s.Labels,
		OpenNs: openNs, CloseNs: closeNs, EndNs: endNs, ClockErrors: r.tally.ClockErrors(s.Name), ITLHistograms: r.tally.ITLHistograms(s.Name),
	}
	if memory := r.tally.ClientMB(s.Name); memory != nil {
		line.ClientMB = [][]float64{memory}
	}
	if hits, queries, ok := r.tally.CacheCounts(s.Name); ok {
		line.CacheHits, line.CacheQueries = &hits, &queries
	}
	r.env.Log.Line(line)
}

// announce tells whoever watches a long run that a level is over.
func (r *Run) announce(level string) {
	if r.env.Logger == nil {
		return
	}
	for _, l := range r.tally.Levels(clock.Now()) {
		if l.Name == level {
			r.env.Logger.Infof("level %s is over: %d of %d requests completed in %.1f s", level, l.Completed, l.Requests, l.Whole.DurationS)
		}
	}
}

// finish writes the lines that end the records: levels that the run's end cut, and the verdict on the client.
func (r *Run) finish() {
	r.probe.stop()
	r.live.stop()
	r.readRing()
	now := clock.Now()
	levels := r.tally.Levels(now)
	for _, l := range levels {
		if l.DurationS > 0 || l.Whole.Requests > 0 {
			r.LevelOver(tally.Spec{Name: l.Name, Concurrency: l.Concurrency, Rate: l.Rate, BatchSize: l.BatchSize, Labels: l.Labels})
		}
	}
	ended, unsent := r.Ended()
	r.env.Log.Line(records.End{
		Type: "end", EndNs: now, Ended: ended, Unsent: unsent, Schedule: r.schedule(), Validity: r.judge(levels, r.tally.Total(now), 0),
	})
}

// ExitCode returns what a run ends with for which k6 itself would end with k6Code. k6's own codes stand but for 0 and that
// of crossed thresholds: those know nothing of what makes a run invalid.
func (r *Run) ExitCode(k6Code int) int {
	if !r.spec.Judged || k6Code != 0 && k6Code != int(exitcodes.ThresholdsHaveFailed) {
		return k6Code
	}
	if judged := r.concluded.Load(); judged == nil {
		r.logError("tokenclock: nobody judged this run: its handleSummary did not run (--summary-mode=disabled?) or failed")
		return process.ExitNotValid
	} else if *judged != 0 {
		return *judged
	}
	if err := r.env.Log.Failure(); err != nil {
		r.logError(fmt.Sprintf("tokenclock: the records are not whole: %v", err))
		return process.ExitNotValid
	}
	return k6Code
}

// Conclude takes over the exit code that the script's verdict came to.
func (r *Run) Conclude(code int) { r.concluded.Store(&code) }

// Load is a load that knows whether all of it was sent.
type Load interface {
	// Unsent says in words what of the load was not sent, "" when all was.
	Unsent() string
}

// How a run ended.
const (
	endedComplete    = "complete"    // all of the load was sent and waited for
	endedCut         = "cut"         // MAX_DURATION, an abort or a request through k6's REST API ended it
	endedInterrupted = "interrupted" // by a signal
)

// Ended returns how the run ended, for when it has, and what of its load is missing.
func (r *Run) Ended() (how, missing string) {
	r.loadsMu.Lock()
	loads := slices.Clone(r.loads)
	r.loadsMu.Unlock()
	for _, l := range loads {
		if missing = l.Unsent(); missing != "" {
			break
		}
	}
	if n := r.tally.Interrupted(); missing == "" && n > 0 {
		missing = fmt.Sprintf("%d requests were cut off by the end of the run", n)
	}
	switch {
	case r.env.Interrupted != nil && r.env.Interrupted():
		return endedInterrupted, missing
	case missing != "":
		return endedCut, missing
	}
	return endedComplete, ""
}

// AddLoad makes a load count in how the run ended, once.
func (r *Run) AddLoad(l Load) {
	r.loadsMu.Lock()
	defer r.loadsMu.Unlock()
	if !slices.Contains(r.loads, l) {
		r.loads = append(r.loads, l)
	}
}

func (r *Run) logError(line string) {
	if r.env.Logger != nil {
		r.env.Logger.Error(line)
	}
}
