package host

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const ms = int64(1e6)

// fake is a host whose totals a test sets.
type fake struct {
	totals    Totals
	suspended int64
	reads     int
}

func (f *fake) Totals(bool) Totals { f.reads++; return f.totals }
func (f *fake) SuspendedNs() int64 { return f.suspended }

// told is a host that says everything.
func told() *fake {
	return &fake{totals: Totals{WaitedKnown: true, ThrottledKnown: true, StolenKnown: true}}
}

func TestWatch_GapBetweenTicksIsClassified(t *testing.T) {
	// The loop ticked every 10 ms for 2 s; then came a gap, with what happened to the process meanwhile.
	type gap struct{ ms, cpuMs, waitedMs, throttledMs, stolenMs, suspendedMs int64 }
	sum := func(count int64, ms float64) Sum { return Sum{Count: count, Total: ms, Longest: ms} }
	for _, tt := range []struct {
		sentence             string
		silent               bool
		gap                  gap
		stopped, suspended   Sum
		throttledMs, longest float64
		stolenLongest        float64
	}{
		{sentence: "a tick in time", gap: gap{ms: 10}},
		{sentence: "a late tick", gap: gap{ms: 29}},
		{sentence: "a stop", gap: gap{ms: 1510}, stopped: sum(1, 1500)},
		{sentence: "the shortest stop", gap: gap{ms: 30}, stopped: sum(1, 20)},
		{sentence: "a stop, and work before and behind it", gap: gap{ms: 1510, cpuMs: 60, waitedMs: 40}, stopped: sum(1, 1400)},
		{sentence: "a process that worked all the time", gap: gap{ms: 210, cpuMs: 390}},
		{sentence: "a process that waited for a core", gap: gap{ms: 310, cpuMs: 20, waitedMs: 290}},
		{sentence: "several threads that did", gap: gap{ms: 310, cpuMs: 20, waitedMs: 700}},
		{sentence: "a process without quota", gap: gap{ms: 100, cpuMs: 5, throttledMs: 85, waitedMs: 80}, throttledMs: 85, longest: 85},
		{sentence: "quota short on two processors", gap: gap{ms: 100, cpuMs: 5, throttledMs: 170}, throttledMs: 170, longest: 85},
		{sentence: "a quota that cost less than a pause", gap: gap{ms: 50, cpuMs: 30, throttledMs: 15}, throttledMs: 15},
		{sentence: "a stop of a throttled process", gap: gap{ms: 1010, throttledMs: 90}, throttledMs: 90, longest: 90, stopped: sum(1, 910)},
		{sentence: "a processor that the hypervisor took", gap: gap{ms: 110, stolenMs: 100}, stolenLongest: 100},
		{sentence: "a stop of a machine with little steal", gap: gap{ms: 1010, stolenMs: 10}, stopped: sum(1, 990)},
		{sentence: "a suspended machine, whose clock stood still", gap: gap{ms: 12, suspendedMs: 60_000}, suspended: sum(1, 60_000)},
		{sentence: "two clocks that were read apart", gap: gap{ms: 12, suspendedMs: 2}},
		{sentence: "a stop that the host says nothing of", silent: true, gap: gap{ms: 1510}, stopped: sum(1, 1500)},
		{sentence: "a late tick that the host says nothing of", silent: true, gap: gap{ms: 109}},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			f := told()
			if tt.silent {
				f.totals = Totals{}
			}
			w := NewWatch(f, 10*ms)
			nowNs, cpuNs := ms, int64(0)
			for range 200 {
				w.Tick(nowNs, cpuNs)
				nowNs += 10 * ms
				cpuNs += ms
			}
			nowNs -= 10 * ms // of the last tick
			gapNs := nowNs
			nowNs += tt.gap.ms * ms
			cpuNs += (tt.gap.cpuMs - 1) * ms
			f.totals.WaitedNs += tt.gap.waitedMs * ms
			f.totals.ThrottledNs += tt.gap.throttledMs * ms
			if tt.gap.throttledMs > 0 {
				f.totals.Throttles++
			}
			f.totals.StolenNs += tt.gap.stolenMs * ms
			f.suspended += tt.gap.suspendedMs * ms
			w.Tick(nowNs, cpuNs)
			w.Close(nowNs)
			s := w.Between(ms, nowNs)
			require.Equal(t, tt.stopped, s.Stopped)
			require.Equal(t, tt.suspended, s.Suspended)
			if tt.silent {
				require.Nil(t, s.Throttled)
				require.Nil(t, s.Stolen)
				return
			}
			require.InDelta(t, tt.throttledMs, s.Throttled.Total, 1e-6)
			require.InDelta(t, tt.longest, s.Throttled.Longest, 1e-6)
			require.InDelta(t, float64(tt.gap.stolenMs), s.Stolen.Total, 1e-6)
			require.InDelta(t, tt.stolenLongest, s.Stolen.Longest, 1e-6)
			before := w.Between(ms, gapNs)
			require.Zero(t, before.Stopped, "nothing happened before the gap")
			require.Zero(t, before.Suspended)
			require.Zero(t, before.Throttled.Longest)
		})
	}
}

func TestPausesOfAWindow(t *testing.T) {
	f := told()
	w := NewWatch(f, 10*ms)
	w.Tick(0, 0)
	tick := func(atMs, throttledMs int64) {
		f.totals.ThrottledNs = throttledMs * ms
		f.totals.Throttles = throttledMs / 10
		w.Tick(atMs*ms, 0)
	}
	for at := int64(10); at <= 1000; at += 10 {
		tick(at, 0)
	}
	tick(1510, 0) // stopped for 500 ms
	for at := int64(1520); at <= 3000; at += 10 {
		tick(at, min(at-1520, 1000)) // and short of quota for a second, of which no tick is late
	}
	tick(4010, 1000) // stopped for 1000 ms
	for _, tt := range []struct {
		fromMs, toMs int64
		count        int64
		stoppedMs    float64
		throttledMs  float64
	}{
		{0, 4010, 2, 1500, 1000}, {0, 900, 0, 0, 0}, {1600, 2900, 0, 0, 920}, {1200, 2000, 1, 310, 480}, {3500, 4010, 1, 510, 0},
		{0, 1100, 1, 100, 0}, {5000, 6000, 0, 0, 0}, {900, 900, 0, 0, 0},
	} {
		s := w.Between(tt.fromMs*ms, tt.toMs*ms)
		require.Equal(t, tt.count, s.Stopped.Count, tt)
		require.InDelta(t, tt.stoppedMs, s.Stopped.Total, 1e-6, tt)
		if tt.fromMs < tt.toMs {
			require.InDelta(t, tt.throttledMs, s.Throttled.Total, 260, tt) // read four times a second
		}
	}
	w.Close(4010 * ms)
	f.totals.ThrottledNs += 1e12
	w.Tick(9000*ms, 0)
	s := w.Between(0, 9000*ms)
	require.Equal(t, int64(2), s.Stopped.Count, "what comes after the end counts no more")
	require.InDelta(t, 1000, s.Throttled.Total, 1e-6)
	require.Equal(t, int64(100), s.Throttled.Count)
}

// The kernel counts a processor's throttling when it is over, and the ticking thread may run on another one before.
func TestPausesBeyondTheMostAreCountedInTheLast(t *testing.T) {
	w := NewWatch(told(), 10*ms)
	now := int64(0)
	w.Tick(now, 0)
	for range mostPauses + 10 {
		now += 50 * ms
		w.Tick(now, 0)
	}
	require.Len(t, w.pauses, mostPauses)
	require.InDelta(t, float64(mostPauses+10)*40, w.Between(0, now).Stopped.Total, 1e-3)
}

func TestWatch_TotalsAreReadNowAndThen(t *testing.T) {
	f := told()
	w := NewWatch(f, 10*ms)
	for k := range int64(1000) {
		w.Tick(k*10*ms, 0)
	}
	require.LessOrEqual(t, f.reads, 1+10*4, "four times a second while no tick is late")
	require.Len(t, w.points, 2, "totals that stay the same are kept once")
	require.Zero(t, NewWatch(f, ms).Between(0, 1e9), "of a watch that never ticked")
}

func TestStampsShowThatOnlyTheProcessStopped(t *testing.T) {
	for _, tt := range []struct {
		sentence        string
		sentMs, endMs   int64
		stampsMs        []int64
		unseen, unseen2 bool
	}{
		{"a stamp amid the stop", 900, 3000, []int64{950, 1500, 2900}, false, false},
		{"none in it", 900, 3000, []int64{950, 2900}, true, false},
		{"one before it began for sure", 900, 3000, []int64{1030}, true, false},
		{"one when it may have been over", 900, 3000, []int64{1980}, true, false},
		{"a request that ended before", 100, 990, []int64{950}, false, false},
		{"a request that was sent behind it", 2100, 2500, []int64{2200}, false, false},
		{"a request in flight in a later stop", 2600, 9000, []int64{2900}, false, true},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			w := NewWatch(told(), 10*ms)
			now, cpu := int64(0), int64(0)
			to := func(atMs int64) {
				for ; now < atMs*ms; now += 10 * ms {
					w.Tick(now, cpu)
				}
			}
			to(1010) // the last tick is at 1000 ms
			now, cpu = 2000*ms, 30*ms
			to(3010)
			now = 4000 * ms
			to(4010)
			w.Saw(tt.sentMs*ms, tt.endMs*ms, func(yield func(int64) bool) {
				for _, at := range tt.stampsMs {
					if !yield(at * ms) {
						return
					}
				}
			})
			require.Equal(t, int64(2), w.Between(0, now).Stopped.Count)
			require.Equal(t, tt.unseen, w.Between(900*ms, 2500*ms).Unseen.Count == 1)
			require.Equal(t, tt.unseen2, w.Between(2500*ms, now).Unseen.Count == 1)
		})
	}
}

// A process can be held up while it reads the totals: they have grown then, and the gap follows.
func TestWatch_TotalsThatGrewWhileTheyWereRead(t *testing.T) {
	f := told()
	w := NewWatch(f, 10*ms)
	nowNs := ms
	tick := func(lateMs int64) {
		nowNs += (10 + lateMs) * ms
		w.Tick(nowNs, 0)
	}
	w.Tick(nowNs, 0)
	for f.reads == 1 { // up to the tick that reads them
		if nowNs+10*ms-ms >= refreshNs {
			f.totals.ThrottledNs += 90 * ms
			f.totals.Throttles++
		}
		tick(0)
	}
	tick(90)
	s := w.Between(0, nowNs)
	require.Zero(t, s.Stopped)
	require.InDelta(t, 90, s.Throttled.Longest, 1e-6)

	tick(90)
	require.Equal(t, Sum{Count: 1, Total: 90, Longest: 90}, w.Between(0, nowNs).Stopped, "that explains one gap alone")
}
