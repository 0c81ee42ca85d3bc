package run

import (
	"fmt"
	"strconv"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/host"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// What the host may do to a run before its figures are no longer the server's.
const (
	// A pause touches every stream that is open at the time, so that one alone makes the longest stall of many requests, and
	// the p99 of that. host.MinPauseNs is as short as a pause can be told from a late tick; a stop has no other limit.
	maxPauseMs = float64(host.MinPauseNs) / 1e6
	// The highest percentile that gates look at is p99: one value in a hundred. What touches less than half as much of the
	// time cannot make it by itself.
	maxPausedShare = 0.005 // of the level's time throttled, and of the processors' time in it stolen

	// A level counts as stamped by the packet ring where so large a share of its receives was. The process may then stand
	// still as it likes: arrival times are the kernel's of each packet, and only how late it sends is its own.
	minRingShare     = 0.99
	maxRingDropShare = 0.001 // of the packets
)

// stampsOfProcess returns the source of arrival times that this process has.
func stampsOfProcess() records.Stamps {
	source, why := client.StampSource()
	return records.Stamps{Source: string(source), Why: why}
}

// StampShares is Stamps of index.d.ts: the shares of the run's receives that each source stamped.
type StampShares struct {
	records.Stamps
	Ring   float64 `json:"ring"`
	Socket float64 `json:"socket"`
	User   float64 `json:"user"`
}

// RingCounts is Ring of index.d.ts.
type RingCounts struct {
	host.RingStats
	MixedRequests int64 `json:"mixedRequests"` // that the ring stamped in part, and sockets for the rest
}

// HostSums are the pauses of a time, in ms. What the host does not tell of is left out.
type HostSums struct {
	StoppedMs   host.Sum  `json:"stoppedMs"`
	SuspendedMs host.Sum  `json:"suspendedMs"`
	ThrottledMs *host.Sum `json:"throttledMs,omitempty"`
	StolenMs    *host.Sum `json:"stolenMs,omitempty"`
}

func sumsOf(s host.Sums) HostSums { return HostSums{s.Stopped, s.Suspended, s.Throttled, s.Stolen} }

// happened reports whether there was a pause.
func (s *HostSums) happened() bool {
	return s.StoppedMs.Count > 0 || s.SuspendedMs.Count > 0 || s.ThrottledMs != nil && s.ThrottledMs.Total > 0 ||
		s.StolenMs != nil && s.StolenMs.Total > 0
}

// HostLevel is HostLevel of index.d.ts.
type HostLevel struct {
	Name string `json:"name"`
	HostSums
}

// noteRing takes over what the packet ring counted since it was opened; the last call counts.
func (r *Run) noteRing(s host.RingStats) { r.ring.Store(&s) }

// readRing reads what the packet ring counted, where there is one.
func (r *Run) readRing() {
	if s, ok := ringStats(); ok {
		r.noteRing(s)
	}
}

func (r *Run) stampShares() StampShares {
	ring, socket, user, _ := r.tally.Receives()
	s := StampShares{Stamps: r.stamps}
	if all := float64(ring + socket + user); all > 0 {
		s.Ring, s.Socket, s.User = float64(ring)/all, float64(socket)/all, float64(user)/all
	}
	return s
}

type judgement func(format string, args ...any)

// ringStamped reports whether arrival times of a level are the packet ring's.
func ringStamped(l *tally.LevelSummary) bool { return l.RingStampShare >= minRingShare }

// unlessRing returns what to call for a fault that moves stamps of the socket and of the process, and none of the ring.
func unlessRing(l *tally.LevelSummary, bound, note judgement) judgement {
	if ringStamped(l) {
		return func(format string, args ...any) {
			note(format+"; arrival times are the packet ring's and stay exact", args...)
		}
	}
	return bound
}

// timeOf is from the opening of a level's steady window to the last end of its requests, all of which count.
func (r *Run) timeOf(l *tally.LevelSummary) (fromNs, toNs int64) {
	openNs, closeNs, lastEndNs := r.tally.Window(l.Name)
	if openNs == 0 { // the run without levels
		return int64(l.WindowStartS * 1e9), int64((l.WindowStartS + l.DurationS) * 1e9)
	}
	return openNs, max(closeNs, lastEndNs)
}

// judgeHost judges what the host did to the process while the levels were measured. What it did before, between and after
// them is in no figure that is judged, and noted.
func (r *Run) judgeHost(v *Validity, judged []tally.LevelSummary, total *tally.LevelSummary, bound, note judgement) {
	endNs := int64((total.WindowStartS + total.DurationS) * 1e9)
	for k := range judged {
		_, toNs := r.timeOf(&judged[k]) // the last request ends behind the steady window
		endNs = max(endNs, toNs)
	}
	whole := r.probe.pausesUpTo(endNs)
	v.HostSums = sumsOf(whole)
	inLevels := host.Sum{}
	for k := range judged {
		l := &judged[k]
		fromNs, toNs := r.timeOf(l)
		if fromNs == 0 || toNs <= fromNs || l.Requests == 0 {
			continue
		}
		s := r.probe.pauses(fromNs, toNs)
		if sums := sumsOf(s); sums.happened() {
			v.HostLevels = append(v.HostLevels, HostLevel{l.Name, sums})
		}
		inLevels.Count += s.Stopped.Count
		r.judgePauses(l, s, float64(toNs-fromNs)/1e6, bound, note)
	}
	if n := whole.Stopped.Count - inLevels.Count; n > 0 {
		note("this process was stopped %s outside the levels' steady windows", times(n))
	}
}

func (r *Run) judgePauses(l *tally.LevelSummary, s host.Sums, timeMs float64, bound, note judgement) {
	ofProcess := unlessRing(l, bound, note)
	if n := s.Stopped.Count; n > 0 {
		ofProcess("level %s: this process was stopped %s, %.0f ms in total, %.0f ms the longest (a signal, a debugger, a frozen cgroup or a paused machine)",
			l.Name, times(n), s.Stopped.Total, s.Stopped.Longest)
	}
	if n := s.Unseen.Count; n > 0 && ringStamped(l) {
		bound("level %s: no packet was stamped while this process was stopped %s, %.0f ms in total: nothing shows that the machine itself went on",
			l.Name, times(n), s.Unseen.Total)
	}
	if t := s.Throttled; t != nil && (t.Total > maxPausedShare*timeMs || t.Longest > maxPauseMs) {
		ofProcess("level %s: its cgroup's CPU quota throttled this process %s, %.0f ms in total (over all processors), which is %s %% of the level's time, limit %g %%%s",
			l.Name, times(t.Count), t.Total, beyond(t.Total/timeMs*100, maxPausedShare*100, 1), maxPausedShare*100, longest(t, true))
	}
	if t := s.Stolen; t != nil {
		processors := float64(max(s.Processors, 1))
		r.judgeStolen(l, t, s.Processors, t.Total/timeMs/processors, bound, note)
	}
	if n := s.Suspended.Count; n > 0 {
		bound("level %s: this machine was suspended %s for %.0f ms, which no clock of the run has counted", l.Name, times(n), s.Suspended.Total)
	}
}

// judgeStolen judges a share of all processors' time that a hypervisor took. Who allows more of it than the default says that
// such a machine is all there is: then the share is the limit, and what is beyond the default limits is noted.
func (r *Run) judgeStolen(l *tally.LevelSummary, t *host.Sum, processors int, share float64, bound, note judgement) {
	const usual = maxPausedShare * 100
	limit := usual
	if own := r.spec.MaxStolen; own != nil {
		limit = *own
	}
	percent, tooLong := share*100, t.Longest > maxPauseMs
	if percent <= limit && (!tooLong || limit > usual) {
		if percent <= usual && !tooLong {
			return
		}
		bound = note
	}
	bound("level %s: the hypervisor gave this machine's %d processors to others for %.0f ms in total, which is %s %% of their time, limit %g %%%s",
		l.Name, processors, t.Total, beyond(percent, limit, 1), limit, longest(t, limit <= usual))
}

// longest names the longest pause where it is beyond its limit, if that counts.
func longest(s *host.Sum, limited bool) string {
	if s.Longest <= maxPauseMs {
		return ""
	}
	if !limited {
		return fmt.Sprintf("; once for %.0f ms at a time", s.Longest)
	}
	return fmt.Sprintf("; once for %s ms at a time, limit %g ms", beyond(s.Longest, maxPauseMs, 0), maxPauseMs)
}

// beyond writes a value with at least so many decimals and, where it is above its limit, as many more as show that it is: 0.52
// beside a limit of 0.5, not 0.5.
func beyond(value, limit float64, decimals int) string {
	for ; ; decimals++ {
		text := strconv.FormatFloat(value, 'f', decimals, 64)
		if shown, _ := strconv.ParseFloat(text, 64); shown > limit || !(value > limit) {
			return text
		}
	}
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// judgeRing judges what the packet ring lost. Streams that a loss touched are stamped by the socket, and so counted.
func (r *Run) judgeRing(v *Validity, bound judgement) {
	stats := r.ring.Load()
	if stats == nil {
		return
	}
	_, _, _, mixed := r.tally.Receives()
	v.Ring = &RingCounts{*stats, mixed}
	if all := stats.Packets + stats.Drops; float64(stats.Drops) > maxRingDropShare*float64(all) {
		bound("the packet ring dropped %d of %d packets, limit %g %%; sockets stamped parts of %d requests instead",
			stats.Drops, all, maxRingDropShare*100, mixed)
	}
}
