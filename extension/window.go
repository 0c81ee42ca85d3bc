package tokenclock

import (
	"fmt"
	"sync"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// windowSet is levels that the script opens and closes itself.
type windowSet struct {
	mu    sync.Mutex
	run   *run
	specs map[string]levelSpec
	order []string // names
	index map[string]int

	serial int // requests of the slots given so far; a burst's slot has as many as its batch
}

// windowsOf is a VU's hold on the shared windows.
type windowsOf struct {
	i    *instance
	w    *windowSet
	rest rest
	last *slot // the VU's last
}

func (i *instance) newWindows(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	var specs []levelSpec
	if err := decode(rt, call.Argument(1), &specs); err != nil {
		i.throw(fmt.Errorf("new Windows: %w", err))
	}
	w, err := shared(i.root, "windows", call.Argument(0).String(), func() (*windowSet, error) {
		w := &windowSet{specs: map[string]levelSpec{}, index: map[string]int{}}
		for _, s := range specs {
			if _, twice := w.specs[s.Name]; twice || s.Name == "" {
				return nil, fmt.Errorf("level name %q is empty or stands twice", s.Name)
			}
			w.specs[s.Name] = s
			w.order = append(w.order, s.Name)
		}
		return w, nil
	})
	if err != nil {
		i.throw(fmt.Errorf("new Windows: %w", err))
	}
	i.needConnections(mostAtOnce(specs))
	w.mu.Lock()
	if w.run == nil {
		w.run = i.root.current()
		for _, s := range specs {
			w.run.tally.Level(s.tally())
		}
		w.run.addShape(w)
	}
	w.mu.Unlock()
	return rt.ToValue(&windowsOf{i: i, w: w}).ToObject(rt)
}

// unsent implements shape. A script closes the window of each level that it has been through.
func (w *windowSet) unsent() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.order {
		if openNs, closeNs, _ := w.run.tally.Window(name); openNs == 0 || closeNs == 0 {
			return "level " + name + " was not over"
		}
	}
	return ""
}

// Begin is `windows.begin(level, phase?)`.
func (h *windowsOf) Begin(level, phase string) (*slot, error) {
	w := h.w
	settleCollector()
	if d := h.rest.after(h.last); d > 0 {
		waitUntil(h.i.vu.Context(), h.last.endNs.Load()+int64(d))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	spec, ok := w.specs[level]
	if !ok {
		return nil, fmt.Errorf("windows have no level %q", level)
	}
	h.i.levelBegins(level)
	p, err := phaseOf(phase)
	if err != nil {
		return nil, err
	}
	s := &slot{Level: level, Phase: string(p), Index: w.index[level], Serial: w.serial}
	s.due = func(ns int64) {
		if p == tally.Steady {
			w.run.tally.Open(level, ns, 0)
		}
	}
	if spec.BatchSize == 0 {
		s.begin(clock.Now())
		w.run.tally.Asked(s.scheduledNs)
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

// End is `windows.end(level)`: the window closes with the last request that has ended.
func (h *windowsOf) End(level string) error {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	spec, ok := w.specs[level]
	if !ok {
		return fmt.Errorf("windows have no level %q", level)
	}
	openNs, closeNs, lastEndNs := w.run.tally.Window(level)
	if openNs == 0 || closeNs != 0 {
		return nil
	}
	w.run.tally.Close(level, max(lastEndNs, openNs))
	h.i.root.levelEnds(level)
	w.run.levelOver(spec.tally())
	return nil
}
