package shape

import (
	"context"
	"errors"
)

// Part is what one instance takes of a load that several run together, and how it meets the others.
type Part interface {
	// Divided reports whether there are other instances with parts of the load.
	Divided() bool
	// Count is how many instances there are.
	Count() int
	// Share divides n slots among the instances.
	Share(n int) Share
	// Meets reports whether the instances have a place to meet. A divided load of levels, bursts or arrivals needs one.
	Meets() bool
	// Meet returns when every instance has come to this place: with the common start, which is a little ahead where `start` asks for
	// one, and the largest of the numbers. Without a place to meet that is at once.
	Meet(ctx context.Context, at string, number int, start bool) (startNs int64, largest int, err error)
	// SharesCounters reports whether the server counts all instances' requests together, in counters that are read when a level
	// ends: then all must have ended it.
	SharesCounters() bool
}

// partOf returns what of a load that all instances must begin together is this one's.
func partOf(vu VU) (Part, error) {
	p := vu.Part()
	if p.Divided() && !p.Meets() {
		return nil, errors.New("an execution segment leaves the instances no way to begin together: set RUNNERS and COORDINATOR")
	}
	return p, nil
}

// Share is a part of something that many clients, slots or members take turns at: those that are this instance's, and which of
// the numbers that all take in turn are theirs.
type Share struct {
	// Slots is how many of them are this instance's.
	Slots int
	// First has its numbers among the first Cycle, after which all repeats; Cycle 0 = all numbers, or none where Slots is 0.
	First []int
	Cycle int
}

// Whole is the share of an instance that is alone.
func Whole(n int) Share { return Share{Slots: n} }

// Below returns how many of the numbers 0 to n-1 are the share's.
func (s Share) Below(n int) int {
	switch {
	case s.Slots == 0:
		return 0
	case s.Cycle == 0:
		return n
	}
	count := n / s.Cycle * len(s.First)
	for _, number := range s.First {
		if number < n%s.Cycle {
			count++
		}
	}
	return count
}

// Nth returns the k-th of the share's numbers; both count from 0. The share must have a slot.
func (s Share) Nth(k int) int {
	if s.Cycle == 0 {
		return k
	}
	return k/len(s.First)*s.Cycle + s.First[k%len(s.First)]
}

// All returns all of the share's numbers below n.
func (s Share) All(n int) []int {
	numbers := make([]int, s.Below(n))
	for k := range numbers {
		numbers[k] = s.Nth(k)
	}
	return numbers
}
