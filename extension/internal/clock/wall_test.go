package clock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = int64(time.Millisecond)

// at is a wall clock that reads offNs more than the monotonic clock.
func compared(offNs, nowNs int64) *Offset {
	o := &Offset{}
	o.Compare(nowNs-200, nowNs-100+offNs, nowNs)
	return o
}

func TestOffsetAt(t *testing.T) {
	const off, now = 1_700_000_000_000_000_000, 50_000 * 1_000_000
	hour := int64(time.Hour)
	for _, tt := range []struct {
		name   string
		wallNs int64
		ok     bool
	}{
		{"taken now", off + now, true},
		{"taken 1.5 s ago, while the client was stopped", off + now - 1500*ms, true},
		{"within the clocks' error", off + now + 40_000, true},
		{"in the future", off + now + 60_000, false},
		{"an hour ahead: the wall clock was set forward since", off + now + hour, false},
		{"an hour ago", off + now - hour, false},
		{"no time at all", 0, false},
		{"before the clock's zero", off - ms, true}, // what is before base is as good as any
	} {
		o := compared(off, now)
		at, ok := o.At(tt.wallNs, now)
		require.Equal(t, tt.ok, ok, tt.name)
		if ok {
			require.InDelta(t, tt.wallNs-off, at, 200, tt.name)
			require.Zero(t, o.Rejected.Load(), tt.name)
		} else {
			require.EqualValues(t, 1, o.Rejected.Load(), tt.name)
		}
	}
	_, ok := new(Offset).At(off+now, now)
	require.False(t, ok, "no comparison, no conversion")
}

func TestOffsetFollowsSteps(t *testing.T) {
	// Between two comparisons the wall clock is set. convert is what callers do with each stamp: reading the clocks first
	// where that is due. No stamp may come out more than a millisecond away from its arrival, whichever clock it is of.
	const off, start = 1_700_000_000_000_000_000, 10_000 * 1_000_000
	for _, step := range []time.Duration{time.Hour, 30 * time.Second, 2 * time.Second, 50 * time.Millisecond, 3 * time.Millisecond} {
		for _, s := range []int64{int64(step), -int64(step)} {
			o := compared(off, start)
			stepAt := start + 4*ms
			wallAt := func(ns int64) int64 {
				if ns >= stepAt {
					return ns + off + s
				}
				return ns + off
			}
			good := 0
			for k := int64(0); k < 40; k++ {
				arrived := start + k*ms/2
				now := arrived + 30_000
				if o.Due(wallAt(arrived), now) {
					o.Compare(now, wallAt(now), now+200)
					now += 200
				}
				if at, ok := o.At(wallAt(arrived), now); ok {
					require.InDelta(t, arrived, at, float64(ms), "step %v, stamp %d", time.Duration(s), k)
					good++
				}
			}
			require.EqualValues(t, 1, o.Steps.Load(), "step %v", time.Duration(s))
			require.Equal(t, 40, good+int(o.Rejected.Load()), "step %v", time.Duration(s))
			require.Greater(t, good, 35, "step %v: few stamps are lost", time.Duration(s))
		}
	}
}

func TestOffsetRejectsStampsFromBeforeAStep(t *testing.T) {
	// Packets waited unread while the wall clock was set: their stamps are of the old one.
	const off, start = 1_700_000_000_000_000_000, 10_000 * 1_000_000
	for _, s := range []int64{int64(5 * time.Second), -int64(5 * time.Second)} {
		o := compared(off, start)
		now := start + 800*ms
		require.True(t, o.Due(start+500*ms+off, now))
		o.Compare(now, now+off+s, now+200)
		_, ok := o.At(start+500*ms+off, now+200)
		require.False(t, ok)
		at, ok := o.At(now+300+off+s, now+400)
		require.True(t, ok, "what arrives afterwards is converted by the new offset")
		require.InDelta(t, now+300, at, 200)
	}
}

func TestOffsetIgnoresWideComparisons(t *testing.T) {
	const off, start = 1_700_000_000_000_000_000, 10_000 * 1_000_000
	o := compared(off, start)
	now := start + 20*ms
	o.Compare(now, now+off, now+8*ms) // interrupted behind the reading of the wall clock, so its middle is 4 ms off
	at, ok := o.At(now+8*ms+off, now+8*ms)
	require.True(t, ok)
	require.InDelta(t, now+8*ms, at, 200, "the old offset stays")
	require.Zero(t, o.Steps.Load())
	require.True(t, o.Due(now+9*ms+off, now+9*ms), "and is compared again soon")

	o.Compare(now, now+off+int64(time.Minute), now+8*ms) // a step all the same
	require.EqualValues(t, 1, o.Steps.Load())
	_, ok = o.At(now+8*ms+off, now+8*ms)
	require.False(t, ok, "until a narrow comparison nothing is known")
	now += 20 * ms
	o.Compare(now, now+off+int64(time.Minute), now+100)
	_, ok = o.At(now+100+off+int64(time.Minute), now+100)
	require.True(t, ok)
}

func TestOffsetIsComparedSeldom(t *testing.T) {
	const off, start = 1_700_000_000_000_000_000, 10_000 * 1_000_000
	for _, tt := range []struct {
		name     string
		ageNs    int64
		together int64 // stamps that are converted with one reading of the clock
		atMost   int
	}{
		{"fresh stamps, one each 10 us for 100 ms", 20_000, 1, 10},
		{"old ones in blocks of 400, as a packet ring has them", 3 * ms, 400, 25},
		{"a backlog of a client that was stopped", 900 * ms, 10_000, 1},
	} {
		o, comparisons := compared(off, start), 0
		for k := range int64(10_000) {
			now := start + 10_000 + k/tt.together*tt.together*10_000
			if o.Due(now-tt.ageNs+off, now) {
				comparisons++
				o.Compare(now, now+off, now)
			}
		}
		require.LessOrEqual(t, comparisons, tt.atMost, tt.name)
		require.Positive(t, comparisons, tt.name)
	}
}

func TestFromWall(t *testing.T) {
	before := Now()
	wallNs := time.Now().UnixNano()
	after := Now()
	at, ok := FromWall(wallNs, after)
	require.True(t, ok)
	require.GreaterOrEqual(t, at, before-aheadNs)
	require.LessOrEqual(t, at, after+aheadNs)
	_, was := WallSteps()
	_, ok = FromWall(wallNs+int64(time.Hour), Now())
	require.False(t, ok)
	_, rejected := WallSteps()
	require.Equal(t, was+1, rejected)
}
