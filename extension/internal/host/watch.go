package host

import (
	"iter"
	"math"
	"sort"
	"sync"
)

// Kind is why the process did not run.
type Kind string

// The kinds. Stopped and throttled concern this process alone; suspended and stolen the machine, so that no time stamp of
// its kernel is exact either.
const (
	Stopped   Kind = "stopped"   // SIGSTOP, a debugger, a cgroup's freezer: it neither ran nor waited for a core
	Throttled Kind = "throttled" // a cgroup's CPU quota
	Suspended Kind = "suspended" // of the machine; CLOCK_MONOTONIC stood still
	Stolen    Kind = "stolen"    // the hypervisor had the processor
)

const (
	// MinPauseNs is the shortest pause that is distinguished from a late tick. Ticks come every 10 ms, and a shorter gap is
	// within what timers and Go's scheduler make of them on a busy machine.
	MinPauseNs = 20_000_000
	// minUnexplainedNs is that of a stop where the host does not say how long threads waited for a core: a machine with
	// other work starves a process for tens of milliseconds, and it is stopped by hand for longer.
	minUnexplainedNs = 100_000_000
	minSuspendNs     = 10_000_000 // the two clocks are read a moment apart
	refreshNs        = 250_000_000
	stealNs          = 1_000_000_000 // /proc/stat is slow on large machines
	mostPauses       = 1 << 16
)

// Pause is a time in which the process did not run. It lies in [FromNs, ToNs] of package clock and took Ns of it; a
// suspension took Ns beside it.
type Pause struct {
	Kind         Kind
	FromNs, ToNs int64
	Ns           int64

	inFlight, seen bool // see Saw
}

// Watch finds pauses in the gaps between the ticks of a loop, which stops with the process and so shows each stop as one
// gap. Its methods may be called from any goroutine.
type Watch struct {
	mu       sync.Mutex
	source   Source
	periodNs int64

	begun, closed            bool
	tickNs, cpuNs, suspended int64  // of the last tick
	base                     Totals // read before the last tick's time, or up to refreshNs before it
	read                     Totals // read last. Reading takes a while, in which the process may be held up, too:
	readNs, stealReadNs      int64  // what the totals grew by then is in the gap behind the time of that tick
	points                   []point
	pauses                   []Pause
}

type point struct {
	ns int64
	Totals
}

// NewWatch returns a watch over a loop that ticks every periodNs.
func NewWatch(source Source, periodNs int64) *Watch {
	return &Watch{source: source, periodNs: periodNs}
}

// Tick is called every period with the time of package clock and the processor time that the process has used.
func (w *Watch) Tick(nowNs, cpuNs int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	suspended := w.source.SuspendedNs()
	if !w.begun {
		w.begun = true
		w.readNs, w.stealReadNs = nowNs, nowNs
		w.read = w.source.Totals(true)
		w.base = w.read
		w.note(nowNs, w.read)
	} else {
		if ns := suspended - w.suspended; ns >= minSuspendNs {
			w.add(Pause{Kind: Suspended, FromNs: w.tickNs, ToNs: nowNs, Ns: ns})
		}
		lateNs := nowNs - w.tickNs - w.periodNs
		late := lateNs >= MinPauseNs
		before := w.read
		if late || nowNs-w.readNs >= refreshNs {
			steal := late || nowNs-w.stealReadNs >= stealNs
			totals := w.source.Totals(steal)
			if late {
				w.explain(lateNs, nowNs, cpuNs, totals)
			}
			w.read, w.readNs = totals, nowNs
			if steal {
				w.stealReadNs = nowNs
			}
			w.note(nowNs, totals)
		}
		w.base = before
	}
	w.tickNs, w.cpuNs, w.suspended = nowNs, cpuNs, suspended
}

// explain shares out a gap: what the process ran, was throttled, waited for a core or was robbed of it cannot be more than
// the totals grew; what is left is a stop. The processor time counts as if one thread had used it, and the totals may have
// grown before the gap, so that a stop is found too short rather than where there was none.
func (w *Watch) explain(lateNs, nowNs, cpuNs int64, t Totals) {
	left := lateNs - max(cpuNs-w.cpuNs, 0)
	take := func(kind Kind, ns int64) {
		ns = min(max(ns, 0), left)
		left -= max(ns, 0)
		if kind != "" && ns >= MinPauseNs {
			w.add(Pause{Kind: kind, FromNs: w.tickNs, ToNs: nowNs, Ns: ns})
		}
	}
	take(Throttled, t.ThrottledNs-w.base.ThrottledNs)
	take("", t.WaitedNs-w.base.WaitedNs)
	take(Stolen, t.StolenNs-w.base.StolenNs)
	least := int64(MinPauseNs)
	if !t.WaitedKnown {
		least = minUnexplainedNs
	}
	if left < least {
		return
	}
	take(Stopped, left)
}

// note keeps the totals for Between, those that stay the same once.
func (w *Watch) note(nowNs int64, t Totals) {
	t.WaitedNs = 0 // always grows, and nobody asks for it
	if n := len(w.points); n >= 2 && w.points[n-1].Totals == t && w.points[n-2].Totals == t {
		w.points[n-1].ns = nowNs
		return
	}
	w.points = append(w.points, point{nowNs, t})
}

func (w *Watch) add(p Pause) {
	if n := len(w.pauses); n >= mostPauses {
		last := &w.pauses[n-1]
		last.ToNs = p.ToNs
		last.Ns += p.Ns
		return
	}
	w.pauses = append(w.pauses, p)
}

// Saw takes the times at which the kernel stamped packets of a request that was in flight from sentNs to endNs. One that
// surely lies in a stop shows that the machine went on: only the process had stopped, and not a virtual machine as a whole.
func (w *Watch) Saw(sentNs, endNs int64, stamps iter.Seq[int64]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := len(w.pauses) - 1; k >= 0 && w.pauses[k].ToNs > sentNs; k-- {
		p := &w.pauses[k]
		if p.Kind != Stopped || p.FromNs >= endNs {
			continue
		}
		p.inFlight = true
		// It took Ns of its gap, nobody knows where: what is farther from both ends than the rest of the gap is in it.
		restNs := p.ToNs - p.FromNs - p.Ns
		for atNs := range stamps {
			p.seen = p.seen || atNs > p.FromNs+restNs && atNs < p.ToNs-restNs
		}
	}
}

// Sum is how often and how long something kept the process from running, in ms.
type Sum struct {
	Count   int64   `json:"count"`
	Total   float64 `json:"total"`
	Longest float64 `json:"longest"` // of those that MinPauseNs or more of a tick's delay are owed to; 0 = none was so long
}

// Sums are the pauses of some time. What the host says nothing of is nil.
type Sums struct {
	Stopped   Sum
	Unseen    Sum // of Stopped: with a request in flight, and without a stamp in it that Saw was told
	Suspended Sum
	Throttled *Sum // Count in quota periods, Total summed over processors
	Stolen    *Sum // Count of those in Longest, Total of the whole machine and summed over processors

	Processors int // of the machine, where Stolen is known
}

// Between returns the pauses that overlap a time of package clock, each as far as it may lie in that time.
func (w *Watch) Between(fromNs, toNs int64) Sums {
	w.mu.Lock()
	defer w.mu.Unlock()
	var s Sums
	if len(w.points) == 0 || toNs <= fromNs {
		return s
	}
	points := w.points
	if !w.closed && toNs > points[len(points)-1].ns {
		t := w.source.Totals(true)
		points = append(points[:len(points):len(points)], point{toNs, t})
	}
	last := points[len(points)-1]
	grown := func(of func(*Totals) int64) int64 { return at(points, toNs, of) - at(points, fromNs, of) }
	if last.ThrottledKnown {
		s.Throttled = &Sum{
			Count: grown(func(t *Totals) int64 { return t.Throttles }),
			Total: float64(grown(func(t *Totals) int64 { return t.ThrottledNs })) / 1e6,
		}
	}
	if last.StolenKnown {
		s.Processors = last.Processors
		s.Stolen = &Sum{Total: float64(grown(func(t *Totals) int64 { return t.StolenNs })) / 1e6}
	}
	for _, p := range w.pauses {
		overlapNs := min(p.ToNs, toNs) - max(p.FromNs, fromNs)
		if overlapNs <= 0 {
			continue
		}
		if p.Kind != Suspended {
			p.Ns = min(p.Ns, overlapNs)
		}
		ms := float64(p.Ns) / 1e6
		switch p.Kind {
		case Stopped:
			s.Stopped.add(ms)
			if p.inFlight && !p.seen {
				s.Unseen.add(ms)
			}
		case Suspended:
			s.Suspended.add(ms)
		case Throttled:
			if s.Throttled != nil {
				s.Throttled.Longest = max(s.Throttled.Longest, ms)
			}
		case Stolen:
			if s.Stolen != nil {
				s.Stolen.Count++
				s.Stolen.Longest = max(s.Stolen.Longest, ms)
			}
		}
	}
	return s
}

func (s *Sum) add(ms float64) {
	s.Count++
	s.Total += ms
	s.Longest = max(s.Longest, ms)
}

// at returns a total at a time, linear between two points.
func at(points []point, ns int64, of func(*Totals) int64) int64 {
	k := sort.Search(len(points), func(k int) bool { return points[k].ns >= ns })
	switch k {
	case 0:
		return of(&points[0].Totals)
	case len(points):
		return of(&points[len(points)-1].Totals)
	}
	a, b := &points[k-1], &points[k]
	part := float64(ns-a.ns) / float64(b.ns-a.ns)
	return of(&a.Totals) + int64(math.Round(part*float64(of(&b.Totals)-of(&a.Totals))))
}

// Close reads the totals for the last time; later ticks count no more.
func (w *Watch) Close(nowNs int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun && !w.closed {
		t := w.source.Totals(true)
		w.note(nowNs, t)
	}
	w.closed = true
}
