package tally

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// reply builds a completed streamed request: sent at sentNs, chunks at the given offsets with one token each.
func reply(level string, phase Phase, scheduledNs, sentNs int64, tokens int, offsetsNs ...int64) *Observation {
	r := &stream.Result{Status: 200, Streamed: true, OutputTokens: tokens, InputTokens: 7, TokenSource: stream.FromUsage}
	for _, o := range offsetsNs {
		r.Arrivals = append(r.Arrivals, stream.Arrival{AtNs: sentNs + o, Tokens: 1})
	}
	if n := len(offsetsNs); n > 0 {
		r.FirstOutputNs, r.FirstNonReasonNs, r.LastOutputNs = sentNs+offsetsNs[0], sentNs+offsetsNs[0], sentNs+offsetsNs[n-1]
		r.EndNs = r.LastOutputNs + 1000
	}
	return &Observation{Level: level, Phase: phase, ScheduledNs: scheduledNs, SentNs: sentNs, Streamed: true, Result: r}
}

func TestFiguresFollowTheirDefinitions(t *testing.T) {
	o := reply("c1", Steady, 900, 1000, 5, 100, 110, 150, 160, 180)
	f := o.Figure()
	require.EqualValues(t, 100, f.TTFT, "first output chunk - sent")
	require.EqualValues(t, 200, f.TTFTScheduled, "first output chunk - scheduled")
	require.EqualValues(t, 180, f.E2E, "last output chunk - sent, whatever comes after it")
	require.EqualValues(t, 280, f.E2EScheduled)
	require.EqualValues(t, 20, f.TPOT, "(180-100)/(5-1)")
	require.EqualValues(t, 40, f.MaxStall)
	require.EqualValues(t, 100, f.QueueDelay)
	require.InDelta(t, 4/80e-9, f.OutputSpeed, 1)
}

func TestTPOT_OneTokenHasNone(t *testing.T) {
	f := reply("c1", Steady, 900, 1000, 1, 100).Figure()
	require.EqualValues(t, Undefined, f.TPOT)
	require.EqualValues(t, Undefined, f.MaxStall)
	require.EqualValues(t, 100, f.TTFT)
}

func TestTokensThatWereNotShownTookNoTimeBetweenChunks(t *testing.T) {
	const ms = int64(1e6)
	var offsets []int64
	for i := range int64(11) {
		offsets = append(offsets, (1000+10*i)*ms)
	}
	o := reply("c1", Steady, 1, 1, 111, offsets...)
	o.HiddenTokens = 100
	f := o.Figure()
	require.EqualValues(t, 10*ms, f.TPOT)
	require.InDelta(t, 100, f.OutputSpeed, 1e-9)
	r := NewRun(SLO{})
	r.Level(Spec{Name: "c1"})
	r.Open("c1", 1, 1+2000*ms)
	r.Add(o)
	l := r.Levels(1e10)[0]
	require.EqualValues(t, 10, l.ITLMs.Count)
	require.InDelta(t, 10, l.ITLMs.Mean, 1e-9)
	require.InDelta(t, 11/2.0, l.OutputThroughput, 1e-9, "tokens that arrived in the window")
	require.InDelta(t, 11/1.1, l.Whole.OutputThroughput, 1e-3)
	require.EqualValues(t, []int64{111, 111}, []int64{l.OutputTokens, l.Whole.OutputTokens}, "the server's count stays")

	plain := &Observation{Result: &stream.Result{OutputTokens: 9, HiddenTokens: 7, LastOutputNs: 5}}
	require.EqualValues(t, 2, plain.TokensBetween(1, 9), "of a reply that was not streamed")
}

func TestChoices_AreStreamsOfTheirOwn(t *testing.T) {
	const ms = int64(1e6)
	o := reply("c1", Steady, 1, 1, 100)
	for i := range int64(25) {
		for choice := range int64(4) {
			// Each choice has a token each 10 ms, and the last one a stall.
			atNs := 1 + (50+10*i)*ms + choice*ms
			if choice == 3 && i == 24 {
				atNs += 20 * ms
			}
			o.Arrivals = append(o.Arrivals, stream.Arrival{AtNs: atNs, Tokens: 1, Choice: int32(choice)})
		}
	}
	o.FirstOutputNs, o.LastOutputNs = o.Arrivals[0].AtNs, o.Arrivals[99].AtNs
	f := o.Figure()
	require.EqualValues(t, (4*240+20)*ms/96, f.TPOT)
	require.InDelta(t, 96/0.98, f.OutputSpeed, 1e-9)
	require.EqualValues(t, 30*ms, f.MaxStall)
	r := NewRun(SLO{})
	r.Level(Spec{Name: "c1"})
	r.Open("c1", 1, 0)
	r.Add(o)
	l := r.Levels(1e10)[0]
	require.EqualValues(t, []int64{96, 96}, []int64{l.ITLMs.Count, l.ChunkGapMs.Count})
	require.InDelta(t, 980.0/96, l.ITLMs.Mean, 1e-9)
	require.InEpsilon(t, 10, l.ITLMs.P50, 0.001)
	require.EqualValues(t, 30, l.ITLMs.Max)

	o.Arrivals = o.Arrivals[:4]
	o.OutputTokens = 4
	f = o.Figure()
	require.Equal(t, []int64{Undefined, Undefined}, []int64{f.TPOT, f.MaxStall}, "one token of each")
	require.True(t, f.Single)
}

func TestITLSharesTheGapBeforeAChunkAmongItsTokens(t *testing.T) {
	for _, c := range []struct {
		sentence string
		atNs     []int64
		chunks   []int32 // tokens by continuous usage
		usage    int
		want     [][2]int64 // gap, tokens
	}{
		{"one token a chunk", []int64{5, 15, 25}, []int32{1, 1, 1}, 3, [][2]int64{{10, 1}, {10, 1}}},
		{"continuous usage tells what each chunk carried", []int64{5, 15, 25}, []int32{1, 4, 2}, 7, [][2]int64{{10, 4}, {10, 2}}},
		{"without it the usage is spread evenly", []int64{5, 15, 25}, []int32{1, 1, 1}, 6, [][2]int64{{10, 2}, {10, 2}}},
		{"a share that is not whole is made whole", []int64{5, 15, 25}, []int32{1, 1, 1}, 4, [][2]int64{{10, 1}, {10, 2}}},
		{"a gap before a chunk without a token counts towards the next token", []int64{5, 15, 28, 35}, []int32{1, 0, 0, 1}, 2,
			[][2]int64{{30, 1}}},
		{"and is shared by all tokens of that chunk", []int64{5, 15, 28, 35}, []int32{1, 0, 3, 1}, 5, [][2]int64{{23, 3}, {7, 1}}},
		{"what comes after the last token is no token's", []int64{5, 15, 28, 35}, []int32{1, 1, 0, 0}, 2, [][2]int64{{10, 1}}},
		{"of more chunks than tokens each counts once: nothing says which has none", []int64{5, 15, 28, 35}, []int32{1, 1, 1, 1}, 2,
			[][2]int64{{10, 1}, {13, 1}, {7, 1}}},
		{"chunks of one receive are separate arrivals: the stall before them counts in full", []int64{5, 25, 25, 35}, []int32{1, 1, 1, 1}, 4,
			[][2]int64{{20, 1}, {0, 1}, {10, 1}}},
		{"a gap of 0 is one for each token of the chunk", []int64{5, 25, 25}, []int32{1, 1, 4}, 6, [][2]int64{{20, 1}, {0, 4}}},
		{"what came with the first output came after a gap of 0", []int64{5, 5, 15}, []int32{1, 1, 1}, 3, [][2]int64{{0, 1}, {10, 1}}},
		{"a stream of which everything came at one moment has none", []int64{5, 5, 5}, []int32{1, 1, 1}, 3, nil},
		{"a chunk without a token and one with it in one receive", []int64{5, 15, 25, 25}, []int32{1, 0, 0, 1}, 2, [][2]int64{{20, 1}}},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			o := &Observation{Result: &stream.Result{OutputTokens: c.usage}}
			for i, n := range c.chunks {
				o.Arrivals = append(o.Arrivals, stream.Arrival{AtNs: c.atNs[i], Tokens: n})
			}
			var got [][2]int64
			o.ITL(func(gapNs int64, tokens int) { got = append(got, [2]int64{gapNs, int64(tokens)}) })
			require.Equal(t, c.want, got)
		})
	}
}

// levelOf returns what one level came to after these requests.
func levelOf(t *testing.T, requests ...*Observation) LevelSummary {
	t.Helper()
	r := NewRun(SLO{})
	r.Level(Spec{Name: "c1"})
	r.Open("c1", 1, 0)
	for _, o := range requests {
		r.Add(o)
	}
	return r.Levels(1e10)[0]
}

// A server that stands still and then catches up: most tokens come at once, and the stalls are as long as they are.
func TestITL_StallIsNotSmoothedByTheCatchUpAfterIt(t *testing.T) {
	const ms = int64(1e6)
	offsets := []int64{50 * ms}
	for range 100 {
		last := offsets[len(offsets)-1]
		offsets = append(offsets, last+250*ms, last+250*ms, last+250*ms, last+250*ms, last+250*ms) // a stall, then five at once
	}
	l := levelOf(t, reply("c1", Steady, 1, 1, len(offsets), offsets...))
	require.EqualValues(t, 500, l.ITLMs.Count)
	require.Zero(t, l.ITLMs.P50)
	require.InEpsilon(t, 250, l.ITLMs.P90, 0.001, "not the 50 ms that a fifth of it would be")
	require.InEpsilon(t, 250, l.ITLMs.P99, 0.001)
	require.InEpsilon(t, 50, l.ITLMs.Mean, 1e-9)
	require.Equal(t, l.ChunkGapMs, l.ITLMs, "a token a chunk")
}

func TestITL_NoGapIsMergedWhereChunksOutnumberTokens(t *testing.T) {
	offsets := make([]int64, 200)
	for i := range offsets {
		offsets[i] = (50 + 10*int64(i)) * 1e6
	}
	l := levelOf(t, reply("c1", Steady, 1, 1, 197, offsets...))
	require.EqualValues(t, 199, l.ITLMs.Count)
	require.InEpsilon(t, 10, l.ITLMs.Max, 1e-9, "10 ms each: two of them added up would be a stall that never was")
}

func TestArrivalUncertaintyIsPooledOverAllOutputChunks(t *testing.T) {
	const ms = int64(1e6)
	sharp := reply("c1", Steady, 1, 1, 98, make([]int64, 98)...)
	for i := range sharp.Arrivals {
		sharp.Arrivals[i].AtNs = 1 + (50+int64(i))*ms
	}
	sharp.FirstOutputNs, sharp.LastOutputNs, sharp.EndNs = sharp.Arrivals[0].AtNs, sharp.Arrivals[97].AtNs, sharp.Arrivals[97].AtNs
	vague := reply("c1", Steady, 1, 1, 2, 50*ms, 60*ms)
	vague.Arrivals[0].WidthNs, vague.Arrivals[1].WidthNs = 4*ms, 2*ms
	failed := reply("c1", Steady, 1, 1, 2, 50*ms, 60*ms)
	failed.Arrivals[0].WidthNs, failed.Failure = 4*ms, stream.Truncated
	l := levelOf(t, sharp, vague, failed)
	require.EqualValues(t, 100, l.ArrivalUncertaintyMs.Count, "a failed request feeds nothing")
	require.Zero(t, l.ArrivalUncertaintyMs.P50)
	require.InEpsilon(t, 2, l.ArrivalUncertaintyMs.P99, 0.001)
	require.EqualValues(t, 4, l.ArrivalUncertaintyMs.Max)
	require.InEpsilon(t, 0.06, l.ArrivalUncertaintyMs.Mean, 1e-9)
}

func TestClockErrors_AreCountedAndFeedNoPercentile(t *testing.T) {
	const ms = int64(1e6)
	sound := func() *Observation { return reply("c1", Steady, 100*ms, 101*ms, 3, 50*ms, 60*ms, 70*ms) }
	for _, tt := range []struct {
		sentence string
		change   func(o *Observation)
		want     int64
		counts   [7]int64 // of TTFT, TTFT from schedule, TTFO, e2e latency, max stall, chunk gap, queue delay
	}{
		{"all is well", func(*Observation) {}, 0, [7]int64{1, 1, 1, 1, 1, 2, 1}},
		{"the first output before the send", func(o *Observation) { o.FirstOutputNs = o.SentNs - 1; o.ScheduledNs = 1 }, 1, [7]int64{0, 1, 1, 1, 1, 2, 1}},
		{"... and before it was scheduled", func(o *Observation) { o.FirstOutputNs = 1 }, 1, [7]int64{0, 0, 1, 1, 1, 2, 1}},
		{"output that is not reasoning", func(o *Observation) { o.FirstNonReasonNs = o.SentNs - 1 }, 1, [7]int64{1, 1, 0, 1, 1, 2, 1}},
		{"the last output before the send", func(o *Observation) { o.LastOutputNs = o.SentNs - 1; o.ScheduledNs = 1 }, 1, [7]int64{1, 1, 1, 0, 1, 2, 1}},
		{"a chunk before the one before it", func(o *Observation) { o.Arrivals[1].AtNs = o.Arrivals[0].AtNs - 1 }, 1, [7]int64{1, 1, 1, 1, 1, 1, 1}},
		{"sent before it was scheduled", func(o *Observation) { o.ScheduledNs = o.SentNs + 1 }, 1, [7]int64{1, 1, 1, 1, 1, 2, 0}},
		{"a failed request that was", func(o *Observation) { o.ScheduledNs = o.SentNs + 1; o.Failure = stream.Timeout }, 1, [7]int64{}},
		{"a failed request that was answered before all was sent", func(o *Observation) {
			o.FirstOutputNs, o.Failure = o.SentNs-1, stream.HTTP4xx
		}, 0, [7]int64{6: 1}},
		{"a request that was never sent has no such latency", func(o *Observation) {
			o.SentNs, o.Failure, o.Arrivals, o.FirstOutputNs, o.FirstNonReasonNs, o.LastOutputNs = 0, stream.Connect, nil, 0, 0, 0
		}, 0, [7]int64{}},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			o := sound()
			tt.change(o)
			l := levelOf(t, o)
			require.Equal(t, tt.want, l.ClockErrors)
			require.EqualValues(t, 1, l.Requests)
			require.Equal(t, tt.counts, [7]int64{l.TTFTMs.Count, l.TTFTScheduledMs.Count, l.TTFOMs.Count, l.E2EMs.Count, l.MaxStallMs.Count,
				l.ChunkGapMs.Count, l.QueueDelayMs.Count})
			for _, s := range []Stats{l.TTFTMs, l.TTFTScheduledMs, l.TTFOMs, l.E2EMs, l.MaxStallMs, l.ChunkGapMs, l.QueueDelayMs, l.ITLMs} {
				require.GreaterOrEqual(t, s.Min, 0.0)
			}
		})
	}
	l := levelOf(t, sound(), sound())
	require.Zero(t, l.ClockErrors)
	early := sound()
	early.FirstOutputNs = early.SentNs - 1
	f := early.Figure()
	require.EqualValues(t, -1, f.TTFT, "as computed, not as undefined")
	require.False(t, SLO{TTFT: ms}.Met(f), "and no proof that a limit is met")
}

func TestGoodput_UnmeasuredLimitIsNotMet(t *testing.T) {
	const ms = int64(1e6)
	streamed := func(tokens int, offsets ...int64) *Observation { return reply("c1", Steady, 1, 1, tokens, offsets...) }
	whole := func(tokens int) *Observation {
		return &Observation{Level: "c1", Phase: Steady, SentNs: 1, Result: &stream.Result{OutputTokens: tokens, LastOutputNs: 1 + ms, EndNs: 1 + ms}}
	}
	for _, tt := range []struct {
		sentence string
		slo      SLO
		o        *Observation
		good     bool
	}{
		{"TTFT of a stream", SLO{TTFT: ms}, streamed(2, ms, ms), true},
		{"TTFT of a stream that is late", SLO{TTFT: ms}, streamed(2, 2*ms, 2*ms), false},
		{"TTFT of a reply that was not streamed", SLO{TTFT: ms}, whole(5), false},
		{"TPOT of it", SLO{TPOT: ms}, whole(5), false},
		{"its e2e latency", SLO{E2E: ms}, whole(5), true},
		{"TPOT of a stream that came in one receive", SLO{TPOT: ms}, streamed(5, ms, ms, ms), false},
		{"TPOT of a single token", SLO{TPOT: ms}, streamed(1, ms), true},
		{"TTFT of a single token that is late", SLO{TTFT: ms, TPOT: ms}, streamed(1, 2*ms), false},
		{"e2e latency of what never ended", SLO{E2E: ms}, streamed(0), false},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := NewRun(tt.slo)
			r.Level(Spec{Name: "c1"})
			r.Open("c1", 1, 0)
			_, good := r.Add(tt.o)
			require.Equal(t, tt.good, good)
			l := r.Levels(1e10)[0]
			require.Equal(t, tt.good, *l.GoodShare == 1)
			require.Equal(t, tt.good, *l.RequestGoodput > 0)
		})
	}
}

func TestTally_FailedRequestFeedsNothingButCounts(t *testing.T) {
	r := NewRun(SLO{})
	r.Level(Spec{Name: "c1"})
	r.Open("c1", 1, 0)
	bad := reply("c1", Steady, 10, 10, 3, 5, 6, 7)
	bad.Failure, bad.Status, bad.Message = stream.HTTP429, 429, "slow down"
	r.Add(bad)
	r.Add(reply("c1", Steady, 10, 10, 3, 50, 60, 70))
	l := r.Levels(100_000)[0]
	require.EqualValues(t, 2, l.Requests)
	require.EqualValues(t, 1, l.Failed)
	require.Equal(t, map[string]int{"http_429": 1}, l.Failures)
	require.Equal(t, map[string]string{"http_429": "slow down"}, l.FailureMessages)
	require.Equal(t, map[string]int{"429": 1, "200": 1}, l.Statuses)
	require.EqualValues(t, 1, l.TTFTMs.Count)
	require.EqualValues(t, 3, l.OutputTokens)
	require.EqualValues(t, 2, l.ITLMs.Count)
}

func TestSpan_IsOfCompletedSteadyRequests(t *testing.T) {
	const s = int64(1e9)
	r := NewRun(SLO{})
	r.Level(Spec{Name: "full"})
	r.Open("full", 9*s, 0)
	r.Add(reply("full", Warmup, 8*s, 8*s, 1, s))
	r.Add(reply("full", Steady, 10*s, 11*s, 2, s, 2*s)) // from 11 to 13; its end comes later
	r.Add(reply("full", Steady, 10*s, 12*s, 2, s, 5*s)) // to 17
	bad := reply("full", Steady, 9*s, 9*s, 1, 20*s)
	bad.Failure = stream.Timeout
	r.Add(bad)
	require.InDelta(t, 6, r.Levels(100 * s)[0].SpanS, 1e-12)
}

func TestThroughputCountsWhatArrivedInTheWindow(t *testing.T) {
	const s = int64(1e9)
	r := NewRun(SLO{TTFT: s / 2})
	r.Level(Spec{Name: "c1"})
	r.Open("c1", 10*s, 12*s)
	r.Add(reply("c1", Warmup, 9*s, 9*s, 3, s/2, 3*s/2, 2*s))  // tokens at 9.5, 10.5, 11: two inside; ends inside
	r.Add(reply("c1", Steady, 10*s, 10*s, 2, s/10, s))        // at 10.1, 11; ends inside and is good
	r.Add(reply("c1", Steady, 11*s, 11*s, 3, s*6/10, s, 2*s)) // at 11.6, 12, 13: two inside; ends outside
	l := r.Levels(100 * s)[0]
	require.InDelta(t, 2.0, l.DurationS, 1e-9)
	require.InDelta(t, 6.0/2, l.OutputThroughput, 1e-9)
	require.InDelta(t, 2.0/2, l.RequestThroughput, 1e-9)
	require.InDelta(t, 2.0/2, *l.RequestGoodput, 1e-9, "the warm-up request met the SLO inside the window, too")
	require.InDelta(t, 1.0/2, *l.GoodShare, 1e-9)
	require.EqualValues(t, 2, l.Requests)
	require.EqualValues(t, 1, l.WarmupRequests)
}

// The load may hear of the end that opens the window after it folded requests that ended later.
func TestThroughput_WindowOpensBeforeWhatWasFoldedAlready(t *testing.T) {
	const s = int64(1e9)
	r := NewRun(SLO{TTFT: s})
	r.Slices = 2
	r.Level(Spec{Name: "c2"})
	opening := reply("c2", Warmup, 9*s, 9*s, 1, s/2)
	opening.EndNs = 10 * s
	later := reply("c2", Warmup, 9*s, 9*s, 3, s/2, 3*s/2, 2*s) // tokens at 9.5, 10.5, 11
	r.Add(later)
	r.Add(opening)
	r.Open("c2", 10*s, 12*s)
	l := r.Levels(100 * s)[0]
	require.InDelta(t, 2.0/2, l.OutputThroughput, 1e-9)
	require.InDelta(t, 1.0/2, l.RequestThroughput, 1e-9, "the one that opened it ended before it")
	require.InDelta(t, 1.0/2, *l.RequestGoodput, 1e-9)
	require.Equal(t, []float64{1, 1}, []float64{l.Slices[0].OutputThroughput, l.Slices[1].OutputThroughput})
}

// What ended long before cannot be in the window, and is not kept.
func TestThroughput_KeepsOnlyLateEnds(t *testing.T) {
	const s = int64(1e9)
	l := newLevel(Spec{Name: "c1"})
	for k := range int64(100) {
		l.add(reply("c1", Warmup, k*s, k*s, 1, s/2), Figures{}, SLO{})
	}
	require.LessOrEqual(t, len(l.early), 7)
	require.Equal(t, 99*s+s/2+1000, l.early[len(l.early)-1].endNs)
}

func TestITLHistogramsOfLevelsAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	a, b, both := NewRun(SLO{}), NewRun(SLO{}), NewRun(SLO{})
	for _, r := range []*Run{a, b, both} {
		r.Level(Spec{Name: "c1"})
		r.Open("c1", 1, 0)
	}
	for i := range 2000 {
		offsets := []int64{1}
		for range 100 { // some 10 ms, in the second run twice that
			gapNs := 8e6 + rng.ExpFloat64()*2e6
			offsets = append(offsets, offsets[len(offsets)-1]+int64(gapNs)*int64(1+i%2))
		}
		o := reply("c1", Steady, 1, 1, len(offsets), offsets...)
		[]*Run{a, b}[i%2].Add(o)
		both.Add(o)
	}
	warmup := reply("c1", Warmup, 1, 1, 3, 5e6, 10e6, 15e6)
	a.Add(warmup)
	failed := reply("c1", Steady, 1, 1, 3, 5e6, 10e6, 15e6)
	failed.Failure = stream.Truncated
	a.Add(failed)

	decode := func(s string) *hdrhistogram.Histogram {
		h, err := hdrhistogram.Decode([]byte(s))
		require.NoError(t, err)
		return h
	}
	of := a.ITLHistograms("c1")
	require.Len(t, of, 2, "a phase without a value has no histogram")
	require.EqualValues(t, 2, decode(of[Warmup]).TotalCount())
	require.InEpsilon(t, 5e6, decode(of[Warmup]).Max(), 0.001, "ns")
	merged := decode(of[Steady])
	require.Zero(t, merged.Merge(decode(b.ITLHistograms("c1")[Steady])))
	whole := both.Levels(1e10)[0].ITLMs
	require.Equal(t, whole.Count, merged.TotalCount())
	for q, want := range map[float64]float64{50: whole.P50, 90: whole.P90, 95: whole.P95, 99: whole.P99, 99.9: whole.P999} {
		require.InDelta(t, want, float64(merged.ValueAtQuantile(q))/1e6, 1e-9, q)
	}
	require.Less(t, len(of[Steady]), 8<<10, "bytes")
	require.Empty(t, a.ITLHistograms("no such level"))
}

func TestPercentilesAreInterpolatedAndHistogramsAreClose(t *testing.T) {
	require.InDelta(t, 2.5, Quantile([]int64{1, 2, 3, 4}, .5), 1e-12)
	require.InDelta(t, 3.7, Quantile([]int64{1, 2, 3, 4}, .9), 1e-12)
	rng := rand.New(rand.NewPCG(3, 4))
	var exact, pooled distribution
	pooled.pooled = true
	values := make([]int64, 0, 2*exactLimit)
	for range 2 * exactLimit { // past the limit: exact turns into a histogram on the way
		v := int64(math.Exp(rng.NormFloat64()+16) + 1)
		values = append(values, v)
		exact.add(v, 1)
		pooled.add(v, 1)
	}
	slices.Sort(values)
	for name, d := range map[string]*distribution{"exact first": &exact, "pooled": &pooled} {
		s := d.stats(1)
		for q, got := range map[float64]float64{.5: s.P50, .9: s.P90, .99: s.P99, .999: s.P999} {
			require.InEpsilon(t, Quantile(values, q), got, 0.002, "%s %v", name, q)
		}
		require.EqualValues(t, values[0], s.Min)
		require.EqualValues(t, values[len(values)-1], s.Max)
	}
	require.Nil(t, exact.values)
}

func TestSecondsCountWhenThingsHappened(t *testing.T) {
	const s = int64(1e9)
	r := NewRun(SLO{})
	r.Level(Spec{Name: "ramp"})
	r.Scheduled(4 * s)
	r.Open("ramp", 5*s+s/2, 0)
	for range 3 {
		r.Scheduled(5*s + s/2)
	}
	// Due before the window: in no second, though it ends in one.
	r.Add(reply("ramp", Warmup, 4*s, 4*s, 3, s/2, s, 2*s))
	r.Add(reply("ramp", Steady, 5*s+s/2, 5*s+s/2+2, 3, s/2, s, 2*s)) // tokens in 0, 1 and 2; ends in 2
	bad := reply("ramp", Steady, 5*s+s/2, 6*s+s/2, 3, 2*s)           // scheduled in 0, sent in 1, failed in 3
	bad.Failure = stream.Timeout
	r.Add(bad)
	unsent := &Observation{Level: "ramp", Phase: Steady, ScheduledNs: 7*s + s/2, Result: &stream.Result{EndNs: 7*s + s/2 + 1, Failure: stream.Connect}}
	r.Scheduled(unsent.ScheduledNs)
	r.Add(unsent)
	require.Equal(t, []Second{
		{T: 0, Scheduled: 3, ScheduledFailed: 1, Sent: 1, InFlight: 1, OutputTokens: 1},
		{T: 1, Sent: 1, InFlight: 2, OutputTokens: 1},
		{T: 2, Scheduled: 1, ScheduledFailed: 1, Succeeded: 1, Failed: 1, MeanMs: 2000, P50Ms: 2000, P95Ms: 2000, InFlight: 1, OutputTokens: 1},
		{T: 3, Failed: 1},
	}, r.Seconds())
}

func TestSeconds_BeginWithTheFirstRequestWithoutALevel(t *testing.T) {
	r := NewRun(SLO{})
	r.Scheduled(5e9)
	r.Add(reply("", Steady, 5e9, 5e9, 1, 1500e6))
	secs := r.Seconds()
	require.Len(t, secs, 2)
	require.EqualValues(t, 1, secs[0].Scheduled)
	require.EqualValues(t, 1, secs[1].Succeeded)
}

func TestSeconds_TimeInTheFutureDoesNotGrowThem(t *testing.T) {
	r := NewRun(SLO{})
	r.Now = func() int64 { return 12e9 }
	r.Scheduled(10e9)
	r.Add(&Observation{StartedNs: 10e9, SentNs: 10e9, Result: &stream.Result{EndNs: 86_400e9}})
	seconds := r.Seconds()
	require.Len(t, seconds, 4, "seconds 0 to 3 of a run that began at 10 s: up to a second from now")
	require.EqualValues(t, 1, seconds[3].Succeeded)
	require.Zero(t, seconds[3].InFlight)
}

func TestReceivesByWhatStampedThem(t *testing.T) {
	r := NewRun(SLO{})
	r.Level(Spec{Name: "a"})
	r.Open("a", 1, 0)
	for _, o := range []Observation{
		{Phase: Steady, RingReceives: 6, KernelReceives: 7}, {Phase: Steady, UserReceives: 1},
		{Phase: Warmup, KernelReceives: 8}, // in the run's, not in the level's
	} {
		o.Level, o.ScheduledNs, o.Result = "a", 2, &stream.Result{}
		r.Add(&o)
	}
	level := r.Levels(9)[0]
	require.InDelta(t, 6.0/8, level.RingStampShare, 1e-9)
	require.InDelta(t, 7.0/8, level.KernelStampShare, 1e-9)
	ring, socket, user, mixed := r.Receives()
	require.Equal(t, []int64{6, 9, 1, 1}, []int64{ring, socket, user, mixed})
}

func TestProgressIsOfTheWholeRunAndTheTTFTOfItsLevel(t *testing.T) {
	r := NewRun(SLO{})
	r.Level(Spec{Name: "a"})
	r.Level(Spec{Name: "b"})
	require.Equal(t, Progress{}, r.Progress())
	add := func(level string, phase Phase, ttftNs int64) {
		r.Scheduled(5)
		r.Add(reply(level, phase, 5, 5, 2, ttftNs, ttftNs+10))
	}
	add("a", Warmup, 70)
	require.Equal(t, Progress{Scheduled: 1, Completed: 1, OutputTokens: 2, TTFTs: 1, TTFTP50: 70, TTFTP99: 70}, r.Progress(), "before a level opens")
	r.Open("a", 1, 900)
	for ns := range int64(101) {
		add("a", Steady, 1+ns)
	}
	r.Scheduled(7)
	cut := reply("a", Steady, 7, 7, 0)
	cut.Failure = stream.Truncated
	r.Add(cut)
	p := r.Progress()
	require.Equal(t, Progress{
		Level: "a", CloseNs: 900, Scheduled: 103, Completed: 102, Failed: 1, OutputTokens: 204, TTFTs: 101, TTFTP50: 51, TTFTP99: 100,
	}, p)
	r.Open("b", 2000, 0)
	p = r.Progress()
	require.Equal(t, Progress{Level: "b", Scheduled: 103, Completed: 102, Failed: 1, OutputTokens: 204}, p)
	for range exactLimit + 1 {
		r.levels["b"].ttft.add(5e6, 1)
	}
	require.InDelta(t, 5e6, r.Progress().TTFTP99, 5e3, "from the histogram")
}
