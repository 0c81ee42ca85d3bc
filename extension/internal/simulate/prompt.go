package simulate

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tidwall/gjson"
)

// prompt is what a model reads: its length, and, where a prefix cache wants to compare, its content.
type prompt struct {
	tokens int
	blocks []uint64 // hash of each whole block of 16 tokens together with all before it
}

// The chat template: what a message and the request for an answer cost beside the text.
const (
	messageTokens = 4
	answerTokens  = 3
	imageTokens   = 256
	maxTokenID    = 1 << 20
)

// promptReader counts tokens and, if asked, keeps the content as four bytes a token.
type promptReader struct {
	keep    bool
	block   int
	content []byte
	tokens  int
}

func (p *promptReader) text(s string) {
	n := tokensOf(s)
	p.tokens += n
	if p.keep {
		p.content = append(p.content, s...)
		for len(p.content)%tokenBytes != 0 {
			p.content = append(p.content, 0)
		}
	}
}

func (p *promptReader) overhead(n int) {
	p.tokens += n
	if p.keep {
		p.content = append(p.content, make([]byte, n*tokenBytes)...)
	}
}

func (p *promptReader) id(n int64) {
	p.tokens++
	if p.keep {
		p.content = binary.LittleEndian.AppendUint32(p.content, uint32(n))
	}
}

func (p *promptReader) done() prompt {
	out := prompt{tokens: p.tokens}
	hash := uint64(14695981039346656037)
	for rest := p.content; len(rest) >= p.block*tokenBytes && p.keep; rest = rest[p.block*tokenBytes:] {
		for i := 0; i < p.block*tokenBytes; i += tokenBytes {
			hash = (hash ^ uint64(binary.LittleEndian.Uint32(rest[i:]))) * 1099511628211
		}
		hash = mix(hash, 1)
		out.blocks = append(out.blocks, hash)
	}
	return out
}

//lint:ignore ST1005 vLLM's wording, which clients see
var errNoPrompt = errors.New("Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)")

// readPrompts reads the prompt of a completions or embeddings request: a text, token ids, or a list of either.
func (s *Server) readPrompts(value gjson.Result) ([]prompt, error) {
	if value.Type == gjson.String {
		if value.Str == "" {
			return nil, errNoPrompt
		}
		reader := s.promptReader()
		reader.text(value.Str)
		return []prompt{reader.done()}, nil
	}
	if !value.IsArray() {
		return nil, errNoPrompt
	}
	var prompts []prompt
	var err error
	ids := s.promptReader()
	value.ForEach(func(_, element gjson.Result) bool {
		switch {
		case element.Type == gjson.Number:
			err = ids.takeID(element)
		case element.Type == gjson.String:
			reader := s.promptReader()
			reader.text(element.Str)
			prompts = append(prompts, reader.done())
		case element.IsArray():
			reader := s.promptReader()
			element.ForEach(func(_, id gjson.Result) bool {
				err = reader.takeID(id)
				return err == nil
			})
			prompts = append(prompts, reader.done())
		default:
			err = errNoPrompt
		}
		return err == nil
	})
	if err == nil && ids.tokens > 0 {
		if len(prompts) > 0 {
			return nil, errors.New("prompt mixes token ids with texts")
		}
		prompts = []prompt{ids.done()}
	}
	for _, p := range prompts {
		if p.tokens == 0 {
			err = errNoPrompt
		}
	}
	if err == nil && len(prompts) == 0 {
		err = errNoPrompt
	}
	return prompts, err
}

func (p *promptReader) takeID(value gjson.Result) error {
	id := value.Int()
	if value.Type != gjson.Number || id < 0 || id >= maxTokenID {
		//lint:ignore ST1005 vLLM's wording, which clients see
		return fmt.Errorf("Token id %s is out of vocabulary", value.Raw)
	}
	p.id(id)
	return nil
}

func (s *Server) promptReader() promptReader {
	e := &s.config.Pacing.Engine
	return promptReader{keep: !s.config.Pacing.Scheduled && e.PrefixCache, block: e.BlockSize}
}

// readMessages reads a conversation: roles with texts or lists of parts.
func (s *Server) readMessages(reader *promptReader, messages gjson.Result) {
	messages.ForEach(func(_, message gjson.Result) bool {
		reader.overhead(messageTokens)
		reader.messageContent(message.Get("content"))
		if calls := message.Get("tool_calls"); calls.Exists() {
			reader.text(calls.Raw)
		}
		return true
	})
}

// messageContent reads the content of a message: a text, or parts of which images count as many tokens each.
func (p *promptReader) messageContent(content gjson.Result) {
	switch {
	case content.Type == gjson.String:
		p.text(content.Str)
	case content.IsArray():
		content.ForEach(func(_, part gjson.Result) bool {
			if text := part.Get("text"); text.Exists() {
				p.text(text.Str)
			} else {
				p.overhead(imageTokens)
			}
			return true
		})
	}
}
