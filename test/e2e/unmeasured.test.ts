/** No gate on a latency passes where that latency was never measured. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { type RunSettings, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const limits = { timeout: 60_000 };
const tokens = 8;
const usage = { prompt_tokens: 9, completion_tokens: tokens };

const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const choice = (delta: unknown, finish_reason: string | null) => ({ choices: [{ index: 0, delta, finish_reason }] });

/** A whole JSON reply, as a gateway gives that knows no streams. */
const whole = {
  type: "application/json",
  body: JSON.stringify({
    ...choice({}, "length"),
    choices: [{ message: { content: "all" }, finish_reason: "length" }],
    usage,
  }),
};
/** A stream that something on the way kept back until it was over: all chunks come in one receive. */
const buffered = {
  type: "text/event-stream",
  body: [
    ...Array.from({ length: tokens }, () => event(choice({ content: "x" }, null))),
    event(choice({}, "length")),
    event({ choices: [], usage }),
    "data: [DONE]\n\n",
  ].join(""),
};

async function runAgainst(t: TestContext, reply: { type: string; body: string }, settings: RunSettings) {
  const server = http.createServer((request, response) => {
    request.resume().on("end", () => {
      const models = request.url?.endsWith("/models");
      const body = models ? '{"data":[{"id":"m"}]}' : reply.body;
      response.writeHead(200, {
        "Content-Type": models ? "application/json" : reply.type,
        "Content-Length": Buffer.byteLength(body),
      });
      setTimeout(() => response.end(body), models ? 0 : 20);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  const small = { CONCURRENCY: 2, REQUESTS: 12, WARMUP: 0, OUTPUT_TOKENS: tokens, BASE_URL: baseUrl };
  return run("concurrency-sweep", { ...small, ...settings });
}

/** A JSON file with these limits, none of which a figure that exists could break. */
function profile(...metrics: string[]): string {
  const file = path.join(scratchDir(), "profile.json");
  const wide = (metric: string) => (metric.startsWith("llm_itl_p") ? "value<100000" : "p(95)<100000");
  writeFileSync(
    file,
    JSON.stringify({ minRequests: 10, ...Object.fromEntries(metrics.map((metric) => [metric, wide(metric)])) }),
  );
  return file;
}

const gates: { why: string; reply: typeof whole; settings: RunSettings; unmeasured: string[]; measured?: string[] }[] =
  [
    {
      why: "SLOs of a server that sends no streams",
      reply: whole,
      settings: { THRESHOLDS: "none", SLO_TTFT: 10_000, SLO_TPOT: 1000, SLO_E2E: 10_000 },
      unmeasured: ["llm_ttft", "llm_tpot"],
      measured: ["llm_e2e_latency"],
    },
    {
      why: "a profile's limits on a server that sends no streams",
      reply: whole,
      settings: { THRESHOLDS: profile("llm_ttft", "llm_ttfo", "llm_tpot", "llm_itl_p99", "llm_itl_max") },
      unmeasured: ["llm_ttft", "llm_ttfo", "llm_tpot", "llm_itl_p99", "llm_itl_max"],
    },
    {
      why: "limits between the tokens of streams that come in one piece",
      reply: buffered,
      settings: {
        THRESHOLDS: profile("llm_ttft", "llm_tpot", "llm_itl_p50", "llm_itl_p90", "llm_itl_p99", "llm_itl_max"),
      },
      unmeasured: ["llm_tpot", "llm_itl_p50", "llm_itl_p90", "llm_itl_p99", "llm_itl_max"],
      measured: ["llm_ttft"],
    },
  ];
for (const { why, reply, settings, unmeasured, measured = [] } of gates) {
  test(`what was not measured does not pass: ${why}`, limits, async (t) => {
    const { code, summary, stdout } = await runAgainst(t, reply, settings);
    assert.equal(code, 98, stdout);
    const [level] = summary.levels;
    assert.equal(level?.completed, 12);
    assert.equal(summary.verdict.pass, false);
    const reasons = summary.verdict.reasons.join("\n");
    const least = "SLO_TTFT" in settings ? 1 : 10;
    for (const metric of unmeasured) {
      assert.ok(reasons.includes(`${metric}{level:c2} samples 0, limit >= ${least}`), `${metric}: ${reasons}`);
    }
    for (const metric of measured) assert.ok(!reasons.includes(metric), reasons);
  });
}

test("a server that answers a stream request with whole replies is reported once", limits, async (t) => {
  const { stderr, code, summary } = await runAgainst(t, whole, {});
  const reasons = summary.verdict.reasons.filter((reason) => !reason.startsWith("CLIENT-BOUND: "));
  assert.deepEqual(reasons, [], "nothing that it gates is missing");
  assert.equal(code, summary.verdict.pass ? 0 : 98);
  assert.equal(stderr.split("replied without an event stream").length - 1, 1, stderr);
  const streams = await runAgainst(t, buffered, {});
  assert.doesNotMatch(streams.stderr, /replied without an event stream/);
  const asked = await runAgainst(t, whole, { STREAM: "false" });
  assert.doesNotMatch(asked.stderr, /replied without an event stream/, "STREAM=false asks for whole replies");
});

const impossible: { settings: RunSettings; line: RegExp; scenario?: string }[] = [
  { settings: { STREAM: "false", SLO_TTFT: 100 }, line: /SLO_TTFT=100 limits llm_ttft, and with STREAM=false no/ },
  { settings: { OUTPUT_TOKENS: 1, SLO_TPOT: 5 }, line: /SLO_TPOT=5 limits llm_tpot, and with OUTPUT_TOKENS=1 no/ },
  { settings: { OUTPUT_TOKENS: 1, THRESHOLDS: "interactive" }, line: /THRESHOLDS=interactive limits llm_tpot, and/ },
];
for (const { settings, line } of impossible) {
  test(`a limit that nothing could be measured for is refused: ${JSON.stringify(settings)}`, limits, async () => {
    const { code, stderr } = await run("concurrency-sweep", { BASE_URL: "http://127.0.0.1:1/v1", ...settings });
    assert.equal(code, 104, stderr);
    assert.match(stderr, line);
  });
}

test("prefill-decode's phase of single tokens is not held to a limit between tokens", limits, async (t) => {
  const server = await startServer("--ttft", "5ms", "--itl", "5ms");
  t.after(server.stop);
  const settings = { CONCURRENCY: 2, REQUESTS: 4, OUTPUT_TOKENS: 4, SLO_TPOT: 10_000, BASE_URL: server.baseUrl };
  const { code, summary } = await run("prefill-decode", settings);
  assert.equal(summary.verdict.reasons.filter((reason) => /samples|tpot/.test(reason)).length, 0);
  assert.equal(code === 0, summary.verdict.pass);
  const alone = await run("prefill-decode", { ...settings, PHASE: "prefill" });
  assert.equal(alone.code, 98);
  assert.match(alone.stdout, /FAIL llm_tpot\{level:prefill\} samples 0, limit >= 1/);
});
