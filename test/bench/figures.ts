import { percentile } from "../../lib/figures/percentile";
import { type Column, shortNumber, textTable } from "../../lib/figures/table";
import type { RequestTruth } from "../support/simulated";
import type { ClientName, Figure, Load, Target } from "./cases";

/** Percentiles in ms; NaN where a client keeps none. */
export interface Latency {
  mean: number;
  p50: number;
  p90: number;
  p99: number;
}

/** What a client says of one run. */
export interface Measured {
  requests: number;
  failed: number;
  tokens: number;
  /** From the first request to the last response. */
  spanS: number;
  ttftMs: Latency;
  itlMs: Latency;
  mostInFlight?: number;
  /** Size of the file of records, where one was asked for. */
  recordsMB?: number;
  /** The client's own judgement of itself. */
  validity?: string;
  /** Of an open load: the rate at which it sent, over the scheduled one. */
  sentShare?: number;
}

/** What a process cost. */
export interface Cost {
  code: number;
  userS: number;
  systemS: number;
  wallS: number;
  peakMB: number;
  /** The wall clock right before the start. */
  startUnixNs: string;
  /** How long the process was stopped on purpose. */
  stoppedS: number;
  /** The process's resident set, at even distances from start to end; only where the system says it. */
  residentMB?: number[];
}

/** What GET /truth of the simulated server says of one run. */
export interface Truth {
  clock: { zeroUnixNs: string };
  /** Where its times are from: events by source. */
  source: { sends: string; why?: string; ring: number; transmit: number; user: number; drops: number };
  firstBeginNs: number;
  outputTokens: number;
  requestCount: number;
  windowS: number;
  ttftMs: Latency;
  itlMs: Latency;
  /** Each request, where it was asked for. */
  requests?: RequestTruth[];
}

/** One run of one client. */
export interface Run {
  client: ClientName;
  load: Load;
  cost: Cost;
  measured: Measured;
  truth: Truth;
  /** Processor time of the server, s, and the share of all processors that neither it nor the client used; Linux only. */
  serverCpuS?: number;
  othersShare?: number;
  figures: Partial<Record<Figure, number>>;
}

/** A case's runs and how its targets were met. */
export interface CaseResult {
  name: string;
  what: string;
  runs: Run[];
  medians: Partial<Record<ClientName, Partial<Record<Figure, Spread>>>>;
  verdicts: Verdict[];
  /** Clients that were left out, and why. */
  skipped: Partial<Record<ClientName, string>>;
}

/** A figure over several runs. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

export interface Verdict {
  target: Target;
  /** undefined: there is nothing to judge. */
  value?: number;
  met?: boolean;
}

/** A figure of the client relative to the truth's: 0.01 is 1 % too high. */
export function relativeError(measured: number, truth: number): number {
  return truth === 0 ? Number.NaN : measured / truth - 1;
}

/**
 * The share of the asked load that the server saw, in tokens/s: the tokens that it sent a second of its window, over
 * those of clients that send the next request the moment a response ended.
 */
export function deliveredShare(load: Load, truth: Truth): number {
  // Between turns users think, and arrivals wait for nobody.
  if (load.requestS === undefined || load.kind === "sessions" || load.kind === "rate") return Number.NaN;
  const askedPerS = (load.streams * load.tokens) / load.requestS;
  return truth.outputTokens / truth.windowS / askedPerS;
}

/**
 * The error of a percentile over what is allowed of it, 2 % of the truth and 0.1 ms: 1 is the most. It says something where the
 * truth is 0, too, as it is where most tokens come in bursts.
 */
export function allowanceOf(measuredMs: number, truthMs: number): number {
  return Math.abs(measuredMs - truthMs) / (0.02 * truthMs + 0.1);
}

/** How long behind the client's start its first request reached the server, s. */
export function firstRequestS({ startUnixNs }: Cost, { clock, firstBeginNs }: Truth): number {
  if (firstBeginNs === 0) return Number.NaN;
  return (Number(BigInt(clock.zeroUnixNs) - BigInt(startUnixNs)) + firstBeginNs) / 1e9;
}

/**
 * How memory went on after the first tenth of a run: what was resident then, the largest later, and the difference.
 * NaN where there were fewer than twenty samples: a tenth of them would be start-up.
 */
export function growthOf(residentMB: readonly number[]): { tenthMB: number; laterMB: number; growthMB: number } {
  if (residentMB.length < 20) return { tenthMB: Number.NaN, laterMB: Number.NaN, growthMB: Number.NaN };
  const tenth = Math.ceil(residentMB.length / 10);
  const tenthMB = residentMB[tenth] ?? Number.NaN;
  const laterMB = Math.max(...residentMB.slice(tenth));
  return { tenthMB, laterMB, growthMB: laterMB - tenthMB };
}

/** The figures of a run; what its load or client has none of is left out. */
export function figuresOf(
  load: Load,
  cost: Cost,
  measured: Measured,
  truth: Truth,
  more: Partial<Record<Figure, number>> = {},
): Run["figures"] {
  const cpuS = cost.userS + cost.systemS;
  const all: Partial<Record<Figure, number>> = {
    cpuS,
    cpuPerTokenUs: (cpuS / measured.tokens) * 1e6,
    peakMB: cost.peakMB,
    ...growthOf(cost.residentMB ?? []),
    recordsMB: measured.recordsMB ?? Number.NaN,
    tokensPerS: measured.tokens / measured.spanS,
    requestsPerS: measured.requests / measured.spanS,
    deliveredShare: deliveredShare(load, truth),
    completedShare: measured.requests / (load.streams * load.requests),
    mostInFlight: measured.mostInFlight ?? Number.NaN,
    ttftMeanErrorMs: measured.ttftMs.mean - truth.ttftMs.mean,
    ttftP50ErrorMs: measured.ttftMs.p50 - truth.ttftMs.p50,
    ttftP99ErrorMs: measured.ttftMs.p99 - truth.ttftMs.p99,
    itlP50Error: relativeError(measured.itlMs.p50, truth.itlMs.p50),
    itlP90Error: relativeError(measured.itlMs.p90, truth.itlMs.p90),
    itlP99Error: relativeError(measured.itlMs.p99, truth.itlMs.p99),
    itlP50Allowance: allowanceOf(measured.itlMs.p50, truth.itlMs.p50),
    itlP90Allowance: allowanceOf(measured.itlMs.p90, truth.itlMs.p90),
    itlP99Allowance: allowanceOf(measured.itlMs.p99, truth.itlMs.p99),
    firstRequestS: firstRequestS(cost, truth),
    valid: measured.validity === undefined ? Number.NaN : Number(/^VALID\b/.test(measured.validity)),
    sentShare: measured.sentShare ?? Number.NaN,
    ...more,
  };
  // Where nothing is paced a token's time is that of a full socket buffer, on either side.
  const latencies = load.requestS !== undefined;
  return Object.fromEntries(
    Object.entries(all).filter(
      ([name, value]) => Number.isFinite(value) && (latencies || !/Error|Allowance/.test(name)),
    ),
  );
}

/** Median and range of values in any order. */
export function spreadOf(values: readonly number[]): Spread {
  const ascending = [...values].sort((a, b) => a - b);
  return { median: percentile(ascending, 0.5), min: percentile(ascending, 0), max: percentile(ascending, 1) };
}

/** Each client's figures over its runs. */
export function mediansOf(runs: readonly Run[]): CaseResult["medians"] {
  const medians: CaseResult["medians"] = {};
  for (const client of new Set(runs.map((run) => run.client))) {
    const own = runs.filter((run) => run.client === client);
    const figures: Partial<Record<Figure, Spread>> = {};
    for (const name of Object.keys(own[0]?.figures ?? {}) as Figure[]) {
      const values = own.map((run) => run.figures[name]).filter((value) => value !== undefined);
      if (values.length > 0) figures[name] = spreadOf(values);
    }
    medians[client] = figures;
  }
  return medians;
}

/** Judges a target by the medians; an error counts in both directions. */
export function judge(target: Target, medians: CaseResult["medians"]): Verdict {
  let value = medians[target.of]?.[target.figure]?.median;
  if (value !== undefined && target.per) {
    const other = medians[target.per]?.[target.figure]?.median;
    value = other ? value / other : undefined;
  }
  if (value === undefined) return { target };
  const size = /Error/.test(target.figure) ? Math.abs(value) : value;
  const met = size <= (target.atMost ?? Infinity) && size >= (target.atLeast ?? -Infinity);
  return { target, value, met };
}

/** What a case's reader has to know: a machine that was not quiet, a client that does not trust itself. */
export function notes(result: CaseResult, crowded: boolean): string[] {
  const lines: string[] = [];
  const others = spreadOf(result.runs.map(({ othersShare }) => othersShare ?? 0));
  if (!crowded && others.max > quietShare) {
    lines.push(
      `note        others used ${share(others.min)} to ${share(others.max)} of the processors during the runs: errors and shares are theirs too`,
    );
  }
  const said = new Map<string, number>();
  for (const { client, measured, truth, cost } of result.runs) {
    const { sends, why = "", user, drops } = truth.source;
    if (sends !== "ring") add(said, `the truth's times are from source ${sends}: ${why}`);
    else if (user + drops > 0) add(said, `the truth of ${client} has ${user} events whose packet was not seen`);
    if (cost.stoppedS > 0) add(said, `${client} was stopped for ${cost.stoppedS.toFixed(1)} s`);
    if (measured.failed > 0) add(said, `${client}: ${measured.failed} requests failed`);
    if (measured.validity && measured.validity !== "VALID") add(said, `${client} of itself: ${measured.validity}`);
  }
  for (const [line, times] of said) lines.push(`note        ${line}${times > 1 ? ` (${times} runs)` : ""}`);
  return lines;
}

/** Use of the processors by others up to which a machine is called quiet. */
const quietShare = 0.05;

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

const share = (value: number) => `${(value * 100).toFixed(Math.abs(value) < 0.01 ? 2 : 1)} %`;
const milliseconds = (value: number) => {
  if (!Number.isFinite(value)) return "-";
  return Math.abs(value) < 100 ? value.toFixed(2) : value.toFixed(0);
};

/** Clients that the others are divided by. */
const references = ["vllm-rs", "floor"] as const satisfies readonly ClientName[];

/** A figure's column: a heading, how a value is written, and whether the same figure over each reference follows. */
interface FigureColumn {
  readonly figure: Figure;
  readonly heading: string;
  write(value: number): string;
  readonly ratios?: boolean;
  /** Only where nothing is paced: else it follows from others. */
  readonly unpaced?: boolean;
}

const whole = (value: number) => value.toFixed(0);

const figureColumns: readonly FigureColumn[] = [
  { figure: "cpuS", heading: "CPU s", write: shortNumber, ratios: true },
  { figure: "cpuPerTokenUs", heading: "us/token", write: shortNumber, unpaced: true },
  { figure: "peakMB", heading: "MB", write: whole, ratios: true },
  { figure: "tenthMB", heading: "at 1/10", write: whole },
  { figure: "laterMB", heading: "most later", write: whole },
  { figure: "recordsMB", heading: "records MB", write: whole },
  { figure: "tokensPerS", heading: "tokens/s", write: whole, unpaced: true, ratios: true },
  { figure: "requestsPerS", heading: "requests/s", write: whole, unpaced: true },
  { figure: "deliveredShare", heading: "load", write: share, ratios: true },
  { figure: "firstRequestS", heading: "first s", write: shortNumber },
  { figure: "validRate", heading: "valid/s", write: whole },
  { figure: "sentShare", heading: "sent", write: share },
  { figure: "mostSessions", heading: "sessions", write: whole },
  { figure: "vus", heading: "VUs", write: whole },
  { figure: "turnTtftErrorMs", heading: "turn TTFT +ms", write: milliseconds },
  { figure: "cachedWrong", heading: "cached wrong", write: whole },
  { figure: "thinkErrorMs", heading: "think +ms", write: milliseconds },
];

/** A time's column: what the client measured, with the truth of the same runs behind it. */
const timeColumns: readonly { heading: string; of(times: Measured | Truth): number }[] = [
  { heading: "TTFT mean (true)", of: ({ ttftMs }) => ttftMs.mean },
  { heading: "ITL p50 (true)", of: ({ itlMs }) => itlMs.p50 },
  { heading: "p90 (true)", of: ({ itlMs }) => itlMs.p90 },
  { heading: "p99 (true)", of: ({ itlMs }) => itlMs.p99 },
];

/** A row of a case's table: a client's medians, or the ranges over its runs. */
interface Row {
  readonly name: ClientName;
  readonly range: boolean;
}

/**
 * A case's table: a line a client with medians, and below it the ranges where there were several runs. Times are followed by the
 * truth in parentheses, both in ms; in the line of ranges stands the error, measured minus true.
 */
export function caseTable(result: CaseResult): string {
  const names = Object.keys(result.medians) as ClientName[];
  const runsOf = (name: ClientName) => result.runs.filter(({ client }) => client === name);
  const paced = result.runs.some(({ load }) => load.requestS !== undefined);
  const rows = names.flatMap((name): Row[] => [
    { name, range: false },
    ...(runsOf(name).length > 1 ? [{ name, range: true }] : []),
  ]);
  const columns: Column<Row>[] = [{ heading: "client", cell: ({ name, range }) => (range ? "" : name), left: true }];
  for (const { figure, heading, write, ratios, unpaced } of figureColumns) {
    if ((unpaced && paced) || !names.some((name) => result.medians[name]?.[figure])) continue;
    columns.push({
      heading,
      cell: ({ name, range }) => {
        const spread = result.medians[name]?.[figure];
        if (!spread) return "";
        return range ? `${write(spread.min)}..${write(spread.max)}` : write(spread.median);
      },
    });
    for (const reference of ratios ? references : []) {
      const base = result.medians[reference]?.[figure]?.median;
      if (!base) continue;
      columns.push({
        heading: `/${reference}`,
        cell: ({ name, range }) => {
          const value = result.medians[name]?.[figure]?.median;
          return range || value === undefined ? "" : (value / base).toFixed(2);
        },
      });
    }
  }
  for (const { heading, of } of paced ? timeColumns : []) {
    columns.push({
      heading,
      cell: ({ name, range }) => {
        const runs = runsOf(name);
        const measured = spreadOf(runs.map((run) => of(run.measured)));
        if (range) {
          const error = spreadOf(runs.map((run) => of(run.measured) - of(run.truth)));
          return `${milliseconds(error.min)}..${milliseconds(error.max)}`;
        }
        return `${milliseconds(measured.median)} (${milliseconds(spreadOf(runs.map((run) => of(run.truth))).median)})`;
      },
    });
  }
  return textTable(columns, rows);
}

/** A target in a line: what, value, limit, met or not. */
export function verdictLine({ target, value, met }: Verdict): string {
  const write = (n: number) =>
    target.unit === "" && target.figure !== "mostInFlight"
      ? share(n)
      : `${shortNumber(n)}${target.unit && ` ${target.unit}`}`;
  const limit =
    target.atMost !== undefined ? `at most ${write(target.atMost)}` : `at least ${write(target.atLeast ?? Number.NaN)}`;
  if (value === undefined) return `not judged  ${target.what} (${limit}): a client is missing`;
  return `${met ? "met   " : "MISSED"}      ${target.what}: ${write(value)} (${limit})`;
}
