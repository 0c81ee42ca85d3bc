import assert from "node:assert/strict";
import { test } from "node:test";
import type { LevelSummary } from "./level-summary";
import { meanPhaseSplit, phaseFigures, phaseSplit } from "./phase-split";

/** A phase of ten requests. */
function phase(name: string, spanS: number, meanE2eMs: number): LevelSummary {
  const counts = { completed: 10, inputTokens: 1000, outputTokens: 300 };
  return { name, ...counts, spanS, e2eMs: { mean: meanE2eMs }, queueDelayMs: { mean: 1 } } as LevelSummary;
}

test("prefill is phase two as a whole, decode what phase one took longer", () => {
  assert.deepEqual(phaseSplit(phase("full", 5, 900), phase("prefill", 2, 300)), {
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

test("of one request it is the same with means", () => {
  const { inputTokens, summarizationThroughput, generationLatencyS, generationThroughput } = meanPhaseSplit(
    phase("full", 5, 900),
    phase("prefill", 2, 400),
  );
  assert.deepEqual(
    [inputTokens, summarizationThroughput, generationLatencyS, generationThroughput],
    [100, 250, 0.5, 60],
  );
});

test("where phase two took longer there is no generation throughput, neither negative nor zero", () => {
  const levels = [phase("full", 2, 300), phase("prefill", 2.5, 400)] as const;
  assert.equal(phaseSplit(...levels).generationThroughput, undefined);
  assert.match(phaseFigures(levels) ?? "", /\+ generation -0\.500 s\n.* generation - tokens\/s,/);
});
