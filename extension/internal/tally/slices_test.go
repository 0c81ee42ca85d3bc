package tally

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

func TestSlicesAreEqualPartsOfAWindowWhoseEndIsKnown(t *testing.T) {
	r := NewRun(SLO{})
	r.Slices = 4
	looks := int64(0)
	r.Memory = func() int64 { looks++; return looks * 1e6 }
	r.Level(Spec{Name: "soak", Rate: 1})
	r.Level(Spec{Name: "counted"})
	r.Open("soak", 100e9, 140e9)
	r.Open("counted", 100e9, 0)
	// A request each second of the 40 from 100 s on: TTFT 1 ms more with each part, two tokens, the second 100 ms behind the first.
	for k := range int64(40) {
		at := (100 + k) * 1e9
		firstNs := at + (1+k/10)*1e6
		o := &Observation{
			Level: "soak", Phase: Steady, ScheduledNs: at, StartedNs: at, SentNs: at, Streamed: true,
			Result: &stream.Result{
				FirstOutputNs: firstNs, LastOutputNs: firstNs + 1e8, EndNs: firstNs + 1e8, OutputTokens: 2,
				Arrivals: []stream.Arrival{{AtNs: firstNs, Tokens: 1}, {AtNs: firstNs + 1e8, Tokens: 1}},
			},
		}
		if k == 39 {
			o.Failure = stream.Timeout
		}
		r.Add(o)
	}
	// One that was scheduled in the window and ended behind it, and one that was scheduled behind it, count to no part beyond the last.
	r.Add(&Observation{Level: "soak", Phase: Steady, ScheduledNs: 139.5e9, SentNs: 145e9, Result: &stream.Result{EndNs: 146e9}})
	r.Add(&Observation{Level: "soak", Phase: Drain, ScheduledNs: 141e9, SentNs: 141e9, Result: &stream.Result{EndNs: 142e9}})
	require.Equal(t, []float64{1, 2, 3, 4}, r.ClientMB("soak"))
	require.Nil(t, r.ClientMB("counted"))
	levels := r.Levels(200e9)
	require.Nil(t, levels[1].Slices)
	slices := levels[0].Slices
	require.Len(t, slices, 4)
	for k, s := range slices {
		require.InDelta(t, 100+10*k, s.StartS, 1e-9)
		require.InDelta(t, 10, s.DurationS, 1e-9)
		require.InDelta(t, 1+k, s.TTFTMs.P50, 1e-6)
		require.EqualValues(t, k+1, s.ClientMB)
	}
	require.Equal(t, []int64{10, 10, 10, 11}, []int64{slices[0].Requests, slices[1].Requests, slices[2].Requests, slices[3].Requests})
	require.EqualValues(t, 1, slices[3].Failed)
	require.InDelta(t, 2, slices[0].OutputThroughput, 1e-9)
	require.InDelta(t, 1.8, slices[3].OutputThroughput, 1e-9)
	require.InDelta(t, 41.0/40, *levels[0].ScheduledRate, 1e-9)
	require.InDelta(t, 40.0/40, *levels[0].SentRate, 1e-9, "one was sent behind the window")
	require.Nil(t, levels[1].SentRate)
}
