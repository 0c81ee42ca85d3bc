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
	none  map[string]bool // bursts of which nothing is this instance's

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
	w := &Windows{specs: map[string]LevelSpec{}, index: map[string]int{}, none: map[string]bool{}}
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
		if openNs, closeNs, _ := w.run.Tally().Window(name); !w.none[name] && (openNs == 0 || closeNs == 0) {
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
	spec, ok := w.spec(level)
	if !ok {
		return nil, fmt.Errorf("windows have no level %q", level)
	}
	p, err := phaseOf(phase)
	if err != nil {
		return nil, err
	}
	burst := spec.BatchSize > 0
	part := h.vu.Part()
	if burst {
		if part, err = partOf(h.vu); err != nil {
			return nil, err
		}
		// No instance has a request of an earlier burst in flight.
		if err := w.meet(ctx, part, level, p, "to prepare"); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	h.vu.LevelBegins(level)
	s := &Slot{Level: level, Phase: p, Index: w.index[level], Serial: w.serial}
	s.due = func(ns int64) {
		if p == tally.Steady {
			w.run.Tally().Open(level, ns, 0)
		}
	}
	switch {
	case !part.Divided():
	case burst:
		s.Members = part.Share(spec.BatchSize).All(spec.BatchSize)
		w.none[level] = len(s.Members) == 0
	default: // as many as there are VUs, which k6 divides
		own := part.Share(part.Count())
		s.Index, s.Serial = own.Nth(s.Index), own.Nth(s.Serial)
	}
	if burst && part.Meets() {
		at := place(level, p, s.Index)
		s.release = func(ctx context.Context) (int64, error) {
			startNs, _, err := part.Meet(ctx, at, 0, true)
			return startNs, err
		}
	}
	if !burst {
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
		if s.Members != nil { // the other instances' requests have indices, too
			n = spec.BatchSize - 1
		}
		w.index[level] += n
	}
	w.serial += max(spec.BatchSize, 1)
	h.last = s
	return s, nil
}

func (w *Windows) spec(level string) (spec LevelSpec, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	spec, ok = w.specs[level]
	return spec, ok
}

// place names a burst.
func place(level string, p tally.Phase, index int) string {
	return fmt.Sprintf("burst %s, %s, from request %d", level, p, index)
}

// meet returns when all instances have come to this point of a burst.
func (w *Windows) meet(ctx context.Context, part Part, level string, p tally.Phase, what string) error {
	if !part.Meets() {
		return nil
	}
	w.mu.Lock()
	at := place(level, p, w.index[level]) + ", " + what
	w.mu.Unlock()
	_, _, err := part.Meet(ctx, at, 0, false)
	return err
}

// End closes the window of a level: it ends with the last request that has ended.
func (h *WindowsVU) End(ctx context.Context, level string) error {
	w := h.w
	part := h.vu.Part()
	if spec, _ := w.spec(level); spec.BatchSize > 0 && part.Meets() && part.SharesCounters() {
		if err := w.meet(ctx, part, level, tally.Steady, "at its end"); err != nil {
			return err
		}
	}
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
