package simulate

// source is where the time of an event is from.
type source uint8

const (
	sourceUser     source = iota // the clock right before the write
	sourceTransmit               // the kernel's transmit time stamp of the segment, from the socket's error queue
	sourceRing                   // the kernel's time of the packet that left, from a packet ring
	sourceCount
)

func (s source) String() string { return [...]string{"user", "transmit", "ring"}[s] }

// What Config.TruthSource can say, beside the names of the sources.
const truthSourceAuto = "auto"

const (
	giveUpNs = int64(1e9) // a closed connection's departures that have no time by then get none
	// A kernel's time that lies further before the write, by the reading of the clocks' offset, is of something else.
	earlyNs = int64(1e6)
)

// departure is an event that was written and whose time of leaving the host is to come.
type departure struct {
	end      int64 // offset on the wire behind its last byte, handshakes and records of TLS included
	rec      *record
	index    int // in rec.sends; -1 = not kept
	beforeNs int64
	widthNs  int32
	tokens   int
}

// departures are those of one connection, in order of their bytes. The loop alone uses them.
type departures struct {
	truth    *truth
	queue    []departure
	gone     int  // of the queue, at its front
	lost     bool // no time will come: the kernel's offsets are not known
	closedNs int64

	// What the ring needs: the sequence number of the first byte, and how far the packets that left reach.
	based bool
	base  uint32
	high  int64
	next  *departures // of a later connection with the same addresses
}

// expect notes an event that ends at an offset of the wire.
func (d *departures) expect(e departure, end int64) {
	if d.lost {
		d.truth.settle(&e, 0, sourceUser)
		return
	}
	e.end = end
	d.queue = append(d.queue, e)
}

// waiting are the events whose time is to come.
func (d *departures) waiting() []departure { return d.queue[d.gone:] }

// transmitted notes that the bytes [from, to) left at atNs. Events that end before from left in a packet that is not known.
func (d *departures) transmitted(from, to, atNs int64, how source) {
	passed := 0
	waiting := d.waiting()
	for i := range waiting {
		e := &waiting[i]
		if e.end > to {
			break
		}
		passed++
		if e.end <= from || atNs < e.beforeNs-earlyNs {
			d.truth.settle(e, 0, sourceUser)
		} else {
			d.truth.settle(e, atNs, how)
		}
	}
	d.drop(passed)
	if d.closedNs != 0 && len(d.waiting()) == 0 {
		delete(d.truth.open, d)
	}
}

// close notes that the connection is closed; what it wrote may still leave.
func (d *departures) close(nowNs int64) {
	d.closedNs = max(1, nowNs)
	if len(d.waiting()) == 0 {
		delete(d.truth.open, d)
	}
}

// drop takes the first n events out of the queue; what is behind them moves up once it is the lesser part.
func (d *departures) drop(n int) {
	d.gone += n
	if d.gone < len(d.queue)/2 {
		return
	}
	rest := copy(d.queue, d.queue[d.gone:])
	clear(d.queue[rest:])
	d.queue, d.gone = d.queue[:rest], 0
}

// giveUp gives every waiting event the time of the clock.
func (d *departures) giveUp() {
	waiting := d.waiting()
	for i := range waiting {
		d.truth.settle(&waiting[i], 0, sourceUser)
	}
	d.drop(len(waiting))
	d.lost = true
}

// departing is a socket whose bytes the kernel can give a time at which they left.
type departing interface {
	departures() *departures // nil = it cannot
	// wireEnd returns the offset on the wire behind the byte before end, an offset among the bytes that write took. It is asked
	// right after the write that took it.
	wireEnd(end int64) int64
}
