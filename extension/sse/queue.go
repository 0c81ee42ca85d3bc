package sse

import "sync"

// queueBytes of events may wait for the script. Beyond, the stream is read no further, and so in the end the server is
// held up; nothing is dropped. It is a few thousand chunks of an LLM's answer.
const queueBytes = 1 << 20

// eventBytes is what an event takes besides its strings.
const eventBytes = 128

// queue holds the events of one stream that the script has not taken yet. One goroutine puts, another one takes.
type queue struct {
	room chan struct{} // has a token when put is to look again

	mu      sync.Mutex
	events  []*Event
	bytes   int
	stopped bool // nothing waits for room any more
}

func newQueue() *queue { return &queue{room: make(chan struct{}, 1)} }

func (e *Event) size() int {
	return eventBytes + len(e.ID) + len(e.Comment) + len(e.Name) + len(e.Data)
}

// put adds an event and waits for room: one that is larger than the queue gets in once the queue is empty. false = there
// was none, and stop was called.
func (q *queue) put(e *Event) bool {
	for {
		q.mu.Lock()
		if q.bytes == 0 || q.bytes+e.size() <= queueBytes {
			q.events = append(q.events, e)
			q.bytes += e.size()
			q.mu.Unlock()
			return true
		}
		stopped := q.stopped
		q.mu.Unlock()
		if stopped {
			return false
		}
		<-q.room
	}
}

// stop ends a put that waits, and lets no later one wait.
func (q *queue) stop() {
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
	q.lookAgain()
}

func (q *queue) lookAgain() {
	select {
	case q.room <- struct{}{}:
	default:
	}
}

// take removes and returns the oldest event that had arrived by untilNs, a time of package clock; nil = there is none.
func (q *queue) take(untilNs int64) *Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) == 0 || q.events[0].atNs > untilNs {
		return nil
	}
	e := q.events[0]
	q.bytes -= e.size()
	q.events[0] = nil
	if q.events = q.events[1:]; len(q.events) == 0 {
		q.events = nil
	}
	q.lookAgain()
	return e
}

// has reports whether an event waits that had arrived by untilNs.
func (q *queue) has(untilNs int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events) > 0 && q.events[0].atNs <= untilNs
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events)
}
