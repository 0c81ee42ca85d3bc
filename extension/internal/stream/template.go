package stream

// blankKind says what stands in a blank of a template.
type blankKind uint8

const (
	blankContent   blankKind = iota // strings
	blankReasoning                  //
	blankRefusal                    //
	blankTool                       //
	blankMedia                      //
	blankDelta                      // a string whose meaning the event's type decides; never left in a finished template
	blankSkipped                    // a string that means nothing here
	blankNumber                     // any number, which means nothing here
	blankCount                      // whole numbers: one that means nothing here
	blankChoice                     // choices[].index
	blankInput                      // usage
	blankOutput                     //
	blankCached                     //
	blankThought                    // reasoning tokens of the usage
	blankTotal                      //
)

func (k blankKind) isString() bool { return k <= blankSkipped }

type blank struct {
	start, end int32 // in the event's data; of a string without its quotes
	kind       blankKind
}

const maxBlanks = 12

// blanks are the values of an event that may differ in the next one of its kind, in the order they stand.
type blanks struct {
	list [maxBlanks]blank
	n    int
	off  bool // the event is no template: it means more than its blanks say
}

func (s *blanks) reset() { s.n, s.off = 0, false }

func (s *blanks) add(start, end int, kind blankKind) {
	if s.n == maxBlanks {
		s.off = true
		return
	}
	s.list[s.n] = blank{int32(start), int32(end), kind} // an event has 64 MB at most
	s.n++
}

func (s *blanks) rename(from, to blankKind) {
	for i := range s.list[:s.n] {
		if s.list[i].kind == from {
			s.list[i].kind = to
		}
	}
}

// textBlank is text, and notes where it was.
func (s *scanner) textBlank(kind blankKind) (raw []byte, ok bool) {
	raw, ok = s.text()
	if ok {
		s.blanks.add(s.i-1-len(raw), s.i-1, kind)
	}
	return raw, ok
}

// countBlank is count, and notes where it was if it is a plain whole number.
func (s *scanner) countBlank(kind blankKind) (n int, ok bool) {
	s.peek()
	start := s.i
	n, ok = s.wholeNumber()
	if ok {
		if _, end, plain := wholeNumber(s.b, start); plain && end == s.i {
			s.blanks.add(start, end, kind)
		} else {
			s.blanks.off = true
		}
	}
	return n, ok
}

// wholeNumber reads digits as JSON permits them, at most 15.
func wholeNumber(b []byte, i int) (n, end int, ok bool) {
	end = i
	for end < len(b) && isDigit(b[end]) {
		n = n*10 + int(b[end]-'0')
		end++
	}
	length := end - i
	return n, end, length > 0 && length <= 15 && (length == 1 || b[i] != '0')
}

// template is the last event that was scanned in full. Events of a stream differ in little but the text: where all
// bytes outside the template's blanks are the same, and each blank holds a valid string or whole number again, the event
// is valid JSON of the same structure, so that its facts are those of the template with the new blanks. That is
// exact, and costs a comparison instead of a scan. The shared bytes are cut into literals, one before each blank and one
// after the last.
type template struct {
	bytes  []byte
	blanks blanks
	before int   // bytes in front of the data within the event
	data   int   // bytes of the data
	facts  facts // what the event that matched last says
	valid  bool
	whole  bool // before and what follows the data are known, so that it can be matched against the stream itself
}

// learn takes over the event in data if it is an output chunk; an event in between does not displace it. raw is the whole event with its line breaks and holds data at dataAt; nil =
// unknown.
func (t *template) learn(s *blanks, data, raw []byte, dataAt int, f *facts) {
	if s.off || f.output == 0 {
		return
	}
	t.valid = true
	t.whole = raw != nil
	if !t.whole {
		raw, dataAt = data, 0
	}
	t.bytes = append(t.bytes[:0], raw...)
	t.before, t.data = dataAt, len(data)
	t.blanks.n = s.n
	for i, blank := range s.list[:s.n] {
		blank.start += int32(dataAt)
		blank.end += int32(dataAt)
		t.blanks.list[i] = blank
	}
	t.facts = *f
}

// matchEvent reads the start of b as one whole event like the template's, with what it says in facts, and returns its
// length; 0 = it is none.
func (t *template) matchEvent(b []byte) int {
	if !t.whole {
		return 0
	}
	return t.match(b, 0, len(t.bytes))
}

// matchLine reads the start of b as one line with the data of an event like the template's, with what it says in facts, and returns
// its length, line break included; 0 = it is none.
func (t *template) matchLine(b []byte) int {
	if !t.valid {
		return 0
	}
	if n := t.match(b, t.before, t.before+t.data); n > 0 && n < len(b) && b[n] == '\n' {
		return n + 1
	}
	return 0
}

// matchData reads data as the data of an event like the template's, with what it says in facts.
func (t *template) matchData(data []byte) bool {
	return t.match(data, t.before, t.before+t.data) == len(data)
}

// match compares b with the template's bytes from..to and returns how many bytes of b that took, 0 = they differ.
func (t *template) match(b []byte, from, to int) int {
	i := 0
	f := &t.facts
	f.output, f.text = 0, nil
	for k := range t.blanks.list[:t.blanks.n] {
		s := &t.blanks.list[k]
		literal := t.bytes[from:s.start]
		if len(b)-i < len(literal) || string(b[i:i+len(literal)]) != string(literal) {
			return 0
		}
		i += len(literal)
		from = int(s.end)
		if s.kind.isString() {
			end, _ := stringEnd(b, i)
			if end < i {
				return 0
			}
			if s.kind != blankSkipped {
				f.setText(s.kind, b[i:end])
			}
			i = end
		} else if s.kind == blankNumber {
			if i = numberEnd(b, i); i <= 0 {
				return 0
			}
		} else {
			n, end, ok := wholeNumber(b, i)
			if !ok {
				return 0
			}
			f.setCount(s.kind, n)
			i = end
		}
	}
	literal := t.bytes[from:to]
	if len(b)-i < len(literal) || string(b[i:i+len(literal)]) != string(literal) {
		return 0
	}
	return i + len(literal)
}
