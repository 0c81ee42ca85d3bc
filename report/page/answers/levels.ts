/** Tables that every scenario with levels shows, folded from the levels of its summary. */
import { steadyWord } from "../../../lib/figures/steady";
import type { LevelSummary, Stats } from "../../read/read";
import type { Column, Table } from "../table";

/** The distributions of a level, with the names that files and pages give them. Times in ms, output speed in tokens/s. */
const distributions = [
  { key: "ttftMs", name: "ttft", title: "TTFT", unit: "ms" },
  { key: "ttfoMs", name: "ttfo", title: "TTFO", unit: "ms" },
  { key: "tpotMs", name: "tpot", title: "TPOT", unit: "ms" },
  { key: "itlMs", name: "itl", title: "ITL", unit: "ms" },
  { key: "chunkGapMs", name: "chunk_gap", title: "Chunk gap", unit: "ms" },
  { key: "maxStallMs", name: "max_stall", title: "Max stall", unit: "ms" },
  { key: "e2eMs", name: "e2e", title: "E2e latency", unit: "ms" },
  { key: "ttftScheduledMs", name: "ttft_scheduled", title: "TTFT from schedule", unit: "ms" },
  { key: "e2eScheduledMs", name: "e2e_scheduled", title: "E2e from schedule", unit: "ms" },
  { key: "queueDelayMs", name: "queue_delay", title: "Queue delay", unit: "ms" },
  { key: "outputSpeed", name: "output_speed", title: "Output speed", unit: "tokens/s" },
] as const;
export type DistributionKey = (typeof distributions)[number]["key"];

/** Statistics of a level, or undefined when nothing was measured: an empty distribution is no zero. */
export function measured(level: LevelSummary, key: DistributionKey): Stats | undefined {
  const stats = level[key] as Stats | undefined;
  return stats && stats.count > 0 ? stats : undefined;
}

/** What a level varies, e.g. "32 clients". */
export function levelWords(level: LevelSummary): string {
  if (level.concurrency !== undefined) return `${level.concurrency} client${level.concurrency === 1 ? "" : "s"}`;
  if (level.rate !== undefined) return `${level.rate} requests/s`;
  if (level.batchSize !== undefined) return `a batch of ${level.batchSize}`;
  return level.name;
}

const failureNames = (levels: LevelSummary[]): string[] =>
  [...new Set(levels.flatMap((level) => Object.keys(level.failures ?? {})))].sort();

/** Failures by class; undefined when nothing failed. */
export function failuresTable(levels: LevelSummary[]): Table | undefined {
  const names = failureNames(levels);
  if (names.length === 0) return undefined;
  return {
    name: "failures",
    title: "Failures by class",
    note: "A failed request is counted here and feeds no latency metric.",
    columns: [
      { key: "level", title: "Level" },
      { key: "requests", title: "Requests", format: "integer" },
      { key: "failed", title: "Failed", format: "integer" },
      { key: "failed_share", title: "Failed", unit: "of requests", format: "share" },
      ...names.map((name): Column => ({ key: name, title: name, format: "integer" })),
    ],
    rows: levels.map((level) => ({
      level: level.name,
      requests: level.requests,
      failed: level.failed,
      failed_share: level.requests > 0 ? level.failed / level.requests : null,
      ...Object.fromEntries(names.map((name) => [name, (level.failures as Record<string, number>)[name] ?? 0])),
    })),
  };
}

export function statusTable(levels: LevelSummary[]): Table | undefined {
  const codes = [...new Set(levels.flatMap((level) => Object.keys(level.statuses ?? {})))].sort();
  if (codes.length === 0) return undefined;
  return {
    name: "statuses",
    title: "HTTP status codes",
    note: "0: the request ended without a status. A 200 may still be a failure: an error event inside a stream has status 200.",
    columns: [
      { key: "level", title: "Level" },
      ...codes.map((code): Column => ({ key: `status_${code}`, title: code, format: "integer" })),
    ],
    rows: levels.map((level) => ({
      level: level.name,
      ...Object.fromEntries(codes.map((code) => [`status_${code}`, level.statuses[code] ?? 0])),
    })),
  };
}

const statisticNames = ["count", "mean", "std", "min", "p50", "p90", "p95", "p99", "p999", "max"] as const;

/** Every statistic of every distribution of every level. */
export function percentilesTable(levels: LevelSummary[]): Table {
  return {
    name: "percentiles",
    title: "All percentiles",
    note: "ITL and chunk gap pool the gaps of all requests (HDR histogram of three digits); the other metrics have one value a request.",
    folded: true,
    columns: [
      { key: "level", title: "Level" },
      { key: "metric", title: "Metric" },
      { key: "unit", title: "Unit" },
      ...statisticNames.map(
        (name): Column => ({ key: name, title: name, ...(name === "count" ? { format: "integer" as const } : {}) }),
      ),
    ],
    rows: levels.flatMap((level) =>
      distributions.flatMap(({ key, name, unit }) => {
        const stats = measured(level, key);
        return stats
          ? [{ level: level.name, metric: name, unit, ...Object.fromEntries(statisticNames.map((s) => [s, stats[s]])) }]
          : [];
      }),
    ),
  };
}

/** The level table that opens most reports: load, outcome, latency, throughput. */
export function levelsTable(
  levels: LevelSummary[],
  first: Column,
  firstCell: (level: LevelSummary) => number | string | null,
): Table {
  const withGoodput = levels.some((level) => level.requestGoodput !== undefined);
  const withCached = levels.some((level) => level.cachedShare !== undefined);
  const withSteady = levels.some(({ steady }) => steady !== undefined && steady.state !== "unknown");
  const tokens = levels.some((level) => level.outputTokens > 0);
  const latency = (key: DistributionKey, name: string, title: string, percentiles: (keyof Stats)[]) =>
    percentiles.map((p) => ({ column: { key: `${name}_${p}_ms`, title: `${title} ${p}`, unit: "ms" }, key, p }));
  const columns = [
    ...latency("ttftMs", "ttft", "TTFT", ["p50", "p90", "p99"]),
    ...(tokens ? latency("tpotMs", "tpot", "TPOT", ["p50", "p99"]) : []),
    ...(tokens ? latency("itlMs", "itl", "ITL", ["p50", "p90", "p99"]) : []),
    ...latency("e2eMs", "e2e", "E2e", ["p50", "p99"]),
  ].filter(({ key }) => levels.some((level) => measured(level, key)));
  return {
    name: "levels",
    title: "Levels",
    columns: [
      first,
      { key: "requests", title: "Requests", format: "integer" },
      { key: "failed", title: "Failed", format: "integer" },
      // Throughput first: wide tables scroll, and these columns shall be seen.
      ...(tokens
        ? [
            { key: "output_throughput_tokens_per_s", title: "Output", unit: "tok/s" },
            { key: "output_speed_p50_tokens_per_s", title: "Speed p50", unit: "tok/s a request" },
          ]
        : []),
      { key: "request_throughput_per_s", title: "Requests", unit: "1/s" },
      ...(withGoodput ? [{ key: "request_goodput_per_s", title: "Goodput", unit: "1/s" }] : []),
      ...(withGoodput
        ? [{ key: "good_share", title: "Within SLOs", unit: "of requests", format: "share" as const }]
        : []),
      ...(withSteady ? [{ key: "steady", title: "Steady" }] : []),
      ...columns.map(({ column }) => column),
      ...(withCached
        ? [{ key: "cached_share", title: "Cached input", unit: "of input tokens", format: "share" as const }]
        : []),
    ],
    rows: levels.map((level) => ({
      [first.key]: firstCell(level),
      requests: level.requests,
      failed: level.failed,
      ...Object.fromEntries(columns.map(({ column, key, p }) => [column.key, measured(level, key)?.[p] ?? null])),
      output_speed_p50_tokens_per_s: measured(level, "outputSpeed")?.p50 ?? null,
      output_throughput_tokens_per_s: level.outputThroughput,
      request_throughput_per_s: level.requestThroughput,
      request_goodput_per_s: level.requestGoodput ?? null,
      good_share: level.goodShare ?? null,
      steady: steadyWord(level) || null,
      cached_share: level.cachedShare ?? null,
    })),
  };
}

/** The level table of a scenario whose answer is another one: folded, so that every number that a run prints is in its report. */
export function levelFigures(levels: LevelSummary[]): Table {
  return { ...levelsTable(levels, { key: "level", title: "Level" }, (level) => level.name), folded: true };
}

export const present = <T>(items: (T | undefined)[]): T[] => items.filter((item): item is T => item !== undefined);

/** One sentence on what failed, or that nothing did. */
export function failureSentence(levels: LevelSummary[]): string {
  const requests = levels.reduce((count, level) => count + level.requests, 0);
  const failed = levels.reduce((count, level) => count + level.failed, 0);
  if (requests === 0) return "No request was sent in a steady window.";
  if (failed === 0) return `None of ${requests.toLocaleString("en-US")} requests failed.`;
  const failures = failureNames(levels).filter((name) => name !== "aborted"); // given up on purpose
  const byClass = failures.map((name) => {
    const count = levels.reduce((total, level) => total + ((level.failures as Record<string, number>)[name] ?? 0), 0);
    return `${name} ${count.toLocaleString("en-US")}`;
  });
  return `${failed.toLocaleString("en-US")} of ${requests.toLocaleString("en-US")} requests failed (${byClass.join(", ")}).`;
}
