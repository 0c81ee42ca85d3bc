package stream

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep JSON may nest.
const maxDepth = 1000

// scanner walks a JSON text (RFC 8259) once, checks all of it, and allocates nothing. Whoever walks asks for the next
// value by its kind; a value of another kind is skipped. Once bad, every call returns at once.
type scanner struct {
	b     []byte
	i     int
	depth int
	bad   bool
	short bool // it is bad because the text ended too early

	blanks blanks
	key    []byte // last key with its escapes resolved, where it had any

	streamed  bool  // what is read is an event, not a whole reply
	ofChoices usage // the sum of the usage objects inside the choices, or Groq's own; used where there is none beside them

	found   found   // of the described wire
	passing passing // members that it does not name

	keepText bool
	joined   []byte // text of content that comes as a list of parts
	calls    []callPiece
}

func (s *scanner) reset(b []byte) {
	s.b, s.i, s.depth, s.bad, s.short = b, 0, 0, false, false
	s.blanks.reset()
	s.joined, s.calls = s.joined[:0], s.calls[:0]
}

func (s *scanner) fail() {
	s.bad = true
	s.short = s.i >= len(s.b)
}

// peek returns the first byte of the next value, 0 at the end of the text.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\n', '\r', '\t':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// end reports whether nothing follows.
func (s *scanner) end() bool {
	if s.peek(); s.i < len(s.b) {
		s.bad = true
	}
	return !s.bad
}

// enter steps into an object ('{') or an array ('['), and reports whether there is one; any other value is skipped.
func (s *scanner) enter(open byte) bool {
	if s.bad {
		return false
	}
	if s.peek() != open {
		s.skip()
		return false
	}
	if s.depth++; s.depth > maxDepth {
		s.fail()
		return false
	}
	s.i++
	return true
}

// more steps to the next member of what enter stepped into, or out of it. first: none was read so far.
func (s *scanner) more(closing byte, first bool) bool {
	if s.bad {
		return false
	}
	switch c := s.peek(); {
	case c == closing:
		s.i++
		s.depth--
		return false
	case first:
		return true
	case c == ',':
		s.i++
		return true
	}
	s.fail()
	return false
}

// member reads a key and its colon.
func (s *scanner) member() []byte {
	if s.peek() != '"' {
		s.fail()
		return nil
	}
	key, escaped := s.str()
	if s.bad {
		return nil
	}
	if s.peek() != ':' {
		s.fail()
		return nil
	}
	s.i++
	if escaped {
		s.key = appendUnescaped(s.key[:0], key)
		return s.key
	}
	return key
}

// members steps through an object and yields each key; the loop reads the value. Anything else is skipped, and none yielded.
func (s *scanner) members(yield func(key []byte) bool) {
	if !s.enter('{') {
		return
	}
	for first := true; s.more('}', first); first = false {
		if !yield(s.member()) {
			return
		}
	}
}

// elements steps through an array; the loop reads each element. Anything else is skipped.
func (s *scanner) elements(yield func() bool) {
	if !s.enter('[') {
		return
	}
	for first := true; s.more(']', first); first = false {
		if !yield() {
			return
		}
	}
}

// str reads the string whose opening quote is at s.i and returns what is between the quotes.
func (s *scanner) str() (raw []byte, escaped bool) {
	start := s.i + 1
	end, escaped := stringEnd(s.b, start)
	if end < 0 {
		s.i = -end
		s.fail()
		return nil, false
	}
	s.i = end + 1
	return s.b[start:end], escaped
}

// text reads a string; ok = false for null and all else, which is skipped.
func (s *scanner) text() (raw []byte, ok bool) {
	if s.peek() != '"' {
		s.skip()
		return nil, false
	}
	raw, _ = s.str()
	return raw, !s.bad
}

// wholeNumber reads a whole number, also one written as a float or in a string; ok = false for all else.
func (s *scanner) wholeNumber() (n int, ok bool) {
	switch c := s.peek(); {
	case c == '"':
		raw, _ := s.str()
		return number(raw)
	case c == '-' || c >= '0' && c <= '9':
		start := s.i
		s.skip()
		if s.bad {
			return 0, false
		}
		return number(s.b[start:s.i])
	}
	s.skip()
	return 0, false
}

// skip steps over one value of any kind.
func (s *scanner) skip() {
	if s.bad {
		return
	}
	switch c := s.peek(); c {
	case '"':
		s.str()
	case '{':
		for range s.members {
			s.skip()
		}
	case '[':
		for range s.elements {
			s.skip()
		}
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		if end := numberEnd(s.b, s.i); end > 0 {
			s.i = end
		} else {
			s.i = -end
			s.fail()
		}
	}
}

func (s *scanner) word(w string) {
	for k := range len(w) {
		if s.i >= len(s.b) || s.b[s.i] != w[k] {
			s.fail()
			return
		}
		s.i++
	}
}

// numberEnd returns the end of the number that begins at i, or minus the place of what makes it none.
func numberEnd(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i == whole {
		return -i
	}
	if b[whole] == '0' && i > whole+1 {
		return -(whole + 1)
	}
	if i < len(b) && b[i] == '.' {
		i++
		fraction := i
		for i < len(b) && isDigit(b[i]) {
			i++
		}
		if i == fraction {
			return -i
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		exponent := i
		for i < len(b) && isDigit(b[i]) {
			i++
		}
		if i == exponent {
			return -i
		}
	}
	return i
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// stringEnd returns where the closing quote of a string is whose first byte is at i, or minus the place of the byte
// that must not be there. It looks at eight bytes at a time for a quote, a backslash or a control character: the lowest
// bit set by the three tests is exact, those above it need not be.
func stringEnd(b []byte, i int) (end int, escaped bool) {
	for {
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			quote := w ^ eachByte*'"'
			slash := w ^ eachByte*'\\'
			found := ((quote-eachByte)&^quote | (slash-eachByte)&^slash | (w-eachByte*0x20)&^w) & highBits
			if found != 0 {
				i += bits.TrailingZeros64(found) / 8
				break
			}
			i += 8
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
			i++
		}
		switch {
		case i >= len(b):
			return -len(b), escaped
		case b[i] == '"':
			return i, escaped
		case b[i] < 0x20:
			return -i, escaped
		}
		escaped = true
		if i++; i >= len(b) {
			return -len(b), escaped
		}
		switch b[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i++
		case 'u':
			for range 4 {
				if i++; i >= len(b) {
					return -len(b), escaped
				}
				if hexDigit(b[i]) < 0 {
					return -i, escaped
				}
			}
			i++
		default:
			return -i, escaped
		}
	}
}

func hexDigit(c byte) rune {
	switch {
	case isDigit(c):
		return rune(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return -1
}

// appendUnescaped appends what a checked JSON string between its quotes stands for. Half a surrogate pair becomes U+FFFD.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := codeUnit(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if i+6 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
					pair = utf16.DecodeRune(r, codeUnit(raw[i+3:]))
				}
				if pair != utf8.RuneError {
					i += 6
				}
				r = pair
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, raw[i])
		}
	}
	return dst
}

func codeUnit(b []byte) rune {
	return hexDigit(b[0])<<12 | hexDigit(b[1])<<8 | hexDigit(b[2])<<4 | hexDigit(b[3])
}

// number reads a count: a JSON number that is neither negative nor more than 2^53; a fraction is cut off.
func number(b []byte) (n int, ok bool) {
	if len(b) == 0 || numberEnd(b, 0) != len(b) {
		return 0, false
	}
	for i, c := range b {
		if !isDigit(c) {
			return floatCount(b)
		}
		if i == 15 {
			return floatCount(b)
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func floatCount(b []byte) (n int, ok bool) {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || f < 0 || f > 1<<53 {
		return 0, false
	}
	return int(f), true
}
