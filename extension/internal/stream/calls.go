package stream

// ToolCall is a call of a tool that the model asked for.
type ToolCall struct {
	ID        string // "" where the API gives none
	Name      string
	Arguments string // as the model wrote them; JSON unless it made a mistake
}

// callPiece is what one event says of a call. Slices point into the event.
type callPiece struct {
	index          int // -1 = not given
	id, name, args []byte
	json           bool // args is JSON of its own, not the inside of a string
	repeats        bool // args may hold what came before once more
}

// callParts is a call as it grows.
type callParts struct {
	index          int
	id, name, args []byte
}

// keepCall keeps a piece of a call until the event is taken over. Such an event is no template: a template knows text alone.
func (s *scanner) keepCall(piece callPiece) {
	if s.keepText && (piece.id != nil || piece.name != nil || piece.args != nil) {
		s.calls = append(s.calls, piece)
	}
	s.blanks.off = s.blanks.off || s.keepText
}

// takeCalls adds the pieces of one event to the response's calls. whole: the event repeats the answer so far.
func (p *Parser) takeCalls(whole bool) {
	if len(p.scan.calls) == 0 || whole && len(p.calls) > 0 {
		return
	}
	for _, piece := range p.scan.calls {
		c := p.callOf(&piece)
		if len(c.id) == 0 {
			c.id = appendUnescaped(c.id, piece.id)
		}
		if len(c.name) == 0 {
			c.name = appendUnescaped(c.name, piece.name)
		}
		switch {
		case piece.repeats && len(c.args) > 0:
		case piece.json:
			c.args = append(c.args, piece.args...)
		default:
			c.args = appendUnescaped(c.args, piece.args)
		}
	}
	p.scan.calls = p.scan.calls[:0]
}

// callOf returns the call that a piece belongs to. Some servers give every call the index 0 and an id of its own, others
// whole calls without an index.
func (p *Parser) callOf(piece *callPiece) *callParts {
	for k := len(p.calls) - 1; k >= 0; k-- {
		c := &p.calls[k]
		switch {
		case piece.index >= 0 && c.index != piece.index:
		case len(piece.id) > 0 && len(c.id) > 0 && string(appendUnescaped(nil, piece.id)) != string(c.id):
		case piece.index < 0 && len(piece.id) == 0 && len(piece.name) > 0: // a further call without an id
		default:
			return c
		}
	}
	p.calls = append(p.calls, callParts{index: piece.index})
	return &p.calls[len(p.calls)-1]
}

// toolCalls returns the calls in the order in which they came.
func (p *Parser) toolCalls() []ToolCall {
	var calls []ToolCall
	for _, c := range p.calls {
		calls = append(calls, ToolCall{string(c.id), string(c.name), string(c.args)})
	}
	return calls
}
