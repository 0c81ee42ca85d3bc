import assert from "node:assert/strict";
import { test } from "node:test";
import { gauge, gaugeFigures, thinned, within } from "./gauges";
import type { PointsLine } from "./records";

const line = (metrics: string[], points: PointsLine["points"]): PointsLine => ({
  type: "points",
  name: "server",
  metrics,
  points,
});

test("a gauge is found under the names of vLLM old and new, SGLang and llama.cpp", () => {
  for (const name of ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage"]) {
    assert.deepEqual(gauge([line(["other", name], [[5, 9, 0.5]])], "kvUsage"), [{ tNs: 5, value: 0.5 }]);
  }
  assert.deepEqual(gauge([line(["llamacpp:requests_deferred"], [[5, 3]])], "waiting"), [{ tNs: 5, value: 3 }]);
  assert.deepEqual(gauge([line(["llamacpp:requests_deferred"], [[5, 3]])], "kvUsage"), []);
});

test("a name that the server does not serve gives way to one that it does; gaps are left out", () => {
  const both = line(
    ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
    [
      [1, null, 0.1],
      [2, null, null],
      [3, null, 0.3],
    ],
  );
  assert.deepEqual(
    gauge([both], "kvUsage").map(({ value }) => value),
    [0.1, 0.3],
  );
});

test("figures of a span", () => {
  const points = [0, 0, 4, 2].map((value, i) => ({ tNs: i * 10, value }));
  assert.deepEqual(gaugeFigures(points), { max: 4, mean: 1.5, busyShare: 0.5, polls: 4 });
  assert.deepEqual(
    within(points, 10, 20).map(({ value }) => value),
    [0, 4],
  );
  assert.equal(gaugeFigures([]), undefined);
});

test("thinning keeps ends, order and every peak", () => {
  const points = Array.from({ length: 100_000 }, (_, i) => ({
    tNs: i * 1e7,
    value: i === 31_415 ? 1 : i === 27_182 ? -1 : Math.sin(i / 5000) / 2,
  }));
  const thin = thinned(points);
  assert.ok(thin.length <= 2800 + 4, String(thin.length));
  assert.deepEqual(thin[0], points[0]);
  assert.deepEqual(thin.at(-1), points.at(-1));
  assert.ok(thin.some(({ value }) => value === 1) && thin.some(({ value }) => value === -1));
  assert.ok(thin.every((point, i) => i === 0 || point.tNs > (thin[i - 1]?.tNs ?? 0)));
  assert.equal(thinned(points.slice(0, 500)).length, 500, "few points are left alone");
});
