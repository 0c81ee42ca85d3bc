package simulate

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// never is a deadline that does not come.
const never = int64(1) << 62

// timersATurn bounds the deadlines served between two looks at the sockets.
const timersATurn = 256

// socket is the byte stream of one connection as the loop sees it. Only the loop calls it, and no call blocks.
type socket interface {
	// write hands bytes to the kernel (or to what stands before it) and returns how many were taken; fewer than all
	// means that onWritable will be called.
	write(b []byte) (int, error)
	// close ends the connection in order after what was written; reset drops it so that the peer sees an error.
	close()
	reset()
}

// sink receives what happens to a socket. All calls come from the loop.
type sink interface {
	onData(b []byte, atNs int64, kernel bool) // b is valid during the call only
	onWritable()
	onClosed() // the peer has ended or broken the connection; the socket is closed already
}

// poller waits for sockets and for the time.
type poller interface {
	listen(address string, accept func(socket) sink) (string, error)
	// wait returns after sockets were served, the clock passed untilNs, or wake was called.
	wait(untilNs int64)
	wake() // from any goroutine
	// settle takes over the times of sends that the kernel has so far; source says where they are from and why from nowhere
	// better, and how many packets were lost by then.
	settle()
	source() (from source, why string, drops int64)
	stopListening()
	close()
}

// loop is the one goroutine, locked to its thread, that owns every connection, every stream and the truth: nothing of
// them needs a lock, and a token goes from its deadline to the kernel without passing another goroutine.
type loop struct {
	pacer  pacer
	poll   poller
	tickNs int64

	ready []task // what goes on without waiting for a time: unpaced streams, engine steps that are due

	mu     sync.Mutex
	posted []func()
	woken  atomic.Bool
	quit   bool
	done   chan struct{}
}

// post has f called by the loop; from any goroutine. After the loop has ended f is not called and false is returned.
func (l *loop) post(f func()) bool {
	l.mu.Lock()
	if l.quit {
		l.mu.Unlock()
		return false
	}
	l.posted = append(l.posted, f)
	l.mu.Unlock()
	if l.woken.CompareAndSwap(false, true) {
		l.poll.wake()
	}
	return true
}

// call is post that waits until f has run; false if the loop has ended.
func (l *loop) call(f func()) bool {
	ran := make(chan struct{})
	if !l.post(func() { f(); close(ran) }) {
		return false
	}
	select {
	case <-ran:
		return true
	case <-l.done:
		return false
	}
}

// run serves until a posted function sets quit through stop.
func (l *loop) run() {
	defer close(l.done)
	for {
		nowNs := clock.Now()
		l.pacer.serve(nowNs, timersATurn)
		ready := l.ready
		l.ready = nil
		for _, t := range ready {
			t.run(nowNs)
		}
		untilNs := l.pacer.nextNs()
		switch {
		case len(l.ready) > 0:
			untilNs = 0
		case untilNs > nowNs:
			// When deadlines are dense one wake-up serves all of a tick; a lone one is met exactly.
			untilNs = max(untilNs, nowNs+l.tickNs)
		}
		l.poll.wait(untilNs)
		if l.woken.Load() && l.runPosted() {
			l.poll.settle()
			return
		}
	}
}

// runPosted runs what other goroutines asked for and reports whether the loop shall end.
func (l *loop) runPosted() bool {
	l.woken.Store(false)
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quit
}

// stop ends the loop after the present turn; called by the loop.
func (l *loop) stop() {
	l.mu.Lock()
	l.quit = true
	l.mu.Unlock()
	l.woken.Store(true)
	l.poll.wake()
}

// after runs f once, in d; for rare things only.
func (l *loop) after(d time.Duration, f func()) {
	t := &timer{}
	t.task = taskFunc(f)
	l.pacer.set(t, clock.Now()+int64(d))
}

type taskFunc func()

func (f taskFunc) run(int64) { f() }

// flusher is what has bytes for its socket that came from another goroutine.
type flusher interface{ flush() error }

// flushLater has the loop flush f; from any goroutine.
func (l *loop) flushLater(f flusher) { l.post(func() { _ = f.flush() }) }
