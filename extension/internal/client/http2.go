package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// HTTP/2 (RFC 9113), one request at a time on a connection, so that a VU holds its connection as with HTTP/1.1 and no
// stream waits for another's bytes.
//
// What a stamp means here. A DATA frame has arrived when its last byte has, and its stamp is that of the receive which
// brought this byte: the kernel's time on Linux, also under TLS, else the time right after the read. Hence
//   - frames that came whole in one receive share its stamp, and the output chunks in them count as coalesced;
//   - TLS records that came in one receive likewise; a record's bytes can be read only when all of it is there, so a frame
//     in a record that was split has the time of the receive that completed the record;
//   - a frame split over several receives has the time of the last of them, though the bytes in front came earlier. A
//     server that packs events into large frames makes the early ones late by that, as it does with its TLS records;
//   - the first byte is the receive that completed the final response's HEADERS (and CONTINUATIONs); interim (1xx)
//     responses are none;
//   - the end is the receive that brought END_STREAM, be it on an empty DATA frame or on the trailers;
//   - sent is the write that carried the request's END_STREAM. A body larger than the server's windows goes out as these
//     open, and the waiting for them counts as sending.
//
// The windows granted to the server are the largest there are, so that it never waits for this client. The preface and
// the server's SETTINGS are exchanged when the connection is opened, and count as connecting. net/http's transport is not
// used because it reads ahead on a goroutine of its own: nobody could tell the receive a byte came in.

const (
	http2Window    = math.MaxInt32 // the largest window: what the server may send unacknowledged
	http2Replenish = http2Window / 2
	http2Default   = 65535    // every window at the start (RFC 9113, 6.9.2)
	http2Frame     = 16 << 10 // largest frame, both ways: every peer takes that much, and larger ones save nothing
	http2Write     = 64 << 10 // about so much of a body goes into one write
	http2HeadBytes = 64 << 10 // largest response head, as with HTTP/1.1
	http2In        = 4 << 10  // frames of streams are small; larger ones are read past the buffer
	http2LastID    = math.MaxInt32
	// http2Idle bounds the reading of what waits on an idle connection. It is there already; only a torn frame is late.
	http2Idle = 20 * time.Millisecond
)

// http2Link is an HTTP/2 connection, read by the goroutine that waits for the response.
type http2Link struct {
	linkTimes
	id   linkKey
	conn net.Conn // what HTTP is spoken over: seg itself, or TLS on it
	seg  segmentConn

	in     *bufio.Reader // refilled by one receive, and only when it is empty: all in it came by atNs
	frames *http2.Framer // reads from in, writes to out
	atNs   int64         // arrival of the last bytes read, and after which time the first of their receive arrived
	since  int64
	stamp  reader.Stamp // where that time comes from

	out      bytes.Buffer // frames of the next write
	writeErr error        // the first; nothing is written after it, but there may be something to read
	encoder  *hpack.Encoder
	fields   []hpack.HeaderField
	block    bytes.Buffer // what encoder wrote

	maxHeaderList uint32 // the server's settings
	initialWindow int64
	connWindow    int64 // bytes that may be sent, on the connection and on the stream
	streamWindow  int64
	connTaken     int64 // bytes that came in since the window was last replenished
	streamTaken   int64

	goneAway bool   // no further request is taken
	lastID   uint32 // with goneAway: the last stream the server may have looked at
	awayErr  error  // with goneAway: its reason, if there was one

	x         *exchange // while one is on its way
	ctx       context.Context
	stop      func() bool // its context no longer ends reads and writes
	stream    uint32      // of the last request
	unsent    []byte      // of its body
	allSent   bool        // END_STREAM was written
	sentKnown bool        // the time of the last write of the request has been taken over, as well as can be
	headDone  bool        // the final response's HEADERS are in
	body      []byte      // of the response: what came in the last receive
	behind    bool        // in which more came behind it
	taken     int         // bytes read of the frame that is being read
	lengthNow int64       // body bytes so far
	length    int64       // what Content-Length says, -1 = nothing
	countedNs int64       // the receive that was counted last
}

// startHTTP2 speaks first: the preface, and then the server's settings are awaited. conn is seg or TLS on it; it is closed
// if an error is returned.
func startHTTP2(ctx context.Context, key linkKey, conn net.Conn, seg segmentConn, s *setup) (link, error) {
	beganNs := clock.Now()
	l := &http2Link{id: key, conn: conn, seg: seg, maxHeaderList: math.MaxUint32, initialWindow: http2Default, connWindow: http2Default}
	l.in = bufio.NewReaderSize(receives{l}, http2In)
	l.frames = http2.NewFramer(&l.out, counted{l})
	l.frames.SetMaxReadFrameSize(http2Frame)
	l.frames.SetReuseFrames()
	l.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	l.frames.MaxHeaderListSize = http2HeadBytes
	l.encoder = hpack.NewEncoder(&l.block)
	stop := interruptOn(ctx, conn)
	err := l.shakeHands()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		l.close(true)
		return nil, err
	}
	s.connectNs += clock.Now() - beganNs
	return l, nil
}

func (l *http2Link) shakeHands() error {
	l.out.WriteString(http2.ClientPreface)
	err := errors.Join(
		l.frames.WriteSettings(
			http2.Setting{ID: http2.SettingEnablePush, Val: 0},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: http2Window},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: http2HeadBytes},
		),
		l.frames.WriteWindowUpdate(0, http2Window-http2Default),
		l.write(),
	)
	if err != nil {
		return err
	}
	f, err := l.frames.ReadFrame()
	if err != nil {
		return fmt.Errorf("no HTTP/2 settings from the server: %w", err)
	}
	settings, ok := f.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return fmt.Errorf("no HTTP/2 settings from the server, but %v", f.Header())
	}
	if err := l.control(nil, settings); err != nil {
		return err
	}
	return l.writeErr
}

// receives reads from the connection and notes when what it read had arrived.
type receives struct{ l *http2Link }

func (r receives) Read(b []byte) (int, error) {
	n, err := r.l.conn.Read(b)
	for n == 0 && isTimeout(err) && r.l.waits() {
		n, err = r.l.conn.Read(b)
	}
	if n == 0 {
		return n, err
	}
	if atNs, stamp := r.l.seg.stamp(); atNs != r.l.atNs {
		r.l.behind = r.l.behind || r.l.taken > 0
		r.l.feed() // TLS may return one receive in several reads, so only now is the last one known to be over
		r.l.since, r.l.atNs, r.l.stamp = r.l.seg.since(), atNs, stamp
	}
	return n, err
}

// counted hands the framer what was received, and counts how much of a frame that is.
type counted struct{ l *http2Link }

func (c counted) Read(b []byte) (int, error) {
	n, err := c.l.in.Read(b)
	c.l.taken += n
	return n, err
}

// readFrame reads the next frame, and notes whether it came behind body bytes of the same receive.
func (l *http2Link) readFrame() (http2.Frame, error) {
	l.taken = 0
	f, err := l.frames.ReadFrame()
	l.taken = 0
	if d, isData := f.(*http2.DataFrame); err == nil && (!isData || len(d.Data()) == 0) {
		l.behind = true
	}
	return f, err
}

// waits reports whether a read that has lasted long goes on: it sets the time at which it is called again, or x is given up.
func (l *http2Link) waits() bool {
	nowNs := clock.Now()
	if l.x == nil || l.ctx.Err() != nil {
		return false
	}
	l.feed()
	l.x.enough(nowNs)
	if l.x.graceOver(nowNs) || l.x.endAtNs > 0 && nowNs >= l.x.endAtNs {
		return false
	}
	readUntil(l.ctx, l.conn, l.x.nextCheckNs(nowNs))
	return true
}

// feed hands the parser what the frames of one receive held.
func (l *http2Link) feed() {
	if len(l.body) > 0 {
		l.x.p.FeedBodyWithin(l.body, l.x.since(l.since), l.atNs)
		if l.behind {
			l.x.p.FeedFraming()
		}
		l.body = l.body[:0]
	}
}

func (l *http2Link) key() linkKey { return l.id }

// alive reports whether the server takes another request, and answers what came since the last response.
func (l *http2Link) alive() bool {
	for l.usable() && l.unread() {
		_ = l.conn.SetDeadline(time.Now().Add(http2Idle))
		f, err := l.frames.ReadFrame()
		if err != nil || l.control(nil, f) != nil {
			return false
		}
	}
	return l.usable()
}

// unread reports whether a frame, or the end of the connection, waits to be read; what TLS says on its own is none.
func (l *http2Link) unread() bool {
	_ = l.conn.SetReadDeadline(time.Time{})
	l.seg.setNoWait(true)
	_, err := l.in.Peek(1)
	l.seg.setNoWait(false)
	return !isTimeout(err)
}

func (l *http2Link) deferMode() readMode {
	if l.conn == l.seg {
		return deferUntilFrame
	}
	return deferUntilRecord
}

func (l *http2Link) usable() bool {
	return !l.goneAway && l.writeErr == nil && l.stream < http2LastID
}

func (l *http2Link) close(abort bool) { closeConn(l.conn, l.seg, abort) }

// send writes the head and as much of the body as the server's windows allow; wait sends the rest. The request is taken
// from x, not from its HTTP/1.1 form.
func (l *http2Link) send(ctx context.Context, x *exchange, _ []byte) (over bool, err error) {
	if deadlineNs, _ := x.limit(clock.Now()); deadlineNs > 0 {
		_ = l.conn.SetDeadline(clock.Wall(deadlineNs))
	} else {
		_ = l.conn.SetDeadline(time.Time{})
	}
	l.headDone, l.lengthNow, l.length, l.countedNs, l.streamTaken = false, 0, -1, 0, 0
	l.x, l.body = x, l.body[:0]
	if err := l.writeHead(x); err != nil {
		return false, err
	}
	l.ctx, l.stop = ctx, interruptOn(ctx, l.conn)
	l.writeBody(x)
	if isTimeout(l.writeErr) {
		l.stop()
		return false, l.writeErr
	}
	if l.writeErr != nil && x.m.SentNs == 0 {
		x.sentAt(sendTime(x.beganNs, clock.Now()))
	}
	return false, nil // after an error too: the server may have answered before it closed
}

// writeHead puts the HEADERS frame, and CONTINUATIONs if it is long, into out.
func (l *http2Link) writeHead(x *exchange) error {
	l.gatherFields(x)
	size := uint64(0)
	for _, f := range l.fields {
		size += uint64(f.Size())
	}
	if size > uint64(l.maxHeaderList) { // checked before the encoder's table changes
		return fmt.Errorf("the request's headers are %d bytes long; the server takes %d", size, l.maxHeaderList)
	}
	l.block.Reset()
	for _, f := range l.fields {
		if err := l.encoder.WriteField(f); err != nil {
			return err
		}
	}
	if l.stream == 0 {
		l.stream = 1
	} else {
		l.stream += 2
	}
	l.streamWindow = l.initialWindow
	l.unsent, l.allSent = x.r.Body, len(x.r.Body) == 0
	part := l.block.Next(http2Frame)
	err := l.frames.WriteHeaders(http2.HeadersFrameParam{
		StreamID: l.stream, BlockFragment: part, EndStream: l.allSent, EndHeaders: l.block.Len() == 0,
	})
	for err == nil && l.block.Len() > 0 {
		part = l.block.Next(http2Frame)
		err = l.frames.WriteContinuation(l.stream, l.block.Len() == 0, part)
	}
	return err
}

// gatherFields collects what the HTTP/1.1 head would say, in HTTP/2's terms.
func (l *http2Link) gatherFields(x *exchange) {
	o := &x.c.o
	method, scheme := x.r.Method, "http"
	if method == "" {
		method = o.Method
	}
	if x.t.tls {
		scheme = "https"
	}
	l.fields = append(l.fields[:0],
		hpack.HeaderField{Name: ":method", Value: method},
		hpack.HeaderField{Name: ":scheme", Value: scheme},
		hpack.HeaderField{Name: ":authority"},
		hpack.HeaderField{Name: ":path", Value: x.t.path},
	)
	for f := range x.c.header(x.t, x.r.Header) {
		l.addField(f)
	}
	for f := range x.c.authorization(x.r, x.auth) {
		l.addField(f)
	}
	if !x.c.identified(x.r) {
		// New with each request: in the table it would only push out what comes again.
		l.fields = append(l.fields, hpack.HeaderField{Name: "x-request-id", Value: x.r.ID, Sensitive: true})
	}
	l.fields = append(l.fields, hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(len(x.r.Body))})
}

// addField adds a header, unless it speaks of the connection, which HTTP/2 forbids (RFC 9113, 8.2.2).
func (l *http2Link) addField(f Field) {
	name := strings.ToLower(f.Name)
	switch name {
	case "keep-alive", "proxy-connection", "upgrade":
		return
	case "te":
		if f.Value != "trailers" {
			return
		}
	case "host":
		l.fields[2].Value = f.Value
		return
	}
	l.fields = append(l.fields, hpack.HeaderField{Name: name, Value: f.Value})
}

// writeBody writes what is in out and of the body what the windows allow, and notes when.
func (l *http2Link) writeBody(x *exchange) {
	for l.writeErr == nil {
		for !l.allSent && l.out.Len() < http2Write {
			n := min(int64(len(l.unsent)), http2Frame, l.connWindow, l.streamWindow)
			if n <= 0 {
				break
			}
			l.allSent = n == int64(len(l.unsent))
			if l.writeErr = l.frames.WriteData(l.stream, l.allSent, l.unsent[:n]); l.writeErr != nil {
				return
			}
			l.unsent = l.unsent[n:]
			l.connWindow -= n
			l.streamWindow -= n
		}
		if l.out.Len() == 0 {
			return
		}
		if l.write() == nil {
			x.sentAt(l.seg.sentStamp())
			l.sentKnown = false
		}
	}
}

// write hands out to the connection.
func (l *http2Link) write() error {
	if l.writeErr == nil && l.out.Len() > 0 {
		_, l.writeErr = l.conn.Write(l.out.Bytes())
	}
	l.out.Reset()
	return l.writeErr
}

// answer writes what a frame of the server's asked for. The connection knows the time of its last write only, so the
// request's is taken over first.
func (l *http2Link) answer(x *exchange) {
	if x != nil {
		l.takeSent(x)
	}
	_ = l.write()
}

func (l *http2Link) takeSent(x *exchange) {
	if !l.sentKnown && x.m.SentNs != 0 {
		l.sentKnown = true
		x.takeSentStamp(l.seg.sentStamp())
	}
}

func (l *http2Link) async(ctx context.Context, x *exchange) { go l.wait(ctx, x) }

func (l *http2Link) wait(ctx context.Context, x *exchange) {
	readUntil(ctx, l.conn, x.nextCheckNs(clock.Now()))
	for {
		done := false
		f, err := l.readFrame()
		if err == nil {
			done, err = l.handleFrame(x, f)
		}
		if err == nil && !done {
			if !l.allSent && l.writeErr == nil {
				l.writeBody(x)
			}
			continue
		}
		var ofStream http2.StreamError
		if errors.As(err, &ofStream) && ofStream.StreamID != l.stream {
			continue // a stream that is over
		}
		l.feed()
		l.takeSent(x)
		l.x, l.ctx, l.unsent = nil, nil, nil
		if cap(l.body) > http2Write {
			l.body = nil
		}
		undisturbed := l.stop()
		if err == nil {
			l.seg.setReadMode(readEagerly)
		}
		switch {
		case err == nil:
			x.p.End(nil, l.atNs)
			r := x.p.Result()
			r.EndNs = max(r.EndNs, l.atNs)
			// An answer may come before the whole request was sent: the stream is then half open. And a deadline that
			// ctx sets must not meet the connection's next request.
			r.KeepAlive = l.allSent && undisturbed && l.usable()
			x.finish(nil, endComplete)
		case ctx.Err() != nil:
			x.finish(ctx.Err(), endInterrupted)
		case errors.Is(err, os.ErrDeadlineExceeded) && x.completeNs > 0:
			x.finish(nil, endGraceOver)
		case errors.Is(err, os.ErrDeadlineExceeded):
			x.finish(err, endDeadline)
		default:
			l.broken(x, err)
		}
		return
	}
}

// broken ends x because the connection or the stream did, or because the server broke the protocol.
func (l *http2Link) broken(x *exchange, err error) {
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if l.goneAway {
		if l.lastID >= l.stream {
			l.countReceive(x) // the server may have begun with the request: it must not be sent again
		}
		if ended && l.awayErr != nil {
			err, ended = l.awayErr, false
		}
	}
	if ended {
		err = io.ErrUnexpectedEOF
	}
	x.p.End(err, clock.Now())
	if r := x.p.Result(); r.Failure == stream.Reset {
		switch {
		case ended && r.Status != 0:
			r.Failure = stream.Truncated // as in HTTP/1.1: the connection ended in good order, the response did not
		case isProtocolError(err):
			r.Failure = stream.Malformed
		}
	}
	x.finish(err, endConnection)
}

// isProtocolError reports whether the peer broke HTTP/2's rules, by the judgement of the framer or of this file.
func isProtocolError(err error) bool {
	return errors.As(err, new(http2.ConnectionError)) || errors.As(err, new(http2.StreamError)) ||
		errors.As(err, new(protocolError)) || errors.Is(err, http2.ErrFrameTooLarge)
}

// protocolError is what the framer does not check.
type protocolError string

func (e protocolError) Error() string { return "HTTP/2: " + string(e) }

// handleFrame handles one frame; done reports whether it ended the response.
func (l *http2Link) handleFrame(x *exchange, f http2.Frame) (done bool, err error) {
	if f.Header().StreamID != l.stream {
		return false, l.control(x, f)
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		l.countReceive(x)
		return l.takeHead(x, f)
	case *http2.DataFrame:
		l.countReceive(x)
		return l.takeData(x, f)
	case *http2.RSTStreamFrame:
		if f.ErrCode != http2.ErrCodeRefusedStream || l.headDone {
			l.countReceive(x) // only a refused request was certainly not looked at (RFC 9113, 8.7)
		}
		return false, fmt.Errorf("the server reset the stream: %v", f.ErrCode)
	case *http2.WindowUpdateFrame:
		if l.streamWindow += int64(f.Increment); l.streamWindow > http2Window {
			return false, protocolError("the stream's window is larger than 2^31-1")
		}
	default:
		return false, l.control(x, f)
	}
	return false, nil
}

// countReceive notes a receive that brought something of the response. Connection frames do not count: after them a request
// that met a closing connection may still be sent again.
func (l *http2Link) countReceive(x *exchange) {
	if l.atNs != l.countedNs {
		l.countedNs = l.atNs
		x.countReceive(l.stamp)
	}
}

func (l *http2Link) takeHead(x *exchange, f *http2.MetaHeadersFrame) (done bool, err error) {
	if f.Truncated {
		return false, protocolError(fmt.Sprintf("the head of the response is longer than %d bytes", http2HeadBytes))
	}
	if l.headDone { // trailers
		if !f.StreamEnded() {
			return false, protocolError("trailers that do not end the stream")
		}
		return true, l.checkLength()
	}
	status, err := strconv.Atoi(f.PseudoValue("status"))
	if err != nil || status < 100 || status > 999 {
		return false, protocolError(fmt.Sprintf("status %q", f.PseudoValue("status")))
	}
	if status < 200 {
		if f.StreamEnded() || status == http.StatusSwitchingProtocols {
			return false, protocolError(fmt.Sprintf("status %d is no response", status))
		}
		return false, nil
	}
	l.headDone = true
	regular := f.RegularFields()
	header := make(http.Header, len(regular))
	for _, h := range regular {
		header.Add(h.Name, h.Value)
		if h.Name == "content-length" {
			n, err := strconv.ParseUint(h.Value, 10, 63)
			if err != nil || l.length >= 0 && l.length != int64(n) {
				return false, protocolError(fmt.Sprintf("content-length %q", h.Value))
			}
			l.length = int64(n)
		}
	}
	if status == http.StatusNotModified {
		l.length = -1 // that of the body which is left out
	}
	x.p.FeedHead(status, header, l.atNs)
	if !f.StreamEnded() {
		if l.length < 0 && l.allSent {
			l.seg.setReadMode(l.deferMode())
		}
		return false, nil
	}
	return true, l.checkLength()
}

func (l *http2Link) takeData(x *exchange, f *http2.DataFrame) (done bool, err error) {
	if !l.headDone {
		return false, protocolError("data before the head")
	}
	l.replenish(x, f)
	l.lengthNow += int64(len(f.Data()))
	if len(f.Data()) > 0 {
		l.body, l.behind = append(l.body, f.Data()...), false
	}
	if !f.StreamEnded() {
		return false, nil
	}
	return true, l.checkLength()
}

// checkLength holds the body against its Content-Length (RFC 9113, 8.1.1).
func (l *http2Link) checkLength() error {
	if l.length >= 0 && l.length != l.lengthNow {
		return protocolError(fmt.Sprintf("the body has %d bytes, not %d as content-length says", l.lengthNow, l.length))
	}
	return nil
}

// replenish gives back the window that a DATA frame took, padding included, long before it closes.
func (l *http2Link) replenish(x *exchange, f *http2.DataFrame) {
	n := int64(f.Length)
	l.connTaken += n
	if l.connTaken > http2Replenish {
		_ = l.frames.WriteWindowUpdate(0, uint32(l.connTaken)) // into memory: it cannot fail
		l.connTaken = 0
	}
	if f.StreamID == l.stream && !f.StreamEnded() {
		l.streamTaken += n
		if l.streamTaken > http2Replenish {
			_ = l.frames.WriteWindowUpdate(l.stream, uint32(l.streamTaken))
			l.streamTaken = 0
		}
	}
	if l.out.Len() > 0 {
		l.answer(x)
	}
}

// control handles the frames of the connection and of streams that are over; x is nil where none is open.
func (l *http2Link) control(x *exchange, f http2.Frame) error {
	id := f.Header().StreamID
	if id > l.stream || id != 0 && id%2 == 0 {
		if _, unknown := f.(*http2.UnknownFrame); unknown {
			return nil
		}
		if _, priority := f.(*http2.PriorityFrame); priority {
			return nil
		}
		return protocolError(fmt.Sprintf("%v of stream %d, which nobody opened", f.Header().Type, id))
	}
	switch f := f.(type) {
	case *http2.PushPromiseFrame:
		return protocolError("a push, which is switched off")
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if err := f.ForeachSetting(l.setting); err != nil {
			return err
		}
		_ = l.frames.WriteSettingsAck()
		l.answer(x)
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = l.frames.WritePing(true, f.Data)
			l.answer(x)
		}
	case *http2.WindowUpdateFrame:
		if id != 0 {
			return nil
		}
		if l.connWindow += int64(f.Increment); l.connWindow > http2Window {
			return protocolError("the connection's window is larger than 2^31-1")
		}
	case *http2.DataFrame:
		l.replenish(x, f)
	case *http2.GoAwayFrame:
		l.goneAway, l.lastID, l.awayErr = true, f.LastStreamID, nil
		if f.ErrCode != http2.ErrCodeNo {
			l.awayErr = fmt.Errorf("the server went away: %v %s", f.ErrCode, stream.Message(string(f.DebugData())))
		}
		if x != nil && f.LastStreamID < l.stream {
			if l.awayErr != nil {
				return l.awayErr
			}
			return errors.New("the server went away before it took the request")
		}
	}
	return nil
}

func (l *http2Link) setting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingInitialWindowSize:
		// It changes the open stream's window too, which may go below 0 (RFC 9113, 6.9.2).
		l.streamWindow += int64(s.Val) - l.initialWindow
		l.initialWindow = int64(s.Val)
		if l.streamWindow > http2Window {
			return protocolError("the stream's window is larger than 2^31-1")
		}
	case http2.SettingHeaderTableSize:
		l.encoder.SetMaxDynamicTableSizeLimit(s.Val)
	case http2.SettingMaxHeaderListSize:
		l.maxHeaderList = s.Val
	}
	return nil
}
