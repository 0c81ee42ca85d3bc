/** Every k6 metric of a run, each defined once: docs/metrics.md, thresholds and reports follow from this table. */

/** One metric as k6 sees it. */
export interface Metric {
  readonly type: "Trend" | "Counter" | "Rate" | "Gauge";
  readonly unit:
    | "ms"
    | "tokens/s"
    | "requests/s"
    | "$"
    | "J"
    | "requests"
    | "tokens"
    | "chunks"
    | "share"
    | "samples"
    | "0 or 1";
  /** Which way is better, for comparisons and for the sense of a limit. */
  readonly better: "lower" | "higher" | "neither";
  readonly definition: string;
  /** Which tools mean the same, and where well-known ones differ. */
  readonly sameAs: string;
}

const perRequest = "one sample a completed request";

/** The metrics by name. Times are ms. Latencies are taken of completed requests only. */
export const metrics = {
  llm_ttft: {
    type: "Trend",
    unit: "ms",
    better: "lower",
    definition: `Time to first token: first output chunk - sent; ${perRequest}.`,
    sameAs: "inference-perf, AIPerf, SGLang. vLLM's bench counts the empty role chunk as the first.",
  },
  llm_ttfo: {
    type: "Trend",
    unit: "ms",
    better: "lower",
    definition: `Time to first output: first output chunk that is not reasoning - sent; ${perRequest}.`,
    sameAs: "AIPerf's TTFO, GuideLLM's TTFOT.",
  },
  llm_tpot: {
    type: "Trend",
    unit: "ms",
    better: "lower",
    definition:
      "Time per output token: (last - first output chunk) / (shown output tokens - 1); one sample a completed request with at least two shown tokens.",
    sameAs: "vLLM, SGLang, MLPerf, genai-bench. AIPerf calls it ITL; GuideLLM's TPOT includes the TTFT.",
  },
  llm_itl_max: {
    type: "Trend",
    unit: "ms",
    better: "lower",
    definition: "Max stall: the largest gap between two output chunks of a request; one sample a completed request.",
    sameAs: "",
  },
  llm_e2e_latency: {
    type: "Trend",
    unit: "ms",
    better: "lower",
    definition: `End-to-end latency: last output chunk - sent; if the reply is not streamed, last byte - sent; ${perRequest}.`,
    sameAs: "vLLM (since 2026-09), AIPerf's request latency.",
  },
  llm_queue_delay: {
    type: "Trend",
    unit: "ms",
    better: "lower",
    definition: "Queue delay: sent - scheduled, the load generator's own lag; one sample a request that was sent.",
    sameAs: "vLLM's client_queue_time.",
  },
  llm_ttft_scheduled: {
    type: "Trend",
    unit: "ms",
    better: "lower",
    definition: `TTFT from the scheduled time: first output chunk - scheduled; ${perRequest}.`,
    sameAs: "wrk2's and MLPerf loadgen's start of latency.",
  },
  llm_e2e_scheduled: {
    type: "Trend",
    unit: "ms",
    better: "lower",
    definition: `End-to-end latency from the scheduled time: last output chunk - scheduled; ${perRequest}.`,
    sameAs: "wrk2's and MLPerf loadgen's latency.",
  },
  llm_output_speed: {
    type: "Trend",
    unit: "tokens/s",
    better: "higher",
    definition: "Output speed of one request: 1000 / TPOT; one sample a completed request that has a TPOT.",
    sameAs: "genai-bench's output inference speed, InferenceX's interactivity.",
  },
  llm_requests: {
    type: "Counter",
    unit: "requests",
    better: "neither",
    definition: "Requests that completed or failed.",
    sameAs: "",
  },
  llm_request_failed: {
    type: "Rate",
    unit: "share",
    better: "lower",
    definition: "Share of requests that failed.",
    sameAs: "",
  },
  llm_failures: {
    type: "Counter",
    unit: "requests",
    better: "lower",
    definition: "Failed requests; the tag `failure` holds the class.",
    sameAs: "",
  },
  llm_input_tokens: {
    type: "Counter",
    unit: "tokens",
    better: "neither",
    definition:
      "Input tokens of completed requests: from the server's usage, else the length that the workload asked for.",
    sameAs: "",
  },
  llm_output_tokens: {
    type: "Counter",
    unit: "tokens",
    better: "neither",
    definition:
      "Output tokens of completed requests, hidden reasoning included: from the final usage, else from continuous usage, else one for each chunk.",
    sameAs: "",
  },
  llm_cached_tokens: {
    type: "Counter",
    unit: "tokens",
    better: "neither",
    definition:
      "Input tokens of completed requests that the server took from its prefix cache, as its usage reports them; nothing is counted if the usage does not.",
    sameAs: "",
  },
  llm_chunks: {
    type: "Counter",
    unit: "chunks",
    better: "neither",
    definition: "Output chunks of completed requests.",
    sameAs: "",
  },
  llm_goodput: {
    type: "Rate",
    unit: "share",
    better: "higher",
    definition:
      "Share of requests that met every SLO that is set. A failed request does not meet one, nor does a request without the SLO's metric; only the TPOT of a reply of one token counts as met.",
    sameAs: "DistServe's attainment, AIPerf's good request fraction. inference-perf leaves failures out.",
  },
  llm_itl_p50: {
    type: "Gauge",
    unit: "ms",
    better: "lower",
    definition:
      "Median inter-token latency over all tokens of a level's steady requests. The n tokens of a chunk share the gap before it (gap / n, n times); gaps of different chunks are never averaged.",
    sameAs: "vLLM's ITL and AIPerf's ICL have one gap for each chunk: the same if each chunk is one token.",
  },
  llm_itl_p90: {
    type: "Gauge",
    unit: "ms",
    better: "lower",
    definition: "90th percentile of the pooled inter-token latency of a level's steady requests.",
    sameAs: "See llm_itl_p50.",
  },
  llm_itl_p99: {
    type: "Gauge",
    unit: "ms",
    better: "lower",
    definition: "99th percentile of the pooled inter-token latency of a level's steady requests.",
    sameAs: "See llm_itl_p50.",
  },
  llm_output_throughput: {
    type: "Gauge",
    unit: "tokens/s",
    better: "higher",
    definition:
      "Output throughput of a level: output tokens of completed requests that arrived within the steady window / its length.",
    sameAs: "Others divide by the whole run, ramp-up and drain included.",
  },
  llm_request_throughput: {
    type: "Gauge",
    unit: "requests/s",
    better: "higher",
    definition: "Request throughput of a level: requests that completed within the steady window / its length.",
    sameAs: "",
  },
  llm_request_goodput: {
    type: "Gauge",
    unit: "requests/s",
    better: "higher",
    definition:
      "Request goodput of a level: requests that completed within the steady window and met every SLO / its length.",
    sameAs: "vLLM's and AIPerf's goodput.",
  },
  llm_capacity: {
    type: "Gauge",
    unit: "requests/s",
    better: "higher",
    definition:
      "The lower end of the interval that a search found for the highest request rate (LOOP=closed: number of clients) at which the share ATTAINMENT of requests meets every SLO; 0 where it found none. Only the scenario `capacity` reports it.",
    sameAs: "DistServe's goodput, if ATTAINMENT is 90; this is the lower end of its interval.",
  },
  llm_cached_share: {
    type: "Gauge",
    unit: "share",
    better: "neither",
    definition:
      "Share of a level's input tokens that the server took from its prefix cache: from the usage of the completed steady requests, else from the server's own counters over the whole level, warm-up included. Not emitted if the server reports neither.",
    sameAs: "vLLM's prefix cache hit rate.",
  },
  llm_cost_request: {
    type: "Gauge",
    unit: "$",
    better: "lower",
    definition:
      "Cost of a completed request of a level, by PRICE_INPUT and PRICE_OUTPUT or by PRICE_HOUR. Not emitted without prices.",
    sameAs: "",
  },
  llm_cost_output: {
    type: "Gauge",
    unit: "$",
    better: "lower",
    definition: "Cost of all completed requests of a level, input included, for a million of their output tokens.",
    sameAs: "InferenceX's cost per million tokens also counts input tokens.",
  },
  llm_cost_output_slo: {
    type: "Gauge",
    unit: "$",
    better: "lower",
    definition:
      "The same cost for a million output tokens of the requests that met every SLO. Not emitted if no request did.",
    sameAs: "",
  },
  llm_cost_good_request: {
    type: "Gauge",
    unit: "$",
    better: "lower",
    definition:
      "The cost of all completed requests of a level for one request that met every SLO. Not emitted if no request did.",
    sameAs: "",
  },
  llm_energy_output: {
    type: "Gauge",
    unit: "J",
    better: "lower",
    definition:
      "Energy per output token of a level: joules in the steady window, from POWER_METRIC, DCGM or Triton, / output tokens that arrived in it. Not emitted if no page of METRICS_URL has such a metric.",
    sameAs: "MLPerf Power's and InferenceX's joules per token.",
  },
  llm_samples: {
    type: "Gauge",
    unit: "samples",
    better: "higher",
    definition:
      "Number of samples that a level's steady requests gave to the metric in the tag `metric`; for pooled ITL the number of tokens. Every threshold also checks this count, because k6 treats a threshold without samples as passed.",
    sameAs: "",
  },
  llm_client_bound: {
    type: "Gauge",
    unit: "0 or 1",
    better: "lower",
    definition:
      "1 if the run is CLIENT-BOUND: the load generator was too slow for its values to be the server's. Else 0.",
    sameAs: "",
  },
  llm_cache_bound: {
    type: "Gauge",
    unit: "0 or 1",
    better: "lower",
    definition:
      "1 if the run is CACHE-BOUND: with CACHE=cold, more than 1 % of a level's input came from the server's prefix cache. Tokens that all prompts share through the server's chat template do not count. Else 0.",
    sameAs: "",
  },
} as const satisfies Record<string, Metric>;

/** A metric's name. */
export type MetricName = keyof typeof metrics;

/** Whether a text is a metric's name. */
export function isMetricName(text: string): text is MetricName {
  return Object.hasOwn(metrics, text);
}

/** The gauges that exist once a level and only when it is over: their thresholds name the level, but no phase. */
export function isLevelGauge(name: MetricName): boolean {
  return metrics[name].type === "Gauge" && metrics[name].unit !== "0 or 1";
}

/** Whether a limit on the metric needs llm_samples beside it, for without samples k6 would take it for kept. */
export function countsItsSamples(name: MetricName): boolean {
  // Requests are counted by a gate of their own, and the gauges of validity are emitted in every run.
  const validity = metrics[name].unit === "0 or 1";
  return metrics[name].type !== "Counter" && !validity && name !== "llm_request_failed" && name !== "llm_samples";
}

/** Whether the figure lies between output tokens, so that a request of one token has none. */
export function betweenTokens(name: MetricName): boolean {
  return /^llm_(tpot|itl_\w+|output_speed)$/.test(name);
}

/** Whether only a streamed reply has the figure. */
export function needsStream(name: MetricName): boolean {
  return betweenTokens(name) || /^llm_(ttft|ttfo)/.test(name);
}
