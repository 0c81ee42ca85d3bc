/** A report's memory follows the requests of a run, and by how much: not their tokens, and no object for each. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { loadTypeScript, root } from "../../build/paths";
import { writeLongRun } from "../../test/support/long-run";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-memory-"));
after(() => rmSync(dir, { recursive: true }));

/** Writes a run and gives its folder. */
async function longRun(requests: number, tokens: number, name = "run"): Promise<string> {
  const folder = join(dir, `${name}-${requests}x${tokens}`);
  mkdirSync(folder);
  await writeLongRun(folder, requests, tokens);
  return folder;
}

/** Bytes that live objects and columns take at most while a run is read, in a process of its own. */
function mostBytesReading(folders: readonly string[]): number[] {
  return measured(`
    const peaks = [];
    for (const folder of ${JSON.stringify(folders)}) {
      let peak = 0;
      const onProgress = () => {
        gc();
        const { heapUsed, external } = process.memoryUsage();
        peak = Math.max(peak, heapUsed + external);
      };
      const run = await readResults(folder, { onProgress });
      peaks.push(run.levelSummaries.length > 0 ? peak : NaN);
    }
    return peaks;`);
}

/** Bytes that live objects and columns take while each of the runs is held, in a process of its own. */
function heldBytes(folders: readonly string[]): number[] {
  return measured(`
    const bytes = [];
    for (const folder of ${JSON.stringify(folders)}) {
      const run = await readResults(folder);
      // What is left of reading is gone after the next turn of the loop.
      for (let i = 0; i < 3; i++) { await new Promise(setImmediate); gc(); }
      const { heapUsed, external } = process.memoryUsage();
      bytes.push(run.requests.length > 0 ? heapUsed + external : NaN);
    }
    return bytes;`);
}

/** What a function's text returns in a process of its own; it has readResults and gc. */
function measured(text: string): number[] {
  const script = `
    const { readResults } = require(${JSON.stringify(join(root, "report/read/read.ts"))});
    (async () => {${text}
    })().then((bytes) => console.log(JSON.stringify(bytes)));`;
  const child = spawnSync(process.execPath, ["--expose-gc", "-r", loadTypeScript, "-e", script], {
    cwd: root,
    encoding: "utf8",
  });
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout.trim().split("\n").at(-1) ?? "") as number[];
}

/** Most bytes a request: its columns are 102 of them. Objects for rows and columns that double were 314 by this measure. */
const mostBytes = 135;

test("a request costs its columns in memory, however many tokens it had", async (t) => {
  const [few, many, longer] = [await longRun(10_000, 2), await longRun(40_000, 2), await longRun(10_000, 40)];
  // The first is read twice: once for what a process keeps of its first report.
  const [, ofFew = Number.NaN, ofMany = Number.NaN, ofLonger = Number.NaN] = heldBytes([few, few, many, longer]);
  const each = (ofMany - ofFew) / 30_000;
  t.diagnostic(`${each.toFixed(0)} bytes a request`);
  assert.ok(each > 50 && each <= mostBytes, `${each} bytes a request`);
  // Kept arrivals would be 300 bytes at least; what a process keeps of its own differs by a third of a megabyte from read to read.
  assert.ok(
    Math.abs(ofLonger - ofFew) / 10_000 <= 100,
    `${(ofLonger - ofFew) / 10_000} bytes more with twenty times the tokens`,
  );
});

/** Most bytes a request while a killed run is read: its columns, and the 72 that its level's statistics are made of. */
const mostBytesKilled = 250;

test("a run that was killed is read in as little memory: no arrivals are kept, and no line", async (t) => {
  const folders = [await longRun(10_000, 40, "killed"), await longRun(40_000, 40, "killed")] as const;
  for (const folder of folders) rmSync(join(folder, "summary.json"));
  // The first is read twice: once for what a process keeps of its first report.
  const [, ofFew = Number.NaN, ofMany = Number.NaN] = mostBytesReading([folders[0], ...folders]);
  const each = (ofMany - ofFew) / 30_000;
  t.diagnostic(`${each.toFixed(0)} bytes a request`);
  // Forty arrivals would be 1,600 bytes at least.
  assert.ok(each > 100 && each <= mostBytesKilled, `${each} bytes a request`);
});
