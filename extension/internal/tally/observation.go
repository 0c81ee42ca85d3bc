// Package tally folds what requests came to into levels, seconds and the run, with memory that does not grow with the
// number of tokens.
package tally

import (
	"math"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// Phase is the part of a level that a request belongs to, decided when it is scheduled.
type Phase string

// The phases; gates and reports judge Steady.
const (
	Warmup Phase = "warmup"
	Steady Phase = "steady"
	Drain  Phase = "drain"
)

// Observation is one ended request. Times are of package clock in ns, 0 = never happened.
type Observation struct {
	Level string // "" = none
	Phase Phase
	Index int

	Session string // of a turn of a conversation: its session's id
	Turn    int    // which, from 1; 0 = it is none
	Tool    bool   // it hands over results of tools, and belongs to the task of the turn before

	ScheduledNs, StartedNs, SentNs int64
	SentUncertaintyNs              int64
	SentKernel                     bool
	RingReceives                   int // among the kernel's: by the packet ring
	KernelReceives, UserReceives   int
	Retries                        int
	SetupNs                        int64 // what lay between StartedNs and SentNs of opening connections
	Streamed                       bool
	TemplateTokens                 int // leading input tokens that all requests share by the server's template

	*stream.Result
}

// Undefined is the value of a latency that a request does not have. A latency below zero that was computed is another
// thing: an error of a clock, which Figures.Impossible reports.
const Undefined = math.MinInt64

// Figures are the latencies of one completed request in ns, Undefined where it has none.
type Figures struct {
	TTFT, TTFO, E2E, TPOT, MaxStall int64
	TTFTScheduled, E2EScheduled     int64
	QueueDelay                      int64
	OutputSpeed                     float64 // tokens/s = 1000 / TPOT in ms; 0 = not defined
	Single                          bool    // one token came, of each choice at most, which has no TPOT
	Impossible                      bool    // a latency of the request that metrics are fed with, or a gap of it, is negative
}

// QueueDelayNs is the generator's own lag: sent - scheduled. Undefined for a request that was not sent.
func (o *Observation) QueueDelayNs() int64 {
	if o.SentNs == 0 || o.ScheduledNs == 0 {
		return Undefined
	}
	return o.SentNs - o.ScheduledNs
}

// OwnDelayNs is the part of the queue delay for which the generator answers: without the opening of connections, which
// depends on the network and the server.
func (o *Observation) OwnDelayNs() int64 {
	d := o.QueueDelayNs()
	if d == Undefined {
		return Undefined
	}
	return max(d-o.SetupNs, 0)
}

// Figure computes the latencies of a completed request; definitions in docs/metrics.md. A failed
// request has the queue delay alone.
func (o *Observation) Figure() Figures {
	f := o.figure()
	f.Impossible = impossible(f.QueueDelay)
	if o.Failure == stream.None {
		for _, ns := range [...]int64{f.TTFT, f.TTFO, f.E2E, f.TTFTScheduled, f.E2EScheduled} {
			f.Impossible = f.Impossible || impossible(ns)
		}
		o.Gaps(func(gapNs int64) { f.Impossible = f.Impossible || gapNs < 0 })
	}
	return f
}

// impossible reports whether a latency was computed and is negative.
func impossible(ns int64) bool { return ns < 0 && ns != Undefined }

func (o *Observation) figure() Figures {
	f := Figures{
		TTFT: Undefined, TTFO: Undefined, E2E: Undefined, TPOT: Undefined, MaxStall: Undefined, TTFTScheduled: Undefined, E2EScheduled: Undefined,
		QueueDelay: o.QueueDelayNs(),
	}
	if o.LastOutputNs == 0 {
		return f
	}
	spanNs, choices := o.span()
	gaps := o.ShownTokens() - max(choices, 1)
	f.Single = gaps <= 0 && o.ShownTokens() > 0
	f.E2E = o.LastOutputNs - o.SentNs
	f.E2EScheduled = o.LastOutputNs - o.ScheduledNs
	if !o.Streamed {
		return f
	}
	if o.FirstOutputNs > 0 {
		f.TTFT = o.FirstOutputNs - o.SentNs
		f.TTFTScheduled = o.FirstOutputNs - o.ScheduledNs
	}
	if o.FirstNonReasonNs > 0 {
		f.TTFO = o.FirstNonReasonNs - o.SentNs
	}
	if gaps > 0 && spanNs > 0 {
		f.TPOT = spanNs / int64(gaps)
		f.OutputSpeed = float64(gaps) / (float64(spanNs) / 1e9)
	}
	o.Gaps(func(gapNs int64) { f.MaxStall = max(f.MaxStall, gapNs) })
	return f
}

// span returns the time from the first to the last output chunk, of several choices the sum of theirs, and their number.
func (o *Observation) span() (ns int64, choices int) {
	var seen [stream.MaxChoices]bool
	for _, a := range o.Arrivals {
		if !seen[a.Choice] {
			seen[a.Choice] = true
			choices++
		}
	}
	o.Gaps(func(gapNs int64) { ns += gapNs })
	return ns, choices
}

// Chunks calls f for each output chunk with the tokens it carried and its choice. They come from continuous usage; where that was not
// sent and the final usage counts other than the chunks, every chunk is given its even share, made whole so that the
// shares add up to the usage. Tokens that were not shown came in none. A reply that was not streamed is one chunk.
func (o *Observation) Chunks(f func(atNs int64, tokens, choice int)) {
	chunks, shown := len(o.Arrivals), o.ShownTokens()
	if chunks == 0 {
		if o.LastOutputNs > 0 {
			f(o.LastOutputNs, shown, 0)
		}
		return
	}
	even := o.tokensEstimated()
	given := 0
	for i, a := range o.Arrivals {
		tokens := int(a.Tokens)
		if even {
			upTo := int(int64(i+1) * int64(shown) / int64(chunks))
			tokens = upTo - given
			given = upTo
		}
		f(a.AtNs, tokens, int(a.Choice))
	}
}

// tokensEstimated reports whether what each chunk carried is not known but an even share of the usage.
func (o *Observation) tokensEstimated() bool {
	known, shown := 0, o.ShownTokens()
	for _, a := range o.Arrivals {
		known += int(a.Tokens)
	}
	return known != shown && shown > 0
}

// Gaps calls f for each gap between two output chunks of a choice; one of chunks that came in one receive is 0. A negative one
// is a clock's error.
func (o *Observation) Gaps(f func(gapNs int64)) {
	var lastNs [stream.MaxChoices]int64 // 0 = none came
	for _, a := range o.Arrivals {
		if last := lastNs[a.Choice]; last > 0 {
			f(a.AtNs - last)
		}
		lastNs[a.Choice] = a.AtNs
	}
}

// ITL calls f for the gap before each output chunk with the number of tokens of that chunk, which share it: gap / tokens,
// that many times. Nothing is averaged over chunks. Chunks that came in one receive are separate arrivals: a gap of 0 counts
// as 0 for each of its tokens, and the stall before them counts in full. The first chunk of a choice has no gap.
//
// A chunk that carried no token by continuous usage gives its gap to the next chunk of its choice that carried some: the
// time before that token began with the token before it. After the last token it counts in the chunk gaps alone. Where the
// tokens of a chunk are an even share of the usage, nothing says which chunk carried none: each counts once at least.
//
// A stream of which everything came at one moment has no ITL, as it has no TPOT: something on the way kept it back, and a
// limit on what was not measured must not be met.
func (o *Observation) ITL(f func(gapNs int64, tokens int)) {
	if ns, _ := o.span(); ns == 0 {
		return
	}
	var choices [stream.MaxChoices]struct {
		lastNs, gapNs int64 // lastNs 0 = none came
	}
	estimated := o.tokensEstimated()
	o.Chunks(func(atNs int64, tokens, choice int) {
		c := &choices[choice]
		if c.lastNs == 0 {
			c.lastNs = atNs
			return
		}
		c.gapNs += atNs - c.lastNs
		c.lastNs = atNs
		if estimated {
			tokens = max(tokens, 1)
		}
		if tokens > 0 {
			f(c.gapNs, tokens)
			c.gapNs = 0
		}
	})
}

// TokensBetween returns how many output tokens arrived after fromNs, up to and with toNs (0 = no end).
func (o *Observation) TokensBetween(fromNs, toNs int64) int64 {
	sum := int64(0)
	o.Chunks(func(atNs int64, tokens, _ int) {
		if atNs > fromNs && (toNs == 0 || atNs <= toNs) {
			sum += int64(tokens)
		}
	})
	return sum
}
