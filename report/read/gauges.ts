/** The server's own gauges on the run's time axis, whatever the server calls them. */
import { type GaugeName, gaugeNames } from "../../lib/figures/gauge-names";
import type { PointsLine } from "./records";

export type { GaugeName };

export interface GaugePoint {
  tNs: number;
  value: number;
}

/**
 * One gauge from all polled series, ascending in time; empty where the server does not serve it. A point of several pages is
 * the sum of the last value of each; for the KV cache it is their mean.
 */
export function gauge(lines: readonly PointsLine[], name: GaugeName): GaugePoint[] {
  const pages = [...new Set(lines.map(({ page = 0 }) => page))];
  const byPage = pages.map((of) =>
    gaugeOfPage(
      lines.filter(({ page = 0 }) => page === of),
      name,
    ),
  );
  const nonEmpty = byPage.filter(({ length }) => length > 0);
  if (nonEmpty.length < 2) return nonEmpty[0] ?? [];
  const last: number[] = nonEmpty.map(() => 0);
  return nonEmpty
    .flatMap((points, page) => points.map((point) => ({ ...point, page })))
    .sort((a, b) => a.tNs - b.tNs)
    .map(({ tNs, value, page }) => {
      last[page] = value;
      const sum = last.reduce((a, b) => a + b, 0);
      return { tNs, value: name === "kvUsage" ? sum / nonEmpty.length : sum };
    });
}

function gaugeOfPage(lines: readonly PointsLine[], name: GaugeName): GaugePoint[] {
  const points: GaugePoint[] = [];
  for (const { metrics, points: rows } of lines) {
    const known = Object.keys(gaugeNames).filter((each) => gaugeNames[each] === name);
    const columns = known.map((each) => metrics.indexOf(each)).filter((column) => column >= 0);
    if (columns.length === 0) continue;
    for (const [tNs, ...values] of rows) {
      const value = columns.map((column) => values[column]).find((each) => typeof each === "number");
      if (typeof value === "number") points.push({ tNs, value });
    }
  }
  return points.sort((a, b) => a.tNs - b.tNs);
}

/** The points of a span of time, ns. */
export function within(points: readonly GaugePoint[], fromNs: number, toNs: number): GaugePoint[] {
  return points.filter(({ tNs }) => tNs >= fromNs && tNs <= toNs);
}

export interface GaugeFigures {
  max: number;
  /** Mean over the polls. */
  mean: number;
  /** Share of polls above zero. */
  busyShare: number;
  polls: number;
}

export function gaugeFigures(points: readonly GaugePoint[]): GaugeFigures | undefined {
  if (points.length === 0) return undefined;
  const values = points.map(({ value }) => value);
  return {
    max: values.reduce((a, b) => Math.max(a, b)),
    mean: values.reduce((a, b) => a + b, 0) / values.length,
    busyShare: values.filter((value) => value > 0).length / values.length,
    polls: values.length,
  };
}

/**
 * Fewer points that draw the same line: of every slice of time the first, lowest, highest and last. A run of minutes has
 * a hundred polls a second, a picture some hundred columns.
 */
export function thinned(points: readonly GaugePoint[], slices = 700): readonly GaugePoint[] {
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last || points.length <= 4 * slices) return points;
  const widthNs = (last.tNs - first.tNs) / slices;
  const thinned: GaugePoint[] = [];
  for (let from = 0; from < points.length; ) {
    const slice = Math.floor(((points[from] as GaugePoint).tNs - first.tNs) / widthNs);
    let to = from;
    while (to < points.length && Math.floor(((points[to] as GaugePoint).tNs - first.tNs) / widthNs) === slice) to++;
    const inSlice = points.slice(from, to);
    const lowest = inSlice.reduce((a, b) => (b.value < a.value ? b : a));
    const highest = inSlice.reduce((a, b) => (b.value > a.value ? b : a));
    const chosen = new Set([inSlice[0] as GaugePoint, lowest, highest, inSlice.at(-1) as GaugePoint]);
    thinned.push(...inSlice.filter((point) => chosen.has(point)));
    from = to;
  }
  return thinned;
}
