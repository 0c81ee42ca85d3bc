package client

import (
	"net"
	"os"
	"sync"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/reader"
)

// aheadBytes may wait unread before the goroutine of a readAhead stops reading, and so the peer sending.
const aheadBytes = 1 << 20

// readAhead reads a connection on a goroutine of its own, so that bytes are stamped when they arrive even while whoever
// wants them is busy. For connections that the reader thread does not serve.
type readAhead struct {
	segmentConn

	mu       sync.Mutex // guards all below
	changed  *sync.Cond
	receipts []receipt
	unread   int
	err      error
	closed   bool
	deadline time.Time
	timer    *time.Timer
	noWait   bool

	last receipt // what Read returned from last; only its caller touches it
}

// receipt is what one receive brought.
type receipt struct {
	data          []byte
	sinceNs, atNs int64
	stamp         reader.Stamp
}

func newReadAhead(seg segmentConn) *readAhead {
	r := &readAhead{segmentConn: seg}
	r.changed = sync.NewCond(&r.mu)
	go r.run()
	return r
}

func (r *readAhead) run() {
	buf := make([]byte, 16<<10)
	for {
		n, err := r.segmentConn.Read(buf)
		r.mu.Lock()
		if n > 0 {
			atNs, stamp := r.segmentConn.stamp()
			r.receipts = append(r.receipts, receipt{append([]byte(nil), buf[:n]...), r.segmentConn.since(), atNs, stamp})
			r.unread += n
		}
		r.err = err
		r.changed.Broadcast()
		for r.unread >= aheadBytes && !r.closed {
			r.changed.Wait()
		}
		over := err != nil || r.closed
		r.mu.Unlock()
		if over {
			return
		}
	}
}

func (r *readAhead) Read(b []byte) (int, error) {
	if len(r.last.data) == 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		for len(r.receipts) == 0 || r.closed {
			if r.closed {
				return 0, net.ErrClosed
			}
			if r.err != nil {
				return 0, r.err
			}
			if r.noWait || !r.deadline.IsZero() && !time.Now().Before(r.deadline) {
				return 0, os.ErrDeadlineExceeded
			}
			r.changed.Wait()
		}
		r.last = r.receipts[0]
		r.receipts = r.receipts[1:]
		r.unread -= len(r.last.data)
		r.changed.Broadcast()
	}
	n := copy(b, r.last.data)
	r.last.data = r.last.data[n:]
	return n, nil
}

func (r *readAhead) stamp() (int64, reader.Stamp) { return r.last.atNs, r.last.stamp }
func (r *readAhead) since() int64                 { return r.last.sinceNs }

func (r *readAhead) quiet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.receipts) == 0 && r.err == nil
}

func (r *readAhead) setNoWait(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noWait = on
}

func (r *readAhead) SetDeadline(t time.Time) error {
	_ = r.SetReadDeadline(t)
	return r.SetWriteDeadline(t)
}

func (r *readAhead) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = t
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	if !t.IsZero() {
		r.timer = time.AfterFunc(time.Until(t), func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.deadline.Equal(t) {
				r.deadline = time.Unix(1, 0) // over, also where the wall clock was set back meanwhile: nobody looks again
			}
			r.changed.Broadcast()
		})
	}
	return nil
}

func (r *readAhead) Close() error {
	r.mu.Lock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.changed.Broadcast()
	r.mu.Unlock()
	return r.segmentConn.Close()
}
