package tokenclock

import (
	"fmt"
	"runtime"
	"slices"
	"sort"
	"sync"
	"syscall"
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
	done, ended chan struct{} // the loop is told to end, and has ended
	endNs       int64         // when it was; 0 = it goes on
}

// cpuPoint is the processor time that the process had used by a moment.
type cpuPoint struct{ ns, cpuNs int64 }

func cpuNow() cpuPoint { return cpuPoint{clock.Now(), processCPUNs()} }

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
			p.look(waitedNs)
		}
		p.mu.Unlock()
	}
}

// look takes over how long the reader thread has waited for a core in its life. The first look is the beginning: the
// thread was another of Go's before.
func (p *probe) look(waitedNs int64) {
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

// cores is how many the process may use: GOMAXPROCS follows its affinity and its container's limit.
func cores() int { return min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) }

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
	return (at(toNs) - at(fromNs)) / float64(toNs-fromNs) / float64(cores())
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

// validity is Validity of index.d.ts.
type validity struct {
	State      string      `json:"state"`
	Reasons    []string    `json:"reasons"`
	Notes      []string    `json:"notes"`
	Stamps     stampShares `json:"stamps"`
	hostSums               // of the whole run
	HostLevels []hostLevel `json:"hostLevels,omitempty"`
	Ring       *ringCounts `json:"ring,omitempty"`

	SchedulingLagMs  tally.Stats `json:"schedulingLagMs"`
	QueueDelayMs     tally.Stats `json:"queueDelayMs"`
	KernelStampShare float64     `json:"kernelStampShare"`
	CoalescedShare   float64     `json:"coalescedShare"`

	ArrivalUncertaintyMs tally.Stats `json:"arrivalUncertaintyMs"`
	ClockErrors          int64       `json:"clockErrors"`

	ReaderWaitShare   float64     `json:"readerWaitShare"`
	SendUncertaintyMs tally.Stats `json:"sendUncertaintyMs"`
	CPUShare          float64     `json:"cpuShare"`
	DroppedIterations int64       `json:"droppedIterations"`
	RetriedOnReuse    int64       `json:"retriedOnReuse"`
	Reader            string      `json:"reader"`
	ReaderClass       string      `json:"readerClass,omitempty"`
	ClockSteps        int64       `json:"clockSteps"`
	RejectedStamps    int64       `json:"rejectedStamps"`

	cacheBound bool
}

// What a run may show of its own client before its figures are no longer the server's. Each is far above what a sound
// run shows (docs/performance.md) and below what moves a percentile that a gate looks at.
const (
	// Queue delay, without the opening of connections. In an open loop the schedule is the point: its 90th percentile counts.
	// In a closed loop a late send only leaves a slot empty for that long: the mean counts, as the share of the concurrency
	// that was missing, and so it does of a burst, whose requests are due at its release. Each limit is in ms or a share of
	// the mean e2e latency, whichever is larger.
	maxQueueDelayMs          = 10.0
	maxOpenQueueDelayShare   = 0.05
	maxClosedQueueDelayShare = 0.10

	maxReaderWaitShare = 0.01 // of the time, where...
	maxCoalescedShare  = 0.01 // ...more than this share of the chunks came in one receive with another
	maxUserLagMs       = 5.0  // p99 of the scheduling lag, where more than 1 - minKernelStampShare of the stamps are user space's
	maxSendUncertainMs = 5.0  // p90 of the send's uncertainty
	maxRetriedShare    = 0.01 // of the requests that met a connection which the server had closed

	minKernelStampShare = 0.99

	// Uncertainty of arrivals, p99.5 over the output chunks of a level: in ms or a share of its ITL p99, whichever is larger. Where
	// it keeps the limit, one chunk in two hundred at most may have come earlier than stamped by more than that, so the ITL p99
	// lies between the 98.5th and the 99.5th percentile of what the server did, and p50 and p90 closer. (A limit on the p99 of
	// the uncertainty would leave the ITL p99 without a bound: it could be any of the largest hundredth. On a crowded machine
	// 0.5 % of wider chunks moved it by 0.1 %, 1 % by 16 %.) The reader thread looks at every socket each 1.6 ms (its longest
	// nap and a look), so a sound run shows less than 2 ms however the server packs its chunks; more says that the thread was
	// kept from its sockets, or that there is none. A goroutine that stamps in user space looks only when bytes wake it, so the
	// width it can prove is that of a whole gap. How late it is, for the first byte as for the last, is its scheduling lag, by
	// which maxUserLagMs judges it.
	maxArrivalUncertainMs    = 2.0
	maxArrivalUncertainShare = 0.05

	// Impossible latencies say that a clock was wrong by that much at least, and other latencies may be wrong likewise without
	// being impossible. One in a thousand moves no percentile that a gate looks at.
	maxClockErrorShare = 0.001

	// Processor time in a steady window, as a share of the process's cores. Much of it is no fault: a client that reads as
	// fast as it can uses all it needs, and a server on the same machine has its part. But who has all cores busy does
	// not get to run when it should: nearly all of them count together with a lag that shows it, all of them alone.
	maxBusyCPUShare = 0.90
	maxBusyLagMs    = 5.0 // p99 of the scheduling lag
	maxCPUShare     = 0.98
	minCPUWindowS   = 2.0 // processor time is read once a second
)

// judge says whether the client measured the server or itself.
func (r *run) judge(levels []tally.LevelSummary, total tally.LevelSummary, dropped int64) validity {
	v := validity{State: "VALID", Reasons: []string{}, Notes: append([]string{}, r.keyNotes()...), Stamps: r.stampShares()}
	v.SchedulingLagMs, v.ReaderWaitShare, v.CPUShare = r.probe.figures()
	v.QueueDelayMs, v.KernelStampShare, v.CoalescedShare = total.QueueDelayMs, total.KernelStampShare, total.CoalescedShare
	v.ArrivalUncertaintyMs, v.ClockErrors = total.ArrivalUncertaintyMs, total.ClockErrors
	v.SendUncertaintyMs, v.RetriedOnReuse = r.tally.Client()
	v.DroppedIterations = dropped
	v.Reader, v.ReaderClass = client.ReaderState()
	v.ClockSteps, v.RejectedStamps = client.ClockSteps()
	bound := func(format string, args ...any) {
		v.State = "CLIENT-BOUND"
		v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
	}
	note := func(format string, args ...any) { v.Notes = append(v.Notes, fmt.Sprintf(format, args...)) }
	judged := levels
	if len(judged) == 0 {
		judged = []tally.LevelSummary{total}
	}
	for _, l := range judged {
		delay := l.OwnDelayMs
		openMs := max(maxQueueDelayMs, maxOpenQueueDelayShare*l.E2EMs.Mean)
		closedMs := max(maxQueueDelayMs, maxClosedQueueDelayShare*l.E2EMs.Mean)
		burst := l.BatchSize > 0 && l.Concurrency == 0
		switch {
		case l.Completed == 0:
		case l.Rate > 0 && delay.P90 > openMs:
			why := ""
			if n := r.noVUFree.Load(); n > 0 {
				why = fmt.Sprintf("; %d arrivals of the run found MAX_IN_FLIGHT requests in flight", n)
			}
			bound("level %s: one request in ten was sent more than %.1f ms after it was due, limit %.1f ms%s",
				l.Name, delay.P90, openMs, why)
		case burst && delay.Mean > closedMs:
			bound("level %s: the requests of a burst were sent %.1f ms after they were due on average, limit %.1f ms",
				l.Name, delay.Mean, closedMs)
		case l.Rate == 0 && delay.Mean > closedMs:
			bound("level %s: slots were empty for %.1f ms before each request on average, limit %.1f ms", l.Name, delay.Mean, closedMs)
		}
	}
	if n := r.ownLimits.Load(); n > 0 {
		bound("%d requests found no connection: %s", n, describeLimit(syscall.Errno(r.ownLimit.Load())))
	}
	for _, l := range judged {
		bound := unlessRing(&l, bound, note) // a busy client reads the ring late, which changes no stamp
		switch share := r.probe.cpuShareOf(&l); {
		case share > maxCPUShare:
			bound("level %s: this process used %.1f %% of its %d cores, limit %g %%", l.Name, share*100, cores(), maxCPUShare*100)
		case share > maxBusyCPUShare && v.SchedulingLagMs.P99 > maxBusyLagMs:
			bound("level %s: this process used %.1f %% of its %d cores and ran up to %.1f ms late (p99), limits %g %% and %g ms",
				l.Name, share*100, cores(), v.SchedulingLagMs.P99, maxBusyCPUShare*100, maxBusyLagMs)
		}
	}
	// A client stops keeping its connections when a server always closes them: few retries of each are no reason.
	if limit := max(maxRetriedShare*float64(total.Whole.Requests), float64(client.MostRaces*r.clients.Load())); float64(v.RetriedOnReuse) > limit {
		bound("%d of %d requests were sent twice because the server had closed the kept-alive connection, limit %.0f: run with --no-connection-reuse",
			v.RetriedOnReuse, total.Whole.Requests, limit)
	}
	if v.DroppedIterations > 0 {
		bound("%d iterations were dropped because no VU was free", v.DroppedIterations)
	}
	// A wait does harm only when chunks came meanwhile and merged, which shows as chunks of one stamp.
	if v.Stamps.Ring < minRingShare && v.ReaderWaitShare > maxReaderWaitShare && v.CoalescedShare > maxCoalescedShare {
		bound("the reader thread waited for a core %.1f %% of the time, limit %g %%, and %.1f %% of the chunks share a stamp",
			v.ReaderWaitShare*100, maxReaderWaitShare*100, v.CoalescedShare*100)
	}
	for _, l := range judged {
		limit := max(maxArrivalUncertainMs, maxArrivalUncertainShare*l.ITLMs.P99)
		if ms := l.ArrivalUncertaintyP995Ms; ms > limit && l.KernelStampShare >= minKernelStampShare {
			bound("level %s: one output chunk in two hundred may have arrived more than %.1f ms before its stamp, limit %.1f ms; "+
				"STAMPS=auto takes exact times from the packet ring where the process has CAP_NET_RAW", l.Name, ms, limit)
		}
	}
	if n := total.Requests; n > 0 && float64(v.ClockErrors) > maxClockErrorShare*float64(n) {
		bound("%d of %d requests have a latency below zero, limit %g %%: a clock was wrong", v.ClockErrors, n, maxClockErrorShare*100)
	}
	if v.KernelStampShare < minKernelStampShare && v.SchedulingLagMs.P99 > maxUserLagMs && total.Completed > 0 {
		bound("%.0f %% of the stamps were taken in user space while the process ran up to %.1f ms late (p99), limit %g ms",
			(1-v.KernelStampShare)*100, v.SchedulingLagMs.P99, maxUserLagMs)
	}
	if v.SendUncertaintyMs.P90 > maxSendUncertainMs {
		bound("send times are uncertain by %.1f ms (p90), limit %g ms", v.SendUncertaintyMs.P90, maxSendUncertainMs)
	}
	r.judgeHost(&v, judged, &total, bound, note)
	r.judgeRing(&v, bound)
	r.judgeCache(&v, judged)
	// What a threshold was told in teardown stands, also where the share of a longer time would be just below its limit.
	if told := r.told.Load(); told != nil && told.State == "CLIENT-BOUND" && v.State == "VALID" {
		v.State, v.Reasons = told.State, told.Reasons
	}
	if total.Completed == 0 {
		v.State = "NOT-MEASURED"
		v.Reasons = append(v.Reasons, "no request completed")
	}
	return v
}
