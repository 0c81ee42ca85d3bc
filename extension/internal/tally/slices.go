package tally

import (
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// Slice is one of the equal parts of a level's window; extension/index.d.ts documents the fields.
type Slice struct {
	StartS           float64 `json:"startS" js:"startS"`
	DurationS        float64 `json:"durationS" js:"durationS"`
	Requests         int64   `json:"requests" js:"requests"`
	Completed        int64   `json:"completed" js:"completed"`
	Failed           int64   `json:"failed" js:"failed"`
	TTFTMs           Stats   `json:"ttftMs" js:"ttftMs"`
	TPOTMs           Stats   `json:"tpotMs" js:"tpotMs"`
	OutputThroughput float64 `json:"outputThroughput" js:"outputThroughput"`
	ClientMB         float64 `json:"clientMB,omitempty" js:"clientMB"`
}

// slice collects one part. Requests belong to the part that they were scheduled in, tokens to the one that they arrived in.
type slice struct {
	requests, completed, aborted, tokens int64
	ttft, tpot                           distribution
	clientBytes                          int64
}

// addToSlices counts a request of any phase in a level whose window has a known end and is divided.
func (l *level) addToSlices(o *Observation, f Figures, memory func() int64) {
	if len(l.slices) == 0 || l.openNs == 0 || l.closeNs <= l.openNs {
		return
	}
	// The first request that ends in a part looks at the client's memory.
	if s := l.sliceAt(o.EndNs); s != nil && s.clientBytes == 0 && memory != nil {
		s.clientBytes = memory()
	}
	if o.Failure == stream.None {
		o.Chunks(l.addTokensToSlice)
	}
	s := l.sliceAt(firstOf(o.ScheduledNs, o.StartedNs))
	if o.Phase != Steady || s == nil {
		return
	}
	s.requests++
	switch o.Failure {
	case stream.None:
		s.completed++
		s.ttft.add(f.TTFT, 1)
		s.tpot.add(f.TPOT, 1)
	case stream.Aborted:
		s.aborted++
	}
}

// sliceAt returns the part in which a time lies, nil if there is none.
func (l *level) sliceAt(ns int64) *slice {
	n := len(l.slices)
	if ns < l.openNs || ns >= l.closeNs {
		return nil
	}
	if k := int(float64(ns-l.openNs) / float64(l.closeNs-l.openNs) * float64(n)); k < n {
		return &l.slices[k]
	}
	return nil
}

func (l *level) addTokensToSlice(atNs int64, tokens, _ int) {
	if s := l.sliceAt(atNs); s != nil {
		s.tokens += int64(tokens)
	}
}

// sliceFigures returns the parts in the order of time.
func (l *level) sliceFigures() []Slice {
	if l.openNs == 0 || l.closeNs <= l.openNs {
		return nil
	}
	out := make([]Slice, 0, len(l.slices))
	lengthS := float64(l.closeNs-l.openNs) / 1e9 / float64(len(l.slices))
	for k := range l.slices {
		s := &l.slices[k]
		out = append(out, Slice{
			StartS: float64(l.openNs)/1e9 + float64(k)*lengthS, DurationS: lengthS,
			Requests: s.requests, Completed: s.completed, Failed: s.requests - s.completed - s.aborted,
			TTFTMs: s.ttft.stats(1e6), TPOTMs: s.tpot.stats(1e6), OutputThroughput: float64(s.tokens) / lengthS,
			ClientMB: float64(s.clientBytes) / 1e6,
		})
	}
	return out
}
