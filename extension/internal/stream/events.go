package stream

import "bytes"

// scan reads one JSON object of the API into f: an event's data, or a whole reply. It reports whether that is valid JSON.
func (s *scanner) scan(api API, streamed bool, f *facts) bool {
	s.streamed = streamed
	s.passing.began()
	switch {
	case s.peek() != '{':
		s.skip()
		s.blanks.off = true
	case api == Responses:
		s.responses(streamed, f)
	case api == Messages:
		s.messages(streamed, f)
	case api == Embeddings:
		s.embeddings(f)
	default:
		s.completion(f)
	}
	s.vendorFailure(f)
	return s.end()
}

// completion reads a chat or text completion, a chunk of one or a whole one:
// https://platform.openai.com/docs/api-reference/chat
func (s *scanner) completion(f *facts) {
	s.ofChoices.known = false
	for key := range s.members {
		switch string(key) {
		case "id", "created", "model":
			s.pass(&ofCompletion, key)
		case "choices":
			switch s.peek() {
			case '[':
				f.shape = shapeAnswer
			case 'n':
				f.shape = max(f.shape, shapeEvent)
			}
			for range s.elements {
				s.choice(f)
			}
		case "usage":
			s.knownUsage(f)
		case "error":
			s.failure(f)
		case "object":
			s.objectType(f)
		case "message":
			s.bareMessage(f)
		case "obfuscation":
			s.textBlank(blankSkipped)
		case "x_groq":
			s.groq(f)
		default:
			s.other(&ofCompletion, key, f)
		}
	}
	if s.ofChoices.known && !f.usage.known {
		f.usage = s.ofChoices
	}
}

func (s *scanner) knownUsage(f *facts) {
	if s.peek() == '{' {
		f.shape = max(f.shape, shapeEvent)
	}
	s.usage(&f.usage)
}

func (s *scanner) choice(f *facts) {
	if f.choices++; f.choices > 1 {
		s.blanks.off = true
	}
	if s.peek() != '{' {
		s.skip()
		return
	}
	text := f.text
	f.text, f.choice = nil, 0
	ends, hasDelta, message := false, false, 0
	for key := range s.members {
		switch string(key) {
		case "index":
			if n, ok := s.countBlank(blankChoice); ok {
				f.choice = min(n, MaxChoices-1)
			}
		case "delta":
			hasDelta = hasDelta || s.peek() == '{'
			s.message(f)
		case "message":
			if !s.streamed {
				s.message(f)
				continue
			}
			s.peek()
			message = s.i
			s.blanks.off = true
			s.skip()
		case "text":
			s.delta(blankContent, f)
		case "finish_reason":
			ends = s.finishReason(f) || ends
		case "usage": // Moonshot's API has it here alone
			s.innerUsage()
		case "error": // OpenRouter's, beside the finish reason
			s.failure(f)
		default:
			s.pass(&ofChoice, key)
		}
	}
	if message > 0 && !hasDelta && !s.bad {
		// Beside a delta the message repeats what came. Where there is none it is the answer so far.
		end := s.i
		s.i = message
		s.message(f)
		s.i = end
		f.whole = true
	}
	f.seen |= 1 << f.choice
	if ends {
		f.ended |= 1 << f.choice
	}
	if f.choice != 0 {
		f.text = text
	}
}

// innerUsage reads a usage object that does not stand where the API has it.
func (s *scanner) innerUsage() {
	var u usage
	if s.usage(&u); u.known {
		s.ofChoices.add(&u)
		s.blanks.off = true
	}
}

// groq reads what Groq's API adds to a chunk: the usage, where none was asked for, and an error.
func (s *scanner) groq(f *facts) {
	for key := range s.members {
		switch string(key) {
		case "usage":
			s.innerUsage()
		case "error":
			s.failure(f)
		default:
			s.skip()
		}
	}
}

// finishReason reads why a choice ended. A reason that means failure stays, whatever others the event has.
func (s *scanner) finishReason(f *facts) (given bool) {
	reason, ok := s.text()
	if !ok || len(reason) == 0 {
		return false
	}
	if f.finish == nil || !meansFailure(f.finish) {
		f.finish = reason
	}
	s.blanks.off = true
	return true
}

// message reads the delta or the message of a choice.
func (s *scanner) message(f *facts) {
	before, text, kept, thought := f.output, f.text, len(s.joined), false
	f.output = 0
	for key := range s.members {
		switch string(key) {
		case "content":
			if s.peek() == '[' {
				s.parts(f)
			} else {
				s.delta(blankContent, f)
			}
		case "reasoning_content", "reasoning", "thinking":
			s.delta(blankReasoning, f)
		case "reasoning_details":
			s.blanks.off = true
			for range s.elements {
				s.thought(f)
			}
		case "refusal":
			s.delta(blankRefusal, f)
		case "audio":
			s.audio(f)
		case "images":
			for range s.elements {
				if s.peek() == '{' {
					f.output |= outMedia
					s.blanks.off = true
				}
				s.skip()
			}
		case "tool_calls":
			for range s.elements {
				s.toolCall(f)
			}
		case "function_call":
			var piece callPiece
			s.function(f, &piece)
			s.keepCall(piece)
		case "extra_content":
			thought = s.googleThought() || thought
		default:
			s.pass(&ofDelta, key)
		}
	}
	// A whole reply has thoughts and answer in one text.
	if thought && s.streamed && f.output&outContent != 0 {
		f.output, f.text, s.joined = f.output&^outContent|outReasoning, text, s.joined[:kept]
		s.blanks.off = true
	}
	f.output |= before
}

// googleThought reports whether what Google's APIs add to a delta says that its content is a thought (the thinking of OpenAI's mode
// of Gemini and Vertex AI, where include_thoughts asks for it).
func (s *scanner) googleThought() (thought bool) {
	for key := range s.members {
		if string(key) != "google" {
			s.skip()
			continue
		}
		for key := range s.members {
			c := s.peek()
			s.skip()
			thought = thought || string(key) == "thought" && c == 't'
		}
	}
	return thought
}

// audio reads a piece of speech: its text, its sound, or both. An id and an expiry alone are no output.
func (s *scanner) audio(f *facts) {
	for key := range s.members {
		switch string(key) {
		case "data", "transcript":
			s.delta(blankMedia, f)
		default:
			s.skip()
		}
	}
}

// thought reads a value whose text, at any depth, is reasoning: a list of parts, one part, or a string.
func (s *scanner) thought(f *facts) {
	switch s.peek() {
	case '"':
		if raw, ok := s.text(); ok {
			f.setText(blankReasoning, raw)
		}
	case '[':
		for range s.elements {
			s.thought(f)
		}
	default:
		for key := range s.members {
			switch string(key) {
			case "text", "thinking", "summary":
				s.thought(f)
			default:
				s.skip()
			}
		}
	}
}

func (s *scanner) delta(kind blankKind, f *facts) {
	if raw, ok := s.textBlank(kind); ok {
		f.setText(kind, raw)
	}
}

func (s *scanner) toolCall(f *facts) {
	piece := callPiece{index: -1}
	for key := range s.members {
		switch string(key) {
		case "index":
			if n, ok := s.countBlank(blankCount); ok {
				piece.index = n
			}
		case "id":
			piece.id, _ = s.text()
		case "function":
			s.function(f, &piece)
		default:
			s.skip()
		}
	}
	s.keepCall(piece)
}

func (s *scanner) function(f *facts, piece *callPiece) {
	for key := range s.members {
		switch string(key) {
		case "name", "arguments":
			name := string(key) == "name"
			raw, ok := s.textBlank(blankTool)
			if !ok {
				continue
			}
			f.setText(blankTool, raw)
			if name {
				piece.name = raw
			} else {
				piece.args = raw
			}
		default:
			s.skip()
		}
	}
}

// parts reads content that is a list of typed parts: text is content, thinking is reasoning, a tool use is a tool call.
func (s *scanner) parts(f *facts) {
	s.blanks.off = true
	for range s.elements {
		s.part(f)
	}
}

func (s *scanner) part(f *facts) {
	if s.peek() == '{' {
		f.items++
	}
	piece := callPiece{index: -1, json: true}
	for key := range s.members {
		switch string(key) {
		case "id":
			piece.id, _ = s.text()
		case "input": // of a tool use: the arguments as JSON
			s.peek()
			start := s.i
			if s.skip(); !s.bad {
				piece.args = s.b[start:s.i]
			}
		case "text":
			if raw, ok := s.text(); ok {
				f.setText(blankContent, raw)
				if s.keepText {
					s.joined = appendUnescaped(s.joined, raw)
				}
			}
		case "refusal":
			if raw, ok := s.text(); ok {
				f.setText(blankRefusal, raw)
			}
		case "thinking":
			s.thought(f)
		case "name":
			if raw, ok := s.text(); ok {
				f.setText(blankTool, raw)
				piece.name = raw
			}
		default:
			s.skip()
		}
	}
	if piece.name != nil {
		s.keepCall(piece)
	}
}

// usage reads a usage object under the names of any API.
func (s *scanner) usage(u *usage) {
	for key := range s.members {
		switch string(key) {
		case "prompt_tokens", "input_tokens":
			if n, ok := s.countBlank(blankInput); ok {
				u.input, u.known = n, true
			}
		case "completion_tokens", "output_tokens":
			if n, ok := s.countBlank(blankOutput); ok {
				u.output, u.known, u.outputKnown = n, true, true
			}
		case "total_tokens":
			u.total, _ = s.countBlank(blankTotal)
		case "prompt_tokens_details", "input_tokens_details":
			if n, ok := s.nestedCount("cached_tokens", blankCached); ok {
				u.cached, u.cachedKnown = n, true
			}
		case "completion_tokens_details", "output_tokens_details":
			if n, ok := s.nestedCount("reasoning_tokens", blankThought); ok {
				u.reasoning = n
			}
		case "cached_tokens", "prompt_cache_hit_tokens": // Moonshot's and DeepSeek's names
			if n, ok := s.wholeNumber(); ok && !u.cachedKnown {
				u.cached, u.cachedKnown = n, true
			}
			s.blanks.off = true
		case "cache_read_input_tokens":
			n, ok := s.wholeNumber()
			u.cacheRead = n
			u.cachedKnown = u.cachedKnown || ok
			s.blanks.off = true
		case "cache_creation_input_tokens":
			u.cacheWrite, _ = s.wholeNumber()
			s.blanks.off = true
		default:
			s.skip()
		}
	}
}

func (s *scanner) nestedCount(name string, kind blankKind) (n int, ok bool) {
	for key := range s.members {
		if string(key) == name {
			n, ok = s.countBlank(kind)
		} else {
			s.skip()
		}
	}
	return n, ok
}

// failure reads the value of a member "error": null, false and "" are none.
func (s *scanner) failure(f *facts) {
	start := 0
	switch s.peek() {
	case 'n', 'f':
		s.skip()
		return
	case '"':
		raw, ok := s.text()
		if !ok || len(raw) == 0 {
			return
		}
		f.message, f.quoted = raw, true
	case '{':
		start = s.i
		found := false
		for key := range s.members {
			if string(key) != "message" {
				s.skip()
			} else if raw, ok := s.text(); ok && len(raw) > 0 {
				f.message, f.quoted, found = raw, true, true
			}
		}
		if !found && !s.bad {
			f.message, f.quoted = s.b[start:s.i], false
		}
	default:
		start = s.i
		s.skip()
		if !s.bad {
			f.message, f.quoted = s.b[start:s.i], false
		}
	}
	f.failed = true
	s.blanks.off = true
}

// objectType reads the name of what the object is. {"object": "error", "message": "..."} is an error as vLLM wrote it
// before it wrapped them.
func (s *scanner) objectType(f *facts) {
	raw, ok := s.text()
	switch {
	case !ok:
	case string(raw) == "error":
		f.failed = true
		s.blanks.off = true
	case string(raw) == "chat.completion.chunk", bytes.HasPrefix(raw, []byte("chat.completion")), bytes.HasPrefix(raw, []byte("text_completion")):
		f.shape = max(f.shape, shapeEvent)
	}
}

// bareMessage keeps a top-level message, which is an error's if the object turns out to be one.
func (s *scanner) bareMessage(f *facts) {
	if raw, ok := s.text(); ok && f.message == nil {
		f.message, f.quoted = raw, true
	}
	s.blanks.off = true
}

// embeddings reads https://platform.openai.com/docs/api-reference/embeddings
func (s *scanner) embeddings(f *facts) {
	for key := range s.members {
		switch string(key) {
		case "data":
			if s.peek() == '[' {
				f.shape = shapeAnswer
			}
			for range s.elements {
				s.skip()
				f.items++
			}
		case "usage":
			s.usage(&f.usage)
		case "error":
			s.failure(f)
		case "object":
			s.objectType(f)
		case "message":
			s.bareMessage(f)
		default:
			s.other(nil, key, f)
		}
	}
}

// responses reads https://platform.openai.com/docs/api-reference/responses: an event of its stream, or the reply itself.
func (s *scanner) responses(streamed bool, f *facts) {
	if !streamed {
		s.response(f)
		return
	}
	var kind, delta []byte
	piece := callPiece{index: -1}
	for key := range s.members {
		switch string(key) {
		case "type":
			kind, _ = s.text()
			f.shape = shapeEvent
		case "delta":
			delta, _ = s.textBlank(blankDelta)
		case "output_index":
			if n, ok := s.countBlank(blankCount); ok {
				piece.index = n
			}
		case "sequence_number", "content_index", "summary_index":
			s.countBlank(blankCount)
		case "item":
			s.callItem(&piece)
		case "obfuscation":
			s.textBlank(blankSkipped)
		case "response":
			s.response(f)
		case "error":
			s.failure(f)
		case "message":
			s.bareMessage(f)
		default:
			s.other(&ofResponses, key, f)
		}
	}
	blank := blankSkipped
	switch string(kind) {
	case "response.output_text.delta":
		blank = blankContent
	case "response.refusal.delta":
		blank = blankRefusal
	case "response.reasoning_text.delta", "response.reasoning_summary_text.delta", "response.reasoning.delta",
		"response.reasoning_summary.delta":
		blank = blankReasoning
	case "response.function_call_arguments.delta", "response.mcp_call_arguments.delta",
		"response.custom_tool_call_input.delta", "response.code_interpreter_call_code.delta":
		blank = blankTool
	case "response.audio.delta", "response.audio.transcript.delta", "response.output_audio.delta",
		"response.output_audio_transcript.delta":
		blank = blankMedia
	case "response.completed", "response.incomplete":
		f.done = true
		f.whole = true // of use where no delta came
		s.blanks.off = true
		return
	case "response.failed", "error":
		f.failed = true
		s.blanks.off = true
	}
	f.output, f.text = 0, nil
	s.joined = s.joined[:0]
	s.blanks.rename(blankDelta, blank)
	f.setText(blank, delta)
	if blank == blankTool {
		piece.args = delta
	}
	if blank == blankTool || piece.name != nil {
		s.keepCall(piece)
	}
}

// callItem reads what an event says of an item of the output that it begins or ends: of a call its name and id.
func (s *scanner) callItem(piece *callPiece) {
	s.blanks.off = true
	for key := range s.members {
		switch string(key) {
		case "call_id":
			piece.id, _ = s.text()
		case "name":
			piece.name, _ = s.text()
		case "arguments":
			piece.args, _ = s.text()
			piece.repeats = true
		default:
			s.skip()
		}
	}
}

// response reads the response object.
func (s *scanner) response(f *facts) {
	s.blanks.off = true
	for key := range s.members {
		switch string(key) {
		case "status":
			if raw, ok := s.text(); ok && f.finish == nil {
				switch string(raw) {
				case "completed", "incomplete", "cancelled", "canceled":
					f.finish = raw
				case "failed":
					f.failed = true
				}
			}
		case "incomplete_details":
			for key := range s.members {
				if string(key) != "reason" {
					s.skip()
				} else if raw, ok := s.text(); ok && len(raw) > 0 {
					f.finish = raw
				}
			}
		case "output":
			if s.peek() == '[' {
				f.shape = shapeAnswer
			}
			for range s.elements {
				s.outputItem(f)
			}
		case "usage":
			s.usage(&f.usage)
		case "error":
			s.failure(f)
		case "object":
			s.objectType(f)
		case "message":
			s.bareMessage(f)
		default:
			s.other(nil, key, f)
		}
	}
}

// outputItem reads one entry of a response's output: a message, a reasoning item, a call.
func (s *scanner) outputItem(f *facts) {
	reasoning := false
	before, text, kept := f.output, f.text, len(s.joined)
	piece := callPiece{index: -1}
	for key := range s.members {
		switch string(key) {
		case "type":
			raw, _ := s.text()
			reasoning = string(raw) == "reasoning"
		case "call_id":
			piece.id, _ = s.text()
		case "content", "summary":
			if s.peek() == '[' {
				s.parts(f)
			} else {
				s.skip()
			}
		case "name", "arguments":
			name := string(key) == "name"
			if raw, ok := s.text(); ok {
				f.setText(blankTool, raw)
				if name {
					piece.name = raw
				} else {
					piece.args = raw
				}
			}
		default:
			s.skip()
		}
	}
	if piece.name != nil {
		s.keepCall(piece)
	}
	if reasoning && f.output != before {
		f.output, f.text, s.joined = before|outReasoning, text, s.joined[:kept]
	}
}

// messages reads https://docs.anthropic.com/en/api/messages: an event of its stream, or the reply itself.
func (s *scanner) messages(streamed bool, f *facts) {
	var kind []byte
	var start usage
	piece := callPiece{index: -1}
	for key := range s.members {
		switch string(key) {
		case "type":
			kind, _ = s.text()
			f.shape = max(f.shape, shapeEvent)
		case "index":
			if n, ok := s.countBlank(blankCount); ok {
				piece.index = n
			}
		case "delta":
			s.blockDelta(f, &piece)
		case "content_block":
			s.blockStart(f, &piece)
		case "message":
			if s.peek() == '{' {
				s.startedMessage(&start)
			} else {
				s.bareMessage(f)
			}
		case "content":
			if streamed || s.peek() != '[' {
				s.skip()
			} else {
				f.shape = shapeAnswer
				s.parts(f)
			}
		case "stop_reason":
			s.finishReason(f)
		case "usage":
			s.usage(&f.usage)
		case "error":
			s.failure(f)
		default:
			s.other(&ofMessages, key, f)
		}
	}
	if piece.name != nil || piece.args != nil {
		s.keepCall(piece)
	}
	switch string(kind) {
	case "message_start":
		start.outputKnown = false // what the first event says of output is not the final count
		f.usage = start
	case "message_stop":
		f.done = true
	case "error":
		f.failed = true
		s.blanks.off = true
	}
}

func (s *scanner) startedMessage(u *usage) {
	s.blanks.off = true
	for key := range s.members {
		if string(key) == "usage" {
			s.usage(u)
		} else {
			s.skip()
		}
	}
}

// blockDelta reads the delta of content_block_delta and of message_delta.
func (s *scanner) blockDelta(f *facts, piece *callPiece) {
	for key := range s.members {
		switch string(key) {
		case "text":
			s.delta(blankContent, f)
		case "thinking":
			s.delta(blankReasoning, f)
		case "partial_json":
			if raw, ok := s.textBlank(blankTool); ok {
				f.setText(blankTool, raw)
				piece.args = raw
			}
		case "stop_reason":
			s.finishReason(f)
		default:
			s.skip()
		}
	}
}

// blockStart reads the block of content_block_start. Anthropic's own holds no text yet; a tool's name is none either.
func (s *scanner) blockStart(f *facts, piece *callPiece) {
	s.blanks.off = true
	for key := range s.members {
		switch string(key) {
		case "text":
			s.delta(blankContent, f)
		case "thinking":
			s.delta(blankReasoning, f)
		case "id":
			piece.id, _ = s.text()
		case "name":
			piece.name, _ = s.text()
		default:
			s.skip()
		}
	}
}
