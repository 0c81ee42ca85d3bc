/**
 * The shape of MLPerf Endpoints' result, by the draft of its rules v1.0 (mlcommons/endpoints-submission-docs): regions of concurrency,
 * points, and the step curve of system tokens/s by tokens/s per user. Pure.
 */
import type { LevelSummary } from "./level-summary";
import { steadyWord } from "./steady";
import { type Column, shortNumber, textTable } from "./table";

export type Region = "Ultra Low" | "Low" | "Medium" | "High";

/** The highest concurrency of each region; the lowest point alone is Ultra Low (section 5.5). */
export interface Regions {
  readonly min: number;
  readonly lowEnd: number;
  readonly mediumEnd: number;
  readonly max: number;
}

/** Where Ultra Low may lie, and how many points a curve has: 8 with Offline, of which the highest may be elected to be one. */
const ultraLowMost = 32;
const fewestPoints = 7;
const mostPoints = 32;

/**
 * The regions between the lowest and the highest concurrency; undefined where the rules have none. The rules round halves to even
 * numbers, but no root of a whole number is a half.
 */
export function regionsOf(min: number, max: number): Regions | undefined {
  if (!(min >= 1 && min <= ultraLowMost && max > ultraLowMost && max > min)) return undefined;
  const third = Math.log2(max - min) / 3;
  return { min, lowEnd: Math.round(min + 2 ** third), mediumEnd: Math.round(min + 2 ** (2 * third)), max };
}

/** Undefined outside of all regions. */
export function regionOf(concurrency: number, { min, lowEnd, mediumEnd, max }: Regions): Region | undefined {
  if (concurrency < min || concurrency > max) return undefined;
  if (concurrency === min) return "Ultra Low";
  if (concurrency <= lowEnd) return "Low";
  return concurrency <= mediumEnd ? "Medium" : "High";
}

/**
 * Seven points: the lowest, and the middle (by ratio) and the end of Low, Medium and High. Fewer where the range is too narrow to
 * hold seven, which `brokenRules` says.
 */
export function defaultConcurrencies(min: number, max: number): number[] {
  const sixth = Math.log2(max - min) / 6;
  const others = [1, 2, 3, 4, 5, 6].map((k) => Math.round(min + 2 ** (k * sixth)));
  return [...new Set([min, ...others])];
}

/** What of the rules these points break, a sentence each. */
export function brokenRules(concurrencies: readonly number[]): string[] {
  const points = [...new Set(concurrencies)];
  const min = Math.min(...points);
  const max = Math.max(...points);
  const broken: string[] = [];
  if (points.length < concurrencies.length) broken.push("a concurrency is listed twice");
  if (points.length < fewestPoints)
    broken.push(`${points.length} points; the rules ask for ${fewestPoints}, the highest of them elected as Offline`);
  if (points.length > mostPoints) broken.push(`${points.length} points; the rules allow ${mostPoints}`);
  if (min > ultraLowMost) broken.push(`the lowest concurrency is ${min}; Ultra Low is from 1 to ${ultraLowMost}`);
  if (max <= ultraLowMost)
    broken.push(`the highest concurrency is ${max}; the rules ask for more than ${ultraLowMost}`);
  const regions = regionsOf(min, max);
  if (regions) {
    const held = points.map((point) => regionOf(point, regions));
    const empty = (["Low", "Medium", "High"] as const).filter((region) => !held.includes(region));
    if (empty.length > 0) broken.push(`no point in ${empty.join(" and in ")} (${rangesText(regions)})`);
  }
  return broken;
}

/** The regions in words: Ultra Low 1, Low 2-7, Medium 8-41, High 42-256. */
export function rangesText({ min, lowEnd, mediumEnd, max }: Regions): string {
  const range = (from: number, to: number) =>
    from > to ? "of no concurrency" : from === to ? `${to}` : `${from}-${to}`;
  const ranges = `Low ${range(min + 1, lowEnd)}, Medium ${range(lowEnd + 1, mediumEnd)}, High ${range(mediumEnd + 1, max)}`;
  return `Ultra Low ${min}, ${ranges}`;
}

/** How long a point's steady part lasts, ms: by the rules (section 6.2), and for daily use. */
export function pointDurationMs(concurrency: number, min: number, profile: "short" | "full"): number {
  const ultraLow = concurrency === min;
  if (profile === "full") return ultraLow ? 600_000 : 1_200_000;
  return ultraLow ? 10_000 : 20_000;
}

/** A level as a point of the curve. What was not measured is absent. */
export interface CurvePoint {
  readonly name: string;
  readonly concurrency: number;
  readonly region?: Region;
  readonly durationS: number;
  readonly requests: number;
  readonly failed: number;
  readonly ttftP90Ms?: number;
  /** 1000 / TPOT p90. */
  readonly tpsPerUser?: number;
  /** Output tokens a second of all clients. */
  readonly systemTps?: number;
  /** No other point gives more by one measure and as much by the other. A point with a failed request is never on it. */
  readonly onStep: boolean;
  /** As in the table of levels: yes, "after 3 s", never, or unknown. */
  readonly steady: string;
}

/** The levels as points, by concurrency. */
export function curvePoints(levels: readonly LevelSummary[]): CurvePoint[] {
  const known = levels.flatMap((level) => (level.concurrency === undefined ? [] : [{ level, at: level.concurrency }]));
  const counts = known.map(({ at }) => at);
  const regions = regionsOf(Math.min(...counts), Math.max(...counts));
  const points = known
    .sort((a, b) => a.at - b.at)
    .map(({ level, at }): CurvePoint => {
      const { name, durationS, requests, failed, ttftMs, tpotMs, outputThroughput } = level;
      const region = regions && regionOf(at, regions);
      return {
        ...{
          name,
          concurrency: at,
          durationS,
          requests,
          failed,
          onStep: false,
          steady: steadyWord(level) || "unknown",
        },
        ...(region && { region }),
        ...(ttftMs.count > 0 && { ttftP90Ms: ttftMs.p90 }),
        ...(tpotMs.count > 0 && tpotMs.p90 > 0 && { tpsPerUser: 1000 / tpotMs.p90 }),
        ...(outputThroughput > 0 && { systemTps: outputThroughput }),
      };
    });
  const step = new Set(stepOf(points).map(({ name }) => name));
  return points.map((point) => ({ ...point, onStep: step.has(point.name) }));
}

/** A point with both measures. */
export type MeasuredPoint = CurvePoint & { readonly tpsPerUser: number; readonly systemTps: number };

export function isMeasured(point: CurvePoint): point is MeasuredPoint {
  return point.tpsPerUser !== undefined && point.systemTps !== undefined;
}

/** The points that no other one dominates, from the fewest tokens/s per user to the most. */
export function stepOf(points: readonly CurvePoint[]): MeasuredPoint[] {
  const valid = points.filter(isMeasured).filter(({ failed }) => failed === 0);
  return valid
    .filter((point) => !valid.some((other) => dominates(other, point)))
    .sort((a, b) => a.tpsPerUser - b.tpsPerUser);
}

function dominates(a: MeasuredPoint, b: MeasuredPoint): boolean {
  const asGood = a.tpsPerUser >= b.tpsPerUser && a.systemTps >= b.systemTps;
  return asGood && (a.tpsPerUser > b.tpsPerUser || a.systemTps > b.systemTps);
}

/**
 * The corners of the step curve: what the system gives where each user must get at least so many tokens/s. Between two points it
 * is what the faster one gives; nothing is interpolated. With rising concurrency that is the last measured value, which the rules hold
 * until the next point (section 5.2).
 */
export function stepCorners(step: readonly MeasuredPoint[]): [tpsPerUser: number, systemTps: number][] {
  return step.flatMap(({ tpsPerUser, systemTps }, i) => [
    [step[i - 1]?.tpsPerUser ?? 0, systemTps],
    [tpsPerUser, systemTps],
  ]);
}

/**
 * The point that stands for MLPerf's Offline: the highest concurrency, which the rules let a curve of seven points elect. Undefined
 * where it was not measured, had a failed request, or the points have no regions.
 */
export function offlineOf(points: readonly CurvePoint[]): MeasuredPoint | undefined {
  const highest = points.at(-1);
  return highest?.region !== undefined && isMeasured(highest) && highest.failed === 0 ? highest : undefined;
}

/** In what the measured points are not what the rules ask for, a sentence each. */
export function curveDeviations(points: readonly CurvePoint[]): string[] {
  const counts = points.map(({ concurrency }) => concurrency);
  const min = Math.min(...counts);
  // A window may end a few ms early: when its last request ended.
  const short = points.filter(
    ({ concurrency, durationS }) => durationS < 0.999 * (pointDurationMs(concurrency, min, "full") / 1000),
  );
  const unsteady = points.filter(({ steady }) => steady === "never").map(({ name }) => name);
  const failing = points.filter(({ failed }) => failed > 0).map(({ name }) => name);
  const unmeasured = points.filter((point) => !isMeasured(point)).map(({ name }) => name);
  return [
    ...brokenRules(counts),
    ...(short.length > 0
      ? [
          `${short.map(({ name }) => name).join(", ")}: shorter than the 600 s (Ultra Low) and 1200 s that the rules ask for`,
        ]
      : []),
    ...(unsteady.length > 0 ? [`${unsteady.join(", ")}: never steady`] : []),
    ...(failing.length > 0 ? [`${failing.join(", ")}: requests failed, so it is not on the step curve`] : []),
    ...(unmeasured.length > 0
      ? [`${unmeasured.join(", ")}: without TPOT or throughput, so it is not on the step curve`]
      : []),
  ];
}

const number = (value: number | undefined): string => (value === undefined ? "-" : shortNumber(value));

/** The table of points, and in what it is no result by the rules. */
export function curveText(levels: readonly LevelSummary[]): string {
  const points = curvePoints(levels);
  const columns: Column<CurvePoint>[] = [
    { heading: "region", left: true, cell: ({ region }) => region ?? "-" },
    { heading: "clients", cell: ({ concurrency }) => String(concurrency) },
    { heading: "TTFT p90", cell: ({ ttftP90Ms }) => number(ttftP90Ms) },
    { heading: "system tok/s", cell: ({ systemTps }) => number(systemTps) },
    { heading: "tok/s per user", cell: ({ tpsPerUser }) => number(tpsPerUser) },
    { heading: "step", cell: ({ onStep }) => (onStep ? "yes" : "no") },
    { heading: "steady", cell: ({ steady }) => (steady === "unknown" ? "-" : steady) },
  ];
  const deviations = curveDeviations(points);
  const lines =
    deviations.length > 0
      ? deviations.map((line) => `not by the rules: ${line}`)
      : ["points and durations are by the rules"];
  const offline = offlineOf(points);
  if (offline)
    lines.unshift(
      `Offline (the highest point): ${number(offline.systemTps)} tok/s with ${offline.concurrency} clients`,
    );
  return `${textTable(columns, points)}\n\n${lines.join("\n")}`;
}
