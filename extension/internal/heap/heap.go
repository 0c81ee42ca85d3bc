// Package heap chooses how far Go's heap may grow between two collections.
package heap

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// How far the heap may grow between two collections, in percent of what the last one found to live (GOGC). A GOGC in the
// environment overrides all of it.
const (
	// startPercent puts the first collection at some 32 MB. Go's own 4 MB make three of them before a script has been
	// compiled, a fifth of the processor time that a short run takes.
	startPercent = 800
	// vusPercent is for many VUs. The JavaScript of a VU is a tree of small objects that lives as long as the run, so each
	// collection walks what hardly changes: at 300 VUs this takes 15 % off the process's user time for 5 % more memory.
	vusPercent = 300
	// runPercent is Go's own: memory follows what lives closely, so that a long run shows at a glance that it does not grow.
	runPercent = 100
	// streamsPercent is for loads of manyStreams and more, whose streams are most of the heap and live long.
	streamsPercent = 50

	manyStreams = 2000
	manyVUsHeap = 32 << 20 // what some 100 VUs take
)

// collector sets that percentage as the run goes on.
type collector struct {
	set     func(percent int) // nil: it is not to be set
	collect func()

	mu        sync.Mutex
	collected bool // there has been a collection
	percent   int  // from the first collection on
}

var process = newCollector()

func newCollector() *collector {
	c := &collector{percent: runPercent}
	if os.Getenv("GOGC") != "" {
		return c
	}
	c.set, c.collect = func(percent int) { debug.SetGCPercent(percent) }, runtime.GC
	c.set(startPercent)
	// The finalizer of what nothing refers to runs behind the first collection.
	runtime.SetFinalizer(&struct{ of *collector }{c}, func(*struct{ of *collector }) { c.firstCollection() })
	return c
}

func (c *collector) firstCollection() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.collected = true
	c.set(c.percent)
}

// use sets the percentage, or where no collection has been yet, that of the time behind the first.
func (c *collector) use(percent int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set == nil || c.percent == percent {
		return
	}
	lower := percent < c.percent
	c.percent = percent
	if !c.collected {
		return
	}
	c.set(percent)
	if lower {
		// It may be due at once now. It holds up for milliseconds whoever allocates: better before the first request than with it.
		c.collect()
	}
}

// declaredStreams is the largest number of requests in flight that a load of the process declares.
var declaredStreams atomic.Int64

// DeclareStreams declares a load of so many requests in flight at once. The largest one counts.
func DeclareStreams(n int) { declaredStreams.Store(max(declaredStreams.Load(), int64(n))) }

// ExpectVUs lets the heap grow as many VUs need it, whose init code is about to run.
func ExpectVUs() { process.use(vusPercent) }

// Settle chooses the percentage of the run. It is called before the first request is scheduled: the VUs exist then, and the
// load is declared. Later calls do nothing.
var Settle = sync.OnceFunc(func() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	switch {
	case m.HeapAlloc >= manyVUsHeap:
	case declaredStreams.Load() >= manyStreams:
		process.use(streamsPercent)
	default:
		process.use(runPercent)
	}
})
