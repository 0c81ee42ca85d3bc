import assert from "node:assert/strict";
import { test } from "node:test";
import { bodyOf, type Figure, type Load, type Target } from "./cases";
import {
  allowanceOf,
  type CaseResult,
  type Cost,
  caseTable,
  deliveredShare,
  figuresOf,
  firstRequestS,
  growthOf,
  judge,
  type Measured,
  mediansOf,
  notes,
  type Run,
  relativeError,
  spreadOf,
  type Truth,
  verdictLine,
} from "./figures";

const load: Load = { kind: "closed", streams: 10, requests: 2, tokens: 100, requestS: 1 };
const latency = (scale: number) => ({ mean: 50 * scale, p50: 49 * scale, p90: 60 * scale, p99: 70 * scale });
const truth: Truth = {
  clock: { zeroUnixNs: "1700000000000000000" },
  source: { sends: "ring", ring: 2000, transmit: 0, user: 0, drops: 0 },
  firstBeginNs: 5_250_000_000,
  outputTokens: 2000,
  requestCount: 20,
  windowS: 2,
  ttftMs: latency(1),
  itlMs: latency(0.2),
};
const measured: Measured = {
  requests: 20,
  failed: 0,
  tokens: 2000,
  spanS: 2.5,
  ttftMs: latency(1.02),
  itlMs: latency(0.21),
};
const cost: Cost = {
  ...{ code: 0, userS: 0.3, systemS: 0.1, wallS: 3, peakMB: 70 },
  ...{ startUnixNs: "1700000005000000000", stoppedS: 0 },
};

test("errors are measured minus true, relative ones to the truth", () => {
  const figures = figuresOf(load, cost, measured, truth);
  assert.equal(figures.ttftMeanErrorMs?.toFixed(6), "1.000000");
  assert.equal(figures.ttftP99ErrorMs?.toFixed(6), "1.400000");
  assert.equal(figures.itlP90Error?.toFixed(6), "0.050000");
  assert.equal(figures.cpuPerTokenUs?.toFixed(6), "200.000000");
  assert.equal(figures.tokensPerS, 800);
  assert.equal(figures.requestsPerS, 8);
  assert.equal(figures.mostInFlight, undefined, "what a client does not say is left out");
  assert.ok(Number.isNaN(relativeError(1, 0)));
});

test("the allowance of a percentile is 2 % of the truth and 0.1 ms, also where the truth is 0", () => {
  assert.equal(allowanceOf(0, 0), 0);
  assert.equal(allowanceOf(0.1, 0), 1);
  assert.equal(allowanceOf(9.98, 0).toFixed(1), "99.8", "a smoothed burst");
  assert.equal(allowanceOf(10.3, 10).toFixed(6), "1.000000");
  assert.equal(allowanceOf(9.7, 10).toFixed(6), "1.000000", "too short is as wrong as too long");
});

test("the first request is counted from the client's start, on one clock", () => {
  assert.equal(firstRequestS(cost, truth), 0.25);
  assert.ok(Number.isNaN(firstRequestS(cost, { ...truth, firstBeginNs: 0 })), "no request has no time");
});

test("the delivered share is the server's tokens a second over those of clients that never pause", () => {
  assert.equal(deliveredShare(load, truth), 1);
  assert.equal(deliveredShare(load, { ...truth, windowS: 4 }), 0.5);
  assert.equal(deliveredShare(load, { ...truth, outputTokens: 1000 }), 0.5);
});

test("what nobody paces has no share and no error", () => {
  const { requestS: _, ...unpaced } = load;
  const figures = figuresOf(unpaced, cost, measured, truth);
  assert.deepEqual(Object.keys(figures).sort(), [
    "completedShare",
    "cpuPerTokenUs",
    "cpuS",
    "firstRequestS",
    "peakMB",
    "requestsPerS",
    "tokensPerS",
  ]);
});

test("growth is what the largest sample after a tenth of the run has over the one at the tenth", () => {
  const rising = Array.from({ length: 40 }, (_, i) => 50 + i);
  assert.deepEqual(growthOf(rising), { tenthMB: 54, laterMB: 89, growthMB: 35 });
  const startOnly = [8, 90, 95, 92, ...Array<number>(36).fill(60)];
  assert.deepEqual(growthOf(startOnly), { tenthMB: 60, laterMB: 60, growthMB: 0 }, "start-up is no growth");
  const peak = [...Array<number>(30).fill(60), 200, ...Array<number>(9).fill(60)];
  assert.equal(growthOf(peak).growthMB, 140, "a peak that goes away counts");
  assert.ok(Number.isNaN(growthOf(rising.slice(0, 19)).growthMB), "a short run says nothing");
});

test("a spread is median and range", () => {
  assert.deepEqual(spreadOf([5, 1, 2]), { median: 2, min: 1, max: 5 });
  assert.deepEqual(spreadOf([1, 2]), { median: 1.5, min: 1, max: 2 });
});

function runOf(client: Run["client"], figures: Partial<Record<Figure, number>>, more: Partial<Run> = {}): Run {
  return { client, load, cost, measured, truth, figures, ...more };
}

test("medians are each client's own", () => {
  const medians = mediansOf([
    runOf("tokenclock", { cpuS: 1 }),
    runOf("floor", { cpuS: 10, peakMB: 2 }),
    runOf("tokenclock", { cpuS: 3 }),
    runOf("floor", { cpuS: 30 }),
  ]);
  assert.deepEqual(medians.tokenclock?.cpuS, { median: 2, min: 1, max: 3 });
  assert.deepEqual(medians.floor?.cpuS, { median: 20, min: 10, max: 30 });
  assert.deepEqual(medians.floor?.peakMB, { median: 2, min: 2, max: 2 });
});

const medians: CaseResult["medians"] = {
  tokenclock: {
    cpuPerTokenUs: { median: 9, min: 8, max: 10 },
    ttftMeanErrorMs: { median: -1.5, min: -2, max: 0 },
    tokensPerS: { median: 900_000, min: 1, max: 1 },
  },
  floor: { cpuPerTokenUs: { median: 3, min: 3, max: 3 } },
};
const target = (more: Partial<Target>): Target => ({
  what: "x",
  figure: "cpuPerTokenUs",
  of: "tokenclock",
  unit: "x",
  ...more,
});
const verdicts: { why: string; target: Target; value?: number; met?: boolean; line: RegExp }[] = [
  {
    why: "a ratio within",
    target: target({ per: "floor", atMost: 3.5 }),
    value: 3,
    met: true,
    line: /^met .*3(\.00)? x/,
  },
  {
    why: "a ratio beyond",
    target: target({ per: "floor", atMost: 2 }),
    value: 3,
    met: false,
    line: /^MISSED .*at most 2/,
  },
  { why: "a missing peer", target: target({ per: "xk6-sse", atMost: 0.25 }), line: /^not judged/ },
  {
    why: "an error below zero counts as one above",
    target: target({ figure: "ttftMeanErrorMs", atMost: 1, unit: "ms" }),
    value: -1.5,
    met: false,
    line: /^MISSED .*-1\.50? ms/,
  },
  {
    why: "a least value",
    target: target({ figure: "tokensPerS", atLeast: 800_000, unit: "tokens/s" }),
    value: 900_000,
    met: true,
    line: /900000 tokens\/s \(at least 800000 tokens\/s\)/,
  },
  { why: "a share", target: target({ atMost: 0.05, unit: "" }), value: 9, met: false, line: /at most 5\.0 %/ },
];
for (const { why, target: each, value, met, line } of verdicts) {
  test(`verdict: ${why}`, () => {
    const verdict = judge(each, medians);
    assert.equal(verdict.value, value);
    assert.equal(verdict.met, met);
    assert.match(verdictLine(verdict), line);
  });
}

test("the table has medians with the truth of the same runs, ratios to the references, and ranges of errors", () => {
  const itl = (p50: number) => ({ ...measured, itlMs: { ...measured.itlMs, p50 } });
  const runs = [
    runOf("tokenclock", { cpuS: 1, peakMB: 100 }, { measured: itl(9.9) }),
    runOf("tokenclock", { cpuS: 2, peakMB: 100 }, { measured: itl(9.7) }),
    runOf("vllm-rs", { cpuS: 3, peakMB: 50 }, { measured: itl(10) }),
    runOf("floor", { cpuS: 0.5, peakMB: 2 }, { measured: itl(9.8) }),
  ];
  const result: CaseResult = { name: "n", what: "w", runs, medians: mediansOf(runs), verdicts: [], skipped: {} };
  const [heading, ours, range, peer] = caseTable(result).split("\n");
  assert.match(
    heading ?? "",
    /^client +CPU s +\/vllm-rs +\/floor +MB +\/vllm-rs +\/floor +TTFT mean \(true\) +ITL p50 \(true\)/,
  );
  assert.match(ours ?? "", /^tokenclock +1\.50 +0\.50 +3\.00 +100 +2\.00 +50\.00 +51\.00 \(50\.00\) +9\.80 \(9\.80\)/);
  assert.match(range ?? "", /^ +1\.\.2 +100\.\.100 +1\.00\.\.1\.00 +-0\.10\.\.0\.10/, "measured minus true");
  assert.match(peer ?? "", /^vllm-rs +3 +1\.00 +6\.00/);
});

test("an unpaced case has throughput and no times", () => {
  const { requestS: _, ...unpaced } = load;
  const runs = [runOf("floor", { cpuPerTokenUs: 0.5, tokensPerS: 800 }, { load: unpaced })];
  const result: CaseResult = { name: "n", what: "w", runs, medians: mediansOf(runs), verdicts: [], skipped: {} };
  assert.match(caseTable(result), /^client +us\/token +tokens\/s +\/floor\nfloor +0\.500 +800 +1\.00$/);
});

test("a busy machine and a client that does not trust itself are noted", () => {
  const bound = { ...measured, failed: 3, validity: "CLIENT-BOUND: late" };
  const runs = [
    runOf("tokenclock", {}, { othersShare: 0.01 }),
    runOf("tokenclock", {}, { othersShare: 0.3, measured: bound }),
  ];
  const result: CaseResult = { name: "n", what: "w", runs, medians: {}, verdicts: [], skipped: {} };
  assert.deepEqual(
    notes(result, false).map((line) => line.replace(/^note +/, "")),
    [
      "others used 1.0 % to 30.0 % of the processors during the runs: errors and shares are theirs too",
      "tokenclock: 3 requests failed",
      "tokenclock of itself: CLIENT-BOUND: late",
    ],
  );
  assert.equal(notes({ ...result, runs: [runOf("floor", {}, { othersShare: 0.01 })] }, false).length, 0);
  assert.equal(notes({ ...result, runs: [runOf("floor", {}, { othersShare: 0.6 })] }, true).length, 0);
});

test("a truth that is not the network's, and a client that was stopped, are noted", () => {
  const source = { ...truth.source, sends: "user", why: "no packet ring" };
  const runs = [
    runOf("tokenclock", {}, { truth: { ...truth, source } }),
    runOf("floor", {}, { truth: { ...truth, source: { ...truth.source, user: 3 } }, cost: { ...cost, stoppedS: 3 } }),
  ];
  const result: CaseResult = { name: "n", what: "w", runs, medians: {}, verdicts: [], skipped: {} };
  assert.deepEqual(
    notes(result, false).map((line) => line.replace(/^note +/, "")),
    [
      "the truth's times are from source user: no packet ring",
      "the truth of floor has 3 events whose packet was not seen",
      "floor was stopped for 3.0 s",
    ],
  );
});

test("all clients send the same body", () => {
  const body = JSON.parse(bodyOf(load)) as { max_tokens: number; stream: boolean };
  assert.equal(body.max_tokens, 100);
  assert.equal(body.stream, true);
  assert.equal(JSON.parse(bodyOf({ ...load, kind: "json", tokens: 1 })).output_tokens, 1);
});
