/**
 * What servers and their machines call their metrics. Pure, and loaded where it is needed: it would cost every VU memory.
 * Sources: vLLM docs/design/metrics and a recorded page; docs.sglang.io production_metrics; huggingface.co/docs
 * text-generation-inference reference/metrics; llama.cpp tools/server README and a recorded page; Triton docs/user_guide/metrics and
 * tensorrtllm_backend's README; docs.nvidia.com/dynamo metrics catalog; dcgm-exporter etc/default-counters.csv.
 */

/** What a metric says, whatever it is called. */
export type ServerRole =
  | "running"
  | "waiting"
  | "kvUsage"
  | "preemptions"
  | "prefixHits"
  | "prefixQueries"
  | "prefixHitShare"
  | "draftTokens"
  | "acceptedTokens"
  | "acceptance"
  | "gpuUse"
  | "power"
  | "energy"
  | "ttft"
  | "itl";

/** One metric that servers of a kind have. */
export interface KnownMetric {
  readonly preset: PresetName;
  /** The name, with the labels that its series must have. */
  readonly name: string;
  /** Series, and pages, are summed; of a share they have a mean. */
  readonly mean?: true;
  readonly role?: ServerRole;
  /** Makes of its values what the role is in: a share of 1, W, J, ms. 1 where absent. */
  readonly scale?: number;
}

/** The presets that METRICS takes. */
export const metricPresets = ["vllm", "sglang", "tgi", "llama.cpp", "triton", "dynamo", "dcgm"] as const;

/** A preset's name. */
export type PresetName = (typeof metricPresets)[number];

const of =
  (preset: PresetName) =>
  (name: string, role?: ServerRole, more: { mean?: true; scale?: number } = {}): KnownMetric => ({
    ...{ preset, name },
    ...(role ? { role } : {}),
    ...more,
  });

const [vllm, sglang, tgi, llama, triton, dynamo, dcgm] = metricPresets.map(of) as [
  ReturnType<typeof of>,
  ReturnType<typeof of>,
  ReturnType<typeof of>,
  ReturnType<typeof of>,
  ReturnType<typeof of>,
  ReturnType<typeof of>,
  ReturnType<typeof of>,
];
const mean = true;
/** Seconds to ms. */
const scale = 1000;

/** The first of several metrics that are served for one role is taken. */
export const knownMetrics: readonly KnownMetric[] = [
  // Dynamo's frontend has the latencies that are nearest to the client; requests and cache are best taken from its workers' engines.
  dynamo("dynamo_frontend_time_to_first_token_seconds", "ttft", { scale }),
  dynamo("dynamo_frontend_inter_token_latency_seconds", "itl", { scale }),

  vllm("vllm:num_requests_running", "running"),
  vllm("vllm:num_requests_waiting", "waiting"),
  vllm("vllm:kv_cache_usage_perc", "kvUsage", { mean }),
  vllm("vllm:gpu_cache_usage_perc", "kvUsage", { mean }),
  vllm("vllm:num_preemptions_total", "preemptions"),
  vllm("vllm:prefix_cache_hits_total", "prefixHits"),
  vllm("vllm:prefix_cache_queries_total", "prefixQueries"),
  vllm("vllm:gpu_prefix_cache_hits_total", "prefixHits"),
  vllm("vllm:gpu_prefix_cache_queries_total", "prefixQueries"),
  vllm("vllm:spec_decode_num_draft_tokens_total", "draftTokens"),
  vllm("vllm:spec_decode_num_accepted_tokens_total", "acceptedTokens"),
  vllm("vllm:time_to_first_token_seconds", "ttft", { scale }),
  vllm("vllm:inter_token_latency_seconds", "itl", { scale }),
  vllm("vllm:time_per_output_token_seconds", "itl", { scale }),
  vllm("vllm:e2e_request_latency_seconds"),
  vllm("vllm:request_queue_time_seconds"),
  vllm("vllm:prompt_tokens_total"),
  vllm("vllm:generation_tokens_total"),
  // happy_vllm's.
  vllm("num_requests_running", "running"),
  vllm("num_requests_waiting", "waiting"),
  vllm("gpu_cache_usage_perc", "kvUsage", { mean }),

  sglang("sglang:num_running_reqs", "running"),
  sglang("sglang:num_queue_reqs", "waiting"),
  sglang("sglang:token_usage", "kvUsage", { mean }),
  sglang("sglang:num_retracted_requests_total", "preemptions"),
  sglang("sglang:cached_tokens_total", "prefixHits"),
  sglang("sglang:prompt_tokens_total", "prefixQueries"),
  sglang("sglang:cache_hit_rate", "prefixHitShare", { mean }),
  sglang("sglang:spec_accept_rate", "acceptance", { mean }),
  sglang("sglang:time_to_first_token_seconds", "ttft", { scale }),
  sglang("sglang:inter_token_latency_seconds", "itl", { scale }),
  sglang("sglang:time_per_output_token_seconds", "itl", { scale }),
  sglang("sglang:e2e_request_latency_seconds"),
  sglang("sglang:generation_tokens_total"),

  tgi("tgi_batch_current_size", "running"),
  tgi("tgi_queue_size", "waiting"),
  tgi("tgi_request_mean_time_per_token_duration", "itl", { scale }),
  tgi("tgi_request_duration"),
  tgi("tgi_request_queue_duration"),
  tgi("tgi_request_generated_tokens"),

  llama("llamacpp:requests_processing", "running"),
  llama("llamacpp:requests_deferred", "waiting"),
  llama("llamacpp:kv_cache_usage_ratio", "kvUsage", { mean }),
  llama("llamacpp:spec_decode_num_draft_tokens_total", "draftTokens"),
  llama("llamacpp:spec_decode_num_accepted_tokens_total", "acceptedTokens"),
  llama("llamacpp:prompt_tokens_total"),
  llama("llamacpp:prompt_tokens_cached_total"),
  llama("llamacpp:prompt_seconds_total"),
  llama("llamacpp:tokens_predicted_total"),
  llama("llamacpp:tokens_predicted_seconds_total"),

  triton('nv_trt_llm_request_metrics{request_type="scheduled"}', "running"),
  triton('nv_trt_llm_request_metrics{request_type="waiting"}', "waiting"),
  triton('nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}', "kvUsage", { mean }),
  triton("nv_inference_pending_request_count", "waiting"),
  triton("nv_inference_request_success"),
  triton("nv_inference_queue_duration_us"),
  triton("nv_gpu_utilization", "gpuUse", { mean }),
  triton("nv_energy_consumption", "energy"),
  triton("nv_gpu_power_usage", "power"),

  dynamo("dynamo_frontend_inflight_requests", "running"),
  dynamo("dynamo_frontend_queued_requests", "waiting"),
  dynamo("dynamo_component_kvstats_gpu_cache_usage_percent", "kvUsage", { mean }),
  dynamo("dynamo_component_kvstats_gpu_prefix_cache_hit_rate", "prefixHitShare", { mean }),
  dynamo("dynamo_frontend_request_duration_seconds"),

  dcgm("DCGM_FI_DEV_GPU_UTIL", "gpuUse", { mean, scale: 0.01 }),
  dcgm("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "energy", { scale: 0.001 }),
  dcgm("DCGM_FI_DEV_POWER_USAGE", "power"),
  dcgm("DCGM_FI_PROF_GR_ENGINE_ACTIVE", undefined, { mean }),
  dcgm("DCGM_FI_PROF_DRAM_ACTIVE", undefined, { mean }),
  dcgm("DCGM_FI_DEV_FB_USED"),
];

/** The metric with whose values power or energy is known, and what makes W or J of them. */
export interface PowerMetric {
  readonly name: string;
  readonly role: "power" | "energy";
  readonly scale: number;
}

const powerUnits = {
  W: { role: "power", scale: 1 },
  mW: { role: "power", scale: 1e-3 },
  kW: { role: "power", scale: 1e3 },
  J: { role: "energy", scale: 1 },
  mJ: { role: "energy", scale: 1e-3 },
  kJ: { role: "energy", scale: 1e3 },
  Wh: { role: "energy", scale: 3600 },
  kWh: { role: "energy", scale: 3.6e6 },
} as const;

/** Endings by which a name says its unit, as Prometheus asks names to. */
const unitEndings: readonly [RegExp, keyof typeof powerUnits][] = [
  [/_milliwatts$/, "mW"],
  [/_kilowatts$/, "kW"],
  [/_watts$/, "W"],
  [/_millijoules(_total)?$/, "mJ"],
  [/_kilojoules(_total)?$/, "kJ"],
  [/_joules(_total)?$/, "J"],
  [/_kilowatt_hours(_total)?$/, "kWh"],
  [/_watt_hours(_total)?$/, "Wh"],
];

/** What POWER_METRIC allows, in words. */
export const powerMetricSyntax = `the name of a metric whose unit is known (DCGM's, Triton's, or one that ends in _watts, _joules and the like), or NAME[UNIT] with one of ${Object.keys(powerUnits).join(", ")}`;

/** Reads POWER_METRIC; undefined where the unit is not known. */
export function parsePowerMetric(text: string): PowerMetric | undefined {
  const [, name = "", labels = "", unit] = /^([A-Za-z_:][\w:]*)(\{[^}]*\})?(?:\[(\w+)\])?$/.exec(text) ?? [];
  if (name === "") return undefined;
  if (unit !== undefined) {
    if (!Object.hasOwn(powerUnits, unit)) return undefined;
    return { name: name + labels, ...powerUnits[unit as keyof typeof powerUnits] };
  }
  const known = knownMetrics.find((each) => each.name === name && (each.role === "power" || each.role === "energy"));
  if (known) return { name: name + labels, role: known.role as "power" | "energy", scale: known.scale ?? 1 };
  const ending = unitEndings.find(([pattern]) => pattern.test(name));
  return ending && { name: name + labels, ...powerUnits[ending[1]] };
}

/** One item of METRICS: a preset, or a name or pattern as the poller takes it; undefined of what is neither. */
export function parseMetricsItem(text: string): readonly KnownMetric[] | string | undefined {
  if (text === "auto") return knownMetrics;
  if ((metricPresets as readonly string[]).includes(text)) return knownMetrics.filter(({ preset }) => preset === text);
  const name = /^(?:(?:sum|mean|max)\((.*)\)|(.*))$/.exec(text);
  const series = name?.[1] ?? name?.[2] ?? "";
  return /^[A-Za-z_:*][\w:*]*(\{(\s*[A-Za-z_]\w*\s*=\s*"([^"\\]|\\.)*"\s*(,|(?=\})))*\})?$/.test(series)
    ? text
    : undefined;
}

/** The items of METRICS: names, patterns and presets, separated by commas outside of braces. */
export function metricsItems(text: string): string[] {
  return (text.match(/(?:\{[^}]*\}|[^,{])+/g) ?? []).map((item) => item.trim());
}

/** What the poller is to read for METRICS and POWER_METRIC. The first that chooses a metric says how its series are joined. */
export function wantedMetrics(metrics: string, power: string): { selectors: string[]; power?: PowerMetric } {
  const items = metricsItems(metrics).map(parseMetricsItem);
  const known = [...new Set(items.flatMap((item) => (typeof item === "object" ? [...item] : [])))];
  const own = items.filter((item): item is string => typeof item === "string");
  const powerMetric = power === "" ? undefined : parsePowerMetric(power);
  const selectors = [
    ...(powerMetric ? [powerMetric.name] : []),
    ...own,
    ...known.map(({ name, mean }) => (mean ? `mean(${name})` : name)),
  ];
  return { selectors: [...new Set(selectors)], ...(powerMetric ? { power: powerMetric } : {}) };
}
