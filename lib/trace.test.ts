import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTrace } from "./trace";

test("Mooncake: JSON lines with ms, ordered by arrival, the first at 0", () => {
  const text = [
    '{"timestamp": 3000, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}',
    '{"timestamp": 1000, "input_length": 10, "output_length": 7, "hash_ids": [3]}',
    "",
  ].join("\n");
  assert.deepEqual(parseTrace(text), [
    { atMs: 0, inputTokens: 10, outputTokens: 7, blockIds: [3] },
    { atMs: 2000, inputTokens: 600, outputTokens: 5, blockIds: [1, 2] },
  ]);
});

test("Azure: dates with seven decimals keep their fractions", () => {
  const text =
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109\r\n";
  const rows = parseTrace(text);
  assert.deepEqual(
    rows.map(({ inputTokens, outputTokens }) => [inputTokens, outputTokens]),
    [
      [374, 44],
      [396, 109],
    ],
  );
  assert.ok(Math.abs((rows[1]?.atMs ?? 0) - 4314.579) < 0.01, String(rows[1]?.atMs));
});

test("BurstGPT: seconds; rows without response tokens failed there and are left out", () => {
  const text = [
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type",
    "5,,1,ChatGPT,472,18,490,Conversation log",
    "45.5,,2,ChatGPT,1087,0,1087,API log",
    "118,,3,GPT-4,417,276,693,API log",
  ].join("\n");
  assert.deepEqual(parseTrace(text), [
    { atMs: 0, inputTokens: 472, outputTokens: 18, blockIds: [] },
    { atMs: 113_000, inputTokens: 417, outputTokens: 276, blockIds: [] },
  ]);
});

test("another CSV is no trace", () => assert.deepEqual(parseTrace("a,b\n1,2\n"), []));

test("a row that cannot be read is refused by its number, not left out", () => {
  const text = "Timestamp,Request tokens,Response tokens\n5,472,18\nsoon,417,276\n";
  assert.throws(() => parseTrace(text), /^Error: request 2 has a time or a length that is no number/);
});
