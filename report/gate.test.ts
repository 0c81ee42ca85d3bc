import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gate, gateConfig } from "./gate";
import { readResults } from "./read";
import { type RunSpec, requestLine, sweep, writeRun } from "./synthetic";

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
  const run = await readResults(
    write({ ...requestsOf(700, 0), config: { THRESHOLDS: "smoke", SLO_TTFT: 50, SLO_PERCENTILE: 95 } }),
  );
  assert.equal(gate(run, gateConfig(run, {})).state, "failed", "the run's SLO_TTFT=50");
  assert.equal(gate(run, gateConfig(run, { sloTtft: 200 })).state, "passed");
  assert.ok(
    gate(run, gateConfig(run, { profile: "interactive", sloTtft: 200 })).judgements.some(
      ({ metric }) => metric === "llm_itl_p99",
    ),
  );
  assert.throws(() => gateConfig(run, { profile: "nonesuch" }), /neither a profile/);
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

test("exit codes: 0, 99, 96, 98 and what is said with them", async () => {
  const enough = write(requestsOf(700, 0));
  const few = write(requestsOf(50, 0));
  const bound = write({
    ...requestsOf(700, 0),
    validity: { state: "CLIENT-BOUND", reasons: ["scheduling lag p99 31 ms"] },
  });
  const dead = write({ ...requestsOf(0, 0, 5), config: { THRESHOLDS: "smoke" } });
  const killed = write(requestsOf(700, 0));
  rmSync(join(killed, "summary.json"));
  for (const [folder, args, status, words] of [
    [enough, ["--slo-ttft", "200"], 0, /PASSED/],
    [enough, ["--slo-ttft", "50"], 99, /FAIL c1 llm_ttft p\(99\) 100 ms, limit < 50 ms: 700 of 700/],
    [few, ["--slo-ttft", "200"], 96, /0 of 50 requests beyond 200 ms; at this share 459 would be needed/],
    [bound, ["--slo-ttft", "200"], 98, /NOT VALID: CLIENT-BOUND: scheduling lag p99 31 ms/],
    [dead, [], 98, /no request completed/],
    [killed, ["--slo-ttft", "200"], 98, /no summary/],
    [join(dir, "nowhere"), [], 98, /not a results folder/],
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
