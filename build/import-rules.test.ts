import assert from "node:assert/strict";
import { test } from "node:test";
import { findViolations, importsOf, unusedExports } from "./import-rules";

function violations(files: Record<string, string>): string[] {
  return findViolations(Object.keys(files), (file) => files[file] ?? "");
}

test("imports are found in all their forms, as paths from the project's folder", () => {
  const text =
    'import a from "../lib/a";\nexport * from "./b";\nimport type { C } from "k6";\nconst d = import("node:fs");';
  assert.deepEqual(importsOf("scenarios/x.ts", text), ["lib/a", "scenarios/b", "k6", "node:fs"]);
});

const refused: { why: string; files: Record<string, string>; line: RegExp }[] = [
  {
    why: "only the boundary imports k6/x/*",
    files: { "lib/load/levels.ts": 'import { Levels } from "k6/x/tokenclock";' },
    line: /^lib\/load\/levels\.ts imports k6\/x\/tokenclock/,
  },
  {
    why: "what a level came to names the module's types, and nothing that would be loaded",
    files: { "lib/figures/level-summary.ts": 'import { report } from "k6/x/tokenclock";' },
    line: /^lib\/figures\/level-summary\.ts imports k6\/x\/tokenclock/,
  },
  {
    why: "what rows look like names the module's types, and nothing that would be loaded",
    files: { "lib/workload/formats/like.ts": 'import { TextFile } from "k6/x/tokenclock";' },
    line: /^lib\/workload\/formats\/like\.ts imports k6\/x\/tokenclock/,
  },
  {
    why: "no other figure names the module's types",
    files: { "lib/figures/other.ts": 'import type { Stats } from "k6/x/tokenclock";' },
    line: /^lib\/figures\/other\.ts imports k6\/x\/tokenclock/,
  },
  {
    why: "a scenario does not go past lib",
    files: { "scenarios/s.ts": 'import { Client } from "k6/x/tokenclock";' },
    line: /^scenarios\/s\.ts imports k6\/x/,
  },
  {
    why: "thresholds know the metric table and nothing of the load",
    files: { "thresholds/t.ts": 'import { x } from "../lib/load/levels";' },
    line: /^thresholds\/t\.ts imports lib\/load\/levels/,
  },
  {
    why: "lib does not import thresholds",
    files: { "lib/figures/a.ts": 'import { x } from "../../thresholds";' },
    line: /^lib\/figures\/a\.ts imports thresholds/,
  },
  {
    why: "a figure knows no load shape",
    files: { "lib/figures/f.ts": 'import type { Levels } from "../load/levels";' },
    line: /^lib\/figures\/f\.ts imports lib\/load\/levels/,
  },
  {
    why: "the load sends nothing but by the client",
    files: { "lib/load/l.ts": 'import { requestBody } from "../wire/body";' },
    line: /^lib\/load\/l\.ts imports lib\/wire\/body/,
  },
  {
    why: "build does not import the report",
    files: { "build/b.ts": 'import("../report/page/render");' },
    line: /^build\/b\.ts imports report/,
  },
  {
    why: "report does not import build",
    files: { "report/cli/r.ts": 'import { root } from "../../build/paths";' },
    line: /^report\/cli\/r\.ts imports build/,
  },
  {
    why: "what runs k6 does not reach into the tests",
    files: { "run/start.ts": 'import { x } from "../test/support/synthetic";' },
    line: /^run\/start\.ts imports test/,
  },
  {
    why: "a report may not reach k6, not even by a detour",
    files: {
      "report/r.ts": 'import { a } from "../lib/settings/a";',
      "lib/settings/a.ts": 'import { b } from "./b";',
      "lib/settings/b.ts": 'import http from "k6/http";',
    },
    line: /^report\/r\.ts imports lib\/settings\/a, which needs k6/,
  },
];
for (const { why, files, line } of refused) {
  test(why, () => {
    const lines = violations(files);
    assert.equal(lines.length, 1, lines.join("\n"));
    assert.match(lines[0] ?? "", line);
  });
}

test("what is allowed is allowed", () => {
  assert.deepEqual(
    violations({
      "lib/wire/client.ts": 'import { Client } from "k6/x/tokenclock";',
      "lib/load/levels.ts": 'import { Client } from "../wire/client";\nimport exec from "k6/execution";',
      "lib/figures/pure.ts": 'import type { A } from "./other";',
      "lib/figures/other.ts": "export interface A {}",
      "report/r.ts": 'import { a } from "../lib/figures/pure";\nimport { x } from "node:fs";',
      "run/start.ts": 'import { b } from "../build/bundle";\nimport { r } from "../report/page/render";',
      "thresholds/t.ts": 'import { metrics } from "../lib/figures/metrics-table";',
      "scenarios/s.ts": 'import { levels } from "../lib";\nimport { sleep } from "k6";',
    }),
    [],
  );
});

test("what a file exports and no other one names is found; types, scripts and files in another's place are left alone", () => {
  const files: Record<string, string> = {
    "lib/a.ts": "export const used = 1;\nexport async function unused() {}\nexport interface Type {}",
    "lib/b.ts": 'import { used } from "./a";\nexport class Alone {}\nconst unusedHere = used;',
    "lib/a-sse.ts": "export const standIn = 1;",
    "scenarios/s.ts": "export const options = {};",
    "lib/a.test.ts": "const script = `\nexport const inText = 1;\n`;",
  };
  const found = unusedExports(Object.keys(files), (file) => files[file] ?? "");
  assert.deepEqual(
    found.map((line) => line.replace(/:.*/, "")),
    ["lib/a.ts exports unused, which no other file names", "lib/b.ts exports Alone, which no other file names"],
  );
});
