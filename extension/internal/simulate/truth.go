package simulate

import (
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// send is one event with output tokens, or a whole reply.
type send struct {
	atNs    int64 // its last byte left the host; without a kernel's time the clock right before the system call
	widthNs int32 // 0 for the kernel's time, else until right after the system call
	tokens  int32
}

// record is the truth about one request.
type record struct {
	id           string
	path         string
	beginNs      int64
	kernelBegin  bool
	status       int
	promptTokens int
	outputTokens int
	cachedTokens int
	fault        string
	doneNs       int64
	firstNs      int64 // first and last send of an output token
	lastNs       int64 // without tokens: the reply
	sends        []send
	dropped      bool // sends were not kept
	waiting      int  // events that are to be sent, or whose time is to come
	latencyKnown bool // counted in e2e
	forgotten    bool // a reset came first
	finish       string
}

// truth is what the server really did and when. It is bounded: beyond KeepRequests and KeepSends only histograms grow.
//
// The time of an event is the one at which the segment that carried its last byte left the host (departure.go). Where the
// kernel does not tell it, it is the clock right before the system call that wrote the event: early by 2 us in the median, but by
// milliseconds where the thread is preempted between the two. The width of the call is kept beside such a time.
type truth struct {
	keepRequests, keepSends int
	startNs                 int64

	live      map[*record]struct{}
	finished  []*record
	keptSends int
	requests  int64
	exact     bool // nothing was dropped
	firstNs   int64
	lastNs    int64
	tokens    int64

	open    map[*departures]struct{} // of connections, open or with departures whose time is to come
	sources [sourceCount]int64       // events by where their time is from

	ttft, itl, gap, e2e *hdrhistogram.Histogram
	width               *hdrhistogram.Histogram // of the times that are not the kernel's
}

func newTruth(keepRequests, keepSends int) *truth {
	t := &truth{keepRequests: keepRequests, keepSends: keepSends}
	t.reset()
	return t
}

// reset forgets everything but the requests that are being answered, which will be complete when they end.
func (t *truth) reset() {
	live, open := t.live, t.open
	*t = truth{keepRequests: t.keepRequests, keepSends: t.keepSends, exact: true, startNs: clock.Now(), firstNs: never}
	t.live, t.open = live, open
	if live == nil {
		t.live, t.open = map[*record]struct{}{}, map[*departures]struct{}{}
	}
	for r := range live {
		t.requests++
		t.keptSends += len(r.sends)
		t.tokens += int64(r.outputTokens)
		t.firstNs = min(t.firstNs, r.beginNs)
	}
	for d := range open {
		for _, w := range d.waiting() {
			if _, ok := live[w.rec]; !ok {
				w.rec.forgotten = true
			}
		}
	}
	for _, h := range []**hdrhistogram.Histogram{&t.ttft, &t.itl, &t.gap, &t.e2e, &t.width} {
		*h = hdrhistogram.New(1_000, int64(3600e9), 3)
	}
}

// begin begins a request's record.
func (t *truth) begin(id, path string, beginNs int64, kernel bool) *record {
	r := &record{id: id, path: path, beginNs: beginNs, kernelBegin: kernel}
	t.requests++
	t.live[r] = struct{}{}
	t.firstNs = min(t.firstNs, beginNs)
	return r
}

// note keeps an event that was written between two clock readings, and returns it as a departure whose time settle gives.
func (t *truth) note(r *record, beforeNs, afterNs int64, tokens int) departure {
	r.outputTokens += tokens
	t.tokens += int64(tokens)
	widthNs := int32(min(afterNs-beforeNs, math.MaxInt32))
	d := departure{rec: r, index: -1, beforeNs: beforeNs, widthNs: widthNs, tokens: tokens}
	switch {
	case r.dropped || tokens == 0:
	case t.keptSends >= t.keepSends:
		r.dropped, t.exact = true, false
		t.keptSends -= len(r.sends)
		r.sends = nil
	default:
		t.keptSends++
		d.index = len(r.sends)
		r.sends = append(r.sends, send{beforeNs, max(1, widthNs), int32(tokens)})
	}
	return d
}

// settle gives a departure its time, in the order of the events of a request. A time that is not the kernel's, which source
// says, is the clock before the write.
func (t *truth) settle(d *departure, atNs int64, source source) {
	r := d.rec
	r.waiting--
	if source == sourceUser {
		atNs = d.beforeNs
	} else if d.index >= 0 && d.index < len(r.sends) {
		r.sends[d.index].atNs, r.sends[d.index].widthNs = atNs, 0
	}
	if r.forgotten {
		return
	}
	t.sources[source]++
	if source == sourceUser {
		_ = t.width.RecordValue(int64(d.widthNs))
	}
	if d.tokens > 0 {
		if r.firstNs == 0 {
			r.firstNs = atNs
			_ = t.ttft.RecordValue(atNs - r.beginNs)
		} else {
			gapNs := atNs - r.lastNs
			_ = t.gap.RecordValue(gapNs)
			_ = t.itl.RecordValues(gapNs/int64(d.tokens), int64(d.tokens))
		}
	}
	r.lastNs = atNs
	t.countLatency(r)
}

// done ends a request's record.
func (t *truth) done(r *record, nowNs int64) {
	delete(t.live, r)
	r.doneNs = nowNs
	t.lastNs = max(t.lastNs, nowNs)
	t.countLatency(r)
	if len(t.finished) >= t.keepRequests {
		t.exact = false
		t.keptSends -= len(r.sends)
		return
	}
	t.finished = append(t.finished, r)
}

// countLatency counts the latency of a request that is done and whose last departure has its time.
func (t *truth) countLatency(r *record) {
	if r.doneNs != 0 && r.waiting == 0 && r.lastNs != 0 && !r.latencyKnown && !r.forgotten {
		r.latencyKnown = true
		_ = t.e2e.RecordValue(r.lastNs - r.beginNs)
	}
}

// settled reports whether every departure that was noted before askedNs has its time, or never will. Departures of a closed
// connection whose time has not come after giveUpNs get none.
func (t *truth) settled(askedNs, nowNs int64) bool {
	settled := true
	for d := range t.open {
		if d.closedNs != 0 && (len(d.waiting()) == 0 || nowNs-d.closedNs > giveUpNs) {
			d.giveUp()
			delete(t.open, d)
			continue
		}
		if waiting := d.waiting(); len(waiting) > 0 && waiting[0].beforeNs < askedNs {
			settled = false
		}
	}
	return settled
}

// Stats describes a set of times in milliseconds. Percentiles interpolate linearly between the closest ranks (Hyndman
// and Fan's type 7) where every value was kept, and else come from a histogram with three significant digits.
type Stats struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	Std   float64 `json:"std"`
	Min   float64 `json:"min"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

// ClockInfo ties the truth's times to other clocks: a time t is t + ZeroUnixNs on the wall clock as it stood when the
// server started, and t + ZeroMonotonicNs on Linux's CLOCK_MONOTONIC, which all processes of a machine share.
type ClockInfo struct {
	ZeroUnixNs      int64 `json:"zeroUnixNs,string"`
	ZeroMonotonicNs int64 `json:"zeroMonotonicNs,omitempty"`
	NowNs           int64 `json:"nowNs"`
}

// RequestTruth is what happened to one request. Times are nanoseconds on the clock of ClockInfo, 0 = never.
type RequestTruth struct {
	ID           string `json:"id"` // X-Request-Id, or the id of the answer
	Path         string `json:"path"`
	BeginNs      int64  `json:"beginNs"`     // the kernel received the last segment of the request
	KernelBegin  bool   `json:"kernelBegin"` // or, if false, the server read it
	Status       int    `json:"status"`
	PromptTokens int    `json:"promptTokens"`
	CachedTokens int    `json:"cachedTokens"`
	OutputTokens int    `json:"outputTokens"` // sent
	// SendsNs holds [from, to, tokens] of each event with output tokens, or of the whole reply: its last byte left the host
	// between the two. They are one where the kernel told the time (SourceInfo); else they are the clock right before and
	// right after the system call, and from counts as the time.
	SendsNs      [][3]int64 `json:"sendsNs"`
	DoneNs       int64      `json:"doneNs"`
	FinishReason string     `json:"finishReason"`
	Fault        string     `json:"fault"` // what was done to it on purpose, or "disconnected"
}

// SourceInfo says where the truth's times of sends are from.
type SourceInfo struct {
	Sends string `json:"sends"`         // "ring", "transmit" or "user": the best that this server has
	Why   string `json:"why,omitempty"` // why it has no better one
	// Events by the source of their own time. Those of TLS and HTTP/2 are of the segment that completed their record.
	Ring     int64 `json:"ring"`
	Transmit int64 `json:"transmit"`
	User     int64 `json:"user"`
	// WidthMs is how far apart the clock readings around the writes of the events of source "user" were.
	WidthMs Stats `json:"widthMs"`
	// Drops counts packets that the ring lost; the events in them have the time of the clock.
	Drops int64 `json:"drops"`
}

// Report is GET /truth.
type Report struct {
	Clock        ClockInfo      `json:"clock"`
	Source       SourceInfo     `json:"source"`
	Requests     []RequestTruth `json:"requests,omitempty"`
	RequestCount int64          `json:"requestCount"` // all since the last reset, kept or not, finished or not
	LiveCount    int            `json:"liveCount"`
	Exact        bool           `json:"exact"` // every request and send was kept
	OutputTokens int64          `json:"outputTokens"`
	FirstBeginNs int64          `json:"firstBeginNs"` // on the clock of ClockInfo; 0 = no request
	WindowS      float64        `json:"windowS"`      // from the first begin to the last end

	TTFTMs     Stats `json:"ttftMs"`     // first send - begin
	ITLMs      Stats `json:"itlMs"`      // chunk gap / n for each of the n tokens of the event behind it
	ChunkGapMs Stats `json:"chunkGapMs"` // send - previous send: one gap an event, 0 where a segment brought both
	E2EMs      Stats `json:"e2eMs"`      // last send - begin, of ended requests
}

// snapshot is what a report needs, taken by the loop; the report itself is made elsewhere.
type snapshot struct {
	records             []*record // ended ones, immutable, and copies of the live ones
	live                int
	requests, tokens    int64
	exact               bool
	firstNs, windowNs   int64
	ttft, itl, gap, e2e *hdrhistogram.Histogram
	source              SourceInfo
}

func (t *truth) snapshot() snapshot {
	s := snapshot{
		records: slices.Clone(t.finished), live: len(t.live), requests: t.requests, tokens: t.tokens, exact: t.exact,
	}
	s.source = SourceInfo{
		Ring: t.sources[sourceRing], Transmit: t.sources[sourceTransmit], User: t.sources[sourceUser], WidthMs: histogramStats(t.width),
	}
	for i, r := range s.records {
		if r.waiting > 0 { // their times may still come
			s.records[i] = r.copy()
		}
	}
	for r := range t.live {
		s.exact = s.exact && !r.dropped
		s.records = append(s.records, r.copy())
	}
	if t.firstNs != never {
		s.firstNs = t.firstNs
	}
	if t.lastNs > t.firstNs {
		s.windowNs = t.lastNs - t.firstNs
	}
	if !s.exact {
		for _, h := range []struct{ to, from **hdrhistogram.Histogram }{{&s.ttft, &t.ttft}, {&s.itl, &t.itl}, {&s.gap, &t.gap}, {&s.e2e, &t.e2e}} {
			*h.to = hdrhistogram.Import((*h.from).Export())
		}
	}
	return s
}

func (r *record) copy() *record {
	c := *r
	c.sends = slices.Clone(r.sends)
	return &c
}

// report computes the truth's figures; path, if not empty, restricts them to requests of that path.
func (s snapshot) report(withRequests bool, path string) Report {
	report := Report{
		Clock: clockInfo(), Source: s.source,
		RequestCount: s.requests, LiveCount: s.live, Exact: s.exact, OutputTokens: s.tokens, FirstBeginNs: s.firstNs, WindowS: float64(s.windowNs) / 1e9,
	}
	if path != "" {
		s.restrict(path)
		report.RequestCount, report.OutputTokens = int64(len(s.records)), 0
		report.LiveCount = 0
		firstNs, lastNs := never, int64(0)
		for _, r := range s.records {
			report.OutputTokens += int64(r.outputTokens)
			firstNs, lastNs = min(firstNs, r.beginNs), max(lastNs, r.doneNs)
			if r.doneNs == 0 {
				report.LiveCount++
			}
		}
		report.FirstBeginNs = 0
		if firstNs != never {
			report.FirstBeginNs = firstNs
		}
		report.WindowS = max(0, float64(lastNs-firstNs)/1e9)
	}
	if s.exact || path != "" {
		s.exactStats(&report)
	} else {
		report.TTFTMs, report.ITLMs = histogramStats(s.ttft), histogramStats(s.itl)
		report.ChunkGapMs, report.E2EMs = histogramStats(s.gap), histogramStats(s.e2e)
	}
	if withRequests {
		report.Requests = make([]RequestTruth, len(s.records))
		for i, r := range s.records {
			report.Requests[i] = r.export()
		}
	}
	return report
}

func (s *snapshot) restrict(path string) {
	var unfinished []*record
	for _, r := range s.records {
		if r.path == path {
			unfinished = append(unfinished, r)
		}
	}
	s.records = unfinished
}

func (r *record) export() RequestTruth {
	e := RequestTruth{
		ID: r.id, Path: r.path, BeginNs: r.beginNs, KernelBegin: r.kernelBegin, Status: r.status, PromptTokens: r.promptTokens,
		CachedTokens: r.cachedTokens, OutputTokens: r.outputTokens, DoneNs: r.doneNs, Fault: r.fault, FinishReason: r.finish,
		SendsNs: make([][3]int64, len(r.sends)),
	}
	for i, s := range r.sends {
		e.SendsNs[i] = [3]int64{s.atNs, s.atNs + int64(s.widthNs), int64(s.tokens)}
	}
	return e
}

// exactStats derives the figures from every send.
func (s snapshot) exactStats(report *Report) {
	var ttft, itl, gap, e2e []float64
	for _, r := range s.records {
		var lastNs int64
		for i, send := range r.sends {
			if i == 0 {
				ttft = append(ttft, float64(send.atNs-r.beginNs)/1e6)
			} else {
				ms := float64(send.atNs-lastNs) / 1e6
				gap = append(gap, ms)
				for range send.tokens {
					itl = append(itl, ms/float64(send.tokens))
				}
			}
			lastNs = send.atNs
		}
		if len(r.sends) == 0 {
			lastNs = r.lastNs
		}
		if lastNs != 0 && r.doneNs != 0 {
			e2e = append(e2e, float64(lastNs-r.beginNs)/1e6)
		}
	}
	report.TTFTMs, report.ITLMs, report.ChunkGapMs, report.E2EMs = statsOf(ttft), statsOf(itl), statsOf(gap), statsOf(e2e)
}

// statsOf sorts values in place.
func statsOf(values []float64) Stats {
	if len(values) == 0 {
		return Stats{}
	}
	slices.Sort(values)
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	mean := sum / float64(len(values))
	squares := 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	at := func(p float64) float64 {
		rank := p * float64(len(values)-1)
		below := int(rank)
		above := min(below+1, len(values)-1)
		return values[below] + (values[above]-values[below])*(rank-float64(below))
	}
	return Stats{
		Count: int64(len(values)), Mean: mean, Std: math.Sqrt(squares / float64(len(values))), Min: values[0],
		P50: at(0.5), P90: at(0.9), P95: at(0.95), P99: at(0.99), P999: at(0.999), Max: values[len(values)-1],
	}
}

func histogramStats(h *hdrhistogram.Histogram) Stats {
	ms := func(p float64) float64 { return float64(h.ValueAtQuantile(p)) / 1e6 }
	if h.TotalCount() == 0 {
		return Stats{}
	}
	return Stats{
		Count: h.TotalCount(), Mean: h.Mean() / 1e6, Std: h.StdDev() / 1e6, Min: float64(h.Min()) / 1e6,
		P50: ms(50), P90: ms(90), P95: ms(95), P99: ms(99), P999: ms(99.9), Max: float64(h.Max()) / 1e6,
	}
}

func clockInfo() ClockInfo {
	return ClockInfo{ZeroUnixNs: clock.StartUnixNs(), ZeroMonotonicNs: zeroMonotonicNs(), NowNs: clock.Now()}
}
