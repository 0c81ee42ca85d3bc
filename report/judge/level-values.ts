/** Metrics that a level has one value of and that stand in its summary as they are judged. Pure. */
import { computedGauges } from "../../lib/figures/computed-gauges";
import type { LevelSummary } from "../../lib/figures/level-summary";
import type { MetricName } from "../../lib/figures/metrics-table";

export const levelValues: Partial<Record<MetricName, (level: LevelSummary) => number | undefined>> = {
  llm_output_throughput: ({ outputThroughput }) => outputThroughput,
  llm_request_throughput: ({ requestThroughput }) => requestThroughput,
  llm_request_goodput: ({ requestGoodput }) => requestGoodput,
  llm_requests: ({ requests }) => requests,
  llm_failures: ({ failed }) => failed,
  llm_input_tokens: ({ inputTokens }) => inputTokens,
  llm_output_tokens: ({ outputTokens }) => outputTokens,
  llm_cached_share: ({ cachedShare }) => cachedShare,
  ...computedGauges,
};
