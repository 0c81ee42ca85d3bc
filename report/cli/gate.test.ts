import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { loadTypeScript } from "../../build/paths";
import { type MetricName, metrics } from "../../lib/figures/metrics-table";
import { gatesEveryRun } from "../../lib/figures/threshold";
import { batches, changeFile, phases, type RunSpec, requestLine, sweep, writeRun } from "../../test/support/synthetic";
import { judgeShare } from "../judge/early-stopping";
import { readResults } from "../read/read";
import { compareRuns, doubts } from "./compare";
import { gate, gateConfig, main } from "./gate";
import { exitCodeOf } from "./options";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-gate-"));
after(() => rmSync(dir, { recursive: true }));
let written = 0;
const write = (spec: RunSpec): string => writeRun(spec, dir, `run-${written++}`);

/** A level of n requests of which `slow`, all over the run, have a TTFT of 300 ms and the rest one of 100 ms. */
function requestsOf(n: number, slow: number, failed = 0): RunSpec {
  const slows = new Set(Array.from({ length: slow }, (_, k) => Math.floor(((k + 0.5) * n) / slow)));
  const requests = Array.from({ length: n }, (_, index) =>
    requestLine({
      level: "c1",
      index,
      sentMs: 1 + index * 400,
      ttftMs: slows.has(index) ? 300 : 100,
      gapsMs: [10, 10],
    }),
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

test("limits that the script named are judged as k6 judged them; what was not measured does not pass", async () => {
  const limit = (more: object) => ({ metric: "answer_tokens", expression: "min>=16", script: true as const, ...more });
  const stateOf = async (thresholds: object[], slo?: number, only?: string) => {
    const run = await readResults(write(requestsOf(500, 0)));
    const whole = { ...run, summary: run.summary && { ...run.summary, thresholds: thresholds as never } };
    return gate(whole, gateConfig(run, slo === undefined ? {} : { sloTtft: slo, percentile: 95 }), undefined, only);
  };
  const passed = await stateOf([limit({ result: "passed", value: 16, margin: 0 })]);
  assert.equal(passed.state, "passed");
  const tagged = await stateOf([
    limit({ tags: { turn: "t1", client: "b" }, result: "violated", value: 8, margin: -8 }),
    { metric: "llm_ttft", level: "c1", expression: "p(95)<1", result: "violated", value: 100 },
  ]);
  assert.equal(tagged.state, "failed");
  // Limits of a profile are judged from the requests, by what is asked for now.
  assert.deepEqual(
    tagged.judgements.map(({ level, metric, reason }) => [level, metric, reason]),
    [["run", "answer_tokens{turn:t1,client:b}", "min>=16: 8, as k6 judged it"]],
  );
  assert.equal((await stateOf([limit({ result: "not measured" })], 200)).state, "failed");
  assert.equal(
    (await stateOf([limit({ result: "not measured" })])).judgements[0]?.reason,
    "min>=16: not measured, as k6 judged it",
  );
  assert.equal((await stateOf([limit({ result: "passed", value: 16 })], 200)).state, "passed");
  assert.equal((await stateOf([], undefined)).state, "refused");
  const ofLevel = await stateOf(
    [limit({ result: "violated", value: 8 }), limit({ level: "c1", result: "passed", value: 16 })],
    undefined,
    "c1",
  );
  assert.deepEqual([ofLevel.state, ofLevel.judgements.length], ["passed", 1]);
});

/** One client for 80 s whose TTFT at that request is so many ms; requests take about 200 ms. */
function changing(ttftMs: (index: number) => number): RunSpec {
  const requests: ReturnType<typeof requestLine>[] = [];
  let sentMs = 1000;
  for (let index = 0; index < 400; index++) {
    const ttft = ttftMs(index) + (index % 7);
    requests.push(requestLine({ level: "c1", index, sentMs, ttftMs: ttft, gapsMs: [50, 50] }));
    sentMs += ttft + 100;
  }
  return {
    scenario: "concurrency-sweep",
    requests,
    levels: [{ name: "c1", concurrency: 1, openMs: 1000, closeMs: sentMs }],
    config: { THRESHOLDS: "none" },
  };
}

test("a level that was never steady does not pass, however good its figures are", async () => {
  const judge = async (ttftMs: (index: number) => number, sloTtft: number) => {
    const run = await readResults(write(changing(ttftMs)));
    return gate(run, gateConfig(run, { sloTtft }));
  };
  assert.equal((await judge(() => 100, 200)).state, "passed");
  const slowing = await judge((index) => 80 + index / 8, 200);
  assert.equal(slowing.state, "inconclusive");
  assert.match(slowing.judgements[0]?.reason ?? "", /never steady: latency rose by \d+(\.\d)? % of its mean in \d+ s/);
  assert.equal((await judge((index) => 80 + index / 8, 85)).state, "failed", "a limit that is broken stays broken");
});

test("of a level that was cold at first only the steady part is judged", async () => {
  const spec = changing((index) => (index < 60 ? 700 - 10 * index : 100));
  const run = await readResults(write(spec));
  const { state, judgements } = gate(run, gateConfig(run, { sloTtft: 150 }));
  assert.equal(state, "passed", JSON.stringify(judgements));
  assert.match(judgements[0]?.reason ?? "", /without the first \d+(\.\d+)? s, which were not steady/);
  // Throughputs, too: 3 tokens in about 200 ms, with the cold part a sixth less.
  const profile = join(dir, "throughput.json");
  for (const [limit, expected] of [
    ["value>14", "passed"],
    ["value>15.5", "failed"],
  ] as const) {
    writeFileSync(profile, JSON.stringify({ llm_output_throughput: limit }));
    const judged = gate(run, gateConfig(run, { profile })).judgements;
    assert.equal(judged.find(({ metric }) => metric === "llm_output_throughput")?.verdict, expected, limit);
  }
});

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
  const run = await readResults(folder, { itl: true });
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
    const run = await readResults(write(spec), { itl: true });
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
  const run = await readResults(write({ scenario: "concurrency-sweep", requests, levels: [level] }), { itl: true });
  const { state, judgements } = gate(run, gateConfig(run, { profile: limiting("llm_itl_p99", "value<50") }));
  assert.equal(judgeShare(104 * 40, 3 * 8, 0.99), "passed", "as if tokens were independent");
  assert.equal(state, "inconclusive", judgements.map(({ reason }) => reason).join("\n"));
});

test("levels are judged by the limits that the run itself had: a batch by its size, one of single tokens not between them", async () => {
  const profile = join(dir, "whole.json");
  writeFileSync(profile, JSON.stringify({ minRequests: 20, llm_tpot: "p(50)<100", llm_itl_p50: "value<100" }));
  const limitsOf = async (spec: RunSpec) => {
    const run = await readResults(write(spec), { itl: true });
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
  const run = await readResults(write(sweep({ seed: 1, concurrencies: [1], requestsPerLevel: 20, tokens: 1 })), {
    itl: true,
  });
  const { judgements } = gate(run, gateConfig(run, { profile: limiting("llm_itl_p99", "value<100") }));
  const judged = judgements.find(({ metric }) => metric === "llm_itl_p99");
  assert.deepEqual([judged?.verdict, judged?.reason], ["failed", "not measured"]);
});

test("whole replies have no TTFT to judge or compare, whatever their first output says", async () => {
  const spec = requestsOf(700, 0);
  const requests = spec.requests.map((line) => ({ ...line, arrivals: [] }));
  const run = await readResults(write({ ...spec, requests }), { itl: true });
  const { state, judgements } = gate(run, gateConfig(run, { sloTtft: 500, sloE2e: 500 }));
  assert.equal(state, "failed");
  assert.deepEqual(
    judgements.flatMap(({ metric, verdict, reason }) => (/ttft|e2e/.test(metric) ? [[metric, verdict, reason]] : [])),
    [
      ["llm_ttft", "failed", "not measured"],
      ["llm_e2e_latency", "passed", "p(95) 120 ms, limit < 500 ms: 0 of 700 requests beyond 500 ms"],
    ],
  );
  const rows = compareRuns([run], [run]);
  assert.ok(rows.some(({ metric }) => metric === "e2e latency p50"));
  assert.ok(!rows.some(({ metric }) => metric.startsWith("TTFT")));
});

/** The command as a user runs it, in this process: starting one takes a second. */
async function runGate(...args: string[]): Promise<{ status: number; output: string }> {
  let output = "";
  try {
    const status = await main(args, (text) => {
      output += text;
    });
    return { status, output };
  } catch (error) {
    return { status: exitCodeOf(error), output: output + (error as Error).message };
  }
}

/** The same as a process of its own. */
function spawnGate(args: string[], env: NodeJS.ProcessEnv = {}) {
  const command = ["-r", loadTypeScript, join(__dirname, "gate.ts"), ...args];
  const options = { encoding: "utf8" as const, cwd: join(__dirname, "..", ".."), env: { ...process.env, ...env } };
  return spawnSync(process.execPath, command, options);
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
    const run = await readResults(damaged(name, change), { itl: true });
    const result = gate(run, gateConfig(run, { sloTtft: 200, percentile: 50 }));
    assert.equal(result.state, "not valid");
    assert.match(result.invalid.join("; "), words);
    assert.ok(doubts(run).length > 0);
  });
}

test("exit codes: 0, 99, 96, 98, 104 and the lines with them", async () => {
  const enough = write(requestsOf(700, 0));
  const few = write(requestsOf(50, 0));
  const bound = write({
    ...requestsOf(700, 0),
    validity: { state: "CLIENT-BOUND", reasons: ["scheduling lag p99 31 ms"] },
  });
  const cached = write(requestsOf(700, 0));
  changeFile(cached, "summary.json", (text) =>
    text
      .replace('"validity":"VALID"', '"validity":"CACHE-BOUND"')
      .replace('"reasons":[]', '"reasons":["CACHE-BOUND: 80 %"]'),
  );
  const interrupted = write(requestsOf(700, 0));
  changeFile(interrupted, "summary.json", (text) => text.replace('"ended":"complete"', '"ended":"interrupted"'));
  const cutOff = write({ ...requestsOf(700, 0), config: { THRESHOLDS: "smoke" } });
  const underWay = requestLine({ level: "c1", index: 700, sentMs: 280_000, failure: "interrupted", status: 0 });
  const unsaid = write(requestsOf(700, 0));
  changeFile(unsaid, "summary.json", (text) => text.replace('"ended":"complete",', ""));
  const unwritten = write(requestsOf(700, 0));
  changeFile(unwritten, "summary.json", (text) =>
    text.replace('"schema":1', '"schema":1,"recordsError":"no space left"'),
  );
  const strict = { minRequests: 1, maxFailureShare: 0, limits: { llm_ttft: ["p(50)<50"] } };
  const kept = write({ ...requestsOf(700, 0), config: { THRESHOLDS: "gone.json" } });
  changeFile(kept, "summary.json", (text) =>
    text.replace('"schema":1', `"schema":1,"profile":${JSON.stringify(strict)}`),
  );
  const notKept = write({ ...requestsOf(700, 0), config: { THRESHOLDS: "gone.json" } });
  const cutRequests = write({ ...requestsOf(700, 0), requests: [...requestsOf(700, 0).requests, underWay] });
  changeFile(cutOff, "records.ndjson.gz", (text) => text.replace('"ended":"complete"', '"ended":"cut"'));
  const half = write({
    ...requestsOf(700, 0),
    levels: [...requestsOf(700, 0).levels, { name: "c2", concurrency: 2, openMs: 0, closeMs: 1 }],
  });
  const dead = write({ ...requestsOf(0, 0, 5), config: { THRESHOLDS: "smoke" } });
  const unjudged = write({ ...requestsOf(700, 0), validity: { state: "UNJUDGED", reasons: [] } });
  const stock = write({ ...requestsOf(700, 0), validity: { state: "UNJUDGED", reasons: [] } });
  rmSync(join(stock, "records.ndjson.gz"));
  const killed = write(requestsOf(700, 0));
  rmSync(join(killed, "summary.json"));
  const tokensASecond = limiting("llm_output_tokens", "rate>1900");
  const oneInHundred = join(dir, "failures.json");
  writeFileSync(oneInHundred, JSON.stringify({ maxFailureShare: 0.01 }));
  const twenty = write(requestsOf(20, 0));
  const slo = ["--slo-ttft", "200", "--percentile", "99"];
  for (const [folder, args, status, words] of [
    [enough, slo, 0, /PASSED/],
    [enough, ["--slo-ttft", "50"], 99, /FAIL c1 llm_ttft p\(95\) 100 ms, limit < 50 ms: 700 of 700/],
    [few, slo, 96, /0 of 50 requests beyond 200 ms; at this share 459 would be needed/],
    [bound, slo, 98, /NOT VALID: CLIENT-BOUND: scheduling lag p99 31 ms/],
    [cached, slo, 98, /NOT VALID: CACHE-BOUND: 80 %/],
    [interrupted, slo, 98, /NOT VALID: the run did not come to its end \(interrupted\)/],
    [cutOff, slo, 98, /NOT VALID: the run did not come to its end \(cut\)/],
    [unsaid, slo, 98, /it does not say how it ended/],
    [unwritten, slo, 98, /the records were not written whole: no space left/],
    [kept, [], 99, /FAIL c1 llm_ttft p\(50\) 100 ms, limit < 50 ms/],
    [notKept, [], 104, /the run does not hold its profile, THRESHOLDS=gone.json; give --profile/],
    [cutRequests, slo, 98, /NOT VALID: the run was cut: 1 requests were under way/],
    [half, slo, 98, /NOT VALID: level c2: no request was sent in its steady window/],
    [half, [...slo, "--level", "c1"], 0, /PASSED/],
    [
      few,
      ["--profile", limiting("llm_itl_p99", "value<100")],
      96,
      /\?\? {3}c1 llm_itl_p99 value 10 ms.*no upper bound/,
    ],
    [unjudged, slo, 98, /NOT VALID: UNJUDGED: measured through xk6-sse, where a run cannot judge its own/],
    [unjudged, [], 98, /NOT VALID: UNJUDGED/],
    [stock, slo, 98, /NOT VALID: UNJUDGED: .*; the folder has no records/],
    [dead, [], 98, /level c1: no request completed/],
    [killed, slo, 98, /no summary/],
    [join(dir, "nowhere"), [], 98, /not a results folder/],
    [enough, [], 104, /NOTHING JUDGED: there is no limit to judge by/],
    [
      enough,
      ["--profile", tokensASecond],
      104,
      /llm_output_tokens: "rate>1900": a Counter has count; .*llm_output_throughput/,
    ],
    [
      twenty,
      ["--profile", oneInHundred],
      96,
      /rate 0, limit <= 0\.01: 0 of 20 requests failed; at this share 459 would/,
    ],
    [enough, ["--profile", oneInHundred], 0, /rate 0, limit <= 0\.01: 0 of 700 requests failed$/m],
    [enough, [...slo, "--percentile", "200"], 104, /it is per cent, from 50 to 100/],
    [enough, [...slo, "--percentile", "0.95"], 104, /it is per cent, from 50 to 100: write 95 or/],
    [enough, [...slo, "--confidence", "0.99"], 104, /it is per cent, from 50 to 99.999: write 99 or/],
    [enough, [...slo, "--confidence", "99.9"], 0, /with 99.90 % confidence/],
    [few, ["--slo-ttft", "200", "--percentile", "100"], 0, /llm_ttft p\(100\) 100 ms, limit < 200 ms/],
    [enough, ["--slo-ttft", "zero"], 104, /a number above 0 is needed/],
    [enough, ["--slo-tfft", "200"], 104, /unknown option '--slo-tfft'/],
    [enough, [few], 104, /too many arguments/],
    [enough, ["--level", "c7"], 104, /no level c7/],
    [enough, ["--profile", "strict"], 104, /strict is neither a profile/],
  ] as const) {
    const result = await runGate(folder, ...args);
    assert.match(result.output, words);
    assert.equal(result.status, status, `${args.join(" ")}: ${result.output}`);
  }
});

test("as a process of its own: exit code, one line of error, nothing but JSON with --json, no option lost to npm", () => {
  const folder = write(requestsOf(700, 0));
  const passed = spawnGate([folder, "--slo-ttft", "200", "--json"]);
  assert.deepEqual([passed.status, passed.stderr], [0, ""]);
  assert.equal(JSON.parse(passed.stdout).state, "passed");
  const refused = spawnGate([folder, "--slo-ttft", "fast"]);
  assert.deepEqual([refused.status, refused.stdout], [104, ""]);
  assert.match(refused.stderr, /a number above 0 is needed/);
  const swallowed = spawnGate([folder], { npm_config_slo_ttft: "200" });
  assert.deepEqual([swallowed.status, swallowed.stdout], [104, ""]);
  assert.match(swallowed.stderr, /^gate: npm took --slo-ttft for its own: write npm run gate -- /);
});

/** 600 requests whose times vary, 60 of them failed; what every metric of theirs is, by hand. */
function everyMetric(): { spec: RunSpec; truth: Record<MetricName, number | number[]> } {
  const n = 600;
  const failed = 60;
  const ttft = (i: number) => 90 + (i % 21);
  const gap = (i: number) => 9 + (i % 3) / 10;
  const lag = (i: number) => 1 + (i % 2) / 10;
  const requests = Array.from({ length: n }, (_, index) => {
    const at = { level: "c1", index, sentMs: 100 + index * 200, scheduledMs: 100 + index * 200 - lag(index) };
    return index < failed
      ? requestLine({ ...at, failure: "http_5xx" })
      : requestLine({ ...at, ttftMs: ttft(index), gapsMs: [gap(index), gap(index), gap(index)], inputTokens: 50 });
  });
  const good = Array.from({ length: n - failed }, (_, i) => i + failed);
  const seconds = (n * 200 + 200) / 1000;
  const gaps = good.flatMap((i) => [gap(i), gap(i), gap(i)]).sort((a, b) => a - b);
  const share = (p: number) => gaps[Math.ceil(p * gaps.length) - 1] as number;
  return {
    spec: {
      ...{ scenario: "concurrency-sweep", requests, sloMs: { ttft: 109.5 } },
      levels: [{ name: "c1", concurrency: 1, openMs: 0, closeMs: seconds * 1000 }],
    },
    truth: {
      llm_ttft: good.map(ttft),
      llm_ttfo: good.map(ttft),
      llm_tpot: good.map(gap),
      llm_itl_max: good.map(gap),
      llm_e2e_latency: good.map((i) => ttft(i) + 3 * gap(i)),
      llm_queue_delay: Array.from({ length: n }, (_, i) => lag(i)),
      llm_ttft_scheduled: good.map((i) => ttft(i) + lag(i)),
      llm_e2e_scheduled: good.map((i) => ttft(i) + 3 * gap(i) + lag(i)),
      llm_output_speed: good.map((i) => 1000 / gap(i)),
      llm_requests: n,
      llm_request_failed: failed / n,
      llm_failures: failed,
      llm_input_tokens: 50 * good.length,
      llm_output_tokens: 4 * good.length,
      llm_chunks: 4 * good.length,
      llm_goodput: good.filter((i) => ttft(i) <= 109.5).length / n,
      llm_itl_p50: share(0.5),
      llm_itl_p90: share(0.9),
      llm_itl_p99: share(0.99),
      llm_output_throughput: (4 * good.length) / seconds,
      llm_request_throughput: good.length / seconds,
      llm_request_goodput: good.filter((i) => ttft(i) <= 109.5).length / seconds,
      llm_cached_share: 0.25,
      llm_cached_tokens: 12.5 * good.length,
      llm_cost_request: 0.002,
      llm_cost_output: 3,
      llm_cost_output_slo: 4,
      llm_cost_good_request: 0.004,
      llm_energy_output: 1.5,
    } as unknown as Record<MetricName, number | number[]>,
  };
}

test("every metric of the table is judged by each of its aggregates with every operator, and by no other", async () => {
  const { spec, truth } = everyMetric();
  const folder = write(spec);
  const cached = `"cachedShare":0.25,"cachedTokens":${truth["llm_cached_tokens" as MetricName]}`;
  const cost =
    '"cost":{"perRequest":0.002,"perMillionOutputTokens":3,"perMillionGoodOutputTokens":4,"perGoodRequest":0.004}';
  const energy = '"server":{"joulesPerOutputToken":1.5}';
  changeFile(folder, "summary.json", (text) => text.replaceAll('"labels":', `${cached},${cost},${energy},"labels":`));
  const run = await readResults(folder, { itl: true });
  const aggregates = ["avg", "min", "max", "med", "p(1)", "p(95)", "p(100)", "count", "rate", "value"];
  const byType = { Trend: /^(avg|min|max|med|p)/, Counter: /^count/, Gauge: /^value/, Rate: /^rate/ };
  const verdictOf = (metric: MetricName, expression: string) => {
    const profile = { minRequests: 1, maxFailureShare: 1, limits: { [metric]: [expression] } };
    const { judgements } = gate(run, { profile, SLO_PERCENTILE: 95 });
    const judged = judgements.filter((each) => each.metric === metric && each.expression === expression);
    assert.equal(judged.length, 1, `${metric} ${expression}`);
    return judged[0] as (typeof judged)[number];
  };
  let judged = 0;
  for (const metric of Object.keys(metrics) as MetricName[]) {
    // That of a search is another gate's, below.
    if (gatesEveryRun(metric) || metric === "llm_capacity") continue;
    assert.ok(metric in truth, `the truth of ${metric} is not in this test`);
    const values = [truth[metric]].flat();
    const [low, high] = [Math.min(...values), Math.max(...values)];
    for (const aggregate of aggregates) {
      if (!byType[metrics[metric].type].test(aggregate)) {
        assert.throws(() => verdictOf(metric, `${aggregate}<1`), /a (Trend|Counter|Gauge|Rate) has/);
        continue;
      }
      // Half and double of all there is: no doubt is left on either side. A share has no double above 1.
      const under = (low / 2).toFixed(6);
      const over = (metric === "llm_goodput" ? 0.999 : high * 2).toFixed(6);
      for (const [operator, atUnder, atOver] of [
        ["<", "failed", "passed"],
        ["<=", "failed", "passed"],
        [">", "passed", "failed"],
        [">=", "passed", "failed"],
        ["==", "failed", "failed"],
        ["===", "failed", "failed"],
        ["!=", "passed", "passed"],
      ] as const) {
        for (const [limit, expected] of [
          [under, atUnder],
          [over, atOver],
        ] as const) {
          const { verdict, reason } = verdictOf(metric, `${aggregate}${operator}${limit}`);
          assert.equal(verdict, expected, `${metric} ${aggregate}${operator}${limit}: ${reason}`);
          judged++;
        }
      }
    }
  }
  assert.ok(judged >= 14 * (9 * 7 + 13), "9 Trends of 7 aggregates, 13 others at least");
});

test("values that are all the limit equal it; what lies around it cannot be shown to", async () => {
  const { limits, verdicts } = {
    limits: ["p(95)==100", "p(95)!=100", "med>=100", "med<100", "avg==100", "p(95)==99.9", "p(95)!=99.9"],
    verdicts: ["passed", "failed", "passed", "failed", "passed", "failed", "passed"],
  };
  const profile = { minRequests: 1, maxFailureShare: 0, limits: { llm_ttft: limits } };
  const run = await readResults(write(requestsOf(700, 0)), { itl: true });
  const of = ({ judgements }: ReturnType<typeof gate>) =>
    judgements.filter(({ metric }) => metric === "llm_ttft").map(({ verdict }) => verdict);
  assert.deepEqual(of(gate(run, { profile, SLO_PERCENTILE: 95 })), verdicts);
  const varied = await readResults(write(everyMetric().spec), { itl: true });
  const around = { ...profile, limits: { llm_ttft: ["med==100", "med!=100", "med<100", "avg<100", "avg==100"] } };
  assert.deepEqual(of(gate(varied, { profile: around, SLO_PERCENTILE: 95 })), Array(5).fill("inconclusive"));
});

test("a sweep that k6 let pass by luck is inconclusive, not passed", async () => {
  const run = await readResults(write(sweep({ seed: 2, concurrencies: [1], requestsPerLevel: 100 })));
  assert.equal(run.summary?.verdict.pass, true);
  assert.equal(gate(run, gateConfig(run, { profile: "none", sloTtft: 100, percentile: 99 })).state, "inconclusive");
});
