package simulate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

// testLimit ends a test that hangs; nothing is expected to take that long.
const testLimit = 60 * time.Second

// start runs a server for one test. Without a pace of its own it sends all tokens at once.
func start(t *testing.T, change func(*Config)) *Server {
	t.Helper()
	config := DefaultConfig()
	config.Pacing.Scheduled = true
	if change != nil {
		change(&config)
	}
	s, err := Start(config)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// paced gives every stream the schedule.
func paced(ttft, itl time.Duration) func(*Config) {
	return func(c *Config) { c.Pacing.TTFT, c.Pacing.ITL = Fixed(ttft), Fixed(itl) }
}

// httpClient is an ordinary client that leaves nothing behind.
func httpClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: testLimit}
}

type reply struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

func ask(t *testing.T, s *Server, method, path, body string, headers ...string) reply {
	t.Helper()
	return askWith(t, httpClient(t), s, method, path, body, headers...)
}

func askWith(t *testing.T, client *http.Client, s *Server, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := client.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, string(b), err}
}

// events returns the data of the events of a stream with line ends "\n".
func (r reply) events() []string {
	var out []string
	for _, event := range strings.Split(r.body, "\n\n") {
		for _, line := range strings.Split(event, "\n") {
			if data, found := strings.CutPrefix(line, "data: "); found {
				out = append(out, data)
			}
		}
	}
	return out
}

// field returns a field of the reply's JSON.
func (r reply) field(path string) gjson.Result { return gjson.Get(r.body, path) }

func TestModels(t *testing.T) {
	s := start(t, func(c *Config) { c.Model, c.MaxModelLen = "org/tiny", 777 })
	r := ask(t, s, "GET", "/v1/models", "")
	require.Equal(t, 200, r.status)
	require.Equal(t, "org/tiny", r.field("data.0.id").String())
	require.EqualValues(t, 777, r.field("data.0.max_model_len").Int())
	require.Equal(t, "org/tiny", ask(t, s, "GET", "/v1/models/org/tiny", "").field("id").String())
	require.Equal(t, "org/tiny", ask(t, s, "GET", "/v1/info", "").field("model_name").String())
	require.Equal(t, "org/tiny", ask(t, s, "GET", "/v1/launch_arguments", "").field("model").String())
	require.NotEmpty(t, ask(t, s, "GET", "/version", "").field("version").String())
	require.Equal(t, 200, ask(t, s, "GET", "/health", "").status)
	require.Equal(t, 200, ask(t, s, "HEAD", "/health", "").status)
	require.Equal(t, 404, ask(t, s, "GET", "/nothing", "").status)
	require.Equal(t, 405, ask(t, s, "GET", "/v1/completions", "").status)
}

func TestChatStream(t *testing.T) {
	s := start(t, nil)
	r := ask(t, s, "POST", "/v1/chat/completions", `{"model":"simulated","messages":[{"role":"user","content":"12345678"}],
		"max_tokens":5,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}}`)
	require.Equal(t, 200, r.status)
	require.Equal(t, "text/event-stream; charset=utf-8", r.header.Get("Content-Type"))
	events := r.events()
	require.Len(t, events, 1+5+1+1, "role, tokens, usage, [DONE]")
	require.Equal(t, "assistant", gjson.Get(events[0], "choices.0.delta.role").String())
	require.Equal(t, "", gjson.Get(events[0], "choices.0.delta.content").String())
	for _, event := range events[1:6] {
		require.Len(t, gjson.Get(event, "choices.0.delta.content").String(), tokenBytes)
	}
	require.Equal(t, gjson.Null, gjson.Get(events[4], "choices.0.finish_reason").Type)
	require.Equal(t, "length", gjson.Get(events[5], "choices.0.finish_reason").String())
	require.EqualValues(t, 5, gjson.Get(events[6], "usage.completion_tokens").Int())
	require.EqualValues(t, messageTokens+2+answerTokens, gjson.Get(events[6], "usage.prompt_tokens").Int())
	require.Equal(t, "[]", gjson.Get(events[6], "choices").Raw)
	require.Equal(t, "[DONE]", events[7])
}

func TestContinuousUsage(t *testing.T) {
	s := start(t, nil)
	r := ask(t, s, "POST", "/v1/chat/completions", `{"messages":[],"max_tokens":3,"ignore_eos":true,"stream":true,
		"stream_options":{"include_usage":true,"continuous_usage_stats":true},"simulate":{"tokensPerChunk":2}}`)
	var counts []int64
	for _, event := range r.events() {
		if event != "[DONE]" {
			counts = append(counts, gjson.Get(event, "usage.completion_tokens").Int())
		}
	}
	require.Equal(t, []int64{0, 2, 3, 3}, counts)
}

func TestChatWhole(t *testing.T) {
	s := start(t, nil)
	r := ask(t, s, "POST", "/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"text","text":"abcd"},{"type":"image_url"}]}],
		"max_completion_tokens":6,"ignore_eos":true,"simulate":{"reasoning":2,"reasoningField":"reasoning"}}`)
	require.Equal(t, "chat.completion", r.field("object").String())
	require.Len(t, r.field("choices.0.message.content").String(), 4*tokenBytes)
	require.Len(t, r.field("choices.0.message.reasoning").String(), 2*tokenBytes)
	require.EqualValues(t, 2, r.field("usage.completion_tokens_details.reasoning_tokens").Int())
	require.EqualValues(t, messageTokens+1+imageTokens+answerTokens, r.field("usage.prompt_tokens").Int())
	require.EqualValues(t, 6, r.field("usage.completion_tokens").Int())
}

func TestReasoningAndToolCall(t *testing.T) {
	s := start(t, func(c *Config) { c.Reasoning, c.ToolCallTokens = 2, 3 })
	r := ask(t, s, "POST", "/v1/chat/completions", `{"messages":[],"max_tokens":9,"stream":true,"simulate":{"outputTokens":8}}`)
	kinds := ""
	reason := ""
	for _, event := range r.events() {
		delta := gjson.Get(event, "choices.0.delta")
		switch {
		case delta.Get("reasoning_content").String() != "":
			kinds += "r"
		case delta.Get("tool_calls.0.function.arguments").String() != "":
			kinds += "t"
			require.Equal(t, kinds == "rrccct", delta.Get("tool_calls.0.id").Exists(), "the first fragment names the call")
		case delta.Get("content").String() != "":
			kinds += "c"
		}
		if f := gjson.Get(event, "choices.0.finish_reason"); f.Type == gjson.String {
			reason = f.String()
		}
	}
	require.Equal(t, "rrcccttt", kinds)
	require.Equal(t, "tool_calls", reason)
}

func TestCompletions(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxModelLen = 100 })
	ids := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("7,", n), ",") + "]" }
	for name, row := range map[string]struct {
		body           string
		prompt, output int64
		reason         string
	}{
		"text":                    {`"prompt":"123456789","max_tokens":4,"ignore_eos":true`, 3, 4, "length"},
		"token ids":               {`"prompt":` + ids(50) + `,"max_tokens":4,"ignore_eos":true`, 50, 4, "length"},
		"a list of texts":         {`"prompt":["1234","12345678"],"max_tokens":4,"ignore_eos":true`, 3, 8, "length"},
		"lists of token ids":      {`"prompt":[[1,2],[3,4,5]],"max_tokens":4,"ignore_eos":true`, 5, 8, "length"},
		"16 tokens by default":    {`"prompt":"1234","ignore_eos":true`, 1, 16, "length"},
		"clamped by the context":  {`"prompt":` + ids(90) + `,"max_tokens":50,"ignore_eos":true`, 90, 10, "length"},
		"ends by itself":          {`"prompt":"1234","max_tokens":50,"simulate":{"outputTokens":3}`, 1, 3, "stop"},
		"not before min_tokens":   {`"prompt":"1234","max_tokens":50,"min_tokens":40,"simulate":{"outputTokens":3}`, 1, 40, "stop"},
		"escapes are no bytes":    {`"prompt":"\u00e9\n12","max_tokens":1,"ignore_eos":true`, 2, 1, "length"},
		"unknown fields, no harm": {`"prompt":"1234","max_tokens":1,"logit_bias":{},"top_k":3`, 1, 1, "length"},
	} {
		whole := ask(t, s, "POST", "/v1/completions", "{"+row.body+"}")
		require.Equal(t, 200, whole.status, "%s: %s", name, whole.body)
		require.Equal(t, row.prompt, whole.field("usage.prompt_tokens").Int(), name)
		require.Equal(t, row.output, whole.field("usage.completion_tokens").Int(), name)
		require.Equal(t, row.reason, whole.field("choices.0.finish_reason").String(), name)
		text := ""
		for _, c := range whole.field("choices.#.text").Array() {
			text += c.String()
		}
		require.EqualValues(t, row.output, tokensOf(text), name)

		stream := ask(t, s, "POST", "/v1/completions", `{"stream":true,"stream_options":{"include_usage":true},`+row.body+"}")
		chunks, usage := 0, int64(0)
		for _, event := range stream.events() {
			if gjson.Get(event, "choices.0.text").String() != "" {
				chunks++
			}
			usage = max(usage, gjson.Get(event, "usage.completion_tokens").Int())
		}
		require.EqualValues(t, row.output, chunks, name)
		require.EqualValues(t, row.output, usage, name)
	}
}

func TestRefusals(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxModelLen = 20 })
	for name, row := range map[string]struct {
		path, body string
		status     int
		message    string
	}{
		"unknown model":     {pathCompletions, `{"model":"nope","prompt":"a"}`, 404, "`nope` does not exist"},
		"malformed JSON":    {pathCompletions, `{"prompt":`, 400, "json_invalid"},
		"no object":         {pathChat, `[1]`, 400, "JSON object"},
		"no prompt":         {pathCompletions, `{}`, 400, "prompt"},
		"empty prompt":      {pathCompletions, `{"prompt":""}`, 400, "prompt"},
		"empty list":        {pathCompletions, `{"prompt":[]}`, 400, "prompt"},
		"bad token id":      {pathCompletions, `{"prompt":[99999999]}`, 400, "out of vocabulary"},
		"mixed prompts":     {pathCompletions, `{"prompt":[1,"a"]}`, 400, "mixes"},
		"prompt too long":   {pathCompletions, `{"prompt":"` + strings.Repeat("a", 80) + `","stream":true}`, 400, "maximum context length is 20 tokens"},
		"min above max":     {pathCompletions, `{"prompt":"a","max_tokens":3,"min_tokens":9}`, 400, "min_tokens"},
		"no tokens":         {pathCompletions, `{"prompt":"a","max_tokens":0}`, 400, "max_tokens"},
		"temperature":       {pathCompletions, `{"prompt":"a","temperature":-1}`, 400, "temperature"},
		"several answers":   {pathChat, `{"messages":[],"n":2}`, 400, "n must be 1"},
		"no messages":       {pathChat, `{}`, 400, "missing"},
		"no input":          {pathResponses, `{}`, 400, "missing"},
		"no limit":          {pathMessages, `{"messages":[]}`, 400, "max_tokens"},
		"unknown fault":     {pathChat, `{"messages":[],"simulate":{"explode":1}}`, 400, "explode"},
		"no embedding text": {pathEmbeddings, `{"input":[]}`, 400, "prompt"},
		"too many tokens":   {pathTokenizer, `{"output_tokens":-1}`, 400, "output_tokens"},
		"nothing to count":  {pathTokenize, `{}`, 400, "prompt"},
	} {
		r := ask(t, s, "POST", row.path, row.body)
		require.Equal(t, row.status, r.status, name)
		require.Contains(t, r.field("error.message").String(), row.message, name)
		require.EqualValues(t, row.status, r.field("error.code").Int(), name)
	}
	r := ask(t, s, "POST", pathCompletions, `{"prompt":"a"}`, "Content-Type", "text/plain")
	require.Equal(t, 400, r.status)
}

func TestResponses(t *testing.T) {
	s := start(t, nil)
	body := `{"input":[{"role":"user","content":"abcd"}],"instructions":"be brief","max_output_tokens":5,"ignore_eos":true,"simulate":{"reasoning":2}`
	r := ask(t, s, "POST", pathResponses, body+`,"stream":true}`)
	events := r.events()
	var types []string
	text := ""
	for i, event := range events {
		kind := gjson.Get(event, "type").String()
		require.EqualValues(t, i, gjson.Get(event, "sequence_number").Int())
		if strings.HasSuffix(kind, ".delta") {
			text += gjson.Get(event, "delta").String()
		}
		if len(types) == 0 || types[len(types)-1] != kind {
			types = append(types, kind)
		}
		require.Contains(t, r.body, "event: "+kind+"\n")
	}
	require.Equal(t, []string{
		"response.created", "response.in_progress",
		"response.output_item.added", "response.reasoning_text.delta", "response.reasoning_text.done", "response.output_item.done",
		"response.output_item.added", "response.content_part.added", "response.output_text.delta", "response.output_text.done",
		"response.content_part.done", "response.output_item.done", "response.incomplete",
	}, types)
	require.Len(t, text, 5*tokenBytes)
	last := events[len(events)-1]
	require.EqualValues(t, 5, gjson.Get(last, "response.usage.output_tokens").Int())
	require.EqualValues(t, 2, gjson.Get(last, "response.usage.output_tokens_details.reasoning_tokens").Int())

	whole := ask(t, s, "POST", pathResponses, body+"}")
	require.Len(t, whole.field("output.1.content.0.text").String(), 3*tokenBytes)
	require.EqualValues(t, 5, whole.field("usage.output_tokens").Int())
	require.Equal(t, "incomplete", whole.field("status").String())
}

func TestMessages(t *testing.T) {
	s := start(t, nil)
	body := `{"messages":[{"role":"user","content":"abcd"}],"system":"be brief","max_tokens":6,"ignore_eos":true,"simulate":{"reasoning":1,"toolCallTokens":2}`
	r := ask(t, s, "POST", pathMessages, body+`,"stream":true}`)
	var types []string
	var last string
	for _, event := range r.events() {
		kind := gjson.Get(event, "type").String()
		if delta := gjson.Get(event, "delta.type"); delta.Exists() {
			kind = delta.String()
		}
		types = append(types, kind)
		if kind == "message_delta" {
			last = event
		}
	}
	require.Equal(t, []string{
		"message_start", "ping",
		"content_block_start", "thinking_delta", "content_block_stop",
		"content_block_start", "text_delta", "text_delta", "text_delta", "content_block_stop",
		"content_block_start", "input_json_delta", "input_json_delta", "content_block_stop",
		"message_delta", "message_stop",
	}, types)
	require.EqualValues(t, 6, gjson.Get(last, "usage.output_tokens").Int())
	require.Equal(t, "max_tokens", gjson.Get(last, "delta.stop_reason").String())

	whole := ask(t, s, "POST", pathMessages, body+"}")
	require.Len(t, whole.field("content.1.text").String(), 3*tokenBytes)
	require.EqualValues(t, 6, whole.field("usage.output_tokens").Int())
}

// Answers are the same at every run with the same seed.
func TestSeed(t *testing.T) {
	texts := map[uint64]string{}
	for _, seed := range []uint64{1, 2} {
		for range 2 {
			s := start(t, func(c *Config) { c.Seed = seed })
			text := ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":500}`).field("choices.0.text").String()
			if texts[seed] != "" {
				require.Equal(t, texts[seed], text)
			}
			texts[seed] = text
		}
	}
	require.NotEqual(t, texts[1], texts[2])
}

func TestTokenize(t *testing.T) {
	s := start(t, nil)
	r := ask(t, s, "POST", "/tokenize", `{"model":"simulated","prompt":"hello world"}`)
	require.EqualValues(t, 3, r.field("count").Int())
	require.Len(t, r.field("tokens").Array(), 3)
	r = ask(t, s, "POST", "/tokenize", `{"messages":[{"role":"user","content":"hello world"}]}`)
	require.EqualValues(t, messageTokens+3+answerTokens, r.field("count").Int())
	require.EqualValues(t, 3, ask(t, s, "POST", "/tokenize", `{"content":"hello world"}`).field("count").Int())
	// Tokens can be sent back as a prompt.
	ids := ask(t, s, "POST", "/tokenize", `{"prompt":"hello world"}`).field("tokens").Raw
	require.EqualValues(t, 3, ask(t, s, "POST", pathCompletions, `{"prompt":`+ids+`}`).field("usage.prompt_tokens").Int())
}

func TestEmbeddings(t *testing.T) {
	s := start(t, func(c *Config) { c.EmbeddingDimensions, c.EmbeddingBatch = 8, 3 })
	r := ask(t, s, "POST", pathEmbeddings, `{"input":["1234","12345678","1234","1","2"]}`)
	data := r.field("data").Array()
	require.Len(t, data, 5)
	require.EqualValues(t, 6, r.field("usage.prompt_tokens").Int())
	for i, d := range data {
		require.EqualValues(t, i, d.Get("index").Int())
		norm := 0.0
		for _, v := range d.Get("embedding").Array() {
			norm += v.Num * v.Num
		}
		require.Len(t, d.Get("embedding").Array(), 8)
		require.InDelta(t, 1, norm, 1e-5)
	}
	require.Equal(t, data[0].Get("embedding").Raw, data[2].Get("embedding").Raw)
	packed := ask(t, s, "POST", pathEmbeddings, `{"input":[1,2,3],"encoding_format":"base64"}`)
	require.Len(t, packed.field("data").Array(), 1)
	require.EqualValues(t, 3, packed.field("usage.prompt_tokens").Int())
	require.Len(t, packed.field("data.0.embedding").String(), (8*4+2)/3*4)
}

// Batches hold inputs of several requests, in order of arrival: six requests of one input each take three batches.
func TestEmbeddingsBatches(t *testing.T) {
	const batchTime = 30 * time.Millisecond
	s := start(t, func(c *Config) {
		c.EmbeddingDimensions, c.EmbeddingBatch, c.EmbeddingTime, c.EmbeddingTokenRate = 2, 4, batchTime, 0
	})
	began := time.Now()
	r := ask(t, s, "POST", pathEmbeddings, `{"input":["a","b","c","d","e","f","g","h","i"]}`)
	require.Equal(t, 200, r.status)
	require.GreaterOrEqual(t, time.Since(began), 3*batchTime, "nine inputs in batches of four")
}

func TestTokenizer(t *testing.T) {
	s := start(t, nil)
	for _, tokens := range []int{0, 1, 3000, 300_000} {
		r := ask(t, s, "GET", fmt.Sprintf("/tokenizer?output_tokens=%d&input_text=abcdefgh", tokens), "")
		require.Equal(t, 200, r.status)
		require.EqualValues(t, 2, r.field("input_tokens").Int())
		require.EqualValues(t, tokens, r.field("output_tokens").Int())
		require.Len(t, r.field("output_text").String(), tokens*tokenBytes)
	}
	r := ask(t, s, "POST", "/tokenizer", `{"output_tokens":7,"input_text":"abcdefghi"}`)
	require.EqualValues(t, 7, r.field("output_tokens").Int())
	require.EqualValues(t, 3, r.field("input_tokens").Int())
	report := s.Truth()
	require.EqualValues(t, 303_008, report.OutputTokens)
	require.Len(t, report.Requests, 5)
}

// With room for three, and replies that come only when all have asked, the others get 429.
func TestTokenizerCap(t *testing.T) {
	s := start(t, func(c *Config) { c.TokenizerCap, c.TokenizerTime = 3, time.Second })
	client := httpClient(t)
	var mu sync.Mutex
	counts := map[int]int{}
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			r := askWith(t, client, s, "GET", "/tokenizer?output_tokens=1", "")
			mu.Lock()
			counts[r.status]++
			mu.Unlock()
		})
	}
	group.Wait()
	require.Equal(t, 10, counts[200]+counts[429])
	require.GreaterOrEqual(t, counts[200], 3)
	require.Positive(t, counts[429])
	// The truth knows who came while three were served.
	inside := 0
	for _, r := range s.Truth().Requests {
		if r.Status == 429 {
			require.Equal(t, "over the cap", r.Fault)
			inside++
		}
	}
	require.Equal(t, counts[429], inside)
}

// One by one, W requests a service time; batched, all that wait at once.
func TestPredict(t *testing.T) {
	const service = 40 * time.Millisecond
	s := start(t, func(c *Config) {
		c.PredictWorkers, c.PredictTime, c.PredictBatch, c.PredictBatchTime = 2, service, 200, service
	})
	client := httpClient(t)
	load := func(path string, requests int) (batches map[int64]int) {
		var mu sync.Mutex
		var group sync.WaitGroup
		batches = map[int64]int{}
		for range requests {
			group.Go(func() {
				r := askWith(t, client, s, "POST", path, `{"x":1}`)
				mu.Lock()
				defer mu.Unlock()
				if r.status == 200 {
					batches[r.field("batch_size").Int()]++
				}
			})
		}
		group.Wait()
		return batches
	}
	began := time.Now()
	require.Equal(t, map[int64]int{1: 8}, load("/predict", 8))
	require.GreaterOrEqual(t, time.Since(began), 4*service, "eight requests on two workers")
	batches := load("/optimized_predict", 50)
	shared := 0
	for size, count := range batches {
		if size > 1 {
			shared += count
		}
	}
	require.Positive(t, shared, "requests that wait together are predicted together: %v", batches)
}

// A full queue answers 503, a wait that is too long 504, and neither is served later.
func TestPredictOverload(t *testing.T) {
	s := start(t, func(c *Config) {
		c.PredictWorkers, c.PredictTime, c.PredictQueue, c.PredictTimeout = 1, 1500*time.Millisecond, 2, time.Second
	})
	client := httpClient(t)
	var mu sync.Mutex
	counts := map[int]int{}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			r := askWith(t, client, s, "POST", "/predict", "")
			mu.Lock()
			counts[r.status]++
			mu.Unlock()
		})
	}
	group.Wait()
	require.Equal(t, 8, counts[200]+counts[503]+counts[504])
	require.Positive(t, counts[200])
	require.Positive(t, counts[503])
	require.Positive(t, counts[504])
}

// The exposition is what Prometheus' own parser accepts, under vLLM's names.
func TestMetrics(t *testing.T) {
	s := start(t, func(c *Config) {
		c.GPUCacheName = true
		c.Pacing.Scheduled = false
		c.Pacing.Engine.PrefixCache = true
		c.Pacing.Engine.StepTime = time.Millisecond
	})
	for range 2 {
		ask(t, s, "POST", pathCompletions, `{"prompt":"`+strings.Repeat("abcd", 40)+`","max_tokens":5,"ignore_eos":true,"stream":true}`)
	}
	for _, path := range []string{"/metrics", "/metrics/"} {
		r := ask(t, s, "GET", path, "")
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(r.body))
		require.NoError(t, err)
		gauge := func(name string) float64 { return families[name].Metric[0].GetGauge().GetValue() }
		counter := func(name string) float64 { return families[name].Metric[0].GetCounter().GetValue() }
		require.Zero(t, gauge("vllm:num_requests_running"))
		require.Zero(t, gauge("vllm:num_requests_waiting"))
		require.Zero(t, gauge("vllm:kv_cache_usage_perc"))
		require.Zero(t, gauge("vllm:gpu_cache_usage_perc"))
		require.EqualValues(t, 80, counter("vllm:prompt_tokens_total"))
		require.EqualValues(t, 10, counter("vllm:generation_tokens_total"))
		require.EqualValues(t, 80, counter("vllm:prefix_cache_queries_total"))
		require.EqualValues(t, 32, counter("vllm:prefix_cache_hits_total"))
		require.EqualValues(t, 2, families["vllm:time_to_first_token_seconds"].Metric[0].GetHistogram().GetSampleCount())
		require.EqualValues(t, 8, families["vllm:inter_token_latency_seconds"].Metric[0].GetHistogram().GetSampleCount())
		require.EqualValues(t, 2, families["vllm:e2e_request_latency_seconds"].Metric[0].GetHistogram().GetSampleCount())
	}
	require.Equal(t, 200, ask(t, s, "POST", "/reset", "").status)
	r := ask(t, s, "GET", "/metrics", "")
	require.Contains(t, r.body, `vllm:generation_tokens_total{engine="0",model_name="simulated"} 0`)
	require.Contains(t, r.body, `vllm:prefix_cache_hits_total{engine="0",model_name="simulated"} 0`)
}

// What the prefix cache did is told as vLLM tells it: by counters always, by usage on request and only where there is a hit,
// and the cache is emptied by a request in development mode only.
func TestPrefixCache_IsReported(t *testing.T) {
	body := `{"prompt":"` + strings.Repeat("abcd", 40) + `","max_tokens":1,"ignore_eos":true}`
	server := func(details, devMode bool) *Server {
		return start(t, func(c *Config) {
			c.Pacing.Scheduled = false
			c.Pacing.Engine.PrefixCache = true
			c.Pacing.Engine.StepTime = time.Millisecond
			c.PromptTokensDetails, c.DevMode = details, devMode
		})
	}
	usage := func(s *Server) string { return gjson.Get(ask(t, s, "POST", pathCompletions, body).body, "usage").Raw }
	told := server(true, true)
	require.NotContains(t, usage(told), "prompt_tokens_details", "of a miss")
	require.Contains(t, usage(told), `"prompt_tokens_details":{"cached_tokens":32}`)
	require.Contains(t, ask(t, told, "GET", "/metrics", "").body, `simulate:prefilled_tokens_total{engine="0",model_name="simulated"} 48`)
	require.Equal(t, 200, ask(t, told, "POST", "/reset_prefix_cache", "").status)
	require.NotContains(t, usage(told), "prompt_tokens_details", "of an emptied cache")
	require.Contains(t, ask(t, told, "GET", "/metrics", "").body, `vllm:prefix_cache_hits_total{engine="0",model_name="simulated"} 32`)

	untold := server(false, false)
	require.Equal(t, 404, ask(t, untold, "POST", "/reset_prefix_cache", "").status)
	usage(untold)
	require.NotContains(t, usage(untold), "prompt_tokens_details")
	require.Contains(t, ask(t, untold, "GET", "/metrics", "").body, `vllm:prefix_cache_hits_total{engine="0",model_name="simulated"} 32`)
}

// The engine's gauges show a full cache and a queue while both are there.
func TestEngineServes(t *testing.T) {
	s := start(t, func(c *Config) {
		c.MaxModelLen = 256
		c.Pacing.Scheduled = false
		e := &c.Pacing.Engine
		e.MaxSequences, e.Blocks, e.BatchTokens, e.StepTime = 8, 16, 64, 2*time.Millisecond
	})
	client := httpClient(t)
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			r := askWith(t, client, s, "POST", pathCompletions, `{"prompt":"`+strings.Repeat("abcd", 40)+`","max_tokens":80,"ignore_eos":true,"stream":true}`)
			if n := strings.Count(r.body, `"text":"`); n != 80 {
				t.Errorf("%d tokens", n)
			}
		})
	}
	group.Wait()
	body := ask(t, s, "GET", "/metrics", "").body
	require.NotContains(t, body, `vllm:num_preemptions_total{engine="0",model_name="simulated"} 0`+"\n", "6 x 8 blocks do not fit into 16")
	require.Contains(t, body, `vllm:kv_cache_usage_perc{engine="0",model_name="simulated"} 0`+"\n")
}

// requireKernelBegins fails unless the kernel said when a request arrived. One of them is enough: on a busy machine the clocks
// cannot always be compared.
func requireKernelBegins(t *testing.T, r Report) {
	t.Helper()
	require.Equal(t, runtime.GOOS == "linux", slices.ContainsFunc(r.Requests, func(r RequestTruth) bool { return r.KernelBegin }))
}

// The truth has every token with its time, in order, not before the schedule, and percentiles that follow from them.
func TestTruth(t *testing.T) {
	s := start(t, paced(20*time.Millisecond, 2*time.Millisecond))
	ask(t, s, "POST", pathChat, `{"messages":[],"max_tokens":10,"ignore_eos":true,"stream":true}`, "X-Request-Id", "mine")
	ask(t, s, "POST", pathChat, `{"messages":[],"max_tokens":10,"ignore_eos":true}`)
	ask(t, s, "GET", "/tokenizer?output_tokens=5", "")
	var report Report
	r := ask(t, s, "GET", "/truth", "")
	require.NoError(t, json.Unmarshal([]byte(r.body), &report))
	require.Len(t, report.Requests, 3)
	require.True(t, report.Exact)
	mine := report.Requests[0]
	require.Equal(t, "mine", mine.ID)
	requireKernelBegins(t, report)
	require.Equal(t, 10, mine.OutputTokens)
	require.Len(t, mine.SendsNs, 10)
	for k, send := range mine.SendsNs {
		require.GreaterOrEqual(t, send[0], mine.BeginNs+int64(20+2*k)*ms, "token %d comes when it is due", k)
		require.GreaterOrEqual(t, send[1], send[0])
		require.EqualValues(t, 1, send[2])
	}
	require.GreaterOrEqual(t, mine.DoneNs, mine.SendsNs[9][0])
	require.Equal(t, "length", mine.FinishReason)
	whole := report.Requests[1]
	require.Len(t, whole.SendsNs, 1)
	require.EqualValues(t, 10, whole.SendsNs[0][2])
	require.GreaterOrEqual(t, whole.SendsNs[0][0], whole.BeginNs+38*ms)
	require.EqualValues(t, 25, report.OutputTokens)
	require.EqualValues(t, 3, report.TTFTMs.Count)
	require.EqualValues(t, 9, report.ITLMs.Count)
	require.EqualValues(t, 9, report.ChunkGapMs.Count)
	require.InDelta(t, float64(mine.SendsNs[9][0]-mine.SendsNs[0][0])/9e6, report.ITLMs.Mean, 1e-9)
	require.Equal(t, report, func() Report { r := s.Truth(); r.Clock = report.Clock; return r }())

	short := ask(t, s, "GET", "/truth?requests=0&path="+pathChat, "")
	require.False(t, short.field("requests").Exists())
	require.EqualValues(t, 20, short.field("outputTokens").Int())
	require.EqualValues(t, 2, short.field("ttftMs.count").Int())

	s.Reset()
	require.Empty(t, s.Truth().Requests)
	require.Zero(t, s.Truth().OutputTokens)
}

// Beyond what is kept, the figures go on in histograms.
func TestTruthIsBounded(t *testing.T) {
	s := start(t, func(c *Config) { c.KeepRequests, c.KeepSends = 3, 50 })
	for range 10 {
		ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":20,"ignore_eos":true,"stream":true}`)
	}
	report := s.Truth()
	require.False(t, report.Exact)
	require.Len(t, report.Requests, 3)
	require.EqualValues(t, 10, report.RequestCount)
	require.EqualValues(t, 200, report.OutputTokens)
	require.EqualValues(t, 10, report.TTFTMs.Count)
	require.EqualValues(t, 190, report.ITLMs.Count)
	require.EqualValues(t, 10, report.E2EMs.Count)
	s.Close()
	require.EqualValues(t, 200, s.Truth().OutputTokens, "the truth outlives the server")
}

// All tokens of an unpaced stream arrive, also when a write takes several.
func TestUnpaced(t *testing.T) {
	for _, perWrite := range []int{1, 16} {
		s := start(t, func(c *Config) { c.EventsPerWrite = perWrite })
		r := ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":5000,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}}`)
		require.Equal(t, 5000, strings.Count(r.body, `"text":"`))
		sends := s.Truth().Requests[0].SendsNs
		require.Len(t, sends, 5000, "an event is a send, however many share a write")
		require.EqualValues(t, 5000, s.Truth().OutputTokens)
	}
}

// A client that leaves frees its place, and the truth says so.
func TestDisconnect(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Pacing.Scheduled = false
		c.Pacing.Engine.StepTime = time.Millisecond
	})
	nc := dial(t, s)
	say(t, nc, post(pathCompletions, `{"prompt":"a","max_tokens":8000,"ignore_eos":true,"stream":true}`))
	_, err := nc.Read(make([]byte, 100))
	require.NoError(t, err)
	require.NoError(t, nc.Close())
	require.Eventually(t, func() bool { return s.Truth().LiveCount == 0 }, testLimit, time.Millisecond)
	require.Equal(t, "disconnected", s.Truth().Requests[0].Fault)
	require.Contains(t, ask(t, s, "GET", "/metrics", "").body, `vllm:num_requests_running{engine="0",model_name="simulated"} 0`+"\n")
}

// A client that does not read holds up nobody, and gets everything once it reads.
func TestSlowReader(t *testing.T) {
	s := start(t, paced(0, 20*time.Microsecond))
	slow := dial(t, s)
	say(t, slow, post(pathCompletions, `{"prompt":"a","max_tokens":8000,"ignore_eos":true,"stream":true,"simulate":{"huge":1,"hugeBytes":8000000}}`))
	r := ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":50,"ignore_eos":true,"stream":true}`)
	require.Equal(t, 50, strings.Count(r.body, `"text":"`))
	response, err := http.ReadResponse(bufio.NewReader(slow), nil)
	require.NoError(t, err)
	b, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, 8000, strings.Count(string(b), `"text":"`))
	require.Greater(t, len(b), 8_000_000)
}

func TestSlowReaderLimit(t *testing.T) {
	s := start(t, func(c *Config) {
		paced(0, 20*time.Microsecond)(c)
		c.SlowReader = 1 << 20
	})
	slow := dial(t, s)
	say(t, slow, post(pathCompletions, `{"prompt":"a","max_tokens":8000,"ignore_eos":true,"stream":true,"simulate":{"huge":1,"hugeBytes":32000000}}`))
	require.Eventually(t, func() bool { return s.Truth().LiveCount == 0 && s.Truth().RequestCount == 1 }, testLimit, time.Millisecond)
	require.Contains(t, s.Truth().Requests[0].Fault, "slow reader")
}

// Streams in great number all end whole.
func TestServer_ManyStreams(t *testing.T) {
	s := start(t, paced(10*time.Millisecond, 3*time.Millisecond))
	var group sync.WaitGroup
	for range 200 {
		nc := dial(t, s)
		group.Go(func() {
			_, err := nc.Write(post(pathCompletions, `{"prompt":"a","max_tokens":30,"ignore_eos":true,"stream":true}`))
			if err != nil {
				t.Error(err)
				return
			}
			response, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Error(err)
				return
			}
			b, err := io.ReadAll(response.Body)
			if n := strings.Count(string(b), `"text":"`); err != nil || n != 30 {
				t.Errorf("%d tokens: %v", n, err)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 200*30, s.Truth().OutputTokens)
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := start(t, func(c *Config) { c.Listen = "unix:" + path })
	require.Equal(t, "unix:"+path, s.URL)
	nc, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	say(t, nc, post(pathCompletions, `{"prompt":"a","max_tokens":3,"ignore_eos":true,"stream":true}`))
	response, err := http.ReadResponse(bufio.NewReader(nc), nil)
	require.NoError(t, err)
	b, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, 3, bytes.Count(b, []byte(`"text":"`)))

	if probe, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = probe.Close()
		six := start(t, func(c *Config) { c.Listen = "[::1]:0" })
		require.Equal(t, 200, ask(t, six, "GET", "/health", "").status)
	}
	_, err = Start(Config{Listen: strings.TrimPrefix(start(t, nil).URL, "http://")})
	require.Error(t, err, "the port is taken")
	_, err = os.Stat(path)
	require.NoError(t, err)
}

// The I/O of systems without epoll serves the same.
func TestPortable(t *testing.T) {
	s := start(t, func(c *Config) {
		paced(5*time.Millisecond, time.Millisecond)(c)
		c.Portable = true
	})
	client := httpClient(t)
	for range 3 {
		r := askWith(t, client, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":20,"ignore_eos":true,"stream":true}`)
		require.NoError(t, r.err)
		require.Equal(t, 20, strings.Count(r.body, `"text":"`))
	}
	require.Len(t, askWith(t, client, s, "GET", "/tokenizer?output_tokens=300000", "").field("output_text").String(), 300_000*tokenBytes)
	r := askWith(t, client, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":20,"ignore_eos":true,"stream":true,"simulate":{"cut":5}}`)
	require.Error(t, r.err)
	require.False(t, s.Truth().Requests[0].KernelBegin)
}

// dial opens a connection that ends with the test.
func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	require.NoError(t, nc.SetDeadline(time.Now().Add(testLimit)))
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

func say(t *testing.T, nc net.Conn, b []byte) {
	t.Helper()
	_, err := nc.Write(b)
	require.NoError(t, err)
}

// post is a request's bytes.
func post(path, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}
