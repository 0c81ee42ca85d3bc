/** The run over time: requests, tokens, concurrency, latencies, failures and the server's own metrics. */
import type { RequestRow, Results } from "../../read/read";
import { e2eMs } from "../../read/request";
import { quantile } from "../../statistics";
import type { Section } from "../answer";
import { drawCurves, failureColor, latencyAxis, type Panel, type Picture, type Series, scheduledColor } from "../chart";
import { rounded, type ShownRun, seriesName } from "./runs";

/** Bin widths that a reader can think in, s. */
const widthsS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400];
const mostBins = 240;
/** Fewer requests a bin make a line of spikes; fewer bins hide what happened when. */
const [fewestRequests, fewestBins] = [5, 20];

/** A run cut into bins of equal width, from its first request on. */
interface Binned {
  widthS: number;
  /** Middle of each bin, s from the first request. */
  atS: number[];
  scheduled: number[];
  sent: number[];
  completed: number[];
  failed: number[];
  /** Failed requests by class, by the time of their end. */
  failures: Map<string, number[]>;
  /** Output tokens of completed requests, by their arrival. */
  tokens: number[];
  /** Mean number of requests between their send and their end. */
  inFlight: number[];
  /** The latency of completed requests that were sent in the bin, ms; null where none was. */
  ttft: { p50: (number | null)[]; p95: (number | null)[] };
  e2e: { p50: (number | null)[]; p95: (number | null)[] };
  zeroNs: number;
}

const dueNs = (row: RequestRow): number => row.scheduledNs || row.startedNs;

/** The width of the bins of some runs that are shown together, each with its length and number of requests; s. */
function binWidthS(runs: readonly { lengthS: number; requests: number }[]): number {
  const longest = Math.max(0, ...runs.map(({ lengthS }) => lengthS));
  const calm = Math.max(0, ...runs.map(({ lengthS, requests }) => (fewestRequests * lengthS) / Math.max(1, requests)));
  const least = Math.max(longest / mostBins, Math.min(calm, longest / fewestBins));
  return widthsS.find((widthS) => widthS >= least) ?? least;
}

/** First and last moment of a run's requests, ns; undefined where it has none. */
export function spanOfRun({ requests }: Results): { fromNs: number; toNs: number } | undefined {
  if (!requests?.length) return undefined;
  let fromNs = Number.POSITIVE_INFINITY;
  let toNs = 0;
  for (const row of requests) {
    fromNs = Math.min(fromNs, dueNs(row));
    toNs = Math.max(toNs, row.endNs, dueNs(row));
  }
  return { fromNs, toNs };
}

function binned(run: Results, { fromNs, toNs }: { fromNs: number; toNs: number }, widthS: number): Binned {
  const widthNs = widthS * 1e9;
  const count = Math.max(1, Math.ceil((toNs - fromNs) / widthNs + 1e-9));
  const zeros = () => new Array<number>(count).fill(0);
  const at = (ns: number) => Math.min(count - 1, Math.max(0, Math.floor((ns - fromNs) / widthNs)));
  const add = (bins: number[], ns: number, amount = 1) => {
    bins[at(ns)] = (bins[at(ns)] as number) + amount;
  };
  const [scheduled, sent, completed, failed, tokens, inFlight] = [zeros(), zeros(), zeros(), zeros(), zeros(), zeros()];
  const failures = new Map<string, number[]>();
  for (const row of run.requests ?? []) {
    const { sentNs, endNs } = row;
    add(scheduled, dueNs(row));
    if (sentNs > 0) {
      add(sent, sentNs);
      // The share of each bin in which the request was in flight.
      for (let bin = at(sentNs); bin <= at(endNs); bin++) {
        const begin = fromNs + bin * widthNs;
        const overlapNs = Math.min(endNs, begin + widthNs) - Math.max(sentNs, begin);
        if (overlapNs > 0) inFlight[bin] = (inFlight[bin] as number) + overlapNs / widthNs;
      }
    }
    if (row.completed) {
      add(completed, endNs);
    } else {
      add(failed, endNs);
      const bins = failures.get(row.failure) ?? zeros();
      failures.set(row.failure, bins);
      add(bins, endNs);
    }
  }
  const { amounts, widthNs: finerNs } = run.arrivals?.tokens ?? { amounts: [], widthNs: widthNs };
  for (const [bin, amount] of amounts.entries()) if (amount > 0) add(tokens, (bin + 0.5) * finerNs, amount);
  const latencies = (of: (row: RequestRow) => number | undefined) => {
    const measured = (row: RequestRow) => {
      const ms = row.completed ? of(row) : undefined;
      return ms !== undefined && ms >= 0 ? ms : undefined;
    };
    const sorted = sortedInBins(run, count, measured, ({ sentNs }) => at(sentNs));
    const percentile = (q: number) => sorted.map((each) => (each.length > 0 ? quantile(each, q) : null));
    return { p50: percentile(0.5), p95: percentile(0.95) };
  };
  return {
    ...{ widthS, scheduled, sent, completed, failed, failures, tokens, inFlight, zeroNs: fromNs },
    atS: Array.from({ length: count }, (_, i) => (i + 0.5) * widthS),
    ttft: latencies(({ ttftMs }) => ttftMs),
    e2e: latencies(e2eMs),
  };
}

/** The values of the requests that have one, ascending, by bin: parts of one array, which is all that is kept of them. */
function sortedInBins(
  { requests }: Results,
  count: number,
  measuredOf: (row: RequestRow) => number | undefined,
  binOf: (row: RequestRow) => number,
): Float64Array[] {
  // How many values stand in front of each bin; while they are filled in, of the next one.
  const filled = new Uint32Array(count + 1);
  const add = (bin: number) => {
    filled[bin] = (filled[bin] as number) + 1;
  };
  for (const row of requests ?? []) if (measuredOf(row) !== undefined) add(binOf(row) + 1);
  for (let bin = 0; bin < count; bin++) filled[bin + 1] = (filled[bin] as number) + (filled[bin + 1] as number);
  const begins = filled.slice();
  const all = new Float64Array(filled[count] as number);
  for (const row of requests ?? []) {
    const value = measuredOf(row);
    if (value === undefined) continue;
    const bin = binOf(row);
    all[filled[bin] as number] = value;
    add(bin);
  }
  return Array.from({ length: count }, (_, bin) => all.subarray(begins[bin], begins[bin + 1]).sort());
}

export function timelineSection(shown: readonly ShownRun[]): Section {
  const spans = shown.map(({ run }) => spanOfRun(run));
  const widthS = binWidthS(
    shown.map(({ run: { requests } }, i) => {
      const { fromNs, toNs } = spans[i] ?? { fromNs: 0, toNs: 0 };
      return { lengthS: (toNs - fromNs) / 1e9, requests: requests?.length ?? 0 };
    }),
  );
  const runs = shown.flatMap(({ run, label }, i) => {
    const span = spans[i];
    return span ? [{ run, label, bins: binned(run, span, widthS) }] : [];
  });
  const heading = "Over time";
  const [first] = runs;
  if (!first) return { heading, pictures: [], tables: [] };
  const several = runs.length > 1;
  const x = { title: "Time since the first request was scheduled (s)", min: 0 };
  const marks = several ? [] : levelMarks(first.run, first.bins.zeroNs);
  const line = (
    { label, bins }: (typeof runs)[number],
    name: string,
    values: (number | null)[],
    more: Partial<Series> = {},
  ): Series => ({
    name: seriesName(label, name),
    points: values.map((value, i) => [rounded(bins.atS[i] as number), value === null ? null : rounded(value)] as const),
    symbols: false,
    ...more,
  });
  const perSecond = (values: number[]) => values.map((value) => value / widthS);
  const picture = (name: string, title: string, alt: string, panels: Panel[]): Picture[] =>
    drawCurves({ name, title, alt, panels, group: "time", pageOnly: true });
  const panel = (title: string, series: Series[], more: Partial<Panel> = {}): Panel => ({
    ...{ x, y: { title, min: 0 }, series, height: 170 },
    ...more,
  });
  const tokens = runs.some(({ bins }) => bins.tokens.some((amount) => amount > 0));
  const classes = [...new Set(runs.flatMap(({ bins }) => [...bins.failures.keys()]))].sort();
  const latencies = (["ttft", "e2e"] as const).flatMap((key): Panel[] => {
    const title = key === "ttft" ? "TTFT (ms)" : "E2e latency (ms)";
    const series = runs.flatMap((each, i) =>
      (["p50", "p95"] as const).map((p, j) =>
        line(each, p, each.bins[key][p], { symbols: each.bins.atS.length <= 40, color: 2 * i + j }),
      ),
    );
    const values = series.flatMap(({ points }) => points.map(([, y]) => y ?? 0));
    if (!values.some((value) => value > 0)) return [];
    return [panel(title, series, { y: latencyAxis(title, values), marks })];
  });
  const pictures = [
    ...picture("requests-over-time", "Requests per second", "Requests scheduled, sent, completed and failed a second", [
      panel(
        "Requests/s",
        runs.flatMap((each, i) =>
          several
            ? [
                line(each, "completed", perSecond(each.bins.completed), { color: i }),
                line(each, "failed", perSecond(each.bins.failed), { color: i, dash: "dotted" }),
              ]
            : [
                line(each, "scheduled", perSecond(each.bins.scheduled), { color: scheduledColor, dash: "dashed" }),
                line(each, "sent", perSecond(each.bins.sent), { color: 0 }),
                line(each, "completed", perSecond(each.bins.completed), { color: 2 }),
                line(each, "failed", perSecond(each.bins.failed), { color: failureColor }),
              ],
        ),
        { marks },
      ),
    ]),
    ...(tokens
      ? [
          ...picture("tokens-over-time", "Output tokens per second", "Output tokens of completed requests a second", [
            panel(
              "Tokens/s",
              runs.map((each, i) => line(each, "output tokens", perSecond(each.bins.tokens), { color: i })),
              { marks },
            ),
          ]),
        ]
      : []),
    ...picture("in-flight-over-time", "Requests in flight", "Mean number of requests in flight", [
      panel(
        "In flight",
        runs.map((each, i) => line(each, "in flight", each.bins.inFlight, { color: i })),
        { marks },
      ),
    ]),
    ...(latencies.length > 0
      ? picture("latency-over-time", "Latency over time", "TTFT and e2e latency, p50 and p95, over time", latencies)
      : []),
    ...(classes.length > 0
      ? [
          ...picture("failures-over-time", "Failed requests by class", "Failed requests a second by class", [
            panel(
              "Failed/s",
              runs.flatMap((each, i) =>
                classes.flatMap((name, j) => {
                  const bins = each.bins.failures.get(name);
                  return bins
                    ? [line(each, name, perSecond(bins), { color: failureColor + i * classes.length + j })]
                    : [];
                }),
              ),
              { marks },
            ),
          ]),
        ]
      : []),
    ...serverPictures(runs, x, marks),
  ];
  return {
    heading,
    text:
      pictures.length === 0
        ? []
        : [
            `In bins of ${widthS} s. Latencies stand where their requests were sent, failures and completed requests where they ended, tokens where they arrived; in flight is the mean number of requests between send and end. Warm-up and drain are included.`,
          ],
    pictures,
    tables: [],
  };
}

/** Where the steady windows open. */
function levelMarks({ levelSummaries }: Results, zeroNs: number): [number, string][] {
  if (levelSummaries.length < 2 || levelSummaries.length > 16) return [];
  return levelSummaries.map(({ name, windowStartS }) => [rounded(Math.max(0, windowStartS - zeroNs / 1e9)), name]);
}

/** At most this many metrics of the server are drawn, and points of each. */
const mostMetrics = 16;
const mostPoints = 400;

/** The metrics that were polled from the server, a panel each. */
function serverPictures(
  runs: readonly { run: Results; label: string; bins: Binned }[],
  x: Panel["x"],
  marks: [number, string][],
): Picture[] {
  const series = new Map<string, Series[]>();
  for (const [i, { run, label, bins }] of runs.entries()) {
    for (const [metric, points] of polled(run)) {
      const drawn = thinnedPoints(points).map(
        ([ns, value]) => [rounded((ns - bins.zeroNs) / 1e9), rounded(value)] as const,
      );
      const known = series.get(metric) ?? [];
      series.set(metric, known);
      known.push({ name: seriesName(label, "value"), points: drawn, kind: "step", symbols: false, color: i });
    }
  }
  const panels = [...series].slice(0, mostMetrics).map(
    ([metric, each]): Panel => ({
      ...{ x, y: { title: shortMetric(metric) }, series: each, height: 140 },
      marks,
    }),
  );
  return drawCurves({
    name: "server-metrics",
    title: "The server's own metrics",
    alt: `Polled from the server over time: ${[...series.keys()].join(", ")}`,
    panels,
    group: "time",
    pageOnly: true,
  });
}

/** vllm:num_requests_running{...} -> num_requests_running. */
const shortMetric = (name: string): string =>
  name
    .replace(/\{.*$/, "")
    .replace(/^[a-z]+:/, "")
    .slice(0, 28);

/** Every metric that has a value, with its points in time. */
function polled(run: Results): Map<string, [number, number][]> {
  const found = new Map<string, [number, number][]>();
  for (const { metrics, points } of run.points) {
    for (const [ns, ...values] of points) {
      for (const [column, value] of values.entries()) {
        const name = metrics[column];
        if (name === undefined || typeof value !== "number") continue;
        const known = found.get(name);
        if (known) known.push([ns, value]);
        else found.set(name, [[ns, value]]);
      }
    }
  }
  return found;
}

/** The lowest and the highest point of each slice, in order. */
function thinnedPoints(points: readonly [number, number][]): [number, number][] {
  if (points.length <= mostPoints) return [...points];
  const size = Math.ceil((2 * points.length) / mostPoints);
  const extremes: [number, number][] = [];
  for (let from = 0; from < points.length; from += size) {
    const slice = points.slice(from, from + size);
    const lowest = slice.reduce((a, b) => (b[1] < a[1] ? b : a));
    const highest = slice.reduce((a, b) => (b[1] > a[1] ? b : a));
    extremes.push(...(lowest === highest ? [lowest] : lowest[0] < highest[0] ? [lowest, highest] : [highest, lowest]));
  }
  return extremes;
}
