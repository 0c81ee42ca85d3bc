package stream

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unsafe"
)

// errorBodyBytes is how much of an error's body is kept for its message.
const errorBodyBytes = 64 << 10

// Parser turns the bytes of one response after another into Results. The caller either feeds an HTTP/1.x response with
// Feed, or, from a transport that does its own framing, FeedHead and then FeedBody; it calls End when the connection
// ends, or the transport's response does. In steady state nothing is allocated, but for Result.Text and the messages of
// failures. It is for one goroutine at a time. The zero value is not ready: call Reset.
type Parser struct {
	options Options
	res     Result
	frame   framer
	framed  bool // the caller does the framing
	sse     Decoder
	tmpl    template
	scan    scanner
	facts   facts
	media   media
	kind    bodyKind
	opening firstLine
	body    []byte // of a reply that is not streamed, or the start of a body of which it is not known yet
	repeats content
	text    []byte
	calls   []callParts
	ptrs    [2]pointer // input, output tokens

	receive  int     // number of the Feed call
	lastNs   int64   // stamp of the last byte
	sinceNs  int64   // all bytes of the receive came after it
	last     int     // 1 + index of the output chunk behind which nothing has come yet in its receive; 0 = none
	lineEnd  lineEnd // what of the HTTP chunk's line break came behind that
	finished bool    // the result is final
	broken   bool    // the connection broke off, orderly or not
	excess   bool    // bytes came after the response
	endErr   error

	problem      string // why the response is malformed; what follows is read nevertheless, unless it is
	unreadable   bool
	failed       bool   // an error event came
	failure      string // its message
	strange      string // the first event that the API does not define; "" = none
	misframed    string // what the body is, where the wire's description says otherwise
	placed       bool   // an event had one of the places of output that the wire's description names
	without      []byte // the first event, while none had
	badEnd       bool   // the finish reason means failure
	ends         bool   // the events say themselves which is the last
	wholes       uint64 // choices whose output came as the answer so far
	sawEnd       bool   // [DONE] or the API's own last event
	seen, ended  uint64 // choices: of which a chunk came, which have a finish reason
	finalUsage   bool   // finalOutput is known
	finalOutput  int
	continuous   bool // usage came in chunks that were not the last
	first        choice
	others       []choice // choices 1 to MaxChoices-1; few responses have them
	pending      int32    // tokens of chunks without text since the last output chunk
	textChunks   int      // output chunks that are not tool calls
	reasoned     bool     // reasoning was shown
	usageWrong   bool     // the usage's counts contradict each other
	bodyHasToken bool     // a reply that is not streamed has output
}

// choice is what is kept of one of a response's choices.
type choice struct {
	outputReceive int // number of the Feed call that brought its last output chunk
	counted       int32
	latest        int32
}

func (p *Parser) choice(index int) *choice {
	if index == 0 {
		return &p.first
	}
	if p.others == nil {
		p.others = make([]choice, MaxChoices-1)
	}
	return &p.others[index-1]
}

// Reset makes the parser ready for the next response. The slices of the last Result become invalid.
func (p *Parser) Reset(o Options) {
	arrivals := p.res.Arrivals[:0]
	if cap(arrivals)*int(unsafe.Sizeof(Arrival{})) > keepBytes {
		arrivals = nil
	}
	if o.API != p.options.API || o.Wire != p.options.Wire {
		p.scan.passing = passing{}
	}
	p.scan.passing.reset()
	p.options = o
	p.res = Result{Arrivals: arrivals}
	p.frame.reset()
	p.frame.keepHeader = strings.ToLower(o.KeepHeader)
	p.sse.errorField, p.sse.keepStray = true, true
	p.sse.Reset()
	p.tmpl.valid = false
	p.tmpl.bytes, p.scan.key, p.scan.joined = reuse(p.tmpl.bytes), reuse(p.scan.key), reuse(p.scan.joined)
	p.scan.keepText = o.KeepText
	p.body, p.text = reuse(p.body), reuse(p.text)
	p.calls, p.scan.calls = nil, nil
	p.media, p.kind, p.opening = mediaOther, bodyUndecided, firstLine{}
	p.repeats.reset()
	p.strange, p.badEnd, p.ends, p.wholes = "", false, false, 0
	p.misframed, p.placed, p.without = "", false, reuse(p.without)
	p.ptrs[0].set(o.InputTokensPointer)
	p.ptrs[1].set(o.OutputTokensPointer)
	p.framed, p.finished, p.broken, p.excess, p.endErr = false, false, false, false, nil
	p.receive, p.lastNs, p.sinceNs, p.last = 0, 0, 0, 0
	p.problem, p.unreadable, p.failed, p.failure, p.sawEnd = "", false, false, "", false
	p.seen, p.ended, p.finalUsage, p.finalOutput, p.continuous = 0, 0, false, 0, false
	p.first = choice{}
	clear(p.others)
	p.pending, p.textChunks, p.reasoned, p.usageWrong, p.bodyHasToken = 0, 0, false, false, false
}

// FeedRest takes more bytes of the receive that was fed last: under TLS a receive is decrypted record by record.
func (p *Parser) FeedRest(b []byte) (done bool) {
	if len(b) == 0 {
		return p.finished
	}
	return p.feed(b)
}

// Feed takes the bytes of one receive of an HTTP/1.x response, all of which arrived at atNs. done: the response is complete,
// or it is not HTTP; the caller need not go on, and bytes that come nevertheless only make KeepAlive false.
func (p *Parser) Feed(b []byte, atNs int64) (done bool) { return p.FeedWithin(b, atNs, atNs) }

// FeedWithin is Feed for a receive of which only the last byte is known to have arrived at atNs, and the others to have
// arrived since sinceNs: when the connection was last seen to have nothing unread. An output chunk that the receive does
// not end with gets the width of that interval; the line break behind an HTTP chunk does not count, for a server sends
// it with the chunk.
func (p *Parser) FeedWithin(b []byte, sinceNs, atNs int64) (done bool) {
	if len(b) == 0 {
		return p.finished
	}
	p.received(sinceNs, atNs)
	return p.feed(b)
}

func (p *Parser) feed(b []byte) (done bool) {
	for len(b) > 0 && p.frame.state < stateComplete {
		head := p.frame.headDone()
		body, n := p.frame.next(b)
		if !head {
			p.headRead()
		}
		if len(body) > 0 {
			p.feedBody(body, p.lastNs) // all of b[:n]
		} else if p.last != 0 {
			p.followedBy(b[:n])
		}
		b = b[n:]
	}
	if p.frame.state < stateComplete {
		return false
	}
	if p.frame.state == stateBroken && p.problem == "" {
		p.problem = p.frame.problem
	}
	if len(b) > 0 || p.finished {
		p.followed()
		p.excess = true
		p.res.KeepAlive = false
	}
	p.finish()
	return true
}

// headRead takes over what the head says once it is read.
func (p *Parser) headRead() {
	f := &p.frame
	p.res.Status, p.res.Proto, p.res.Header = f.status, f.proto, f.headerValue
	if f.headDone() {
		p.head(f.media, f.retryAfter, f.contentEncoding)
	}
}

func (p *Parser) head(label media, retryAfter, contentEncoding string) {
	if p.options.Wire != nil {
		label = p.options.Wire.media(label)
	}
	p.media = label
	p.res.Streamed = label != mediaOther // until the body's first bytes tell
	p.res.RetryAfter = retryAfter
	if contentEncoding != "" {
		p.problem, p.unreadable = "the body is encoded ("+contentEncoding+"); only unencoded bodies (Accept-Encoding: identity) can be measured", true
	}
}

// FeedHead takes the head of a response from a transport that reads heads itself.
func (p *Parser) FeedHead(status int, header http.Header, atNs int64) {
	p.received(atNs, atNs)
	p.framed = true
	p.res.Status, p.res.Proto = status, "HTTP/2.0"
	encoding := header.Get("Content-Encoding")
	if encoding == "identity" {
		encoding = ""
	}
	p.frame.location = header.Get("Location")
	p.res.Header = header.Get(p.options.KeepHeader)
	p.head(mediaOf([]byte(header.Get("Content-Type"))), header.Get("Retry-After"), encoding)
}

// FeedBody takes the body bytes of one receive after FeedHead.
func (p *Parser) FeedBody(b []byte, atNs int64) { p.FeedBodyWithin(b, atNs, atNs) }

// FeedBodyWithin is to FeedBody what FeedWithin is to Feed.
func (p *Parser) FeedBodyWithin(b []byte, sinceNs, atNs int64) {
	if len(b) == 0 || p.finished {
		return
	}
	p.received(sinceNs, atNs)
	p.feedBody(b, atNs)
}

// FeedFraming notes that in the receive that FeedBody was last given something followed the body's bytes.
func (p *Parser) FeedFraming() { p.followed() }

// End ends the stream with the connection, or after FeedHead with the response: nil and io.EOF mean in good order,
// anything else that it broke. A response that was complete before stays so, but its connection is gone.
func (p *Parser) End(err error, atNs int64) {
	if p.finished {
		p.res.KeepAlive = false
		return
	}
	if err == io.EOF {
		err = nil
	}
	p.endErr = err
	switch {
	case err == nil && (p.framed || p.frame.state == stateUntilEOF):
		p.finish()
	default:
		p.broken = true
		if p.frame.end(); p.frame.state == stateBroken {
			p.problem = p.frame.problem
		}
		p.finish()
		if p.res.Failure == Reset || p.res.Failure == Truncated || p.lastNs == 0 {
			p.res.EndNs = atNs
		}
	}
}

// HeadDone reports whether the status and all headers have been read.
func (p *Parser) HeadDone() bool { return p.framed || p.frame.headDone() }

// Remaining returns what of the response is missing: body bytes where their number is known, -1 where the body is
// chunked or the head not read yet, -2 where only the end of the connection ends it, 0 when nothing is.
func (p *Parser) Remaining() int64 {
	switch {
	case p.finished:
		return 0
	case p.framed:
		return remainingUntilEOF
	}
	return p.frame.remaining()
}

// OutputTokensSoFar returns the output tokens known by now, by the best source so far.
func (p *Parser) OutputTokensSoFar() int {
	switch {
	case p.finished:
		return p.res.OutputTokens
	case p.finalUsage:
		return p.finalOutput
	case p.continuous:
		return p.continuousTotal()
	}
	return len(p.res.Arrivals)
}

// Result returns the outcome; it is final once Feed returned true or End was called, and valid until Reset. The caller
// may change it, for example to a failure that only the caller knows of.
func (p *Parser) Result() *Result { return &p.res }

func (p *Parser) received(sinceNs, atNs int64) {
	if p.res.FirstByteNs == 0 {
		p.res.FirstByteNs = atNs
	}
	p.receive++
	p.sinceNs, p.lastNs, p.last = sinceNs, atNs, 0
}

// lineEnd is how much of a line break has come.
type lineEnd uint8

const (
	lineEndNone lineEnd = iota
	lineEndCR
	lineEndWhole
)

// followed notes that the receive went on behind its last output chunk, whose own arrival is therefore known only to lie
// within the receive's bounds.
func (p *Parser) followed() {
	if p.last != 0 {
		p.res.Arrivals[p.last-1].WidthNs = max(p.lastNs-p.sinceNs, 0)
		p.last = 0
	}
}

// followedBy is followed for bytes between the data of HTTP chunks. The line break that ends a chunk does not count.
func (p *Parser) followedBy(framing []byte) {
	for _, c := range framing {
		switch {
		case c == '\r' && p.lineEnd == lineEndNone:
			p.lineEnd = lineEndCR
		case c == '\n' && p.lineEnd < lineEndWhole:
			p.lineEnd = lineEndWhole
		default:
			p.followed()
			return
		}
	}
}

func (p *Parser) feedBody(b []byte, atNs int64) {
	p.res.BodyBytes += int64(len(b))
	switch {
	case p.res.Status < 200 || p.res.Status > 299:
		p.body = append(p.body, b[:min(len(b), errorBodyBytes-len(p.body))]...)
	case p.unreadable:
	case p.kind == bodyEvents:
		p.feedEvents(b, atNs)
	default:
		p.feedText(b, atNs)
	}
}

func (p *Parser) feedEvents(b []byte, atNs int64) {
	for len(b) > 0 && !p.unreadable {
		if p.last != 0 && (len(b) > 1 || b[0] != '\n' || !p.sse.skipLF) { // all but the end of that event's line break
			p.followed()
		}
		if p.tmpl.valid && p.sse.atBoundary() {
			if p.sse.skipLF && b[0] == '\n' {
				p.sse.skipLF = false
				b = b[1:]
				continue
			}
			if n := p.tmpl.matchEvent(b); n > 0 {
				p.sse.skipLF = b[n-1] == '\r'
				p.res.Events++
				p.apply(&p.tmpl.facts, atNs)
				b = b[n:]
				continue
			}
		}
		n, ok := p.sse.next(b)
		if ok {
			p.event(b, atNs)
		}
		b = b[n:]
	}
	if p.sse.err != nil && p.problem == "" {
		p.problem = p.sse.err.Error()
	}
}

// reads reports whether an event of that name is read, and notes whether it ends the stream.
func (p *Parser) reads(name []byte) bool {
	w := p.options.Wire
	if len(name) == 0 {
		name = defaultName
	}
	for i := range w.endEvents {
		p.sawEnd = p.sawEnd || w.endEvents[i] == string(name)
	}
	if w.events == nil || w.nameInside {
		return true
	}
	for i := range w.events {
		if w.events[i] == string(name) {
			return true
		}
	}
	return false
}

// defaultName is the name of an event that has none.
var defaultName = []byte("message")

const doneMark = "[DONE]"

// event takes the event that the decoder holds; b is what next was given, nil at the end of the stream.
func (p *Parser) event(b []byte, atNs int64) {
	defer p.sse.clear()
	if len(p.sse.stray) > 0 {
		p.stray(b == nil)
	}
	e := received{isError: string(p.sse.name) == "error", atEnd: b == nil}
	if p.options.Wire != nil && !e.isError && !p.reads(p.sse.name) {
		p.res.Events++
		return
	}
	switch {
	case p.sse.hasData:
		e.data = p.sse.eventData()
		if p.sse.view != nil && p.sse.eventStart >= 0 && b != nil {
			e.event = b[p.sse.eventStart:p.sse.ended]
			e.dataAt = p.sse.viewStart - p.sse.eventStart
		}
	case e.isError:
		e.data = p.sse.comment // all that NVIDIA's Dynamo says of an error
	default:
		return
	}
	p.res.Events++
	p.data(e, atNs)
}

// received is the data of one event or line.
type received struct {
	data    []byte
	event   []byte // the whole event, which holds data at dataAt; nil = unknown
	dataAt  int
	isError bool // the event is named so
	atEnd   bool // the body ended before the event did
}

func (p *Parser) data(e received, atNs int64) {
	if p.tmpl.valid && !e.isError && p.tmpl.matchData(e.data) {
		p.apply(&p.tmpl.facts, atNs)
		return
	}
	trimmed := bytes.TrimSpace(e.data)
	switch string(trimmed) {
	case doneMark:
		p.sawEnd = true
		return
	case "null", "{}": // some servers' way to keep the connection alive
		if !e.isError {
			return
		}
	}
	if w := p.options.Wire; w != nil {
		for i := range w.endData {
			if w.endData[i] == string(trimmed) {
				p.sawEnd = true
				return
			}
		}
	}
	if p.misframed != "" && p.problem == "" && !e.atEnd {
		p.problem = fmt.Sprintf("the body is %s, but the wire %s has the format %s: %s", p.misframed, p.options.Wire.name,
			wireFormats[p.options.Wire.format], oneLine(trimmed, maxMessageBytes))
	}
	f := &p.facts
	*f = facts{}
	valid := p.scanEvent(e.data, f)
	if p.options.Wire != nil && !p.placed && valid {
		if p.placed = p.scan.found.output; !p.placed && len(p.without) == 0 {
			p.without = append(p.without, trimmed[:min(len(trimmed), maxMessageBytes)]...)
		}
	}
	switch {
	case e.isError && !f.failed, f.failed && !valid:
		p.fail(e.data, false)
	case f.failed:
		p.fail(f.message, f.quoted)
		p.apply(f, atNs) // it may also say what came before it
	case len(trimmed) == 0:
	case valid:
		if f.shape == shapeUnknown && p.strange == "" {
			p.strange = oneLine(trimmed, maxMessageBytes)
		}
		p.apply(f, atNs)
		p.tmpl.learn(&p.scan.blanks, e.data, e.event, e.dataAt, f)
	case e.atEnd: // cut off in the middle
	case p.problem == "":
		p.problem = "an event's data is not JSON: " + oneLine(e.data, maxMessageBytes)
	}
	p.scan.joined, p.scan.calls = p.scan.joined[:0], p.scan.calls[:0] // also of an event that was not taken over: the next may be read by the template alone
}

func (p *Parser) scanEvent(data []byte, f *facts) (valid bool) {
	if p.options.API != JSON {
		p.scan.reset(data)
		if p.options.Wire != nil {
			return p.scan.described(p.options.Wire, true, f)
		}
		return p.scan.scan(p.options.API, true, f)
	}
	if p.ptrs[0].path != nil || p.ptrs[1].path != nil {
		p.scan.reset(data)
		if !p.scan.anyReply(&p.ptrs, f) {
			return false
		}
	}
	p.scan.reset(data)
	valid = p.scan.native(f)
	if f.shape == shapeUnknown && !f.failed && p.ptrs[1].path != nil { // what else an event holds is not told
		f.output, f.shape = outContent, shapeEvent
	}
	return valid
}

// stray takes lines that are no fields of an event stream. atEnd: the body ended with them.
func (p *Parser) stray(atEnd bool) {
	text := bytes.TrimSpace(p.sse.stray)
	f := &p.facts
	*f = facts{}
	p.scan.reset(text)
	valid := false
	if p.options.Wire != nil {
		valid = p.scan.described(p.options.Wire, true, f)
	} else {
		valid = p.scan.scan(p.options.API, true, f)
	}
	switch {
	case valid && f.failed:
		p.fail(f.message, f.quoted)
	case atEnd && p.broken: // they may be cut
	case p.problem == "":
		p.problem = "a line of the stream is no server-sent event: " + oneLine(text, maxMessageBytes)
	}
	p.scan.joined, p.scan.calls = p.scan.joined[:0], p.scan.calls[:0]
}

// fail notes the first error that the server reported, or the first with a message.
func (p *Parser) fail(message []byte, quoted bool) {
	if p.failure != "" {
		return
	}
	p.failed = true
	if quoted {
		message = appendUnescaped(nil, message)
	}
	p.failure = oneLine(message, maxMessageBytes)
}

// apply takes over what an event or a reply says.
func (p *Parser) apply(f *facts, atNs int64) {
	p.seen |= f.seen
	p.ended |= f.ended
	p.sawEnd = p.sawEnd || f.done
	p.ends = p.ends || f.ends
	if len(f.finish) > 0 && !p.badEnd {
		p.res.FinishReason = intern(f.finish)
		p.badEnd = meansFailure(f.finish)
	}
	p.takeCalls(f.whole)
	switch n := len(f.text); {
	case p.options.Wire != nil && p.options.Wire.cumulative:
		p.cumulate(f)
	case f.output == 0 || !p.res.Streamed || f.output != outContent && !f.whole:
	case f.output == outContent && f.choice == 0 && p.repeats.settled && n < p.repeats.bytes && !f.whole: // nearly always
		p.repeats.bytes += n
	default:
		p.compare(f)
	}
	if p.ended != 0 && f.output != 0 {
		p.ended &^= f.seen &^ f.ended // a choice goes on after its finish reason
	}
	tokens := int32(1)
	if f.usage.known {
		tokens = p.applyUsage(f)
	} else if f.output != 0 {
		if p.continuous {
			// A chunk that should have carried usage: one token, which the next difference must not count again.
			tokens += p.pending
			p.pending = 0
		}
		p.choice(f.choice).counted++
	}
	if f.output == 0 {
		return
	}
	p.reasoned = p.reasoned || f.output&outReasoning != 0
	if p.options.KeepText {
		if len(p.scan.joined) > 0 {
			p.text = append(p.text, p.scan.joined...)
		} else if f.choice == 0 || f.choices > 1 {
			p.text = appendUnescaped(p.text, f.text)
		}
	}
	if !p.res.Streamed {
		p.bodyHasToken = true
		return
	}
	if len(p.res.Arrivals) == 0 {
		p.res.FirstOutputNs = atNs
	} else if p.choice(f.choice).outputReceive == p.receive {
		p.res.Coalesced++
	}
	if f.output&^outReasoning != 0 && p.res.FirstNonReasonNs == 0 {
		p.res.FirstNonReasonNs = atNs
	}
	if f.output&(outTool|outMedia) == 0 {
		p.textChunks++
	}
	if len(p.res.Arrivals) == maxArrivals {
		p.tooLong()
		return
	}
	p.res.LastOutputNs = atNs
	p.choice(f.choice).outputReceive = p.receive
	p.res.Arrivals = append(p.res.Arrivals, Arrival{AtNs: atNs, Tokens: tokens, Choice: int32(f.choice)})
	p.last, p.lineEnd = len(p.res.Arrivals), lineEndNone
}

// tooLong gives up a response that does not end. What follows is not read any more.
func (p *Parser) tooLong() {
	if p.unreadable {
		return
	}
	p.problem = fmt.Sprintf("the stream has more than %d output chunks: does the server ignore the limit on output tokens?", maxArrivals)
	p.unreadable = true
	p.tmpl.valid = false
	if !p.framed {
		p.frame.fail("%s", p.problem)
	}
}

// compare takes out of a streamed event what repeats earlier ones.
func (p *Parser) compare(f *facts) {
	if f.whole {
		if p.choice(f.choice).outputReceive != 0 && p.wholes&(1<<f.choice) == 0 { // all of it came in pieces
			f.output, f.text = 0, nil
			p.scan.joined = p.scan.joined[:0]
			return
		}
		p.wholes |= 1 << f.choice
	}
	if len(f.text) > 0 && f.output == outContent && f.choice == 0 && f.items == 0 && f.choices <= 1 {
		p.listen(f)
	}
}

// applyUsage takes over a usage object and returns the tokens of the chunk that carries it.
func (p *Parser) applyUsage(f *facts) (tokens int32) {
	u := &f.usage
	if input := u.input + u.cacheRead + u.cacheWrite; input > 0 {
		p.res.InputTokens = input
	}
	if cached := u.cached + u.cacheRead; cached > 0 {
		p.res.CachedTokens = cached
	}
	p.res.CachedKnown = p.res.CachedKnown || u.cachedKnown
	if u.reasoning > 0 {
		p.res.ReasoningTokens = u.reasoning
	}
	all := u.output
	p.usageWrong = false
	if u.reasoning > 0 || u.total > u.input+u.output {
		all, p.usageWrong = u.generated(), u.contradictory()
	}
	if !u.outputKnown {
		return 1
	}
	if f.choices == 0 || !p.res.Streamed {
		p.final(all)
		return 1
	}

	// Usage in a chunk of one of several choices counts that choice only; the chunk that finishes the only choice may
	// carry the final usage, and so may one without output behind all finish reasons (OpenRouter, LiteLLM).
	over := p.ended == p.seen
	behind := over && f.ended == 0 && f.output == 0
	last := over && p.seen&(p.seen-1) == 0 || behind && !p.continuous
	if last {
		p.final(all)
	}
	output := int32(min(all, 1<<30))
	if !last && output > 0 { // 0 may stand in a first chunk that no others like it follow
		p.continuous = true
	}
	if !p.continuous && len(p.res.Arrivals) > 0 {
		return 1
	}
	c := p.choice(f.choice)
	grown := max(output-c.counted, 0)
	c.counted, c.latest = max(output, c.counted), output
	if f.output == 0 {
		p.pending += grown
		return 0
	}
	grown += p.pending
	p.pending = 0
	return grown
}

// final notes a final count. Gateways send usage twice, the second time with nothing in it: the larger count is true.
func (p *Parser) final(output int) {
	p.finalUsage, p.finalOutput = true, max(p.finalOutput, output)
}

func (p *Parser) continuousTotal() int {
	total := int(p.first.latest)
	for k := range p.others {
		total += int(p.others[k].latest)
	}
	return total
}

// intern returns the reason as a string, without allocating for those that servers send.
func intern(reason []byte) string {
	switch string(reason) {
	case "stop":
		return "stop"
	case "length":
		return "length"
	case "tool_calls":
		return "tool_calls"
	case "content_filter":
		return "content_filter"
	case "completed":
		return "completed"
	case "max_output_tokens":
		return "max_output_tokens"
	case "end_turn":
		return "end_turn"
	case "max_tokens":
		return "max_tokens"
	case "stop_sequence":
		return "stop_sequence"
	case "tool_use":
		return "tool_use"
	}
	return oneLine(appendUnescaped(nil, reason), maxMessageBytes)
}
