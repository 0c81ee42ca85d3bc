import assert from "node:assert/strict";
import { test } from "node:test";
import { byPatience, tallyGoTests, tallyNodeTests } from "./test";

const go = (...events: object[]) => events.map((event) => JSON.stringify(event)).join("\n");

test("Go's tests are counted, and what failed ones printed is shown", () => {
  let shown = "";
  const output = go(
    { Action: "pass", Package: "p", Test: "TestA" },
    { Action: "output", Package: "p", Test: "TestB", Output: "    b_test.go:7: no\n" },
    { Action: "fail", Package: "p", Test: "TestB" },
    { Action: "skip", Package: "p", Test: "TestC" },
    { Action: "output", Package: "p", Test: "TestA", Output: "quiet\n" },
    { Action: "fail", Package: "p" },
  );
  const tally = tallyGoTests(output, (text) => {
    shown += text;
  });
  assert.deepEqual(tally, { passed: 1, failed: 1, skipped: 1 });
  assert.equal(shown, "    b_test.go:7: no\n");
});

test("a package that does not compile counts as a failure", () => {
  const output = go(
    { Action: "build-output", ImportPath: "p", Output: "x.go:1: undefined: y\n" },
    { Action: "build-fail", ImportPath: "p" },
    { Action: "fail", Package: "p" },
  );
  assert.equal(tallyGoTests(output, () => {}).failed, 1);
});

test("node:test's tally counts cancelled tests as failed", () => {
  const tap = "ok 1 - a\n# tests 5\n# pass 2\n# fail 1\n# cancelled 1\n# skipped 1\n";
  assert.deepEqual(tallyNodeTests(tap), { passed: 2, failed: 2, skipped: 1 });
});

test("files whose tests measure again where the machine was late have the machine alone", () => {
  const texts: Record<string, string> = {
    "a.test.ts": 'import { withAttempts } from "../support/attempts";',
    "b.test.ts": 'import { run } from "../support/run";',
  };
  const { patient, punctual } = byPatience(Object.keys(texts), (file) => texts[file] ?? "");
  assert.deepEqual([patient, punctual], [["b.test.ts"], ["a.test.ts"]]);
});
