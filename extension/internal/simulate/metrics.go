package simulate

import (
	"strconv"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// metrics are what GET /metrics shows under vLLM's names. Unlike the truth they are what the server believes: times are
// those at which its engine had a token, as with a real server, not those at which the kernel took it.
type metrics struct {
	promptTokens, generationTokens int64
	refused                        int64
	finishedBy                     map[string]int64

	ttft, itl, e2e, queue     histogram
	promptLength, outputTotal histogram

	// The engine's counters at the last reset, for they never go back.
	base counters
}

// counters are what the scheduler counts.
type counters struct{ preemptions, cacheQueries, cacheHits, steps, prefilledTokens int64 }

// vLLM's bucket bounds.
var (
	ttftBounds   = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560}
	itlBounds    = []float64{.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
	e2eBounds    = []float64{.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680}
	lengthBounds = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000}
)

func newMetrics() *metrics {
	return &metrics{
		finishedBy: map[string]int64{"stop": 0, "length": 0, "abort": 0, "error": 0},
		ttft:       newHistogram(ttftBounds), itl: newHistogram(itlBounds), e2e: newHistogram(e2eBounds), queue: newHistogram(e2eBounds),
		promptLength: newHistogram(lengthBounds), outputTotal: newHistogram(lengthBounds),
	}
}

func (m *metrics) began(a *answer) {
	m.promptTokens += int64(a.rec.promptTokens)
	m.promptLength.add(float64(a.rec.promptTokens))
}

// tokens counts n tokens of g in a step.
func (m *metrics) tokens(a *answer, g *generation, n int, nowNs int64) {
	m.generationTokens += int64(n)
	if g.produced == n {
		m.ttft.add(float64(nowNs-a.rec.beginNs) / 1e9)
		if g.seq.startedNs != 0 {
			m.queue.add(float64(g.seq.startedNs-a.rec.beginNs) / 1e9)
		} else {
			m.queue.add(0)
		}
	} else {
		m.itl.add(float64(nowNs-g.lastNs) / 1e9)
	}
	g.lastNs = nowNs
}

func (m *metrics) finished(a *answer, reason string) {
	m.finishedBy[reason]++
	produced := 0
	for _, g := range a.gens {
		produced += g.produced
	}
	m.outputTotal.add(float64(produced))
	m.e2e.add(float64(clock.Now()-a.rec.beginNs) / 1e9)
}

// histogram is a Prometheus histogram.
type histogram struct {
	bounds []float64
	counts []int64 // one more than bounds
	sum    float64
	count  int64
}

func newHistogram(bounds []float64) histogram {
	return histogram{bounds: bounds, counts: make([]int64, len(bounds)+1)}
}

func (h *histogram) add(v float64) {
	i := 0
	for i < len(h.bounds) && v > h.bounds[i] {
		i++
	}
	h.counts[i]++
	h.count++
	h.sum += v
}

// exposition writes Prometheus' text format with the labels that vLLM gives to every metric.
type exposition struct {
	b     []byte
	model string
}

func (e *exposition) head(name, kind, help string) {
	e.b = append(e.b, "# HELP "+name+" "+help+"\n# TYPE "+name+" "+kind+"\n"...)
}

func (e *exposition) line(name, more string, value float64) {
	e.b = append(e.b, name...)
	e.b = append(e.b, `{engine="0",`...)
	e.b = append(e.b, more...)
	e.b = append(e.b, e.model...)
	e.b = append(e.b, "} "...)
	e.b = strconv.AppendFloat(e.b, value, 'g', -1, 64)
	e.b = append(e.b, '\n')
}

func (e *exposition) value(name, kind, help string, value float64) {
	e.head(name, kind, help)
	e.line(name, "", value)
}

func (e *exposition) histogram(name, help string, h *histogram) {
	e.head(name, "histogram", help)
	total := int64(0)
	for i, n := range h.counts {
		total += n
		bound := "+Inf"
		if i < len(h.bounds) {
			bound = strconv.FormatFloat(h.bounds[i], 'g', -1, 64)
		}
		e.line(name+"_bucket", `le="`+bound+`",`, float64(total))
	}
	e.line(name+"_count", "", float64(h.count))
	e.line(name+"_sum", "", h.sum)
}

// text is the reply of /metrics.
func (m *metrics) text(s *Server) []byte {
	e := &exposition{model: `model_name=` + strconv.Quote(s.config.Model)}
	running, waiting, cache := s.pace.usage()
	var now counters
	if engine, ok := s.pace.(*engine); ok {
		now = engine.counters()
	}
	e.value("vllm:num_requests_running", "gauge", "Sequences that the engine computes.", float64(running))
	e.value("vllm:num_requests_waiting", "gauge", "Sequences that wait for a place in the engine.", float64(waiting))
	e.value("vllm:kv_cache_usage_perc", "gauge", "Share of the KV cache in use, 1 = all of it.", cache)
	if s.config.GPUCacheName {
		e.value("vllm:gpu_cache_usage_perc", "gauge", "The same under its older name.", cache)
	}
	e.value("vllm:num_preemptions_total", "counter", "Sequences that lost their place in the KV cache.", float64(now.preemptions-m.base.preemptions))
	e.value("vllm:prefix_cache_queries_total", "counter", "Prompt tokens looked up in the prefix cache.", float64(now.cacheQueries-m.base.cacheQueries))
	e.value("vllm:prefix_cache_hits_total", "counter", "Prompt tokens found there.", float64(now.cacheHits-m.base.cacheHits))
	e.value("vllm:prompt_tokens_total", "counter", "Prompt tokens of accepted requests.", float64(m.promptTokens))
	e.value("vllm:generation_tokens_total", "counter", "Tokens generated.", float64(m.generationTokens))
	e.head("vllm:request_success_total", "counter", "Requests that ended, by reason.")
	for _, reason := range []string{"stop", "length", "abort", "error"} {
		e.line("vllm:request_success_total", `finished_reason="`+reason+`",`, float64(m.finishedBy[reason]))
	}
	e.histogram("vllm:time_to_first_token_seconds", "From a request's begin to its first token.", &m.ttft)
	e.histogram("vllm:inter_token_latency_seconds", "From token to token of a sequence.", &m.itl)
	e.histogram("vllm:e2e_request_latency_seconds", "From a request's begin to its end.", &m.e2e)
	e.histogram("vllm:request_queue_time_seconds", "From a request's begin to its first step.", &m.queue)
	e.histogram("vllm:request_prompt_tokens", "Prompt tokens a request.", &m.promptLength)
	e.histogram("vllm:request_generation_tokens", "Generated tokens a request.", &m.outputTotal)
	e.value("simulate:engine_steps_total", "counter", "Steps that the engine computed.", float64(now.steps-m.base.steps))
	e.value("simulate:prefilled_tokens_total", "counter", "Prompt tokens that the engine computed: those that the prefix cache had are not among them.", float64(now.prefilledTokens-m.base.prefilledTokens))
	e.value("simulate:requests_refused_total", "counter", "Requests answered with an error status.", float64(m.refused))
	return e.b
}
