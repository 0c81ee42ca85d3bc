package client

import (
	"errors"
	"fmt"
	"net/http"
)

// How a body ends (RFC 9112 section 6.3).
const (
	byLength = iota
	byChunks
	untilEOF
)

// Where in a chunked body the next byte lies.
const (
	chunkSize = iota
	chunkExtension
	chunkData
	chunkEnd
	trailerStart // at the beginning of a trailer line
	trailerLine
	framingOver
)

// framing takes the body's bytes out of what is received. Nothing is ever waited for, so that every byte is handed on
// with the time of the receive it came in.
type framing struct {
	kind   int
	state  int
	left   int64 // bytes of the body or of the chunk still missing
	digits int
	extra  int // bytes of extensions and trailers so far
}

func framingOf(req *http.Request, resp *http.Response) framing {
	s := resp.StatusCode
	switch {
	case req.Method == http.MethodHead || s < 200 || s == http.StatusNoContent || s == http.StatusNotModified:
		return framing{state: framingOver}
	case len(resp.TransferEncoding) > 0: // http.ReadResponse accepts chunked alone
		return framing{kind: byChunks}
	case resp.ContentLength >= 0:
		f := framing{kind: byLength, left: resp.ContentLength}
		if f.left == 0 {
			f.state = framingOver
		}
		return f
	}
	return framing{kind: untilEOF}
}

func (f *framing) over() bool { return f.state == framingOver }

// next consumes n bytes of b, at least one, and returns the body's bytes among them: one run of them, or none.
func (f *framing) next(b []byte) (body []byte, n int, err error) {
	switch f.kind {
	case untilEOF:
		return b, len(b), nil
	case byLength:
		n = int(min(f.left, int64(len(b))))
		if f.left -= int64(n); f.left == 0 {
			f.state = framingOver
		}
		return b[:n], n, nil
	}
	for n < len(b) && f.state != framingOver {
		if f.state == chunkData {
			k := int(min(f.left, int64(len(b)-n)))
			if f.left -= int64(k); f.left == 0 {
				f.state = chunkEnd
			}
			return b[n : n+k], n + k, nil
		}
		if err := f.control(b[n]); err != nil {
			return nil, n, err
		}
		n++
	}
	return nil, n, nil
}

// control consumes one byte between the data of two chunks. Lines may end in a bare LF.
func (f *framing) control(c byte) error {
	switch f.state {
	case chunkSize:
		digit := -1
		switch {
		case c >= '0' && c <= '9':
			digit = int(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			digit = int(c|0x20-'a') + 10
		case f.digits == 0:
			return fmt.Errorf("a chunk of the body has no size but the byte %q", c)
		case c == '\n':
			f.endSize()
		case c == '\r' || c == ';' || c == ' ' || c == '\t':
			f.state = chunkExtension
		default:
			return fmt.Errorf("the size of a chunk of the body holds the byte %q", c)
		}
		if digit >= 0 {
			if f.digits++; f.digits > 15 {
				return errors.New("the size of a chunk of the body has more than 15 digits")
			}
			f.left = f.left<<4 | int64(digit)
		}
	case chunkExtension:
		if c == '\n' {
			f.endSize()
			return nil
		}
		return f.countExtra()
	case chunkEnd:
		switch c {
		case '\r':
		case '\n':
			f.state, f.digits = chunkSize, 0
		default:
			return fmt.Errorf("a chunk of the body is followed by the byte %q, not by a line break", c)
		}
	case trailerStart:
		switch c {
		case '\r':
		case '\n':
			f.state = framingOver
		default:
			f.state = trailerLine
		}
	case trailerLine:
		if c == '\n' {
			f.state = trailerStart
			return nil
		}
		return f.countExtra()
	}
	return nil
}

func (f *framing) endSize() {
	f.state = chunkData
	if f.left == 0 {
		f.state = trailerStart
	}
}

func (f *framing) countExtra() error {
	if f.extra++; f.extra > maxHead {
		return fmt.Errorf("extensions and trailers of the body are longer than %d bytes", maxHead)
	}
	return nil
}
