import assert from "node:assert/strict";
import { test } from "node:test";
import { closed, load } from "../../test/support/capacity-trials";
import { seededRng } from "../workload/rng";
import {
  brokenRules,
  type CurvePoint,
  curveDeviations,
  curvePoints,
  curveText,
  defaultConcurrencies,
  pointDurationMs,
  regionOf,
  regionsOf,
  stepCorners,
  stepOf,
} from "./curve";
import { foldLevel } from "./fold";
import type { LevelSummary, Stats } from "./level-summary";
import type { RequestLine } from "./records";

test("regions are those of the rules", () => {
  const ends: [min: number, max: number, lowEnd: number, mediumEnd: number][] = [
    [32, 8192, 52, 437],
    [1, 256, 7, 41],
    [16, 1024, 26, 117],
  ];
  for (const [min, max, lowEnd, mediumEnd] of ends) {
    const regions = regionsOf(min, max);
    assert.deepEqual(regions, { min, lowEnd, mediumEnd, max });
    const at = [min - 1, min, min + 1, lowEnd, lowEnd + 1, mediumEnd, mediumEnd + 1, max, max + 1];
    assert.deepEqual(
      at.map((concurrency) => regions && regionOf(concurrency, regions)),
      [undefined, "Ultra Low", "Low", "Low", "Medium", "Medium", "High", "High", undefined],
    );
  }
});

test("there are no regions outside of what the rules allow", () => {
  for (const [min, max] of [
    [33, 100],
    [0, 100],
    [1, 32],
    [1, 1],
  ] as const)
    assert.equal(regionsOf(min, max), undefined);
});

test("the default points keep the rules wherever seven points fit", () => {
  for (let min = 1; min <= 32; min++) {
    for (const max of [min + 32, 128, 256, 1000, 8192, 100_000]) {
      if (max - min < 32) continue;
      const points = defaultConcurrencies(min, max);
      assert.deepEqual(brokenRules(points), [], `${min} to ${max}: ${points}`);
      assert.deepEqual([points.length, points[0], points.at(-1)], [7, min, max]);
    }
  }
  const narrow = brokenRules(defaultConcurrencies(32, 33)).join();
  assert.match(narrow, /2 points; the rules ask for 7/);
  assert.match(
    narrow,
    /no point in Medium and in High \(Ultra Low 32, Low 33, Medium of no concurrency, High of no concurrency\)/,
  );
});

test("each broken rule is named", () => {
  const broken: [points: number[], what: RegExp[]][] = [
    [[1, 4, 7, 20, 41, 100, 256], []],
    [[256, 100, 41, 20, 7, 4, 1], []],
    [[1, 4, 7, 20, 41, 256], [/^6 points; the rules ask for 7/]],
    [
      [1, 4, 7, 20, 41, 41, 256],
      [/twice/, /^6 points/],
    ],
    [[33, 40, 50, 60, 70, 80, 256], [/^the lowest concurrency is 33/]],
    [[1, 2, 3, 4, 5, 6, 32], [/^the highest concurrency is 32/]],
    [[1, 2, 3, 4, 5, 6, 256], [/^no point in Medium \(Ultra Low 1, Low 2-7, Medium 8-41, High 42-256\)$/]],
    [[1, 50, 60, 70, 80, 90, 256], [/^no point in Low and in Medium/]],
    [Array.from({ length: 33 }, (_, i) => i + 1), [/^33 points; the rules allow 32$/]],
  ];
  for (const [points, what] of broken) {
    const said = brokenRules(points);
    assert.equal(said.length, what.length, `${points}: ${said}`);
    for (const [i, pattern] of what.entries()) assert.match(said[i] ?? "", pattern);
  }
});

test("durations: 600 s for Ultra Low and 1200 s for the rest in full", () => {
  assert.deepEqual(
    [1, 2, 256].map((concurrency) => pointDurationMs(concurrency, 1, "full")),
    [600_000, 1_200_000, 1_200_000],
  );
  assert.ok(pointDurationMs(1, 1, "short") < pointDurationMs(2, 1, "short"));
});

const point = (concurrency: number, tpsPerUser: number | undefined, systemTps: number | undefined, failed = 0) =>
  ({
    ...{ name: `c${concurrency}`, concurrency, durationS: 1200, requests: 10, failed, onStep: false, steady: "yes" },
    ...(tpsPerUser !== undefined && { tpsPerUser }),
    ...(systemTps !== undefined && { systemTps }),
  }) as CurvePoint;

test("the step has the points that no other dominates, and no interpolation", () => {
  const points = [
    point(1, 100, 100),
    point(2, 90, 170),
    // Slower for the user than c2 and less in all.
    point(4, 80, 160),
    // As fast as c2 with less in all.
    point(5, 90, 150),
    point(8, 40, 300),
    // Would be the best of all, but a request failed.
    point(16, 50, 900, 1),
    point(32, undefined, 800),
    point(64, 120, undefined),
  ];
  const step = stepOf(points);
  assert.deepEqual(
    step.map(({ name }) => name),
    ["c8", "c2", "c1"],
  );
  const corners = stepCorners(step);
  assert.deepEqual(corners, [
    [0, 300],
    [40, 300],
    [40, 170],
    [90, 170],
    [90, 100],
    [100, 100],
  ]);
  assert.deepEqual(stepCorners([]), []);
  // Two equal points dominate neither.
  assert.equal(stepOf([point(1, 10, 20), point(2, 10, 20)]).length, 2);
  const said = curveDeviations(points).join("\n");
  assert.match(said, /^c1, c2, c4, c5, c8, c16, c32, c64: |^c16: requests failed/m);
  assert.match(said, /^c32, c64: without TPOT or throughput/m);
});

const stats = (count: number, p90: number) => ({ count, p90 }) as Stats;
const level = (concurrency: number, more: Partial<LevelSummary> = {}) =>
  ({
    ...{ name: `c${concurrency}`, concurrency, durationS: concurrency === 1 ? 600 : 1200, requests: 100, failed: 0 },
    ...{ windowStartS: 5, outputThroughput: 50 * concurrency, ttftMs: stats(100, 30 + concurrency) },
    ...{ tpotMs: stats(100, 10 + concurrency / 10), steady: { state: "steady", fromS: 5, untilS: 605 } },
    ...more,
  }) as LevelSummary;
const whole = [1, 4, 7, 20, 41, 100, 256];

test("a level's figures become its point", () => {
  const [first, , , , , , last] = curvePoints(whole.map((concurrency) => level(concurrency)));
  assert.deepEqual(
    [first?.region, first?.ttftP90Ms, first?.tpsPerUser, first?.systemTps, first?.onStep, first?.steady],
    ["Ultra Low", 31, 1000 / 10.1, 50, true, "yes"],
  );
  assert.deepEqual([last?.region, last?.tpsPerUser, last?.systemTps], ["High", 1000 / 35.6, 12_800]);
  const empty = curvePoints([level(1, { ttftMs: stats(0, 0), tpotMs: stats(0, 0), outputThroughput: 0 })])[0];
  assert.deepEqual(
    [empty?.region, empty?.ttftP90Ms, empty?.tpsPerUser, empty?.systemTps, empty?.onStep],
    [undefined, undefined, undefined, undefined, false],
  );
});

test("only points, durations and levels as the rules ask are said to be by them", () => {
  const text = (change: (concurrency: number) => Partial<LevelSummary>) =>
    curveText(whole.map((concurrency) => level(concurrency, change(concurrency))));
  assert.match(
    text(() => ({})),
    /\n\nOffline \(the highest point\): 12800 tok\/s with 256 clients\npoints and durations are by the rules$/,
  );
  assert.match(
    text((at) => (at === 41 ? { durationS: 1000 } : {})),
    /\nnot by the rules: c41: shorter than the 600 s \(Ultra Low\) and 1200 s/,
  );
  assert.match(
    text((at) => (at === 1 ? { durationS: 599 } : {})),
    /\nnot by the rules: c1: shorter than/,
  );
  assert.match(
    text((at) => (at === 7 ? { steady: { state: "never", fromS: 5, untilS: 605 } } : {})),
    /\nnot by the rules: c7: never steady$/,
  );
  assert.match(
    text((at) => (at === 7 ? { failed: 1 } : {})),
    /Low +7 .* no +yes\n[\s\S]*\nnot by the rules: c7: requests failed/,
  );
  assert.match(curveText([level(1), level(64)]), /\nnot by the rules: 2 points; the rules ask for 7/);
});

/**
 * A whole full-profile run on a clock of its own: clients whose TPOT is lognormal around a step that grows by 1 ms a client, so that
 * its p90 and the throughput are known by formula, for as long as the rules ask.
 */
test("a full run: durations, percentiles and the step are those of the formula, and by the rules", () => {
  const spread = 0.1;
  const tokens = 64;
  const concurrencies = defaultConcurrencies(1, 64);
  const levels = concurrencies.map((clients) => {
    const durationMs = pointDurationMs(clients, 1, "full");
    const requests: RequestLine[] = [];
    const model = closed.model(seededRng(clients, 1), 0);
    load(closed, model, clients, seededRng(clients, 2), (index, scheduledMs, endMs) => {
      const [sentNs, endNs] = [scheduledMs, endMs].map((ms) => Math.round(ms * 1e6)) as [number, number];
      // The first token after one step of the 64, the others at the end of the other 63.
      const stepNs = (endNs - sentNs) / tokens;
      const arrivals: [number, number][] = [
        [stepNs, 1],
        [(tokens - 1) * stepNs, tokens - 1],
      ];
      requests.push({
        ...{ type: "request", level: `c${clients}`, phase: "steady", index, outcome: "completed", status: 200 },
        ...{ scheduledNs: sentNs, startedNs: sentNs, sentNs: Math.max(1, sentNs), firstOutputNs: sentNs + stepNs },
        ...{ lastOutputNs: endNs, endNs, arrivals, outputTokens: tokens, inputTokens: 1 },
      });
      return endMs >= durationMs;
    });
    const window = { type: "level" as const, name: `c${clients}`, concurrency: clients, openNs: 0 };
    return foldLevel(window.name, requests, { ...window, closeNs: durationMs * 1e6, endNs: durationMs * 1e6 }, {});
  });
  assert.deepEqual(
    levels.map(({ durationS }) => durationS),
    [600, 1200, 1200, 1200, 1200, 1200, 1200],
  );
  const points = curvePoints(levels);
  const near = (actual: number | undefined, truth: number, share: number, what: string) =>
    assert.ok(Math.abs((actual ?? Number.NaN) / truth - 1) < share, `${what}: ${actual} for ${truth}`);
  for (const { concurrency, tpsPerUser, ttftP90Ms, systemTps } of points) {
    const stepMs = 10 + concurrency;
    // z of 90 % is 1.28155; the mean of a lognormal is exp(spread^2 / 2) times its median.
    near(tpsPerUser, 1000 / (stepMs * Math.exp(1.28155 * spread)), 0.02, `tokens/s per user of ${concurrency}`);
    near(ttftP90Ms, stepMs * Math.exp(1.28155 * spread), 0.02, `TTFT p90 of ${concurrency}`);
    near(
      systemTps,
      (concurrency * 1000) / (stepMs * Math.exp(spread ** 2 / 2)),
      0.02,
      `system tokens/s of ${concurrency}`,
    );
  }
  // More clients give more in all and less to each: every point is on the step.
  assert.deepEqual(
    points.map(({ onStep }) => onStep),
    points.map(() => true),
  );
  assert.deepEqual(curveDeviations(points), []);
  assert.match(
    curveText(levels),
    /\nOffline \(the highest point\): 8\d\d tok\/s with 64 clients\npoints and durations are by the rules$/,
  );
});
