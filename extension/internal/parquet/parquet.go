// Package parquet reads the rows of a Parquet file as JSON objects, so that what reads JSON lines reads them, too.
package parquet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Magic begins every Parquet file.
const Magic = "PAR1"

const batch = 64 // rows that are decoded at a time

// Rows calls take with each row as a line of JSON, in order, until it returns false. A member that is null in the file is left
// out, as JSON lines leave it out. Timestamps and dates are written as RFC 3339 has them. A column of a kind that JSON has no value for (bytes that
// are no text, decimals, times of day, intervals, maps, variants) is an error before the first row.
func Rows(file io.ReaderAt, size int64, take func(line string, number int) (more bool, err error)) (err error) {
	defer func() {
		// The library panics over some files that contradict themselves.
		if p := recover(); p != nil {
			err = fmt.Errorf("the Parquet file is damaged: %v", p)
		}
	}()
	f, err := parquet.OpenFile(file, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("the Parquet file cannot be read: %w", err)
	}
	schema := f.Schema()
	writers := make([]member, 0, len(schema.Fields()))
	for _, field := range schema.Fields() {
		write, err := writerOf(field, field.Name())
		if err != nil {
			return err
		}
		writers = append(writers, member{field.Name(), write})
	}
	rows := make([]parquet.Row, batch)
	number := 0
	for _, group := range f.RowGroups() {
		if err := groupRows(group, schema, writers, rows, &number, take); err != nil {
			if errors.Is(err, errEnough) {
				return nil
			}
			return err
		}
	}
	if int64(number) != f.NumRows() {
		return fmt.Errorf("the Parquet file names %d rows and holds %d", f.NumRows(), number)
	}
	return nil
}

var errEnough = errors.New("enough")

func groupRows(group parquet.RowGroup, schema *parquet.Schema, writers []member, rows []parquet.Row, number *int, take func(string, int) (bool, error)) error {
	reader := group.Rows()
	defer func() { _ = reader.Close() }()
	var line bytes.Buffer
	for {
		n, err := reader.ReadRows(rows)
		for _, row := range rows[:n] {
			*number++
			var value any
			if err := schema.Reconstruct(&value, row); err != nil {
				return fmt.Errorf("row %d: %w", *number, err)
			}
			line.Reset()
			if err := writeObject(&line, value, writers); err != nil {
				return fmt.Errorf("row %d: %w", *number, err)
			}
			more, err := take(line.String(), *number)
			if err != nil {
				return err
			}
			if !more {
				return errEnough
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("behind row %d: %w", *number, err)
		}
		if n == 0 {
			return fmt.Errorf("behind row %d: nothing follows", *number)
		}
	}
}

// writer writes a value of a column, which is not nil, as JSON.
type writer func(b *bytes.Buffer, value any) error

type member struct {
	name  string
	write writer
}

// writerOf returns how the values of node are written; name is the column's in messages.
func writerOf(node parquet.Node, name string) (writer, error) {
	if node.Repeated() { // a list without its kind's name, as old writers have it
		return listOf(parquet.Required(node), name)
	}
	if node.Leaf() {
		return leafWriter(node, name)
	}
	switch kind := kindOf(node).(type) {
	case nil:
	case *format.ListType:
		fields := node.Fields()
		if len(fields) != 1 || len(fields[0].Fields()) != 1 {
			return nil, fmt.Errorf("column %q is a list whose elements are not where Parquet has them", name)
		}
		return listOf(fields[0].Fields()[0], name)
	default:
		return nil, fmt.Errorf("column %q is of the kind %s, which JSON has no value for; write the file without it", name, strings.ToLower(kind.String()))
	}
	members := make([]member, 0, len(node.Fields()))
	for _, field := range node.Fields() {
		write, err := writerOf(field, name+"."+field.Name())
		if err != nil {
			return nil, err
		}
		members = append(members, member{field.Name(), write})
	}
	return func(b *bytes.Buffer, value any) error { return writeObject(b, value, members) }, nil
}

// kindOf returns what node's values mean beyond their physical type, nil = nothing.
func kindOf(node parquet.Node) format.LogicalTypeValue {
	if t := node.Type().LogicalType(); t != nil {
		return t.Value
	}
	return nil
}

func writeObject(b *bytes.Buffer, value any, members []member) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%T is no row", value)
	}
	b.WriteByte('{')
	first := true
	for _, m := range members {
		if object[m.name] == nil {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		if err := writeJSON(b, m.name); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := m.write(b, object[m.name]); err != nil {
			return fmt.Errorf("column %q: %w", m.name, err)
		}
	}
	b.WriteByte('}')
	return nil
}

func listOf(element parquet.Node, name string) (writer, error) {
	write, err := writerOf(element, name)
	if err != nil {
		return nil, err
	}
	return func(b *bytes.Buffer, value any) error {
		list, ok := value.([]any)
		if !ok {
			return fmt.Errorf("%T is no list", value)
		}
		b.WriteByte('[')
		for k, each := range list {
			if k > 0 {
				b.WriteByte(',')
			}
			if each == nil {
				b.WriteString("null")
			} else if err := write(b, each); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}, nil
}

func leafWriter(node parquet.Node, name string) (writer, error) {
	t := node.Type()
	refused := func(what string) (writer, error) {
		return nil, fmt.Errorf("column %q holds %s, which JSON has no value for; write the file without it", name, what)
	}
	switch kind := kindOf(node).(type) {
	case *format.TimestampType:
		unit := time.Nanosecond
		switch kind.Unit.Value.(type) {
		case *format.MilliSeconds:
			unit = time.Millisecond
		case *format.MicroSeconds:
			unit = time.Microsecond
		}
		return func(b *bytes.Buffer, value any) error {
			n, ok := value.(int64)
			if !ok {
				return fmt.Errorf("%T is no timestamp", value)
			}
			per := int64(time.Second / unit)
			s, rest := n/per, n%per
			if rest < 0 {
				s, rest = s-1, rest+per
			}
			return writeJSON(b, time.Unix(s, rest*int64(unit)).UTC().Format(time.RFC3339Nano))
		}, nil
	case *format.DateType:
		return func(b *bytes.Buffer, value any) error {
			days, ok := value.(int32)
			if !ok {
				return fmt.Errorf("%T is no date", value)
			}
			return writeJSON(b, time.Unix(int64(days)*86400, 0).UTC().Format(time.DateOnly))
		}, nil
	case nil, *format.StringType, *format.EnumType, *format.JsonType, *format.IntType, *format.NullType:
	default:
		return refused(strings.ToLower(kind.String()))
	}
	switch t.Kind() {
	case parquet.Int96:
		return refused("96-bit times")
	case parquet.FixedLenByteArray:
		return refused("bytes of fixed length")
	}
	return func(b *bytes.Buffer, value any) error {
		if bytesOf, ok := value.([]byte); ok {
			value = string(bytesOf)
		}
		if s, ok := value.(string); ok && !utf8.ValidString(s) {
			return errors.New("the bytes are no UTF-8 text")
		}
		return writeJSON(b, value)
	}, nil
}

// writeJSON writes value without the escapes that HTML wants.
func writeJSON(b *bytes.Buffer, value any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the line's end
	return nil
}
