package module

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/parquet"
)

// headBytes is how much of a file decides its kind.
const headBytes = 64 << 10

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

// opened is what k6 gives for a file.
type opened interface {
	io.ReadCloser
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}

func (f *textFile) open() (opened, error) {
	env := f.i.vu.InitEnv()
	if env == nil {
		return nil, fmt.Errorf("%s: files are read in the init context only", f.path)
	}
	at := f.path
	if !filepath.IsAbs(at) {
		at = env.GetAbsFilePath(f.path)
	}
	return env.FileSystems["file"].Open(at)
}

// readParquet hands a Parquet file's rows over as package parquet does. It reports whether the file is one.
func (f *textFile) readParquet(take func(line string, number int) (bool, error)) (is bool, err error) {
	file, err := f.open()
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
	file, err := f.open()
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

// Lines is `file.lines(take)`.
func (f *textFile) Lines(take func(line string, number int) (sobek.Value, error)) error {
	if f.Parquet {
		_, err := f.readParquet(func(line string, number int) (bool, error) { return wantsMore(take(line, number)) })
		return err
	}
	return f.read(func(r *bufio.Reader) error {
		for number := 1; ; number++ {
			line, err := r.ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("line %d: %w", number, err)
			}
			ended := err != nil
			line = strings.TrimRight(line, "\r\n")
			if strings.TrimSpace(line) != "" {
				if !utf8.ValidString(line) {
					return fmt.Errorf("line %d is no UTF-8 text", number)
				}
				if more, err := wantsMore(take(line, number)); !more {
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

// rows is what Rows of index.d.ts shares: texts that the first VU adds.
type rows struct {
	all []string
}

type rowsOf struct {
	r      *rows
	Length int `js:"length"`
}

// newRows is `new Rows(name, fill)`. The first VU's fill is called; it may throw.
func (i *instance) newRows(call sobek.ConstructorCall) *sobek.Object {
	rt, root, key := i.vu.Runtime(), i.root, "rows\x00"+call.Argument(0).String()
	root.mu.Lock()
	r, _ := root.named[key].(*rows)
	root.mu.Unlock()
	if r == nil {
		fill, ok := sobek.AssertFunction(call.Argument(1))
		if !ok {
			i.throw(errors.New("new Rows: the second argument is not a function"))
		}
		r = &rows{}
		// Without the lock, as in shareValue.
		if _, err := fill(sobek.Undefined(), rt.ToValue(func(text string) { r.all = append(r.all, text) })); err != nil {
			panic(err) // the script's own exception, or its interruption
		}
		root.mu.Lock()
		if root.named == nil {
			root.named = map[string]any{}
		}
		root.named[key] = r
		root.mu.Unlock()
	}
	return rt.ToValue(&rowsOf{r: r, Length: len(r.all)}).ToObject(rt)
}

// At is `rows.at(i)`.
func (h *rowsOf) At(k int) (string, error) {
	if k < 0 || k >= len(h.r.all) {
		return "", fmt.Errorf("row %d of %d", k, len(h.r.all))
	}
	return h.r.all[k], nil
}
