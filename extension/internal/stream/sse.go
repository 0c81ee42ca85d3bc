package stream

import (
	"bytes"
	"errors"
)

// Limits of what one response may hold in memory: every virtual user may have one at a time.
const (
	// maxEventBytes limits one event of a stream: hundreds of times what a tool call or a token with its logprobs takes.
	maxEventBytes = 8 << 20
	// maxReplyBytes limits one reply that is not streamed: embeddings of a large batch take tens of megabytes.
	maxReplyBytes = 64 << 20
	// maxArrivals limits the output chunks of one response, 16 bytes each: twice the longest outputs that models give.
	maxArrivals = 1 << 18
)

// keepBytes is the largest buffer that outlives a response.
const keepBytes = 1 << 20

// ErrEventTooLarge is what Decoder.Err returns after an event of more than 8 MB.
var ErrEventTooLarge = errors.New("an event is larger than 8 MB")

// Event is one server-sent event. Its slices are valid until the callback returns.
type Event struct {
	Name    []byte // the last "event" field; empty = none
	ID      []byte // the last "id" field of this event; nil = it has none
	Data    []byte // the "data" fields joined by LF; nil = it has none, and a browser would not dispatch it
	Comment []byte // the comment lines joined by LF; nil = it has none
	RetryMs int64  // the "retry" field in milliseconds; -1 = it has none
	AtNs    int64  // arrival of the line break that ended the event
}

// Decoder splits an event stream into events as the WHATWG HTML standard, section 9.2.6, defines it, with three
// additions: an event without data is reported too (Data is nil), comments are kept, and Flush delivers an event that
// the end of the stream cut off before its blank line. It never waits for a byte that may not come: an event ends with
// the CR or LF that makes its last line empty, and an LF after such a CR is swallowed later. The zero value is ready.
type Decoder struct {
	line   []byte // start of a line whose end has not arrived
	skipLF bool   // the last line ended in CR: an LF that follows belongs to it
	begun  bool   // the first line, where a byte order mark may stand, is over
	err    error

	// The event so far.
	dirty                        bool // it has a line
	name, id, comment, data      []byte
	hasID, hasComment, hasData   bool
	retryMs                      int64
	view                         []byte // its only data, still in the caller's bytes; nil = it is in data
	eventStart, viewStart, ended int    // offsets in the bytes given to next: first byte (-1 = before them), view, end

	// errorField makes a line "error: ..." an event named error with that data: llama-server wrote errors so.
	errorField bool
	// keepStray keeps lines that cannot be fields of an event stream, which the standard ignores: proxies and servers write
	// errors into a stream as they are.
	keepStray bool
	stray     []byte // of the event so far, with line breaks
	atEnd     bool   // the line that is read has no line break, for the stream ended in it
}

// Reset makes the decoder ready for another stream; it keeps its buffers.
func (d *Decoder) Reset() {
	*d = Decoder{line: reuse(d.line), name: reuse(d.name), id: reuse(d.id), comment: reuse(d.comment), data: reuse(d.data),
		errorField: d.errorField, keepStray: d.keepStray, stray: reuse(d.stray)}
}

func reuse(b []byte) []byte {
	if cap(b) > keepBytes {
		return nil
	}
	return b[:0]
}

// Err returns why the decoder stopped, or nil.
func (d *Decoder) Err() error { return d.err }

// Feed takes the next bytes of the stream, which arrived at atNs, and calls fn for every event that they end.
func (d *Decoder) Feed(b []byte, atNs int64, fn func(Event)) {
	for len(b) > 0 {
		n, ok := d.next(b)
		if ok {
			fn(d.event(atNs))
			d.clear()
		}
		b = b[n:]
	}
}

// Flush ends the stream: an event that lacks its blank line, or its last line break, is delivered as it is.
func (d *Decoder) Flush(atNs int64, fn func(Event)) {
	if d.flush() {
		fn(d.event(atNs))
		d.clear()
	}
}

func (d *Decoder) flush() bool {
	if d.err != nil {
		return false
	}
	if len(d.line) > 0 {
		d.atEnd = true
		d.wholeLine(d.takeLine(), -1)
	}
	return d.dirty && d.err == nil
}

// takeLine returns the kept line, valid until the next one is kept. What it adds to the event is not counted twice.
func (d *Decoder) takeLine() []byte {
	line := d.line
	d.line = d.line[:0]
	return line
}

// atBoundary reports whether the next byte begins an event.
func (d *Decoder) atBoundary() bool { return !d.dirty && len(d.line) == 0 && d.err == nil }

// next consumes the first n bytes of b: up to the end of the first event (ok: the event stays until clear), or all.
func (d *Decoder) next(b []byte) (n int, ok bool) {
	if d.err != nil {
		return len(b), false
	}
	d.eventStart = -1
	if d.atBoundary() {
		d.eventStart = 0
	}
	for n < len(b) {
		if d.skipLF {
			d.skipLF = false
			if b[n] == '\n' {
				n++
				if !d.dirty && d.eventStart >= 0 {
					d.eventStart = n
				}
				continue
			}
		}
		length := lineLength(b[n:])
		if length < 0 {
			d.line = append(d.line, b[n:]...)
			d.checkSize()
			n = len(b)
			break
		}
		line, at := b[n:n+length], n
		if len(d.line) > 0 {
			d.line = append(d.line, line...)
			line, at = d.takeLine(), -1
		}
		n += length + 1
		d.skipLF = b[n-1] == '\r'
		blank := d.wholeLine(line, at)
		if blank && d.dirty {
			d.ended = n
			return n, true
		}
		if blank && d.eventStart >= 0 {
			d.eventStart = n
		}
		if d.err != nil {
			return len(b), false
		}
	}
	if d.view != nil { // the caller's bytes go away
		d.data = append(d.data[:0], d.view...)
		d.view = nil
	}
	return n, false
}

// lineLength returns the number of bytes before the first CR or LF, -1 = there is none. It looks for both in windows
// that grow, so that a stream of one kind of line break is not searched to its end for the other kind at every line.
func lineLength(b []byte) int {
	for from, window := 0, 512; from < len(b); from, window = from+window, window*2 {
		part := b[from:min(from+window, len(b))]
		lf := bytes.IndexByte(part, '\n')
		if lf >= 0 {
			part = part[:lf]
		}
		if cr := bytes.IndexByte(part, '\r'); cr >= 0 {
			return from + cr
		}
		if lf >= 0 {
			return from + lf
		}
	}
	return -1
}

// wholeLine takes one line without its end and reports whether it is blank. at is where the line lies in the bytes given
// to next, -1 = elsewhere.
func (d *Decoder) wholeLine(line []byte, at int) (blank bool) {
	if !d.begun {
		d.begun = true
		if rest, found := bytes.CutPrefix(line, []byte("\xef\xbb\xbf")); found {
			line, at = rest, -1
		}
	}
	if len(line) == 0 {
		return true
	}
	if !d.dirty {
		d.dirty = true
		d.retryMs = -1
	}
	name, value, _ := bytes.Cut(line, []byte{':'})
	start := at + len(name) + 1
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
		start++
	}
	switch string(name) {
	case "data":
		if at < 0 || len(value) == 0 {
			start = -1
		}
		d.addData(value, start)
	case "":
		if d.hasComment {
			d.comment = append(d.comment, '\n')
		}
		d.comment, d.hasComment = append(d.comment, value...), true
	case "event":
		d.name = append(d.name[:0], value...)
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			d.id, d.hasID = append(d.id[:0], value...), true
		}
	case "retry":
		if ms, ok := digits(value); ok {
			d.retryMs = ms
		}
	case "error":
		if d.errorField {
			d.name = append(d.name[:0], "error"...)
			d.addData(value, -1)
		} else if d.keepStray {
			d.strayLine(line)
		}
	default:
		if d.keepStray {
			d.strayLine(line)
		}
	}
	d.checkSize()
	return false
}

// strayLine keeps a line that is no field by its form, or that follows such a line. A field's name is a word with a colon;
// a cut one may be the beginning of a name.
func (d *Decoder) strayLine(line []byte) {
	isField := false
	for i, c := range line {
		if c == ':' {
			isField = i > 0
			break
		}
		if !isDigit(c) && c != '-' && c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
	}
	if d.atEnd {
		for _, field := range fields {
			begins, _ := begin(line, field)
			isField = isField || begins
		}
	}
	if (!isField || len(d.stray) > 0) && len(d.stray) < errorBodyBytes {
		d.stray = append(append(d.stray, line...), '\n')
	}
}

// addData adds one data line. start is where it lies in the bytes given to next, -1 = it must be copied.
func (d *Decoder) addData(value []byte, start int) {
	if !d.hasData && start >= 0 {
		d.hasData, d.view, d.viewStart = true, value, start
		return
	}
	if d.view != nil {
		d.data = append(d.data[:0], d.view...)
		d.view = nil
	}
	if d.hasData {
		d.data = append(d.data, '\n')
	}
	d.data, d.hasData = append(d.data, value...), true
}

func (d *Decoder) event(atNs int64) Event {
	ev := Event{Name: d.name, RetryMs: d.retryMs, AtNs: atNs}
	if d.hasData {
		ev.Data = d.eventData()
	}
	if d.hasID {
		ev.ID = notNil(d.id)
	}
	if d.hasComment {
		ev.Comment = notNil(d.comment)
	}
	return ev
}

func (d *Decoder) eventData() []byte {
	if d.view != nil {
		return d.view
	}
	return notNil(d.data)
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (d *Decoder) clear() {
	d.name, d.id, d.comment, d.data, d.stray = d.name[:0], d.id[:0], d.comment[:0], d.data[:0], d.stray[:0]
	d.dirty, d.hasID, d.hasComment, d.hasData, d.view = false, false, false, false, nil
}

func (d *Decoder) checkSize() {
	if len(d.line)+len(d.data)+len(d.view)+len(d.comment)+len(d.name)+len(d.id)+len(d.stray) > maxEventBytes {
		d.err = ErrEventTooLarge
		d.clear()
		d.line = d.line[:0]
	}
}

// digits reads a number of ASCII digits only, as the "retry" field must be.
func digits(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
