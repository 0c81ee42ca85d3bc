package stream

import (
	"bytes"
	"fmt"
	"strconv"
)

// Limits of what a server may send around a body.
const (
	maxHeadBytes      = 64 << 10 // status line and headers of all heads of one response, and of its trailers
	maxExtensionBytes = 4 << 10  // one chunk's extensions
)

// What remains of a body when it is not a number of bytes; see framer.remaining.
const (
	remainingChunked  = -1
	remainingUntilEOF = -2
)

type framerState uint8

const (
	stateStatusLine framerState = iota
	stateHeader
	stateLength
	stateUntilEOF
	stateChunkSize
	stateChunkExtension
	stateChunkData
	stateChunkCR
	stateChunkLF
	stateTrailer
	stateComplete
	stateBroken
)

// framer cuts the bytes of one HTTP/1.x response into head and body (RFC 9112). It keeps of the head only what the
// parser asks about. Lines may end in a bare LF, as RFC 9112 section 2.2 permits recipients to accept.
type framer struct {
	state   framerState
	line    []byte // start of a line whose end has not arrived
	head    int    // bytes of heads so far
	left    int64  // body or chunk bytes missing; -1 in the head = no Content-Length
	digits  int    // of a chunk size
	extent  int    // bytes of a chunk's extension
	chunked bool

	status          int
	proto           string
	persistent      bool // the protocol version and the headers allow another request
	media           media
	contentEncoding string
	transferCoding  string
	retryAfter      string
	keepHeader      string // name of a header in lower case whose value is kept; "" = none
	headerValue     string
	location        string // where a redirect leads
	connection      bool   // Connection: keep-alive was sent

	problem string // why the state is stateBroken
}

func (f *framer) reset() {
	line := f.line[:0]
	*f = framer{line: line, left: -1}
}

func (f *framer) headDone() bool { return f.state >= stateLength && f.state != stateBroken }

func (f *framer) remaining() int64 {
	switch f.state {
	case stateLength:
		return f.left
	case stateUntilEOF:
		return remainingUntilEOF
	case stateComplete, stateBroken:
		return 0
	}
	return remainingChunked
}

func (f *framer) fail(format string, args ...any) {
	f.state = stateBroken
	f.problem = fmt.Sprintf(format, args...)
}

// next consumes the first n bytes of b, at least one, and returns the body bytes among them. It stops after the head,
// so that the caller sees headDone before the first body byte.
func (f *framer) next(b []byte) (body []byte, n int) {
	switch f.state {
	case stateStatusLine, stateHeader, stateTrailer:
		return nil, f.headLine(b)
	case stateLength, stateChunkData:
		if f.left > int64(len(b)) {
			f.left -= int64(len(b))
			return b, len(b)
		}
		n = int(f.left)
		f.left = 0
		if f.state == stateLength {
			f.state = stateComplete
		} else {
			f.state = stateChunkCR
		}
		return b[:n], n
	case stateUntilEOF:
		return b, len(b)
	case stateChunkCR, stateChunkLF, stateChunkSize, stateChunkExtension:
		return nil, f.chunkLine(b)
	}
	return nil, len(b)
}

// chunkLine consumes the line break after a chunk's data and the next chunk's size line.
func (f *framer) chunkLine(b []byte) int {
	for i, c := range b {
		switch f.state {
		case stateChunkCR:
			switch c {
			case '\r':
				f.state = stateChunkLF
			case '\n': // as all lines here
				f.beginChunk()
			default:
				f.fail("a chunk of the body is not followed by a line break")
				return i + 1
			}
		case stateChunkLF:
			if c != '\n' {
				f.fail("a chunk of the body is not followed by a line break")
				return i + 1
			}
			f.beginChunk()
		case stateChunkSize:
			switch {
			case c >= '0' && c <= '9':
				f.left = f.left<<4 | int64(c-'0')
			case c|0x20 >= 'a' && c|0x20 <= 'f':
				f.left = f.left<<4 | int64(c|0x20-'a'+10)
			case f.digits == 0:
				f.fail("a chunk of the body has no size")
				return i + 1
			case c == '\n':
				if f.endSize(); f.state != stateChunkSize {
					return i + 1
				}
				continue
			case c == '\r' || c == ';' || c == ' ' || c == '\t':
				f.state = stateChunkExtension
				f.extent = 0
				continue
			default:
				f.fail("a chunk's size holds the byte %q", c)
				return i + 1
			}
			if f.digits++; f.digits > 15 {
				f.fail("a chunk's size has more than 15 digits")
				return i + 1
			}
		case stateChunkExtension:
			if c == '\n' {
				f.endSize()
				return i + 1
			}
			if f.extent++; f.extent > maxExtensionBytes {
				f.fail("a chunk's extension is longer than %d bytes", maxExtensionBytes)
				return i + 1
			}
		}
	}
	return len(b)
}

func (f *framer) beginChunk() {
	f.state = stateChunkSize
	f.left, f.digits = 0, 0
}

func (f *framer) endSize() {
	if f.left == 0 {
		f.state = stateTrailer
	} else {
		f.state = stateChunkData
	}
}

// headLine consumes up to the end of one line of a head or of the trailers.
func (f *framer) headLine(b []byte) int {
	n := bytes.IndexByte(b, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(b)
	}
	if f.head += n; f.head > maxHeadBytes {
		f.fail("the head of the response is longer than %d bytes", maxHeadBytes)
		return n
	}
	if !whole {
		f.line = append(f.line, b...)
		if f.state == stateStatusLine && len(f.line) >= quotedBytes {
			f.end()
		}
		return n
	}
	line := b[:n]
	if len(f.line) > 0 {
		f.line = append(f.line, line...)
		line = f.line
	}
	f.line = f.line[:0]
	line = line[:len(line)-1]
	if len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	switch {
	case f.state == stateStatusLine:
		f.statusLine(line)
	case len(line) > 0:
		if f.state == stateHeader {
			f.header(line)
		} else if bytes.IndexByte(line, ':') <= 0 {
			f.fail("a trailer line has no name: %q", quote(line))
		}
	case f.state == stateHeader:
		f.endHead()
	default:
		f.state = stateComplete
	}
	return n
}

// end judges what came of a status line that does not go on.
func (f *framer) end() {
	if f.state == stateStatusLine && !couldBeHTTP(f.line) {
		f.notHTTP(f.line)
	}
}

func (f *framer) notHTTP(line []byte) {
	f.fail("the response is not HTTP/1: it begins with %q", bytes.TrimRight(quote(line), "\r"))
}

const http1 = "HTTP/1."

func couldBeHTTP(line []byte) bool {
	n := min(len(line), len(http1))
	return string(line[:n]) == http1[:n]
}

func (f *framer) statusLine(line []byte) {
	const least = len("HTTP/1.1 200")
	if !couldBeHTTP(line) || len(line) < least || line[7] < '0' || line[7] > '9' || line[8] != ' ' ||
		len(line) > least && line[least] != ' ' {
		f.notHTTP(line)
		return
	}
	status := 0
	for _, c := range line[9:least] {
		if c < '0' || c > '9' {
			f.fail("the status is not a number: %q", quote(line))
			return
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 {
		f.fail("the status %03d is out of range", status)
		return
	}
	f.status = status
	f.persistent = true
	f.proto = "HTTP/1.1"
	if line[7] == '0' {
		f.proto = "HTTP/1.0"
		f.persistent = false
	}
	f.state = stateHeader
}

func (f *framer) header(line []byte) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !isToken(line[:colon]) {
		f.fail("a header line has no name: %q", quote(line))
		return
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
	if f.keepHeader != "" && equalFold(name, f.keepHeader) {
		f.headerValue = string(value)
	}
	switch len(name) {
	case len("connection"):
		if equalFold(name, "connection") {
			if hasListItem(value, "close") {
				f.persistent = false
			} else if hasListItem(value, "keep-alive") {
				f.connection = true
			}
		}
	case len("location"):
		if equalFold(name, "location") {
			f.location = string(value)
		}
	case len("retry-after"):
		if equalFold(name, "retry-after") {
			f.retryAfter = string(value)
		}
	case len("content-type"):
		if equalFold(name, "content-type") {
			f.media = mediaOf(value)
		}
	case len("content-length"):
		if equalFold(name, "content-length") {
			f.contentLength(value)
		}
	case len("content-encoding"):
		if equalFold(name, "content-encoding") && len(value) > 0 && !equalFold(value, "identity") {
			f.contentEncoding = string(value)
		}
	case len("transfer-encoding"):
		if equalFold(name, "transfer-encoding") {
			if f.chunked || !equalFold(value, "chunked") {
				f.transferCoding = string(value)
			}
			f.chunked = true
		}
	}
}

// contentLength reads the header's value, which may be repeated with the same number (RFC 9112 section 6.3).
func (f *framer) contentLength(value []byte) {
	for more := true; more; {
		var item []byte
		item, value, more = bytes.Cut(value, []byte{','})
		item = bytes.Trim(item, " \t")
		length, err := strconv.ParseInt(string(item), 10, 64)
		if err != nil || item[0] == '+' || item[0] == '-' || f.left >= 0 && f.left != length {
			f.fail("the Content-Length is not one number: %q", quote(item))
			return
		}
		f.left = length
	}
}

// endHead decides where the body ends: RFC 9112 section 6.3, in its order.
func (f *framer) endHead() {
	switch {
	case f.status < 200 && f.status != 101:
		head, line := f.head, f.line
		f.reset()
		f.head, f.line = head, line
		return
	case f.status == 101 || f.status == 204 || f.status == 304:
		f.persistent = f.persistent && f.status != 101
		f.state = stateComplete
	case f.transferCoding != "":
		f.fail("the Transfer-Encoding %q was not asked for", quote([]byte(f.transferCoding)))
		return
	case f.chunked:
		if f.left >= 0 || f.proto == "HTTP/1.0" {
			f.persistent, f.connection = false, false // ambiguous framing: read it, then close
		}
		f.beginChunk()
	case f.left > 0:
		f.state = stateLength
	case f.left == 0:
		f.state = stateComplete
	default:
		f.persistent, f.connection = false, false
		f.state = stateUntilEOF
	}
	if f.proto == "HTTP/1.0" && f.connection {
		f.persistent = true
	}
}

func isToken(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '(' || c == ')' || c == ',' || c == '/' || c >= ':' && c <= '@' ||
			c >= '[' && c <= ']' || c == '{' || c == '}' {
			return false
		}
	}
	return true
}

// equalFold reports whether a name is an ASCII string in lower case, ignoring its case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func hasListItem(value []byte, lower string) bool {
	for more := true; more; {
		var item []byte
		item, value, more = bytes.Cut(value, []byte{','})
		if equalFold(bytes.Trim(item, " \t"), lower) {
			return true
		}
	}
	return false
}

// quotedBytes is how much of a line that cannot be read is shown.
const quotedBytes = 40

func quote(b []byte) []byte { return b[:min(len(b), quotedBytes)] }
