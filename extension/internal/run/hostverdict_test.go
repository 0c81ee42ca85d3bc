package run

import (
	"encoding/json"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/host"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// paused is a host that has done the same in every time that it is asked for, or only in those from fromNs on.
type paused struct {
	sums   host.Sums
	fromNs int64
	saw    []int64
}

func (p *paused) Tick(int64, int64) {}
func (p *paused) Close(int64)       {}

func (p *paused) Between(fromNs, _ int64) host.Sums {
	if fromNs < p.fromNs {
		return host.Sums{}
	}
	return p.sums
}

func (p *paused) Saw(_, _ int64, stamps iter.Seq[int64]) {
	for atNs := range stamps {
		p.saw = append(p.saw, atNs)
	}
}

func TestHostVerdict_EachReason(t *testing.T) {
	did := func(s host.Sums) func(*Run) { return func(r *Run) { r.probe.watch = &paused{sums: s} } }
	allowing := func(percent float64, s host.Sums) func(*Run) {
		return func(r *Run) { r.spec.MaxStolen, r.probe.watch = &percent, &paused{sums: s} }
	}
	sum := func(count int64, total, longest float64) host.Sum {
		return host.Sum{Count: count, Total: total, Longest: longest}
	}
	pointer := func(s host.Sum) *host.Sum { return &s }
	stopped := did(host.Sums{Stopped: sum(2, 3000, 1501)})
	ring := func(o *tally.Observation) { o.RingReceives, o.KernelReceives = 1000, 1000 }
	nearly := func(o *tally.Observation) { o.RingReceives, o.KernelReceives = 98, 100 }
	late := func(o *tally.Observation) {
		ring(o)
		o.SentNs = o.ScheduledNs + 11*msNs
	}
	counted := func(s host.RingStats) func(*Run) { return func(r *Run) { r.noteRing(s) } }
	busyRing := func(r *Run) {
		second := float64(host.Cores()) * 1e9
		r.probe.started, r.probe.beganNs, r.probe.endNs = true, 1, 1+20_000*msNs
		r.probe.cpu = []cpuPoint{{1, 5}, {r.probe.endNs, int64(0.99 * 20 * second)}}
	}
	waited := func(r *Run) {
		r.probe.started, r.probe.beganNs, r.probe.endNs, r.probe.lateWaitsNs = true, 1, 1000*msNs, 100*msNs
	}
	closed, open := tally.Spec{Concurrency: 1}, tally.Spec{Rate: 1}
	const exact = "; arrival times are the packet ring's and stay exact"
	for _, tt := range []struct {
		sentence     string
		level        tally.Spec
		run          func(*Run)
		change       func(*tally.Observation)
		state        string
		reason, note string
	}{
		{"a host that did nothing", closed, did(host.Sums{Throttled: &host.Sum{}, Stolen: &host.Sum{}, Processors: 2}), nil, "VALID", "", ""},
		{"a stop, with stamps of the socket", closed, stopped, nil, "CLIENT-BOUND",
			"level a: this process was stopped 2 times, 3000 ms in total, 1501 ms the longest", ""},
		{"a stop, with stamps taken behind the read", closed, stopped, func(o *tally.Observation) { o.KernelReceives, o.UserReceives = 0, 1 },
			"CLIENT-BOUND", "level a: this process was stopped 2 times", ""},
		{"a stop, with the ring for all but 2 % of the receives", closed, stopped, nearly, "CLIENT-BOUND", "was stopped 2 times", ""},
		{"a stop, with the ring", closed, stopped, ring, "VALID", "", "level a: this process was stopped 2 times, 3000 ms in total"},
		{"a stop that held up an open load, with the ring", open, stopped, late, "CLIENT-BOUND",
			"one request in ten was sent more than 11.0 ms", "was stopped 2 times"},
		{"a stop that left slots empty, with the ring", closed, stopped, late, "CLIENT-BOUND", "clients were idle for 11.0 ms", "was stopped 2 times"},
		{"a stop in which the ring stamped nothing of what was in flight", closed,
			did(host.Sums{Stopped: sum(2, 3000, 1501), Unseen: sum(1, 1499, 1499)}), ring, "CLIENT-BOUND",
			"no packet was stamped while this process was stopped once, 1499 ms in total", "was stopped 2 times"},
		{"a quota that was short for more than 0.5 % of the time", closed, did(host.Sums{Throttled: pointer(sum(4, 51, 0))}), nil, "CLIENT-BOUND",
			"level a: its cgroup's CPU quota throttled this process 4 times, 51 ms in total (over all processors), which is 0.51 % of the level's time, limit 0.5 %", ""},
		{"one that was short for less", closed, did(host.Sums{Throttled: pointer(sum(4, 48, 19))}), nil, "VALID", "", ""},
		{"one that was short for 21 ms at a time", closed, did(host.Sums{Throttled: pointer(sum(1, 21, 21))}), nil, "CLIENT-BOUND",
			"throttled this process once, 21 ms in total (over all processors), which is 0.2 % of the level's time, limit 0.5 %; once for 21 ms at a time, limit 20 ms", ""},
		{"a quota that was short, with the ring", closed, did(host.Sums{Throttled: pointer(sum(4, 900, 90))}), ring, "VALID", "", "throttled this process 4 times"},
		{"a hypervisor that took more than 0.5 % of two processors", closed, did(host.Sums{Stolen: pointer(sum(0, 102, 0)), Processors: 2}), nil,
			"CLIENT-BOUND", "level a: the hypervisor gave this machine's 2 processors to others for 102 ms in total, which is 0.51 % of their time, limit 0.5 %", ""},
		{"one that took less", closed, did(host.Sums{Stolen: pointer(sum(0, 98, 0)), Processors: 2}), nil, "VALID", "", ""},
		{"one that took them for 30 ms at a time", closed, did(host.Sums{Stolen: pointer(sum(1, 30, 30)), Processors: 2}), nil,
			"CLIENT-BOUND", "once for 30 ms at a time, limit 20 ms", ""},
		{"one that took more than the user allows", closed, allowing(2, host.Sums{Stolen: pointer(sum(0, 402, 0)), Processors: 2}), nil,
			"CLIENT-BOUND", "which is 2.01 % of their time, limit 2 %", ""},
		{"one that took what the user allows, once at length", closed, allowing(2, host.Sums{Stolen: pointer(sum(1, 398, 300)), Processors: 2}), nil,
			"VALID", "", "which is 2.0 % of their time, limit 2 %; once for 300 ms at a time"},
		{"one that took little, where much is allowed", closed, allowing(100, host.Sums{Stolen: pointer(sum(0, 98, 0)), Processors: 2}), nil, "VALID", "", ""},
		{"one that took them at all, where nothing is allowed", closed, allowing(0, host.Sums{Stolen: pointer(sum(0, 10, 0)), Processors: 2}), nil,
			"CLIENT-BOUND", "which is 0.1 % of their time, limit 0 %", ""},
		{"one that took them for 30 ms at a time, where less is allowed", closed, allowing(0.4, host.Sums{Stolen: pointer(sum(1, 30, 30)), Processors: 2}), nil,
			"CLIENT-BOUND", "limit 0.4 %; once for 30 ms at a time, limit 20 ms", ""},
		{"a hypervisor that stopped the ring, too", closed, did(host.Sums{Stolen: pointer(sum(0, 102, 0)), Processors: 2}), ring, "CLIENT-BOUND", "the hypervisor gave", ""},
		{"a machine that was suspended", closed, did(host.Sums{Suspended: sum(1, 60000, 60000)}), ring, "CLIENT-BOUND",
			"level a: this machine was suspended once for 60000 ms, which no clock of the run has counted", ""},
		{"a busy client, with the ring", closed, busyRing, ring, "VALID", "", "this process used 99.0 %"},
		{"a reader that waited for a core, with the ring", closed, waited, func(o *tally.Observation) { ring(o); o.Coalesced = 1 }, "VALID", "", ""},
		{"a ring that dropped more than 0.1 % of the packets", closed, counted(host.RingStats{Packets: 99_899, Drops: 101}), ring, "CLIENT-BOUND",
			"the packet ring dropped 101 of 100000 packets, limit 0.1 %; sockets stamped parts of 0 requests instead", ""},
		{"a ring that dropped less", closed, counted(host.RingStats{Packets: 99_901, Drops: 99}), ring, "VALID", "", ""},
		{"a ring that dropped all", closed, counted(host.RingStats{Drops: 1}), nil, "CLIENT-BOUND", "the packet ring dropped 1 of 1 packets", ""},
		{"a ring that nothing came by", closed, counted(host.RingStats{}), nil, "VALID", "", ""},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			v := judged(tt.level, tt.run, tt.change, 0)
			require.Equal(t, tt.state, v.State, v.Reasons)
			if tt.reason == "" {
				require.Empty(t, v.Reasons)
			} else {
				require.Len(t, v.Reasons, 1)
				require.Contains(t, v.Reasons[0], tt.reason)
			}
			if tt.note == "" {
				require.Empty(t, v.Notes)
			} else {
				require.Len(t, v.Notes, 1)
				require.Contains(t, v.Notes[0], tt.note)
				if tt.change != nil { // the ring stamps
					require.Contains(t, v.Notes[0], exact)
				}
			}
		})
	}
}

func TestHostVerdict_StopOutsideTheLevelsIsNoted(t *testing.T) {
	// The level's window opens at 1 ns; the whole run begins with the probe, before it.
	v := judged(tally.Spec{Concurrency: 1}, func(r *Run) {
		r.probe.beganNs = -5
		r.probe.watch = &early{}
	}, nil, 0)
	require.Equal(t, "VALID", v.State, v.Reasons)
	require.Equal(t, []string{"this process was stopped once outside the levels' steady windows"}, v.Notes)
	require.Equal(t, int64(1), v.StoppedMs.Count)
	require.Empty(t, v.HostLevels)
}

// early is a host that stopped the process before any level.
type early struct{ paused }

func (*early) Between(fromNs, _ int64) host.Sums {
	if fromNs < 0 {
		return host.Sums{Stopped: host.Sum{Count: 1, Total: 40, Longest: 40}}
	}
	return host.Sums{}
}

func TestStampsOfARun(t *testing.T) {
	of := records.Stamps{Source: "socket", Why: "the process has no CAP_NET_RAW"}
	v := judged(tally.Spec{Concurrency: 1}, func(r *Run) {
		r.stamps = of
		r.noteRing(host.RingStats{Packets: 10, Drops: 5})
		r.noteRing(host.RingStats{Packets: 1000}) // the last one counts
	}, func(o *tally.Observation) { o.RingReceives, o.KernelReceives, o.UserReceives = 5, 9, 1 }, 0)
	require.Equal(t, StampShares{of, 0.5, 0.4, 0.1}, v.Stamps)
	require.InDelta(t, 0.9, v.KernelStampShare, 1e-9, "ring and socket")
	require.Equal(t, &RingCounts{host.RingStats{Packets: 1000}, 100}, v.Ring, "each of the 100 requests was stamped by several")

	none := judged(tally.Spec{Concurrency: 1}, nil, func(o *tally.Observation) { o.KernelReceives = 0 }, 0).Stamps
	require.Zero(t, none.Ring+none.Socket+none.User, "nothing came, so nothing was stamped")
}

func TestValidity_InSummaryJSON(t *testing.T) {
	s := host.Sums{Stopped: host.Sum{Count: 1, Total: 30, Longest: 30}, Throttled: &host.Sum{Count: 2, Total: 5}}
	b, err := json.Marshal(judged(tally.Spec{Concurrency: 1}, func(r *Run) {
		r.probe.watch = &paused{sums: s}
		r.stamps = records.Stamps{Source: "ring"}
		r.noteRing(host.RingStats{Packets: 9, Duplicates: 3})
	}, nil, 0))
	require.NoError(t, err)
	var v map[string]any
	require.NoError(t, json.Unmarshal(b, &v))
	require.Equal(t, map[string]any{"count": 1.0, "total": 30.0, "longest": 30.0}, v["stoppedMs"])
	require.Equal(t, map[string]any{"count": 2.0, "total": 5.0, "longest": 0.0}, v["throttledMs"])
	require.NotContains(t, v, "stolenMs", "the host did not say")
	require.Equal(t, map[string]any{"source": "ring", "ring": 0.0, "socket": 1.0, "user": 0.0}, v["stamps"])
	require.Equal(t, map[string]any{"packets": 9.0, "drops": 0.0, "lostBytes": 0.0, "duplicates": 3.0, "reordered": 0.0, "mixedRequests": 0.0}, v["ring"])
	level := v["hostLevels"].([]any)[0].(map[string]any)
	require.Equal(t, "a", level["name"])
	require.Equal(t, v["stoppedMs"], level["stoppedMs"])
	require.Equal(t, []any{}, v["notes"])
}

func TestHostVerdict_OnlyRingStampsShowThatTheMachineWentOn(t *testing.T) {
	p := &paused{}
	r := &Run{probe: &probe{watch: p}}
	o := &tally.Observation{KernelReceives: 2, Result: &stream.Result{Arrivals: []stream.Arrival{{AtNs: 7}, {AtNs: 9}}}}
	r.probe.saw(o)
	require.Empty(t, p.saw)
	o.RingReceives = 1
	r.probe.saw(o)
	require.Equal(t, []int64{7, 9}, p.saw)
	(&probe{}).saw(o) // of a run without a request there is no watch
}
