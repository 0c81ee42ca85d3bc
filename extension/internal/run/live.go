package run

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// live writes a line a second of how far the run has come. The lines go through k6's log: its writer alone knows where k6's
// progress bars stand, and draws them again below each line.
type live struct {
	say   func(line string)
	look  func() progress
	every time.Duration // 0 = a second

	begin, end  sync.Once
	begun       bool
	done, ended chan struct{}

	past []liveTokens // one a line, of the last speedLines
}

// progress is what one line tells.
type progress struct {
	tally.Progress
	ns        int64
	sent      int64 // requests that were handed to the client
	remaining int   // requests
	counted   bool  // remaining is known
}

// liveTokens are the output tokens of the requests that had completed by a moment.
type liveTokens struct{ ns, tokens int64 }

// speedLines is over how many seconds tokens/s are a mean. Tokens are counted when their request ends, so that nothing is
// done for each: over one second the figure would jump with every long reply.
const speedLines = 10

// progress returns how far the run has come.
func (r *Run) progress() progress {
	p := progress{Progress: r.tally.Progress(), ns: clock.Now(), sent: r.sent.Load()}
	r.loadsMu.Lock()
	loads := slices.Clone(r.loads)
	r.loadsMu.Unlock()
	for _, l := range loads {
		if of, ok := l.(interface{ Remaining() (int, bool) }); ok {
			p.remaining, p.counted = of.Remaining()
			break
		}
	}
	return p
}

// start begins with the first request; later calls do nothing, nor does one of no live.
func (l *live) start() {
	if l == nil {
		return
	}
	l.begin.Do(func() {
		l.begun = true
		l.done, l.ended = make(chan struct{}), make(chan struct{})
		if l.every == 0 {
			l.every = time.Second
		}
		l.past = []liveTokens{{clock.Now(), 0}}
		go l.loop()
	})
}

// stop ends what start began with a last line, which has all that came.
func (l *live) stop() {
	if l == nil {
		return
	}
	l.begin.Do(func() {}) // it does not begin any more
	if !l.begun {
		return
	}
	l.end.Do(func() {
		close(l.done)
		<-l.ended
		l.say(l.line(l.look(), true))
	})
}

func (l *live) loop() {
	defer close(l.ended)
	ticker := time.NewTicker(l.every)
	defer ticker.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-ticker.C:
			l.say(l.line(l.look(), false))
		}
	}
}

// line says a progress in words; the last one of a run has nothing in flight and nothing left.
func (l *live) line(p progress, last bool) string {
	var b strings.Builder
	b.WriteString("live: ")
	if p.Level != "" {
		fmt.Fprintf(&b, "level %s; ", p.Level)
	}
	// The requests of a batch share one slot, so that more may be sent than were scheduled one by one.
	fmt.Fprintf(&b, "scheduled %d, sent %d, ", max(p.Scheduled, p.sent), p.sent)
	if !last {
		fmt.Fprintf(&b, "in flight %d, ", max(p.sent-p.Completed-p.Failed, 0))
	}
	fmt.Fprintf(&b, "completed %d, failed %d", p.Completed, p.Failed)
	fmt.Fprintf(&b, "; %.0f tok/s", l.speed(p))
	if p.TTFTs > 0 {
		fmt.Fprintf(&b, ", TTFT p50 %.1f ms, p99 %.1f ms", p.TTFTP50/1e6, p.TTFTP99/1e6)
	}
	switch leftNs := p.CloseNs - p.ns; {
	case last:
		b.WriteString("; over")
	case p.CloseNs > 0 && leftNs > 0:
		fmt.Fprintf(&b, "; %.0f s left", float64(leftNs)/1e9)
	case p.counted && p.remaining > 0:
		fmt.Fprintf(&b, "; %d requests left", p.remaining)
	}
	return b.String()
}

// speed returns the output tokens a second of the requests that ended since the line before the last speedLines.
func (l *live) speed(p progress) float64 {
	now := liveTokens{p.ns, p.OutputTokens}
	l.past = append(l.past, now)
	if len(l.past) > speedLines+1 {
		l.past = l.past[1:]
	}
	from := l.past[0]
	if now.ns <= from.ns {
		return 0
	}
	return float64(now.tokens-from.tokens) / (float64(now.ns-from.ns) / 1e9)
}
