/** What polled pages of the server add to a run: figures of each level, and server-metrics.json. For one process and for a merge. Pure. */
import { atOnce } from "./at-once";
import type { LevelSummary, PolledPage, RunReport } from "./level-summary";
import { statsOf } from "./percentile";
import { type Measured, type PointsLine, pagesOf, serverFigures } from "./server";
import { knownMetrics, parsePowerMetric } from "./server-presets";

/** How a page was polled, as the module reports it. */
export type PageState = Omit<PolledPage, "url">;

/** What was polled of the server, and how. */
export interface Polled {
  readonly series: readonly PointsLine[];
  /** One a page. */
  readonly states: readonly PageState[];
}

/** A line of the records: how the pages were polled, written when polling has ended. */
export interface PagesLine {
  type: "pages";
  /** The poller's name: the scenario's. */
  name: string;
  pages: PageState[];
}

/** The lines of a page and kind as one each, with the columns of all: the records have one a second. */
export function joinedSeries(lines: readonly PointsLine[]): PointsLine[] {
  const joined = new Map<string, PointsLine>();
  for (const { points, ...line } of lines) {
    const key = `${line.page ?? 0} ${line.what ?? "values"}`;
    const whole = joined.get(key) ?? { ...line, metrics: [], kinds: [], points: [] };
    joined.set(key, whole);
    const columns = line.metrics.map((name, i) => {
      const known = whole.metrics.indexOf(name);
      if (known >= 0) return known;
      whole.kinds?.push(line.kinds?.[i] ?? "gauge");
      return whole.metrics.push(name) - 1;
    });
    for (const [ns, ...values] of points) {
      const row: (number | null)[] = [];
      values.forEach((value, i) => {
        row[columns[i] ?? 0] = value;
      });
      whole.points.push([ns, ...row]);
    }
  }
  // What a later line has and an earlier one did not was not served then.
  for (const { metrics, points } of joined.values()) {
    for (const row of points) for (let i = 1; i <= metrics.length; i++) row[i] ??= null;
  }
  return [...joined.values()];
}

/** The settings that say which pages are polled, as a run echoes them. */
export interface PageSettings {
  /** Without secrets: addresses with commas between them, or "none". */
  readonly METRICS_URL?: unknown;
  readonly POWER_METRIC?: unknown;
}

/** Addresses of the pages without secrets; the server's own where none was named. */
export function shownPages({ METRICS_URL: shown }: PageSettings): string[] {
  return wasNamed(shown) ? shown.split(/,(?=https?:)/) : ["/metrics"];
}

const wasNamed = (shown: unknown): shown is string => typeof shown === "string" && shown !== "";

/**
 * Whether a page has power or energy, from which gauges of a level follow. Most have neither: then the many figures of their pages are
 * not worked out only for gauges.
 */
export function serveEnergy({ POWER_METRIC: named }: PageSettings, series: readonly PointsLine[]): boolean {
  const power = powerOf(named);
  const known = knownMetrics.filter(({ role }) => role === "power" || role === "energy");
  const names = power ? [power.name] : known.map(({ name }) => name);
  return series.some(({ metrics }) => metrics.some((each) => names.includes(each)));
}

const powerOf = (named: unknown) => (typeof named === "string" && named !== "" ? parsePowerMetric(named) : undefined);

/** The report with what the server says of each level, of those that ran at once together, and how its pages were polled. */
export function withServer(report: RunReport, settings: PageSettings, { series, states }: Polled): RunReport {
  // A server without such a page needs no word, unless one was named.
  if (states.length === 0 || (series.length === 0 && !wasNamed(settings.METRICS_URL))) return report;
  const pages = pagesOf(series);
  const power = powerOf(settings.POWER_METRIC);
  const figures = (level: Measured) => serverFigures(pages, level, power);
  const shared = new Set(atOnce(report.levels));
  const levels = report.levels.map((level) => {
    const server = shared.has(level) ? undefined : figures(level);
    return server ? { ...level, server } : level;
  });
  const server = shared.size > 0 ? figures(together([...shared], report)) : undefined;
  const urls = shownPages(settings);
  return {
    ...report,
    levels,
    ...(server ? { server } : {}),
    serverPages: states.map((state, i) => ({ url: urls[i] ?? "", ...state })),
  };
}

/** Levels that ran at once as one, from the first opening to the last close of their windows. */
function together(levels: readonly LevelSummary[], { total, levels: all }: RunReport): Measured {
  const windowStartS = Math.min(...levels.map((level) => level.windowStartS));
  const durationS = Math.max(...levels.map((level) => level.windowStartS + level.durationS)) - windowStartS;
  const tokens = levels.reduce((sum, level) => sum + level.outputThroughput * level.durationS, 0);
  // The run's own latencies are those of all levels, and of these no others are known.
  const { ttftMs, itlMs } = levels.length === all.length ? total : { ttftMs: noStats, itlMs: noStats };
  return { windowStartS, durationS, outputThroughput: durationS > 0 ? tokens / durationS : 0, ttftMs, itlMs };
}

const noStats = statsOf([]);

/** server-metrics.json: by page how it was polled, and what was read; undefined where nothing was. */
export function serverFile(settings: PageSettings, { series, states }: Polled): string | undefined {
  if (series.length === 0) return undefined;
  const urls = shownPages(settings);
  const table = (page: number, which: string) => {
    const found = series.find((line) => (line.page ?? 0) === page && line.what === which);
    return found && { metrics: found.metrics, kinds: found.kinds, points: found.points };
  };
  const pages = states.map((state, page) => ({
    url: urls[page] ?? "",
    ...state,
    values: table(page, "values"),
    histograms: table(page, "histograms"),
  }));
  return `${JSON.stringify({ schema: 1, pages })}\n`;
}
