package stream

import "strings"

// failing are parts of the finish reasons with which a server says that it did not, or would not, finish the answer:
// error, network_error (Z.ai), insufficient_system_resource (DeepSeek), abort (vLLM, SGLang), content_filter, sensitive
// (Z.ai), SAFETY and PROHIBITED_CONTENT (Gemini), refusal (Anthropic's classifiers), cancelled (Responses).
var failing = []string{
	"error", "fail", "abort", "cancel", "timeout", "timed_out", "overload", "unavailable", "insufficient", "interrupt", "exception",
	"disconnect", "malformed", "filter", "sensitive", "safety", "block", "prohibit", "recitation", "spii", "refus", "reject", "denied",
	"violat",
}

// meansFailure reports whether a finish reason means that the answer is not complete. A reason that is on no list does
// not: servers have many words for an end in good order, and the result names it.
func meansFailure(reason []byte) bool {
	switch string(reason) {
	case "stop", "length", "tool_calls", "function_call", "end_turn", "max_tokens", "stop_sequence", "tool_use", "completed",
		"max_output_tokens", "eos", "eos_token", "STOP", "MAX_TOKENS":
		return false
	}
	lower := strings.ToLower(string(reason))
	for _, part := range failing {
		if strings.Contains(lower, part) {
			return true
		}
	}
	return false
}
