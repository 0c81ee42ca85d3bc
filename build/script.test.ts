import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { Problem } from "./program";
import { openScript } from "./script";

const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-script-"));
after(() => rmSync(dir, { recursive: true, force: true }));

/** A script of this text, opened; its bundle is removed again. */
async function opened(t: { after(f: () => void): void }, name: string, text: string) {
  const file = path.join(dir, `${name}.ts`);
  writeFileSync(file, text);
  const script = await openScript(file);
  t.after(() => rmSync(script.file));
  assert.ok(existsSync(script.file));
  return script;
}

const head = 'import { levels, openTest } from "./tokenclock.js";\n';
const body = `
const test = openTest("own", { CONCURRENCY: [4] }, levels);
test.setting("HEAT", 0.2, { min: 0, max: 2, doc: "Temperature." });
`;
const tail = `
export const { options, setup, teardown, handleSummary } = test;
export default test.each(async (request) => { await request.send(); });
`;

test("a script may make k6's metrics, shared arrays and whatever else of k6's modules before its settings are read", async (t) => {
  const imports = `
import { Counter, Rate, Trend } from "k6/metrics";
import { SharedArray } from "k6/data";
import exec from "k6/execution";
import http, { CookieJar } from "k6/http";
`;
  const uses = `
export const metrics = [new Counter("a"), new Rate("b"), new Trend("c", true)];
const rows = new SharedArray("rows", () => [1, 2]);
export const all = [rows.length, rows[0], exec.scenario.name, http.get, new CookieJar(), new class extends Trend { x = 1; }("d")];
`;
  const { own } = await opened(t, "modules", `${imports}${head}${body}${uses}${tail}`);
  assert.deepEqual(
    Array.from(own ?? [], ({ name }) => name),
    ["HEAT"],
  );
});

test("a script that fails where k6's modules are stand-ins is left to k6, which checks its settings", async (t) => {
  const { own } = await opened(t, "fails", `${head}throw new Error("of the script");${body}${tail}`);
  assert.equal(own, undefined);
});

test("a script that opens no test, or is no script, is refused by name", async () => {
  const refused = async (name: string, text: string, words: RegExp, code: number) => {
    const file = path.join(dir, `${name}.ts`);
    writeFileSync(file, text);
    await assert.rejects(
      openScript(file),
      (error) => error instanceof Problem && error.exitCode === code && words.test(error.message),
    );
  };
  await refused(
    "plain",
    "export default () => undefined;",
    /plain\.ts opens no test: it exports nothing of openTest\(\)$/,
    104,
  );
  await refused("broken", "export default ( => 1;", /^bundling failed:\n.*broken\.ts:1: /, 1);
});
