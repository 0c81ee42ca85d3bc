import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { compileUsage } from "./clients";
import type { Cost } from "./figures";

const skip = process.platform === "win32" && "the benchmark does not run on Windows";
const dir = mkdtempSync(path.join(os.tmpdir(), "tokenclock-usage-test-"));
let usage = "";
before(async () => {
  if (!skip) usage = await compileUsage(dir);
});
after(() => rmSync(dir, { recursive: true, force: true }));

function run(...args: string[]): { status: number | null; cost: Cost } {
  const file = path.join(dir, "cost.json");
  const options = args.slice(0, args.indexOf("--"));
  const command = args.slice(args.indexOf("--") + 1);
  const { status, stderr } = spawnSync(usage, [...options, file, "60", ...command]);
  assert.equal(stderr.toString(), "");
  return { status, cost: JSON.parse(readFileSync(file, "utf8")) as Cost };
}

// Each turn of the loop notes the time; while it is stopped it notes none.
const ticking = `
  let longestMs = 0, lastMs = Date.now();
  const end = lastMs + 1500;
  while (lastMs < end) { const ms = Date.now(); longestMs = Math.max(longestMs, ms - lastMs); lastMs = ms; }
  process.exit(longestMs > 390 ? 5 : 6);
`;

test("a command is stopped as long as was asked, and goes on", { skip }, () => {
  const { status, cost } = run("-stop", "0.5", "-stop-for", "400ms", "--", process.execPath, "-e", ticking);
  assert.equal(status, 5, "it noticed");
  assert.ok(cost.stoppedS >= 0.4, `${cost.stoppedS}`);
  assert.equal(cost.code, 5);
});

test("a command that ends before is not stopped; its start is on the wall clock", { skip }, () => {
  const beforeMs = Date.now();
  const { status, cost } = run("-stop", "30", "-stop-for", "1s", "--", "sh", "-c", "exit 3");
  assert.equal(status, 3);
  assert.equal(cost.stoppedS, 0);
  const startMs = Number(BigInt(cost.startUnixNs) / 1_000_000n);
  assert.ok(startMs >= beforeMs && startMs <= Date.now());
});

test("a stop without a length is refused", { skip }, () => {
  const { status, stderr } = spawnSync(usage, ["-stop", "1", path.join(dir, "x"), "1", "true"]);
  assert.equal(status, 2);
  assert.match(stderr.toString(), /-stop-for/);
});
