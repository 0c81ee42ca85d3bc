package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// maxHead limits the head of one response.
const maxHead = 256 << 10

var errNoResponse = errors.New("the server closed the connection without a response")

// Body is the body of a response, receive by receive. It belongs to one goroutine.
type Body struct {
	t    *StreamTransport
	l    *blockingLink // nil once the exchange is over
	x    *Exchange
	ctx  context.Context
	stop func() bool
	f    stream.Framing

	keepAlive bool
	raw       []byte // received, not yet looked at
	atNs      int64
	stamp     reader.Stamp
	rest      []byte // for Read: handed over by Next, not yet copied
	err       error  // what Next returns from now on
}

var _ io.ReadCloser = &Body{}

// open sends the request and reads the head of the response.
func (b *Body) open(req *http.Request, wire []byte) (*http.Response, error) {
	_ = b.l.conn.SetDeadline(time.Time{})
	conn := b.l.conn
	b.stop = interruptOn(b.ctx, conn)
	_, writeErr := conn.Write(wire)
	b.noteSent()
	// With an error too: an answer, that the request is too large most likely, may have come before all was sent.
	resp, err := b.readHead(req)
	if err != nil {
		if writeErr != nil && b.x.FirstByteNs == 0 {
			err = writeErr
		}
		return nil, b.cause(err)
	}
	b.noteSent()
	if tc, ok := conn.(*tls.Conn); ok {
		state := tc.ConnectionState()
		resp.TLS = &state
	}
	b.f = framingOf(req, resp)
	b.keepAlive = !resp.Close && !req.Close && writeErr == nil && !b.f.UntilEOF() && resp.StatusCode != http.StatusSwitchingProtocols
	resp.Body = b
	if b.f.Over() {
		b.complete()
	}
	return resp, nil
}

// framingOf says how the body ends (RFC 9112 section 6.3). http.ReadResponse has refused what is ambiguous.
func framingOf(req *http.Request, resp *http.Response) stream.Framing {
	s := resp.StatusCode
	switch {
	case req.Method == http.MethodHead || s < 200 || s == http.StatusNoContent || s == http.StatusNotModified:
		return stream.Framing{}
	case len(resp.TransferEncoding) > 0: // http.ReadResponse accepts chunked alone
		return stream.ChunkedFraming()
	case resp.ContentLength >= 0:
		return stream.LengthFraming(resp.ContentLength)
	}
	return stream.OpenFraming()
}

// clockNoiseNs is more than two readings of the kernel's clocks can disagree by.
const clockNoiseNs = 100_000

// noteSent takes the time of the send, until it is the kernel's. A stamp from before the write belongs to another one.
func (b *Body) noteSent() {
	if b.x.SentKernel {
		return
	}
	if atNs, uncertaintyNs, kernel := b.l.seg.sentStamp(); atNs > b.x.ReadyNs-clockNoiseNs {
		b.x.SentNs, b.x.SentUncertaintyNs, b.x.SentKernel = atNs, uncertaintyNs, kernel
	} else if b.x.SentNs == 0 {
		nowNs := clock.Now()
		b.x.SentNs, b.x.SentUncertaintyNs, _ = sendTime(b.x.ReadyNs, nowNs)
	}
}

// receive reads what comes next into raw.
func (b *Body) receive() error {
	if b.l.buf == nil {
		b.l.buf = make([]byte, 16<<10)
	}
	n, err := b.l.conn.Read(b.l.buf)
	if n == 0 {
		if err == nil {
			err = io.ErrNoProgress
		}
		return err
	}
	b.raw = b.l.buf[:n]
	b.atNs, b.stamp = b.l.seg.stamp()
	if b.stamp == reader.StampUser {
		b.x.UserReceives++
	} else {
		b.x.KernelReceives++
	}
	if b.x.FirstByteNs == 0 {
		b.x.FirstByteNs = b.atNs
	}
	return nil // an error will come again
}

func (b *Body) readHead(req *http.Request) (*http.Response, error) {
	var head []byte
	for {
		if err := b.receive(); err != nil {
			if errors.Is(err, io.EOF) {
				if len(head) == 0 {
					return nil, errNoResponse
				}
				return nil, io.ErrUnexpectedEOF
			}
			return nil, err
		}
		head = append(head, b.raw...)
		for {
			if n := min(len(head), len("HTTP/")); string(head[:n]) != "HTTP/"[:n] {
				return nil, fmt.Errorf("the response is not HTTP/1: it begins with %q", head[:min(len(head), 40)])
			}
			end := headEnd(head)
			if end < 0 {
				if len(head) > maxHead {
					return nil, fmt.Errorf("the head of the response is longer than %d bytes", maxHead)
				}
				break
			}
			resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head[:end])), req)
			if err != nil {
				return nil, err
			}
			head = head[end:]
			if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
				if len(head) == 0 {
					break
				}
				continue // an interim response: the real one follows
			}
			b.raw = head
			return resp, nil
		}
	}
}

// headEnd returns where the head of a response ends, -1 = not yet.
func headEnd(b []byte) int {
	for at := 0; ; {
		lf := bytes.IndexByte(b[at:], '\n')
		if lf < 0 {
			return -1
		}
		at += lf + 1
		switch rest := b[at:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 2
		}
	}
}

// Next returns the next bytes of the body and when they arrived (a time of package clock, of the segment that completed
// them); kernel says that the kernel took the time. After the last byte it returns io.EOF. io.ErrUnexpectedEOF: the
// connection ended first; the context's error: it was given up. The bytes are valid until the next call.
func (b *Body) Next() (data []byte, atNs int64, kernel bool, err error) {
	for {
		if b.f.Over() {
			b.complete() // not before the last bytes were used: they lie in the connection's buffer
		}
		if b.err != nil {
			return nil, 0, false, b.err
		}
		data, err := b.advance()
		if err != nil {
			b.fail(b.cause(err))
			continue
		}
		if b.f.Over() && b.x.EndNs == 0 {
			b.x.EndNs = b.atNs
		}
		if len(data) > 0 {
			return data, b.atNs, b.stamp != reader.StampUser, nil
		}
	}
}

// advance takes a step: it frames what was received, or receives.
func (b *Body) advance() ([]byte, error) {
	if len(b.raw) == 0 {
		err := b.receive()
		if errors.Is(err, io.EOF) {
			if !b.f.Close() {
				return nil, io.ErrUnexpectedEOF
			}
			b.atNs = clock.Now()
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	data, n, err := b.f.Next(b.raw)
	b.raw = b.raw[n:]
	return data, err
}

// cause replaces the error of a connection that was given up by the reason for that.
func (b *Body) cause(err error) error {
	if ctxErr := b.ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	return err
}

// complete ends the exchange after the last byte and keeps the connection where that is allowed.
func (b *Body) complete() {
	if b.l == nil {
		return
	}
	if b.x.EndNs == 0 {
		b.x.EndNs = b.atNs
	}
	b.noteSent()
	b.err = io.EOF
	undisturbed := b.stop() // else the connection may have been given a deadline that would hit the next exchange
	if b.keepAlive && undisturbed && len(b.raw) == 0 {
		b.t.keepLink(b.l)
	} else {
		b.l.close(false)
	}
	b.l = nil
}

// fail ends the exchange before the last byte.
func (b *Body) fail(err error) {
	if b.l == nil {
		return
	}
	if b.x.EndNs == 0 {
		b.x.EndNs = clock.Now()
	}
	b.err = err
	b.stop()
	b.l.close(b.ctx.Err() != nil)
	b.l = nil
}

// Close ends the exchange; it is not an error to close twice. If the rest of the response is about to come, it is taken,
// so that the connection can be kept; EndNs is the time of the call all the same.
func (b *Body) Close() error {
	if b.l == nil {
		return nil
	}
	if b.f.Over() {
		b.complete()
		return nil
	}
	if b.x.EndNs == 0 {
		b.x.EndNs = clock.Now()
	}
	if !b.keepAlive || b.ctx.Err() != nil {
		b.fail(http.ErrBodyReadAfterClose)
		return nil
	}
	_ = b.l.conn.SetReadDeadline(time.Now().Add(b.t.grace))
	for taken := 0; taken < closeGraceBytes; {
		data, err := b.advance()
		if err != nil {
			break
		}
		taken += len(data)
		if b.f.Over() {
			_ = b.l.conn.SetReadDeadline(time.Time{})
			b.complete()
			return nil
		}
	}
	b.fail(http.ErrBodyReadAfterClose)
	return nil
}

// Read implements io.Reader, for http.Client, which reads the bodies of redirects.
func (b *Body) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		data, _, _, err := b.Next()
		if err != nil {
			return 0, err
		}
		b.rest = data
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}
