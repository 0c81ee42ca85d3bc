/** RESULTS with plain `k6 run`: a finished run's files are somewhere, or the run did not begin. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { assertEndedWell, readRecords, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const limits = { timeout: 60_000 };
const small = { CONCURRENCY: 1, REQUESTS: 2, WARMUP: 0, OUTPUT_TOKENS: 2, THRESHOLDS: "none" };

test("a folder of results that is missing is made, in time for the records too", limits, async (t) => {
  const server = await startServer("--ttft", "5ms", "--itl", "1ms");
  t.after(server.stop);
  const dir = path.join(scratchDir(), "not", "there");
  const args = ["-e", `RESULTS=${dir}`, "--out", `records=${path.join(dir, "own.ndjson")}`];
  assertEndedWell(await run("concurrency-sweep", { ...small, BASE_URL: server.baseUrl }, { args }));
  assert.deepEqual(readdirSync(dir).sort(), ["config.json", "own.ndjson", "server-metrics.json", "summary.json"]);
  assert.equal(JSON.parse(readFileSync(path.join(dir, "summary.json"), "utf8")).total.completed, 2);
  assert.equal(readRecords(path.join(dir, "own.ndjson")).at(-1)?.type, "end");
});

test("a folder that cannot be made is refused with one line before any request", limits, async (t) => {
  const server = await startServer();
  t.after(server.stop);
  const file = path.join(scratchDir(), "a-file");
  writeFileSync(file, "");
  const args = ["-e", `RESULTS=${file}/results`];
  const { code, stderr } = await run("concurrency-sweep", { ...small, BASE_URL: server.baseUrl }, { args });
  assert.equal(code, 104, stderr);
  assert.match(stderr, /RESULTS=\S+\/a-file\/results cannot be written to: .*not a directory/);
  assert.equal((await server.truth()).requestCount, 0);
  assert.ok(!existsSync(path.join(file, "results")));
});
