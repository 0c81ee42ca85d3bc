/** client.start() and client.batch() as scripts use them: nothing is lost, nothing counts twice, limits are told of. */
import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { builtK6, distDir, root } from "../../build/paths";
import type { RunReport } from "../../lib/figures/level-summary";
import { asEnvironment } from "../../lib/settings/given-settings";
import { k6Environment } from "../../run/simulator";
import { startChild } from "../support/child";
import { levelOf, readRecords, requestsIn } from "../support/run";
import { scratchDir } from "../support/scratch";
import { type SimulatedServer, serverFor } from "../support/simulated";

const limits = { timeout: 60_000 };
const k6 = () => process.env.K6_BINARY || builtK6;

/** Runs a fixture; what it logged behind `words`, its report, and its records. */
async function runFixture(name: string, server: SimulatedServer, env: Record<string, string | number>, binary = k6()) {
  const dir = scratchDir();
  const settings = Object.entries({ ...env, BASE_URL: server.baseUrl }).flatMap(([key, value]) => [
    "-e",
    `${key}=${value}`,
  ]);
  const child = startChild(
    binary,
    [
      ...["run", "--quiet", "--no-color", "--out", "records=records.ndjson", ...settings],
      path.join(root, "test/e2e/fixtures", name),
    ],
    { cwd: dir, env: k6Environment(), timeoutMs: 50_000 },
  );
  const { code, stderr } = await child.ended;
  const said = (words: string) =>
    [...stderr.matchAll(/msg="((?:[^"\\]|\\.)*)"/g)]
      .map(([, line = ""]) => line.replaceAll('\\"', '"'))
      .filter((line) => line.startsWith(words))
      .map((line) => JSON.parse(line.slice(words.length)));
  return {
    code,
    stderr,
    said,
    get report() {
      return JSON.parse(readFileSync(path.join(dir, "report.json"), "utf8")) as RunReport & { httpReqs: number };
    },
    requests: requestsIn(readRecords(path.join(dir, "records.ndjson"))),
  };
}

/** Every request that the server saw is in the records once, with its arrivals; and no stream is left open. */
async function assertNothingLost(
  server: SimulatedServer,
  requests: Awaited<ReturnType<typeof runFixture>>["requests"],
): Promise<void> {
  for (let asked = 0; (await server.truth()).liveCount > 0; asked++) assert.ok(asked < 100, "no stream stays open");
  const truth = new Map((await server.truth()).requests.map((each) => [each.id, each]));
  assert.equal(new Set(requests.map(({ id }) => id)).size, requests.length, "none is recorded twice");
  const known = new Set(requests.map(({ id }) => String(id)));
  for (const id of truth.keys()) assert.ok(known.has(id), `request ${id} is in no record`);
  for (const request of requests.filter(({ outcome }) => outcome === "completed")) {
    const tokens = (request.arrivals ?? []).reduce((sum, [, each]) => sum + each, 0);
    assert.equal(tokens, truth.get(String(request.id))?.outputTokens);
  }
}

test("client.start(): hundreds side by side all end, and each is counted under how it ended", limits, async (t) => {
  const server = await serverFor(t, "--ttft", "100ms", "--itl", "10ms");
  const run = await runFixture("start.js", server, { USERS: 3, STREAMS: 100, TOKENS: 5, MIXED: "yes" });
  // Whether the machine kept up is not the point here.
  assert.ok(run.code === 0 || run.code === 99, run.stderr);
  assert.equal(run.stderr.match(/at once: 0 of 100 had ended/g)?.length, 3, "the VU goes on at once");
  const each = { "completed 5": 60, aborted: 20, http_4xx: 20 };
  assert.deepEqual(run.said("results: "), [each, each, each]);
  const level = levelOf(run.report, "all");
  assert.deepEqual([level.requests, level.completed, level.outputTokens], [300, 180, 900]);
  assert.deepEqual(level.failures, { aborted: 60, http_4xx: 60 });
  assert.equal(level.ttftMs.count, 180, "what failed feeds no latency");
  assert.equal(run.report.httpReqs, 300);
  assert.equal(run.requests.length, 300);
  assert.equal(new Set(run.requests.map(({ index }) => index)).size, 300);
  await assertNothingLost(server, run.requests);
});

test("client.start(): what gracefulStop cuts is recorded and counted as interrupted", limits, async (t) => {
  const server = await serverFor(t, "--ttft", "20ms", "--itl", "1s");
  const run = await runFixture("start.js", server, { USERS: 2, STREAMS: 100, TOKENS: 20, GRACEFUL_STOP: "300ms" });
  assert.ok(run.code === 0 || run.code === 99, run.stderr);
  const level = levelOf(run.report, "all");
  assert.deepEqual([level.requests, level.completed], [200, 0]);
  assert.deepEqual(level.failures, { interrupted: 200 });
  assert.equal(run.report.httpReqs, 200);
  assert.equal(run.requests.length, 200);
  for (const request of run.requests) {
    assert.equal(request.outcome === "failed" && request.failure, "interrupted");
    assert.ok((request.arrivals ?? []).length > 0, "what had arrived is kept");
  }
  await assertNothingLost(server, run.requests);
});

interface Batch {
  level: string;
  totalMs: number;
  releaseSpreadMs: number;
  results: unknown[];
}

test(
  "client.batch(): results come in the order of the requests, with failures and aborts in their place",
  limits,
  async (t) => {
    const server = await serverFor(t, "--ttft", "50ms", "--itl", "5ms");
    const run = await runFixture("batch.js", server, {});
    assert.ok(run.code === 0 || run.code === 99, run.stderr);
    const [plain, mixed, staggered, none] = run.said("batch: ") as [Batch, Batch, Batch, Batch];
    const all = Array.from({ length: 20 }, (_, i) => i);
    assert.deepEqual(
      plain.results,
      all.map((i) => [i + 1, i % 2 === 0]),
      "text is kept where it was asked for",
    );
    assert.deepEqual(
      mixed.results,
      all.map((i) => ({ 5: "http_4xx", 19: "aborted" })[i] ?? [i + 1, false]),
    );
    assert.deepEqual([none.results, none.totalMs, none.releaseSpreadMs], [[], 0, 0]);
    // By the clock: the longest has 20 tokens; staggered, the last is sent 190 ms behind the first.
    assert.ok(plain.totalMs >= 50 + 19 * 5 - 1, `${plain.totalMs} ms`);
    assert.ok(plain.releaseSpreadMs < plain.totalMs);
    assert.ok(staggered.releaseSpreadMs >= 189, `${staggered.releaseSpreadMs} ms from the first send to the last`);
    assert.deepEqual(
      run.report.levels.map(({ name, requests, completed, failures }) => ({ name, requests, completed, failures })),
      [
        { name: "plain", requests: 20, completed: 20, failures: {} },
        { name: "mixed", requests: 20, completed: 18, failures: { http_4xx: 1, aborted: 1 } },
        { name: "staggered", requests: 20, completed: 20, failures: {} },
      ],
    );
    assert.equal(run.report.httpReqs, 60);
    await assertNothingLost(server, run.requests);
  },
);

/** k6 with no more than so many file descriptors. */
function limited(descriptors: number): string {
  const file = path.join(scratchDir(), "k6");
  writeFileSync(file, `#!/bin/sh\nulimit -n ${descriptors}\nexec "${k6()}" "$@"\n`);
  chmodSync(file, 0o755);
  return file;
}

test("descriptors that run out are the client's limit, not the server's failure", {
  ...limits,
  skip: process.platform === "win32",
}, async (t) => {
  const server = await serverFor(t, "--ttft", "300ms", "--itl", "10ms");
  const streams = { USERS: 1, STREAMS: 400, TOKENS: 3 };
  const run = await runFixture("start.js", server, streams, limited(256));
  assert.equal(run.code, 99, "a client-bound run passes no gate");
  const { state, reasons } = run.report.validity;
  assert.equal(state, "CLIENT-BOUND");
  const { connect = 0 } = levelOf(run.report, "all").failures;
  assert.ok(connect > 0 && connect < 400, `${connect} of 400`);
  assert.equal(
    reasons.find((reason) => reason.includes("no connection")),
    `${connect} requests found no connection: too many open files, the limit is 256 file descriptors (ulimit -n)`,
  );
  assert.equal(run.requests.length, 400, "all are in the records");
  const declared = await runFixture("start.js", server, { ...streams, DECLARED: 400 }, limited(256));
  assert.equal(declared.code, 104, "declared, they are refused before the load");
  assert.match(declared.stderr, /400 connections at once need 528 file descriptors, the limit is 256; .*ulimit -n 528/);
});

for (const [settings, connections] of [
  [{ STAGES: "1s:400,2s:400", MAX_IN_FLIGHT: "300" }, 300],
  [{ STAGES: "1s:300", LOOP: "closed" }, 300],
] as const) {
  test(`more in flight than there are descriptors is refused before the load: ${JSON.stringify(settings)}`, {
    ...limits,
    skip: process.platform === "win32",
  }, async () => {
    const env = k6Environment(asEnvironment({ ...settings, BASE_URL: "http://127.0.0.1:1/v1" }));
    const args = ["run", "--quiet", path.join(distDir, "arrival-rate-ramp.js")];
    const { code, stderr } = await startChild(limited(256), args, { cwd: scratchDir(), env, timeoutMs: 20_000 }).ended;
    assert.equal(code, 104, stderr);
    assert.match(stderr, new RegExp(`${connections} connections at once need ${connections + 128} file descriptors`));
  });
}
