/** What two servers are compared by: each figure of a level as one run measured it, and how far that run alone pins it down. */

import type { LevelSummary, Results, Rows } from "../read/read";
import { e2eMs, pooledItl, steadyRows, tpotMs, ttftMs } from "../read/request";
import { ascending, type Numbers, quantile } from "../statistics";
import type { PooledItl } from "./itl";

/** One figure of one run. */
export interface RunFigure {
  level: string;
  /** "TTFT p50". */
  metric: string;
  unit: "ms" | "tokens/s" | "requests/s" | "$" | "J";
  better: "lower" | "higher";
  value: number;
  /** Requests, or tokens, that it rests on. */
  samples: number;
  /**
   * Standard error of the value's logarithm within the run; undefined where the run cannot say (a throughput, which a run
   * has once, or a percentile of too few samples).
   */
  error?: number;
  /** Whether there are samples enough for this percentile: below, the sample's own extremes decide. */
  enough: boolean;
}

/** Failed and all steady requests of a level. */
export interface RunFailures {
  level: string;
  failed: number;
  requests: number;
}

/** Quantities with one value a request; all ms, lower is better. */
const perRequest: [string, (rows: Rows) => Numbers][] = [
  ["TTFT", (rows) => rows.numbers(ttftMs)],
  ["TPOT", (rows) => rows.numbers(tpotMs)],
  ["max stall", (rows) => rows.numbers(({ maxStallNs }) => (maxStallNs > 0 ? maxStallNs / 1e6 : undefined))],
  ["e2e latency", (rows) => rows.numbers(e2eMs)],
];

const quantiles = [0.5, 0.9, 0.99];

/** The names of the figures that a level may have. */
export const figureNames: readonly string[] = [
  ...["TTFT", "TPOT", "ITL", "max stall", "e2e latency"].flatMap((name) => quantiles.map((q) => `${name} p${100 * q}`)),
  ...["output throughput", "request throughput", "request goodput", "failed requests"],
  ...["cost of a million output tokens", "cost of a million output tokens within SLOs", "energy of an output token"],
];

/** Fewest samples for a quantile. */
const fewest = (q: number): number => Math.ceil(5 / Math.min(q, 1 - q) - 1e-9);

/** Every figure of every level of a run that it measured. */
export function runFigures(run: Results): RunFigure[] {
  return run.levelSummaries.flatMap((level) => {
    const rows = steadyRows(run, level.name).filter((row) => row.completed);
    const itl = run.itl ? pooledItl(run, level.name) : undefined;
    return [
      ...perRequest.flatMap(([name, of]) => [
        ...percentiles(level.name, name, ascending(of(rows))),
        ...(name === "TPOT" && itl ? itlPercentiles(level.name, itl) : []),
      ]),
      ...throughputs(level),
    ];
  });
}

/** How many steady requests of each level failed. */
export function runFailures(run: Results): RunFailures[] {
  return run.levelSummaries.map(({ name, failed, requests }) => ({ level: name, failed, requests }));
}

function percentiles(level: string, name: string, sorted: Numbers): RunFigure[] {
  const { length } = sorted;
  if (length === 0) return [];
  return quantiles.map((q) => {
    const enough = length >= fewest(q);
    const figure = { level, metric: `${name} p${100 * q}`, unit: "ms" as const, better: "lower" as const };
    const error = enough ? quantileError(sorted, q) : undefined;
    return { ...figure, value: quantile(sorted, q), samples: length, error, enough };
  });
}

/**
 * Standard error of a quantile's logarithm: half the distance between the quantiles a standard deviation of the share below
 * and above it (Woodruff 1952). Requests count as independent.
 */
export function quantileError(sorted: Numbers, q: number): number {
  const sd = Math.sqrt((q * (1 - q)) / sorted.length);
  return (Math.log(quantile(sorted, Math.min(1, q + sd))) - Math.log(quantile(sorted, Math.max(0, q - sd)))) / 2;
}

/** The chance below one standard deviation of a normal variable. */
const oneSd = 0.8413447460685429;

function itlPercentiles(level: string, pool: PooledItl): RunFigure[] {
  if (pool.tokens === 0) return [];
  return quantiles.map((q) => {
    const value = pool.quantile(q);
    const { low, high } = pool.bounds(q, { confidence: oneSd, tolerance: 0 });
    // Tokens are not independent: whether there are enough of them, the bounds say.
    const sure = pool.bounds(q, { confidence: 0.99, tolerance: 0 });
    const enough = sure.low !== undefined && sure.high !== undefined && sure.low > 0;
    const error = enough && low && high ? Math.max(Math.log(value / low), Math.log(high / value)) : undefined;
    const figure = { level, metric: `ITL p${100 * q}`, unit: "ms" as const, better: "lower" as const };
    return { ...figure, value, samples: pool.tokens, error, enough };
  });
}

/** What a level has once: throughputs, goodput, costs, energy. */
function throughputs(of: LevelSummary): RunFigure[] {
  const { name: level, outputThroughput, requestThroughput, requestGoodput, completed, cost, server } = of;
  const figure = (metric: string, unit: RunFigure["unit"], better: RunFigure["better"], value = 0): RunFigure[] =>
    value > 0 ? [{ level, metric, unit, better, value, samples: completed, enough: true }] : [];
  const lower = (metric: string, unit: RunFigure["unit"], value?: number) => figure(metric, unit, "lower", value);
  return [
    ...figure("output throughput", "tokens/s", "higher", outputThroughput),
    ...figure("request throughput", "requests/s", "higher", requestThroughput),
    ...figure("request goodput", "requests/s", "higher", requestGoodput),
    ...lower("cost of a million output tokens", "$", cost?.perMillionOutputTokens),
    ...lower("cost of a million output tokens within SLOs", "$", cost?.perMillionGoodOutputTokens),
    ...lower("energy of an output token", "J", server?.joulesPerOutputToken),
  ];
}
