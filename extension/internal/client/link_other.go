//go:build !linux || (!amd64 && !arm64)

package client

import (
	"net"
	"time"
)

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
