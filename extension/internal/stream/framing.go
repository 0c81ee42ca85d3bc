package stream

import "errors"

// Framing cuts the body out of what follows the head of an HTTP/1.x response that somebody else has read, by the same rules
// as the parser does it for a whole response. It waits for nothing, so that every byte is handed on with the time at which it
// arrived. The zero Framing is that of a response without a body.
type Framing struct{ f framer }

// ChunkedFraming is that of a response with Transfer-Encoding: chunked.
func ChunkedFraming() Framing {
	var f Framing
	f.f.beginChunk()
	return f
}

// LengthFraming is that of a body of n >= 0 bytes.
func LengthFraming(n int64) Framing {
	if n == 0 {
		return Framing{}
	}
	return Framing{framer{state: stateLength, left: n}}
}

// OpenFraming is that of a body that ends with its connection.
func OpenFraming() Framing { return Framing{framer{state: stateUntilEOF}} }

// Over reports whether the body has ended.
func (f *Framing) Over() bool { return f.f.state == stateComplete || f.f.state == stateStatusLine }

// UntilEOF reports whether the body ends with its connection.
func (f *Framing) UntilEOF() bool { return f.f.state == stateUntilEOF }

// Close notes that the connection has ended. It reports whether that is the body's end.
func (f *Framing) Close() bool {
	if f.f.state == stateUntilEOF {
		f.f.state = stateComplete
	}
	return f.Over()
}

// Next consumes the first n bytes of b, at least one, and returns the body's bytes among them: one run of them, or none. It
// must not be called when the body is over. The error is that of bytes which are no chunked body.
func (f *Framing) Next(b []byte) (body []byte, n int, err error) {
	for n < len(b) && !f.Over() {
		body, k := f.f.next(b[n:])
		n += k
		if f.f.state == stateBroken {
			return nil, n, errors.New(f.f.problem)
		}
		if len(body) > 0 {
			return body, n, nil
		}
	}
	return nil, n, nil
}
