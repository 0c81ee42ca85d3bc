package stream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func wireOf(t testing.TB, description string) *Wire {
	t.Helper()
	w, err := ParseWire("test", []byte(description))
	require.NoError(t, err)
	return w
}

// Formats as servers document them.
const (
	chatWire = `{"format": "sse", "text": ["/choices/*/delta/content", "/choices/*/message/content"],
		"reasoning": ["/choices/*/delta/reasoning_content", "/choices/*/delta/reasoning", "/choices/*/message/reasoning_content"],
		"toolCalls": {"index": "/choices/*/delta/tool_calls/*/index", "id": "/choices/*/delta/tool_calls/*/id",
			"name": "/choices/*/delta/tool_calls/*/function/name", "arguments": "/choices/*/delta/tool_calls/*/function/arguments"},
		"finishReason": "/choices/*/finish_reason", "end": {"data": "[DONE]"},
		"usage": {"input": "/usage/prompt_tokens", "output": "/usage/completion_tokens", "total": "/usage/total_tokens",
			"cached": "/usage/prompt_tokens_details/cached_tokens", "reasoning": "/usage/completion_tokens_details/reasoning_tokens"},
		"ignore": ["/choices", "/object"]}`
	ollamaWire = `{"format": "ndjson", "text": "/message/content", "reasoning": "/message/thinking",
		"toolCalls": {"name": "/message/tool_calls/*/function/name", "arguments": "/message/tool_calls/*/function/arguments"}, "finishReason": "/done_reason",
		"end": {"at": "/done", "is": true}, "usage": {"input": "/prompt_eval_count", "output": "/eval_count"}}`
	tgiWire = `{"format": "sse", "text": "/token/text", "noOutput": {"at": "/token/special", "is": true}, "finishReason": "/details/finish_reason",
		"usage": {"output": "/details/generated_tokens"}}`
	sglangWire = `{"format": "sse", "text": "/text", "cumulative": true, "finishReason": "/meta_info/finish_reason/type", "end": {"data": "[DONE]"},
		"usage": {"input": "/meta_info/prompt_tokens", "output": "/meta_info/completion_tokens", "cached": "/meta_info/cached_tokens"}}`
	tritonWire   = `{"format": "sse", "text": "/text_output", "end": {"body": true}}`
	converseWire = `{"format": "auto", "text": "/contentBlockDelta/delta/text", "reasoning": "/contentBlockDelta/delta/reasoningContent/text",
		"toolCalls": {"index": ["/contentBlockStart/contentBlockIndex", "/contentBlockDelta/contentBlockIndex"],
			"id": "/contentBlockStart/start/toolUse/toolUseId", "name": "/contentBlockStart/start/toolUse/name", "arguments": "/contentBlockDelta/delta/toolUse/input"}, "finishReason": "/messageStop/stopReason",
		"usage": {"input": "/metadata/usage/inputTokens", "output": "/metadata/usage/outputTokens", "cacheRead": "/metadata/usage/cacheReadInputTokens",
			"cacheWrite": "/metadata/usage/cacheWriteInputTokens", "total": "/metadata/usage/totalTokens"},
		"error": ["/internalServerException", "/throttlingException"], "ignore": ["/messageStart", "/contentBlockStart", "/contentBlockStop"]}`
	speechWire = `{"format": "sse", "media": "/audio", "end": {"at": "/type", "is": "speech.audio.done"},
		"usage": {"input": "/usage/input_tokens", "output": "/usage/output_tokens", "total": "/usage/total_tokens"}}`
	namedWire = `{"format": "sse", "text": "/text", "events": ["token", "last"], "end": {"event": "last"}, "usage": {"output": "/n"}}`
	typedWire = `{"format": "sse", "text": "/answer", "events": ["message", "message_end"], "eventName": "/event",
		"end": {"at": "/event", "is": "message_end"}, "usage": {"output": "/metadata/usage/completion_tokens"}}`
	rerankWire = `{"format": "json", "items": "/results/*", "usage": {"input": "/usage/total_tokens"}}`
)

func ndjson(texts ...string) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
	for _, text := range texts {
		fmt.Fprintf(&b, "%x\r\n%s\n\r\n", len(text)+1, text)
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
}

func TestDescribedWires(t *testing.T) {
	sglang := func(text string, n int, finish string) string {
		return fmt.Sprintf(`{"text":%q,"output_ids":[1,2],"meta_info":{"id":"x","finish_reason":%s,"prompt_tokens":9,"completion_tokens":%d,"cached_tokens":4,"e2e_latency":0.25}}`, text, finish, n)
	}
	tgi := func(text string, special bool, rest string) string {
		return fmt.Sprintf(`{"index":1,"token":{"id":5,"text":%q,"logprob":-0.25,"special":%v},%s}`, text, special, rest)
	}
	const noDetails = `"generated_text":null,"details":null`
	for _, tt := range []struct {
		sentence string
		wire     string
		response string
		want     said
		message  string
	}{
		{"Ollama's chat: thinking, content, counts on the line that is done.", ollamaWire, ndjson(
			`{"model":"m","created_at":"2026-01-01T00:00:00.1Z","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}`,
			`{"model":"m","created_at":"2026-01-01T00:00:00.2Z","message":{"role":"assistant","content":"a"},"done":false}`,
			`{"model":"m","created_at":"2026-01-01T00:00:00.3Z","message":{"role":"assistant","content":"b"},"done":false}`,
			`{"model":"m","created_at":"2026-01-01T00:00:00.4Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":5,"prompt_eval_count":7,"prompt_eval_duration":3,"eval_count":6,"eval_duration":4}`),
			said{None, 3, 7, 6, 0, 0, "stop", "ab", true}, ""},
		{"A tool call whose arguments are an object is output.", ollamaWire, ndjson(
			`{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]},"done":false}`,
			`{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":6}`),
			said{None, 1, 7, 6, 0, 0, "stop", "", false}, ""},
		{"A stream of one line.", ollamaWire, jsonReply(`{"message":{"content":"a"},"done":true,"done_reason":"length","eval_count":1}`), said{None, 1, 0, 1, 0, 0, "length", "a", false}, ""},
		{"An error in a line.", ollamaWire, ndjson(`{"message":{"content":"a"},"done":false}`, `{"error":"no GPU"}`), said{ErrorEvent, 1, 0, 1, 0, 0, "", "a", false}, "no GPU"},
		{"It does not end.", ollamaWire, ndjson(`{"message":{"content":"a"},"done":false}`), said{Truncated, 1, 0, 1, 0, 0, "", "a", false}, "neither"},
		{"Another format.", ollamaWire, chunkedStream(data(`{"message":{"content":"a"},"done":true}`)...), said{Malformed, 1, 0, 1, 0, 0, "", "a", false}, `has the format ndjson: {"mess`},
		{"Of other names.", ollamaWire, ndjson(`{"response":"a","done":false}`, `{"response":"","done":true,"eval_count":1}`), said{Malformed, 0, 0, 1, 0, 0, "", "", false}, `no event has the output of the wire test: {"response":"a"`},

		{"TGI: special tokens are counted and not shown.", tgiWire, chunkedStream(data(tgi("a", false, noDetails), tgi("b", false, noDetails),
			tgi("</s>", true, `"generated_text":"ab","details":{"finish_reason":"eos_token","generated_tokens":3,"seed":null}`))...),
			said{None, 2, 0, 3, 0, 0, "eos_token", "ab", false}, ""},
		{"SGLang: the text so far, continuous counts.", sglangWire, chunkedStream(data(sglang("a", 1, "null"), sglang("ab", 2, "null"), sglang("ab", 3, "null"),
			sglang("abcé", 5, `{"type":"length","length":5}`), "[DONE]")...), said{None, 3, 9, 5, 4, 0, "length", "abcé", false}, ""},
		{"SGLang, aborted.", sglangWire, chunkedStream(data(sglang("a", 1, "null"), sglang("a", 1, `{"type":"abort","message":"x"}`), "[DONE]")...), said{ErrorEvent, 1, 9, 1, 4, 0, "abort", "a", false}, `"abort"`},
		{"Triton ends with its body and counts nothing.", tritonWire, chunkedStream(data(`{"model_name":"ensemble","text_output":"a"}`, `{"model_name":"ensemble","text_output":"b"}`)...), said{None, 2, 0, 2, 0, 0, "", "ab", false}, ""},
		{"It is cut.", tritonWire, strings.TrimSuffix(chunkedStream(data(`{"text_output":"a"}`)...), "0\r\n\r\n"), said{Truncated, 1, 0, 1, 0, 0, "", "a", false}, "closed within"},
		{"Nothing counted and something unknown: no tokens are guessed.", tritonWire, chunkedStream(data(`{"text_output":"a"}`, `{"note":"x"}`)...), said{Malformed, 1, 0, 1, 0, 0, "", "a", false}, `{"note":"x"}`},

		{"Converse's events, an input that leaves the cache out.", converseWire, chunkedStream(data(`{"messageStart":{"role":"assistant"}}`, `{"contentBlockDelta":{"delta":{"reasoningContent":{"text":"hm"}},"contentBlockIndex":0}}`,
			`{"contentBlockDelta":{"delta":{"text":"a"},"contentBlockIndex":1}}`, `{"contentBlockStop":{"contentBlockIndex":1}}`, `{"messageStop":{"stopReason":"end_turn"}}`,
			`{"metadata":{"usage":{"inputTokens":5,"outputTokens":4,"totalTokens":29,"cacheReadInputTokens":20,"cacheWriteInputTokens":0},"metrics":{"latencyMs":9}}}`)...),
			said{None, 2, 25, 4, 20, 0, "end_turn", "a", true}, ""},
		{"As lines.", converseWire, ndjson(`{"contentBlockDelta":{"delta":{"text":"a"}}}`, `{"messageStop":{"stopReason":"max_tokens"}}`), said{None, 1, 0, 1, 0, 0, "max_tokens", "a", false}, ""},
		{"An exception.", converseWire, chunkedStream(data(`{"contentBlockDelta":{"delta":{"text":"a"}}}`, `{"throttlingException":{"message":"slow down"}}`)...), said{ErrorEvent, 1, 0, 1, 0, 0, "", "a", false}, "slow down"},
		{"Speech: audio is output.", speechWire, chunkedStream(data(`{"type":"speech.audio.delta","audio":"AAAA"}`, `{"type":"speech.audio.delta","audio":"BBBB"}`,
			`{"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}`)...), said{None, 2, 14, 101, 0, 0, "", "", false}, ""},

		{"Events by name.", namedWire, chunkedStream("event: status\ndata: {\"text\":\"searching\"}\n\n", "event: token\ndata: {\"text\":\"a\"}\n\n", "event: ping\ndata: x\n\n",
			"event: token\ndata: {\"text\":\"b\"}\n\n", "event: last\ndata: {\"n\":2}\n\n"), said{None, 2, 0, 2, 0, 0, "", "ab", false}, ""},
		{"An error is one by any name.", namedWire, chunkedStream("event: token\ndata: {\"text\":\"a\"}\n\n", "event: error\ndata: no GPU\n\n"), said{ErrorEvent, 1, 0, 1, 0, 0, "", "a", false}, "no GPU"},
		{"The name inside.", typedWire, chunkedStream(data(`{"event":"agent_thought","answer":"x"}`, `{"event":"message","answer":"a"}`, `{"event":"message","answer":"b"}`,
			`{"event":"message_end","metadata":{"usage":{"completion_tokens":4}}}`)...), said{None, 2, 0, 4, 0, 0, "", "ab", false}, ""},
		{"A value of another kind is no output.", namedWire, chunkedStream("event: token\ndata: {\"text\":{\"a\":1}}\n\n", "event: last\ndata: {\"n\":2}\n\n"), said{Malformed, 0, 0, 2, 0, 0, "", "", false}, `{"text":{"a":1}}`},
		{"A count of another kind.", tgiWire, chunkedStream(data(tgi("a", false, `"details":{"finish_reason":"length","generated_tokens":"many"}`))...), said{Malformed, 1, 0, 1, 0, 0, "length", "a", false}, "many"},
		{"Not JSON.", tritonWire, chunkedStream(data(`{"text_output":"a"}`, `x`)...), said{Malformed, 1, 0, 1, 0, 0, "", "a", false}, "not JSON: x"},

		{"A reply.", chatWire, jsonReply(`{"choices":[{"message":{"content":"ab","reasoning_content":"hm"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5}}`), said{None, 0, 3, 5, 0, 0, "stop", "ab", false}, ""},
		{"Another reply.", chatWire, jsonReply(`{"x":1}`), said{Malformed, 0, 0, 0, 0, 0, "", "", false}, `the reply is not one of the wire test: {"x":1}`},
		{"Reranked.", rerankWire, jsonReply(`{"id":"r","results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}],"usage":{"total_tokens":56}}`), said{None, 0, 56, 0, 0, 0, "", "", false}, ""},
		{"Nothing reranked.", rerankWire, jsonReply(`{"results":[]}`), said{Malformed, 0, 0, 0, 0, 0, "", "", false}, `{"results":[]}`},
		{"A stream instead.", rerankWire, chunkedStream(data(`{"results":[{"index":1}]}`)...), said{Malformed, 0, 0, 0, 0, 0, "", "", false}, `has the format json: {"results"`},
		{"A reply over lines.", rerankWire, jsonReply("{}\n{}"), said{Malformed, 0, 0, 0, 0, 0, "", "", false}, "not JSON"},
		{"A vendor's error.", rerankWire, jsonReply(`{"base_resp":{"status_code":1004,"status_msg":"no key"}}`), said{ErrorEvent, 0, 0, 0, 0, 0, "", "", false}, "no key"},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := parse(t, Options{API: Custom, Wire: wireOf(t, tt.wire), KeepText: true}, tt.response, nil)
			require.Equal(t, tt.want, saidBy(r), r.Message)
			require.Contains(t, r.Message, tt.message)
		})
	}
}

// The tokens of each chunk by continuous counts, and its time, are those of the built-in formats.
func TestDescribedTokensOfChunks(t *testing.T) {
	var p Parser
	p.Reset(Options{API: Custom, Wire: wireOf(t, sglangWire)})
	p.Feed([]byte(streamHead), 1)
	for i, e := range data(`{"text":"a","meta_info":{"completion_tokens":1,"finish_reason":null}}`, `{"text":"abc","meta_info":{"completion_tokens":4,"finish_reason":null}}`,
		`{"text":"abc","meta_info":{"completion_tokens":5,"finish_reason":null}}`, `{"text":"abcd","meta_info":{"completion_tokens":6,"finish_reason":{"type":"stop"}}}`, "[DONE]") {
		p.Feed(fmt.Appendf(nil, "%x\r\n%s\r\n", len(e), e), int64(i+1)*10)
	}
	require.True(t, p.AnswerComplete())
	p.Feed([]byte("0\r\n\r\n"), 99)
	require.Equal(t, []Arrival{{10, 0, 1, 0}, {20, 0, 3, 0}, {40, 0, 2, 0}}, p.Result().Arrivals)
	require.Equal(t, None, p.Result().Failure, p.Result().Message)
	require.Equal(t, FromUsage, p.Result().TokenSource)
	require.False(t, p.Result().TokenMismatch)
}

func TestDescribedToolCalls(t *testing.T) {
	for _, tt := range []struct{ wire, response string }{
		{ollamaWire, ndjson(`{"message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}},{"function":{"name":"g","arguments":{}}}]},"done":false}`,
			`{"message":{"content":""},"done":true,"done_reason":"stop"}`)},
		{converseWire, chunkedStream(data(`{"contentBlockStart":{"start":{"toolUse":{"toolUseId":"1","name":"f"}},"contentBlockIndex":0}}`,
			`{"contentBlockDelta":{"delta":{"toolUse":{"input":"{\"x\""}},"contentBlockIndex":0}}`, `{"contentBlockDelta":{"delta":{"toolUse":{"input":":1}"}},"contentBlockIndex":0}}`,
			`{"contentBlockStart":{"start":{"toolUse":{"toolUseId":"2","name":"g"}},"contentBlockIndex":1}}`,
			`{"contentBlockDelta":{"delta":{"toolUse":{"input":"{}"}},"contentBlockIndex":1}}`, `{"messageStop":{"stopReason":"tool_use"}}`)...)},
		{chatWire, chunkedStream(data(callDelta(`{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{\"x\""}}]}`),
			callDelta(`{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}`), callDelta(`{"tool_calls":[{"index":1,"id":"2","function":{"name":"g","arguments":"{}"}}]}`), chatEnd)...)},
	} {
		r := parse(t, Options{API: Custom, Wire: wireOf(t, tt.wire), KeepText: true}, tt.response, nil)
		require.Equal(t, None, r.Failure, r.Message)
		require.Len(t, r.ToolCalls, 2)
		for i, want := range []ToolCall{{Name: "f", Arguments: `{"x":1}`}, {Name: "g", Arguments: "{}"}} {
			r.ToolCalls[i].ID = ""
			require.Equal(t, want, r.ToolCalls[i])
		}
	}
}

// The chat format, described, reads every recorded chat body of testdata/wires that needs no rule of a vendor's as the
// built-in format does, in whatever receives it comes.
func TestDescribedChatIsChat(t *testing.T) {
	w := wireOf(t, strings.Replace(chatWire, `"sse"`, `"auto"`, 1))
	own := map[string]string{
		"06-kimi-nospace-usage-in-choice.sse": "usage in the choice", "39-mistral-content-blocks.sse": "content of blocks", "40-openai-audio-delta.sse": "audio",
		"30-perplexity-no-done-cumulative.sse": "a message beside the delta", "44-n-two-choices.sse": "choices are told apart", "55-tgi-generate-stream.sse": "another format", "57-ollama-ndjson-ok.ndjson": "another format",
	}
	var described, chat Parser
	compared := 0
	for k, c := range loadWires(t) {
		if c.API != "chat" || own[c.Body] != "" || c.Huge > 0 {
			continue
		}
		compared++
		random := rand.New(rand.NewPCG(3, uint64(k)))
		response, behind := c.respond(framings[0], c.Type, func() int { return 1 + random.IntN(80) })
		for range 10 {
			size := c.splits(random, behind)
			described.Reset(Options{API: Custom, Wire: w, KeepText: true})
			chat.Reset(Options{API: Chat, KeepText: true})
			for at := 0; at < len(response); {
				n := min(size(at), len(response)-at)
				described.Feed(response[at:at+n], int64(at)+1)
				chat.Feed(response[at:at+n], int64(at)+1)
				at += n
			}
			if c.Breaks {
				described.End(errConnectionReset, 1e9)
				chat.End(errConnectionReset, 1e9)
			}
			want, got := *chat.Result(), *described.Result()
			want.Message, got.Message = "", ""
			require.Equal(t, want, got, c.Body)
		}
	}
	require.GreaterOrEqual(t, compared, 25)
}

func TestWiresThatAreRefused(t *testing.T) {
	for description, message := range map[string]string{
		``:                  "response is no JSON object",
		`[]`:                "response is no JSON object",
		`{}`:                "response.format is missing; it is one of auto, sse, ndjson, json",
		`{"format": "xml"}`: `response.format is "xml"; it is one of`,
		`{"format": 1}`:     "response.format is 1; it is a text",
		`{"format": "sse", "end": {"body": true}}`:                                                      "response.text is missing",
		`{"format": "sse", "texts": "/a"}`:                                                              `response has an unknown field "texts"; it has cumulative, end`,
		`{"format": "sse", "text": "a", "end": {"body": true}}`:                                         `response.text is "a": a JSON pointer begins with "/"`,
		`{"format": "sse", "text": ["/a", "/b~"], "end": {"body": true}}`:                               `response.text[1] is "/b~": in a JSON pointer "~" is written ~0`,
		`{"format": "sse", "text": [], "end": {"body": true}}`:                                          "response.text is empty",
		`{"format": "sse", "text": null, "end": {"body": true}}`:                                        "response.text is null; it is a text",
		`{"format": "sse", "text": "/a", "text": "/b", "end": {"body": true}}`:                          "response.text is given twice",
		`{"format": "sse", "text": "/a", "reasoning": "/a", "end": {"body": true}}`:                     `response.reasoning is "/a", which another field names`,
		`{"format": "sse", "text": "/a"}`:                                                               "response.end is missing",
		`{"format": "sse", "text": "/a", "end": {}}`:                                                    `response.end is one of {"data": TEXT}`,
		`{"format": "sse", "text": "/a", "end": {"body": false}}`:                                       "response.end.body is false",
		`{"format": "sse", "text": "/a", "end": {"data": "x", "event": "y"}}`:                           "response.end is one of",
		`{"format": "sse", "text": "/a", "end": {"at": "/d"}}`:                                          `response.end is {"at": POINTER, "is": VALUE}`,
		`{"format": "sse", "text": "/a", "end": {"at": "/d", "is": null}}`:                              "response.end.is is null",
		`{"format": "sse", "text": "/a", "end": {"at": "/d", "is": 1, "or": 2}}`:                        `response.end has an unknown field "or"`,
		`{"format": "sse", "text": "/a", "end": "body"}`:                                                "response.end is no JSON object",
		`{"format": "sse", "text": "/a", "end": {"body": true}, "usage": {"in": "/a"}}`:                 `response.usage has an unknown field "in"`,
		`{"format": "sse", "text": "/a", "end": {"body": true}, "cumulative": "yes"}`:                   `response.cumulative is "yes"; it is true or false`,
		`{"format": "sse", "text": "/a/*", "end": {"body": true}, "cumulative": true}`:                  "response.text: in a response.cumulative stream",
		`{"format": "sse", "text": "/a", "reasoning": "/r", "end": {"body": true}, "cumulative": true}`: "response.reasoning cannot be told apart",
		`{"format": "sse", "text": ["/a/*/b", "/a/0/c"], "end": {"body": true}}`:                        "item 0 of an array and another all its items",
		`{"format": "sse", "text": "/a", "eventName": "/t", "end": {"body": true}}`:                     "response.events, which lists the names to read, is missing",
		`{"format": "sse", "text": "/a", "events": [1], "end": {"body": true}}`:                         "response.events[0] is 1; it is a text",
		`{"format": "sse", "items": "/a", "end": {"body": true}}`:                                       "response.items is for whole replies",
		`{"format": "json", "items": "/a", "text": "/b"}`:                                               "response.items is for replies without text",
		`{"format": "sse", "text": "/a", "end": {"body": true}`:                                         "response",
	} {
		_, err := ParseWire("mine.json", []byte(description))
		require.ErrorContains(t, err, message, description)
		require.ErrorContains(t, err, "wire mine.json: ")
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestDescribedStreamsAllocateNothing(t *testing.T) {
	w := wireOf(t, chatWire)
	chunks := chunkEvents(50, changingEvent)
	end := data(finished("stop"))[0]
	last := fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(end), end)
	var p Parser
	respond := func() {
		p.Reset(Options{API: Custom, Wire: w})
		p.Feed([]byte(streamHead), 1)
		for i, chunk := range chunks {
			p.Feed(chunk, int64(i))
		}
		p.Feed(last, 99)
	}
	respond()
	require.Equal(t, None, p.Result().Failure, p.Result().Message)
	require.Len(t, p.Result().Arrivals, 50)
	require.LessOrEqual(t, testing.AllocsPerRun(20, respond), 1.0) // the head's conversion here
}

// scannedEvent has a log probability of its own inside what neither format names, so that no event is like the one before by either.
func scannedEvent(i int, word string) string {
	return strings.Replace(chatEvent(i, word), `"logprobs":null`, fmt.Sprintf(`"logprobs":{"value":-0.%04d}`, i), 1)
}

// Members that no one asked for may differ in each event, also in kind, without a change in what is read.
func TestEventsWithChangingMembers(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	value := func() string {
		return []string{`"2026-01-01T00:00:00.%dZ"`, `%d`, `-%d.5`, `"a\"%d"`, `null`, `{"n":%d}`, `"%d\u00e9"`}[random.IntN(7)]
	}
	var p, builtIn Parser
	wire := wireOf(t, ollamaWire)
	for range 50 {
		var events, chunks []string
		text := ""
		for i := range 40 {
			at, id, inside := value(), `"%d"`, value()
			if random.IntN(3) > 0 {
				at, inside = `"2026-01-01T00:00:00.%dZ"`, `-0.%d`
			}
			events = append(events, strings.ReplaceAll(fmt.Sprintf(`{"created_at":%s,"message":{"p":%s,"content":"w%d "},"id":%s,"done":false}`, at, inside, i, id), "%d", fmt.Sprint(random.IntN(99999))))
			chunks = append(chunks, chunk("data: "+strings.ReplaceAll(fmt.Sprintf(`{"id":%s,"t":%s,"choices":[{"p":%s,"delta":{"content":"w%d ","q":%s}}]}`, id, at, inside, i, at), "%d", fmt.Sprint(random.IntN(99999)))+"\n\n"))
			text += fmt.Sprintf("w%d ", i)
		}
		events = append(events, `{"created_at":"x","message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":40}`)
		p.Reset(Options{API: Custom, Wire: wire, KeepText: true})
		require.True(t, p.Feed([]byte(ndjson(events...)), 1))
		require.Equal(t, said{None, 40, 3, 40, 0, 0, "stop", text, false}, saidBy(*p.Result()), p.Result().Message)
		builtIn.Reset(Options{API: Chat, KeepText: true})
		builtIn.Feed([]byte(streamHead+strings.Join(chunks, "")), 1)
		require.Equal(t, 40, builtIn.OutputTokensSoFar())
		require.Equal(t, text, string(builtIn.text))
		require.Empty(t, builtIn.problem)
	}
}

// What differs in each event of TGI's is known after two of them, at every depth: no other is scanned.
func TestDescribedEventsAreMatchedThoughUnnamedNumbersChange(t *testing.T) {
	var p Parser
	p.Reset(Options{API: Custom, Wire: wireOf(t, tgiWire), KeepText: true})
	p.Feed([]byte(streamHead), 1)
	for i, chunk := range chunkEvents(500, tgiEvent) {
		p.Feed(chunk, int64(i))
	}
	require.Equal(t, 500, p.OutputTokensSoFar())
	require.Less(t, p.scan.passing.scans, 6)
}

// The same of the built-in APIs: what differs from event to event and means nothing is no reason to scan each of them.
func TestBuiltInEventsAreMatchedThoughUnnamedMembersChange(t *testing.T) {
	for name, tt := range map[string]struct {
		api   API
		event func(int, string) string
	}{
		"an id":                  {Chat, changingEvent},
		"a time":                 {Chat, replaced(chatEvent, `"created":`, func(i int) string { return fmt.Sprintf(`"sent":%d,"created":`, i) })},
		"an unknown text":        {Chat, replaced(chatEvent, `"choices":`, func(i int) string { return fmt.Sprintf(`"p":"%s","choices":`, strings.Repeat("x", i%20)) })},
		"a member of a choice":   {Chat, replaced(chatEvent, `"index":`, func(i int) string { return fmt.Sprintf(`"score":-0.%d,"index":`, i) })},
		"a member of a delta":    {Chat, replaced(chatEvent, `"content":`, func(i int) string { return fmt.Sprintf(`"n":%d,"content":`, i) })},
		"Messages with padding":  {Messages, replaced(messagesEvent, `"index":`, func(i int) string { return fmt.Sprintf(`"p":"%s","index":`, strings.Repeat("x", i%20)) })},
		"Responses with a trace": {Responses, replaced(responsesEvent, `"type":`, func(i int) string { return fmt.Sprintf(`"trace":"%d","type":`, i) })},
	} {
		t.Run(name, func(t *testing.T) {
			var p Parser
			p.Reset(Options{API: tt.api, KeepText: true})
			p.Feed([]byte(streamHead), 1)
			want := ""
			for i := range 200 {
				word := fmt.Sprintf(" w%d", i)
				want += word
				p.Feed([]byte(chunk(tt.event(i, word))), int64(i))
			}
			require.Equal(t, 200, p.OutputTokensSoFar())
			require.Equal(t, want, string(p.text))
			require.Less(t, p.scan.passing.scans, 6)
		})
	}
}

// replaced puts a text of its own into each event.
func replaced(event func(int, string) string, old string, by func(i int) string) func(int, string) string {
	return func(i int, word string) string { return strings.Replace(event(i, word), old, by(i), 1) }
}

// A blank costs a comparison more in each event. An id of the stream, which is the same in all of its events, is none.
func TestAMemberThatDiffersByStreamIsNoBlank(t *testing.T) {
	for name, o := range map[string]Options{"built-in": {API: Chat}, "described": {API: Custom, Wire: wireOf(t, chatWire)}} {
		t.Run(name, func(t *testing.T) {
			var p Parser
			blanks := map[int]int{}
			for stream := range 6 {
				p.Reset(o)
				p.Feed([]byte(streamHead), 1)
				for range 10 {
					p.Feed([]byte(chunk(changingEvent(stream, " a"))), 1)
				}
				require.Equal(t, 10, p.OutputTokensSoFar())
				blanks[p.tmpl.blanks.n]++
			}
			require.Len(t, blanks, 1)
		})
	}
}

// tgiEvent is an event of TGI's /generate_stream.
func tgiEvent(i int, word string) string {
	return fmt.Sprintf(`data:{"index":%d,"token":{"id":%d,"text":"%s","logprob":-0.%04d,"special":false},"generated_text":null,"details":null}`+"\n\n", i, i, word, i)
}

// sideBySide reports what an event of each of two streams costs, and the median of the ratios. The streams take turns, so that both see
// the same machine.
func sideBySide(b *testing.B, options [2]Options, heads [2]string, events [2]func(int, string) string) {
	const perStream = 1000
	var parsers [2]Parser
	var spent [2][]float64
	var chunks [2][][]byte
	for k := range chunks {
		chunks[k] = chunkEvents(perStream, events[k])
	}
	stream := func(k int) {
		p := &parsers[k]
		p.Reset(options[k])
		p.Feed([]byte(heads[k]), 1)
		began := time.Now()
		for i, chunk := range chunks[k] {
			p.Feed(chunk, int64(i))
		}
		spent[k] = append(spent[k], float64(time.Since(began))/perStream)
		if p.OutputTokensSoFar() != perStream {
			b.Fatal("tokens are missing")
		}
	}
	for turn := 0; b.Loop(); turn++ {
		stream(turn % 2)
		stream(1 - turn%2)
	}
	ratios := make([]float64, len(spent[0]))
	for i := range ratios {
		ratios[i] = spent[1][i] / spent[0][i]
	}
	middle := func(values []float64) float64 {
		slices.Sort(values)
		return values[len(values)/2]
	}
	b.ReportMetric(middle(ratios), "described/chat")
	b.ReportMetric(middle(spent[0]), "chat-ns/event")
	b.ReportMetric(middle(spent[1]), "described-ns/event")
}

// BenchmarkDescribed is the cost of an event by the built-in chat format and by its description.
func BenchmarkDescribed(b *testing.B) {
	options := [2]Options{{API: Chat}, {API: Custom, Wire: wireOf(b, chatWire)}}
	for _, bench := range []struct {
		name  string
		event func(int, string) string
	}{{"chat", chatEvent}, {"continuous usage", continuousEvent}, {"changing id", changingEvent}, {"full scan", scannedEvent}} {
		b.Run(bench.name, func(b *testing.B) {
			sideBySide(b, options, [2]string{streamHead, streamHead}, [2]func(int, string) string{bench.event, bench.event})
		})
	}
}

// BenchmarkWires is the cost of an event of other wires by their descriptions, beside one of the built-in chat format.
func BenchmarkWires(b *testing.B) {
	lineHead := strings.Replace(streamHead, "text/event-stream", "application/x-ndjson", 1)
	for _, bench := range []struct {
		name, wire, head string
		event            func(int, string) string
	}{
		{"ollama", ollamaWire, lineHead, func(i int, word string) string {
			return fmt.Sprintf(`{"model":"m","created_at":"2026-01-01T00:00:00.%06dZ","message":{"role":"assistant","content":"%s"},"done":false}`+"\n", i, word)
		}},
		{"tgi", tgiWire, streamHead, tgiEvent},
		{"triton", tritonWire, streamHead, func(_ int, word string) string {
			return `data: {"model_name":"ensemble","model_version":"1","sequence_end":false,"sequence_id":0,"sequence_start":false,"text_output":"` + word + `"}` + "\n\n"
		}},
		{"converse", converseWire, streamHead, func(_ int, word string) string {
			return `data: {"contentBlockDelta":{"contentBlockIndex":0,"delta":{"text":"` + word + `"}}}` + "\n\n"
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			sideBySide(b, [2]Options{{API: Chat}, {API: Custom, Wire: wireOf(b, bench.wire)}}, [2]string{streamHead, bench.head},
				[2]func(int, string) string{chatEvent, bench.event})
		})
	}
}

// chunk is an event in an HTTP chunk of its own.
func chunk(event string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(event), event) }
