import type { Config } from "../settings/config";
import { watchCache } from "./client";

/**
 * Has the cached share of the input read from the server's metrics page at the begin and the end of each level, for servers
 * whose usage does not tell it. `url` is that page's address. Init context only.
 */
export function openCacheWatch(config: Config, url: string, headers: Record<string, string>): void {
  // The first VU's words count; and nothing is known of what answers JSON in general.
  if (__VU !== 0 || (config.API === "json" && config.METRICS_URL === "")) return;
  // The prompt tokens that servers found in their prefix cache and looked up, by kind of server.
  const counters = [
    {
      hits: ["vllm:prefix_cache_hits_total", "vllm:external_prefix_cache_hits_total"],
      queries: "vllm:prefix_cache_queries_total",
    },
    { hits: ["vllm:gpu_prefix_cache_hits_total"], queries: "vllm:gpu_prefix_cache_queries_total" },
    { hits: ["sglang:cached_tokens_total"], queries: "sglang:prompt_tokens_total" },
  ];
  watchCache({ url, headers, counters });
}
