package simulate

import (
	"encoding/json"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// serveTokenize answers /tokenize as vLLM does: the tokens of a prompt or a conversation. llama-server's field "content"
// is understood, too.
func (s *Server) serveTokenize(c *conn, r *request) {
	if !gjson.ValidBytes(r.body) {
		c.replyError(400, "Bad Request", "body", "1 validation error:\n  {'type': 'json_invalid', 'loc': 'body', 'msg': 'JSON decode error'}")
		return
	}
	body := gjson.ParseBytes(r.body)
	reader := promptReader{keep: true, block: 1}
	text := body.Get("prompt")
	if text.Type != gjson.String {
		text = body.Get("content")
	}
	messages := body.Get("messages")
	switch {
	case text.Type == gjson.String:
		reader.text(text.Str)
	case messages.IsArray():
		s.readMessages(&reader, messages)
		reader.overhead(answerTokens)
	default:
		c.replyError(400, "BadRequestError", "prompt", "prompt or messages must be given")
		return
	}
	p := reader.done()
	ids := make([]uint64, p.tokens)
	for i := range ids {
		at := i * tokenBytes
		var id uint64
		for _, x := range reader.content[at : at+tokenBytes] {
			id = id<<8 | uint64(x)
		}
		ids[i] = mix(id, 0) % maxTokenID
	}
	b, err := json.Marshal(map[string]any{"count": p.tokens, "max_model_len": s.config.MaxModelLen, "tokens": ids, "token_strs": nil})
	if err != nil {
		c.replyError(500, "InternalServerError", "", err.Error())
		return
	}
	c.reply(200, applicationJSON, b)
}

// maxTokenizerTokens bounds one reply of /tokenizer.
const maxTokenizerTokens = 10_000_000

// serveTokenizer answers /tokenizer: a token generator that does not stream, with output_tokens and input_text from the
// query or a JSON body. It stands for the servers whose whole benchmark is requests/s and tokens/s of the replies.
func (s *Server) serveTokenizer(c *conn, r *request) {
	c.rec = s.truth.begin(r.id, r.path, r.beginNs, r.kernelBegin)
	if s.refuseSimple(c, r) {
		return
	}
	count, input := 100, ""
	if r.query != "" {
		values := r.values()
		input = values.Get("input_text")
		if text := values.Get("output_tokens"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				n = -1
			}
			count = n
		}
	}
	if len(r.body) > 0 {
		body := gjson.ParseBytes(r.body)
		if n := body.Get("output_tokens"); n.Exists() {
			count = int(n.Int())
		}
		if text := body.Get("input_text"); text.Exists() {
			input = text.String()
		}
	}
	if count < 0 || count > maxTokenizerTokens {
		c.replyError(400, "BadRequestError", "output_tokens", "output_tokens must be a number between 0 and 10000000")
		return
	}
	if limit := s.config.TokenizerCap; limit > 0 && s.tokenizerInFlight >= limit {
		c.rec.fault = "over the cap"
		c.replyError(429, "RateLimitError", "", "Too many requests are in flight")
		return
	}
	c.rec.promptTokens = tokensOf(input)
	delayNs := int64(s.config.TokenizerTime)
	if rate := s.config.TokenizerRate; rate > 0 {
		delayNs += int64(float64(count) / rate * 1e9)
	}
	if delayNs == 0 {
		s.replyTokenizer(c, count)
		return
	}
	s.tokenizerInFlight++
	s.delayed(c, r.beginNs+delayNs, func() { s.replyTokenizer(c, count) }, func() { s.tokenizerInFlight-- })
}

func (s *Server) replyTokenizer(c *conn, count int) {
	b := append(s.payload[:0], `{"input_tokens":`...)
	b = strconv.AppendInt(b, int64(c.rec.promptTokens), 10)
	b = append(b, `,"output_tokens":`...)
	b = strconv.AppendInt(b, int64(count), 10)
	b = append(b, `,"output_text":"`...)
	b = s.vocab.appendRunning(b, count)
	b = append(b, `"}`...)
	s.payload = b
	c.replyTokens(200, applicationJSON, b, count)
	if cap(s.payload) > 4<<20 {
		s.payload = nil
	}
}

// delay is a reply that is due later.
type delay struct {
	timer timer
	c     *conn
	reply func()
	done  func()
}

// delayed calls reply at atNs unless the client leaves before, and done in both cases, before the reply.
func (s *Server) delayed(c *conn, atNs int64, reply, done func()) {
	d := &delay{c: c, reply: reply, done: done}
	d.timer.task = d
	c.cancel = d
	if atNs <= clock.Now() {
		d.run(0)
		return
	}
	s.loop.pacer.set(&d.timer, atNs)
}

func (d *delay) run(int64) {
	d.c.cancel = nil
	d.done()
	d.reply()
}

func (d *delay) cancelled() {
	d.c.srv.loop.pacer.clear(&d.timer)
	d.done()
}
