package client

import (
	"errors"
	"syscall"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// Request is one request to send.
type Request struct {
	Method string // "" = the client's
	URL    string // "" = the client's
	Header []Field
	Body   []byte
	ID     string // sent as X-Request-Id, unless a header of that name is set
	// TraceID is the trace of its traceparent, "" = none.
	TraceID string

	ExpectedOutputTokens int
	KeepText             bool
	KeepHeader           string // name of a header of the response that is kept; "" = none
	AbortAfterNs         int64  // give up this long after the send; 0 = never
	AbortAfterTokens     int    // give up when so many output tokens have come, within abortLook; 0 = never
}

// Field is one header line.
type Field struct{ Name, Value string }

// Measurement is what one request came to. Times are of package clock in ns; 0 = never happened. It is valid until its
// Release is called.
type Measurement struct {
	*stream.Result
	StartedNs         int64 // the client was called
	SentNs            int64 // the request's last byte was handed to the kernel
	SentUncertaintyNs int64 // width of the interval in which SentNs lies; 0 for a kernel transmit stamp
	SentKernel        bool
	ConnectNs, TLSNs  int64 // durations of this request's own connection set-up; 0 on a reused connection
	SetupNs           int64 // what lay between StartedNs and SentNs of all set-up of connections and keys for this request
	Reused            bool
	Retries           int    // times it was sent again because a reused connection had been closed by the server
	KeyRetries        int    // times it was sent again with another key because the server had refused the first with 401
	RingReceives      int    // pieces of the response whose time the packet ring told; they are among KernelReceives
	KernelReceives    int    // receives, or pieces of them, whose time the kernel told
	UserReceives      int    // and those whose time is a clock reading after the receive
	ID                string // the request's
	TraceID           string // likewise

	x *exchange
}

// OwnLimit is the error by which this host, not the server, kept the request from a connection: descriptors (EMFILE, and
// ENFILE of the whole system), local ports (EADDRNOTAVAIL) or memory of sockets (ENOBUFS) had run out. 0: there was none.
// Valid until Release.
func (m *Measurement) OwnLimit() syscall.Errno {
	var errno syscall.Errno
	if m.x == nil || m.SentNs > 0 || !errors.As(m.x.err, &errno) {
		return 0
	}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS:
		return errno
	}
	return 0
}

// receives is how many receives, or pieces of them, the response took so far.
func (m *Measurement) receives() int { return m.KernelReceives + m.UserReceives }

// Release gives the measurement's memory back. Nothing of it may be used afterwards.
func (m *Measurement) Release() {
	if x := m.x; x != nil {
		m.x = nil
		x.recycle()
	}
}
