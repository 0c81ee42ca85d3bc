import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fitLine, phaseSplit, rampFigures, secondsCsv } from "./figures";
import type { LevelSummary, Second } from "./level-summary";

function second(t: number, succeeded: number, failed = 0): Second {
  const asked = succeeded + failed;
  const counts = { asked, sent: asked, succeeded, failed, askedFailed: failed, inFlight: 0, outputTokens: 0 };
  return { t, ...counts, meanMs: 10, p50Ms: 9, p95Ms: t };
}

test("prefill is phase two as a whole, decode what phase one took longer", () => {
  const full = { inputTokens: 1000, outputTokens: 300, whole: { durationS: 5 } } as LevelSummary;
  const prefill = { whole: { durationS: 2 } } as LevelSummary;
  assert.deepEqual(phaseSplit(full, prefill), {
    inputTokens: 1000,
    outputTokens: 300,
    e2eLatencyS: 5,
    summarizationLatencyS: 2,
    generationLatencyS: 3,
    summarizationThroughput: 500,
    e2eThroughput: 60,
    generationThroughput: 100,
  });
});

test("failures begin where more than one per cent fail over five seconds, not at a single slip", () => {
  const seconds = [
    ...Array.from({ length: 10 }, (_, t) => second(t, 100)),
    second(10, 99, 1),
    ...Array.from({ length: 10 }, (_, i) => second(11 + i, 100)),
    ...Array.from({ length: 5 }, (_, i) => second(21 + i, 60, 40)),
  ];
  const { onset, highestSuccessRate, failureShareAtEnd } = rampFigures(seconds);
  assert.deepEqual(onset, { t: 21, askedRate: 100, p95Ms: 21 });
  assert.equal(highestSuccessRate, 100);
  assert.equal(failureShareAtEnd, 0.4);
});

test("a rate that is reached for one second is not sustained", () => {
  const seconds = [second(0, 10), second(1, 10), second(2, 90), second(3, 10), second(4, 10), second(5, 10)];
  assert.equal(rampFigures(seconds).highestSuccessRate, 26);
});

test("a ramp shorter than that counts as a whole; none counts nothing", () => {
  assert.equal(rampFigures([second(0, 4), second(1, 8)]).highestSuccessRate, 6);
  assert.deepEqual(rampFigures([]), { onset: undefined, highestSuccessRate: 0, failureShareAtEnd: 0 });
});

test("seconds become a line each", () => {
  assert.equal(
    secondsCsv([second(3, 2, 1)]),
    "t_s,asked,sent,succeeded,failed,mean_ms,p50_ms,p95_ms,in_flight,output_tokens\n3,3,3,2,1,10,9,3,0,0\n",
  );
});

test("a line is found again in its own points", () => {
  const number = fc.double({ min: -100, max: 100, noNaN: true });
  const xs = fc.uniqueArray(fc.integer({ min: 0, max: 4096 }), { minLength: 2, maxLength: 20 });
  fc.assert(
    fc.property(number, number, xs, (slope, intercept, at) => {
      const line = fitLine(at.map((x) => [x, intercept + slope * x]));
      assert.ok(line);
      assert.ok(Math.abs(line.slope - slope) < 1e-6 && Math.abs(line.intercept - intercept) < 1e-2);
    }),
  );
});

test("one length gives no line", () => {
  assert.equal(
    fitLine([
      [32, 10],
      [32, 11],
    ]),
    undefined,
  );
});
