package simulate

import "strconv"

// messagesFormat is Anthropic's messages API: named events, content in blocks by kind, no [DONE].
type messagesFormat struct{}

func (messagesFormat) opening(a *answer, _ *generation) {
	b := append(a.srv.json[:0], `{"type":"message_start","message":{"id":"`...)
	b = append(b, a.id...)
	b = append(b, `","type":"message","role":"assistant","model":`...)
	b = append(b, a.srv.modelJSON...)
	b = append(b, `,"content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
	b = a.messagesUsage(b, 0)
	b = append(b, `}}`...)
	a.srv.json = b
	a.put("message_start", b, 0)
	a.block = -1
	a.put("ping", []byte(`{"type":"ping"}`), 0)
}

// messagesUsage appends Anthropic's usage object.
func (a *answer) messagesUsage(b []byte, output int) []byte {
	b = append(b, `{"input_tokens":`...)
	b = strconv.AppendInt(b, int64(a.rec.promptTokens), 10)
	b = append(b, `,"output_tokens":`...)
	b = strconv.AppendInt(b, int64(output), 10)
	return append(b, '}')
}

func (f messagesFormat) token(a *answer, g *generation, text []byte, n int, last bool) {
	p := a.phaseOf(g, g.emitted-n)
	f.enter(a, p)
	b := append(a.srv.json[:0], `{"type":"content_block_delta","index":`...)
	b = strconv.AppendInt(b, int64(a.block), 10)
	b = append(b, [...]string{
		phaseReasoning: `,"delta":{"type":"thinking_delta","thinking":"`,
		phaseContent:   `,"delta":{"type":"text_delta","text":"`,
		phaseToolCall:  `,"delta":{"type":"input_json_delta","partial_json":"`,
	}[p]...)
	b = append(b, text...)
	b = append(b, `"}}`...)
	a.keepJSON(b)
	a.put("content_block_delta", b, n)
}

// enter begins the block that tokens of a phase belong to, and ends the one before.
func (f messagesFormat) enter(a *answer, p phase) {
	if a.block >= 0 && a.phase == p {
		return
	}
	f.leave(a)
	a.block++
	a.phase = p
	b := append(a.srv.json[:0], `{"type":"content_block_start","index":`...)
	b = strconv.AppendInt(b, int64(a.block), 10)
	switch p {
	case phaseReasoning:
		b = append(b, `,"content_block":{"type":"thinking","thinking":""}}`...)
	case phaseToolCall:
		b = append(b, `,"content_block":{"type":"tool_use","id":"toolu_`...)
		b = append(b, a.id...)
		b = a.toolJSON(append(b, `","name":`...))
		b = append(b, `,"input":{}}}`...)
	default:
		b = append(b, `,"content_block":{"type":"text","text":""}}`...)
	}
	a.srv.json = b
	a.put("content_block_start", b, 0)
}

// leave ends the open block, if there is one.
func (messagesFormat) leave(a *answer) {
	if a.block < 0 {
		return
	}
	b := append(a.srv.json[:0], `{"type":"content_block_stop","index":`...)
	b = strconv.AppendInt(b, int64(a.block), 10)
	b = append(b, '}')
	a.srv.json = b
	a.put("content_block_stop", b, 0)
}

func (f messagesFormat) empty(a *answer, g *generation) { f.token(a, g, nil, 0, false) }

func (f messagesFormat) closing(a *answer) {
	f.leave(a)
	b := append(a.srv.json[:0], `{"type":"message_delta","delta":{"stop_reason":"`...)
	b = append(b, a.stopReason(a.gens[0])...)
	b = append(b, `","stop_sequence":null},"usage":`...)
	b = a.messagesUsage(b, a.emittedTokens())
	b = append(b, '}')
	a.srv.json = b
	a.put("message_delta", b, 0)
	a.put("message_stop", []byte(`{"type":"message_stop"}`), 0)
}

// stopReason is Anthropic's word for a finish reason.
func (a *answer) stopReason(g *generation) string {
	switch a.finishReason(g) {
	case "length":
		return "max_tokens"
	case "tool_calls":
		return "tool_use"
	}
	return "end_turn"
}

func (messagesFormat) whole(a *answer, b []byte) []byte {
	g := a.gens[0]
	reasoning, content, tool := a.parts(g)
	b = append(b, `{"id":"`...)
	b = append(b, a.id...)
	b = append(b, `","type":"message","role":"assistant","model":`...)
	b = append(b, a.srv.modelJSON...)
	b = append(b, `,"content":[`...)
	if reasoning > 0 {
		b = append(b, `{"type":"thinking","thinking":"`...)
		b = a.srv.vocab.appendText(b, &g.text, reasoning, a.fault.Wide)
		b = append(b, `"},`...)
	}
	b = append(b, `{"type":"text","text":"`...)
	b = a.srv.vocab.appendText(b, &g.text, content, a.fault.Wide)
	b = append(b, `"}`...)
	if tool > 0 {
		b = append(b, `,{"type":"tool_use","id":"toolu_`...)
		b = append(b, a.id...)
		b = a.toolJSON(append(b, `","name":`...))
		b = append(b, `,"input":{"query":"`...)
		b = a.srv.vocab.appendText(b, &g.text, tool, a.fault.Wide)
		b = append(b, `"}}`...)
	}
	b = append(b, `],"stop_reason":"`...)
	b = append(b, a.stopReason(g)...)
	b = append(b, `","stop_sequence":null,"usage":`...)
	b = a.messagesUsage(b, a.emittedTokens())
	return append(b, '}')
}

func (messagesFormat) errorEvent(_ *answer, b []byte, message string) (string, []byte) {
	b = append(b, `{"type":"error","error":{"type":"api_error","message":`...)
	b = strconv.AppendQuote(b, message)
	return "error", append(b, `}}`...)
}
