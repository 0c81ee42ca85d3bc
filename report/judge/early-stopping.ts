/**
 * When are there enough samples to say that a percentile keeps its limit? MLPerf's early stopping (inference rules,
 * loadgen/early_stopping.cc): with t samples over the limit, the verdict "at least the share p of all requests keeps it"
 * is sound with confidence c once h samples kept it, h the smallest with I_{p-d}(h, t+1) <= 1 - c.
 */
import { incompleteBeta } from "../../lib/figures/beta";

export interface Confidence {
  /** Chance of being right, 0..1. */
  confidence: number;
  /** Tolerance d by which the share may lie below p. */
  tolerance: number;
}

/** MLPerf's own: 99 %, no tolerance. */
export const mlperfConfidence: Confidence = { confidence: 0.99, tolerance: 0 };

/** The chance of being wrong that is left. A hair of slack, for where it is met exactly rounding would decide. */
const doubt = (confidence: number): number => (1 - confidence) * (1 + 1e-9);

/**
 * The smallest number of samples within the limit that outweighs `over` samples beyond it, for the share p (0..1). How many a
 * threshold needs at least, none of them beyond it, is samplesNeeded of lib/figures/threshold.ts, without this arithmetic.
 */
export function samplesNeeded(
  over: number,
  p: number,
  { confidence, tolerance }: Confidence = mlperfConfidence,
): number {
  const share = p - tolerance;
  if (!(share > 0 && share < 1)) throw new RangeError(`a share between 0 and 1 is needed, not ${share}`);
  // The chance falls with h: double until it is low enough, then bisect.
  const enough = (h: number): boolean => incompleteBeta(share, h, over + 1) <= doubt(confidence);
  let high = 1;
  while (!enough(high)) high *= 2;
  let low = high >> 1;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (enough(middle)) high = middle;
    else low = middle;
  }
  return high;
}

export type LimitVerdict = "passed" | "failed" | "inconclusive";

/**
 * Judges "the share p keeps the limit" from n samples of which `over` are beyond it. It passes when enough samples kept
 * it, fails when the opposite is as sure (P(at most n - over within | share p) <= 1 - c), and else asks for more samples.
 */
export function judgeShare(n: number, over: number, p: number, by: Confidence = mlperfConfidence): LimitVerdict {
  const within = n - over;
  if (within > 0 && incompleteBeta(p - by.tolerance, within, over + 1) <= doubt(by.confidence)) return "passed";
  // P(X <= kept), X binomial(n, p), is I_{1-p}(n - kept, kept + 1).
  if (over > 0 && incompleteBeta(1 - p, over, within + 1) <= doubt(by.confidence)) return "failed";
  return "inconclusive";
}

/**
 * The shares of n samples (which need not be whole) at which the verdict on the share p changes: `high` is the least
 * share within a limit that passes it, `low` the greatest that fails it; undefined where not even all or none would.
 */
export function shareBounds(n: number, p: number, by: Confidence): { low?: number; high?: number } {
  const verdictAt = (share: number) => judgeShare(n, n * (1 - share), p, by);
  const border = (wanted: LimitVerdict, end: number): number | undefined => {
    if (!(n > 0) || verdictAt(end) !== wanted) return undefined;
    let [reached, missed] = [end, 1 - end];
    for (let i = 0; i < 50; i++) {
      const middle = (reached + missed) / 2;
      if (verdictAt(middle) === wanted) reached = middle;
      else missed = middle;
    }
    return reached;
  };
  return { low: border("failed", 0), high: border("passed", 1) };
}

/** How many samples would be needed in all if the same share stays over the limit; Infinity where that share is too high. */
export function samplesInAll(n: number, over: number, p: number, by: Confidence = mlperfConfidence): number {
  if (n > 0 && over / n >= 1 - p + by.tolerance) return Number.POSITIVE_INFINITY;
  if (over === 0) return samplesNeeded(0, p, by);
  for (let factor = 1; factor <= 1 << 20; factor *= 2) {
    const enough = (times: number): boolean =>
      n * times - Math.round(over * times) >= samplesNeeded(Math.round(over * times), p, by);
    if (!enough(factor)) continue;
    let low = factor / 2;
    let high = factor;
    for (let i = 0; i < 20; i++) {
      const middle = (low + high) / 2;
      if (enough(middle)) high = middle;
      else low = middle;
    }
    return Math.ceil(n * high);
  }
  return Number.POSITIVE_INFINITY;
}
