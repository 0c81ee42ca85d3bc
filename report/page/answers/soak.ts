/** Does the server stay as fast as it was? The parts of a soak's window beside one another, and whether they drift. */
import { driftOf, memoryGrowth } from "../../../lib/figures/drift";
import type { Slice } from "../../../lib/figures/level-summary";
import { besideLimit } from "../../../lib/figures/table";
import { formatNumber } from "../../format";
import type { LevelSummary, Results } from "../../read/read";
import { setting } from "../../read/read";
import type { Answer } from "../answer";
import { draw, type Picture } from "../chart";
import type { Table } from "../table";
import { failureSentence, failuresTable, levelsTable, percentilesTable, present, statusTable } from "./levels";

const names: Readonly<Record<string, string>> = {
  llm_ttft: "The median TTFT",
  llm_tpot: "The median TPOT",
  llm_output_throughput: "The output throughput",
};

export function soak([run]: [Results, ...Results[]]): Answer {
  const levels = run.levelSummaries;
  const limit = Number(setting(run.config, "DRIFT_LIMIT") ?? 0);
  const limitMB = setting(run.config, "CLIENT_MEMORY_LIMIT");
  // What the client's memory was stands in the summary alone.
  const parts = (run.summary?.levels ?? []).filter(({ slices = [] }) => slices.length > 0);
  return {
    sentences: [
      ...(parts.length > 0
        ? parts.flatMap((level) => sentences(level, limit, limitMB === undefined ? undefined : Number(limitMB)))
        : ["The run has no parts to compare: its summary is missing, or the load did not last."]),
      failureSentence(levels),
    ],
    sections: [
      {
        heading: "By part of the window",
        text: [
          "A value drifts where Mann and Kendall's test finds a trend over the parts that chance shows in one run of a hundred at most, all values together; its size is that of Theil and Sen's line over the window, in percent of where the line begins.",
        ],
        pictures: parts.map((level) => picture(level)),
        tables: parts.map((level) => table(level)),
      },
      {
        heading: "Details",
        pictures: [],
        tables: [
          levelsTable(levels, { key: "level", title: "Level" }, ({ name }) => name),
          ...present([failuresTable(levels), statusTable(levels)]),
          percentilesTable(levels),
        ],
      },
    ],
    files: [],
  };
}

function sentences({ slices = [] }: LevelSummary, limit: number, limitMB?: number): string[] {
  const drifts = driftOf(slices).map(({ metric, percent, worse, p, unknown }) => {
    const name = names[metric] ?? metric;
    if (unknown !== undefined) return `${name} cannot be judged: ${unknown}.`;
    const by = `${formatNumber(Math.abs(percent))} %`;
    if (!worse) return `${name} shows no drift for the worse (p = ${formatNumber(p)}).`;
    const size = Math.abs(percent) > limit ? "more than" : "no more than";
    return `${name} ${percent > 0 ? "rises" : "falls"} by ${by} over the window, ${size} the ${formatNumber(limit)} % that are allowed.`;
  });
  // Runs of earlier versions did not judge it.
  if (limitMB === undefined) return drifts;
  const growth = memoryGrowth(slices);
  if (!growth) return [...drifts, "The client's memory cannot be judged: a part has no value of it."];
  const most = Math.max(...growth);
  const who =
    growth.length > 1 ? `The memory of runner ${growth.indexOf(most) + 1}, which grows most,` : "The client's memory";
  return [
    ...drifts,
    `${who} changes by ${besideLimit(most, limitMB, formatNumber)} MB over the window, ${most > limitMB ? "more than" : "no more than"} the ${formatNumber(limitMB)} MB that are allowed.`,
  ];
}

function picture({ name, slices = [] }: LevelSummary): Picture {
  const beginS = slices[0]?.startS ?? 0;
  const middle = ({ startS, durationS }: Slice) => startS - beginS + durationS / 2;
  const line = (value: (slice: Slice) => number | null) =>
    slices.map((slice) => [middle(slice), value(slice)] as const);
  return draw({
    name: `soak-${name}`,
    title: `${name}: time to first token, time per output token and throughput over the window`,
    alt: `Median TTFT, median TPOT and output throughput of ${slices.length} equal parts of the window of ${name}.`,
    panels: [
      {
        x: { title: "Time (s)" },
        y: { title: "TTFT p50 (ms)", min: 0 },
        right: { title: "TPOT p50 (ms)", min: 0 },
        series: [
          { name: "TTFT p50", points: line(({ ttftMs }) => ttftMs.p50), symbols: true },
          { name: "TPOT p50", points: line(({ tpotMs }) => tpotMs.p50), right: true, symbols: true },
        ],
      },
      {
        x: { title: "Time (s)" },
        y: { title: "Output tokens/s", min: 0 },
        right: { title: "Client's memory (MB)", min: 0 },
        series: [
          {
            name: "Output tokens/s",
            color: 2,
            points: line(({ outputThroughput }) => outputThroughput),
            symbols: true,
          },
          ...clients(slices).map(({ name, of }, i) => ({
            ...{ name, color: 3 + i, points: line((slice) => of(slice) ?? null), right: true, dash: "dashed" as const },
          })),
        ],
      },
    ],
  });
}

/** The clients whose memory is shown: one, or each runner. */
function clients(slices: readonly Slice[]): { key: string; name: string; of: (slice: Slice) => number | undefined }[] {
  const { runnersMB } = slices[0] ?? {};
  if (!runnersMB) return [{ key: "client_mb", name: "Client's memory", of: ({ clientMB }) => clientMB }];
  return runnersMB.map((_, k) => ({
    ...{ key: `runner_${k + 1}_mb`, name: `Memory of runner ${k + 1}` },
    of: ({ runnersMB: own }) => own?.[k],
  }));
}

function table({ name, slices = [] }: LevelSummary): Table {
  const beginS = slices[0]?.startS ?? 0;
  return {
    name: `parts_${name}`,
    title: `Parts of ${name}`,
    columns: [
      { key: "from_s", title: "From", unit: "s" },
      { key: "requests", title: "Requests", format: "integer" },
      { key: "failed", title: "Failed", format: "integer" },
      { key: "ttft_p50_ms", title: "TTFT p50", unit: "ms" },
      { key: "ttft_p99_ms", title: "TTFT p99", unit: "ms" },
      { key: "tpot_p50_ms", title: "TPOT p50", unit: "ms" },
      { key: "tpot_p99_ms", title: "TPOT p99", unit: "ms" },
      { key: "output_tokens_per_s", title: "Output", unit: "tokens/s" },
      ...clients(slices).map(({ key, name }) => ({ key, title: name, unit: "MB" })),
    ],
    rows: slices.map((slice) => ({
      // Differences of seconds miss whole ones by their rounding.
      from_s: Number((slice.startS - beginS).toFixed(3)),
      requests: slice.requests,
      failed: slice.failed,
      ttft_p50_ms: slice.ttftMs.p50,
      ttft_p99_ms: slice.ttftMs.p99,
      tpot_p50_ms: slice.tpotMs.p50,
      tpot_p99_ms: slice.tpotMs.p99,
      output_tokens_per_s: slice.outputThroughput,
      ...Object.fromEntries(clients(slices).map(({ key, of }) => [key, of(slice) ?? null])),
    })),
  };
}
