package tally

import "slices"

// Progress is how far a run has come: counts of the whole run, warm-up and drain included, and the TTFT of the level that was
// opened last.
type Progress struct {
	Level   string // "" = none has opened
	CloseNs int64  // when its steady window ends; 0 = not known

	Scheduled, Completed, Failed int64
	OutputTokens                 int64 // of the completed requests

	TTFTs            int64   // steady requests of the level that have a TTFT; of the whole run where no level has opened
	TTFTP50, TTFTP99 float64 // ns
}

// Progress returns how far the run has come. It holds up requests that end for a copy of the level's latencies only.
func (r *Run) Progress() Progress {
	p, values := r.progress()
	if values != nil {
		slices.Sort(values)
		p.TTFTP50, p.TTFTP99 = Quantile(values, .5), Quantile(values, .99)
	}
	return p
}

// progress returns the progress, and of a level with few requests its latencies, of which percentiles are still to be made.
func (r *Run) progress() (p Progress, values []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.total
	p = Progress{
		Scheduled: r.scheduled, Completed: t.wholeCompleted, Failed: t.wholeRequests - t.wholeCompleted, OutputTokens: t.wholeToks,
	}
	ttft := &t.ttft
	if l := r.levels[r.opened]; l != nil {
		p.Level, p.CloseNs = r.opened, l.closeNs
		ttft = &l.ttft
	}
	p.TTFTs = ttft.count
	if ttft.hist == nil {
		return p, slices.Clone(ttft.values)
	}
	p.TTFTP50, p.TTFTP99 = ttft.sorted(.5), ttft.sorted(.99)
	return p, nil
}
