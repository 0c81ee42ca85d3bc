/** Statistics of samples; all pure. Percentiles as everywhere in the project: linearly interpolated. */
import { percentile } from "../lib/figures/percentile";

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Arithmetic mean; NaN of nothing. */
export function mean(values: readonly number[]): number {
  return values.length === 0 ? Number.NaN : sum(values) / values.length;
}

/** Standard deviation of a sample (divisor n - 1); 0 for fewer than two values. */
export function sampleStd(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const centre = mean(values);
  return Math.sqrt(sum(values.map((value) => (value - centre) ** 2)) / (values.length - 1));
}

/** The least of values; Infinity of nothing. Not by spreading them: a call takes some hundred thousand arguments at most. */
export function least(values: readonly number[]): number {
  return values.reduce((lowest, value) => Math.min(lowest, value), Number.POSITIVE_INFINITY);
}

/** The greatest of values; -Infinity of nothing. */
export function greatest(values: readonly number[]): number {
  return values.reduce((highest, value) => Math.max(highest, value), Number.NEGATIVE_INFINITY);
}

export function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

/** The q-quantile (0..1) of ascending values; NaN of nothing. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted.length === 0 ? Number.NaN : percentile(sorted, q);
}

export function median(values: readonly number[]): number {
  return quantile(ascending(values), 0.5);
}
