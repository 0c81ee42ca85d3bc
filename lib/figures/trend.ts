/** Whether a series of slices of time rises, falls, or shows neither. Pure. */
import { median } from "./percentile";

export interface Trend {
  readonly direction: "rising" | "falling" | "flat";
  /** Chance of so clear a trend in a series without one, both directions together (0..1); 1 where the series is too short. */
  readonly p: number;
  /** Theil and Sen's slope, in units of a value a slice. */
  readonly slope: number;
}

/** Fewest slices in which a trend can be found: four in order come by chance once in 24 times. */
export const fewestSlices = 8;

/**
 * Mann and Kendall's test on the slices' values (H. B. Mann, *Nonparametric Tests Against Trend*, 1945; variance with ties),
 * and the median of the slopes between all pairs (Sen 1968). The test asks only for the order, so a single slow slice is no
 * trend. Slices count as independent: they must be long against what one request does to the next.
 */
export function trendOf(values: readonly number[], alpha = 0.01): Trend {
  const n = values.length;
  if (n < fewestSlices) return { direction: "flat", p: 1, slope: Number.NaN };
  let score = 0;
  const slopes: number[] = [];
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const rise = (values[j] ?? 0) - (values[i] ?? 0);
      score += Math.sign(rise);
      slopes.push(rise / (j - i));
    }
  }
  const ties = new Map<number, number>();
  for (const value of values) ties.set(value, (ties.get(value) ?? 0) + 1);
  let variance = n * (n - 1) * (2 * n + 5);
  for (const t of ties.values()) variance -= t * (t - 1) * (2 * t + 5);
  variance /= 18;
  const slope = median(slopes);
  if (!(variance > 0)) return { direction: "flat", p: 1, slope };
  const z = Math.max(0, Math.abs(score) - 1) / Math.sqrt(variance);
  const p = Math.min(1, 2 * normalTail(z));
  return { direction: p > alpha ? "flat" : score > 0 ? "rising" : "falling", p, slope };
}

/** The value z >= 0 that a standard normal value exceeds with that chance, up to 0.5. */
export function normalQuantile(chance: number): number {
  let [low, high] = [0, 10];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (normalTail(middle) > chance) low = middle;
    else high = middle;
  }
  return high;
}

/** The chance that a standard normal value exceeds z >= 0; absolute error below 7.5e-8 (Abramowitz and Stegun 26.2.17). */
export function normalTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const polynomial = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * polynomial;
}
