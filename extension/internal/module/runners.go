package module

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/coordinate"
	"github.com/tokenclock/tokenclock/extension/internal/part"
	"github.com/tokenclock/tokenclock/extension/internal/process"
	"github.com/tokenclock/tokenclock/extension/internal/results"
	"github.com/tokenclock/tokenclock/extension/internal/run"
	"github.com/tokenclock/tokenclock/extension/internal/shape"
)

// runners is this instance's place among those that run one load together.
type runners struct {
	count       int                // RUNNERS; 0 or 1 = it is alone
	coordinator *coordinate.Runner // nil = there is none

	mu      sync.Mutex
	part    *part.Part // from setup() on
	build   string
	clockNs int64 // when the clock was measured that the records tell of

	ended atomic.Bool // early, for all runners
}

// partLine tells of an instance's part of the load, and of its clock.
type partLine struct {
	Type          string `json:"type"`
	Run           string `json:"run"`
	Part          int    `json:"part"`
	Of            int    `json:"of"`
	Build         string `json:"build"`
	AtNs          int64  `json:"atNs"`
	ZeroUnixNs    int64  `json:"zeroUnixNs"`
	UncertaintyNs int64  `json:"uncertaintyNs"`
	OffsetNs      int64  `json:"offsetNs"`
}

// joinOptions are the options of joinRunners of index.d.ts.
type joinOptions struct {
	Runners   int    `js:"runners"`
	Address   string `js:"address"`
	Token     string `js:"token"`
	TokenFile string `js:"tokenFile"`
}

// joinRunners is `joinRunners(options)`: the salt that all instances have in common, "" where there is none.
func (i *instance) joinRunners(v sobek.Value) string {
	var o joinOptions
	if err := decode(i.vu.Runtime(), v, &o); err != nil {
		i.throw(err)
	}
	r := &i.root.runners
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count = o.Runners
	if o.Address == "" || !parseCommandLine(os.Args[1:]).run {
		return ""
	}
	if r.coordinator != nil {
		return r.coordinator.Salt()
	}
	token, err := coordinate.ReadToken(o.TokenFile, o.Token)
	if err != nil {
		i.refuse(fmt.Sprintf("tokenclock: COORDINATOR_TOKEN_FILE: %v", err))
		return ""
	}
	c, err := coordinate.Open(context.Background(), coordinate.Options{
		Address: o.Address, Token: token, Now: clock.Now, StartUnixNs: clock.StartUnixNs(), Ended: i.root.endedForAll,
		Waiting: func(what string) {
			if env := i.vu.InitEnv(); env != nil {
				env.Logger.Warn("tokenclock: " + what)
			}
		},
	})
	if err == nil && c.Runners() != o.Runners {
		err = fmt.Errorf("RUNNERS=%d, but the coordinator waits for %d; start it with --runners %d", o.Runners, c.Runners(), o.Runners)
	}
	if err != nil {
		i.refuse("tokenclock: " + err.Error())
		return ""
	}
	r.coordinator = c
	i.root.log.SendTo(c.Add)
	return c.Salt()
}

// endedForAll ends this instance as a signal would, once: nothing that it still measures is part of a whole.
func (r *Root) endedForAll(reason string) {
	if r.runners.ended.Swap(true) {
		return
	}
	if run := r.run.Load(); run != nil {
		run.LogError("tokenclock: the run ends for all runners: " + reason)
	}
	process.Interrupt()
}

// meetOptions are the options of meetRunners of index.d.ts.
type meetOptions struct {
	Settings map[string]any `js:"settings"`
	Aligned  bool           `js:"aligned"`
}

// meetRunners is `meetRunners(options)`, for setup(): it takes this instance's part of the load, and returns when all
// instances have come.
func (i *instance) meetRunners(v sobek.Value) {
	var o meetOptions
	if err := decode(i.vu.Runtime(), v, &o); err != nil {
		i.throw(err)
	}
	r := &i.root.runners
	p := part.Of(i.vu.Context())
	if err := p.Check(max(r.count, 1)); err != nil {
		i.refuse("tokenclock: " + err.Error())
		return
	}
	if r.coordinator == nil {
		if p.Count() > 1 && o.Aligned {
			i.refuse(fmt.Sprintf("tokenclock: RUNNERS=%d without COORDINATOR: the instances cannot begin a level together; "+
				"start `k6 x tokenclock coordinate --runners %d`, and set COORDINATOR to its address", p.Count(), p.Count()))
		}
		return
	}
	if err := i.root.register(i.vu.Context(), p, o.Settings); err != nil {
		i.refuse("tokenclock: " + err.Error())
	}
}

func (r *Root) register(ctx context.Context, p *part.Part, settings map[string]any) error {
	build, err := ownDigest()
	if err != nil {
		return err
	}
	rs := &r.runners
	if err := rs.coordinator.Register(ctx, p.Number(), p.Count(), coordinate.Facts{
		Scenario: r.current().Spec().Scenario, Build: build, Settings: settings,
	}); err != nil {
		return err
	}
	rs.mu.Lock()
	rs.part, rs.build = p, build
	rs.mu.Unlock()
	_, _, err = r.meet(ctx, "setup", 0, false)
	return err
}

// ownDigest is the sha256 of the program that runs.
func ownDigest() (string, error) {
	name, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// meets reports whether there are other instances to wait for.
func (r *Root) meets() bool { return r.runners.coordinator != nil }

// meet returns when every instance has come to this place: with the common start, which is a little ahead where `start` asks
// for one, and the largest of the numbers. Without a coordinator that is at once.
func (r *Root) meet(ctx context.Context, at string, number int, start bool) (startNs int64, largest int, err error) {
	c := r.runners.coordinator
	if c == nil {
		return clock.Now(), number, nil
	}
	startNs, largest, err = c.Meet(ctx, at, number, start)
	if err != nil {
		if ctx.Err() == nil {
			r.endedForAll(reasonOf(err))
		}
		return 0, 0, err
	}
	r.noteClock()
	return startNs, largest, nil
}

// reasonOf says why the run ended, by the coordinator's word where it is that.
func reasonOf(err error) string {
	var over coordinate.ErrEnded
	if errors.As(err, &over) {
		return over.Reason
	}
	return err.Error()
}

// noteClock writes the measurement of the clock into the records, once each.
func (r *Root) noteClock() {
	rs := &r.runners
	c := rs.coordinator.Clock()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if c.AtNs == rs.clockNs {
		return
	}
	rs.clockNs = c.AtNs
	r.log.Line(partLine{
		Type: "part", Run: rs.coordinator.Run(), Part: rs.part.Number(), Of: rs.part.Count(), Build: rs.build,
		AtNs: c.AtNs, ZeroUnixNs: c.ZeroUnixNs, UncertaintyNs: c.UncertaintyNs, OffsetNs: c.ZeroUnixNs - clock.StartUnixNs(),
	})
}

// leave sends the last of the records to the coordinator. It reports whether the run ended early for all runners; what the
// coordinator did not take is kept in RESULTS.
func (r *Root) leave() (ended bool) {
	c := r.runners.coordinator
	if c == nil {
		return false
	}
	r.log.Finish()
	if err := c.Close(); err != nil {
		r.keepRest(err)
		return true
	}
	return r.runners.ended.Load()
}

// keepRest writes the records that the coordinator did not take: into RESULTS, or where that is empty into the folder for
// temporary files.
func (r *Root) keepRest(left error) {
	run := r.run.Load()
	at, records := r.runners.coordinator.Rest()
	if run == nil || len(records) == 0 {
		return
	}
	part := coordinate.PartFolder(r.runners.part.Number())
	file := filepath.Join(run.Spec().ResultsDir, "records-rest.ndjson")
	if run.Spec().ResultsDir == "" {
		file = filepath.Join(os.TempDir(), fmt.Sprintf("tokenclock-%s-%s-rest.ndjson", r.runners.coordinator.Run(), part))
	}
	err := results.WriteWhole(file, string(records))
	lacks := fmt.Sprintf("tokenclock: the coordinator lacks the last %d bytes of this runner's records: %v", len(records), left)
	if err != nil {
		run.LogError(fmt.Sprintf("%s; they are lost: %v", lacks, err))
		return
	}
	run.LogError(fmt.Sprintf("%s; they are in %s and follow the first %d bytes of the coordinator's %s/records.ndjson",
		lacks, file, at, part))
}

// own returns this instance's part of a run that several share; nil where it is alone.
func (rs *runners) own() *run.Part {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.coordinator == nil && rs.count < 2 {
		return nil
	}
	return &run.Part{Number: rs.part.Number(), Of: max(rs.count, 1)}
}

// fellows is the part of a load that is an instance's, as load shapes see it.
type fellows struct {
	*part.Part
	root *Root
}

// Part implements shape.VU.
func (i *instance) Part() shape.Part { return fellows{part.Of(i.vu.Context()), i.root} }

func (f fellows) Divided() bool           { return f.Count() > 1 }
func (f fellows) Share(n int) shape.Share { return f.Of(n) }
func (f fellows) Meets() bool             { return f.root.meets() }
func (f fellows) SharesCounters() bool    { return f.root.cacheWatch() != nil }
func (f fellows) Meet(ctx context.Context, at string, number int, start bool) (int64, int, error) {
	return f.root.meet(ctx, at, number, start)
}
