package simulate

import "strconv"

// responsesFormat is OpenAI's responses API: named events with a running number, items with parts, no [DONE]. Reasoning,
// text and tool calls are items of their own; the texts of ".done" events are left out, for clients read the deltas.
type responsesFormat struct{}

// event appends the fields that every event begins with.
func (responsesFormat) event(a *answer, name string) []byte {
	b := append(a.srv.json[:0], `{"type":"`...)
	b = append(b, name...)
	b = append(b, `","sequence_number":`...)
	return strconv.AppendInt(b, int64(a.events), 10)
}

func (f responsesFormat) send(a *answer, name string, b []byte, tokens int) {
	a.keepJSON(b)
	a.put(name, b, tokens)
}

// response appends the response object; with the usage once it is complete.
func (a *answer) response(b []byte, status string, output func([]byte) []byte) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, a.id...)
	b = append(b, `","object":"response","created_at":`...)
	b = strconv.AppendInt(b, a.srv.created, 10)
	b = append(b, `,"status":"`...)
	b = append(b, status...)
	b = append(b, `","model":`...)
	b = append(b, a.srv.modelJSON...)
	if status == "incomplete" {
		b = append(b, `,"incomplete_details":{"reason":"max_output_tokens"}`...)
	}
	b = append(b, `,"output":[`...)
	if output != nil {
		b = output(b)
	}
	b = append(b, ']')
	if status != "in_progress" {
		b = append(b, `,"usage":{"input_tokens":`...)
		b = strconv.AppendInt(b, int64(a.rec.promptTokens), 10)
		b = append(b, `,"input_tokens_details":{"cached_tokens":`...)
		b = strconv.AppendInt(b, int64(a.rec.cachedTokens), 10)
		b = append(b, `},"output_tokens":`...)
		b = strconv.AppendInt(b, int64(a.emittedTokens()), 10)
		b = append(b, `,"output_tokens_details":{"reasoning_tokens":`...)
		b = strconv.AppendInt(b, int64(a.reasoningTokens()), 10)
		b = append(b, `},"total_tokens":`...)
		b = strconv.AppendInt(b, int64(a.rec.promptTokens+a.emittedTokens()), 10)
		b = append(b, '}')
	}
	return append(b, '}')
}

func (f responsesFormat) opening(a *answer, _ *generation) {
	a.block = -1
	for _, name := range []string{"response.created", "response.in_progress"} {
		b := append(f.event(a, name), `,"response":`...)
		b = append(a.response(b, "in_progress", nil), '}')
		f.send(a, name, b, 0)
	}
}

func (f responsesFormat) token(a *answer, g *generation, text []byte, n int, _ bool) {
	p := a.phaseOf(g, g.emitted-n)
	f.enter(a, p)
	name := [...]string{
		phaseReasoning: "response.reasoning_text.delta",
		phaseContent:   "response.output_text.delta",
		phaseToolCall:  "response.function_call_arguments.delta",
	}[p]
	b := f.place(a, f.event(a, name), p)
	b = append(b, `,"delta":"`...)
	b = append(b, text...)
	b = append(b, `"}`...)
	f.send(a, name, b, n)
}

// place appends which item and part an event belongs to.
func (responsesFormat) place(a *answer, b []byte, p phase) []byte {
	b = append(b, `,"item_id":"`...)
	b = a.itemID(b, a.block)
	b = append(b, `","output_index":`...)
	b = strconv.AppendInt(b, int64(a.block), 10)
	if p != phaseToolCall {
		b = append(b, `,"content_index":0`...)
	}
	return b
}

func (a *answer) itemID(b []byte, item int) []byte {
	b = append(b, "item_"...)
	b = append(b, a.id...)
	b = append(b, '_')
	return strconv.AppendInt(b, int64(item), 10)
}

// item appends an output item of a phase.
func (a *answer) item(b []byte, index int, p phase, status string) []byte {
	b = append(b, `{"id":"`...)
	b = a.itemID(b, index)
	b = append(b, `","status":"`...)
	b = append(b, status...)
	switch p {
	case phaseReasoning:
		return append(b, `","type":"reasoning","summary":[]}`...)
	case phaseToolCall:
		b = a.toolJSON(append(b, `","type":"function_call","name":`...))
		b = a.callID(append(b, `,"call_id":"`...))
		return append(b, `","arguments":""}`...)
	}
	return append(b, `","type":"message","role":"assistant","content":[]}`...)
}

func (f responsesFormat) enter(a *answer, p phase) {
	if a.block >= 0 && a.phase == p {
		return
	}
	f.leave(a)
	a.block++
	a.phase = p
	b := append(f.event(a, "response.output_item.added"), `,"output_index":`...)
	b = strconv.AppendInt(b, int64(a.block), 10)
	b = append(b, `,"item":`...)
	b = append(a.item(b, a.block, p, "in_progress"), '}')
	f.send(a, "response.output_item.added", b, 0)
	if p == phaseContent {
		b = f.place(a, f.event(a, "response.content_part.added"), p)
		b = append(b, `,"part":{"type":"output_text","text":"","annotations":[]}}`...)
		f.send(a, "response.content_part.added", b, 0)
	}
}

func (f responsesFormat) leave(a *answer) {
	if a.block < 0 {
		return
	}
	name := [...]string{
		phaseReasoning: "response.reasoning_text.done",
		phaseContent:   "response.output_text.done",
		phaseToolCall:  "response.function_call_arguments.done",
	}[a.phase]
	f.send(a, name, append(f.place(a, f.event(a, name), a.phase), '}'), 0)
	if a.phase == phaseContent {
		f.send(a, "response.content_part.done", append(f.place(a, f.event(a, "response.content_part.done"), a.phase), '}'), 0)
	}
	b := append(f.event(a, "response.output_item.done"), `,"output_index":`...)
	b = strconv.AppendInt(b, int64(a.block), 10)
	b = append(b, `,"item":`...)
	b = append(a.item(b, a.block, a.phase, "completed"), '}')
	f.send(a, "response.output_item.done", b, 0)
}

func (f responsesFormat) empty(a *answer, g *generation) { f.token(a, g, nil, 0, false) }

// responseStatus is "incomplete" where the length limit ended the answer.
func (a *answer) responseStatus() string {
	if a.gens[0].reason == "length" {
		return "incomplete"
	}
	return "completed"
}

func (f responsesFormat) closing(a *answer) {
	f.leave(a)
	name := "response." + a.responseStatus()
	b := append(f.event(a, name), `,"response":`...)
	b = append(a.response(b, a.responseStatus(), nil), '}')
	f.send(a, name, b, 0)
}

func (responsesFormat) whole(a *answer, b []byte) []byte {
	g := a.gens[0]
	reasoning, content, tool := a.parts(g)
	return a.response(b, a.responseStatus(), func(b []byte) []byte {
		if reasoning > 0 {
			b = append(b, `{"id":"`...)
			b = a.itemID(b, 0)
			b = append(b, `","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"`...)
			b = a.srv.vocab.appendText(b, &g.text, reasoning, a.fault.Wide)
			b = append(b, `"}]},`...)
		}
		b = append(b, `{"id":"`...)
		b = a.itemID(b, 1)
		b = append(b, `","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","annotations":[],"text":"`...)
		b = a.srv.vocab.appendText(b, &g.text, content, a.fault.Wide)
		b = append(b, `"}]}`...)
		if tool > 0 {
			b = append(b, `,{"id":"`...)
			b = a.itemID(b, 2)
			b = a.toolJSON(append(b, `","type":"function_call","name":`...))
			b = a.callID(append(b, `,"call_id":"`...))
			b = append(b, `","arguments":"`+callOpening...)
			b = a.srv.vocab.appendText(b, &g.text, tool, a.fault.Wide)
			b = append(b, callClosing+`"}`...)
		}
		return b
	})
}

func (responsesFormat) errorEvent(a *answer, b []byte, message string) (string, []byte) {
	b = append(b, `{"type":"error","sequence_number":`...)
	b = strconv.AppendInt(b, int64(a.events), 10)
	b = append(b, `,"code":"server_error","message":`...)
	b = strconv.AppendQuote(b, message)
	return "error", append(b, `,"param":null}`...)
}
