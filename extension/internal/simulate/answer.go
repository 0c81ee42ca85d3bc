package simulate

import (
	"strconv"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// pace decides when the tokens of generations come; it calls answer.tokens at those times.
type pace interface {
	submit(g *generation)
	cancel(g *generation)
	resetCache()
	usage() (running, waiting int, kvCache float64)
}

// generation is one sequence of output tokens. Most answers have one; a completions request has one for each prompt.
type generation struct {
	a      *answer
	index  int
	prompt prompt
	target int    // tokens that it will have
	reason string // finish_reason when it has them

	produced int  // tokens that came from the pace
	emitted  int  // tokens put into events
	calling  bool // the call's first token was put into one
	text     textState

	timer timer // of the schedule
	dueNs int64 // of the next token
	// The next token is held back until then, though the timetable stays (a stall that the stream catches up).
	notBeforeNs int64
	jitter      *jitter
	seq         sequence // of the engine
	lastNs      int64    // the pace had the last token
	heldNs      int64    // tokens are held back until then (a stall in front of an engine)
	unpaced     bool
}

// phase is what a token is part of.
type phase uint8

const (
	phaseReasoning phase = iota
	phaseContent
	phaseToolCall
)

// format writes an answer as one API wants it. Its methods hand each event to answer.put.
type format interface {
	opening(a *answer, g *generation)                              // before the first token
	token(a *answer, g *generation, text []byte, n int, last bool) // n tokens, the last ones if last
	empty(a *answer, g *generation)                                // an event without text
	closing(a *answer)                                             // after the last token of all generations
	whole(a *answer, b []byte) []byte                              // the reply that is not streamed
	errorEvent(a *answer, b []byte, message string) (name string, _ []byte)
}

// answer turns the tokens of one request into its response.
type answer struct {
	c      *conn
	srv    *Server
	rec    *record
	format format
	id     string

	stream, usage, continuous bool
	fault                     Fault
	reasoning, toolCall       int
	reasoningField            string
	tool                      string // the name of the tool that is called
	lineEnd                   string
	lines                     bool // events are lines of JSON

	gens     []*generation
	left     int // generations that go on
	open     bool
	over     bool
	phase    phase // of the last token, where formats group tokens by it
	block    int
	events   int
	held     []byte // events that wait for more to share their HTTP chunk
	heldEnds []eventEnd
	heldEvts int
	corked   bool
}

// cancelled stops the answer because its client left or the connection was cut.
func (a *answer) cancelled() {
	for _, g := range a.gens {
		a.srv.pace.cancel(g)
	}
	a.finish("abort")
}

// finish counts the end of the answer; the connection is not told.
func (a *answer) finish(reason string) {
	if a.over {
		return
	}
	a.over = true
	a.srv.inFlight--
	a.srv.metrics.finished(a, reason)
}

// tokens is called by the pace when n more tokens of g are there.
func (a *answer) tokens(g *generation, n int, nowNs int64) {
	if a.over {
		return
	}
	g.produced += n
	a.srv.metrics.tokens(a, g, n, nowNs)
	if !a.stream {
		if g.produced >= g.target {
			if a.left--; a.left == 0 {
				a.replyWhole()
			}
		}
		return
	}
	if g.heldNs == 0 {
		a.emit(g)
	}
}

// emit writes the events of the tokens that are there.
func (a *answer) emit(g *generation) {
	for !a.over {
		n := min(a.fault.TokensPerChunk, g.target-g.emitted)
		if g.emitted+n > g.produced || n == 0 {
			return
		}
		if at := a.fault.Stall; at != nil && g.emitted >= *at && g.heldNs == 0 && a.holds(g) {
			g.heldNs = clock.Now() + int64(a.fault.StallMs*1e6)
			g.timer.task = releaseTask{g}
			a.srv.loop.pacer.set(&g.timer, g.heldNs)
			return
		}
		a.emitChunk(g, n)
	}
}

// holds reports whether a stall keeps tokens back that come nevertheless. A schedule stalls itself: it moves its timetable.
func (a *answer) holds(g *generation) bool {
	return !a.srv.config.Pacing.Scheduled || g.unpaced && *a.fault.Stall > 0
}

// releaseTask ends a stall: all that the engine made meanwhile goes out.
type releaseTask struct{ g *generation }

func (t releaseTask) run(int64) {
	t.g.a.fault.Stall = nil
	t.g.heldNs = 0
	t.g.a.emit(t.g)
}

// emitChunk writes the event of the next n tokens and what goes wrong before it.
func (a *answer) emitChunk(g *generation, n int) {
	f := &a.fault
	reached := func(at *int) bool { return at != nil && g.emitted >= *at }
	if reached(f.Cut) {
		a.breakOff(f.CutHow)
		return
	}
	if reached(f.Error) {
		a.fail("The model produced output that cannot be parsed.", !f.ErrorNoDone)
		return
	}
	if !a.open {
		a.open = true
		if f.RoleWithFirst {
			f.EventsPerChunk++ // for this chunk
		}
		a.format.opening(a, g)
		if f.RoleWithFirst {
			defer func() { f.EventsPerChunk-- }()
		}
	}
	if reached(f.Malformed) {
		f.Malformed = nil
		a.rec.fault = "malformed event"
		a.put("", []byte(`{"id":"`+a.id+`","choices":[{"index":0,"delta":{"content":"bro`), 0)
	}
	if f.EmptyEvents > 0 && g.emitted%f.EmptyEvents == 0 {
		a.format.empty(a, g)
	}
	text := a.nextText(g, n)
	calls := a.phaseOf(g, g.emitted) == phaseToolCall
	if calls {
		text = a.callText(g, text, n)
	}
	g.emitted += n
	last := g.emitted == g.target
	a.format.token(a, g, text, n, last)
	g.calling = calls
	if a.c.closed || a.over {
		return
	}
	if f.Comments > 0 && !a.lines && a.events%f.Comments == 0 {
		a.putRaw([]byte(": ping - the stream is alive"+a.lineEnd+a.lineEnd), 0)
	}
	if last {
		if a.left--; a.left == 0 {
			a.end()
		}
	}
}

// nextText draws the text of the next n tokens of g into a buffer that the next call overwrites.
func (a *answer) nextText(g *generation, n int) []byte {
	f := &a.fault
	b := a.srv.scratch[:0]
	switch {
	case f.Huge != nil && g.emitted <= *f.Huge && *f.Huge < g.emitted+n:
		a.rec.fault = "huge event"
		b = a.srv.vocab.appendText(b, &g.text, f.HugeBytes/tokenBytes, f.Wide)
	case f.Split == "event":
		for i := range n { // even tokens end inside a character that odd ones complete
			whole := "🙂"
			if (g.emitted+i)%2 == 0 {
				b = append(b, "ab"...)
				b = append(b, whole[:2]...)
			} else {
				b = append(b, whole[2:]...)
				b = append(b, "cd"...)
			}
		}
	default:
		b = a.srv.vocab.appendText(b, &g.text, n, f.Wide)
	}
	a.srv.scratch = b
	return b
}

// phaseOf says what the token with that number is part of.
func (a *answer) phaseOf(g *generation, number int) phase {
	switch {
	case number < a.reasoning:
		return phaseReasoning
	case number >= g.target-a.toolCall:
		return phaseToolCall
	}
	return phaseContent
}

// finishReason is what the last event of g says.
func (a *answer) finishReason(g *generation) string {
	if a.toolCall > 0 && g.reason == "stop" {
		return "tool_calls"
	}
	return g.reason
}

// put sends one event, or keeps it for the HTTP chunk that it shares. tokens are those that it completes.
func (a *answer) put(name string, json []byte, tokens int) {
	b := a.srv.payload[:0]
	if a.lines {
		b = append(append(b, json...), '\n')
		a.events++
		if cap(b) <= 1<<20 {
			a.srv.payload = b
		}
		a.putRaw(b, tokens)
		return
	}
	if name != "" {
		b = append(b, "event: "...)
		b = append(b, name...)
		b = append(b, a.lineEnd...)
	}
	b = append(b, "data: "...)
	b = append(b, json...)
	b = append(b, a.lineEnd...)
	b = append(b, a.lineEnd...)
	a.events++
	if cap(b) <= 1<<20 {
		a.srv.payload = b
	}
	a.putRaw(b, tokens)
}

// putRaw sends the bytes of one event or comment.
func (a *answer) putRaw(payload []byte, tokens int) {
	if a.fault.EventsPerChunk > 1 {
		a.held = append(a.held, payload...)
		if tokens > 0 {
			a.heldEnds = append(a.heldEnds, eventEnd{len(a.held), tokens})
		}
		if a.heldEvts++; a.heldEvts >= a.fault.EventsPerChunk {
			a.flushHeld()
		}
		return
	}
	if tokens > 0 {
		a.frame(payload, eventEnd{len(payload), tokens})
	} else {
		a.frame(payload)
	}
}

// flushHeld sends the events that shared an HTTP chunk.
func (a *answer) flushHeld() {
	if len(a.held) > 0 {
		held, ends := a.held, a.heldEnds
		a.held, a.heldEnds, a.heldEvts = a.held[:0], a.heldEnds[:0], 0
		a.frame(held, ends...)
	}
}

// frame sends payload, which holds events with these ends, as one HTTP chunk, or as the split fault wants it.
func (a *answer) frame(payload []byte, ends ...eventEnd) {
	c := a.c
	cut := 0
	if a.fault.Split == "chunk" || a.fault.Split == "write" {
		cut = wideAt(payload)
	}
	if cut > 0 && !c.backedUp() {
		a.flushFrames()
		first, rest := splitEnds(ends, cut)
		if a.fault.Split == "chunk" {
			a.frameOne(payload[:cut], first)
			a.flushFrames()
			a.frameOne(payload[cut:], rest)
			a.flushFrames()
			return
		}
		a.frameOne(payload, ends)
		whole, ends := a.srv.frames, a.srv.frameEnds
		a.srv.frames, a.srv.frameEnds = whole[:0], ends[:0]
		at := len(whole) - len(payload) + cut - 2
		if c.fixed {
			at = cut
		}
		first, rest = splitEnds(ends, at)
		c.write(whole[:at], first...)
		c.write(whole[at:], rest...)
		return
	}
	a.frameOne(payload, ends)
	if !a.corked {
		a.flushFrames()
	}
}

// splitEnds divides the ends of a buffer's events where the buffer is cut in two.
func splitEnds(ends []eventEnd, cut int) (first, rest []eventEnd) {
	for _, e := range ends {
		if e.at <= cut {
			first = append(first, e)
		} else {
			rest = append(rest, eventEnd{e.at - cut, e.tokens})
		}
	}
	return first, rest
}

// frameOne appends payload to the frames as one HTTP chunk.
func (a *answer) frameOne(payload []byte, ends []eventEnd) {
	s := a.srv
	s.frames = a.c.chunk(s.frames, payload)
	start := len(s.frames) - len(payload)
	if !a.c.fixed {
		start -= len("\r\n")
	}
	for _, e := range ends {
		s.frameEnds = append(s.frameEnds, eventEnd{start + e.at, e.tokens})
	}
}

// flushFrames hands what was framed to the socket in one call.
func (a *answer) flushFrames() {
	s := a.srv
	b, ends := s.frames, s.frameEnds
	s.frames, s.frameEnds = b[:0], ends[:0]
	if cap(b) > 1<<20 {
		s.frames = nil
	}
	if len(b) > 0 {
		a.c.write(b, ends...)
	}
}

// dropFrames forgets what was framed for a connection that is gone.
func (a *answer) dropFrames() { a.srv.frames, a.srv.frameEnds = a.srv.frames[:0], a.srv.frameEnds[:0] }

// wideAt returns a place inside the first UTF-8 sequence of more than one byte; 0 = there is none.
func wideAt(b []byte) int {
	for i, x := range b {
		if x >= 0x80 {
			return i + 1
		}
	}
	return 0
}

// end sends what follows the last token, in one write, and ends the request.
func (a *answer) end() {
	a.flushHeld()
	if a.c.closed {
		return
	}
	a.rec.finish = a.finishReason(a.gens[0])
	a.corked = true
	a.format.closing(a)
	a.flushHeld()
	a.terminate()
	a.corked = false
	a.flushFrames()
	a.finish(a.gens[0].reason)
	a.c.closeAfter = a.c.closeAfter || a.fault.CloseAfter || a.c.fixed
	a.c.finished()
	a.srv.countDeath()
}

// terminate appends the chunk that ends the body.
func (a *answer) terminate() {
	if !a.c.fixed {
		a.srv.frames = append(a.srv.frames, "0\r\n\r\n"...)
	}
}

// stop ends the pace's work for an answer that ends early.
func (a *answer) stop() {
	for _, g := range a.gens {
		a.srv.pace.cancel(g)
	}
	a.c.cancel, a.c.unpaced = nil, nil
}

// breakOff ends the response without its end.
func (a *answer) breakOff(how string) {
	a.rec.fault = "cut"
	a.stop()
	a.flushHeld()
	a.flushFrames()
	a.c.write(nil) // the head, if it was held back
	a.finish("abort")
	switch how {
	case "fin":
		a.c.close()
	case "end":
		a.terminate()
		a.flushFrames()
		a.c.finished()
	default:
		a.c.reset("cut")
	}
}

// fail ends the response with an error event, as servers do once they have answered 200, or with status 500.
func (a *answer) fail(message string, withDone bool) {
	if a.over {
		return
	}
	a.rec.fault = "error"
	a.stop()
	a.finish("error")
	if !a.stream {
		a.c.replyError(500, "InternalServerError", "", message)
		return
	}
	a.flushHeld()
	a.corked = true
	name, b := a.format.errorEvent(a, nil, message)
	a.put(name, b, 0)
	if withDone && !a.lines {
		a.put("", []byte("[DONE]"), 0)
	}
	a.flushHeld()
	a.terminate()
	a.corked = false
	a.flushFrames()
	a.c.finished()
}

// replyWhole answers a request that did not ask for a stream.
func (a *answer) replyWhole() {
	if a.fault.Stall != nil && !a.srv.config.Pacing.Scheduled { // a schedule has the stall in its timetable
		a.fault.Stall = nil
		a.srv.loop.after(time.Duration(a.fault.StallMs*1e6), func() {
			if !a.over {
				a.replyWhole()
			}
		})
		return
	}
	if a.fault.Error != nil {
		a.fail("The model produced output that cannot be parsed.", false)
		return
	}
	tokens := 0
	for _, g := range a.gens {
		g.emitted = g.produced
		tokens += g.produced
	}
	a.rec.finish = a.finishReason(a.gens[0])
	body := a.format.whole(a, nil)
	a.finish(a.gens[0].reason)
	a.c.cancel = nil
	a.c.closeAfter = a.c.closeAfter || a.fault.CloseAfter
	if a.fault.Cut != nil {
		a.cutWhole(body)
		return
	}
	a.c.replyTokens(200, applicationJSON, body, tokens)
	a.srv.countDeath()
}

// cutWhole breaks off a reply that is not streamed in the middle of its body.
func (a *answer) cutWhole(body []byte) {
	c := a.c
	a.rec.fault, a.rec.status = "cut", 200
	b := append(c.head(200, applicationJSON), "\r\ncontent-length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	c.write(append(b, body[:len(body)/2]...))
	if a.fault.CutHow == "" || a.fault.CutHow == "rst" {
		c.reset("cut")
	} else {
		c.close()
	}
}

// sendUnpaced sends tokens that have no time of their own: as many as the socket takes, but a quota a turn.
func (a *answer) sendUnpaced(g *generation) {
	perWrite := a.srv.config.EventsPerWrite
	for range unpacedATurn {
		if a.over || a.c.closed || g.produced >= g.target {
			return
		}
		if a.c.backedUp() {
			a.c.unpaced = func() { a.sendUnpaced(g) }
			return
		}
		a.corked = perWrite > 1
		nowNs := clock.Now()
		for range perWrite {
			if g.produced < g.target && !a.over {
				a.tokens(g, 1, nowNs)
			}
		}
		a.corked = false
		if !a.c.closed {
			a.flushFrames()
		} else {
			a.dropFrames()
		}
	}
	a.c.unpaced = nil
	a.srv.loop.ready = append(a.srv.loop.ready, taskFunc(func() { a.sendUnpaced(g) }))
}

// unpacedATurn is how many writes an unpaced stream makes before others have their turn.
const unpacedATurn = 64
