/** The thresholds of a run judged on its records as k6 judges them while it runs: a value against a limit, with no confidence. Pure. */
import { computedGauges } from "../../lib/figures/computed-gauges";
import { figuresOf, type RequestFigures } from "../../lib/figures/fold";
import type { LevelSummary } from "../../lib/figures/level-summary";
import { isMetricName, type MetricName } from "../../lib/figures/metrics-table";
import { percentile } from "../../lib/figures/percentile";
import type { RequestLine } from "../../lib/figures/records";
import { compares, parseThreshold, partsOf } from "../../lib/figures/threshold";
import type { Judged } from "../../lib/outcome/verdict";
import { levelValues } from "./level-values";

/** A level with its steady requests. */
export interface MeasuredLevel {
  readonly summary: LevelSummary;
  readonly steady: readonly RequestLine[];
}

/** What the thresholds without a level are judged by. */
export interface WholeRun {
  readonly clientBound: boolean;
  readonly cacheBound: boolean;
  readonly droppedIterations: number;
}

/** Metrics of which each request has a value: k6's Trends. */
const trends: Partial<Record<MetricName, keyof RequestFigures>> = {
  llm_ttft: "ttftMs",
  llm_ttfo: "ttfoMs",
  llm_tpot: "tpotMs",
  llm_itl_max: "maxStallMs",
  llm_e2e_latency: "e2eMs",
  llm_queue_delay: "queueDelayMs",
  llm_ttft_scheduled: "ttftScheduledMs",
  llm_e2e_scheduled: "e2eScheduledMs",
  llm_output_speed: "outputSpeed",
};

/** The other metrics that a level has one value of: k6's Counters, Rates and Gauges. */
const perLevel: Partial<Record<MetricName, (level: MeasuredLevel) => number | undefined>> = {
  llm_cached_tokens: ({ summary }) => summary.cachedTokens,
  llm_chunks: ({ steady }) =>
    steady.reduce((sum, { outcome, arrivals = [] }) => sum + (outcome === "completed" ? arrivals.length : 0), 0),
  llm_request_failed: ({ summary }) => (summary.requests > 0 ? summary.failed / summary.requests : undefined),
  llm_goodput: ({ summary }) => summary.goodShare,
  llm_itl_p50: ({ summary }) => (summary.itlMs.count > 0 ? summary.itlMs.p50 : undefined),
  llm_itl_p90: ({ summary }) => (summary.itlMs.count > 0 ? summary.itlMs.p90 : undefined),
  llm_itl_p99: ({ summary }) => (summary.itlMs.count > 0 ? summary.itlMs.p99 : undefined),
};

/** How many samples a level's steady requests gave a metric, as llm_samples counts them. */
function samplesOf(metric: string, { summary: level }: MeasuredLevel): number {
  const counts: Record<string, number | undefined> = {
    llm_ttft: level.ttftMs.count,
    llm_ttfo: level.ttfoMs.count,
    llm_tpot: level.tpotMs.count,
    llm_output_speed: level.outputSpeed.count,
    llm_e2e_latency: level.e2eMs.count,
    llm_queue_delay: level.queueDelayMs.count,
    llm_ttft_scheduled: level.ttftScheduledMs.count,
    llm_e2e_scheduled: level.e2eScheduledMs.count,
    llm_itl_p50: level.itlMs.count,
    llm_itl_p90: level.itlMs.count,
    llm_itl_p99: level.itlMs.count,
    // A stream that came in one receive has gaps of 0 only, which say nothing of the server.
    llm_itl_max: Math.min(level.maxStallMs.count, level.tpotMs.count),
    llm_output_throughput: level.completed,
    llm_request_throughput: level.completed,
    llm_cached_share: level.cachedShare === undefined ? 0 : level.completed,
    llm_goodput: level.goodShare === undefined ? 0 : level.requests,
    llm_request_goodput: level.goodShare === undefined ? 0 : level.requests,
  };
  // As for k6: what is computed of a level counts its completed requests, where it is known.
  if (Object.hasOwn(computedGauges, metric)) {
    return computedGauges[metric as keyof typeof computedGauges](level) === undefined ? 0 : level.completed;
  }
  return counts[metric] ?? 0;
}

/**
 * Judges thresholds as `thresholds()` makes them, by key and expression.
 * @throws Error for a threshold that is of another form: what is not understood does not pass.
 */
export function judgePoints(
  thresholds: Readonly<Record<string, readonly string[]>>,
  levels: readonly MeasuredLevel[],
  run: WholeRun,
): Judged[] {
  return Object.entries(thresholds).flatMap(([key, expressions]) =>
    expressions.map((expression) => {
      const value = valueAt(key, expression, levels, run);
      return { metric: key, expression, value, ok: value !== undefined && holds(value, expression) };
    }),
  );
}

const wholeRun: Readonly<Record<string, (run: WholeRun) => number>> = {
  llm_client_bound: ({ clientBound }) => Number(clientBound),
  llm_cache_bound: ({ cacheBound }) => Number(cacheBound),
  dropped_iterations: ({ droppedIterations }) => droppedIterations,
};

function valueAt(key: string, expression: string, levels: readonly MeasuredLevel[], run: WholeRun): number | undefined {
  const ofRun = wholeRun[key];
  if (ofRun) return ofRun(run);
  const [, metric = "", name = "", tag = ""] =
    /^(\w+)\{level:([^,}]+)(?:,(phase:steady|metric:\w+))?\}$/.exec(key) ?? [];
  if (!isMetricName(metric)) throw new Error(`the threshold ${key} ${expression} cannot be judged here`);
  const level = levels.find(({ summary }) => summary.name === name);
  if (!level) return metric === "llm_samples" || metric === "llm_requests" ? 0 : undefined;
  if (metric === "llm_samples") return samplesOf(tag.replace("metric:", ""), level);
  const { aggregate, percentile: percent } = parseThreshold(metric, expression);
  const figure = trends[metric];
  if (figure === undefined) {
    const inSummary = levelValues[metric];
    if (inSummary) return inSummary(level.summary);
    const value = perLevel[metric];
    if (!value) throw new Error(`the threshold ${key} ${expression} cannot be judged here`);
    return value(level);
  }
  const values = level.steady
    .map((request) => figuresOf(request)[figure])
    .filter((each): each is number => each !== undefined && each >= 0)
    .sort((a, b) => a - b);
  if (values.length === 0) return undefined;
  if (percent !== undefined) return percentile(values, percent / 100);
  if (aggregate !== "avg") throw new Error(`the threshold ${key} ${expression} cannot be judged here`);
  return values.reduce((sum, each) => sum + each, 0) / values.length;
}

function holds(value: number, expression: string): boolean {
  const parts = partsOf(expression);
  if (!parts) throw new Error(`${expression} is not a threshold such as p(95)<500`);
  return compares(value, parts.operator, parts.limit);
}
