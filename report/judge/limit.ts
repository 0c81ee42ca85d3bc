/**
 * Judges one threshold on one level: does the server keep it, as far as the samples can show?
 *
 * A percentile, a mean or a share is a statement on the server, and the run is a sample of it: it passes when the sample shows
 * with the confidence asked for that it is kept, fails when it shows the opposite as surely, and is inconclusive in between.
 * A count, a throughput, an extreme, and a share of nothing or everything (no failure at all) are statements on the run
 * itself: they are compared as they are.
 */

import { studentQuantile } from "../../lib/figures/beta";
import { besideLimit } from "../../lib/figures/table";
import { compares, type Operator, shareToKeep, type Threshold } from "../../lib/figures/threshold";
import { formatNumber, plural } from "../format";
import { ascending, mean, type Numbers, quantile, sampleStd } from "../statistics";
import { type Confidence, judgeShare, type LimitVerdict, samplesInAll } from "./early-stopping";
import type { PooledItl } from "./itl";

/** What a threshold is judged by. */
export type Evidence =
  /** One value a request. */
  | { kind: "values"; values: Numbers }
  /** How many requests are what the rate counts (failed, good), in words for the others. */
  | { kind: "share"; requests: number; counted: number; words: string }
  /** The percentile of pooled inter-token latencies that the metric is. */
  | { kind: "pooled"; pool: PooledItl; percentile: number }
  /** One value of the level; undefined where it has none. */
  | { kind: "point"; value: number | undefined };

/** A verdict with one line that holds value, limit and what the verdict rests on. */
export interface Judged {
  verdict: LimitVerdict;
  reason: string;
}

type Side = "<" | "<=" | ">" | ">=";

/** Judges a threshold; `unit` is the metric's, "" for none. What was not measured fails. */
export function judgeLimit(threshold: Threshold, evidence: Evidence, unit: string, by: Confidence): Judged {
  const limit = { ...threshold, unit: unit === "" ? "" : ` ${unit}` };
  switch (evidence.kind) {
    case "values":
      return judgeValues(evidence.values, limit, by);
    case "share":
      return judgeRate(evidence, limit, by);
    case "pooled":
      return judgePooled(evidence.pool, evidence.percentile, limit, by);
    case "point":
      return judgePoint(evidence.value, limit);
  }
}

interface Limit extends Threshold {
  /** With a space before it; "" where the metric has none. */
  unit: string;
}

/** The limit itself is written in full: rounded, it would be another one. */
const limitWords = ({ operator, limit, unit }: Limit): string =>
  `limit ${operator} ${limit.toLocaleString("en-US", { maximumFractionDigits: 20 })}${unit}`;

/**
 * The verdict on an equation from those on its two sides: a value is shown to be the limit when it is shown to be neither
 * above nor below it.
 */
function bySides(operator: Operator, side: (side: Side) => LimitVerdict): LimitVerdict {
  if (operator !== "==" && operator !== "!=") return side(operator);
  const both = [side("<="), side(">=")];
  const equal = both.includes("failed") ? "failed" : both.includes("inconclusive") ? "inconclusive" : "passed";
  if (operator === "==" || equal === "inconclusive") return equal;
  return equal === "passed" ? "failed" : "passed";
}

function judgePoint(value: number | undefined, limit: Limit): Judged {
  if (value === undefined || !Number.isFinite(value)) return { verdict: "failed", reason: "not measured" };
  const reason = `${limit.aggregate} ${besideLimit(value, limit.limit, formatNumber)}${limit.unit}, ${limitWords(limit)}`;
  return { verdict: compares(value, limit.operator, limit.limit) ? "passed" : "failed", reason };
}

function judgeValues(values: Numbers, limit: Limit, by: Confidence): Judged {
  if (values.length === 0) return judgePoint(undefined, limit);
  if (limit.aggregate === "avg") return judgeMean(values, limit, by);
  const { percentile = Number.NaN } = limit;
  const sorted = ascending(values);
  const value = quantile(sorted, percentile / 100);
  // The least and the greatest of a run are the run's own.
  if (!(percentile > 0 && percentile < 100)) return judgePoint(value, limit);
  const beyond = (side: Side) => sorted.reduce((count, each) => count + (compares(each, side, limit.limit) ? 0 : 1), 0);
  const share = (side: Side) => shareToKeep({ ...limit, operator: side }) ?? Number.NaN;
  const verdict = bySides(limit.operator, (side) => judgeShare(values.length, beyond(side), share(side), by));
  const side = sideShown(limit.operator, value, limit.limit);
  const count = `${beyond(side)} of ${values.length} requests beyond ${formatNumber(limit.limit)}${limit.unit}`;
  const more = verdict === "inconclusive" ? moreNeeded(limit, values.length, beyond(side), share(side), by) : "";
  return {
    verdict,
    reason: `${limit.aggregate} ${besideLimit(value, limit.limit, formatNumber)}${limit.unit}, ${limitWords(limit)}: ${count}${more}`,
  };
}

/** The side of an equation that the value lies on, and so the one that words are about. */
function sideShown(operator: Operator, value: number, limit: number): Side {
  if (operator !== "==" && operator !== "!=") return operator;
  return value > limit ? "<=" : ">=";
}

/** How many samples would be needed, in words that follow a reason. */
function moreNeeded({ operator }: Limit, n: number, over: number, share: number, by: Confidence): string {
  if (operator === "==" || operator === "!=") return "; no number of samples shows that it is exactly that";
  const needed = samplesInAll(n, over, share, by);
  return Number.isFinite(needed)
    ? `; at this share ${needed.toLocaleString("en-US")} would be needed`
    : "; too close to the limit for any number";
}

/** A mean: by the bound that Student's t gives it. Requests count as independent. */
function judgeMean(values: Numbers, limit: Limit, by: Confidence): Judged {
  const value = mean(values);
  const n = values.length;
  const slack =
    n < 2 ? Number.POSITIVE_INFINITY : (studentQuantile(by.confidence, n - 1) * sampleStd(values)) / Math.sqrt(n);
  const verdict = bySides(limit.operator, (side) => {
    const [worst, best] = side.startsWith("<") ? [value + slack, value - slack] : [value - slack, value + slack];
    if (compares(worst, side, limit.limit)) return "passed";
    return compares(best, side, limit.limit) ? "inconclusive" : "failed";
  });
  const bounds = Number.isFinite(slack)
    ? `${formatNumber(value - slack)} to ${formatNumber(value + slack)}${limit.unit}`
    : "one request has no bounds";
  return {
    verdict,
    reason: `avg ${besideLimit(value, limit.limit, formatNumber)}${limit.unit}, ${limitWords(limit)}: ${bounds} (${plural(n, "request")})`,
  };
}

/** A share of requests: by the binomial bound, as percentiles are. */
function judgeRate(evidence: Evidence & { kind: "share" }, limit: Limit, by: Confidence): Judged {
  const { requests, counted, words } = evidence;
  if (requests === 0) return judgePoint(undefined, limit);
  const rate = counted / requests;
  // That nothing at all fails, or everything is good, no sample shows of a server: it is asked of the run.
  if (!(limit.limit > 0 && limit.limit < 1)) return judgePoint(rate, limit);
  const over = (side: Side) => (side.startsWith("<") ? counted : requests - counted);
  const share = (side: Side) => shareToKeep({ ...limit, operator: side }) ?? Number.NaN;
  const verdict = bySides(limit.operator, (side) => judgeShare(requests, over(side), share(side), by));
  const side = sideShown(limit.operator, rate, limit.limit);
  const more = verdict === "inconclusive" ? moreNeeded(limit, requests, over(side), share(side), by) : "";
  return {
    verdict,
    reason: `rate ${besideLimit(rate, limit.limit, formatNumber)}, ${limitWords(limit)}: ${counted} of ${requests} requests ${words}${more}`,
  };
}

/**
 * A percentile of the pooled inter-token latencies: it passes when even its bound beyond the limit's side keeps the limit,
 * and fails when the other bound does not.
 */
function judgePooled(pool: PooledItl, percentile: number, limit: Limit, by: Confidence): Judged {
  if (pool.tokens === 0) return judgePoint(undefined, limit);
  const p = percentile / 100;
  const { low, high, independent } = pool.bounds(p, by);
  const verdict = bySides(limit.operator, (side) => {
    const [worst, best] = side.startsWith("<") ? [high, low] : [low, high];
    if (worst !== undefined && compares(worst, side, limit.limit)) return "passed";
    return best !== undefined && !compares(best, side, limit.limit) ? "failed" : "inconclusive";
  });
  const { unit } = limit;
  const atLeast = low === undefined ? "no lower bound" : `at least ${formatNumber(low)}${unit}`;
  const atMost = high === undefined ? "no upper bound" : `at most ${formatNumber(high)}${unit}`;
  const worth = independent > 0 ? `, worth ${formatNumber(Math.floor(independent))} independent ones` : "";
  const from = `${plural(pool.tokens, "token")} of ${plural(pool.requests, "request")}${worth}`;
  const value = pool.quantile(p);
  const below = limit.operator.startsWith("<");
  const equation = limit.operator === "==" || limit.operator === "!=";
  const bound =
    verdict === "inconclusive" || equation
      ? `${atLeast}, ${atMost}`
      : (verdict === "passed") === below
        ? atMost
        : atLeast;
  const reason = `${limit.aggregate} ${besideLimit(value, limit.limit, formatNumber)}${unit}, ${limitWords(limit)}: ${bound} (${from})`;
  if (verdict !== "inconclusive") return { verdict, reason };
  if (equation) return { verdict, reason: `${reason}; no number of samples shows that it is exactly that` };
  const keeps = (ms: number) => compares(ms, limit.operator, limit.limit);
  const needed = samplesInAll(independent, independent * (1 - pool.share(keeps)), below ? p : 1 - p, by);
  const requests = Math.ceil((needed / independent) * pool.requests);
  const more = Number.isFinite(requests)
    ? `at this share about ${requests.toLocaleString("en-US")} requests would be needed`
    : independent > 0
      ? "too close to the limit for any number"
      : "too few requests to say how far tokens depend on each other";
  return { verdict, reason: `${reason}; ${more}` };
}
