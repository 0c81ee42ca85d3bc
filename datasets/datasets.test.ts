import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { readRows } from "../test/support/file-of-text";
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
    const API = kind === "messages" ? "chat" : "completions";
    const { rows } = readRows("DATASET", file, lines.join("\n"), { API });
    const inputs = rows.map((row) => JSON.parse(row).input);
    assert.equal(inputs.length, count);
    if (kind !== "messages") assert.ok(inputs.every((input) => input.kind === kind));
    // A chat of one message of the user's is that text.
    else {
      const messages = inputs.map((input) => input.messages ?? [{ role: "user", content: input.text }]);
      assert.deepEqual(
        messages,
        lines.map((line) => JSON.parse(line).messages),
      );
    }
  });
}

test("the token-id set is what the generator makes", () => {
  assert.deepEqual(read("token-ids.jsonl"), tokenIdLines(shippedSet));
});
