package run

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/host"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

const msNs = int64(1e6)

// judged is the verdict on 100 requests of 100 ms each, two chunks a reply, changed in one respect.
func judged(level tally.Spec, changeRun func(*Run), change func(*tally.Observation), dropped int64) Validity {
	level.Name = "a"
	r := &Run{tally: tally.NewRun(tally.SLO{}), probe: &probe{}}
	r.tally.Level(level)
	r.tally.Open("a", 1, 0)
	for i := range int64(100) {
		atNs := 1 + i*100*msNs
		o := &tally.Observation{
			Level: "a", Phase: tally.Steady, ScheduledNs: atNs, StartedNs: atNs, SentNs: atNs + msNs, SentKernel: true, KernelReceives: 1, Streamed: true,
			Result: &stream.Result{
				Status: 200, OutputTokens: 2, Arrivals: []stream.Arrival{{AtNs: atNs + 50*msNs, Tokens: 1}, {AtNs: atNs + 100*msNs, Tokens: 1}},
				FirstOutputNs: atNs + 50*msNs, LastOutputNs: atNs + 100*msNs, EndNs: atNs + 100*msNs,
			},
		}
		if change != nil {
			change(o)
		}
		r.tally.Add(o)
	}
	if changeRun != nil {
		changeRun(r)
	}
	now := clock.Now()
	return r.judge(r.tally.Levels(now), r.tally.Total(now), dropped)
}

func TestProbe_MeasuresSchedulingLag(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	slept := make(chan struct{})
	p := &probe{sleep: func(d time.Duration) {
		time.Sleep(d + 20*time.Millisecond)
		slept <- struct{}{}
	}}
	lag, waited, cpu := p.figures()
	require.Equal(t, []float64{0, 0, 0}, []float64{float64(lag.Count), waited, cpu}, "before it began")
	p.stop() // of what never began
	p.start()
	p.start() // a second loop would sleep, too
	for range 3 {
		<-slept
	}
	go func() {
		for range slept { // the last turn, which counts no more
		}
	}()
	p.stop()
	p.stop()
	close(slept)
	lag, _, cpu = p.figures()
	require.GreaterOrEqual(t, lag.Count, int64(2))
	require.GreaterOrEqual(t, lag.Min, 20.0)
	require.Less(t, lag.Min, 1000.0, "ms")
	require.Positive(t, cpu)
	again, _, cpuAgain := p.figures()
	require.Equal(t, lag, again)
	require.Equal(t, cpu, cpuAgain, "what comes after the end changes nothing")
	p.start() // it does not begin anew
}

func TestProbe_ReaderWaitBeginsWithTheReader(t *testing.T) {
	p := &probe{}
	p.addReaderWait(500 * msNs)
	require.Zero(t, p.lateWaitsNs)
	p.addReaderWait(502 * msNs)
	require.Zero(t, p.lateWaitsNs, "a wait too short to matter")
	p.addReaderWait(512 * msNs)
	require.Equal(t, 10*msNs, p.lateWaitsNs)
}

func TestProbe_ProcessorTimeOfAWindow(t *testing.T) {
	const s = 1000 * msNs
	n := int64(host.Cores())
	p := &probe{started: true, beganNs: s, endNs: 6 * s, cpu: []cpuPoint{{s, 7}, {2 * s, 7 + n*s/2}, {4 * s, 7 + n*s/2}, {6 * s, 7 + n*s*5/2}}}
	for _, tt := range []struct{ fromS, lengthS, share float64 }{
		{2, 2, 0}, {4, 2, 1}, {3, 2, 0.5}, {1.5, 2.5, 0.1}, {1, 5, 0.5}, {3.5, 2, 0.75},
		{0, 3, 0.25},                       // measured from 1 s on
		{5, 9, 1},                          // and up to 6 s
		{4, 1.9, 0}, {7, 3, 0}, {-9, 3, 0}, // too short; not measured
	} {
		l := tally.LevelSummary{WindowStartS: tt.fromS, DurationS: tt.lengthS}
		require.InDelta(t, tt.share, p.cpuShareOf(&l), 1e-6, tt)
	}
	require.Zero(t, (&probe{}).cpuShareOf(&tally.LevelSummary{DurationS: 9}), "of a probe that never began")
	_, _, share := p.figures()
	require.InDelta(t, 0.5, share, 1e-6)
}

func TestVerdict_EachReason(t *testing.T) {
	lateBy := func(lagNs int64) func(*Run) {
		return func(r *Run) {
			r.probe.started, r.probe.beganNs = true, clock.Now()-1000*msNs
			r.probe.lag.Add(lagNs)
		}
	}
	waited := func(ns int64) func(*Run) {
		return func(r *Run) {
			r.probe.started, r.probe.beganNs, r.probe.lateWaitsNs = true, clock.Now()-1000*msNs, ns
		}
	}
	// The process used so much of its cores in the 10 s of the window, and so much in the 10 s after it.
	busy := func(inWindow, after float64, lagNs int64) func(*Run) {
		return func(r *Run) {
			lateBy(lagNs)(r)
			second := float64(host.Cores()) * 1e9
			r.probe.beganNs, r.probe.endNs = 1, 1+20_000*msNs
			r.probe.cpu = []cpuPoint{{1, 5}, {1 + 10_000*msNs, int64(inWindow * 10 * second)}, {r.probe.endNs, int64((inWindow + after) * 10 * second)}}
		}
	}
	user := func(o *tally.Observation) { o.KernelReceives, o.UserReceives = 0, 1 }
	late := func(o *tally.Observation) { o.SentNs = o.ScheduledNs + 11*msNs }
	again := func(from int64) func(o *tally.Observation) { // the requests from that one on
		return func(o *tally.Observation) {
			if o.ScheduledNs > from*100*msNs {
				o.Retries = 1
			}
		}
	}
	merged := func(o *tally.Observation) { o.Coalesced = 1 }
	// One chunk in twenty may have arrived so much earlier, where gaps are as long as that.
	vague := func(widthNs, gapNs int64) func(*tally.Observation) {
		return func(o *tally.Observation) {
			if o.ScheduledNs < 1000*msNs {
				o.Arrivals[1].WidthNs = widthNs
			}
			o.Arrivals[1].AtNs = o.Arrivals[0].AtNs + gapNs
		}
	}
	closed, open, burst := tally.Spec{Concurrency: 1}, tally.Spec{Rate: 1}, tally.Spec{BatchSize: 8}
	for _, tt := range []struct {
		sentence string
		level    tally.Spec
		run      func(*Run)
		change   func(*tally.Observation)
		dropped  int64
		state    string
		reason   string
	}{
		{"a sound run", closed, nil, nil, 0, "VALID", ""},
		{"a slot that was empty for a tenth of the time", closed, nil, late, 0, "CLIENT-BOUND",
			"level a: clients were idle for 11.0 ms before each request on average, limit 10.0 ms"},
		{"arrivals that were sent late", open, nil, late, 0, "CLIENT-BOUND",
			"level a: one request in ten was sent more than 11.0 ms after its scheduled time, limit 10.0 ms"},
		{"arrivals that waited for a place", open, func(r *Run) { r.noVUFree.Store(7) }, late, 0, "CLIENT-BOUND",
			"limit 10.0 ms; 7 arrivals of the run found MAX_IN_FLIGHT requests in flight"},
		{"arrivals of which few were sent late", open, nil, func(o *tally.Observation) {
			if o.ScheduledNs < 500*msNs {
				late(o)
			}
		}, 0, "VALID", ""},
		{"a burst that was not released at once", burst, nil, late, 0, "CLIENT-BOUND",
			"level a: the requests of a burst were sent 11.0 ms after their scheduled time on average, limit 10.0 ms"},
		{"a burst that was, but for what one goroutine takes", burst, nil, func(o *tally.Observation) { o.SentNs = o.ScheduledNs + 8*msNs }, 0, "VALID", ""},
		{"a delay that is small beside the latency", open, nil, func(o *tally.Observation) {
			late(o)
			o.LastOutputNs += 200 * msNs
		}, 0, "VALID", ""},
		{"a delay that connecting took", open, nil, func(o *tally.Observation) { late(o); o.SetupNs = 9 * msNs }, 0, "VALID", ""},
		{"a delay that connecting took in part", closed, nil, func(o *tally.Observation) {
			o.SentNs, o.SetupNs = o.ScheduledNs+20*msNs, 9*msNs
		}, 0, "CLIENT-BOUND", "level a: clients were idle for 11.0 ms before each request on average, limit 10.0 ms"},
		{"a request of a hundred that was sent twice", closed, nil, again(99), 0, "VALID", ""},
		{"two of a hundred that were sent twice", closed, nil, again(98), 0, "CLIENT-BOUND",
			"2 of 100 requests were sent twice because the server had closed the kept-alive connection, limit 1"},
		{"two that were sent twice by the two clients of a short run", closed, func(r *Run) { r.clients.Store(2) }, again(98), 0, "VALID", ""},
		{"dropped iterations", open, nil, nil, 3, "CLIENT-BOUND", "3 iterations were dropped because no VU was free"},
		{"a reader that waited for a core while chunks merged", closed, waited(100 * msNs), merged, 0, "CLIENT-BOUND",
			"the reader thread waited for a core"},
		{"a reader that waited for a core and missed nothing", closed, waited(100 * msNs), nil, 0, "VALID", ""},
		{"chunks that the server sent together", closed, waited(msNs), merged, 0, "VALID", ""},
		{"a reader that waited where nothing streams", closed, waited(100 * msNs), func(o *tally.Observation) { o.Arrivals = nil }, 0, "VALID", ""},
		{"a reader that waited hardly at all", closed, waited(msNs), nil, 0, "VALID", ""},
		{"stamps of user space in a late process", closed, lateBy(20 * msNs), user, 0, "CLIENT-BOUND",
			"100 % of the stamps were taken in user space while the process ran up to 20"},
		{"stamps of user space in a prompt process", closed, lateBy(msNs), user, 0, "VALID", ""},
		{"stamps of the kernel in a late process", closed, lateBy(20 * msNs), nil, 0, "VALID", ""},
		{"a process that had all its cores busy", closed, busy(0.99, 0, 0), nil, 0, "CLIENT-BOUND",
			fmt.Sprintf("level a: this process used 99.0 %% of its %d cores, limit 98 %%", host.Cores())},
		{"one that had nearly all busy and ran late", closed, busy(0.92, 0, 6*msNs), nil, 0, "CLIENT-BOUND",
			fmt.Sprintf("level a: this process used 92.0 %% of its %d cores and ran up to 6.0 ms late (p99), limits 90 %% and 5 ms", host.Cores())},
		{"one that had nearly all busy and ran when it should", closed, busy(0.97, 0, msNs), nil, 0, "VALID", ""},
		{"one that had time left and ran late", closed, busy(0.8, 0, 6*msNs), nil, 0, "VALID", ""},
		{"one that was busy after the window", closed, busy(0.1, 1, 6*msNs), nil, 0, "VALID", ""},
		{"a burst of a busy process", burst, busy(0.99, 0, 0), nil, 0, "CLIENT-BOUND", "level a: this process used 99.0 %"},
		{"arrivals of which nobody knows when", closed, nil, vague(21*msNs/10, 10*msNs), 0, "CLIENT-BOUND",
			"level a: one output chunk in two hundred may have arrived more than 2.1 ms before its timestamp, limit 2.0 ms"},
		{"arrivals as uncertain as a nap is long", closed, nil, vague(18*msNs/10, 10*msNs), 0, "VALID", ""},
		{"arrivals of which that is little beside the gaps", closed, nil, vague(21*msNs/10, 50*msNs), 0, "VALID", ""},
		{"arrivals of which it is not", closed, nil, vague(3*msNs, 50*msNs), 0, "CLIENT-BOUND", "limit 2.5 ms"},
		{"arrivals of which nobody knows when, by stamps of user space", closed, lateBy(msNs), func(o *tally.Observation) {
			user(o)
			vague(21*msNs/10, 10*msNs)(o)
		}, 0, "VALID", ""},
		{"output before the request was sent", closed, nil, func(o *tally.Observation) { o.FirstOutputNs = o.SentNs - 1 }, 0, "CLIENT-BOUND",
			"100 of 100 requests have a latency below zero, limit 0.1 %: a clock was wrong"},
		{"a request that was sent before it was scheduled", closed, nil, func(o *tally.Observation) {
			if o.ScheduledNs < 200*msNs {
				o.ScheduledNs = o.SentNs + 1
			}
		}, 0, "CLIENT-BOUND", "2 of 100 requests have a latency below zero"},
		{"sends of which nobody knows when", closed, nil, func(o *tally.Observation) { o.SentUncertaintyNs = 6 * msNs }, 0,
			"CLIENT-BOUND", "send times are uncertain by 6"},
		{"no answer at all", closed, nil, func(o *tally.Observation) { o.Failure = stream.Reset }, 0, "NOT-MEASURED", "no request completed"},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			v := judged(tt.level, tt.run, tt.change, tt.dropped)
			require.Equal(t, tt.state, v.State, v.Reasons)
			if tt.reason == "" {
				require.Empty(t, v.Reasons)
			} else {
				require.Len(t, v.Reasons, 1)
				require.Contains(t, v.Reasons[0], tt.reason)
			}
			require.Equal(t, tt.dropped, v.DroppedIterations)
		})
	}
}

func TestVerdict_FewImpossibleLatenciesAreReportedAndMoreAreJudged(t *testing.T) {
	for wrong, state := range map[int64]string{0: "VALID", 1: "VALID", 2: "VALID", 3: "CLIENT-BOUND"} {
		r := &Run{tally: tally.NewRun(tally.SLO{}), probe: &probe{}}
		for i := range int64(2000) {
			atNs := (1 + i) * msNs
			o := &tally.Observation{
				Phase: tally.Steady, ScheduledNs: atNs, StartedNs: atNs, SentNs: atNs, SentKernel: true, KernelReceives: 1,
				Result: &stream.Result{Status: 200, LastOutputNs: atNs + 50*msNs, EndNs: atNs + 50*msNs},
			}
			if i < wrong {
				o.LastOutputNs = atNs - 1
			}
			r.tally.Add(o)
		}
		now := clock.Now()
		v := r.judge(r.tally.Levels(now), r.tally.Total(now), 0)
		require.Equal(t, state, v.State, v.Reasons)
		require.Equal(t, wrong, v.ClockErrors)
	}
}

func TestVerdict_ClientAndCacheBoundNamesBoth(t *testing.T) {
	share := 0.5
	v := Validity{State: "CLIENT-BOUND", Reasons: []string{"of the client"}}
	(&Run{}).judgeCache(&v, []tally.LevelSummary{{Name: "c1", CachedShare: &share, CachedBeyond: share, CachedSource: tally.CachedByUsage}})
	require.Equal(t, "CLIENT-BOUND", v.State)
	require.Len(t, v.Reasons, 2)
	require.True(t, v.cacheBound)
}

func TestLateArrivals_CountBeyondTheLimit(t *testing.T) {
	r := &Run{}
	r.LateArrival(-5)
	r.LateArrival(10 * msNs)
	require.Zero(t, r.noVUFree.Load())
	r.LateArrival(10*msNs + 1)
	require.EqualValues(t, 1, r.noVUFree.Load())
}
