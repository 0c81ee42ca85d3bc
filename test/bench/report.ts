/**
 * What a report of a large run costs: `node build/bootstrap.cjs test/bench/report.ts [requests] [tokens]` writes the records of
 * such a run (200,000 requests of 200 tokens unless told), renders its report in a process of its own and prints how long
 * that took and how much memory it needed. Beside it stands the floor: a process that decompresses the same records, parses
 * each line and keeps nothing. No report from these records can cost less.
 */
import { spawnSync } from "node:child_process";
import { createWriteStream, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { loadTypeScript, root } from "../../build/paths";
import { runProgram } from "../../build/program";
import { seededRng } from "../../lib/workload/rng";

/** Requests in flight at once. */
const streams = 64;

/** The records of a closed loop, a line at a time. */
function* recordLines(requests: number, tokens: number): Generator<string> {
  const line = (value: object) => `${JSON.stringify(value)}\n`;
  const rng = seededRng(1);
  yield line({
    ...{ type: "run", schema: 1, scenario: "concurrency-sweep", startUnixNs: 1_764_000_000_000_000_000 },
    ...{ config: { CONCURRENCY: [streams], REQUESTS: requests }, sloMs: { ttft: 100 }, versions: {} },
  });
  const freeNs = new Float64Array(streams);
  let endNs = 0;
  for (let index = 0; index < requests; index++) {
    const stream = index % streams;
    const sentNs = Math.round((freeNs[stream] as number) + 5e4);
    const arrivals: [number, number][] = [];
    let atNs = sentNs;
    for (let i = 0; i < tokens; i++) {
      const deltaNs = Math.round(i === 0 ? 2e7 + 6e7 * rng() : 8e6 + 4e6 * rng());
      atNs += deltaNs;
      arrivals.push([deltaNs, 1]);
    }
    freeNs[stream] = atNs + 1e5;
    endNs = Math.max(endNs, atNs);
    yield line({
      ...{
        type: "request",
        level: `c${streams}`,
        phase: "steady",
        index,
        scheduledNs: sentNs - 5e4,
        startedNs: sentNs - 4e4,
      },
      ...{ sentNs, firstByteNs: sentNs + (arrivals[0]?.[0] ?? 0), firstOutputNs: sentNs + (arrivals[0]?.[0] ?? 0) },
      ...{ firstNonReasonNs: sentNs + (arrivals[0]?.[0] ?? 0), lastOutputNs: atNs, endNs: atNs + 5e4, arrivals },
      ...{
        status: 200,
        outcome: "completed",
        inputTokens: 100 + (index % 50),
        outputTokens: tokens,
        reused: index >= streams,
      },
      ...{ tokenSource: "usage", finishReason: "length", stamp: "ring", streamed: true },
    });
  }
  yield line({ type: "level", name: `c${streams}`, concurrency: streams, openNs: 0, closeNs: endNs, endNs });
  yield line({ type: "end", endNs, ended: "complete", validity: { state: "VALID", reasons: [] } });
}

/** A summary that has what a report reads of a level; its statistics are none of this measurement's. */
function summaryOf(requests: number, tokens: number): object {
  const stats = { count: 0, mean: 0, std: 0, min: 0, p50: 0, p90: 0, p95: 0, p99: 0, p999: 0, max: 0 };
  const level = {
    ...{
      name: `c${streams}`,
      concurrency: streams,
      labels: {},
      requests,
      completed: requests,
      failed: 0,
      failures: {},
    },
    ...{ statuses: { 200: requests }, outputTokens: requests * tokens, windowStartS: 0, durationS: 1 },
    inputTokens: Array.from({ length: requests }, (_, i) => 100 + (i % 50)).reduce((a, b) => a + b, 0),
    ...{ requestThroughput: requests, outputThroughput: requests * tokens, ttftMs: stats, itlMs: stats, e2eMs: stats },
  };
  return {
    ...{ schema: 1, scenario: "concurrency-sweep", ended: "complete", levels: [level], config: {}, versions: {} },
    verdict: { pass: true, validity: "VALID", reasons: [] },
    validity: { state: "VALID", reasons: [] },
  };
}

/** What a process of its own took to run `work`, an expression that gives a promise. */
function costOf(work: string): { s: number; cpuS: number; rssMB: number } {
  const measure = `
    const since = process.hrtime.bigint();
    (${work}).then(() => {
      const s = Number(process.hrtime.bigint() - since) / 1e9;
      console.log(JSON.stringify({ s, cpuS: process.cpuUsage().user / 1e6, rssMB: process.resourceUsage().maxRSS / 1024 }));
    });`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["-r", loadTypeScript, "-e", measure], {
    encoding: "utf8",
    cwd: root,
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as ReturnType<typeof costOf>;
}

const required = (file: string) => `require(${JSON.stringify(path.join(root, file))})`;

void runProgram(async () => {
  const [requests = 200_000, tokens = 200] = process.argv.slice(2).map(Number);
  const dir = mkdtempSync(path.join(tmpdir(), "tokenclock-report-bench-"));
  try {
    const records = path.join(dir, "records.ndjson.gz");
    await pipeline(Readable.from(recordLines(requests, tokens)), createGzip({ level: 1 }), createWriteStream(records));
    writeFileSync(path.join(dir, "summary.json"), JSON.stringify(summaryOf(requests, tokens)));
    const floor = costOf(
      `(async () => { for await (const _ of ${required("report/read/records.ts")}.readRecords(${JSON.stringify(records)}, [])); })()`,
    );
    const report = costOf(`${required("report/page/render.ts")}.renderReport(${JSON.stringify(dir)})`);
    const [recordsMB, pageMB] = [records, path.join(dir, "report.html")].map((file) => statSync(file).size / 1e6);
    console.log(
      `${requests} requests x ${tokens} tokens; records ${recordsMB?.toFixed(0)} MB, page ${pageMB?.toFixed(2)} MB`,
    );
    for (const [name, { s, cpuS, rssMB }] of Object.entries({ report, floor }))
      console.log(
        `${name.padEnd(6)} ${cpuS.toFixed(1)} s of processor, ${rssMB.toFixed(0)} MB at most, ${s.toFixed(1)} s`,
      );
    console.log(`the report takes ${(report.cpuS / floor.cpuS).toFixed(1)} times the floor's processor time`);
    return 0;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
