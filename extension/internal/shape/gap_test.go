package shape

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gapLoad is levels with work between them, and what a test checks of it.
type gapLoad struct {
	levels   *Levels
	run      *fakeRun
	inFlight atomic.Int64
	working  atomic.Int64

	mu     sync.Mutex
	events []string // the level of each request, and "gap"
}

func newGapLoad(t *testing.T, specs ...LevelSpec) *gapLoad {
	t.Helper()
	l, err := NewLevels(specs, true)
	require.NoError(t, err)
	g := &gapLoad{levels: l, run: newRun()}
	l.Bind(g.run)
	return g
}

func (g *gapLoad) note(event string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, event)
}

// send is one request of a client.
func (g *gapLoad) send(t *testing.T, s *Slot) {
	assert.Zero(t, g.working.Load(), "a request of %s was scheduled before the work was done", s.Level)
	g.inFlight.Add(1)
	defer g.inFlight.Add(-1)
	g.note(s.Level)
	request(g.run, s, time.Millisecond)
}

// work is what is done between two levels.
func (g *gapLoad) work(t *testing.T) error {
	g.working.Add(1)
	defer g.working.Add(-1)
	assert.Zero(t, g.inFlight.Load(), "a request of the level before is in flight")
	time.Sleep(3 * time.Millisecond) // long enough that a client which does not wait would be seen
	g.note("gap")
	return nil
}

// inOrder returns the events, those that repeat themselves once.
func (g *gapLoad) inOrder() (out []string) {
	for _, each := range g.events {
		if len(out) == 0 || out[len(out)-1] != each || each == "gap" {
			out = append(out, each)
		}
	}
	return out
}

var gapSpecs = []LevelSpec{
	{Name: "a", Concurrency: 3, Requests: 9},
	{Name: "b", Concurrency: 1, Requests: 2},
	{Name: "c", Concurrency: 4, Requests: 8},
}

func TestGap(t *testing.T) {
	order := []string{"a", "gap", "b", "gap", "c"}

	t.Run("one client of all does the work between two levels, which is no level", func(t *testing.T) {
		g := newGapLoad(t, gapSpecs...)
		var all sync.WaitGroup
		for range 4 {
			v := vuOn(t.Context(), g.levels)
			v.Between = func() error { return g.work(t) }
			all.Go(func() {
				for s := v.Acquire(); s != nil; s = v.Acquire() {
					g.send(t, s)
				}
			})
		}
		all.Wait()
		require.Equal(t, order, g.inOrder())
		require.Equal(t, []string{"a", "b", "c"}, g.run.over)
		require.Len(t, g.run.tally.Levels(0), 3)
		require.Empty(t, g.levels.Unsent())
	})

	t.Run("VUs that carry several clients do it too", func(t *testing.T) {
		g := newGapLoad(t, gapSpecs...)
		var all sync.WaitGroup
		for range 2 {
			v := g.levels.VU(idleVU{})
			v.Between = func() error { return g.work(t) }
			loop := newLoop()
			all.Go(func() {
				err := loop.run(func() error {
					return v.Each(t.Context(), loop, 2, func(s *Slot, _ func() error) (bool, error) {
						g.send(t, s)
						return true, nil
					})
				})
				assert.NoError(t, err)
			})
		}
		all.Wait()
		require.Equal(t, order, g.inOrder())
		require.Empty(t, g.levels.Unsent())
	})

	t.Run("of several instances one does it, and none begins the next level before", func(t *testing.T) {
		const n = 3
		h := newHall(n)
		var all sync.WaitGroup
		// What all instances do stands in one list.
		whole := newGapLoad(t, gapSpecs...)
		for k := range n {
			l, err := NewLevels(gapSpecs, true)
			require.NoError(t, err)
			l.Bind(newRun())
			for range 2 {
				v := levelsVU{l.VU(partVU{part: every{k, n, h}}), t.Context()}
				v.Between = func() error { return whole.work(t) }
				all.Go(func() {
					for s := v.Acquire(); s != nil; s = v.Acquire() {
						whole.send(t, s)
					}
				})
			}
		}
		all.Wait()
		require.Equal(t, order, whole.inOrder())
	})

	t.Run("an error ends the VU's iteration, and the others go on", func(t *testing.T) {
		g := newGapLoad(t, LevelSpec{Name: "a", Concurrency: 1, Requests: 1}, LevelSpec{Name: "b", Concurrency: 1, Requests: 1})
		broken := errors.New("the server did not answer")
		ctx, cancel := context.WithCancel(t.Context())
		first := levelsVU{g.levels.VU(idleVU{}), ctx}
		first.Between = func() error { return broken }
		for range 2 { // the warm-up, and the request
			s, err := first.LevelsVU.Acquire(ctx)
			require.NoError(t, err)
			g.send(t, s)
		}
		_, err := first.LevelsVU.Acquire(ctx)
		require.ErrorIs(t, err, broken)
		cancel() // as k6 does with the context of an iteration that ended
		second := vuOn(t.Context(), g.levels)
		require.Eventually(t, func() bool {
			g.levels.mu.Lock()
			defer g.levels.mu.Unlock()
			return len(g.levels.vacant) > 0
		}, 20*time.Second, time.Millisecond)
		s := second.Acquire()
		require.NotNil(t, s)
		require.Equal(t, "b", s.Level)
	})
}
