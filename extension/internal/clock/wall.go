package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

// The kernel stamps packets with the wall clock (CLOCK_REALTIME), which may be set at any moment: by the first
// synchronization of a virtual machine, after a suspend, by hand. The run's clock is monotonic. An Offset converts between
// the two and refuses what a change of the wall clock may have falsified.
const (
	comparePeriodNs = 10_000_000 // the clocks are compared again at least this often, as long as stamps are converted
	// A stamp that seems to come from the future, or from longer ago than freshNs, may have been taken by a wall clock that was
	// set since the last comparison. It is converted only by one from after it was taken.
	freshNs = 1_000_000

	widestNs = 50_000    // a comparison wider than this says nothing about the offset: the thread was interrupted
	stepNs   = 1_000_000 // a change of the offset by more is counted as a step; kernels slew both clocks alike

	aheadNs  = 50_000          // how far a stamp may lie in the future: the error of both clocks
	oldestNs = 600_000_000_000 // and how far in the past: a client may be stopped for minutes while packets arrive

	// NarrowNs is the width of a comparison that needs no second try; a smaller change of the offset is its error.
	NarrowNs = 5_000
	// CompareTries is how many readings of the clocks a comparison is the narrowest of.
	CompareTries = 8
)

// Offset is the difference between the wall clock and a monotonic clock, which is the caller's choice: every time that
// its methods take or return, but for wallNs, is of that clock. The zero value converts nothing until Compare was called.
// The methods are for one goroutine or thread at a time; they allocate nothing and do not split the stack. Steps and
// Rejected may be read from anywhere.
type Offset struct {
	ns         int64 // wall clock minus monotonic clock
	comparedNs int64 // when the two were compared last; 0 = ns is not known
	trustedNs  int64 // when the wall clock was last found to have been set: earlier stamps may be wrong; 0 = never

	Steps    atomic.Int64 // changes of the wall clock by more than a millisecond
	Rejected atomic.Int64 // stamps that At refused
}

// Due reports whether the clocks have to be compared before the stamp wallNs is converted. Stamps that were read together
// should be converted with one nowNs: they then need one comparison at most.
//
//go:nosplit
//go:norace
func (o *Offset) Due(wallNs, nowNs int64) bool {
	sinceNs := nowNs - o.comparedNs
	if o.comparedNs == 0 || sinceNs >= comparePeriodNs {
		return true
	}
	ageNs := nowNs - (wallNs - o.ns)
	return (ageNs > freshNs || ageNs < -aheadNs) && sinceNs > 0
}

// Doubtful reports whether the stamp seems to have been taken after nowNs, or long before. A caller that reads its clock
// less than once a stamp has to read it again then.
//
//go:nosplit
//go:norace
func (o *Offset) Doubtful(wallNs, nowNs int64) bool {
	ageNs := nowNs - (wallNs - o.ns)
	return ageNs < 0 || ageNs > freshNs
}

// Compare takes a reading of the wall clock between two of the monotonic clock: the narrowest of CompareTries.
//
//go:nosplit
//go:norace
func (o *Offset) Compare(beforeNs, wallNs, afterNs int64) {
	halfNs := (afterNs - beforeNs) / 2
	movedNs := wallNs - (beforeNs + halfNs) - o.ns
	if movedNs < 0 {
		movedNs = -movedNs
	}
	known := o.comparedNs != 0
	if known && movedNs > halfNs+stepNs { // whatever the width
		o.Steps.Add(1)
		o.trustedNs = afterNs
		o.comparedNs = 0
	}
	if halfNs*2 > widestNs {
		return
	}
	if !known || movedNs > halfNs+NarrowNs {
		o.ns = wallNs - (beforeNs + halfNs)
	}
	o.comparedNs = max(afterNs, 1)
}

// At converts a stamp of the wall clock. nowNs must have been read after the stamp was taken. ok is false, and the stamp is
// counted as rejected, if the clocks could not be compared, if the stamp lies in the future or more than ten minutes
// ago, or if it may be from before the wall clock was set.
//
//go:nosplit
//go:norace
func (o *Offset) At(wallNs, nowNs int64) (atNs int64, ok bool) {
	atNs = wallNs - o.ns
	if o.comparedNs == 0 || atNs > nowNs+aheadNs || atNs < nowNs-oldestNs || o.trustedNs != 0 && atNs < o.trustedNs {
		o.Rejected.Add(1)
		return 0, false
	}
	return atNs, true
}

// wall is the offset that FromWall uses.
var (
	wallMu sync.Mutex
	wall   Offset
)

// FromWall converts a kernel's stamp, CLOCK_REALTIME in ns, to this clock. nowNs is Now, read after the stamp was taken,
// once for stamps that were read together. ok is false where the stamp cannot be trusted (see Offset.At): then the caller's
// own reading of Now is the time to use. It may be called from any goroutine.
func FromWall(wallNs, nowNs int64) (atNs int64, ok bool) {
	wallMu.Lock()
	defer wallMu.Unlock()
	return wall.FromWall(wallNs, nowNs)
}

// FromWall is FromWall by an offset of the caller's own, for which the monotonic clock is this package's.
func (o *Offset) FromWall(wallNs, nowNs int64) (atNs int64, ok bool) {
	if o.Due(wallNs, nowNs) {
		o.Compare(readBoth())
	}
	return o.At(wallNs, nowNs)
}

// WallSteps returns how often FromWall found that the wall clock had been set, and how many stamps it rejected.
func WallSteps() (steps, rejected int64) { return wall.Steps.Load(), wall.Rejected.Load() }

// readBoth reads the wall clock between two readings of this clock, several times, and returns the narrowest.
func readBoth() (beforeNs, wallNs, afterNs int64) {
	for k := range CompareTries {
		before := Now()
		real := time.Now().UnixNano()
		after := Now()
		if k == 0 || after-before < afterNs-beforeNs {
			beforeNs, wallNs, afterNs = before, real, after
		}
		if afterNs-beforeNs <= NarrowNs {
			break
		}
	}
	return beforeNs, wallNs, afterNs
}
