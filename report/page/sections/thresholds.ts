/** Every threshold of the runs, with its value and how far it was from the limit. */
import { isMetricName, metrics } from "../../../lib/figures/metrics-table";
import { shownSelector } from "../../../lib/figures/selector";
import type { Summary } from "../../read/read";
import type { Section } from "../answer";
import type { Table } from "../table";
import { runColumn, type ShownRun } from "./runs";

type Judgement = NonNullable<Summary["thresholds"]>[number];

export function thresholdsSection(shown: readonly ShownRun[]): Section {
  const rows = shown.flatMap(({ run, label }) =>
    inOrder(run.summary).map(({ metric, level, tags, of, expression, value, margin, result }) => {
      const limit = limitOf(expression);
      return {
        run: label,
        result,
        level: level ?? "the whole run",
        metric: of === undefined ? shownSelector(metric, tags) : `${metric} of ${of}`,
        limit: expression,
        value: value ?? null,
        margin: margin ?? null,
        margin_share: margin !== undefined && limit ? margin / Math.abs(limit) : null,
        // The limit of a drift is a share of where the metric began.
        unit: expression.endsWith("%")
          ? "%"
          : isMetricName(metric)
            ? metrics[metric].unit
            : (unitOf(run.summary, metric) ?? ""),
      };
    }),
  );
  const none = shown.filter(({ run }) => (run.summary?.thresholds ?? []).length === 0).map(({ label }) => label);
  const ofScript = scriptTable(shown);
  const words =
    none.length === 0 ? [] : [`No threshold was judged${none.some(Boolean) ? ` in ${none.join(", ")}` : ""}.`];
  const judgements: Table = {
    name: "thresholds",
    title: "Every threshold",
    note: "The margin is how far the value is on the limit's good side, in the metric's unit and as a share of the limit; negative where the threshold was violated. llm_samples counts the values that a metric had: k6 passes a threshold on a metric without values.",
    columns: [
      ...runColumn(shown),
      { key: "result", title: "Result" },
      { key: "level", title: "Level" },
      { key: "metric", title: "Metric" },
      { key: "limit", title: "Threshold" },
      { key: "value", title: "Value" },
      { key: "margin", title: "Margin" },
      { key: "margin_share", title: "Margin", unit: "of the limit", format: "change" },
      { key: "unit", title: "Unit" },
    ],
    rows,
  };
  return {
    heading: "Thresholds",
    text: words,
    pictures: [],
    tables: [...(rows.length > 0 ? [judgements] : []), ...(ofScript ? [ofScript] : [])],
  };
}

/** The unit of a metric of the script's own. */
const unitOf = (summary: Summary | undefined, metric: string): string | undefined =>
  summary?.scriptMetrics?.find(({ name }) => name === metric)?.unit;

/** The metrics that the scripts of the runs made, with what k6 kept of each; undefined where there are none. */
function scriptTable(shown: readonly ShownRun[]): Table | undefined {
  const rows = shown.flatMap(({ run, label }) =>
    (run.summary?.scriptMetrics ?? []).flatMap(({ name, tags, type, unit = "", values, empty }) =>
      Object.entries(values).map(([aggregate, value]) => ({
        ...{ run: label, metric: shownSelector(name, tags), type, aggregate, value: empty ? null : value, unit },
      })),
    ),
  );
  return rows.length === 0
    ? undefined
    : {
        name: "script_metrics",
        title: "The script's own metrics",
        note: "As k6 aggregated them over the whole run, warm-up included; a row with tags has the samples of a threshold on these tags. A metric without a value is empty.",
        columns: [
          ...runColumn(shown),
          { key: "metric", title: "Metric" },
          { key: "type", title: "Type" },
          { key: "aggregate", title: "Aggregate" },
          { key: "value", title: "Value" },
          { key: "unit", title: "Unit" },
        ],
        rows,
      };
}

/** A run's thresholds: what was violated first, then those of the whole run and of each level as the run had them. */
function inOrder(summary: Summary | undefined): Judgement[] {
  const places = new Map((summary?.levels ?? []).map(({ name }, i) => [name, i]));
  const placeOf = ({ level }: Judgement) => (level === undefined ? -1 : (places.get(level) ?? places.size));
  return [...(summary?.thresholds ?? [])].sort(
    (a, b) =>
      Number(a.result === "passed") - Number(b.result === "passed") ||
      placeOf(a) - placeOf(b) ||
      a.metric.localeCompare(b.metric),
  );
}

/** The number behind the operator. */
function limitOf(expression: string): number | undefined {
  const [, limit] = /[<>=!]=?\s*(-?[\d.]+(?:e[+-]?\d+)?)\s*%?\s*$/i.exec(expression) ?? [];
  return limit === undefined ? undefined : Number(limit);
}
