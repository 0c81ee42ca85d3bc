/** Single requests: a point each, and a waterfall around the slowest one. */
import type { RequestRow, Results } from "../../read/read";
import { e2eMs } from "../../read/request";
import { Rows } from "../../read/rows";
import { ascending, greatest } from "../../statistics";
import type { Section } from "../answer";
import { draw, failureColor, latencyAxis, numberAxis, type Panel, type Picture, type Series } from "../chart";
import { drawnLevels, rounded, rowsByLevel, type ShownRun, seriesName } from "./runs";
import { spanOfRun } from "./timeline";

/** Points of a scatter over all its levels: more hide each other, and make the page large. */
const mostPoints = 1500;
const waterfallRows = 40;

export function requestsSection(shown: readonly ShownRun[]): Section {
  const pictures = [scatter(shown), ...shown.map(waterfall)].filter((each): each is Picture => each !== undefined);
  return { heading: "Single requests", pictures, tables: [] };
}

/** Evenly chosen rows, and the slowest hundredth of all: what a scatter is looked at for. */
function chosen(rows: Rows, most: number, slowness: (row: RequestRow) => number): Rows {
  if (rows.length <= most) return rows;
  const slowest = Math.floor(most / 4);
  const all = rows.numbers(slowness);
  const sorted = ascending(all);
  const leastMs = sorted[sorted.length - slowest] as number;
  // The first of equally slow ones.
  let ofEqual = sorted.subarray(sorted.length - slowest).filter((ms) => ms === leastMs).length;
  const step = rows.length / (most - slowest);
  let next = 0;
  return rows.filter((_, i) => {
    const isNext = i === Math.floor(next);
    if (isNext) next += step;
    const ms = all[i] as number;
    return ms > leastMs || (ms === leastMs && ofEqual-- > 0) || isNext;
  });
}

function scatter(shown: readonly ShownRun[]): Picture | undefined {
  const streamed = shown.some(({ run }) => run.requests?.some(({ ttftMs }) => ttftMs !== undefined));
  const metric = streamed ? "TTFT" : "E2e latency";
  const latencyOf = (row: RequestRow): number => (row.completed ? (streamed ? (row.ttftMs ?? 0) : e2eMs(row)) : 0);
  const series = shown.flatMap(({ run, label }, runIndex): Series[] => {
    const fromNs = spanOfRun(run)?.fromNs ?? 0;
    const levels = rowsByLevel(run, ({ sentNs, completed }) => completed && sentNs > 0);
    const names = [...new Set([...drawnLevels(run.levelSummaries).map(({ name }) => name)])];
    const each = Math.max(50, Math.floor(mostPoints / Math.max(1, names.length) / shown.length));
    const at = (row: RequestRow) => rounded((row.sentNs - fromNs) / 1e9);
    const ofLevels = names.flatMap((name, i): Series[] => {
      const rows = (levels.get(name) ?? Rows.of([])).filter((row) => row.completed && latencyOf(row) > 0);
      const points = chosen(rows, each, latencyOf).map((row) => [at(row), rounded(latencyOf(row))] as const);
      const color = [0, 1, 2, 3, 4, 5][(i + runIndex) % 6];
      return points.length > 0 ? [{ name: seriesName(label, name), kind: "scatter", points, color }] : [];
    });
    const failed = (run.requests ?? Rows.of([])).filter(({ sentNs, completed }) => !completed && sentNs > 0);
    const points = chosen(failed, 300, () => 0).map(
      (row) => [at(row), rounded(Math.max(1e-3, (row.endNs - row.sentNs) / 1e6))] as const,
    );
    return points.length > 0
      ? [...ofLevels, { name: seriesName(label, "failed after"), kind: "scatter", points, color: failureColor }]
      : ofLevels;
  });
  if (series.length === 0) return undefined;
  const values = series.flatMap(({ points }) => points.map(([, y]) => y ?? 0));
  return draw({
    name: "requests-scatter",
    title: `${metric} of single requests`,
    alt: `${metric} in ms of single requests against the time they were sent`,
    panels: [
      {
        x: { title: "Sent (s since the first request was scheduled)", min: 0 },
        y: latencyAxis(`${metric} (ms)`, values),
        series,
      },
    ],
    hover: "point",
    pageOnly: true,
  });
}

/** The requests around the slowest steady one in the order of their send, as bars from schedule to end. */
function waterfallRowsOf(run: Results): RequestRow[] {
  const rows = (run.requests ?? Rows.of([])).filter(({ phase, sentNs }) => phase === "steady" && sentNs > 0);
  const sends = rows.numbers(({ sentNs }) => sentNs);
  const latencies = rows.numbers((row) => (row.completed ? e2eMs(row) : Number.NEGATIVE_INFINITY));
  const slowestMs = greatest(latencies);
  // The first that was sent of equally slow ones.
  const slowest = latencies.reduce(
    (best, ms, i) => (ms === slowestMs && (best < 0 || (sends[i] as number) < (sends[best] as number)) ? i : best),
    -1,
  );
  const slowestNs = sends[slowest] as number;
  const before =
    slowestMs > Number.NEGATIVE_INFINITY
      ? sends.reduce((count, ns, i) => count + (ns < slowestNs || (ns === slowestNs && i < slowest) ? 1 : 0), 0)
      : 0;
  const from = Math.min(Math.max(0, before - waterfallRows / 2), Math.max(0, rows.length - waterfallRows));
  // Only what stands around the slowest is put in order: a sort of rows takes more memory than one of numbers.
  sends.sort();
  const [firstNs = 0, lastNs = 0] = [sends[from], sends[Math.min(from + waterfallRows, rows.length) - 1]];
  const around = rows.filter(({ sentNs }) => sentNs >= firstNs && sentNs <= lastNs).sortedBy(({ sentNs }) => sentNs);
  const skipped = from - sends.indexOf(firstNs);
  return [...around].slice(skipped, skipped + waterfallRows);
}

function waterfall({ run, label }: ShownRun): Picture | undefined {
  const rows = waterfallRowsOf(run);
  if (rows.length === 0) return undefined;
  const zeroNs = rows.reduce(
    (first, row) => Math.min(first, row.scheduledNs || row.startedNs),
    Number.POSITIVE_INFINITY,
  );
  type Span = [fromNs: number, toNs: number] | undefined;
  const kinds: { name: string; color: number; of: (row: RequestRow) => Span }[] = [
    { name: "waits in the client", color: 6, of: (row) => [row.scheduledNs || row.startedNs, row.sentNs] },
    {
      name: "waits for the first token",
      color: 5,
      of: (row) => (row.completed ? [row.sentNs, row.firstOutputNs || row.lastOutputNs || row.endNs] : undefined),
    },
    {
      name: "generates",
      color: 0,
      of: (row) => (row.completed && row.firstOutputNs > 0 ? [row.firstOutputNs, row.lastOutputNs] : undefined),
    },
    { name: "failed", color: failureColor, of: (row) => (row.completed ? undefined : [row.sentNs, row.endNs]) },
  ];
  const series = kinds.flatMap(({ name, color, of }): Series[] => {
    const points = rows.flatMap((row, i): (readonly [number, number | null])[] => {
      const span = of(row);
      if (!span || span[1] <= span[0]) return [];
      const [from, to] = span.map((ns) => rounded((ns - zeroNs) / 1e6)) as [number, number];
      return [
        [from, i + 1],
        [to, i + 1],
        [to, null],
      ];
    });
    return points.length > 0 ? [{ name, color, kind: "range", points }] : [];
  });
  const panel: Panel = {
    x: { title: "Time since the first of them was scheduled (ms)", min: 0 },
    y: numberAxis("Request", rows.length),
    series,
    height: 420,
  };
  return draw({
    name: `waterfall${label && `-${label}`}`,
    title: `${seriesName(label, "")}${label ? ": the" : "The"} ${rows.length} requests around the slowest`,
    alt: `From schedule to end of ${rows.length} requests in the order of their send, around the slowest one`,
    panels: [panel],
    hover: "y",
    pageOnly: true,
  });
}
