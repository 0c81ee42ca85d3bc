/**
 * `npm run compare -- A B`: is B worse than A? Per level and metric the change with an interval: by a bootstrap over
 * requests, and of inter-token latencies from the bounds of their percentiles (report/itl.ts).
 * Exit 0: no regression shown; 99: at least one; 98: a run is not valid or failed by its own thresholds; 96: too few
 * requests to judge anything by; 104: the runs are not of one workload.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { logGamma } from "./beta";
import { formatChange, formatNumber, formatShare, plural } from "./format";
import type { PooledItl } from "./itl";
import { type LevelSummary, type RequestRow, type Results, readResults } from "./read";
import { defined, e2eMs, pooledItl, steadyRows, tpotMs, ttftMs } from "./request";
import { ascending, quantile, seededRandom } from "./statistics";

/**
 * Settings that may differ between two runs of one workload: where the server is and what it is called, how results are
 * written and judged. Everything else makes another workload.
 */
const mayDiffer = new Set([
  "BASE_URL",
  "MODEL",
  "API_KEY",
  "HEADERS",
  "RESULTS",
  "DESCRIPTION",
  "SALT",
  "THRESHOLDS",
  "METRICS_URL",
  "METRICS_INTERVAL",
  "SLO_TTFT",
  "SLO_TPOT",
  "SLO_E2E",
  "SLO_PERCENTILE",
  "TIMEOUT",
  "MAX_DURATION",
  "BETWEEN_TIMEOUT",
]);

export interface Difference {
  setting: string;
  a: unknown;
  b: unknown;
}

/** Settings of the workload in which two runs differ. */
export function workloadDifferences(a: Results, b: Results): Difference[] {
  const names = [...new Set([...Object.keys(a.config), ...Object.keys(b.config)])].sort();
  const differences = names
    .filter((name) => !mayDiffer.has(name) && JSON.stringify(a.config[name]) !== JSON.stringify(b.config[name]))
    .map((name) => ({ setting: name, a: a.config[name], b: b.config[name] }));
  return a.scenario === b.scenario
    ? differences
    : [{ setting: "scenario", a: a.scenario, b: b.scenario }, ...differences];
}

/** Standard normal variable by Box and Muller. */
const normal = (random: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

/** Gamma variable with shape >= 1 and scale 1 (Marsaglia and Tsang 2000). */
function gammaVariable(shape: number, random: () => number): number {
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

/**
 * A quantile of a bootstrap resample of ascending values, without drawing the resample: its j-th smallest uniform is
 * Beta(j, n + 1 - j) distributed, and falls on the value that this share of the sample lies below.
 */
function resampledQuantile(sorted: readonly number[], q: number, random: () => number): number {
  const n = sorted.length;
  const j = Math.min(n, Math.max(1, Math.round(q * (n - 1)) + 1));
  const x = gammaVariable(j, random);
  const share = x / (x + gammaVariable(n + 1 - j, random));
  return sorted[Math.min(n - 1, Math.floor(share * n))] as number;
}

export interface Change {
  a: number;
  b: number;
  /** b / a - 1. */
  change: number;
  /** Bounds of the change at the asked confidence. */
  low: number;
  high: number;
}

/** Change of a quantile from sample a to sample b with a percentile bootstrap interval; requests count as independent. */
export function changeOfQuantile(
  a: readonly number[],
  b: readonly number[],
  q: number,
  confidence: number,
  seed: number,
  resamples = 4000,
): Change {
  const random = seededRandom(seed);
  const sortedA = ascending(a);
  const sortedB = ascending(b);
  const changes: number[] = [];
  for (let i = 0; i < resamples; i++)
    changes.push(resampledQuantile(sortedB, q, random) / resampledQuantile(sortedA, q, random) - 1);
  const sorted = ascending(changes);
  const valueA = quantile(sortedA, q);
  const valueB = quantile(sortedB, q);
  const change = valueB / valueA - 1;
  // The resampled order statistic is not interpolated; the interval shall not exclude what it is an interval of.
  const low = Math.min(change, quantile(sorted, (1 - confidence) / 2));
  const high = Math.max(change, quantile(sorted, (1 + confidence) / 2));
  return { a: valueA, b: valueB, change, low, high };
}

/**
 * Change of the q-quantile of pooled inter-token latencies; undefined where a sample has no bounds. The interval of the
 * logarithms' difference follows from the bounds of each: the square root of the sum of the squared distances to them
 * (MOVER: Zou and Donner 2008, Construction of confidence limits about effect measures: a general approach).
 */
export function changeOfItl(a: PooledItl, b: PooledItl, q: number, confidence: number): Change | undefined {
  const [valueA, valueB] = [a.quantile(q), b.quantile(q)];
  // Each bound leaves out half of what the interval may.
  const by = { confidence: (1 + confidence) / 2, tolerance: 0 };
  const [boundsA, boundsB] = [a.bounds(q, by), b.bounds(q, by)];
  if (!boundsA.low || !boundsA.high || !boundsB.low || !boundsB.high) return undefined;
  const change = valueB / valueA;
  const low = Math.hypot(Math.log(valueB / boundsB.low), Math.log(boundsA.high / valueA));
  const high = Math.hypot(Math.log(boundsB.high / valueB), Math.log(valueA / boundsA.low));
  return {
    ...{ a: valueA, b: valueB, change: change - 1 },
    low: change * Math.exp(-low) - 1,
    high: change * Math.exp(high) - 1,
  };
}

export type ComparisonVerdict = "regression" | "improvement" | "no change" | "unclear" | "not judged";

export interface ComparedMetric extends Partial<Change> {
  level: string;
  metric: string;
  unit: string;
  verdict: ComparisonVerdict;
  samples: [number, number];
}

/** Quantities with one value a request; all ms, lower is better. */
const compared: [string, (rows: RequestRow[]) => number[]][] = [
  ["TTFT", (rows) => defined(rows.map(ttftMs))],
  ["TPOT", (rows) => defined(rows.map(tpotMs))],
  ["max stall", (rows) => rows.filter((row) => row.maxStallNs > 0).map((row) => row.maxStallNs / 1e6)],
  ["e2e latency", (rows) => rows.map(e2eMs)],
];

/** Fewest samples a side for a quantile: below, the sample's own extremes decide. */
const fewest = (q: number): number => Math.ceil(5 / Math.min(q, 1 - q));

export interface CompareOptions {
  /** Largest change for the worse that is no regression, e.g. 0.05. */
  limit: number;
  confidence: number;
  seed: number;
}

/**
 * Compares level by level. A regression is shown when even the favourable end of the interval is worse than the limit, an
 * improvement when the whole interval is better than none; "no change" when the interval stays within the limit.
 */
export function compareRuns(a: Results, b: Results, options: CompareOptions): ComparedMetric[] {
  const rows: ComparedMetric[] = [];
  let seed = options.seed;
  for (const levelA of a.levelSummaries) {
    const levelB = b.levelSummaries.find(({ name }) => name === levelA.name);
    if (!levelB) continue;
    const [requestsA, requestsB] = [a, b].map((run) => steadyRows(run, levelA.name).filter((row) => row.completed)) as [
      RequestRow[],
      RequestRow[],
    ];
    const itl = [a, b].map((run) => pooledItl(run, levelA.name)) as [PooledItl, PooledItl];
    for (const [metric, of] of compared) {
      const values = [of(requestsA), of(requestsB)] as const;
      for (const q of quantiles) {
        seed++;
        rows.push(...comparedQuantile(levelA.name, metric, values, q, { ...options, seed }));
      }
      if (metric === "TPOT") rows.push(...quantiles.flatMap((q) => comparedItl(levelA.name, itl, q, options)));
    }
    rows.push(comparedFailures(levelA, levelB, options.confidence), ...pointMetrics(levelA, levelB));
  }
  return rows;
}

const quantiles = [0.5, 0.9, 0.99];

/** A quantile of what requests have one value of; nothing where a side has none. */
function comparedQuantile(
  level: string,
  metric: string,
  [a, b]: readonly [number[], number[]],
  q: number,
  { confidence, limit, seed }: CompareOptions,
): ComparedMetric[] {
  if (a.length === 0 || b.length === 0) return [];
  const row = { level, metric: `${metric} p${100 * q}`, unit: "ms", samples: [a.length, b.length] as [number, number] };
  if (Math.min(a.length, b.length) < fewest(q))
    return [{ ...row, ...notJudged(quantile(ascending(a), q), quantile(ascending(b), q)) }];
  const change = changeOfQuantile(a, b, q, confidence, seed);
  return [{ ...row, ...change, verdict: judgeChange(change, limit) }];
}

/** A percentile of the pooled inter-token latencies; nothing where a side has none. */
function comparedItl(
  level: string,
  [a, b]: readonly [PooledItl, PooledItl],
  q: number,
  { confidence, limit }: CompareOptions,
): ComparedMetric[] {
  if (a.tokens === 0 || b.tokens === 0) return [];
  const row = { level, metric: `ITL p${100 * q}`, unit: "ms", samples: [a.tokens, b.tokens] as [number, number] };
  const change = changeOfItl(a, b, q, confidence);
  if (!change) return [{ ...row, ...notJudged(a.quantile(q), b.quantile(q)) }];
  return [{ ...row, ...change, verdict: judgeChange(change, limit) }];
}

const logChoose = (n: number, k: number): number => logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1);

/**
 * How likely b or more of the failures fall on side B when both sides fail equally often: Fisher's exact test, one-sided.
 * Requests count as independent.
 */
export function chanceOfFailures([failedA, ofA]: [number, number], [failedB, ofB]: [number, number]): number {
  const failed = failedA + failedB;
  const all = logChoose(ofA + ofB, failed);
  let chance = 0;
  for (let b = failedB; b <= Math.min(ofB, failed); b++)
    if (failed - b <= ofA) chance += Math.exp(logChoose(ofB, b) + logChoose(ofA, failed - b) - all);
  return Math.min(1, chance);
}

/** The share of failed requests: a rise that is no chance is a regression, however small, for a failure is no latency. */
function comparedFailures(a: LevelSummary, b: LevelSummary, confidence: number): ComparedMetric {
  const share = ({ failed, requests }: LevelSummary) => (requests > 0 ? (100 * failed) / requests : 0);
  const sideA: [number, number] = [a.failed, a.requests];
  const sideB: [number, number] = [b.failed, b.requests];
  const row = { level: a.name, metric: failedRequests, unit: "%", a: share(a), b: share(b) };
  const verdict = (): ComparisonVerdict => {
    if (a.requests === 0 || b.requests === 0) return "not judged";
    if (chanceOfFailures(sideA, sideB) < 1 - confidence) return "regression";
    if (chanceOfFailures(sideB, sideA) < 1 - confidence) return "improvement";
    return row.b > row.a ? "unclear" : "no change";
  };
  return { ...row, verdict: verdict(), samples: [a.requests, b.requests] };
}

const failedRequests = "failed requests";

/** Two values without an interval. */
const notJudged = (a: number, b: number) => ({ a, b, change: b / a - 1, verdict: "not judged" as const });

function judgeChange({ low, high }: Change, limit: number): ComparisonVerdict {
  if (low > limit) return "regression";
  if (high < 0) return "improvement";
  return high <= limit ? "no change" : "unclear";
}

/** Figures with one value a run: shown, not judged, for there is nothing to estimate their noise from. */
function pointMetrics(a: LevelSummary, b: LevelSummary): ComparedMetric[] {
  const point = (metric: string, unit: string, of: (level: LevelSummary) => number): ComparedMetric => ({
    level: a.name,
    metric,
    unit,
    a: of(a),
    b: of(b),
    ...(of(a) > 0 ? { change: of(b) / of(a) - 1 } : {}),
    verdict: "not judged",
    samples: [a.requests, b.requests],
  });
  return [
    ...(a.outputThroughput > 0 ? [point("output throughput", "tokens/s", (level) => level.outputThroughput)] : []),
    point("request throughput", "requests/s", (level) => level.requestThroughput),
  ];
}

/** Why a run cannot be compared: its client is not known to have kept up, it failed by itself, or part of it is missing. */
export function doubts(run: Results): string[] {
  const state = run.summary?.validity.state;
  const reasons = state === undefined || state === "VALID" ? [] : [`${state}, a difference may be the client's`];
  const verdict = run.summary?.verdict;
  // One that is not valid has not passed either, for that reason.
  if (reasons.length === 0 && verdict?.pass === false)
    reasons.push(
      `the run failed by its own thresholds${verdict.reasons.length > 0 ? ` (${verdict.reasons.join(", ")})` : ""}`,
    );
  return [...reasons, ...run.damage].map((reason) => `${run.name}: ${reason}`);
}

/** The comparison as lines of text. */
export function compareLines(rows: readonly ComparedMetric[], options: CompareOptions): string[] {
  const header = ["level", "metric", "A", "B", "change", `${formatShare(options.confidence)} interval`, "verdict"];
  const body = rows.map(({ level, metric, unit, a, b, change, low, high, verdict }) => [
    level,
    metric,
    `${formatNumber(a)} ${unit}`,
    `${formatNumber(b)} ${unit}`,
    formatChange(change),
    low === undefined ? "" : `${formatChange(low)} to ${formatChange(high)}`,
    verdict === "regression" ? "REGRESSION" : verdict,
  ]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...body.map((cells) => (cells[column] as string).length)),
  );
  return [header, ...body].map((cells) =>
    cells
      .map((cell, column) =>
        column < 2 || column === 6 ? cell.padEnd(widths[column] as number) : cell.padStart(widths[column] as number),
      )
      .join("  ")
      .trimEnd(),
  );
}

function regressionWords(regressions: readonly ComparedMetric[], limit: number): string {
  const failures = regressions.filter(({ metric }) => metric === failedRequests).length;
  const latencies = regressions.length - failures;
  return [
    latencies > 0 ? `${latencies} figures are worse by more than ${formatShare(limit)}` : "",
    failures > 0 ? `more requests fail in ${plural(failures, "level")}` : "",
  ]
    .filter((words) => words !== "")
    .join(" and ");
}

function percentage(text: string): number {
  const value = Number(text.replace(/\s*%$/, ""));
  if (!(value >= 0) || text.trim() === "") throw new InvalidArgumentError("a percentage such as 5 or 5% is needed");
  return value / 100;
}

function confidence(text: string): number {
  const share = percentage(text);
  if (!(share > 0 && share < 1)) throw new InvalidArgumentError("a percentage between 0 and 100 is needed");
  return share;
}

function seed(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError("a whole number from 0 is needed");
  return value;
}

async function main(): Promise<void> {
  const program = new Command("compare")
    .description("Compares results folder B with A, level by level, with an interval for each change")
    .argument("<a>", "results folder of the old version")
    .argument("<b>", "results folder of the new version")
    .addOption(
      new Option("--limit <percent>", "largest change for the worse that is no regression")
        .argParser(percentage)
        .default(0.05, "5"),
    )
    .addOption(
      new Option("--confidence <percent>", "of each interval; high, because many are judged")
        .argParser(confidence)
        .default(0.99, "99"),
    )
    .option("--seed <n>", "of the bootstrap", seed, 1)
    .option("--anyway", "compare although the workloads differ")
    .option("--json", "print the comparison as JSON");
  program.parse();
  const options = program.opts<CompareOptions & { anyway?: boolean; json?: boolean }>();
  const runs: Results[] = [];
  for (const folder of program.args) {
    const run = await readResults(folder, true).catch((error: Error) => error);
    if (run instanceof Error) {
      console.log(`NOT VALID: ${run.message}`);
      process.exitCode = 98;
      return;
    }
    runs.push(run);
  }
  const [a, b] = runs as [Results, Results];

  const differences = workloadDifferences(a, b);
  if (differences.length > 0) {
    const say = options.json ? console.error : console.log;
    say("The runs are not of one workload:");
    for (const { setting, a: valueA, b: valueB } of differences)
      say(`  ${setting}: ${JSON.stringify(valueA)} and ${JSON.stringify(valueB)}`);
    if (!options.anyway) {
      say("Not compared; --anyway compares them all the same.");
      process.exitCode = 104;
      return;
    }
  }
  const invalid = [a, b].flatMap(doubts);
  const rows = compareRuns(a, b, options);
  const judged = rows.filter(({ metric, verdict }) => metric !== failedRequests && verdict !== "not judged");
  const regressions = rows.filter(({ verdict }) => verdict === "regression");
  if (options.json) console.log(JSON.stringify({ differences, options, rows }, null, 2));
  else console.log(compareLines(rows, options).join("\n"));
  const say = options.json ? console.error : console.log;
  if (rows.length === 0) {
    say("The runs have no level in common.");
    process.exitCode = 104;
  } else if (invalid.length > 0) {
    say(`NOT VALID: ${invalid.join("; ")}`);
    process.exitCode = 98;
  } else if (judged.length === 0 && regressions.length === 0) {
    say("NOTHING JUDGED: too few requests for a percentile of any latency.");
    process.exitCode = 96;
  } else {
    const unclear = rows.filter(({ verdict }) => verdict === "unclear").length;
    say(
      regressions.length > 0
        ? `REGRESSION: ${regressionWords(regressions, options.limit)}, with ${formatShare(options.confidence)} confidence each.`
        : `No regression beyond ${formatShare(options.limit)} is shown${unclear > 0 ? `; of ${unclear} figures it cannot be ruled out (more requests would tell)` : ""}.`,
    );
    process.exitCode = regressions.length > 0 ? 99 : 0;
  }
}

if (process.argv[1] === __filename) {
  main().catch((error: Error) => {
    console.error(`compare: ${error.message}`);
    process.exitCode = 104;
  });
}
