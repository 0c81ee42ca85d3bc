/** A merged run shows and judges what one process of the same load would: each kind of load by the settings that it echoes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { foldLevel, foldSeconds } from "../../lib/figures/fold";
import type { LevelSummary, RunReport, Second } from "../../lib/figures/level-summary";
import type { RequestLine } from "../../lib/figures/records";
import { foldSlices } from "../../lib/figures/slices";
import { settingGroups } from "../../lib/settings/used-settings";
import { requestLine } from "../../test/support/synthetic";
import { loadResults } from "./load-results";

/** A hundred requests in 100 s, of which each takes `slower` ms longer than the one before. */
function requestsOf(level: string, slower = 0): RequestLine[] {
  return Array.from({ length: 100 }, (_, index) =>
    requestLine({ level, index, sentMs: index * 1000 + 1, ttftMs: 100 + slower * index, gapsMs: [10, 10] }),
  );
}

function report(levels: LevelSummary[]): RunReport {
  const moments = requestsOf("x").map(
    ({ scheduledNs = 0, startedNs = 0, sentNs = 0, lastOutputNs = 0, endNs = 0 }) => ({
      ...{ scheduledNs, startedNs, sentNs, lastOutputNs, endNs, completed: true },
    }),
  );
  const seconds: Second[] = foldSeconds(moments, 0).map((second) => ({ ...second, outputTokens: 3 }));
  return { levels, seconds, total: { ...levels[0], requests: 100 } } as unknown as RunReport;
}

const clientMB = [Array.from({ length: 10 }, () => 80)];
const window = { type: "level" as const, openNs: 0, closeNs: 100e9, endNs: 101e9, clientMB };
const level = (name: string, own: Partial<LevelSummary> = {}, slower = 0): LevelSummary => ({
  ...foldLevel(name, requestsOf(name, slower), { ...window, name, concurrency: 1 }, {}),
  slices: foldSlices(requestsOf(name, slower), window, 10),
  ...own,
});

test("the drift of a soak is judged: a merge that left it out would pass a server that gets worse", () => {
  const soak = { DRIFT_LIMIT: 5, CLIENT_MEMORY_LIMIT: 256, SLICES: 10 };
  const steady = loadResults(report([level("c1")]), soak);
  assert.deepEqual(
    steady.limits?.map(({ result }) => result),
    ["passed", "passed", "passed", "passed"],
  );
  const worse = loadResults(report([level("c1", {}, 1)]), soak);
  assert.deepEqual(
    worse.limits?.filter(({ result }) => result !== "passed").map(({ metric, result }) => [metric, result]),
    [["llm_ttft", "violated"]],
  );
  assert.match(worse.text ?? "", /^c1 by part\n[\s\S]*llm_ttft: \+\d+\.\d % over the window, p < 0\.001: worse/);
  // Without its parts nothing is known of the drift.
  const blind = loadResults(report([level("c1", { slices: [] })]), soak);
  assert.deepEqual(new Set(blind.limits?.map(({ result }) => result)), new Set(["not measured"]));
  assert.deepEqual(loadResults(report([level("c1", {}, 1)]), { ...soak, SMOKE: true }).limits, []);
  for (const name of ["DRIFT_LIMIT", "CLIENT_MEMORY_LIMIT"])
    assert.ok((settingGroups.soak as readonly string[]).includes(name));
});

test("a load that follows a schedule leaves its seconds", () => {
  for (const [name, config] of [
    ["r10", { LOOP: "open" }],
    ["trace", {}],
  ] as const) {
    const { text = "", files = {} } = loadResults(report([level(name, name === "r10" ? { rate: 10 } : {})]), config);
    const lines = (files["seconds.csv"] ?? "").trim().split("\n");
    assert.equal(lines.length, 101, name);
    assert.equal(lines[0], "t_s,scheduled,sent,succeeded,failed,mean_ms,p50_ms,p95_ms,in_flight,output_tokens");
    assert.match(lines[1] ?? "", /^0,1,1,1,0,/);
    assert.match(text, /highest sustained success rate/);
  }
  assert.deepEqual(loadResults(report([level("c1")]), { CONCURRENCY: [1] }), { text: "", files: {}, limits: [] });
});

test("bursts, curves, mixes, sessions, phases and JSON show their own lines", () => {
  const sessions = {
    ...{ sessions: 4, completed: 4, failed: 0, abandoned: 0, cut: 0, turns: 8, notSent: 0 },
    ...{ durationMs: level("c1").e2eMs, taskMs: level("c1").e2eMs, waitMs: level("c1").e2eMs },
  };
  const cases: [LevelSummary[], Record<string, unknown>, RegExp][] = [
    [[level("b4", { batchSize: 4 })], { BATCH_SIZES: [4] }, /^batch +released in ms/m],
    [[level("c1", { sessions })], {}, /^level +sessions +completed/m],
    [[level("chat")], { MIX: "mix.json" }, /^all classes together: 100 requests/m],
    [[level("c1"), level("c2")], { CURVE_PROFILE: "short" }, /\S/],
    [[level("full"), level("prefill")], { PHASE: "both" }, /summarization/],
    [[level("c1")], { API: "json", CONCURRENCY: [1] }, /^ +Success ratio/m],
    [
      [level("i8", { labels: { inputTokens: 8 } }), level("i64", { labels: { inputTokens: 64 } })],
      { INPUT_LENGTHS: [8, 64] },
      /\S/,
    ],
  ];
  for (const [levels, config, text] of cases) {
    assert.match(loadResults(report(levels), config).text ?? "", text, JSON.stringify(config));
  }
});
