/**
 * What does a batch of simultaneous requests cost, for chat and for embeddings? Beside our own tables the result goes out
 * in the format of tugot17/tokenomics, so that its plots and older results can be used.
 */
import { type BurstFigures, burstFigures } from "../../../lib/figures/burst";
import { formatMs, formatNumber, formatShare } from "../../format";
import type { LevelSummary, RequestRow, Results, Rows } from "../../read/read";
import { setting } from "../../read/read";
import { e2eMs, labelNumber, tpotMs, ttftMs } from "../../read/request";
import { ascending, greatest, least, mean, quantile, sampleStd, sum } from "../../statistics";
import type { Answer } from "../answer";
import { draw, drawCurves, levelAxis, type Picture, type Series } from "../chart";
import { rowsByLevel } from "../sections/runs";
import { filled, type Table } from "../table";
import { failureSentence, failuresTable, levelFigures, percentilesTable, present, statusTable } from "./levels";

/** One release of a batch. */
export interface BatchRun {
  level: string;
  run: number;
  rows: Rows;
  completed: Rows;
  /** First send of a completed request, ns; of any where none completed. */
  startNs: number;
  /** As the run prints them; NaN where no request completed. */
  figures: BurstFigures;
  /** First send to last end of the completed requests, s. */
  totalS: number;
}

export interface BatchGroup {
  batchSize: number;
  /** What else the levels vary: "medium", "1024 in"; "" for nothing. */
  variant: string;
  /** The batch is refilled as requests end, so that it stays full. */
  continuous: boolean;
  runs: BatchRun[];
}

const endNs = (row: RequestRow): number => row.lastOutputNs || row.endNs;

function batchSizeOf(level: LevelSummary): number {
  return level.batchSize ?? labelNumber(level, "batchSize") ?? level.concurrency ?? Number.NaN;
}

/** The labels that tell variants apart, not those that say which batch and which run of it. */
function variantOf(level: LevelSummary): string {
  const own = ["batchSize", "run", "runs", "requests"];
  const words: Record<string, (value: string | number) => string> = {
    inputTokens: (value) => `${value} in`,
    outputTokens: (value) => `${value} out`,
    length: (value) => String(value),
    mode: (value) => String(value),
  };
  return Object.entries(level.labels ?? {})
    .filter(([name]) => !own.includes(name))
    .map(([name, value]) => words[name]?.(value) ?? `${name} ${value}`)
    .join(", ");
}

function isContinuous(level: LevelSummary): boolean {
  return (
    ["continuous", "refill"].includes(String(level.labels?.mode ?? "")) ||
    String(level.labels?.continuous ?? "") === "true"
  );
}

function batchRun(level: string, run: number, rows: Rows): BatchRun {
  const completed = rows.filter((row) => row.completed);
  const sends = (of: Rows) => of.numbers(({ sentNs }) => (sentNs > 0 ? sentNs : undefined));
  const startNs = least(completed.length > 0 ? sends(completed) : rows.numbers((row) => row.sentNs || row.startedNs));
  const lastNs = Math.max(startNs, greatest(completed.numbers(endNs)));
  const latenciesMs = completed.numbers(e2eMs);
  const figures = burstFigures({
    releaseSpreadMs: (greatest(sends(rows)) - least(sends(rows))) / 1e6,
    spanS: (lastNs - startNs) / 1e9,
    e2eMs: { min: least(latenciesMs), max: greatest(latenciesMs) },
    inputTokens: sum(completed.numbers((row) => row.inputTokens)),
    outputTokens: sum(completed.numbers((row) => row.outputTokens)),
  });
  return { level, run, rows, completed, startNs, figures, totalS: figures.totalS };
}

/** Batches by size and variant. A level is one release, or several with `batchSize` requests each in the order of index. */
export function batchGroups(run: Results): BatchGroup[] {
  const groups = new Map<string, BatchGroup>();
  const rowsOf = rowsByLevel(run, ({ phase }) => phase === "steady");
  for (const level of run.levelSummaries) {
    const batchSize = batchSizeOf(level);
    const rows = rowsOf.get(level.name)?.sortedBy(({ index }) => index);
    if (!rows || !(batchSize > 0)) continue;
    const continuous = isContinuous(level);
    const variant = variantOf(level);
    const key = `${variant}/${batchSize}`;
    const group = groups.get(key) ?? { batchSize, variant, continuous, runs: [] };
    const firstIndex = rows.at(0)?.index ?? 0;
    const releases = rows.groupBy(({ index }) => (continuous ? 0 : Math.floor((index - firstIndex) / batchSize)));
    for (const released of releases.values()) group.runs.push(batchRun(level.name, group.runs.length + 1, released));
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => a.variant.localeCompare(b.variant) || a.batchSize - b.batchSize);
}

/** How long the batch really was a batch. */
export interface Occupancy {
  /** Mean requests in flight over the batch's size. */
  meanShare: number;
  /** Share of the total time in which all requests of the batch were in flight. */
  fullShare: number;
  /** First to last send. */
  releaseSpreadMs: number;
}

/** [ns since the release, requests in flight], a step at each change. */
function* stepsOf({ completed, startNs }: BatchRun): Generator<[number, number]> {
  const sends = ascending(completed.numbers(({ sentNs }) => sentNs - startNs));
  const ends = ascending(completed.numbers((row) => endNs(row) - startNs));
  for (let sent = 0, ended = 0; sent + ended < 2 * completed.length; ) {
    const [sendNs = Number.POSITIVE_INFINITY, endedNs = Number.POSITIVE_INFINITY] = [sends[sent], ends[ended]];
    // At one moment ends come first.
    if (sendNs < endedNs) sent++;
    else ended++;
    yield [Math.min(sendNs, endedNs), sent - ended];
  }
}

/** More steps than a picture has columns for hide each other. */
const mostSteps = 4000;

const isOutlined = ({ completed }: BatchRun): boolean => 2 * completed.length > mostSteps;

/** What the page says of batches whose steps are not all drawn. */
function outlineWords(groups: readonly BatchGroup[]): string[] {
  const runs = groups.flatMap((group) => firstRun(group) ?? []).filter(isOutlined);
  if (runs.length === 0) return [];
  const steps = runs.map(
    (run) =>
      `${drawnSteps(run).length.toLocaleString("en-US")} of ${(2 * run.completed.length).toLocaleString("en-US")}`,
  );
  return [
    `Of a large batch not each begin and end of a request is drawn, but the lowest and the highest of each slice of them: ${steps.join(", ")}.`,
  ];
}

/** The run of a batch size that is drawn. */
const firstRun = ({ runs }: BatchGroup): BatchRun | undefined => runs.find(({ completed }) => completed.length > 0);

/** The steps of a batch; of many the lowest and the highest of each slice of them, so that the line's outline stays. */
function drawnSteps(batch: BatchRun): [number, number][] {
  const size = Math.ceil((4 * batch.completed.length) / mostSteps);
  if (!isOutlined(batch)) return [...stepsOf(batch)];
  const drawn: [number, number][] = [];
  let slice: [number, number][] = [];
  const flush = () => {
    const counts = slice.map(([, inFlight]) => inFlight);
    const extremes = [counts.indexOf(least(counts)), counts.indexOf(greatest(counts))].sort((a, b) => a - b);
    drawn.push(...[...new Set(extremes)].map((i) => slice[i] as [number, number]));
    slice = [];
  };
  for (const step of stepsOf(batch)) if (slice.push(step) === size) flush();
  // The line ends with the last request.
  if (slice.length > 0) drawn.push(slice.at(-1) as [number, number]);
  return drawn;
}

function occupancyOf(batch: BatchRun, batchSize: number): Occupancy {
  let busyNs = 0;
  let fullNs = 0;
  let beforeNs = 0;
  let before = 0;
  for (const [ns, inFlight] of stepsOf(batch)) {
    busyNs += before * (ns - beforeNs);
    if (before >= batchSize) fullNs += ns - beforeNs;
    before = inFlight;
    beforeNs = ns;
  }
  const totalNs = batch.totalS * 1e9;
  return {
    meanShare: totalNs > 0 ? busyNs / (batchSize * totalNs) : Number.NaN,
    fullShare: totalNs > 0 ? fullNs / totalNs : Number.NaN,
    releaseSpreadMs: batch.figures.releaseSpreadMs,
  };
}

export interface MeanStd {
  mean: number;
  std: number;
}

/** Mean and sample standard deviation (divisor n - 1, 0 for one value): Python's statistics.stdev, which that tool uses. */
function meanStd(values: readonly number[]): MeanStd {
  return { mean: values.length === 0 ? 0 : mean(values), std: sampleStd(values) };
}

export interface BatchResult {
  tokens: { input_per_request: MeanStd; output_per_request: MeanStd };
  timings: {
    batch_total_seconds: MeanStd;
    fastest_seconds: MeanStd;
    slowest_seconds: MeanStd;
    spread_seconds: MeanStd;
  };
  throughput: { batch_tokens_per_second: MeanStd; request_tokens_per_second: MeanStd };
}

/** A number of each completed request of some runs that has it. */
const ofCompleted = (runs: readonly BatchRun[], of: (row: RequestRow) => number | undefined): number[] =>
  runs.flatMap(({ completed }) => [...completed.numbers(of)]);

/**
 * One batch size in that tool's terms. Ends are counted from the release; timings and the batch's throughput have one value
 * a run, tokens and the requests' throughput one a request of all runs. Failed requests are left out (there they are zeros).
 * Embeddings put nothing out: the tokens of both throughputs are then the input's.
 */
function batchResult(group: BatchGroup, embeddings: boolean): BatchResult {
  const runs = group.runs.filter(({ completed }) => completed.length > 0);
  const tokens = (row: RequestRow): number => (embeddings ? row.inputTokens : row.outputTokens);
  const endsS = (run: BatchRun) => run.completed.numbers((row) => (endNs(row) - run.startNs) / 1e9);
  const fastest = runs.map((run) => least(endsS(run)));
  const slowest = runs.map((run) => greatest(endsS(run)));
  return {
    tokens: {
      input_per_request: meanStd(ofCompleted(runs, (row) => row.inputTokens)),
      output_per_request: meanStd(ofCompleted(runs, (row) => row.outputTokens)),
    },
    timings: {
      batch_total_seconds: meanStd(runs.map(({ totalS }) => totalS)),
      fastest_seconds: meanStd(fastest),
      slowest_seconds: meanStd(slowest),
      spread_seconds: meanStd(slowest.map((seconds, i) => seconds - (fastest[i] as number))),
    },
    throughput: {
      batch_tokens_per_second: meanStd(
        runs.map(({ figures }) => (embeddings ? figures.inputTokensPerS : figures.outputTokensPerS) ?? 0),
      ),
      request_tokens_per_second: meanStd(
        ofCompleted(runs, (row) => (e2eMs(row) > 0 ? (1000 * tokens(row)) / e2eMs(row) : undefined)),
      ),
    },
  };
}

/** A setting as a number where it is one; a distribution stays a text, what is not set is null. */
function numeric(value: unknown): unknown {
  if (value === undefined || value === null || value === "") return null;
  return Number.isFinite(Number(value)) ? Number(value) : value;
}

/** The whole result file of that tool, key for key; `metadata.std` says what std is. */
function resultFile(run: Results, groups: BatchGroup[], embeddings: boolean): string {
  const { config } = run;
  const startedMs = (run.run?.startUnixNs ?? 0) / 1e6;
  const metadata = {
    timestamp: startedMs > 0 ? new Date(startedMs).toISOString() : "",
    model: setting(config, "MODEL") ?? "",
    dataset_key: setting(config, "DATASET") ?? "",
    api_base: setting(config, "BASE_URL") ?? "",
    batch_sizes: [...new Set(groups.map(({ batchSize }) => batchSize))],
    num_runs: Math.max(0, ...groups.map(({ runs }) => runs.length)),
    max_tokens: embeddings ? null : numeric(setting(config, "OUTPUT_TOKENS")),
    temperature: numeric(setting(config, "TEMPERATURE")),
    seed: numeric(setting(config, "SEED")),
    // Whatever WARMUP is, the warm-up of a batch is one batch.
    warmup_runs: ["0", "0ms", ""].includes(String(setting(config, "WARMUP") ?? "")) ? 0 : 1,
    description: setting(config, "DESCRIPTION") ?? "",
    std: "sample standard deviation (n - 1); timings and batch_tokens_per_second over runs, the rest over the requests of all runs",
  };
  const results = Object.fromEntries(groups.map((group) => [String(group.batchSize), batchResult(group, embeddings)]));
  return `${JSON.stringify({ metadata, results }, null, 2)}\n`;
}

const fileStem = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");

export function burst([run]: [Results, ...Results[]]): Answer {
  const embeddings = run.scenario === "embeddings-burst";
  const groups = batchGroups(run);
  const variants = [...new Set(groups.map(({ variant }) => variant))];
  const levels = run.levelSummaries;
  const unit = embeddings ? "input tokens/s" : "output tokens/s";
  return {
    sentences: [...sentences(groups, embeddings), failureSentence(levels)],
    sections: [
      {
        heading: "Throughput by batch size",
        tables: [batchTable(groups, embeddings)],
        pictures: throughputPictures(groups, variants, embeddings, unit),
      },
      {
        heading: "How long the batch really was a batch",
        text: [
          "Mean occupancy is the mean number of requests in flight over the batch's size; it falls when some end early, and throughput then is that of a smaller batch.",
          ...outlineWords(groups),
        ],
        tables: [occupancyTable(groups)],
        pictures: occupancyPictures(groups, variants),
      },
      {
        heading: "Details",
        pictures: [],
        tables: [
          ...present([failuresTable(levels), statusTable(levels)]),
          runsTable(groups),
          levelFigures(levels),
          percentilesTable(levels),
        ],
      },
    ],
    files: variants.map((variant) => ({
      name: `${[run.scenario, fileStem(variant)].filter((part) => part !== "").join("-")}.json`,
      content: resultFile(
        run,
        groups.filter((group) => group.variant === variant),
        embeddings,
      ),
    })),
  };
}

const groupWords = (group: BatchGroup): string =>
  `a batch of ${group.batchSize}${group.variant ? ` (${group.variant})` : ""}`;

function sentences(groups: BatchGroup[], embeddings: boolean): string[] {
  const measured = groups.filter((group) => group.runs.some(({ completed }) => completed.length > 0));
  const [first, ...rest] = measured;
  if (!first) return ["No request of any batch completed."];
  const throughput = (group: BatchGroup) => batchResult(group, embeddings).throughput.batch_tokens_per_second;
  const best = rest.reduce((a, b) => (throughput(b).mean > throughput(a).mean ? b : a), first);
  const result = batchResult(best, embeddings);
  const unit = embeddings ? "input tokens/s" : "output tokens/s";
  const occupancy = best.runs.map((each) => occupancyOf(each, best.batchSize));
  const spreads = measured.flatMap((group) =>
    group.runs.map((each) => occupancyOf(each, group.batchSize).releaseSpreadMs),
  );
  return [
    `Throughput is highest with ${groupWords(best)}: ${formatNumber(throughput(best).mean)} ${unit} (standard deviation ${formatNumber(throughput(best).std)} over ${best.runs.length} runs), done after ${formatMs(1000 * result.timings.batch_total_seconds.mean)}; a single request gets ${formatNumber(result.throughput.request_tokens_per_second.mean)} tokens/s.`,
    ...(best === first
      ? []
      : [
          `That is ${formatNumber(throughput(best).mean / throughput(first).mean)} times the throughput of ${groupWords(first)}.`,
        ]),
    `It was full for ${formatShare(mean(occupancy.map(({ fullShare }) => fullShare)))} of its time, its mean occupancy is ${formatShare(mean(occupancy.map(({ meanShare }) => meanShare)))}. The widest release of any batch took ${formatMs(Math.max(...spreads))}.`,
  ];
}

function batchTable(groups: BatchGroup[], embeddings: boolean): Table {
  const variants = groups.some(({ variant }) => variant !== "");
  return {
    name: "batches",
    title: "Batches",
    note: `± is the sample standard deviation, over runs (batch) or over the requests of all runs (per request). Fastest and slowest are the e2e latencies of single requests, means over the runs. ${embeddings ? "Tokens are input tokens." : ""}`.trim(),
    columns: [
      ...(variants ? [{ key: "variant", title: "Variant" }] : []),
      { key: "batch_size", title: "Batch size", format: "integer" },
      { key: "runs", title: "Runs", format: "integer" },
      { key: "failed", title: "Failed", format: "integer" },
      { key: "batch_total_s", title: "Batch total", unit: "s" },
      { key: "batch_total_std_s", title: "±", unit: "s" },
      { key: "fastest_s", title: "Fastest", unit: "s" },
      { key: "slowest_s", title: "Slowest", unit: "s" },
      { key: "batch_tokens_per_s", title: "Batch", unit: "tokens/s" },
      { key: "batch_tokens_std_per_s", title: "±", unit: "tokens/s" },
      { key: "request_tokens_per_s", title: "Per request", unit: "tokens/s" },
      { key: "request_tokens_std_per_s", title: "±", unit: "tokens/s" },
      { key: "ttft_p50_ms", title: "TTFT p50", unit: "ms" },
      { key: "ttft_p99_ms", title: "TTFT p99", unit: "ms" },
      { key: "tpot_p50_ms", title: "TPOT p50", unit: "ms" },
    ].filter(({ key }) => !embeddings || !/^t(tft|pot)_/.test(key)) as Table["columns"],
    rows: groups.map((group) => {
      const result = batchResult(group, embeddings);
      const measured = group.runs.filter((each) => each.completed.length > 0);
      const ttft = ascending(ofCompleted(measured, ttftMs));
      const tpot = ascending(ofCompleted(measured, tpotMs));
      return {
        variant: group.variant,
        batch_size: group.batchSize,
        runs: group.runs.length,
        failed: sum(group.runs.map(({ rows, completed: own }) => rows.length - own.length)),
        batch_total_s: result.timings.batch_total_seconds.mean,
        batch_total_std_s: result.timings.batch_total_seconds.std,
        fastest_s: mean(measured.map(({ figures }) => figures.fastestS)),
        slowest_s: mean(measured.map(({ figures }) => figures.slowestS)),
        batch_tokens_per_s: result.throughput.batch_tokens_per_second.mean,
        batch_tokens_std_per_s: result.throughput.batch_tokens_per_second.std,
        request_tokens_per_s: result.throughput.request_tokens_per_second.mean,
        request_tokens_std_per_s: result.throughput.request_tokens_per_second.std,
        ttft_p50_ms: quantile(ttft, 0.5),
        ttft_p99_ms: quantile(ttft, 0.99),
        tpot_p50_ms: quantile(tpot, 0.5),
      };
    }),
  };
}

function occupancyTable(groups: BatchGroup[]): Table {
  return {
    name: "occupancy",
    title: "Occupancy and release",
    note: "Means over runs; the release spread is the time from the first to the last send, its column the highest of the runs.",
    columns: [
      ...(groups.some(({ variant }) => variant !== "") ? [{ key: "variant", title: "Variant" }] : []),
      { key: "batch_size", title: "Batch size", format: "integer" },
      { key: "mean_occupancy", title: "Mean occupancy", format: "share" },
      { key: "full_share", title: "Time with the batch full", format: "share" },
      { key: "release_spread_mean_ms", title: "Release spread, mean", unit: "ms" },
      { key: "release_spread_max_ms", title: "highest", unit: "ms" },
    ],
    rows: groups.map((group) => {
      const occupancies = group.runs.map((each) => occupancyOf(each, group.batchSize));
      return {
        variant: group.variant,
        batch_size: group.batchSize,
        mean_occupancy: mean(occupancies.map(({ meanShare }) => meanShare)),
        full_share: mean(occupancies.map(({ fullShare }) => fullShare)),
        release_spread_mean_ms: mean(occupancies.map(({ releaseSpreadMs }) => releaseSpreadMs)),
        release_spread_max_ms: Math.max(...occupancies.map(({ releaseSpreadMs }) => releaseSpreadMs)),
      };
    }),
  };
}

export function runsTable(groups: BatchGroup[]): Table {
  return filled({
    name: "runs",
    title: "Every run",
    folded: true,
    columns: [
      { key: "level", title: "Level" },
      { key: "variant", title: "Variant" },
      { key: "batch_size", title: "Batch size", format: "integer" },
      { key: "run", title: "Run", format: "integer" },
      { key: "completed", title: "Completed", format: "integer" },
      { key: "failed", title: "Failed", format: "integer" },
      { key: "batch_total_s", title: "Batch total", unit: "s" },
      { key: "fastest_s", title: "Fastest", unit: "s" },
      { key: "slowest_s", title: "Slowest", unit: "s" },
      { key: "batch_input_tokens_per_s", title: "Batch input", unit: "tokens/s" },
      { key: "batch_output_tokens_per_s", title: "Batch output", unit: "tokens/s" },
      { key: "mean_occupancy", title: "Mean occupancy", format: "share" },
      { key: "release_spread_ms", title: "Release spread", unit: "ms" },
    ],
    rows: groups.flatMap((group) =>
      group.runs.map((each) => {
        const occupancy = occupancyOf(each, group.batchSize);
        return {
          level: each.level,
          variant: group.variant,
          batch_size: group.batchSize,
          run: each.run,
          completed: each.completed.length,
          failed: each.rows.length - each.completed.length,
          batch_total_s: each.figures.totalS,
          fastest_s: each.figures.fastestS,
          slowest_s: each.figures.slowestS,
          batch_input_tokens_per_s: each.figures.inputTokensPerS ?? null,
          batch_output_tokens_per_s: each.figures.outputTokensPerS ?? null,
          mean_occupancy: occupancy.meanShare,
          release_spread_ms: occupancy.releaseSpreadMs,
        };
      }),
    ),
  });
}

/** Vertical whiskers mean ± std as one series of spans. */
function whiskers(name: string, color: number, right: boolean, points: [number, MeanStd][]): Series {
  return {
    name,
    kind: "range",
    color,
    right,
    points: points.flatMap(([x, { mean: centre, std }]) => [
      [x, Math.max(0, centre - std)] as const,
      [x, centre + std] as const,
      [x, null] as const,
    ]),
  };
}

function throughputPictures(groups: BatchGroup[], variants: string[], embeddings: boolean, unit: string): Picture[] {
  // With several variants a line and its whiskers share one entry of the legend.
  const several = variants.length > 1;
  const panel = (key: "batch_tokens_per_second" | "request_tokens_per_second", title: string) => ({
    x: levelAxis(
      "Batch size (requests released at once)",
      groups.map(({ batchSize }) => batchSize),
    ),
    y: { title, min: 0 },
    height: 210,
    series: variants.flatMap((variant, index): Series[] => {
      const points = groups
        .filter((group) => group.variant === variant)
        .map((group): [number, MeanStd] => [group.batchSize, batchResult(group, embeddings).throughput[key]]);
      const name = variant || (key === "batch_tokens_per_second" ? "whole batch" : "one request");
      return [
        { name, color: index, points: points.map(([x, { mean: y }]) => [x, y]) },
        whiskers(several ? name : `${name} ± standard deviation`, index, false, points),
      ];
    }),
  });
  return drawCurves({
    name: "throughput-by-batch-size",
    title: "Throughput by batch size",
    alt: `Throughput of the whole batch and of one request in ${unit} against the batch size, with standard deviations`,
    panels: [
      panel("batch_tokens_per_second", `Batch (${unit})`),
      panel("request_tokens_per_second", `Request (${unit})`),
    ],
  });
}

/** In flight over time, in per cent of the batch so that all sizes share an axis; the first run of each size. */
function occupancyPictures(groups: BatchGroup[], variants: string[]): Picture[] {
  return variants.flatMap((variant) => {
    const own = groups.filter(
      (group) => group.variant === variant && group.runs.some(({ completed }) => completed.length > 0),
    );
    if (own.length === 0) return [];
    return [
      draw({
        name: ["occupancy", fileStem(variant)].filter((part) => part !== "").join("-"),
        title: `Occupancy over time${variant ? ` (${variant})` : ""}, first run of each size`,
        alt: "Requests in flight in per cent of the batch size against the time since the release",
        panels: [
          {
            x: { title: "Time since the release (s)", min: 0 },
            y: {
              title: "In flight (% of the batch)",
              min: 0,
              max: Math.max(100, ...own.map((group) => peakPercent(group))),
            },
            series: own.map((group, index): Series => {
              const run = firstRun(group) as BatchRun;
              return {
                name: `batch of ${group.batchSize}`,
                kind: "step",
                color: index,
                points: [
                  [0, 0] as const,
                  ...drawnSteps(run).map(([ns, inFlight]) => [ns / 1e9, (100 * inFlight) / group.batchSize] as const),
                ],
              };
            }),
          },
        ],
      }),
    ];
  });
}

function peakPercent(group: BatchGroup): number {
  const run = firstRun(group) as BatchRun;
  let peak = 0;
  for (const [, inFlight] of stepsOf(run)) peak = Math.max(peak, inFlight);
  return (100 * peak) / group.batchSize;
}
