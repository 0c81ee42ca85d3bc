/** Thresholds judged on records give the value, and the verdict, that k6 gives them while the run goes on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { withCosts } from "../../lib/figures/computed-gauges";
import { foldLevel } from "../../lib/figures/fold";
import type { LevelSummary, RunReport } from "../../lib/figures/level-summary";
import { countsItsSamples, isLevelGauge, type MetricName, metrics } from "../../lib/figures/metrics-table";
import type { RequestLine } from "../../lib/figures/records";
import { gatesEveryRun } from "../../lib/figures/threshold";
import { requestLine } from "../../test/support/synthetic";
import { judgePoints, type MeasuredLevel, type WholeRun } from "./point-limits";

/** Ten requests, one a second: TTFT 100, 110, ... 180 ms, gaps of 10 ms; the last one fails. */
const requests: RequestLine[] = Array.from({ length: 10 }, (_, index) => ({
  ...requestLine({
    ...{ level: "c1", index, scheduledMs: index * 1000, sentMs: index * 1000 + 5, inputTokens: 50 },
    ...(index === 9 ? { failure: "http_5xx" } : { ttftMs: 100 + index * 10, gapsMs: [10, 10] }),
  }),
  tokenSource: "usage",
  cachedTokens: 20,
}));
const line = { type: "level" as const, name: "c1", concurrency: 1, openNs: 0, closeNs: 10e9, endNs: 10e9 };

function measured(change: (level: LevelSummary) => LevelSummary = (level) => level): MeasuredLevel[] {
  const level = foldLevel("c1", requests, line, { ttft: 165 });
  const { levels } = withCosts({ levels: [change(level)] } as RunReport, { PRICE_INPUT: 1, PRICE_OUTPUT: 10 }).report;
  return levels.map((summary) => ({ summary, steady: requests }));
}

const whole: WholeRun = { clientBound: false, cacheBound: false, droppedIterations: 0 };
const energy = (level: LevelSummary): LevelSummary => ({ ...level, server: { joulesPerOutputToken: 2.5, pages: [] } });

/** The value that one threshold is judged by, and whether it holds. */
function judged(key: string, expression: string, levels = measured(energy), run = whole) {
  const [only, ...others] = judgePoints({ [key]: [expression] }, levels, run);
  assert.deepEqual(others, []);
  assert.ok(only);
  return { value: only.value === undefined ? undefined : Number(only.value.toPrecision(9)), ok: only.ok };
}

const steady = (metric: MetricName) => `${metric}{level:c1${isLevelGauge(metric) ? "" : ",phase:steady"}}`;

test("each metric has the value that its definition gives it", () => {
  // 9 completed requests of 50 input and 3 output tokens: $ 50e-6 + 30e-6 each.
  const cases: [MetricName, string, number][] = [
    ["llm_ttft", "p(50)", 140],
    ["llm_ttft", "avg", 140],
    ["llm_ttft", "p(100)", 180],
    ["llm_ttft", "min", 100],
    ["llm_ttft", "max", 180],
    ["llm_ttft", "med", 140],
    ["llm_ttfo", "p(25)", 120],
    ["llm_tpot", "p(95)", 10],
    ["llm_itl_max", "max", 10],
    ["llm_e2e_latency", "p(50)", 160],
    ["llm_queue_delay", "max", 5],
    ["llm_ttft_scheduled", "min", 105],
    ["llm_e2e_scheduled", "min", 125],
    ["llm_output_speed", "avg", 100],
    ["llm_requests", "count", 10],
    ["llm_failures", "count", 1],
    ["llm_request_failed", "rate", 0.1],
    ["llm_goodput", "rate", 0.7],
    ["llm_input_tokens", "count", 450],
    ["llm_output_tokens", "count", 27],
    ["llm_cached_tokens", "count", 180],
    ["llm_chunks", "count", 27],
    ["llm_itl_p50", "value", 10],
    ["llm_itl_p90", "value", 10],
    ["llm_itl_p99", "value", 10],
    ["llm_output_throughput", "value", 2.7],
    ["llm_request_throughput", "value", 0.9],
    ["llm_request_goodput", "value", 0.7],
    ["llm_cached_share", "value", 0.4],
    ["llm_cost_request", "value", 80e-6],
    ["llm_cost_output", "value", (9 * 80e-6 * 1e6) / 27],
    ["llm_cost_output_slo", "value", (9 * 80e-6 * 1e6) / 21],
    ["llm_cost_good_request", "value", (9 * 80e-6) / 7],
    ["llm_energy_output", "value", 2.5],
  ];
  for (const [metric, aggregate, value] of cases) {
    const name = `${metric} ${aggregate}`;
    const wanted = Number(value.toPrecision(9));
    for (const [operator, limit, ok] of [
      ["<", value * 1.01, true],
      ["<", value * 0.99, false],
      [">", value * 0.99, true],
      [">", value * 1.01, false],
    ] as const) {
      assert.deepEqual(
        judged(steady(metric), `${aggregate}${operator}${limit.toFixed(12)}`),
        { value: wanted, ok },
        name,
      );
    }
  }
  // Whatever a profile may limit is judged, and what counts its samples has some.
  const known = new Set(cases.map(([metric]) => metric));
  for (const metric of Object.keys(metrics) as MetricName[]) {
    if (gatesEveryRun(metric) || metric === "llm_capacity") continue;
    assert.ok(known.has(metric), `${metric} is not in this test`);
    if (!countsItsSamples(metric)) continue;
    const samples = judged(`llm_samples{level:c1,metric:${metric}}`, "value>=9").value ?? 0;
    assert.ok(samples >= 7, `${metric} has ${samples} samples`);
  }
});

test("what was not measured passes no limit, from neither side", () => {
  // No prices, no energy, no SLO: gauges of level c1 that are not there.
  const levels = [{ summary: foldLevel("c1", requests, line, {}), steady: requests }];
  for (const metric of [
    "llm_cost_request",
    "llm_cost_good_request",
    "llm_energy_output",
    "llm_request_goodput",
  ] as const) {
    for (const expression of ["value<1000", "value>=0"]) {
      assert.deepEqual(judged(steady(metric), expression, levels), { value: undefined, ok: false }, metric);
    }
    assert.deepEqual(judged(`llm_samples{level:c1,metric:${metric}}`, "value>=1", levels), { value: 0, ok: false });
  }
  // A level that no runner came to.
  for (const key of ["llm_ttft{level:c2,phase:steady}", "llm_cost_output{level:c2}"]) {
    assert.equal(judged(key, key.startsWith("llm_ttft") ? "p(95)<1000" : "value<1000").ok, false);
  }
  assert.deepEqual(judged("llm_requests{level:c2,phase:steady}", "count>=1"), { value: 0, ok: false });
  const none = [{ summary: foldLevel("c1", [], line, {}), steady: [] }];
  assert.deepEqual(judged("llm_ttft{level:c1,phase:steady}", "p(95)<1000", none), { value: undefined, ok: false });
});

test("thresholds of the whole run are its validity and its dropped iterations", () => {
  assert.deepEqual(judged("llm_client_bound", "value<1"), { value: 0, ok: true });
  assert.deepEqual(judged("llm_client_bound", "value<1", [], { ...whole, clientBound: true }), { value: 1, ok: false });
  assert.deepEqual(judged("llm_cache_bound", "value<1", [], { ...whole, cacheBound: true }), { value: 1, ok: false });
  assert.deepEqual(judged("dropped_iterations", "count<1", [], { ...whole, droppedIterations: 2 }), {
    value: 2,
    ok: false,
  });
});

test("a threshold that is of another form is refused: what is not understood does not pass", () => {
  const cases: [string, string][] = [
    ["my_metric{level:c1}", "p(95)<1"],
    ["llm_ttft", "p(95)<1"],
    ["llm_ttft{level:c1,phase:drain}", "p(95)<1"],
    ["llm_ttft{scenario:x}", "p(95)<1"],
    ["llm_ttft{level:c1,phase:steady}", "p(95)"],
    ["llm_ttft{level:c1,phase:steady}", "rate<1"],
    ["llm_capacity{level:c1}", "value>1"],
  ];
  for (const [key, expression] of cases) assert.throws(() => judged(key, expression), Error, `${key} ${expression}`);
});
