import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunReport } from "./level-summary";
import { describeThreshold, judge, judgedThresholds } from "./verdict";

const metrics = {
  "llm_ttft{level:c8,phase:steady}": {
    values: { "p(95)": 812.4, avg: 300 },
    thresholds: { "p(95)<200": { ok: false }, "avg<400": { ok: true } },
  },
  "llm_requests{level:c8,phase:steady}": { values: { count: 0, rate: 0 }, thresholds: { "count>=20": { ok: false } } },
  "llm_itl_p99{level:c8}": { values: { value: 150 }, thresholds: { "value<100": { ok: false } } },
  http_reqs: { values: { count: 3 } },
};

function report(state: RunReport["validity"]["state"], completed: number, reasons: string[] = []): RunReport {
  return {
    validity: { state, reasons },
    total: { requests: completed, completed },
    levels: [],
  } as unknown as RunReport;
}

test("a crossed threshold is told with metric, level, value, limit and unit", () => {
  assert.deepEqual(
    judgedThresholds(metrics)
      .filter(({ ok }) => !ok)
      .map(describeThreshold),
    [
      "llm_ttft{level:c8} p(95) 812 ms, limit < 200 ms",
      "llm_requests{level:c8} count 0 requests, limit >= 20 requests",
      "llm_itl_p99{level:c8} value 150 ms, limit < 100 ms",
    ],
  );
});

test("all thresholds kept on a valid run is a pass", () => {
  const kept = judgedThresholds(metrics).filter(({ ok }) => ok);
  assert.deepEqual(judge(report("VALID", 5), kept), { pass: true, validity: "VALID", reasons: [] });
});

test("a run whose client was too slow does not pass, whatever the thresholds say", () => {
  assert.deepEqual(judge(report("CLIENT-BOUND", 5, ["scheduling lag p99 30 ms"]), []), {
    pass: false,
    validity: "CLIENT-BOUND",
    reasons: ["CLIENT-BOUND: scheduling lag p99 30 ms"],
  });
});

test("a run that sent nothing does not pass, and says only that", () => {
  assert.deepEqual(judge(report("VALID", 0), judgedThresholds(metrics)).reasons, ["no request was sent"]);
});

const ttft = "llm_ttft{level:c8,phase:steady}";
const counted = "llm_samples{level:c8,metric:llm_ttft}";
const gate = (metric: string, expression: string, value: number, ok: boolean) => ({ metric, expression, value, ok });

test("a limit that was kept on nothing is told by the metric that lacks samples", () => {
  const judged = [gate(ttft, "p(95)<200", 0, true), gate(counted, "value>=20", 0, false)];
  const { pass, reasons } = judge(report("VALID", 5), judged);
  assert.deepEqual([pass, reasons], [false, ["llm_ttft{level:c8} samples 0, limit >= 20"]]);
});

test("a level of which nothing completed says so once, not for each of its limits", () => {
  const empty = { ...report("VALID", 5), levels: [{ name: "c8", completed: 0 }] } as RunReport;
  const failed = gate("llm_request_failed{level:c8,phase:steady}", "rate<=0", 1, false);
  const without = gate(counted, "value>=20", 0, false);
  assert.deepEqual(judge(empty, [failed, without]).reasons, ["llm_request_failed{level:c8} rate 1, limit <= 0"]);
  assert.equal(judge(empty, [without]).pass, false, "what alone fails the gate stays");
});
