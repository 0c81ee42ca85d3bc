package lengths

import (
	"encoding/json"
	"strings"
)

// scanner takes JSON from the beginning of a text. Its methods report whether they took what they are called; else it stays there.
type scanner struct{ rest string }

// space drops white space and returns the rest.
func (s *scanner) space() string {
	s.rest = strings.TrimLeft(s.rest, " \t\r\n")
	return s.rest
}

// sign takes one sign.
func (s *scanner) sign(c byte) bool {
	if rest := s.space(); rest == "" || rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// word takes null, true or false.
func (s *scanner) word(word string) bool {
	rest, ok := strings.CutPrefix(s.space(), word)
	if ok {
		s.rest = rest
	}
	return ok
}

// text takes a text without escapes.
func (s *scanner) text() (string, bool) {
	rest := s.space()
	if rest == "" || rest[0] != '"' {
		return "", false
	}
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			s.rest = rest[i+1:]
			return rest[1:i], true
		case c == '\\' || c < ' ':
			return "", false
		}
	}
	return "", false
}

// number takes a number, and returns "" where there is none.
func (s *scanner) number() string {
	rest := s.space()
	n := 0
	digits := true
	for n < len(rest) && strings.IndexByte("0123456789+-.eE", rest[n]) >= 0 {
		digits = digits && rest[n] >= '0' && rest[n] <= '9'
		n++
	}
	text := rest[:n]
	// Most are whole numbers, which callers look at.
	if digits && (n < 2 || text[0] != '0') || json.Valid([]byte(text)) {
		s.rest = rest[n:]
		return text
	}
	return ""
}

// scalar takes a value that holds no other.
func (s *scanner) scalar() bool {
	if _, ok := s.text(); ok {
		return true
	}
	return s.number() != "" || s.word("null") || s.word("true") || s.word("false")
}
