package stream

import "bytes"

// news says what a piece of content adds to those before it.
type news uint8

const (
	newText  news = iota // it follows them
	allText              // it holds them, and more
	sameText             // it holds what they hold
)

const (
	// How many pieces must have held the one before, and more, until all are taken to hold the whole text so far (as
	// DashScope's and Perplexity's may). Below that a token that begins like the one before it is as likely.
	growthsOfAll = 2
	// A last piece that says all again must do so of some chunks and bytes: "ha", "ha", "haha" is laughter.
	repeatChunks = 3
	repeatBytes  = 8

	headBytes = 64
)

// content compares the pieces of the first choice's content as they stand in the JSON. Nearly all streams send each
// piece once: it looks at their first pieces only.
type content struct {
	bytes   int    // of all pieces, where each follows the ones before
	settled bool   // each does, and head is whole: a piece shorter than bytes needs no look
	head    []byte // their first bytes, headBytes at least where there are so many
	growing bool   // every piece so far began with all of the one before it
	growths int    // how many of them were longer
	last    []byte // the last of them

	repeat     int // 1 + index of the last output chunk that holds as much as all before it and begins like them; 0 = none
	textBefore int // bytes of the kept text before it
	coalesced  bool
}

func (c *content) reset() {
	*c = content{head: c.head[:0], last: reuse(c.last), growing: true}
}

// add takes the next piece. whole: the piece is the server's word for the answer so far.
func (c *content) add(piece []byte, whole bool) news {
	adds := newText
	if c.bytes > 0 && c.growing {
		switch {
		case !bytes.HasPrefix(piece, c.last):
			c.growing = false
		case len(piece) > len(c.last):
			c.growths++
			adds = allText
		default:
			adds = sameText
		}
		if !whole && c.growths < growthsOfAll {
			adds = newText
		}
	}
	if adds == sameText {
		return sameText
	}
	if c.growing {
		c.last = append(c.last[:0], piece...)
	}
	if len(c.head) < headBytes {
		c.head = append(c.head, piece[:min(len(piece), headBytes)]...)
	}
	c.bytes += len(piece)
	c.settled = !c.growing && len(c.head) >= headBytes
	return adds
}

// listen compares an event's content with what came before, and takes out what did.
func (p *Parser) listen(f *facts) {
	c := &p.repeats
	if n := len(p.res.Arrivals); n >= repeatChunks && len(f.text) == c.bytes && c.bytes >= repeatBytes &&
		bytes.HasPrefix(f.text, c.head[:min(len(c.head), c.bytes)]) {
		c.repeat, c.textBefore, c.coalesced = n+1, len(p.text), p.first.outputReceive == p.receive
	}
	switch c.add(f.text, f.whole) {
	case allText:
		p.text = p.text[:0]
	case sameText:
		f.output, f.text = 0, nil
	}
}

// cumulate leaves of an event that holds the whole text so far what is new: nothing, if the text has not changed.
func (p *Parser) cumulate(f *facts) {
	if !p.res.Streamed || f.output&outContent == 0 {
		return
	}
	if bytes.Equal(f.text, p.repeats.last) {
		f.output &^= outContent
		f.text = nil
		return
	}
	p.repeats.last = append(p.repeats.last[:0], f.text...)
	p.text = p.text[:0]
}

// dropRepeat takes the last output chunk out if it repeats all of the others. Where continuous usage counts
// tokens in it, it did not.
func (p *Parser) dropRepeat() {
	r := &p.res
	n := len(r.Arrivals) - 1
	if n < repeatChunks || p.repeats.repeat != n+1 || p.continuous && r.Arrivals[n].Tokens > 0 {
		return
	}
	r.Arrivals = r.Arrivals[:n]
	r.LastOutputNs = r.Arrivals[n-1].AtNs
	p.textChunks--
	if p.repeats.coalesced {
		r.Coalesced--
	}
	if p.options.KeepText {
		p.text = p.text[:p.repeats.textBefore]
	}
}
