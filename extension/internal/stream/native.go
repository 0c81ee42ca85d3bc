package stream

// native reads one event of the streams that servers have beside the APIs of others, by the members that their documents
// name: Ollama's /api/generate and /api/chat, TGI's /generate_stream, llama-server's /completion, Triton's generate_stream.
// The shape stays unknown where it is none of them.
func (s *scanner) native(f *facts) bool {
	s.blanks.off = true
	s.streamed = true
	isOllama, isTGI, isLlama, isTriton := false, false, false, false
	ended := false
	for key := range s.members {
		switch string(key) {
		case "error":
			s.failure(f)
		case "response": // Ollama
			s.delta(blankContent, f)
		case "thinking":
			s.delta(blankReasoning, f)
		case "message":
			if s.peek() == '{' {
				s.message(f)
			} else {
				s.bareMessage(f)
			}
		case "done":
			ended, isOllama = s.flag()
		case "done_reason":
			s.finishReason(f)
		case "prompt_eval_count", "tokens_evaluated":
			s.counted(&f.usage.input, f)
		case "eval_count", "tokens_predicted":
			f.usage.outputKnown = s.counted(&f.usage.output, f)
		case "token": // TGI
			isTGI = s.peek() == '{' || isTGI
			s.token(f)
		case "details":
			ended = s.details(f) || ended
		case "content": // llama-server
			s.delta(blankContent, f)
		case "stop":
			var ok bool
			if ended, ok = s.flag(); ok {
				isLlama = true
			}
		case "stop_type":
			if raw, ok := s.text(); ok && len(raw) > 0 && string(raw) != "none" {
				f.finish = raw
			}
		case "text_output": // Triton
			isTriton = isTriton || s.peek() == '"'
			s.delta(blankContent, f)
		default:
			s.other(nil, key, f)
		}
	}
	switch {
	case isOllama || isTGI || isLlama:
		f.ends, f.done, f.shape = true, ended, shapeEvent
	case isTriton: // the end of its body is its only end
		f.shape = shapeEvent
	default:
		f.output, f.text, f.finish, f.usage = 0, nil, nil, usage{}
		s.joined = s.joined[:0]
	}
	s.vendorFailure(f)
	return s.end()
}

// token reads TGI's token. A special one, such as the end of the text, is counted but not shown.
func (s *scanner) token(f *facts) {
	var text []byte
	special := false
	for key := range s.members {
		switch string(key) {
		case "text":
			text, _ = s.text()
		case "special":
			special, _ = s.flag()
		default:
			s.skip()
		}
	}
	if !special {
		f.setText(blankContent, text)
	}
}

// details reads what TGI adds to the last event.
func (s *scanner) details(f *facts) (given bool) {
	given = s.peek() == '{'
	for key := range s.members {
		switch string(key) {
		case "finish_reason":
			s.finishReason(f)
		case "generated_tokens":
			f.usage.outputKnown = s.counted(&f.usage.output, f)
		default:
			s.skip()
		}
	}
	return given
}

// counted reads a count of the usage into n.
func (s *scanner) counted(n *int, f *facts) (ok bool) {
	*n, ok = s.wholeNumber()
	f.usage.known = f.usage.known || ok
	return ok
}

// flag reads a boolean; ok = false for all else, which is skipped.
func (s *scanner) flag() (value, ok bool) {
	c := s.peek()
	s.skip()
	return c == 't', (c == 't' || c == 'f') && !s.bad
}
