import assert from "node:assert/strict";
import { test } from "node:test";
import { burstTable } from "./burst";
import type { LevelSummary } from "./level-summary";

/** A level of ten requests. */
function levelOf(name: string, spanS: number, meanE2eMs: number): LevelSummary {
  const counts = { completed: 10, inputTokens: 1000, outputTokens: 300 };
  return { name, ...counts, spanS, e2eMs: { mean: meanE2eMs }, queueDelayMs: { mean: 1 } } as LevelSummary;
}

test("a burst lasts from its first send, whatever came before it", () => {
  const level = { ...levelOf("b8", 2, 400), durationS: 3 };
  assert.match(burstTable([level]), /^b8 +2 +500 +150$/m);
});

test("a burst of embeddings has no output, and its table no column of it", () => {
  const level = { ...levelOf("b8", 2, 400), outputTokens: 0, durationS: 3 };
  const lines = burstTable([level]).split("\n");
  assert.match(lines[0] ?? "", /batch input tok\/s$/);
  assert.match(lines[1] ?? "", / 500$/);
});
