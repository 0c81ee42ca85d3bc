import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng } from "../workload/rng";
import { normalTail, trendOf } from "./trend";

test("Mann and Kendall's test on a published example", () => {
  // 10 values with S = 45 - 2 * 3: z = 38 / sqrt(125) = 3.399, p = 0.00068.
  const { direction, p } = trendOf([1, 2, 3, 4, 6, 5, 8, 7, 10, 9]);
  assert.equal(direction, "rising");
  assert.ok(Math.abs(p - 0.00068) < 0.00002, String(p));
});

test("a falling series, its slope, and one outlier that is no trend", () => {
  const falling = trendOf([10, 9, 8, 7, 6, 5, 4, 3]);
  assert.equal(falling.direction, "falling");
  assert.equal(falling.slope, -1);
  assert.equal(trendOf([5, 5, 5, 5, 5, 5, 5, 100]).direction, "flat");
  assert.equal(trendOf([1, 2, 3, 4]).direction, "flat", "too short to tell");
});

test("noise shows a trend about as often as alpha says", () => {
  let shown = 0;
  for (let series = 0; series < 1000; series++) {
    const rng = seededRng(series, 6);
    if (trendOf(Array.from({ length: 12 }, rng), 0.05).direction !== "flat") shown++;
  }
  assert.ok(shown > 20 && shown < 80, String(shown));
});

test("the tail of the normal distribution", () => {
  for (const [z, tail] of [
    [0, 0.5],
    [1.96, 0.0249979],
    [3, 0.0013499],
  ] as const) {
    assert.ok(Math.abs(normalTail(z) - tail) < 1e-6, String(z));
  }
});
