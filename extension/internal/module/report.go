package module

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/metrics"

	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// report is `report(droppedIterations?)`: a plain object, so that scripts can spread, print and store it.
func (i *instance) report(droppedIterations int64) sobek.Value {
	rt := i.vu.Runtime()
	b, err := json.Marshal(i.root.current().Report(droppedIterations))
	if err != nil {
		i.throw(err)
	}
	parse, _ := sobek.AssertFunction(rt.Get("JSON").ToObject(rt).Get("parse"))
	v, err := parse(sobek.Undefined(), rt.ToValue(string(b)))
	if err != nil {
		i.throw(err)
	}
	return v
}

// emitLevelMetrics is `emitLevelMetrics(computed?)`. A level without an ITL gets no gauge of it: there is no value that would be
// honest, and llm_samples fails the gate.
func (i *instance) emitLevelMetrics(v sobek.Value) {
	var computed map[string]map[string]float64
	if v != nil && !sobek.IsUndefined(v) && !sobek.IsNull(v) {
		if err := decode(i.vu.Runtime(), v, &computed); err != nil {
			i.throw(err)
		}
	}
	state := i.vu.State()
	if state == nil {
		return
	}
	i.root.levelsEnd("")
	ctm := state.Tags.GetCurrentValues()
	at := time.Now()
	var samples []metrics.Sample
	add := func(m *metrics.Metric, tags *metrics.TagSet, v float64) {
		samples = append(samples, metrics.Sample{TimeSeries: metrics.TimeSeries{Metric: m, Tags: tags}, Time: at, Value: v})
	}
	levels, verdict := i.root.current().LevelMetrics()
	for _, l := range levels {
		tags := ctm.Tags.With("level", l.Name)
		add(i.m.outputThroughput, tags, l.OutputThroughput)
		add(i.m.requestThroughput, tags, l.RequestThroughput)
		if l.RequestGoodput != nil {
			add(i.m.requestGoodput, tags, *l.RequestGoodput)
		}
		if l.ITLMs.Count > 0 {
			add(i.m.itlP50, tags, l.ITLMs.P50)
			add(i.m.itlP90, tags, l.ITLMs.P90)
			add(i.m.itlP99, tags, l.ITLMs.P99)
		}
		if l.CachedShare != nil {
			add(i.m.cachedShare, tags, *l.CachedShare)
		}
		for name, n := range samplesOf(l) {
			add(i.m.samples, tags.With("metric", name), float64(n))
		}
		for name, value := range computed[l.Name] {
			metric := i.m.computed[name]
			if metric == nil {
				i.throw(fmt.Errorf("emitLevelMetrics: %s is no metric that a script computes", name))
			}
			add(metric, tags, value)
			add(i.m.samples, tags.With("metric", name), float64(l.Completed))
		}
	}
	bound := 0.0
	if verdict.ClientBound() {
		bound = 1
	}
	add(i.m.clientBound, ctm.Tags, bound)
	cacheBound := 0.0
	if verdict.CacheBound() {
		cacheBound = 1
	}
	add(i.m.cacheBound, ctm.Tags, cacheBound)
	state.Samples <- metrics.ConnectedSamples{Samples: samples, Tags: ctm.Tags, Time: at}
}

// samplesOf counts what a level's steady requests gave each metric that a gate may limit. k6 cannot say it: it has no
// count of a Trend, and takes a Gauge or Rate without samples for a limit that is kept.
func samplesOf(l tally.LevelSummary) map[string]int64 {
	n := map[string]int64{
		"llm_ttft": l.TTFTMs.Count, "llm_ttfo": l.TTFOMs.Count, "llm_tpot": l.TPOTMs.Count, "llm_output_speed": l.OutputSpeed.Count,
		"llm_e2e_latency": l.E2EMs.Count, "llm_queue_delay": l.QueueDelayMs.Count,
		"llm_ttft_scheduled": l.TTFTScheduledMs.Count, "llm_e2e_scheduled": l.E2EScheduledMs.Count,
		"llm_itl_p50": l.ITLMs.Count, "llm_itl_p90": l.ITLMs.Count, "llm_itl_p99": l.ITLMs.Count,
		// All gaps of a stream that came in one receive are 0, which says nothing of the server. It has no TPOT either.
		"llm_itl_max":           min(l.MaxStallMs.Count, l.TPOTMs.Count),
		"llm_output_throughput": l.Completed, "llm_request_throughput": l.Completed,
	}
	if l.CachedShare != nil {
		n["llm_cached_share"] = l.Completed
	}
	if l.GoodShare != nil {
		n["llm_goodput"], n["llm_request_goodput"] = l.Requests, l.Requests
	}
	return n
}
