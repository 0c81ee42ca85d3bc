import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { compareRuns, doubts } from "./compare";
import { judgeShare } from "./early-stopping";
import { gate, gateConfig } from "./gate";
import { readResults } from "./read";
import { batches, phases, type RunSpec, requestLine, sweep, writeRun } from "./synthetic";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-gate-"));
after(() => rmSync(dir, { recursive: true }));
let written = 0;
const write = (spec: RunSpec): string => writeRun(spec, dir, `run-${written++}`);

/** A level of n requests of which `slow` have a TTFT of 300 ms and the rest one of 100 ms. */
function requestsOf(n: number, slow: number, failed = 0): RunSpec {
  const requests = Array.from({ length: n }, (_, index) =>
    requestLine({ level: "c1", index, sentMs: 1 + index * 400, ttftMs: index < slow ? 300 : 100, gapsMs: [10, 10] }),
  );
  const failures = Array.from({ length: failed }, (_, i) =>
    requestLine({ level: "c1", index: n + i, sentMs: 1 + (n + i) * 400, failure: "http_5xx" }),
  );
  return {
    scenario: "concurrency-sweep",
    requests: [...requests, ...failures],
    levels: [{ name: "c1", concurrency: 1, openMs: 0, closeMs: (n + failed) * 400 }],
    config: { THRESHOLDS: "none" },
  };
}

for (const [n, slow, state] of [
  [458, 0, "inconclusive"],
  [459, 0, "passed"],
  [1000, 4, "inconclusive"],
  [1500, 4, "passed"],
  [1000, 10, "inconclusive"],
  [1000, 30, "failed"],
] as const) {
  test(`p99 of TTFT below 200 ms, ${slow} of ${n} above: ${state}`, async () => {
    const run = await readResults(write(requestsOf(n, slow)));
    const result = gate(run, gateConfig(run, { sloTtft: 200, percentile: 99 }));
    assert.equal(result.state, state, result.judgements.map(({ reason }) => reason).join("\n"));
  });
}

test("a limit from below is judged by the share above it", async () => {
  const run = await readResults(write(requestsOf(100, 0)));
  const profile = join(dir, "speed.json");
  writeFileSync(profile, JSON.stringify({ llm_output_speed: ["p(10)>99"], llm_output_throughput: "value>1000" }));
  const { judgements } = gate(run, gateConfig(run, { profile }));
  const verdict = (metric: string) => judgements.find((each) => each.metric === metric)?.verdict;
  assert.equal(
    verdict("llm_output_speed"),
    "passed",
    "10 ms a token are 100 tokens/s; 100 of 100 above suffice for a share of 0.9",
  );
  assert.equal(verdict("llm_output_throughput"), "failed", "three tokens in 400 ms are 7.5 tokens/s");
});

test("failed requests fail the gate by their share, even where every latency is good", async () => {
  const run = await readResults(write(requestsOf(500, 0, 50)));
  assert.equal(gate(run, gateConfig(run, { sloTtft: 200 })).state, "failed");
});

test("a profile by name, the run's own settings, and options that overrule them", async () => {
  const folder = write({ ...requestsOf(700, 0), config: { THRESHOLDS: "smoke", SLO_TTFT: 50, SLO_PERCENTILE: 95 } });
  const run = await readResults(folder, true);
  assert.equal(gate(run, gateConfig(run, {})).state, "failed", "the run's SLO_TTFT=50");
  assert.equal(gate(run, gateConfig(run, { sloTtft: 200 })).state, "passed");
  assert.ok(
    gate(run, gateConfig(run, { profile: "interactive", sloTtft: 200 })).judgements.some(
      ({ metric }) => metric === "llm_itl_p99",
    ),
  );
  assert.throws(() => gateConfig(run, { profile: "nonesuch" }), /neither a profile/);
});

let profiles = 0;

/** A profile that limits one gauge. */
function limiting(metric: string, expression: string): string {
  const file = join(dir, `itl-${profiles++}.json`);
  writeFileSync(file, JSON.stringify({ [metric]: [expression] }));
  return file;
}

const steady = sweep({ seed: 21, concurrencies: [4], requestsPerLevel: 300, tokens: 12 });
const few = sweep({ seed: 22, concurrencies: [4], requestsPerLevel: 12, tokens: 12 });
const single = sweep({ seed: 23, concurrencies: [1], requestsPerLevel: 1, tokens: 500 });

// Gaps are normal with mean 9 and deviation 1 ms: p50 is 9, p90 10.28, p99 11.33.
for (const [what, spec, metric, expression, state, words] of [
  [
    "far below",
    steady,
    "llm_itl_p99",
    "value<15",
    "passed",
    /value 11\.\d ms, limit < 15 ms: at most 1[12]\.\d ms \(3,300 tokens of 300 requests, worth [\d,]+ independent ones\)$/,
  ],
  ["far above", steady, "llm_itl_p99", "value<10", "failed", /limit < 10 ms: at least 1[01]\.\d ms \(3,300/],
  [
    "at the limit",
    steady,
    "llm_itl_p99",
    "value<11.4",
    "inconclusive",
    /: at least 1[01]\.\d ms, at most 1[12]\.\d ms .*(requests would be needed|too close to the limit)/,
  ],
  ["a median below", steady, "llm_itl_p50", "value<=9.5", "passed", /at most 9\.\d+ ms/],
  ["a p90 above", steady, "llm_itl_p90", "value<=9.5", "failed", /at least \d+\.\d+ ms/],
  ["a limit from below", steady, "llm_itl_p50", "value>8", "passed", /limit > 8 ms: at least 8\.\d+ ms/],
  [
    "a limit from below, at it",
    steady,
    "llm_itl_p50",
    "value>8.95",
    "inconclusive",
    /at least 8\.\d+ ms, at most 9\.\d+ ms/,
  ],
  ["a broken limit from below", steady, "llm_itl_p50", "value>=10", "failed", /limit >= 10 ms: at most 9\.\d+ ms/],
  [
    "too few tokens",
    few,
    "llm_itl_p99",
    "value<1000",
    "inconclusive",
    /no upper bound \(132 tokens of 12 requests.* at this share about \d+ requests would be needed/,
  ],
  [
    "one request",
    single,
    "llm_itl_p50",
    "value<1000",
    "inconclusive",
    /no lower bound, no upper bound \(499 tokens of 1 request\); too few requests to say/,
  ],
] as const) {
  test(`${metric} ${expression}, ${what}: ${state}`, async () => {
    const run = await readResults(write(spec), true);
    const { judgements } = gate(run, gateConfig(run, { profile: limiting(metric, expression) }));
    const judged = judgements.find((each) => each.metric === metric);
    assert.equal(judged?.verdict, state, judged?.reason);
    assert.match(judged?.reason ?? "", words);
  });
}

test("tokens that stall together are no more samples than the stalls: a p99 that tokens would pass stays open", async () => {
  // 100 requests of 40 tokens, eight at a time; in 3 of the steps all eight wait 100 ms: 0.6 % of the tokens.
  const requests = Array.from({ length: 104 }, (_, index) => {
    const wave = Math.floor(index / 8);
    return requestLine({
      ...{ level: "c8", index, sentMs: 1 + wave * 600, ttftMs: 20 },
      gapsMs: Array.from({ length: 40 }, (_, i) =>
        wave % 4 === 1 && i === 20 ? 100 : 10 + ((index * 7 + i * 3) % 11) / 10,
      ),
    });
  });
  const level = { name: "c8", concurrency: 8, openMs: 0, closeMs: 8000 };
  const run = await readResults(write({ scenario: "concurrency-sweep", requests, levels: [level] }), true);
  const { state, judgements } = gate(run, gateConfig(run, { profile: limiting("llm_itl_p99", "value<50") }));
  assert.equal(judgeShare(104 * 40, 3 * 8, 0.99), "passed", "as if tokens were independent");
  assert.equal(state, "inconclusive", judgements.map(({ reason }) => reason).join("\n"));
});

test("levels are judged by the limits that the run itself had: a batch by its size, one of single tokens not between them", async () => {
  const profile = join(dir, "whole.json");
  writeFileSync(profile, JSON.stringify({ minRequests: 20, llm_tpot: "p(50)<100", llm_itl_p50: "value<100" }));
  const limitsOf = async (spec: RunSpec) => {
    const run = await readResults(write(spec), true);
    return gate(run, gateConfig(run, { profile })).judgements.map(({ level, metric, expression }) =>
      [level, metric, expression].join(" "),
    );
  };
  const both = await limitsOf(phases({ seed: 3 }));
  assert.ok(both.includes("full llm_itl_p50 value<100") && both.includes("prefill llm_requests count>=20"));
  assert.ok(!both.some((limit) => /^prefill llm_(itl|tpot)/.test(limit)), both.join("\n"));
  const batch = await limitsOf(batches({ seed: 3, sizes: [4], runs: 1 }));
  assert.ok(batch.includes("b4.1 llm_requests count>=4"), batch.join("\n"));
});

test("a level whose requests had one token each has no inter-token latency to judge", async () => {
  const run = await readResults(write(sweep({ seed: 1, concurrencies: [1], requestsPerLevel: 20, tokens: 1 })), true);
  const { judgements } = gate(run, gateConfig(run, { profile: limiting("llm_itl_p99", "value<100") }));
  const judged = judgements.find(({ metric }) => metric === "llm_itl_p99");
  assert.deepEqual([judged?.verdict, judged?.reason], ["failed", "not measured"]);
});

test("whole replies have no TTFT to judge or compare, whatever their first output says", async () => {
  const spec = requestsOf(700, 0);
  const requests = spec.requests.map((line) => ({ ...line, arrivals: [] }));
  const run = await readResults(write({ ...spec, requests }), true);
  const { state, judgements } = gate(run, gateConfig(run, { sloTtft: 500, sloE2e: 500 }));
  assert.equal(state, "failed");
  assert.deepEqual(
    judgements.flatMap(({ metric, verdict, reason }) => (/ttft|e2e/.test(metric) ? [[metric, verdict, reason]] : [])),
    [
      ["llm_ttft", "failed", "not measured"],
      ["llm_e2e_latency", "passed", "p(99) 120 ms, limit < 500 ms: 0 of 700 requests beyond 500 ms"],
    ],
  );
  const rows = compareRuns(run, run, { limit: 0.05, confidence: 0.99, seed: 1 });
  assert.ok(rows.some(({ metric }) => metric === "e2e latency p50"));
  assert.ok(!rows.some(({ metric }) => metric.startsWith("TTFT")));
});

/** The command as a user runs it. */
function runGate(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["-r", "ts-node/register/transpile-only", join(__dirname, "gate.ts"), ...args],
    { encoding: "utf8", cwd: join(__dirname, "..") },
  );
  return { status, output: stdout + stderr };
}

/** A run of 120 requests of which the last 20 are slow, whose files were changed. */
function damaged(name: "records.ndjson.gz" | "summary.json", change: (text: string) => string | Buffer): string {
  const folder = write({ ...requestsOf(100, 0), ...lastSlow });
  const path = join(folder, name);
  const content = readFileSync(path);
  writeFileSync(path, change((name === "summary.json" ? content : gunzipSync(content)).toString()));
  return folder;
}
const lastSlow = {
  requests: Array.from({ length: 120 }, (_, index) =>
    requestLine({ level: "c1", index, sentMs: 1 + index * 400, ttftMs: index < 100 ? 100 : 300, gapsMs: [10] }),
  ),
};
const linesOf = (text: string) => text.trimEnd().split("\n");

for (const [what, name, change, words] of [
  [
    "records cut after 100 requests",
    "records.ndjson.gz",
    (text: string) => linesOf(text).slice(0, 102).join("\n"),
    /no end line.*; the records hold 100 of 120 steady requests of level c1$/,
  ],
  [
    "requests taken out of the records",
    "records.ndjson.gz",
    (text: string) =>
      linesOf(text)
        .filter((_, i) => i < 110 || i >= 113)
        .join("\n"),
    /^the records hold 117 of 120 steady requests of level c1$/,
  ],
  [
    "a broken line",
    "records.ndjson.gz",
    (text: string) =>
      linesOf(text)
        .map((line, i) => (i === 110 ? line.slice(0, 20) : line))
        .join("\n"),
    /1 lines of the records cannot be read \(the first is line 111\)/,
  ],
  [
    "no end line",
    "records.ndjson.gz",
    (text: string) => linesOf(text).slice(0, -1).join("\n"),
    /^the records have no end line/,
  ],
  [
    "gzip that was cut off",
    "records.ndjson.gz",
    (text: string) => gzipSync(text).subarray(0, -2000),
    /no end line.*; the records hold \d+ of 120/,
  ],
  [
    "no first line",
    "records.ndjson.gz",
    (text: string) => linesOf(text).slice(1).join("\n"),
    /^the records have no first line/,
  ],
  [
    "records of another schema",
    "records.ndjson.gz",
    (text: string) => text.replace('"schema":1', '"schema":7'),
    /^the schema of the records is 7; this version reads 1$/,
  ],
  [
    "a summary of another schema",
    "summary.json",
    (text: string) => text.replace('"schema":1', '"schema":9'),
    /^the schema of summary.json is 9; this version reads 1$/,
  ],
  ["a summary cut off", "summary.json", () => "{", /^summary.json cannot be read: .*; the levels are folded/],
  [
    "an empty summary",
    "summary.json",
    () => "{}",
    /^summary.json cannot be read: it has no levels, no verdict, no val/,
  ],
  ["a summary of null", "summary.json", () => "null", /^summary.json cannot be read: it holds no object/],
] as const) {
  test(`${what}: neither gate nor compare passes`, async () => {
    const run = await readResults(damaged(name, change), true);
    const result = gate(run, gateConfig(run, { sloTtft: 200, percentile: 50 }));
    assert.equal(result.state, "not valid");
    assert.match(result.invalid.join("; "), words);
    assert.ok(doubts(run).length > 0);
  });
}

test("exit codes: 0, 99, 96, 98 and what is said with them", async () => {
  const enough = write(requestsOf(700, 0));
  const few = write(requestsOf(50, 0));
  const bound = write({
    ...requestsOf(700, 0),
    validity: { state: "CLIENT-BOUND", reasons: ["scheduling lag p99 31 ms"] },
  });
  const dead = write({ ...requestsOf(0, 0, 5), config: { THRESHOLDS: "smoke" } });
  const unjudged = write({ ...requestsOf(700, 0), validity: { state: "UNJUDGED", reasons: [] } });
  const stock = write({ ...requestsOf(700, 0), validity: { state: "UNJUDGED", reasons: [] } });
  rmSync(join(stock, "records.ndjson.gz"));
  const killed = write(requestsOf(700, 0));
  rmSync(join(killed, "summary.json"));
  for (const [folder, args, status, words] of [
    [enough, ["--slo-ttft", "200"], 0, /PASSED/],
    [enough, ["--slo-ttft", "50"], 99, /FAIL c1 llm_ttft p\(99\) 100 ms, limit < 50 ms: 700 of 700/],
    [few, ["--slo-ttft", "200"], 96, /0 of 50 requests beyond 200 ms; at this share 459 would be needed/],
    [bound, ["--slo-ttft", "200"], 98, /NOT VALID: CLIENT-BOUND: scheduling lag p99 31 ms/],
    [
      few,
      ["--profile", limiting("llm_itl_p99", "value<100")],
      96,
      /\?\? {3}c1 llm_itl_p99 value 10 ms.*no upper bound/,
    ],
    [
      unjudged,
      ["--slo-ttft", "200"],
      98,
      /NOT VALID: UNJUDGED: measured through xk6-sse, where a run cannot judge its own/,
    ],
    [unjudged, [], 98, /NOT VALID: UNJUDGED/],
    [stock, ["--slo-ttft", "200"], 98, /NOT VALID: UNJUDGED: .*; the folder has no records/],
    [dead, [], 98, /no request completed/],
    [killed, ["--slo-ttft", "200"], 98, /no summary/],
    [join(dir, "nowhere"), [], 98, /not a results folder/],
    [enough, ["--slo-ttft", "200", "--percentile", "200"], 1, /a number between 0 and 100 is needed/],
    [enough, ["--level", "c7"], 104, /no level c7/],
  ] as const) {
    const result = runGate(folder, ...args);
    assert.match(result.output, words);
    assert.equal(result.status, status, result.output);
  }
});

test("a sweep that k6 let pass by luck is inconclusive, not passed", async () => {
  const run = await readResults(write(sweep({ seed: 2, concurrencies: [1], requestsPerLevel: 100 })));
  assert.equal(run.summary?.verdict.pass, true);
  assert.equal(gate(run, gateConfig(run, { profile: "none", sloTtft: 100, percentile: 99 })).state, "inconclusive");
});
