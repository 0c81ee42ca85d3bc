import assert from "node:assert/strict";
import { test } from "node:test";

import { noIngestionSpeed } from "./ingestion";
import { fitLine } from "./line";

const lines: { why: string; points: [number, number][]; reason: RegExp | undefined }[] = [
  {
    why: "time a token and a base: a speed",
    points: [
      [32, 11.2],
      [128, 20.8],
      [512, 59.2],
    ],
    reason: undefined,
  }, // prettier-ignore
  {
    why: "no base at all is still a speed",
    points: [
      [100, 10],
      [200, 20],
      [400, 40],
    ],
    reason: undefined,
  },
  {
    why: "TTFT that falls",
    points: [
      [32, 20],
      [512, 10],
    ],
    reason: /^TTFT does not grow/,
  },
  {
    why: "TTFT that stays",
    points: [
      [32, 20],
      [512, 20],
    ],
    reason: /^TTFT does not grow/,
  },
  {
    why: "short prompts from a prefix cache",
    points: [
      [32, 2],
      [128, 3],
      [512, 6],
      [2048, 50],
    ],
    reason: /begins at -\d\S* ms, below 0/,
  }, // prettier-ignore
  {
    why: "noise",
    points: [
      [32, 10],
      [128, 60],
      [512, 20],
      [1024, 50],
    ],
    reason: /explains \d\S* % .* less than 90 %/,
  },
];
for (const { why, points, reason } of lines) {
  test(`ingestion speed: ${why}`, () => {
    const line = fitLine(points);
    assert.ok(line);
    if (reason) assert.match(noIngestionSpeed(line) ?? "a speed", reason);
    else assert.equal(noIngestionSpeed(line), undefined);
  });
}
