package stream

// passed is a member of events that means nothing to the reader, such as an id or a time.
type passed struct {
	in         *place // the object that it is a member of
	name, last []byte // last is that of the present stream; none = it had none yet
	varies     bool   // it differs from event to event of a stream
}

// The objects of the built-in APIs, as far as they are told apart here.
var ofCompletion, ofChoice, ofDelta, ofResponses, ofMessages place

// passing are the members that mean nothing, of the objects whose other members are known.
type passing struct {
	list  []passed
	scans int  // of events, while their values are compared
	quiet bool // none of them is a blank, and none is watched any more
}

const (
	maxPassed      = 16 // members that are watched
	maxPassedBytes = 64 // of their values
	// watchedScans is in how many events they are. What was the same in all of them is of no use as a blank: where it changes once
	// in a while, that event is scanned.
	watchedScans = 32
)

// reset begins another stream: an id that differs from stream to stream only is no blank.
func (p *passing) reset() {
	for i := range p.list {
		p.list[i].last = p.list[i].last[:0]
	}
}

// began notes that one more event is scanned.
func (p *passing) began() {
	if p.scans > watchedScans {
		return
	}
	if p.scans++; p.scans > watchedScans {
		varying := p.list[:0]
		for _, m := range p.list {
			if m.varies {
				varying = append(varying, m)
			}
		}
		p.list = varying
		p.quiet = len(varying) == 0
	}
}

// pass steps over the value of a member of the object at `in` that means nothing; nil = an object whose members are not watched. One that has been seen to differ from event to event
// becomes a blank of the template: else no event would be like the one before.
func (s *scanner) pass(in *place, key []byte) {
	if in == nil || s.passing.quiet || !s.streamed {
		s.skip()
		return
	}
	var m *passed
	for i := range s.passing.list {
		if s.passing.list[i].in == in && string(s.passing.list[i].name) == string(key) {
			m = &s.passing.list[i]
			break
		}
	}
	watched := s.passing.scans <= watchedScans
	if m == nil && !watched {
		s.skip()
		return
	}
	c := s.peek()
	if c != '"' && c != '-' && !isDigit(c) || len(key) > maxPassedBytes {
		s.skip()
		return
	}
	start := s.i
	if m == nil || !m.varies {
		s.skip()
		if s.bad {
			return
		}
		raw := s.b[start:s.i]
		switch {
		case len(raw) > maxPassedBytes:
			return
		case m == nil:
			if len(s.passing.list) < maxPassed {
				s.passing.list = append(s.passing.list, passed{in: in, name: append([]byte(nil), key...), last: append([]byte(nil), raw...)})
			}
			return
		case len(m.last) == 0:
			m.last = append(m.last, raw...)
			return
		case string(m.last) == string(raw):
			return
		}
		m.varies = true
		s.i = start
	}
	if c == '"' {
		s.textBlank(blankSkipped)
		return
	}
	if s.skip(); !s.bad {
		s.blanks.add(start, s.i, blankNumber)
	}
}
