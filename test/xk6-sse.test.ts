/** The bundles for a stock k6 with xk6-sse, on the module of the same API in the built k6. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type RunSettings, run } from "./support/run";
import { startServer } from "./support/simulated";

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
