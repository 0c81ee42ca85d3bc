/**
 * Is B worse than A? Each side is some runs of one workload; a figure of a level has one value a run.
 *
 * 1. Runs of one server differ from each other by more than their requests can tell (the machine, the weather of a data
 *    centre). So the runs are the samples: the logarithms of their values, with one variance for both sides, which is taken
 *    to be no less than the runs' own errors. Student's t test gives the bounds of the change and the chance p that a server
 *    that is no worse shows as much.
 * 2. Where each side has one run, nothing is known of how runs differ: a standard deviation of `assumedSd` is assumed.
 * 3. Many figures are judged at once. Holm's correction keeps the chance of any false REGRESSION below 1 - confidence
 *    (Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure).
 * 4. A REGRESSION is shown to be worse (3), and its change is above the floor. A figure is clear when its change is below
 *    the floor and its bound at the confidence excludes `limit`. All required figures have to be clear for a pass, which
 *    needs no correction (an intersection-union test). Everything between is unclear. With ever more runs a change below
 *    the floor becomes clear, and one above it a REGRESSION.
 * 5. Failed requests: Fisher's exact test over the requests of all runs and, of several runs, t over their shares; the less
 *    sure of the two counts.
 */

import { incompleteBeta, logGamma, studentQuantile } from "../../lib/figures/beta";
import { mean } from "../statistics";
import type { RunFailures, RunFigure } from "./run-figures";

export type ComparisonVerdict = "regression" | "improvement" | "no change" | "unclear" | "not judged";

export interface ComparedMetric {
  level: string;
  metric: string;
  unit: string;
  /** Means over the runs of a side: geometric, of failures that of all requests. */
  a: number;
  b: number;
  /** b / a - 1; undefined where a is 0. */
  change?: number;
  /** Bounds of the change, each right with the chance asked for. */
  low?: number;
  high?: number;
  /** The chance that a server that is no worse shows as much, times Holm's correction. */
  p?: number;
  verdict: ComparisonVerdict;
  /** Whether a pass takes this figure to be clear. */
  required: boolean;
  /** Samples of each run. */
  samples: [number[], number[]];
}

export interface CompareOptions {
  /** A change for the worse that a pass has to exclude, e.g. 0.05. */
  limit: number;
  /** A smaller change for the worse is no regression, however sure; below limit. */
  floor: number;
  /** The same in ms, for TPOT and ITL; for the other latencies ten times that. */
  floorMs: number;
  /** The chance that each bound holds, and that no metric at all is a false regression; 0..1. */
  confidence: number;
  /** What runs of one server are taken to differ by where it cannot be seen: one run a side. */
  assumedSd: number;
  /** Names of the figures that are judged, all required; undefined: those below are required, the others watched. */
  metrics?: readonly string[];
}

export const defaultOptions: CompareOptions = {
  limit: 0.05,
  floor: 0.025,
  floorMs: 0.1,
  confidence: 0.99,
  assumedSd: 0.03,
};

/** The figures that a pass rests on. The tails are watched: they show a regression, but few runs make them clear. */
const requiredByDefault = ["TTFT p50", "TPOT p50", "e2e latency p50", "output throughput", "request throughput"];

/** A rise of the share of failed requests below this is none that matters. */
const failureFloor = 0.001;

export const failedRequests = "failed requests";

/** Everything that a side measured: an array of figures a run. */
export interface Side {
  figures: RunFigure[][];
  failures: RunFailures[][];
}

/** Compares level by level and figure by figure. */
export function compareSides(a: Side, b: Side, options: CompareOptions): ComparedMetric[] {
  const rows: Judgement[] = [];
  const names = new Map<string, { level: string; metric: string }>();
  for (const figure of [...a.figures, ...b.figures].flat()) {
    const { level, metric } = figure;
    names.set(`${level} ${metric}`, { level, metric });
  }
  const levels = [...[...a.figures, ...b.figures].flat(), ...[...a.failures, ...b.failures].flat()].map(
    ({ level }) => level,
  );
  for (const level of new Set(levels)) {
    for (const { metric } of [...names.values()].filter((name) => name.level === level)) {
      const of = (side: Side) =>
        side.figures.flatMap((run) => run.filter((each) => each.level === level && each.metric === metric));
      rows.push(comparedFigure(of(a), of(b), [a.figures.length, b.figures.length], options));
    }
    const failures = (side: Side) => side.failures.flatMap((run) => run.filter((each) => each.level === level));
    if (failures(a).length + failures(b).length > 0)
      rows.push(comparedFailures(level, failures(a), failures(b), options));
  }
  return holm(rows, 1 - options.confidence);
}

/** A figure before Holm's correction. */
interface Judgement extends ComparedMetric {
  /** What it is where it is no regression. */
  verdict: Exclude<ComparisonVerdict, "regression">;
  /** Whether the change is large enough for a regression. */
  beyondFloor: boolean;
}

/** Holm's step-down: the smallest p counts m times, the next m - 1 times, and none less than the one before it. */
function holm(rows: readonly Judgement[], chance: number): ComparedMetric[] {
  const tested = rows.filter(({ p }) => p !== undefined).sort((x, y) => (x.p ?? 1) - (y.p ?? 1));
  const corrected = new Map<Judgement, number>();
  let before = 0;
  tested.forEach((row, i) => {
    before = Math.min(1, Math.max(before, (row.p ?? 1) * (tested.length - i)));
    corrected.set(row, before);
  });
  return rows.map(({ beyondFloor, ...row }, i) => {
    const p = corrected.get(rows[i] as Judgement);
    const worse = p !== undefined && p <= chance && beyondFloor;
    return { ...row, p, verdict: worse ? ("regression" as const) : row.verdict };
  });
}

function isJudged(metric: string, { metrics }: CompareOptions): { judged: boolean; required: boolean } {
  if (metrics) return { judged: metrics.includes(metric), required: metrics.includes(metric) };
  return { judged: true, required: metric === failedRequests || requiredByDefault.includes(metric) };
}

/** Degrees of freedom from which Student's t is normal to all digits that matter. */
const manyRuns = 10_000;

function comparedFigure(a: RunFigure[], b: RunFigure[], runs: [number, number], options: CompareOptions): Judgement {
  const { level, metric, unit, better } = (a[0] ?? b[0]) as RunFigure;
  const { judged, required } = isJudged(metric, options);
  const logs = (side: RunFigure[]) => side.map(({ value }) => Math.log(value));
  const [meanA, meanB] = [mean(logs(a)), mean(logs(b))];
  const row = {
    ...{ level, metric, unit, required, beyondFloor: false, a: Math.exp(meanA), b: Math.exp(meanB) },
    ...{ change: Math.exp(meanB - meanA) - 1, verdict: "not judged" as const },
    samples: [a.map(({ samples }) => samples), b.map(({ samples }) => samples)] as [number[], number[]],
  };
  const whole = a.length === runs[0] && b.length === runs[1] && [...a, ...b].every(({ enough }) => enough);
  const finite = Number.isFinite(meanA) && Number.isFinite(meanB);
  if (!judged || !whole || !finite) return finite ? row : { ...row, change: undefined };

  const { variance, df } = varianceOf(
    [logs(a), logs(b)],
    [...a, ...b].map(({ error }) => error),
    options.assumedSd,
  );
  const error = Math.sqrt(variance * (1 / a.length + 1 / b.length));
  const worse = better === "lower" ? meanB - meanA : meanA - meanB;
  const slack = studentQuantile(options.confidence, df) * error;
  const changeOf = (by: number) => Math.exp(better === "lower" ? by : -by) - 1;
  const [low, high] = [changeOf(worse - slack), changeOf(worse + slack)].sort((x, y) => x - y) as [number, number];
  const least = absoluteFloor(metric, unit, options) / row.a;
  const beyondFloor = worse > Math.log1p(Math.max(options.floor, least));
  const excluded = worse + slack <= Math.log1p(Math.max(options.limit, least));
  const verdict = worse + slack < 0 ? "improvement" : excluded && !beyondFloor ? "no change" : "unclear";
  return { ...row, low, high, p: upperTail(worse, error, df), beyondFloor, verdict };
}

function absoluteFloor(metric: string, unit: string, { floorMs }: CompareOptions): number {
  if (unit !== "ms") return 0;
  return /^(TPOT|ITL)/.test(metric) ? floorMs : 10 * floorMs;
}

/** One variance for both sides, of one run's logarithm, and the degrees of freedom that it is known with. */
function varianceOf(
  sides: readonly number[][],
  errors: readonly (number | undefined)[],
  assumedSd: number,
): { variance: number; df: number } {
  const known = errors.filter((error) => error !== undefined);
  const within = known.length === 0 ? 0 : mean(known.map((error) => error ** 2));
  const df = sides.reduce((sum, side) => sum + side.length - 1, 0);
  if (df === 0) return { variance: within + assumedSd ** 2, df: manyRuns };
  return { variance: Math.max(within, squaresOf(sides) / df), df };
}

const squaresOf = (sides: readonly number[][]): number =>
  sides.reduce((sum, side) => sum + side.reduce((own, x) => own + (x - mean(side)) ** 2, 0), 0);

/** The chance that Student's t is at least value / error; without an error it is certain which side of 0 the value is on. */
export function upperTail(value: number, error: number, df: number): number {
  if (error === 0) return value > 0 ? 0 : 1;
  const t = value / error;
  const tail = incompleteBeta(df / (df + t * t), df / 2, 0.5) / 2;
  return t >= 0 ? tail : 1 - tail;
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

function comparedFailures(level: string, a: RunFailures[], b: RunFailures[], options: CompareOptions): Judgement {
  const { judged, required } = isJudged(failedRequests, options);
  const total = (side: RunFailures[]): [number, number] => [
    side.reduce((sum, { failed }) => sum + failed, 0),
    side.reduce((sum, { requests }) => sum + requests, 0),
  ];
  const [sideA, sideB] = [total(a), total(b)];
  const share = ([failed, requests]: [number, number]) => (requests > 0 ? failed / requests : 0);
  const rise = share(sideB) - share(sideA);
  const row = {
    ...{ level, metric: failedRequests, unit: "%", required, beyondFloor: false, verdict: "not judged" as const },
    ...{ a: 100 * share(sideA), b: 100 * share(sideB) },
    ...(sideA[0] > 0 ? { change: share(sideB) / share(sideA) - 1 } : {}),
    samples: [a.map(({ requests }) => requests), b.map(({ requests }) => requests)] as [number[], number[]],
  };
  if (!judged || sideA[1] === 0 || sideB[1] === 0) return row;
  const shares = [a, b].map((side) => side.map(({ failed, requests }) => (requests > 0 ? failed / requests : 0)));
  const df = a.length + b.length - 2;
  const error = df > 0 ? Math.sqrt((squaresOf(shares) / df) * (1 / a.length + 1 / b.length)) : 0;
  const p = Math.max(chanceOfFailures(sideA, sideB), df > 0 ? upperTail(rise, error, df) : 0);
  const fewer = Math.max(chanceOfFailures(sideB, sideA), df > 0 ? upperTail(-rise, error, df) : 0);
  const beyondFloor = rise > failureFloor;
  const verdict = fewer < 1 - options.confidence ? "improvement" : beyondFloor ? "unclear" : "no change";
  return { ...row, p, beyondFloor, verdict };
}

/**
 * About how many runs a side make a figure clear that has not changed, 95 times in 100; undefined where its bounds are not
 * known. With one run a side it rests on the assumed differences between runs.
 */
export function runsNeeded(
  { change, low, high, samples }: ComparedMetric,
  options: CompareOptions,
): number | undefined {
  if (change === undefined || low === undefined || high === undefined) return undefined;
  const [runsA, runsB] = samples.map(({ length }) => length) as [number, number];
  const df = runsA + runsB > 2 ? runsA + runsB - 2 : manyRuns;
  const slack = Math.log((1 + high) / (1 + low)) / 2;
  const sd = slack / studentQuantile(options.confidence, df) / Math.sqrt(1 / runsA + 1 / runsB);
  for (let runs = 2; runs <= 1000; runs++) {
    const reach = studentQuantile(options.confidence, 2 * runs - 2) + studentQuantile(0.95, 2 * runs - 2);
    if (reach * sd * Math.sqrt(2 / runs) <= Math.log1p(options.limit)) return runs;
  }
  return undefined;
}
