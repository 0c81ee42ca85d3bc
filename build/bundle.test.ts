import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { bundle, scenarioNames, useSseClient } from "./bundle";
import { root } from "./paths";

const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-bundle-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function entry(name: string, text: string): string {
  const file = path.join(dir, `${name}.ts`);
  writeFileSync(file, text);
  return file;
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

test("a bundle above the limit is refused with its size", async () => {
  const text = `export default () => "${"x".repeat(110_000)}";`;
  await assert.rejects(bundle([entry("large", text)], dir), /large\.js has \d+ bytes, the limit is 102400/);
});

const variants = [
  { what: "for the built k6", plugins: [], module: "k6/x/tokenclock" },
  { what: "for a stock k6 with xk6-sse", plugins: [useSseClient], module: "k6/x/sse" },
];
for (const { what, plugins, module } of variants) {
  test(`every scenario becomes a bundle ${what}, with a source map and no other module than ${module}`, async () => {
    const entries = scenarioNames().map((name) => path.join(root, "scenarios", `${name}.ts`));
    const files = await bundle(entries, path.join(dir, module), plugins);
    assert.equal(files.length, entries.length);
    for (const file of files) {
      const text = readFileSync(file, "utf8");
      const imports = [...text.matchAll(/\b(?:from|import)\s*"([^"]+)"/g)].map(([, name = ""]) => name);
      assert.ok(imports.includes(module), `${file}: ${imports}`);
      for (const name of imports)
        assert.ok(name === module || /^k6(\/(?!x\/)|$)/.test(name), `${file} imports ${name}`);
      assert.ok(readFileSync(`${file}.map`, "utf8").includes("lib/settings.ts"));
    }
  });
}
