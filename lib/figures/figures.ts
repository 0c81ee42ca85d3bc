/** What single scenarios say of a level beside the common table. Pure: text from summaries. */
import type { LevelSummary, Second, Stats } from "./level-summary";
import { fitLine } from "./line";
import { type Column, filledColumns, percent, shortNumber, textTable } from "./table";

/** The figures that request benchmarks print; undefined where nothing gives them. */
export interface RequestBenchmark {
  statuses: [status: string, count: number][];
  successRatio?: number;
  /** The whole level, from its first request scheduled to its last end, warm-up and drain included. */
  totalS: number;
  /** The steady window, which the rates are taken in. */
  windowS: number;
  /** Of completed requests, ms. */
  e2eMs?: Stats;
  /** llm_request_throughput: requests that completed inside the window. */
  requestsPerS: number;
  /** Tokens are those that were counted: undefined where none was, as without a pointer to the count in the reply. */
  inputTokensPerRequest?: number;
  outputTokensPerRequest?: number;
  /** The same with failed requests mixed in as replies of no tokens, as some benchmarks do. */
  inputTokensMixed?: number;
  outputTokensMixed?: number;
  /** Requests a second times the mean input. */
  inputTokensPerS?: number;
  /** llm_output_throughput: output tokens that arrived inside the window. */
  outputTokensPerS?: number;
}

/** A level as a request benchmark. A failed request counts in the status codes, the success ratio and the mixed averages only. */
export function requestBenchmark(level: LevelSummary): RequestBenchmark {
  const { requests, completed, inputTokens, outputTokens, e2eMs } = level;
  const over = (amount: number, count: number) => (count > 0 ? amount / count : undefined);
  return {
    statuses: Object.entries(level.statuses).sort(([a], [b]) => (a < b ? -1 : 1)),
    successRatio: over(completed, requests),
    totalS: level.whole.durationS,
    windowS: level.durationS,
    ...(e2eMs.count > 0 ? { e2eMs } : {}),
    requestsPerS: level.requestThroughput,
    ...(inputTokens > 0 && {
      inputTokensPerRequest: over(inputTokens, completed),
      inputTokensMixed: over(inputTokens, requests),
      inputTokensPerS: level.requestThroughput * (inputTokens / completed),
    }),
    ...(outputTokens > 0 && {
      outputTokensPerRequest: over(outputTokens, completed),
      outputTokensMixed: over(outputTokens, requests),
      outputTokensPerS: level.outputThroughput,
    }),
  };
}

/** The request benchmark of a level in lines. */
export function requestFigures(level: LevelSummary): string {
  const figures = requestBenchmark(level);
  const { e2eMs } = figures;
  const number = (value: number | undefined) => (value === undefined ? "-" : shortNumber(value));
  const latency = (ms: number | undefined) => (ms === undefined ? "-" : `${shortNumber(ms / 1000)} s`);
  const rate = (tokens: number | undefined) => (tokens === undefined ? "-" : `${shortNumber(tokens)} tokens/s`);
  const lines: [string, string][] = [
    ["Status codes", figures.statuses.map(([status, count]) => `${status}: ${count}`).join(", ") || "none"],
    ["Success ratio", figures.successRatio === undefined ? "-" : percent(figures.successRatio)],
    ["Total time", `${shortNumber(figures.totalS)} s`],
    ["Steady window", `${shortNumber(figures.windowS)} s`],
    ["Median request latency", latency(e2eMs?.p50)],
    ["Average request latency", latency(e2eMs?.mean)],
    ["Shortest request latency", latency(e2eMs?.min)],
    ["Longest request latency", latency(e2eMs?.max)],
    ["90th, 95th, 99th percentile", [e2eMs?.p90, e2eMs?.p95, e2eMs?.p99].map(latency).join(", ")],
    ["Requests per second", shortNumber(figures.requestsPerS)],
    ["Average input tokens per request", number(figures.inputTokensPerRequest)],
    ["Average output tokens per request", number(figures.outputTokensPerRequest)],
    ["... with failures counted as zero", `${number(figures.inputTokensMixed)}, ${number(figures.outputTokensMixed)}`],
    ["Input token throughput", rate(figures.inputTokensPerS)],
    ["Output token throughput", rate(figures.outputTokensPerS)],
  ];
  const columns: Column<[string, string]>[] = [
    { heading: "", cell: ([name]) => `  ${name}`, left: true },
    { heading: "", cell: ([, value]) => value, left: true },
  ];
  return `${level.name}\n${textTable(columns, lines)}`;
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
export type RampSecond = Pick<Second, "scheduled" | "scheduledFailed" | "succeeded" | "failed" | "p50Ms" | "p95Ms">;

/** What a ramp came to. Rates are requests/s. */
export interface RampFigures {
  /**
   * The first second with a failed request from which on, for `sustainedS`, more than `onsetShare` of the requests scheduled
   * for failed, and in what came after that too: a single bad moment is none. Closer to the end of the ramp each second
   * that is left must have failures. The rate is the one scheduled in that second, the share that of the `sustainedS`, p95Ms
   * that of the second itself (absent where none succeeded in it).
   */
  onset?: { t: number; scheduledRate: number; failedShare: number; p95Ms?: number };
  /**
   * Where requests are neither answered nor refused fast enough: from some second on, to the end of the ramp, some of those
   * that were scheduled for twice the shortest median response time before have not ended. It begins with the seconds in front
   * of that one in which less than `keptUpShare` as many ended as should have. Absent where at least `keptUpShare` as many
   * ended in the last `sustainedS` as were scheduled, and of closed loops, which wait.
   */
  fallingBehind?: { t: number; scheduledRate: number };
  /** Highest rate scheduled. */
  highestScheduledRate: number;
  /** Highest mean of requests succeeded a second over `overS`. */
  highestSuccessRate: number;
  /** `sustainedS`, or all seconds of a shorter ramp. */
  overS: number;
  /** Share of failed requests in the last `sustainedS` in which any were scheduled. */
  failedShareAtEnd: number;
  /** Requests scheduled and not ended when the last second in which any were scheduled was over. */
  openAtEnd: number;
  /** Median response time in the first and the last second with an answer while requests were scheduled, ms; 0 = no answer. */
  firstP50Ms: number;
  lastP50Ms: number;
}

/** Length of what counts as sustained, s, the share of failures that counts as failing, and of ends as keeping up. */
export const sustainedS = 5;
export const onsetShare = 0.01;
export const keptUpShare = 0.9;

/** The figures of a ramp from its seconds, the first of which is second 0. A ramp shorter than that counts as a whole. */
export function rampFigures(seconds: readonly RampSecond[], loop: "open" | "closed" = "open"): RampFigures {
  const lastScheduled = seconds.reduce((last, { scheduled }, t) => (scheduled > 0 ? t : last), 0);
  const ramp = seconds.slice(0, lastScheduled + 1);
  const overS = Math.min(sustainedS, seconds.length);
  const sum = (start: number, key: "scheduled" | "scheduledFailed" | "succeeded" | "failed") =>
    seconds.slice(start, start + overS).reduce((total, second) => total + second[key], 0);
  const failedShare = (start: number) => sum(start, "scheduledFailed") / Math.max(1, sum(start, "scheduled"));
  const lastStart = Math.max(0, lastScheduled - overS + 1);
  const fails = ({ scheduled, scheduledFailed }: RampSecond) => scheduledFailed > onsetShare * scheduled;
  const goesOn = (start: number) => {
    const rest = ramp.slice(start);
    // One request that fails at the very end shows nothing.
    if (start > lastStart) return rest.every(fails) && sum(start, "scheduledFailed") > 1;
    return start + overS > lastScheduled ? ramp.slice(-2).some(fails) : failedShare(start + overS) > onsetShare;
  };
  const onset = ramp.findIndex(
    ({ scheduledFailed }, t) => scheduledFailed > 0 && failedShare(t) > onsetShare && goesOn(t),
  );
  const answered = ramp.map(({ p50Ms }) => p50Ms).filter((ms) => ms > 0);
  const figures: RampFigures = {
    highestScheduledRate: Math.max(0, ...ramp.map((_, t) => scheduledRateAt(ramp, t))),
    highestSuccessRate: Math.max(
      0,
      ...seconds.slice(0, seconds.length - overS + 1).map((_, t) => sum(t, "succeeded") / overS),
    ),
    overS,
    failedShareAtEnd: seconds.length > 0 ? failedShare(lastStart) : 0,
    openAtEnd: ramp.reduce((open, { scheduled, succeeded, failed }) => open + scheduled - succeeded - failed, 0),
    firstP50Ms: answered[0] ?? 0,
    lastP50Ms: answered.at(-1) ?? 0,
  };
  if (onset >= 0) {
    const p95Ms = ramp[onset]?.p95Ms || undefined;
    figures.onset = { t: onset, scheduledRate: scheduledRateAt(ramp, onset), failedShare: failedShare(onset), p95Ms };
  }
  const ended = sum(lastStart, "succeeded") + sum(lastStart, "failed");
  if (loop === "open" && ended < keptUpShare * sum(lastStart, "scheduled")) {
    const t = behindFrom(ramp, answered.length > 0 ? Math.min(...answered) / 1000 : 0);
    if (t !== undefined) figures.fallingBehind = { t, scheduledRate: scheduledRateAt(ramp, t) };
  }
  return figures;
}

/** The rate scheduled in the middle of second `t`: a line through the counts of the seconds around it. */
function scheduledRateAt(ramp: readonly RampSecond[], t: number): number {
  const around = [-2, -1, 0, 1, 2].flatMap((d) => {
    const scheduled = ramp[t + d]?.scheduled;
    return scheduled === undefined ? [] : [[d, scheduled] as const];
  });
  return Math.max(0, fitLine(around)?.intercept ?? ramp[t]?.scheduled ?? 0);
}

/** The first second of those at whose ends, up to the last, requests scheduled for twice `latencyS` before have not all ended. */
function behindFrom(ramp: readonly RampSecond[], latencyS: number): number | undefined {
  const scheduledUpTo = [0];
  for (const { scheduled } of ramp) scheduledUpTo.push((scheduledUpTo.at(-1) ?? 0) + scheduled);
  // Within a second requests are scheduled evenly.
  const askedBy = (s: number) => {
    const whole = Math.max(0, Math.floor(s));
    return s > 0 ? (scheduledUpTo[whole] ?? 0) + (s - whole) * (ramp[whole]?.scheduled ?? 0) : 0;
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
  const from = (at: { t: number; scheduledRate: number }) =>
    loop === "open" ? `${shortNumber(at.scheduledRate)} requests/s scheduled (second ${at.t})` : `second ${at.t}`;
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

/** One line a second: what was scheduled, sent, and how it ended. */
export function secondsCsv(seconds: readonly Second[]): string {
  const heading = "t_s,scheduled,sent,succeeded,failed,mean_ms,p50_ms,p95_ms,in_flight,output_tokens";
  const rows = seconds.map((s) =>
    [s.t, s.scheduled, s.sent, s.succeeded, s.failed, s.meanMs, s.p50Ms, s.p95Ms, s.inFlight, s.outputTokens].join(","),
  );
  return `${[heading, ...rows].join("\n")}\n`;
}

/** One release of a batch, or one batch that is refilled: completed steady requests only, but for the spread. */
export interface BurstFigures {
  /** First to last send, ms. */
  releaseSpreadMs: number;
  /** First send to last output, s. */
  totalS: number;
  /** The shortest and the longest end-to-end latency of a request, each from its own send, s. */
  fastestS: number;
  slowestS: number;
  /** Tokens of the batch over its total time; undefined where no token was counted, as of the output of embeddings. */
  inputTokensPerS?: number;
  outputTokensPerS?: number;
}

/** What the figures of a burst follow from: a level's summary, or the same of some of its requests. */
export type BurstSource = Pick<LevelSummary, "releaseSpreadMs" | "spanS" | "inputTokens" | "outputTokens"> & {
  e2eMs: Pick<Stats, "min" | "max">;
};

export function burstFigures({ releaseSpreadMs, spanS, e2eMs, inputTokens, outputTokens }: BurstSource): BurstFigures {
  const perS = (tokens: number) => (tokens > 0 ? tokens / spanS : undefined);
  return {
    ...{ releaseSpreadMs, totalS: spanS, fastestS: e2eMs.min / 1000, slowestS: e2eMs.max / 1000 },
    ...{ inputTokensPerS: perS(inputTokens), outputTokensPerS: perS(outputTokens) },
  };
}

/** Releases of a batch: how long it took, its fastest and slowest request, and the tokens that were counted. */
export function burstTable(levels: readonly LevelSummary[]): string {
  const cell = (of: (figures: BurstFigures) => number | undefined) => (level: LevelSummary) =>
    shortNumber(of(burstFigures(level)) ?? Number.NaN);
  const columns: Column<LevelSummary>[] = [
    { heading: "batch", left: true, cell: ({ name }) => name },
    { heading: "released in ms", cell: cell(({ releaseSpreadMs }) => releaseSpreadMs) },
    { heading: "total s", cell: cell(({ totalS }) => totalS) },
    { heading: "fastest s", cell: cell(({ fastestS }) => fastestS) },
    { heading: "slowest s", cell: cell(({ slowestS }) => slowestS) },
    { heading: "batch input tok/s", cell: cell(({ inputTokensPerS }) => inputTokensPerS) },
    { heading: "batch output tok/s", cell: cell(({ outputTokensPerS }) => outputTokensPerS) },
  ];
  const completed = levels.filter((level) => level.completed > 0);
  return textTable(filledColumns(columns, completed), completed);
}
