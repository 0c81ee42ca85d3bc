package stream

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMessageBytes limits Result.Message.
const maxMessageBytes = 300

// finish makes the result final. Where several classes fit, the first of this list counts:
//
//  1. http_429, http_5xx, http_4xx: the status is not 2xx. The server refused, however the connection ended.
//  2. error_event: the server reported a failure in a 2xx response, even if it went on to [DONE] or broke off: by an error
//     event or object, framed or not, by a vendor's error (see scanner.other), or by a finish reason that means failure.
//  3. malformed: what came cannot be read, or a reply that is not streamed is none of the API's.
//  4. reset, truncated: the connection broke, or ended before the response did, and a stream had not announced its end.
//     It is reset if it broke or ended before the head, and truncated if it ended in good order. A stream that has a
//     finish reason for every choice, or the API's end ([DONE], message_stop, response.completed or .incomplete), is
//     complete however the connection ended.
//  5. malformed: an event is none of the API's, and there is no output beside it or no count of tokens but the number of
//     chunks, which the unknown event makes a guess.
//  6. empty: the response has no body.
//  7. truncated: the body of a stream is whole, but holds neither of the ends named above. A choice that goes on after its
//     finish reason needs another.
//  8. empty: no output chunk, or in a reply that is not streamed no output token and no text.
//  9. short: fewer output tokens than were forced.
//
// What the client did to the request is decided later, in package client: aborted, timeout and interrupted replace these.
func (p *Parser) finish() {
	if p.finished {
		return
	}
	p.finished = true
	r := &p.res
	r.EndNs = p.lastNs
	ok := r.Status >= 200 && r.Status <= 299
	switch {
	case !ok || p.unreadable:
	case p.kind == bodyEvents:
		if p.sse.flush() {
			p.last = 0
			p.event(nil, p.lastNs)
			p.followed() // what ended the body may have come later than the event
		}
	case p.kind == bodyLines:
		p.lastLine()
	case r.Streamed && len(p.body) == 0: // it has no body
	case !p.broken && p.problem == "":
		p.reply()
	}
	p.dropRepeat()
	p.countTokens()
	r.Failure, r.Message = p.judge(ok)
	r.KeepAlive = !p.broken && !p.excess && (p.framed || p.frame.state == stateComplete && p.frame.persistent)
	if p.options.KeepText {
		r.Text, r.ToolCalls = string(p.text), p.toolCalls()
	}
}

// reply reads the body of a response that is not streamed.
func (p *Parser) reply() {
	r := &p.res
	if len(bytes.TrimSpace(p.body)) == 0 {
		return
	}
	f := &p.facts
	*f = facts{}
	p.scan.reset(p.body)
	var valid bool
	switch {
	case p.options.API == JSON:
		valid = p.scan.anyReply(&p.ptrs, f)
	case p.options.Wire != nil:
		valid = p.scan.described(p.options.Wire, false, f)
	default:
		valid = p.scan.scan(p.options.API, false, f)
	}
	switch {
	case valid && f.failed:
		p.fail(f.message, f.quoted)
		return
	case valid && f.shape != shapeAnswer && p.options.API != JSON:
		p.problem = "the reply is not one of " + p.apiName() + ": " + oneLine(p.body, maxMessageBytes)
		return
	case valid:
	case p.scan.short && p.frame.state == stateUntilEOF:
		p.broken = true // the end of the connection was not the end of the body
		return
	default:
		p.problem = "the body is not JSON: " + oneLine(p.body, maxMessageBytes)
		return
	}
	p.apply(f, p.lastNs)
	switch {
	case p.countsItems():
		p.bodyHasToken = f.items > 0
	case p.options.API == JSON:
		p.bodyHasToken = p.ptrs[1].path == nil || p.ptrs[1].count > 0
	default:
		p.bodyHasToken = p.bodyHasToken || f.usage.output > 0
	}
	if p.bodyHasToken {
		r.FirstOutputNs, r.LastOutputNs = r.EndNs, r.EndNs
		if f.output != outReasoning {
			r.FirstNonReasonNs = r.EndNs
		}
	}
}

// countTokens decides where the number of output tokens comes from.
func (p *Parser) countTokens() {
	r := &p.res
	if n := len(r.Arrivals); n > 0 {
		r.Arrivals[n-1].Tokens += p.pending
	}
	if p.options.API == JSON {
		if p.ptrs[0].path != nil {
			r.InputTokens = p.ptrs[0].count
		}
		if p.ptrs[1].path != nil {
			p.finalUsage, p.finalOutput = p.ptrs[1].found, p.ptrs[1].count
		}
	}
	chunks := len(r.Arrivals)
	if !r.Streamed && p.bodyHasToken && !p.countsItems() && p.options.API != JSON {
		chunks = 1
	}
	switch {
	case p.countsItems():
		r.TokenSource = FromChunks
		if r.InputTokens > 0 {
			r.TokenSource = FromUsage
		}
	case p.finalUsage && (p.finalOutput > 0 || chunks == 0):
		r.OutputTokens, r.TokenSource = p.finalOutput, FromUsage
		r.TokenMismatch = p.continuous && p.continuousTotal() != p.finalOutput
	case p.continuous && p.continuousTotal() > 0:
		r.OutputTokens, r.TokenSource = p.continuousTotal(), FromContinuousUsage
		r.TokenMismatch = p.finalUsage
	default:
		r.OutputTokens, r.TokenSource = chunks, FromChunks
		r.TokenMismatch = (p.finalUsage || p.continuous) && chunks > 0
	}
	// Where all tokens are reasoning and yet output came, the usage counts otherwise than the stream: nothing is taken off.
	if n := r.ReasoningTokens; !p.reasoned && n < r.OutputTokens && r.TokenSource != FromChunks {
		r.HiddenTokens = n
		p.hide(int32(n))
	}
	if r.Streamed && p.textChunks > r.ShownTokens() || p.usageWrong && r.TokenSource != FromChunks {
		r.TokenMismatch = true
	}
}

// hide takes hidden tokens off the chunks that continuous usage counted them with: the first that follow them, down to the
// one token that a chunk at least holds.
func (p *Parser) hide(tokens int32) {
	for i := range p.res.Arrivals {
		a := &p.res.Arrivals[i]
		n := min(tokens, max(a.Tokens-1, 0))
		a.Tokens -= n
		tokens -= n
	}
}

func (p *Parser) judge(ok bool) (Failure, string) {
	r := &p.res
	switch {
	case r.Status == 0:
		if p.problem != "" {
			return Malformed, oneLine([]byte(p.problem), maxMessageBytes)
		}
		return Reset, p.brokenOff()
	case r.Status == 429:
		return HTTP429, p.refusal()
	case r.Status >= 500:
		return HTTP5xx, p.refusal()
	case !ok:
		return HTTP4xx, p.refusal()
	case p.failed && p.failure == "":
		return ErrorEvent, "the server reported an error without a message"
	case p.failed:
		return ErrorEvent, p.failure
	case p.badEnd:
		return ErrorEvent, fmt.Sprintf("the server ended the answer with the finish reason %q", oneLine([]byte(r.FinishReason), 60))
	case p.problem != "":
		return Malformed, oneLine([]byte(p.problem), maxMessageBytes)
	case p.broken && !p.complete():
		if p.endErr != nil || !p.HeadDone() {
			return Reset, p.brokenOff()
		}
		return Truncated, p.brokenOff()
	case p.strange != "" && (len(r.Arrivals) == 0 || r.TokenSource == FromChunks):
		return Malformed, oneLine([]byte("an event is not one of "+p.apiName()+": "+p.strange), maxMessageBytes)
	case r.Streamed && len(p.without) > 0 && !p.placed:
		return Malformed, oneLine(fmt.Appendf(nil, "no event has the output of %s: %s", p.apiName(), p.without), maxMessageBytes)
	case r.Streamed && r.BodyBytes == 0:
		return Empty, "the response has no body"
	case r.Streamed && !p.complete():
		return Truncated, "the stream ended with neither a finish reason nor its end mark"
	case r.Streamed && len(r.Arrivals) == 0:
		return Empty, "the stream held no output"
	case !r.Streamed && !p.bodyHasToken:
		if p.options.API == JSON && len(p.body) > 0 {
			return Empty, "the reply counts no output tokens at " + p.options.OutputTokensPointer
		}
		return Empty, "the reply held no output"
	case r.OutputTokens < p.options.ExpectedOutputTokens && !p.countsItems():
		return Short, fmt.Sprintf("%d of %d output tokens came (counted by %s)", r.OutputTokens,
			p.options.ExpectedOutputTokens, r.TokenSource)
	}
	return None, ""
}

// complete reports whether a stream announced its end; a reply that is not streamed does so by its length alone.
func (p *Parser) complete() bool {
	r := &p.res
	if !r.Streamed {
		return !p.broken
	}
	switch p.options.API {
	case Embeddings, JSON:
		return p.sawEnd || !p.broken && !p.ends
	case Chat, Completions:
		return p.sawEnd || p.seen != 0 && p.ended == p.seen
	case Custom:
		w := p.options.Wire
		return p.sawEnd || w.finishes && p.seen != 0 && p.ended == p.seen || w.bodyEnds && !p.broken
	}
	return p.sawEnd || r.FinishReason != ""
}

// countsItems reports whether a reply is judged by its items: there is no output text.
func (p *Parser) countsItems() bool {
	return p.options.API == Embeddings || p.options.Wire != nil && p.options.Wire.counted
}

// apiName is what messages call the format.
func (p *Parser) apiName() string {
	if p.options.Wire != nil {
		return "the wire " + p.options.Wire.name
	}
	return "the API " + p.options.API.String()
}

// AnswerComplete reports whether everything that counts has arrived: the API's end mark came, or every choice's finish reason and the
// final usage. Its body may be open still.
func (p *Parser) AnswerComplete() bool {
	api := p.options.API
	byBody := api == Embeddings || api == JSON || p.options.Wire != nil && p.options.Wire.bodyEnds
	return p.res.Streamed && (p.sawEnd || p.finalUsage && !byBody && p.complete())
}

func (p *Parser) brokenOff() string {
	where := "within the body of the response"
	switch {
	case p.res.FirstByteNs == 0:
		where = "before a byte of the response came"
	case !p.HeadDone():
		where = "within the head of the response"
	}
	if p.endErr == nil {
		return "the connection was closed " + where
	}
	return oneLine([]byte("the connection broke "+where+": "+p.endErr.Error()), maxMessageBytes)
}

// Refusal returns the status of the response and, where it is not 2xx, the first bytes of its body, which are valid until Reset.
func (p *Parser) Refusal() (status int, body []byte) {
	if status = p.res.Status; status/100 != 2 {
		body = p.body
	}
	return status, body
}

// refusal returns the server's message in the body of a response that is not 2xx; of a redirect, where it leads.
func (p *Parser) refusal() string {
	if location := p.frame.location; location != "" && p.res.Status/100 == 3 {
		return oneLine(fmt.Appendf(nil, "HTTP status %d: redirected to %s, which is not followed", p.res.Status, location), maxMessageBytes)
	}
	if p.frame.contentEncoding == "" {
		if message := bodyMessage(p.body); message != "" {
			return message
		}
	}
	return fmt.Sprintf("HTTP status %d without a message", p.res.Status)
}

// bodyMessage finds {"error": {"message": ...}}, {"error": ...}, {"message": ...} or {"detail": ...}, else the first
// line of text.
func bodyMessage(body []byte) string {
	text := bytes.TrimSpace(body)
	if data, found := bytes.CutPrefix(text, []byte("data:")); found {
		text, _, _ = bytes.Cut(data, []byte("\n"))
	}
	if list, found := bytes.CutPrefix(text, []byte("[")); found && bytes.HasSuffix(list, []byte("]")) {
		text = bytes.TrimSpace(list[:len(list)-1]) // Google's OpenAI mode has the error in a list of one
	}
	var s scanner
	var f facts
	var bare, detail []byte
	var bareQuoted, detailQuoted bool
	s.reset(text)
	if s.peek() == '{' {
		for key := range s.members {
			switch string(key) {
			case "error":
				s.failure(&f)
			case "message":
				bare, bareQuoted = s.value()
			case "detail":
				detail, detailQuoted = s.value()
			default:
				s.skip()
			}
		}
		if s.end() {
			message, quoted := f.message, f.quoted
			if len(message) == 0 {
				message, quoted = bare, bareQuoted
			}
			if len(message) == 0 {
				message, quoted = detail, detailQuoted
			}
			if quoted {
				message = appendUnescaped(nil, message)
			}
			if line := oneLine(message, maxMessageBytes); line != "" {
				return line
			}
		}
	}
	for line := range bytes.Lines(text) {
		if message := oneLine(withoutTags(line), maxMessageBytes); message != "" {
			return message
		}
	}
	return ""
}

// value reads any value: a string's inside, or the JSON of all else.
func (s *scanner) value() (raw []byte, quoted bool) {
	if s.peek() == '"' {
		raw, _ = s.str()
		return raw, true
	}
	start := s.i
	s.skip()
	if s.bad {
		return nil, false
	}
	return s.b[start:s.i], false
}

// withoutTags leaves the text of a line of HTML, as proxies answer with.
func withoutTags(line []byte) []byte {
	var text []byte
	for len(line) > 0 {
		before, rest, found := bytes.Cut(line, []byte{'<'})
		text = append(text, before...)
		if !found {
			break
		}
		_, line, found = bytes.Cut(rest, []byte{'>'})
		if !found {
			break
		}
	}
	return text
}

// Message returns a text as Result.Message has it: one line of at most 300 bytes.
func Message(text string) string { return oneLine([]byte(text), maxMessageBytes) }

// oneLine returns b as a line of at most limit bytes: no control characters, no invalid UTF-8, single spaces.
func oneLine(b []byte, limit int) string {
	const cut = "..."
	var line strings.Builder
	space := false
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		switch {
		case unicode.IsSpace(r) || r == 0x2028 || r == 0x2029:
			space = line.Len() > 0
			continue
		case unicode.IsControl(r) || r == utf8.RuneError && n == 1:
			continue
		}
		size := n
		if space {
			size++
		}
		if line.Len()+size > limit-len(cut) {
			// The rest may still fit; cutting a few bytes early is simpler and loses nothing of use.
			return line.String() + cut
		}
		if space {
			line.WriteByte(' ')
			space = false
		}
		line.WriteRune(r)
	}
	return line.String()
}
