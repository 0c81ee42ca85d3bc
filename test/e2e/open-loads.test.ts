/** Loads that follow a schedule: what the settings ask for is what the server gets. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
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
    why: "a ramp from 0, warmed up at a tenth of the rate that it goes to",
    settings: { STAGES: "1s:20,1s:40", WARMUP: "1s" },
    levels: { s1: 10, s2: 30 },
    rate: 20,
    warm: 2,
  },
  {
    why: "random arrivals",
    settings: { RATE: 40, DURATION: "1s", WARMUP: "500ms", ARRIVAL: "poisson" },
    levels: {},
    rate: 40,
    warm: 0,
  },
];
test("a ramp and a trace need not be steady: their load is not", limits, async (t) => {
  const rows = Array.from({ length: 60 }, (_, k) => ({
    timestamp: 20 * k * k,
    input_length: 16,
    output_length: 4,
    hash_ids: [],
  }));
  const TRACE = path.join(scratchDir(), "slowing.jsonl");
  writeFileSync(TRACE, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const server = await startServer("--ttft", "5ms", "--itl", "1ms");
  t.after(server.stop);
  for (const ended of [
    await ramp(t, { STAGES: "9s:20" }),
    await run("trace-replay", { TRACE, SPEED: 8, BASE_URL: server.baseUrl }),
  ]) {
    const [level] = ended.summary.levels;
    assert.equal(level?.labels.load, "changing");
    assert.equal(level?.steady, undefined, level?.name);
    assert.notEqual(ended.code, 96, ended.stdout);
  }
  const constant = await ramp(t, { RATE: 20, DURATION: "9s" });
  assert.deepEqual(constant.summary.levels[0]?.labels, {});
  assert.ok(constant.summary.levels[0]?.steady);
});

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
    [{ DURATION: "1s" }, /DURATION=1s is how long a constant RATE or a PATTERN lasts/],
  ] as [RunSettings, RegExp][]) {
    const refused = await run("arrival-rate-ramp", settings);
    assert.equal(refused.code, 104);
    assert.match(refused.stderr, line);
  }
});

test("a load without a warm-up refuses one that is set", limits, async () => {
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

test(
  "a rate over time is sent as it is, and its schedule has a digest that follows from SEED alone",
  limits,
  async (t) => {
    const rates = path.join(scratchDir(), "rates.csv");
    // 1 s from 0 to 40, at once down to 10, 1 s of that: 20 and 10 requests.
    writeFileSync(rates, "time,rate\n1000,0\n1001,40\n1001,10\n1002,10\n");
    const loads: RunSettings[] = [
      { RATE_FILE: rates },
      { RATE_FILE: rates, SALT: "other" },
      { PATTERN: "spikes:10:60:1s:250ms", DURATION: "2s", ARRIVAL: "poisson", SEED: 3 },
      { PATTERN: "spikes:10:60:1s:250ms", DURATION: "2s", ARRIVAL: "poisson", SEED: 4 },
    ];
    const runs = await Promise.all(loads.map((settings) => ramp(t, { ...settings, THRESHOLDS: "none" })));
    for (const ended of runs) {
      assertEndedWell(ended);
      const { summary, requests, sent } = ended;
      const [level] = summary.levels;
      assert.ok(level && summary.schedule);
      assert.equal(summary.schedule.requests, sent);
      assert.equal(requests.length, sent);
      // The digest is that of the times in the records, whatever was sent when.
      const zeroNs = Math.round(level.windowStartS * 1e9);
      const times = requests
        .map(({ scheduledNs = 0 }) => BigInt(scheduledNs - zeroNs))
        .sort((a, b) => (a < b ? -1 : 1));
      const bytes = Buffer.alloc(times.length * 8);
      for (const [k, ns] of times.entries()) bytes.writeBigInt64LE(ns, k * 8);
      assert.equal(summary.schedule.digest, createHash("sha256").update(bytes).digest("hex"));
      assert.ok(Math.abs((level.scheduledRate ?? 0) * 2 - sent) < 1e-6, "over the 2 s that the load was to last");
      assert.ok((level.sentRate ?? 0) <= (level.scheduledRate ?? 0) + 1e-9);
      assert.match(
        ended.stdout,
        new RegExp(`^sent: .* of the scheduled rate .*; schedule ${summary.schedule.digest.slice(0, 12)}$`, "m"),
      );
    }
    const [file, again, spikes, others] = runs;
    assert.equal(file?.sent, 30);
    assert.deepEqual(
      file?.summary.levels.map(({ name, rate }) => [name, rate]),
      [["rates", 40]],
    );
    assert.equal(file?.summary.schedule?.digest, again?.summary.schedule?.digest);
    assert.notEqual(spikes?.summary.schedule?.digest, others?.summary.schedule?.digest);
    assert.equal(spikes?.summary.levels[0]?.name, "spikes");
  },
);

test("a rate over time that cannot be read is refused before any load", limits, async () => {
  const rates = path.join(scratchDir(), "rates.csv");
  writeFileSync(rates, "0,5\n1,6\n");
  for (const [settings, line] of [
    [{ RATE_FILE: rates }, /RATE_FILE=.*rates.csv begins with the line .*0,5.*; it is a CSV with the columns time/],
    [{ RATE_FILE: "absent.csv" }, /RATE_FILE=absent.csv cannot be read/],
    [{ PATTERN: "sine:1:2:1m" }, /PATTERN repeats itself as long as DURATION says: set DURATION/],
  ] as [RunSettings, RegExp][]) {
    const { code, stderr } = await run("arrival-rate-ramp", { BASE_URL: "http://127.0.0.1:1/v1", ...settings });
    assert.equal(code, 104);
    assert.match(stderr, line);
  }
});

test("trace-replay sends the rows at their times, and nothing without a trace", limits, async (t) => {
  const trace = path.join(scratchDir(), "trace.jsonl");
  const atMs = [0, 5, 200, 210, 900];
  writeFileSync(
    trace,
    atMs.map((ms) => JSON.stringify({ timestamp: ms, input_length: 8 + ms, output_length: 3 })).join("\n"),
  );
  const server = await startServer("--ttft", "5ms", "--itl", "1ms");
  t.after(server.stop);
  const ended = await run("trace-replay", { BASE_URL: server.baseUrl, TRACE: trace, SPEED: 2, THRESHOLDS: "none" });
  assertEndedWell(ended);
  const zeroNs = Math.min(...ended.requests.map(({ scheduledNs = 0 }) => scheduledNs));
  assert.deepEqual(
    ended.requests.map(({ scheduledNs = 0 }) => (scheduledNs - zeroNs) / 1e6).sort((a, b) => a - b),
    atMs.map((ms) => ms / 2),
  );
  const none = await run("trace-replay", { BASE_URL: server.baseUrl });
  assert.equal(none.code, 104);
  assert.match(none.stderr, /trace-replay needs TRACE/);
});
