package simulate

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

const weatherTool = `"tools":[{"type":"function","name":"get_weather","function":{"name":"get_weather"}}]`

func TestToolCall_InAnAnswerWhereItIsAskedFor(t *testing.T) {
	s := start(t, nil)
	user := `{"role":"user","content":"Weather?"}`
	call := `{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"get_weather","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"rain"}`
	for name, c := range map[string]struct {
		messages, more string
		calls          int64
	}{
		"no tools":                       {user, `"simulate":{"toolRounds":2}`, 0},
		"first round":                    {user, weatherTool + `,"simulate":{"toolRounds":2}`, 1},
		"second round":                   {user + "," + call, weatherTool + `,"simulate":{"toolRounds":2}`, 1},
		"rounds are over":                {user + "," + call + "," + call, weatherTool + `,"simulate":{"toolRounds":2}`, 0},
		"the user asks again":            {user + "," + call + "," + call + "," + user, weatherTool + `,"simulate":{"toolRounds":2}`, 1},
		"tools alone":                    {user, weatherTool, 0},
		"required":                       {user, weatherTool + `,"tool_choice":"required"`, 1},
		"a named tool":                   {user, weatherTool + `,"tool_choice":{"type":"function","function":{"name":"get_weather"}}`, 1},
		"none, whatever the server does": {user, weatherTool + `,"tool_choice":"none","simulate":{"toolCallTokens":3}`, 0},
	} {
		r := ask(t, s, "POST", pathChat, `{"max_tokens":400,"messages":[`+c.messages+`],`+c.more+`}`)
		require.Equal(t, 200, r.status, name)
		require.Equal(t, c.calls, r.field("choices.0.message.tool_calls.#").Int(), name)
		reason := "stop"
		if c.calls > 0 {
			reason = "tool_calls"
			require.Equal(t, "get_weather", r.field("choices.0.message.tool_calls.0.function.name").Str, name)
			require.True(t, gjson.Valid(r.field("choices.0.message.tool_calls.0.function.arguments").Str), name)
		}
		require.Equal(t, reason, r.field("choices.0.finish_reason").Str, name)
	}
}

func TestStreamedArgumentsAreJSON(t *testing.T) {
	s := start(t, nil)
	for _, path := range []string{pathChat, pathResponses, pathMessages} {
		for _, perChunk := range []string{"1", "3"} {
			r := ask(t, s, "POST", path, `{"max_tokens":400,"max_output_tokens":400,"stream":true,"input":"Hi","messages":[{"role":"user","content":"Hi"}],`+
				weatherTool+`,"simulate":{"outputTokens":12,"toolCallTokens":6,"tokensPerChunk":`+perChunk+`}}`)
			arguments, name := "", ""
			for _, event := range r.events() {
				for _, field := range []string{"choices.0.delta.tool_calls.0.function.arguments", "delta.partial_json"} {
					arguments += gjson.Get(event, field).Str
				}
				if gjson.Get(event, "type").Str == "response.function_call_arguments.delta" {
					arguments += gjson.Get(event, "delta").Str
				}
				for _, field := range []string{"choices.0.delta.tool_calls.0.function.name", "content_block.name", "item.name"} {
					if n := gjson.Get(event, field).Str; n != "" {
						name = n
					}
				}
			}
			require.Equal(t, "get_weather", name, path)
			require.True(t, gjson.Valid(arguments), "%s: %s", path, arguments)
			require.EqualValues(t, 6*tokenBytes, len(gjson.Get(arguments, "query").Str), path)
		}
	}
}
