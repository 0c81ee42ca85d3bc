package module

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/part"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/scrape"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// pollerOptions are the options of MetricsPoller of index.d.ts.
type pollerOptions struct {
	Pages      []pageOptions `js:"pages"`
	IntervalMs float64       `js:"intervalMs"`
	Metrics    []string      `js:"metrics"`
}

type pageOptions struct {
	URL     string            `js:"url"`
	Headers map[string]string `js:"headers"`
}

// poller reads a server's Prometheus pages at a fixed pace and keeps the wanted metrics on the run's time axis.
type poller struct {
	log   *records.Log
	name  string
	o     pollerOptions
	pages []*polledPage

	mu     sync.Mutex
	cancel context.CancelFunc
	quit   chan struct{} // closed: poll once more, and end
	done   chan struct{}
}

// polledPage is one page: what was read from it, and how.
type polledPage struct {
	p      *poller
	index  int
	o      pageOptions
	client *http.Client
	reader *scrape.Reader
	wake   chan struct{} // a poll beside the pace: something begins or ends

	mu         sync.Mutex
	values     table // gauges and counters, in every poll
	histograms table // they are many columns, and are kept at most every histogramPeriod
	recordedNs int64
	lastHistNs int64

	polls, failed, skipped int64
	bytes                  int64
	fetch, read            tally.Quantity // ns: until the page was there, and until it was read
	readNs                 int64
	fetchNs, usualNs       int64 // the last time that the page took to come, and a moving mean of them
	fromNs, toNs           int64
	gone                   bool // it was not there when first asked for
	err                    string
}

// table has one column a value and one row a poll; NaN = not served.
type table struct {
	what       string
	columns    []string
	kinds      []string
	index      map[string]int
	rows       []row
	every      int // one of so many rows is kept: 1, 2, 4, ...
	added      int
	unrecorded []row
}

type row struct {
	ns     int64
	values []float64
}

const (
	// maxPoints bounds the memory of a long run: 11 minutes at 10 ms. Beyond, every second row is dropped, and so on. The
	// records hold all of them.
	maxPoints = 1 << 16
	// maxColumns bounds the memory that a page of ever new metrics takes.
	maxColumns = 1 << 12
	// recordPeriod bounds what a killed run loses, and what waits to be recorded.
	recordPeriod    = time.Second
	histogramPeriod = 250 * time.Millisecond
	pageTimeout     = 5 * time.Second
	stopGrace       = time.Second

	// restShare is how long a page is left alone after a poll, by the time that it took to come: a server writes the page
	// instead of tokens, vLLM's on the one thread that all its streams go through.
	restShare = 9

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
	p, err := oncePerProcess(i.root, "poller", name, func() (*poller, error) {
		p := &poller{log: i.root.log, name: name}
		if err := decode(rt, call.Argument(1), &p.o); err != nil {
			return nil, err
		}
		if err := p.open(); err != nil {
			return nil, err
		}
		i.root.pollersMu.Lock()
		defer i.root.pollersMu.Unlock()
		i.root.pollers = append(i.root.pollers, p)
		return p, nil
	})
	if err != nil {
		i.throw(fmt.Errorf("new MetricsPoller: %w", err))
	}
	return rt.ToValue(&pollerOf{i, p}).ToObject(rt)
}

func (p *poller) open() error {
	if !(p.o.IntervalMs >= leastIntervalMs && p.o.IntervalMs <= longestIntervalMs) {
		return fmt.Errorf("an intervalMs from %v to %v is needed; it is %v", leastIntervalMs, longestIntervalMs, p.o.IntervalMs)
	}
	selectors, err := scrape.ParseSelectors(p.o.Metrics)
	if err != nil {
		return err
	}
	for k, o := range p.o.Pages {
		if o.URL == "" {
			return fmt.Errorf("page %d has no url", k)
		}
		p.pages = append(p.pages, &polledPage{
			p: p, index: k, o: o, reader: scrape.NewReader(selectors), wake: make(chan struct{}, 1),
			values: newTable("values"), histograms: newTable("histograms"),
		})
	}
	return nil
}

// Start is `poller.start()`; it does nothing while the poller runs.
func (h *pollerOf) Start() {
	p := h.p
	p.mu.Lock()
	defer p.mu.Unlock()
	// One of several instances asks: the page is the same to all.
	if p.cancel != nil || !part.Of(h.i.vu.Context()).First() {
		return
	}
	// Not the VU's context: setup, which may start it, ends before the load begins.
	ctx, cancel := context.WithCancel(context.Background())
	quit := make(chan struct{})
	var all sync.WaitGroup
	for _, page := range p.pages {
		transport := h.i.httpTransport()
		let, err := h.i.root.authorize(transport, page.o.Headers)
		if err != nil {
			cancel()
			h.i.throw(err)
		}
		page.client = &http.Client{Transport: let, Timeout: pageTimeout}
		all.Go(func() {
			defer transport.CloseIdleConnections()
			page.loop(ctx, quit)
		})
	}
	p.cancel, p.quit, p.done = cancel, quit, make(chan struct{})
	done := p.done
	go func() {
		all.Wait()
		close(done)
	}()
	p.log.AtEnd(p.stop)
}

// Stop is `poller.stop()`.
func (h *pollerOf) Stop() { h.p.stop() }

// stop reads each page once more, and returns when no poll is under way any more. A page that takes too long is not waited for.
func (p *poller) stop() {
	p.mu.Lock()
	cancel, quit, done := p.cancel, p.quit, p.done
	p.cancel = nil
	p.mu.Unlock()
	if cancel == nil {
		return
	}
	close(quit)
	grace := time.AfterFunc(stopGrace, cancel)
	<-done
	grace.Stop()
	cancel()
	for _, page := range p.pages {
		page.mu.Lock()
		page.record(clock.Now())
		page.mu.Unlock()
	}
	p.log.Line(pagesLine{Type: "pages", Name: p.name, Pages: p.states()})
}

// pollNow has every poller read its pages beside its pace: a level begins or ends.
func (r *Root) pollNow() {
	r.pollersMu.Lock()
	defer r.pollersMu.Unlock()
	for _, p := range r.pollers {
		for _, page := range p.pages {
			select {
			case page.wake <- struct{}{}:
			default:
			}
		}
	}
}

// loop polls at absolute times. Those that would come before the page has rested are skipped, not made up. A page that the
// server does not have is asked for once.
func (page *polledPage) loop(ctx context.Context, quit <-chan struct{}) {
	period := int64(page.p.o.IntervalMs * 1e6)
	dueNs := clock.Now()
	for last := false; !last; {
		var beside bool
		beside, last = page.wait(ctx, quit, dueNs)
		if ctx.Err() != nil || !page.poll(ctx, beside || last) {
			return
		}
		now := clock.Now()
		if now < dueNs { // a poll beside the pace
			continue
		}
		dueNs += period
		page.mu.Lock()
		// One slow answer does not make the pace, nor does a fast one among slow ones wait for them.
		if restedNs := now + restShare*min(page.fetchNs, page.usualNs); dueNs < restedNs {
			skipped := (restedNs - dueNs + period - 1) / period
			page.skipped += skipped
			dueNs += skipped * period
		}
		page.mu.Unlock()
	}
}

// wait returns at dueNs, or earlier where the page is to be read beside its pace or for the last time.
func (page *polledPage) wait(ctx context.Context, quit <-chan struct{}, dueNs int64) (beside, last bool) {
	timer := time.NewTimer(max(time.Duration(dueNs-clock.Now())-clock.Precise, 0))
	defer timer.Stop()
	select {
	case <-quit:
		return false, true
	case <-page.wake:
		return true, false
	case <-timer.C:
		clock.WaitUntil(ctx, dueNs)
	case <-ctx.Done():
	}
	return false, false
}

// poll reads the page once, with the histograms where whole. It reports whether to go on.
func (page *polledPage) poll(ctx context.Context, whole bool) bool {
	fromNs := clock.Now()
	reply := httpDo(ctx, page.client, page.o.URL, fetchOptions{Method: http.MethodGet})
	fetchedNs := clock.Now()
	if ctx.Err() != nil {
		return false // of a poll that the run's end cut nothing is known
	}
	why := reply.Error
	if why == "" && reply.Status != http.StatusOK {
		why = fmt.Sprintf("HTTP %d", reply.Status)
	}
	var found []scrape.Metric
	if why == "" {
		var err error
		if found, err = page.reader.Read([]byte(reply.Body)); err != nil && len(found) == 0 {
			why = "the page is not in Prometheus' text format: " + err.Error()
		}
	}
	readNs := clock.Now()

	page.mu.Lock()
	defer page.mu.Unlock()
	page.polls++
	if page.fromNs == 0 {
		page.fromNs = fromNs
	}
	page.toNs = readNs
	page.fetchNs = fetchedNs - fromNs
	if page.usualNs == 0 {
		page.usualNs = page.fetchNs
	}
	page.usualNs += (page.fetchNs - page.usualNs) / 8
	page.fetch.Add(page.fetchNs)
	page.read.Add(readNs - fetchedNs)
	page.readNs += readNs - fetchedNs
	page.bytes = max(page.bytes, int64(len(reply.Body)))
	if why != "" {
		page.failed++
		if page.err == "" {
			page.err = why
		}
		page.gone = page.polls == 1 && reply.Status != 0
		return !page.gone
	}
	// The server wrote the page between request and reply.
	page.add(fromNs+(fetchedNs-fromNs)/2, found, whole)
	return true
}

// add takes over what a poll found. The caller holds page.mu.
func (page *polledPage) add(ns int64, found []scrape.Metric, whole bool) {
	recorded := page.p.log.On()
	page.values.add(ns, found, func(k scrape.Kind) bool { return k != scrape.Histogram }, recorded)
	if whole || page.lastHistNs == 0 || ns-page.lastHistNs >= int64(histogramPeriod) {
		page.lastHistNs = ns
		page.histograms.add(ns, found, func(k scrape.Kind) bool { return k == scrape.Histogram }, recorded)
	}
	if page.recordedNs == 0 {
		page.recordedNs = ns
	}
	if ns-page.recordedNs >= int64(recordPeriod) {
		page.record(ns)
	}
}

func newTable(what string) table { return table{what: what, every: 1, index: map[string]int{}} }

// add appends a row of the metrics of the wanted kinds. A row of none says that there was none yet.
func (t *table) add(ns int64, found []scrape.Metric, wanted func(scrape.Kind) bool, recorded bool) {
	r := row{ns: ns}
	for _, m := range found {
		if !wanted(m.Kind) {
			continue
		}
		values := m.Values()
		for k, name := range m.Columns() {
			at, known := t.index[name]
			if !known {
				if at = len(t.columns); at == maxColumns {
					continue
				}
				t.index[name] = at
				t.columns = append(t.columns, name)
				t.kinds = append(t.kinds, string(m.Kind))
			}
			for len(r.values) < len(t.columns) {
				r.values = append(r.values, math.NaN())
			}
			r.values[at] = values[k]
		}
	}
	if t.added%t.every == 0 {
		t.rows = append(t.rows, r)
	}
	t.added++
	if len(t.rows) == maxPoints {
		for k := range maxPoints / 2 {
			t.rows[k] = t.rows[2*k]
		}
		clear(t.rows[maxPoints/2:])
		t.rows = t.rows[:maxPoints/2]
		t.every *= 2
	}
	if recorded && (len(t.columns) > 0 || len(t.unrecorded) == 0) {
		t.unrecorded = append(t.unrecorded, r)
	}
}

// record writes the rows that came since the last call into the records. The caller holds page.mu.
func (page *polledPage) record(nowNs int64) {
	page.recordedNs = nowNs
	for _, t := range []*table{&page.values, &page.histograms} {
		if len(t.unrecorded) == 0 || len(t.columns) == 0 {
			continue
		}
		page.p.log.Line(page.line(t, t.unrecorded))
		t.unrecorded = nil
	}
}

// pointsLine is a line of records, and an element of `poller.series()`.
type pointsLine struct {
	Type    string   `js:"type" json:"type"`
	Name    string   `js:"name" json:"name"`
	Page    int      `js:"page" json:"page"`
	What    string   `js:"what" json:"what"`
	Metrics []string `js:"metrics" json:"metrics"`
	Kinds   []string `js:"kinds" json:"kinds"`
	Points  [][]any  `js:"points" json:"points"`
}

func (page *polledPage) line(t *table, rows []row) pointsLine {
	l := pointsLine{
		Type: "points", Name: page.p.name, Page: page.index, What: t.what,
		Metrics: slices.Clone(t.columns), Kinds: slices.Clone(t.kinds), Points: make([][]any, 0, len(rows)),
	}
	for _, r := range rows {
		l.Points = append(l.Points, append([]any{r.ns}, r.forJSON(len(t.columns))...))
	}
	return l
}

// forJSON returns the values; null for what was not served or is no number that JSON has.
func (r row) forJSON(columns int) []any {
	out := make([]any, columns)
	for k, v := range r.values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out[k] = v
		}
	}
	return out
}

// Series is `poller.series()`.
func (h *pollerOf) Series() []pointsLine {
	out := []pointsLine{}
	for _, page := range h.p.pages {
		page.mu.Lock()
		for _, t := range []*table{&page.values, &page.histograms} {
			if len(t.rows) > 0 && len(t.columns) > 0 {
				out = append(out, page.line(t, t.rows))
			}
		}
		page.mu.Unlock()
	}
	return out
}

// pageState is an element of `poller.pages()`.
type pageState struct {
	Polls    int64       `js:"polls" json:"polls"`
	Failed   int64       `js:"failed" json:"failed"`
	Skipped  int64       `js:"skipped" json:"skipped"`
	Error    string      `js:"error" json:"error"`
	Bytes    int64       `js:"bytes" json:"bytes"`
	Seconds  float64     `js:"seconds" json:"seconds"`
	CPUShare float64     `js:"cpuShare" json:"cpuShare"`
	PageMs   tally.Stats `js:"pageMs" json:"pageMs"`
	ReadMs   tally.Stats `js:"readMs" json:"readMs"`
}

// pagesLine is a line of records: how the pages were polled.
type pagesLine struct {
	Type  string      `json:"type"`
	Name  string      `json:"name"`
	Pages []pageState `json:"pages"`
}

// Pages is `poller.pages()`.
func (h *pollerOf) Pages() []pageState { return h.p.states() }

func (p *poller) states() []pageState {
	out := []pageState{}
	for _, page := range p.pages {
		page.mu.Lock()
		s := pageState{
			Polls: page.polls, Failed: page.failed, Skipped: page.skipped, Error: strings.TrimSpace(page.err),
			Bytes: page.bytes, Seconds: float64(page.toNs-page.fromNs) / 1e9, PageMs: page.fetch.Stats(1e6), ReadMs: page.read.Stats(1e6),
		}
		if s.Seconds > 0 {
			s.CPUShare = float64(page.readNs) / 1e9 / s.Seconds
		}
		page.mu.Unlock()
		out = append(out, s)
	}
	return out
}
