package run

import (
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
	"github.com/tokenclock/tokenclock/extension/internal/version"
)

// Report is Report of index.d.ts.
type Report struct {
	StartUnixMs int64                `json:"startUnixMs"`
	DurationS   float64              `json:"durationS"`
	Levels      []tally.LevelSummary `json:"levels"`
	Total       tally.LevelSummary   `json:"total"`
	Seconds     []tally.Second       `json:"seconds"`
	Validity    Validity             `json:"validity"`
	Versions    version.Versions     `json:"versions"`

	Part         *Part             `json:"part,omitempty"`
	Schedule     *records.Schedule `json:"schedule,omitempty"`
	Ended        string            `json:"ended"`
	Unsent       string            `json:"unsent,omitempty"`
	RecordsError string            `json:"recordsError,omitempty"`
}

// schedule returns the run's schedule; nil where its load has none.
func (r *Run) schedule() *records.Schedule {
	r.loadsMu.Lock()
	defer r.loadsMu.Unlock()
	for _, l := range r.loads {
		if s, ok := l.(interface{ Schedule() (string, int) }); ok {
			digest, count := s.Schedule()
			return &records.Schedule{Digest: digest, Requests: count}
		}
	}
	return nil
}

// Part is which part of a load a process had that several ran together.
type Part struct {
	Number int `json:"number"` // from 1
	Of     int `json:"of"`
}

// Report folds what was measured; dropped is k6's count of iterations that found no free VU.
func (r *Run) Report(dropped int64) Report {
	r.readRing()
	now := clock.Now()
	total := r.tally.Total(now)
	levels := r.tally.Levels(now)
	for k := range levels {
		levels[k].ITLHistograms = r.tally.ITLHistograms(levels[k].Name)
	}
	ended, unsent := r.Ended()
	recordsError := ""
	if err := r.env.Log.Failure(); err != nil {
		recordsError = err.Error()
	}
	return Report{
		Schedule: r.schedule(), Part: r.env.part(), Ended: ended, Unsent: unsent, RecordsError: recordsError,
		StartUnixMs: clock.StartUnixNs() / int64(time.Millisecond), DurationS: float64(now) / 1e9,
		Levels: levels, Total: total, Seconds: r.tally.Seconds(), Validity: r.judge(levels, total, dropped), Versions: version.OfProcess(),
	}
}

// LevelMetrics returns the figures of each level up to now, and the verdict on the client, which then stands: a threshold
// may have been judged by it.
func (r *Run) LevelMetrics() ([]tally.LevelSummary, Validity) {
	r.readRing()
	now := clock.Now()
	levels := r.tally.Levels(now)
	v := r.judge(levels, r.tally.Total(now), 0)
	r.reported.Store(&v)
	return levels, v
}
