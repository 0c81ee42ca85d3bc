package module

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/lengths"
)

// rowsAtOnce is how many rows are handed over together.
const rowsAtOnce = 4096

// lengthRows is LengthRows of index.d.ts.
type lengthRows struct {
	of       *lengths.Rows
	Length   int         `js:"length"`
	Times    sobek.Value `js:"times"`
	Inputs   sobek.Value `js:"inputs"`
	IDs      sobek.Value `js:"ids"`
	Fraction bool        `js:"fraction"`
	Least    float64     `js:"least"`
	Most     float64     `js:"most"`
}

// rowTaker reads the rows that are like the one that JavaScript read last, and hands them over many at a time.
type rowTaker struct {
	rt    *sobek.Runtime
	alike sobek.Callable    // nil: all rows are JavaScript's
	like  *lengths.Likeness // nil: that row is like no other
	rows  lengths.Rows
}

func (f *textFile) takerOf(alike sobek.Value) *rowTaker {
	t := &rowTaker{rt: f.i.vu.Runtime()}
	if alike != nil {
		t.alike, _ = sobek.AssertFunction(alike)
	}
	return t
}

// add takes a line, and reports whether it is done with: if not, what went before has been handed over, and the line is
// JavaScript's.
func (t *rowTaker) add(line string) (taken bool, err error) {
	if t.like == nil {
		return false, nil
	}
	taken = t.rows.Add(t.like, line)
	if !taken || t.rows.Len() == rowsAtOnce {
		err = t.give()
	}
	return taken, err
}

// give hands over the rows that were taken.
func (t *rowTaker) give() error {
	if t.rows.Len() == 0 {
		return nil
	}
	rows := &lengthRows{
		of: &t.rows, Length: t.rows.Len(), Fraction: t.rows.Fraction, Least: t.rows.Least, Most: t.rows.Most,
		Times: t.numbers(t.rows.Times), Inputs: t.numbers(t.rows.Inputs), IDs: t.numbers(t.rows.IDs),
	}
	_, err := t.alike(sobek.Undefined(), t.rt.ToValue(rows))
	t.rows.Reset()
	return err
}

// numbers makes a Float64Array.
func (t *rowTaker) numbers(of []float64) sobek.Value {
	bytes := make([]byte, 0, 8*len(of))
	for _, each := range of {
		bytes = binary.LittleEndian.AppendUint64(bytes, math.Float64bits(each))
	}
	array, err := t.rt.New(t.rt.Get("Float64Array"), t.rt.ToValue(t.rt.NewArrayBuffer(bytes)))
	if err != nil {
		panic(err) // a script that has changed Float64Array
	}
	return array
}

// wantsMore is wantsMore, and keeps what a callback says of the row that it was given.
func (t *rowTaker) wantsMore(v sobek.Value, err error) (bool, error) {
	t.like = nil
	if err == nil && t.alike != nil {
		if o, ok := v.(*sobek.Object); ok {
			like := &lengths.Likeness{}
			if err := t.rt.ExportTo(o, like); err != nil {
				return false, err
			}
			if like.Delimiter == "" && len(like.Names) != len(like.Roles) {
				return false, fmt.Errorf("likeness: %d names and %d roles", len(like.Names), len(like.Roles))
			}
			t.like = like
		}
	}
	return wantsMore(v, err)
}

// end hands over what is left, where reading ended well.
func (t *rowTaker) end(err error) error {
	if err != nil {
		return err
	}
	return t.give()
}
