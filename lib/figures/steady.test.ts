import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng } from "../workload/rng";

import type { LevelSummary, Second } from "./level-summary";
import { steadyNotes, steadyStateOf, steadyWord } from "./steady";

interface Server {
  /** Mean latency in ms of a request that begins at that second. */
  latencyMs(atS: number): number;
  clients?: number;
  /** Poisson arrivals a second instead of clients; served by as many slots as `clients`. */
  rate?: number;
  forS: number;
  openS?: number;
}

/** A level on a simulated server as its summary and seconds: exponential around the mean, 10 tokens a request. */
function measure({ latencyMs, clients = 8, rate, forS, openS = 2.5 }: Server, seed: number) {
  const rng = seededRng(seed, 1);
  const draw = (mean: number) => -mean * Math.log(1 - rng());
  const requests: { sentS: number; endS: number }[] = [];
  const free = Array.from({ length: clients }, () => 0);
  for (let atS = 0; ; ) {
    const slot = free.indexOf(Math.min(...free));
    const freeS = free[slot] ?? 0;
    if (rate !== undefined) atS += draw(1 / rate);
    const sentS = rate === undefined ? freeS : atS;
    if (sentS > forS) break;
    const beginS = Math.max(sentS, freeS);
    // Half of a latency is the same for all requests, as of answers of one length.
    const endS = beginS + (latencyMs(beginS) / 2 + draw(latencyMs(beginS) / 2)) / 1000;
    free[slot] = endS;
    requests.push({ sentS, endS });
  }
  const zero = { scheduled: 0, sent: 0, succeeded: 0, failed: 0, scheduledFailed: 0, meanMs: 0, p50Ms: 0, p95Ms: 0 };
  const seconds: Second[] = Array.from({ length: Math.ceil(forS) }, (_, t) => {
    const ended = requests.filter(({ endS }) => endS >= t && endS < t + 1);
    const sum = ended.reduce((total, { sentS, endS }) => total + endS - sentS, 0);
    return {
      ...{ ...zero, t, succeeded: ended.length, outputTokens: 10 * ended.length },
      meanMs: ended.length > 0 ? (1000 * sum) / ended.length : 0,
      inFlight: requests.filter(({ sentS, endS }) => sentS < t + 1 && endS >= t + 1).length,
    };
  });
  const level = {
    ...{ name: "c8", windowStartS: openS, durationS: forS, completed: requests.length, requests: requests.length },
    ...(rate === undefined ? { concurrency: clients } : { rate }),
  } as LevelSummary;
  return { level, seconds, state: steadyStateOf(level, [level], seconds) };
}

const seeds = Array.from({ length: 200 }, (_, k) => k + 1);
const count = (server: Server, state: string) =>
  seeds.filter((seed) => measure(server, seed).state?.state === state).length;

test("a steady server is seldom taken for an unsteady one", () => {
  assert.ok(count({ latencyMs: () => 400, forS: 20 }, "steady") >= 196, "8 clients, 20 s");
  assert.ok(count({ latencyMs: () => 400, forS: 60 }, "steady") >= 196, "8 clients, 60 s");
  assert.ok(count({ latencyMs: () => 300, clients: 8, rate: 15, forS: 40 }, "steady") >= 194, "15 requests a second");
});

test("a server that slows all the time is never steady", () => {
  const slowing = (atS: number) => 300 * (1 + atS / 40);
  assert.ok(count({ latencyMs: slowing, clients: 16, forS: 40 }, "never") >= 196, "twice as slow after 40 s");
  const gettingFaster = (atS: number) => 600 / (1 + atS / 40);
  assert.ok(count({ latencyMs: gettingFaster, clients: 16, forS: 40 }, "never") >= 190, "twice as fast");
});

test("a rate that a server cannot keep up with is never steady", () => {
  // 8 slots of 500 ms serve 16 requests a second.
  assert.ok(count({ latencyMs: () => 500, rate: 20, forS: 40 }, "never") >= 196);
});

test("a server that is cold at first is steady from then on", () => {
  const cold = { latencyMs: (atS: number) => (atS < 6 ? 1200 - 150 * atS : 300), clients: 16, forS: 40, openS: 2.5 };
  let later = 0;
  for (const seed of seeds) {
    const { state, level } = measure(cold, seed);
    assert.equal(state?.state, "steady", `${seed}: ${JSON.stringify(state)}`);
    // Not before most of the way down is over, and not only at the end.
    if ((state?.fromS ?? 0) > level.windowStartS) {
      later++;
      assert.ok((state?.fromS ?? 0) <= level.windowStartS + 0.3 * 40 + 2, JSON.stringify(state));
      assert.match(steadyNotes([{ ...level, steady: state }]).join(), /^c8 was steady only after \S+ s of its window/);
    }
  }
  assert.ok(later >= 190, `${later} of ${seeds.length} cut it off`);
});

test("a window of too few slices is unknown, however it went", () => {
  const short = measure({ latencyMs: (atS) => 300 * (1 + atS), forS: 7 }, 1).state;
  assert.equal(short?.state, "unknown");
  assert.match(short?.why ?? "", /7 s are too short: 8 slices of \d s are needed/);
  // Slices are twice as long as requests: what one does to the next is no trend.
  assert.equal(measure({ latencyMs: () => 4000, forS: 40 }, 1).state?.state, "unknown");
});

test("only whole seconds of the level's own window count", () => {
  const { level, seconds } = measure({ latencyMs: () => 300, forS: 20, openS: 2.5 }, 3);
  // The level before it was slower and slower.
  const before = Array.from({ length: 30 }, (_, t) => ({ ...(seconds[0] as Second), t, meanMs: 1000 + 100 * t }));
  const shifted = seconds.map((second) => ({ ...second, t: second.t + 30 }));
  const earlier = { ...level, name: "c1", durationS: 30 };
  const later = { ...level, windowStartS: 32.5 };
  const state = steadyStateOf(later, [earlier, later], [...before, ...shifted]);
  assert.deepEqual([state?.state, state?.fromS, state?.untilS], ["steady", 32.5, 52.5]);
});

test("a level whose rate changes and a burst need not be steady", () => {
  const { level, seconds } = measure({ latencyMs: (atS) => 300 * (1 + atS), forS: 20 }, 1);
  const { concurrency: _, ...burst } = level;
  const rising = measure({ latencyMs: (atS) => 300 * (1 + atS), rate: 15, forS: 20 }, 1);
  assert.equal(rising.state?.state, "never", "a fixed rate");
  const ramp = { ...rising.level, labels: { load: "changing" } };
  for (const [each, of] of [
    [burst, seconds],
    [ramp, rising.seconds],
  ] as const) {
    assert.equal(steadyStateOf(each, [each], of), undefined);
    assert.equal(steadyWord(each), "");
  }
});

test("what has no completed request is unknown, not steady", () => {
  const { level, seconds } = measure({ latencyMs: () => 300, forS: 20 }, 1);
  assert.equal(steadyStateOf({ ...level, completed: 0 }, [level], seconds)?.state, "unknown");
  const hole = seconds.map((second) => (second.t === 9 ? { ...second, succeeded: 0, meanMs: 0 } : second));
  assert.equal(steadyStateOf(level, [level], hole)?.state, "unknown");
});

test("levels that run at the same time are not distinguished by the run's seconds", () => {
  const { level, seconds } = measure({ latencyMs: () => 300, forS: 20 }, 1);
  const state = steadyStateOf(level, [level, { ...level, name: "c2", windowStartS: 10 }], seconds);
  assert.equal(state?.state, "unknown");
  assert.match(state?.why ?? "", /c2 ran at the same time/);
});
