package simulate

// transmitter is a socket whose kernel can tell when it transmitted a byte.
type transmitter interface{ transmits() bool }

// transmitted is a send whose kernel time is to come.
type transmitted struct {
	lastByte uint32
	rec      *record
	send     int
}

// expectTransmit notes that the kernel will tell when it transmitted the send that was just recorded.
func (c *conn) expectTransmit(r *record, end int64) {
	if c.transmits && !r.dropped && len(r.sends) > 0 {
		c.txWaiting = append(c.txWaiting, transmitted{uint32(end - 1), r, len(r.sends) - 1})
	}
}

// onTransmitted implements transmitSink, for sockets that can tell.
func (c *conn) onTransmitted(lastByte uint32, atNs int64) {
	passed := 0
	for _, w := range c.txWaiting {
		if int32(w.lastByte-lastByte) > 0 {
			break
		}
		passed++
		// A write that the kernel cut or merged reports another last byte; then the time stays unknown.
		if w.lastByte == lastByte && w.send < len(w.rec.sends) {
			for len(w.rec.transmits) <= w.send {
				w.rec.transmits = append(w.rec.transmits, 0)
			}
			w.rec.transmits[w.send] = atNs
		}
	}
	c.txWaiting = c.txWaiting[:copy(c.txWaiting, c.txWaiting[passed:])]
}
