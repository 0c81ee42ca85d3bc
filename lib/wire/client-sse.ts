/**
 * Stands in for client.ts in the bundles of dist/xk6-sse/, on a stock k6 with xk6-sse: `k6/x/sse`, `k6/http` and
 * metrics built in JavaScript. What that loses:
 * - stamps are taken when the JavaScript callback runs, not when the bytes arrived, and sent is when the call was made,
 *   connecting included (xk6-sse opens a connection a request); where the module of that name has stamps of its own, as
 *   this project's has, those are taken;
 * - a level is a k6 scenario with a fixed start: one bounded by REQUESTS has a minute, then it is cut;
 * - ITL is one gap a chunk; the gauges a level (throughput, goodput, pooled ITL) are not gated;
 * - arrivals are k6's evenly spaced ones, there are no records, and the run cannot judge its own client;
 * - settings cannot be distinguished from the environment's other variables, old results in RESULTS are written over, and the exit
 *   code follows the thresholds alone.
 */
import crypto from "k6/crypto";
import { SharedArray } from "k6/data";
import exec from "k6/execution";
import http from "k6/http";
import { Counter, Rate, Trend } from "k6/metrics";
import type { Options, Scenario } from "k6/options";
import sse from "k6/x/sse";
import type {
  Api,
  ArrivalSpec,
  BatchResult,
  ClientOptions,
  GivenSettings,
  HttpReply,
  LengthRows,
  LevelSpec,
  Phase,
  RequestSpec,
  Result,
  RunSpec,
  Slot,
  StageSpec,
} from "k6/x/tokenclock";
import type { LevelSummary, RunReport, SloMs, Stats } from "../figures/level-summary";
import { statsOf } from "../figures/percentile";
import { eventReader } from "../lazy";
import type { SummaryMetrics } from "../outcome/verdict";
import type { BuiltInApi } from "../settings/apis";
import { formatDurationMs, parseDurationMs } from "../settings/duration";
import type { ResponseReader } from "./stream-event";

export type { Api, ArrivalSpec, BatchResult, HttpReply, LevelSpec, Phase, RequestSpec, Result, Slot, StageSpec };

const ttft = new Trend("llm_ttft", true);
const ttfo = new Trend("llm_ttfo", true);
const tpot = new Trend("llm_tpot", true);
const maxStall = new Trend("llm_itl_max", true);
const e2eLatency = new Trend("llm_e2e_latency", true);
const outputSpeed = new Trend("llm_output_speed");
const requests = new Counter("llm_requests");
const requestFailed = new Rate("llm_request_failed");
const failures = new Counter("llm_failures");
const inputTokens = new Counter("llm_input_tokens");
const outputTokens = new Counter("llm_output_tokens");
const chunkCount = new Counter("llm_chunks");
const goodput = new Rate("llm_goodput");
/** Not of the metric table: what the module pools in histograms and folds from records. */
const chunkGap = new Trend("llm_chunk_gap", true);
const clockErrors = new Counter("llm_clock_errors");
const sentAt = new Trend("llm_sent_at");
const endedAt = new Trend("llm_ended_at");

const failureClasses = [
  ...["connect", "tls", "timeout", "http_4xx", "http_429", "http_5xx", "reset", "truncated", "error_event"],
  ...["malformed", "empty", "short", "aborted", "interrupted"],
] as const;
type FailureClass = (typeof failureClasses)[number];

/** Time that a level bounded by requests has until the next one begins, ms. */
const levelTimeMs = 60_000;

/** Most time between two levels bounded by time, ms; less where TIMEOUT ends all requests before. */
const longestDrainMs = 30_000;

/** The Trends of which handleSummary needs a level's figures, without their common `llm_`. */
const levelTrends: readonly string[] = [
  ...["ttft", "ttfo", "tpot", "itl_max", "e2e_latency", "output_speed", "chunk_gap", "sent_at", "ended_at"],
];

let declared: RunSpec = { scenario: "", config: {}, sloMs: {} };

/** k6 scenarios by level, made when a load shape is constructed; empty where the script's own scenario stays. */
const scenarios = new Map<string, { spec: LevelSpec; scenario: Scenario; serial: number }>();
/** k6 scenarios of what a script does between two levels, by name. */
const gaps = new Map<string, Scenario>();
let scheduledMs = 0;
let requestsBefore = 0;

/** Stands for the requests of a level that is bounded by time: a prime, so that the rows of a file are met in another order. */
const unknownRequests = 10_007;

let instance: typeof exec.instance | undefined;

/** ms since the test started, with fractions; Date has none. */
function nowMs(): number {
  // exec.instance makes a new object at each access, which takes ten times as long as to read the clock.
  instance ??= exec.instance;
  return instance.currentTestRunDuration;
}

let epochMs: number | undefined;

/** A module's stamp, ms since the Unix epoch, on the axis of nowMs. One offset a VU: differences keep their precision. */
function onRunAxis(stampMs: number): number {
  epochMs ??= Date.now() - nowMs();
  return stampMs - epochMs;
}

function addScenario(spec: LevelSpec, durationMs: number, scenario: Scenario): void {
  const startTime = formatDurationMs(scheduledMs);
  scenarios.set(spec.name, { spec, scenario: { ...scenario, startTime } as Scenario, serial: requestsBefore });
  scheduledMs += durationMs;
  const { requests: steady, concurrency = 1, warmupRequests = concurrency } = spec;
  requestsBefore += steady === undefined ? unknownRequests : steady + (spec.batchSize ? 0 : warmupRequests);
}

export function run(spec: RunSpec): void {
  const { CLIENTS_PER_VU: perVU } = spec.config;
  if (typeof perVU === "number" && perVU > 1) {
    refuse(`tokenclock: CLIENTS_PER_VU=${perVU} needs k6/x/tokenclock; with xk6-sse each client is a VU; leave it out`);
  }
  if (spec.access !== undefined) {
    refuse("tokenclock: keys that are renewed, signatures, TLS_* and TRACEPARENT need k6/x/tokenclock; leave them out");
  }
  if (Number(spec.config.RUNNERS ?? 1) > 1 || (spec.config.COORDINATOR ?? "") !== "") {
    refuse("tokenclock: RUNNERS and COORDINATOR need k6/x/tokenclock; leave them out");
  }
  declared = spec;
}

/** Instances meet through the module alone: run() refuses several. */
export const joinRunners = undefined;

export function refuse(message: string): never {
  exec.test.abort(message);
  throw new Error(message);
}

/**
 * What the user set. Here an option cannot be distinguished from the environment, unless k6 leaves that out
 * (--include-system-env-vars=false): then every name is an option's, else every variable with a setting's name.
 */
export function givenSettings(isSetting: (name: string) => boolean): GivenSettings {
  const names = Object.keys(__ENV);
  const alone = __ENV.PATH === undefined;
  const pick = (wanted: (name: string) => boolean) =>
    Object.fromEntries(names.filter(wanted).map((name) => [name, __ENV[name] ?? ""]));
  return {
    options: pick((name) => alone || isSetting(name)),
    environment: pick((name) => !alone && name.startsWith("TOKENCLOCK_")),
    workingDir: __ENV.PWD ?? "",
    mixed: false,
  };
}

/** JavaScript cannot write files: k6 writes what handleSummary returns. */
export const writeResult = undefined;

export function fileDigest(path: string): string {
  try {
    return crypto.sha256(open(path, "b"), "hex");
  } catch {
    return "";
  }
}

/**
 * What JavaScript cannot do: move files or see whether they are there, choose k6's exit code, which follows the thresholds
 * alone, and sum up a level before they are judged.
 */
function nothing(_: unknown): void {}

export { nothing as clearOld, nothing as conclude, nothing as emitLevelMetrics };

/** The run cannot judge what it measured here. */
export function watchCache(_options: unknown): void {}

export { watchCache as meetRunners };

/** What shared() has made in this runtime: outside of the init context k6 makes none. */
const sharedValues = new Map<string, unknown>();
let makesShared = false;

/** A SharedArray. While one is made k6 holds the lock of all, and would wait for itself: what is asked for meanwhile is this runtime's own. */
function sharedArray<T>(name: string, make: () => T[]): readonly T[] {
  if (makesShared) return make();
  return new SharedArray(`tokenclock ${name}`, () => {
    makesShared = true;
    try {
      return make();
    } finally {
      makesShared = false;
    }
  });
}

export function shared<T>(name: string, make: () => T): T {
  if (!sharedValues.has(name)) sharedValues.set(name, sharedArray(name, () => [make()])[0]);
  return sharedValues.get(name) as T;
}

export function fetch(
  url: string,
  options: { method?: string; headers?: Record<string, string>; body?: string; timeoutMs?: number } = {},
): HttpReply {
  const { method = "GET", headers = {}, body, timeoutMs = 60_000 } = options;
  const reply = http.request(method, url, body ?? null, { headers, timeout: timeoutMs, responseType: "text" });
  return { status: reply.status, body: typeof reply.body === "string" ? reply.body : "", error: reply.error };
}

/** Whether a load shape's level is the one this VU works for now: here levels are k6 scenarios. */
export function runsHere(level: string): boolean {
  return scenarios.size === 0 || exec.scenario.name === level;
}

/** The script's options with a k6 scenario a level, and what handleSummary needs of each. */
export function adaptOptions(options: Options): Options {
  const thresholds: Record<string, string[]> = {};
  const keep = (metric: string, ...expressions: string[]) => {
    thresholds[metric] = [...(thresholds[metric] ?? []), ...expressions];
  };
  for (const [metric, expressions] of Object.entries((options.thresholds ?? {}) as Record<string, string[]>)) {
    const counted = /^llm_samples\{(level:[^,}]+),metric:llm_(\w+)\}$/.exec(metric);
    if (counted) {
      // JavaScript cannot count samples over all VUs before the thresholds are judged, but a Trend without any has the
      // maximum 0.
      const [, level, of = ""] = counted;
      const trend = of.startsWith("itl_p") ? "chunk_gap" : of;
      if (levelTrends.includes(trend)) keep(`llm_${trend}{${level},phase:steady}`, "max>0");
      continue;
    }
    const itl = /^llm_itl_p(50|90|99)\{(level:[^,}]+)\}$/.exec(metric);
    if (itl) {
      const percentile = `p(${itl[1]})`;
      keep(`llm_chunk_gap{${itl[2]},phase:steady}`, ...expressions.map((each) => each.replace("value", percentile)));
    } else if (
      /^llm_(output_throughput|request_throughput|request_goodput|client_bound|cache_bound|cached_\w+|queue_delay|\w+_scheduled)\b/.test(
        metric,
      )
    ) {
      if (__VU === 0 && !/^llm_(client|cache)_bound/.test(metric))
        console.warn(`tokenclock: not gated with xk6-sse: ${metric}`);
    } else {
      keep(metric, ...expressions);
    }
  }
  // k6 keeps the figures of a level for handleSummary only where a threshold names it.
  const levels = scenarios.size > 0 ? [...scenarios.keys()] : ["ramp"];
  for (const level of levels) {
    const tags = `level:${level},phase:steady`;
    for (const trend of levelTrends) {
      keep(`llm_${trend}{${tags}}`, "max>=0");
    }
    for (const counter of ["requests", "input_tokens", "output_tokens", "clock_errors"])
      keep(`llm_${counter}{${tags}}`, "count>=0");
    for (const rate of ["request_failed", "goodput"]) keep(`llm_${rate}{${tags}}`, "rate>=0");
    for (const failure of failureClasses) keep(`llm_failures{level:${level},failure:${failure}}`, "count>=0");
  }
  const stats = new Set([...(options.summaryTrendStats ?? []), "p(50)"]);
  const byLevel = Object.fromEntries([...scenarios].map(([name, { scenario }]) => [name, scenario]));
  return {
    ...options,
    thresholds,
    summaryTrendStats: [...stats],
    maxRedirects: 0, // another server must not be sent the key
    scenarios: scenarios.size > 0 ? { ...byLevel, ...Object.fromEntries(gaps) } : options.scenarios,
  };
}

/** A load shape. Here a request has ended when `send` returns, and a VU is one client. */
abstract class LoadShape {
  abstract next(): Slot | null;

  each(_clients: number, send: (slot: Slot) => unknown, failed: (reason: unknown) => void): void {
    try {
      for (let slot = this.next(); slot !== null; slot = this.next()) send(slot);
    } catch (error) {
      failed(error);
    }
  }
}

export class Levels extends LoadShape {
  #given = false;
  readonly #between: (() => void) | undefined;

  constructor(_name: string, specs: LevelSpec[], between?: () => void) {
    super();
    this.#between = between;
    for (const [i, spec] of specs.entries()) {
      if (between && i > 0) {
        // A scenario of one iteration, between those of two levels.
        const [startTime, maxDuration] = [scheduledMs, levelTimeMs].map(formatDurationMs);
        const once = { executor: "per-vu-iterations", vus: 1, iterations: 1, gracefulStop: "0s" };
        gaps.set(`before-${spec.name}`, { ...once, startTime, maxDuration } as Scenario);
        scheduledMs += levelTimeMs;
      }
      const { concurrency: vus = 1, requests: steady, durationMs = 0, warmupMs = 0, warmupRequests = vus } = spec;
      const lengthMs = steady === undefined ? durationMs + warmupMs : levelTimeMs;
      // What a level bounded by time has in flight at its end is waited for before the next one begins.
      const drainMs = Math.min(longestDrainMs, parseDurationMs(String(declared.config.TIMEOUT)) ?? longestDrainMs);
      const scenario: Scenario =
        steady === undefined
          ? {
              executor: "constant-vus",
              vus,
              duration: formatDurationMs(lengthMs),
              gracefulStop: formatDurationMs(drainMs),
            }
          : {
              executor: "shared-iterations",
              vus: Math.min(vus, steady + warmupRequests),
              iterations: steady + warmupRequests,
              maxDuration: formatDurationMs(lengthMs),
              gracefulStop: "0s",
            };
      addScenario(spec, lengthMs + (steady === undefined ? drainMs : 0), scenario);
    }
  }

  /** Every iteration is one request, or what is done between two levels. */
  override each(clients: number, send: (slot: Slot) => unknown, failed: (reason: unknown) => void): void {
    if (gaps.has(exec.scenario.name)) this.#between?.();
    else super.each(clients, send, failed);
  }

  next(): Slot | null {
    this.#given = !this.#given;
    if (!this.#given) return null;
    const { spec, serial = 0 } = scenarios.get(exec.scenario.name) ?? {};
    if (!spec) return null;
    const index = exec.scenario.iterationInTest;
    const { warmupMs, warmupRequests = spec.concurrency ?? 1 } = spec;
    const warm = warmupMs ? Date.now() - exec.scenario.startTime < warmupMs : index < warmupRequests;
    return { level: spec.name, phase: warm ? "warmup" : "steady", index, serial: serial + index, turn: 0 };
  }
}

export class Arrivals extends LoadShape {
  readonly count = 0;
  #given = false;

  constructor(_name: string, { stages = [], arrival = "constant", traceMs }: ArrivalSpec) {
    super();
    if (traceMs) refuse("tokenclock: TRACE needs k6/x/tokenclock; k6 itself cannot follow a trace");
    if (arrival !== "constant" && __VU === 0) {
      console.warn(`tokenclock: ARRIVAL=${arrival} needs k6/x/tokenclock; arrivals are evenly spaced`);
    }
    for (const { name, fromRate, toRate, durationMs, phase } of stages) {
      // k6 takes whole rates only.
      const perKiloSecond = (rate: number) => Math.max(1, Math.round(rate * 1000));
      const labels: LevelSpec["labels"] = fromRate === toRate ? {} : { load: "changing" };
      addScenario({ name: phase === "warmup" ? `${name}_warmup` : name, rate: toRate, labels }, durationMs, {
        executor: "ramping-arrival-rate",
        startRate: perKiloSecond(fromRate),
        timeUnit: "1000s",
        stages: [{ duration: formatDurationMs(durationMs), target: perKiloSecond(toRate) }],
        preAllocatedVUs: 50,
        maxVUs: 1000,
      });
    }
  }

  next(): Slot | null {
    this.#given = !this.#given;
    return this.#given ? this.slot(exec.scenario.iterationInTest) : null;
  }

  slot(index: number): Slot {
    const name = exec.scenario.name;
    const warm = name.endsWith("_warmup");
    const { serial = 0 } = scenarios.get(name) ?? {};
    return {
      level: name.replace(/_warmup$/, ""),
      phase: warm ? "warmup" : "steady",
      index,
      serial: serial + index,
      turn: 0,
    };
  }
}

/** Bursts are scenarios of as many VUs as requests, released by k6's start of the scenario. */
export class Windows {
  constructor(_name: string, specs: LevelSpec[]) {
    for (const spec of specs) {
      if (spec.batchSize === undefined) continue;
      addScenario(spec, levelTimeMs, {
        executor: "per-vu-iterations",
        vus: spec.batchSize,
        iterations: 1,
        maxDuration: formatDurationMs(levelTimeMs),
        gracefulStop: "0s",
      });
    }
  }

  begin(level: string, phase: Phase = "steady", _dueMs?: number): Slot {
    return { level, phase, index: 0, serial: scenarios.get(level)?.serial ?? 0, turn: 0 };
  }

  end(_level: string): void {}

  declare(_level: LevelSpec): void {
    throw new Error("levels that are found during the run need this project's k6 (npm run build)");
  }

  now(): number {
    return Date.now();
  }
}

/** k6 can do nothing beside the load, so nothing is polled. */
export class MetricsPoller {
  start = none;
  stop = none;
  series = none;
  pages = none;
}

const none = (): never[] => [];

/** k6 itself unpacks nothing, so that a file packed by gzip and a Parquet file are refused as no text. */
export class TextFile {
  readonly parquet = false;
  readonly head: string;
  readonly #text: string;

  constructor(path: string) {
    this.#text = open(path).replace(/^\uFEFF/, "");
    this.head = this.#text.slice(0, 65_536);
  }

  lines(take: (line: string, number: number) => unknown): void {
    const lines = this.#text.split(/\r?\n/);
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i] ?? "";
      if (line.trim() !== "" && take(line, i + 1) === false) return;
    }
  }

  elements(take: (element: string, number: number) => unknown): void {
    const elements: unknown = JSON.parse(this.#text);
    if (!Array.isArray(elements)) throw new Error("the file is no JSON array");
    elements.every((element, i) => take(JSON.stringify(element), i + 1) !== false);
  }

  pieces(take: (piece: string) => unknown): void {
    take(this.#text);
  }

  text(): string {
    return this.#text;
  }
}

export class Rows {
  readonly length: number;
  readonly #rows: readonly string[];

  constructor(name: string, fill: (add: (text: string | LengthRows) => void) => Uint32Array | undefined) {
    this.#rows = sharedArray(`rows ${name}`, () => {
      const rows: string[] = [];
      // This binary's files read no rows by themselves.
      const order = fill((text) => rows.push(text as string));
      return order ? Array.from(order, (k) => rows[k] ?? "") : rows;
    });
    this.length = this.#rows.length;
  }

  at(i: number): string {
    return this.#rows[i] ?? "";
  }
}

/** What a request came to, before it is counted. */
interface Exchange {
  status: number;
  sentMs: number;
  firstMs: number;
  firstContentMs: number;
  lastMs: number;
  gapsMs: number[];
  chunks: number;
  /** The server sent a whole reply in the place of a stream. */
  whole: boolean;
  inputTokens?: number;
  outputTokens?: number;
  failure?: FailureClass;
  message: string;
}

export class Client {
  readonly #options: ClientOptions;
  /** Loaded by the VUs that send requests. */
  readonly #newReader: () => ResponseReader;

  constructor(options: ClientOptions) {
    if (Object.values(options.headers ?? {}).some((value) => value.includes("{{"))) {
      refuse("tokenclock: HEADERS holds a placeholder, which only k6/x/tokenclock fills in");
    }
    const { ResponseReader } = eventReader();
    this.#newReader = () => new ResponseReader(options.api as BuiltInApi);
    this.#options = options;
  }

  request(spec: RequestSpec, slot?: Slot): Result {
    const streams = this.#options.stream !== false;
    return this.#count(streams ? this.#stream(spec, slot) : this.#plain(spec, slot), spec, slot);
  }

  /** All VUs of a burst's scenario come here with the same requests; each sends its own. */
  batch(specs: RequestSpec[], slot?: Slot): BatchResult {
    const startMs = nowMs();
    const spec = slot?.phase === "warmup" ? undefined : specs[exec.scenario.iterationInTest % specs.length];
    const results = spec ? [this.request(spec, slot)] : [];
    return { results, totalMs: nowMs() - startMs, releaseSpreadMs: 0 };
  }

  start(spec: RequestSpec, slot?: Slot): Promise<Result> {
    return Promise.resolve(this.request(spec, slot));
  }

  #stream(spec: RequestSpec, slot?: Slot): Exchange {
    const { headers, method = "POST", timeoutMs = 600_000 } = this.#options;
    const exchange = newExchange();
    const reader = this.#newReader();
    const unread: string[] = [];
    let [seen, broken] = [false, false];
    const parameters = {
      method,
      headers: { ...headers, ...spec.headers },
      body: String(spec.body),
      tags: tagsOf(slot),
    };
    const response = sse.open(spec.url ?? this.#options.url, parameters, (stream) => {
      if (stream.sentMs !== undefined) exchange.sentMs = onRunAxis(stream.sentMs);
      stream.on("event", ({ data, name, comment, arrivalMs }) => {
        const atMs = arrivalMs === undefined ? nowMs() : onRunAxis(arrivalMs);
        seen = true;
        const output = reader.event(data, name, comment);
        if (output !== "none") addChunk(exchange, atMs, output === "content");
        if (atMs - exchange.sentMs > timeoutMs) {
          exchange.failure ??= "timeout";
          stream.close();
        }
      });
      stream.on("error", (error) => {
        const words = error.error();
        const line = /^unknown event: ([\s\S]*)$/.exec(words)?.[1];
        if (line !== undefined) {
          // The lines of a plain JSON reply come as errors too.
          unread.push(line);
          return;
        }
        broken = true;
        exchange.message ||= words;
        // Without this xk6-sse waits for more until the run ends.
        stream.close();
      });
    });
    exchange.status = response.status;
    if (response.error && response.status === 0) {
      exchange.failure = "connect";
      exchange.message = response.error;
    } else if (response.status !== 200) {
      exchange.failure = statusFailure(response.status);
      exchange.message = unread.join("").slice(0, 300);
    } else if (!exchange.failure) {
      this.#judge(exchange, reader, unread, seen, broken || Boolean(response.error));
      exchange.message ||= response.error;
    }
    return exchange;
  }

  /** Decides what the response came to, by what its events and its other lines say. */
  #judge(exchange: Exchange, reader: ResponseReader, unread: string[], seen: boolean, broken: boolean): void {
    if (!seen && !broken && reader.reply(unread.join("\n").trim())) {
      // The server sent a whole reply in the place of a stream.
      exchange.whole = true;
      exchange.lastMs = nowMs();
    } else if (!broken) {
      // Of a broken connection the last line may be cut.
      reader.stray(unread);
    }
    if (reader.repeated) dropLastChunk(exchange);
    exchange.inputTokens = reader.inputTokens;
    exchange.outputTokens = reader.outputTokens || undefined;
    if (exchange.whole) return;
    exchange.failure = reader.failure(broken, seen || unread.length > 0);
    // An error of the connection has its own words.
    if (exchange.failure !== "reset") exchange.message = reader.message;
  }

  #plain(spec: RequestSpec, slot?: Slot): Exchange {
    const { headers, method = "POST", timeoutMs = 600_000 } = this.#options;
    const exchange = newExchange();
    const body = spec.body === "" ? null : spec.body;
    const reply = http.request(method, spec.url ?? this.#options.url, body, {
      headers: { ...headers, ...spec.headers },
      timeout: timeoutMs,
      responseType: "text",
      tags: tagsOf(slot),
    });
    exchange.status = reply.status;
    exchange.lastMs = exchange.sentMs + reply.timings.duration;
    if (reply.status === 0) exchange.failure = reply.error_code === 1050 ? "timeout" : "connect";
    else if (reply.status < 200 || reply.status > 299) exchange.failure = statusFailure(reply.status);
    exchange.message = reply.error;
    const reader = this.#newReader();
    if (!exchange.failure && this.#options.api !== "json" && !reader.reply(String(reply.body))) {
      reader.stray([String(reply.body)]);
    }
    if (!exchange.failure && this.#options.api !== "json") {
      const failure = reader.failure(false, true);
      // A reply says that it is complete by its length.
      if (failure === "error_event" || failure === "malformed") {
        exchange.failure = failure;
        exchange.message = reader.message;
      }
    }
    exchange.inputTokens = reader.inputTokens;
    exchange.outputTokens = reader.outputTokens;
    return exchange;
  }

  #count(exchange: Exchange, spec: RequestSpec, slot?: Slot): Result {
    const tags = tagsOf(slot);
    const { sentMs, firstMs, firstContentMs, lastMs, gapsMs, chunks } = exchange;
    const streamed = this.#options.stream !== false;
    const tokens = exchange.outputTokens ?? chunks;
    if (!exchange.failure && streamed) {
      if (spec.outputTokens !== undefined && tokens < spec.outputTokens) exchange.failure = "short";
    }
    requests.add(1, tags);
    requestFailed.add(exchange.failure !== undefined, tags);
    sentAt.add(sentMs, tags);
    endedAt.add(nowMs(), tags);
    const measured = {
      status: exchange.status,
      queueDelayMs: 0,
      inputTokens: exchange.inputTokens ?? spec.inputTokens ?? 0,
      outputTokens: tokens,
      retryAfter: "",
      text: "",
      toolCalls: [],
      header: "",
    };
    if (exchange.failure) {
      failures.add(1, { ...tags, failure: exchange.failure });
      goodput.add(false, tags);
      return { ...measured, outcome: "failed", failure: exchange.failure, message: exchange.message };
    }
    const tpotMs = chunks > 1 && tokens > 1 ? (lastMs - firstMs) / (tokens - 1) : 0;
    const times = { ttftMs: firstMs - sentMs, ttfoMs: firstContentMs - sentMs, e2eMs: lastMs - sentMs, tpotMs };
    const maxStallMs = gapsMs.reduce((most, gap) => Math.max(most, gap), 0);
    // A latency below 0 is an error of a clock: counted, and no sample.
    let impossible = false;
    const add = (trend: Trend, ms: number) => {
      if (ms < 0) impossible = true;
      else trend.add(ms, tags);
    };
    if (firstMs > 0) add(ttft, times.ttftMs);
    if (firstContentMs > 0) add(ttfo, times.ttfoMs);
    add(e2eLatency, times.e2eMs);
    if (tpotMs > 0) {
      tpot.add(tpotMs, tags);
      outputSpeed.add(1000 / tpotMs, tags);
      maxStall.add(maxStallMs, tags);
    }
    for (const gapMs of gapsMs) add(chunkGap, gapMs);
    if (impossible) clockErrors.add(1, tags);
    inputTokens.add(measured.inputTokens, tags);
    outputTokens.add(tokens, tags);
    chunkCount.add(chunks, tags);
    goodput.add(isGood(times, tokens, declared.sloMs), tags);
    const tokenSource = exchange.outputTokens === undefined ? "chunks" : "usage";
    return { ...measured, ...times, maxStallMs, outcome: "completed", finishReason: "", tokenSource };
  }
}

function newExchange(): Exchange {
  const sentMs = nowMs();
  return {
    status: 0,
    sentMs,
    firstMs: 0,
    firstContentMs: 0,
    lastMs: 0,
    gapsMs: [],
    chunks: 0,
    whole: false,
    message: "",
  };
}

function addChunk(exchange: Exchange, atMs: number, content: boolean): void {
  if (exchange.chunks === 0) exchange.firstMs = atMs;
  else exchange.gapsMs.push(atMs - exchange.lastMs);
  if (content && exchange.firstContentMs === 0) exchange.firstContentMs = atMs;
  exchange.lastMs = atMs;
  exchange.chunks++;
}

/** Takes out a chunk that repeats all of those before it. */
function dropLastChunk(exchange: Exchange): void {
  exchange.chunks--;
  exchange.lastMs -= exchange.gapsMs.pop() ?? 0;
}

function statusFailure(status: number): FailureClass {
  if (status === 429) return "http_429";
  return status >= 500 ? "http_5xx" : "http_4xx";
}

function tagsOf(slot?: Slot): Record<string, string> {
  return slot ? { level: slot.level, phase: slot.phase } : {};
}

/** Whether a completed request met every SLO: none is met by a figure that was not measured, and one token has no TPOT. */
function isGood(times: { ttftMs: number; tpotMs: number; e2eMs: number }, tokens: number, slo: SloMs): boolean {
  const met = (limit: number | undefined, ms: number) => limit === undefined || (ms > 0 && ms <= limit);
  return met(slo.ttft, times.ttftMs) && (tokens === 1 || met(slo.tpot, times.tpotMs)) && met(slo.e2e, times.e2eMs);
}

/** The report from what k6 keeps of each level's metrics. */
export function runReport(data?: unknown): RunReport {
  const metrics = (data as { metrics?: SummaryMetrics } | undefined)?.metrics ?? {};
  const specs = scenarios.size > 0 ? [...scenarios.values()].map(({ spec }) => spec) : [{ name: "ramp" }];
  const levels = specs.map((spec) => levelSummary(metrics, spec)).filter(({ requests: sent }) => sent > 0);
  const endS = Math.max(0, ...levels.map(({ windowStartS, durationS }) => windowStartS + durationS));
  const sum = (key: "requests" | "completed" | "failed" | "inputTokens" | "outputTokens" | "clockErrors") =>
    levels.reduce((total, level) => total + level[key], 0);
  const total: LevelSummary = {
    ...levelSummary(metrics, { name: "total" }),
    requests: sum("requests"),
    completed: sum("completed"),
    failed: sum("failed"),
    inputTokens: sum("inputTokens"),
    outputTokens: sum("outputTokens"),
    clockErrors: sum("clockErrors"),
    durationS: endS,
  };
  return {
    startUnixMs: 0,
    durationS: endS,
    levels,
    total,
    seconds: [],
    validity: {
      state: "UNJUDGED",
      reasons: [],
      schedulingLagMs: statsOf([]),
      queueDelayMs: statsOf([]),
      kernelStampShare: 0,
      coalescedShare: 0,
      arrivalUncertaintyMs: statsOf([]),
      clockErrors: total.clockErrors,
      sendUncertaintyMs: statsOf([]),
      cpuShare: 0,
      droppedIterations: metrics.dropped_iterations?.values.count ?? 0,
      retriedOnReuse: 0,
    },
    versions: { tokenclock: "xk6-sse", k6: "", go: "", os: "" },
  };
}

function levelSummary(
  metrics: SummaryMetrics,
  { name, concurrency, rate, batchSize, labels = {} }: LevelSpec,
): LevelSummary {
  const tags = `{level:${name},phase:steady}`;
  const values = (metric: string) => metrics[`llm_${metric}${tags}`]?.values ?? {};
  const stats = (metric: string): Stats => {
    const { count = 0, avg = 0, min = 0, max = 0, ...rest } = values(metric);
    const at = (percentile: string) => rest[`p(${percentile})`] ?? 0;
    const shares = { p50: rest.med ?? 0, p90: at("90"), p95: at("95"), p99: at("99"), p999: at("99.9") };
    return { count, mean: avg, std: 0, min, ...shares, max };
  };
  const sent = values("requests").count ?? 0;
  const failed = values("request_failed").passes ?? 0;
  const completed = sent - failed;
  const startMs = values("sent_at").min ?? 0;
  const durationS = Math.max(0, ((values("ended_at").max ?? 0) - startMs) / 1000);
  const perSecond = (count: number) => (durationS > 0 ? count / durationS : 0);
  const tokens = values("output_tokens").count ?? 0;
  const haveSlo = Object.values(declared.sloMs).some((limit) => limit !== undefined);
  const good = values("goodput").passes ?? 0;
  const classes = failureClasses.map(
    (failure) => [failure, metrics[`llm_failures{level:${name},failure:${failure}}`]?.values.count ?? 0] as const,
  );
  return {
    name,
    concurrency,
    rate,
    batchSize,
    labels,
    requests: sent,
    completed,
    failed,
    failures: Object.fromEntries(classes.filter(([, count]) => count > 0)),
    statuses: {},
    inputTokens: values("input_tokens").count ?? 0,
    cachedTokens: 0,
    outputTokens: tokens,
    windowStartS: startMs / 1000,
    durationS,
    requestThroughput: perSecond(completed),
    outputThroughput: perSecond(tokens),
    requestGoodput: haveSlo ? perSecond(good) : undefined,
    goodShare: haveSlo && sent > 0 ? good / sent : undefined,
    outputSpeed: stats("output_speed"),
    ttftMs: stats("ttft"),
    ttftScheduledMs: statsOf([]),
    ttfoMs: stats("ttfo"),
    tpotMs: stats("tpot"),
    itlMs: stats("chunk_gap"),
    chunkGapMs: stats("chunk_gap"),
    maxStallMs: stats("itl_max"),
    e2eMs: stats("e2e_latency"),
    e2eScheduledMs: statsOf([]),
    queueDelayMs: statsOf([]),
    releaseSpreadMs: Math.max(0, (values("sent_at").max ?? 0) - startMs),
    // Failed requests included: their times are not kept apart.
    spanS: durationS,
    tokenSources: {},
    tokenMismatches: 0,
    coalescedShare: 0,
    arrivalUncertaintyMs: statsOf([]),
    clockErrors: values("clock_errors").count ?? 0,
    kernelStampShare: 0,
    warmupRequests: 0,
    whole: { requests: sent, completed, durationS, outputTokens: tokens, outputThroughput: perSecond(tokens) },
  };
}

/** Conversations are the module's: with xk6-sse there is no place for one between two requests. */
export class Session {
  readonly id = "";
  constructor() {
    throw new Error("conversations need k6/x/tokenclock");
  }
  turn(): Promise<null> {
    return Promise.resolve(null);
  }
  plan(): void {}
}
