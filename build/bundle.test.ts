import assert from "node:assert/strict";
import fs, {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import vm from "node:vm";
import ts from "typescript";
import { metrics } from "../lib/figures/metrics-table";
import { settings } from "../lib/settings/settings";
import { bundle, maxSseBytesOf, scenarioNames, sseScenarioNames, useSseClient } from "./bundle";
import { root } from "./paths";
import { Problem } from "./program";

const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-bundle-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function entry(name: string, text: string): string {
  const file = path.join(dir, `${name}.ts`);
  writeFileSync(file, text);
  return file;
}

/** Functions, classes, objects and lists that a script's top makes; what stands in a function is made where that runs. */
function madeAtTop(script: string): number {
  let made = 0;
  const visit = (node: ts.Node) => {
    if (ts.isFunctionLike(node)) {
      made++;
      return;
    }
    if (ts.isClassLike(node) || ts.isObjectLiteralExpression(node) || ts.isArrayLiteralExpression(node)) made++;
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile("bundle.js", script, ts.ScriptTarget.ES2022));
  return made;
}

for (const name of ["node:fs", "fs", "stream/promises"]) {
  test(`a bundle that imports ${name} is refused by name`, async () => {
    const file = entry("builtin", `import x from "${name}"; export default () => x;`);
    await assert.rejects(bundle([file], dir), new RegExp(`builtin\\.ts:1: ${name} is a module of Node`));
  });
}

test("k6's own modules stay outside", async () => {
  const [file = ""] = await bundle(
    [entry("k6", 'import http from "k6/http"; export default () => http.get("x");')],
    dir,
  );
  assert.match(readFileSync(file, "utf8"), /from\s*"k6\/http"/);
});

test("a module of k6's out of which nothing is used is not imported: every VU would load it", async () => {
  const script = 'import { Gauge } from "k6/metrics"; import { sleep } from "k6"; export default () => sleep(1);';
  const [file = ""] = await bundle([entry("unused", script)], dir);
  const text = readFileSync(file, "utf8");
  assert.match(text, /from ?"k6"/);
  assert.doesNotMatch(text, /k6\/metrics/);
});

test("a bundle takes its place whole: who reads the old one goes on with it, and one that is the same stays", async () => {
  const made = path.join(dir, "whole");
  const write = (words: string) => entry("whole", `export default () => ${JSON.stringify(words)};\n`);
  const [file = ""] = await bundle([write("old".repeat(100))], made);
  const old = readFileSync(file, "utf8");
  const inode = statSync(file).ino;
  await bundle([write("old".repeat(100))], made);
  assert.equal(statSync(file).ino, inode);
  const reader = openSync(file, "r");
  await bundle([write("new")], made);
  assert.equal(readFileSync(reader, "utf8"), old);
  closeSync(reader);
  assert.match(readFileSync(file, "utf8"), /"new"/);
  assert.deepEqual(readdirSync(made).sort(), ["whole.js", "whole.js.map"]);
});

test("a bundle that a full disk cuts is refused by name, and nothing of it is left", async (t) => {
  const made = path.join(dir, "full");
  const write = fs.writeFileSync;
  t.mock.method(fs, "writeFileSync", (file: string, contents: Uint8Array) => {
    write(file, contents.subarray(0, 8));
    throw new Error("ENOSPC: no space left on device, write");
  });
  const file = path.join(dir, "full.ts");
  write(file, "export default () => 1;");
  await assert.rejects(bundle([file], made), (error) => {
    assert.ok(error instanceof Problem);
    assert.match(error.message, /full\.js(\.map)? cannot be written: ENOSPC: no space left on device, write$/);
    return true;
  });
  assert.deepEqual(readdirSync(made), []);
});

test("a bundle above the limit is refused with its size", async () => {
  const text = `export default () => "${"x".repeat(320_000)}";`;
  await assert.rejects(bundle([entry("large", text)], dir), /large\.js has \d+ bytes, the limit is 187000/);
});

test("what is loaded by require() is made when that is called, and keeps its lines", async () => {
  entry("table", "export const table = [() => 1, () => 2, () => 3].map((f) => f());");
  const [imported = "", required = ""] = await bundle(
    [
      entry("imported", 'import { table } from "./table"; export default () => table;'),
      entry("required", 'export default () => require("./table").table;'),
    ],
    dir,
  );
  const script = readFileSync(required, "utf8");
  // __commonJS, the file's own function, and the function that requires it.
  assert.deepEqual([madeAtTop(readFileSync(imported, "utf8")), madeAtTop(script)], [6, 3]);
  const table = vm.runInNewContext(script.replace(/export\s*\{(\w+) as default\};[\s\S]*/, "$1();"));
  assert.deepEqual([...table], [1, 2, 3]);
  assert.match(readFileSync(`${required}.map`, "utf8"), /table\.ts"/);
});

test("what is loaded by require() must not need k6, of whose modules it would have a copy of its own", async () => {
  entry("stateful", 'import http from "k6/http"; export const x = http;');
  const file = entry("copy", 'export default () => require("./stateful").x;');
  await assert.rejects(bundle([file], dir), /stateful\.ts:1: k6\/http is imported by a file that is loaded by require/);
});

/** The texts of docs as they would stand in a bundle. */
const docTexts = [
  ...Object.values(settings).map(({ doc }) => doc),
  ...Object.values(metrics).flatMap(({ definition, sameAs }) => [definition, sameAs]),
]
  .filter((each) => each !== "")
  .map((each) => each.slice(0, 48));

/**
 * `most` bounds what every VU of a run makes and keeps for itself, 0.7 kB each. A table that a file imports at its top, such
 * as that of the settings (over 100 more) or the metrics (30), passes it: load it by require() where it is needed.
 */
const variants = [
  {
    what: "for the built k6",
    plugins: [],
    module: "k6/x/tokenclock",
    bytesOf: undefined,
    names: scenarioNames(),
    most: 108,
    ofMixed: 113,
  },
  {
    what: "for a stock k6 with xk6-sse",
    plugins: [useSseClient],
    module: "k6/x/sse",
    bytesOf: maxSseBytesOf,
    names: sseScenarioNames(),
    most: 161,
    ofMixed: 0,
  },
];
for (const { what, plugins, module, bytesOf, names, most, ofMixed } of variants) {
  test(`every scenario becomes a bundle ${what}, with a source map and no other module than ${module}`, async () => {
    const entries = names.map((name) => path.join(root, "scenarios", `${name}.ts`));
    const files = await bundle(entries, path.join(dir, module), plugins, true, bytesOf);
    assert.equal(files.length, entries.length);
    for (const file of files) {
      const text = readFileSync(file, "utf8");
      const imports = [...text.matchAll(/\b(?:from|import)\s*"([^"]+)"/g)].map(([, name = ""]) => name);
      assert.ok(imports.includes(module), `${file}: ${imports}`);
      const [, bound = ""] = new RegExp(`import ([^;]+?) ?from ?"${module}"`).exec(text) ?? [];
      assert.match(bound, /^[\w$]+$/, `${file}: each name that is imported costs every VU a function`);
      for (const name of imports)
        assert.ok(name === module || /^k6(\/(?!x\/)|$)/.test(name), `${file} imports ${name}`);
      assert.ok(readFileSync(`${file}.map`, "utf8").includes("lib/settings/settings.ts"));
      assert.deepEqual(
        docTexts.filter((each) => text.includes(each)),
        [],
        `${file}: texts that only docs and --help show`,
      );
      // Its classes have requests and conversations.
      const limit = path.basename(file) === "mixed.js" ? ofMixed : most;
      assert.ok(
        madeAtTop(text) <= limit,
        `${file}: every VU makes ${madeAtTop(text)} functions and objects, limit ${limit}`,
      );
    }
  });
}
