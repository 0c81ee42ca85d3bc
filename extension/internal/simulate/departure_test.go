package simulate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An event has the time of the packet that carried its last byte, however writes were merged, cut and sent again.
func TestDepartures(t *testing.T) {
	truth := newTruth(10, 100)
	r := truth.begin("id", "/", 0, true)
	d := &departures{truth: truth}
	truth.open[d] = struct{}{}
	event := func(end int64) {
		r.waiting++
		d.expect(truth.note(r, 10, 20, 1), end)
	}
	for _, end := range []int64{100, 200, 250, 300, 400, 500} {
		event(end)
	}
	truth.done(r, 30)
	require.False(t, truth.settled(30, 30))
	d.transmitted(-1, 100, 40, sourceRing)
	d.transmitted(-1, 260, 50, sourceRing)           // two events in a packet, and the beginning of the next
	d.transmitted(300, 400, 60, sourceRing)          // one packet between was lost
	d.transmitted(-1, 500, 10-earlyNs-1, sourceRing) // a time that cannot be: the wall clock was set
	require.True(t, truth.settled(30, 30))
	want := []send{{40, 0, 1}, {50, 0, 1}, {50, 0, 1}, {10, 10, 1}, {60, 0, 1}, {10, 10, 1}}
	require.Equal(t, want, r.sends)
	require.Equal(t, [sourceCount]int64{sourceUser: 2, sourceRing: 4}, truth.sources)
	require.EqualValues(t, 1, truth.e2e.TotalCount(), "counted once, with the last departure")
}

// A connection that is closed gives its events up, so that nobody waits for them forever.
func TestDeparturesOfAClosedConnection(t *testing.T) {
	truth := newTruth(10, 100)
	r := truth.begin("id", "/", 0, true)
	d := &departures{truth: truth}
	truth.open[d] = struct{}{}
	r.waiting++
	d.expect(truth.note(r, 10, 20, 1), 100)
	truth.done(r, 30)
	d.close(40)
	require.False(t, truth.settled(41, 41))
	require.True(t, truth.settled(41, 41+giveUpNs))
	require.Empty(t, truth.open)
	require.EqualValues(t, 1, truth.e2e.TotalCount())
}

// A reset forgets what is still to depart.
func TestDeparturesBehindAReset(t *testing.T) {
	truth := newTruth(10, 100)
	r := truth.begin("id", "/", 0, true)
	d := &departures{truth: truth}
	truth.open[d] = struct{}{}
	r.waiting++
	d.expect(truth.note(r, 10, 20, 1), 100)
	truth.done(r, 30)
	truth.reset()
	d.transmitted(-1, 100, 40, sourceRing)
	require.Zero(t, truth.sources[sourceRing])
	require.Zero(t, truth.ttft.TotalCount())
}

// Each event of a write has a gap of its own: zero behind another of the same write. Nothing is shared out.
func TestGapsAreNotAveraged(t *testing.T) {
	s := start(t, func(c *Config) {
		paced(0, 5*time.Millisecond)(c)
		c.Faults = []Fault{{EventsPerChunk: 4}}
	})
	require.NoError(t, ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":40,"ignore_eos":true,"stream":true}`).err)
	report := s.Truth()
	require.EqualValues(t, 39, report.ChunkGapMs.Count)
	require.Zero(t, report.ITLMs.P50)
	require.Greater(t, report.ITLMs.P90, 15.0)
	require.Len(t, report.Requests[0].SendsNs, 40)

	// Only tokens of one event share its gap.
	s = start(t, func(c *Config) {
		paced(0, 5*time.Millisecond)(c)
		c.Faults = []Fault{{TokensPerChunk: 4}}
	})
	require.NoError(t, ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":40,"ignore_eos":true,"stream":true}`).err)
	report = s.Truth()
	require.EqualValues(t, 9, report.ChunkGapMs.Count)
	require.EqualValues(t, 36, report.ITLMs.Count)
	require.InDelta(t, report.ChunkGapMs.P50/4, report.ITLMs.P50, 1e-6)
}
