import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { runCommand } from "./command";
import { goEnvironment } from "./k6";
import { root } from "./paths";

test("types for other systems: an error is found in a file of that system alone, and named with it", async (t) => {
  const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-check-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const write = (name: string, text: string) => writeFileSync(path.join(dir, name), text);
  write("go.mod", "module example\n\ngo 1.25\n");
  write("all.go", 'package example\n\nimport "os"\n\nvar Name = os.Args[0]\n');
  write("name_windows.go", "package example\n\nvar length int = Name\n");
  const check = (...systems: string[]) =>
    runCommand("go", ["run", "./typecheck", dir, ...systems], {
      cwd: path.join(root, "build", "tools"),
      env: goEnvironment(),
    });
  const sound = await check("linux/arm64", "darwin/arm64");
  assert.deepEqual([sound.code, sound.stdout], [0, ""], sound.stderr);
  const wrong = await check("darwin/arm64", "windows/amd64");
  assert.equal(wrong.code, 1);
  assert.match(wrong.stdout, /^windows\/amd64: .*name_windows\.go:3:\d+: cannot use Name .* as int value/);
  assert.equal(wrong.stdout.trim().split("\n").length, 1, wrong.stdout);
  const nothing = await check("windows");
  assert.equal(nothing.code, 1, "go run ends with 1 where its program ends with another code than 0");
  assert.match(nothing.stderr, /windows is no GOOS\/GOARCH/);
});
