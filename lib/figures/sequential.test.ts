import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng } from "../workload/rng";
import { designEffect, logEvidence } from "./sequential";

test("evidence above a target, by adding up the mixture", () => {
  for (const [kept, missed, target] of [
    [50, 0, 0.9],
    [180, 5, 0.95],
    [3, 40, 0.5],
  ] as const) {
    let sum = 0;
    const steps = 200_000;
    for (let i = 0; i < steps; i++) {
      const share = target + ((1 - target) * (i + 0.5)) / steps;
      sum += (share / target) ** kept * ((1 - share) / (1 - target)) ** missed;
    }
    const exact = Math.log(sum / steps);
    assert.ok(Math.abs(logEvidence("above", kept, missed, target) - exact) < 1e-3, `${kept}, ${missed}, ${target}`);
  }
});

test("evidence below a target is that of the misses above theirs", () => {
  assert.equal(logEvidence("below", 20, 30, 0.9), logEvidence("above", 30, 20, 1 - 0.9));
  assert.ok(logEvidence("below", 20, 30, 0.9) > Math.log(1e9));
  assert.ok(logEvidence("above", 20, 30, 0.9) < 0);
});

test("a share that is exactly the target is rarely shown to be above or below it, though it is looked at each time", () => {
  for (const side of ["above", "below"] as const) {
    let shown = 0;
    for (let series = 0; series < 400; series++) {
      const rng = seededRng(series, 3);
      let kept = 0;
      for (let n = 1; n <= 1000; n++) {
        if (rng() < 0.9) kept++;
        if (logEvidence(side, kept, n - kept, 0.9) < Math.log(1 / 0.05)) continue;
        shown++;
        break;
      }
    }
    // At most 20 of 400 are expected; a bound for a fixed number of samples errs in more than 80 of them.
    assert.ok(shown <= 30, `${side}: ${shown} of 400`);
    assert.ok(shown > 0, side);
  }
});

test("a share apart from the target is shown to be so", () => {
  const rng = seededRng(1, 4);
  let kept = 0;
  for (let n = 1; n <= 2000; n++) if (rng() < 0.93) kept++;
  assert.ok(logEvidence("above", kept, 2000 - kept, 0.9) > Math.log(1 / 0.01));
});

test("refuses what is no share and no count", () => {
  assert.throws(() => logEvidence("above", 1, 1, 1), /target between 0 and 1/);
  assert.throws(() => logEvidence("above", -1, 1, 0.9), /counts of at least 0/);
});

test("the design effect of a chain with a known one", () => {
  for (const [correlation, least, most] of [
    [0, 1, 1.8],
    [0.9, 14, 30],
  ] as const) {
    const rng = seededRng(7, 5);
    let value = 0;
    const values = Array.from({ length: 20_000 }, () => {
      value = correlation * value + (rng() - 0.5);
      return value;
    });
    // (1 + r) / (1 - r): 1 and 19.
    const effect = designEffect(values);
    assert.ok(effect >= least && effect <= most, `${correlation}: ${effect}`);
  }
  assert.equal(designEffect([1, 1, 1, 1]), 1);
});
