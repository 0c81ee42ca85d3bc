import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng } from "../../lib/workload/rng";
import { judgeShare, mlperfConfidence, samplesInAll, samplesNeeded, shareBounds } from "./early-stopping";

test("MLPerf's minimum numbers of queries follow: 64 for single stream (p90), 662 for multistream (p99)", () => {
  // Those scenarios need one sample over the limit to estimate from; the numbers are those of the inference rules.
  assert.equal(samplesNeeded(1, 0.9) + 1, 64);
  assert.equal(samplesNeeded(1, 0.99) + 1, 662);
});

test("without a sample over the limit the powers of p decide", () => {
  for (const [p, needed] of [
    [0.5, 7], // 2^-7 < 1 % < 2^-6
    [0.9, 44],
    [0.95, 90],
    [0.99, 459],
    [0.999, 4603],
  ] as const) {
    assert.equal(samplesNeeded(0, p), needed);
    assert.equal(Math.ceil(Math.log(0.01) / Math.log(p)), needed, "by logarithms");
  }
});

/** P(at most t of h + t samples are over the limit) by recurrence over the binomial's terms. */
function chance(h: number, t: number, p: number): number {
  const n = h + t;
  let term = p ** n;
  let sum = term;
  for (let i = 1; i <= t; i++) {
    term *= ((n - i + 1) / i) * ((1 - p) / p);
    sum += term;
  }
  return sum;
}

test("the number is the smallest whose chance is at most 1 - c, for many t, p and c", () => {
  for (const p of [0.5, 0.9, 0.95, 0.99]) {
    for (const confidence of [0.9, 0.99, 0.999]) {
      for (const over of [0, 1, 2, 5, 20]) {
        const h = samplesNeeded(over, p, { confidence, tolerance: 0 });
        assert.ok(chance(h, over, p) <= 1 - confidence + 1e-9, `p ${p}, c ${confidence}, t ${over}: ${h} is too few`);
        if (h > 1)
          assert.ok(
            chance(h - 1, over, p) > 1 - confidence - 1e-9,
            `p ${p}, c ${confidence}, t ${over}: ${h} is too many`,
          );
      }
    }
  }
});

test("a tolerance asks for fewer samples, as the share p - d does", () => {
  assert.equal(samplesNeeded(3, 0.99, { confidence: 0.99, tolerance: 0.04 }), samplesNeeded(3, 0.95));
});

test("verdicts: too few samples are inconclusive, clear ones are not", () => {
  for (const [n, over, p, verdict] of [
    [0, 0, 0.99, "inconclusive"],
    [458, 0, 0.99, "inconclusive"],
    [459, 0, 0.99, "passed"],
    [661, 1, 0.99, "inconclusive"],
    [662, 1, 0.99, "passed"],
    [10_000, 100, 0.99, "inconclusive"], // exactly at the limit: a coin flip for a point estimate
    [10_000, 150, 0.99, "failed"],
    [10_000, 60, 0.99, "passed"],
    [100, 100, 0.99, "failed"],
    [1, 1, 0.99, "failed"], // one sample over a p99 limit: at most 1 % likely if the share held
    [1, 1, 0.95, "inconclusive"],
  ] as const) {
    assert.equal(judgeShare(n, over, p), verdict, `${over} of ${n} over, p ${p}`);
  }
});

test("a server just worse than the limit passes in at most 1 % of runs, one just better fails in at most 1 %", () => {
  const random = seededRng(20261122);
  const runs = 4000;
  const n = 700;
  let wronglyPassed = 0;
  let wronglyFailed = 0;
  for (let run = 0; run < runs; run++) {
    let worse = 0;
    let better = 0;
    for (let i = 0; i < n; i++) {
      if (random() < 0.0101) worse++;
      if (random() < 0.0099) better++;
    }
    if (judgeShare(n, worse, 0.99) === "passed") wronglyPassed++;
    if (judgeShare(n, better, 0.99) === "failed") wronglyFailed++;
  }
  // 1 % of 4000 is 40; three standard deviations above is 59.
  assert.ok(wronglyPassed < 60, `${wronglyPassed} of ${runs} passed`);
  assert.ok(wronglyFailed < 60, `${wronglyFailed} of ${runs} failed`);
});

test("the number of samples in all is enough, and none helps at a share over the limit", () => {
  const needed = samplesInAll(100, 0, 0.99);
  assert.equal(judgeShare(needed, 0, 0.99), "passed");
  const more = samplesInAll(1000, 8, 0.99);
  assert.equal(judgeShare(more, Math.round((8 * more) / 1000), 0.99), "passed");
  assert.equal(samplesInAll(100, 2, 0.99), Number.POSITIVE_INFINITY);
});

test("the bounds of a share are where the verdict changes", () => {
  for (const [n, p, by] of [
    [1000, 0.99, mlperfConfidence],
    [1000, 0.5, mlperfConfidence],
    [300, 0.9, { confidence: 0.95, tolerance: 0.02 }],
  ] as const) {
    const { low = Number.NaN, high = Number.NaN } = shareBounds(n, p, by);
    assert.equal(judgeShare(n, n * (1 - high) - 1e-6, p, by), "passed");
    assert.notEqual(judgeShare(n, n * (1 - high) + 1e-6, p, by), "passed");
    assert.equal(judgeShare(n, n * (1 - low) + 1e-6, p, by), "failed");
    assert.notEqual(judgeShare(n, n * (1 - low) - 1e-6, p, by), "failed");
  }
  // Whole samples agree with the smallest number that suffices.
  const over = 3;
  const n = samplesNeeded(over, 0.99) + over;
  assert.ok((shareBounds(n, 0.99, mlperfConfidence).high ?? 1) <= 1 - over / n);
  assert.ok((shareBounds(n - 1, 0.99, mlperfConfidence).high ?? 1) > 1 - over / (n - 1));
});

test("too few samples have no upper bound; none have none at all", () => {
  assert.ok(shareBounds(459, 0.99, mlperfConfidence).high);
  assert.equal(shareBounds(458, 0.99, mlperfConfidence).high, undefined);
  assert.ok((shareBounds(100, 0.99, mlperfConfidence).low ?? 0) > 0.9);
  assert.deepEqual(shareBounds(0, 0.99, mlperfConfidence), { low: undefined, high: undefined });
});
