/** The server's own gauges under the names that servers give them: the same are polled and read. Pure. */
export const gaugeNames = {
  /** 0..1 of the KV cache in use: vLLM (both of its gauges), happy_vllm, SGLang, llama.cpp. */
  kvUsage: [
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "gpu_cache_usage_perc",
    "sglang:token_usage",
    "llamacpp:kv_cache_usage_ratio",
  ],
  running: [
    "vllm:num_requests_running",
    "num_requests_running",
    "sglang:num_running_reqs",
    "llamacpp:requests_processing",
  ],
  waiting: ["vllm:num_requests_waiting", "num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred"],
  /** Counts up. */
  preemptions: ["vllm:num_preemptions_total"],
} as const;

/** What a gauge says, whatever the server calls it. */
export type GaugeName = keyof typeof gaugeNames;
