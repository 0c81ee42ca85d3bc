// Package part divides a load among the instances of k6 that run it together. k6's execution segments decide who takes
// what: the parts of all instances are disjoint, and their union is the load of one process.
package part

import (
	"context"
	"fmt"

	"go.k6.io/k6/v2/lib"

	"github.com/tokenclock/tokenclock/extension/internal/shape"
)

// Part is what one instance takes of every load. nil is the whole.
type Part struct {
	tuple *lib.ExecutionTuple
}

// Of returns the part that k6's execution segment gives the instance whose VU has this context.
func Of(ctx context.Context) *Part {
	state := lib.GetExecutionState(ctx)
	if state == nil {
		return nil
	}
	return New(state.ExecutionTuple)
}

// New returns the part of an execution tuple: nil where it is not divided.
func New(tuple *lib.ExecutionTuple) *Part {
	if tuple == nil || len(tuple.Sequence.ExecutionSegmentSequence) < 2 {
		return nil
	}
	return &Part{tuple}
}

// Number is the part's place among all parts, from 1.
func (p *Part) Number() int {
	if p == nil {
		return 1
	}
	return p.tuple.SegmentIndex + 1
}

// Count is how many parts there are.
func (p *Part) Count() int {
	if p == nil {
		return 1
	}
	return len(p.tuple.Sequence.ExecutionSegmentSequence)
}

// First reports whether this part is the one that does what only one instance shall do.
func (p *Part) First() bool { return p.Number() == 1 }

// Check refuses parts that are not `runners` equal ones: their VUs are divided equally, and so must the load be.
func (p *Part) Check(runners int) error {
	if n := p.Count(); n != runners {
		return fmt.Errorf("RUNNERS=%d, but k6's execution segments make %d instances; set RUNNERS to the number of instances", runners, n)
	}
	if p == nil {
		return nil
	}
	cycle := p.tuple.Sequence.LCD()
	for k := range runners {
		if p.tuple.Sequence.ScaleInt64(k, cycle)*int64(runners) != cycle {
			return fmt.Errorf("the execution segments %s are not equal; divide the load into %d equal segments, such as --execution-segment 0:1/%d",
				p.tuple.Sequence, runners, runners)
		}
	}
	return nil
}

// Of divides n slots. An instance that has no slot has no number either.
func (p *Part) Of(n int) shape.Share {
	if p == nil {
		return shape.Whole(n)
	}
	t, err := p.tuple.GetNewExecutionTupleFromValue(int64(n))
	if err != nil { // fewer slots than instances, and none for this one
		return shape.Share{}
	}
	start, offsets, cycle := t.GetStripedOffsets()
	first := make([]int, 0, len(offsets))
	for k, at := 0, int(start); k < len(offsets); k++ {
		first = append(first, at)
		at += int(offsets[k])
	}
	return shape.Share{Slots: int(p.tuple.ScaleInt64(int64(n))), First: first, Cycle: int(cycle)}
}
