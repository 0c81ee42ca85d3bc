import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { root } from "../build/paths";
import { Problem } from "../build/program";
import { capacityResults } from "../lib/figures/capacity-lines";
import { renderReport } from "../report/page/render";
import { batches, cache, ramp, writeRun } from "../test/support/synthetic";
import { clearResults, isResult, newResultsFolder, resultNames, userFolder } from "./results-folder";

function scratch(t: TestContext, files: Record<string, string> = {}): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-results-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    writeFileSync(path.join(dir, name), text);
  }
  return dir;
}

const summary = '{"schema": 1, "scenario": "s"}';

test("the results of an earlier run are moved aside as a whole, other files stay", (t) => {
  const old = { "summary.json": summary, "records.ndjson": "r", "records.ndjson.gz": "z", "tables/levels.json": "{}" };
  const dir = scratch(t, { ...old, "report.html": "", "notes.txt": "mine" });
  const to = clearResults(dir);
  assert.ok(to && path.dirname(to) === dir);
  assert.deepEqual(readdirSync(dir).sort(), ["notes.txt", path.basename(to)]);
  assert.deepEqual(readdirSync(to).sort(), [
    "records.ndjson",
    "records.ndjson.gz",
    "report.html",
    "summary.json",
    "tables",
  ]);
  assert.equal(clearResults(dir), undefined);
  writeFileSync(path.join(dir, "summary.json"), "");
  const second = clearResults(dir);
  assert.ok(second && second !== to, "twice in a second, and of a disk that was full");
  assert.equal(clearResults(path.join(dir, "absent")), undefined);
});

for (const [name, text] of [
  ["config.json", '{"port": 8080}'],
  ["config.json", "not JSON"],
  ["summary.json", '{"total": 5}'],
] as const) {
  test(`a ${name} of another program (${text}) is left where it is, and the folder refused`, (t) => {
    const dir = scratch(t, { [name]: text, "records.ndjson": "r" });
    assert.throws(
      () => clearResults(dir),
      (error) => error instanceof Problem && error.exitCode === 104 && error.message.includes(`its ${name} is not`),
    );
    assert.deepEqual(readdirSync(dir).sort(), [name, "records.ndjson"].sort());
    assert.equal(readFileSync(path.join(dir, name), "utf8"), text);
  });
}

test("new folders are below the user's own, each run's its own", (t) => {
  const dir = scratch(t);
  const before = { ...process.env };
  t.after(() => {
    process.env = before;
  });
  process.env.npm_lifecycle_event = "start";
  process.env.INIT_CWD = dir;
  assert.equal(userFolder(), dir);
  const folders = Array.from({ length: 5 }, () => newResultsFolder("s").dir);
  assert.equal(new Set(folders).size, 5, "within a second");
  for (const each of folders) assert.ok(existsSync(each) && path.dirname(each) === path.join(dir, "results"));
  process.env.npm_lifecycle_event = "test";
  assert.equal(userFolder(), process.cwd(), "of another npm script it says nothing");
});

test("every file that a run or its report writes is moved aside by the next run in that folder", async (t) => {
  const parent = scratch(t);
  const found = {
    interval: {},
    probed: {},
    ninety: {},
    probeSd: 0,
    confidence: 95,
    precise: false,
    probes: [],
    notes: [],
  };
  const written = new Set(Object.keys(capacityResults({ state: "none", ...found }, "req/s").files ?? {}));
  for (const spec of [
    batches({ seed: 4 }),
    batches({ seed: 5, embeddings: true }),
    cache({ seed: 8, shape: "loop", parallel: [1, 2, 4, 8], cacheTokens: 900, slots: 8 }),
    ramp({ seed: 2, capacity: 85 }),
  ]) {
    const dir = writeRun(spec, parent);
    for (const name of readdirSync(dir)) written.add(name);
    for (const file of (await renderReport(dir)).files) written.add(file.split(path.sep)[0] ?? "");
  }
  for (const name of ["capacity.json", "thresholds.csv", "batch-burst.json"]) assert.ok(written.has(name), name);
  // A file for each kind of text length.
  for (const name of [...written, "embeddings-burst-short.json"]) assert.ok(isResult(name), name);
  for (const name of ["notes.txt", "prompts.json", "my-embeddings-burst-a.json"]) assert.ok(!isResult(name), name);
});

test("the extension moves the same files", () => {
  const source = readFileSync(path.join(root, "extension/internal/results/results.go"), "utf8");
  const [, list = ""] = /var resultNames = \[\]string\{([\s\S]*?)\n\}/.exec(source) ?? [];
  assert.deepEqual(
    [...list.matchAll(/"([^"]+)"/g)].map(([, name]) => name),
    [...resultNames],
  );
});
