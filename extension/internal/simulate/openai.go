package simulate

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// generate answers a request for tokens: chat, completions, responses or messages.
func (s *Server) generate(c *conn, r *request) {
	s.received++
	s.sequence++
	number := s.sequence
	c.rec = s.truth.begin(r.id, r.path, r.beginNs, r.kernelBegin)
	if s.config.DieAfterRequests > 0 {
		s.countDeath()
	}
	if s.dead {
		c.replyError(500, "InternalServerError", "", "EngineCore encountered an issue. See stack trace (above) for the root cause.")
		return
	}
	if len(r.contentType) > 0 && !strings.Contains(string(r.contentType), "json") {
		c.replyError(400, "Bad Request", "", "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed")
		return
	}
	if !gjson.ValidBytes(r.body) {
		c.replyError(400, "Bad Request", "body", "1 validation error:\n  {'type': 'json_invalid', 'loc': 'body', 'msg': 'JSON decode error'}")
		return
	}
	// The text is used in this call only, so it need not be copied.
	body := gjson.Parse(unsafe.String(unsafe.SliceData(r.body), len(r.body)))

	own, err := ownFaults(r, body)
	if err != nil {
		c.replyError(400, "BadRequestError", "simulate", err.Error())
		return
	}
	a := &answer{c: c, srv: s, rec: c.rec, fault: s.draw(number, own...), lineEnd: "\n"}
	if s.refuse(c, &a.fault) {
		return
	}
	if status, kind, param, message := s.readAnswer(a, r, body, number); status != 0 {
		c.replyError(status, kind, param, message)
		return
	}
	if s.config.MaxInFlight > 0 && s.inFlight >= s.config.MaxInFlight {
		c.rec.fault = "over the cap"
		c.replyError(429, "RateLimitError", "", "Too many requests are in flight")
		return
	}
	s.inFlight++
	s.metrics.began(a)
	if c.rec.id == "" {
		c.rec.id = a.id
	}
	c.cancel = a
	c.fixed = a.fault.ContentLength && a.stream
	if c.fixed {
		c.closeAfter = true
	}
	c.closeUnsaid = a.fault.CloseAfter && !c.closeAfter
	c.closeAfter = c.closeAfter || a.fault.CloseAfter
	if a.stream {
		contentType := eventStream
		if a.lines {
			contentType = jsonLines
		}
		c.beginStream(contentType, a.immediate())
	}
	for _, g := range a.gens {
		if a.over || c.closed {
			return
		}
		s.pace.submit(g)
	}
}

// immediate reports whether the first token follows at once, so the head can share its write.
func (a *answer) immediate() bool {
	p := &a.srv.config.Pacing
	return p.Scheduled && p.TTFT.zero() && (a.fault.TTFTMs == nil || *a.fault.TTFTMs == 0) && a.fault.Stall == nil
}

// ownFaults reads what a request asks to go wrong with itself.
func ownFaults(r *request, body gjson.Result) ([]Fault, error) {
	var own []Fault
	texts := [2]string{string(r.simulate), body.Get("simulate").Raw}
	for _, text := range texts {
		if text == "" {
			continue
		}
		if text[0] != '{' {
			return nil, fmt.Errorf("simulate: %q is no JSON object", text)
		}
		f, err := ParseFault(text)
		if err != nil {
			return nil, err
		}
		own = append(own, f)
	}
	return own, nil
}

// refuse answers a request that is not even looked at, and reports whether it did.
func (s *Server) refuse(c *conn, f *Fault) bool {
	switch {
	case f.Refuse:
		c.rec.fault = "refused"
		if f.CutHow == "fin" {
			c.close()
		} else {
			c.reset("refused")
		}
	case f.Status != 0 && f.Status != 200:
		c.rec.fault = "status " + strconv.Itoa(f.Status)
		c.closeUnsaid = f.CloseAfter && !c.closeAfter
		c.closeAfter = c.closeAfter || f.CloseAfter
		c.replyError(f.Status, statusText(f.Status), "", "a simulated fault")
	default:
		return false
	}
	return true
}

// refuseSimple applies the faults that any endpoint can have, refuse and status, and reports whether it answered.
func (s *Server) refuseSimple(c *conn, r *request) bool {
	if len(s.config.Faults) == 0 && len(r.simulate) == 0 {
		return false
	}
	own, err := ownFaults(r, gjson.Result{})
	if err != nil {
		c.replyError(400, "BadRequestError", "simulate", err.Error())
		return true
	}
	s.sequence++
	f := s.draw(s.sequence, own...)
	return s.refuse(c, &f)
}

// replyError answers with an error as vLLM words it.
func (c *conn) replyError(status int, kind, param, message string) {
	if c.rec != nil && c.rec.fault == "" {
		c.rec.fault = kind
	}
	c.srv.metrics.refused++
	e := map[string]any{"message": message, "type": kind, "param": nil, "code": status}
	if param != "" {
		e["param"] = param
	}
	c.replyJSON(status, map[string]any{"error": e})
}

// readAnswer reads the request's fields into a; a status other than 0 refuses it.
func (s *Server) readAnswer(a *answer, r *request, body gjson.Result, number uint64) (status int, kind, param, message string) {
	bad := func(param, format string, args ...any) (int, string, string, string) {
		return 400, "BadRequestError", param, fmt.Sprintf(format, args...)
	}
	if !body.IsObject() {
		return bad("body", "the body must be a JSON object")
	}
	if model := body.Get("model"); model.Exists() && model.Type != gjson.Null && model.String() != s.config.Model {
		return 404, "NotFoundError", "model", fmt.Sprintf("The model `%s` does not exist. Valid aliases: %s.", model.String(), s.config.Model)
	}
	if n := body.Get("n"); n.Exists() && n.Type != gjson.Null && n.Int() != 1 {
		return bad("n", "n must be 1, got %s.", n.Raw)
	}
	if t := body.Get("temperature"); t.Num < 0 {
		return bad("temperature", "temperature must be non-negative, got %v. (parameter=temperature, value=%v)", t.Num, t.Num)
	}
	a.stream = body.Get("stream").Bool()
	options := body.Get("stream_options")
	a.usage = options.Get("include_usage").Bool()
	a.continuous = a.usage && options.Get("continuous_usage_stats").Bool()
	a.lineEnd = a.fault.lineEnd()

	var prompts []prompt
	limit, limitName, leastName, forcedName := int64(0), "max_tokens", "min_tokens", "ignore_eos"
	d := dialectOf(r.path, body)
	switch r.path {
	case pathCompletions:
		a.format, a.id = completionsFormat{}, s.newID("cmpl-", number)
		limit = 16 // OpenAI's default, and vLLM's
		var err error
		if prompts, err = s.readPrompts(body.Get("prompt")); err != nil {
			return bad("prompt", "%s", err)
		}
	case pathChat:
		a.format, a.id = chatFormat{}, s.newID("chatcmpl-", number)
		messages := body.Get("messages")
		if !messages.IsArray() {
			return 400, "Bad Request", "body.messages", "1 validation error:\n  {'type': 'missing', 'loc': 'body.messages', 'msg': 'Field required'}"
		}
		reader := s.promptReader()
		s.readMessages(&reader, messages)
		reader.overhead(answerTokens)
		prompts = []prompt{reader.done()}
		if body.Get("max_completion_tokens").Type == gjson.Number {
			limitName = "max_completion_tokens"
		}
	case pathResponses:
		a.format, a.id, limitName = responsesFormat{}, s.newID("resp_", number), "max_output_tokens"
		input := body.Get("input")
		reader := s.promptReader()
		if instructions := body.Get("instructions"); instructions.Type == gjson.String {
			reader.overhead(messageTokens)
			reader.text(instructions.Str)
		}
		switch {
		case input.Type == gjson.String:
			reader.overhead(messageTokens)
			reader.text(input.Str)
		case input.IsArray():
			s.readMessages(&reader, input)
		default:
			return 400, "Bad Request", "body.input", "1 validation error:\n  {'type': 'missing', 'loc': 'body.input', 'msg': 'Field required'}"
		}
		reader.overhead(answerTokens)
		prompts = []prompt{reader.done()}
	default:
		if d != nil {
			a.id = s.newID("", number)
			limitName, leastName, forcedName = d.limit, d.least, d.forced
			var err error
			if prompts, err = d.read(s, a, body); err != nil {
				return bad("prompt", "%s", err)
			}
			break
		}
		a.format, a.id = messagesFormat{}, s.newID("msg_", number)
		messages := body.Get("messages")
		if !messages.IsArray() {
			return 400, "Bad Request", "body.messages", "1 validation error:\n  {'type': 'missing', 'loc': 'body.messages', 'msg': 'Field required'}"
		}
		if !body.Get("max_tokens").Exists() {
			return 400, "Bad Request", "body.max_tokens", "1 validation error:\n  {'type': 'missing', 'loc': 'body.max_tokens', 'msg': 'Field required'}"
		}
		reader := s.promptReader()
		if system := body.Get("system"); system.Exists() {
			reader.overhead(messageTokens)
			reader.messageContent(system)
		}
		s.readMessages(&reader, messages)
		reader.overhead(answerTokens)
		prompts = []prompt{reader.done()}
	}
	if value := body.Get(limitName); limitName != "" && value.Type == gjson.Number {
		if limit = value.Int(); limit < 1 {
			return bad(limitName, "%s must be at least 1, got %d. (parameter=%s, value=%d)", limitName, limit, limitName, limit)
		}
	}
	least := int64(0)
	if leastName != "" {
		least = body.Get(leastName).Int()
	}
	if limit > 0 && least > limit {
		return bad("", "min_tokens must be less than or equal to max_tokens=%d, got %d.", limit, least)
	}
	forced := forcedName != "" && body.Get(forcedName).Bool()

	a.reasoning, a.toolCall, a.reasoningField = s.config.Reasoning, s.config.ToolCallTokens, s.config.ReasoningField
	switch {
	case r.path == pathCompletions, d != nil && !d.thinking:
		a.reasoning, a.toolCall = 0, 0
	case d != nil:
		a.toolCall = 0
	}
	if a.fault.Reasoning != nil {
		a.reasoning = *a.fault.Reasoning
	}
	if a.fault.ToolCallTokens != nil {
		a.toolCall = *a.fault.ToolCallTokens
	}
	if r.path != pathCompletions {
		a.planCall(body)
	}
	setDefault(&a.fault.ReasoningField, a.reasoningField)
	a.reasoningField = a.fault.ReasoningField

	for i, p := range prompts {
		if p.tokens >= s.config.MaxModelLen {
			return bad("input_tokens", "This model's maximum context length is %d tokens. However, your prompt contains %d input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=%d)",
				s.config.MaxModelLen, p.tokens, p.tokens)
		}
		g := &generation{a: a, index: i, prompt: p, text: textState(mix(s.config.Seed, number<<8+uint64(i)))}
		s.setTarget(g, limit, least, forced)
		a.rec.promptTokens += p.tokens
		a.gens = append(a.gens, g)
	}
	a.left = len(a.gens)
	if a.stream && s.config.KeepSends > 0 {
		tokens := 0
		for _, g := range a.gens {
			tokens += g.target
		}
		a.rec.sends = make([]send, 0, min(tokens, 128))
	}
	return 0, "", "", ""
}

// setTarget decides how many tokens a generation will have: those asked for as far as the context permits (vLLM clamps),
// fewer if the model ends by itself.
func (s *Server) setTarget(g *generation, limit, least int64, forced bool) {
	room := int64(s.config.MaxModelLen - g.prompt.tokens)
	if limit == 0 || limit > room {
		limit = room
	}
	g.target, g.reason = int(limit), "length"
	if forced {
		return
	}
	natural := int64(math.Round(float64(s.config.NaturalOutputTokens) * (0.5 + float64(mix(s.config.Seed+1, uint64(g.text))>>11)/(1<<53))))
	if g.a.fault.OutputTokens > 0 {
		natural = int64(g.a.fault.OutputTokens)
	}
	if natural = max(natural, least, 1); natural <= limit {
		g.target, g.reason = int(natural), "stop"
	}
}

// newID returns an id of 16 hexadecimal digits behind the prefix.
func (s *Server) newID(prefix string, number uint64) string {
	b := append(make([]byte, 0, len(prefix)+16), prefix...)
	x := mix(s.config.Seed^uint64(s.created), number)
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[x>>shift&15])
	}
	return string(b)
}

// usageJSON appends a usage object as vLLM writes it.
func (a *answer) usageJSON(b []byte, completion int) []byte {
	b = append(b, `{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(a.rec.promptTokens), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, int64(a.rec.promptTokens+completion), 10)
	b = append(b, `,"completion_tokens":`...)
	b = strconv.AppendInt(b, int64(completion), 10)
	if a.srv.config.PromptTokensDetails && a.rec.cachedTokens > 0 {
		b = append(b, `,"prompt_tokens_details":{"cached_tokens":`...)
		b = strconv.AppendInt(b, int64(a.rec.cachedTokens), 10)
		b = append(b, '}')
	}
	if n := a.reasoningTokens(); n > 0 {
		b = append(b, `,"completion_tokens_details":{"reasoning_tokens":`...)
		b = strconv.AppendInt(b, int64(n), 10)
		b = append(b, '}')
	}
	return append(b, '}')
}

// emittedTokens is how many tokens are in the events so far, of all generations.
func (a *answer) emittedTokens() int {
	n := 0
	for _, g := range a.gens {
		n += g.emitted
	}
	return n
}

func (a *answer) reasoningTokens() int {
	n := 0
	for _, g := range a.gens {
		n += min(a.reasoning, g.emitted)
	}
	return n
}

// chunkHead appends the beginning of a chat or completions chunk up to the choices.
func (a *answer) chunkHead(b []byte, object string) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, a.id...)
	b = append(b, `","object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, a.srv.created, 10)
	b = append(b, `,"model":`...)
	b = append(b, a.srv.modelJSON...)
	return append(b, `,"choices":[`...)
}

// chunkTail appends the end of a chunk whose choice is complete.
func (a *answer) chunkTail(b []byte, tokens int) []byte {
	b = append(b, ']')
	if a.continuous {
		b = append(b, `,"usage":`...)
		b = a.usageJSON(b, tokens)
	}
	return append(b, '}')
}

// finishJSON appends the fields with which a choice ends.
func finishJSON(b []byte, reason string) []byte {
	if reason == "" {
		return append(b, `,"logprobs":null,"finish_reason":null}`...)
	}
	b = append(b, `,"logprobs":null,"finish_reason":"`...)
	b = append(b, reason...)
	return append(b, `","stop_reason":null}`...)
}

// chatFormat is OpenAI's chat completions as vLLM sends them: a role event first, finish_reason beside the last token,
// usage in an event without choices, [DONE].
type chatFormat struct{}

const chatObject = "chat.completion.chunk"

func (chatFormat) opening(a *answer, _ *generation) {
	for _, g := range a.gens {
		b := a.chunkHead(a.srv.json[:0], chatObject)
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(g.index), 10)
		b = append(b, `,"delta":{"role":"assistant","content":""}`...)
		b = a.chunkTail(finishJSON(b, ""), 0)
		a.srv.json = b
		a.put("", b, 0)
	}
}

func (chatFormat) token(a *answer, g *generation, text []byte, n int, last bool) {
	b := a.chunkHead(a.srv.json[:0], chatObject)
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(g.index), 10)
	first := g.emitted - n
	switch a.phaseOf(g, first) {
	case phaseReasoning:
		b = append(b, `,"delta":{"`...)
		b = append(b, a.reasoningField...)
		b = append(b, `":"`...)
		b = append(b, text...)
		b = append(b, `"}`...)
	case phaseToolCall:
		b = append(b, `,"delta":{"tool_calls":[{"index":0`...)
		if !g.calling {
			b = a.callID(append(b, `,"id":"`...))
			b = a.toolJSON(append(b, `","type":"function","function":{"name":`...))
			b = append(b, `,"arguments":"`...)
		} else {
			b = append(b, `,"function":{"arguments":"`...)
		}
		b = append(b, text...)
		b = append(b, `"}}]}`...)
	default:
		b = append(b, `,"delta":{"content":"`...)
		b = append(b, text...)
		b = append(b, `"}`...)
	}
	reason := ""
	if last {
		reason = a.finishReason(g)
	}
	b = a.chunkTail(finishJSON(b, reason), a.emittedTokens())
	a.keepJSON(b)
	a.put("", b, n)
}

func (chatFormat) empty(a *answer, g *generation) {
	b := a.chunkHead(a.srv.json[:0], chatObject)
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(g.index), 10)
	b = append(b, `,"delta":{"content":""}`...)
	b = a.chunkTail(finishJSON(b, ""), a.emittedTokens())
	a.srv.json = b
	a.put("", b, 0)
}

func (chatFormat) closing(a *answer) { a.closeOpenAI(chatObject) }

// closeOpenAI sends usage, if asked for, and [DONE].
func (a *answer) closeOpenAI(object string) {
	if a.usage {
		b := a.chunkHead(a.srv.json[:0], object)
		b = append(b, `],"usage":`...)
		b = a.usageJSON(b, a.emittedTokens())
		b = append(b, '}')
		a.srv.json = b
		a.put("", b, 0)
	}
	a.put("", []byte("[DONE]"), 0)
}

func (chatFormat) whole(a *answer, b []byte) []byte {
	b = a.chunkHead(b, "chat.completion")
	for i, g := range a.gens {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(g.index), 10)
		b = append(b, `,"message":{"role":"assistant"`...)
		reasoning, content, tool := a.parts(g)
		if reasoning > 0 {
			b = append(b, `,"`...)
			b = append(b, a.reasoningField...)
			b = append(b, `":"`...)
			b = a.srv.vocab.appendText(b, &g.text, reasoning, a.fault.Wide)
			b = append(b, '"')
		}
		b = append(b, `,"content":"`...)
		b = a.srv.vocab.appendText(b, &g.text, content, a.fault.Wide)
		b = append(b, '"')
		if tool > 0 {
			b = a.callID(append(b, `,"tool_calls":[{"id":"`...))
			b = a.toolJSON(append(b, `","type":"function","function":{"name":`...))
			b = append(b, `,"arguments":"`+callOpening...)
			b = a.srv.vocab.appendText(b, &g.text, tool, a.fault.Wide)
			b = append(b, callClosing+`"}}]`...)
		}
		b = append(b, '}')
		b = finishJSON(b, a.finishReason(g))
	}
	b = append(b, `],"usage":`...)
	b = a.usageJSON(b, a.emittedTokens())
	return append(b, '}')
}

// parts says how many tokens of g are reasoning, content and arguments of a tool call.
func (a *answer) parts(g *generation) (reasoning, content, tool int) {
	reasoning = min(a.reasoning, g.target)
	tool = min(a.toolCall, g.target-reasoning)
	return reasoning, g.target - reasoning - tool, tool
}

func (chatFormat) errorEvent(_ *answer, b []byte, message string) (string, []byte) {
	return "", openAIError(b, message)
}

func openAIError(b []byte, message string) []byte {
	b = append(b, `{"error": {"message": `...)
	b = strconv.AppendQuote(b, message)
	return append(b, `, "type": "InternalServerError", "param": null, "code": 500}}`...)
}

// keepJSON keeps a grown buffer for the next event, but no huge one.
func (a *answer) keepJSON(b []byte) {
	if cap(b) <= 1<<20 {
		a.srv.json = b
	}
}

// completionsFormat is OpenAI's older text completions.
type completionsFormat struct{}

const completionsObject = "text_completion"

func (completionsFormat) opening(*answer, *generation) {}

func (completionsFormat) token(a *answer, g *generation, text []byte, n int, last bool) {
	b := a.chunkHead(a.srv.json[:0], completionsObject)
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(g.index), 10)
	b = append(b, `,"text":"`...)
	b = append(b, text...)
	b = append(b, '"')
	reason := ""
	if last {
		reason = g.reason
	}
	b = a.chunkTail(finishJSON(b, reason), a.emittedTokens())
	a.keepJSON(b)
	a.put("", b, n)
}

func (f completionsFormat) empty(a *answer, g *generation) { f.token(a, g, nil, 0, false) }

func (completionsFormat) closing(a *answer) { a.closeOpenAI(completionsObject) }

func (completionsFormat) whole(a *answer, b []byte) []byte {
	b = a.chunkHead(b, completionsObject)
	for i, g := range a.gens {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(g.index), 10)
		b = append(b, `,"text":"`...)
		b = a.srv.vocab.appendText(b, &g.text, g.target, a.fault.Wide)
		b = append(b, '"')
		b = finishJSON(b, g.reason)
	}
	b = append(b, `],"usage":`...)
	b = a.usageJSON(b, a.emittedTokens())
	return append(b, '}')
}

func (completionsFormat) errorEvent(_ *answer, b []byte, message string) (string, []byte) {
	return "", openAIError(b, message)
}
