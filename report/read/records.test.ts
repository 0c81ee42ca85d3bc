import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { sweep, writeRun } from "../../test/support/synthetic";
import { readResults } from "./read";
import { type Damage, type RecordLine, readRecords } from "./records";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-records-"));
after(() => rmSync(dir, { recursive: true }));
const whole = writeRun(sweep({ seed: 3, concurrencies: [1, 4], requestsPerLevel: 200 }), dir, "whole");
const gzipped = readFileSync(join(whole, "records.ndjson.gz"));
const text = gunzipSync(gzipped).toString();

async function linesOf(
  content: string | Buffer,
  name = "records.ndjson.gz",
): Promise<{ lines: RecordLine[]; damage: Damage }> {
  const path = join(dir, name);
  writeFileSync(path, content);
  const damage: Damage = [];
  const lines: RecordLine[] = [];
  for await (const line of readRecords(path, damage)) lines.push(line);
  return { lines, damage };
}

test("a whole file is read line by line, gzip or plain, whatever it is called", async () => {
  const expected = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as RecordLine);
  for (const content of [gzipped, text]) {
    for (const name of ["records.ndjson.gz", "records.ndjson"]) {
      const { lines, damage } = await linesOf(content, name);
      assert.deepEqual(lines, expected);
      assert.deepEqual(damage, []);
    }
  }
});

test("a gzip cut anywhere loses nothing before the cut, and the loss is reported", async () => {
  let before = -1;
  for (const share of [0.3, 0.6, 0.9, 0.999]) {
    const { lines, damage } = await linesOf(gzipped.subarray(0, Math.floor(gzipped.length * share)));
    const expected = text
      .split("\n")
      .slice(0, lines.length)
      .map((line) => JSON.parse(line) as RecordLine);
    assert.deepEqual(lines, expected, "what is read is a prefix of what was written");
    assert.ok(lines.length > before, `more is read the later the cut: ${lines.length} after ${before}`);
    before = lines.length;
    assert.ok(
      damage.some((words) => words.includes("killed")),
      damage.join("; "),
    );
  }
  assert.ok(before > 0.8 * text.split("\n").length, "deflate holds back no more than its last block");
});

test("a file flushed block by block gives all of its flushed lines", async () => {
  // As the records output writes: members one after the other, the last one torn.
  const lines = text.trim().split("\n");
  const parts = [lines.slice(0, 100), lines.slice(100, 300)].map((part) => gzipSync(`${part.join("\n")}\n`));
  const torn = gzipSync(lines.slice(300).join("\n")).subarray(0, 40);
  const result = await linesOf(Buffer.concat([...parts, torn]));
  assert.ok(result.lines.length >= 300, String(result.lines.length));
});

test("a torn last line is left out and reported", async () => {
  const { lines, damage } = await linesOf(text.slice(0, text.lastIndexOf('{"type":"end"') + 9));
  assert.equal(lines.length, text.trim().split("\n").length - 1);
  assert.ok(
    damage.some((words) => words.includes("last line")),
    damage.join("; "),
  );
});

test("damage in the middle is reported; what follows the line is used", async () => {
  const lines = text.trim().split("\n");
  lines[5] = `${lines[5]?.slice(0, 30)}`;
  const result = await linesOf(lines.join("\n"));
  assert.equal(result.lines.length, lines.length - 1);
  assert.ok(
    result.damage.some((words) => words.includes("line 6")),
    result.damage.join("; "),
  );
});

test("of a run without a summary the levels are folded from the records", async () => {
  const killed = join(dir, "killed");
  rmSync(killed, { recursive: true, force: true });
  const run = writeRun(sweep({ seed: 3, concurrencies: [1, 4], requestsPerLevel: 200 }), dir, "killed");
  const { levelSummaries: expected } = await readResults(run);
  rmSync(join(run, "summary.json"));
  rmSync(join(run, "config.json"));
  const results = await readResults(run);
  assert.equal(results.scenario, "concurrency-sweep");
  assert.equal(results.config.REQUESTS, 200);
  assert.ok(results.damage.some((words) => words.includes("summary.json")));
  for (const [i, level] of results.levelSummaries.entries()) {
    assert.equal(level.completed, expected[i]?.completed);
    assert.ok(Math.abs(level.ttftMs.p99 - (expected[i]?.ttftMs.p99 ?? 0)) < 1e-6);
    assert.ok(Math.abs(level.itlMs.p50 / (expected[i]?.itlMs.p50 ?? 0) - 1) < 0.01);
  }
});

test("a folder that is none is named", async () => {
  await assert.rejects(readResults(join(dir, "nowhere")), /neither summary.json nor records/);
});
