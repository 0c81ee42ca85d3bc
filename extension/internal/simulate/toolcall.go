package simulate

import (
	"strconv"

	"github.com/tidwall/gjson"
)

// defaultCallTokens is how long the arguments of a call are that a request demands without saying so.
const defaultCallTokens = 8

// planCall decides whether the answer calls a tool: as the fault says, because tool_choice demands it, or because fewer
// results of tools than the fault's rounds stand behind the user's last message.
func (a *answer) planCall(body gjson.Result) {
	a.tool = "lookup"
	first := body.Get("tools.0")
	for _, path := range []string{"function.name", "name"} { // chat; responses and messages
		if name := first.Get(path); name.Type == gjson.String {
			a.tool = name.Str
		}
	}
	if rounds := a.fault.ToolRounds; rounds > 0 && (!first.Exists() || toolResults(body.Get("messages")) >= rounds) {
		a.toolCall = 0
		return
	}
	choice := body.Get("tool_choice")
	demanded := a.fault.ToolRounds > 0 || choice.IsObject() || choice.Str == "required" || choice.Str == "any"
	switch {
	case choice.Str == "none":
		a.toolCall = 0
	case demanded && first.Exists() && a.toolCall == 0:
		a.toolCall = defaultCallTokens
	}
}

// toolResults counts the results of tools behind the last message that a user wrote. Anthropic's API has them in messages
// of the user's.
func toolResults(messages gjson.Result) (results int) {
	messages.ForEach(func(_, message gjson.Result) bool {
		switch message.Get("role").Str {
		case "tool":
			results++
		case "user":
			if n := len(message.Get(`content.#(type=="tool_result")#`).Array()); n > 0 {
				results += n
			} else {
				results = 0
			}
		}
		return true
	})
	return results
}

// The arguments of a call are a JSON object around the text, here as they stand inside a JSON string.
const (
	callOpening = `{\"query\": \"`
	callClosing = `\"}`
)

// callText makes the text of the next n tokens of a call a piece of its arguments.
func (a *answer) callText(g *generation, text []byte, n int) []byte {
	var b []byte
	if !g.calling {
		b = append(b, callOpening...)
	}
	b = append(b, text...)
	if g.emitted+n == g.target {
		b = append(b, callClosing...)
	}
	return b
}

// callID appends the id of an answer's call.
func (a *answer) callID(b []byte) []byte {
	b = append(b, "call_"...)
	return append(b, a.id...)
}

// toolJSON appends the name of the tool in quotes.
func (a *answer) toolJSON(b []byte) []byte { return strconv.AppendQuote(b, a.tool) }
