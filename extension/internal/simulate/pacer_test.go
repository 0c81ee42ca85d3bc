package simulate

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

type noteTask struct {
	number int
	ran    *[]int
}

func (t noteTask) run(int64) { *t.ran = append(*t.ran, t.number) }

// Whatever is set, moved and cleared, what is due runs in the order of its deadlines and nothing else runs.
func TestPacerServesInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var p pacer
		var ran []int
		timers := make([]timer, 100)
		set := map[int]int64{}
		for range 400 {
			i := rng.IntN(len(timers))
			timers[i].task = noteTask{i, &ran}
			if rng.IntN(3) == 0 {
				p.clear(&timers[i])
				delete(set, i)
				continue
			}
			atNs := rng.Int64N(1000)
			p.set(&timers[i], atNs)
			set[i] = atNs
		}
		due := 0
		for _, atNs := range set {
			if atNs <= 500 {
				due++
			}
		}
		p.serve(500, 1<<30)
		require.Len(t, ran, due)
		require.True(t, slices.IsSortedFunc(ran, func(a, b int) int { return int(set[a] - set[b]) }))
		for _, i := range ran {
			require.LessOrEqual(t, set[i], int64(500))
			require.Zero(t, timers[i].place)
		}
		if len(set) > due {
			require.Greater(t, p.nextNs(), int64(500))
		} else {
			require.Equal(t, never, p.nextNs())
		}
	}
}

// A limit leaves the later deadlines for the next turn.
func TestPacerLimit(t *testing.T) {
	var p pacer
	var ran []int
	timers := make([]timer, 5)
	for i := range timers {
		timers[i].task = noteTask{i, &ran}
		p.set(&timers[i], int64(10-i))
	}
	p.serve(100, 2)
	require.Equal(t, []int{4, 3}, ran)
	p.serve(100, 10)
	require.Equal(t, []int{4, 3, 2, 1, 0}, ran)
}
