/** However many clients a VU carries, the load, its records and its counts are the same. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import type { RequestLine } from "../../lib/figures/records";
import { whenValid } from "../support/attempts";
import { levelOf, type RunSettings, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const limits = { timeout: 120_000 };

/** A run, its samples of k6's own metrics, and what the server saw of it. */
async function runWith(t: TestContext, scenario: string, clientsPerVU: string, settings: RunSettings) {
  const server = await startServer("--ttft", "uniform:5ms,15ms", "--itl", "1ms");
  t.after(server.stop);
  const samples = path.join(scratchDir(), "samples.json");
  const ended = await run(
    scenario,
    { CLIENTS_PER_VU: clientsPerVU, BASE_URL: server.baseUrl, THRESHOLDS: "none", ...settings },
    { args: ["--out", `json=${samples}`] },
  );
  const points = readFileSync(samples, "utf8").split("\n");
  const { requests } = await server.truth();
  return {
    ...ended,
    summary: ended.summary,
    requests: ended.requests,
    seen: requests.map(({ promptTokens, outputTokens }) => [promptTokens, outputTokens]).sort(byValue),
    count: (metric: string) =>
      points.filter((line) => line.includes(`"metric":"${metric}"`) && line.includes('"type":"Point"')).length,
  };
}

const byValue = (a: unknown, b: unknown) => JSON.stringify(a).localeCompare(JSON.stringify(b));

/** What of a request follows from the settings alone. */
const planned = ({ level, phase, index, inputTokens, outputTokens, outcome }: RequestLine) =>
  [level, phase, index ?? 0, inputTokens, outputTokens, outcome] as const;

test(
  "levels: the same requests, of the same clients, whether a VU carries one, some or a quarter of them",
  limits,
  async (t) => {
    const load = { CONCURRENCY: "3,12", REQUESTS: 60, INPUT_TOKENS: "uniform:5:50", OUTPUT_TOKENS: "uniform:2:9" };
    const total = 2 * 60 + 3 + 12;
    let alone: Awaited<ReturnType<typeof runWith>> | undefined;
    for (const [clientsPerVU, vus] of [
      ["1", 12],
      ["5", 3],
      ["auto", 4],
    ] as const) {
      const ended = await runWith(t, "concurrency-sweep", clientsPerVU, load);
      alone ??= ended;
      assert.equal(ended.requests.length, total, ended.stderr);
      assert.deepEqual(ended.requests.map(planned).sort(byValue), alone.requests.map(planned).sort(byValue));
      assert.deepEqual(ended.seen, alone.seen, "the server got the same prompts");
      assert.equal(new Set(ended.requests.map(({ vu }) => vu)).size, vus);
      for (const concurrency of [3, 12]) {
        const { requests, warmupRequests } = levelOf(ended.summary, `c${concurrency}`);
        assert.deepEqual([requests, warmupRequests], [60, concurrency]);
        const own = ended.requests.filter(({ level }) => level === `c${concurrency}`);
        const ends = new Set(own.map(({ endNs }) => endNs));
        const follow = own.filter(({ scheduledNs }) => ends.has(scheduledNs));
        assert.equal(
          follow.length,
          own.length - concurrency,
          "a client's next request is scheduled when its last one ends",
        );
        assert.equal(mostAtOnce(own), concurrency);
      }
      for (const metric of ["http_reqs", "iterations", "iteration_duration", "llm_requests"]) {
        assert.equal(ended.count(metric), total, `${metric} with CLIENTS_PER_VU=${clientsPerVU}`);
      }
    }
  },
);

/** The most requests whose times from send to end overlap. */
function mostAtOnce(requests: readonly RequestLine[]): number {
  const steps = requests.flatMap(({ sentNs = 0, endNs = 0 }) => [[sentNs, 1] as const, [endNs, -1] as const]);
  let now = 0;
  let most = 0;
  // An end comes before a send of the same time.
  for (const [, step] of steps.sort(([a, s], [b, u]) => a - b || s - u)) {
    now += step;
    most = Math.max(most, now);
  }
  return most;
}

test(
  "an open load: the same schedule, and MAX_IN_FLIGHT bounds the requests of all VUs together",
  limits,
  async (t) => {
    const load = { RATE: 100, DURATION: "1s", ARRIVAL: "poisson", OUTPUT_TOKENS: "uniform:2:9", MAX_IN_FLIGHT: 10 };
    let alone: Awaited<ReturnType<typeof runWith>> | undefined;
    for (const [clientsPerVU, mostVUs] of [
      ["1", 10],
      ["7", 2],
      ["auto", 4],
    ] as const) {
      const ended = await runWith(t, "arrival-rate-ramp", clientsPerVU, load);
      alone ??= ended;
      assert.ok(ended.requests.length > 50, ended.stderr);
      assert.deepEqual(ended.seen, alone.seen);
      assert.deepEqual(gaps(ended.requests), gaps(alone.requests));
      assert.ok(mostAtOnce(ended.requests) <= 10);
      assert.ok(new Set(ended.requests.map(({ vu }) => vu)).size <= mostVUs);
      assert.equal(ended.count("http_reqs"), ended.requests.length);
    }
  },
);

/** Times between scheduled arrivals, in µs: when the first one is depends on when the run begins. */
function gaps(requests: readonly RequestLine[]): number[] {
  const scheduled = requests.map(({ scheduledNs = 0 }) => scheduledNs).sort((a, b) => a - b);
  return scheduled.map((ns) => Math.round((ns - (scheduled[0] ?? 0)) / 1000));
}

for (const clientsPerVU of ["1", "auto"]) {
  const what = `CLIENTS_PER_VU=${clientsPerVU}`;

  test(`${what}: MAX_DURATION interrupts every client, and nothing of it is lost`, limits, async (t) => {
    const server = await startServer("--ttft", "10ms", "--itl", "10ms");
    t.after(server.stop);
    const load = { CONCURRENCY: 8, DURATION: "60s", WARMUP: 0, OUTPUT_TOKENS: 1000, MAX_DURATION: "1s" };
    const ended = await run("concurrency-sweep", { ...load, CLIENTS_PER_VU: clientsPerVU, BASE_URL: server.baseUrl });
    assert.equal(ended.code, 98, ended.stderr);
    assert.deepEqual(
      ended.requests.map((request) => request.outcome === "failed" && request.failure),
      Array.from({ length: 8 }, () => "interrupted"),
    );
  });

  test(`${what}: a server that dies is asked ten times a second by each client, no more`, limits, async (t) => {
    const load = { CONCURRENCY: 6, DURATION: "2s", WARMUP: 0, OUTPUT_TOKENS: 5, THRESHOLDS: "smoke" };
    const ended = await whenValid(t, async () => {
      const server = await startServer("--die-after-requests", "20", "--die-how", "process", "--itl", "1ms");
      t.after(server.stop);
      return run("concurrency-sweep", { ...load, CLIENTS_PER_VU: clientsPerVU, BASE_URL: server.baseUrl });
    });
    if (!ended) return;
    assert.equal(ended.code, 99, ended.stderr);
    const unreached = ended.requests.filter((request) => request.outcome === "failed" && request.failure === "connect");
    // 5, 10, 20, 40, 80, then 100 ms apart.
    assert.ok(unreached.length <= 6 * (5 + 20), `${unreached.length}`);
    assert.ok(unreached.length >= 6 * 5, `${unreached.length}: each client goes on trying`);
  });
}

test("CLIENTS_PER_VU is refused where it would be ignored, and where it is no number of clients", limits, async (t) => {
  const server = await startServer();
  t.after(server.stop);
  for (const [settings, line] of [
    [{ LOOP: "closed", STAGES: "1s:2", CLIENTS_PER_VU: 2 }, /CLIENTS_PER_VU=2: with LOOP=closed each user is a VU/],
    [{ CLIENTS_PER_VU: 0 }, /CLIENTS_PER_VU=0 is not auto .* or a whole number from 1 to 100000/],
    [{ CLIENTS_PER_VU: "all" }, /CLIENTS_PER_VU=all is not auto/],
  ] as [RunSettings, RegExp][]) {
    const ended = await run("arrival-rate-ramp", { BASE_URL: server.baseUrl, ...settings });
    assert.equal(ended.code, 104, ended.stderr);
    assert.match(ended.stderr, line);
  }
});
