package ring

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// arrivals is the definition, byte by byte: a byte has arrived at the latest of its own time and those of all before it.
type arrivals struct {
	came   []int64 // when a byte came first; unknownNs = not yet
	nextAt []int64 // when it had arrived
}

func newArrivals(n int) *arrivals {
	a := &arrivals{came: make([]int64, n), nextAt: nil}
	for k := range a.came {
		a.came[k] = unknownNs
	}
	return a
}

func (a *arrivals) add(from, n int, atNs int64) {
	for k := from; k < from+n && k < len(a.came); k++ {
		if a.came[k] == unknownNs {
			a.came[k] = atNs
		}
	}
	for k := len(a.nextAt); k < len(a.came) && a.came[k] != unknownNs; k++ {
		ns := a.came[k]
		if k > 0 {
			ns = max(ns, a.nextAt[k-1])
		}
		a.nextAt = append(a.nextAt, ns)
	}
}

func requireArrivals(t *testing.T, f *flow, want []int64) {
	t.Helper()
	require.EqualValues(t, len(want), f.next)
	for at := int64(0); at < int64(len(want)); {
		ns, until, ok := f.arrived(at)
		require.True(t, ok)
		require.Greater(t, until, at)
		for ; at < min(until, int64(len(want))); at++ {
			require.Equal(t, want[at], ns, "byte %d", at)
		}
	}
	_, until, ok := f.arrived(int64(len(want)))
	require.False(t, ok)
	require.EqualValues(t, math.MaxInt64, until)
	require.Empty(t, f.early)
}

func TestFlow(t *testing.T) {
	type seg struct{ from, n int }
	for name, tt := range map[string]struct {
		segments               []seg
		duplicates, reordered  int64
		firstSequence          uint32
		arrivedAfterAllBySteps []int64 // next after each segment
	}{
		"in order":            {segments: []seg{{0, 5}, {5, 3}}, arrivedAfterAllBySteps: []int64{5, 8}},
		"twice":               {segments: []seg{{0, 5}, {0, 5}, {5, 3}}, duplicates: 1, arrivedAfterAllBySteps: []int64{5, 5, 8}},
		"a hole":              {segments: []seg{{0, 5}, {8, 2}, {5, 3}}, reordered: 1, arrivedAfterAllBySteps: []int64{5, 5, 10}},
		"two holes":           {segments: []seg{{2, 2}, {6, 2}, {4, 2}, {0, 2}}, reordered: 3, arrivedAfterAllBySteps: []int64{0, 0, 0, 8}},
		"overlapping":         {segments: []seg{{0, 5}, {3, 5}}, arrivedAfterAllBySteps: []int64{5, 8}},
		"overlapping a hole":  {segments: []seg{{4, 4}, {2, 8}, {0, 3}}, reordered: 2, arrivedAfterAllBySteps: []int64{0, 0, 10}},
		"the sequence wraps":  {segments: []seg{{0, 5}, {9, 3}, {5, 4}}, reordered: 1, firstSequence: math.MaxUint32 - 6, arrivedAfterAllBySteps: []int64{5, 5, 12}},
		"wraps in a segment":  {segments: []seg{{0, 9}}, firstSequence: math.MaxUint32 - 3, arrivedAfterAllBySteps: []int64{9}},
		"a part sent again":   {segments: []seg{{0, 10}, {2, 3}}, duplicates: 1, arrivedAfterAllBySteps: []int64{10, 10}},
		"early, sent again":   {segments: []seg{{5, 5}, {5, 5}, {0, 5}}, reordered: 2, arrivedAfterAllBySteps: []int64{0, 0, 10}},
		"a hole of one byte":  {segments: []seg{{1, 1}, {3, 1}, {0, 1}, {2, 1}}, reordered: 2, arrivedAfterAllBySteps: []int64{0, 0, 2, 4}},
		"the hole comes long": {segments: []seg{{5, 1}, {0, 20}}, reordered: 1, arrivedAfterAllBySteps: []int64{0, 20}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &flow{}
			f.start(tt.firstSequence)
			a := newArrivals(20)
			for k, s := range tt.segments {
				at := int64(1000 * (k + 1))
				before := f.next
				grew := f.add(tt.firstSequence+uint32(s.from), s.n, at)
				a.add(s.from, s.n, at)
				require.Equal(t, tt.arrivedAfterAllBySteps[k], f.next)
				require.Equal(t, f.next > before, grew)
			}
			require.Equal(t, tt.duplicates, f.duplicates)
			require.Equal(t, tt.reordered, f.reordered)
			requireArrivals(t, f, a.nextAt)
		})
	}
}

func TestFlowForgetsWhatIsFarOff(t *testing.T) {
	f := &flow{}
	f.start(100)
	require.False(t, f.add(100+1<<31, 10, 5))
	require.False(t, f.add(math.MaxUint32-(1<<30), 10, 5))
	require.Empty(t, f.early)
	require.Zero(t, f.duplicates)
}

func TestFlowTimesDoNotGoBack(t *testing.T) {
	f := &flow{}
	f.start(0)
	f.add(0, 1, 2000)
	f.add(1, 1, 1990) // stamped by another processor
	_, _, _ = f.arrived(0)
	ns, _, ok := f.arrived(1)
	require.True(t, ok)
	require.EqualValues(t, 2000, ns)
	f.arrived(2) // all was taken
	f.add(2, 1, 1995)
	ns, _, _ = f.arrived(2)
	require.EqualValues(t, 2000, ns)
}

// Two processors may hand two packets on in either order, whatever the packets' times: a processor that is held up between
// two sockets shows each socket another order. The times are the same.
func TestFlowTimesAreThoseOfThePacketsInAnyOrder(t *testing.T) {
	for name, order := range map[string][]int{
		"in order": {0, 1, 2, 3}, "the first held up": {1, 2, 3, 0}, "the second held up": {0, 2, 3, 1}, "backwards": {3, 2, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := &flow{}
			f.start(0)
			for _, k := range order {
				f.add(uint32(10*k), 10, int64(1000*(k+1)))
			}
			require.EqualValues(t, 40, f.next)
			want := make([]int64, 40)
			for k := range want {
				want[k] = int64(1000 * (k/10 + 1))
			}
			requireArrivals(t, f, want)
		})
	}
}

func TestFlowSkips(t *testing.T) {
	f := &flow{}
	f.start(0)
	f.add(0, 10, 1000)
	f.add(15, 5, 1500) // ahead of [10,15), which the ring lost
	f.skip(12)
	require.EqualValues(t, 12, f.next)
	f.skip(17)
	require.EqualValues(t, 20, f.next, "what came early had come")
	require.EqualValues(t, 10, f.lost)
	f.add(20, 5, 2000)
	type part struct {
		until int64
		atNs  int64
		ok    bool
	}
	var got []part
	for at := int64(0); at < 25; {
		ns, until, ok := f.arrived(at)
		if !ok {
			ns = 0
		}
		got = append(got, part{until, ns, ok})
		at = until
	}
	require.Equal(t, []part{{10, 1000, true}, {12, 0, false}, {20, 0, false}, {25, 2000, true}}, got)
	f.skip(3) // long past
	require.EqualValues(t, 25, f.next)
}

func TestFlowBounds(t *testing.T) {
	f := &flow{}
	f.start(0)
	for k := range 5 * maxEarly {
		f.add(uint32(10+10*k), 1, int64(k))
	}
	require.Len(t, f.early, maxEarly)
	f.skip(100 * maxEarly)
	require.Empty(t, f.early)

	// A stream that is read as it comes keeps no more than a few marks.
	f = &flow{}
	f.start(0)
	for k := range 100_000 {
		f.add(uint32(k*3), 3, int64(k))
		if k%10 == 9 {
			f.arrived(f.next - 1)
		}
	}
	require.Less(t, cap(f.marks), 100)
}

// FuzzFlow sends the bytes of a stream in random pieces, some twice, some late, some torn, and compares with the definition.
func FuzzFlow(f *testing.F) {
	f.Add(uint64(1), uint32(0), uint16(100))
	f.Add(uint64(2), uint32(math.MaxUint32-50), uint16(1000))
	f.Add(uint64(3), uint32(1<<31-1), uint16(3000))
	f.Fuzz(func(t *testing.T, seed uint64, first uint32, size uint16) {
		rng := rand.New(rand.NewPCG(seed, 7))
		n := int(size)%4000 + 1
		type seg struct{ from, n int }
		var segments []seg
		for at := 0; at < n; {
			k := min(1+rng.IntN(40), n-at)
			segments = append(segments, seg{at, k})
			for rng.IntN(4) == 0 { // sent again, joined with its neighbours or in part
				from := max(0, at-rng.IntN(60))
				segments = append(segments, seg{from, min(1+rng.IntN(100), n-from)})
			}
			at += k
		}
		for k := range segments { // late
			if rng.IntN(3) == 0 {
				to := min(len(segments)-1, k+rng.IntN(8))
				segments[k], segments[to] = segments[to], segments[k]
			}
		}
		fl := &flow{}
		fl.start(first)
		a := newArrivals(n)
		taken := int64(0)
		got := []int64{}
		for k, s := range segments {
			atNs := int64(k+1)*10 + rng.Int64N(100) // stamped and handed on in two orders
			fl.add(first+uint32(s.from), s.n, atNs)
			a.add(s.from, s.n, atNs)
			if int64(len(a.nextAt)) != fl.next {
				t.Fatalf("%d bytes arrived, want %d", fl.next, len(a.nextAt))
			}
			if rng.IntN(3) == 0 { // take some of it
				for taken < fl.next {
					ns, until, ok := fl.arrived(taken)
					if !ok || until <= taken {
						t.Fatal("no time of a byte that arrived")
					}
					for ; taken < min(until, fl.next); taken++ {
						got = append(got, ns)
					}
				}
			}
		}
		for taken < fl.next {
			ns, until, _ := fl.arrived(taken)
			for ; taken < until; taken++ {
				got = append(got, ns)
			}
		}
		require.Equal(t, a.nextAt, got)
	})
}
