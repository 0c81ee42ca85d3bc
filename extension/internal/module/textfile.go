package module

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/parquet"
	"github.com/tokenclock/tokenclock/extension/internal/slab"
)

// headBytes is how much of a file decides its kind.
const headBytes = 64 << 10

// leastPiece is how much text is handed over at first.
const leastPiece = 1 << 10

// textFile is TextFile of index.d.ts: a file of the user's that is read from its beginning as often as it is asked for,
// without being held in memory.
type textFile struct {
	i    *instance
	path string
	Head string `js:"head"`

	Parquet bool `js:"parquet"` // its rows are read as lines of JSON
}

// newTextFile is `new TextFile(path)`, for the init context; a relative path is one from the working directory.
func (i *instance) newTextFile(call sobek.ConstructorCall) *sobek.Object {
	f := &textFile{i: i, path: call.Argument(0).String()}
	if err := f.begin(); err != nil {
		i.throw(fmt.Errorf("new TextFile: %w", err))
	}
	rt := i.vu.Runtime()
	return rt.ToValue(f).ToObject(rt)
}

// begin reads the head.
func (f *textFile) begin() error {
	var head strings.Builder
	isParquet, err := f.readParquet(func(line string, _ int) (bool, error) {
		head.WriteString(line)
		head.WriteByte('\n')
		return head.Len() < headBytes, nil
	})
	if isParquet {
		f.Parquet, f.Head = true, head.String()
		return err
	}
	return f.read(func(r *bufio.Reader) error {
		head, err := io.ReadAll(io.LimitReader(r, headBytes))
		// The limit may cut a character in two.
		for range utf8.UTFMax - 1 {
			if len(head) < headBytes || utf8.Valid(head) {
				break
			}
			head = head[:len(head)-1]
		}
		f.Head = string(head)
		return err
	})
}

// readParquet hands a Parquet file's rows over as package parquet does. It reports whether the file is one.
func (f *textFile) readParquet(take func(line string, number int) (bool, error)) (is bool, err error) {
	file, err := f.i.openData(f.path)
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	magic := make([]byte, len(parquet.Magic))
	if _, err := io.ReadFull(file, magic); err != nil || string(magic) != parquet.Magic {
		return false, nil
	}
	info, err := file.Stat()
	if err != nil {
		return true, err
	}
	return true, parquet.Rows(file, info.Size(), take)
}

// read opens the file, unpacks gzip, drops a byte order mark and hands the text over.
func (f *textFile) read(take func(r *bufio.Reader) error) error {
	file, err := f.i.openData(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	r := bufio.NewReaderSize(file, headBytes)
	if magic, _ := r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(r)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		r = bufio.NewReaderSize(unpacked, headBytes)
	}
	if mark, _ := r.Peek(3); string(mark) == "\uFEFF" {
		_, _ = r.Discard(3)
	}
	return take(r)
}

// Lines is `file.lines(take, alike)`.
func (f *textFile) Lines(take func(line string, number int) (sobek.Value, error), alike sobek.Value) error {
	taker := f.takerOf(alike)
	each := func(line string, number int) (bool, error) {
		if taken, err := taker.add(line); taken || err != nil {
			return err == nil, err
		}
		return taker.wantsMore(take(line, number))
	}
	if f.Parquet {
		_, err := f.readParquet(each)
		return taker.end(err)
	}
	return taker.end(f.eachLine(func(line string, number int) (bool, error) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			return true, nil
		}
		return each(line, number)
	}))
}

// Pieces is `file.pieces(take, alike)`.
func (f *textFile) Pieces(take func(piece string) (sobek.Value, error), alike sobek.Value) error {
	taker := f.takerOf(alike)
	var piece strings.Builder
	// The first rows soon say what others look like.
	size := leastPiece
	give := func() (more bool, err error) {
		more, err = taker.wantsMore(take(piece.String()))
		piece.Reset()
		size = min(headBytes, 4*max(size, leastPiece/4))
		if taker.like != nil {
			size = 1 // the next line that is not like those is looked at by itself
		}
		return more, err
	}
	over := false
	err := f.eachLine(func(line string, _ int) (bool, error) {
		if piece.Len() == 0 {
			if taken, err := taker.add(line); taken || err != nil {
				return err == nil, err
			}
		}
		piece.WriteString(line)
		if piece.Len() < size {
			return true, nil
		}
		more, err := give()
		over = !more
		return more, err
	})
	if err == nil && !over && piece.Len() > 0 {
		_, err = give()
	}
	return taker.end(err)
}

// eachLine hands over each line with its end, and its number from 1, until take reports that it wants no more.
func (f *textFile) eachLine(take func(line string, number int) (more bool, err error)) error {
	return f.read(func(r *bufio.Reader) error {
		for number := 1; ; number++ {
			line, err := r.ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("line %d: %w", number, err)
			}
			ended := err != nil
			if !utf8.ValidString(line) {
				return fmt.Errorf("line %d is no UTF-8 text", number)
			}
			if line != "" {
				if more, err := take(line, number); !more || err != nil {
					return err
				}
			}
			if ended {
				return nil
			}
		}
	})
}

// Elements is `file.elements(take)`.
func (f *textFile) Elements(take func(element string, number int) (sobek.Value, error)) error {
	return f.read(func(r *bufio.Reader) error {
		d := json.NewDecoder(r)
		if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
			return errors.New("the file is no JSON array")
		}
		number := 1
		for ; d.More(); number++ {
			var element json.RawMessage
			if err := d.Decode(&element); err != nil {
				return fmt.Errorf("element %d: %w", number, err)
			}
			if !utf8.Valid(element) {
				return fmt.Errorf("element %d is no UTF-8 text", number)
			}
			if more, err := wantsMore(take(string(element), number)); !more {
				return err
			}
		}
		if _, err := d.Token(); err != nil {
			return fmt.Errorf("behind element %d: %w", number-1, err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return errors.New("something follows the JSON array")
		}
		return nil
	})
}

// Text is `file.text()`.
func (f *textFile) Text() (string, error) {
	var text string
	err := f.read(func(r *bufio.Reader) error {
		b, err := io.ReadAll(r)
		if err == nil && !utf8.Valid(b) {
			err = errors.New("the file is no UTF-8 text")
		}
		text = string(b)
		return err
	})
	return text, err
}

// wantsMore reports whether a callback that gave this wants to be called again: all but false and an exception does.
func wantsMore(v sobek.Value, err error) (bool, error) {
	if err != nil || v == nil {
		return err == nil, err
	}
	more, isBool := v.Export().(bool)
	return !isBool || more, nil
}

// rowsOf is Rows of index.d.ts: texts that the first VU adds, and all VUs read.
type rowsOf struct {
	texts  *slab.Slab
	Length int `js:"length"`
}

// newRows is `new Rows(name, fill)`. The first VU's fill is called; it may throw.
func (i *instance) newRows(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	texts, err := oncePerProcess(i.root, "rows", call.Argument(0).String(), func() (*slab.Slab, error) {
		fill, ok := sobek.AssertFunction(call.Argument(1))
		if !ok {
			return nil, errors.New("the second argument is not a function")
		}
		texts := &slab.Slab{}
		chosen, err := fill(sobek.Undefined(), rt.ToValue(func(call sobek.FunctionCall) sobek.Value {
			if o, ok := call.Argument(0).(*sobek.Object); ok {
				if rows, ok := o.Export().(*lengthRows); ok {
					for k := range rows.Length {
						texts.Add(rows.of.Text(k))
					}
					return sobek.Undefined()
				}
			}
			texts.Add(call.Argument(0).String())
			return sobek.Undefined()
		}))
		if err != nil {
			panic(err) // the script's own exception, or its interruption
		}
		if sobek.IsUndefined(chosen) {
			return texts, nil
		}
		var numbers []uint32
		if err := rt.ExportTo(chosen, &numbers); err != nil {
			return nil, fmt.Errorf("fill returned neither undefined nor the numbers of rows: %w", err)
		}
		return texts.Keep(numbers)
	})
	if err != nil {
		i.throw(fmt.Errorf("new Rows: %w", err))
	}
	return rt.ToValue(&rowsOf{texts: texts, Length: texts.Len()}).ToObject(rt)
}

// At is `rows.at(i)`.
func (h *rowsOf) At(k int) (string, error) {
	text, err := h.texts.At(k)
	if err != nil {
		return "", fmt.Errorf("rows: %w", err)
	}
	return text, nil
}
