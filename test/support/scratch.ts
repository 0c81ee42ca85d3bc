import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const made: string[] = [];
process.once("exit", () => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true });
});

/** A new empty folder that goes away with the process. */
export function scratchDir(): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-e2e-"));
  made.push(dir);
  return dir;
}
