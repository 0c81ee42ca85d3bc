/**
 * Results folders made up from a seed, for the tests: requests with known times, the records and the summary that a run
 * would have written. The arithmetic here is deliberately its own, so that a test compares two independent ways.
 */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import type { LevelSummary, Second, Stats, Validity } from "../../lib/figures/level-summary";
import { randomNormal, seededRng } from "../../lib/workload/rng";
import { hashText } from "../../lib/workload/workload";
import type { LevelLine, PointsLine, RecordLine, RequestLine, SessionLine } from "../../report/read/records";

const msToNs = (ms: number): number => Math.round(ms * 1e6);

/** A random source with the shapes that latencies have. */
export function randomSource(seed: number) {
  const uniform = seededRng(seed);
  return {
    uniform,
    normal: (centre: number, std: number): number => centre + std * randomNormal(uniform),
    pick: <T>(items: readonly T[]): T => items[Math.floor(uniform() * items.length)] as T,
  };
}

export interface RequestSpec {
  level: string;
  phase?: RequestLine["phase"];
  index?: number;
  scheduledMs?: number;
  sentMs: number;
  /** TTFT, and then one gap a token; ms. */
  ttftMs?: number;
  gapsMs?: number[];
  inputTokens?: number;
  status?: number;
  /** A failed request ends this long after it was sent. */
  failure?: string;
  failedAfterMs?: number;
  message?: string;
}

export function requestLine(spec: RequestSpec): RequestLine {
  const sentNs = msToNs(spec.sentMs);
  const base = {
    type: "request" as const,
    level: spec.level,
    phase: spec.phase ?? ("steady" as const),
    index: spec.index ?? 0,
    scheduledNs: msToNs(spec.scheduledMs ?? spec.sentMs),
    startedNs: sentNs - 1000,
    sentNs,
    inputTokens: spec.inputTokens ?? 0,
  };
  if (spec.failure !== undefined) {
    return {
      ...base,
      inputTokens: 0,
      endNs: sentNs + msToNs(spec.failedAfterMs ?? 1),
      status: spec.status ?? 500,
      outcome: "failed",
      failure: spec.failure,
      ...(spec.message === undefined ? {} : { message: spec.message }),
    };
  }
  const deltas = [spec.ttftMs ?? 0, ...(spec.gapsMs ?? [])].map(msToNs);
  const lastOutputNs = sentNs + deltas.reduce((sum, delta) => sum + delta, 0);
  return {
    ...base,
    firstByteNs: sentNs + (deltas[0] as number),
    firstOutputNs: sentNs + (deltas[0] as number),
    firstNonReasonNs: sentNs + (deltas[0] as number),
    lastOutputNs,
    endNs: lastOutputNs + 50_000,
    arrivals: deltas.map((delta) => [delta, 1]),
    status: spec.status ?? 200,
    outcome: "completed",
    outputTokens: deltas.length,
  };
}

/** Statistics by plain sorting, with linear interpolation. */
export function statsOf(values: number[]): Stats {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  const at = (p: number): number => {
    if (n === 0) return 0;
    const rank = p * (n - 1);
    const lower = sorted[Math.trunc(rank)] as number;
    const upper = sorted[Math.ceil(rank)] as number;
    return lower * (1 - (rank % 1)) + upper * (rank % 1);
  };
  const average = n === 0 ? 0 : sorted.reduce((a, b) => a + b, 0) / n;
  const variance = n === 0 ? 0 : sorted.reduce((a, b) => a + (b - average) ** 2, 0) / n;
  return {
    count: n,
    mean: average,
    std: Math.sqrt(variance),
    min: sorted[0] ?? 0,
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
    p999: at(0.999),
    max: sorted[n - 1] ?? 0,
  };
}

export interface LevelSpec {
  name: string;
  concurrency?: number;
  rate?: number;
  batchSize?: number;
  labels?: Record<string, string | number>;
  openMs: number;
  closeMs: number;
  /** MB of each client, by part of the window. */
  clientMB?: number[][];
}

const requestNs = (
  line: RequestLine,
  key: "sentNs" | "firstOutputNs" | "lastOutputNs" | "scheduledNs" | "endNs",
): number => line[key] ?? 0;

function levelSummary(
  level: LevelSpec,
  all: RequestLine[],
  sloMs: { ttft?: number; tpot?: number; e2e?: number },
): LevelSummary {
  const own = all.filter((line) => line.level === level.name);
  const steady = own.filter((line) => line.phase === "steady");
  const completed = steady.filter((line) => line.outcome === "completed");
  const durationS = (level.closeMs - level.openMs) / 1000;
  const tally = (values: string[]): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
    return counts;
  };
  // A reply without output chunks, as of embeddings, has no first token and counts to its end.
  const ttft = completed.flatMap((line) =>
    requestNs(line, "firstOutputNs") > 0 ? [(requestNs(line, "firstOutputNs") - requestNs(line, "sentNs")) / 1e6] : [],
  );
  const lastNs = (line: RequestLine) => requestNs(line, "lastOutputNs") || requestNs(line, "endNs");
  const e2e = completed.map((line) => (lastNs(line) - requestNs(line, "sentNs")) / 1e6);
  const delay = steady.map((line) => (requestNs(line, "sentNs") - requestNs(line, "scheduledNs")) / 1e6);
  const several = completed.filter((line) => (line.outputTokens ?? 0) > 1);
  const tpot = several.map(
    (line) =>
      (requestNs(line, "lastOutputNs") - requestNs(line, "firstOutputNs")) / 1e6 / ((line.outputTokens ?? 0) - 1),
  );
  const gaps = completed.flatMap((line) => (line.arrivals ?? []).slice(1).map(([delta]) => delta / 1e6));
  const good = completed.filter((_, i) => {
    const within = (value: number | undefined, limit: number | undefined): boolean =>
      limit === undefined || (value ?? 0) <= limit;
    const line = completed[i] as RequestLine;
    const own = several.indexOf(line as (typeof several)[number]);
    return within(ttft[i], sloMs.ttft) && within(e2e[i], sloMs.e2e) && within(own >= 0 ? tpot[own] : 0, sloMs.tpot);
  }).length;
  const openNs = msToNs(level.openMs);
  const closeNs = msToNs(level.closeMs);
  let windowTokens = 0;
  for (const line of own) {
    let t = requestNs(line, "sentNs");
    for (const [delta, tokens] of line.arrivals ?? []) {
      t += delta;
      if (line.outcome === "completed" && t >= openNs && t < closeNs) windowTokens += tokens;
    }
  }
  const sum = (lines: RequestLine[], key: "inputTokens" | "outputTokens"): number =>
    lines.reduce((total, line) => total + (line[key] ?? 0), 0);
  const withSlo = Object.keys(sloMs).length > 0;
  const sent = steady.map((line) => requestNs(line, "sentNs"));
  return {
    name: level.name,
    ...(level.concurrency === undefined ? {} : { concurrency: level.concurrency }),
    ...(level.rate === undefined ? {} : { rate: level.rate }),
    ...(level.batchSize === undefined ? {} : { batchSize: level.batchSize }),
    labels: level.labels ?? {},
    requests: steady.length,
    completed: completed.length,
    failed: steady.length - completed.length,
    failures: tally(steady.flatMap((line) => (line.outcome === "failed" ? [line.failure] : []))),
    statuses: tally(steady.map((line) => String(line.status ?? 0))),
    inputTokens: sum(completed, "inputTokens"),
    outputTokens: sum(completed, "outputTokens"),
    windowStartS: level.openMs / 1000,
    durationS,
    requestThroughput: completed.length / durationS,
    outputThroughput: windowTokens / durationS,
    ...(withSlo ? { requestGoodput: good / durationS, goodShare: good / Math.max(1, steady.length) } : {}),
    outputSpeed: statsOf(tpot.filter((ms) => ms > 0).map((ms) => 1000 / ms)),
    ttftMs: statsOf(ttft),
    ttftScheduledMs: statsOf(
      ttft.map(
        (ms, i) =>
          ms +
          (requestNs(completed[i] as RequestLine, "sentNs") - requestNs(completed[i] as RequestLine, "scheduledNs")) /
            1e6,
      ),
    ),
    ttfoMs: statsOf(ttft),
    tpotMs: statsOf(tpot),
    itlMs: statsOf(gaps),
    chunkGapMs: statsOf(gaps),
    maxStallMs: statsOf(
      several.map((line) => Math.max(...(line.arrivals ?? []).slice(1).map(([delta]) => delta / 1e6))),
    ),
    e2eMs: statsOf(e2e),
    e2eScheduledMs: statsOf(
      e2e.map(
        (ms, i) =>
          ms +
          (requestNs(completed[i] as RequestLine, "sentNs") - requestNs(completed[i] as RequestLine, "scheduledNs")) /
            1e6,
      ),
    ),
    queueDelayMs: statsOf(delay),
    releaseSpreadMs: sent.length === 0 ? 0 : (Math.max(...sent) - Math.min(...sent)) / 1e6,
    spanS:
      completed.length === 0
        ? 0
        : (Math.max(...completed.map(lastNs)) - Math.min(...completed.map((line) => requestNs(line, "sentNs")))) / 1e9,
    tokenSources: { usage: completed.length },
    tokenMismatches: 0,
    coalescedShare: 0.01,
    arrivalUncertaintyMs: statsOf([0, 0, 0.1]),
    clockErrors: 0,
    kernelStampShare: 1,
    warmupRequests: own.filter((line) => line.phase === "warmup").length,
    whole: {
      requests: own.length,
      completed: own.filter((line) => line.outcome === "completed").length,
      durationS,
      outputTokens: sum(own, "outputTokens"),
      outputThroughput: sum(own, "outputTokens") / durationS,
    },
  };
}

function secondsOf(all: RequestLine[], zeroNs: number): Second[] {
  const lines = all.filter((line) => requestNs(line, "scheduledNs") >= zeroNs);
  const secondOf = (ns: number): number => Math.floor((ns - zeroNs) / 1e9);
  const last = Math.max(0, ...lines.map((line) => secondOf(requestNs(line, "endNs"))));
  return Array.from({ length: last + 1 }, (_, t) => {
    const within = (ns: number): boolean => secondOf(ns) === t;
    const ended = lines.filter((line) => within(requestNs(line, "endNs")));
    const succeeded = ended.filter((line) => line.outcome === "completed");
    const stats = statsOf(succeeded.map((line) => requestNs(line, "lastOutputNs") - requestNs(line, "sentNs")));
    return {
      t,
      scheduled: lines.filter((line) => within(requestNs(line, "scheduledNs"))).length,
      sent: lines.filter((line) => within(requestNs(line, "sentNs"))).length,
      succeeded: succeeded.length,
      failed: ended.length - succeeded.length,
      scheduledFailed: lines.filter((line) => within(requestNs(line, "scheduledNs")) && line.outcome === "failed")
        .length,
      meanMs: stats.mean / 1e6,
      p50Ms: stats.p50 / 1e6,
      p95Ms: stats.p95 / 1e6,
      inFlight: lines.filter(
        (line) => secondOf(requestNs(line, "sentNs")) <= t && secondOf(requestNs(line, "endNs")) > t,
      ).length,
      outputTokens: succeeded.reduce((total, line) => total + (line.outputTokens ?? 0), 0),
    };
  });
}

export interface RunSpec {
  scenario: string;
  levels: LevelSpec[];
  requests: RequestLine[];
  config?: Record<string, unknown>;
  sloMs?: { ttft?: number; tpot?: number; e2e?: number };
  points?: PointsLine[];
  sessions?: SessionLine[];
  validity?: Partial<Validity>;
  pass?: boolean;
  reasons?: string[];
}

/** Writes a results folder and returns its path. */
export function writeRun(
  spec: RunSpec,
  parent = mkdtempSync(join(tmpdir(), "tokenclock-report-")),
  name = spec.scenario,
): string {
  const dir = join(parent, name);
  mkdirSync(dir, { recursive: true });
  const config = { BASE_URL: "http://127.0.0.1:8000/v1", API: "completions", SEED: 1, ...spec.config };
  const sloMs = spec.sloMs ?? {};
  const versions = { tokenclock: "0.1.0", k6: "2.2.0", go: "1.25", os: "linux" };
  const levelLines: LevelLine[] = spec.levels.map(({ openMs, closeMs, labels, ...rest }) => ({
    type: "level",
    ...rest,
    labels: labels ?? {},
    openNs: msToNs(openMs),
    closeNs: msToNs(closeMs),
    endNs: msToNs(closeMs),
  }));
  const endNs = Math.max(
    ...levelLines.map((level) => level.endNs),
    ...spec.requests.map((line) => requestNs(line, "endNs")),
  );
  const validity: Validity = {
    state: "VALID",
    reasons: [],
    notes: [],
    stamps: { source: "socket", why: "no packet ring", ring: 0, socket: 1, user: 0 },
    stoppedMs: { count: 0, total: 0, longest: 0 },
    suspendedMs: { count: 0, total: 0, longest: 0 },
    schedulingLagMs: statsOf([0.05, 0.1]),
    queueDelayMs: statsOf([0.1, 0.2]),
    kernelStampShare: 1,
    coalescedShare: 0.01,
    arrivalUncertaintyMs: statsOf([0, 0, 0.1]),
    clockErrors: 0,
    readerWaitShare: 0.001,
    sendUncertaintyMs: statsOf([0.02]),
    cpuShare: 0.2,
    droppedIterations: 0,
    retriedOnReuse: 0,
    reader: "detached",
    readerClass: "SCHED_RR 1",
    clockSteps: 0,
    rejectedStamps: 0,
    ...spec.validity,
  };
  const lines: RecordLine[] = [
    {
      type: "run",
      schema: 1,
      scenario: spec.scenario,
      // No two runs begin at the same nanosecond.
      startUnixNs: Date.UTC(2026, 10, 20, 9, 30) * 1e6 + 256 * (hashText(join(parent, name)) & 0xfff),
      config,
      sloMs,
      versions,
    },
    ...levelLines,
    ...spec.requests,
    ...(spec.sessions ?? []),
    ...(spec.points ?? []),
    { type: "end", endNs, ended: "complete", validity },
  ];
  writeFileSync(join(dir, "records.ndjson.gz"), gzipSync(`${lines.map((line) => JSON.stringify(line)).join("\n")}\n`));
  const whole: LevelSpec = { name: "total", openMs: 0, closeMs: endNs / 1e6 };
  writeFileSync(
    join(dir, "summary.json"),
    JSON.stringify({
      schema: 1,
      ended: "complete",
      scenario: spec.scenario,
      verdict: { pass: spec.pass ?? true, validity: validity.state, reasons: spec.reasons ?? [] },
      config,
      versions,
      sloMs,
      window: { startS: 0, endS: endNs / 1e9 },
      levels: spec.levels.map((level) => levelSummary(level, spec.requests, sloMs)),
      total: levelSummary(
        whole,
        spec.requests.map((line) => ({ ...line, level: "total" })),
        sloMs,
      ),
      seconds: secondsOf(spec.requests, Math.min(...levelLines.map(({ openNs }) => openNs))),
      validity,
    }),
  );
  writeFileSync(join(dir, "config.json"), JSON.stringify(config));
  return dir;
}

export interface SweepOptions {
  seed: number;
  concurrencies?: number[];
  requestsPerLevel?: number;
  tokens?: number;
  /** Multiplies every latency: version B of a comparison. */
  slower?: number;
  /** Requests beyond this many clients are refused with 429 in this share. */
  failBeyond?: number;
  config?: Record<string, unknown>;
  sloMs?: RunSpec["sloMs"];
  validity?: RunSpec["validity"];
}

/** A closed loop at several levels: a server whose TTFT and gaps grow with the number of clients. */
export function sweep(options: SweepOptions): RunSpec {
  const random = randomSource(options.seed);
  const slower = options.slower ?? 1;
  const requests: RequestLine[] = [];
  const levels: LevelSpec[] = [];
  let openMs = 1000;
  for (const concurrency of options.concurrencies ?? [1, 2, 4, 8, 16, 32]) {
    const level = `c${concurrency}`;
    const ready = Array.from({ length: concurrency }, () => openMs);
    let closeMs = openMs;
    for (let index = 0; index < (options.requestsPerLevel ?? 100); index++) {
      const client = ready.indexOf(Math.min(...ready));
      const scheduledMs = ready[client] as number;
      const sentMs = scheduledMs + 0.05 + 0.1 * random.uniform();
      const refused =
        options.failBeyond !== undefined &&
        concurrency > options.failBeyond &&
        random.uniform() < 1 - options.failBeyond / concurrency;
      const line = refused
        ? requestLine({
            level,
            index,
            scheduledMs,
            sentMs,
            failure: "http_429",
            status: 429,
            failedAfterMs: 2 + random.uniform(),
          })
        : requestLine({
            level,
            index,
            scheduledMs,
            sentMs,
            ttftMs: slower * Math.max(5, random.normal(20 + 1.5 * concurrency ** 1.3, 2 + concurrency / 8)),
            gapsMs: Array.from(
              { length: (options.tokens ?? 32) - 1 },
              () => slower * Math.max(1, random.normal(8 + concurrency / 4, 1)),
            ),
            inputTokens: 100 + Math.floor(random.uniform() * 20),
          });
      requests.push(line);
      ready[client] = (line.endNs ?? 0) / 1e6;
      closeMs = Math.max(closeMs, ready[client] as number);
    }
    levels.push({ name: level, concurrency, openMs, closeMs });
    openMs = closeMs + 100;
  }
  return {
    scenario: "concurrency-sweep",
    levels,
    requests,
    config: {
      CONCURRENCY: levels.map(({ concurrency }) => concurrency),
      REQUESTS: options.requestsPerLevel ?? 100,
      ...options.config,
    },
    sloMs: options.sloMs,
    validity: options.validity,
  };
}

/** A ramp of requests/s, a stage of 10 s each: a server that answers up to `capacity` and refuses a growing share beyond. */
export function ramp(options: {
  seed: number;
  rates?: number[];
  capacity: number;
  latencyMs?: number;
  slower?: number;
}): RunSpec {
  const random = randomSource(options.seed);
  const rates = options.rates ?? [20, 40, 60, 80, 100, 120];
  const stageS = 10;
  const requests: RequestLine[] = [];
  const levels: LevelSpec[] = [];
  let index = 0;
  for (const [stage, rate] of rates.entries()) {
    const level = `r${rate}`;
    levels.push({ name: level, rate, openMs: stage * stageS * 1000, closeMs: (stage + 1) * stageS * 1000 });
    for (let i = 0; i < rate * stageS; i++) {
      const scheduledMs = stage * stageS * 1000 + (i * 1000) / rate;
      const sentMs = scheduledMs + 0.2 * random.uniform();
      const refused = random.uniform() < 1 - options.capacity / rate;
      const load = Math.min(1, rate / options.capacity);
      const latencyMs =
        (options.slower ?? 1) * (options.latencyMs ?? 30) * (1 + 4 * load ** 4) * (0.8 + 0.4 * random.uniform());
      requests.push(
        refused
          ? requestLine({ level, index, scheduledMs, sentMs, failure: "http_5xx", status: 503, failedAfterMs: 5 })
          : requestLine({ level, index, scheduledMs, sentMs, ttftMs: latencyMs, inputTokens: 8 }),
      );
      index++;
    }
  }
  return {
    scenario: "arrival-rate-ramp",
    levels,
    requests,
    config: { STAGES: rates.map((rate) => `${rate}:${stageS}s`).join(","), RATE: rates },
  };
}

/** Both phases of the same prompts, one request after the other: prefill at 2 tokens/ms, decode at 10 ms a token. */
export function phases(options: {
  seed: number;
  prompts?: number;
  tokens?: number;
  only?: "full" | "prefill";
}): RunSpec {
  const random = randomSource(options.seed);
  const lengths = Array.from({ length: options.prompts ?? 20 }, () => 200 + Math.floor(800 * random.uniform()));
  const requests: RequestLine[] = [];
  const levels: LevelSpec[] = [];
  const points: PointsLine = {
    type: "points",
    name: "server",
    metrics: ["vllm:num_requests_running", "vllm:num_requests_waiting"],
    points: [],
  };
  let nowMs = 500;
  for (const level of ["full", "prefill"] as const) {
    if (options.only && options.only !== level) continue;
    const openMs = nowMs;
    for (const [index, inputTokens] of lengths.entries()) {
      const tokens = level === "full" ? (options.tokens ?? 50) : 1;
      const line = requestLine({
        level,
        index,
        sentMs: nowMs,
        scheduledMs: nowMs - 0.2,
        ttftMs: inputTokens / 2,
        gapsMs: Array.from({ length: tokens - 1 }, () => 10),
        inputTokens,
      });
      requests.push(line);
      points.points.push([msToNs(nowMs + 1), 1, index % 4 === 0 ? 1 : 0]);
      nowMs = (line.lastOutputNs ?? 0) / 1e6 + 0.5;
    }
    levels.push({ name: level, openMs, closeMs: nowMs });
    nowMs += 2000;
  }
  return {
    scenario: "prefill-decode",
    levels,
    requests,
    points: [points],
    config: { OUTPUT_TOKENS: options.tokens ?? 50 },
  };
}

/** Batches released at once, several runs each; requests of different lengths, so that some end early. */
export function batches(options: {
  seed: number;
  sizes?: number[];
  runs?: number;
  embeddings?: boolean;
  oneLevelPerSize?: boolean;
}): RunSpec {
  const random = randomSource(options.seed);
  const runs = options.runs ?? 3;
  const requests: RequestLine[] = [];
  const levels: LevelSpec[] = [];
  let nowMs = 100;
  for (const batchSize of options.sizes ?? [1, 2, 4, 8, 16, 32, 64]) {
    const first = nowMs;
    for (let run = 0; run < runs; run++) {
      const level = options.oneLevelPerSize ? `b${batchSize}` : `b${batchSize}.${run + 1}`;
      const openMs = nowMs;
      let closeMs = openMs;
      for (let i = 0; i < batchSize; i++) {
        const tokens = options.embeddings ? 0 : 40 + Math.floor(40 * random.uniform());
        const gapMs = 8 + batchSize / 8;
        const inputTokens = 50 + Math.floor(100 * random.uniform());
        const line = requestLine({
          level,
          index: (options.oneLevelPerSize ? run * batchSize : 0) + i,
          sentMs: openMs + 0.02 * i,
          ttftMs: 20 + inputTokens / 10 + batchSize,
          gapsMs: Array.from({ length: Math.max(0, tokens - 1) }, () => gapMs * (0.9 + 0.2 * random.uniform())),
          inputTokens,
        });
        if (options.embeddings) {
          line.outputTokens = 0;
          line.firstOutputNs = 0;
          line.lastOutputNs = 0;
          line.arrivals = [];
        }
        requests.push(line);
        closeMs = Math.max(closeMs, (line.endNs ?? 0) / 1e6);
      }
      if (!options.oneLevelPerSize)
        levels.push({ name: level, batchSize, labels: { batchSize, run: run + 1 }, openMs, closeMs });
      nowMs = closeMs + 50;
    }
    if (options.oneLevelPerSize) levels.push({ name: `b${batchSize}`, batchSize, openMs: first, closeMs: nowMs });
  }
  return {
    scenario: options.embeddings ? "embeddings-burst" : "batch-burst",
    levels,
    requests,
    config: {
      MODEL: "tiny",
      BATCH_SIZES: options.sizes,
      RUNS: runs,
      OUTPUT_TOKENS: 80,
      DATASET: "short",
      TEMPERATURE: 0,
      DESCRIPTION: "synthetic",
    },
  };
}

/** Prompts of growing length, one at a time: TTFT = base + length / speed, with noise. */
export function ingestion(options: {
  seed: number;
  tokensPerS: number;
  baseMs: number;
  noiseMs?: number;
  requests?: number;
}): RunSpec {
  const random = randomSource(options.seed);
  const requests: RequestLine[] = [];
  const levels: LevelSpec[] = [];
  const lengths = 12;
  const perLength = Math.ceil((options.requests ?? 120) / lengths);
  let nowMs = 100;
  for (let i = 0; i < lengths; i++) {
    const inputTokens = 32 + Math.round((4064 * i) / (lengths - 1));
    const level = `i${inputTokens}`;
    const openMs = nowMs;
    for (let index = 0; index < perLength; index++) {
      const ttftMs =
        options.baseMs +
        (1000 * inputTokens) / options.tokensPerS +
        (options.noiseMs ? random.normal(0, options.noiseMs) : 0);
      const line = requestLine({ level, index, sentMs: nowMs, ttftMs, inputTokens });
      requests.push(line);
      nowMs = (line.endNs ?? 0) / 1e6 + 1;
    }
    levels.push({ name: level, concurrency: 1, labels: { inputTokens }, openMs, closeMs: nowMs });
  }
  return { scenario: "prompt-ingestion", levels, requests };
}

/**
 * A server with a KV cache of `cacheTokens` and at most `slots` running sequences, polled every 10 ms. Levels of 1, 2, 3, ...
 * simultaneous requests (`burst`), or a closed loop of N (`loop`); each request keeps its whole length in the cache.
 */
export function cache(options: {
  seed: number;
  shape: "burst" | "loop";
  parallel: number[];
  lengths?: [number, number][];
  cacheTokens: number;
  slots: number;
  requestsPerLevel?: number;
}): RunSpec {
  const random = randomSource(options.seed);
  const requests: RequestLine[] = [];
  const levels: LevelSpec[] = [];
  const points: PointsLine = {
    type: "points",
    name: "server",
    metrics: ["vllm:kv_cache_usage_perc", "vllm:num_requests_running", "vllm:num_requests_waiting"],
    points: [],
  };
  let nowMs = 200;
  for (const [inputTokens, outputTokens] of options.lengths ?? [[128, 64]]) {
    for (const parallel of options.parallel) {
      const level = `i${inputTokens}-o${outputTokens}-n${parallel}`;
      const running = Math.min(parallel, options.slots, Math.floor(options.cacheTokens / (inputTokens + outputTokens)));
      const freeAt = Array.from({ length: running }, () => nowMs);
      const clientFree = Array.from({ length: parallel }, () => nowMs);
      const openMs = nowMs;
      let closeMs = nowMs;
      const lifetimes: { sentMs: number; startMs: number; endMs: number }[] = [];
      const count = options.shape === "burst" ? parallel : (options.requestsPerLevel ?? 4 * parallel);
      for (let index = 0; index < count; index++) {
        const client = clientFree.indexOf(Math.min(...clientFree));
        const slot = freeAt.indexOf(Math.min(...freeAt));
        const sentMs = clientFree[client] as number;
        const startMs = Math.max(sentMs, freeAt[slot] as number);
        const gapMs = 10 + running;
        const line = requestLine({
          level,
          index,
          sentMs,
          ttftMs: startMs - sentMs + inputTokens / 10,
          gapsMs: Array.from({ length: outputTokens - 1 }, () => gapMs * (0.95 + 0.1 * random.uniform())),
          inputTokens,
        });
        const endMs = (line.lastOutputNs ?? 0) / 1e6;
        requests.push(line);
        lifetimes.push({ sentMs, startMs, endMs });
        freeAt[slot] = endMs;
        clientFree[client] = endMs + 0.5;
        closeMs = Math.max(closeMs, endMs);
      }
      for (let t = openMs; t <= closeMs; t += 10) {
        const active = lifetimes.filter(({ startMs, endMs }) => startMs <= t && t < endMs);
        const queued = lifetimes.filter(({ sentMs, startMs }) => sentMs <= t && t < startMs).length;
        const tokens = active.reduce(
          (total, { startMs, endMs }) => total + inputTokens + (outputTokens * (t - startMs)) / (endMs - startMs),
          0,
        );
        points.points.push([msToNs(t), tokens / options.cacheTokens, active.length, queued]);
      }
      levels.push({
        name: level,
        ...(options.shape === "loop" ? { concurrency: parallel } : { batchSize: parallel }),
        labels: { inputTokens, outputTokens, requests: parallel },
        openMs,
        closeMs,
      });
      nowMs = closeMs + 300;
    }
  }
  return {
    scenario: options.shape === "loop" ? "speed-generation" : "kv-cache-profile",
    levels,
    requests,
    points: [points],
  };
}

/** One load for a while, in which a server's times grow by the share `slowsBy` from the first request to the last. */
export function lasting(options: { seed: number; clients?: number; lastsS?: number; slowsBy?: number }): RunSpec {
  const random = randomSource(options.seed);
  const { clients = 4, lastsS = 30, slowsBy = 0.4 } = options;
  const level = `c${clients}`;
  const [openMs, closeMs] = [1000, 1000 * (1 + lastsS)];
  const ready = Array.from({ length: clients }, (_, i) => openMs + 20 * i);
  const requests: RequestLine[] = [];
  for (;;) {
    const client = ready.indexOf(Math.min(...ready));
    const scheduledMs = ready[client] as number;
    if (scheduledMs >= closeMs) break;
    const by = 1 + (slowsBy * (scheduledMs - openMs)) / (closeMs - openMs);
    const failed = random.uniform() < 0.02;
    const line = requestLine({
      ...{ level, index: requests.length, scheduledMs, sentMs: scheduledMs + 0.1 * random.uniform() },
      ...(failed
        ? { failure: "http_5xx", status: 500, failedAfterMs: 40 }
        : {
            ttftMs: by * random.normal(60, 4),
            gapsMs: Array.from({ length: 11 }, () => by * random.normal(20, 1)),
            inputTokens: 60 + Math.floor(30 * random.uniform()),
          }),
    });
    requests.push(line);
    ready[client] = (line.endNs ?? 0) / 1e6;
  }
  const parts = 10;
  const clientMB = [Array.from({ length: parts }, (_, part) => 80 + 0.3 * part + 0.1 * random.uniform())];
  return {
    scenario: "soak",
    requests,
    levels: [{ name: level, concurrency: clients, openMs, closeMs, clientMB }],
    config: { DURATION: 1000 * lastsS, SLICES: parts, DRIFT_LIMIT: 5, CLIENT_MEMORY_LIMIT: 20 },
  };
}

/** Conversations of several turns at once, every other turn handing over results of tools; a server that caches what it knows. */
export function talks(options: { seed: number; sessions?: number; turns?: number }): RunSpec {
  const random = randomSource(options.seed);
  const turns = options.turns ?? 4;
  const level = "s6";
  const requests: RequestLine[] = [];
  const sessions: SessionLine[] = [];
  let closeMs = 0;
  for (let i = 0; i < (options.sessions ?? 24); i++) {
    const id = `talk-${i}`;
    const beginMs = 500 + 300 * i;
    let nowMs = beginMs;
    let known = 0;
    let waitMs = 0;
    for (let turn = 1; turn <= turns; turn++) {
      const inputTokens = known + 40 + Math.floor(20 * random.uniform());
      const tokens = 8 + Math.floor(8 * random.uniform());
      const line = requestLine({
        ...{ level, index: i, scheduledMs: nowMs, sentMs: nowMs + 0.05, inputTokens },
        ttftMs: 10 + (inputTokens - known) / 4 + 2 * random.uniform(),
        gapsMs: Array.from({ length: tokens - 1 }, () => random.normal(12, 1)),
      });
      requests.push({ ...line, session: id, turn, tool: turn % 2 === 0, cachedTokens: known });
      known = inputTokens + tokens;
      const thinkMs = turn < turns ? 50 + 100 * random.uniform() : 0;
      waitMs += thinkMs;
      nowMs = (line.endNs ?? 0) / 1e6 + thinkMs;
    }
    closeMs = Math.max(closeMs, nowMs);
    const times = { startNs: msToNs(beginMs), endNs: requests.at(-1)?.endNs, waitNs: msToNs(waitMs) };
    sessions.push({ type: "session", id, level, phase: "steady", outcome: "completed", turns, ...times });
  }
  return {
    ...{ scenario: "conversations", requests, sessions },
    levels: [{ name: level, concurrency: 6, openMs: 500, closeMs }],
  };
}

/** Two kinds of load at the same time: short chats with SLOs of their own, and long batches. */
export function classes(options: { seed: number; lastsS?: number }): RunSpec {
  const random = randomSource(options.seed);
  const lastsS = options.lastsS ?? 10;
  const kinds = [
    { name: "chat", rate: 20, ttftMs: 30, gapMs: 8, tokens: 16, inputTokens: 80 },
    { name: "batch", rate: 4, ttftMs: 180, gapMs: 14, tokens: 48, inputTokens: 900 },
  ];
  const requests = kinds.flatMap(({ name, rate, ttftMs, gapMs, tokens, inputTokens }) =>
    Array.from({ length: rate * lastsS }, (_, index) => {
      const scheduledMs = 1000 + (1000 * (index + random.uniform())) / rate;
      return requestLine({
        ...{ level: name, index, scheduledMs, sentMs: scheduledMs + 0.1 * random.uniform() },
        ttftMs: Math.max(2, random.normal(ttftMs, ttftMs / 6)),
        gapsMs: Array.from({ length: tokens - 1 }, () => Math.max(1, random.normal(gapMs, 1))),
        inputTokens: inputTokens + Math.floor(20 * random.uniform()),
      });
    }),
  );
  return {
    scenario: "mixed",
    requests: requests.sort((a, b) => (a.sentNs ?? 0) - (b.sentNs ?? 0)),
    levels: kinds.map(({ name, rate }, i) => ({
      ...{ name, rate, openMs: 1000, closeMs: 1000 * (1 + lastsS) },
      ...(i === 0 ? { labels: { ownGate: 1, sloTtftMs: 40, limits: "llm_ttft p(95)<60" } } : {}),
    })),
    config: { DURATION: 1000 * lastsS },
  };
}

/** What a vLLM and its GPU say of a run's requests on their metrics pages, polled so often; its times are 2 ms and half a ms shorter. */
export function metricsPages(spec: RunSpec, everyMs = 200): PointsLine[] {
  const completed = spec.requests.filter(({ outcome }) => outcome === "completed");
  const lastMs = Math.max(...spec.requests.map(({ endNs = 0 }) => endNs)) / 1e6;
  const polls = Array.from({ length: Math.ceil(lastMs / everyMs) + 2 }, (_, i) => msToNs(i * everyMs));
  const endedBy = (ns: number) => completed.filter(({ endNs = 0 }) => endNs <= ns);
  const input = (lines: RequestLine[]) => lines.reduce((sum, { inputTokens = 0 }) => sum + inputTokens, 0);
  const running = (ns: number) =>
    spec.requests.filter(({ sentNs = 0, endNs = 0 }) => sentNs <= ns && endNs > ns).length;
  const values: [name: string, kind: "gauge" | "counter", at: (ns: number) => number][] = [
    ["vllm:num_requests_running", "gauge", (ns) => Math.min(6, running(ns))],
    ["vllm:num_requests_waiting", "gauge", (ns) => Math.max(0, running(ns) - 6)],
    ["vllm:kv_cache_usage_perc", "gauge", (ns) => Math.min(1, running(ns) / 10)],
    ["vllm:num_preemptions_total", "counter", (ns) => Math.floor(endedBy(ns).length / 20)],
    ["vllm:prefix_cache_queries_total", "counter", (ns) => 1000 + input(endedBy(ns))],
    ["vllm:prefix_cache_hits_total", "counter", (ns) => 300 + Math.floor(0.4 * input(endedBy(ns)))],
    ["vllm:spec_decode_num_draft_tokens_total", "counter", (ns) => 5 * endedBy(ns).length],
    ["vllm:spec_decode_num_accepted_tokens_total", "counter", (ns) => 3 * endedBy(ns).length],
    ["DCGM_FI_DEV_GPU_UTIL", "gauge", (ns) => (running(ns) > 0 ? 80 : 5)],
    ["DCGM_FI_DEV_POWER_USAGE", "gauge", (ns) => 90 + 30 * running(ns)],
  ];
  const boundsS = [0.01, 0.025, 0.05, 0.1, 0.25, 1];
  const latencies: [name: string, of: (line: RequestLine) => number[]][] = [
    ["vllm:time_to_first_token_seconds", (line) => [((line.firstOutputNs ?? 0) - (line.sentNs ?? 0)) / 1e9 - 0.002]],
    ["vllm:inter_token_latency_seconds", (line) => (line.arrivals ?? []).slice(1).map(([ns]) => ns / 1e9 - 0.0005)],
  ];
  const histograms = latencies.flatMap(([name, of]): [string, (ns: number) => number][] => {
    const all = (ns: number) => endedBy(ns).flatMap(of);
    return [
      [`${name}_count`, (ns) => all(ns).length],
      [`${name}_sum`, (ns) => all(ns).reduce((sum, value) => sum + value, 0)],
      ...boundsS.map((bound): [string, (ns: number) => number] => [
        `${name}_bucket{le="${bound}"}`,
        (ns) => all(ns).filter((value) => value <= bound).length,
      ]),
    ];
  });
  return [
    {
      ...{ type: "points", name: "server", page: 0, what: "values" },
      metrics: values.map(([name]) => name),
      kinds: values.map(([, kind]) => kind),
      points: polls.map((ns) => [ns, ...values.map(([, , at]) => at(ns))]),
    },
    {
      ...{ type: "points", name: "server", page: 0, what: "histograms" },
      metrics: histograms.map(([name]) => name),
      kinds: histograms.map(() => "histogram" as const),
      points: polls.map((ns) => [ns, ...histograms.map(([, at]) => at(ns))]),
    },
  ];
}

/** Changes a file of a results folder in place. */
export function changeFile(
  folder: string,
  name: "records.ndjson.gz" | "summary.json",
  change: (text: string) => string,
): void {
  const path = join(folder, name);
  const content = readFileSync(path);
  if (name === "summary.json") writeFileSync(path, change(content.toString()));
  else writeFileSync(path, gzipSync(change(gunzipSync(content).toString())));
}
