package run

import (
	"iter"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/host"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// probe measures how late this process gets to run while it carries the load: it sleeps and looks by how much it
// overslept.
type probe struct {
	mu      sync.Mutex
	started bool
	lag     tally.Quantity
	beganNs int64
	cpu     []cpuPoint // one a second, the first at beganNs

	looked      bool  // at the reader thread
	waitedNs    int64 // by it for a core, up to the last look
	lateWaitsNs int64 // of it, in periods in which it waited longer than lateWaitNs

	watch watcher // what the host did to the process

	sleep       func(time.Duration)
	done, ended chan struct{} // done asks the loop to end; ended is closed when it has
	endNs       int64         // when it was; 0 = it goes on
}

// cpuPoint is the processor time that the process had used by a moment.
type cpuPoint struct{ ns, cpuNs int64 }

func cpuNow() cpuPoint { return cpuPoint{clock.Now(), host.CPUNs()} }

const (
	probePeriod = 10 * time.Millisecond
	lateWaitNs  = 3_000_000 // shorter waits merge nothing but the fastest streams' chunks
)

// start begins with the first request; later calls do nothing.
func (p *probe) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started {
		return
	}
	p.started = true
	p.cpu = append(p.cpu, cpuNow())
	p.beganNs = p.cpu[0].ns
	p.done, p.ended = make(chan struct{}), make(chan struct{})
	if p.sleep == nil {
		p.sleep = time.Sleep
	}
	if p.watch == nil {
		p.watch = host.NewWatch(host.Open(), int64(probePeriod))
	}
	go p.loop()
}

// stop ends what start began, for good; the figures are those up to then.
func (p *probe) stop() {
	p.mu.Lock()
	if !p.started || p.endNs > 0 {
		p.mu.Unlock()
		return
	}
	p.cpu = append(p.cpu, cpuNow())
	p.endNs = p.cpu[len(p.cpu)-1].ns
	p.mu.Unlock()
	close(p.done)
	<-p.ended
	p.watch.Close(p.endNs)
}

func (p *probe) loop() {
	defer close(p.ended)
	first := cpuNow()
	p.watch.Tick(first.ns, first.cpuNs)
	for {
		before := clock.Now()
		p.sleep(probePeriod)
		lateNs := clock.Now() - before - int64(probePeriod)
		select {
		case <-p.done:
			return
		default:
		}
		waitedNs, known := client.ReaderWaitedNs()
		now := cpuNow()
		p.watch.Tick(now.ns, now.cpuNs)
		p.mu.Lock()
		p.lag.Add(max(lateNs, 0))
		if p.endNs == 0 && now.ns-p.cpu[len(p.cpu)-1].ns >= int64(time.Second) {
			p.cpu = append(p.cpu, now)
		}
		if known {
			p.addReaderWait(waitedNs)
		}
		p.mu.Unlock()
	}
}

// addReaderWait records the reader thread's total run-queue wait. The first value is only the baseline: Go may have used that
// thread before.
func (p *probe) addReaderWait(waitedNs int64) {
	if d := waitedNs - p.waitedNs; p.looked && d > lateWaitNs {
		p.lateWaitsNs += d
	}
	p.looked, p.waitedNs = true, waitedNs
}

// figures returns the lag in ms, the share of the time that the reader thread spent waiting for a core in long waits, and
// the share of its cores that the process used, all since start.
func (p *probe) figures() (lagMs tally.Stats, readerWaitShare, cpuShare float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		return tally.Stats{}, 0, 0
	}
	toNs := p.endNs
	if toNs == 0 {
		toNs = clock.Now()
	}
	if wall := toNs - p.beganNs; wall > 0 {
		readerWaitShare = float64(p.lateWaitsNs) / float64(wall)
	}
	return p.lag.Stats(1e6), readerWaitShare, p.cpuShare(p.beganNs, toNs)
}

// cpuShare returns the share of its cores that the process used from one moment to another, as far as that was measured.
func (p *probe) cpuShare(fromNs, toNs int64) float64 {
	points := p.cpu
	if now := cpuNow(); p.endNs == 0 && len(points) > 0 && now.ns > points[len(points)-1].ns {
		points = append(slices.Clip(points), now)
	}
	if len(points) < 2 {
		return 0
	}
	at := func(ns int64) float64 { // linear between two points
		k := sort.Search(len(points)-2, func(k int) bool { return points[k+1].ns >= ns })
		a, b := points[k], points[k+1]
		part := float64(ns-a.ns) / float64(max(b.ns-a.ns, 1))
		return float64(a.cpuNs) + min(max(part, 0), 1)*float64(b.cpuNs-a.cpuNs)
	}
	fromNs, toNs = max(fromNs, points[0].ns), min(toNs, points[len(points)-1].ns)
	if toNs <= fromNs {
		return 0
	}
	return (at(toNs) - at(fromNs)) / float64(toNs-fromNs) / float64(host.Cores())
}

// cpuShareOf is cpuShare of a level's steady window; 0 of one that is too short to say anything.
func (p *probe) cpuShareOf(l *tally.LevelSummary) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.DurationS < minCPUWindowS {
		return 0
	}
	return p.cpuShare(int64(l.WindowStartS*1e9), int64((l.WindowStartS+l.DurationS)*1e9))
}

// saw tells the watch when the ring stamped a request's packets.
func (p *probe) saw(o *tally.Observation) {
	if o.RingReceives == 0 {
		return
	}
	p.mu.Lock()
	watch := p.watch
	p.mu.Unlock()
	if watch == nil {
		return
	}
	watch.Saw(o.SentNs, o.EndNs, func(yield func(int64) bool) {
		for _, a := range o.Arrivals {
			if !yield(a.AtNs) {
				return
			}
		}
	})
}

// pauses returns what the host did to the process in a time.
func (p *probe) pauses(fromNs, toNs int64) host.Sums {
	p.mu.Lock()
	watch := p.watch
	p.mu.Unlock()
	if watch == nil {
		return host.Sums{}
	}
	return watch.Between(fromNs, toNs)
}

// pausesUpTo returns what the host did to the process from the first request on.
func (p *probe) pausesUpTo(toNs int64) host.Sums {
	p.mu.Lock()
	fromNs := p.beganNs
	p.mu.Unlock()
	return p.pauses(fromNs, toNs)
}

// watcher is host.Watch, for tests to replace.
type watcher interface {
	Tick(nowNs, cpuNs int64)
	Close(nowNs int64)
	Between(fromNs, toNs int64) host.Sums
	Saw(sentNs, endNs int64, stamps iter.Seq[int64])
}
