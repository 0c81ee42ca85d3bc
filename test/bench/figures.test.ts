import assert from "node:assert/strict";
import { test } from "node:test";
import { bodyOf, type Figure, type Load, type Target } from "./cases";
import {
  type CaseResult,
  caseTable,
  deliveredShare,
  figuresOf,
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
const cost = { code: 0, userS: 0.3, systemS: 0.1, wallS: 3, peakMB: 70 };

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

test("the table has a line a client, a range where there were several runs, and no empty column", () => {
  const runs = [
    runOf("tokenclock", { cpuS: 1.25, deliveredShare: 0.5 }),
    runOf("tokenclock", { cpuS: 2.25, deliveredShare: 1 }),
    runOf("floor", { cpuS: 0.5 }),
  ];
  const result: CaseResult = { name: "n", what: "w", runs, medians: mediansOf(runs), verdicts: [], skipped: {} };
  const lines = caseTable(result).split("\n");
  assert.equal(lines.length, 4);
  assert.match(lines[0] ?? "", /^client +CPU s +load$/);
  assert.match(lines[1] ?? "", /^tokenclock +1\.75 +75\.0 %$/);
  assert.match(lines[2] ?? "", /^ +1\.25\.\.2\.25 +50\.0 %\.\.100\.0 %$/);
  assert.match(lines[3] ?? "", /^floor +0\.50?0?$/);
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

test("all clients send the same body", () => {
  const body = JSON.parse(bodyOf(load)) as { max_tokens: number; stream: boolean };
  assert.equal(body.max_tokens, 100);
  assert.equal(body.stream, true);
  assert.equal(JSON.parse(bodyOf({ ...load, kind: "json", tokens: 1 })).output_tokens, 1);
});
