package tokenclock

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/grafana/sobek"
	"github.com/sirupsen/logrus"

	"github.com/tokenclock/tokenclock/extension/internal/access"
	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/host"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// run is the state of one test run.
type run struct {
	scenario  string
	config    map[string]any
	warmCache bool // input from the server's prefix cache is meant to be
	tally     *tally.Run
	logger    logrus.FieldLogger // nil = nobody to tell
	probe     *probe
	over      sync.Map                 // levels whose line was written
	told      atomic.Pointer[validity] // what emitLevelMetrics made of the client
	stamps    stampSource
	ring      atomic.Pointer[host.RingStats]
	noVUFree  atomic.Int64   // arrivals that were long due when a VU became free for them
	ownLimits atomic.Int64   // requests that this host had no descriptor, port or memory for ...
	ownLimit  atomic.Uintptr // ... and the errno of the first
	clients   atomic.Int64   // that have sent, of all VUs
	wholeOnce sync.Once      // the line about replies that were no stream
	keyOnce   sync.Once      // the line about a key that the server refuses

	keyRetries atomic.Int64 // requests that were sent once more with another key
	carriers   atomic.Int64 // VUs' iterations that carry clients, less the requests that stand for one, see emitIteration
	requestID  atomic.Uint64
	idPrefix   string

	root      *rootModule
	judged    bool                // somebody will conclude
	concluded atomic.Pointer[int] // the exit code that handleSummary came to
	shapesMu  sync.Mutex
	shapes    []shape
}

// runSpec is RunSpec of index.d.ts.
type runSpec struct {
	Scenario string         `js:"scenario"`
	Config   map[string]any `js:"config"`
	SLOMs    sloMs          `js:"sloMs"`

	Cache      string `js:"cache"`
	ResultsDir string `js:"resultsDir"`
	Stamps     string `js:"stamps"`
	Judged     bool   `js:"judged"`
	Profile    any    `js:"profile"`

	Digests map[string]string `js:"digests"`
	Access  *access.Spec      `js:"access"`
}

type sloMs struct {
	TTFT float64 `js:"ttft" json:"ttft,omitempty"`
	TPOT float64 `js:"tpot" json:"tpot,omitempty"`
	E2E  float64 `js:"e2e" json:"e2e,omitempty"`
}

// declareRun is `run(spec)`: the first VU's words count.
func (i *instance) declareRun(v sobek.Value) {
	var spec runSpec
	if err := decode(i.vu.Runtime(), v, &spec); err != nil {
		i.throw(err)
	}
	if err := makeWritable(spec.ResultsDir); err != nil {
		i.refuse(fmt.Sprintf("tokenclock: RESULTS=%s cannot be written to: %v", spec.ResultsDir, err))
		return
	}
	if err := useStamps(spec.Stamps); err != nil {
		i.refuse(fmt.Sprintf("tokenclock: STAMPS=%s: %v", spec.Stamps, err))
		return
	}
	if err := client.CheckReader(); err != nil {
		i.refuse("tokenclock: " + err.Error())
		return
	}
	var logger logrus.FieldLogger
	if env := i.vu.InitEnv(); env != nil {
		logger = env.Logger
	}
	if err := i.root.letIn(spec.Access, logger); err != nil {
		i.refuse("tokenclock: " + err.Error())
		return
	}
	i.root.declare(spec, logger)
}

// useStamps chooses the source of times, and refuses one that this host does not have.
func useStamps(name string) error {
	stamps, err := client.ParseStamps(name)
	if err != nil {
		return err
	}
	client.UseStamps(stamps)
	if source, why := client.StampSource(); stamps == client.StampsRing && source != client.StampsRing {
		return errors.New(why)
	}
	return nil
}

// makeWritable makes a folder where it is missing, and sees that files can be made in it. "" is none.
func makeWritable(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".tokenclock-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (r *rootModule) declare(spec runSpec, logger logrus.FieldLogger) *run {
	r.mu.Lock()
	defer r.mu.Unlock()
	if run := r.run.Load(); run != nil {
		return run
	}
	slo := tally.SLO{TTFT: int64(spec.SLOMs.TTFT * 1e6), TPOT: int64(spec.SLOMs.TPOT * 1e6), E2E: int64(spec.SLOMs.E2E * 1e6)}
	run := &run{
		scenario: spec.Scenario, config: spec.Config, warmCache: spec.Cache == "warm", logger: logger, tally: tally.NewRun(slo), probe: &probe{},
		idPrefix: "tc-" + strconv.FormatInt(clock.StartUnixNs(), 36) + "-", stamps: stampsOfProcess(), root: r, judged: spec.Judged,
	}
	run.tally.Now = clock.Now
	mode, class := client.ReaderState()
	records.begin(run, runLine{
		Type: "run", Schema: 1, Scenario: spec.Scenario, StartUnixNs: clock.StartUnixNs(), Config: spec.Config,
		SLOMs: spec.SLOMs, Profile: spec.Profile, Digests: spec.Digests, Versions: versions(), Stamps: run.stamps, Reader: mode, ReaderClass: class,
	})
	r.run.Store(run)
	return run
}

// current returns the run, declaring a nameless one where the script declared none.
func (r *rootModule) current() *run {
	if run := r.run.Load(); run != nil {
		return run
	}
	return r.declare(runSpec{}, nil)
}

// hitOwnLimit counts a request that this host could open no connection for.
func (r *run) hitOwnLimit(errno syscall.Errno) {
	r.ownLimits.Add(1)
	r.ownLimit.CompareAndSwap(0, uintptr(errno))
}

// warnWhole says once that what was asked for as a stream came as a whole: no figure that needs tokens one by one exists.
func (r *run) warnWhole() {
	r.wholeOnce.Do(func() {
		if r.logger != nil {
			r.logger.Warn("tokenclock: a stream was asked for and a whole reply came (no text/event-stream): " +
				"such requests have no TTFT, TPOT or ITL; does the server or a gateway before it ignore stream: true?")
		}
	})
}

func (r *run) nextID() string { return r.idPrefix + strconv.FormatUint(r.requestID.Add(1), 10) }

// versionsOf is what made a run.
type versionsOf struct {
	Tokenclock string `json:"tokenclock" js:"tokenclock"`
	K6         string `json:"k6" js:"k6"`
	Go         string `json:"go" js:"go"`
	OS         string `json:"os" js:"os"`
}

func versions() versionsOf {
	v := versionsOf{Tokenclock: Version, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "go.k6.io/k6/v2" {
				v.K6 = dep.Version
			}
		}
	}
	return v
}

// reportOf is Report of index.d.ts.
type reportOf struct {
	StartUnixMs int64                `json:"startUnixMs"`
	DurationS   float64              `json:"durationS"`
	Levels      []tally.LevelSummary `json:"levels"`
	Total       tally.LevelSummary   `json:"total"`
	Seconds     []tally.Second       `json:"seconds"`
	Validity    validity             `json:"validity"`
	Versions    versionsOf           `json:"versions"`

	Ended        string `json:"ended"`
	Unsent       string `json:"unsent,omitempty"`
	RecordsError string `json:"recordsError,omitempty"`
}

// report folds what was measured; dropped is k6's count of iterations that found no free VU.
func (r *run) report(dropped int64) reportOf {
	r.readRing()
	now := clock.Now()
	total := r.tally.Total(now)
	levels := r.tally.Levels(now)
	for k := range levels {
		levels[k].ITLHistograms = r.tally.ITLHistograms(levels[k].Name)
	}
	ended, unsent := r.ended()
	recordsError := ""
	if err := records.failure(); err != nil {
		recordsError = err.Error()
	}
	return reportOf{
		Ended: ended, Unsent: unsent, RecordsError: recordsError,
		StartUnixMs: clock.StartUnixNs() / int64(time.Millisecond), DurationS: float64(now) / 1e9,
		Levels: levels, Total: total, Seconds: r.tally.Seconds(), Validity: r.judge(levels, total, dropped), Versions: versions(),
	}
}
