package part

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/lib"
	"pgregory.net/rapid"
)

// partsOf divides into n equal parts as k6-operator does.
func partsOf(t require.TestingT, n int) []*Part {
	cut := func(k int) string { return fmt.Sprintf("%d/%d", k, n) }
	var sequence string
	for k := range n + 1 {
		if k > 0 {
			sequence += ","
		}
		sequence += cut(k)
	}
	all, err := lib.NewExecutionSegmentSequenceFromString(sequence)
	require.NoError(t, err)
	parts := make([]*Part, n)
	for k := range n {
		segment, err := lib.NewExecutionSegmentFromString(cut(k) + ":" + cut(k+1))
		require.NoError(t, err)
		tuple, err := lib.NewExecutionTuple(segment, &all)
		require.NoError(t, err)
		parts[k] = New(tuple)
	}
	return parts
}

func TestParts_WholeIsNone(t *testing.T) {
	tuple, err := lib.NewExecutionTuple(nil, nil)
	require.NoError(t, err)
	require.Nil(t, New(tuple))
	require.Nil(t, New(nil))
	require.Nil(t, Of(t.Context()), "a context without k6's state")
	var whole *Part
	require.Equal(t, 1, whole.Number())
	require.Equal(t, 1, whole.Count())
	require.NoError(t, whole.Check(1))
	require.ErrorContains(t, whole.Check(3), "RUNNERS=3, but k6's execution segments make 1 instances")
	s := whole.Of(4)
	require.Equal(t, 4, s.Slots)
	require.Equal(t, 7, s.Below(7))
	require.Equal(t, []int{0, 1, 2}, s.All(3))
}

// The union of all parts is the whole, nothing is in two, and each part's share of the numbers is that of its slots.
func TestParts_TogetherAreTheLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 9).Draw(t, "parts")
		slots := rapid.IntRange(1, 40).Draw(t, "slots")
		total := rapid.IntRange(0, 300).Draw(t, "numbers")
		var all []int
		sum := 0
		for k, p := range partsOf(t, n) {
			require.Equal(t, k+1, p.Number())
			require.NoError(t, p.Check(n))
			s := p.Of(slots)
			sum += s.Slots
			require.LessOrEqual(t, s.Slots, (slots+n-1)/n, "its VUs are planned for that many")
			own := s.All(total)
			require.Len(t, own, s.Below(total))
			if total > slots {
				require.GreaterOrEqual(t, len(own), s.Slots, "every slot has a number before the first has two")
			}
			require.True(t, slices.IsSorted(own))
			all = append(all, own...)
		}
		require.Equal(t, slots, sum)
		slices.Sort(all)
		want := make([]int, total)
		for k := range want {
			want[k] = k
		}
		require.Equal(t, want, append([]int{}, all...))
	})
}

func TestSegmentsThatAreNotEqualOrNotAsManyAreRefused(t *testing.T) {
	all, err := lib.NewExecutionSegmentSequenceFromString("0,1/4,1")
	require.NoError(t, err)
	segment, err := lib.NewExecutionSegmentFromString("0:1/4")
	require.NoError(t, err)
	tuple, err := lib.NewExecutionTuple(segment, &all)
	require.NoError(t, err)
	require.ErrorContains(t, New(tuple).Check(2), "are not equal; divide the load into 2 equal segments")
	require.ErrorContains(t, partsOf(t, 3)[0].Check(2), "RUNNERS=2, but k6's execution segments make 3 instances")
}
