/** The server's own gauges under the names that servers give them: the same are polled and read. Pure. */

/** What a gauge says, whatever the server calls it; preemptions count up, kvUsage is 0..1 of the KV cache. */
export type GaugeName = "kvUsage" | "running" | "waiting" | "preemptions";

/** Names of vLLM (both of its KV gauges), happy_vllm, SGLang and llama.cpp, the preferred ones first. One object: every VU has it. */
export const gaugeNames: Readonly<Record<string, GaugeName>> = {
  "vllm:kv_cache_usage_perc": "kvUsage",
  "vllm:gpu_cache_usage_perc": "kvUsage",
  gpu_cache_usage_perc: "kvUsage",
  "sglang:token_usage": "kvUsage",
  "llamacpp:kv_cache_usage_ratio": "kvUsage",
  "vllm:num_requests_running": "running",
  num_requests_running: "running",
  "sglang:num_running_reqs": "running",
  "llamacpp:requests_processing": "running",
  "vllm:num_requests_waiting": "waiting",
  num_requests_waiting: "waiting",
  "sglang:num_queue_reqs": "waiting",
  "llamacpp:requests_deferred": "waiting",
  "vllm:num_preemptions_total": "preemptions",
};
