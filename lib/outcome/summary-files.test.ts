import assert from "node:assert/strict";
import { test } from "node:test";
import type { LevelSummary, RunReport, Second, Summary } from "../figures/level-summary";
import { statsOf } from "../figures/percentile";
import { parseConfig } from "../settings/parse-config";
import { serverNotes } from "./server-notes";
import { concludeRun } from "./summary-files";

const none = statsOf([]);
const declaration = { scenario: "concurrency-sweep", defaults: {}, uses: [] };
const config = {
  ...parseConfig(
    declaration,
    { BASE_URL: "http://127.0.0.1:1/v1" },
    () => "",
    () => "",
  ),
  RESULTS: "out",
};

/** A run of one level of four clients, whose latency at second t is so many ms. */
function reportOf(meanMs: (t: number) => number): RunReport {
  const stats = {
    outputSpeed: none,
    ttftMs: none,
    tpotMs: none,
    itlMs: none,
    e2eMs: statsOf([100]),
    queueDelayMs: none,
  };
  const level = {
    ...{ name: "c4", concurrency: 4, requests: 400, completed: 400, failed: 0, failures: {}, statuses: {}, labels: {} },
    ...{ windowStartS: 1, durationS: 20, requestThroughput: 20, outputThroughput: 0, outputTokens: 0, inputTokens: 0 },
    ...stats,
  } as unknown as LevelSummary;
  const seconds = Array.from(
    { length: 20 },
    (_, t) => ({ t, succeeded: 20, outputTokens: 0, meanMs: meanMs(t) }) as Second,
  );
  return {
    ...{ startUnixMs: 0, durationS: 21, levels: [level], total: level, seconds, ended: "complete" },
    validity: { state: "VALID", reasons: [] } as unknown as RunReport["validity"],
    versions: { tokenclock: "", k6: "", go: "", os: "" },
  };
}

const gate = { "llm_ttft{level:c4,phase:steady}": ["p(95)<5000"] };
const kept = {
  "llm_ttft{level:c4,phase:steady}": { values: { "p(95)": 100 }, thresholds: { "p(95)<5000": { ok: true } } },
};

function concluded(
  meanMs: (t: number) => number,
  { report = reportOf(meanMs), scenario = config.scenario, gated = false, smoke = false } = {},
): { summary: Summary; stdout: string; exitCode: number } {
  const files: Record<string, string> = {};
  const { output, exitCode } = concludeRun(
    {
      config: { ...config, scenario, SMOKE: smoke },
      ...{ shown: {}, report, metrics: gated ? kept : {}, digests: {}, own: {}, notes: [] },
      gates: { thresholds: gated ? gate : {} } as never,
    },
    (path, text) => {
      files[path] = text;
      return "";
    },
  );
  return { summary: JSON.parse(files["out/summary.json"] ?? "{}"), stdout: output.stdout ?? "", exitCode };
}

test("whether a level was steady is in the table, in summary.json and in the notes", () => {
  const steady = concluded((t) => 100 + (t % 3));
  assert.equal(steady.summary.levels[0]?.steady?.state, "steady");
  assert.match(steady.stdout, /steady\n.* yes$/m);
  assert.equal(steady.summary.notes, undefined);

  const never = concluded((t) => 100 + 10 * t);
  assert.equal(never.summary.levels[0]?.steady?.state, "never");
  assert.match(never.stdout, /note: c4 was never steady: latency rose by \S+ % of its mean in 20 s/);
  assert.match(never.summary.notes?.join() ?? "", /c4 was never steady/);

  const cold = concluded((t) => (t < 4 ? 300 - 40 * t : 100 + (t % 3)));
  assert.equal(cold.summary.levels[0]?.steady?.fromS, 5);
  assert.match(cold.stdout, /c4 was steady only after 4 s of its window/);
});

test("a message that an earlier level had is not repeated", () => {
  const report = reportOf(() => 100);
  const failing = (name: string, message: string) =>
    ({
      ...report.levels[0],
      ...{ name, failed: 1, failures: { http_4xx: 1 }, failureMessages: { http_4xx: message } },
    }) as LevelSummary;
  const levels = [failing("b1", "Not Found"), failing("b2", "Not Found"), failing("b4", "too long")];
  const { stdout } = concluded(() => 100, { report: { ...report, levels } });
  assert.match(
    stdout,
    /^b1 failed: http_4xx 1\n {2}http_4xx: Not Found\nb2 failed: http_4xx 1\nb4 failed: http_4xx 1\n {2}http_4xx: too long$/m,
  );
});

test("limits that passed in a level that was never steady are inconclusive, but of a soak and of a search", () => {
  const never = concluded((t) => 100 + 10 * t, { gated: true });
  assert.equal(never.exitCode, 96, never.stdout);
  assert.equal(never.summary.verdict.pass, false);
  assert.match(never.stdout, /FAIL c4 was never steady: latency rose/);
  assert.equal(never.stdout.match(/never steady/g)?.length, 1, "a reason of the verdict is no note beside it");
  assert.equal(concluded((t) => 100 + (t % 3), { gated: true }).exitCode, 0);
  for (const scenario of ["soak", "capacity"]) {
    const { exitCode, stdout } = concluded((t) => 100 + 10 * t, { gated: true, scenario });
    assert.equal(exitCode, 0, stdout);
    assert.match(stdout, /note: c4 was never steady/);
  }
});

test("what a client's invalidity means stands below a run that it spoils, and a smoke run has nothing to spoil", () => {
  const validity = { state: "CLIENT-BOUND", reasons: ["late"] } as unknown as RunReport["validity"];
  const of = (smoke: boolean) =>
    concluded(() => 100, { report: { ...reportOf(() => 100), validity }, gated: true, smoke });
  const meaning = /so the run says nothing about the server/;
  assert.equal(of(false).exitCode, 98);
  assert.match(of(false).stdout, meaning);
  assert.equal(of(true).exitCode, 0);
  assert.match(of(true).stdout, /^PASS, CLIENT-BOUND$/m);
  assert.doesNotMatch(of(true).stdout, meaning);
});

test("a run without thresholds that would fail says that its exit code is 0", () => {
  const validity = { state: "CLIENT-BOUND", reasons: ["late"] } as unknown as RunReport["validity"];
  const of = (gated: boolean, report = { ...reportOf(() => 100), validity }) => concluded(() => 100, { report, gated });
  const said = /exit code is 0 all the same: THRESHOLDS=none/;
  assert.equal(of(false).exitCode, 0);
  assert.match(of(false).stdout, /^FAIL CLIENT-BOUND/m);
  assert.match(of(false).stdout, said);
  assert.doesNotMatch(of(true).stdout, said);
  assert.doesNotMatch(of(false, reportOf(() => 100) as never).stdout, said);
});

const pageOf = (cpuShare: number, skipped = 0) => ({
  ...{ url: "/metrics", polls: 100, failed: 0, skipped, error: "", cpuShare, bytes: 20_000 },
  pageMs: { p50: 40 },
});

test("a poller that disturbs the measurement is noted, with what to set", () => {
  const { levels } = reportOf(() => 100);
  const notes = (page: object) =>
    serverNotes({ levels, serverPages: [page] } as unknown as RunReport, config).join("\n");
  assert.equal(notes(pageOf(0.01)), "");
  assert.match(
    notes(pageOf(0.05)),
    /^to read the metrics page \/metrics \(20 kB\) took up to 5(\.\d+)? % of a core .*set METRICS_INTERVAL higher or METRICS to fewer/,
  );
  assert.match(
    notes(pageOf(0.01, 40)),
    /^the metrics page \/metrics was polled 100 times instead of 140: it takes 40 ms/,
  );
  assert.match(notes({ ...pageOf(0), failed: 3, error: "no route" }), /^3 of 100 polls of .* failed: no route$/);
});
