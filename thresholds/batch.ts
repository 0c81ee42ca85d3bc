import type { Profile } from "../lib/figures/profile";

/** Nobody waits for the first token: what counts is that the work gets done. MLPerf's server limits, without streaming ones. */
export const batch: Profile = {
  description: "Offline work: throughput counts, latency hardly.",
  minRequests: 20,
  maxFailureShare: 0.001,
  limits: {
    llm_ttft: ["p(99)<30000"],
    llm_tpot: ["p(99)<200"],
    llm_itl_p99: ["value<1000"],
    llm_output_speed: ["med>5"],
    llm_output_throughput: ["value>50"],
  },
};
