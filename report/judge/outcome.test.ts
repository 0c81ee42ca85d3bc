import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import ts from "typescript";
import { Unwritten } from "../../build/folder";
import {
  type Check,
  exitCodes,
  junitXml,
  markdown,
  type OutcomeState,
  outcomeJson,
  outcomeOf,
  publish,
  published,
} from "./outcome";
import { publishRun, runOutcome } from "./run-outcome";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-outcome-"));
after(() => rmSync(dir, { recursive: true }));

const nasty = `p(95)<1 & "quoted" 'single' ]]> | *star* _under_ \u0007 \ud800 <script>\nnext`;
const checks: Check[] = [
  { level: "c1", name: "llm_ttft p(95)<200", verdict: "passed", text: "100 ms" },
  { level: "c8", name: nasty, verdict: "failed", text: nasty },
  { level: "c8", name: "llm_tpot", verdict: "inconclusive", text: "too few" },
  { level: "c8", name: "ITL p99", verdict: "not judged", text: "watched" },
];

/** The problems of a text as XML: elements and attributes are JSX's, which TypeScript's parser reads. */
function xmlProblems(text: string): string[] {
  const [prolog, ...rest] = text.split("\n");
  assert.equal(prolog, '<?xml version="1.0" encoding="UTF-8"?>');
  const file = ts.createSourceFile(
    "x.tsx",
    `const x = (${rest.join("\n")});`,
    ts.ScriptTarget.Latest,
    true,
    ts.ScriptKind.TSX,
  );
  const { parseDiagnostics = [] } = file as unknown as { parseDiagnostics?: ts.Diagnostic[] };
  return parseDiagnostics.map(({ messageText }) => String(messageText));
}

test("JUnit: a case a check, well-formed whatever a text holds, with counts that add up", () => {
  const xml = junitXml(outcomeOf("gate", `run & <${nasty}>`, "failed", "FAILED", { checks }));
  assert.deepEqual(xmlProblems(xml), []);
  assert.notDeepEqual(xmlProblems(xml.replace("</testsuite>", "")), [], "the check itself can fail");
  assert.match(xml, /<testsuites tests="4" failures="1" errors="1" skipped="1">/);
  assert.equal(xml.match(/<testcase /g)?.length, 4);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there
  assert.doesNotMatch(xml, /[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]/);
  assert.match(xml, /message="p\(95\)&lt;1 &amp; &quot;quoted&quot; &apos;single&apos; \]\]&gt;/);
});

for (const state of Object.keys(exitCodes) as OutcomeState[]) {
  for (const own of [[], checks.slice(0, 1), checks.slice(0, 3)]) {
    test(`JUnit: "${state}" with ${own.length} checks does not look better than its exit code`, () => {
      const xml = junitXml(outcomeOf("start", "run", state, "the verdict", { checks: own, invalid: ["a reason"] }));
      assert.deepEqual(xmlProblems(xml), []);
      const bad = Number(/failures="(\d+)"/.exec(xml)?.[1]) + Number(/errors="(\d+)"/.exec(xml)?.[1]);
      if (state !== "passed") assert.ok(bad > 0, xml);
      else assert.equal(bad, own.length === 3 ? 2 : 0);
      assert.ok(xml.includes("<testcase "), "a suite without a case is shown as nothing at all");
    });
  }
}

test("Markdown: a row a check, and no text breaks out of its cell", () => {
  const text = markdown(outcomeOf("gate", "run", "failed", "FAILED: at least one threshold is violated", { checks }));
  const rows = text.split("\n").filter((line) => line.startsWith("|"));
  assert.equal(rows.length, 2 + checks.length);
  for (const row of rows) assert.equal(row.replace(/\\\|/g, "").split("|").length, 6, row);
  assert.doesNotMatch(text, /<script>|[^\\]\*star/);
});

test("published: three files, the step summary, and no pass where they cannot be written", () => {
  const outcome = outcomeOf("gate", "run", "passed", "PASSED", {
    checks: checks.slice(0, 1),
    details: { judgements: [1] },
  });
  const folder = join(dir, "a", "b");
  const page = join(dir, "step.md");
  writeFileSync(page, "before\n");
  publish(outcome, folder, { GITHUB_STEP_SUMMARY: page });
  for (const name of ["gate.junit.xml", "gate.md", "gate.json"]) assert.ok(existsSync(join(folder, name)), name);
  assert.equal(readFileSync(page, "utf8"), `before\n${markdown(outcome)}\n`);
  assert.deepEqual(JSON.parse(outcomeJson(outcome)).judgements, [1]);
  // A file stands where the folder should be.
  assert.equal(published(outcome, page), 104);
  assert.equal(published({ ...outcome, exitCode: 99 }, page), 99);
  // Node's recursive mkdir never returns from here.
  if (process.platform === "linux") assert.equal(published(outcome, "/proc/x"), 104);
  assert.equal(published(outcome, undefined), 0);
});

test("what cannot be written is named with the option or the setting that names another place", (t) => {
  const lines: string[] = [];
  t.mock.method(console, "error", (line: string) => lines.push(line));
  const file = join(dir, "a-file");
  writeFileSync(file, "");
  published(outcomeOf("gate", "run", "passed", "PASSED"), file);
  published(outcomeOf("start", "run", "passed", "PASS"), file);
  const why = `the verdict is not written whole: ${file} cannot be written \\(E.+\\)`;
  assert.match(lines[0] ?? "", new RegExp(`^gate: ${why}; name another folder with --output$`));
  assert.match(lines[1] ?? "", new RegExp(`^tokenclock: ${why}; name another folder with RESULTS$`));
  assert.equal(lines.length, 2);

  const page = join(file, "step.md");
  assert.throws(
    () => publish(outcomeOf("gate", "run", "passed", "PASSED"), join(dir, "c"), { GITHUB_STEP_SUMMARY: page }),
    (error) =>
      error instanceof Unwritten &&
      error.message.startsWith(`${page} cannot be written (E`) &&
      error.advice("--output") === "name another file with GITHUB_STEP_SUMMARY",
  );
});

const summary = (pass: boolean, more = {}) => ({
  ...{ schema: 1, verdict: { pass, validity: "VALID", reasons: pass ? [] : ["llm_ttft{level:c1} p(95) 812 ms"] } },
  thresholds: [
    { metric: "llm_ttft", level: "c1", expression: "p(95)<450", value: 100, margin: 350, result: "passed" },
    {
      metric: "llm_samples",
      of: "llm_ttft",
      level: "c1",
      expression: "value>=20",
      value: 32,
      margin: 12,
      result: pass ? "passed" : "violated",
    },
    { metric: "dropped_iterations", expression: "count<1", result: "passed" },
  ],
  ...more,
});

function runFolder(name: string, files: Record<string, string>): string {
  const folder = join(dir, name);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(join(folder, file, ".."), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  return folder;
}

for (const [what, files, code, state, words] of [
  ["a run that passed", { "summary.json": JSON.stringify(summary(true)) }, 0, "passed", /^PASS, VALID$/],
  [
    "one that failed",
    { "summary.json": JSON.stringify(summary(false)) },
    99,
    "failed",
    /^FAIL, VALID: llm_ttft\{level:c1\}/,
  ],
  [
    "one without thresholds whose verdict is no pass",
    { "summary.json": JSON.stringify(summary(false)) },
    0,
    "not valid",
    /^FAIL/,
  ],
  ["one that was interrupted", { "summary.json": JSON.stringify(summary(false)) }, 105, "not valid", /^FAIL/],
  ["a summary that was cut off", { "summary.json": "{" }, 0, "not valid", /summary.json cannot be read/],
  ["a summary without a verdict", { "summary.json": "{}" }, 0, "not valid", /it has no verdict/],
  ["one that was killed", { "records.ndjson.gz": "x" }, 137, "not valid", /no summary.json: the run was killed/],
  [
    "two phases, one of which failed",
    { "full/summary.json": JSON.stringify(summary(true)), "prefill/summary.json": JSON.stringify(summary(false)) },
    99,
    "failed",
    /^FAIL, VALID: prefill: llm_ttft/,
  ],
] as const) {
  test(`npm start, ${what}: ${state}`, () => {
    const folder = runFolder(what, files);
    assert.equal(publishRun(folder, code), code);
    const json = JSON.parse(readFileSync(join(folder, "start.json"), "utf8"));
    assert.deepEqual([json.state, json.exitCode], [state, code]);
    assert.match(json.headline, words);
    assert.deepEqual(xmlProblems(readFileSync(join(folder, "start.junit.xml"), "utf8")), []);
  });
}

test("npm start: every limit is a check with value and margin; a run that left nothing leaves no file", () => {
  const { checks: told } = runOutcome("r", [{ name: "r", summary: summary(false) as never }], 99);
  assert.deepEqual(
    told.map(({ level, name, verdict, text }) => [level, name, verdict, text]),
    [
      ["c1", "llm_ttft p(95)<450", "passed", "passed: value 100 ms, margin 350 ms"],
      ["c1", "llm_samples of llm_ttft value>=20", "failed", "violated: value 32 samples, margin 12 samples"],
      ["whole run", "dropped_iterations count<1", "passed", "passed: no value"],
    ],
  );
  const empty = runFolder("empty", { "k6.log": "" });
  assert.equal(publishRun(empty, 104), 104);
  assert.ok(!existsSync(join(empty, "start.json")));
});
