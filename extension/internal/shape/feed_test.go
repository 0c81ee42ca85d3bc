package shape

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// eventLoop is like k6's: it runs until no registered callback is outstanding.
type eventLoop struct {
	outstanding int // of the loop's own goroutine
	queue       chan func() error
}

func newLoop() *eventLoop { return &eventLoop{queue: make(chan func() error, 1000)} }

func (l *eventLoop) RegisterCallback() func(func() error) {
	l.outstanding++
	return func(f func() error) { l.queue <- f }
}

func (l *eventLoop) run(first func() error) error {
	err := first()
	for ; err == nil && l.outstanding > 0; l.outstanding-- {
		err = (<-l.queue)()
	}
	return err
}

// A wait of a VU must end sooner when a client of its asks for an earlier time, and must not end twice.
func TestFeed_EarliestOfSeveralWaitsCounts(t *testing.T) {
	loop := newLoop()
	var calls atomic.Int64
	w := &waiter{loop: loop, ctx: t.Context()}
	began := time.Now()
	w.again = func() error {
		if calls.Add(1) == 1 {
			w.wait(nil, clock.Now()+int64(time.Millisecond))
		}
		return nil
	}
	require.NoError(t, loop.run(func() error {
		never := make(chan struct{})
		w.wait(never, clock.Now()+int64(time.Hour))
		w.wait(never, clock.Now()+int64(30*time.Minute))
		w.wait(never, clock.Now()+int64(2*time.Millisecond))
		w.wait(never, clock.Now()+int64(time.Minute))
		return nil
	}))
	require.EqualValues(t, 2, calls.Load())
	require.Less(t, time.Since(began), time.Minute/2)
}

// Both shapes hand their slots to the clients of a VU by the same loop.
func TestFeed_OfEachShape(t *testing.T) {
	zero := 0
	for name, each := range map[string]func(loop *eventLoop, send Send) error{
		"levels": func(loop *eventLoop, send Send) error {
			l, _ := boundLevels(t, LevelSpec{Name: "c3", Concurrency: 3, Requests: 20, WarmupRequests: &zero})
			return l.VU(idleVU{}).Each(t.Context(), loop, 3, send)
		},
		"arrivals": func(loop *eventLoop, send Send) error {
			a, err := NewArrivals(ArrivalSpec{Stages: []Stage{{Name: "r", FromRate: 1000, ToRate: 1000, DurationMs: 20}}, MaxInFlight: 3})
			require.NoError(t, err)
			a.Bind(newRun())
			t.Cleanup(func() { require.Zero(t, a.inFlight) })
			return a.VU(idleVU{}).Each(t.Context(), loop, 3, send)
		},
	} {
		t.Run(name, func(t *testing.T) {
			loop := newLoop()
			inFlight, most, sent := 0, 0, map[int]bool{}
			send := func(s *Slot, then func() error) (bool, error) {
				require.False(t, sent[s.Serial], "slot %d twice", s.Serial)
				sent[s.Serial] = true
				inFlight++
				most = max(most, inFlight)
				over := func() {
					s.Ended(clock.Now(), stream.None)
					inFlight--
				}
				if s.Serial%4 == 0 { // its work is over at once
					over()
					return true, nil
				}
				enqueue := loop.RegisterCallback()
				time.AfterFunc(3*time.Millisecond, func() {
					enqueue(func() error {
						over()
						return then()
					})
				})
				return false, nil
			}
			require.NoError(t, loop.run(func() error { return each(loop, send) }))
			require.Len(t, sent, 20)
			require.Zero(t, inFlight)
			require.LessOrEqual(t, most, 3)
			require.Greater(t, most, 1)
		})
		t.Run(name+" fails", func(t *testing.T) {
			loop, calls := newLoop(), 0
			err := loop.run(func() error {
				return each(loop, func(*Slot, func() error) (bool, error) {
					calls++
					return false, errors.New("thrown")
				})
			})
			require.ErrorContains(t, err, "thrown")
			require.Equal(t, 1, calls, fmt.Sprintf("%s: an error ends the iteration", name))
		})
	}
}

// A client that has nothing to send waits, also where another one of its VU gets a slot behind it.
func TestFeed_WaitingClientTakesPartAgain(t *testing.T) {
	zero := 0
	l, _ := boundLevels(t,
		LevelSpec{Name: "all", Concurrency: 3, Requests: 3, WarmupRequests: &zero},
		LevelSpec{Name: "one", Concurrency: 1, Requests: 1, WarmupRequests: &zero},
		LevelSpec{Name: "again", Concurrency: 3, Requests: 3, WarmupRequests: &zero},
	)
	// The first VU has the clients 0 and 2, which wait in that order's reverse when the second one's ends the first level.
	order := map[string][]int{"all": {2, 0, 1}, "one": {0}, "again": {0, 1, 2}}
	var mu sync.Mutex
	inFlight := map[string]map[int]func(){} // by level and client: what ends its request, and then the next one's
	send := func(loop *eventLoop) Send {
		return func(s *Slot, then func() error) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			level, number := s.Level, s.client.number
			if inFlight[level] == nil {
				inFlight[level] = map[int]func(){}
			}
			enqueue := loop.RegisterCallback()
			inFlight[level][number] = func() {
				enqueue(func() error {
					s.Ended(clock.Now(), stream.None)
					err := then()
					if k := slices.Index(order[level], number) + 1; k < len(order[level]) {
						mu.Lock()
						defer mu.Unlock()
						inFlight[level][order[level][k]]()
					}
					return err
				})
			}
			if len(inFlight[level]) == len(order[level]) {
				inFlight[level][order[level][0]]()
			}
			return false, nil
		}
	}
	stuck := time.AfterFunc(20*time.Second, func() { panic("a level has not all its requests in flight") })
	defer stuck.Stop()
	var all sync.WaitGroup
	begun := make(chan struct{})
	for vu := range 2 {
		loop := newLoop()
		v := l.VU(idleVU{})
		require.NoError(t, v.join(t.Context(), 2)) // in this order
		all.Go(func() {
			<-begun
			assert.NoError(t, loop.run(func() error { return v.Each(t.Context(), loop, 2, send(loop)) }), vu)
		})
	}
	close(begun)
	all.Wait()
	for level, numbers := range order {
		require.Len(t, inFlight[level], len(numbers), level)
	}
}
