/**
 * What reading a large file costs: `node build/bootstrap.cjs test/bench/large-files.ts [ROWS] [TREE...]` writes files of so many rows
 * (a million unless told; of conversations a hundredth), runs the load that reads each by the built k6, and prints its processor time
 * and its largest memory. Only 20 rows of a trace, or 20 sessions, are sent, so that reading is what counts. Further
 * arguments name other working trees of the project, built and ready, which read the same files in the same run.
 */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { root } from "../../build/paths";
import { runProgram } from "../../build/program";
import { k6Environment, startSimulator } from "../../run/simulator";
import { startChild } from "../support/child";
import { compileUsage } from "./clients";
import type { Cost } from "./figures";

interface Job {
  readonly name: string;
  readonly scenario: string;
  readonly file: string;
  /** Rows of the file beside those of the others. */
  readonly share: number;
  readonly heading: string;
  row(k: number): string;
  readonly settings: readonly string[];
}

const lengthsAt = (k: number) => [50 + ((k * 7919) % 2000), 2 + ((k * 104729) % 300)] as const;
const dateAt = (k: number) => new Date(1_700_158_546_000 + 10 * k).toISOString().replace("T", " ").replace("Z", "0000");
const turn = (k: number, t: number) => ({
  role: t % 2 === 0 ? "user" : "assistant",
  content: `${k} ${t} ${"some words of a turn ".repeat(20)}`,
});

const jobs: readonly Job[] = [
  {
    ...{ name: "trace of lengths", scenario: "trace-replay", file: "lengths.jsonl", share: 1, heading: "" },
    row: (k) => JSON.stringify({ timestamp: 10 * k, input_length: lengthsAt(k)[0], output_length: lengthsAt(k)[1] }),
    settings: ["TRACE_WINDOW=1-20"],
  },
  {
    ...{ name: "Azure", scenario: "trace-replay", file: "azure.csv", share: 1 },
    heading: "TIMESTAMP,ContextTokens,GeneratedTokens\n",
    row: (k) => [dateAt(k), ...lengthsAt(k)].join(","),
    settings: ["TRACE_WINDOW=1-20"],
  },
  {
    ...{ name: "BurstGPT", scenario: "trace-replay", file: "burstgpt.csv", share: 1 },
    heading: "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n",
    // One request in 60 failed.
    row: (k) => `${k},ChatGPT,${lengthsAt(k)[0]},${k % 60 === 7 ? 0 : lengthsAt(k)[1]},${k},Conversation log`,
    settings: ["TRACE_WINDOW=1-20", "SPEED=100"],
  },
  {
    ...{ name: "conversations", scenario: "conversations", file: "conversations.jsonl", share: 0.01, heading: "" },
    row: (k) => JSON.stringify({ messages: Array.from({ length: 8 }, (_, t) => turn(k, t)) }),
    settings: ["SESSIONS=20", "CONCURRENCY=4", "OUTPUT_TOKENS=2"],
  },
];

/** Writes a file piece by piece: a million rows are no text of one piece. */
function writeRows(file: string, { heading, row }: Job, rows: number): void {
  writeFileSync(file, heading);
  for (let k = 0; k < rows; k += 10_000) {
    const piece = Array.from({ length: Math.min(10_000, rows - k) }, (_, i) => `${row(k + i)}\n`).join("");
    writeFileSync(file, piece, { flag: "a" });
  }
}

void runProgram(async () => {
  const [rows = 1_000_000] = process.argv.slice(2, 3).map(Number);
  const trees = process.argv.slice(3).map((tree) => path.resolve(tree));
  const dir = mkdtempSync(path.join(tmpdir(), "tokenclock-large-files-"));
  const k6 = (tree: string) => path.join(tree, "bin", "k6");
  const simulator = await startSimulator(k6(root), ["--ttft", "5ms", "--itl", "1ms"]);
  try {
    const usage = await compileUsage(dir);
    for (const job of jobs) {
      const file = path.join(dir, job.file);
      const count = Math.max(20, Math.round(rows * job.share));
      writeRows(file, job, count);
      console.log(`${job.name}: ${count} rows, ${(statSync(file).size / 1e6).toFixed(0)} MB`);
      for (const tree of [...trees, root]) {
        const results = path.join(dir, "results");
        rmSync(results, { recursive: true, force: true });
        const set = [
          ...[`BASE_URL=${simulator.baseUrl}`, "THRESHOLDS=none", `RESULTS=${results}`, ...job.settings],
          `${job.scenario === "trace-replay" ? "TRACE" : "DATASET"}=${file}`,
        ].flatMap((each) => ["-e", each]);
        const cost = path.join(dir, "cost.json");
        const bundle = path.join(tree, "dist", `${job.scenario}.js`);
        const args = [cost, "600", k6(tree), "run", "--quiet", "--no-color", ...set, bundle];
        const { code, stdout, stderr } = await startChild(usage, args, {
          ...{ cwd: dir, env: k6Environment(), timeoutMs: 610_000 },
        }).ended;
        if (code !== 0) throw new Error(`${job.name} by ${tree} ended with ${code}: ${(stdout + stderr).slice(-2000)}`);
        const { userS, systemS, peakMB } = JSON.parse(readFileSync(cost, "utf8")) as Cost;
        const name = tree === root ? "this tree" : path.basename(tree);
        console.log(`  ${name.padEnd(12)} ${(userS + systemS).toFixed(2)} CPU s, ${peakMB.toFixed(0)} MB at most`);
      }
      rmSync(file);
    }
    return 0;
  } finally {
    await simulator.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
