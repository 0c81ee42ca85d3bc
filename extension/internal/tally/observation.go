// Package tally folds what requests came to into levels, seconds and the run, with memory that does not grow with the
// number of tokens.
package tally

import "github.com/tokenclock/tokenclock/extension/internal/stream"

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

	ScheduledNs, StartedNs, SentNs int64
	SentUncertaintyNs              int64
	SentKernel                     bool
	KernelReceives, UserReceives   int
	Retries                        int
	SetupNs                        int64 // what lay between StartedNs and SentNs of opening connections
	Streamed                       bool

	*stream.Result
}

// Figures are the latencies of one completed request in ns; -1 = not defined for it.
type Figures struct {
	TTFT, TTFO, E2E, TPOT, MaxStall int64
	TTFTScheduled, E2EScheduled     int64
	QueueDelay                      int64
	OutputSpeed                     float64 // tokens/s = 1000 / TPOT in ms; 0 = not defined
	Single                          bool    // one token came, of each choice at most, which has no TPOT
}

// QueueDelayNs is the generator's own lag: sent - scheduled.
func (o *Observation) QueueDelayNs() int64 {
	if o.SentNs == 0 || o.ScheduledNs == 0 {
		return -1
	}
	return max(o.SentNs-o.ScheduledNs, 0)
}

// OwnDelayNs is the part of the queue delay for which the generator answers: without the opening of connections, which
// depends on the network and the server.
func (o *Observation) OwnDelayNs() int64 {
	if d := o.QueueDelayNs(); d >= 0 {
		return max(d-o.SetupNs, 0)
	}
	return -1
}

// Figure computes the latencies of a completed request; definitions in DESIGN's metric table and docs/metrics.md.
func (o *Observation) Figure() Figures {
	f := Figures{TTFT: -1, TTFO: -1, E2E: -1, TPOT: -1, MaxStall: -1, TTFTScheduled: -1, E2EScheduled: -1, QueueDelay: o.QueueDelayNs()}
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
	known := 0
	for _, a := range o.Arrivals {
		known += int(a.Tokens)
	}
	even := known != shown && shown > 0
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

// Gaps calls f for each gap between two output chunks of a choice; one of chunks that came in one receive is 0.
func (o *Observation) Gaps(f func(gapNs int64)) {
	var lastNs [stream.MaxChoices]int64 // 0 = none came
	for _, a := range o.Arrivals {
		if last := lastNs[a.Choice]; last > 0 {
			f(a.AtNs - last)
		}
		lastNs[a.Choice] = a.AtNs
	}
}

// SharedGaps calls f for each time between two receives that brought tokens with the tokens of the later one: chunks that
// came in one receive share the time before it, and so do the tokens of a chunk. A receive that brought no token, or only
// part of one, ends no gap: what passed before it counts towards the next token, so that all gaps add up to the time from
// the first output chunk to the last token. What came with the first output has no gap. Of several choices each is a
// stream of its own.
func (o *Observation) SharedGaps(f func(gapNs int64, tokens int)) {
	type open struct {
		lastNs, gapNs int64
		tokens        int
	}
	var choices [stream.MaxChoices]open
	used := 0
	o.Chunks(func(atNs int64, tokens, choice int) {
		c := &choices[choice]
		used = max(used, choice+1)
		if c.lastNs > 0 && atNs > c.lastNs {
			if c.tokens > 0 {
				if c.gapNs > 0 {
					f(c.gapNs, c.tokens)
				}
				c.gapNs, c.tokens = 0, 0
			}
			c.gapNs += atNs - c.lastNs
		}
		c.lastNs = atNs
		c.tokens += tokens
	})
	for _, c := range choices[:used] {
		if c.gapNs > 0 && c.tokens > 0 {
			f(c.gapNs, c.tokens)
		}
	}
}

// TokensBetween returns how many output tokens arrived from fromNs up to toNs, both included (toNs 0 = no end).
func (o *Observation) TokensBetween(fromNs, toNs int64) int64 {
	sum := int64(0)
	o.Chunks(func(atNs int64, tokens, _ int) {
		if atNs >= fromNs && (toNs == 0 || atNs <= toNs) {
			sum += int64(tokens)
		}
	})
	return sum
}
