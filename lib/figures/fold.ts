/**
 * From records to the summary of a level: the definitions of every figure, once more and independent of the extension.
 * Reports use it, and tests hold it against what the extension folded while the run went on.
 */
import { Column } from "./column";
import { gateOf } from "./level-gate";
import type { LevelSummary, Second, SloMs, Stats } from "./level-summary";
import { statsOf } from "./percentile";
import type { LevelLine, RecordLine, RequestLine, SessionLine } from "./records";
import { foldSessions, TurnFold, TurnTimes } from "./sessions";

const nsPerMs = 1e6;
const nsPerS = 1e9;
/** What `stamp` of a record says where the kernel took the times: "kernel" of versions without a packet ring. */
const kernelStamps = new Set(["ring", "socket", "kernel"]);

/**
 * A request's own figures; undefined where the request has none. ms, tokens/s for speed. A latency below 0 is an error of a
 * clock (hasClockError): no statistic counts it, and it meets no limit.
 */
export interface RequestFigures {
  ttftMs?: number;
  ttfoMs?: number;
  tpotMs?: number;
  outputSpeed?: number;
  maxStallMs?: number;
  e2eMs?: number;
  queueDelayMs?: number;
  /** Sent - scheduled is part of these two. */
  ttftScheduledMs?: number;
  e2eScheduledMs?: number;
}

/** A value that stands for `weight` values. */
interface Weighted {
  value: number;
  weight: number;
}

/** The figures of one request, by the definitions in lib/figures/metrics-table.ts. Failed requests have the queue delay only. */
export function figuresOf(request: RequestLine): RequestFigures {
  return figuresFrom(request, partsOf(request));
}

function figuresFrom(request: RequestLine, { choices, gaps }: Parts): RequestFigures {
  const { scheduledNs = 0, sentNs = 0, firstOutputNs = 0, firstNonReasonNs = 0, lastOutputNs = 0 } = request;
  const figures: RequestFigures = {};
  if (sentNs > 0) figures.queueDelayMs = (sentNs - scheduledNs) / nsPerMs;
  if (request.outcome === "failed") return figures;
  const { arrivals = [] } = request;
  const streamed = arrivals.length > 0; // of a whole reply the first output is the last byte
  if (streamed && firstOutputNs > 0) {
    figures.ttftMs = (firstOutputNs - sentNs) / nsPerMs;
    figures.ttftScheduledMs = (firstOutputNs - scheduledNs) / nsPerMs;
  }
  if (streamed && firstNonReasonNs > 0) figures.ttfoMs = (firstNonReasonNs - sentNs) / nsPerMs;
  if (lastOutputNs > 0) {
    figures.e2eMs = (lastOutputNs - sentNs) / nsPerMs;
    figures.e2eScheduledMs = (lastOutputNs - scheduledNs) / nsPerMs;
  }
  const gapsNs = gaps.map(({ gapNs }) => gapNs);
  if (gapsNs.length > 0) {
    figures.maxStallMs = gapsNs.reduce((a, b) => Math.max(a, b)) / nsPerMs;
    const gapsOfTokens = shownTokens(request) - choices.length;
    const spanNs = sumOf(gapsNs);
    if (gapsOfTokens > 0 && spanNs > 0) {
      figures.tpotMs = spanNs / nsPerMs / gapsOfTokens;
      figures.outputSpeed = 1000 / figures.tpotMs;
    }
  }
  return figures;
}

/**
 * Whether a request met every SLO that is set; a failed one met none. A limit on a figure that was not measured, as TTFT of
 * a reply that was not streamed, is not met. A single token has no TPOT to limit.
 */
export function isGood(
  request: RequestLine,
  figures: RequestFigures,
  slo: SloMs,
  { choices } = partsOf(request),
): boolean {
  if (request.outcome === "failed") return false;
  const met = (limit: number | undefined, figure = Infinity) => limit === undefined || (figure >= 0 && figure <= limit);
  const single = shownTokens(request) > 0 && shownTokens(request) <= Math.max(1, choices.length);
  return met(slo.ttft, figures.ttftMs) && (single || met(slo.tpot, figures.tpotMs)) && met(slo.e2e, figures.e2eMs);
}

/** Whether a latency of the request that a statistic is made of, or a gap of it, is below 0: then a clock was wrong. */
function hasClockError(request: RequestLine, figures: RequestFigures, { gaps }: Parts): boolean {
  const latencies = [figures.queueDelayMs, figures.ttftMs, figures.ttfoMs, figures.e2eMs];
  if ([...latencies, figures.ttftScheduledMs, figures.e2eScheduledMs].some((ms = 0) => ms < 0)) return true;
  return request.outcome === "completed" && gaps.some(({ gapNs }) => gapNs < 0);
}

/** The output tokens that arrived: those of the usage without reasoning that was not shown. */
function shownTokens({ outputTokens = 0, hiddenTokens = 0 }: RequestLine): number {
  return outputTokens - hiddenTokens;
}

/** An output chunk; gapNs is the time since the one of its choice before it, of the first since the request was sent. */
interface Chunk {
  atNs: number;
  gapNs: number;
  tokens: number;
  choice: number;
  /** By how much it may have arrived before atNs; 0 where that is exact. */
  widthNs: number;
}

/**
 * The output chunks of a request. Where the final usage counts other than the chunks, every chunk is given its even
 * share, made whole so that the shares add up to the usage (as the extension's tally does).
 */
export function chunksOf(request: RequestLine): Chunk[] {
  const { arrivals = [], sentNs = 0 } = request;
  const shown = shownTokens(request);
  const even = tokensAreEstimated(request);
  const upTo = (count: number) => Math.floor((count * shown) / arrivals.length);
  const lastNs: number[] = [];
  let atNs = sentNs;
  return arrivals.map(([sinceNs, tokens, choice = 0, widthNs = 0], i) => {
    atNs += sinceNs;
    const gapNs = atNs - (lastNs[choice] ?? sentNs);
    lastNs[choice] = atNs;
    return { atNs, gapNs, tokens: even ? upTo(i + 1) - upTo(i) : tokens, choice, widthNs };
  });
}

/** Whether what each chunk carried is not known but an even share of the usage. */
function tokensAreEstimated(request: RequestLine): boolean {
  const shown = shownTokens(request);
  return shown > 0 && shown !== sumOf((request.arrivals ?? []).map(([, tokens]) => tokens));
}

/** The chunks that have one of their choice before them, each with the gap between the two. */
function gapsOf(choices: readonly Chunk[][]): Chunk[] {
  return choices.flatMap((chunks) => chunks.slice(1));
}

/** The chunks of a request, made once for all that is folded from them: all, by choice, and those that end a gap. */
interface Parts {
  readonly chunks: readonly Chunk[];
  readonly choices: readonly Chunk[][];
  readonly gaps: readonly Chunk[];
}

function partsOf(request: RequestLine): Parts {
  const chunks = chunksOf(request);
  const choices = byChoice(chunks);
  return { chunks, choices, gaps: gapsOf(choices) };
}

/** The chunks of each choice: of several (`n` above 1) each is a stream of its own. */
export function byChoice(chunks: readonly Chunk[]): Chunk[][] {
  const choices = new Map<number, Chunk[]>();
  for (const chunk of chunks) {
    const choice = choices.get(chunk.choice);
    if (choice) choice.push(chunk);
    else choices.set(chunk.choice, [chunk]);
  }
  return [...choices.values()];
}

/** The gap before an output chunk, the tokens of that chunk, which share it, and when it ended. */
export interface ItlGap {
  gapNs: number;
  tokens: number;
  atNs: number;
}

/**
 * The gap before each output chunk of a request, with the tokens of that chunk alone: gap / tokens, that many times.
 * Nothing is averaged over chunks: one that came in the receive of the chunk before it has a gap of 0, and the stall before
 * both counts in full. A chunk without a token by continuous usage gives its gap to the next of its choice that has some;
 * where the tokens of a chunk are an even share of the usage, nothing says which has none: each counts once at least. A
 * stream of which everything came at one moment has no ITL, as it has no TPOT. Gaps below 0 are left out (hasClockError).
 * One choice comes after the other.
 */
export function itlGaps(request: RequestLine): ItlGap[] {
  return itlGapsFrom(request, partsOf(request));
}

function itlGapsFrom(request: RequestLine, { choices, gaps: ended }: Parts): ItlGap[] {
  if (sumOf(ended.map(({ gapNs }) => gapNs)) === 0) return [];
  const least = tokensAreEstimated(request) ? 1 : 0;
  const all = choices.flatMap((chunks) => {
    const gaps: ItlGap[] = [];
    let sinceNs = chunks[0]?.atNs ?? 0;
    for (const { atNs, tokens } of chunks.slice(1)) {
      const shares = Math.max(tokens, least);
      if (shares === 0) continue;
      gaps.push({ gapNs: atNs - sinceNs, tokens: shares, atNs });
      sinceNs = atNs;
    }
    return gaps;
  });
  return all.filter(({ gapNs }) => gapNs >= 0);
}

/** The window of a level, ns from the run's start, and what its requests are held against. */
export interface LevelWindow {
  readonly openNs: number;
  readonly closeNs: number;
  /** Missing of a run that was killed before the level ended. */
  readonly line?: LevelLine;
  readonly slo: SloMs;
}

/** Values of which the statistics of a level are made; each counts `weight` times. */
export interface Pool {
  add(value: number, weight?: number): void;
  stats(): Stats;
}

/** Keeps every value. */
class ExactPool implements Pool {
  readonly #values = new Column();
  readonly #weights = new Column();
  #plain = true;

  add(value: number, weight = 1): void {
    this.#values.push(value);
    this.#weights.push(weight);
    if (weight !== 1) this.#plain = false;
  }

  stats(): Stats {
    const { values } = this.#values;
    if (this.#plain) return statsOf(values);
    const weights = this.#weights.values;
    return weightedStats(Array.from(values, (value, i) => ({ value, weight: weights[i] ?? 0 })));
  }
}

const figureNames = [
  ...["ttftMs", "ttfoMs", "tpotMs", "outputSpeed", "maxStallMs"],
  ...["e2eMs", "queueDelayMs", "ttftScheduledMs", "e2eScheduledMs"],
] as readonly (keyof RequestFigures)[];

/** Where a level begins and ends, and the SLOs that are its own or the run's. Without a line it lasts from its first steady request to its last. */
export function levelWindow(
  line: LevelLine | undefined,
  runSlo: SloMs,
  steady: { readonly firstNs: number; readonly lastNs: number },
): LevelWindow {
  const slo = gateOf(line?.labels)?.sloMs ?? runSlo;
  return { openNs: line?.openNs ?? steady.firstNs, closeNs: line?.closeNs ?? steady.lastNs, line, slo };
}

/** The summary of one level from its line and its requests. Without a line (a killed run) the window is that of its steady requests. */
export function foldLevel(
  name: string,
  requests: readonly RequestLine[],
  line: LevelLine | undefined,
  runSlo: SloMs,
  sessions: readonly SessionLine[] = [],
): LevelSummary {
  const steady = requests.filter(({ phase }) => phase === "steady");
  const window = levelWindow(line, runSlo, {
    firstNs: least(steady.map(({ scheduledNs = 0 }) => scheduledNs)),
    lastNs: most(steady.map(({ endNs = 0 }) => endNs)),
  });
  const fold = new LevelFold(name, window);
  for (const request of requests) fold.add(request);
  return fold.summary(sessions.filter(({ phase }) => phase !== "warmup"));
}

/**
 * A level's summary from its requests, one by one: of each it keeps 72 bytes of figures at most, and of a turn of a session its
 * times. What every token has goes into the pools.
 */
export class LevelFold {
  readonly #name: string;
  readonly #window: LevelWindow;
  readonly #haveSlo: boolean;
  readonly #isSteady: (request: RequestLine) => boolean;
  readonly #figures = new Map(figureNames.map((name) => [name, new Column()]));
  readonly #itl: Pool;
  readonly #chunkGap: Pool;
  readonly #uncertainty: Pool;
  readonly #failures: Record<string, number> = {};
  readonly #statuses: Record<string, number> = {};
  readonly #tokenSources: Record<string, number> = {};
  readonly #cached: Cached = { inputTokens: 0, cachedTokens: 0, known: false };
  readonly #turns = new TurnFold();
  readonly #turnTimes = new TurnTimes();
  readonly #sends = { count: 0, inWindow: 0, firstNs: Number.POSITIVE_INFINITY, lastNs: 0 };
  readonly #completedSpan = { firstNs: Number.POSITIVE_INFINITY, lastNs: 0 };
  readonly #all = {
    ...{ requests: 0, completed: 0, outputTokens: 0, shownTokens: 0, warmup: 0 },
    ...{ firstNs: Number.POSITIVE_INFINITY, lastNs: 0 },
  };
  readonly #inWindow = { ended: 0, good: 0, tokens: 0 };
  readonly #steady = {
    ...{ requests: 0, completed: 0, abandoned: 0, outputTokens: 0, good: 0, goodOutputTokens: 0 },
    ...{ tokenMismatches: 0, coalesced: 0, chunks: 0, clockErrors: 0, stamped: 0, ring: 0, kernel: 0 },
  };

  /** `isSteady` says which requests the level is judged by: those of its steady phase, of a whole run all. */
  constructor(
    name: string,
    window: LevelWindow,
    {
      pool = () => new ExactPool(),
      isSteady = ({ phase }) => phase === "steady",
    }: { pool?: () => Pool; isSteady?: (request: RequestLine) => boolean } = {},
  ) {
    this.#name = name;
    this.#window = window;
    this.#isSteady = isSteady;
    this.#haveSlo = Object.values(window.slo).some(isNumber);
    this.#itl = pool();
    this.#chunkGap = pool();
    this.#uncertainty = pool();
  }

  add(request: RequestLine): void {
    const { scheduledNs = 0, endNs = 0, outputTokens = 0 } = request;
    const { slo } = this.#window;
    const all = this.#all;
    const parts = partsOf(request);
    const figures = figuresFrom(request, parts);
    const good = this.#haveSlo && isGood(request, figures, slo, parts);
    all.requests++;
    all.firstNs = Math.min(all.firstNs, scheduledNs);
    all.lastNs = Math.max(all.lastNs, endNs);
    if (request.phase === "warmup") all.warmup++;
    if (request.outcome === "completed") {
      all.completed++;
      all.outputTokens += outputTokens;
      all.shownTokens += shownTokens(request);
      // Throughputs count what happened inside the window, whoever sent the request: warm-up hands over without draining.
      if (this.#inside(endNs)) {
        this.#inWindow.ended++;
        if (good) this.#inWindow.good++;
      }
      this.#inWindow.tokens += tokensInside(request, parts, (atNs) => this.#inside(atNs));
    }
    this.#turnTimes.add(request);
    if (this.#isSteady(request)) this.#addSteady(request, parts, figures, good);
  }

  // The warm-up request whose end opened the window ended before it.
  #inside(atNs: number): boolean {
    return atNs > this.#window.openNs && atNs <= this.#window.closeNs;
  }

  #addSteady(request: RequestLine, parts: Parts, figures: RequestFigures, good: boolean): void {
    const { sentNs = 0, status, stamp, outputTokens = 0 } = request;
    const [steady, sends] = [this.#steady, this.#sends];
    const { openNs, closeNs } = this.#window;
    steady.requests++;
    for (const [name, column] of this.#figures) {
      const value = figures[name];
      if (isMeasured(value)) column.push(value);
    }
    if (sentNs > 0) {
      sends.count++;
      sends.firstNs = Math.min(sends.firstNs, sentNs);
      sends.lastNs = Math.max(sends.lastNs, sentNs);
      if (sentNs >= openNs && sentNs <= closeNs) sends.inWindow++;
    }
    if (status) count(this.#statuses, String(status));
    if (stamp !== undefined) {
      steady.stamped++;
      if (stamp === "ring") steady.ring++;
      if (kernelStamps.has(stamp)) steady.kernel++;
    }
    if (request.tokenMismatch) steady.tokenMismatches++;
    if (hasClockError(request, figures, parts)) steady.clockErrors++;
    if (good) {
      steady.good++;
      steady.goodOutputTokens += outputTokens;
    }
    this.#turns.add(request, figures);
    if (request.outcome === "completed") {
      this.#addCompleted(request, parts);
    } else {
      count(this.#failures, request.failure);
      if (request.failure === "aborted") steady.abandoned++;
    }
  }

  #addCompleted(request: RequestLine, parts: Parts): void {
    const { sentNs = 0, lastOutputNs = 0, inputTokens = 0, outputTokens = 0, arrivals = [] } = request;
    const [steady, span, cached] = [this.#steady, this.#completedSpan, this.#cached];
    steady.completed++;
    steady.outputTokens += outputTokens;
    steady.coalesced += request.coalesced ?? 0;
    steady.chunks += arrivals.length;
    span.firstNs = Math.min(span.firstNs, sentNs);
    span.lastNs = Math.max(span.lastNs, lastOutputNs);
    cached.inputTokens += inputTokens;
    cached.cachedTokens += request.cachedTokens ?? 0;
    cached.known ||= request.cachedTokens !== undefined;
    if (request.tokenSource !== undefined) count(this.#tokenSources, request.tokenSource);
    for (const { gapNs, tokens } of itlGapsFrom(request, parts)) this.#itl.add(gapNs / nsPerMs / tokens, tokens);
    for (const { gapNs } of parts.gaps) if (gapNs >= 0) this.#chunkGap.add(gapNs / nsPerMs);
    for (const { widthNs } of parts.chunks) this.#uncertainty.add(widthNs / nsPerMs);
  }

  /** What the requests so far come to. `sessions` are those of the level. */
  summary(sessions: readonly SessionLine[] = []): LevelSummary {
    const { line, openNs, closeNs } = this.#window;
    const [all, inWindow, steady, sends, span] = [
      this.#all,
      this.#inWindow,
      this.#steady,
      this.#sends,
      this.#completedSpan,
    ];
    const durationS = (closeNs - openNs) / nsPerS;
    const perSecond = (amount: number) => (durationS > 0 ? amount / durationS : 0);
    const stats = (name: keyof RequestFigures) => statsOf(this.#figures.get(name)?.values ?? []);
    const haveSlo = this.#haveSlo;
    const wholeS = all.requests > 0 ? (all.lastNs - all.firstNs) / nsPerS : 0;
    const cached = cachedOf(this.#cached, line);
    return {
      name: this.#name,
      concurrency: line?.concurrency,
      rate: line?.rate,
      batchSize: line?.batchSize,
      labels: line?.labels ?? {},
      requests: steady.requests,
      completed: steady.completed,
      failed: steady.requests - steady.completed - steady.abandoned,
      ...(steady.abandoned > 0 ? { abandoned: steady.abandoned } : {}),
      failures: this.#failures,
      statuses: this.#statuses,
      inputTokens: this.#cached.inputTokens,
      outputTokens: steady.outputTokens,
      ...cached,
      windowStartS: openNs / nsPerS,
      durationS,
      ...(line?.rate ? { scheduledRate: perSecond(steady.requests), sentRate: perSecond(sends.inWindow) } : {}),
      requestThroughput: perSecond(inWindow.ended),
      outputThroughput: perSecond(inWindow.tokens),
      requestGoodput: haveSlo ? perSecond(inWindow.good) : undefined,
      goodOutputTokens: haveSlo ? steady.goodOutputTokens : undefined,
      goodShare: haveSlo ? steady.good / Math.max(1, steady.requests - steady.abandoned) : undefined,
      outputSpeed: stats("outputSpeed"),
      ttftMs: stats("ttftMs"),
      ttftScheduledMs: stats("ttftScheduledMs"),
      ttfoMs: stats("ttfoMs"),
      tpotMs: stats("tpotMs"),
      itlMs: this.#itl.stats(),
      chunkGapMs: this.#chunkGap.stats(),
      maxStallMs: stats("maxStallMs"),
      e2eMs: stats("e2eMs"),
      e2eScheduledMs: stats("e2eScheduledMs"),
      queueDelayMs: stats("queueDelayMs"),
      releaseSpreadMs: sends.count > 0 ? (sends.lastNs - sends.firstNs) / nsPerMs : 0,
      spanS: steady.completed > 0 ? (span.lastNs - span.firstNs) / nsPerS : 0,
      tokenSources: this.#tokenSources,
      tokenMismatches: steady.tokenMismatches,
      coalescedShare: shareOf(steady.coalesced, steady.chunks),
      ringStampShare: shareOf(steady.ring, steady.stamped),
      kernelStampShare: shareOf(steady.kernel, steady.stamped),
      arrivalUncertaintyMs: this.#uncertainty.stats(),
      clockErrors: steady.clockErrors,
      warmupRequests: all.warmup,
      whole: {
        requests: all.requests,
        completed: all.completed,
        durationS: wholeS,
        outputTokens: all.outputTokens,
        outputThroughput: wholeS > 0 ? all.shownTokens / wholeS : 0,
      },
      itlHistograms: line?.itlHistograms,
      ...foldSessions(sessions, this.#turnTimes.all),
      ...this.#turns.summary(cached.cachedSource === "usage"),
    };
  }
}

/** What the completed requests say of the server's prefix cache; known where the usage of any reports it. */
interface Cached {
  inputTokens: number;
  cachedTokens: number;
  known: boolean;
}

/** What the server took from its prefix cache: by usage where any request's usage tells it, else by its own counters. */
function cachedOf(
  { inputTokens, cachedTokens, known }: Cached,
  line: LevelLine | undefined,
): Pick<LevelSummary, "cachedTokens" | "cachedShare" | "cachedSource"> {
  if (inputTokens > 0 && known) return { cachedTokens, cachedShare: cachedTokens / inputTokens, cachedSource: "usage" };
  const { cacheHits, cacheQueries = 0 } = line ?? {};
  if (cacheHits === undefined || cacheQueries <= 0) return { cachedTokens: 0 };
  return { cachedTokens: Math.round(cacheHits), cachedShare: cacheHits / cacheQueries, cachedSource: "server" };
}

/** The levels of a run in the order in which they began, and the whole run as one. */
export function foldRecords(lines: Iterable<RecordLine>): { levels: LevelSummary[]; total: LevelSummary } {
  const byLevel = new Map<string, RequestLine[]>();
  const levelLines = new Map<string, LevelLine>();
  const sessions: SessionLine[] = [];
  let slo: SloMs = {};
  for (const line of lines) {
    if (line.type === "run") slo = line.sloMs;
    if (line.type === "level") levelLines.set(line.name, line);
    if (line.type === "session") sessions.push(line);
    if (line.type !== "request") continue;
    const requests = byLevel.get(line.level);
    if (requests) requests.push(line);
    else byLevel.set(line.level, [line]);
  }
  // Requests without a slot belong to no level.
  const named = [...byLevel].filter(([name]) => name !== "");
  const levels = named.map(([name, requests]) =>
    foldLevel(
      name,
      requests,
      levelLines.get(name),
      slo,
      sessions.filter(({ level }) => level === name),
    ),
  );
  levels.sort((a, b) => a.windowStartS - b.windowStartS);
  const all = [...byLevel.values()].flat();
  const window = {
    openNs: least(all.map(({ scheduledNs = 0 }) => scheduledNs)),
    closeNs: most(all.map(({ endNs = 0 }) => endNs)),
    slo,
  };
  const total = new LevelFold("total", window, { isSteady: () => true });
  for (const request of all) total.add(request);
  return { levels, total: total.summary(sessions) };
}

/** A request as far as the seconds of a run need it: ns from the run's start, 0 where the moment never came. */
export interface RequestMoments {
  scheduledNs: number;
  startedNs: number;
  sentNs: number;
  lastOutputNs: number;
  endNs: number;
  completed: boolean;
}

/** A second as records tell it without the arrivals of single chunks. */
export type FoldedSecond = Omit<Second, "outputTokens">;

/** The seconds of a run, counted from `zeroNs`: the opening of its first steady window. Goes through the requests twice. */
export function foldSeconds(all: Iterable<RequestMoments>, zeroNs: number): FoldedSecond[] {
  const dueNs = ({ scheduledNs, startedNs }: RequestMoments) => scheduledNs || startedNs;
  const secondOf = (ns: number) => Math.floor(Math.max(0, ns - zeroNs) / nsPerS);
  let last = -1;
  for (const each of all) if (dueNs(each) >= zeroNs) last = Math.max(last, secondOf(dueNs(each)), secondOf(each.endNs));
  const zero = { scheduled: 0, sent: 0, left: 0, succeeded: 0, failed: 0, scheduledFailed: 0 };
  const counts = Array.from({ length: last + 1 }, () => ({ ...zero, e2eNs: [] as number[] }));
  const at = (ns: number) => counts[secondOf(ns)] ?? { ...zero, e2eNs: [] };
  for (const request of all) {
    if (dueNs(request) < zeroNs) continue;
    const { sentNs, lastOutputNs, endNs, completed } = request;
    at(dueNs(request)).scheduled++;
    if (sentNs > 0) {
      at(sentNs).sent++;
      at(endNs).left++;
    }
    if (!completed) {
      at(endNs).failed++;
      at(dueNs(request)).scheduledFailed++;
      continue;
    }
    at(endNs).succeeded++;
    if (lastOutputNs >= sentNs) at(endNs).e2eNs.push(lastOutputNs - sentNs);
  }
  let inFlight = 0;
  return counts.map(({ left, e2eNs, ...second }, t) => {
    inFlight += second.sent - left;
    const { mean, p50, p95 } = statsOf(e2eNs);
    return { t, ...second, meanMs: mean / nsPerMs, p50Ms: p50 / nsPerMs, p95Ms: p95 / nsPerMs, inFlight };
  });
}

/** Statistics of weighted values; with whole weights they equal those of each value written down `weight` times. */
export function weightedStats(values: readonly Weighted[]): Stats {
  const ascending = values.filter(({ weight }) => weight > 0).sort((a, b) => a.value - b.value);
  if (ascending.length === 0) return statsOf([]);
  const total = sumOf(ascending.map(({ weight }) => weight));
  const mean = sumOf(ascending.map(({ value, weight }) => value * weight)) / total;
  const variance = sumOf(ascending.map(({ value, weight }) => weight * (value - mean) ** 2)) / total;
  const upTo: number[] = [];
  let sum = 0;
  for (const { weight } of ascending) {
    sum += weight;
    upTo.push(sum);
  }
  // The value that covers the position when each value is as wide as its weight.
  const at = (position: number) => {
    let low = 0;
    let high = ascending.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      // Sums of fractions miss whole numbers by their rounding.
      if ((upTo[middle] ?? 0) > position + 1e-6) high = middle;
      else low = middle + 1;
    }
    return ascending[low]?.value ?? 0;
  };
  const percentile = (p: number) => {
    const rank = p * Math.max(0, total - 1);
    const below = Math.floor(rank);
    return at(below) + (at(below + 1) - at(below)) * (rank - below);
  };
  return {
    count: Math.round(total),
    mean,
    std: Math.sqrt(variance),
    min: ascending[0]?.value ?? 0,
    p50: percentile(0.5),
    p90: percentile(0.9),
    p95: percentile(0.95),
    p99: percentile(0.99),
    p999: percentile(0.999),
    max: ascending[ascending.length - 1]?.value ?? 0,
  };
}

/** Output tokens of a completed request that arrived inside a window. */
function tokensInside(request: RequestLine, { chunks }: Parts, inside: (atNs: number) => boolean): number {
  if (request.outcome === "failed") return 0;
  // A reply that was not streamed arrives as one.
  if (chunks.length === 0) return inside(request.lastOutputNs ?? request.endNs ?? 0) ? shownTokens(request) : 0;
  return sumOf(chunks.map(({ atNs, tokens }) => (inside(atNs) ? tokens : 0)));
}

function isNumber(value: number | undefined): value is number {
  return value !== undefined;
}

/** A latency that is there and possible. */
function isMeasured(value: number | undefined): value is number {
  return value !== undefined && value >= 0;
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

// Math.min and Math.max take their arguments on the stack, which a million requests would overflow.
function least(values: readonly number[]): number {
  return values.length > 0 ? values.reduce((a, b) => Math.min(a, b)) : 0;
}

function most(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b), 0);
}

function shareOf(part: number, whole: number): number {
  return whole > 0 ? part / whole : 0;
}

function count(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}
