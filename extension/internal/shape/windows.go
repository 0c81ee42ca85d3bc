package shape

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// Windows is levels that the script opens and closes itself.
type Windows struct {
	mu    sync.Mutex
	run   Run
	specs map[string]LevelSpec
	order []string // names
	index map[string]int

	serial int // requests of the slots given so far; a burst's slot has as many as its batch
}

// WindowsVU is a VU's part in the windows.
type WindowsVU struct {
	w       *Windows
	vu      VU
	backoff backoff
	last    *Slot // the VU's last
}

// NewWindows checks the levels.
func NewWindows(specs []LevelSpec) (*Windows, error) {
	w := &Windows{specs: map[string]LevelSpec{}, index: map[string]int{}}
	for _, s := range specs {
		if _, twice := w.specs[s.Name]; twice || s.Name == "" {
			return nil, fmt.Errorf("level name %q is empty or stands twice", s.Name)
		}
		w.specs[s.Name] = s
		w.order = append(w.order, s.Name)
	}
	return w, nil
}

// MostInFlight returns the largest number of requests in flight that the levels declare.
func (w *Windows) MostInFlight() int { return mostInFlight(slices.Collect(maps.Values(w.specs))) }

// Bind declares the levels in the run, once.
func (w *Windows) Bind(r Run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.run == nil {
		w.run = r
		for _, name := range w.order {
			r.Tally().Level(w.specs[name].tally())
		}
	}
}

// VU returns the part of one more VU.
func (w *Windows) VU(vu VU) *WindowsVU { return &WindowsVU{w: w, vu: vu} }

// Unsent says in words what of the levels was not sent, "" when all was. A script closes the window of each level that it has been through.
func (w *Windows) Unsent() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.order {
		if openNs, closeNs, _ := w.run.Tally().Window(name); openNs == 0 || closeNs == 0 {
			return "level " + name + " was not over"
		}
	}
	return ""
}

// Declare adds a level that nobody knew when the run began.
func (h *WindowsVU) Declare(spec LevelSpec) error {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, twice := w.specs[spec.Name]; twice || spec.Name == "" {
		return fmt.Errorf("level name %q is empty or stands twice", spec.Name)
	}
	w.specs[spec.Name] = spec
	w.order = append(w.order, spec.Name)
	w.run.Tally().Level(spec.tally())
	return nil
}

// Begin opens the window of a level, where it is not open, and returns a slot in it. phase "" is steady. The slot is scheduled
// for dueNs, or for now where that is earlier or dueNs is 0: a script that wakes late does not move its schedule.
func (h *WindowsVU) Begin(ctx context.Context, level, phase string, dueNs int64) (*Slot, error) {
	w := h.w
	if d := h.backoff.after(h.last); d > 0 {
		clock.WaitUntil(ctx, h.last.endNs.Load()+int64(d))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	spec, ok := w.specs[level]
	if !ok {
		return nil, fmt.Errorf("windows have no level %q", level)
	}
	h.vu.LevelBegins(level)
	p, err := phaseOf(phase)
	if err != nil {
		return nil, err
	}
	s := &Slot{Level: level, Phase: p, Index: w.index[level], Serial: w.serial}
	s.due = func(ns int64) {
		if p == tally.Steady {
			w.run.Tally().Open(level, ns, 0)
		}
	}
	if spec.BatchSize == 0 {
		now := clock.Now()
		if dueNs > 0 {
			now = min(now, dueNs)
		}
		s.Begin(now)
		w.run.Tally().Scheduled(s.scheduledNs)
	}
	w.index[level]++
	s.reserve = func(n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.index[level] += n
	}
	w.serial += max(spec.BatchSize, 1)
	h.last = s
	return s, nil
}

// End closes the window of a level: it ends with the last request that has ended.
func (h *WindowsVU) End(level string) error {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	spec, ok := w.specs[level]
	if !ok {
		return fmt.Errorf("windows have no level %q", level)
	}
	openNs, closeNs, lastEndNs := w.run.Tally().Window(level)
	if openNs == 0 || closeNs != 0 {
		return nil
	}
	w.run.Tally().Close(level, max(lastEndNs, openNs))
	w.run.LevelOver(spec.tally())
	return nil
}
