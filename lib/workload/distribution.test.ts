import assert from "node:assert/strict";
import { test } from "node:test";
import { statsOf } from "../figures/percentile";
import { formatDistribution, parseDistribution, sample } from "./distribution";
import { seededRng } from "./rng";

const draws = 20_000;

function drawn(text: string, seed = 7): number[] {
  const distribution = parseDistribution(text);
  assert.ok(distribution, text);
  const rng = seededRng(seed);
  return Array.from({ length: draws }, () => sample(distribution, rng));
}

const moments: { text: string; mean: number; std: number; why: string }[] = [
  { text: "128", mean: 128, std: 0, why: "a number is that number each time" },
  { text: "uniform:1:9", mean: 5, std: 2.582, why: "both ends belong to it" },
  { text: "normal:1000:100", mean: 1000, std: 100, why: "far from 1 nothing is cut off" },
  { text: "lognormal:1000:500", mean: 1000, std: 500, why: "mean and deviation are those of the lengths" },
  { text: "exponential:200", mean: 200, std: 200, why: "its deviation is its mean" },
  { text: "oneof:10:20", mean: 15, std: 5, why: "each value has the same share" },
];
for (const { text, mean, std, why } of moments) {
  test(`${text}: ${why}`, () => {
    const stats = statsOf(drawn(text));
    // Four standard errors of the mean, and a bound of the same kind for the deviation.
    assert.ok(Math.abs(stats.mean - mean) <= (4 * std) / Math.sqrt(draws) + 0.02, `mean ${stats.mean}`);
    assert.ok(Math.abs(stats.std - std) <= 0.05 * std, `std ${stats.std}`);
  });
}

test("zipf: the k-th value comes 1/k^s as often as the first, and none above max", () => {
  const counts = new Map<number, number>();
  for (const value of drawn("zipf:100:1.2")) counts.set(value, (counts.get(value) ?? 0) + 1);
  const first = counts.get(1) ?? 0;
  for (const k of [2, 3, 5]) {
    const expected = first / k ** 1.2;
    assert.ok(Math.abs((counts.get(k) ?? 0) - expected) < 5 * Math.sqrt(expected), `${k}: ${counts.get(k)}`);
  }
  assert.ok(Math.max(...counts.keys()) <= 100);
  assert.ok(Math.min(...counts.keys()) >= 1);
});

test("no length is below 1", () => {
  assert.equal(Math.min(...drawn("normal:2:50")), 1);
});

test("equal seeds give equal lengths, other seeds others", () => {
  assert.deepEqual(drawn("normal:100:30", 3), drawn("normal:100:30", 3));
  assert.notDeepEqual(drawn("normal:100:30", 3), drawn("normal:100:30", 4));
});

test("what is no distribution is refused", () => {
  const texts = ["", "0", "-1", "1.5", "uniform", "uniform:1", "uniform:5:4", "uniform:0:4", "normal:x:1", "zipf:0:1"];
  for (const text of [...texts, "oneof:", "oneof:1.5", "poisson:3", "1e3"]) {
    assert.equal(parseDistribution(text), undefined, text);
  }
});

test("formatting and parsing undo each other", () => {
  const texts = ["128", "uniform:3:9", "normal:10:2", "lognormal:10:2", "exponential:10", "zipf:50:1.1", "oneof:8:2"];
  for (const text of texts) {
    const parsed = parseDistribution(text);
    assert.ok(parsed);
    assert.equal(formatDistribution(parsed), text);
  }
});
