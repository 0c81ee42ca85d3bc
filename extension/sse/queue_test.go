package sse

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		accepted, refused := 0, 0
		go func() {
			for range 8 {
				if q.put(&Event{Data: strings.Repeat("x", queueBytes/4)}) {
					accepted++
				} else {
					refused++
				}
			}
		}()
		synctest.Wait()
		assert.Equal(t, 3, accepted, "with what an event takes besides, a fourth is too much")
		assert.NotNil(t, q.take(noDeadline))
		assert.NotNil(t, q.take(noDeadline))
		synctest.Wait()
		assert.Equal(t, 5, accepted, "what is taken makes room")
		assert.LessOrEqual(t, q.bytes, queueBytes)
		q.stop()
		synctest.Wait()
		assert.Equal(t, 3, refused, "a stop ends the wait, and no other begins")
		for range 3 {
			assert.NotNil(t, q.take(noDeadline), "what is there stays")
		}
		assert.Nil(t, q.take(noDeadline))
		assert.Zero(t, q.bytes)
	})
}

func TestQueueTakesAnEventLargerThanItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		go q.put(&Event{Data: strings.Repeat("x", 2*queueBytes)})
		synctest.Wait()
		assert.NotNil(t, q.take(noDeadline))
	})
}

func TestQueueKeepsWhatCameTooLate(t *testing.T) {
	q := newQueue()
	assert.True(t, q.put(&Event{atNs: 5}))
	assert.False(t, q.has(4))
	assert.Nil(t, q.take(4))
	assert.True(t, q.has(5))
	assert.NotNil(t, q.take(5))
}
