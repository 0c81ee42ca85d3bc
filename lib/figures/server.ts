/** What the server says of itself while a level runs, from its polled Prometheus pages. Pure. */
import type { LevelSummary } from "./level-summary";
import { type KnownMetric, knownMetrics, type PowerMetric, type ServerRole } from "./server-presets";

/** Polled values of one page: one column a metric (or part of a histogram), null where the server did not serve it. */
export interface PointsLine {
  type: "points";
  name: string;
  /** Which of the pages; 0 in records of earlier versions, which do not say it. */
  page?: number;
  what?: "values" | "histograms";
  metrics: string[];
  kinds?: ("gauge" | "counter" | "histogram")[];
  /** [ns from the run's start, one value a metric]. */
  points: [number, ...(number | null)[]][];
}

/** A gauge in a span of time. */
export interface GaugeFigures {
  kind: "gauge";
  /** Over time: each poll counts until the next. */
  mean: number;
  min: number;
  max: number;
  polls: number;
}

/** A counter in a span of time; between polls it is taken to grow evenly. */
export interface CounterFigures {
  kind: "counter";
  increase: number;
  /** A second. */
  rate: number;
}

/** A percentile of a histogram, of which only the bucket is known; `estimate` takes the values in it as spread evenly. */
export interface BucketedPercentile {
  low: number;
  /** Absent beyond the last bound. */
  high?: number;
  estimate?: number;
}

/** What a histogram counted in a span of time. */
export interface HistogramFigures {
  kind: "histogram";
  count: number;
  mean: number;
  /** Absent where it has no buckets, as a summary. */
  p50?: BucketedPercentile;
  p90?: BucketedPercentile;
  p99?: BucketedPercentile;
}

/** One metric in a span of time. */
export type MetricFigures = GaugeFigures | CounterFigures | HistogramFigures;

/** A latency by the server's own histogram beside ours; ms. */
export interface HeldAgainst {
  metric: string;
  count: number;
  meanMs: number;
  p50Ms?: BucketedPercentile;
  p99Ms?: BucketedPercentile;
  ours: { count: number; meanMs: number; p50Ms: number; p99Ms: number };
  /**
   * Our mean less the server's: what passes outside of what it measures. Absent where the counts differ by more than a fifth: the
   * server counts a request when its token comes, we when it was scheduled, so that in an overload the two are of other requests.
   */
  outsideMs?: number;
  /** Whether our p50 lies where the server's bucket and the time outside allow it; absent with that. */
  p50Agrees?: boolean;
}

/** What the server says of a level's steady window. */
export interface ServerFigures {
  running?: { mean: number; max: number };
  waiting?: { mean: number; max: number };
  /** 0 to 1. */
  kvUsage?: { mean: number; max: number };
  preemptions?: number;
  /** Shares of 1: prompt tokens found in the prefix cache; draft tokens that were accepted; GPU time in use. */
  prefixHitShare?: number;
  acceptance?: number;
  gpuUse?: number;
  powerW?: number;
  energyJ?: number;
  /** Energy over the output tokens that arrived in the window. */
  joulesPerOutputToken?: number;
  ttft?: HeldAgainst;
  itl?: HeldAgainst;
  /** Every polled metric, by page. */
  pages: Record<string, MetricFigures>[];
}

type Row = readonly [number, ...(number | null)[]];

/** One column over time; null = not served. */
interface Series {
  readonly kind: "gauge" | "counter" | "histogram";
  readonly atNs: number[];
  readonly values: (number | null)[];
}

/** Everything that was polled of one page, by column. */
type Page = Map<string, Series>;

/** The pages of polled lines, in the order of their indices. */
export function pagesOf(lines: readonly PointsLine[]): Page[] {
  const pages: Page[] = [];
  const times = new Map<string, number[]>();
  for (const { page = 0, what = "values", metrics, kinds = [], points } of lines) {
    pages[page] ??= new Map();
    const at = pages[page] as Page;
    const table = `${page} ${what}`;
    const before = times.get(table) ?? [];
    times.set(table, before);
    metrics.forEach((name, column) => {
      let series = at.get(name);
      if (!series) {
        // What shows up later was not served before.
        series = { kind: kinds[column] ?? "gauge", atNs: [...before], values: before.map(() => null) };
        at.set(name, series);
      }
      for (const row of points as readonly Row[]) {
        series.atNs.push(row[0]);
        series.values.push(row[column + 1] ?? null);
      }
    });
    for (const [ns] of points) before.push(ns);
  }
  return Array.from(pages, (page) => page ?? new Map());
}

/**
 * A gauge from one time to another, each poll holding until the next; undefined where it was not polled in half of it, and where
 * one poll stands for more than two thirds: the moment at which a level begins is not what is within it.
 */
function gaugeFigures({ atNs, values }: Series, fromNs: number, toNs: number): GaugeFigures | undefined {
  let weight = 0;
  let longest = 0;
  let sum = 0;
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let polls = 0;
  for (let i = 0; i < atNs.length; i++) {
    const at = atNs[i] as number;
    const value = values[i];
    if (at > toNs) break;
    const until = Math.min(atNs[i + 1] ?? toNs, toNs);
    const held = until - Math.max(at, fromNs);
    if (value === null || value === undefined || (held <= 0 && at < fromNs)) continue;
    weight += Math.max(held, 0);
    longest = Math.max(longest, held);
    sum += value * Math.max(held, 0);
    min = Math.min(min, value);
    max = Math.max(max, value);
    if (at >= fromNs) polls++;
  }
  const span = toNs - fromNs;
  if (weight <= 0 || weight < span / 2 || longest > (span * 2) / 3) return undefined;
  return { kind: "gauge", mean: sum / weight, min, max, polls };
}

/**
 * By how much a counter grew from one time to another; where it went down it began anew. Between polls it grows evenly.
 * undefined where its polls cover less than half of that time.
 */
function increase({ atNs, values }: Series, fromNs: number, toNs: number): number | undefined {
  let last: number | undefined;
  let lastNs = 0;
  let grown = 0;
  let coveredNs = 0;
  let served = false;
  for (let i = 0; i < atNs.length; i++) {
    const at = atNs[i] as number;
    const value = values[i] ?? null;
    // A counter that is not there yet is one that nothing was counted with.
    const now = value ?? (served ? undefined : 0);
    if (value !== null) served = true;
    if (now === undefined) continue;
    if (last !== undefined) {
      const step = now >= last ? now - last : now;
      const within = Math.min(at, toNs) - Math.max(lastNs, fromNs);
      if (within > 0) {
        grown += (step * within) / (at - lastNs);
        coveredNs += within;
      }
    }
    last = now;
    lastNs = at;
  }
  return served && coveredNs >= (toNs - fromNs) / 2 ? grown : undefined;
}

/** The percentile of what lies in buckets; `counts` are those up to each bound. */
export function bucketedPercentile(
  bounds: readonly number[],
  counts: readonly number[],
  count: number,
  share: number,
): BucketedPercentile {
  const rank = share * count;
  const at = counts.findIndex((upTo) => upTo >= rank - 1e-9);
  const low = at === 0 ? 0 : (bounds[(at < 0 ? bounds.length : at) - 1] ?? 0);
  if (at < 0) return { low };
  const [below, upTo, high] = [counts[at - 1] ?? 0, counts[at] ?? 0, bounds[at] ?? 0];
  return { low, high, estimate: upTo > below ? low + ((high - low) * (rank - below)) / (upTo - below) : high };
}

const bucketForm = /^(.*)_bucket\{(?:(.*),)?le="([^"]+)"\}$/;

/** The buckets of a page's histograms, by the histogram's name: those of all at once, since a page has hundreds. */
type Buckets = ReadonlyMap<string, readonly { readonly bound: number; readonly series: Series }[]>;

function bucketsOf(page: Page): Buckets {
  const buckets = new Map<string, { bound: number; series: Series }[]>();
  for (const [column, series] of page) {
    const [match, base = "", labels = "", bound] = bucketForm.exec(column) ?? [];
    if (match === undefined) continue;
    const name = labelled(base, labels);
    const found = buckets.get(name);
    if (found) found.push({ bound: Number(bound), series });
    else buckets.set(name, [{ bound: Number(bound), series }]);
  }
  return buckets;
}

/** A histogram of which a page has the parts. */
function histogramFigures(
  page: Page,
  ofPage: Buckets,
  name: string,
  fromNs: number,
  toNs: number,
): HistogramFigures | undefined {
  const { base, labels } = splitName(name);
  const part = (suffix: string) => {
    const series = page.get(labelled(base + suffix, labels));
    return series && increase(series, fromNs, toNs);
  };
  const count = part("_count");
  const sum = part("_sum");
  if (count === undefined || sum === undefined || count <= 1e-6) return undefined;
  // Objects, and not pairs: to take a pair apart, k6's engine makes an iterator, which is most of the work here.
  const buckets: { readonly bound: number; readonly upTo: number }[] = [];
  for (const { bound, series } of ofPage.get(labelled(base, labels)) ?? []) {
    const upTo = increase(series, fromNs, toNs);
    if (upTo !== undefined) buckets.push({ bound, upTo });
  }
  buckets.sort((one, other) => one.bound - other.bound);
  const bounds = buckets.map(({ bound }) => bound);
  const counts = buckets.map(({ upTo }) => upTo);
  const at = (share: number) => bucketedPercentile(bounds, counts, count, share);
  const figures: HistogramFigures = { kind: "histogram", count, mean: sum / count };
  return buckets.length === 0 ? figures : { ...figures, p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

function splitName(name: string): { base: string; labels: string } {
  const [, base = name, labels = ""] = /^([^{]*)\{(.*)\}$/.exec(name) ?? [];
  return { base, labels };
}

/** The inverse of splitName(). */
function labelled(base: string, labels: string): string {
  return labels === "" ? base : `${base}{${labels}}`;
}

/** The metrics of a page: a histogram once, under its own name. */
function namesOf(page: Page): { name: string; kind: Series["kind"] }[] {
  const names = new Map<string, Series["kind"]>();
  for (const [column, { kind }] of page) {
    if (kind !== "histogram") names.set(column, kind);
    else {
      const { base, labels } = splitName(column);
      if (base.endsWith("_count")) names.set(labelled(base.slice(0, -6), labels), kind);
    }
  }
  return [...names].map(([name, kind]) => ({ name, kind }));
}

/** The figures of one metric of a page. */
function figuresOf(
  page: Page,
  buckets: Buckets,
  name: string,
  fromNs: number,
  toNs: number,
): MetricFigures | undefined {
  const series = page.get(name);
  if (!series) return histogramFigures(page, buckets, name, fromNs, toNs);
  if (series.kind !== "counter") return gaugeFigures(series, fromNs, toNs);
  const grown = increase(series, fromNs, toNs);
  return grown === undefined ? undefined : { kind: "counter", increase: grown, rate: (grown / (toNs - fromNs)) * 1e9 };
}

/** What the server's pages are held against. */
export type Measured = Pick<LevelSummary, "windowStartS" | "durationS" | "outputThroughput" | "ttftMs" | "itlMs">;

/** What polled pages say of a level's steady window; undefined where they say nothing. */
export function serverFigures(
  pages: readonly Page[],
  level: Measured,
  power?: PowerMetric,
  known: readonly KnownMetric[] = knownMetrics,
): ServerFigures | undefined {
  const fromNs = level.windowStartS * 1e9;
  const toNs = fromNs + level.durationS * 1e9;
  if (!(toNs > fromNs)) return undefined;
  const all = pages.map((page) => {
    const figures: Record<string, MetricFigures> = {};
    const buckets = bucketsOf(page);
    for (const { name } of namesOf(page)) {
      const found = figuresOf(page, buckets, name, fromNs, toNs);
      if (found) figures[name] = found;
    }
    return figures;
  });
  if (all.every((figures) => Object.keys(figures).length === 0)) return undefined;
  return { ...roles(all, level, power, known), pages: all };
}

interface Found {
  readonly name: string;
  readonly mean: boolean;
  readonly scale: number;
  readonly values: readonly MetricFigures[];
}

function roles(
  pages: readonly Record<string, MetricFigures>[],
  level: Measured,
  power: PowerMetric | undefined,
  known: readonly KnownMetric[],
): Omit<ServerFigures, "pages"> {
  const served = (name: string) => pages.flatMap((page) => page[name] ?? []);
  const find = (role: ServerRole): Found | undefined => {
    if (power && (role === "power" || role === "energy")) {
      const values = power.role === role ? served(power.name) : [];
      return values.length > 0 ? { name: power.name, mean: false, scale: power.scale, values } : undefined;
    }
    for (const metric of known) {
      const values = metric.role === role ? served(metric.name) : [];
      if (values.length > 0) {
        return { name: metric.name, mean: metric.mean === true, scale: metric.scale ?? 1, values };
      }
    }
    return undefined;
  };
  const gauge = (role: ServerRole): { mean: number; max: number } | undefined => {
    const found = find(role);
    const gauges = found?.values.filter((value): value is GaugeFigures => value.kind === "gauge") ?? [];
    if (!found || gauges.length === 0) return undefined;
    const by = found.scale / (found.mean ? gauges.length : 1);
    const sum = (of: (value: GaugeFigures) => number) => by * gauges.reduce((total, value) => total + of(value), 0);
    const largest = Math.max(...gauges.map(({ max }) => max)) * found.scale;
    return { mean: sum((value) => value.mean), max: found.mean ? largest : sum((value) => value.max) };
  };
  const counter = (role: ServerRole): number | undefined => {
    const found = find(role);
    // Some exporters call a sum that only grows a gauge: its growth is not known from its mean.
    const counters = found?.values.filter((value): value is CounterFigures => value.kind === "counter") ?? [];
    if (!found || counters.length === 0) return undefined;
    return found.scale * counters.reduce((total, value) => total + value.increase, 0);
  };
  const share = (part: number | undefined, whole: number | undefined): number | undefined =>
    part !== undefined && whole !== undefined && whole > 1e-6 ? Math.min(1, part / whole) : undefined;

  const powerW = gauge("power")?.mean;
  const energyJ = counter("energy") ?? (powerW === undefined ? undefined : powerW * level.durationS);
  const tokens = level.outputThroughput * level.durationS;
  const figures = {
    running: gauge("running"),
    waiting: gauge("waiting"),
    kvUsage: gauge("kvUsage"),
    preemptions: counter("preemptions"),
    prefixHitShare: share(counter("prefixHits"), counter("prefixQueries")) ?? gauge("prefixHitShare")?.mean,
    acceptance: share(counter("acceptedTokens"), counter("draftTokens")) ?? gauge("acceptance")?.mean,
    gpuUse: gauge("gpuUse")?.mean,
    powerW: energyJ === undefined ? undefined : (powerW ?? energyJ / level.durationS),
    energyJ,
    joulesPerOutputToken: energyJ !== undefined && tokens > 0 ? energyJ / tokens : undefined,
    ttft: heldAgainst(find("ttft"), level.ttftMs),
    itl: heldAgainst(find("itl"), level.itlMs),
  };
  return Object.fromEntries(Object.entries(figures).filter(([, value]) => value !== undefined));
}

/** The part of one side's requests that the other may not have counted for their means to be compared. */
const mostAside = 0.2;

/** A latency of the server's beside ours. Histograms of several pages have no common percentile here, only a mean. */
function heldAgainst(found: Found | undefined, ours: Measured["ttftMs"]): HeldAgainst | undefined {
  const histograms = found?.values.filter((value): value is HistogramFigures => value.kind === "histogram") ?? [];
  const [only] = histograms;
  if (!found || !only || ours.count === 0) return undefined;
  const count = histograms.reduce((total, each) => total + each.count, 0);
  const meanMs = (found.scale * histograms.reduce((total, each) => total + each.mean * each.count, 0)) / count;
  const inMs = ({ low, high, estimate }: BucketedPercentile): BucketedPercentile => ({
    low: low * found.scale,
    ...(high === undefined ? {} : { high: high * found.scale }),
    ...(estimate === undefined ? {} : { estimate: estimate * found.scale }),
  });
  const single = histograms.length === 1;
  const p50Ms = single && only.p50 ? inMs(only.p50) : undefined;
  const p99Ms = single && only.p99 ? inMs(only.p99) : undefined;
  const outsideMs = ours.mean - meanMs;
  const comparable = Math.abs(count - ours.count) <= mostAside * Math.max(count, ours.count);
  const slack = Math.abs(outsideMs);
  return {
    metric: found.name,
    ...{ count, meanMs },
    ...(p50Ms ? { p50Ms } : {}),
    ...(p99Ms ? { p99Ms } : {}),
    ours: { count: ours.count, meanMs: ours.mean, p50Ms: ours.p50, p99Ms: ours.p99 },
    ...(comparable ? { outsideMs } : {}),
    ...(comparable && p50Ms
      ? { p50Agrees: ours.p50 >= p50Ms.low - slack && ours.p50 <= (p50Ms.high ?? Number.POSITIVE_INFINITY) + slack }
      : {}),
  };
}
