/**
 * What a report of a large run costs: `node build/bootstrap.cjs test/bench/report.ts [requests] [tokens]` writes the records of
 * such a run (200,000 requests of 200 tokens unless told), renders its report in a process of its own and prints how long
 * that took and how much memory it needed. Beside it stands the floor: a process that decompresses the same records, parses
 * each line and keeps nothing. No report from these records can cost less. `killed` is the report of the same records without their
 * summary, as a run leaves them that is killed. Further arguments name other working trees of the
 * project, built and ready, whose reports of the same records are measured in the same run.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { loadTypeScript, root } from "../../build/paths";
import { runProgram } from "../../build/program";
import { writeLongRun } from "../support/long-run";

/** What a process of its own took to run `work`, an expression that gives a promise. */
function costOf(work: string, tree = root): { s: number; cpuS: number; rssMB: number } {
  const measure = `
    const since = process.hrtime.bigint();
    (${work}).then(() => {
      const s = Number(process.hrtime.bigint() - since) / 1e9;
      console.log(JSON.stringify({ s, cpuS: process.cpuUsage().user / 1e6, rssMB: process.resourceUsage().maxRSS / 1024 }));
    });`;
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ["-r", path.join(tree, path.relative(root, loadTypeScript)), "-e", measure],
    {
      encoding: "utf8",
      cwd: tree,
    },
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as ReturnType<typeof costOf>;
}

const required = (file: string, tree = root) => `require(${JSON.stringify(path.join(tree, file))})`;

void runProgram(async () => {
  const [requests = 200_000, tokens = 200] = process.argv.slice(2, 4).map(Number);
  const trees = process.argv.slice(4).map((tree) => path.resolve(tree));
  const dir = mkdtempSync(path.join(tmpdir(), "tokenclock-report-bench-"));
  try {
    const records = path.join(dir, "records.ndjson.gz");
    await writeLongRun(dir, requests, tokens);
    const floor = costOf(
      `(async () => { for await (const _ of ${required("report/read/records.ts")}.readRecords(${JSON.stringify(records)}, [])); })()`,
    );
    const render = (tree = root) =>
      costOf(`${required("report/page/render.ts", tree)}.renderReport(${JSON.stringify(dir)})`, tree);
    const others = trees.map((tree) => [path.basename(tree), render(tree)] as const);
    const report = render();
    const [recordsMB, pageMB] = [records, path.join(dir, "report.html")].map((file) => statSync(file).size / 1e6);
    rmSync(path.join(dir, "summary.json"));
    const killed = render();
    console.log(
      `${requests} requests x ${tokens} tokens; records ${recordsMB?.toFixed(0)} MB, page ${pageMB?.toFixed(2)} MB`,
    );
    for (const [name, { s, cpuS, rssMB }] of [
      ...others,
      ["report", report] as const,
      ["killed", killed] as const,
      ["floor", floor] as const,
    ])
      console.log(
        `${name.padEnd(6)} ${cpuS.toFixed(1)} s of processor, ${rssMB.toFixed(0)} MB at most, ${s.toFixed(1)} s`,
      );
    console.log(`the report takes ${(report.cpuS / floor.cpuS).toFixed(1)} times the floor's processor time`);
    return 0;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
