package simulate

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// dialect is an API that a server has of its own, beside OpenAI's: Ollama's, TGI's, SGLang's, llama-server's, those of Triton and
// KServe, Bedrock's Converse as gateways serve it, and OpenAI's speech. Requests and responses have the fields that their documents
// name.
type dialect struct {
	format   format
	prompt   string // where the body has the prompt; "" = messages
	limit    string // and the most output tokens
	least    string // and the fewest
	forced   string // and that the model is not to end by itself
	lines    bool   // a stream is a JSON text a line
	streams  bool   // without being asked
	answers  bool   // a whole reply, whatever is asked
	thinking bool   // it shows reasoning
}

// dialectOf returns the dialect of a path; nil = it is none. TGI and SGLang share /generate.
func dialectOf(path string, body gjson.Result) *dialect {
	triton := dialect{format: textOutputFormat{}, prompt: "text_input", limit: "max_tokens", least: "min_tokens"}
	if body.Get("parameters").Exists() {
		triton = dialect{format: textOutputFormat{ends: true}, prompt: "text_input", limit: "parameters.max_tokens"}
	}
	converse := dialect{format: converseFormat{}, limit: "inferenceConfig.maxTokens", thinking: true}
	switch path {
	case "/api/chat":
		return &dialect{format: ollamaFormat{}, limit: "options.num_predict", lines: true, streams: true, thinking: true}
	case "/api/generate":
		return &dialect{format: ollamaFormat{bare: true}, prompt: "prompt", limit: "options.num_predict", lines: true, streams: true, thinking: true}
	case "/generate_stream":
		return &dialect{format: tgiFormat{}, prompt: "inputs", limit: "parameters.max_new_tokens", streams: true}
	case "/generate":
		if body.Get("inputs").Exists() {
			return &dialect{format: tgiFormat{}, prompt: "inputs", limit: "parameters.max_new_tokens", answers: true}
		}
		return &dialect{format: &sglangFormat{}, prompt: "text", limit: "sampling_params.max_new_tokens", least: "sampling_params.min_new_tokens", forced: "sampling_params.ignore_eos"}
	case "/completion":
		return &dialect{format: llamaFormat{}, prompt: "prompt", limit: "n_predict", forced: "ignore_eos"}
	case "/v1/audio/speech":
		return &dialect{format: speechFormat{}, prompt: "input", streams: true}
	}
	switch {
	case strings.HasPrefix(path, "/v2/models/") && strings.HasSuffix(path, "/generate_stream"):
		triton.streams = true
		return &triton
	case strings.HasPrefix(path, "/v2/models/") && strings.HasSuffix(path, "/generate"):
		triton.answers = true
		return &triton
	case strings.HasPrefix(path, "/model/") && strings.HasSuffix(path, "/converse-stream"):
		converse.streams = true
		return &converse
	case strings.HasPrefix(path, "/model/") && strings.HasSuffix(path, "/converse"):
		converse.answers = true
		return &converse
	}
	return nil
}

// isDialect reports whether a path is one of a dialect.
func isDialect(path string) bool { return dialectOf(path, gjson.Result{}) != nil }

// read reads what a request of the dialect asks for.
func (d *dialect) read(s *Server, a *answer, body gjson.Result) ([]prompt, error) {
	a.format, a.lines = d.format, d.lines
	if stream := body.Get("stream"); stream.Exists() {
		a.stream = stream.Bool()
	} else {
		a.stream = d.streams
	}
	a.stream = (a.stream || d.streams && !d.lines) && !d.answers
	if d.prompt != "" {
		return s.readPrompts(body.Get(d.prompt))
	}
	reader := s.promptReader()
	if system := body.Get("system"); system.Exists() {
		reader.overhead(messageTokens)
		reader.messageContent(system)
	}
	s.readMessages(&reader, body.Get("messages"))
	reader.overhead(answerTokens)
	p := reader.done()
	if p.tokens <= answerTokens {
		return nil, errNoPrompt
	}
	return []prompt{p}, nil
}

// member appends a member with a whole number.
func member(b []byte, name string, n int) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return strconv.AppendInt(b, int64(n), 10)
}

// text appends the text of all tokens of g from its beginning.
func (a *answer) wholeText(b []byte, g *generation) []byte {
	return a.srv.vocab.appendText(b, &g.text, g.emitted, a.fault.Wide)
}

// ollamaFormat is Ollama's /api/chat, or, bare, its /api/generate: a line a token, and one that is done, with the counts.
type ollamaFormat struct{ bare bool }

func (f ollamaFormat) opening(*answer, *generation) {}

func (f ollamaFormat) line(a *answer, field string, text []byte, done bool) []byte {
	b := append(a.srv.json[:0], `{"model":`...)
	b = append(b, a.srv.modelJSON...)
	b = append(b, `,"created_at":"2026-01-01T00:00:00.`...)
	b = strconv.AppendInt(b, int64(100000000+a.events), 10)
	b = append(b, `Z",`...)
	thinks := field == "thinking"
	switch {
	case f.bare && thinks:
		b = append(b, `"response":"","thinking":"`...)
	case f.bare:
		b = append(b, `"response":"`...)
	case thinks:
		b = append(b, `"message":{"role":"assistant","content":"","thinking":"`...)
	default:
		b = append(b, `"message":{"role":"assistant","content":"`...)
	}
	b = append(b, text...)
	b = append(b, '"')
	if !f.bare {
		b = append(b, '}')
	}
	b = append(b, `,"done":`...)
	b = strconv.AppendBool(b, done)
	return b
}

func (f ollamaFormat) token(a *answer, g *generation, text []byte, n int, _ bool) {
	field := "content"
	if a.phaseOf(g, g.emitted-n) == phaseReasoning {
		field = "thinking"
	}
	b := append(f.line(a, field, text, false), '}')
	a.keepJSON(b)
	a.put("", b, n)
}

func (f ollamaFormat) empty(a *answer, _ *generation) {
	a.put("", append(f.line(a, "content", nil, false), '}'), 0)
}

func (f ollamaFormat) counts(a *answer, b []byte) []byte {
	b = append(b, `,"done_reason":"`...)
	b = append(b, a.gens[0].reason...)
	b = append(b, `","total_duration":1000000,"load_duration":1000`...)
	b = member(b, "prompt_eval_count", a.rec.promptTokens)
	b = member(b, "prompt_eval_duration", 1000)
	b = member(b, "eval_count", a.emittedTokens())
	return append(member(b, "eval_duration", 1000), '}')
}

func (f ollamaFormat) closing(a *answer) {
	a.put("", f.counts(a, f.line(a, "content", nil, true)), 0)
}

func (f ollamaFormat) whole(a *answer, b []byte) []byte {
	return append(b, f.counts(a, f.line(a, "content", a.wholeText(nil, a.gens[0]), true))...)
}

func (f ollamaFormat) errorEvent(_ *answer, b []byte, message string) (string, []byte) {
	return "", append(strconv.AppendQuote(append(b, `{"error":`...), message), '}')
}

// tgiFormat is TGI's /generate_stream: an event a token, the last with the counts. The end of the text is a special token.
type tgiFormat struct{}

func (tgiFormat) opening(*answer, *generation) {}

func (tgiFormat) event(a *answer, g *generation, text []byte, special bool) []byte {
	b := append(a.srv.json[:0], `{"index":`...)
	b = strconv.AppendInt(b, int64(g.emitted), 10)
	b = member(append(b, `,"token":{"id":1`...), "rank", g.emitted)
	b = append(b, `,"text":"`...)
	b = append(b, text...)
	b = append(b, `","logprob":-0.`...)
	b = strconv.AppendInt(b, int64(1+g.emitted), 10)
	b = append(b, `,"special":`...)
	b = strconv.AppendBool(b, special)
	return append(b, `},"generated_text":`...)
}

func (f tgiFormat) token(a *answer, g *generation, text []byte, n int, last bool) {
	b := f.event(a, g, text, false)
	if last && g.reason == "length" {
		b = f.details(a, append(b, `"(all of it)"`...))
	} else {
		b = append(b, `null,"details":null}`...)
	}
	a.keepJSON(b)
	a.put("", b, n)
}

func (f tgiFormat) empty(a *answer, g *generation) {
	a.put("", append(f.event(a, g, nil, false), `null,"details":null}`...), 0)
}

func (f tgiFormat) details(a *answer, b []byte) []byte {
	reason := "length"
	if a.gens[0].reason == "stop" {
		reason = "eos_token"
	}
	b = append(b, `,"details":{"finish_reason":"`...)
	b = append(b, reason...)
	b = member(append(b, '"'), "generated_tokens", a.emittedTokens())
	return append(member(append(b, `,"seed":null`...), "input_length", a.rec.promptTokens), `}}`...)
}

func (f tgiFormat) closing(a *answer) {
	if a.gens[0].reason == "stop" {
		a.put("", f.details(a, append(f.event(a, a.gens[0], []byte("</s>"), true), `"(all of it)"`...)), 0)
	}
}

func (f tgiFormat) whole(a *answer, b []byte) []byte {
	b = append(a.wholeText(append(b, `{"generated_text":"`...), a.gens[0]), '"')
	return f.details(a, b)
}

func (tgiFormat) errorEvent(_ *answer, b []byte, message string) (string, []byte) {
	return "", append(strconv.AppendQuote(append(b, `{"error":`...), message), `,"error_type":"generation"}`...)
}

// sglangFormat is SGLang's /generate: each event has the whole text so far and the counts.
type sglangFormat struct{ text []byte }

func (f *sglangFormat) opening(*answer, *generation) {}

func (f *sglangFormat) event(a *answer, b []byte, last bool) []byte {
	b = append(b, `{"text":"`...)
	b = append(b, f.text...)
	b = append(b, `","output_ids":[1],"meta_info":{"id":"`...)
	b = append(b, a.id...)
	b = append(b, `","finish_reason":`...)
	if last {
		b = append(b, `{"type":"`...)
		b = append(b, a.gens[0].reason...)
		b = append(b, `"}`...)
	} else {
		b = append(b, "null"...)
	}
	b = member(b, "prompt_tokens", a.rec.promptTokens)
	b = member(b, "completion_tokens", a.emittedTokens())
	return append(member(b, "cached_tokens", a.rec.cachedTokens), `,"e2e_latency":0.25}}`...)
}

func (f *sglangFormat) token(a *answer, _ *generation, text []byte, n int, last bool) {
	f.text = append(f.text, text...)
	b := f.event(a, a.srv.json[:0], last)
	a.keepJSON(b)
	a.put("", b, n)
}

func (f *sglangFormat) empty(a *answer, _ *generation) {
	a.put("", f.event(a, a.srv.json[:0], false), 0)
}

func (f *sglangFormat) closing(a *answer) { a.put("", []byte("[DONE]"), 0) }

func (f *sglangFormat) whole(a *answer, b []byte) []byte {
	f.text = a.wholeText(nil, a.gens[0])
	return f.event(a, b, true)
}

func (f *sglangFormat) errorEvent(_ *answer, b []byte, message string) (string, []byte) {
	return "", append(strconv.AppendQuote(append(b, `{"error":{"message":`...), message), `}}`...)
}

// llamaFormat is llama-server's /completion: counts in each event, and one at the end that says so.
type llamaFormat struct{}

func (llamaFormat) opening(*answer, *generation) {}

func (llamaFormat) event(a *answer, b, text []byte, stop bool) []byte {
	b = append(b, `{"index":0,"content":"`...)
	b = append(b, text...)
	b = append(b, `","tokens":[1],"stop":`...)
	b = strconv.AppendBool(b, stop)
	b = member(append(b, `,"id_slot":0`...), "tokens_predicted", a.emittedTokens())
	b = member(b, "tokens_evaluated", a.rec.promptTokens)
	if stop {
		kind := "limit"
		if a.gens[0].reason == "stop" {
			kind = "eos"
		}
		b = append(b, `,"stop_type":"`...)
		b = append(b, kind...)
		b = append(b, '"')
		b = append(member(append(b, `,"timings":{"prompt_n":1`...), "cache_n", a.rec.cachedTokens), '}')
	}
	return append(b, '}')
}

func (f llamaFormat) token(a *answer, _ *generation, text []byte, n int, _ bool) {
	b := f.event(a, a.srv.json[:0], text, false)
	a.keepJSON(b)
	a.put("", b, n)
}

func (f llamaFormat) empty(a *answer, _ *generation) {
	a.put("", f.event(a, a.srv.json[:0], nil, false), 0)
}

func (f llamaFormat) closing(a *answer) { a.put("", f.event(a, a.srv.json[:0], nil, true), 0) }

func (f llamaFormat) whole(a *answer, b []byte) []byte {
	return f.event(a, b, a.wholeText(nil, a.gens[0]), true)
}

func (llamaFormat) errorEvent(_ *answer, b []byte, message string) (string, []byte) {
	return "", append(strconv.AppendQuote(append(b, `{"error":{"code":500,"message":`...), message), `,"type":"server_error"}}`...)
}

// textOutputFormat is Triton's generate extension, without counts, finish reason and end. KServe's says which event is the last.
type textOutputFormat struct{ ends bool }

func (textOutputFormat) opening(*answer, *generation) {}

func (f textOutputFormat) event(a *answer, b, text []byte, last bool) []byte {
	b = append(b, `{"model_name":`...)
	b = append(b, a.srv.modelJSON...)
	b = append(b, `,"model_version":"1","text_output":"`...)
	b = append(b, text...)
	b = append(b, '"')
	if f.ends {
		b = strconv.AppendBool(append(b, `,"done":`...), last)
	}
	return append(b, '}')
}

func (f textOutputFormat) token(a *answer, _ *generation, text []byte, n int, last bool) {
	b := f.event(a, a.srv.json[:0], text, last)
	a.keepJSON(b)
	a.put("", b, n)
}

func (f textOutputFormat) empty(a *answer, _ *generation) {
	a.put("", f.event(a, a.srv.json[:0], nil, false), 0)
}

func (textOutputFormat) closing(*answer) {}

func (f textOutputFormat) whole(a *answer, b []byte) []byte {
	return f.event(a, b, a.wholeText(nil, a.gens[0]), true)
}

func (textOutputFormat) errorEvent(_ *answer, b []byte, message string) (string, []byte) {
	return "", append(strconv.AppendQuote(append(b, `{"error":`...), message), '}')
}

// converseFormat is Bedrock's Converse: its events as JSON, as gateways hand them on.
type converseFormat struct{}

func (converseFormat) opening(a *answer, _ *generation) {
	a.put("", []byte(`{"messageStart":{"role":"assistant"}}`), 0)
}

func (converseFormat) delta(a *answer, reasoning bool, text []byte) []byte {
	b := append(a.srv.json[:0], `{"contentBlockDelta":{"delta":{`...)
	if reasoning {
		b = append(b, `"reasoningContent":{"text":"`...)
	} else {
		b = append(b, `"text":"`...)
	}
	b = append(b, text...)
	b = append(b, '"')
	if reasoning {
		b = append(b, '}')
	}
	return append(b, `},"contentBlockIndex":0}}`...)
}

func (f converseFormat) token(a *answer, g *generation, text []byte, n int, _ bool) {
	b := f.delta(a, a.phaseOf(g, g.emitted-n) == phaseReasoning, text)
	a.keepJSON(b)
	a.put("", b, n)
}

func (f converseFormat) empty(a *answer, _ *generation) { a.put("", f.delta(a, false, nil), 0) }

func (converseFormat) usage(a *answer, b []byte) []byte {
	cached, output := a.rec.cachedTokens, a.emittedTokens()
	b = append(b, `"usage":{"cacheWriteInputTokens":0`...)
	b = member(b, "inputTokens", a.rec.promptTokens-cached)
	b = member(b, "outputTokens", output)
	b = member(b, "cacheReadInputTokens", cached)
	return append(member(b, "totalTokens", a.rec.promptTokens+output), '}')
}

func (f converseFormat) closing(a *answer) {
	a.put("", []byte(`{"contentBlockStop":{"contentBlockIndex":0}}`), 0)
	a.put("", []byte(`{"messageStop":{"stopReason":"`+a.stopReason(a.gens[0])+`"}}`), 0)
	a.put("", append(f.usage(a, []byte(`{"metadata":{`)), `,"metrics":{"latencyMs":1}}}`...), 0)
}

func (f converseFormat) whole(a *answer, b []byte) []byte {
	b = a.wholeText(append(b, `{"output":{"message":{"role":"assistant","content":[{"text":"`...), a.gens[0])
	b = append(b, `"}]}},"stopReason":"`...)
	b = append(b, a.stopReason(a.gens[0])...)
	return append(f.usage(a, append(b, `",`...)), '}')
}

func (converseFormat) errorEvent(_ *answer, b []byte, message string) (string, []byte) {
	return "", append(strconv.AppendQuote(append(b, `{"modelStreamErrorException":{"message":`...), message), `}}`...)
}

// speechFormat is OpenAI's /audio/speech as an event stream: pieces of audio, then the counts.
type speechFormat struct{}

func (speechFormat) opening(*answer, *generation) {}

func (speechFormat) token(a *answer, _ *generation, text []byte, n int, _ bool) {
	b := append(a.srv.json[:0], `{"type":"speech.audio.delta","audio":"`...)
	b = base64.StdEncoding.AppendEncode(b, text)
	b = append(b, `"}`...)
	a.keepJSON(b)
	a.put("speech.audio.delta", b, n)
}

func (speechFormat) empty(*answer, *generation) {}

func (speechFormat) closing(a *answer) {
	output := a.emittedTokens()
	b := append(a.srv.json[:0], `{"type":"speech.audio.done","usage":{"input_tokens":`...)
	b = strconv.AppendInt(b, int64(a.rec.promptTokens), 10)
	b = member(b, "output_tokens", output)
	a.put("speech.audio.done", append(member(b, "total_tokens", a.rec.promptTokens+output), `}}`...), 0)
}

func (speechFormat) whole(_ *answer, b []byte) []byte { return append(b, "{}"...) }

func (speechFormat) errorEvent(_ *answer, b []byte, message string) (string, []byte) {
	return "error", append(strconv.AppendQuote(append(b, `{"error":{"message":`...), message), `}}`...)
}
