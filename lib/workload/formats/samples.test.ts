/** One file of every format in use, and what the readers and the body make of it; test/e2e/samples.test.ts has the same on the wire. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { readRows } from "../../../test/support/file-of-text";
import { fixtures, model, refused, samples, textOf, traces, unset } from "../../../test/support/samples";
import { parseSettings } from "../../settings/parse-settings";
import { requestBody } from "../../wire/body";
import { filePrompt } from "../workload";

for (const { file, set = {}, found, bodies, notes = [] } of samples) {
  test(`DATASET ${file} ${Object.keys(set)}`, () => {
    const text = textOf(file);
    const read = readRows("DATASET", file, text, set);
    const settings = parseSettings({ API: set.API ?? "chat" }, {});
    const sent = read.rows.map((row) =>
      JSON.parse(
        requestBody(
          settings,
          model,
          filePrompt({ ...settings, scenario: "" } as typeof settings, JSON.parse(row), () => unset),
        ),
      ),
    );
    assert.deepEqual(sent, bodies(text));
    assert.match(read.found, found);
    for (const note of notes)
      assert.ok(
        read.notes.some((line) => note.test(line)),
        `${note} in ${read.notes.join("\n")}`,
      );
  });
}

for (const { file, set = {}, found, rows, input, notes = [] } of traces) {
  test(`TRACE ${file} ${Object.keys(set)}`, () => {
    const text = textOf(file);
    const read = readRows("TRACE", file, text, set);
    const sent = read.rows.map((row) => JSON.parse(row));
    const wanted = typeof rows === "function" ? rows(text) : rows;
    assert.equal(sent.length, wanted.length);
    sent.forEach((row, k) => {
      const [atMs, inputTokens, outputTokens, blockIds] = wanted[k] ?? [];
      assert.ok(Math.abs(row.atMs - (atMs ?? 0)) < 1e-4, `row ${k}: ${row.atMs} for ${atMs}`);
      assert.deepEqual([row.inputTokens, row.outputTokens, row.blockIds], [inputTokens, outputTokens, blockIds]);
    });
    if (input) {
      const settings = parseSettings({ API: set.API ?? "chat" }, {});
      const bodies = sent.map((row) =>
        JSON.parse(
          requestBody(
            settings,
            model,
            filePrompt(settings, row, () => 0),
          ),
        ),
      );
      assert.deepEqual(
        bodies.map(({ messages, prompt }) => messages ?? prompt),
        input(text),
      );
    }
    assert.match(read.found, found);
    for (const note of notes)
      assert.ok(
        read.notes.some((line) => note.test(line)),
        `${note} in ${read.notes.join("\n")}`,
      );
  });
}

for (const { file, kind = "DATASET", set = {}, says } of refused) {
  test(`${kind} ${file} ${Object.values(set)} is refused`, () => {
    assert.throws(() => readRows(kind, file, textOf(file), set), {
      message: says,
    });
  });
}

test("every sample is sent or refused by one of the tables", () => {
  const named = new Set([...samples, ...traces, ...refused].map(({ file }) => file));
  assert.deepEqual(
    readdirSync(fixtures).filter((file) => !named.has(file)),
    [],
  );
});
