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
