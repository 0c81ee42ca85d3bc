import type { Profile } from "../lib/figures/profile";

/**
 * Someone reads along: the first token within the second in which attention holds, then faster than anyone reads.
 * TTFT and TPOT are MLPerf Inference's limits for interactive Llama 2 70B (450 ms, 40 ms at p99).
 */
export const interactive: Profile = {
  description: "A person reads along while the answer is written.",
  minRequests: 20,
  maxFailureShare: 0.01,
  limits: {
    llm_ttft: ["p(95)<450", "p(99)<1000"],
    llm_tpot: ["p(99)<40"],
    llm_itl_p99: ["value<100"],
    llm_itl_max: ["p(95)<1000"],
    llm_output_speed: ["p(10)>20"],
    llm_output_throughput: ["value>20"],
  },
};
