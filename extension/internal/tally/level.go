package tally

import (
	"maps"
	"math"
	"strconv"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// Spec names a level and says what its name stands for.
type Spec struct {
	Name        string
	Concurrency int
	Rate        float64
	BatchSize   int
	Labels      map[string]any
}

// SLO is what a request must meet to be good, in ns; 0 = no limit.
type SLO struct{ TTFT, TPOT, E2E int64 }

// own returns the limits that a level's labels hold in the place of the run's; lib/figures/level-gate.ts writes them.
func (s SLO) own(labels map[string]any) SLO {
	if _, ok := labels["ownGate"]; !ok {
		return s
	}
	ns := func(name string) int64 {
		switch ms := labels[name].(type) {
		case float64:
			return int64(ms * 1e6)
		case int64:
			return ms * 1e6
		}
		return 0
	}
	return SLO{TTFT: ns("sloTtftMs"), TPOT: ns("sloTpotMs"), E2E: ns("sloE2eMs")}
}

// Set reports whether there is any limit.
func (s SLO) Set() bool { return s.TTFT > 0 || s.TPOT > 0 || s.E2E > 0 }

// Met reports whether a completed request is good. A limit on a figure that was not measured, as TTFT of a reply that was not
// streamed, is not met. A single token has no TPOT to limit.
func (s SLO) Met(f Figures) bool {
	met := func(limit, figure int64) bool { return limit == 0 || figure >= 0 && figure <= limit }
	return met(s.TTFT, f.TTFT) && (f.Single || met(s.TPOT, f.TPOT)) && met(s.E2E, f.E2E)
}

// LevelSummary is a level's part of summary.json; extension/index.d.ts documents the fields.
type LevelSummary struct {
	Name              string         `json:"name" js:"name"`
	Concurrency       int            `json:"concurrency,omitempty" js:"concurrency"`
	Rate              float64        `json:"rate,omitempty" js:"rate"`
	BatchSize         int            `json:"batchSize,omitempty" js:"batchSize"`
	Labels            map[string]any `json:"labels" js:"labels"`
	Requests          int64          `json:"requests" js:"requests"`
	Completed         int64          `json:"completed" js:"completed"`
	Failed            int64          `json:"failed" js:"failed"`
	Abandoned         int64          `json:"abandoned,omitempty" js:"abandoned"` // given up on purpose: no failure
	Failures          map[string]int `json:"failures" js:"failures"`
	Statuses          map[string]int `json:"statuses" js:"statuses"`
	InputTokens       int64          `json:"inputTokens" js:"inputTokens"`
	OutputTokens      int64          `json:"outputTokens" js:"outputTokens"`
	CachedTokens      int64          `json:"cachedTokens" js:"cachedTokens"`
	CachedShare       *float64       `json:"cachedShare,omitempty" js:"cachedShare"`
	CachedSource      string         `json:"cachedSource,omitempty" js:"cachedSource"`
	WindowStartS      float64        `json:"windowStartS" js:"windowStartS"`
	DurationS         float64        `json:"durationS" js:"durationS"`
	ScheduledRate     *float64       `json:"scheduledRate,omitempty" js:"scheduledRate"`
	SentRate          *float64       `json:"sentRate,omitempty" js:"sentRate"`
	RequestThroughput float64        `json:"requestThroughput" js:"requestThroughput"`
	OutputThroughput  float64        `json:"outputThroughput" js:"outputThroughput"`
	RequestGoodput    *float64       `json:"requestGoodput,omitempty" js:"requestGoodput"`
	GoodShare         *float64       `json:"goodShare,omitempty" js:"goodShare"`
	GoodOutputTokens  *int64         `json:"goodOutputTokens,omitempty" js:"goodOutputTokens"` // of the requests that GoodShare counts
	OutputSpeed       Stats          `json:"outputSpeed" js:"outputSpeed"`
	TTFTMs            Stats          `json:"ttftMs" js:"ttftMs"`
	TTFTScheduledMs   Stats          `json:"ttftScheduledMs" js:"ttftScheduledMs"`
	TTFOMs            Stats          `json:"ttfoMs" js:"ttfoMs"`
	TPOTMs            Stats          `json:"tpotMs" js:"tpotMs"`
	ITLMs             Stats          `json:"itlMs" js:"itlMs"`
	ChunkGapMs        Stats          `json:"chunkGapMs" js:"chunkGapMs"`
	MaxStallMs        Stats          `json:"maxStallMs" js:"maxStallMs"`
	E2EMs             Stats          `json:"e2eMs" js:"e2eMs"`
	E2EScheduledMs    Stats          `json:"e2eScheduledMs" js:"e2eScheduledMs"`
	QueueDelayMs      Stats          `json:"queueDelayMs" js:"queueDelayMs"`
	ReleaseSpreadMs   float64        `json:"releaseSpreadMs" js:"releaseSpreadMs"`
	SpanS             float64        `json:"spanS" js:"spanS"`
	TokenSources      map[string]int `json:"tokenSources" js:"tokenSources"`
	TokenMismatches   int64          `json:"tokenMismatches" js:"tokenMismatches"`
	CoalescedShare    float64        `json:"coalescedShare" js:"coalescedShare"`
	// How far apart the bounds of an output chunk's arrival lie, over all output chunks: 0 where it is known.
	ArrivalUncertaintyMs Stats   `json:"arrivalUncertaintyMs" js:"arrivalUncertaintyMs"`
	ClockErrors          int64   `json:"clockErrors" js:"clockErrors"` // requests with an impossible latency
	RingStampShare       float64 `json:"ringStampShare" js:"ringStampShare"`
	KernelStampShare     float64 `json:"kernelStampShare" js:"kernelStampShare"` // ring and socket
	WarmupRequests       int64   `json:"warmupRequests" js:"warmupRequests"`
	Whole                Whole   `json:"whole" js:"whole"`

	OwnDelayMs Stats `json:"-" js:"-"` // Observation.OwnDelayNs, for the verdict on the client

	FailureMessages map[string]string `json:"failureMessages,omitempty" js:"failureMessages"` // the first of each class
	// What one chunk in two hundred exceeds of ArrivalUncertaintyMs, which the verdict judges.
	ArrivalUncertaintyP995Ms float64 `json:"-" js:"-"`

	ITLHistograms map[Phase]string `json:"itlHistograms,omitempty" js:"itlHistograms"` // Run.ITLHistograms; set where they are written

	Sessions *SessionSummary `json:"sessions,omitempty" js:"sessions"`
	Turns    []TurnSummary   `json:"turns,omitempty" js:"turns"`

	Slices []Slice `json:"slices,omitempty" js:"slices"`

	CachedBeyond float64 `json:"-" js:"-"` // of CachedShare: without what the server's template may account for
}

// Sources of CachedShare.
const (
	CachedByUsage  = "usage"  // of the completed steady requests
	CachedByServer = "server" // its own counters, over the whole level
)

// Whole is a level with its warm-up and drain.
type Whole struct {
	Requests         int64   `json:"requests" js:"requests"`
	Completed        int64   `json:"completed" js:"completed"`
	DurationS        float64 `json:"durationS" js:"durationS"`
	OutputTokens     int64   `json:"outputTokens" js:"outputTokens"`
	OutputThroughput float64 `json:"outputThroughput" js:"outputThroughput"`
}

// level collects one level. The window is (openNs, closeNs]: the warm-up request whose end opens it ended before it. closeNs
// 0 = still open, or open to the last end.
type level struct {
	spec            Spec
	openNs, closeNs int64
	lastEndNs       int64
	firstNs         int64 // first scheduled, of any phase

	requests, completed, good, warmup     int64
	inputTokens, outputTokens, goodTokens int64
	cachedTokens, cachedBeyond            int64
	cachedTold                            int64 // requests whose usage named cached tokens
	wholeShared                           int64 // leading tokens that the level's requests may share without being repeated
	cacheCounted                          bool
	cacheHits, cacheQueries               float64 // the server's own
	endedInWindow, goodInWindow, tokensIn int64
	sentInWindow                          int64
	wholeRequests, wholeCompleted         int64
	wholeToks, wholeShown                 int64
	failures, statuses, sources           map[string]int
	messages                              map[string]string // the first of each class of failure
	mismatches, chunks, coalesced         int64
	clockErrors                           int64
	ringReceives, mixed                   int64 // among the kernel's; requests that the ring stamped in part
	kernelReceives, userReceives          int64
	firstSentNs, lastSentNs               int64
	spanFromNs, spanToNs                  int64 // first send and last output of the completed ones

	speed, ttft, ttftSched, ttfo, tpot, gap, width, stall, e2e, e2eSched, queue, own distribution

	itl map[Phase]*distribution

	sessions sessions
	slices   []slice

	early []early // completed before the window opened
}

// early is a request that was folded before the window opened. The window opens at the end of a request, of which the load
// may learn later than of the end of another that came after it; that one is in the window.
type early struct {
	endNs  int64
	good   bool
	chunks []earlyChunk
}

type earlyChunk struct {
	atNs   int64
	tokens int
}

// earlyNs is how long early requests are kept after their end. A load that learns of an end as late as that was not the
// server's, and is judged.
const earlyNs = 5_000_000_000

// keepEarly keeps what of a completed request may turn out to be in the window.
func (l *level) keepEarly(o *Observation, good bool) {
	e := early{endNs: o.EndNs, good: good}
	o.Chunks(func(atNs int64, tokens, _ int) {
		if tokens > 0 && atNs > l.lastEndNs-earlyNs {
			e.chunks = append(e.chunks, earlyChunk{atNs, tokens})
		}
	})
	old := 0
	for old < len(l.early) && l.early[old].endNs < l.lastEndNs-earlyNs {
		old++
	}
	l.early = append(l.early[old:], e)
}

// open begins the window, of which slices parts are told apart where its end is known, and counts what is in it already.
func (l *level) open(openNs, closeNs int64, slices int) {
	l.openNs, l.closeNs = openNs, closeNs
	if closeNs > openNs {
		l.slices = make([]slice, slices)
	}
	for _, e := range l.early {
		for _, c := range e.chunks {
			if l.inside(c.atNs) {
				l.tokensIn += int64(c.tokens)
			}
			l.addTokensToSlice(c.atNs, c.tokens, 0)
		}
		l.countEnd(e.endNs, e.good)
	}
	l.early = nil
}

// inside reports whether a time is in the window, which is open.
func (l *level) inside(atNs int64) bool {
	return atNs > l.openNs && (l.closeNs == 0 || atNs <= l.closeNs)
}

// countEnd counts a completed request that ended in the window.
func (l *level) countEnd(endNs int64, good bool) {
	if !l.inside(endNs) {
		return
	}
	l.endedInWindow++
	if good {
		l.goodInWindow++
	}
}

func newLevel(s Spec) *level {
	return &level{
		spec: s, failures: map[string]int{}, messages: map[string]string{}, statuses: map[string]int{}, sources: map[string]int{},
		itl: map[Phase]*distribution{Warmup: {pooled: true}, Steady: {pooled: true}, Drain: {pooled: true}},
		gap: distribution{pooled: true}, width: distribution{pooled: true},
	}
}

func (l *level) add(o *Observation, f Figures, slo SLO) {
	l.wholeRequests++
	shared := int64(o.TemplateTokens + chanceTokens)
	l.wholeShared += shared
	l.lastEndNs = max(l.lastEndNs, o.EndNs)
	if at := firstOf(o.ScheduledNs, o.StartedNs); l.firstNs == 0 || at < l.firstNs {
		l.firstNs = at
	}
	completed := o.Failure == stream.None
	good := completed && slo.Met(f)
	if completed {
		l.wholeCompleted++
		l.wholeToks += int64(o.OutputTokens)
		l.wholeShown += int64(o.ShownTokens())
		if l.openNs > 0 {
			l.tokensIn += o.TokensBetween(l.openNs, l.closeNs)
			l.countEnd(o.EndNs, good)
		} else {
			l.keepEarly(o, good)
		}
	}
	if itl := l.itl[o.Phase]; completed && itl != nil {
		o.ITL(func(gapNs int64, tokens int) { itl.add(gapNs/int64(tokens), int64(tokens)) })
	}
	if o.Phase == Warmup {
		l.warmup++
		return
	}
	if o.Phase != Steady {
		return
	}
	l.requests++
	if o.Status > 0 {
		l.statuses[strconv.Itoa(o.Status)]++
	}
	l.ringReceives += int64(o.RingReceives)
	if o.RingReceives > 0 && o.RingReceives < o.KernelReceives+o.UserReceives {
		l.mixed++
	}
	l.kernelReceives += int64(o.KernelReceives)
	l.userReceives += int64(o.UserReceives)
	if o.SentNs > 0 {
		if l.firstSentNs == 0 || o.SentNs < l.firstSentNs {
			l.firstSentNs = o.SentNs
		}
		l.lastSentNs = max(l.lastSentNs, o.SentNs)
		if o.SentNs >= l.openNs && (l.closeNs == 0 || o.SentNs <= l.closeNs) {
			l.sentInWindow++
		}
	}
	if f.Impossible {
		l.clockErrors++
	}
	l.sessions.turn(o, f)
	l.queue.add(f.QueueDelay, 1)
	l.own.add(o.OwnDelayNs(), 1)
	if !completed {
		l.failures[string(o.Failure)]++
		if _, ok := l.messages[string(o.Failure)]; !ok && o.Message != "" {
			l.messages[string(o.Failure)] = o.Message
		}
		return // a failed request counts here and in nothing else
	}
	l.completed++
	if good {
		l.good++
		l.goodTokens += int64(o.OutputTokens)
	}
	if l.spanFromNs == 0 || o.SentNs < l.spanFromNs {
		l.spanFromNs = o.SentNs
	}
	l.spanToNs = max(l.spanToNs, o.LastOutputNs)
	l.inputTokens += int64(o.InputTokens)
	l.outputTokens += int64(o.OutputTokens)
	if o.CachedKnown {
		l.cachedTold++
		l.cachedTokens += int64(o.CachedTokens)
		l.cachedBeyond += max(int64(o.CachedTokens)-shared, 0)
	}
	if o.TokenSource != "" {
		l.sources[string(o.TokenSource)]++
	}
	if o.TokenMismatch {
		l.mismatches++
	}
	l.chunks += int64(len(o.Arrivals))
	l.coalesced += int64(o.Coalesced)
	for _, x := range []struct {
		d  *distribution
		ns int64
	}{
		{&l.ttft, f.TTFT}, {&l.ttftSched, f.TTFTScheduled}, {&l.ttfo, f.TTFO}, {&l.tpot, f.TPOT}, {&l.stall, f.MaxStall},
		{&l.e2e, f.E2E}, {&l.e2eSched, f.E2EScheduled},
	} {
		x.d.add(x.ns, 1)
	}
	if f.OutputSpeed > 0 {
		l.speed.add(int64(math.Round(f.OutputSpeed*1000)), 1)
	}
	o.Gaps(func(gapNs int64) { l.gap.add(gapNs, 1) })
	exact := int64(0)
	for i := range o.Arrivals {
		if w := o.Arrivals[i].WidthNs; w > 0 {
			l.width.add(w, 1)
		} else {
			exact++
		}
	}
	l.width.add(0, exact)
}

func firstOf(a, b int64) int64 {
	if a > 0 {
		return a
	}
	return b
}

// summary returns the level's figures; nowNs ends a window that is still open and has nothing that ended.
func (l *level) summary(slo SLO, nowNs int64) LevelSummary {
	const ms = 1e6
	closeNs := l.closeNs
	if closeNs == 0 || closeNs > nowNs {
		closeNs = max(l.lastEndNs, l.openNs)
	}
	windowS := float64(closeNs-l.openNs) / 1e9
	if l.openNs == 0 {
		windowS = 0
	}
	per := func(n int64) float64 {
		if windowS <= 0 {
			return 0
		}
		return float64(n) / windowS
	}
	share := func(part, all int64) float64 {
		if all == 0 {
			return 0
		}
		return float64(part) / float64(all)
	}
	abandoned := int64(l.failures[string(stream.Aborted)])
	s := LevelSummary{
		Name: l.spec.Name, Concurrency: l.spec.Concurrency, Rate: l.spec.Rate, BatchSize: l.spec.BatchSize, Labels: l.spec.Labels,
		Requests: l.requests, Completed: l.completed, Failed: l.requests - l.completed - abandoned, Abandoned: abandoned,
		Failures: copyCounts(l.failures), Statuses: copyCounts(l.statuses), TokenSources: copyCounts(l.sources),
		InputTokens: l.inputTokens, OutputTokens: l.outputTokens,
		WindowStartS: float64(l.openNs) / 1e9, DurationS: windowS,
		RequestThroughput: per(l.endedInWindow), OutputThroughput: per(l.tokensIn),
		OutputSpeed: l.speed.stats(1000), TTFTMs: l.ttft.stats(ms), TTFTScheduledMs: l.ttftSched.stats(ms), TTFOMs: l.ttfo.stats(ms),
		TPOTMs: l.tpot.stats(ms), ITLMs: l.itl[Steady].stats(ms), ChunkGapMs: l.gap.stats(ms), MaxStallMs: l.stall.stats(ms),
		E2EMs: l.e2e.stats(ms), E2EScheduledMs: l.e2eSched.stats(ms), QueueDelayMs: l.queue.stats(ms), OwnDelayMs: l.own.stats(ms),
		ReleaseSpreadMs: float64(l.lastSentNs-l.firstSentNs) / ms, SpanS: float64(l.spanToNs-l.spanFromNs) / 1e9,
		TokenMismatches: l.mismatches, CoalescedShare: share(l.coalesced, l.chunks),
		ArrivalUncertaintyMs: l.width.stats(ms), ArrivalUncertaintyP995Ms: l.width.quantile(.995) / ms, ClockErrors: l.clockErrors,
		RingStampShare:   share(l.ringReceives, l.kernelReceives+l.userReceives),
		KernelStampShare: share(l.kernelReceives, l.kernelReceives+l.userReceives), WarmupRequests: l.warmup,
		FailureMessages: maps.Clone(l.messages),
	}
	if s.Labels == nil {
		s.Labels = map[string]any{}
	}
	if l.spec.Rate > 0 {
		// The planned window counts: all of a load may have ended before it has.
		if l.closeNs > l.openNs {
			windowS = float64(l.closeNs-l.openNs) / 1e9
		}
		scheduled, sent := per(l.requests), per(l.sentInWindow)
		s.ScheduledRate, s.SentRate = &scheduled, &sent
	}
	l.cached(&s)
	s.Slices = l.sliceFigures()
	s.Sessions, s.Turns = l.sessions.summary(l.cachedTold > 0)
	if slo.Set() {
		goodput, goodShare := per(l.goodInWindow), share(l.good, l.requests-abandoned)
		s.RequestGoodput, s.GoodShare = &goodput, &goodShare
		goodTokens := l.goodTokens
		s.GoodOutputTokens = &goodTokens
	}
	wholeS := float64(max(l.lastEndNs-l.firstNs, 0)) / 1e9
	s.Whole = Whole{Requests: l.wholeRequests, Completed: l.wholeCompleted, DurationS: wholeS, OutputTokens: l.wholeToks}
	if wholeS > 0 {
		s.Whole.OutputThroughput = float64(l.wholeShown) / wholeS
	}
	return s
}

// chanceTokens is how far prompts of random words agree by chance: of some 200 words the first of a prompt is that of a
// thousand others, and the second that of a few.
const chanceTokens = 2

// cached fills in what the server took from its prefix cache: by usage where any request's usage says it (vLLM's names hits
// alone), else by the server's own counters. Nothing is filled in where neither tells.
func (l *level) cached(s *LevelSummary) {
	switch {
	case l.cachedTold > 0 && l.inputTokens > 0:
		share := float64(l.cachedTokens) / float64(l.inputTokens)
		s.CachedTokens, s.CachedShare, s.CachedSource = l.cachedTokens, &share, CachedByUsage
		s.CachedBeyond = float64(l.cachedBeyond) / float64(l.inputTokens)
	case l.cacheCounted && l.cacheQueries > 0:
		share := l.cacheHits / l.cacheQueries
		s.CachedTokens, s.CachedShare, s.CachedSource = int64(math.Round(l.cacheHits)), &share, CachedByServer
		s.CachedBeyond = max(l.cacheHits-float64(l.wholeShared), 0) / l.cacheQueries
	}
}

func copyCounts(m map[string]int) map[string]int {
	out := make(map[string]int, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
