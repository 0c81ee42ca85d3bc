package tokenclock

import (
	"encoding/json"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/metrics"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// report is `report(droppedIterations?)`: a plain object, so that scripts can spread, print and store it.
func (i *instance) report(droppedIterations int64) sobek.Value {
	rt := i.vu.Runtime()
	b, err := json.Marshal(i.root.current().report(droppedIterations))
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

// emitLevelMetrics is `emitLevelMetrics()`. A level without a completed request gets no latency gauge: there is no value
// that would be honest, and its request count fails the gate.
func (i *instance) emitLevelMetrics() {
	state := i.vu.State()
	if state == nil {
		return
	}
	run := i.root.current()
	now := clock.Now()
	ctm := state.Tags.GetCurrentValues()
	at := time.Now()
	var samples []metrics.Sample
	add := func(m *metrics.Metric, tags *metrics.TagSet, v float64) {
		samples = append(samples, metrics.Sample{TimeSeries: metrics.TimeSeries{Metric: m, Tags: tags}, Time: at, Value: v})
	}
	levels := run.tally.Levels(now)
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
	}
	bound := 0.0
	verdict := run.judge(levels, run.tally.Total(now), 0)
	run.told.Store(&verdict)
	if verdict.State == "CLIENT-BOUND" {
		bound = 1
	}
	add(i.m.clientBound, ctm.Tags, bound)
	state.Samples <- metrics.ConnectedSamples{Samples: samples, Tags: ctm.Tags, Time: at}
}
