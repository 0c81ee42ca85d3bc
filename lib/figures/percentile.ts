import type { Stats } from "./level-summary";

/**
 * The value below which the share `p` (0..1) of the ascending values lies, linearly interpolated between closest ranks
 * (Hyndman and Fan's type 7: numpy's and k6's default). 0 for no values.
 */
export function percentile(ascending: ArrayLike<number>, p: number): number {
  const { length } = ascending;
  if (length === 0) return 0;
  const rank = p * (length - 1);
  const below = Math.floor(rank);
  const low = ascending[below] ?? 0;
  const high = ascending[Math.min(below + 1, length - 1)] ?? 0;
  return low + (high - low) * (rank - below);
}

/** The median of values in any order; 0 for none. */
export function median(values: ArrayLike<number>): number {
  return percentile(Float64Array.from(values).sort(), 0.5);
}

/** The variance of a sample (divisor n - 1) in one pass (Welford 1962); 0 for fewer than two values. */
export function sampleVariance(values: ArrayLike<number>): number {
  let [mean, squares] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const step = (values[i] as number) - mean;
    mean += step / (i + 1);
    squares += step * ((values[i] as number) - mean);
  }
  return values.length < 2 ? 0 : squares / (values.length - 1);
}

/** Statistics of values in any order. */
export function statsOf(values: ArrayLike<number>): Stats {
  const ascending = Float64Array.from(values).sort();
  const count = ascending.length;
  if (count === 0) return { count, mean: 0, std: 0, min: 0, p50: 0, p90: 0, p95: 0, p99: 0, p999: 0, max: 0 };
  let sum = 0;
  for (const value of ascending) sum += value;
  const mean = sum / count;
  let squares = 0;
  for (const value of ascending) squares += (value - mean) ** 2;
  return {
    count,
    mean,
    std: Math.sqrt(squares / count),
    min: ascending[0] ?? 0,
    p50: percentile(ascending, 0.5),
    p90: percentile(ascending, 0.9),
    p95: percentile(ascending, 0.95),
    p99: percentile(ascending, 0.99),
    p999: percentile(ascending, 0.999),
    max: ascending[count - 1] ?? 0,
  };
}
