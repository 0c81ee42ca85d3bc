/** The bundles for a stock k6 with xk6-sse, on the module of the same API in the built k6. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { withAttempts } from "./support/attempts";
import { near } from "./support/near";
import { type RunSettings, run } from "./support/run";
import { startServer } from "./support/simulated";
import { mean, quantile } from "./support/statistics";

async function runSse(t: TestContext, scenario: string, settings: RunSettings, ...server: string[]) {
  const { baseUrl, stop } = await startServer(...server);
  t.after(stop);
  return run(`xk6-sse/${scenario}`, { BASE_URL: baseUrl, INPUT_TOKENS: 16, OUTPUT_TOKENS: 8, ...settings });
}

test("levels follow each other, their figures are those of their streams", async (t) => {
  const ended = await runSse(t, "concurrency-sweep", {
    CONCURRENCY: "1,2",
    DURATION: "1s",
    WARMUP: 0,
    SLO_E2E: 60_000,
    // A level waits for what it has in flight as long as a request may take.
    TIMEOUT: "5s",
  });
  assert.equal(ended.code, 0, ended.stdout + ended.stderr);
  const { levels, verdict } = ended.summary;
  assert.equal(verdict.validity, "UNJUDGED");
  assert.deepEqual(
    levels.map(({ name }) => name),
    ["c1", "c2"],
  );
  for (const level of levels) {
    assert.ok(level.completed > 0 && level.failed === 0, JSON.stringify(level.failures));
    assert.equal(level.outputTokens, 8 * level.completed);
    assert.equal(level.ttftMs.count, level.completed);
    assert.equal(level.chunkGapMs.count, 7 * level.completed);
    assert.equal(level.goodShare, 1);
  }
});

test("a VU that would carry several clients is refused: on a stock k6 it cannot", async (t) => {
  const ended = await runSse(t, "concurrency-sweep", { CONCURRENCY: 4, DURATION: "1s", CLIENTS_PER_VU: 2 });
  assert.equal(ended.code, 108);
  assert.match(
    ended.stderr,
    /CLIENTS_PER_VU=2 needs k6\/x\/tokenclock; with xk6-sse each client is a VU; leave it out/,
  );
});

test("times are the server's, where the module stamps what it receives", { timeout: 180_000 }, async (t) => {
  await withAttempts(t, async () => {
    const server = await startServer("--ttft", "uniform:20ms,60ms", "--itl", "normal:10ms,2ms");
    t.after(server.stop);
    const ended = await run("xk6-sse/concurrency-sweep", {
      ...{ CONCURRENCY: 32, DURATION: "3s", WARMUP: 0, INPUT_TOKENS: 16, OUTPUT_TOKENS: 20 },
      ...{ THRESHOLDS: "none", BASE_URL: server.baseUrl },
    });
    assert.equal(ended.code, 0, ended.stderr);
    const [level] = ended.summary.levels;
    const { requests } = await server.truth();
    const sends = requests.map(({ sendsNs, beginNs }) => ({ beginNs, atNs: sendsNs.map(([beforeNs]) => beforeNs) }));
    const ttftMs = sends.map(({ beginNs, atNs: [first = 0] }) => (first - beginNs) / 1e6);
    const gapsMs = sends.flatMap(({ atNs }) => atNs.slice(1).map((ns, i) => (ns - (atNs[i] ?? 0)) / 1e6));
    assert.equal(level?.completed, requests.length);
    assert.equal(level?.chunkGapMs.count, gapsMs.length);
    // A scheduler's stall on this machine may move a stamp; JavaScript's turn must not.
    near(level?.ttftMs.p50, quantile(ttftMs, 0.5), "TTFT p50", { absolute: 0.5 });
    near(level?.ttftMs.mean, mean(ttftMs), "mean TTFT", { absolute: 1 });
    near(level?.chunkGapMs.p50, quantile(gapsMs, 0.5), "gap p50", { absolute: 0.1 });
    near(level?.chunkGapMs.p90, quantile(gapsMs, 0.9), "gap p90", { absolute: 0.3, relative: 0.02 });
  });
});

test("an SLO that is missed ends with 99", async (t) => {
  const settings = { CONCURRENCY: 1, DURATION: "1s", SLO_TTFT: 0.001 };
  const { code, stdout } = await runSse(t, "concurrency-sweep", settings);
  assert.equal(code, 99, stdout);
  assert.match(stdout, /^FAIL llm_ttft\{level:c1\} p\(95\) \S+ ms, limit < 0\.001 ms$/m);
});

const faults: [fault: string, failure: string][] = [
  ["status=429", "http_429"],
  ["error=2", "error_event"],
  ["cut=2,cutHow=end", "truncated"],
];
for (const [fault, failure] of faults) {
  test(`${fault} is counted as ${failure}, and feeds no latency`, async (t) => {
    const settings = { CONCURRENCY: 1, DURATION: "1s", WARMUP: 0 };
    const { code, summary } = await runSse(t, "concurrency-sweep", settings, "--fault", fault);
    assert.equal(code, 99);
    const [level] = summary.levels;
    assert.ok(level && level.requests > 0);
    assert.deepEqual(level.failures, { [failure]: level.requests });
    assert.equal(level.ttftMs.count, 0);
  });
}

test("the requests of a burst are released together, one VU each", async (t) => {
  const { code, summary, stdout } = await runSse(t, "batch-burst", { BATCH_SIZES: 3, RUNS: 1 });
  assert.equal(code, 0, stdout);
  assert.deepEqual(
    summary.levels.map(({ name, requests, completed }) => [name, requests, completed]),
    [["b3", 3, 3]],
  );
});

test("a bad setting sends nothing", async (t) => {
  const { code, stdout, stderr } = await runSse(t, "concurrency-sweep", { CONCURRENCY: "eight" });
  assert.notEqual(code, 0);
  assert.match(stderr, /CONCURRENCY=eight is not a list/);
  assert.doesNotMatch(stdout, /TTFT/);
});
