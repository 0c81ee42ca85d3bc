package stream

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// callStream is a response whose body is these events.
func callStream(events ...string) string {
	body := ""
	for _, e := range events {
		body += "data: " + e + "\n\n"
	}
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func wholeReply(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func callDelta(inner string) string {
	return `{"object":"chat.completion.chunk","choices":[{"index":0,"delta":` + inner + `,"finish_reason":null}]}`
}

const chatEnd = `{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`

func TestToolCallsAreKeptWithTheText(t *testing.T) {
	weather := ToolCall{"call_1", "get_weather", `{"town": "Oslo\n"}`}
	clock := ToolCall{"call_2", "clock", `{}`}
	for name, c := range map[string]struct {
		api   API
		reply string
		text  string
		calls []ToolCall
	}{
		"chat, arguments in pieces of equal shape": {Chat, callStream(
			callDelta(`{"role":"assistant","content":"I "}`), callDelta(`{"content":"look. "}`),
			callDelta(`{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"get_weather","arguments":""}}]}`),
			callDelta(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"town\":"}}]}`),
			callDelta(`{"tool_calls":[{"index":0,"function":{"arguments":" \"Oslo"}}]}`),
			callDelta(`{"tool_calls":[{"index":0,"function":{"arguments":"\\n\"}"}}]}`),
			callDelta(`{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"clock","arguments":"{"}}]}`),
			callDelta(`{"tool_calls":[{"index":1,"function":{"arguments":"}"}}]}`),
			chatEnd, "[DONE]"), "I look. ", []ToolCall{weather, clock}},
		"chat, every call has the index 0": {Chat, callStream(
			callDelta(`{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"get_weather","arguments":"{\"town\": \"Oslo\\n\"}"}}]}`),
			callDelta(`{"tool_calls":[{"index":0,"id":"call_2","function":{"name":"clock","arguments":"{}"}}]}`),
			chatEnd, "[DONE]"), "", []ToolCall{weather, clock}},
		"chat, calls without index and id": {Chat, callStream(
			callDelta(`{"tool_calls":[{"function":{"name":"get_weather","arguments":"{}"}},{"function":{"name":"clock","arguments":"{}"}}]}`),
			chatEnd, "[DONE]"), "", []ToolCall{{"", "get_weather", "{}"}, {"", "clock", "{}"}}},
		"chat, the last message repeats the call": {Chat, callStream(
			callDelta(`{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"get_weather","arguments":"{\"town\": \"Oslo\\n\"}"}}]}`),
			`{"object":"chat.completion.chunk","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"get_weather","arguments":"{\"town\": \"Oslo\\n\"}"}}]},"finish_reason":"tool_calls"}]}`,
			"[DONE]"), "", []ToolCall{weather}},
		"chat, whole": {Chat, wholeReply(`{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hm.","tool_calls":[
			{"id":"call_1","type":"function","function":{"name":"get_weather","arguments":"{\"town\": \"Oslo\\n\"}"}},
			{"id":"call_2","type":"function","function":{"name":"clock","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":9}}`),
			"Hm.", []ToolCall{weather, clock}},
		"messages": {Messages, callStream(
			`{"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}`,
			`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"So."}}`,
			`{"type":"content_block_stop","index":0}`,
			`{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"call_1","name":"get_weather","input":{}}}`,
			`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"town\": "}}`,
			`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\"Oslo\\n\"}"}}`,
			`{"type":"content_block_stop","index":1}`,
			`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}`, `{"type":"message_stop"}`),
			"So.", []ToolCall{weather}},
		"messages, whole": {Messages, wholeReply(`{"type":"message","content":[{"type":"text","text":"So."},{"type":"tool_use","id":"call_2","name":"clock","input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":9}}`),
			"So.", []ToolCall{clock}},
		"responses": {Responses, callStream(
			`{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"get_weather","arguments":""}}`,
			`{"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":0,"delta":"{\"town\": "}`,
			`{"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":0,"delta":"\"Oslo\\n\"}"}`,
			`{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"get_weather","arguments":"{\"town\": \"Oslo\\n\"}"}}`,
			`{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","call_id":"call_1","name":"get_weather","arguments":"{\"town\": \"Oslo\\n\"}"}],"usage":{"input_tokens":3,"output_tokens":9}}}`),
			"", []ToolCall{weather}},
		"responses, whole": {Responses, wholeReply(`{"object":"response","status":"completed","output":[{"type":"function_call","call_id":"call_2","name":"clock","arguments":"{}"}],"usage":{"input_tokens":3,"output_tokens":9}}`),
			"", []ToolCall{clock}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{len(c.reply), 7, 1} {
				var p Parser
				p.Reset(Options{API: c.api, KeepText: true})
				for rest := c.reply; rest != ""; rest = rest[min(piece, len(rest)):] {
					p.Feed([]byte(rest[:min(piece, len(rest))]), 1)
				}
				r := p.Result()
				require.Equal(t, None, r.Failure, r.Message)
				require.Equal(t, c.text, r.Text)
				require.Equal(t, c.calls, r.ToolCalls)
				arrivals := len(r.Arrivals)

				p.Reset(Options{API: c.api})
				p.Feed([]byte(c.reply), 1)
				require.Nil(t, p.Result().ToolCalls, "nobody asked for them")
				require.Len(t, p.Result().Arrivals, arrivals, "keeping them changes no measurement")
			}
		})
	}
}
