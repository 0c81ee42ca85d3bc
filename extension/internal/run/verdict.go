package run

import (
	"fmt"
	"syscall"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/host"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// Validity is Validity of index.d.ts.
type Validity struct {
	State      string      `json:"state"`
	Reasons    []string    `json:"reasons"`
	Notes      []string    `json:"notes"`
	Stamps     StampShares `json:"stamps"`
	HostSums               // of the whole run
	HostLevels []HostLevel `json:"hostLevels,omitempty"`
	Ring       *RingCounts `json:"ring,omitempty"`

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

// ClientBound reports whether the client measured itself rather than the server.
func (v *Validity) ClientBound() bool { return v.State == "CLIENT-BOUND" }

// CacheBound reports whether a run that was meant to be cold had more input from the server's prefix cache than is allowed.
func (v *Validity) CacheBound() bool { return v.cacheBound }

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

// judge returns the verdict on whether the client measured the server or itself.
func (r *Run) judge(levels []tally.LevelSummary, total tally.LevelSummary, dropped int64) Validity {
	v := Validity{State: "VALID", Reasons: []string{}, Notes: append([]string{}, r.keyNotes()...), Stamps: r.stampShares()}
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
			bound("level %s: one request in ten was sent more than %s ms after its scheduled time, limit %.1f ms%s",
				l.Name, beyond(delay.P90, openMs, 1), openMs, why)
		case burst && delay.Mean > closedMs:
			bound("level %s: the requests of a burst were sent %s ms after their scheduled time on average, limit %.1f ms",
				l.Name, beyond(delay.Mean, closedMs, 1), closedMs)
		case l.Rate == 0 && delay.Mean > closedMs:
			bound("level %s: clients were idle for %s ms before each request on average, limit %.1f ms",
				l.Name, beyond(delay.Mean, closedMs, 1), closedMs)
		}
	}
	if n := r.ownLimits.Load(); n > 0 {
		bound("%d requests found no connection: %s", n, host.DescribeLimit(syscall.Errno(r.ownLimit.Load())))
	}
	for _, l := range judged {
		bound := unlessRing(&l, bound, note) // a busy client reads the ring late, which changes no stamp
		switch share := r.probe.cpuShareOf(&l); {
		case share > maxCPUShare:
			bound("level %s: this process used %s %% of its %d cores, limit %g %%",
				l.Name, beyond(share*100, maxCPUShare*100, 1), host.Cores(), maxCPUShare*100)
		case share > maxBusyCPUShare && v.SchedulingLagMs.P99 > maxBusyLagMs:
			bound("level %s: this process used %s %% of its %d cores and ran up to %s ms late (p99), limits %g %% and %g ms",
				l.Name, beyond(share*100, maxBusyCPUShare*100, 1), host.Cores(), beyond(v.SchedulingLagMs.P99, maxBusyLagMs, 1),
				maxBusyCPUShare*100, maxBusyLagMs)
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
		bound("the reader thread waited for a core %s %% of the time, limit %g %%, and %s %% of the chunks share a stamp, limit %g %%",
			beyond(v.ReaderWaitShare*100, maxReaderWaitShare*100, 1), maxReaderWaitShare*100,
			beyond(v.CoalescedShare*100, maxCoalescedShare*100, 1), maxCoalescedShare*100)
	}
	for _, l := range judged {
		limit := max(maxArrivalUncertainMs, maxArrivalUncertainShare*l.ITLMs.P99)
		if ms := l.ArrivalUncertaintyP995Ms; ms > limit && l.KernelStampShare >= minKernelStampShare {
			bound("level %s: one output chunk in two hundred may have arrived more than %s ms before its timestamp, limit %.1f ms; "+
				"STAMPS=auto takes exact times from the packet ring where the process has CAP_NET_RAW", l.Name, beyond(ms, limit, 1), limit)
		}
	}
	if n := total.Requests; n > 0 && float64(v.ClockErrors) > maxClockErrorShare*float64(n) {
		bound("%d of %d requests have a latency below zero, limit %g %%: a clock was wrong", v.ClockErrors, n, maxClockErrorShare*100)
	}
	if v.KernelStampShare < minKernelStampShare && v.SchedulingLagMs.P99 > maxUserLagMs && total.Completed > 0 {
		bound("%.0f %% of the stamps were taken in user space while the process ran up to %s ms late (p99), limit %g ms",
			(1-v.KernelStampShare)*100, beyond(v.SchedulingLagMs.P99, maxUserLagMs, 1), maxUserLagMs)
	}
	if v.SendUncertaintyMs.P90 > maxSendUncertainMs {
		bound("send times are uncertain by %s ms (p90), limit %g ms", beyond(v.SendUncertaintyMs.P90, maxSendUncertainMs, 1), maxSendUncertainMs)
	}
	r.judgeHost(&v, judged, &total, bound, note)
	r.judgeRing(&v, bound)
	r.judgeCache(&v, judged)
	// What a threshold was judged by in teardown stands, also where the share of a longer time would be just below its limit.
	if reported := r.reported.Load(); reported != nil && reported.State == "CLIENT-BOUND" && v.State == "VALID" {
		v.State, v.Reasons = reported.State, reported.Reasons
	}
	if total.Completed == 0 {
		v.State = "NOT-MEASURED"
		v.Reasons = append(v.Reasons, "no request completed")
	}
	return v
}

// maxColdCachedShare is the share of its input that a level of a cold run may have from the server's prefix cache, beside
// what all prompts have in common by the chat template.
const maxColdCachedShare = 0.01

// judgeCache adds what the prefix cache did to the verdict of a run that was meant to be cold. A share that nobody tells is
// none that could be judged.
func (r *Run) judgeCache(v *Validity, levels []tally.LevelSummary) {
	if r.spec.Cache == "warm" {
		return
	}
	for _, l := range levels {
		if l.CachedShare == nil || l.CachedBeyond <= maxColdCachedShare {
			continue
		}
		v.cacheBound = true
		v.Reasons = append(v.Reasons, fmt.Sprintf(
			"level %s: %.1f %% of the input came from the server's prefix cache (by its %s), limit %g %% with CACHE=cold beside the chat template; "+
				"send other prompts, empty the cache, or set CACHE=warm",
			l.Name, *l.CachedShare*100, cacheSourceNames[l.CachedSource], maxColdCachedShare*100))
	}
	if v.cacheBound && v.State == "VALID" {
		v.State = "CACHE-BOUND"
	}
}

var cacheSourceNames = map[string]string{tally.CachedByUsage: "usage", tally.CachedByServer: "counters"}
