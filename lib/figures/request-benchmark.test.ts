import assert from "node:assert/strict";
import { test } from "node:test";
import type { LevelSummary } from "./level-summary";
import { requestBenchmark, requestFigures } from "./request-benchmark";

/** A level of ten requests. */
function levelOf(name: string, spanS: number, meanE2eMs: number): LevelSummary {
  const counts = { completed: 10, inputTokens: 1000, outputTokens: 300 };
  return { name, ...counts, spanS, e2eMs: { mean: meanE2eMs }, queueDelayMs: { mean: 1 } } as LevelSummary;
}

test("tokens that nobody counted are not zero in a request benchmark", () => {
  const level = {
    ...{ ...levelOf("c8", 2, 400), outputTokens: 0, requests: 10, requestThroughput: 5, outputThroughput: 0 },
    ...{ statuses: { 200: 10 }, whole: { durationS: 2 }, durationS: 2, e2eMs: { count: 0 } },
  } as unknown as LevelSummary;
  const {
    inputTokensPerRequest = 0,
    outputTokensPerRequest,
    outputTokensMixed,
    outputTokensPerS,
  } = requestBenchmark(level);
  assert.ok(inputTokensPerRequest > 0);
  assert.deepEqual([outputTokensPerRequest, outputTokensMixed, outputTokensPerS], [undefined, undefined, undefined]);
  assert.match(requestFigures(level), /Average output tokens per request +-$/m);
  assert.match(requestFigures(level), /Output token throughput +-$/m);
});
