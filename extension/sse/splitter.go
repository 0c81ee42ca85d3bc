package sse

import (
	"bytes"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// splitter splits a body into events and, as xk6-sse does, reports lines that are no field of an event stream: they are
// how a script sees that the server answered with something else.
type splitter struct {
	d stream.Decoder

	state lineState
	line  []byte // the line so far, while it may turn out to be unknown
}

type lineState uint8

const (
	lineName    lineState = iota // before the end of the field's name
	lineKnown                    // the rest of the line is none of our business
	lineUnknown                  // kept to be reported
)

// keptLine is how much of an unknown line is reported, in bytes.
const keptLine = 1 << 10

// feed takes the body's next bytes, which arrived at atNs, and calls event and unknown in the order of the stream.
func (s *splitter) feed(b []byte, atNs int64, event func(stream.Event), unknown func(line string)) {
	fed := 0
	for i := 0; i < len(b); {
		switch s.state {
		case lineName:
			if len(s.line) == 0 && bytes.HasPrefix(b[i:], []byte("data:")) {
				s.state = lineKnown
				continue
			}
			c := b[i]
			if c == ':' || c == '\n' || c == '\r' {
				if isField(s.line) {
					s.state, s.line = lineKnown, s.line[:0]
				} else {
					s.state = lineUnknown
				}
				continue
			}
			s.line = append(s.line, c)
			i++
			if len(s.line) > len("\xef\xbb\xbfevent") {
				s.state = lineUnknown
			}
		case lineKnown, lineUnknown:
			end := bytes.IndexByte(b[i:], '\n')
			rest := b[i:]
			if end >= 0 {
				rest = b[i : i+end]
			}
			i += len(rest)
			if s.state == lineUnknown {
				s.line = append(s.line, rest[:min(len(rest), keptLine-min(keptLine, len(s.line)))]...)
			}
			if end < 0 {
				continue
			}
			i++
			if s.state == lineUnknown {
				s.d.Feed(b[fed:i], atNs, event)
				fed = i
				unknown(string(bytes.TrimRight(s.line, "\r")))
				s.line = s.line[:0]
			}
			s.state = lineName
		}
	}
	s.d.Feed(b[fed:], atNs, event)
}

// end delivers the event that the end of the stream cut off before its blank line, if it has data.
func (s *splitter) end(atNs int64, event func(stream.Event)) {
	s.d.Flush(atNs, func(ev stream.Event) {
		if ev.Data != nil {
			event(ev)
		}
	})
}

// isField reports whether a name is one of the HTML standard, section 9.2.6; the empty one is a comment's, or a blank line.
func isField(name []byte) bool {
	name = bytes.TrimPrefix(name, []byte("\xef\xbb\xbf"))
	switch string(name) {
	case "", "data", "event", "id", "retry":
		return true
	}
	return false
}
