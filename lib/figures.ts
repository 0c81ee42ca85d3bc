/** What single scenarios say of a level beside the common table. Pure: text from summaries. */
import type { LevelSummary, Second } from "./level-summary";
import { type Column, percent, shortNumber, textTable } from "./table";

/**
 * The figures that request benchmarks print (status codes, latencies, tokens a request), one block a level. A failed
 * request counts in the status codes and in nothing else; tools that mix it in as zero tokens get the second line.
 */
export function requestFigures(level: LevelSummary): string {
  const { requests, completed, e2eMs, whole } = level;
  const average = (tokens: number, count: number) => (count > 0 ? shortNumber(tokens / count) : "-");
  // In the steady window, as both throughputs beside it.
  const inputThroughput = completed > 0 ? (level.inputTokens / completed) * level.requestThroughput : 0;
  const latency = (ms: number) => (e2eMs.count > 0 ? `${shortNumber(ms / 1000)} s` : "-");
  const statuses = Object.entries(level.statuses).map(([status, count]) => `${status}: ${count}`);
  const lines: [string, string][] = [
    ["Status codes", statuses.join(", ") || "none"],
    ["Success ratio", requests > 0 ? percent(completed / requests) : "-"],
    ["Total time", `${shortNumber(whole.durationS)} s`],
    ["Median request latency", latency(e2eMs.p50)],
    ["Average request latency", latency(e2eMs.mean)],
    ["Shortest request latency", latency(e2eMs.min)],
    ["Longest request latency", latency(e2eMs.max)],
    ["90th, 95th, 99th percentile", [e2eMs.p90, e2eMs.p95, e2eMs.p99].map(latency).join(", ")],
    ["Requests per second", shortNumber(level.requestThroughput)],
    ["Average input tokens per request", average(level.inputTokens, completed)],
    ["Average output tokens per request", average(level.outputTokens, completed)],
    [
      "... with failures counted as zero",
      `${average(level.inputTokens, requests)}, ${average(level.outputTokens, requests)}`,
    ],
    ["Input token throughput", `${shortNumber(inputThroughput)} tokens/s`],
    ["Output token throughput", `${shortNumber(level.outputThroughput)} tokens/s`],
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return [level.name, ...lines.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)].join("\n");
}

/** Latencies and throughputs of prefill and decode apart; in seconds and tokens/s. */
export interface PhaseSplit {
  inputTokens: number;
  outputTokens: number;
  e2eLatencyS: number;
  summarizationLatencyS: number;
  generationLatencyS: number;
  summarizationThroughput: number;
  e2eThroughput: number;
  /** undefined where noise made the short phase the longer one: there is no generation to speak of. */
  generationThroughput?: number;
}

/**
 * Prefill and decode of the prompts together. Phase 1 (`full`) asked for the whole output, phase 2 (`prefill`) for one
 * token of the same prompts. The latency of a phase is its first send to its last output, completed steady requests
 * only, as the tokens are: summarization = phase 2; generation = phase 1 - phase 2.
 */
export function phaseSplit(full: LevelSummary, prefill: LevelSummary): PhaseSplit {
  return splitOf(full.inputTokens, full.outputTokens, full.spanS, prefill.spanS);
}

/** Prefill and decode of one request: the means over the completed ones of each phase, waiting in the server included. */
export function meanPhaseSplit(full: LevelSummary, prefill: LevelSummary): PhaseSplit {
  return splitOf(
    full.inputTokens / full.completed,
    full.outputTokens / full.completed,
    full.e2eMs.mean / 1000,
    prefill.e2eMs.mean / 1000,
  );
}

function splitOf(
  inputTokens: number,
  outputTokens: number,
  e2eLatencyS: number,
  summarizationLatencyS: number,
): PhaseSplit {
  const generationLatencyS = e2eLatencyS - summarizationLatencyS;
  return {
    inputTokens,
    outputTokens,
    e2eLatencyS,
    summarizationLatencyS,
    generationLatencyS,
    summarizationThroughput: inputTokens / summarizationLatencyS,
    e2eThroughput: outputTokens / e2eLatencyS,
    generationThroughput: generationLatencyS > 0 ? outputTokens / generationLatencyS : undefined,
  };
}

/** The figures of both phases in lines; undefined where one of them completed nothing. */
export function phaseFigures(levels: readonly LevelSummary[]): string | undefined {
  const [full, prefill] = ["full", "prefill"].map((phase) => levels.find(({ name }) => name === phase));
  if (!full?.completed || !prefill?.completed) return undefined;
  const split = phaseSplit(full, prefill);
  const generationThroughput = shortNumber(split.generationThroughput ?? Number.NaN);
  return [
    `input tokens ${split.inputTokens}, generated tokens ${split.outputTokens}`,
    `e2e ${shortNumber(split.e2eLatencyS)} s = summarization ${shortNumber(split.summarizationLatencyS)} s + generation ${shortNumber(split.generationLatencyS)} s`,
    `summarization ${shortNumber(split.summarizationThroughput)} tokens/s, generation ${generationThroughput} tokens/s, e2e ${shortNumber(split.e2eThroughput)} tokens/s`,
    `of this the client waited ${shortNumber(full.queueDelayMs.mean)} ms a request before it could send`,
  ].join("\n");
}

/** A second as far as the figures of a ramp need it. */
export type RampSecond = Pick<Second, "asked" | "askedFailed" | "succeeded" | "p95Ms">;

/** What a ramp came to. Rates are requests/s. */
export interface RampFigures {
  /**
   * The first second with a failed request from which on, for `sustainedS`, more than `onsetShare` of the requests asked
   * for failed, and in the `sustainedS` after that too, unless the ramp ends before: a single bad moment is none. Rate and
   * share are those of the `sustainedS`, p95Ms that of the second itself (absent where none succeeded in it).
   */
  onset?: { t: number; askedRate: number; failedShare: number; p95Ms?: number };
  /** Highest means of requests asked for and succeeded a second over `sustainedS`. */
  highestAskedRate: number;
  highestSuccessRate: number;
  /** Share of failed requests in the last `sustainedS` in which any were asked for. */
  failedShareAtEnd: number;
}

/** Length of what counts as sustained, s, and the share of failures that counts as failing. */
export const sustainedS = 5;
export const onsetShare = 0.01;

/** The figures of a ramp from its seconds, the first of which is second 0. A ramp shorter than that counts as a whole. */
export function rampFigures(seconds: readonly RampSecond[]): RampFigures {
  const lengthS = Math.min(sustainedS, seconds.length);
  const figures: RampFigures = { highestAskedRate: 0, highestSuccessRate: 0, failedShareAtEnd: 0 };
  if (lengthS === 0) return figures;
  const sum = (start: number, key: "asked" | "askedFailed" | "succeeded") =>
    seconds.slice(start, start + lengthS).reduce((total, second) => total + second[key], 0);
  const failedShare = (start: number) => sum(start, "askedFailed") / Math.max(1, sum(start, "asked"));
  const lastAsked = seconds.reduce((last, { asked }, t) => (asked > 0 ? t : last), 0);
  const lastStart = Math.max(0, lastAsked - lengthS + 1);
  for (const [start, { askedFailed, p95Ms }] of seconds.entries()) {
    if (start + lengthS <= seconds.length)
      figures.highestSuccessRate = Math.max(figures.highestSuccessRate, sum(start, "succeeded") / lengthS);
    if (start > lastStart) continue;
    const askedRate = sum(start, "asked") / lengthS;
    figures.highestAskedRate = Math.max(figures.highestAskedRate, askedRate);
    const goesOn = start + lengthS > lastStart || failedShare(start + lengthS) > onsetShare;
    if (!figures.onset && askedFailed > 0 && failedShare(start) > onsetShare && goesOn)
      figures.onset = { t: start, askedRate, failedShare: failedShare(start), p95Ms: p95Ms || undefined };
  }
  figures.failedShareAtEnd = failedShare(lastStart);
  return figures;
}

/** The figures of a ramp in lines. */
export function rampLines(seconds: readonly RampSecond[]): string {
  const { onset, highestSuccessRate, failedShareAtEnd } = rampFigures(seconds);
  return [
    `highest sustained success rate ${shortNumber(highestSuccessRate)} requests/s`,
    onset
      ? `requests fail from ${shortNumber(onset.askedRate)} requests/s asked (second ${onset.t}, p95 ${shortNumber(onset.p95Ms ?? Number.NaN)} ms)`
      : "no sustained rate at which requests fail",
    `failed at the end ${percent(failedShareAtEnd)}`,
  ].join("\n");
}

/** One line a second: what was asked, sent, and how it ended. */
export function secondsCsv(seconds: readonly Second[]): string {
  const heading = "t_s,asked,sent,succeeded,failed,mean_ms,p50_ms,p95_ms,in_flight,output_tokens";
  const rows = seconds.map((s) =>
    [s.t, s.asked, s.sent, s.succeeded, s.failed, s.meanMs, s.p50Ms, s.p95Ms, s.inFlight, s.outputTokens].join(","),
  );
  return `${[heading, ...rows].join("\n")}\n`;
}

/** The least-squares line through points; undefined for fewer than two different x. */
export function fitLine(
  points: readonly (readonly [number, number])[],
): { slope: number; intercept: number } | undefined {
  const n = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / n;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / n;
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  if (!(spread > 0)) return undefined;
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  return { slope, intercept: meanY - slope * meanX };
}

/** Releases of a batch: how long it took, the first and the last to end, and what it gave. */
export function burstTable(levels: readonly LevelSummary[]): string {
  const columns: Column<LevelSummary>[] = [
    { heading: "batch", left: true, cell: ({ name }) => name },
    { heading: "released in ms", cell: ({ releaseSpreadMs }) => shortNumber(releaseSpreadMs) },
    { heading: "total s", cell: ({ spanS }) => shortNumber(spanS) },
    { heading: "fastest s", cell: ({ e2eMs }) => shortNumber(e2eMs.min / 1000) },
    { heading: "slowest s", cell: ({ e2eMs }) => shortNumber(e2eMs.max / 1000) },
    { heading: "input tok/s", cell: ({ inputTokens, spanS }) => shortNumber(inputTokens / spanS) },
    { heading: "output tok/s", cell: ({ outputTokens, spanS }) => shortNumber(outputTokens / spanS) },
  ];
  return textTable(
    columns,
    levels.filter(({ completed }) => completed > 0),
  );
}
