package ring

import (
	"math"
	"slices"
)

// A flow is one direction of a TCP connection as its packets tell it: how many bytes have arrived, and when. Offsets
// count bytes from where the watching began. It is pure: it knows neither sockets nor clocks.
type flow struct {
	known bool   // base has been seen
	base  uint32 // sequence number of offset 0
	next  int64  // every byte before this offset has arrived
	marks []mark // arrivals of [previous end, end), oldest first; those before head were taken
	head  int
	early []span // arrived ahead of a hole, in order, apart from each other; touching ones have times of their own
	// lastNs is the latest time of an arrival so far. Processors hand their packets on in any order, so a time may lie before it.
	lastNs int64

	duplicates, reordered, lost int64 // segments that brought nothing new; segments ahead of a hole; bytes without a time
}

// mark says that all bytes before end had arrived at atNs, and not before: it is the latest time of a packet with one of them,
// whatever the order in which the packets were seen.
type mark struct{ end, atNs int64 }

// unknownNs is the time of bytes whose packet the ring did not keep.
const unknownNs = math.MinInt64

type span struct{ from, to, atNs int64 }

const (
	// maxEarly bounds what is remembered of segments behind a hole. A hole that long is not the network's: the packet was
	// dropped by the ring.
	maxEarly = 1024
	// maxStray is the farthest that a sequence number may lie from what is expected: the largest TCP window (RFC 7323).
	maxStray = 1 << 30
)

// start fixes the sequence number of the next byte.
func (f *flow) start(seq uint32) {
	f.known = true
	f.base = seq - uint32(f.next)
}

// add takes a segment of n bytes and reports whether bytes arrived by it.
func (f *flow) add(seq uint32, n int, atNs int64) bool {
	d := int64(int32(seq - (f.base + uint32(f.next))))
	if d > maxStray || d < -maxStray {
		return false
	}
	from, to := f.next+d, f.next+d+int64(n)
	switch {
	case to <= f.next:
		f.duplicates++
		return false
	case from > f.next:
		f.reordered++
		f.insert(span{from, to, atNs})
		return false
	}
	f.advance(to, atNs)
	return true
}

// advance moves next to a byte that arrived at atNs, and past what had come early before and behind it, by its own times.
func (f *flow) advance(to, atNs int64) {
	taken := 0
	for _, s := range f.early {
		if s.from > max(to, f.next) {
			break
		}
		taken++
		f.noteTo(min(s.from, to), atNs)
		f.noteTo(s.to, s.atNs)
	}
	f.early = slices.Delete(f.early, 0, taken)
	f.noteTo(to, atNs)
}

// noteTo notes that the bytes before an offset came at atNs, where they had not come before.
func (f *flow) noteTo(to, atNs int64) {
	if to <= f.next {
		return
	}
	f.lastNs = max(f.lastNs, atNs)
	if n := len(f.marks); n > f.head && f.marks[n-1].atNs == f.lastNs {
		f.marks[n-1].end, f.next = to, to
		return
	}
	f.note(mark{to, f.lastNs})
}

// note appends a mark.
func (f *flow) note(m mark) {
	if len(f.marks) == cap(f.marks) && f.head > len(f.marks)/2 {
		f.marks = slices.Delete(f.marks, 0, f.head)
		f.head = 0
	}
	f.marks = append(f.marks, m)
	f.next = m.end
}

// insert remembers a segment that came ahead of a hole. The first time of bytes that came twice counts.
func (f *flow) insert(s span) {
	k, _ := slices.BinarySearchFunc(f.early, s.from, func(e span, from int64) int {
		if e.to <= from {
			return -1
		}
		return 1
	})
	for ; s.from < s.to; k++ {
		part := s
		if k < len(f.early) {
			part.to = min(s.to, f.early[k].from)
			s.from = f.early[k].to
		} else {
			s.from = s.to
		}
		if part.from >= part.to {
			continue
		}
		if len(f.early) == maxEarly {
			return // skip will tell of it
		}
		f.early = slices.Insert(f.early, k, part)
		k++
	}
}

// skip gives up on bytes before offset to that no packet covered.
func (f *flow) skip(to int64) {
	if to <= f.next {
		return
	}
	from, taken := f.next, 0
	for taken < len(f.early) && f.early[taken].from <= to {
		to = max(to, f.early[taken].to)
		taken++
	}
	f.early = slices.Delete(f.early, 0, taken)
	f.lost += to - from
	f.note(mark{to, unknownNs})
}

// arrived returns when the byte at an offset had arrived, with all before it, and up to which offset the answer holds. ok
// is false where no packet told. Marks that end at or before the offset are forgotten.
func (f *flow) arrived(at int64) (atNs, until int64, ok bool) {
	for f.head < len(f.marks) && f.marks[f.head].end <= at {
		f.head++
	}
	if f.head == len(f.marks) {
		f.marks, f.head = f.marks[:0], 0
		return 0, math.MaxInt64, false
	}
	m := f.marks[f.head]
	return m.atNs, m.end, m.atNs != unknownNs
}
