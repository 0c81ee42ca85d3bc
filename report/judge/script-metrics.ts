/** How the metrics of a script's own differ between runs. k6 keeps aggregates of them, which show no significance. Pure. */
import type { ScriptMetric } from "../../lib/figures/level-summary";
import { shownSelector } from "../../lib/figures/selector";
import type { Results } from "../read/read";

/** One metric that all runs of both sides have values of. */
export interface ScriptChange {
  /** With its tags. */
  metric: string;
  unit?: "ms" | "bytes";
  changes: {
    /** As k6 names it: avg, p(95), count, rate, value, ... */
    aggregate: string;
    /** The mean of the side's runs. */
    a: number;
    b: number;
    /** b / a - 1; absent where a is 0. */
    change?: number;
  }[];
}

/** The aggregates that are shown of each type, where k6 kept them. */
const shown: Readonly<Record<ScriptMetric["type"], readonly string[]>> = {
  counter: ["count", "rate"],
  gauge: ["value"],
  rate: ["rate"],
  trend: ["avg", "med", "p(95)", "p(99)", "max"],
};

/** The differences of the metrics that every run of both sides has, of one type and with a value. */
export function scriptChanges(a: readonly Results[], b: readonly Results[]): ScriptChange[] {
  const [first, ...others] = [...a, ...b];
  return (first?.summary?.scriptMetrics ?? []).flatMap((metric) => {
    const key = keyOf(metric);
    const ofAll = [first, ...others].map((run) => run?.summary?.scriptMetrics?.find((each) => keyOf(each) === key));
    if (ofAll.some((each) => each === undefined || each.empty || each.type !== metric.type)) return [];
    const mean = (of: typeof ofAll, aggregate: string) =>
      of.reduce((sum, each) => sum + (each?.values[aggregate] ?? Number.NaN), 0) / of.length;
    const changes = shown[metric.type].flatMap((aggregate) => {
      const [of, to] = [mean(ofAll.slice(0, a.length), aggregate), mean(ofAll.slice(a.length), aggregate)];
      // Not every run has kept it.
      if (Number.isNaN(of) || Number.isNaN(to)) return [];
      return [{ aggregate, a: of, b: to, ...(of !== 0 && { change: to / of - 1 }) }];
    });
    return changes.length > 0 ? [{ metric: key, ...(metric.unit && { unit: metric.unit }), changes }] : [];
  });
}

const keyOf = ({ name, tags = {} }: ScriptMetric): string =>
  shownSelector(name, Object.fromEntries(Object.entries(tags).sort(([x], [y]) => (x < y ? -1 : 1))));
