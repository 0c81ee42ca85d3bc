import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { loadTypeScript, root } from "./paths";

test("TypeScript is compiled once for each content of a file, and errors name its lines", (t) => {
  const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-typescript-"));
  const file = path.join(dir, "program.ts");
  const kept = path.join(root, ".cache", "typescript", `${path.relative(root, file).replaceAll("..", "__")}.js`);
  t.after(() => {
    rmSync(dir, { recursive: true });
    rmSync(path.dirname(kept), { recursive: true });
  });
  const run = () => {
    const { stdout, stderr } = spawnSync(process.execPath, ["-r", loadTypeScript, file], { encoding: "utf8" });
    return stdout + stderr;
  };
  const write = (word: string) =>
    writeFileSync(
      file,
      `interface Said {\n  word: string;\n}\nconst said: Said = { word: "${word}" };\nconsole.log(said.word);\n`,
    );

  write("one");
  assert.equal(run(), "one\n");
  const compiled = readFileSync(kept, "utf8");
  // What is kept is what runs.
  writeFileSync(kept, compiled.replace('"one"', '"kept"'));
  assert.equal(run(), "kept\n");
  write("two");
  assert.equal(run(), "two\n", "another content");
  writeFileSync(kept, readFileSync(kept, "utf8").slice(0, -1));
  assert.equal(run(), "two\n", "a file that was cut is made anew");

  writeFileSync(file, "interface None {\n  word: string;\n}\n\nthrow new Error(`here`);\n");
  for (const when of ["compiled", "kept"]) assert.match(run(), /program\.ts:5/, when);
});
