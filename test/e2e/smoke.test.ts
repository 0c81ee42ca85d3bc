/** SMOKE=true: every scenario's levels with one request each, of which only a failure fails, and which no gate passes. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { scenarioNames } from "../../build/bundle";
import { refuseLoadFlags } from "../../lib/settings/given-settings";
import { invalidity } from "../../report/judge/validity";
import { readResults } from "../../report/read/read";
import { whenValid } from "../support/attempts";
import { run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { type SimulatedServer, startServer } from "../support/simulated";

let server: SimulatedServer;
before(async () => {
  server = await startServer();
});
after(() => server.stop());

/** A trace of three requests. */
function traceOf(): string {
  const file = path.join(scratchDir(), "trace.jsonl");
  const row = (timestamp: number) => JSON.stringify({ timestamp, input_length: 20, output_length: 4, hash_ids: [] });
  writeFileSync(file, [0, 500, 1500].map(row).join("\n"));
  return file;
}

/** What a scenario needs beside the server. */
const needs: Record<string, Record<string, string>> = {
  "arrival-rate-ramp": { RATE: "200", DURATION: "20s" },
  "trace-replay": { TRACE: traceOf() },
  "batch-burst": { BATCH_SIZES: "4,8", RUNS: "3" },
  "embeddings-burst": { API: "embeddings", BATCH_SIZES: "4", RUNS: "2" },
};

/** Loads that have no single request, and say so. */
const refused = ["capacity", "mixed"];

for (const scenario of refused) {
  test(`SMOKE=true ${scenario} is refused before any load`, async () => {
    const more: Record<string, string> =
      scenario === "mixed" ? { MIX: path.join(__dirname, "fixtures", "mix.json") } : { SLO_TTFT: "100" };
    const ended = await run(scenario, { BASE_URL: server.baseUrl, SMOKE: "true", ...more });
    assert.equal(ended.code, 104, ended.stderr);
    assert.match(ended.stderr, /SMOKE=true: .* try the server with concurrency-sweep/);
    assert.equal(ended.requests.length, 0);
  });
}

for (const scenario of scenarioNames().filter((each) => !refused.includes(each))) {
  test(`SMOKE=true ${scenario}: one request a level, and no latency is judged`, async () => {
    const ended = await run(scenario, {
      ...{ BASE_URL: server.baseUrl, SMOKE: "true", SLO_TTFT: "0.001", THRESHOLDS: "interactive" },
      ...(/burst$|^trace/.test(scenario) ? {} : { OUTPUT_TOKENS: "4" }),
      ...needs[scenario],
    });
    assert.equal(ended.code, 0, ended.stderr);
    const levels = new Map<string, number>();
    for (const { level } of ended.requests) levels.set(level, (levels.get(level) ?? 0) + 1);
    assert.ok(levels.size > 0, ended.stderr);
    assert.deepEqual(
      [...levels.values()].filter((count) => count !== 1),
      [],
      JSON.stringify([...levels]),
    );
  });
}

test("a smoke run in which a request fails has failed", async (t) => {
  const failing = await startServer("--fault", "status=500");
  t.after(failing.stop);
  const ended = await whenValid(t, () => run("concurrency-sweep", { BASE_URL: failing.baseUrl, SMOKE: "true" }));
  if (!ended) return;
  assert.equal(ended.code, 99, ended.stderr);
});

test("a smoke run passes no gate, and k6's own flags for a part of a load have a name for what to set instead", async () => {
  const ended = await run("concurrency-sweep", { BASE_URL: server.baseUrl, SMOKE: "true", CONCURRENCY: "2" });
  assert.equal(ended.code, 0, ended.stderr);
  assert.match(invalidity(await readResults(ended.dir)).join(), /it is a smoke run \(SMOKE=true\)/);
  assert.throws(() => refuseLoadFlags(["--once"]), /--once .* set SMOKE=true/);
  assert.throws(() => refuseLoadFlags(["--scenario"]), /--scenario: .* set CONCURRENCY, RATE or BATCH_SIZES/);
  refuseLoadFlags([]);
});
