/** Throughput against latency: a point a level, with the SLO's line and the knee. */
import { levelFails, slosOf } from "../../judge/level-state";
import type { LevelSummary } from "../../read/read";
import type { Section } from "../answer";
import { type DistributionKey, measured } from "../answers/levels";
import { draw, latencyAxis, type Panel } from "../chart";
import { rounded, type ShownRun, seriesName } from "./runs";

/** The level of highest throughput, and the one from which more load buys little: the first that reaches nine tenths of it. */
export function knee(
  levels: readonly LevelSummary[],
  throughput: (level: LevelSummary) => number,
): { peak: LevelSummary; knee: LevelSummary } | undefined {
  const [first, ...rest] = levels;
  if (!first) return undefined;
  const peak = rest.reduce((best, level) => (throughput(level) > throughput(best) ? level : best), first);
  return { peak, knee: levels.find((level) => throughput(level) >= 0.9 * throughput(peak)) ?? peak };
}

const loadOf = ({ concurrency, rate, batchSize }: LevelSummary): number | undefined => concurrency ?? rate ?? batchSize;

/** The levels of rising load. Phases without a load, and classes that ran at once, are no steps from a lower to a higher one. */
function loadLevels(all: readonly LevelSummary[]): LevelSummary[] {
  const byTime = [...all].sort((a, b) => a.windowStartS - b.windowStartS);
  const atOnce = byTime.some(({ windowStartS }, i) => {
    const before = byTime[i - 1];
    return before !== undefined && windowStartS < before.windowStartS + before.durationS / 2;
  });
  if (atOnce) return [];
  const known = all.filter((level) => level.completed > 0 && loadOf(level) !== undefined);
  return known.sort((a, b) => (loadOf(a) ?? 0) - (loadOf(b) ?? 0));
}

export function throughputSection(shown: readonly ShownRun[]): Section {
  const heading = "Throughput against latency";
  const known = shown.map(({ run, label }) => ({
    run,
    label,
    slo: slosOf(run),
    levels: loadLevels(run.levelSummaries),
  }));
  const levels = known.flatMap((each) => each.levels);
  const loads = known.map((each) => new Set(each.levels.map(loadOf)).size);
  if (!loads.some((count) => count > 1)) return { heading, pictures: [], tables: [] };
  const tokens = levels.some((level) => level.outputTokens > 0);
  const throughput = (level: LevelSummary) => (tokens ? level.outputThroughput : level.requestThroughput);
  const unit = tokens ? "output tokens/s" : "requests/s";
  const kinds = (
    [
      ["ttftMs", "TTFT", "ttft"],
      ["e2eMs", "E2e latency", "e2e"],
    ] as [DistributionKey, string, "ttft" | "e2e"][]
  ).filter(([key]) => levels.some((level) => measured(level, key)));
  const panels = kinds.map(([key, title, slo], panelIndex): Panel => {
    const values = levels.flatMap((level) => [measured(level, key)?.p50 ?? 0, measured(level, key)?.p99 ?? 0]);
    const limits = [...new Set(known.flatMap((each) => each.slo[slo] ?? []))];
    return {
      x: { title: `Throughput (${unit})`, min: 0 },
      y: latencyAxis(`${title} (ms)`, values, limits),
      series: known.flatMap((each, i) =>
        (["p50", "p99"] as const).map((p, j) => ({
          name: seriesName(each.label, p),
          color: 2 * i + j,
          symbols: true,
          points: each.levels.map(
            (level) =>
              [
                rounded(throughput(level)),
                level && measured(level, key) ? rounded(measured(level, key)?.[p] as number) : null,
              ] as const,
          ),
          labels: each.levels.map(({ name }) => name),
          quiet: p === "p50",
        })),
      ),
      limits: limits.map((ms) => [ms, `SLO ${title} ${ms} ms`] as [number, string]),
      marks: known.flatMap((each): [number, string][] => {
        const passing = each.levels.filter((level) => !levelFails(each.run, level));
        const found = passing.length > 1 ? knee(passing, throughput) : undefined;
        return found
          ? [
              [
                rounded(throughput(found.knee)),
                panelIndex === 0 ? `knee ${seriesName(each.label, found.knee.name)}` : "",
              ],
            ]
          : [];
      }),
    };
  });
  return {
    heading,
    text: [
      "A point a level, in the order of its load. The knee is the first level that reaches nine tenths of the highest throughput of the levels that passed: more load mostly adds waiting.",
    ],
    pictures: [
      draw({
        name: "throughput-against-latency",
        title: heading,
        alt: `p50 and p99 of TTFT and e2e latency in ms against throughput in ${unit}, a point a level`,
        panels,
        hover: "point",
      }),
    ],
    tables: [],
  };
}
