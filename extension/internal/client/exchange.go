package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/auth"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// exchange is one request on its way. What ends it calls finish, exactly once.
type exchange struct {
	c          *Client
	r          *Request
	ctx        context.Context
	p          stream.Parser
	m          Measurement
	l          link
	t          *target
	buf        []byte
	preparedNs int64 // when the connection was there
	checkedNs  int64 // when it was last known to be open
	waited     bool  // it has waited for the request

	auth      []auth.Field // of the credentials
	keyNumber uint64       // of the key in them
	bodyBytes int          // of the request, at the end of buf

	use uint64 // counts the requests that this exchange has stood for

	beganNs int64 // when the request began to be sent
	overNs  int64 // when the end came, as far as its connection knows; 0 = ask the clock
	first   error // what ended the first attempt of a request that was sent again

	endAtNs int64 // when it has to have ended, 0 = never; set with the send, before anybody else knows x
	abort   bool  // that is on purpose

	completeNs int64 // when the answer was first seen complete, though its body is open

	ended chan struct{} // capacity 1: finish was called
	done  func(*Measurement)
	err   error
	end   endKind
	timer *time.Timer
	stop  func() bool
}

type endKind uint8

const (
	endComplete    endKind = iota // the response is complete
	endConnection                 // the connection ended
	endGraceOver                  // the answer is complete, but its body stays open
	endDeadline                   // the time limit, or the moment to abort, came
	endInterrupted                // the context ended
)

var exchanges = sync.Pool{New: func() any { return &exchange{ended: make(chan struct{}, 1)} }}

func newExchange(c *Client, r *Request) *exchange {
	x := exchanges.Get().(*exchange)
	x.c, x.r = c, r
	x.use++
	x.m = Measurement{x: x, ID: r.ID, TraceID: r.TraceID}
	return x
}

func (x *exchange) recycle() {
	x.c, x.r, x.ctx, x.l, x.t, x.done, x.err, x.first, x.timer, x.stop, x.auth = nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil
	if cap(x.buf) > 1<<20 {
		x.buf = nil // a few huge prompts must not stay for ever
	}
	exchanges.Put(x)
}

// reset makes the parser ready for a (or another) response.
func (x *exchange) reset() {
	o := x.c.o.Stream
	o.ExpectedOutputTokens, o.KeepText, o.KeepHeader = x.r.ExpectedOutputTokens, x.r.KeepText, x.r.KeepHeader
	x.p.Reset(o)
	x.m.RingReceives, x.m.KernelReceives, x.m.UserReceives = 0, 0, 0
	x.m.SentNs, x.m.SentUncertaintyNs, x.m.SentKernel = 0, 0, false
	x.err, x.end = nil, endComplete
	x.endAtNs, x.abort, x.completeNs, x.waited = 0, false, 0, false
	x.beganNs, x.overNs = 0, 0
}

// endGrace is how long the end of a body is waited for when the answer is complete: "[DONE]" as a rule. Some servers and
// proxies leave it open for good.
const endGrace = time.Second

// nextCheckNs returns when to check the response next: at its deadline, but at least every endGrace, in case a wake-up was missed.
func (x *exchange) nextCheckNs(nowNs int64) int64 {
	at := nowNs + x.c.graceNs
	if x.endAtNs > 0 {
		at = min(x.endAtNs, at)
	}
	if x.r.AbortAfterTokens > 0 {
		at = min(at, nowNs+int64(abortLook))
	}
	return at
}

// abortLook is how often a response that is to be given up after some tokens is looked at: tokens wake nobody.
const abortLook = 5 * time.Millisecond

// enough ends a response that is to be given up after some tokens once they are there.
func (x *exchange) enough(nowNs int64) {
	if n := x.r.AbortAfterTokens; n > 0 && x.p.OutputTokensSoFar() >= n && !x.p.AnswerComplete() {
		x.endAtNs, x.abort = nowNs, true
	}
}

// since narrows the interval in which the bytes of a receive arrived: none came before the request was sent.
func (x *exchange) since(sinceNs int64) int64 { return max(sinceNs, x.m.SentNs) }

// graceOver reports whether the stream was complete for at least the grace time although the body is still open.
func (x *exchange) graceOver(nowNs int64) bool {
	if x.completeNs == 0 && x.p.AnswerComplete() {
		x.completeNs = nowNs
	}
	return x.completeNs > 0 && nowNs-x.completeNs >= x.c.graceNs
}

// sentAt notes the send; both limits count from it.
func (x *exchange) sentAt(atNs, uncertaintyNs int64, kernel bool) {
	x.m.SentNs, x.m.SentUncertaintyNs, x.m.SentKernel = atNs, uncertaintyNs, kernel
	x.endAtNs, x.abort = x.limit(atNs)
}

// limit returns the time at which a request sent at sentNs has to have ended, 0 = never, and whether that is on purpose.
func (x *exchange) limit(sentNs int64) (atNs int64, abort bool) {
	if t := x.c.o.TimeoutNs; t > 0 {
		atNs = sentNs + t
	}
	if a := x.r.AbortAfterNs; a > 0 && (atNs == 0 || sentNs+a < atNs) {
		return sentNs + a, true
	}
	return atNs, false
}

// prepare opens the connection and builds the request; on failure x.err is set.
func (x *exchange) prepare(ctx context.Context, r *Request) {
	x.reset()
	x.build(ctx, r)
	if x.err == nil {
		x.connect(ctx, false)
	}
}

// build authorizes the request and makes its bytes; on failure x.err is set.
func (x *exchange) build(ctx context.Context, r *Request) {
	if c := x.c.o.Credentials; c != nil {
		beganNs := clock.Now()
		out, err := x.c.outgoing(r)
		if err == nil {
			x.auth, x.keyNumber, err = c.Authorize(ctx, out)
		}
		if x.m.StartedNs > 0 {
			x.m.SetupNs += clock.Now() - beganNs
		}
		if x.err = err; err != nil {
			return
		}
	}
	x.bodyBytes = len(r.Body)
	x.buf, x.t, x.err = x.c.appendRequest(x.buf[:0], r, x.auth)
}

func (x *exchange) connect(ctx context.Context, fresh bool) {
	var s setup
	beganNs := clock.Now()
	x.l, s, x.err = x.c.takeLink(ctx, x.t, fresh)
	x.waited = false
	x.m.Reused, x.m.ConnectNs, x.m.TLSNs = s.reused, s.connectNs, s.tlsNs
	if x.m.StartedNs > 0 && !s.reused {
		x.m.SetupNs += clock.Now() - beganNs
	}
}

// ready reports whether the request may be sent: there is a connection, and the context has not ended, after which a server is to
// hear of nothing new.
func (x *exchange) ready(ctx context.Context) bool {
	if x.err == nil && ctx.Err() != nil {
		x.c.keepLink(x.l)
		x.l, x.err = nil, ctx.Err()
	}
	return x.err == nil
}

// run does the whole request on the calling goroutine.
func (x *exchange) run(ctx context.Context, r *Request) {
	x.prepare(ctx, r)
	for {
		if !x.ready(ctx) {
			x.notSent(ctx)
			return
		}
		x.beganNs = clock.Now()
		over, err := x.l.send(ctx, x, x.buf)
		if err != nil {
			x.sendFailed(ctx, err)
		} else if !over {
			x.l.wait(ctx, x)
		}
		<-x.ended
		if x.again() {
			x.reset()
			x.connect(ctx, true)
		} else if !x.reauthorize(ctx) {
			break
		}
	}
	x.settle()
}

// sendAsync sends a prepared request; x.done is called when it has ended.
func (x *exchange) sendAsync(ctx context.Context, done func(*Measurement)) {
	x.ctx, x.done = ctx, done
	if !x.ready(ctx) {
		x.notSent(ctx)
		done(&x.m)
		return
	}
	x.beganNs = clock.Now()
	l := x.l // once over, x belongs to whoever done told
	over, err := l.send(ctx, x, x.buf)
	if err != nil {
		x.sendFailed(ctx, err)
		go x.conclude()
	} else if !over {
		l.async(ctx, x)
	}
}

// conclude is what follows finish for a request that nobody waits for.
func (x *exchange) conclude() {
	<-x.ended
	if x.again() {
		done := x.done
		x.reset()
		x.connect(x.ctx, true)
		x.sendAsync(x.ctx, done)
		return
	}
	if done := x.done; x.reauthorize(x.ctx) {
		x.sendAsync(x.ctx, done)
		return
	}
	x.settle()
	x.done(&x.m)
}

// sendFailed ends an exchange whose request could not be written.
func (x *exchange) sendFailed(ctx context.Context, err error) {
	if x.m.SentNs == 0 {
		x.m.SentNs = clock.Now()
	}
	kind := endConnection
	if ctx.Err() != nil {
		kind = endInterrupted
	} else if isTimeout(err) {
		kind = endDeadline
		_, x.abort = x.limit(x.m.SentNs) // the write was given whichever comes first
	}
	x.end, x.err, x.overNs = kind, err, clock.Now()
	x.ended <- struct{}{}
}

// finish records how the exchange ended. Nothing feeds the parser afterwards.
func (x *exchange) finish(err error, kind endKind) {
	x.end, x.err = kind, err
	if x.overNs == 0 {
		x.overNs = clock.Now()
	}
	if x.stop != nil {
		x.stop()
		x.timer.Stop()
	}
	async := x.done != nil // read first: whoever waits may recycle x at once
	x.ended <- struct{}{}
	switch {
	case !async:
	case kind == endComplete && !x.refused():
		x.conclude() // short: hands the connection back and reports
	default:
		go x.conclude() // may connect again, or wait for another key
	}
}

// A request on a kept connection that ends without a byte of response may have met a server that was closing the connection
// before it saw the request. The end then comes about one round trip after the send: the server's close was on its way, or
// its kernel refused the request, whatever the server's process did. A later end is the failure of a server that had the
// request.
const (
	// raceFloor covers what comes on top of the round trip: a server that finds the idle time over and the request there in the
	// same turn of its event loop, and a client whose goroutine runs some milliseconds late.
	raceFloor = 25 * time.Millisecond
	// raceCeiling bounds a connecting time that was no round trip: a lost SYN is repeated after a second.
	raceCeiling = 500 * time.Millisecond
)

// raceNs returns how long after the send the end of a kept connection may still be that of a race.
func (c *Client) raceNs(rttNs int64) int64 {
	return max(c.raceFloorNs, min(2*rttNs, int64(raceCeiling)))
}

// again reports whether the request is to be sent once more, on a new connection: the server had closed the old one before
// it saw the request.
func (x *exchange) again() bool {
	if x.end != endConnection || !x.m.Reused && !x.waited || x.m.Retries > 0 || x.m.receives() > 0 {
		return false
	}
	times := x.l.times()
	if x.overNs-x.beganNs > x.c.raceNs(times.rttNs) || isAlert(x.err) {
		return false
	}
	if x.m.Reused {
		x.c.lostRace(x.beganNs - times.idleSinceNs)
	}
	x.first = x.err
	x.l.close(false)
	x.m.Retries++
	return true
}

// refused reports whether the server refused the request's key before it began to work, so that the request may be sent
// once more with another one.
func (x *exchange) refused() bool {
	if x.c.o.Credentials == nil || x.m.KeyRetries > 0 || !x.c.o.Credentials.Refused(x.p.Refusal()) {
		return false
	}
	return x.end == endComplete || x.end == endGraceOver || x.end == endConnection
}

// reauthorize makes a refused request anew with another key and reports whether there is one; else the refusal stands. What
// the first attempt and the renewal took counts as set-up: the request's latencies begin with its second send.
func (x *exchange) reauthorize(ctx context.Context) bool {
	if !x.refused() || ctx.Err() != nil || !x.c.o.Credentials.Renew(ctx, x.keyNumber) {
		return false
	}
	if x.end == endComplete && x.p.Result().KeepAlive {
		x.c.keepLink(x.l)
	} else {
		x.l.close(false)
	}
	x.l = nil
	if x.r.Body == nil && x.bodyBytes > 0 { // Start dropped it
		x.r.Body = bytes.Clone(x.buf[len(x.buf)-x.bodyBytes:])
	}
	beganNs, setupNs := x.beganNs, x.m.SetupNs
	x.m.KeyRetries++
	x.reset()
	x.build(ctx, x.r)
	if x.err == nil {
		x.connect(ctx, false)
	}
	x.m.SetupNs = setupNs + clock.Now() - beganNs
	return true
}

// settle turns the parser's view and the way the exchange ended into the measurement, and lets the connection go.
func (x *exchange) settle() {
	now := max(x.overNs, x.p.Result().LastOutputNs)
	complete := x.p.AnswerComplete()
	switch x.end {
	case endComplete:
	case endGraceOver:
		x.p.End(nil, now)
	case endConnection:
		if errors.Is(x.err, io.EOF) || errors.Is(x.err, io.ErrUnexpectedEOF) {
			x.p.End(nil, now)
		} else {
			x.p.End(x.err, now)
		}
	case endDeadline, endInterrupted:
		x.p.End(x.err, now)
	}
	r := x.p.Result()
	x.m.Result = r
	switch {
	case complete || r.Failure == stream.None || r.Failure == stream.ErrorEvent: // before it was given up
	case x.end == endDeadline:
		if x.abort {
			r.Failure, r.Message = stream.Aborted, fmt.Sprintf("given up after %.6g ms, on purpose", float64(x.r.AbortAfterNs)/1e6)
			if n := x.r.AbortAfterTokens; n > 0 && r.OutputTokens >= n {
				r.Message = fmt.Sprintf("given up after %d output tokens, on purpose", n)
			}
		} else {
			r.Failure, r.Message = stream.Timeout, fmt.Sprintf("no end within %.6g ms", float64(x.c.o.TimeoutNs)/1e6)
		}
	case x.end == endInterrupted:
		r.Failure, r.Message = stream.Interrupted, "the run ended first"
	case isAlert(x.err) && r.Failure == stream.Reset && r.Status == 0:
		// With TLS 1.3 the handshake is over for the client before the server has seen its certificate.
		r.Failure, r.Message = stream.TLS, stream.Message((&tlsError{x.err}).Error())
	}
	r.Message = x.c.withoutSecrets(r.Message, x.r.Header)
	if r.EndNs == 0 {
		r.EndNs = now
	}
	if x.end == endComplete && r.KeepAlive {
		if x.m.Reused {
			x.c.keptWell()
		}
		x.c.keepLink(x.l)
	} else {
		x.l.close(x.end == endDeadline || x.end == endInterrupted)
	}
	x.l = nil
}

// notSent ends an exchange that has no connection.
func (x *exchange) notSent(ctx context.Context) {
	now := clock.Now()
	x.p.End(x.err, now)
	r := x.p.Result()
	message := x.err.Error()
	if x.first != nil {
		message += fmt.Sprintf("; the kept-alive connection before it had ended without a response: %v", x.first)
	}
	r.Failure, r.Message, r.EndNs = classify(x.err), stream.Message(message), now
	if ctx.Err() != nil {
		r.Failure, r.Message = stream.Interrupted, "the run ended first"
	}
	r.Message = x.c.withoutSecrets(r.Message, x.r.Header)
	x.m.Result = r
}

func (x *exchange) countReceive(stamp reader.Stamp) {
	switch stamp {
	case reader.StampRing:
		x.m.RingReceives++
		x.m.KernelReceives++
	case reader.StampSocket:
		x.m.KernelReceives++
	case reader.StampUser:
		x.m.UserReceives++
	}
}

// takeSentStamp replaces the send's time by the kernel's own where that has come in since.
func (x *exchange) takeSentStamp(atNs, uncertaintyNs int64, kernel bool) {
	if kernel {
		x.m.SentNs, x.m.SentUncertaintyNs, x.m.SentKernel = atNs, uncertaintyNs, true
	}
}

// isTimeout reports whether a deadline of this client's ended a read or write. An ETIMEDOUT, which the kernel returns when
// the peer does not acknowledge, is a timeout by its method of that name only.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// isAlert reports whether the peer refused the connection by an alert of TLS.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" // crypto/tls does not export the alert's type
}
