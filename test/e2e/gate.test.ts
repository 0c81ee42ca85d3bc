/** What a release gate rests on: exit codes, and that nothing is lost or made up when a server or a run fails. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { whenValid, withAttempts } from "../support/attempts";
import { freePort } from "../support/free-port";
import { type EndedRun, levelOf, type RunSettings, requestsIn, run, startRun } from "../support/run";
import { scratchDir } from "../support/scratch";
import { type SimulatedServer, serverFor } from "../support/simulated";

// Gaps wide enough that a busy machine does not make the client itself the bottleneck, which would fail the gate too.
const fast = ["--ttft", "uniform:5ms,15ms", "--itl", "10ms"];
const tiny: RunSettings = { CONCURRENCY: 4, REQUESTS: 20, OUTPUT_TOKENS: 10 };

/** Lines of k6's own and of ours that speak of failure. */
const complaints = (stderr: string) => stderr.split("\n").filter((line) => /level=error|^tokenclock:/.test(line));

/** Fails if a run that measured nothing shows a time or a rate anywhere. */
function assertNoFigure({ stdout, stderr, summary }: EndedRun): void {
  assert.doesNotMatch(stdout, /TTFT|TPOT|ITL|e2e p|tok\/s|\d ?ms\b/, "no figure on stdout");
  assert.doesNotMatch(stderr, /TTFT|TPOT|ITL|tok\/s/, "no figure on stderr");
  for (const level of [...summary.levels, summary.total]) {
    assert.equal(level.completed, 0);
    assert.equal(level.outputThroughput, 0);
    for (const [name, stats] of Object.entries(level)) {
      if (!/^(ttft|ttfo|tpot|itl|chunkGap|maxStall|e2e|outputSpeed)/.test(name)) continue;
      assert.deepEqual([stats.count, stats.mean, stats.max], [0, 0, 0], `${level.name} ${name}`);
    }
  }
}

/**
 * A run against a server of its own that the client found itself fit to judge; undefined on a machine too busy for that. An
 * invalid run ends with 98, whatever its thresholds say.
 */
async function judgedRun(t: TestContext, flags: readonly string[], scenario: string, settings: RunSettings) {
  let server: SimulatedServer | undefined;
  const ended = await whenValid(t, async () => {
    server = await serverFor(t, ...flags);
    return run(scenario, { ...settings, BASE_URL: server.baseUrl });
  });
  return ended && server && { ...ended, server };
}

test("a server that answers within its limits passes with 0", { timeout: 60_000 }, async (t) => {
  const ended = await judgedRun(t, fast, "concurrency-sweep", { ...tiny, SLO_TTFT: 5000 });
  if (!ended) return;
  assert.equal(ended.code, 0, ended.stdout);
  assert.match(ended.stdout, /^PASS, VALID$/m);
  assert.deepEqual(ended.summary.verdict, { pass: true, validity: "VALID", reasons: [] });
});

test("an SLO that is missed ends with 99 and names threshold, level, value and limit", {
  timeout: 60_000,
}, async (t) => {
  const ended = await judgedRun(t, fast, "concurrency-sweep", { ...tiny, SLO_TTFT: 1 });
  if (!ended) return;
  const { code, stdout, summary } = ended;
  assert.equal(code, 99);
  const [, value = ""] = /FAIL llm_ttft\{level:c4\} p\(95\) (\S+) ms, limit < 1 ms/.exec(stdout) ?? [];
  assert.ok(Number(value) >= 5, `the value is in the line: ${stdout}`);
  assert.equal(summary.verdict.pass, false);
  assert.match(summary.verdict.reasons.join("\n"), /llm_ttft\{level:c4\} p\(95\) .* limit < 1 ms/);
  assert.equal(levelOf(summary, "c4").goodShare, 0, "no request met the SLO");
  assert.equal(levelOf(summary, "c4").requestGoodput, 0);
});

test("a dead BASE_URL fails at once with one clear line and no figure", { timeout: 60_000 }, async () => {
  const origin = `http://127.0.0.1:${await freePort()}`;
  const ended = await run("concurrency-sweep", { ...tiny, BASE_URL: `${origin}/v1` }, { timeoutMs: 20_000 });
  assert.ok(ended.code !== 0 && ended.code !== undefined, `code ${ended.code}`);
  const lines = complaints(ended.stderr).filter((line) => line.includes("cannot be reached"));
  assert.equal(lines.length, 1, ended.stderr);
  assert.ok(lines[0]?.includes(origin) && /refused/.test(lines[0]), lines[0]);
  assertNoFigure(ended);
  assert.equal(ended.summary.verdict.pass, false);
  assert.equal(ended.requests.length, 0);
});

const refused: { why: string; settings: RunSettings; line: RegExp }[] = [
  {
    why: "not a number",
    settings: { CONCURRENCY: "eight" },
    line: /CONCURRENCY=eight is not a list of whole numbers from 1/,
  },
  { why: "an unknown word", settings: { API: "chats" }, line: /API=chats is not one of chat, completions/ },
  {
    why: "a profile that is no file",
    settings: { THRESHOLDS: "strict" },
    line: /THRESHOLDS=strict is not one of smoke/,
  },
  {
    why: "a dataset that is not there",
    settings: { DATASET: "none.jsonl" },
    line: /DATASET=none\.jsonl cannot be read/,
  },
];
for (const { why, settings, line } of refused) {
  test(`a bad setting (${why}) is refused with 104 before any request`, { timeout: 60_000 }, async (t) => {
    const server = await serverFor(t, ...fast);
    const { code, stderr, stdout } = await run("concurrency-sweep", { BASE_URL: server.baseUrl, ...settings });
    assert.equal(code, 104);
    assert.match(stderr, line);
    assert.doesNotMatch(stdout, /TTFT/);
    assert.equal((await server.truth()).requestCount, 0);
  });
}

/** Server faults and the class under which each must be counted. */
const faults: { fault: string; failure: string; settings?: RunSettings; status?: number }[] = [
  { fault: "error=0", failure: "error_event", status: 200 },
  { fault: "error=4,errorNoDone", failure: "error_event", status: 200 },
  { fault: "cut=4", failure: "reset", status: 200 },
  { fault: "cut=4,cutHow=fin", failure: "truncated", status: 200 },
  { fault: "cut=4,cutHow=end", failure: "truncated", status: 200 },
  { fault: "malformed=4", failure: "malformed", status: 200 },
  { fault: "stall=4,stallMs=30000", failure: "timeout", settings: { TIMEOUT: "400ms" }, status: 200 },
  { fault: "status=429", failure: "http_429", status: 429 },
  { fault: "status=503", failure: "http_5xx", status: 503 },
  { fault: "status=404", failure: "http_4xx", status: 404 },
  {
    fault: "outputTokens=7",
    failure: "short",
    // A server that takes no notice of a forced length.
    settings: { EXTRA_BODY: '{"ignore_eos":null,"min_tokens":null}' },
    status: 200,
  },
];
for (const { fault, failure, settings, status } of faults) {
  test(`a third of the streams fail (${fault}): ${failure}, the gate fails, the rest is kept`, {
    timeout: 60_000,
  }, async (t) => {
    const flags = [...fast, "--fault", `${fault},share=0.34`];
    const ended = await judgedRun(t, flags, "concurrency-sweep", { ...tiny, ...settings, WARMUP: 0, REQUESTS: 30 });
    if (!ended) return;
    const { code, stdout, summary, requests, server } = ended;
    assert.equal(code, 99);
    const failed = requests.filter((request) => request.outcome === "failed");
    assert.ok(failed.length > 0 && failed.length < 30, `${failed.length} of 30`);
    for (const request of failed) {
      assert.deepEqual([request.failure, request.status], [failure, status], request.message);
      assert.ok((request.message ?? "").length > 0, "it says why");
    }
    const level = levelOf(summary, "c4");
    assert.deepEqual(level.failures, { [failure]: failed.length });
    assert.equal(level.completed, 30 - failed.length);
    // What failed feeds no latency.
    assert.equal(level.ttftMs.count, level.completed);
    assert.equal(level.itlMs.count, level.completed * 9);
    assert.equal(level.outputTokens, level.completed * 10);
    assert.equal(summary.verdict.pass, false);
    assert.match(stdout, new RegExp(`c4 failed: ${failure} ${failed.length}$`, "m"));
    const first = level.failureMessages?.[failure] ?? "";
    assert.ok(failed.some(({ message }) => message === first));
    assert.ok(stdout.includes(`  ${failure}: ${first.slice(0, 20)}`), `${first}\n${stdout}`);
    assert.match(stdout, /FAIL llm_request_failed\{level:c4\}/);
    // The server agrees on which: all it did something to, and no other.
    const truth = await server.truth();
    const whole = truth.requests.filter(
      (each) => each.status === 200 && each.outputTokens === 10 && each.finishReason === "length",
    );
    if (failure !== "malformed") assert.equal(whole.length, level.completed);
  });
}

test("an error event in every 200 stream: no figure at all", { timeout: 60_000 }, async (t) => {
  const ended = await judgedRun(t, [...fast, "--fault", "error=3"], "concurrency-sweep", { ...tiny, WARMUP: 0 });
  if (!ended) return;
  assert.equal(ended.code, 99);
  const level = levelOf(ended.summary, "c4");
  assert.deepEqual([level.requests, level.failures, level.statuses], [20, { error_event: 20 }, { "200": 20 }]);
  assert.deepEqual([level.ttftMs.count, level.itlMs.count, level.outputThroughput], [0, 0, 0]);
  assert.equal(ended.requests.length, 20);
});

test("429 over a cap is counted by status, and throughput is that of the others", { timeout: 60_000 }, async (t) => {
  const load = { ...tiny, CONCURRENCY: 8, REQUESTS: 60, WARMUP: 0 };
  const ended = await judgedRun(t, [...fast, "--max-in-flight", "3"], "concurrency-sweep", load);
  if (!ended) return;
  const { code, summary, server } = ended;
  assert.equal(code, 99);
  const statuses: Record<string, number> = {};
  for (const { status } of (await server.truth()).requests) statuses[status] = (statuses[status] ?? 0) + 1;
  const level = levelOf(summary, "c8");
  assert.deepEqual(level.statuses, statuses);
  assert.equal(level.failures.http_429, statuses["429"]);
  assert.ok((statuses["429"] ?? 0) > 0 && (statuses["200"] ?? 0) > 0);
  assert.equal(level.outputTokens, 10 * (statuses["200"] ?? 0));
});

for (const how of ["process", "listener", "engine"]) {
  test(`a server that dies half-way (${how}): the gate fails, what was measured before is kept`, {
    timeout: 60_000,
  }, async (t) => {
    // That streams are open when it dies depends on the machine: one that stalls may have ended them all.
    await withAttempts(t, async () => {
      const flags = [...fast, "--die-after-tokens", "250", "--die-how", how];
      const load = { ...tiny, CONCURRENCY: "4,8", REQUESTS: 40, WARMUP: 0 };
      const ended = await judgedRun(t, flags, "concurrency-sweep", load);
      if (!ended) return;
      const { code, summary, requests } = ended;
      assert.equal(code, 99);
      const completed = requests.filter(({ outcome }) => outcome === "completed");
      // 250 tokens are 25 requests, of which up to four streams were cut; more where the server fell behind.
      assert.ok(completed.length >= 21 && completed.length < 40, `${completed.length} completed`);
      for (const request of completed) assert.equal(request.arrivals?.length, 10);
      const [first, second] = [levelOf(summary, "c4"), levelOf(summary, "c8")];
      assert.equal(first.completed, completed.length);
      assert.equal(first.completed + first.failed, 40);
      const classes = Object.keys(first.failures);
      assert.ok(
        classes.every((name) => ["connect", "reset", "truncated", "error_event", "http_5xx"].includes(name)),
        `${classes}`,
      );
      // vLLM whose engine died answers with 500 for a while; the other two are gone at once.
      if (how === "engine") assert.ok((first.failures.error_event ?? 0) > 0, "open streams got an error event");
      else assert.equal(second.failures.connect, 40, "connections are refused");
      assert.deepEqual([second.completed, second.ttftMs.count, second.outputThroughput], [0, 0, 0]);
      assert.equal(summary.verdict.pass, false);
    });
  });
}

const users: { scenario: string; settings: RunSettings; vus: number }[] = [
  { scenario: "concurrency-sweep", settings: { CONCURRENCY: 8, DURATION: "3s", WARMUP: 0 }, vus: 8 },
  { scenario: "arrival-rate-ramp", settings: { LOOP: "closed", STAGES: "0s:8,3s:8" }, vus: 8 },
];
for (const { scenario, settings, vus } of users) {
  test(`a server that is gone is asked for a few times a second by each user: ${scenario}`, {
    timeout: 60_000,
  }, async (t) => {
    const flags = [...fast, "--die-after-tokens", "250", "--die-how", "process"];
    const ended = await judgedRun(t, flags, scenario, { ...settings, OUTPUT_TOKENS: 10 });
    if (!ended) return;
    const { code, requests } = ended;
    assert.equal(code, 99);
    const refused = requests.filter((each) => each.outcome === "failed" && each.failure === "connect");
    // A rest of 5, 10, 20, 40, 80 and then 100 ms: at most 35 in three seconds. Without it there are thousands.
    assert.ok(refused.length >= vus && refused.length <= 36 * vus, `${refused.length} requests were refused`);
    for (const { scheduledNs = 0, startedNs = 0 } of refused) {
      assert.ok(startedNs >= scheduledNs, "none is sent before its slot is free");
    }
  });
}

/** Requests that the server had ended by `beforeNs` on its clock. */
const endedBefore = async (server: SimulatedServer, marginNs: number) => {
  const { requests, clock } = await server.truth();
  return requests.filter(({ doneNs }) => doneNs > 0 && doneNs < clock.nowNs - marginNs).map(({ id }) => id);
};

/** Resolves when the server has ended so many requests. */
async function served(server: SimulatedServer, count: number): Promise<void> {
  while ((await endedBefore(server, 0)).length < count) await new Promise((resolve) => setTimeout(resolve, 50));
}

const endless: RunSettings = { CONCURRENCY: 4, DURATION: "120s", OUTPUT_TOKENS: 20, WARMUP: 0 };

test("kill -9: the records so far can be read and hold what ended a second before", { timeout: 60_000 }, async (t) => {
  const server = await serverFor(t, ...fast);
  const started = startRun("concurrency-sweep", { ...endless, BASE_URL: server.baseUrl });
  t.after(() => started.child.kill("SIGKILL"));
  await served(server, 150);
  const expected = await endedBefore(server, 1e9);
  started.child.kill("SIGKILL");
  const { signal } = await started.child.ended;
  assert.equal(signal, "SIGKILL");
  const lines = started.records();
  assert.equal(lines[0]?.type, "run");
  const recorded = new Map(requestsIn(lines).map((request) => [String(request.id), request]));
  assert.ok(expected.length > 20, `${expected.length} had ended`);
  const missing = expected.filter((id) => !recorded.has(id));
  assert.deepEqual(missing, []);
  for (const request of recorded.values()) assert.deepEqual([request.outcome, request.outputTokens], ["completed", 20]);
});

test("Ctrl-C: the run ends in order, the gate does not pass, all is in the records", { timeout: 60_000 }, async (t) => {
  const server = await serverFor(t, ...fast);
  const started = startRun("concurrency-sweep", { ...endless, BASE_URL: server.baseUrl });
  t.after(() => started.child.kill("SIGKILL"));
  await served(server, 80);
  started.child.kill("SIGINT");
  const { code, stderr } = await started.child.ended;
  assert.equal(code, 105, stderr);
  const lines = started.records();
  assert.equal(lines.at(-1)?.type, "end");
  const requests = requestsIn(lines);
  const recorded = new Set(requests.map(({ id }) => String(id)));
  const truth = await server.truth();
  assert.deepEqual(
    truth.requests.filter(({ id }) => !recorded.has(id)).map(({ id }) => id),
    [],
    "nothing is lost",
  );
  const cut = requests.filter((request) => request.outcome === "failed");
  assert.ok(cut.length <= 4, `at most the streams in flight are cut: ${cut.length}`);
  for (const request of cut) assert.equal(request.outcome === "failed" && request.failure, "interrupted");
  // The server may need a moment to hear of the last connection's end.
  for (let asked = 0; (await server.truth()).liveCount > 0; asked++) assert.ok(asked < 100, "no stream stays open");
});

test("a level that was never reached fails the gate, not passes for want of samples", {
  timeout: 60_000,
}, async (t) => {
  const server = await serverFor(t, "--ttft", "100ms", "--itl", "2ms");
  const { code, summary, stdout } = await run("concurrency-sweep", {
    ...{ CONCURRENCY: "1,2", REQUESTS: 500, OUTPUT_TOKENS: 5, WARMUP: 0, MAX_DURATION: "2s" },
    ...{ BASE_URL: server.baseUrl, SLO_TTFT: 10_000 },
  });
  assert.equal(code, 98, stdout);
  assert.match(stdout, /FAIL llm_requests\{level:c2\} count 0 requests, limit >= 1/);
  assert.equal(summary.verdict.pass, false);
});

const gauges: { limits: Record<string, string>; code: number; names?: RegExp }[] = [
  { limits: { llm_itl_p99: "value<1000", llm_output_throughput: "value>1" }, code: 0 },
  { limits: { llm_itl_p99: "value<1" }, code: 99, names: /FAIL llm_itl_p99\{level:c4\} value \S+ ms, limit < 1 ms/ },
  {
    limits: { llm_output_throughput: "value>1000000" },
    code: 99,
    names: /FAIL llm_output_throughput\{level:c4\} value \S+ tokens\/s, limit > 1000000 tokens\/s/,
  },
  {
    limits: { llm_request_throughput: "value>1000000" },
    code: 99,
    names: /FAIL llm_request_throughput\{level:c4\} value \S+ requests\/s, limit > 1000000/,
  },
];
for (const { limits, code, names } of gauges) {
  test(`a level's own figures reach the final gate: ${JSON.stringify(limits)} ends with ${code}`, {
    timeout: 60_000,
  }, async (t) => {
    const profile = path.join(scratchDir(), "profile.json");
    writeFileSync(profile, JSON.stringify({ minRequests: 10, ...limits }));
    const ended = await judgedRun(t, fast, "concurrency-sweep", { ...tiny, THRESHOLDS: profile });
    if (!ended) return;
    assert.equal(ended.code, code, ended.stdout);
    if (names) assert.match(ended.stdout, names);
  });
}
