//go:build linux && (amd64 || arm64)

package ring

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
)

// A client that reads each token at once also acknowledges it at once. Bytes that are left unread are acknowledged by the
// kernel when more than a full segment has come, else after 40 ms, and two kinds of servers notice:
//
//   - one that has Nagle's algorithm on (RFC 9293, 3.7.4) sends no small segment while another one is not acknowledged. Read
//     seldom, it would be measured slower than it is. So the first segments of a connection are acknowledged at once, and
//     then one is left alone for a moment: a server that sends the next one meanwhile does not wait for acknowledgements,
//     and is read seldom from then on. One that does not, several times, is read as soon as something comes.
//   - one whose kernel has seen round trips of microseconds only takes two segments that are not acknowledged within
//     milliseconds for lost, and sends the last one again (RFC 8985, 7). The copy changes no time, for its bytes had come, but
//     it makes the kernel at this end acknowledge sixteen segments at once, after which all begins anew. Some reads, each
//     half a gap after its segment came, teach the sender that acknowledgements are late here.

// ackState is how a connection's segments are acknowledged.
type ackState uint8

const (
	ackBegins ackState = iota // at once, by the kernel
	ackTried                  // late, to see whether the server waits
	ackTaught                 // somewhat late
	ackLate                   // when the bytes are read
	ackPrompt                 // at once, by reading at once
)

const (
	atOnce     = 4  // segments of a connection before it is tried: the head of the first response, and its first events
	trials     = 3  // as many that fail show that a server waits, as many in a row that do not that it does not
	slowReads  = 10 // and a sender taught by as many
	tryTime    = 30 * time.Millisecond
	slowGap    = 28 * time.Millisecond // the kernel acknowledges the segments of a slower stream before their next ones are due
	kernelTime = 35 * time.Millisecond // the kernel acknowledges by itself 40 ms after a segment came, or a little before
	leastEvent = 64                    // bytes
	unackable  = 500                   // bytes: the kernel acknowledges more than 536 at once (TCP_MSS_DEFAULT)
)

// acks is the state of a connection. It is guarded by the ring's lock.
type acks struct {
	state      ackState
	segments   int
	left       int   // trials that may fail, or reads, until the state changes
	passed     int   // trials in a row
	least      int   // bytes of the smallest segment
	suspect    int   // see suspects
	prompt     bool  // the kernel was told
	lastNs     int64 // the last arrival
	quietNs    int64 // what came by then was acknowledged, or may have been
	unread     int   // segments that came later and were not read
	waiting    int   // their bytes
	sinceNs    int64 // arrival of the first
	duplicates int64 // of the connection, as far as they are dealt with
}

// quick is a change of TCP_QUICKACK: whether the kernel acknowledges what comes at once, and also what has come by now.
type quick uint8

const (
	quickAsIs quick = iota
	quickOff
	quickOn
	quickOnce // what has come by now
)

// acknowledge makes a change.
func (c *Conn) acknowledge(q quick) {
	set := func(v int) { _ = unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, v) }
	switch q {
	case quickOff:
		set(0)
	case quickOn:
		set(1)
	case quickOnce:
		set(1)
		set(0)
	}
}

// waits takes note of a segment, and has the connection read soon where its state asks for that.
func (c *Conn) waits(size int, atNs int64) {
	r, a := c.w.r, &c.ack
	gapNs := atNs - a.lastNs
	a.lastNs = atNs
	a.segments++
	if c.endMark != reader.NoEndMark && gapNs > 0 && gapNs < int64(deferTime) {
		if r.gapNs == 0 {
			r.gapNs = gapNs
		}
		r.gapNs += (gapNs - r.gapNs) / 64
	}
	if a.state != ackBegins && a.state != ackPrompt && a.suspects(size, gapNs) {
		r.held[c.w.remote] = true
		c.readPromptly()
	}
	if atNs > a.quietNs {
		if a.unread == 0 {
			a.sinceNs = atNs
		}
		a.unread++
		a.waiting += size
	}
	switch a.state {
	case ackBegins:
		if a.segments >= atOnce {
			r.makeDue(c)
		}
	case ackTried:
		switch {
		case a.unread > 1 && a.waiting > unackable, r.gapNs > int64(slowGap):
		case a.unread <= 1:
			r.soon = append(r.soon, c)
		case atNs-a.sinceNs < int64(kernelTime): // and the first is not acknowledged
			if a.passed++; a.passed == trials {
				a.state, a.left = ackTaught, slowReads
				r.held[c.w.remote] = false
			}
			r.makeDue(c)
		}
	case ackTaught:
		if c.unread == 1 {
			r.soon = append(r.soon, c)
		}
	case ackPrompt:
		r.makeDue(c)
	}
}

// looked notes that the owner reads all there is. It returns what to do about acknowledgements before and after, and how
// many bytes wait as far as the ring knows.
func (r *Ring) looked(c *Conn) (before, after quick, waiting int64) {
	nowNs := clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &c.ack
	if a.state != ackBegins && a.state != ackPrompt {
		before = quickOff // again: the kernel gives it up when it acknowledges by itself
	}
	switch a.state {
	case ackBegins:
		switch {
		case a.segments < atOnce:
		case r.held[c.w.remote]:
			c.readPromptly()
		default:
			a.state, a.left = ackTried, trials
			before = quickOff
		}
	case ackTried:
		after = quickOnce
		if a.unread != 1 || r.gapNs > int64(slowGap) || nowNs-a.sinceNs < r.tryTime() {
			break // it was not left alone, or not long enough
		}
		a.passed = 0
		waits, known := r.held[c.w.remote]
		if a.left--; a.left > 0 && !waits {
			break
		}
		if !known {
			r.held[c.w.remote] = true
		}
		c.readPromptly()
		a.prompt, after = true, quickOn
	case ackPrompt:
		if !a.prompt {
			a.prompt, after = true, quickOn
		}
	case ackTaught, ackLate:
		if n := c.w.in.duplicates; n != a.duplicates {
			a.duplicates = n
			a.state, a.left = ackTaught, slowReads
		}
		if a.state == ackTaught && c.unread > 0 {
			after = quickOnce
			if a.left--; a.left <= 0 {
				a.state = ackLate
			}
		}
	}
	c.unread, c.lookNs = 0, nowNs
	a.unread, a.waiting, a.quietNs = 0, 0, math.MaxInt64 // until settled
	return before, after, c.w.in.next - c.read
}

// settled ends what looked began: what comes from now on is acknowledged as the state says.
func (r *Ring) settled(c *Conn) {
	r.mu.Lock()
	c.ack.quietNs = clock.Now()
	r.mu.Unlock()
}

// suspects reports whether the segments look like those of a server that waits: again and again one comes after the time
// that the kernel takes to acknowledge by itself, and holds what should have come as several.
func (a *acks) suspects(size int, gapNs int64) bool {
	if size < leastEvent {
		return false // an end, or a head
	}
	if a.least == 0 || size < a.least {
		a.least = size
	}
	switch {
	case gapNs >= int64(kernelTime) && gapNs <= 2*int64(kernelTime) && size*5 >= a.least*9:
		a.suspect += 3
	case a.suspect > 0:
		a.suspect--
	}
	return a.suspect >= 8
}

func (c *Conn) readPromptly() {
	c.ack.state = ackPrompt
	c.w.r.prompt++
}

// tryTime is how long a segment is left alone, ns: somewhat longer than the next one should take.
func (r *Ring) tryTime() int64 {
	if r.gapNs == 0 {
		return int64(tryTime)
	}
	return min(max(r.gapNs*3/2, 2*int64(napSoon)), int64(tryTime))
}

// soonTime is how long a segment of a connection waits to be read, ns.
func (r *Ring) soonTime(c *Conn) int64 {
	if c.ack.state == ackTried {
		return r.tryTime()
	}
	return min(max(r.gapNs/2, int64(napSoon)), int64(tryTime))
}

// sweepSoon calls for the connections whose segments have waited long enough. r.mu must be held.
func (r *Ring) sweepSoon(nowNs int64) {
	kept := r.soon[:0]
	for _, c := range r.soon {
		switch {
		case c.index < 0 || c.unread == 0:
		case nowNs-c.sinceAny >= r.soonTime(c):
			r.makeDue(c)
		default:
			kept = append(kept, c)
		}
	}
	clear(r.soon[len(kept):])
	r.soon = kept
}
