import assert from "node:assert/strict";
import { test } from "node:test";
import { mean, sampleStd } from "../../test/support/statistics";
import { randomNormal, seededRng } from "./rng";

test("the same seed gives the same numbers, evenly spread; another stream gives others", () => {
  const values = Array.from({ length: 10_000 }, seededRng(7));
  assert.deepEqual(values.slice(0, 5), Array.from({ length: 5 }, seededRng(7)));
  assert.notDeepEqual(values.slice(0, 5), Array.from({ length: 5 }, seededRng(7, 1)));
  assert.ok(Math.abs(mean(values) - 0.5) < 0.02);
  assert.ok(values.every((value) => value >= 0 && value < 1));
});

test("normal numbers have the mean 0 and the deviation 1", () => {
  const rng = seededRng(11);
  const values = Array.from({ length: 10_000 }, () => randomNormal(rng));
  assert.ok(Math.abs(mean(values)) < 0.05);
  assert.ok(Math.abs(sampleStd(values) - 1) < 0.05);
});
