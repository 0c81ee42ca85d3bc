package stream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// typed makes an event of each JSON text, named by its type as the Responses and Messages APIs name theirs.
func typed(texts ...string) []string {
	events := make([]string, len(texts))
	for i, text := range texts {
		_, rest, _ := strings.Cut(text, `"type":"`)
		name, _, _ := strings.Cut(rest, `"`)
		events[i] = "event: " + name + "\n" + "data: " + text + "\n\n"
	}
	return events
}

// said is what a response says, without when.
type said struct {
	failure                          Failure
	chunks                           int
	input, output, cached, reasoning int
	finish, text                     string
	reasonedFirst                    bool // the first output chunk was reasoning
}

func saidBy(r Result) said {
	return said{r.Failure, len(r.Arrivals), r.InputTokens, r.OutputTokens, r.CachedTokens, r.ReasoningTokens, r.FinishReason, r.Text,
		r.FirstNonReasonNs != r.FirstOutputNs}
}

func TestEvents_OfEachAPI(t *testing.T) {
	const created = `{"type":"response.created","sequence_number":0,"response":{"id":"r","object":"response","status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}`
	const output = `[{"type":"reasoning","id":"rs","summary":[{"type":"summary_text","text":"hm"}],"content":[{"type":"reasoning_text","text":"hmm"}]},` +
		`{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a\u00e9","annotations":[]},{"type":"output_text","text":"b"}]}]`
	const responseUsage = `{"input_tokens":11,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":18}`
	completed := `{"type":"response.completed","sequence_number":9,"response":{"id":"r","object":"response","status":"completed","error":null,"output":` + output + `,"usage":` + responseUsage + `}}`
	const started = `{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"x","stop_reason":null,"usage":{"input_tokens":10,"cache_read_input_tokens":20,"cache_creation_input_tokens":3,"output_tokens":1}}}`
	for _, tt := range []struct {
		sentence string
		api      API
		response string
		want     said
	}{
		{"Chat: content, with a finish reason in the last chunk that has any.", Chat, chunkedStream(data(
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`,
			`{"choices":[{"index":0,"delta":{"content":"\ud83d\ude00"}}]}`,
			`{"choices":[{"index":0,"delta":{"content":"\n"},"finish_reason":"length"}]}`,
			`{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":6},"completion_tokens_details":{"reasoning_tokens":0}}}`, "[DONE]")...),
			said{None, 2, 8, 2, 6, 0, "length", "😀\n", false}},
		{"Chat: reasoning under both of its names, then content.", Chat, chunkedStream(data(
			`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`, `{"choices":[{"delta":{"reasoning":"hm","content":null}}]}`,
			`{"choices":[{"delta":{"content":"a"}}]}`, chatFinish,
			`{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":3,"completion_tokens_details":{"reasoning_tokens":2}}}`, "[DONE]")...),
			said{None, 3, 8, 3, 0, 2, "stop", "a", true}},
		{"Chat: a chunk with reasoning and content is not reasoning alone.", Chat, chunkedStream(data(
			`{"choices":[{"delta":{"reasoning_content":"hm","content":"a"}}]}`, chatFinish)...),
			said{None, 1, 0, 1, 0, 0, "stop", "a", false}},
		{"Chat: a tool call's name and arguments are output, its id is not.", Chat, chunkedStream(data(
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":""}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_1"}]}}]}`,
			`{"choices":[{"delta":{"function_call":{"arguments":"1}"}}}]}`,
			`{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}`)...),
			said{None, 3, 0, 3, 0, 0, "tool_calls", "", false}},
		{"Chat: a refusal is output but not content.", Chat, chunkedStream(data(`{"choices":[{"delta":{"refusal":"no"}}]}`, chatFinish)...),
			said{None, 1, 0, 1, 0, 0, "stop", "", false}},
		{"Chat: content may be a list of parts.", Chat, chunkedStream(data(
			`{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}}]}`,
			`{"choices":[{"delta":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}]}`, chatFinish)...),
			said{None, 2, 0, 2, 0, 0, "stop", "ab", true}},
		{"Chat: of several choices the text of the first is kept.", Chat, chunkedStream(data(
			`{"choices":[{"index":1,"delta":{"content":"x"}}]}`, `{"choices":[{"delta":{"content":"a"},"index":0}]}`,
			`{"choices":[{"index":0,"delta":{"content":"b"}},{"index":1,"delta":{"content":"y"}}]}`,
			`{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}`, `{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`)...),
			said{None, 3, 0, 3, 0, 0, "length", "ab", false}},
		{"Chat: keys may be written with escapes.", Chat, chunkedStream(data(`{"\u0063hoices":[{"d\u0065lta":{"\u0063ontent":"a"},"finish_reason":"stop"}]}`)...),
			said{None, 1, 0, 1, 0, 0, "stop", "a", false}},
		{"Chat: a whole reply.", Chat, jsonReply(`{"choices":[{"index":0,"message":{"role":"assistant","content":"ab","reasoning_content":"hm"},"finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":9}}`),
			said{None, 0, 4, 9, 0, 0, "stop", "ab", false}},
		{"Chat: a whole reply that only calls a tool.", Chat, jsonReply(`{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`),
			said{None, 0, 0, 1, 0, 0, "tool_calls", "", false}},

		{"Completions: text.", Completions, chunkedStream(data(`{"choices":[{"text":"a","index":0,"finish_reason":null}]}`, `{"choices":[{"text":"","index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, "[DONE]")...),
			said{None, 1, 1, 1, 0, 0, "length", "a", false}},

		{"Responses: text and reasoning deltas; what the last event repeats is not counted again.", Responses, chunkedStream(typed(created,
			`{"type":"response.in_progress","sequence_number":1,"response":{"status":"in_progress"}}`,
			`{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"reasoning","summary":[]}}`,
			`{"type":"response.reasoning_text.delta","sequence_number":3,"item_id":"rs","output_index":0,"content_index":0,"delta":"hmm"}`,
			`{"type":"response.reasoning_summary_text.delta","sequence_number":4,"item_id":"rs","output_index":0,"summary_index":0,"delta":"hm"}`,
			`{"type":"response.output_text.delta","sequence_number":5,"item_id":"m","output_index":1,"content_index":0,"delta":"a\u00e9","logprobs":[]}`,
			`{"type":"response.output_text.delta","sequence_number":6,"item_id":"m","output_index":1,"content_index":0,"delta":"b","logprobs":[]}`,
			`{"type":"response.output_text.delta","sequence_number":7,"item_id":"m","output_index":1,"content_index":0,"delta":"","logprobs":[]}`,
			`{"type":"response.output_text.done","sequence_number":8,"text":"a\u00e9b"}`, completed)...),
			said{None, 4, 11, 7, 4, 5, "completed", "aéb", true}},
		{"Responses: a call's arguments.", Responses, chunkedStream(typed(created,
			`{"type":"response.function_call_arguments.delta","sequence_number":1,"item_id":"fc","output_index":0,"delta":"{\"a\""}`,
			`{"type":"response.function_call_arguments.delta","sequence_number":2,"item_id":"fc","output_index":0,"delta":":1}"}`, completed)...),
			said{None, 2, 11, 7, 4, 5, "completed", "", false}},
		{"Responses: incomplete is an end with a reason.", Responses, chunkedStream(typed(created,
			`{"type":"response.output_text.delta","sequence_number":1,"delta":"a"}`,
			`{"type":"response.incomplete","sequence_number":2,"response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":`+responseUsage+`}}`)...),
			said{None, 1, 11, 7, 4, 5, "max_output_tokens", "a", false}},
		{"Responses: failed.", Responses, chunkedStream(typed(created,
			`{"type":"response.failed","sequence_number":2,"response":{"status":"failed","error":{"code":"server_error","message":"no"}}}`)...),
			said{ErrorEvent, 0, 0, 0, 0, 0, "", "", false}},
		{"Responses: an error event.", Responses, chunkedStream(typed(created, `{"type":"error","code":"x","message":"no","param":null,"sequence_number":1}`)...),
			said{ErrorEvent, 0, 0, 0, 0, 0, "", "", false}},
		{"Responses: a stream without its last event.", Responses, chunkedStream(typed(created, `{"type":"response.output_text.delta","sequence_number":1,"delta":"a"}`)...),
			said{Truncated, 1, 0, 1, 0, 0, "", "a", false}},
		{"Responses: a whole reply.", Responses, jsonReply(`{"id":"r","object":"response","status":"completed","error":null,"incomplete_details":null,"output":` + output + `,"usage":` + responseUsage + `}`),
			said{None, 0, 11, 7, 4, 5, "completed", "aéb", false}},
		{"Responses: a whole reply that failed.", Responses, jsonReply(`{"object":"response","status":"failed","error":{"code":"server_error","message":"no"},"output":[]}`),
			said{ErrorEvent, 0, 0, 0, 0, 0, "", "", false}},

		{"Messages: thinking, text and a tool's input; input tokens are those read from and written to the cache too.", Messages, chunkedStream(typed(started,
			`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}`, `{"type":"ping"}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"xyz"}}`,
			`{"type":"content_block_stop","index":0}`,
			`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`,
			`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a"}}`,
			`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"b"}}`,
			`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}`,
			`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}`,
			`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":6}}`, `{"type":"message_stop"}`)...),
			said{None, 4, 33, 6, 20, 0, "end_turn", "ab", true}},
		{"Messages: an error.", Messages, chunkedStream(typed(started, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`)...),
			said{ErrorEvent, 0, 33, 0, 20, 0, "", "", false}},
		{"Messages: a stream without its end.", Messages, chunkedStream(typed(started, `{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a"}}`)...),
			said{Truncated, 1, 33, 1, 20, 0, "", "a", false}},
		{"Messages: a whole reply.", Messages, jsonReply(`{"type":"message","role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"a"},{"type":"text","text":"b"}],"stop_reason":"max_tokens","usage":{"input_tokens":10,"output_tokens":6}}`),
			said{None, 0, 10, 6, 0, 0, "max_tokens", "ab", false}},
		{"Messages: a whole reply that is an error.", Messages, jsonReply(`{"type":"error","error":{"type":"api_error","message":"no"}}`),
			said{ErrorEvent, 0, 0, 0, 0, 0, "", "", false}},

		{"Embeddings: no output token, and not empty.", Embeddings, jsonReply(`{"object":"list","data":[{"index":0,"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":7,"total_tokens":7}}`),
			said{None, 0, 7, 0, 0, 0, "", "", false}},
		{"Embeddings: no data is empty.", Embeddings, jsonReply(`{"object":"list","data":[],"usage":{"prompt_tokens":7}}`),
			said{Empty, 0, 7, 0, 0, 0, "", "", false}},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := parse(t, Options{API: tt.api, KeepText: true}, tt.response, nil)
			require.Equal(t, tt.want, saidBy(r), r.Message)
			if strings.Contains(tt.response, `"message":"no"`) {
				require.Equal(t, "no", r.Message)
			}
		})
	}
}

func TestPointers(t *testing.T) {
	const body = `{"usage":{"in":3,"out":"12"},"a/b":{"m~n":[{"x":1},{"x":5}]},"":7,"text":"` + "lorem" + `","n":null,"neg":-4}`
	for _, tt := range []struct {
		sentence      string
		input, output string
		wantIn, want  int
		failure       Failure
	}{
		{"A number and a number in a string.", "/usage/in", "/usage/out", 3, 12, None},
		{"Escapes and array indices.", "/a~1b/m~0n/0/x", "/a~1b/m~0n/1/x", 1, 5, None},
		{"The empty key.", "/", "/", 7, 7, None},
		{"A missing input count is 0.", "/none/here", "/usage/out", 0, 12, None},
		{"A missing output count is empty.", "/usage/in", "/usage/tokens", 3, 0, Empty},
		{"So is one that is no count.", "/text", "/n", 0, 0, Empty},
		{"A negative one is none.", "/neg", "/usage", 0, 0, Empty},
		{"Without a pointer nothing is counted, and nothing is missed.", "", "", 0, 0, None},
		{"One may lead to where the other goes through.", "/usage", "/usage/out", 0, 12, None},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := parse(t, Options{API: JSON, InputTokensPointer: tt.input, OutputTokensPointer: tt.output}, jsonReply(body), nil)
			require.Equal(t, tt.failure, r.Failure, r.Message)
			require.Equal(t, []int{tt.wantIn, tt.want}, []int{r.InputTokens, r.OutputTokens})
		})
	}
	r := parse(t, Options{API: JSON, OutputTokensPointer: "/n"}, chunkedStream(data(`{"n":1}`, `{"n":2}`, `{"x":0}`)...), nil)
	require.Equal(t, None, r.Failure, r.Message)
	require.Equal(t, []int{3, 2}, []int{len(r.Arrivals), r.OutputTokens})
	r = parse(t, Options{API: JSON}, jsonReply(chatError), nil)
	require.Equal(t, ErrorEvent, r.Failure)
}

// The text of a list of parts belongs to its event alone, also when that event turns out not to be JSON.
func TestEvents_BrokenOneLeavesNoText(t *testing.T) {
	token := func(text string) string { return `{"choices":[{"index":0,"delta":{"content":"` + text + `"}}]}` }
	r := parse(t, Options{API: Chat, KeepText: true}, chunkedStream(data(
		token("a"), token("b"), `{"choices":[{"delta":{"content":[{"type":"text","text":"lost"}],"role":`, token("c"))...), nil)
	require.Equal(t, Malformed, r.Failure)
	require.Equal(t, "abc", r.Text)
}

// Whatever the events are, comparing with a template must come to what scanning each in full comes to.
func TestTemplatesChangeNothing(t *testing.T) {
	for _, bench := range benchmarkStreams {
		for _, mangle := range []string{"nothing", "bytes", "fields", "meaning"} {
			t.Run(bench.name+", "+mangle+" mangled", func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) { sameWithoutTemplates(t, bench.api, bench.event, mangle) })
			})
		}
	}
}

func sameWithoutTemplates(t *rapid.T, api API, event func(int, string) string, mangle string) {
	o := Options{API: api, KeepText: true}
	ending := rapid.SampledFrom([]string{"\n", "\r\n", "\r"}).Draw(t, "line break")
	// What an event says beside its blanks must not be carried over to the next one: a few events of the same kinds.
	variants := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) func(string) string {
		finish := rapid.SampledFrom([]string{`null`, `"stop"`, `"length"`}).Draw(t, "finish")
		choice := rapid.SampledFrom([]string{"", `{"index":1,"delta":{"content":"b"}},`, `{"index":2},`}).Draw(t, "choice")
		content := rapid.SampledFrom([]string{``, `[{"text":"p"}],"reasoning":`, `"","refusal":`}).Draw(t, "content")
		top := rapid.SampledFrom([]string{"", `"error":null,`, `"error":"x",`, `"usage":{"completion_tokens":3,"cache_read_input_tokens":2},`}).Draw(t, "top")
		return func(e string) string {
			e = strings.Replace(e, `"finish_reason":null`, `"finish_reason":`+finish, 1)
			e = strings.Replace(e, `"content":`, `"content":`+content, 1)
			e = strings.Replace(e, `"choices":[`, top+`"choices":[`+choice, 1)
			return e
		}
	}), 1, 2).Draw(t, "variants")
	var body []byte
	for i := range rapid.IntRange(1, 12).Draw(t, "events") {
		e := event(i, rapid.SampledFrom(append([]string{"", `\"`, `\ud83d`, `"`, "\t", `x","finish_reason":"stop`}, words...)).Draw(t, "word"))
		switch mangle {
		case "bytes":
			b := []byte(e)
			for range rapid.IntRange(0, 1).Draw(t, "bytes") {
				b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.SampledFrom([]byte(`0159",:{}[]x\ -`)).Draw(t, "byte")
			}
			e = string(b)
		case "fields":
			e = rapid.SampledFrom([]string{"", ": c\n", "id: 7\n", "event: error\n", "data: \n", "\n"}).Draw(t, "before") + e
			e = strings.Replace(e, `"index":0`, fmt.Sprintf(`"index":%s`, rapid.SampledFrom([]string{"0", "1", "01", "-1", "1.5", "70", "9999999999999999"}).Draw(t, "index")), 1)
		case "meaning":
			e = rapid.SampledFrom(variants).Draw(t, "variant")(e)
			e = strings.Replace(e, `"index":0`, fmt.Sprintf(`"index":%d`, rapid.IntRange(0, 2).Draw(t, "index")), 1)
		}
		body = append(body, strings.ReplaceAll(e, "\n", ending)...)
	}
	body = append(body, strings.ReplaceAll(rapid.SampledFrom([]string{"data: [DONE]\n\n", ""}).Draw(t, "end"), "\n", ending)...)
	run := func(template bool) Result {
		var p Parser
		p.Reset(o)
		p.FeedHead(200, map[string][]string{"Content-Type": {"text/event-stream"}}, 1)
		rest := body
		for at := int64(2); len(rest) > 0; at++ {
			// Without templates each event must be alone in its receive; times and coalescing are compared apart.
			n, ok := len(rest), false
			if !template {
				var d Decoder
				if n, ok = d.next(rest); !ok {
					n = len(rest)
				}
				p.tmpl.valid = false
			}
			p.FeedBody(rest[:n], at)
			rest = rest[n:]
		}
		p.End(nil, 1e6)
		r := *p.Result()
		for i := range r.Arrivals {
			r.Arrivals[i].AtNs = 0
		}
		arrivals := append([]Arrival{}, r.Arrivals...)
		r = comparable(r)
		r.Arrivals = arrivals
		r.Message += fmt.Sprintf(" choices %b ended %b end %v", p.seen, p.ended, p.sawEnd)
		return r
	}
	require.Equal(t, run(false), run(true), "%q", body)
}

// The comparison with a template is what makes a token cheap: it must really happen.
func TestTemplatesAreUsed(t *testing.T) {
	for _, bench := range benchmarkStreams {
		if bench.name == "full scan" {
			continue
		}
		t.Run(bench.name, func(t *testing.T) {
			var p Parser
			p.Reset(Options{API: bench.api})
			p.Feed([]byte(streamHead), 1)
			known := 1 // events after which the next one is known
			if bench.name == "changing id" {
				known = 2
			}
			for i, chunk := range chunkEvents(1000, bench.event) {
				_, event, _ := strings.Cut(string(chunk), "\r\n")
				event = strings.TrimSuffix(event, "\r\n")
				_, text, _ := strings.Cut(event, "data: ")
				if i >= known {
					require.Equal(t, len(event), p.tmpl.matchEvent([]byte(event+"more")))
					require.True(t, p.tmpl.matchData([]byte(strings.TrimSpace(text))))
				}
				p.Feed(chunk, 2)
			}
			require.Len(t, p.Result().Arrivals, 1000)
		})
	}
}
