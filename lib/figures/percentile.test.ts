import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { median, percentile, sampleVariance, statsOf } from "./percentile";

const rows: { values: number[]; p: number; is: number; why: string }[] = [
  { values: [], p: 0.5, is: 0, why: "nothing has percentile 0" },
  { values: [7], p: 0.99, is: 7, why: "one value is all its percentiles" },
  { values: [1, 2], p: 0.5, is: 1.5, why: "between two values the percentile is interpolated" },
  { values: [1, 2, 3, 4], p: 0.9, is: 3.7, why: "rank 0.9 x 3 = 2.7 lies 0.7 of the way from the third to the fourth" },
  { values: [1, 2, 3, 4, 5], p: 0.25, is: 2, why: "a whole rank is a value itself" },
  { values: [1, 100], p: 1, is: 100, why: "the 100th percentile is the largest value" },
];
for (const { values, p, is, why } of rows) {
  test(why, () => assert.ok(Math.abs(percentile(values, p) - is) < 1e-9));
}

test("statistics do not depend on the order, and percentiles rise from minimum to maximum", () => {
  const values = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(values, (array) => {
      const stats = statsOf(array);
      assert.deepEqual(statsOf([...array].reverse()), stats);
      const ascending = [stats.min, stats.p50, stats.p90, stats.p95, stats.p99, stats.p999, stats.max];
      for (const [i, value] of ascending.slice(1).entries()) assert.ok(value >= (ascending[i] ?? 0) - 1e-9);
      assert.equal(stats.min, Math.min(...array));
      assert.equal(stats.max, Math.max(...array));
    }),
  );
});

test("the standard deviation divides by the count", () => {
  const { mean, std } = statsOf([2, 4, 4, 4, 5, 5, 7, 9]);
  assert.deepEqual([mean, std], [5, 2]);
});

test("the median and the variance of a sample, in any order and of few", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(median([]), 0);
  assert.equal(sampleVariance([1, 2, 3, 4]), 5 / 3);
  // Values far from 0 keep their digits.
  assert.equal(sampleVariance([1e9 + 1, 1e9 + 2, 1e9 + 3]), 1);
  for (const few of [[], [7]]) assert.equal(sampleVariance(few), 0);
});
