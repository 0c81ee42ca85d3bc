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
export type RampSecond = Pick<Second, "asked" | "askedFailed" | "succeeded" | "failed" | "p50Ms" | "p95Ms">;

/** What a ramp came to. Rates are requests/s. */
export interface RampFigures {
  /**
   * The first second with a failed request from which on, for `sustainedS`, more than `onsetShare` of the requests asked
   * for failed, and in what came after that too: a single bad moment is none. Closer to the end of the ramp each second
   * that is left must have failures. The rate is the one asked in that second, the share that of the `sustainedS`, p95Ms
   * that of the second itself (absent where none succeeded in it).
   */
  onset?: { t: number; askedRate: number; failedShare: number; p95Ms?: number };
  /**
   * Where requests are neither answered nor refused fast enough: from some second on, to the end of the ramp, some of those
   * that were asked for twice the shortest median response time before have not ended. It begins with the seconds in front
   * of that one in which less than `keptUpShare` as many ended as should have. Absent where at least `keptUpShare` as many
   * ended in the last `sustainedS` as were asked for, and of closed loops, which wait.
   */
  fallingBehind?: { t: number; askedRate: number };
  /** Highest rate asked for. */
  highestAskedRate: number;
  /** Highest mean of requests succeeded a second over `overS`. */
  highestSuccessRate: number;
  /** `sustainedS`, or all seconds of a shorter ramp. */
  overS: number;
  /** Share of failed requests in the last `sustainedS` in which any were asked for. */
  failedShareAtEnd: number;
  /** Requests asked for and not ended when the last second in which any were asked for was over. */
  openAtEnd: number;
  /** Median response time in the first and the last second with an answer while requests were asked for, ms; 0 = no answer. */
  firstP50Ms: number;
  lastP50Ms: number;
}

/** Length of what counts as sustained, s, the share of failures that counts as failing, and of ends as keeping up. */
export const sustainedS = 5;
export const onsetShare = 0.01;
export const keptUpShare = 0.9;

/** The figures of a ramp from its seconds, the first of which is second 0. A ramp shorter than that counts as a whole. */
export function rampFigures(seconds: readonly RampSecond[], loop: "open" | "closed" = "open"): RampFigures {
  const lastAsked = seconds.reduce((last, { asked }, t) => (asked > 0 ? t : last), 0);
  const ramp = seconds.slice(0, lastAsked + 1);
  const overS = Math.min(sustainedS, seconds.length);
  const sum = (start: number, key: "asked" | "askedFailed" | "succeeded" | "failed") =>
    seconds.slice(start, start + overS).reduce((total, second) => total + second[key], 0);
  const failedShare = (start: number) => sum(start, "askedFailed") / Math.max(1, sum(start, "asked"));
  const lastStart = Math.max(0, lastAsked - overS + 1);
  const fails = ({ asked, askedFailed }: RampSecond) => askedFailed > onsetShare * asked;
  const goesOn = (start: number) => {
    const rest = ramp.slice(start);
    // One request that fails at the very end shows nothing.
    if (start > lastStart) return rest.every(fails) && sum(start, "askedFailed") > 1;
    return start + overS > lastAsked ? ramp.slice(-2).some(fails) : failedShare(start + overS) > onsetShare;
  };
  const onset = ramp.findIndex(({ askedFailed }, t) => askedFailed > 0 && failedShare(t) > onsetShare && goesOn(t));
  const answered = ramp.map(({ p50Ms }) => p50Ms).filter((ms) => ms > 0);
  const figures: RampFigures = {
    highestAskedRate: Math.max(0, ...ramp.map((_, t) => askedRateAt(ramp, t))),
    highestSuccessRate: Math.max(
      0,
      ...seconds.slice(0, seconds.length - overS + 1).map((_, t) => sum(t, "succeeded") / overS),
    ),
    overS,
    failedShareAtEnd: seconds.length > 0 ? failedShare(lastStart) : 0,
    openAtEnd: ramp.reduce((open, { asked, succeeded, failed }) => open + asked - succeeded - failed, 0),
    firstP50Ms: answered[0] ?? 0,
    lastP50Ms: answered.at(-1) ?? 0,
  };
  if (onset >= 0) {
    const p95Ms = ramp[onset]?.p95Ms || undefined;
    figures.onset = { t: onset, askedRate: askedRateAt(ramp, onset), failedShare: failedShare(onset), p95Ms };
  }
  const ended = sum(lastStart, "succeeded") + sum(lastStart, "failed");
  if (loop === "open" && ended < keptUpShare * sum(lastStart, "asked")) {
    const t = behindFrom(ramp, answered.length > 0 ? Math.min(...answered) / 1000 : 0);
    if (t !== undefined) figures.fallingBehind = { t, askedRate: askedRateAt(ramp, t) };
  }
  return figures;
}

/** The rate asked for in the middle of second `t`: a line through the counts of the seconds around it. */
function askedRateAt(ramp: readonly RampSecond[], t: number): number {
  const around = [-2, -1, 0, 1, 2].flatMap((d) => {
    const asked = ramp[t + d]?.asked;
    return asked === undefined ? [] : [[d, asked] as const];
  });
  return Math.max(0, fitLine(around)?.intercept ?? ramp[t]?.asked ?? 0);
}

/** The first second of those at whose ends, up to the last, requests asked for twice `latencyS` before have not all ended. */
function behindFrom(ramp: readonly RampSecond[], latencyS: number): number | undefined {
  const askedUpTo = [0];
  for (const { asked } of ramp) askedUpTo.push((askedUpTo.at(-1) ?? 0) + asked);
  // Within a second requests are asked for evenly.
  const askedBy = (s: number) => {
    const whole = Math.max(0, Math.floor(s));
    return s > 0 ? (askedUpTo[whole] ?? 0) + (s - whole) * (ramp[whole]?.asked ?? 0) : 0;
  };
  const ends = ramp.map(({ succeeded, failed }) => succeeded + failed);
  let ended = 0;
  let from: number | undefined;
  for (const [t, now] of ends.entries()) {
    ended += now;
    if (ended >= askedBy(t + 1 - 2 * latencyS) - 1) from = undefined;
    else from ??= t;
  }
  if (from === undefined) return undefined;
  const tooFew = (t: number) => (ends[t] ?? 0) < keptUpShare * (askedBy(t + 1 - latencyS) - askedBy(t - latencyS));
  while (from > 0 && tooFew(from - 1)) from--;
  return from;
}

/** The figures of a ramp in lines. */
export function rampLines(seconds: readonly RampSecond[], loop: "open" | "closed" = "open"): string {
  const figures = rampFigures(seconds, loop);
  const { onset, fallingBehind, highestSuccessRate, overS, failedShareAtEnd, openAtEnd, firstP50Ms, lastP50Ms } =
    figures;
  const rate = `${shortNumber(highestSuccessRate)} requests/s`;
  // A closed loop asks as fast as it is answered.
  const from = (at: { t: number; askedRate: number }) =>
    loop === "open" ? `${shortNumber(at.askedRate)} requests/s asked (second ${at.t})` : `second ${at.t}`;
  const lines = [
    overS < sustainedS ? `success rate ${rate} over ${overS} s` : `highest sustained success rate ${rate}`,
    onset
      ? `requests fail from ${from(onset)}, p95 ${shortNumber(onset.p95Ms ?? Number.NaN)} ms there`
      : "no rate at which requests go on failing",
    `failed at the end ${percent(failedShareAtEnd)}`,
  ];
  if (fallingBehind)
    lines.push(
      `the server falls behind from ${from(fallingBehind)}: ${openAtEnd} requests are open when the ramp ends`,
    );
  if (lastP50Ms > 0)
    lines.push(
      `response time p50 ${shortNumber(firstP50Ms)} ms in the first second, ${shortNumber(lastP50Ms)} ms in the last`,
    );
  return lines.join("\n");
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
