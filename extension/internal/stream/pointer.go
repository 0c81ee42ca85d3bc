package stream

import (
	"strconv"
	"strings"
)

// pointer is a JSON pointer (RFC 6901) to a token count, and what was found there.
type pointer struct {
	text  string
	path  []string // nil = there is no pointer
	found bool
	count int
}

func (p *pointer) set(text string) {
	p.found, p.count = false, 0
	if p.text == text {
		return
	}
	p.text, p.path = text, nil
	if text == "" {
		return
	}
	for _, token := range strings.Split(strings.TrimPrefix(text, "/"), "/") {
		p.path = append(p.path, strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"))
	}
}

// astray is the place of a value that a pointer does not lead through.
const astray = -1

// anyReply reads a JSON object of any kind: an error, and the counts that the pointers name.
func (s *scanner) anyReply(ptrs *[2]pointer, f *facts) bool {
	var at [2]int
	for k := range ptrs {
		if ptrs[k].path == nil {
			at[k] = astray
		}
	}
	s.pointed(ptrs, at, f)
	return s.end()
}

// pointed reads one value. at says how many steps of each pointer led to it, or astray; f is given at the top only.
func (s *scanner) pointed(ptrs *[2]pointer, at [2]int, f *facts) {
	opening := s.peek()
	start := s.i
	onPath := f != nil
	for k := range ptrs {
		onPath = onPath || at[k] != astray && at[k] < len(ptrs[k].path)
	}
	switch {
	case onPath && opening == '{':
		for key := range s.members {
			if f != nil && string(key) == "error" {
				s.failure(f)
				continue
			}
			if f != nil && string(key) == "base_resp" {
				s.baseResponse(f)
				continue
			}
			s.pointed(ptrs, step(ptrs, at, string(key)), nil)
		}
	case onPath && opening == '[':
		i := 0
		for range s.elements {
			s.pointed(ptrs, step(ptrs, at, strconv.Itoa(i)), nil)
			i++
		}
	default:
		s.skip()
	}
	if s.bad {
		return
	}
	for k := range ptrs {
		if at[k] != astray && at[k] == len(ptrs[k].path) {
			raw := s.b[start:s.i]
			if opening == '"' {
				raw = raw[1 : len(raw)-1]
			}
			ptrs[k].count, ptrs[k].found = number(raw)
		}
	}
}

func step(ptrs *[2]pointer, at [2]int, token string) [2]int {
	for k := range ptrs {
		if at[k] == astray || at[k] == len(ptrs[k].path) || ptrs[k].path[at[k]] != token {
			at[k] = astray
		} else {
			at[k]++
		}
	}
	return at
}
