package module

import (
	"slices"
	"strconv"
	"time"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/metrics"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// requestSamples is what one request gives k6: its samples, and for the records output its line. k6 hands the container
// to every output as it is; those that do not know it see samples.
type requestSamples struct {
	metrics.ConnectedSamples
	line []byte
}

// Record implements records.Container.
func (s *requestSamples) Record() []byte { return s.line }

// tagCache keeps the tag sets of the VU's last request: the next one nearly always has the same.
type tagCache struct {
	base              *metrics.TagSet
	level, phase      string
	own               []records.Tag
	of                httpTags
	llm, http, failed *metrics.TagSet
}

// httpTags are the values of the tags of k6's own HTTP metrics.
type httpTags struct {
	url, method, proto string // url without a user's name and password
	status             int
	failure            stream.Failure
}

func (t *tagCache) update(base *metrics.TagSet, system *metrics.SystemTagSet, o *tally.Observation, of httpTags, own []records.Tag) {
	if t.base != base || t.level != o.Level || t.phase != string(o.Phase) || !slices.Equal(t.own, own) {
		*t = tagCache{base: base, level: o.Level, phase: string(o.Phase), own: own}
		t.llm = base
		for _, each := range own {
			t.llm = t.llm.With(each.Name, each.Value)
		}
		if t.level != "" {
			t.llm = t.llm.With("level", t.level)
		}
		t.llm = t.llm.With("phase", t.phase)
	}
	if t.http == nil || t.of != of {
		t.of = of
		t.http = t.llm
		for _, tag := range [...]struct {
			tag   metrics.SystemTag
			name  string
			value string
		}{
			{metrics.TagURL, "url", of.url}, {metrics.TagName, "name", of.url}, {metrics.TagMethod, "method", of.method},
			{metrics.TagStatus, "status", strconv.Itoa(of.status)}, {metrics.TagProto, "proto", of.proto},
			{metrics.TagExpectedResponse, "expected_response", strconv.FormatBool(of.failure == stream.None)},
		} {
			// A name of the script's own groups addresses, as in k6's http module.
			if system.Has(tag.tag) && !(tag.tag == metrics.TagName && t.named()) {
				t.http = t.http.With(tag.name, tag.value)
			}
		}
		t.failed = t.llm
		if o.Failure != stream.None {
			t.failed = t.llm.With("failure", string(o.Failure))
		}
	}
}

// named reports whether the script gave a name.
func (t *tagCache) named() bool {
	return slices.ContainsFunc(t.own, func(each records.Tag) bool { return each.Name == "name" })
}

// ioClock spaces the samples of bytes sent and received.
type ioClock struct{ lastNs int64 }

// emit pushes one request's samples and record.
func (i *instance) emit(state *lib.State, c *vuClient, o *tally.Observation, m *client.Measurement, f tally.Figures, good bool, r *client.Request, own []records.Tag) {
	method := r.Method
	if method == "" {
		if method = c.o.Method; method == "" {
			method = "POST"
		}
	}
	url := c.shownURL
	if r.URL != "" {
		url = client.Redact(r.URL)
	}
	ctm := state.Tags.GetCurrentValues()
	i.tags.update(ctm.Tags, state.Options.SystemTags, o, httpTags{url, method, o.Proto, o.Status, o.Failure}, own)
	llm, http := i.tags.llm, i.tags.http
	at := clock.Wall(o.EndNs)
	samples := make([]metrics.Sample, 0, 20)
	add := func(metric *metrics.Metric, tags *metrics.TagSet, value float64) {
		samples = append(samples, metrics.Sample{TimeSeries: metrics.TimeSeries{Metric: metric, Tags: tags}, Time: at, Value: value, Metadata: ctm.Metadata})
	}
	addMs := func(metric *metrics.Metric, ns int64) {
		if ns >= 0 { // below it is undefined, or an error of a clock, which the tally counts
			add(metric, llm, float64(ns)/1e6)
		}
	}
	bit := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	completed := o.Failure == stream.None
	add(i.m.requests, llm, 1)
	abandoned := o.Failure == stream.Aborted // on purpose, so neither good nor a failure
	add(i.m.requestFailed, llm, bit(!completed && !abandoned))
	addMs(i.m.queueDelay, f.QueueDelay)
	if i.root.current().Tally().SLO(o.Level).Set() && !abandoned {
		add(i.m.goodput, llm, bit(good))
	}
	if completed {
		addMs(i.m.ttft, f.TTFT)
		addMs(i.m.ttfo, f.TTFO)
		addMs(i.m.tpot, f.TPOT)
		addMs(i.m.itlMax, f.MaxStall)
		addMs(i.m.e2e, f.E2E)
		addMs(i.m.ttftScheduled, f.TTFTScheduled)
		addMs(i.m.e2eScheduled, f.E2EScheduled)
		if f.OutputSpeed > 0 {
			add(i.m.outputSpeed, llm, f.OutputSpeed)
		}
		add(i.m.inputTokens, llm, float64(o.InputTokens))
		add(i.m.outputTokens, llm, float64(o.OutputTokens))
		if o.CachedKnown {
			add(i.m.cachedTokens, llm, float64(o.CachedTokens))
		}
		if n := len(o.Arrivals); n > 0 {
			add(i.m.chunks, llm, float64(n))
		}
	} else {
		add(i.m.failures, i.tags.failed, 1)
	}
	b := state.BuiltinMetrics
	add(b.HTTPReqs, http, 1)
	add(b.HTTPReqFailed, http, bit(!completed))
	// A server may also refuse a request before all of it was sent: there is no time since then.
	if o.SentNs > 0 && o.EndNs >= o.SentNs {
		add(b.HTTPReqDuration, http, float64(o.EndNs-o.SentNs)/1e6)
		if o.FirstByteNs >= o.SentNs {
			add(b.HTTPReqWaiting, http, float64(o.FirstByteNs-o.SentNs)/1e6)
		}
	}
	container := &requestSamples{ConnectedSamples: metrics.ConnectedSamples{Samples: samples, Tags: llm, Time: at}}
	if i.root.log.On() {
		container.line = records.AppendRequest(nil, i.root.current().Spec().Scenario, state.VUIDGlobal, state.Iteration, o, m, own...)
		i.root.log.Send(container.line)
	}
	// Not only while the VU's context lives: what was measured when the run was cut must not be lost, and k6 drains the
	// channel until every VU has returned.
	state.Samples <- container
	i.emitIO(state, ctm, o.EndNs)
}

// emitIO reports bytes once a second: k6 itself does so only when an iteration ends, which for a closed loop is the end
// of the run.
func (i *instance) emitIO(state *lib.State, ctm metrics.TagsAndMeta, nowNs int64) {
	if nowNs-i.io.lastNs < int64(time.Second) {
		return
	}
	i.io.lastNs = nowNs
	if d, ok := state.Dialer.(*netext.Dialer); ok {
		state.Samples <- d.IOSamples(time.Now(), ctm, state.BuiltinMetrics)
	}
}
