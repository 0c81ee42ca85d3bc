import assert from "node:assert/strict";
import test from "node:test";
import {
  knownMetrics,
  metricPresets,
  metricsItems,
  parseMetricsItem,
  parsePowerMetric,
  wantedMetrics,
} from "./server-presets";

test("every preset has metrics, and a metric has one meaning", () => {
  for (const preset of metricPresets) assert.ok(knownMetrics.some((each) => each.preset === preset));
  assert.equal(new Set(knownMetrics.map(({ name }) => name)).size, knownMetrics.length);
});

test("METRICS takes presets, names and patterns", () => {
  assert.deepEqual(metricsItems('vllm, mean(p{a="1",b="2"}),x_*'), ["vllm", 'mean(p{a="1",b="2"})', "x_*"]);
  for (const text of ["vllm:num_*", "a", "max(a_b)", 'p{gpu="0"}', "*"]) assert.equal(parseMetricsItem(text), text);
  for (const text of ["vlm x", "", "median(a)", "p{gpu=0}", "a-b", "mean(a"])
    assert.equal(parseMetricsItem(text), undefined, text);
  assert.deepEqual(wantedMetrics("vllm:x,dcgm", "rack_watts").selectors.slice(0, 3), [
    "rack_watts",
    "vllm:x",
    "mean(DCGM_FI_DEV_GPU_UTIL)",
  ]);
});

test("POWER_METRIC needs a unit that is known", () => {
  assert.deepEqual(parsePowerMetric("node_power_watts"), { name: "node_power_watts", role: "power", scale: 1 });
  assert.deepEqual(parsePowerMetric("x_milliwatts"), { name: "x_milliwatts", role: "power", scale: 0.001 });
  assert.deepEqual(parsePowerMetric("e_joules_total"), { name: "e_joules_total", role: "energy", scale: 1 });
  assert.deepEqual(parsePowerMetric('DCGM_FI_DEV_POWER_USAGE{gpu="1"}'), {
    name: 'DCGM_FI_DEV_POWER_USAGE{gpu="1"}',
    role: "power",
    scale: 1,
  });
  assert.deepEqual(parsePowerMetric("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION")?.scale, 0.001);
  assert.deepEqual(parsePowerMetric("pdu[kWh]"), { name: "pdu", role: "energy", scale: 3.6e6 });
  for (const text of ["pdu", "pdu[BTU]", "pdu[w]", "power_w", "x watts", ""])
    assert.equal(parsePowerMetric(text), undefined, text);
});
