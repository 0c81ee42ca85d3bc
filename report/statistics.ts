/** Statistics of samples; all pure. Percentiles as everywhere in the project: linearly interpolated. */
import { percentile, sampleVariance } from "../lib/figures/percentile";

/** Samples: an array, or the eight bytes each that a column of a million takes. */
export type Numbers = ArrayLike<number> & Iterable<number>;

export function sum(values: Numbers): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i] as number;
  return total;
}

/** Arithmetic mean; NaN of nothing. */
export function mean(values: Numbers): number {
  return values.length === 0 ? Number.NaN : sum(values) / values.length;
}

/** Standard deviation of a sample (divisor n - 1); 0 for fewer than two values. */
export function sampleStd(values: Numbers): number {
  return Math.sqrt(sampleVariance(values));
}

/** The least of values; Infinity of nothing. Not by spreading them: a call takes some hundred thousand arguments at most. */
export function least(values: Numbers): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < values.length; i++) lowest = Math.min(lowest, values[i] as number);
  return lowest;
}

/** The greatest of values; -Infinity of nothing. */
export function greatest(values: Numbers): number {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) highest = Math.max(highest, values[i] as number);
  return highest;
}

/** A sorted copy. Typed: an array sorts by a function, for which it keeps each number as an object of its own. */
export function ascending(values: Numbers): Float64Array {
  return new Float64Array(values).sort();
}

/** The q-quantile (0..1) of ascending values; NaN of nothing. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  return sorted.length === 0 ? Number.NaN : percentile(sorted, q);
}

export function median(values: Numbers): number {
  return quantile(ascending(values), 0.5);
}
