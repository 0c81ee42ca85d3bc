/** How do KV cache, running and waiting requests develop as 1, 2, 3, ... requests are sent at once? */

import { formatNumber, formatShare } from "../../format";
import { type GaugePoint, gauge, gaugeFigures, thinned, within } from "../../read/gauges";
import type { LevelSummary, RequestRow, Results } from "../../read/read";
import { type Combination, combinations, labelNumber } from "../../read/request";
import { Rows } from "../../read/rows";
import { mean } from "../../statistics";
import type { Answer } from "../answer";
import { draw, numberAxis, type Picture, type Series } from "../chart";
import { drawnWords, evenly } from "../evenly";
import type { Table } from "../table";
import { batchGroups, runsTable } from "./burst";
import {
  failureSentence,
  failuresTable,
  levelFigures,
  measured,
  percentilesTable,
  present,
  statusTable,
} from "./levels";

/** KV usage that counts as a full cache. */
export const fullCache = 0.95;

export function simultaneous(level: LevelSummary): number {
  return (
    level.batchSize ??
    level.concurrency ??
    labelNumber(level, "requests") ??
    labelNumber(level, "batchSize") ??
    level.requests
  );
}

interface Gauges {
  kvUsage: GaugePoint[];
  running: GaugePoint[];
  waiting: GaugePoint[];
}

export const gaugesOf = (run: Results): Gauges => ({
  kvUsage: gauge(run.points, "kvUsage"),
  running: gauge(run.points, "running"),
  waiting: gauge(run.points, "waiting"),
});

/** Open to end of a level, ns from the run's start. */
export function spanOf(run: Results, levels: readonly LevelSummary[]): [number, number] {
  const names = new Set(levels.map(({ name }) => name));
  const lines = run.levels.filter(({ name }) => names.has(name));
  if (lines.length === 0) return [0, 0];
  return [
    Math.min(...lines.map(({ openNs }) => openNs)),
    Math.max(...lines.map((line) => Math.max(line.endNs || 0, line.closeNs))),
  ];
}

/**
 * Tokens that fit into the KV cache, extrapolated from the fullest moment: mean tokens of a request x running requests /
 * usage. An upper estimate, for running requests are not complete yet (benchmark_llm_serving's rule).
 */
function cacheTokens({ requests }: Results, gauges: Gauges): number | undefined {
  const lengths = requests?.numbers((row) => (row.completed ? row.inputTokens + row.outputTokens : undefined)) ?? [];
  const fullest = gauges.kvUsage.reduce<GaugePoint | undefined>(
    (best, point) => (!best || point.value > best.value ? point : best),
    undefined,
  );
  if (!fullest || fullest.value <= 0 || lengths.length === 0) return undefined;
  const running = [...gauges.running].reverse().find(({ tNs }) => tNs <= fullest.tNs)?.value;
  if (!running) return undefined;
  return (mean(lengths) * running) / fullest.value;
}

export function kvCacheProfile([run]: [Results, ...Results[]]): Answer {
  const gauges = gaugesOf(run);
  const levels = run.levelSummaries;
  const found = combinations(levels);
  return {
    sentences: [...sentences(run, gauges, found), failureSentence(levels)],
    sections: [
      {
        heading: "KV cache, running and waiting requests",
        tables: [profileTable(run, gauges, found)],
        pictures: found.map((combination) => profilePicture(run, gauges, combination)),
      },
      {
        heading: "Details",
        pictures: [],
        tables: present([
          failuresTable(levels),
          statusTable(levels),
          runsTable(batchGroups(run)),
          levelFigures(levels),
          percentilesTable(levels),
        ]),
      },
    ],
    files: [],
  };
}

function sentences(run: Results, gauges: Gauges, found: Combination[]): string[] {
  if (gauges.kvUsage.length + gauges.running.length + gauges.waiting.length === 0) {
    return [
      "The server's metrics were not polled or have none of the gauges, so that only the requests' lifetimes can be shown.",
    ];
  }
  const result: string[] = [];
  for (const combination of found) {
    const prefix = combination.words ? `${combination.words}: ` : "";
    const figures = combination.levels.map((level) => {
      const [from, to] = spanOf(run, [level]);
      return {
        n: simultaneous(level),
        kv: gaugeFigures(within(gauges.kvUsage, from, to))?.max,
        waiting: gaugeFigures(within(gauges.waiting, from, to))?.max,
      };
    });
    const [from, to] = spanOf(run, combination.levels);
    const highest = gaugeFigures(within(gauges.kvUsage, from, to))?.max;
    const full = figures.find(({ kv }) => kv !== undefined && kv >= fullCache);
    const queue = figures.find(({ waiting }) => waiting !== undefined && waiting > 0);
    const most = Math.max(...figures.map(({ n }) => n));
    const parts = [
      highest === undefined
        ? "the server has no KV gauge"
        : `KV usage reaches ${formatShare(highest)} with up to ${most} requests at once`,
      full ? `it is full (${formatShare(fullCache)}) from ${full.n} on` : "",
      queue ? `requests wait from ${queue.n} on` : gauges.waiting.length > 0 ? "no request had to wait" : "",
    ].filter((part) => part !== "");
    result.push(`${prefix}${parts.join("; ")}.`.replace(/^./, (letter) => letter.toUpperCase()));
  }
  const tokens = cacheTokens(run, gauges);
  if (tokens !== undefined)
    result.push(`By the fullest moment, the KV cache holds about ${formatNumber(tokens)} tokens.`);
  return result;
}

/** Gauges and latencies by number of simultaneous requests. */
export function profileTable(run: Results, gauges: Gauges, found: readonly Combination[]): Table {
  const several = found.some(({ words }) => words !== "");
  return {
    name: "kv_cache_profile",
    title: "By number of simultaneous requests",
    columns: [
      ...(several ? [{ key: "lengths", title: "Lengths", unit: "tokens" }] : []),
      { key: "requests_at_once", title: "At once", format: "integer" },
      { key: "kv_usage_max", title: "Highest KV usage", format: "share" },
      { key: "running_max", title: "Most running", format: "integer" },
      { key: "waiting_max", title: "Most waiting", format: "integer" },
      { key: "completed", title: "Completed", format: "integer" },
      { key: "failed", title: "Failed", format: "integer" },
      { key: "ttft_p50_ms", title: "TTFT p50", unit: "ms" },
      { key: "ttft_max_ms", title: "TTFT max", unit: "ms" },
      { key: "e2e_p50_ms", title: "E2e p50", unit: "ms" },
      { key: "output_throughput_tokens_per_s", title: "Output", unit: "tok/s" },
    ],
    rows: found.flatMap((combination) =>
      combination.levels.map((level) => {
        const [from, to] = spanOf(run, [level]);
        return {
          lengths: combination.words,
          requests_at_once: simultaneous(level),
          kv_usage_max: gaugeFigures(within(gauges.kvUsage, from, to))?.max ?? null,
          running_max: gaugeFigures(within(gauges.running, from, to))?.max ?? null,
          waiting_max: gaugeFigures(within(gauges.waiting, from, to))?.max ?? null,
          completed: level.completed,
          failed: level.failed,
          ttft_p50_ms: measured(level, "ttftMs")?.p50 ?? null,
          ttft_max_ms: measured(level, "ttftMs")?.max ?? null,
          e2e_p50_ms: measured(level, "e2eMs")?.p50 ?? null,
          output_throughput_tokens_per_s: level.outputThroughput,
        };
      }),
    ),
  };
}

/** A picture has no lines for more requests: evenly chosen ones are drawn. */
const mostLifetimes = 2000;

/** The gauges that the server has above, below them every request from send to first token (waiting and prefill) and from there to its end. */
export function profilePicture(
  run: Results,
  gauges: Gauges,
  combination: Combination,
  title = "KV cache profile",
): Picture {
  const [fromNs, toNs] = spanOf(run, combination.levels);
  const seconds = (ns: number): number => (ns - fromNs) / 1e9;
  const points = (all: GaugePoint[], scale = 1) =>
    thinned(within(all, fromNs, toNs)).map(({ tNs, value }) => [seconds(tNs), value * scale] as const);
  const names = new Set(combination.levels.map(({ name }) => name));
  const rows = (run.requests ?? Rows.of([]))
    .filter((row) => names.has(row.level) && row.completed)
    .sortedBy(({ sentNs }) => sentNs);
  const drawn = evenly(rows.length, mostLifetimes).map((i) => ({ row: rows.at(i) as RequestRow, number: i + 1 }));
  const x = { title: "Time since the first requests (s)", min: 0, max: Math.ceil(seconds(toNs) * 10) / 10 };
  const spans = (from: "sentNs" | "firstOutputNs", to: "firstOutputNs" | "lastOutputNs") =>
    drawn.flatMap(({ row, number }) => [
      [seconds(row[from]), number] as const,
      [seconds(row[to]), number] as const,
      [seconds(row[to]), null] as const,
    ]);
  const series = (
    [
      { name: "KV cache", kind: "step", color: 2, points: points(gauges.kvUsage, 100) },
      { name: "running", kind: "step", color: 0, right: true, points: points(gauges.running) },
      { name: "waiting", kind: "step", color: 1, right: true, points: points(gauges.waiting) },
    ] satisfies Series[]
  ).filter((each) => each.points.length > 0);
  return draw({
    name: ["kv-cache-profile", combination.stem.replaceAll("_", "-")].filter((part) => part !== "").join("-"),
    title: `${title}${combination.words ? ` (${combination.words})` : ""}${drawnWords(drawn.length, rows.length)}`,
    alt: "KV cache usage, running and waiting requests over time, and below every request's lifetime",
    panels: [
      ...(series.length > 0
        ? [
            {
              x,
              y: { title: "KV cache in use (%)", min: 0, max: 100 },
              right: { title: "Requests", min: 0 },
              height: 210,
              series,
            },
          ]
        : []),
      {
        x,
        y: numberAxis("Request number", rows.length),
        height: Math.min(320, Math.max(120, rows.length * 6)),
        series: [
          { name: "waiting and prefill", kind: "spans", color: 1, points: spans("sentNs", "firstOutputNs") },
          { name: "decode", kind: "spans", color: 0, points: spans("firstOutputNs", "lastOutputNs") },
        ],
      },
    ],
  });
}
