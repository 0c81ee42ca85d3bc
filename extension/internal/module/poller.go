package module

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/grafana/sobek"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/part"
	"github.com/tokenclock/tokenclock/extension/internal/records"
)

// pollerOptions are the options of MetricsPoller of index.d.ts.
type pollerOptions struct {
	URL        string            `js:"url"`
	IntervalMs float64           `js:"intervalMs"`
	Metrics    []string          `js:"metrics"`
	Headers    map[string]string `js:"headers"`
}

// poller reads a server's Prometheus metrics at a fixed pace and keeps the wanted ones on the run's time axis. A metric
// with several series (labels) is their sum, as the gauges of one server's engines are.
type poller struct {
	log    *records.Log
	name   string
	o      pollerOptions
	client *http.Client

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}

	points     []point // for points(): every one, or one of every so many
	every      int     // 1, 2, 4, ...
	polls      int
	unrecorded []point
	recordedNs int64
}

// point is what one poll gave; NaN = not served.
type point struct {
	ns     int64
	values []float64
}

const (
	// maxPoints bounds the memory of a long run: 11 minutes at 10 ms. Beyond, every second point is dropped, and so on. The
	// records hold all of them.
	maxPoints = 1 << 16
	// recordPeriod bounds what a killed run loses, and what waits to be recorded.
	recordPeriod = time.Second

	leastIntervalMs   = 1.0 // a server that is asked more often is loaded by it
	longestIntervalMs = 24 * 3_600_000.0
)

type pollerOf struct {
	i *instance
	p *poller
}

func (i *instance) newPoller(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	name := call.Argument(0).String()
	p, err := shared(i.root, "poller", name, func() (*poller, error) {
		p := &poller{log: i.root.log, name: name}
		if err := decode(rt, call.Argument(1), &p.o); err != nil {
			return nil, err
		}
		if p.o.URL == "" || len(p.o.Metrics) == 0 || !(p.o.IntervalMs >= leastIntervalMs && p.o.IntervalMs <= longestIntervalMs) {
			return nil, fmt.Errorf("url, metrics and an intervalMs from %v to %v are needed; intervalMs is %v",
				leastIntervalMs, longestIntervalMs, p.o.IntervalMs)
		}
		return p, nil
	})
	if err != nil {
		i.throw(fmt.Errorf("new MetricsPoller: %w", err))
	}
	return rt.ToValue(&pollerOf{i, p}).ToObject(rt)
}

// Start is `poller.start()`; it does nothing while the poller runs.
func (h *pollerOf) Start() {
	p := h.p
	p.mu.Lock()
	defer p.mu.Unlock()
	// Of several instances one asks: the page is the same to all.
	if p.cancel != nil || !part.Of(h.i.vu.Context()).First() {
		return
	}
	transport := h.i.httpTransport()
	let, err := h.i.root.authorize(transport, p.o.Headers)
	if err != nil {
		h.i.throw(err)
	}
	p.client = &http.Client{Transport: let, Timeout: 5 * time.Second}
	// Not the VU's context: setup, which may start it, ends before the load begins.
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	p.log.AtEnd(p.stop)
	go func() {
		defer close(p.done)
		defer transport.CloseIdleConnections()
		p.loop(ctx)
	}()
}

// Stop is `poller.stop()`.
func (h *pollerOf) Stop() { h.p.stop() }

// stop returns when no poll is under way any more.
func (p *poller) stop() {
	p.mu.Lock()
	cancel, done := p.cancel, p.done
	p.cancel = nil
	p.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	<-done
	p.mu.Lock()
	p.record(clock.Now())
	p.mu.Unlock()
}

// loop polls at absolute times; what a slow answer makes late is skipped, not made up.
func (p *poller) loop(ctx context.Context) {
	period := int64(p.o.IntervalMs * 1e6)
	dueNs := clock.Now()
	for clock.WaitUntil(ctx, dueNs) {
		if values, ok := p.poll(ctx); ok {
			p.keep(point{clock.Now(), values})
		}
		dueNs += period
		if now := clock.Now(); dueNs < now {
			dueNs = now + period - (now-dueNs)%period
		}
	}
}

// keep takes over a poll.
func (p *poller) keep(pt point) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.every == 0 {
		p.every = 1
	}
	if p.polls%p.every == 0 {
		p.points = append(p.points, pt)
	}
	p.polls++
	if len(p.points) == maxPoints {
		for k := range maxPoints / 2 {
			p.points[k] = p.points[2*k]
		}
		clear(p.points[maxPoints/2:])
		p.points = p.points[:maxPoints/2]
		p.every *= 2
	}
	if p.log.On() {
		p.unrecorded = append(p.unrecorded, pt)
	}
	if p.recordedNs == 0 {
		p.recordedNs = pt.ns
	}
	if pt.ns-p.recordedNs >= int64(recordPeriod) {
		p.record(pt.ns)
	}
}

func (p *poller) poll(ctx context.Context) ([]float64, bool) {
	reply := httpDo(ctx, p.client, p.o.URL, fetchOptions{Method: http.MethodGet})
	if reply.Error != "" || reply.Status != http.StatusOK {
		return nil, false
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(reply.Body))
	found := err == nil // of an answer with a line that cannot be read, what stands before it counts
	values := make([]float64, len(p.o.Metrics))
	for k, name := range p.o.Metrics {
		values[k] = math.NaN()
		if sum, ok := counterValue(families, name); ok {
			values[k] = sum
			found = true
		}
	}
	return values, found
}

// record writes the points that came since the last call into the records. The caller holds p.mu.
func (p *poller) record(nowNs int64) {
	p.recordedNs = nowNs
	if len(p.unrecorded) == 0 {
		return
	}
	rows := make([][]any, 0, len(p.unrecorded))
	for _, pt := range p.unrecorded {
		rows = append(rows, append([]any{pt.ns}, pt.forJSON()...))
	}
	p.unrecorded = nil
	p.log.Line(map[string]any{"type": "points", "name": p.name, "metrics": p.o.Metrics, "points": rows})
}

// forJSON returns the values; null for what was not served or is no number that JSON has.
func (pt point) forJSON() []any {
	out := make([]any, len(pt.values))
	for k, v := range pt.values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out[k] = v
		}
	}
	return out
}

// pollerPoint is one element of `poller.points()`.
type pollerPoint struct {
	T      float64 `js:"t"`
	Values []any   `js:"values"`
}

// Points is `poller.points()`.
func (h *pollerOf) Points() []pollerPoint {
	p := h.p
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]pollerPoint, 0, len(p.points))
	for _, pt := range p.points {
		out = append(out, pollerPoint{T: float64(pt.ns) / 1e9, Values: pt.forJSON()})
	}
	return out
}
