package stream

import "bytes"

// media is what a Content-Type says of a body, as far as it is believed; see bodyOf.
type media uint8

const (
	mediaOther  media = iota
	mediaEvents       // text/event-stream
	mediaLines        // a JSON text a line, by any of its names
)

func mediaOf(contentType []byte) media {
	name, _, _ := bytes.Cut(contentType, []byte{';'})
	name = bytes.Trim(name, " \t")
	if equalFold(name, "text/event-stream") {
		return mediaEvents
	}
	for _, lines := range [...]string{"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
		"application/jsonlines", "application/stream+json", "application/json-lines", "application/json-seq"} {
		if equalFold(name, lines) {
			return mediaLines
		}
	}
	return mediaOther
}

// bodyKind is how a body is read.
type bodyKind uint8

const (
	bodyUndecided bodyKind = iota // too little has come
	bodyEvents                    // server-sent events
	bodyLines                     // a JSON text a line
	bodyReply                     // one text, JSON if it is what the API answers with
	bodyJSON                      // a JSON text, which a second one in another line makes lines
)

var (
	byteOrderMark = []byte("\xef\xbb\xbf")
	fields        = [...]string{"data:", "event:", ":", "id:", "retry:", "error:"} // of an event stream's lines
)

// bodyOf decides how to read a body by its first bytes, which are more reliable than the header: servers label event
// streams application/json, and JSON text/event-stream. A JSON text begins like no line of an event stream. The label
// decides where the bytes do not.
func bodyOf(b []byte, label media) bodyKind {
	b = bytes.TrimPrefix(b, byteOrderMark)
	if len(b) == 0 || bytes.HasPrefix(byteOrderMark, b) {
		return bodyUndecided
	}
	switch {
	case b[0] == '{' && label == mediaLines:
		return bodyLines
	case b[0] == '{' || b[0] == '[':
		return bodyJSON
	case label == mediaEvents:
		return bodyEvents
	}
	kind := bodyReply
	if label == mediaLines {
		kind = bodyLines
	}
	for _, field := range fields {
		if begins, whole := begin(b, field); whole {
			return bodyEvents
		} else if begins {
			kind = bodyUndecided
		}
	}
	return kind
}

// begin reports whether b begins like text as far as both go, and whether all of text is there.
func begin(b []byte, text string) (begins, whole bool) {
	n := min(len(b), len(text))
	begins = string(b[:n]) == text[:n]
	return begins, begins && n == len(text)
}

// feedText takes bytes of a body that is not known to be an event stream.
func (p *Parser) feedText(b []byte, atNs int64) {
	switch p.kind {
	case bodyUndecided:
		if len(p.body) == 0 {
			b = bytes.TrimLeft(b, " \t\r\n") // servers send blank lines while a request is queued
		}
		p.body = append(p.body, b...)
		if p.kind = bodyOf(p.body, p.media); p.kind == bodyUndecided {
			return
		}
		p.described()
		p.res.Streamed = p.kind == bodyEvents || p.kind == bodyLines
		switch p.kind {
		case bodyEvents: // what came before this receive is not even a whole field
			p.feedEvents(p.body, atNs)
			p.body = p.body[:0]
		case bodyLines:
			p.feedLines(bytes.TrimPrefix(p.body, byteOrderMark), atNs)
			p.body = p.body[:0]
		default:
			p.body = p.body[:copy(p.body, bytes.TrimPrefix(p.body, byteOrderMark))]
			p.secondText(0, atNs)
		}
	case bodyLines:
		p.feedLines(b, atNs)
	default:
		if len(p.body)+len(b) > maxReplyBytes {
			p.problem, p.unreadable = "the body is larger than 64 MB", true
			return
		}
		from := len(p.body)
		p.body = append(p.body, b...)
		p.secondText(from, atNs)
	}
}

// described holds the body's kind against what the wire's description says of it.
func (p *Parser) described() {
	w := p.options.Wire
	if w == nil || w.format == wireAuto {
		return
	}
	switch {
	case p.kind == bodyEvents && w.format != wireEvents:
		p.misframed = "server-sent events"
	case p.kind == bodyLines && w.format != wireLines:
		p.misframed = "a JSON text a line"
	case p.kind == bodyJSON && w.format == wireReply:
		p.kind = bodyReply // of however many lines
	}
}

// firstLine is the first line of a body that may turn out to be lines: the bytes with its line break, and its arrival.
type firstLine struct {
	bytes   int
	atNs    int64
	receive int
}

// secondText tells lines from one JSON text once something follows the first line. from is where the body has grown. Only
// the first line of all is looked at more than once: a reply is not searched.
func (p *Parser) secondText(from int, atNs int64) {
	if p.kind != bodyJSON {
		return
	}
	if p.opening.bytes == 0 {
		n := bytes.IndexByte(p.body[from:], '\n')
		if n < 0 {
			return
		}
		n += from
		p.scan.reset(p.body[:n])
		if p.scan.skip(); !p.scan.end() {
			p.kind = bodyReply
			return
		}
		p.opening = firstLine{n + 1, atNs, p.receive}
	}
	rest := bytes.TrimLeft(p.body[p.opening.bytes:], " \t\r\n")
	if len(rest) == 0 {
		return
	}
	if rest[0] != '{' {
		p.kind = bodyReply
		return
	}
	p.kind, p.res.Streamed = bodyLines, true
	p.described()
	receive := p.receive
	p.receive = p.opening.receive
	p.line(p.body[:p.opening.bytes], p.opening.atNs)
	if p.receive != receive { // nothing but white space followed it in its own receive
		p.receive, p.last = receive, 0
	}
	p.feedLines(rest, atNs)
	p.body = p.body[:0]
}

// feedLines takes bytes of a body that holds a JSON text a line. The start of a line is kept where the event stream's is.
func (p *Parser) feedLines(b []byte, atNs int64) {
	for len(b) > 0 && p.sse.err == nil && !p.unreadable {
		p.followed()
		if n := p.tmpl.matchLine(b); n > 0 && len(p.sse.line) == 0 {
			p.res.Events++
			p.apply(&p.tmpl.facts, atNs)
			b = b[n:]
			continue
		}
		n := bytes.IndexByte(b, '\n')
		if n < 0 {
			p.sse.line = append(p.sse.line, b...)
			p.sse.checkSize()
			break
		}
		line := b[:n]
		if len(p.sse.line) > 0 {
			p.sse.line = append(p.sse.line, line...)
			line = p.sse.takeLine()
		}
		b = b[n+1:]
		p.line(line, atNs)
	}
	if p.sse.err != nil && p.problem == "" {
		p.problem = p.sse.err.Error()
	}
}

func (p *Parser) line(line []byte, atNs int64) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	p.res.Events++
	p.data(received{data: line}, atNs)
}

// lastLine takes the line that the end of the body ended.
func (p *Parser) lastLine() {
	line := p.sse.takeLine()
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	p.res.Events++
	p.last = 0
	p.data(received{data: line, atEnd: true}, p.lastNs)
	p.followed() // what ended the body may have come later
}
