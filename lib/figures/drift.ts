/** Whether a server gets worse while the same load goes on: trends over the parts of a level's window. Pure. */
import type { JudgedLimit, LevelSummary, Slice } from "./level-summary";
import { median } from "./percentile";
import { besideLimit, type Column, shortNumber, textTable } from "./table";
import { fewestSlices, trendOf } from "./trend";

/** Fewest completed requests of a part whose median is worth comparing. */
const fewestASlice = 5;

/** Chance of a false alarm of one run: of the three values together, each tested for a trend in both directions. */
const falseAlarms = 0.01;

/** The name of the limit on the client's own memory, which is no metric of the server. */
export const clientMemory = "client_memory";

/** A value that a soak watches. */
interface Watched {
  readonly metric: string;
  readonly heading: string;
  readonly worse: "rising" | "falling";
  readonly value: (slice: Slice) => number;
  readonly count: (slice: Slice) => number;
}

const watched: readonly Watched[] = [
  {
    metric: "llm_ttft",
    heading: "TTFT p50",
    worse: "rising",
    value: ({ ttftMs }) => ttftMs.p50,
    count: ({ ttftMs }) => ttftMs.count,
  },
  {
    metric: "llm_tpot",
    heading: "TPOT p50",
    worse: "rising",
    value: ({ tpotMs }) => tpotMs.p50,
    count: ({ tpotMs }) => tpotMs.count,
  },
  {
    metric: "llm_output_throughput",
    heading: "tok/s",
    worse: "falling",
    value: ({ outputThroughput }) => outputThroughput,
    count: ({ completed, outputThroughput }) => (outputThroughput > 0 ? completed : 0),
  },
];

/**
 * By how many MB each client's memory grows from the first part to the last, by the line of Theil and Sen: one client, or the
 * runners in their order. Absent where it is not known in every part.
 */
export function memoryGrowth(slices: readonly Slice[]): number[] | undefined {
  const byPart = slices.map(({ clientMB = 0, runnersMB = [clientMB] }) => runnersMB);
  if (slices.length < fewestSlices || byPart.some((clients) => clients.some((mb) => !(mb > 0)))) return undefined;
  return (byPart[0] ?? []).map((_, k) => trendOf(byPart.map((clients) => clients[k] ?? 0)).slope * (slices.length - 1));
}

/** What became of one value over the parts. */
export interface Drift {
  readonly metric: string;
  /**
   * Change from the first part to the last by the line of Theil and Sen, in percent of where that line begins; negative where
   * the value falls. NaN where it was not measured.
   */
  readonly percent: number;
  /** Chance of so clear a trend without one. */
  readonly p: number;
  /** It got worse, and by more than chance explains. */
  readonly worse: boolean;
  /** Why it cannot be decided; absent where it can. */
  readonly unknown?: string;
}

/** The drift of each watched value of a level. */
export function driftOf(slices: readonly Slice[]): Drift[] {
  return watched.map(({ metric, worse, value, count }) => {
    const thin = slices.findIndex((slice) => count(slice) < fewestASlice);
    const unmeasured = { metric, percent: Number.NaN, p: 1, worse: false };
    if (slices.length < fewestSlices) return { ...unmeasured, unknown: `the window has ${slices.length} parts` };
    if (thin >= 0) {
      const found = count(slices[thin] as Slice);
      return { ...unmeasured, unknown: `part ${thin + 1} has ${found} values, and ${fewestASlice} are needed` };
    }
    const values = slices.map(value);
    const { direction, p, slope } = trendOf(values, falseAlarms / watched.length);
    // The line goes through the median of value - slope * part.
    const begins = median(values.map((each, part) => each - slope * part));
    return { metric, percent: ((slope * (values.length - 1)) / begins) * 100, p, worse: direction === worse };
  });
}

/** What a soak allows. */
export interface SoakLimits {
  /** Percent by which a value may get worse over the window. */
  readonly percent: number;
  /** MB by which a client's memory may grow over the window. */
  readonly memoryMB: number;
}

/**
 * The limits on drift of a level: violated where a value got worse by more than `percent` and by more than chance explains, or
 * a client's memory grew by more than `memoryMB`; of several clients the one that grew most counts. A value that cannot be
 * judged is not measured, and passes nothing.
 */
export function driftLimits(
  level: Pick<LevelSummary, "name" | "slices">,
  { percent, memoryMB }: SoakLimits,
): JudgedLimit[] {
  const { name, slices = [] } = level;
  const growth = memoryGrowth(slices);
  const memory: JudgedLimit = {
    metric: clientMemory,
    level: name,
    expression: `growth<=${memoryMB}MB`,
    result: "not measured",
  };
  if (growth) {
    memory.value = Math.max(...growth);
    memory.margin = memoryMB - memory.value;
    memory.result = memory.margin >= 0 ? "passed" : "violated";
  }
  return [...timeLimits(name, slices, percent), memory];
}

function timeLimits(name: string, slices: readonly Slice[], percent: number): JudgedLimit[] {
  return driftOf(slices).map((drift) => {
    const { worse: bad } = watched.find(({ metric }) => metric === drift.metric) as Watched;
    const limit: JudgedLimit = {
      metric: drift.metric,
      level: name,
      expression: `drift<=${percent}%`,
      result: "not measured",
    };
    if (drift.unknown !== undefined) return limit;
    const value = bad === "rising" ? drift.percent : -drift.percent;
    limit.value = value;
    limit.margin = percent - value;
    limit.result = drift.worse && value > percent ? "violated" : "passed";
    return limit;
  });
}

/** The parts of a level in a table, and below it what drifted. */
export function driftText(level: Pick<LevelSummary, "name" | "slices">, { percent, memoryMB }: SoakLimits): string {
  const { slices = [] } = level;
  const beginS = slices[0]?.startS ?? 0;
  const columns: Column<Slice>[] = [
    { heading: "from s", cell: ({ startS }) => shortNumber(startS - beginS) },
    { heading: "requests", cell: ({ requests }) => String(requests) },
    { heading: "failed", cell: ({ failed }) => String(failed) },
    ...watched.map(
      ({ heading, value, count }): Column<Slice> => ({
        heading,
        cell: (slice) => (count(slice) > 0 ? shortNumber(value(slice)) : "-"),
      }),
    ),
    ...clientColumns(slices),
  ];
  const lines = driftOf(slices).map(({ metric, percent: by, p, worse, unknown }) => {
    if (unknown !== undefined) return `${metric}: drift is not known, ${unknown}`;
    const sign = by < 0 ? "" : "+";
    const chance = p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`;
    const grade = worse ? (Math.abs(by) > percent ? "worse" : "worse, within the limit") : "no drift for the worse";
    return `${metric}: ${sign}${by.toFixed(1)} % over the window, ${chance}: ${grade}`;
  });
  return `${level.name} by part\n${textTable(columns, slices)}\n\n${[...lines, memoryLine(slices, memoryMB)].join("\n")}`;
}

/** A column with the memory of each client. */
function clientColumns(slices: readonly Slice[]): Column<Slice>[] {
  const { runnersMB } = slices[0] ?? {};
  if (!runnersMB)
    return [{ heading: "client MB", cell: ({ clientMB = 0 }) => (clientMB > 0 ? shortNumber(clientMB) : "-") }];
  return runnersMB.map((_, k) => ({
    heading: `runner ${k + 1} MB`,
    cell: ({ runnersMB: own = [] }) => shortNumber(own[k] ?? Number.NaN),
  }));
}

function memoryLine(slices: readonly Slice[], limitMB: number): string {
  const growth = memoryGrowth(slices);
  if (!growth) return `${clientMemory}: growth is not known, a part has no value of it`;
  const most = Math.max(...growth);
  const who = growth.length > 1 ? ` (runner ${growth.indexOf(most) + 1}, which grew most)` : "";
  const grade = most > limitMB ? "more than the limit" : "within the limit";
  return `${clientMemory}: ${most < 0 ? "" : "+"}${besideLimit(most, limitMB)} MB over the window${who}: ${grade} of ${limitMB} MB`;
}
