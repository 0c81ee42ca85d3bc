import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { parseEntry, parseLine } from "../lib/dataset";
import { shippedSet, tokenIdLines } from "./generate";

const read = (file: string) => readFileSync(path.join(__dirname, file), "utf8").trimEnd().split("\n");

const sets: { file: string; kind: string; count: number }[] = [
  { file: "prompts.jsonl", kind: "text", count: 40 },
  { file: "chats.jsonl", kind: "messages", count: 12 },
  { file: "token-ids.jsonl", kind: "tokenIds", count: 64 },
];
for (const { file, kind, count } of sets) {
  test(`${file}: ${count} different prompts, all of kind ${kind}`, () => {
    const lines = read(file);
    assert.equal(new Set(lines).size, count);
    for (const line of lines) assert.equal(parseEntry(parseLine(line))?.input.kind, kind, line);
  });
}

test("the token-id set is what the generator makes", () => {
  assert.deepEqual(read("token-ids.jsonl"), tokenIdLines(shippedSet));
});
