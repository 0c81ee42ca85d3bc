import assert from "node:assert/strict";
import { test } from "node:test";
import type { ScriptMetric } from "../../lib/figures/level-summary";
import type { Results } from "../read/read";
import { scriptChanges } from "./script-metrics";

const runOf = (...scriptMetrics: ScriptMetric[]) => ({ summary: { scriptMetrics } }) as unknown as Results;
const trend = (avg: number, more: Partial<ScriptMetric> = {}): ScriptMetric => ({
  ...{ name: "answer_tokens", type: "trend", values: { count: 4, avg, "p(95)": 2 * avg } },
  ...more,
});

test("a metric that all runs of both sides have is compared by the means of each side's runs", () => {
  const changes = scriptChanges([runOf(trend(10)), runOf(trend(14))], [runOf(trend(15))]);
  assert.deepEqual(changes, [
    {
      metric: "answer_tokens",
      changes: [
        { aggregate: "avg", a: 12, b: 15, change: 0.25 },
        { aggregate: "p(95)", a: 24, b: 30, change: 0.25 },
      ],
    },
  ]);
});

test("what a run lacks, never set, or has under other tags or of another type is not compared", () => {
  const one = runOf(trend(10));
  for (const other of [
    runOf(),
    runOf(trend(0, { empty: true })),
    runOf(trend(10, { tags: { turn: "t1" } })),
    runOf(trend(10, { type: "gauge", values: { value: 1 } })),
    { summary: undefined } as unknown as Results,
  ]) {
    assert.deepEqual(scriptChanges([one], [other]), []);
    assert.deepEqual(scriptChanges([other], [one]), []);
  }
  const tags = (list: [string, string][]) => runOf(trend(10, { tags: Object.fromEntries(list), unit: "ms" }));
  const [same] = scriptChanges(
    [
      tags([
        ["a", "1"],
        ["b", "2"],
      ]),
    ],
    [
      tags([
        ["b", "2"],
        ["a", "1"],
      ]),
    ],
  );
  assert.deepEqual([same?.metric, same?.unit], ["answer_tokens{a:1,b:2}", "ms"]);
  const counter = (count: number) => runOf({ name: "orders", type: "counter", values: { count, rate: count / 10 } });
  assert.deepEqual(scriptChanges([counter(0)], [counter(5)])[0]?.changes, [
    { aggregate: "count", a: 0, b: 5 },
    { aggregate: "rate", a: 0, b: 0.5 },
  ]);
});
