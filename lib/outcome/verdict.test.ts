import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunReport, Validity } from "../figures/level-summary";
import {
  clientLines,
  describeThreshold,
  hostTexts,
  judge,
  judgedThresholds,
  pausesText,
  scriptMetrics,
  stampsText,
} from "./verdict";

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

test("a violated threshold is reported with metric, level, value, limit and unit", () => {
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

test("all thresholds passed on a valid run is a pass", () => {
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

test("a cold run whose input came from the prefix cache does not pass, and its gauge adds nothing to the reasons", () => {
  const judged = [{ metric: "llm_cache_bound", expression: "value<1", value: 1, ok: false }];
  assert.deepEqual(judge(report("CACHE-BOUND", 5, ["level c8: 94 % of the input"]), judged), {
    pass: false,
    validity: "CACHE-BOUND",
    reasons: ["CACHE-BOUND: level c8: 94 % of the input"],
  });
  assert.equal(judge(report("VALID", 5), judged).pass, false, "a gauge without a reason still counts");
});

test("a run that sent nothing does not pass, and says only that", () => {
  assert.deepEqual(judge(report("VALID", 0), judgedThresholds(metrics)).reasons, ["no request was sent"]);
});

const ttft = "llm_ttft{level:c8,phase:steady}";
const counted = "llm_samples{level:c8,metric:llm_ttft}";
const gate = (metric: string, expression: string, value: number, ok: boolean) => ({ metric, expression, value, ok });

test("a limit that passed on nothing is reported by the metric that lacks samples", () => {
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

const stamps = (ring: number, socket: number, user: number, why?: string): Pick<Validity, "stamps"> => ({
  stamps: { source: "ring", why, ring, socket, user },
});

test("the sources of the stamps are reported with their shares, and why there is no better one", () => {
  assert.equal(stampsText(stamps(1, 0, 0)), "ring 100 %");
  assert.equal(stampsText(stamps(0, 1, 0, "it needs CAP_NET_RAW")), "socket 100 % (it needs CAP_NET_RAW)");
  assert.equal(stampsText(stamps(0.995, 0.004, 0.001)), "ring 99.5 %, socket 0.400 %, user 0.100 %");
  assert.equal(stampsText(stamps(0, 0, 0, "nothing came")), "", "nothing was stamped");
  assert.equal(stampsText({}), "", "a run of an earlier version");
});

test("pauses are reported by kind; what did not happen and what the host does not say is left out", () => {
  assert.equal(pausesText({ count: 2, total: 3000, longest: 1501 }), "2 times, 3000 ms in total, 1501 ms the longest");
  assert.equal(pausesText({ count: 1, total: 40, longest: 40 }), "once, 40 ms in total");
  assert.equal(pausesText({ count: 0, total: 10, longest: 0 }), "10 ms in total");
  assert.equal(pausesText({ count: 0, total: 0, longest: 0 }), "none");
  const nothing = { count: 0, total: 0, longest: 0 };
  assert.deepEqual(hostTexts({ stoppedMs: nothing, suspendedMs: nothing, stolenMs: nothing }), []);
  assert.deepEqual(
    hostTexts({ stoppedMs: { count: 1, total: 40, longest: 40 }, throttledMs: { count: 3, total: 9.5, longest: 0 } }),
    ["stopped once, 40 ms in total", "throttled 3 times, 9.50 ms in total"],
  );
});

test("the terminal names stamps, pauses and notes of a run that measured, and of no other", () => {
  const of = (completed: number) => {
    const base = report("VALID", completed);
    const validity = {
      ...base.validity,
      ...stamps(1, 0, 0),
      stoppedMs: { count: 1, total: 40, longest: 40 },
      notes: ["n"],
    };
    return clientLines({ ...base, validity });
  };
  assert.deepEqual(of(5), ["stamps: ring 100 %", "client: stopped once, 40 ms in total", "note: n"]);
  assert.deepEqual(of(0), []);
  const stolen = (longest: number) => {
    const base = report("VALID", 5);
    return clientLines({ ...base, validity: { ...base.validity, stolenMs: { count: 0, total: 90, longest } } });
  };
  assert.deepEqual(stolen(0), [], "a little, now and then");
  assert.deepEqual(stolen(30), ["client: stolen 90 ms in total, 30 ms the longest"]);
  assert.deepEqual(clientLines(report("UNJUDGED", 5)), [], "xk6-sse knows nothing of its stamps");
});

const noValues = { count: 0, avg: 0, min: 0, max: 0, "p(95)": 0 };

test("a threshold that the script named on a metric of the project is empty under tags that no sample has", () => {
  const key = "llm_ttft{client:larg}";
  const of = { [key]: { type: "trend", values: noValues, thresholds: { "p(95)<2000": { ok: true } } } };
  assert.equal(judgedThresholds(of)[0]?.empty, undefined, "those of a profile have their samples counted");
  const [judged] = judgedThresholds(of, { [key]: ["p(95)<2000"] });
  assert.deepEqual([judged?.empty, judged?.script], [true, true]);
});

test("the script's own metrics are reported with tags, type and unit; k6's and the project's are not", () => {
  const trend = { count: 2, avg: 3, min: 2, max: 4 };
  const of = {
    answer_tokens: { type: "trend", contains: "default", values: trend },
    "answer_tokens{turn:t1,url:'http://h:1/x'}": { type: "trend", contains: "default", values: noValues },
    think: { type: "trend", contains: "time", values: trend },
    orders: { type: "counter", contains: "default", values: { count: 3, rate: 0.5 } },
    late: { type: "rate", contains: "default", values: { rate: 0.5, passes: 1, fails: 1 } },
    depth: { type: "gauge", contains: "data", values: { value: 2, min: 1, max: 2 } },
    http_req_duration: { type: "trend", contains: "time", values: trend },
    "http_req_duration{expected_response:true}": { type: "trend", contains: "time", values: trend },
    llm_ttft: { type: "trend", contains: "time", values: trend },
    data_sent: { type: "counter", contains: "data", values: { count: 1, rate: 1 } },
    checks: { type: "rate", contains: "default", values: { rate: 1, passes: 1, fails: 0 } },
    data_quality: { type: "gauge", contains: "default", values: { value: 1, min: 1, max: 1 } },
  };
  assert.deepEqual(scriptMetrics(of), [
    { name: "answer_tokens", type: "trend", values: trend },
    { name: "answer_tokens", tags: { turn: "t1", url: "http://h:1/x" }, type: "trend", values: noValues, empty: true },
    { name: "think", type: "trend", unit: "ms", values: trend },
    { name: "orders", type: "counter", values: { count: 3, rate: 0.5 } },
    { name: "late", type: "rate", values: { rate: 0.5, passes: 1, fails: 1 } },
    { name: "depth", type: "gauge", unit: "bytes", values: { value: 2, min: 1, max: 2 } },
    { name: "data_quality", type: "gauge", values: { value: 1, min: 1, max: 1 } },
  ]);
});
