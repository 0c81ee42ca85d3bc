import { percentile } from "../../lib/percentile";
import { type Column, shortNumber, textTable } from "../../lib/table";
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
}

/** What a process cost. */
export interface Cost {
  code: number;
  userS: number;
  systemS: number;
  wallS: number;
  peakMB: number;
  /** The process's resident set, at even distances from start to end; only where the system says it. */
  residentMB?: number[];
}

/** What GET /truth of the simulated server says of one run. */
export interface Truth {
  outputTokens: number;
  requestCount: number;
  windowS: number;
  ttftMs: Latency;
  itlMs: Latency;
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
  if (load.requestS === undefined) return Number.NaN;
  const askedPerS = (load.streams * load.tokens) / load.requestS;
  return truth.outputTokens / truth.windowS / askedPerS;
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
export function figuresOf(load: Load, cost: Cost, measured: Measured, truth: Truth): Run["figures"] {
  const cpuS = cost.userS + cost.systemS;
  const all: Record<Figure, number> = {
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
  };
  // Where nothing is paced a token's time is that of a full socket buffer, on either side.
  const latencies = load.requestS !== undefined;
  return Object.fromEntries(
    Object.entries(all).filter(([name, value]) => Number.isFinite(value) && (latencies || !/Error/.test(name))),
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
  for (const { client, measured } of result.runs) {
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
const milliseconds = (value: number) => (Math.abs(value) < 100 ? value.toFixed(2) : value.toFixed(0));

/** The columns of a case's table: a heading and how a value of the figure is written. */
const columns: readonly [Figure, string, (value: number) => string][] = [
  ["cpuS", "CPU s", shortNumber],
  ["cpuPerTokenUs", "us/token", shortNumber],
  ["peakMB", "MB", (value) => value.toFixed(0)],
  ["tenthMB", "at 1/10", (value) => value.toFixed(0)],
  ["laterMB", "most later", (value) => value.toFixed(0)],
  ["recordsMB", "records MB", (value) => value.toFixed(0)],
  ["tokensPerS", "tokens/s", (value) => value.toFixed(0)],
  ["requestsPerS", "requests/s", (value) => value.toFixed(0)],
  ["deliveredShare", "load", share],
  ["ttftMeanErrorMs", "TTFT mean +ms", milliseconds],
  ["ttftP50ErrorMs", "p50 +ms", milliseconds],
  ["ttftP99ErrorMs", "p99 +ms", milliseconds],
  ["itlP50Error", "ITL p50 +", share],
  ["itlP90Error", "p90 +", share],
  ["itlP99Error", "p99 +", share],
];

/** A case's table: a line a client, medians, and below each the range where there were several runs. */
export function caseTable(result: CaseResult): string {
  const names = Object.keys(result.medians) as ClientName[];
  const several = (name: ClientName) => result.runs.filter((run) => run.client === name).length > 1;
  const shown = columns.filter(([figure]) => names.some((name) => result.medians[name]?.[figure]));
  const rows = names.flatMap((name) =>
    several(name)
      ? [
          { name, range: false },
          { name, range: true },
        ]
      : [{ name, range: false }],
  );
  type Row = (typeof rows)[number];
  return textTable<Row>(
    [
      { heading: "client", cell: ({ name, range }) => (range ? "" : name), left: true },
      ...shown.map(
        ([figure, heading, write]): Column<Row> => ({
          heading,
          cell: ({ name, range }) => {
            const spread = result.medians[name]?.[figure];
            if (!spread) return "";
            return range ? `${write(spread.min)}..${write(spread.max)}` : write(spread.median);
          },
        }),
      ),
    ],
    rows,
  );
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
