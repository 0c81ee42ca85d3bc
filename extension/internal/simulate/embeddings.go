package simulate

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/tidwall/gjson"
)

// vectorKinds is how many different vectors there are. An input's vector is chosen by its length, so that replies of
// hundreds of inputs are copied and not computed.
const vectorKinds = 64

// embedder answers /v1/embeddings. One batch of up to B inputs is computed at a time; it takes a base time and a time
// for each input token. Inputs of all requests wait in order of arrival, and a batch takes as many as it can hold, of
// several requests or a part of one.
type embedder struct {
	srv    *Server
	floats [vectorKinds][]byte // as JSON
	base64 [vectorKinds][]byte // little-endian float32
	queue  []*embedding
	batch  []embeddingShare
	timer  timer
	freeNs int64
	busy   bool
}

// embedding is one request.
type embedding struct {
	e       *embedder
	c       *conn
	beginNs int64
	inputs  []int // token counts
	taken   int   // inputs given to batches
	left    int   // inputs that are not computed
	packed  bool  // base64
	path    string
	gone    bool
}

// embeddingShare is what a batch computes of one request.
type embeddingShare struct {
	of    *embedding
	count int
}

func newEmbedder(s *Server) *embedder {
	e := &embedder{srv: s}
	e.timer.task = e
	dimensions := s.config.EmbeddingDimensions
	raw := make([]byte, dimensions*4)
	vector := make([]float64, dimensions)
	for kind := range vectorKinds {
		norm := 0.0
		for i := range vector {
			vector[i] = float64(mix(s.config.Seed+uint64(kind)<<32, uint64(i))>>11)/(1<<53) - 0.5
			norm += vector[i] * vector[i]
		}
		norm = math.Sqrt(norm)
		text := []byte{'['}
		for i, v := range vector {
			f := float32(v / norm)
			binary.LittleEndian.PutUint32(raw[i*4:], math.Float32bits(f))
			if i > 0 {
				text = append(text, ',')
			}
			text = strconv.AppendFloat(text, float64(f), 'g', -1, 32)
		}
		e.floats[kind] = append(text, ']')
		e.base64[kind] = base64.StdEncoding.AppendEncode(nil, raw)
	}
	return e
}

func (e *embedder) serve(c *conn, r *request) {
	s := e.srv
	s.received++
	s.sequence++
	c.rec = s.truth.begin(r.id, r.path, r.beginNs, r.kernelBegin)
	if !gjson.ValidBytes(r.body) {
		c.replyError(400, "Bad Request", "body", "1 validation error:\n  {'type': 'json_invalid', 'loc': 'body', 'msg': 'JSON decode error'}")
		return
	}
	body := gjson.ParseBytes(r.body)
	own, err := ownFaults(r, body)
	if err != nil {
		c.replyError(400, "BadRequestError", "simulate", err.Error())
		return
	}
	fault := s.draw(s.sequence, own...)
	if s.refuse(c, &fault) {
		return
	}
	if model := body.Get("model"); model.Exists() && model.String() != s.config.Model {
		c.replyError(404, "NotFoundError", "model", "The model `"+model.String()+"` does not exist. Valid aliases: "+s.config.Model+".")
		return
	}
	prompts, err := s.readPrompts(body.Get("input"))
	if r.path != pathEmbeddings {
		prompts, err = s.readPairs(body)
	}
	if err != nil {
		c.replyError(400, "BadRequestError", "input", err.Error())
		return
	}
	job := &embedding{e: e, c: c, path: r.path, beginNs: r.beginNs, left: len(prompts), packed: body.Get("encoding_format").String() == "base64"}
	for _, p := range prompts {
		if p.tokens > s.config.MaxModelLen {
			c.replyError(400, "BadRequestError", "input_tokens", "This model's maximum context length is "+strconv.Itoa(s.config.MaxModelLen)+
				" tokens. However, you requested "+strconv.Itoa(p.tokens)+" tokens in the input for embedding generation.")
			return
		}
		job.inputs = append(job.inputs, p.tokens)
		c.rec.promptTokens += p.tokens
	}
	s.inFlight++
	c.cancel = job
	s.metrics.promptTokens += int64(c.rec.promptTokens)
	e.queue = append(e.queue, job)
	e.begin(r.beginNs)
}

// begin starts a batch if none is being computed.
func (e *embedder) begin(atNs int64) {
	if e.busy || len(e.queue) == 0 {
		return
	}
	room, tokens := e.srv.config.EmbeddingBatch, 0
	for room > 0 && len(e.queue) > 0 {
		job := e.queue[0]
		n := min(room, len(job.inputs)-job.taken)
		for _, t := range job.inputs[job.taken : job.taken+n] {
			tokens += t
		}
		job.taken += n
		room -= n
		e.batch = append(e.batch, embeddingShare{job, n})
		if job.taken == len(job.inputs) {
			e.queue[0] = nil
			e.queue = e.queue[1:]
		}
	}
	takesNs := int64(e.srv.config.EmbeddingTime)
	if rate := e.srv.config.EmbeddingTokenRate; rate > 0 {
		takesNs += int64(float64(tokens) / rate * 1e9)
	}
	e.busy = true
	e.freeNs = max(atNs, e.freeNs) + takesNs
	e.srv.loop.pacer.set(&e.timer, e.freeNs)
}

// run ends a batch.
func (e *embedder) run(int64) {
	done := e.batch
	e.batch, e.busy = nil, false
	e.begin(e.freeNs)
	for _, share := range done {
		if share.of.left -= share.count; share.of.left == 0 && !share.of.gone {
			share.of.reply()
		}
	}
}

func (job *embedding) cancelled() {
	job.gone = true
	job.e.srv.inFlight--
	for i, other := range job.e.queue {
		if other == job {
			job.e.queue = append(job.e.queue[:i:i], job.e.queue[i+1:]...)
			return
		}
	}
}

func (job *embedding) reply() {
	s := job.e.srv
	s.inFlight--
	job.c.cancel = nil
	if job.path != pathEmbeddings {
		job.replyScores()
		return
	}
	b := append(s.payload[:0], `{"id":"`...)
	b = append(b, s.newID("embd-", s.sequence)...)
	b = append(b, `","object":"list","created":`...)
	b = strconv.AppendInt(b, s.created, 10)
	b = append(b, `,"model":`...)
	b = append(b, s.modelJSON...)
	b = append(b, `,"data":[`...)
	for i, tokens := range job.inputs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"object":"embedding","embedding":`...)
		if job.packed {
			b = append(b, '"')
			b = append(b, job.e.base64[tokens%vectorKinds]...)
			b = append(b, '"', '}')
		} else {
			b = append(b, job.e.floats[tokens%vectorKinds]...)
			b = append(b, '}')
		}
	}
	b = append(b, `],"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(job.c.rec.promptTokens), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, int64(job.c.rec.promptTokens), 10)
	b = append(b, `,"completion_tokens":0,"prompt_tokens_details":null}}`...)
	s.payload = b
	job.c.reply(200, applicationJSON, b)
	if cap(s.payload) > 4<<20 {
		s.payload = nil
	}
}
