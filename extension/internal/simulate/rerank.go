package simulate

import (
	"errors"
	"strconv"

	"github.com/tidwall/gjson"
)

// readPairs reads the pairs of texts of a rerank or score request, each of which is one input of the model.
func (s *Server) readPairs(body gjson.Result) ([]prompt, error) {
	one, others := body.Get("query"), body.Get("documents")
	if !one.Exists() {
		one, others = body.Get("text_1"), body.Get("text_2")
	}
	var prompts []prompt
	pair := func(document gjson.Result) {
		reader := s.promptReader()
		reader.text(one.String())
		reader.text(document.String())
		prompts = append(prompts, reader.done())
	}
	if others.IsArray() {
		for _, document := range others.Array() {
			pair(document)
		}
	} else if others.Exists() {
		pair(others)
	}
	if one.String() == "" || len(prompts) == 0 {
		return nil, errors.New("a query and documents, or text_1 and text_2, must be provided")
	}
	return prompts, nil
}

// replyScores answers with a score a pair, as vLLM's /rerank and /score do. The scores are no judgement.
func (job *embedding) replyScores() {
	s := job.e.srv
	b := append(s.payload[:0], `{"id":"`...)
	b = append(b, s.newID("score-", s.sequence)...)
	b = append(b, `","model":`...)
	b = append(b, s.modelJSON...)
	ranks := job.path == pathRerank
	if ranks {
		b = append(b, `,"results":[`...)
	} else {
		b = append(b, `,"object":"list","data":[`...)
	}
	for i := range job.inputs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		if ranks {
			b = append(b, `,"relevance_score":0.`...)
		} else {
			b = append(b, `,"object":"score","score":0.`...)
		}
		b = strconv.AppendInt(b, int64(len(job.inputs)-i), 10)
		b = append(b, '}')
	}
	b = append(b, `],"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(job.c.rec.promptTokens), 10)
	b = append(member(b, "total_tokens", job.c.rec.promptTokens), `,"completion_tokens":0}}`...)
	s.payload = b
	job.c.reply(200, applicationJSON, b)
}
