//go:build !linux || (!amd64 && !arm64)

package client

import (
	"net"
	"runtime"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// CheckReader accepts everything: there is no reader thread here.
func CheckReader() error { return nil }

// ReaderState returns how streams are read.
func ReaderState() (mode, class string) {
	return "none: " + runtime.GOOS + "/" + runtime.GOARCH + " has no reader thread", ""
}

// ClockSteps returns how often the wall clock was found to have been set, and how many of the kernel's time stamps were
// rejected since: see clock.Offset.
func ClockSteps() (steps, rejected int64) { return clock.WallSteps() }

// ReaderWaitedNs knows nothing: there is no reader thread here.
func ReaderWaitedNs() (ns int64, ok bool) { return 0, false }

func (c *Client) newLink(raw Counted, key linkKey) (link, error) {
	seg, err := c.newSegmentConn(raw)
	if err != nil {
		return nil, err
	}
	return &blockingLink{id: key, conn: seg, seg: seg}, nil
}

func (c *Client) newSegmentConn(raw Counted) (segmentConn, error) {
	if t, ok := raw.Conn.(*net.TCPConn); ok {
		_ = t.SetNoDelay(true)
	}
	return &peekConn{plainConn: plainConn{Counted: raw}}, nil
}

// peekConn can look for the end of an idle connection: a read that does not wait.
type peekConn struct {
	plainConn
	early []byte
}

func (c *peekConn) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.plainConn.Read(b)
}

func (c *peekConn) quiet() bool {
	if len(c.early) > 0 {
		return false
	}
	_ = c.Conn.SetReadDeadline(time.Now().Add(noWaitTime))
	one := make([]byte, 1)
	n, err := c.Conn.Read(one)
	_ = c.Conn.SetReadDeadline(time.Time{})
	c.early = append(c.early, one[:n]...)
	return n == 0 && isTimeout(err)
}

// StampSource returns the source of times: this process's clock, for others were written for Linux only.
func StampSource() (source Stamps, why string) {
	return StampsUser, "packet rings and kernel timestamps are used on Linux (amd64, arm64) only"
}
