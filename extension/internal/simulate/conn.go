package simulate

import (
	"bytes"
	"strconv"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// mark says which event is complete once a connection has sent up to a byte.
type mark struct {
	end    int64
	tokens int
	rec    *record
}

// eventEnd is where an event ends in the bytes of a write, and the output tokens that it brings. A whole reply is one, too; it
// may have no token.
type eventEnd struct{ at, tokens int }

// conn is one HTTP/1.1 connection: requests come and are answered one after the other.
type conn struct {
	srv  *Server
	sock socket

	in        []byte // received, not yet part of a handled request
	inAtNs    int64
	inKernel  bool
	req       request
	headDone  bool
	continued bool
	body      unchunk
	bodyUsed  int // of in, by a chunked body

	busy        bool // a request is being answered
	closed      bool
	closeAfter  bool
	closeUnsaid bool   // closeAfter, but the response promises keep-alive
	fixed       bool   // the response streams without chunk framing
	held        []byte // response head that waits for the first bytes of the body
	handling    int    // depth of handle, against recursion by pipelined requests
	rec         *record
	cancel      canceller

	out       []byte // what the socket did not take yet
	outStart  int
	sentBytes int64 // handed to the socket so far
	marks     []mark
	unpaced   func() // goes on when the socket takes bytes again
	turn      uint64 // counts requests: something that comes back later knows whether it is still wanted

	departing  departing   // the socket, if it is one
	departures *departures // nil = the kernel tells no times

	idle timer
}

// canceller is what must stop when the client leaves.
type canceller interface{ cancelled() }

func (s *Server) accept(sock socket) sink {
	c := &conn{srv: s, sock: sock}
	c.idle.task = idleTask{c}
	if d, ok := sock.(departing); ok {
		c.departing, c.departures = d, d.departures()
	}
	s.conns[c] = struct{}{}
	c.armIdle()
	return c
}

type idleTask struct{ c *conn }

func (t idleTask) run(int64) { t.c.close() }

func (c *conn) armIdle() {
	if d := c.srv.config.IdleTimeout; d > 0 {
		c.srv.loop.pacer.set(&c.idle, clock.Now()+int64(d))
	}
}

func (c *conn) onData(b []byte, atNs int64, kernel bool) {
	if c.closed {
		return
	}
	c.inAtNs, c.inKernel = atNs, kernel
	if c.busy || len(c.in) > 0 {
		if len(c.in)+len(b) > maxBodyBytes+maxHeadBytes {
			c.reset("too large")
			return
		}
		c.in = append(c.in, b...)
		if !c.busy {
			c.handleInput()
		}
		return
	}
	used := c.handle(b)
	if !c.closed && used < len(b) {
		c.in = append(c.in, b[used:]...)
	}
}

// handleInput handles what waits in the buffer.
func (c *conn) handleInput() {
	if c.handling > 0 { // the caller goes on itself
		return
	}
	used := c.handle(c.in)
	if c.closed {
		return
	}
	c.in = c.in[:copy(c.in, c.in[used:])]
	if len(c.in) == 0 && cap(c.in) > 64<<10 {
		c.in = nil
	}
}

// handle takes complete requests from b until one cannot be answered at once, and returns how many bytes it used.
func (c *conn) handle(b []byte) (used int) {
	c.handling++
	defer func() { c.handling-- }()
	for !c.busy && !c.closed {
		n, complete, err := c.takeRequest(b[used:])
		if err != nil {
			c.refuse(err)
			return len(b)
		}
		if !complete {
			return used + n
		}
		used += n
	}
	return used
}

// takeRequest hands the request at the beginning of b to its handler once it is complete, and says how much of b is not
// needed any more.
func (c *conn) takeRequest(b []byte) (used int, complete bool, err error) {
	headLength := 0
	if !c.headDone {
		for len(b) > used && (b[used] == '\r' || b[used] == '\n') { // left over behind a body by some clients
			used++
		}
		end := bytes.Index(b[used:], []byte("\r\n\r\n"))
		if end < 0 {
			if len(b)-used > maxHeadBytes {
				return used, false, errTooLarge
			}
			return used, false, nil
		}
		headLength = end + 4
		if err := c.req.parseHead(b[used : used+headLength]); err != nil {
			return used, false, err
		}
	} else {
		headLength = c.bodyUsed // the head stays in the buffer: the request's slices point into it
	}
	rest := b[used+headLength:]
	var body []byte
	total := headLength
	if c.req.chunked {
		n, done, err := c.body.read(rest)
		if err != nil {
			return used, false, err
		}
		total += n
		if !done {
			c.wait(total)
			return used, false, nil
		}
		body = c.body.body
	} else {
		if len(rest) < c.req.bodyLength {
			c.wait(headLength)
			return used, false, nil
		}
		body = rest[:c.req.bodyLength]
		total += c.req.bodyLength
	}
	if c.headDone { // the buffer may have moved since the head was read
		c.headDone = false
		if err := c.req.parseHead(b[used:]); err != nil {
			return used, false, err
		}
	}
	c.body = unchunk{}
	c.bodyUsed, c.continued = 0, false
	c.req.body = body
	c.req.beginNs, c.req.kernelBegin = c.inAtNs, c.inKernel
	c.begin()
	c.srv.route(c, &c.req)
	return used + total, true, nil
}

// wait notes how far an incomplete request was read; the bytes up to there stay in the buffer.
func (c *conn) wait(total int) {
	c.headDone, c.bodyUsed = true, total
	if c.req.expect && !c.continued {
		c.continued = true
		c.write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
}

// begin marks the connection as busy with the request that was just read.
func (c *conn) begin() {
	c.busy = true
	c.turn++
	c.closeAfter = !c.req.keepAlive
	c.fixed, c.closeUnsaid = false, false
	c.srv.loop.pacer.clear(&c.idle)
}

// finished is called when the last byte of a response was handed over.
func (c *conn) finished() {
	if c.rec != nil {
		c.srv.truth.done(c.rec, clock.Now())
		c.rec = nil
	}
	c.cancel, c.unpaced = nil, nil
	c.busy = false
	if c.closed {
		return
	}
	if c.closeAfter {
		if c.outStart < len(c.out) {
			c.busy = true // until the rest is sent
			return
		}
		c.close()
		return
	}
	c.armIdle()
	if len(c.in) > 0 {
		c.handleInput()
	}
}

// refuse answers what is no HTTP request and hangs up.
func (c *conn) refuse(err error) {
	c.begin()
	c.closeAfter = true
	status := 400
	if err == errTooLarge {
		status = 413
	}
	c.reply(status, textPlain, []byte(err.Error()))
}

const (
	applicationJSON = "application/json"
	textPlain       = "text/plain; charset=utf-8"
	eventStream     = "text/event-stream; charset=utf-8"
	jsonLines       = "application/x-ndjson"
)

// head appends the status line and the headers that every response has.
func (c *conn) head(status int, contentType string) []byte {
	b := append(c.srv.scratch[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, statusText(status)...)
	b = append(b, "\r\ndate: "...)
	b = append(b, c.srv.date()...)
	b = append(b, "\r\nserver: tokenclock\r\ncontent-type: "...)
	b = append(b, contentType...)
	if c.closeAfter && !c.closeUnsaid {
		b = append(b, "\r\nconnection: close"...)
	} else if c.req.http10 || c.closeUnsaid {
		b = append(b, "\r\nconnection: keep-alive"...)
	}
	return b
}

// reply sends a whole response with a content length and ends the request.
func (c *conn) reply(status int, contentType string, body []byte) {
	c.replyTokens(status, contentType, body, 0)
}

func (c *conn) replyTokens(status int, contentType string, body []byte, tokens int) {
	if c.closed {
		c.finished()
		return
	}
	b := c.head(status, contentType)
	if status == 429 || status == 503 {
		b = append(b, "\r\nretry-after: 1"...)
	}
	b = append(b, "\r\ncontent-length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	if c.req.method != "HEAD" {
		b = append(b, body...)
	}
	c.keepScratch(b)
	if c.rec != nil {
		c.rec.status = status
	}
	if status == 200 {
		c.write(b, eventEnd{len(b), tokens})
	} else {
		c.write(b)
	}
	c.finished()
}

// keepScratch keeps a grown buffer for the next response, but no huge one.
func (c *conn) keepScratch(b []byte) {
	if cap(b) <= 1<<20 {
		c.srv.scratch = b
	}
}

// beginStream sends the head of a streamed response, or holds it back to go out with the first event.
func (c *conn) beginStream(contentType string, hold bool) {
	b := c.head(200, contentType)
	if c.fixed {
		b = append(b, "\r\n\r\n"...)
	} else {
		b = append(b, "\r\ntransfer-encoding: chunked\r\n\r\n"...)
	}
	if c.rec != nil {
		c.rec.status = 200
	}
	if hold {
		c.held = append(c.held[:0], b...)
		return
	}
	c.write(b)
}

// chunk appends payload to b framed as one HTTP chunk.
func (c *conn) chunk(b, payload []byte) []byte {
	if c.fixed {
		return append(b, payload...)
	}
	b = strconv.AppendInt(b, int64(len(payload)), 16)
	b = append(b, "\r\n"...)
	b = append(b, payload...)
	return append(b, "\r\n"...)
}

// write hands bytes to the socket in one system call; ends are the events that they complete. What the socket does not take
// is kept, and its events count as sent when their last byte goes.
func (c *conn) write(b []byte, ends ...eventEnd) {
	if c.closed {
		return
	}
	before := 0
	if len(c.held) > 0 {
		before = len(c.held)
		c.held = append(c.held, b...)
		b = c.held
		c.held = c.held[:0]
	}
	if len(b) == 0 {
		return
	}
	if c.rec != nil {
		start := c.sentBytes + int64(len(c.out)-c.outStart+before)
		for _, e := range ends {
			c.rec.waiting++
			c.marks = append(c.marks, mark{start + int64(e.at), e.tokens, c.rec})
		}
	}
	if c.backedUp() {
		c.queue(b)
		return
	}
	beforeNs := clock.Now()
	n, err := c.sock.write(b)
	if err != nil {
		c.broken()
		return
	}
	c.took(n, beforeNs)
	if n < len(b) {
		c.queue(b[n:])
	}
}

// took counts bytes that the socket took in a write that began at beforeNs, and the events that they complete.
func (c *conn) took(n int, beforeNs int64) {
	c.sentBytes += int64(n)
	done := 0
	var afterNs int64
	for _, m := range c.marks {
		if m.end > c.sentBytes {
			break
		}
		if done == 0 {
			afterNs = clock.Now()
		}
		done++
		d := c.srv.truth.note(m.rec, beforeNs, afterNs, m.tokens)
		if c.departures == nil {
			c.srv.truth.settle(&d, 0, sourceUser)
		} else {
			c.departures.expect(d, c.departing.wireEnd(m.end))
		}
	}
	if done > 0 {
		c.marks = c.marks[:copy(c.marks, c.marks[done:])]
	}
}

func (c *conn) queue(b []byte) {
	if c.cancel != nil && len(c.out)-c.outStart+len(b) > c.srv.config.SlowReader {
		c.reset("slow reader")
		return
	}
	c.out = append(c.out, b...)
}

// backedUp reports whether the socket takes no more at present.
func (c *conn) backedUp() bool { return c.outStart < len(c.out) }

func (c *conn) onWritable() {
	if c.closed {
		return
	}
	if c.backedUp() {
		beforeNs := clock.Now()
		n, err := c.sock.write(c.out[c.outStart:])
		if err != nil {
			c.broken()
			return
		}
		c.outStart += n
		c.took(n, beforeNs)
		if c.backedUp() {
			return
		}
		c.out, c.outStart = c.out[:0], 0
		if cap(c.out) > 64<<10 {
			c.out = nil
		}
	}
	switch {
	case c.unpaced != nil:
		c.unpaced()
	case c.closeAfter && c.busy && c.cancel == nil && c.rec == nil:
		c.close()
	}
}

// broken is called when the client turns out to be gone.
func (c *conn) broken() {
	if !c.closed {
		c.sock.reset()
		c.onClosed()
	}
}

func (c *conn) onClosed() { c.end("disconnected") }

// close ends the connection in order.
func (c *conn) close() {
	if !c.closed {
		c.sock.close()
		c.end("closed")
	}
}

// reset drops the connection so that the client sees an error.
func (c *conn) reset(why string) {
	if !c.closed {
		c.sock.reset()
		c.end(why)
	}
}

// end frees what the connection held; an answer that was under way is cancelled.
func (c *conn) end(why string) {
	if c.closed {
		return
	}
	c.closed = true
	delete(c.srv.conns, c)
	c.srv.loop.pacer.clear(&c.idle)
	for _, m := range c.marks { // never sent
		m.rec.waiting--
		c.srv.truth.countLatency(m.rec)
	}
	if c.rec != nil {
		switch {
		case c.rec.fault == "":
			c.rec.fault = why
		case why != "closed" && c.rec.fault != why:
			c.rec.fault += ", " + why
		}
		c.srv.truth.done(c.rec, clock.Now())
		c.rec = nil
	}
	if c.cancel != nil {
		cancel := c.cancel
		c.cancel, c.unpaced = nil, nil
		cancel.cancelled()
	}
	c.in, c.out, c.marks, c.held = nil, nil, nil, nil
	c.outStart = 0
}
