package client

import (
	"net"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
)

// plainConn stamps in user space, right after each read and around each write.
type plainConn struct {
	Counted
	sinceNs, atNs   int64
	emptyNs         int64 // what is unread now came after it
	writeNs, doneNs int64
}

func (c *plainConn) Read(b []byte) (int, error) {
	beforeNs := clock.Now()
	n, err := c.Conn.Read(b)
	c.atNs = clock.Now()
	c.took(n, len(b), beforeNs)
	c.received(n)
	return n, err
}

// took notes what a receive that began at beforeNs came to: one that is smaller than the room there was left nothing.
func (c *plainConn) took(n, room int, beforeNs int64) {
	if n <= 0 {
		return
	}
	c.sinceNs = c.emptyNs
	if n < room {
		c.emptyNs = beforeNs
	}
}

func (c *plainConn) Write(b []byte) (int, error) {
	c.writeNs = clock.Now()
	n, err := c.Conn.Write(b)
	c.doneNs = clock.Now()
	c.sent(n)
	return n, err
}

func (c *plainConn) stamp() (int64, reader.Stamp) { return c.atNs, reader.StampUser }
func (c *plainConn) since() int64                 { return c.sinceNs }

func (c *plainConn) sentStamp() (atNs, uncertaintyNs int64, kernel bool) {
	return sendTime(c.writeNs, c.doneNs)
}

// sendTime returns the time before the write. The kernel transmits early in the call; a long call usually means that the woken
// receiver took the core. The call's length is the uncertainty.
func sendTime(beforeNs, afterNs int64) (atNs, uncertaintyNs int64, kernel bool) {
	return beforeNs, afterNs - beforeNs, false
}

// setNoWait gives a read a moment: Go's poller does not look at a socket whose deadline has passed.
func (c *plainConn) setNoWait(on bool) {
	if on {
		_ = c.Conn.SetReadDeadline(time.Now().Add(noWaitTime))
	} else {
		_ = c.Conn.SetReadDeadline(time.Time{})
	}
}

const noWaitTime = 50 * time.Microsecond

func (c *plainConn) setAbort() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}

// setReadMode does nothing: this connection takes its timestamp when it reads.
func (c *plainConn) setReadMode(readMode) {}
