import assert from "node:assert/strict";
import { test } from "node:test";
import { pausesNs as pauses } from "./read/arrivals";
import { mean, median, quantile, sampleStd } from "./statistics";

test("the standard deviation is that of a sample", () => {
  assert.ok(Math.abs(sampleStd([2, 4, 4, 4, 5, 5, 7, 9]) - Math.sqrt(32 / 7)) < 1e-12);
  assert.equal(sampleStd([3]), 0);
});

const pausesNs = (gapsNs: readonly number[]) => pauses(gapsNs, median(gapsNs));

test("nothing has no mean and no percentile", () => {
  assert.ok(Number.isNaN(mean([])));
  assert.ok(Number.isNaN(quantile([], 0.5)));
  assert.equal(median([1, 2, 10, 4]), 3);
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
