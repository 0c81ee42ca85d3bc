/** Percentile curves: how latencies are distributed, level by level. */
import { slosOf } from "../../judge/level-state";
import type { RequestRow } from "../../read/read";
import { e2eMs, tpotMs, ttftMs } from "../../read/request";
import { ascending, quantile } from "../../statistics";
import type { Section } from "../answer";
import { draw, latencyAxis, nines, type Picture, type Series } from "../chart";
import { drawnLevels, rounded, rowsByLevel, type ShownRun, seriesName } from "./runs";

/** Where a curve has its points. */
const shares = [
  ...Array.from({ length: 19 }, (_, i) => i / 20),
  ...[0.95, 0.96, 0.97, 0.98, 0.99, 0.992, 0.994, 0.996, 0.998, 0.999, 0.9995, 0.9999, 0.99999],
];

/** The shares that a sample of n values says something of. */
const sharesOf = (n: number): number[] => shares.filter((share) => share === 0 || share <= 1 - 1 / n);

const metrics = [
  { key: "ttft", title: "TTFT", of: (row: RequestRow) => ttftMs(row) },
  { key: "itl", title: "ITL", of: undefined },
  { key: "tpot", title: "TPOT", of: (row: RequestRow) => tpotMs(row) },
  { key: "e2e", title: "E2e latency", of: (row: RequestRow) => e2eMs(row) },
] as const;

/** Runs beside each other differ by their dashes, levels by their colours. */
const dashes = ["solid", "dashed", "dotted"] as const;

export function distributionsSection(shown: readonly ShownRun[]): Section {
  const names = [...new Set(shown.flatMap(({ run }) => drawnLevels(run.levelSummaries).map(({ name }) => name)))];
  const rows = shown.map(({ run }) => rowsByLevel(run, ({ phase, completed }) => completed && phase === "steady"));
  const slo = shown.map(({ run }) => slosOf(run));
  const pictures = metrics.flatMap(({ key, title, of }): Picture[] => {
    const series = shown.flatMap(({ run, label }, i) =>
      drawnLevels(run.levelSummaries).flatMap(({ name }): Series[] => {
        const points = of
          ? curve(rows[i]?.get(name)?.numbers(of) ?? new Float64Array())
          : (() => {
              const histogram = run.arrivals?.itl.get(name);
              const at = sharesOf(histogram?.total ?? 0);
              return histogram && histogram.total > 0
                ? histogram.quantiles(at).map((ns, j) => [rounded(nines(at[j] as number)), rounded(ns / 1e6)] as const)
                : [];
            })();
        const color = names.indexOf(name);
        // One request has no percentiles.
        return points.length > 1
          ? [
              {
                name: seriesName(label, name),
                points: [...points],
                symbols: false,
                color,
                dash: dashes[i % dashes.length],
              },
            ]
          : [];
      }),
    );
    if (series.length === 0) return [];
    const values = series.flatMap(({ points }) => points.map(([, y]) => y ?? 0));
    const most = Math.max(...series.map(({ points }) => points.at(-1)?.[0] ?? 0));
    const ticks = [0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999].map(nines).filter((x) => x <= most + 1e-9);
    const limits = key === "itl" ? [] : [...new Set(slo.flatMap((each) => each[key] ?? []))];
    return [
      draw({
        name: `${key}-percentiles`,
        title: `${title}: percentiles`,
        alt: `${title} in ms by percentile, a line a level`,
        panels: [
          {
            x: { title: "Percentile", scale: "nines", ticks, min: 0, max: Math.max(most, nines(0.9)) },
            y: latencyAxis(`${title} (ms)`, values, limits),
            series,
            height: 220,
            limits: limits.map((ms) => [ms, `SLO ${ms} ms`] as [number, string]),
          },
        ],
        group: "percentiles",
        pageOnly: true,
      }),
    ];
  });
  return {
    heading: "Distributions",
    text:
      pictures.length === 0
        ? []
        : [
            "Completed requests of each steady window. A curve ends at the percentile above which no request is left. ITL is pooled over tokens and known to 0.3 % here.",
          ],
    pictures,
    tables: [],
  };
}

function curve(values: Float64Array): (readonly [number, number])[] {
  const sorted = ascending(values.filter((ms) => ms >= 0));
  return sorted.length === 0
    ? []
    : sharesOf(sorted.length).map((share) => [rounded(nines(share)), rounded(quantile(sorted, share))] as const);
}
