/** Nothing that `npm start` started outlives it: k6 and the simulated server end with npm, whatever ends that. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { root } from "../../build/paths";
import type { Summary } from "../../lib/figures/level-summary";
import { startChild } from "../support/child";
import { readRecords } from "../support/run";
import { scratchDir } from "../support/scratch";

/** The processes whose parent is `pid`, by id with their command lines. */
function childrenOf(pid: number): { pid: number; command: string }[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
        const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ");
        return parent === pid ? [{ pid: Number(name), command }] : [];
      } catch {
        return []; // gone
      }
    });
}

function descendantsOf(pid: number): { pid: number; command: string }[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child.pid)]);
}

/** Whether a process runs; one that has ended and that nobody has waited for does not. */
function runs(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z";
  } catch {
    return false;
  }
}

async function until(what: string, withinMs: number, holds: () => boolean): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!holds()) {
    assert.ok(performance.now() < endMs, `not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

for (const [signal, to] of [
  ["SIGTERM", "npm"],
  // The shell that npm starts a script with keeps an INT to npm alone until the script has ended, whatever the script is; a
  // terminal's goes to all of the group.
  ["SIGINT", "group"],
  ["SIGTERM", "group"],
  ["SIGHUP", "npm"],
  ["SIGKILL", "npm"],
  ["SIGKILL", "node"],
] as const) {
  test(`${signal} to ${to} ends k6 and the simulated server`, {
    timeout: 90_000,
    skip: process.platform === "linux" ? false : "needs /proc to see which processes there are",
  }, async () => {
    const dir = path.join(scratchDir(), "out");
    const settings = ["SIMULATE=true", "CONCURRENCY=1", "DURATION=10m", "OUTPUT_TOKENS=4", `RESULTS=${dir}`];
    // setsid makes a group of them, as a terminal does.
    const npm = startChild("setsid", ["npm", "start", "--", ...settings.flatMap((each) => ["-e", each])], {
      cwd: root,
      env: { ...process.env },
      timeoutMs: 80_000,
    });
    const records = path.join(dir, "records.ndjson.gz");
    await until("the load runs", 40_000, () => readRecords(records).some(({ type }) => type === "request"));
    const all = descendantsOf(npm.pid);
    const of = (pattern: RegExp) => all.find(({ command }) => pattern.test(command))?.pid ?? 0;
    const [node, k6, simulator] = [
      of(/build\/start\.ts/),
      of(/ run .*concurrency-sweep\.js/),
      of(/tokenclock simulate/),
    ];
    const nodeItself = all.find(({ command }) => /^\S*node build\/bootstrap/.test(command))?.pid ?? node;
    assert.ok(nodeItself && k6 && simulator, JSON.stringify(all));

    process.kill({ npm: npm.pid, group: -npm.pid, node: nodeItself }[to], signal);
    await until("k6 has ended", 15_000, () => !runs(k6));
    await until("the simulated server has ended", 15_000, () => !runs(simulator));
    await npm.ended;
    // It wound down: what was measured is there, and passes nothing.
    const { verdict, ended } = JSON.parse(readFileSync(path.join(dir, "summary.json"), "utf8")) as Summary;
    assert.deepEqual([verdict.pass, ended], [false, "interrupted"]);
    assert.equal(readRecords(records).at(-1)?.type, "end");
  });
}
