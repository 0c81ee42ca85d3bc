import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { readFile } from "../lib/formats/read";
import { defaultReading, fileOfText } from "../test/support/file-of-text";
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
    const settings = { ...defaultReading, API: "completions" as const };
    const { rows } = readFile("DATASET", file, fileOfText(lines.join("\n")), {
      ...settings,
      ...(kind === "messages" ? { API: "chat" } : {}),
    });
    assert.equal(rows.length, count);
    for (const row of rows) assert.equal(JSON.parse(row).input.kind, kind, row);
  });
}

test("the token-id set is what the generator makes", () => {
  assert.deepEqual(read("token-ids.jsonl"), tokenIdLines(shippedSet));
});
