import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng } from "../workload/rng";
import { driftLimits, driftOf, driftText } from "./drift";
import type { Slice } from "./level-summary";
import { statsOf } from "./percentile";

const limits = { percent: 5, memoryMB: 20 };

/** Ten parts of a window: medians grow by `growth` from each part to the next, with noise of `noise` around them. */
function soak(growth: number, { noise = 0.004, seed = 1, count = 40, parts = 10 } = {}): Slice[] {
  const rng = seededRng(seed, 5);
  const noisy = (value: number) => value * (1 + noise * (rng() + rng() + rng() - 1.5) * 2);
  return Array.from({ length: parts }, (_, part) => {
    const factor = 1 + growth * part;
    const stats = (value: number) => ({ ...statsOf([noisy(value * factor)]), count });
    return {
      startS: part * 60,
      durationS: 60,
      requests: count,
      completed: count,
      failed: 0,
      ttftMs: stats(100),
      tpotMs: stats(10),
      outputThroughput: noisy(500 / factor),
      clientMB: 80,
    };
  });
}

test("a server that slows by 1 % a minute is found in ten minutes: TTFT, TPOT and throughput", () => {
  const slices = soak(0.01);
  for (const { metric, worse, percent } of driftOf(slices)) {
    assert.ok(worse, metric);
    assert.ok(Math.abs(Math.abs(percent) - 9) < 2, `${metric} ${percent}`);
  }
  assert.deepEqual(
    driftLimits({ name: "soak", slices }, limits).map(({ metric, result, expression }) => [metric, result, expression]),
    [
      ["llm_ttft", "violated", "drift<=5%"],
      ["llm_tpot", "violated", "drift<=5%"],
      ["llm_output_throughput", "violated", "drift<=5%"],
      ["client_memory", "passed", "growth<=20MB"],
    ],
  );
  const [ttft] = driftLimits({ name: "soak", slices }, limits);
  assert.ok((ttft?.margin ?? 0) < 0 && (ttft?.value ?? 0) > 5);
  assert.ok(
    driftLimits({ name: "soak", slices }, { ...limits, percent: 15 }).every(({ result }) => result === "passed"),
    "within the limit",
  );
});

test("replies without tokens have no throughput: its drift is not measured, and passes nothing", () => {
  const slices = soak(0).map((slice) => ({ ...slice, outputThroughput: 0 }));
  const throughput = driftLimits({ name: "soak", slices }, limits).find(
    ({ metric }) => metric === "llm_output_throughput",
  );
  assert.deepEqual([throughput?.result, throughput?.value], ["not measured", undefined]);
});

test("a client's memory is judged by its growth over the window, of several clients the one that grows most", () => {
  const memory = (of: (part: number) => Partial<Slice>) =>
    driftLimits({ name: "soak", slices: soak(0).map((slice, part) => ({ ...slice, ...of(part) })) }, limits).find(
      ({ metric }) => metric === "client_memory",
    );
  const rows: [string, (part: number) => Partial<Slice>, string, number | undefined][] = [
    ["it stays", () => ({ clientMB: 80 }), "passed", 0],
    ["it grows by 2 MB a part", (part) => ({ clientMB: 80 + 2 * part }), "passed", 18],
    ["it grows by 3 MB a part", (part) => ({ clientMB: 80 + 3 * part }), "violated", 27],
    ["one part that is high is no growth", (part) => ({ clientMB: part === 9 ? 900 : 80 }), "passed", 0],
    [
      "the second runner grows, the largest does not",
      (part) => ({ clientMB: 500, runnersMB: [500, 80 + 3 * part] }),
      "violated",
      27,
    ],
    ["a part without a value", (part) => ({ clientMB: part === 4 ? undefined : 80 }), "not measured", undefined],
    ["of a runner", (part) => ({ clientMB: 80, runnersMB: [80, part === 4 ? 0 : 80] }), "not measured", undefined],
  ];
  for (const [why, of, result, value] of rows) {
    const judged = memory(of);
    assert.equal(judged?.result, result, why);
    assert.equal(judged?.value === undefined ? undefined : Math.round(judged.value * 1e6) / 1e6, value, why);
  }
});

test("one that gets faster drifts, but not for the worse", () => {
  for (const { metric, worse, p } of driftOf(soak(-0.02))) {
    assert.ok(!worse && p < 0.01, metric);
  }
});

test("a steady server passes: false alarms of a run are about as rare as they are said to be", () => {
  let alarms = 0;
  for (let seed = 0; seed < 1000; seed++) {
    // Any drift counts: a limit of 0 leaves the trend alone.
    if (
      driftLimits({ name: "soak", slices: soak(0, { seed, noise: 0.05 }) }, { ...limits, percent: 0 }).some(
        ({ result }) => result === "violated",
      )
    )
      alarms++;
  }
  assert.ok(alarms <= 10, `${alarms} of 1000; at most half of 1 % is for the worse`);
});

test("what cannot be judged is not measured: a thin part, too few parts, none", () => {
  const thin = soak(0.01).map((slice, part) =>
    part === 6 ? { ...slice, ttftMs: { ...slice.ttftMs, count: 4 } } : slice,
  );
  assert.deepEqual(
    driftLimits({ name: "soak", slices: thin }, limits).map(({ result }) => result),
    ["not measured", "violated", "violated", "passed"],
  );
  assert.match(driftText({ name: "soak", slices: thin }, limits), /llm_ttft: drift is not known, part 7 has 4 values/);
  for (const slices of [soak(0.01, { parts: 7 }), undefined])
    assert.ok(
      driftLimits({ name: "soak", ...(slices && { slices }) }, limits).every(({ result }) => result === "not measured"),
    );
});

test("the table has a line a part, and each value's drift below it", () => {
  const text = driftText({ name: "soak", slices: soak(0.01) }, limits);
  assert.match(text, /^soak by part\nfrom s +requests +failed +TTFT p50 +TPOT p50 +tok\/s +client MB\n/);
  assert.equal(text.split("\n\n")[0]?.split("\n").length, 12);
  assert.match(text, /llm_tpot: \+\d+\.\d % over the window, p < 0\.001: worse/);
  assert.match(text, /llm_output_throughput: -\d+\.\d % over the window/);
});
