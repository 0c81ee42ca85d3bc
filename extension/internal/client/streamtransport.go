package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"syscall"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// StreamTransport makes exchanges over kept-alive HTTP/1.1 connections for callers that read the response themselves:
// a body's bytes come with the time they arrived, which was taken when they arrived, not when they are asked for.
// Redirects, cookies and credentials in URLs are http.Client's business.
type StreamTransport struct {
	c     *Client // holds the options only
	idle  idleLinks[*blockingLink]
	grace time.Duration // closeGrace
}

// NewStreamTransport returns a transport without a connection. It uses the options Dial, TLS, Proxy and NoReuse.
func NewStreamTransport(o Options) *StreamTransport {
	return &StreamTransport{c: &Client{o: o, raceFloorNs: int64(raceFloor)}, grace: closeGrace}
}

// Exchange is when the stages of one request and its response happened: times of package clock in ns, 0 = never.
type Exchange struct {
	StartedNs         int64 // a connection was asked for
	ReadyNs           int64 // it was there, its handshake done
	ConnectNs, TLSNs  int64 // durations of its set-up; 0 on a reused connection
	Reused            bool
	Retries           int   // times the request was sent again because a kept-alive connection turned out to be closed
	SentNs            int64 // the request's last byte was handed to the kernel
	SentUncertaintyNs int64 // width of the interval in which SentNs lies; 0 for a kernel transmit stamp
	SentKernel        bool
	FirstByteNs       int64 // first byte of the response
	EndNs             int64 // the byte that completed the response, or when it was given up
	KernelReceives    int
	UserReceives      int
	Remote            net.Addr // nil where no connection came about; behind a proxy, the proxy's
}

// Do sends one request and returns when the head of the response has arrived; the response's Body is a *Body. The
// Exchange is filled in as the response is read, and is not nil when an error is returned.
func (t *StreamTransport) Do(req *http.Request) (*http.Response, *Exchange, error) {
	x := &Exchange{StartedNs: clock.Now()}
	resp, err := t.do(req, x)
	if err != nil {
		x.EndNs = clock.Now()
	}
	return resp, x, err
}

func (t *StreamTransport) do(req *http.Request, x *Exchange) (*http.Response, error) {
	to, err := t.c.o.target(req.URL.String())
	if err == nil && to.network != "tcp" {
		err = fmt.Errorf("address %q is not http:// or https://", req.URL.Redacted())
	}
	for name, values := range req.Header {
		for _, value := range values {
			if err == nil {
				err = checkField(Field{name, value})
			}
		}
	}
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	var wire bytes.Buffer
	out := req
	if t.c.o.NoReuse {
		out = req.WithContext(req.Context()) // a copy: the caller's is not ours to change
		out.Close = true
	}
	write := out.Write
	if to.forwarded {
		if to.proxyAuthorization != "" {
			out = out.Clone(req.Context())
			out.Header.Set("Proxy-Authorization", to.proxyAuthorization)
		}
		write = out.WriteProxy
	}
	if err := write(&wire); err != nil {
		return nil, err
	}
	for {
		l, err := t.takeLink(req.Context(), &to, x, x.Retries > 0)
		if err != nil {
			return nil, err
		}
		b := &Body{t: t, l: l, x: x, ctx: req.Context()}
		beganNs := clock.Now()
		resp, err := b.open(req, wire.Bytes())
		if err == nil {
			return resp, nil
		}
		late := clock.Now()-beganNs > t.c.raceNs(l.rttNs)
		b.fail(err)
		// The server had closed the kept-alive connection before it saw the request: an early end without a byte of response.
		if late || !x.Reused || x.Retries > 0 || x.FirstByteNs != 0 || req.Context().Err() != nil || !endedEarly(err) {
			return nil, err
		}
		x.Retries++
		x.SentNs, x.SentUncertaintyNs, x.SentKernel = 0, 0, false
	}
}

// endedEarly reports whether the error is that of a connection whose other end has gone.
func endedEarly(err error) bool {
	return errors.Is(err, errNoResponse) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// takeLink returns an idle connection to the target, or a new one.
func (t *StreamTransport) takeLink(ctx context.Context, to *target, x *Exchange, fresh bool) (*blockingLink, error) {
	key := linkKey{to.network, to.address, to.tls}
	if !fresh {
		if l, ok := t.idle.take(key); ok {
			x.Reused, x.ReadyNs, x.Remote = true, clock.Now(), l.seg.RemoteAddr()
			return l, nil
		}
	}
	x.Reused = false
	l, err := t.dial(ctx, to, key, x)
	if err != nil {
		return nil, err
	}
	x.ReadyNs, x.Remote = clock.Now(), l.seg.RemoteAddr()
	return l, nil
}

func (t *StreamTransport) keepLink(l *blockingLink) {
	if t.c.o.NoReuse {
		l.close(false)
		return
	}
	t.idle.put(l)
}

// CloseIdle closes the connections that no exchange uses.
func (t *StreamTransport) CloseIdle() { t.idle.close() }

// dial opens a connection, through a proxy where one is configured, and shakes hands.
func (t *StreamTransport) dial(ctx context.Context, to *target, key linkKey, x *Exchange) (*blockingLink, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var connecting connectClock
	raw, err := t.c.o.connect(httptrace.WithClientTrace(ctx, connecting.trace()), to)
	if err != nil {
		return nil, err
	}
	x.ConnectNs = connecting.durationNs()
	times := linkTimes{rttNs: x.ConnectNs}
	seg, err := t.c.newSegmentConn(raw)
	if err != nil {
		return nil, err
	}
	if _, byGo := seg.(interface{ inGoPoller() }); byGo {
		seg = newReadAhead(seg)
	}
	if !to.tls {
		return &blockingLink{linkTimes: times, id: key, conn: seg, seg: seg}, nil
	}
	tc, tlsNs, err := t.c.o.secure(ctx, seg, to.server, []string{"http/1.1"})
	if err != nil {
		return nil, err
	}
	x.TLSNs = tlsNs
	return &blockingLink{linkTimes: times, id: key, conn: tc, seg: seg}, nil
}

// connectClock takes the time of connecting without that of looking the name up, as k6's http_req_connecting is defined.
type connectClock struct {
	mu             sync.Mutex // addresses may be tried at the same time
	beganNs, endNs int64
}

func (c *connectClock) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		ConnectStart: func(_, _ string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.beganNs == 0 {
				c.beganNs = clock.Now()
			}
		},
		ConnectDone: func(_, _ string, err error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if err == nil && c.endNs == 0 {
				c.endNs = clock.Now()
			}
		},
	}
}

func (c *connectClock) durationNs() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.endNs-c.beganNs, 0)
}

// inGoPoller marks connections that a goroutine has to read, and to stamp, itself.
func (c *plainConn) inGoPoller() {}

// closeGrace is how long the rest of a response is waited for when its reader has seen enough: the end of a chunked body
// comes right behind the last event, and a connection that has seen it can be used again.
const (
	closeGrace      = 20 * time.Millisecond
	closeGraceBytes = 64 << 10
)
