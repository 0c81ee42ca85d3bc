/** One threshold in k6's language, such as p(95)<500, taken apart and held against the type of its metric. */
import { isMetricName, type MetricName, metrics } from "./metrics-table";

/** How the value is compared with the limit; k6 knows === too, which means ==. */
export type Operator = "<" | "<=" | ">" | ">=" | "==" | "!=";

/** A threshold, taken apart. */
export interface Threshold {
  /** As written: avg, min, max, med, count, rate, value or p(N). */
  readonly aggregate: string;
  /** Which percentile of its samples the aggregate is, 0..100; undefined where it is none. min is 0, max 100, med 50. */
  readonly percentile?: number;
  readonly operator: Operator;
  readonly limit: number;
}

/** The aggregates that say something of each type of metric; p stands for p(N). */
const aggregates = {
  Trend: ["avg", "min", "max", "med", "p"],
  Counter: ["count"],
  Gauge: ["value"],
  Rate: ["rate"],
} as const;

/** Whether every run is gated by the metric anyway; under a level's tags it has no samples, which k6 takes for passed. */
export function gatesEveryRun(metric: MetricName): boolean {
  return metric === "llm_samples" || metrics[metric].unit === "0 or 1";
}

const syntax = /^(avg|min|max|med|count|rate|value|p\((\d+(?:\.\d+)?)\))\s*(<=|>=|<|>|===?|!=)\s*(\d+(?:\.\d+)?)$/;

const percentiles: Readonly<Record<string, number>> = { min: 0, med: 50, max: 100 };

/** A threshold's parts, whatever metric it is on; undefined of what is none. */
export function partsOf(expression: unknown): Threshold | undefined {
  const [, aggregate, percentText, operatorText, limitText] =
    (typeof expression === "string" && syntax.exec(expression)) || [];
  if (aggregate === undefined) return undefined;
  const percentile = percentText === undefined ? percentiles[aggregate] : Number(percentText);
  const operator = (operatorText === "===" ? "==" : operatorText) as Operator;
  return { aggregate, percentile, operator, limit: Number(limitText) };
}

const comparisons: Readonly<Record<Operator, (value: number, limit: number) => boolean>> = {
  "<": (value, limit) => value < limit,
  "<=": (value, limit) => value <= limit,
  ">": (value, limit) => value > limit,
  ">=": (value, limit) => value >= limit,
  "==": (value, limit) => value === limit,
  "!=": (value, limit) => value !== limit,
};

/** Whether the value lies where the operator wants it from the limit. */
export function compares(value: number, operator: Operator, limit: number): boolean {
  return comparisons[operator](value, limit);
}

/**
 * Reads a threshold.
 * @throws Error with one line that names what is wrong and what is allowed: what is no threshold, and an aggregate that the
 * metric's type does not have.
 */
export function parseThreshold(metric: string, expression: unknown): Threshold {
  if (!isMetricName(metric)) throw new Error(`${metric} is not a metric (see docs/metrics.md)`);
  if (gatesEveryRun(metric)) throw new Error(`${metric} already gates every run; leave it out`);
  const shown = `${metric}: ${JSON.stringify(expression)}`;
  const parts = partsOf(expression);
  if (!parts) throw new Error(`${shown} is not a threshold such as "p(95)<500"`);
  const { aggregate, percentile } = parts;
  const { type } = metrics[metric];
  const isPercentile = aggregate.startsWith("p(");
  const method = isPercentile ? "p" : aggregate;
  if (!(aggregates[type] as readonly string[]).includes(method)) {
    const allowed = aggregates[type].map((each) => (each === "p" ? "p(N)" : each)).join(", ");
    throw new Error(`${shown}: a ${type} has ${allowed}${insteadOf(metric, method)}`);
  }
  if (isPercentile && !(percentile !== undefined && percentile >= 1 && percentile <= 100)) {
    throw new Error(`${shown}: N of p(N) is per cent, from 1 to 100, such as p(95)`);
  }
  return parts;
}

/** What to write where a Counter's rate was meant: k6's divides by the whole run, set-up and other levels included. */
function insteadOf(metric: MetricName, method: string): string {
  if (method !== "rate") return "";
  if (metric === "llm_output_tokens" || metric === "llm_chunks")
    return "; for tokens a second use llm_output_throughput, such as value>1000";
  if (metric === "llm_requests") return "; for requests a second use llm_request_throughput, such as value>5";
  if (metric === "llm_failures") return "; for the share of failed requests use llm_request_failed, such as rate<0.01";
  return "";
}

/**
 * The share of samples (0..1) that must keep the limit for the threshold to hold: 0.99 for p(99)<200, 0.9 for p(10)>20,
 * 0.95 for a rate<=0.05 of failures. undefined of a threshold that is no statement on a share.
 */
export function shareToKeep({ percentile, aggregate, operator, limit }: Threshold): number | undefined {
  const below = operator.startsWith("<");
  if (percentile !== undefined) return below ? percentile / 100 : 1 - percentile / 100;
  if (aggregate === "rate") return below ? 1 - limit : limit;
  return undefined;
}

/**
 * How many samples of its metric a threshold needs before `gate` can pass it: that many in a row must keep the limit until
 * MLPerf's early stopping is as sure as `confidence` (0..1); report/judge/early-stopping.ts says how many more where some do
 * not keep it. 1 where the threshold is on the run itself: counts, throughputs, extremes, and a share of nothing or
 * everything. Infinity where no number suffices, as for p(95)==100.
 */
export function samplesNeeded(expression: string, confidence = 0.99): number {
  const [, aggregate = "", percentText, operator = "", limit = ""] = syntax.exec(expression) ?? [];
  if (operator === "") throw new Error(`${JSON.stringify(expression)} is not a threshold such as "p(95)<500"`);
  if (aggregate === "avg") return 2;
  const percentile = percentText === undefined ? percentiles[aggregate] : Number(percentText);
  const share = (as: Operator) => shareToKeep({ aggregate, percentile, operator: as, limit: Number(limit) });
  const [below, above] = [share("<"), share(">")];
  if (below === undefined || above === undefined || !(below > 0 && below < 1)) return 1;
  if (operator.startsWith("==")) return Number.POSITIVE_INFINITY;
  // That a value is another one is shown by either side of it.
  const easiest = operator === "!=" ? Math.min(below, above) : operator.startsWith("<") ? below : above;
  // A hair of slack: where it is met exactly, rounding would decide.
  return Math.max(1, Math.ceil(Math.log(1 - confidence) / Math.log(easiest) - 1e-9));
}

/** N of the llm_itl_pN that a metric is; undefined of any other metric. */
export function pooledPercentile(metric: MetricName | undefined): string | undefined {
  return /^llm_itl_p(\d+)$/.exec(metric ?? "")?.[1];
}
