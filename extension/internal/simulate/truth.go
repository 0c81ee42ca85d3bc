package simulate

import (
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// send is one write that completed output tokens.
type send struct {
	beforeNs int64 // right before the system call
	widthNs  int32 // until right after it
	tokens   int32
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
	transmits    []int64
	finish       string
}

// truth is what the server really did and when. It is bounded: beyond KeepRequests and KeepSends only histograms grow.
//
// The time of a send is the one right before its system call. On loopback the receiver's kernel stamps the segment inside
// that call. Of 90,000 tokens of 300 streams on two busy cores, the receiver's time was later than ours by 3 us in the
// median, 13 us at p99 and 0.1 ms at most. The time after the call is a worse witness, 6 to 20 us late in the median and
// milliseconds at most, for the kernel often lets the woken receiver run before the call returns. With TxTimes the
// kernel's transmit time is known, too (2 us after ours in the median); it costs a tenth more CPU and replaces ours where
// figures are exact.
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

	ttft, itl, gap, e2e *hdrhistogram.Histogram
}

func newTruth(keepRequests, keepSends int) *truth {
	t := &truth{keepRequests: keepRequests, keepSends: keepSends}
	t.reset()
	return t
}

// reset forgets everything but the requests that are being answered, which will be complete when they end.
func (t *truth) reset() {
	live := t.live
	*t = truth{keepRequests: t.keepRequests, keepSends: t.keepSends, exact: true, startNs: clock.Now(), firstNs: never}
	t.live = live
	if live == nil {
		t.live = map[*record]struct{}{}
	}
	for r := range live {
		t.requests++
		t.keptSends += len(r.sends)
		t.tokens += int64(r.outputTokens)
		t.firstNs = min(t.firstNs, r.beginNs)
	}
	for _, h := range []**hdrhistogram.Histogram{&t.ttft, &t.itl, &t.gap, &t.e2e} {
		*h = hdrhistogram.New(1_000, int64(3600e9), 3)
	}
}

// open begins a request's record.
func (t *truth) open(id, path string, beginNs int64, kernel bool) *record {
	r := &record{id: id, path: path, beginNs: beginNs, kernelBegin: kernel}
	t.requests++
	t.live[r] = struct{}{}
	t.firstNs = min(t.firstNs, beginNs)
	return r
}

// sent notes tokens that went out in one write.
func (t *truth) sent(r *record, beforeNs, afterNs int64, tokens int) {
	if r.firstNs == 0 {
		r.firstNs = beforeNs
		_ = t.ttft.RecordValue(beforeNs - r.beginNs)
	} else {
		gapNs := beforeNs - r.lastNs
		_ = t.gap.RecordValue(gapNs)
		_ = t.itl.RecordValues(gapNs/int64(tokens), int64(tokens))
	}
	r.lastNs = beforeNs
	r.outputTokens += tokens
	t.tokens += int64(tokens)
	switch {
	case r.dropped:
	case t.keptSends >= t.keepSends:
		r.dropped, t.exact = true, false
		t.keptSends -= len(r.sends)
		r.sends = nil
	default:
		t.keptSends++
		r.sends = append(r.sends, send{beforeNs, int32(min(afterNs-beforeNs, math.MaxInt32)), int32(tokens)})
	}
}

// done ends a request's record.
func (t *truth) done(r *record, nowNs int64) {
	delete(t.live, r)
	r.doneNs = nowNs
	t.lastNs = max(t.lastNs, nowNs)
	if r.lastNs != 0 {
		_ = t.e2e.RecordValue(r.lastNs - r.beginNs)
	}
	if len(t.finished) >= t.keepRequests {
		t.exact = false
		t.keptSends -= len(r.sends)
		return
	}
	t.finished = append(t.finished, r)
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
	// SendsNs holds [before, after, tokens] of each write that completed tokens: the clock right before and right after
	// the system call. The send time is the one before.
	SendsNs [][3]int64 `json:"sendsNs"`
	// TransmitNs holds the kernel's transmit times of the same writes if they were asked for; 0 = unknown.
	TransmitNs   []int64 `json:"transmitNs,omitempty"`
	DoneNs       int64   `json:"doneNs"`
	FinishReason string  `json:"finishReason"`
	Fault        string  `json:"fault"` // what was done to it on purpose, or "disconnected"
}

// Report is GET /truth.
type Report struct {
	Clock        ClockInfo      `json:"clock"`
	Requests     []RequestTruth `json:"requests,omitempty"`
	RequestCount int64          `json:"requestCount"` // all since the last reset, kept or not, finished or not
	LiveCount    int            `json:"liveCount"`
	Exact        bool           `json:"exact"` // every request and send was kept
	OutputTokens int64          `json:"outputTokens"`
	WindowS      float64        `json:"windowS"` // from the first begin to the last end

	TTFTMs     Stats `json:"ttftMs"`     // first send - begin
	ITLMs      Stats `json:"itlMs"`      // gap / n for each of the n tokens that it brought
	ChunkGapMs Stats `json:"chunkGapMs"` // send - previous send
	E2EMs      Stats `json:"e2eMs"`      // last send - begin, of ended requests
}

// snapshot is what a report needs, taken by the loop; the report itself is made elsewhere.
type snapshot struct {
	records             []*record // ended ones, immutable, and copies of the live ones
	live                int
	requests, tokens    int64
	exact               bool
	windowNs            int64
	ttft, itl, gap, e2e *hdrhistogram.Histogram
}

func (t *truth) snapshot() snapshot {
	s := snapshot{
		records: slices.Clone(t.finished), live: len(t.live), requests: t.requests, tokens: t.tokens, exact: t.exact,
	}
	for i, r := range s.records {
		if r.transmits != nil { // may still come in
			late := *r
			late.transmits = slices.Clone(r.transmits)
			s.records[i] = &late
		}
	}
	for r := range t.live {
		s.exact = s.exact && !r.dropped
		live := *r
		live.sends = slices.Clip(live.sends)
		live.transmits = slices.Clone(live.transmits)
		s.records = append(s.records, &live)
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

// report computes the truth's figures; path, if not empty, restricts them to requests of that path.
func (s snapshot) report(withRequests bool, path string) Report {
	report := Report{
		Clock:        clockInfo(),
		RequestCount: s.requests, LiveCount: s.live, Exact: s.exact, OutputTokens: s.tokens, WindowS: float64(s.windowNs) / 1e9,
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
	var kept []*record
	for _, r := range s.records {
		if r.path == path {
			kept = append(kept, r)
		}
	}
	s.records = kept
}

func (r *record) export() RequestTruth {
	e := RequestTruth{
		ID: r.id, Path: r.path, BeginNs: r.beginNs, KernelBegin: r.kernelBegin, Status: r.status, PromptTokens: r.promptTokens,
		CachedTokens: r.cachedTokens, OutputTokens: r.outputTokens, DoneNs: r.doneNs, Fault: r.fault, FinishReason: r.finish,
		SendsNs: make([][3]int64, len(r.sends)), TransmitNs: r.transmits,
	}
	for i, s := range r.sends {
		e.SendsNs[i] = [3]int64{s.beforeNs, s.beforeNs + int64(s.widthNs), int64(s.tokens)}
	}
	return e
}

// exactStats derives the figures from every send, with the kernel's time of it where that is known.
func (s snapshot) exactStats(report *Report) {
	var ttft, itl, gap, e2e []float64
	for _, r := range s.records {
		var lastNs int64
		for i, send := range r.sends {
			atNs := send.beforeNs
			if i < len(r.transmits) && r.transmits[i] != 0 {
				atNs = r.transmits[i]
			}
			if i == 0 {
				ttft = append(ttft, float64(atNs-r.beginNs)/1e6)
			} else {
				ms := float64(atNs-lastNs) / 1e6
				gap = append(gap, ms)
				for range send.tokens {
					itl = append(itl, ms/float64(send.tokens))
				}
			}
			lastNs = atNs
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
