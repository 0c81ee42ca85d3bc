// Package lengths reads the rows of a trace that hold nothing but lengths and a time. Millions of them look alike: once a reader
// with more to decide has said what one row's fields are, those like it are read here, and every other one is left to that reader.
package lengths

import (
	"math"
	"strconv"
	"strings"
)

// Roles of a row's fields.
const (
	InputTokens  = "inputTokens"  // a whole number from 1
	OutputTokens = "outputTokens" // a whole number from 1
	Time         = "time"         // a number from 0, also as a text, or a date
	BlockIDs     = "blockIds"     // a list of whole numbers from 0
	Any          = "any"          // one value, whatever it is
	Empty        = "empty"        // an empty text or null
)

// Likeness says what rows look like that are read here.
type Likeness struct {
	// Roles of the fields, in their order.
	Roles []string `js:"roles"`
	// Names of the fields of rows that are JSON objects; those of a table's rows are in its heading.
	Names []string `js:"names"`

	// Delimiter and Newline are those of a table; empty: rows are JSON objects.
	Delimiter string `js:"delimiter"`
	Newline   string `js:"newline"`

	// Dates: times are dates, and are handed on in ms since OriginMs (since 1970). Zoned: they have an offset from UTC.
	Dates    bool    `js:"dates"`
	Zoned    bool    `js:"zoned"`
	OriginMs float64 `js:"originMs"`
}

// Rows are rows that were read, in their order. The zero Rows is empty.
type Rows struct {
	// Times as they are in the file, or of dates in ms.
	Times []float64
	// Inputs are the rows' lengths, and IDs the numbers of their block ids; both are empty where rows have none.
	Inputs, IDs []float64
	// Fraction: one of the times is no whole number, or is written as none. Least and Most are those of them.
	Fraction    bool
	Least, Most float64

	texts []byte
	ends  []int
}

// Len returns the number of rows.
func (r *Rows) Len() int { return len(r.ends) }

// Text returns row k as {"inputTokens":..,"outputTokens":..,"blockIds":[..]}.
func (r *Rows) Text(k int) string {
	from := 0
	if k > 0 {
		from = r.ends[k-1]
	}
	return string(r.texts[from:r.ends[k]])
}

// Reset makes r empty again, with the memory that it has.
func (r *Rows) Reset() {
	*r = Rows{Times: r.Times[:0], Inputs: r.Inputs[:0], IDs: r.IDs[:0], texts: r.texts[:0], ends: r.ends[:0]}
}

// row is what one row holds.
type row struct {
	input, output string
	time          float64
	fraction      bool
	ids           int // -1: no list
}

// Add reads a line and adds its row. It reports whether the line is like those that l describes; else nothing is added.
func (r *Rows) Add(l *Likeness, line string) bool {
	read := row{ids: -1}
	before := len(r.texts)
	if !r.read(l, line, &read) || read.input == "" || read.output == "" {
		r.texts = r.texts[:before]
		return false
	}
	// The ids are there already, behind what is written in front of them.
	ids := string(r.texts[before:])
	r.texts = append(r.texts[:before], `{"inputTokens":`...)
	r.texts = append(r.texts, read.input...)
	r.texts = append(r.texts, `,"outputTokens":`...)
	r.texts = append(r.texts, read.output...)
	if read.ids >= 0 {
		r.texts = append(r.texts, `,"blockIds":[`...)
		r.texts = append(r.texts, ids...)
		r.texts = append(r.texts, ']')
		tokens, _ := strconv.Atoi(read.input)
		r.Inputs = append(r.Inputs, float64(tokens))
		r.IDs = append(r.IDs, float64(read.ids))
	}
	r.texts = append(r.texts, '}')
	r.ends = append(r.ends, len(r.texts))
	if len(r.Times) == 0 {
		r.Least, r.Most = math.Inf(1), math.Inf(-1)
	}
	r.Times = append(r.Times, read.time)
	r.Fraction = r.Fraction || read.fraction
	r.Least, r.Most = min(r.Least, read.time), max(r.Most, read.time)
	return true
}

func (r *Rows) read(l *Likeness, line string, into *row) bool {
	if l.Delimiter != "" {
		return r.cells(l, line, into)
	}
	return r.object(l, line, into)
}

// cells reads a table's row without quotes.
func (r *Rows) cells(l *Likeness, line string, into *row) bool {
	line = strings.TrimSuffix(line, l.Newline)
	if strings.ContainsAny(line, "\"\r\n") {
		return false
	}
	for k, role := range l.Roles {
		cell, rest, more := strings.Cut(line, l.Delimiter)
		if more != (k < len(l.Roles)-1) || !into.cell(l, role, cell) {
			return false
		}
		line = rest
	}
	return true
}

func (w *row) cell(l *Likeness, role, cell string) bool {
	switch role {
	case InputTokens:
		w.input = cell
		return isLength(cell)
	case OutputTokens:
		w.output = cell
		return isLength(cell)
	case Time:
		return w.timeText(l, cell)
	case Any:
		return true
	}
	return role == Empty && cell == ""
}

// object reads a JSON object with the fields in their order, whose texts have no escapes.
func (r *Rows) object(l *Likeness, line string, into *row) bool {
	s := &scanner{rest: line}
	if !s.sign('{') {
		return false
	}
	for k, role := range l.Roles {
		if k > 0 && !s.sign(',') {
			return false
		}
		if name, ok := s.text(); !ok || name != l.Names[k] || !s.sign(':') || !r.member(l, role, s, into) {
			return false
		}
	}
	return s.sign('}') && s.space() == ""
}

func (r *Rows) member(l *Likeness, role string, s *scanner, into *row) bool {
	switch role {
	case InputTokens:
		into.input = s.number()
		return isLength(into.input)
	case OutputTokens:
		into.output = s.number()
		return isLength(into.output)
	case Time:
		if text, ok := s.text(); ok {
			return into.timeText(l, text)
		}
		return !l.Dates && into.timeNumber(s.number())
	case BlockIDs:
		return r.blockIDs(s, into)
	case Any:
		return s.scalar()
	}
	text, ok := s.text()
	return role == Empty && ((ok && text == "") || s.word("null"))
}

// blockIDs writes the ids behind the texts, without spaces.
func (r *Rows) blockIDs(s *scanner, into *row) bool {
	if into.ids >= 0 || !s.sign('[') {
		return false
	}
	into.ids = 0
	for !s.sign(']') {
		if into.ids > 0 {
			if !s.sign(',') {
				return false
			}
			r.texts = append(r.texts, ',')
		}
		id := s.number()
		// More digits are not exact in JavaScript.
		if !isDigits(id) || len(id) > 15 {
			return false
		}
		r.texts = append(r.texts, id...)
		into.ids++
	}
	return true
}

// isLength reports whether a text is a whole number from 1, as JSON writes it.
func isLength(text string) bool { return isDigits(text) && text != "0" && len(text) <= 9 }

// isDigits reports whether a text is a whole number from 0, as JSON writes it.
func isDigits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text == "0" || (text != "" && text[0] != '0')
}

// timeNumber takes a JSON number.
func (w *row) timeNumber(text string) bool {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || value < 0 || text[0] == '-' {
		return false
	}
	w.time, w.fraction = value, value != math.Trunc(value)
	return true
}

// timeText takes a text of at most 15 digits, which a number holds, or a date.
func (w *row) timeText(l *Likeness, text string) bool {
	if l.Dates {
		return w.date(l, text)
	}
	whole, fraction, point := strings.Cut(text, ".")
	if len(text) > 15 || whole == "" || (point && fraction == "") || strings.Trim(whole+fraction, "0123456789") != "" {
		return false
	}
	value, err := strconv.ParseFloat(text, 64)
	w.time, w.fraction = value, point
	return err == nil
}
