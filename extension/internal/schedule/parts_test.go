package schedule_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/lib"

	"github.com/tokenclock/tokenclock/extension/internal/part"
	"github.com/tokenclock/tokenclock/extension/internal/schedule"
)

// TestPartsAreTheScheduleOfOneProcess divides a schedule as several instances of k6 do that run it together.
func TestPartsAreTheScheduleOfOneProcess(t *testing.T) {
	stages := []schedule.Stage{schedule.Ramp(0, 200, 10_000), schedule.Ramp(200, 20, 10_000)}
	process := schedule.Process{Kind: "poisson", Seed: 11}
	whole, _, err := schedule.Times(stages, process)
	require.NoError(t, err)
	for _, n := range []int{1, 2, 4} {
		var union []int64
		for _, p := range partsOf(t, n) {
			own, _, err := schedule.Times(stages, process)
			require.NoError(t, err)
			require.Equal(t, schedule.Digest(whole), schedule.Digest(own), "every part says the digest of the whole")
			for _, k := range p.Of(64).All(len(own)) {
				union = append(union, own[k])
			}
		}
		slices.Sort(union)
		require.Equal(t, whole, union, "%d parts", n)
	}
}

// partsOf divides into n equal parts as k6's execution segments do.
func partsOf(t *testing.T, n int) []*part.Part {
	t.Helper()
	if n == 1 {
		return []*part.Part{nil}
	}
	sequence := "0"
	for k := range n {
		sequence += fmt.Sprintf(",%d/%d", k+1, n)
	}
	all, err := lib.NewExecutionSegmentSequenceFromString(sequence)
	require.NoError(t, err)
	parts := make([]*part.Part, n)
	for k := range n {
		segment, err := lib.NewExecutionSegmentFromString(fmt.Sprintf("%d/%d:%d/%d", k, n, k+1, n))
		require.NoError(t, err)
		tuple, err := lib.NewExecutionTuple(segment, &all)
		require.NoError(t, err)
		parts[k] = part.New(tuple)
	}
	return parts
}
