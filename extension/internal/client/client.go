// Package client sends requests to one endpoint over kept-alive connections (HTTP/1.1 or HTTP/2) and measures each: when it was
// handed to the kernel, when every segment of the response arrived, and how it ended.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/auth"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// Options say how to reach the endpoint and how to read what it answers.
type Options struct {
	URL       string
	Method    string // default POST
	Header    []Field
	UserAgent string
	TimeoutNs int64 // of one request, from its send; 0 = none
	Stream    stream.Options
	Streamed  bool // replies are expected to be event streams: the reader thread receives them
	HTTP2     bool

	Credentials auth.Credentials // nil = none but those in the headers and the address
	Keyed       []auth.Field     // headers that carry their key, see auth.Outgoing
	// Bound reports whether the headers are for the server of URL and for those of Origins alone: a request to another one is refused.
	Bound   bool
	Origins []string // addresses, of which scheme, host and port count

	Dial    func(ctx context.Context, network, address string) (Counted, error)
	TLS     *tls.Config
	Proxy   func(*url.URL) (*url.URL, error) // nil = none
	NoReuse bool                             // a connection a request
}

// Counted is a dialed connection and where its bytes are counted. Nothing may wrap a TCP connection here: its descriptor
// is read and written directly.
type Counted struct {
	net.Conn
	Received, Sent *int64 // added to atomically; nil = not counted
}

func (c *Counted) received(n int) {
	if c.Received != nil && n > 0 {
		atomic.AddInt64(c.Received, int64(n))
	}
}

func (c *Counted) sent(n int) {
	if c.Sent != nil && n > 0 {
		atomic.AddInt64(c.Sent, int64(n))
	}
}

// Client keeps the connections of one VU to one endpoint. Its methods may be used by several goroutines.
type Client struct {
	o    Options
	t    target
	head []byte // request head up to X-Request-Id, for requests without overrides

	origins []target // of Options.Origins

	graceNs     int64 // endGrace
	raceFloorNs int64 // raceFloor
	lostRaces   atomic.Int32

	idle idleLinks[link]
	// endMissed is set once the reader thread missed the end of a TLS or HTTP/2 stream. From then on every receive wakes the
	// client: one wake-up a token, but no deferTime at the end.
	endMissed atomic.Bool
}

// New checks the options and returns a client without a connection.
func New(o Options) (*Client, error) {
	t, err := o.target(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Method == "" {
		o.Method = "POST"
	}
	c := &Client{o: o, t: t, graceNs: int64(endGrace), raceFloorNs: int64(raceFloor)}
	keyed := make([]Field, len(o.Keyed))
	for i, f := range o.Keyed {
		keyed[i] = Field(f)
	}
	if err := errors.Join(checkMethod(o.Method), checkHeader(o.Header), checkHeader(keyed)); err != nil {
		return nil, err
	}
	for _, raw := range o.Origins {
		origin, err := parseTarget(raw)
		if err != nil {
			return nil, err
		}
		c.origins = append(c.origins, origin)
	}
	c.head = c.appendHead(nil, o.Method, &t, nil)
	return c, nil
}

// mayGoTo reports whether a server may be sent the headers of the client.
func (c *Client) mayGoTo(t *target) bool {
	return !c.o.Bound || t.sameServer(&c.t) || slices.ContainsFunc(c.origins, func(o target) bool { return t.sameServer(&o) })
}

// checkMethod refuses what is answered without a body: there is nothing in it to measure.
func checkMethod(method string) error {
	if method == "HEAD" || method == "CONNECT" {
		return fmt.Errorf("method %s is not supported: its answer has no body", method)
	}
	return nil
}

// checkHeader refuses what no request may have.
func checkHeader(fields []Field) error {
	for _, f := range fields {
		if err := checkField(f); err != nil {
			return err
		}
		switch strings.ToLower(f.Name) {
		case "connection", "content-length", "transfer-encoding": // they say how the message is framed
			return fmt.Errorf("header %s is not for the user to set: it follows from the request", f.Name)
		}
	}
	return nil
}

// checkField refuses what would break out of a header line. The value stays out of the message: it may be a key.
func checkField(f Field) error {
	for i := range len(f.Name) {
		if b := f.Name[i]; b <= ' ' || b == ':' || b >= 0x7f {
			return fmt.Errorf("header name %q is not allowed", f.Name)
		}
	}
	if f.Name == "" {
		return errors.New("a header has no name")
	}
	for i := range len(f.Value) {
		if b := f.Value[i]; (b < ' ' && b != '\t') || b == 0x7f {
			return fmt.Errorf("the value of header %s has a control character", f.Name)
		}
	}
	return nil
}

func appendField(b []byte, f Field) []byte {
	b = append(b, f.Name...)
	b = append(b, ": "...)
	b = append(b, f.Value...)
	return append(b, "\r\n"...)
}

// hasHeader reports whether fields contain the header, in which case the default is not sent.
func hasHeader(fields []Field, name string) bool {
	return slices.ContainsFunc(fields, func(f Field) bool { return strings.EqualFold(f.Name, name) })
}

// header yields the headers of a request but for X-Request-Id and those of its framing: more, the options' that are not
// named in more, and the defaults that neither names.
func (c *Client) header(t *target, more []Field) iter.Seq[Field] {
	accept := "application/json"
	if c.o.Streamed {
		accept = "text/event-stream, application/json"
	}
	fields := [...]Field{
		{"Host", t.host}, {"User-Agent", c.o.UserAgent}, {"Content-Type", "application/json"}, {"Accept", accept},
		{"Accept-Encoding", "identity"}, // without it a server may choose any (RFC 9110, 12.5.3)
		{"Authorization", t.authorization},
		{"Proxy-Authorization", t.proxyAuthorization},
	}
	return func(yield func(Field) bool) {
		for _, f := range fields {
			if c.o.Credentials != nil && f.Name == "Authorization" {
				continue // the user of an address gives way to a key
			}
			if f.Value != "" && !hasHeader(c.o.Header, f.Name) && !hasHeader(more, f.Name) && !yield(f) {
				return
			}
		}
		for _, f := range c.o.Header {
			if !hasHeader(more, f.Name) && !yield(f) {
				return
			}
		}
		for _, f := range more {
			if !yield(f) {
				return
			}
		}
	}
}

func (c *Client) appendHead(b []byte, method string, t *target, more []Field) []byte {
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, t.line()...)
	b = append(b, " HTTP/1.1\r\n"...)
	for f := range c.header(t, more) {
		b = appendField(b, f)
	}
	if c.o.NoReuse {
		b = append(b, "Connection: close\r\n"...)
	}
	return b
}

// authorization yields the fields of the credentials, but for those that the user set.
func (c *Client) authorization(r *Request, fields []auth.Field) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for _, f := range fields {
			if !hasHeader(c.o.Header, f.Name) && !hasHeader(r.Header, f.Name) && !yield(Field(f)) {
				return
			}
		}
	}
}

// outgoing is what a signature covers of a request.
func (c *Client) outgoing(r *Request) (auth.Outgoing, error) {
	t, method, err := c.resolve(r)
	if err != nil {
		return auth.Outgoing{}, err
	}
	out := auth.Outgoing{Method: method, Scheme: "http", Host: t.host, URI: t.path, Body: r.Body, Keyed: c.o.Keyed}
	if t.tls {
		out.Scheme = "https"
	}
	for _, fields := range [][]Field{c.o.Header, r.Header} {
		for _, f := range fields {
			if strings.EqualFold(f.Name, "Host") {
				out.Host = f.Value
			}
		}
	}
	return out, nil
}

const requestID = "X-Request-Id"

// identified reports whether the user gave the request its own X-Request-Id.
func (c *Client) identified(r *Request) bool {
	return hasHeader(c.o.Header, requestID) || hasHeader(r.Header, requestID)
}

// Check refuses a request that cannot be sent to any server: its own address, method or headers are wrong.
func (c *Client) Check(r *Request) error {
	_, _, err := c.resolve(r)
	return err
}

// resolve returns where a request goes and its method.
func (c *Client) resolve(r *Request) (t *target, method string, err error) {
	t = &c.t
	if r.URL != "" && r.URL != c.o.URL {
		own, err := c.o.target(r.URL)
		if err != nil {
			return nil, "", err
		}
		if !c.mayGoTo(&own) {
			return nil, "", fmt.Errorf("address %q is of another server than %q, which the headers of the client are for", Redact(r.URL), Redact(c.o.URL))
		}
		t = &own
	}
	method = r.Method
	if method == "" {
		method = c.o.Method
	}
	return t, method, errors.Join(checkMethod(method), checkHeader(r.Header))
}

// appendRequest appends the bytes of r, with the fields of its credentials, as they go over the wire.
func (c *Client) appendRequest(b []byte, r *Request, authorization []auth.Field) ([]byte, *target, error) {
	t := &c.t
	if r.URL == "" && r.Method == "" && len(r.Header) == 0 {
		b = append(b, c.head...)
	} else {
		var method string
		var err error
		if t, method, err = c.resolve(r); err != nil {
			return b, nil, err
		}
		b = c.appendHead(b, method, t, r.Header)
	}
	for f := range c.authorization(r, authorization) {
		b = appendField(b, f)
	}
	if !c.identified(r) {
		b = appendField(b, Field{requestID, r.ID})
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, r.Body...), t, nil
}

// takeLink returns an idle connection to the target, or a new one. Idle connections that the server closed are dropped.
func (c *Client) takeLink(ctx context.Context, t *target, fresh bool) (link, setup, error) {
	key := linkKey{t.network, t.address, t.tls}
	if !fresh {
		if l, ok := c.idle.take(key); ok {
			return l, setup{reused: true}, nil
		}
	}
	return c.dial(ctx, t, key)
}

// keepLink keeps a connection for the next request.
func (c *Client) keepLink(l link) {
	if c.o.NoReuse || c.lostRaces.Load() >= MostRaces {
		l.close(false)
		return
	}
	l.times().idleSinceNs = clock.Now()
	c.idle.put(l)
}

// Some servers close each connection right behind its response although they promised to keep it (llama-server). A client
// that sends its next request at once then meets the close again and again. After MostRaces such races, with no request
// in between that a kept connection served, connections are not kept any longer.
const (
	// MostRaces is how many such requests of one client are sent twice.
	MostRaces = 2
	// closedBehind tells such a close from that of a connection whose idle time was over.
	closedBehind = time.Second
)

// lostRace notes that the server had closed a connection that was kept for idleNs.
func (c *Client) lostRace(idleNs int64) {
	if idleNs < int64(closedBehind) {
		c.lostRaces.Add(1)
	}
}

// keptWell notes that a kept connection served a request.
func (c *Client) keptWell() { c.lostRaces.Store(0) }

// CloseIdle closes the connections that no request uses.
func (c *Client) CloseIdle() { c.idle.close() }

// Do sends one request and returns when it has ended. It ends early as aborted when ctx does; it never returns nil.
func (c *Client) Do(ctx context.Context, r *Request) *Measurement {
	x := newExchange(c, r)
	x.m.StartedNs = clock.Now()
	x.run(ctx, r)
	return &x.m
}

// Prepared is a request whose connection is open and whose bytes are ready: sending it takes one system call.
type Prepared struct{ x *exchange }

// Prepare opens (or takes) the connection for a request and builds its bytes.
func (c *Client) Prepare(ctx context.Context, r *Request) Prepared {
	x := newExchange(c, r)
	x.prepare(ctx, r)
	x.preparedNs = clock.Now()
	x.checkedNs = x.preparedNs
	return Prepared{x}
}

// Check replaces a connection that the server has closed since it was prepared, and takes what TLS has sent on it, so that
// a Send right behind it is short.
func (p Prepared) Check(ctx context.Context) {
	x := p.x
	nowNs := clock.Now()
	if x.err != nil || nowNs-x.checkedNs <= int64(longWait) || ctx.Err() != nil {
		return
	}
	if !x.l.alive() {
		x.l.close(false)
		x.connect(ctx, true)
		x.preparedNs = clock.Now()
	}
	x.checkedNs = clock.Now()
}

// Send releases a prepared request. done is called once, from any goroutine, when it has ended; it must not block. A
// connection that the server closed while the request waited is replaced.
func (p Prepared) Send(ctx context.Context, done func(*Measurement)) {
	x := p.x
	x.m.StartedNs = clock.Now()
	x.waited = x.m.StartedNs-x.preparedNs > int64(longWait)
	if x.err != nil || x.m.StartedNs-x.checkedNs <= int64(longWait) || ctx.Err() != nil || x.l.alive() {
		x.sendAsync(ctx, done)
		return
	}
	x.l.close(false)
	go func() { // connecting must not hold up the requests behind this one
		x.connect(ctx, true)
		x.sendAsync(ctx, done)
	}()
}

// longWait is from when a connection that waited for its request may, like a kept one, have been closed by the server.
const longWait = 20 * time.Millisecond

// classify says why no connection came about.
func classify(err error) stream.Failure {
	if errors.As(err, new(*tlsError)) || isAlert(err) {
		return stream.TLS
	}
	return stream.Connect
}

// tlsError is an error of the handshake, not of the connection under it.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "TLS: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// connectTimeout bounds connecting, as does the limit of a request where that is shorter. The request's own time counts from
// its send.
const connectTimeout = 10 * time.Second
