package stream

// passed is a member of described events that the description does not name, such as an id or a time.
type passed struct {
	name, last []byte
	varies     bool // it differs from event to event
}

const (
	maxPassed      = 8  // members that are watched
	maxPassedBytes = 64 // of their values
)

// pass steps over the value of a member at the top that means nothing. One that has been seen to differ from event to event
// becomes a slot of the template: else no event would be like the one before.
func (s *scanner) pass(key []byte) {
	c := s.peek()
	if c != '"' && !isDigit(c) || len(key) > maxPassedBytes {
		s.skip()
		return
	}
	var m *passed
	for i := range s.passed {
		if string(s.passed[i].name) == string(key) {
			m = &s.passed[i]
			break
		}
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
			if len(s.passed) < maxPassed {
				s.passed = append(s.passed, passed{name: append([]byte(nil), key...), last: append([]byte(nil), raw...)})
			}
			return
		case string(m.last) == string(raw):
			return
		}
		m.varies = true
		s.i = start
	}
	if c == '"' {
		s.textSlot(slotSkipped)
	} else {
		s.countSlot(slotCount)
	}
}
