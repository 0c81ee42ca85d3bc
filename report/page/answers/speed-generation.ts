/** How fast does each of N parallel requests get its tokens, and how full is the KV cache then? */
import Papa from "papaparse";
import { formatNumber, formatShare } from "../../format";
import { gaugeFigures, within } from "../../read/gauges";
import { type LevelSummary, type Results, setting } from "../../read/read";
import {
  type Combination,
  combinations,
  speedFromBeginning,
  speedWithoutWaiting,
  steadyRows,
  ttftMs,
} from "../../read/request";
import { ascending, quantile } from "../../statistics";
import type { Answer } from "../answer";
import { draw, hasCurves, levelAxis, type Picture, type Series } from "../chart";
import type { Table } from "../table";
import { fullCache, gaugesOf, simultaneous, spanOf } from "./kv-cache-profile";
import { failureSentence, failuresTable, levelFigures, percentilesTable, present, statusTable } from "./levels";

export interface Quartiles {
  p25: number;
  median: number;
  p75: number;
}

/** One number of parallel requests. Speeds in tokens/s of one request. */
export interface SpeedPoint {
  parallelRequests: number;
  level: LevelSummary;
  completed: number;
  /** Output tokens over the whole request, waiting included. */
  fromBeginning: Quartiles;
  /** From the first token on, standstills taken out. */
  withoutWaiting: Quartiles;
  ttftMs: Quartiles;
  /** 0..1; undefined where the server has no KV gauge or was not polled. */
  maxKvUsage?: number;
  maxWaiting?: number;
  totalSpeed: number;
}

function quartiles(values: Float64Array): Quartiles {
  const sorted = ascending(values);
  return { p25: quantile(sorted, 0.25), median: quantile(sorted, 0.5), p75: quantile(sorted, 0.75) };
}

export function speedPoints(run: Results, levels: readonly LevelSummary[]): SpeedPoint[] {
  const gauges = gaugesOf(run);
  return levels
    .map((level): SpeedPoint => {
      const rows = steadyRows(run, level.name).filter((row) => row.completed);
      const [from, to] = spanOf(run, [level]);
      return {
        parallelRequests: simultaneous(level),
        level,
        completed: rows.length,
        fromBeginning: quartiles(rows.numbers(speedFromBeginning)),
        withoutWaiting: quartiles(rows.numbers(speedWithoutWaiting)),
        ttftMs: quartiles(rows.numbers(ttftMs)),
        maxKvUsage: gaugeFigures(within(gauges.kvUsage, from, to))?.max,
        maxWaiting: gaugeFigures(within(gauges.waiting, from, to))?.max,
        totalSpeed: level.outputThroughput,
      };
    })
    .sort((a, b) => a.parallelRequests - b.parallelRequests);
}

/** A line of thresholds.csv; the KV threshold is undefined where the server has no KV gauge. */
export interface Thresholds {
  speedThreshold: number;
  kvCacheThreshold?: number;
}

/**
 * benchmark_llm_serving's thresholds: the largest number of parallel requests whose median speed from the beginning is at
 * least `minSpeed` tokens/s, and the largest whose KV usage stays below 0.95; 0 where none does.
 */
export function thresholdsOf(points: readonly SpeedPoint[], minSpeed: number): Thresholds {
  const largest = (holds: (point: SpeedPoint) => boolean) =>
    points.filter(holds).reduce((most, { parallelRequests }) => Math.max(most, parallelRequests), 0);
  const speedThreshold = largest(({ fromBeginning }) => fromBeginning.median >= minSpeed);
  if (points.every(({ maxKvUsage }) => maxKvUsage === undefined)) return { speedThreshold };
  return {
    speedThreshold,
    kvCacheThreshold: largest(({ maxKvUsage }) => maxKvUsage !== undefined && maxKvUsage < fullCache),
  };
}

/** speedThreshold is undefined where the measurements allow none. */
export interface ThresholdRow extends Partial<Thresholds> {
  inputTokens?: number;
  outputTokens?: number;
}

/** thresholds.csv: speed_threshold, kv_cache_threshold (only where the server has the gauge), input_length, output_length. */
export function thresholdsCsv(rows: readonly ThresholdRow[]): string {
  const withKv = rows.some(({ kvCacheThreshold }) => kvCacheThreshold !== undefined);
  const fields = ["speed_threshold", ...(withKv ? ["kv_cache_threshold"] : []), "input_length", "output_length"];
  const data = rows.map((row) => [
    row.speedThreshold ?? "",
    ...(withKv ? [row.kvCacheThreshold ?? ""] : []),
    row.inputTokens ?? "",
    row.outputTokens ?? "",
  ]);
  return `${Papa.unparse({ fields, data }, { newline: "\n" })}\n`;
}

const defaultSpeedThreshold = 20;

export function speedGeneration([run]: [Results, ...Results[]]): Answer {
  const levels = run.levelSummaries;
  const minSpeed = Number(setting(run.config, "SPEED_THRESHOLD") ?? defaultSpeedThreshold);
  const found = combinations(levels).map((combination) => ({
    combination,
    points: speedPoints(run, combination.levels),
  }));
  const thresholds = found.map(({ combination, points }) => ({
    ...thresholdsOf(points, minSpeed),
    inputTokens: combination.inputTokens,
    outputTokens: combination.outputTokens,
  }));
  return {
    sentences: [
      ...found.map(({ combination, points }, i) =>
        speedSentence(combination, points, thresholds[i] as Thresholds, minSpeed),
      ),
      failureSentence(levels),
    ],
    sections: [
      {
        heading: "Speed of each request",
        text: [
          "With waiting: output tokens over the time from send to the last token. Without waiting: tokens after the first over the time they took, standstills (gaps beyond the median plus three standard deviations) taken out.",
        ],
        tables: [speedTable(found)],
        pictures: [
          ...found.map(({ combination, points }) => speedPicture(combination, points, minSpeed)),
          totalSpeedPicture(found),
        ].filter(hasCurves),
      },
      {
        heading: "Details",
        pictures: [],
        tables: present([failuresTable(levels), statusTable(levels), levelFigures(levels), percentilesTable(levels)]),
      },
    ],
    files: found.length > 0 ? [{ name: "thresholds.csv", content: thresholdsCsv(thresholds) }] : [],
  };
}

/** What one pair of lengths comes to. */
export function speedSentence(
  combination: Combination,
  points: SpeedPoint[],
  { speedThreshold, kvCacheThreshold }: Thresholds,
  minSpeed: number,
): string {
  const tried = points.map(({ parallelRequests }) => parallelRequests);
  const at = points.find(({ parallelRequests }) => parallelRequests === speedThreshold);
  const speed = at
    ? `up to ${speedThreshold} parallel requests each gets at least ${formatNumber(minSpeed)} tokens/s (median ${formatNumber(at.fromBeginning.median)} there)`
    : `no number of parallel requests that was tried (${tried.join(", ")}) gives each ${formatNumber(minSpeed)} tokens/s`;
  const kv =
    kvCacheThreshold === undefined
      ? "the server has no KV gauge"
      : kvCacheThreshold === 0
        ? `KV usage reaches ${formatShare(fullCache)} with every number that was tried`
        : `KV usage stays below ${formatShare(fullCache)} up to ${kvCacheThreshold}`;
  return `${combination.words ? `${combination.words}: ` : ""}${speed}; ${kv}.`.replace(/^./, (letter) =>
    letter.toUpperCase(),
  );
}

/** Every number of parallel requests with its speeds. */
export function speedTable(found: readonly { combination: Combination; points: SpeedPoint[] }[]): Table {
  return {
    name: "speed_generation",
    title: "By number of parallel requests",
    columns: [
      ...(found.some(({ combination }) => combination.words !== "")
        ? [{ key: "lengths", title: "Lengths", unit: "tokens" }]
        : []),
      { key: "parallel_requests", title: "Parallel", format: "integer" },
      { key: "completed", title: "Completed", format: "integer" },
      { key: "speed_from_beginning_p25", title: "With waiting p25", unit: "tok/s" },
      { key: "speed_from_beginning_median", title: "median", unit: "tok/s" },
      { key: "speed_from_beginning_p75", title: "p75", unit: "tok/s" },
      { key: "speed_without_waiting_median", title: "Without waiting, median", unit: "tok/s" },
      { key: "ttft_median_ms", title: "TTFT median", unit: "ms" },
      { key: "max_kv_usage", title: "Highest KV usage", format: "share" },
      { key: "max_waiting", title: "Most waiting", format: "integer" },
      { key: "total_speed_tokens_per_s", title: "All requests", unit: "tok/s" },
    ],
    rows: found.flatMap(({ combination, points }) =>
      points.map((point) => ({
        lengths: combination.words,
        parallel_requests: point.parallelRequests,
        completed: point.completed,
        speed_from_beginning_p25: point.fromBeginning.p25,
        speed_from_beginning_median: point.fromBeginning.median,
        speed_from_beginning_p75: point.fromBeginning.p75,
        speed_without_waiting_median: point.withoutWaiting.median,
        ttft_median_ms: point.ttftMs.median,
        max_kv_usage: point.maxKvUsage ?? null,
        max_waiting: point.maxWaiting ?? null,
        total_speed_tokens_per_s: point.totalSpeed,
      })),
    ),
  };
}

const quartileSpans = (
  name: string,
  color: number,
  points: readonly SpeedPoint[],
  of: (point: SpeedPoint) => Quartiles,
): Series => ({
  name,
  kind: "range",
  color,
  points: points.flatMap((point) => [
    [point.parallelRequests, of(point).p25] as const,
    [point.parallelRequests, of(point).p75] as const,
    [point.parallelRequests, null] as const,
  ]),
});

export function speedPicture(combination: Combination, points: SpeedPoint[], minSpeed: number): Picture {
  const x = levelAxis(
    "Parallel requests",
    points.map(({ parallelRequests }) => parallelRequests),
  );
  const median = (of: (point: SpeedPoint) => Quartiles) =>
    points.map((point) => [point.parallelRequests, of(point).median] as const);
  const kv = points.some(({ maxKvUsage }) => maxKvUsage !== undefined);
  return draw({
    name: ["speed-generation", combination.stem.replaceAll("_", "-")].filter((part) => part !== "").join("-"),
    title: `Speed of each request${combination.words ? ` (${combination.words})` : ""}`,
    alt: "Median tokens per second of one request with and without waiting, highest KV usage and median TTFT against parallel requests",
    panels: [
      {
        x,
        y: { title: "Speed of one request (tokens/s)", min: 0 },
        ...(kv ? { right: { title: "Highest KV cache usage (%)", min: 0, max: 100 } } : {}),
        limits: [[minSpeed, `${formatNumber(minSpeed)} tokens/s`]],
        series: [
          { name: "with waiting, median", color: 0, points: median((point) => point.fromBeginning) },
          quartileSpans("p25 to p75", 0, points, (point) => point.fromBeginning),
          {
            name: "without waiting, median",
            color: 1,
            dash: "dashed",
            points: median((point) => point.withoutWaiting),
          },
          ...(kv
            ? [
                {
                  name: "highest KV usage",
                  color: 2,
                  dash: "dotted" as const,
                  right: true,
                  points: points.map(
                    (point) =>
                      [point.parallelRequests, point.maxKvUsage === undefined ? null : 100 * point.maxKvUsage] as const,
                  ),
                },
              ]
            : []),
        ],
      },
      {
        x,
        y: { title: "TTFT (ms)", min: 0 },
        height: 150,
        series: [
          { name: "TTFT, median", color: 3, points: median((point) => point.ttftMs) },
          quartileSpans("p25 to p75", 3, points, (point) => point.ttftMs),
        ],
      },
    ],
  });
}

export function totalSpeedPicture(found: { combination: Combination; points: SpeedPoint[] }[]): Picture {
  return draw({
    name: "total-speed-generation",
    title: "Speed of all requests together",
    alt: "Output tokens per second of all requests against the number of parallel requests",
    panels: [
      {
        x: levelAxis(
          "Parallel requests",
          found.flatMap(({ points }) => points.map(({ parallelRequests }) => parallelRequests)),
        ),
        y: { title: "Output throughput (tokens/s)", min: 0 },
        series: found.map(({ combination, points }) => ({
          name: combination.words || "all requests",
          points: points.map(({ parallelRequests, totalSpeed }) => [parallelRequests, totalSpeed] as const),
        })),
      },
    ],
  });
}
