package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/reader"
)

// link is one connection to the server. One exchange at a time uses it.
type link interface {
	key() linkKey
	times() *linkTimes
	// alive reports whether the server has not closed an idle connection, as far as can be known.
	alive() bool
	// send writes the request, or as much as it can until ctx or the exchange's time ends. From then on what comes back is fed to x until the response is complete or x is given up;
	// then x.finish is called, once. over says that this has happened already.
	send(ctx context.Context, x *exchange, request []byte) (over bool, err error)
	// wait returns when finish was called; ctx and the exchange's deadline make that happen early.
	wait(ctx context.Context, x *exchange)
	// async is wait for nobody: it returns at once.
	async(ctx context.Context, x *exchange)
	close(abort bool)
}

type linkKey struct {
	network, address string
	tls              bool
}

// linkTimes is what a connection knows of its own past.
type linkTimes struct {
	rttNs       int64 // round trip to whoever closes it: what connecting took
	idleSinceNs int64 // when its last request was over
}

func (t *linkTimes) times() *linkTimes { return t }

// past is a deadline that ends what is under way.
var past = time.Unix(1, 0)

// interruptOn makes reads and writes on conn fail when ctx ends, until stop is called. If stop returns false, the deadline was or is
// being set, so conn must not be used for another request.
func interruptOn(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
}

// readUntil ends reads at a time of package clock, or now where ctx has ended.
func readUntil(ctx context.Context, conn net.Conn, atNs int64) {
	_ = conn.SetReadDeadline(clock.Wall(atNs))
	if ctx.Err() != nil {
		_ = conn.SetReadDeadline(past) // interruptOn may have set it just before
	}
}

// setup is what opening a connection cost.
type setup struct {
	connectNs, tlsNs int64
	reused           bool
}

// segmentConn is a connection that tells when what it read had arrived.
type segmentConn interface {
	net.Conn
	// stamp returns the arrival of the last bytes that Read returned.
	stamp() (atNs int64, stamp reader.Stamp)
	// since returns a time after which the first of the bytes of that receive arrived: when the connection was last seen to
	// have nothing unread.
	since() (sinceNs int64)
	// sentStamp returns when the last write was handed to the kernel and how wide the uncertainty is (0: kernel's own time).
	sentStamp() (atNs, uncertaintyNs int64, kernel bool)
	// quiet reports whether there is nothing to read, neither bytes nor an end.
	quiet() bool
	// setNoWait makes Read return os.ErrDeadlineExceeded instead of waiting for bytes, until it is taken back.
	setNoWait(on bool)
	setAbort()
	// setReadMode lets Read block until the data looks like the end of a response, much is there, or deferTime passed. Arrival times
	// are not affected. A new connection reads eagerly.
	setReadMode(mode readMode)
}

// readMode says how long Read leaves what arrives unread: not at all, or until it looks like the end of a response.
type readMode int

const (
	readEagerly readMode = iota
	deferUntilRecord
	deferUntilFrame // without TLS
)

// dial opens a connection and makes a link of it, in limited time.
func (c *Client) dial(ctx context.Context, t *target, key linkKey) (link, setup, error) {
	limit := connectTimeout
	if c.o.TimeoutNs > 0 {
		limit = min(limit, time.Duration(c.o.TimeoutNs))
	}
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	l, s, err := c.open(bounded, t, key)
	if err == nil {
		l.times().rttNs = s.connectNs
	}
	if err == nil || ctx.Err() != nil || time.Since(began) < limit {
		return l, s, err
	}
	var handshake *tlsError
	if errors.As(err, &handshake) {
		return nil, s, &tlsError{fmt.Errorf("no handshake within %.6g s", limit.Seconds())}
	}
	return nil, s, fmt.Errorf("no connection within %.6g s: %w", limit.Seconds(), err)
}

func (c *Client) open(ctx context.Context, t *target, key linkKey) (link, setup, error) {
	beganNs := clock.Now()
	raw, err := c.o.connect(ctx, t)
	if err != nil {
		return nil, setup{}, err
	}
	s := setup{connectNs: clock.Now() - beganNs}
	if !t.tls && !c.o.HTTP2 {
		l, err := c.newLink(raw, key)
		return l, s, err
	}
	seg, err := c.newSegmentConn(raw)
	if err != nil {
		return nil, s, err
	}
	if !t.tls {
		l, err := startHTTP2(ctx, key, seg, seg, &s) // by prior knowledge
		return l, s, err
	}
	protocols := []string{"http/1.1"}
	if c.o.HTTP2 {
		protocols = []string{"h2", "http/1.1"}
	}
	tc, tlsNs, err := c.o.secure(ctx, seg, t.server, protocols)
	s.tlsNs = tlsNs
	if err != nil {
		return nil, s, err
	}
	if tc.ConnectionState().NegotiatedProtocol == "h2" {
		l, err := startHTTP2(ctx, key, tc, seg, &s)
		return l, s, err
	}
	return &blockingLink{id: key, conn: tc, seg: seg}, s, nil
}

// connect opens the transport's connection, through a proxy where one is configured.
func (o *Options) connect(ctx context.Context, t *target) (Counted, error) {
	if t.network == "unix" {
		conn, err := new(net.Dialer).DialContext(ctx, t.network, t.address)
		return Counted{Conn: conn}, err
	}
	if t.proxy == nil {
		return o.Dial(ctx, t.network, t.address)
	}
	raw, err := o.Dial(ctx, t.network, proxyAddress(t.proxy))
	if err != nil || t.forwarded {
		return raw, err
	}
	if err := connectThrough(ctx, raw.Conn, t.proxy, t.address); err != nil {
		_ = raw.Close()
		return Counted{}, err
	}
	return raw, nil
}

// secure shakes hands on seg, which is closed if an error is returned. server is the name to be proven where the options
// name none.
func (o *Options) secure(ctx context.Context, seg segmentConn, server string, protocols []string) (conn *tls.Conn, tookNs int64, err error) {
	cfg := o.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = server
	}
	cfg.NextProtos = protocols
	conn = tls.Client(seg, cfg)
	beganNs := clock.Now()
	stop := interruptOn(ctx, seg) // not HandshakeContext, which closes the connection while it may be in use
	err = conn.Handshake()
	if !stop() {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		_ = seg.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, 0, &tlsError{err}
	}
	return conn, clock.Now() - beganNs, nil
}

func proxyAddress(proxy *url.URL) string {
	port := proxy.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(proxy.Hostname(), port)
}

// connectThrough asks a proxy for a tunnel.
func connectThrough(ctx context.Context, raw net.Conn, proxy *url.URL, address string) (err error) {
	defer func() {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
	}()
	stop := interruptOn(ctx, raw)
	defer stop() // its deadline, once set, stays: then the connection is not used
	head := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if proxy.User != nil {
		head += "Proxy-Authorization: " + basicAuthorization(proxy.User) + "\r\n"
	}
	if _, err := raw.Write([]byte(head + "\r\n")); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	br := bufio.NewReader(raw)
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("proxy: CONNECT answered %s", resp.Status)
	}
	if br.Buffered() > 0 {
		return errors.New("proxy: bytes after the answer to CONNECT")
	}
	return nil
}

// blockingLink is read by the goroutine that waits for the response: TLS, Unix sockets, replies that are not streamed,
// and every connection where there is no reader thread.
type blockingLink struct {
	linkTimes
	id   linkKey
	conn net.Conn // what HTTP is spoken over: seg itself, or TLS on it
	seg  segmentConn
	buf  []byte

	writeErr error       // of the present request; there may be an answer to read all the same
	stop     func() bool // of the present request: its context no longer ends reads and writes
}

func (l *blockingLink) key() linkKey { return l.id }

func (l *blockingLink) alive() bool {
	conn, secure := l.conn.(*tls.Conn)
	if !secure {
		return l.seg.quiet()
	}
	return nothingToRead(conn, l.seg)
}

// nothingToRead reports whether an idle connection is open and has nothing to say. What TLS says on its own is read and
// passed over: session tickets, which a server sends behind the handshake (RFC 8446, 4.6.1), and key updates. A farewell
// is an end, even while the connection under it stays open.
func nothingToRead(conn *tls.Conn, seg segmentConn) bool {
	_ = conn.SetReadDeadline(time.Time{})
	seg.setNoWait(true)
	n, err := conn.Read(make([]byte, 1))
	seg.setNoWait(false)
	return n == 0 && isTimeout(err)
}

func (l *blockingLink) close(abort bool) { closeConn(l.conn, l.seg, abort) }

// closeConn closes conn, which is seg or TLS on it. An abort does without TLS's farewell, which waits up to five seconds
// for room in the socket.
func closeConn(conn net.Conn, seg segmentConn, abort bool) {
	if abort {
		seg.setAbort()
		conn = seg
	}
	_ = conn.Close()
}

func (l *blockingLink) send(ctx context.Context, x *exchange, request []byte) (over bool, err error) {
	deadlineNs, _ := x.limit(clock.Now())
	if deadlineNs > 0 {
		_ = l.conn.SetDeadline(clock.Wall(deadlineNs))
	} else {
		_ = l.conn.SetDeadline(time.Time{})
	}
	l.stop = interruptOn(ctx, l.conn)
	beganNs := clock.Now()
	_, l.writeErr = l.conn.Write(request)
	switch {
	case l.writeErr == nil:
		x.sentAt(l.seg.sentStamp())
	case isTimeout(l.writeErr):
		l.stop()
		return false, l.writeErr
	default:
		x.sentAt(sendTime(beganNs, clock.Now()))
	}
	return false, nil
}

func (l *blockingLink) wait(ctx context.Context, x *exchange) {
	if x.endAtNs > 0 {
		readUntil(ctx, l.conn, x.endAtNs)
	}
	if l.buf == nil {
		l.buf = make([]byte, 16<<10)
	}
	lastNs := int64(-1)
	for {
		n, err := l.conn.Read(l.buf)
		if n > 0 {
			atNs, stamp := l.seg.stamp()
			done := false
			if atNs == lastNs {
				done = x.p.FeedRest(l.buf[:n]) // another TLS record of the same receive
			} else {
				x.countReceive(stamp)
				done = x.p.FeedWithin(l.buf[:n], x.since(l.seg.since()), atNs)
			}
			lastNs = atNs
			if x.enough(atNs); !done && x.abort && x.endAtNs <= atNs {
				readUntil(ctx, l.conn, x.endAtNs)
			}
			if !done && x.completeNs == 0 && x.p.AnswerComplete() {
				x.completeNs = atNs
				readUntil(ctx, l.conn, x.nextCheckNs(atNs))
			}
			if !done && l.conn != l.seg && x.p.HeadDone() && x.p.Remaining() < 0 {
				l.seg.setReadMode(deferUntilRecord)
			}
			if done {
				l.seg.setReadMode(readEagerly)
				x.takeSentStamp(l.seg.sentStamp())
				if !l.stop() || l.writeErr != nil {
					x.p.Result().KeepAlive = false // its deadline is, or is about to be, in the past; or it waits for the rest
				}
				x.finish(nil, endComplete)
				return
			}
		}
		if err == nil {
			continue
		}
		l.stop()
		x.takeSentStamp(l.seg.sentStamp())
		switch {
		case ctx.Err() != nil:
			x.finish(ctx.Err(), endInterrupted)
		case errors.Is(err, os.ErrDeadlineExceeded) && x.completeNs > 0:
			x.finish(nil, endGraceOver)
		case errors.Is(err, os.ErrDeadlineExceeded):
			x.finish(err, endDeadline)
		case l.writeErr != nil && x.m.receives() == 0:
			x.finish(l.writeErr, endConnection)
		default:
			x.finish(err, endConnection)
		}
		return
	}
}

func (l *blockingLink) async(ctx context.Context, x *exchange) { go l.wait(ctx, x) }
