package module

import "go.k6.io/k6/v2/metrics"

// llmMetrics are the k6 metrics of the module. lib/figures/metrics-table.ts defines each; names carry no unit and no type.
type llmMetrics struct {
	ttft, ttfo, tpot, itlMax, e2e, queueDelay, ttftScheduled, e2eScheduled, outputSpeed *metrics.Metric
	requests, failures, inputTokens, outputTokens, chunks                               *metrics.Metric
	requestFailed, goodput                                                              *metrics.Metric
	itlP50, itlP90, itlP99, outputThroughput, requestThroughput, requestGoodput         *metrics.Metric
	cachedTokens, cachedShare, cacheBound                                               *metrics.Metric
	samples, clientBound                                                                *metrics.Metric
	computed                                                                            map[string]*metrics.Metric // by name: a script computes their values
}

func registerMetrics(r *metrics.Registry) (*llmMetrics, error) {
	m := &llmMetrics{}
	var err error
	add := func(at **metrics.Metric, name string, typ metrics.MetricType, contains metrics.ValueType) {
		if err == nil {
			*at, err = r.NewMetric(name, typ, contains)
		}
	}
	add(&m.ttft, "llm_ttft", metrics.Trend, metrics.Time)
	add(&m.ttfo, "llm_ttfo", metrics.Trend, metrics.Time)
	add(&m.tpot, "llm_tpot", metrics.Trend, metrics.Time)
	add(&m.itlMax, "llm_itl_max", metrics.Trend, metrics.Time)
	add(&m.e2e, "llm_e2e_latency", metrics.Trend, metrics.Time)
	add(&m.queueDelay, "llm_queue_delay", metrics.Trend, metrics.Time)
	add(&m.ttftScheduled, "llm_ttft_scheduled", metrics.Trend, metrics.Time)
	add(&m.e2eScheduled, "llm_e2e_scheduled", metrics.Trend, metrics.Time)
	add(&m.outputSpeed, "llm_output_speed", metrics.Trend, metrics.Default)
	add(&m.requests, "llm_requests", metrics.Counter, metrics.Default)
	add(&m.failures, "llm_failures", metrics.Counter, metrics.Default)
	add(&m.inputTokens, "llm_input_tokens", metrics.Counter, metrics.Default)
	add(&m.outputTokens, "llm_output_tokens", metrics.Counter, metrics.Default)
	add(&m.chunks, "llm_chunks", metrics.Counter, metrics.Default)
	add(&m.requestFailed, "llm_request_failed", metrics.Rate, metrics.Default)
	add(&m.goodput, "llm_goodput", metrics.Rate, metrics.Default)
	add(&m.itlP50, "llm_itl_p50", metrics.Gauge, metrics.Time)
	add(&m.itlP90, "llm_itl_p90", metrics.Gauge, metrics.Time)
	add(&m.itlP99, "llm_itl_p99", metrics.Gauge, metrics.Time)
	add(&m.outputThroughput, "llm_output_throughput", metrics.Gauge, metrics.Default)
	add(&m.requestThroughput, "llm_request_throughput", metrics.Gauge, metrics.Default)
	add(&m.requestGoodput, "llm_request_goodput", metrics.Gauge, metrics.Default)
	add(&m.cachedTokens, "llm_cached_tokens", metrics.Counter, metrics.Default)
	add(&m.cachedShare, "llm_cached_share", metrics.Gauge, metrics.Default)
	add(&m.cacheBound, "llm_cache_bound", metrics.Gauge, metrics.Default)
	add(&m.samples, "llm_samples", metrics.Gauge, metrics.Default)
	add(&m.clientBound, "llm_client_bound", metrics.Gauge, metrics.Default)
	m.computed = map[string]*metrics.Metric{}
	for _, name := range []string{"llm_cost_request", "llm_cost_output", "llm_cost_output_slo", "llm_cost_good_request", "llm_energy_output"} {
		var gauge *metrics.Metric
		add(&gauge, name, metrics.Gauge, metrics.Default)
		m.computed[name] = gauge
	}
	return m, err
}
