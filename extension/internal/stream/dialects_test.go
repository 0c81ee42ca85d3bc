package stream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// delta is a chunk of one piece of content.
func delta(text string) string {
	return fmt.Sprintf(`{"choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`, text)
}

func finished(reason string) string {
	return fmt.Sprintf(`{"choices":[{"index":0,"delta":{},"finish_reason":%q}]}`, reason)
}

func finalUsage(output int) string {
	return fmt.Sprintf(`{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":%d,"total_tokens":%d}}`, output, output+3)
}

// untyped is a response whose body has no type and whose end is the connection's.
func untyped(body string) string { return "HTTP/1.1 200 OK\r\n\r\n" + body }

func eventStream(body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + body
}

func lines(texts ...string) string { return strings.Join(texts, "\n") + "\n" }

func TestFinishReasons(t *testing.T) {
	for reason, failure := range map[string]Failure{
		"stop": None, "length": None, "tool_calls": None, "function_call": None, "eos": None, "eos_token": None, "end_turn": None,
		"max_tokens": None, "stop_sequence": None, "pause_turn": None, "model_length": None, "COMPLETE": None, "MAX_TOKENS": None,
		"model_context_window_exceeded": None, "limit": None, "a word of its own": None,

		"error": ErrorEvent, "network_error": ErrorEvent, "insufficient_system_resource": ErrorEvent, "abort": ErrorEvent, "aborted": ErrorEvent,
		"content_filter": ErrorEvent, "sensitive": ErrorEvent, "SAFETY": ErrorEvent, "PROHIBITED_CONTENT": ErrorEvent, "refusal": ErrorEvent,
		"MALFORMED_FUNCTION_CALL": ErrorEvent, "cancelled": ErrorEvent, "engine_overloaded": ErrorEvent, "timeout": ErrorEvent,
	} {
		t.Run(reason, func(t *testing.T) {
			for name, response := range map[string]string{
				"stream":   chunkedStream(data(delta("a"), finished(reason), finalUsage(1), "[DONE]")...),
				"reply":    jsonReply(fmt.Sprintf(`{"choices":[{"message":{"content":"a"},"finish_reason":%q}],"usage":{"completion_tokens":1}}`, reason)),
				"Messages": "", "Responses": "",
			} {
				api := Chat
				switch name {
				case "Messages":
					api = Messages
					response = chunkedStream(typed(`{"type":"content_block_delta","delta":{"text":"a"}}`,
						fmt.Sprintf(`{"type":"message_delta","delta":{"stop_reason":%q},"usage":{"output_tokens":1}}`, reason), `{"type":"message_stop"}`)...)
				case "Responses":
					api = Responses
					response = chunkedStream(typed(`{"type":"response.output_text.delta","delta":"a"}`,
						fmt.Sprintf(`{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":%q},"usage":{"output_tokens":1}}}`, reason))...)
				}
				r := parse(t, Options{API: api}, response, nil)
				require.Equal(t, failure, r.Failure, name)
				require.Equal(t, reason, r.FinishReason)
				require.Equal(t, 1, r.OutputTokens)
				if failure != None {
					require.Contains(t, r.Message, fmt.Sprintf("finish reason %q", reason))
				}
			}
		})
	}
	choice := func(i int, reason string) string {
		return fmt.Sprintf(`{"index":%d,"delta":{"content":"a"},"finish_reason":%q}`, i, reason)
	}
	for _, response := range []string{
		chunkedStream(data(`{"choices":[`+choice(0, "error")+`,`+choice(1, "stop")+`]}`, "[DONE]")...),
		chunkedStream(data(`{"choices":[`+choice(0, "error")+`]}`, `{"choices":[`+choice(1, "stop")+`]}`, "[DONE]")...),
	} {
		r := parse(t, Options{API: Chat}, response, nil)
		require.Equal(t, ErrorEvent, r.Failure, "one of several choices failed")
		require.Equal(t, "error", r.FinishReason)
	}
	r := parse(t, Options{API: Chat}, chunkedStream(data(delta("a"), finished("error"), `{"error":{"message":"no GPU"}}`, "[DONE]")...), nil)
	require.Equal(t, "no GPU", r.Message, "the server's own words say more")
}

func TestDialects(t *testing.T) {
	const usageOf4 = `{"prompt_tokens":3,"completion_tokens":4}`
	for _, tt := range []struct {
		sentence string
		api      API
		response string
		want     said
	}{
		{"Usage inside the choices is each choice's own.", Chat, chunkedStream(data(
			`{"choices":[{"index":0,"delta":{"content":"a"}}]}`, `{"choices":[{"index":1,"delta":{"content":"b"}}]}`,
			`{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":3,"completion_tokens":4}}]}`,
			`{"choices":[{"index":1,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":3,"completion_tokens":2}}]}`, "[DONE]")...),
			said{None, 2, 3, 6, 0, 0, "stop", "a", false}},
		{"So it is in a reply.", Chat, jsonReply(`{"choices":[{"message":{"content":"a"},"finish_reason":"stop","usage":` + usageOf4 + `},{"index":1,"message":{"content":"b"},"usage":` + usageOf4 + `}]}`),
			said{None, 0, 3, 8, 0, 0, "stop", "a", false}},
		{"Also where each leaves its reasoning out.", Chat, jsonReply(`{"choices":[{"message":{"content":"a"},"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":9,"completion_tokens_details":{"reasoning_tokens":5}}},` +
			`{"index":1,"message":{"content":"b"},"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}]}`),
			said{None, 0, 3, 8, 0, 5, "", "a", false}},
		{"Cached tokens have other names (Moonshot, DeepSeek).", Chat, chunkedStream(data(delta("a"), finished("stop"),
			`{"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":1,"prompt_cache_hit_tokens":20,"prompt_cache_miss_tokens":10}}`)...),
			said{None, 1, 30, 1, 20, 0, "stop", "a", false}},
		{"Usage beside the choices counts, wherever it stands.", Chat, chunkedStream(data(delta("a"),
			`{"usage":{"prompt_tokens":3,"completion_tokens":7},"choices":[{"delta":{},"finish_reason":"stop","usage":`+usageOf4+`}]}`)...),
			said{None, 1, 3, 7, 0, 0, "stop", "a", false}},
		{"Groq has it in a place of its own.", Chat, chunkedStream(data(`{"choices":[{"index":0,"delta":{"content":"a"}}],"x_groq":{"id":"r"}}`,
			`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"queue_time":0.1,"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}}`, "[DONE]")...),
			said{None, 1, 3, 4, 0, 0, "stop", "a", false}},
		{"A null usage beside the choices is none.", Chat, chunkedStream(data(delta("a"),
			`{"choices":[{"delta":{},"finish_reason":"stop","usage":`+usageOf4+`}],"usage":null}`)...),
			said{None, 1, 3, 4, 0, 0, "stop", "a", false}},

		{"Images are output.", Chat, chunkedStream(data(`{"choices":[{"delta":{"images":[{"type":"image_url","image_url":{"url":"data:"}}]}}]}`,
			`{"choices":[{"delta":{"images":[]},"finish_reason":"stop"}]}`)...), said{None, 1, 0, 1, 0, 0, "stop", "", false}},
		{"Speech of the Responses API is output, and no text.", Responses, chunkedStream(typed(`{"type":"response.output_audio.delta","delta":"AAAA"}`,
			`{"type":"response.output_audio_transcript.delta","delta":"a"}`, `{"type":"response.completed","response":{"status":"completed","usage":{"output_tokens":9}}}`)...),
			said{None, 2, 0, 9, 0, 0, "completed", "", false}},
		{"A spoken reply that is not streamed is not empty.", Chat, jsonReply(`{"choices":[{"message":{"content":null,"audio":{"id":"x","data":"AA","transcript":"a"}},"finish_reason":"stop"}]}`),
			said{None, 0, 0, 1, 0, 0, "stop", "", false}},
		{"Reasoning may come as details alone (MiniMax, OpenRouter); a signature is none.", Chat, chunkedStream(data(
			`{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":"hm"}]}}]}`,
			`{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":"","signature":"x"},{"type":"reasoning.encrypted","data":"x"}]}}]}`,
			delta("a"), finished("stop"))...), said{None, 2, 0, 2, 0, 0, "stop", "a", true}},
		{"Google's thoughts are content that says so; the first answer has the end of their tag.", Chat, chunkedStream(data(
			`{"choices":[{"delta":{"content":"<thought>hm","extra_content":{"google":{"thought":true}},"role":"assistant"},"index":0}],"object":"chat.completion.chunk","usage":{"completion_tokens":0,"prompt_tokens":3,"total_tokens":5}}`,
			`{"choices":[{"delta":{"extra_content":{"google":{"thought_signature":"x","thought":true}},"content":" hm","role":"assistant"},"index":0}]}`,
			`{"choices":[{"delta":{"content":"</thought>a","role":"assistant","extra_content":null},"index":0}]}`,
			`{"choices":[{"delta":{"content":"b","extra_content":{"google":{"thought_signature":"x","thought":false}},"role":"assistant"},"finish_reason":"stop","index":0}],`+
				`"usage":{"completion_tokens":2,"completion_tokens_details":{"reasoning_tokens":4},"extra_properties":{"google":{"traffic_type":"ON_DEMAND"}},"prompt_tokens":3,"total_tokens":9}}`, "[DONE]")...),
			said{None, 4, 3, 6, 0, 4, "stop", "</thought>ab", true}},
		{"A thought without content is no output, and beside a tool call it takes nothing away.", Chat, chunkedStream(data(
			`{"choices":[{"delta":{"content":"","extra_content":{"google":{"thought":true}}}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"x"}}}],"extra_content":{"google":{"thought":true}}},"finish_reason":"tool_calls"}]}`, "[DONE]")...),
			said{None, 1, 0, 1, 0, 0, "tool_calls", "", false}},
		{"Another choice's answer stays one.", Chat, chunkedStream(data(
			`{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"hm","extra_content":{"google":{"thought":true}}}}]}`, finished("stop"), "[DONE]")...),
			said{None, 1, 0, 1, 0, 0, "stop", "a", false}},
		{"A whole reply has thoughts and answer in one text.", Chat, jsonReply(`{"choices":[{"message":{"content":"<thought>hm</thought>a","extra_content":{"google":{"thought":true}}},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`),
			said{None, 0, 3, 4, 0, 0, "stop", "<thought>hm</thought>a", false}},
		{"A block of thinking without text is no output.", Chat, chunkedStream(data(`{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":""}]}]}}]}`,
			delta("a"), finished("stop"))...), said{None, 1, 0, 1, 0, 0, "stop", "a", false}},
		{"A block may start with text (not Anthropic's own).", Messages, chunkedStream(typed(`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}`, `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}`)...),
			said{None, 2, 0, 2, 0, 0, "end_turn", "ab", false}},

		{"A last whole message repeats the deltas.", Chat, chunkedStream(data(delta("a"), delta("b"),
			`{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"ab"},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}`)...),
			said{None, 2, 0, 2, 0, 0, "stop", "ab", false}},
		{"Where it is all that comes, it is the output.", Chat, chunkedStream(data(
			`{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"ab"},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}`)...),
			said{None, 1, 0, 2, 0, 0, "stop", "ab", false}},
		{"Also as a list of parts.", Chat, chunkedStream(data(`{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},"delta":null,"finish_reason":"stop"}]}`)...),
			said{None, 1, 0, 1, 0, 0, "stop", "ab", false}},
		{"Whole messages that grow are pieces of one text.", Chat, chunkedStream(data(`{"choices":[{"message":{"content":"a"}}]}`, `{"choices":[{"message":{"content":"a b"}}]}`,
			`{"choices":[{"message":{"content":"a b"},"finish_reason":"stop"}]}`)...), said{None, 2, 0, 2, 0, 0, "stop", "a b", false}},
		{"A message of another choice repeats nothing.", Chat, chunkedStream(data(delta("a"), finished("stop"),
			`{"choices":[{"index":1,"message":{"content":"b"},"finish_reason":"stop"}]}`)...), said{None, 2, 0, 2, 0, 0, "stop", "a", false}},
		{"The completed response is the output where no delta came.", Responses, chunkedStream(typed(`{"type":"response.created","response":{"status":"in_progress"}}`,
			`{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"ab"}]}],"usage":{"output_tokens":2}}}`)...),
			said{None, 1, 0, 2, 0, 0, "completed", "ab", false}},

		{"A last delta that says all again is dropped.", Chat, chunkedStream(data(delta("Blue"), delta(" whale"), delta("s"), delta("Blue whales"), finished("stop"))...),
			said{None, 3, 0, 3, 0, 0, "stop", "Blue whales", false}},
		{"Also one with the finish reason.", Completions, chunkedStream(data(`{"choices":[{"text":"Blue"}]}`, `{"choices":[{"text":" whale"}]}`, `{"choices":[{"text":"s"}]}`,
			`{"choices":[{"text":"Blue whales","finish_reason":"stop"}],"usage":{"completion_tokens":3}}`)...), said{None, 3, 0, 3, 0, 0, "stop", "Blue whales", false}},
		{"One in the middle is output.", Chat, chunkedStream(data(delta("Blue"), delta(" whale"), delta("s"), delta("Blue whales"), delta("!"), finished("stop"))...),
			said{None, 5, 0, 5, 0, 0, "stop", "Blue whalesBlue whales!", false}},
		{"So is one of a token that repeats.", Chat, chunkedStream(data(delta("ha"), delta("ha"), delta("ha"), delta("hahaha"), finished("stop"))...),
			said{None, 4, 0, 4, 0, 0, "stop", "hahahahahaha", false}},
		{"Equal tokens are tokens.", Chat, chunkedStream(data(delta(" token"), delta(" token"), delta(" token"), delta(" token"), finished("stop"))...),
			said{None, 4, 0, 4, 0, 0, "stop", " token token token token", false}},
		{"Two tokens that begin like the one before are tokens,", Chat, chunkedStream(data(delta("a"), delta("an"), finished("stop"))...),
			said{None, 2, 0, 2, 0, 0, "stop", "aan", false}},
		{"also where more follow.", Chat, chunkedStream(data(delta("1"), delta("10"), delta("2"), delta("20"), finished("stop"))...),
			said{None, 4, 0, 4, 0, 0, "stop", "110220", false}},
		{"Text that each delta repeats is one text; escapes included.", Chat, chunkedStream(data(delta("é\n"), delta("é\n\""), delta("é\n\" b"), delta("é\n\" bc"), delta("é\n\" bc"), finished("stop"))...),
			said{None, 4, 0, 4, 0, 0, "stop", "é\n\" bc", false}},

		{"Content behind a finish reason takes it back: the stream must say again that it ends.", Chat, chunkedStream(data(delta("a"), finished("stop"), delta("b"))...),
			said{Truncated, 2, 0, 2, 0, 0, "stop", "ab", false}},
		{"The end mark does.", Chat, chunkedStream(data(delta("a"), finished("stop"), delta("b"), "[DONE]")...), said{None, 2, 0, 2, 0, 0, "stop", "ab", false}},

		{"llama-server's own stream.", JSON, chunkedStream(data(`{"index":0,"content":"a","tokens":[1],"stop":false,"id_slot":-1,"tokens_predicted":1,"tokens_evaluated":5}`,
			`{"index":0,"content":"b","tokens":[2],"stop":false,"id_slot":-1,"tokens_predicted":2,"tokens_evaluated":5}`,
			`{"index":0,"content":"","tokens":[],"id_slot":0,"stop":true,"model":"m","tokens_predicted":2,"tokens_evaluated":5,"stop_type":"limit","timings":{}}`)...),
			said{None, 2, 5, 2, 0, 0, "limit", "ab", false}},
		{"It says which event is the last.", JSON, chunkedStream(data(`{"content":"a","stop":false,"tokens_predicted":1}`)...), said{Truncated, 1, 0, 1, 0, 0, "", "a", false}},
		{"Triton's own stream does not.", JSON, chunkedStream(data(`{"model_name":"m","model_version":"1","sequence_end":false,"text_output":"a"}`,
			`{"model_name":"m","model_version":"1","sequence_end":false,"text_output":"b"}`)...), said{None, 2, 0, 2, 0, 0, "", "ab", false}},
		{"Ollama's tool calls.", JSON, untyped(lines(`{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"done":false}`,
			`{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":4}`)), said{None, 1, 3, 4, 0, 0, "stop", "", false}},
		{"A cut stream of Ollama's.", JSON, untyped(lines(`{"response":"a","done":false}`, `{"response":"b","done":false}`)), said{Truncated, 2, 0, 2, 0, 0, "", "ab", false}},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := parse(t, Options{API: tt.api, KeepText: true}, tt.response, nil)
			require.Equal(t, tt.want, saidBy(r), r.Message)
		})
	}
}

func TestRepeatsThatCarryTokensAreKept(t *testing.T) {
	counted := func(text string, n int) string {
		return fmt.Sprintf(`{"choices":[{"index":0,"text":%q}],"usage":{"completion_tokens":%d}}`, text, n)
	}
	r := parse(t, Options{API: Completions}, chunkedStream(data(counted("no", 1), counted(" no", 2), counted(" no.", 4), counted("no no no.", 8), "[DONE]")...), nil)
	require.Len(t, r.Arrivals, 4)
	require.EqualValues(t, 4, r.Arrivals[3].Tokens)
	r = parse(t, Options{API: Completions, KeepText: true}, chunkedStream(data(counted("no", 1), counted(" no", 2), counted(" no.", 4), counted("no no no.", 4), "[DONE]")...), nil)
	require.Len(t, r.Arrivals, 3)
	require.Equal(t, "no no no.", r.Text)
	require.Equal(t, 4, r.OutputTokens)
	require.Equal(t, r.Arrivals[2].AtNs, r.LastOutputNs)

	var p Parser
	p.Reset(Options{API: Chat})
	p.Feed([]byte(chunkedStream(data(delta("Blue"), delta(" whale"), delta("s"), delta("Blue whales"), finished("stop"))...)), 1)
	require.Len(t, p.Result().Arrivals, 3)
	require.Equal(t, 2, p.Result().Coalesced)
}

// What a server says in a 200 response and no API defines is an error where it says so, and malformed where it does not.
func TestStrangers(t *testing.T) {
	const whole = `"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"completion_tokens":1}`
	stream := func(texts ...string) string { return chunkedStream(data(texts...)...) }
	for _, tt := range []struct {
		sentence string
		api      API
		response string
		want     Failure
		message  string // contained
	}{
		{"MiniMax's error.", Chat, jsonReply(`{"base_resp":{"status_code":1004,"status_msg":"login fail"}}`), ErrorEvent, "login fail"},
		{"Also as an event,", Chat, stream(`{"id":"x","choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}`, "[DONE]"), ErrorEvent, "insufficient balance"},
		{"behind output,", Chat, stream(delta("a"), `{"choices":[],"base_resp":{"status_code":1000,"status_msg":"unknown"}}`, "[DONE]"), ErrorEvent, "unknown"},
		{"of the Messages API,", Messages, jsonReply(`{"base_resp":{"status_code":"2013","status_msg":"invalid params"}}`), ErrorEvent, "invalid params"},
		{"and of any API.", JSON, jsonReply(`{"x":1,"base_resp":{"status_code":1004,"status_msg":"login fail"}}`), ErrorEvent, "login fail"},
		{"Groq's error.", Chat, stream(delta("a"), `{"choices":[],"x_groq":{"id":"r","error":"over capacity"}}`, "[DONE]"), ErrorEvent, "over capacity"},
		{"A choice's error.", Chat, jsonReply(`{"choices":[{"message":{"content":""},"finish_reason":null,"error":{"code":502,"message":"provider is down"}}]}`), ErrorEvent, "provider is down"},
		{"MiniMax's 0 is success.", Chat, jsonReply(`{` + whole + `,"base_resp":{"status_code":0,"status_msg":""}}`), None, ""},
		{"A code and a message.", Chat, jsonReply(`{"code":20012,"message":"Model does not exist","data":null}`), ErrorEvent, "Model does not exist"},
		{"The code may be a word.", Chat, jsonReply(`{"code":"InvalidParameter","message":"no such model","request_id":"r"}`), ErrorEvent, "no such model"},
		{"Baidu's names.", Chat, stream(`{"error_code":110,"error_msg":"token expired"}`), ErrorEvent, "token expired"},
		{"No success.", Embeddings, jsonReply(`{"success":false,"msg":"full"}`), ErrorEvent, "full"},
		{"Without a message all of it is shown.", Chat, jsonReply(`{"code":-7}`), ErrorEvent, `{"code":-7}`},
		{"A code beside an answer is none of an error.", Chat, jsonReply(`{"code":7,` + whole + `}`), None, ""},
		{"A good code makes no answer.", Chat, jsonReply(`{"code":0,"msg":"ok","data":{}}`), Malformed, `{"code":0,"msg":"ok"`},

		{"A reply of another kind.", Chat, jsonReply(`{"text":"hello"}`), Malformed, `the reply is not one of the API chat: {"text":"hello"}`},
		{"A message alone.", Chat, jsonReply(`{"message":"no Route matched with those values"}`), Malformed, "no Route matched"},
		{"Counts without an answer.", Chat, jsonReply(`{"usage":{"completion_tokens":5}}`), Malformed, "usage"},
		{"No object.", Chat, jsonReply(`[{"text":"a"}]`), Malformed, `[{"text":"a"}]`},
		{"null.", Chat, jsonReply(`null`), Malformed, "null"},
		{"A reply of another API.", Messages, jsonReply(`{` + whole + `}`), Malformed, "API messages"},
		{"And the other way round.", Responses, jsonReply(`{"type":"message","content":[{"type":"text","text":"a"}]}`), Malformed, "API responses"},
		{"Embeddings have data.", Embeddings, jsonReply(`{` + whole + `}`), Malformed, "API embeddings"},
		{"No choices are an answer, but empty.", Chat, jsonReply(`{"choices":[],"usage":{"completion_tokens":0}}`), Empty, ""},

		{"Events of another kind,", Chat, stream(`{"response":"a","p":"x"}`, `{"response":"","usage":null}`, "[DONE]"), Malformed, `an event is not one of the API chat: {"response":"a","p":"x"}`},
		{"of another API,", Messages, stream(delta("a"), finished("stop"), "[DONE]"), Malformed, `{"choices"`},
		{"and the other way round.", Chat, chunkedStream(typed(`{"type":"message_start","message":{}}`, `{"type":"content_block_delta","delta":{"text":"a"}}`)...), Malformed, "message_start"},
		{"One of them beside a whole stream means nothing,", Chat, stream(`{"sources":["x"]}`, delta("a"), finished("stop"), finalUsage(1), "[DONE]"), None, ""},
		{"but no tokens are guessed then.", Chat, stream(`{"sources":["x"]}`, delta("a"), finished("stop"), "[DONE]"), Malformed, `{"sources":["x"]}`},
		{"A broken connection is to blame first.", Chat, strings.TrimSuffix(stream(`{"sources":["x"]}`), "0\r\n\r\n"), Truncated, "closed within the body"},
		{"Those APIs whose events have a type may add types.", Responses, chunkedStream(typed(`{"type":"response.new"}`, `{"type":"response.output_text.delta","delta":"a"}`, `{"type":"response.completed","response":{"status":"completed"}}`)...), None, ""},
		{"null and {} keep a connection alive.", Chat, stream("null", "{}", delta("a"), finished("stop")), None, ""},
		{"An error event of null is an error.", Chat, chunkedStream("event: error\ndata: null\n\n"), ErrorEvent, "null"},
		{"Of any stream without a pointer no output is guessed.", JSON, stream(`{"n":1}`), Malformed, `an event is not one of the API json: {"n":1}`},

		{"An error as it is between events.", Chat, eventStream(data(delta("a"))[0] + `{"error":{"message":"no GPU"}}` + "\n\ndata: [DONE]\n\n"), ErrorEvent, "no GPU"},
		{"Over several lines.", Chat, eventStream(data(delta("a"))[0] + "{\n  \"error\": {\n    \"message\": \"no GPU\"\n  }\n}\n"), ErrorEvent, "no GPU"},
		{"Behind its name.", Chat, eventStream("event: error\n" + `{"error":{"message":"no GPU"}}` + "\n\n"), ErrorEvent, "no GPU"},
		{"Before any event, over several lines.", Chat, eventStream("{\n  \"error\": {\n    \"message\": \"no GPU\"\n  }\n}"), ErrorEvent, "no GPU"},
		{"Another text between events.", Chat, eventStream(data(delta("a"))[0] + "upstream connect error\n\ndata: [DONE]\n\n"), Malformed, "no server-sent event: upstream connect error"},
		{"At the end.", Chat, eventStream(data(delta("a"))[0] + "upstream connect error"), Malformed, "upstream connect error"},
		{"A page.", Chat, eventStream("<html>\n<body>Bad gateway"), Malformed, "<html> <body>Bad gateway"},
		{"A chunk without data: before it.", Chat, eventStream(data(delta("a"))[0] + delta("b") + "\n\ndata: [DONE]\n\n"), Malformed, `{"choices"`},
		{"Fields that the standard does not know are ignored,", Chat, eventStream("x-took: 3\n\n" + data(delta("a"))[0] + data("[DONE]")[0]), None, ""},
		{"and so is a cut field.", Chat, eventStream(data(delta("a"))[0] + "dat"), Truncated, "neither"},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := parse(t, Options{API: tt.api}, tt.response, nil)
			require.Equal(t, tt.want, r.Failure, r.Message)
			require.Contains(t, r.Message, tt.message)
		})
	}
	r := parse(t, Options{API: Chat}, eventStream(data(delta("a"))[0]+"{\"choices\":[{"), errConnectionReset)
	require.Equal(t, Reset, r.Failure, "where the connection broke, the text may be cut")
}

// A body is what its bytes are.
func TestBodies(t *testing.T) {
	chunks := []string{delta("a"), delta("b"), finished("stop"), finalUsage(2)}
	reply := `{"choices":[{"message":{"content":"ab"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`
	streamed, whole := said{None, 2, 3, 2, 0, 0, "stop", "ab", false}, said{None, 0, 3, 2, 0, 0, "stop", "ab", false}
	for _, tt := range []struct {
		sentence string
		body     string
		want     said
	}{
		{"A reply,", reply, whole},
		{"with a line break,", reply + "\n", whole},
		{"behind blank lines and before them,", "\n\r\n " + reply + "\r\n\r\n", whole},
		{"over several lines,", strings.ReplaceAll(reply, `,`, ",\n  "), whole},
		{"with a byte order mark.", "\xef\xbb\xbf" + reply, whole},
		{"Lines,", lines(chunks...), streamed},
		{"with blank ones between,", "\n" + strings.Join(chunks, "\r\n\r\n"), streamed},
		{"with an end mark,", lines(append(chunks, "[DONE]")...), streamed},
		{"with a byte order mark.", "\xef\xbb\xbf" + lines(chunks...), streamed},
		{"Events,", strings.Join(data(chunks...), ""), streamed},
		{"behind a comment,", ": hi\n\n" + strings.Join(data(chunks...), ""), streamed},
		{"behind other fields,", "id: 1\nretry: 5\nevent: x\n" + strings.Join(data(chunks...), ""), streamed},
		{"with a byte order mark.", "\xef\xbb\xbf" + strings.Join(data(chunks...), ""), streamed},
		{"Two texts in one line.", chunks[0] + chunks[1] + "\n", said{failure: Malformed}},
		{"A reply and something else.", reply + "\nx", said{failure: Malformed}},
		{"Plain text.", "data please", said{failure: Malformed}},
		{"The beginning of a field.", "dat", said{failure: Malformed}},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			r := parse(t, Options{API: Chat, KeepText: true}, untyped(tt.body), nil)
			require.Equal(t, tt.want, saidBy(r), r.Message)
			require.Equal(t, tt.want.chunks > 0, r.Streamed)
		})
	}
}

// The first of the lines of an unnamed body is known to be one when the second begins; its time is its own.
func TestLines_FirstHasItsOwnTime(t *testing.T) {
	feed := func(receives ...string) *Result {
		var p Parser
		p.Reset(Options{API: Chat})
		p.Feed([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"), 1)
		for i, receive := range receives {
			at := int64(10 * (i + 1))
			p.FeedWithin([]byte(receive), at-4, at)
		}
		p.End(nil, 99)
		return p.Result()
	}
	a, b, end := delta("a")+"\n", delta("b")+"\n", finished("stop")
	require.Equal(t, []Arrival{{10, 0, 1, 0}, {20, 0, 1, 0}}, feed(a, b, end).Arrivals)
	require.Equal(t, []Arrival{{20, 0, 1, 0}, {40, 0, 1, 0}}, feed(a[:9], a[9:], "\n", b, end).Arrivals)
	r := feed(a+b, end)
	require.Equal(t, []Arrival{{10, 4, 1, 0}, {10, 0, 1, 0}}, r.Arrivals)
	require.Equal(t, 1, r.Coalesced)
	r = feed(a, b+end)
	require.Equal(t, []Arrival{{10, 0, 1, 0}, {20, 4, 1, 0}}, r.Arrivals)
	require.Zero(t, r.Coalesced)
	r = feed(a)
	require.Empty(t, r.Arrivals, "a single line is a reply")
}
