package stream

// found is what a described event is known to hold beside its facts.
type found struct {
	output bool // a place of output, empty or not
	other  bool // another place that the description names
	misfit bool // a value of another kind than its place is for
	hidden bool // a value that takes the output out
	named  bool // the name of the event
	read   bool // which is one of those that are read
	texts  int  // pieces of text that are not empty
	call   callPiece
}

// described reads one JSON text by its description. A text without any of the places that the description names has no
// shape. Errors are found where all APIs have them, too.
func (s *scanner) described(w *Wire, streamed bool, f *facts) bool {
	s.streamed = streamed
	s.passing.began()
	s.found = found{call: callPiece{index: -1}}
	if s.peek() == '{' {
		for key := range s.members {
			if p := w.root.member(key); p != nil {
				s.place(w, p, f)
				continue
			}
			switch string(key) {
			case "error":
				s.failure(f)
			default:
				s.other(&w.root, key, f)
			}
		}
	} else {
		s.place(w, &w.root, f)
	}
	s.nextCall()
	a := &s.found
	if w.nameInside && a.named && !a.read && !f.failed {
		*f = facts{shape: shapeEvent}
		s.joined, s.calls = s.joined[:0], s.calls[:0]
		s.blanks.off = true
		return s.end()
	}
	switch {
	case a.misfit:
	case a.output:
		f.shape = shapeAnswer
	case a.other:
		f.shape = shapeEvent
	}
	if a.hidden {
		f.output, f.text = 0, nil
		s.joined, s.calls = s.joined[:0], s.calls[:0]
		s.blanks.off = true
	}
	if a.texts > 1 {
		f.items = a.texts // the last piece alone does not tell whether the event repeats earlier text
	}
	if ended := f.done || len(f.finish) > 0; (a.output || ended) && !w.counted {
		f.choices, f.seen = 1, 1
		if ended {
			f.ended = 1
		}
	}
	s.vendorFailure(f)
	return s.end()
}

// place reads the value at p.
func (s *scanner) place(w *Wire, p *place, f *facts) {
	opening := s.peek()
	if p.plain {
		s.readValue(p, opening, f)
		return
	}
	start := s.i
	nested := opening == '{' && p.inside != nil || opening == '[' && (p.inside != nil || p.each != nil)
	switch {
	case p.role == roleNone && !nested:
		s.skip()
	case nested && p.role != roleError && p.role != roleItem:
		s.found.other = s.found.other || p.role != roleNone
		s.inside(w, p, opening, f)
	default:
		s.readValue(p, opening, f)
	}
	if s.bad {
		return
	}
	if p.names || p.tests != nil {
		s.compare(w, p, opening, s.b[start:s.i], f)
	}
}

// inside reads what stands in the object or array at p.
func (s *scanner) inside(w *Wire, p *place, opening byte, f *facts) {
	if opening == '{' {
		for key := range s.members {
			if next := p.member(key); next != nil {
				s.place(w, next, f)
			} else {
				s.pass(p, key)
			}
		}
		return
	}
	i := 0
	for range s.elements {
		if p.calls {
			s.nextCall()
		}
		if next := p.item(i); next != nil {
			s.place(w, next, f)
		} else {
			s.skip()
		}
		i++
	}
}

// nextCall keeps what was read of a tool call.
func (s *scanner) nextCall() {
	if c := &s.found.call; c.id != nil || c.name != nil || c.args != nil {
		s.keepCall(*c)
		*c = callPiece{index: -1}
	}
}

// readValue reads the value at p as its role says.
func (s *scanner) readValue(p *place, opening byte, f *facts) {
	switch p.role {
	case roleText, roleReasoning, roleToolName, roleToolArguments, roleMedia:
		s.found.output = true
		s.output(p.role, opening, f)
	case roleItem:
		s.found.output = true
		f.items++
		s.skip()
	case roleFinish:
		s.found.other = true
		switch opening {
		case 'n':
			s.skip()
		case '"':
			s.finishReason(f)
		default:
			s.found.misfit = true
			s.skip()
		}
	case roleError:
		s.found.other = true
		s.failure(f)
	case roleToolID:
		s.found.call.id, _ = s.text()
		s.blanks.off = true
	case roleToolIndex:
		if n, ok := s.countBlank(blankCount); ok {
			s.found.call.index = n
		}
	case roleIgnored:
		s.found.other = true
		s.skip()
	default:
		s.found.other = true
		s.amount(p.role, opening, f)
	}
}

var blanksOfRoles = [...]blankKind{
	roleText: blankContent, roleReasoning: blankReasoning, roleToolName: blankTool, roleToolArguments: blankTool, roleMedia: blankMedia,
	roleInput: blankInput, roleOutput: blankOutput, roleCached: blankCached, roleThought: blankThought, roleTotal: blankTotal,
}

// output reads a piece of output: a string; of tool calls, whose arguments may be JSON, also an object or a list.
func (s *scanner) output(r role, opening byte, f *facts) {
	kind := blanksOfRoles[r]
	if opening != '"' {
		start := s.i
		s.skip()
		switch {
		case opening == 'n' || s.bad:
		case r == roleToolArguments && (opening == '{' || opening == '['):
			f.setText(kind, s.b[start:s.i])
			s.found.call.args, s.found.call.json = s.b[start:s.i], true
			s.blanks.off = true
		default:
			s.found.misfit = true
		}
		return
	}
	before := f.text
	raw, _ := s.str()
	if s.bad {
		return
	}
	s.blanks.add(s.i-1-len(raw), s.i-1, kind)
	if len(raw) == 0 {
		return
	}
	f.setText(kind, raw)
	switch r {
	case roleToolName:
		s.found.call.name = raw
	case roleToolArguments:
		s.found.call.args = raw
	}
	if kind != blankContent {
		return
	}
	if s.found.texts++; s.found.texts > 1 {
		s.blanks.off = true
		if s.keepText {
			if s.found.texts == 2 {
				s.joined = appendUnescaped(s.joined[:0], before)
			}
			s.joined = appendUnescaped(s.joined, raw)
		}
	}
}

// amount reads a number of tokens.
func (s *scanner) amount(r role, opening byte, f *facts) {
	u := &f.usage
	n, ok := 0, false
	if r < roleCacheRead {
		n, ok = s.countBlank(blanksOfRoles[r])
	} else {
		n, ok = s.wholeNumber()
		s.blanks.off = true
	}
	if !ok {
		s.found.misfit = s.found.misfit || opening != 'n'
		return
	}
	switch r {
	case roleInput:
		u.input, u.known = n, true
	case roleOutput:
		u.output, u.known, u.outputKnown = n, true, true
	case roleCached:
		u.cached, u.cachedKnown = n, true
	case roleThought:
		u.reasoning = n
	case roleTotal:
		u.total = n
	case roleCacheRead:
		u.cacheRead, u.cachedKnown = n, true
	case roleCacheWrite:
		u.cacheWrite = n
	}
}

// compare tells what a value means by being what it is.
func (s *scanner) compare(w *Wire, p *place, opening byte, raw []byte, f *facts) {
	if p.role != roleNone {
		s.blanks.off = true // a blank may hold anything
	}
	s.found.other = true
	text := opening == '"'
	if text {
		raw = raw[1 : len(raw)-1]
		for _, c := range raw {
			if c == '\\' {
				raw = appendUnescaped(nil, raw)
				break
			}
		}
	}
	for i := range p.tests {
		switch t := &p.tests[i]; {
		case t.text != text || t.json != string(raw):
		case t.hides:
			s.found.hidden = true
		default:
			f.done = true
			s.blanks.off = true
		}
	}
	if p.names {
		s.found.named = true
		for i := range w.events {
			s.found.read = s.found.read || text && w.events[i] == string(raw)
		}
	}
}
