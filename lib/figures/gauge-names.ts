/** The server's own gauges under the names that servers give them: the same are polled and read. Pure. */

/** What a gauge says, whatever the server calls it; preemptions count up, kvUsage is 0..1 of the KV cache. */
export type GaugeName = "kvUsage" | "running" | "waiting" | "preemptions";

/** Names of vLLM (both of its KV gauges), happy_vllm, SGLang and llama.cpp, the preferred ones first. */
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

/** The requests that run or wait by a Prometheus page, of all engines together; undefined where it has no gauge of them. */
export function requestsIn(page: string): number | undefined {
  let sum: number | undefined;
  for (const line of page.split("\n")) {
    const [, name = "", value = ""] = /^([\w:]+)(?:\{[^}]*\})?\s+(\S+)/.exec(line) ?? [];
    const says = gaugeNames[name];
    if (says === "running" || says === "waiting") sum = (sum ?? 0) + Number(value);
  }
  return sum;
}
