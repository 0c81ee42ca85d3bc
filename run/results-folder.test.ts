import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { root } from "../build/paths";
import { Problem } from "../build/program";
import { clearResults, newResultsFolder, resultNames, userFolder } from "./results-folder";

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

test("the extension moves the same files", () => {
  const source = readFileSync(path.join(root, "extension/internal/results/results.go"), "utf8");
  const [, list = ""] = /var resultNames = \[\]string\{([\s\S]*?)\n\}/.exec(source) ?? [];
  assert.deepEqual(
    [...list.matchAll(/"([^"]+)"/g)].map(([, name]) => name),
    [...resultNames],
  );
});
