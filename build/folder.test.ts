import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { makeFolders, makeOutput } from "./folder";
import { Problem } from "./program";

const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-folder-"));
after(() => rmSync(dir, { recursive: true, force: true }));
const file = path.join(dir, "file");
writeFileSync(file, "");

test("a folder is made with those above it, and those that were made are returned, the lowest first", () => {
  const [a, b, c] = ["a", "a/b", "a/b/c"].map((each) => path.join(dir, each)) as [string, string, string];
  assert.deepEqual(makeFolders(b), [b, a]);
  assert.deepEqual(makeFolders(c), [c]);
  assert.deepEqual(makeFolders(c), []);
});

test("an --output is made, and one that cannot be is refused in one line with exit code 104", () => {
  makeOutput(path.join(dir, "new", "output"));
  assert.ok(existsSync(path.join(dir, "new", "output")));
  // Node's recursive mkdir never returns from /proc.
  const impossible = [file, path.join(file, "x"), ...(process.platform === "linux" ? ["/proc/x", "/proc/x/y"] : [])];
  for (const each of impossible) {
    const refused = (error: unknown) =>
      error instanceof Problem &&
      error.exitCode === 104 &&
      error.message.startsWith(`--output ${each} cannot be used (E`) &&
      !error.message.includes("\n");
    assert.throws(() => makeOutput(each), refused);
  }
});
