import assert from "node:assert/strict";
import { test } from "node:test";
import { pausesNs } from "./read";
import { fitLine, mean, median, quantile, sampleStd, seededRandom } from "./statistics";

test("a line through exact points is found exactly", () => {
  const line = fitLine([32, 100, 1024, 4096].map((x) => [x, 12 + 0.125 * x] as const));
  assert.ok(line);
  assert.ok(Math.abs(line.slope - 0.125) < 1e-12);
  assert.ok(Math.abs(line.intercept - 12) < 1e-9);
  assert.ok(Math.abs(line.r2 - 1) < 1e-12);
});

test("the textbook example: slope, intercept and R squared by the sums", () => {
  // x 1..5, y 2 4 5 4 5: sxy 6, sxx 10, syy 6.
  const line = fitLine([
    [1, 2],
    [2, 4],
    [3, 5],
    [4, 4],
    [5, 5],
  ]);
  assert.ok(line);
  assert.ok(Math.abs(line.slope - 0.6) < 1e-12);
  assert.ok(Math.abs(line.intercept - 2.2) < 1e-12);
  assert.ok(Math.abs(line.r2 - 0.6) < 1e-12);
});

test("there is no line through one x", () => {
  assert.equal(
    fitLine([
      [5, 1],
      [5, 2],
    ]),
    undefined,
  );
  assert.equal(fitLine([]), undefined);
});

test("the standard deviation is that of a sample", () => {
  assert.ok(Math.abs(sampleStd([2, 4, 4, 4, 5, 5, 7, 9]) - Math.sqrt(32 / 7)) < 1e-12);
  assert.equal(sampleStd([3]), 0);
});

test("nothing has no mean and no percentile", () => {
  assert.ok(Number.isNaN(mean([])));
  assert.ok(Number.isNaN(quantile([], 0.5)));
  assert.equal(median([1, 2, 10, 4]), 3);
});

test("the same seed gives the same numbers, evenly spread", () => {
  const first = seededRandom(7);
  const second = seededRandom(7);
  const values = Array.from({ length: 10_000 }, first);
  assert.deepEqual(values.slice(0, 5), Array.from({ length: 5 }, second));
  assert.ok(Math.abs(mean(values) - 0.5) < 0.02);
  assert.ok(values.every((value) => value >= 0 && value < 1));
});

test("pauses are what gaps exceed the median plus three standard deviations by", () => {
  const gaps = [...Array.from({ length: 40 }, () => 10), 1010];
  // Mean 34.39, sum of squares 40 x 24.39² + 975.61²: the sample's deviation is 156.17.
  const centre = (400 + 1010) / 41;
  const std = Math.sqrt((40 * (10 - centre) ** 2 + (1010 - centre) ** 2) / 40);
  assert.ok(Math.abs(pausesNs(gaps) - (1010 - (10 + 3 * std))) < 1e-9);
  assert.equal(pausesNs(gaps.slice(-9)), 0, "too few gaps to know a typical gap");
  assert.equal(pausesNs(Array.from({ length: 30 }, () => 10)), 0, "an even stream never stands still");
});
