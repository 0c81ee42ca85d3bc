/** Loads that follow a schedule: what the settings ask for is what the server gets. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { assertEndedWell, levelOf, type RunSettings, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const limits = { timeout: 60_000 };

async function ramp(t: TestContext, settings: RunSettings) {
  const server = await startServer("--ttft", "5ms", "--itl", "1ms");
  t.after(server.stop);
  const ended = await run("arrival-rate-ramp", { OUTPUT_TOKENS: 4, BASE_URL: server.baseUrl, ...settings });
  return { ...ended, summary: ended.summary, requests: ended.requests, sent: (await server.truth()).requestCount };
}

const warmUps: { why: string; settings: RunSettings; levels: Record<string, number>; rate: number; warm: number }[] = [
  {
    why: "constant rates",
    settings: { RATE: "20,40", DURATION: "1s", WARMUP: "500ms" },
    levels: { r20: 20, r40: 40 },
    rate: 20,
    warm: 10,
  },
  {
    why: "a ramp, warmed up at the rate that it goes to",
    settings: { STAGES: "1s:20,1s:40", WARMUP: "500ms" },
    levels: { s1: 10, s2: 30 },
    rate: 20,
    warm: 10,
  },
  {
    why: "random arrivals",
    settings: { RATE: 40, DURATION: "1s", WARMUP: "500ms", ARRIVAL: "poisson" },
    levels: {},
    rate: 40,
    warm: 0,
  },
];
for (const { why, settings, levels, rate, warm } of warmUps) {
  test(`a warm-up precedes the first level and is in none of its figures: ${why}`, limits, async (t) => {
    const ended = await ramp(t, { ...settings, THRESHOLDS: "none" });
    assertEndedWell(ended);
    const { summary, requests, sent } = ended;
    assert.equal(requests.length, sent);
    const [first] = summary.levels;
    assert.ok(first);
    assert.equal(first.rate, rate, "of the steady part");
    assert.ok(first.warmupRequests > 0 && first.requests > 0);
    if (warm > 0) assert.equal(first.warmupRequests, warm);
    for (const [name, count] of Object.entries(levels)) assert.equal(levelOf(summary, name).requests, count, name);
    const steadyFromNs = first.windowStartS * 1e9;
    for (const request of requests) {
      assert.equal(
        request.phase,
        (request.scheduledNs ?? 0) < steadyFromNs - 1e3 ? "warmup" : "steady",
        "by the schedule",
      );
    }
    const own = requests.filter(({ level }) => level === first.name);
    assert.equal(new Set(own.map(({ index }) => index)).size, own.length, "no request has another's number");
  });
}

test("RATE and DURATION are the load, whatever ramp is the scenario's own", limits, async (t) => {
  const ended = await ramp(t, { RATE: 100, DURATION: "1s", THRESHOLDS: "none" });
  assertEndedWell(ended);
  const { summary, sent } = ended;
  assert.deepEqual(
    summary.levels.map(({ name, requests }) => [name, requests]),
    [["r100", 100]],
  );
  assert.equal(sent, 100);
  for (const [settings, line] of [
    [{ RATE: 10, STAGES: "1s:10" }, /RATE=10 and STAGES=1s:10 both say/],
    [{ DURATION: "1s" }, /DURATION=1s is how long a constant RATE lasts/],
  ] as [RunSettings, RegExp][]) {
    const refused = await run("arrival-rate-ramp", settings);
    assert.equal(refused.code, 104);
    assert.match(refused.stderr, line);
  }
});

test("a load without a warm-up refuses one that is asked for", limits, async () => {
  const trace = path.join(scratchDir(), "trace.jsonl");
  writeFileSync(trace, '{"timestamp": 0, "input_length": 8, "output_length": 4}\n');
  for (const [settings, line] of [
    [{ TRACE: trace, WARMUP: "2s" }, /WARMUP=2s: a trace has no warm-up/],
    [{ LOOP: "closed", STAGES: "1s:2", WARMUP: "2s" }, /WARMUP=2s: LOOP=closed has no warm-up/],
    [{ STAGES: "1s:2", WARMUP: 5 }, /WARMUP=5 counts requests/],
  ] as [RunSettings, RegExp][]) {
    const { code, stderr } = await run("arrival-rate-ramp", { BASE_URL: "http://127.0.0.1:1/v1", ...settings });
    assert.equal(code, 104);
    assert.match(stderr, line);
  }
});
