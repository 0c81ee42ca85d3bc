package module

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/modulestest"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/metrics"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// carriers are the VUs of one process: each has a runtime and an event loop of its own, the module is one for all.
type carriers struct {
	t       *testing.T
	root    *Root
	vus     []*modulestest.Runtime
	samples chan metrics.SampleContainer
	cancel  context.CancelFunc
}

// newCarriers makes n VUs that have run init.
func newCarriers(t *testing.T, n int, init string) *carriers {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &carriers{t: t, root: New(&records.Log{}), samples: make(chan metrics.SampleContainer, 100_000), cancel: cancel}
	for k := range n {
		rt := modulestest.NewRuntime(t)
		rt.VU.CtxField = ctx
		require.NoError(t, rt.VU.Runtime().Set("tc", c.root.NewModuleInstance(rt.VU).Exports().Named))
		require.NoError(t, rt.VU.Runtime().Set("vu", k))
		_, err := rt.VU.Runtime().RunString(init)
		require.NoError(t, err)
		registry := rt.VU.InitEnvField.Registry
		rt.MoveToVUContext(&lib.State{
			Dialer: netext.NewDialer(net.Dialer{}, nil), Samples: c.samples, BuiltinMetrics: rt.BuiltinMetrics, VUIDGlobal: uint64(k + 1),
			Tags:    lib.NewVUStateTags(registry.RootTagSet()),
			Options: lib.Options{SystemTags: &metrics.DefaultSystemTagSet},
		})
		c.vus = append(c.vus, rt)
	}
	return c
}

// each runs a script on every VU, as an iteration of it, and returns how each ended.
func (c *carriers) each(script string) []error {
	errs := make([]error, len(c.vus))
	var all sync.WaitGroup
	for k, rt := range c.vus {
		all.Go(func() { _, errs[k] = rt.RunOnEventLoop(script) })
	}
	all.Wait()
	c.cancel()
	return errs
}

func (c *carriers) all(script string) {
	c.t.Helper()
	for _, err := range c.each(script) {
		require.NoError(c.t, err)
	}
}

// value is what an expression is on one VU.
func (c *carriers) value(vu int, expression string) any {
	c.t.Helper()
	v, err := c.vus[vu].VU.Runtime().RunString(expression)
	require.NoError(c.t, err)
	return v.Export()
}

// emitted counts the samples of a metric, and returns the records' lines.
func (c *carriers) emitted(metric string) (samples int, lines []map[string]any) {
	all := (&scriptVU{t: c.t, samples: c.samples})
	found, lines := all.emitted()
	return len(find(found, metric)), lines
}

// gate is a server that lets the first requests of a kind wait until so many are in flight: that they are is then certain,
// however slow the machine. Its path says /kind/count.
type gate struct {
	url      string
	mu       sync.Mutex
	inFlight map[string]int
	most     map[string]int
	open     map[string]chan struct{}
	holds    time.Duration // each request besides
}

func newGate(t *testing.T) *gate {
	g := &gate{inFlight: map[string]int{}, most: map[string]int{}, open: map[string]chan struct{}{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/{kind}/{count}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else nobody sees that the client goes
		kind := r.PathValue("kind")
		count, _ := strconv.Atoi(r.PathValue("count"))
		g.mu.Lock()
		if g.open[kind] == nil {
			g.open[kind] = make(chan struct{})
		}
		g.inFlight[kind]++
		if g.inFlight[kind] == count && g.most[kind] < count {
			close(g.open[kind])
		}
		g.most[kind] = max(g.most[kind], g.inFlight[kind])
		open := g.open[kind]
		g.mu.Unlock()
		select {
		case <-open:
		case <-r.Context().Done():
		}
		time.Sleep(g.holds)
		g.mu.Lock()
		g.inFlight[kind]-- // before the client can know
		g.mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	g.url = s.URL
	return g
}

// peaks are the most requests of each kind that were in flight at once.
func (g *gate) peaks() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.most)
}

func TestCarrier_FewVUsCarryTheClientsOfLevels(t *testing.T) {
	g := newGate(t)
	c := newCarriers(t, 3, `
		tc.run({ scenario: "s", config: {}, sloMs: {} });
		levels = new tc.Levels("l", [
			{ name: "c10", concurrency: 10, requests: 60 },
			{ name: "c2", concurrency: 2, requests: 8, warmupRequests: 0 },
			{ name: "c7", concurrency: 7, durationMs: 60, warmupMs: 20 },
		]);
		client = new tc.Client({ url: "`+g.url+`", api: "completions" });
		sent = { c10: 0, c2: 0, c7: 0 };`)
	recordsTo(t, c.root)
	c.all(`levels.each(4, (slot) => {
		sent[slot.level]++;
		return client.start({ body: "{}", url: "` + g.url + `/" + slot.level + "/" + slot.level.slice(1) }, slot);
	})`)
	require.Equal(t, map[string]int{"c10": 10, "c2": 2, "c7": 7}, g.peaks(), "as many in flight as a level's name says, no more")
	iterations, lines := c.emitted("iterations")
	require.Equal(t, len(lines)-len(c.vus), iterations, "k6 itself counts one a VU")
	vus, indices := map[string]map[any]bool{}, map[string][]int{}
	ends, lateEnough := map[string]map[float64]bool{}, 0
	for _, line := range lines {
		level := line["level"].(string)
		if vus[level] == nil {
			vus[level], ends[level] = map[any]bool{}, map[float64]bool{}
		}
		require.Equal(t, "completed", line["outcome"], "%v", line)
		vus[level][line["vu"]] = true
		indices[level] = append(indices[level], int(line["index"].(float64)))
		ends[level][line["endNs"].(float64)] = true
	}
	for _, line := range lines {
		if ends[line["level"].(string)][line["scheduledNs"].(float64)] {
			lateEnough++
		}
	}
	require.Equal(t, len(lines)-10-2-7, lateEnough, "but for each client's first, a request is scheduled when one before it ended")
	for level, want := range map[string]int{"c10": 3, "c2": 2, "c7": 3} {
		require.Len(t, vus[level], want, "the clients of %s are spread over the VUs", level)
		seen := make([]bool, len(indices[level]))
		for _, index := range indices[level] {
			require.False(t, seen[index], "index %d of %s twice", index, level)
			seen[index] = true
		}
	}
	out := c.root.current().Tally().Levels(clock.Now())
	require.EqualValues(t, []int64{60, 10, 8, 0}, []int64{out[0].Requests, out[0].WarmupRequests, out[1].Requests, out[1].WarmupRequests})
	require.InDelta(t, 0.060, out[2].DurationS, 1e-9)
}

func TestLevels_BetweenIsCalledOnOneVU(t *testing.T) {
	const specs = `[{ name: "a", concurrency: 2, requests: 4 }, { name: "b", concurrency: 1, requests: 1 }, { name: "c", concurrency: 2, requests: 2 }]`
	c := newCarriers(t, 2, `
		const calls = [];
		levels = new tc.Levels("l", `+specs+`, () => { calls.push("between"); });
		client = new tc.Client({ url: "`+llm(t)+`", api: "completions" });`)
	recordsTo(t, c.root)
	c.all(`levels.each(1, (slot) => { calls.push(slot.level); return client.start({ body: "{}" }, slot); })`)
	between := 0
	for _, rt := range c.vus {
		calls, err := rt.VU.Runtime().RunString(`calls.filter((call) => call === "between").length`)
		require.NoError(t, err)
		between += int(calls.ToInteger())
	}
	require.Equal(t, 2, between, "once between two levels, on one VU of all")
	require.Len(t, c.root.current().Tally().Levels(clock.Now()), 3)

	rt := newCarriers(t, 1, "").vus[0]
	_, err := rt.VU.Runtime().RunString(`new tc.Levels("other", ` + specs + `, "no function")`)
	require.ErrorContains(t, err, "between is not a function")
}

func TestCarrier_SlotLastsAsLongAsItsPromise(t *testing.T) {
	c := newCarriers(t, 1, `
		levels = new tc.Levels("l", [{ name: "c2", concurrency: 2, requests: 9, warmupRequests: 0 }]);
		client = new tc.Client({ url: "`+llm(t)+`", api: "completions" });
		inFlight = most = sent = 0; results = []; reasons = [];`)
	c.all(`levels.each(2, async (slot) => {
		most = Math.max(most, ++inFlight);
		const result = slot.index % 3 === 0 ? await client.start({ body: "{}" }, slot) : await Promise.resolve({ outcome: "none" });
		await undefined;
		results.push(result.outcome);
		inFlight--;
		if (slot.index === 4) throw new Error("rejected");
	}, (reason) => reasons.push(reason.message))`)
	require.Equal(t, "completed,completed,completed,none,none,none,none,none,none", c.value(0, "results.sort().join()"))
	require.Equal(t, []any{int64(2), int64(0), "rejected"}, c.value(0, "[most, inFlight, reasons.join()]"))
}

func TestCarrier_WhatSendThrowsReachesFailedOrEndsTheIteration(t *testing.T) {
	const init = `
		levels = new tc.Levels("l", [{ name: "c2", concurrency: 2, requests: 4, warmupRequests: 0 }]);
		reasons = []; sent = 0;`
	c := newCarriers(t, 1, init)
	c.all(`levels.each(2, (slot) => { sent++; throw new Error("at " + slot.index); }, (reason) => reasons.push(reason.message))`)
	require.Equal(t, []any{int64(4), "at 0,at 1,at 2,at 3"}, c.value(0, "[sent, reasons.join()]"), "its slot is used up, no other")
	for _, send := range []string{`() => { throw new Error("thrown"); }`, `() => Promise.reject(new Error("thrown"))`} {
		errs := newCarriers(t, 1, init).each(`levels.each(2, ` + send + `)`)
		require.ErrorContains(t, errs[0], "thrown", send)
	}
	for script, sentence := range map[string]string{
		`levels.each(0, () => 0)`:                             "clients is 0; it must be a whole number from 1",
		`levels.each(1)`:                                      "send is not a function",
		`levels.each(1, () => 0, 7)`:                          "failed is not a function",
		`levels.each(2, () => 0); levels.acquire()`:           "", // the same iteration
		`new tc.Arrivals("a", { traceMs: [0] }).each(1, "x")`: "send is not a function",
	} {
		errs := newCarriers(t, 1, init).each(script)
		if sentence == "" {
			require.NoError(t, errs[0])
		} else {
			require.ErrorContains(t, errs[0], sentence)
		}
	}
	errs := newCarriers(t, 2, init).each(`levels.each(1 + vu, () => 0)`)
	require.True(t, (errs[0] == nil) != (errs[1] == nil), "%v", errs)
}

func TestCarrier_VUThatIsGoneLeavesItsPlacesToOthers(t *testing.T) {
	g := newGate(t)
	c := newCarriers(t, 2, `
		levels = new tc.Levels("l", [{ name: "c2", concurrency: 2, requests: 6, warmupRequests: 0 }]);
		client = new tc.Client({ url: "`+g.url+`/c2/2", api: "completions" });
		sent = 0;`)
	// The first VU has both places, the second waits until that one's iteration has ended.
	first, second := c.vus[0], c.vus[1]
	ctx, cancel := context.WithCancel(t.Context())
	first.VU.CtxField = ctx
	_, err := first.RunOnEventLoop(`levels.each(2, (slot) => { sent++; throw new Error("gone"); })`)
	require.ErrorContains(t, err, "gone")
	done := make(chan error)
	go func() {
		_, err := second.RunOnEventLoop(`levels.each(2, (slot) => { sent++; return client.start({ body: "{}" }, slot); })`)
		done <- err
	}()
	cancel() // as k6 does
	require.NoError(t, <-done)
	require.Equal(t, []any{int64(1), int64(5)}, []any{c.value(0, "sent"), c.value(1, "sent")})
	require.Equal(t, 2, g.peaks()["c2"], "both places were taken")
}

func TestCarriedClientsDoNotSpinOnAServerThatIsGone(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, dead.Close())
	c := newCarriers(t, 1, `
		levels = new tc.Levels("l", [
			{ name: "timed", concurrency: 3, durationMs: 300, warmupRequests: 0 },
			{ name: "counted", concurrency: 3, requests: 12, warmupRequests: 0 },
		]);
		client = new tc.Client({ url: "http://`+dead.Addr().String()+`", api: "completions" });`)
	c.all(`levels.each(3, (slot) => client.start({ body: "{}" }, slot))`)
	out := c.root.current().Tally().Levels(clock.Now())
	require.LessOrEqual(t, out[0].Requests, int64(3*8), "5, 10, 20, 40, 80, 100 ms")
	require.GreaterOrEqual(t, out[0].Requests, int64(3))
	require.EqualValues(t, 12, out[1].Requests)
	require.Equal(t, map[string]int{string(stream.Connect): 12}, out[1].Failures)
}

func TestCarrier_EndOfAVUInterruptsItsClients(t *testing.T) {
	g := newGate(t)
	c := newCarriers(t, 2, `
		levels = new tc.Levels("l", [{ name: "c6", concurrency: 6, requests: 100, warmupRequests: 0 }, { name: "c1", concurrency: 1, requests: 1 }]);
		client = new tc.Client({ url: "`+g.url+`/c6/1000", api: "completions" });`)
	recordsTo(t, c.root)
	go func() {
		for {
			g.mu.Lock()
			n := g.inFlight["c6"]
			g.mu.Unlock()
			if n == 6 {
				c.cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	c.each(`levels.each(3, (slot) => client.start({ body: "{}" }, slot))`)
	iterations, lines := c.emitted("iterations")
	require.Zero(t, iterations, "what was interrupted is no iteration")
	require.Len(t, lines, 6)
	for _, line := range lines {
		require.Equal(t, "interrupted", line["failure"])
	}
}

func TestCarrier_FewVUsReleaseTheArrivalsOfASchedule(t *testing.T) {
	g := newGate(t)
	g.holds = 20 * time.Millisecond // five at once are 250 a second, half of what is scheduled
	c := newCarriers(t, 2, `
		arrivals = new tc.Arrivals("a", { stages: [{ name: "r500", fromRate: 500, toRate: 500, durationMs: 200 }], maxInFlight: 5 });
		client = new tc.Client({ url: "`+g.url+`/a/5", api: "completions" });`)
	recordsTo(t, c.root)
	c.all(`arrivals.each(3, (slot) => client.start({ body: "{}" }, slot))`)
	require.Equal(t, 5, g.peaks()["a"])
	_, lines := c.emitted("iterations")
	require.Len(t, lines, 100)
	scheduled, zero := map[int64]bool{}, lines[0]["scheduledNs"].(float64)
	for _, line := range lines {
		at := line["scheduledNs"].(float64)
		zero = min(zero, at)
		scheduled[int64(at)] = true
		require.GreaterOrEqual(t, line["sentNs"].(float64), at, "nothing is sent before it is due")
	}
	for k := range 100 {
		require.True(t, scheduled[int64(zero)+int64(k)*2_000_000], "arrival %d", k)
	}
	require.Contains(t, strings.Join(c.root.current().Report(0).Validity.Reasons, "\n"), "arrivals of the run found MAX_IN_FLIGHT requests in flight")
}
