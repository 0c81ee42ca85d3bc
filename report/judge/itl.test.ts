import assert from "node:assert/strict";
import { test } from "node:test";
import { weightedStats } from "../../lib/figures/fold";
import { randomSource, requestLine } from "../../test/support/synthetic";
import { median } from "../statistics";
import { shareBounds } from "./early-stopping";
import { PooledItl, type RequestItl, requestItl } from "./itl";

const sure = (confidence: number) => ({ confidence, tolerance: 0 });

/** What a server does to the streams that it serves in steps of some 10 ms. */
interface Server {
  /** Spread of each token by itself, and of each request as a whole: standard deviations of logarithms. */
  perToken?: number;
  perRequest?: number;
  /** Share of the steps that are stalls, for all streams at once; mean length of one, ms. */
  stalls?: number;
  stallMs?: number;
  /** Length of the stalls that a request which begins gives all others, ms. */
  prefillMs?: number;
}

/** A closed loop: `streams` at once, a new request where one has ended, each of half to one and a half times `tokens`. */
function loop(random: ReturnType<typeof randomSource>, server: Server, requests = 100, streams = 8, tokens = 50) {
  const all: { ms: number[]; atNs: number[] }[] = [];
  const slots = Array.from({ length: streams }, (_, i) => ({
    left: 0,
    slow: 1,
    beginsAt: Math.floor((i * tokens) / streams),
    request: { ms: [] as number[], atNs: [] as number[] },
  }));
  let nowMs = 0;
  for (let step = 0; all.length < requests || slots.some(({ left }) => left > 0); step++) {
    const begun = slots.filter(({ left, beginsAt }) => left === 0 && step >= beginsAt).slice(0, requests - all.length);
    for (const slot of begun) {
      slot.left = Math.round(tokens * (0.5 + random.uniform()));
      slot.slow = Math.exp(random.normal(0, server.perRequest ?? 0));
      slot.request = { ms: [], atNs: [] };
      all.push(slot.request);
    }
    const stalled = random.uniform() < (server.stalls ?? 0);
    const stepMs = 10 + (stalled ? -Math.log(1 - random.uniform()) * (server.stallMs ?? 0) : 0);
    nowMs += stepMs + begun.length * (server.prefillMs ?? 0);
    for (const slot of slots) {
      if (slot.left === 0 || begun.includes(slot)) continue;
      const own = slot.slow * Math.exp(random.normal(0, server.perToken ?? 0.05));
      slot.request.ms.push((stepMs + begun.length * (server.prefillMs ?? 0)) * own);
      slot.request.atNs.push(nowMs * 1e6);
      slot.left--;
    }
  }
  return all.map(
    ({ ms, atNs }): RequestItl => ({
      ms: Float64Array.from(ms),
      tokens: new Uint32Array(ms.length).fill(1),
      atNs: Float64Array.from(atNs),
    }),
  );
}

test("the tokens of a record, each with its share of the gap before its chunk, pool to the summary's statistics", () => {
  const line = requestLine({ level: "c1", sentMs: 100, ttftMs: 50, gapsMs: [30, 10, 0, 20] });
  const itl = requestItl({
    ...line,
    outputTokens: 9,
    arrivals: [50, 30, 10, 0, 20].map((gapMs, i) => [gapMs * 1e6, [1, 3, 1, 1, 3][i] ?? 0]),
  });
  assert.deepEqual([...itl.ms], [10, 10, 0, 20 / 3]);
  assert.deepEqual([...itl.tokens], [3, 1, 1, 3]);
  assert.deepEqual(
    [...itl.atNs].map((ns) => ns / 1e6),
    [180, 190, 190, 210],
  );
  const pool = new PooledItl([itl, { ...itl, ms: itl.ms.map((ms) => 2 * ms) }, requestItl({ ...line, arrivals: [] })]);
  assert.deepEqual([pool.tokens, pool.requests], [16, 2]);
  const { p50, p90, p99 } = weightedStats(
    [1, 2].flatMap((times) => [...itl.ms].map((ms, i) => ({ value: times * ms, weight: itl.tokens[i] ?? 0 }))),
  );
  assert.deepEqual(
    [0.5, 0.9, 0.99].map((p) => pool.quantile(p)),
    [p50, p90, p99],
  );
  assert.equal(
    pool.share((ms) => ms < 10),
    5 / 16,
  );
});

/** What the tokens of a loop are worth at the median, as a share of what `units` counts; the median of some loops. */
function worth(server: Server, streams: number, units: (requests: RequestItl[]) => number): number {
  const random = randomSource(1);
  const shares = Array.from({ length: 31 }, () => {
    const requests = loop(random, server, 200, streams);
    return new PooledItl(requests).bounds(0.5, sure(0.95)).independent / units(requests);
  });
  return median(shares);
}

test("what tokens are worth: of independent ones each, of like requests one a request, of like moments one a step", () => {
  const tokens = worth({ perToken: 0.2 }, 8, (requests) => new PooledItl(requests).tokens);
  assert.ok(tokens > 0.65 && tokens < 1, `independent: ${tokens}`);
  const requests = worth({ perToken: 0, perRequest: 0.2 }, 8, ({ length }) => length);
  assert.ok(requests > 0.65 && requests < 1.1, `by request: ${requests}`);
  const steps = worth({ perToken: 0, stalls: 1, stallMs: 20 }, 16, (all) => {
    return new Set(all.flatMap(({ atNs }) => [...atNs])).size;
  });
  assert.ok(steps > 0.65 && steps < 1.1, `by step: ${steps}`);
});

test("the spread of twenty slices is known as Student's t with 19 degrees of freedom says", () => {
  // Of two latencies only, so that percentile and bounds are one of them.
  const requests = loop(randomSource(2), { perToken: 0.2 });
  const pool = new PooledItl(requests.map((each) => ({ ...each, ms: each.ms.map((ms) => (ms > 10 ? 20 : 10)) })));
  const ratio = pool.bounds(0.3, sure(0.99)).independent / pool.bounds(0.3, sure(0.95)).independent;
  // From tables: 2.3263 / 2.5395 for 99 %, 1.6449 / 1.7291 for 95 %.
  assert.ok(Math.abs(ratio - (2.3263 / 2.5395) ** 2 / (1.6449 / 1.7291) ** 2) < 1e-3, `${ratio}`);
});

test("a percentile that no token is beyond is taken for one that clumps by request", () => {
  const request = (k: number): RequestItl => ({
    ms: new Float64Array(30).fill(10),
    tokens: new Uint32Array(30).fill(1),
    atNs: Float64Array.from({ length: 30 }, (_, i) => (k * 300 + 10 * i) * 1e6),
  });
  const of = (count: number) => new PooledItl(Array.from({ length: count }, (_, k) => request(k)));
  assert.deepEqual(of(458).bounds(0.99, sure(0.99)), { low: 10, high: undefined, independent: 458 });
  assert.deepEqual(of(459).bounds(0.99, sure(0.99)), { low: 10, high: 10, independent: 459 });
});

test("one request says nothing of how requests differ, however many tokens it has", () => {
  const [request] = loop(randomSource(4), { stalls: 0.1, stallMs: 20 }, 1, 1, 5000);
  assert.ok(request && request.ms.length > 2000);
  assert.deepEqual(new PooledItl([request]).bounds(0.9, sure(0.95)), {
    low: undefined,
    high: undefined,
    independent: 0,
  });
});

test("one stall in the run may have been several: the bound looks at how what lies beyond it clumps", () => {
  const random = randomSource(5);
  // 10,000 tokens of 100 requests, all within 9 to 11 ms but for 24 in one moment.
  const requests = Array.from({ length: 100 }, (_, k): RequestItl => {
    const stalled = k >= 40 && k < 64;
    return {
      ms: Float64Array.from({ length: 100 }, (_, i) => (stalled && i === 50 ? 200 : 9 + 2 * random.uniform())),
      tokens: new Uint32Array(100).fill(1),
      atNs: Float64Array.from({ length: 100 }, (_, i) => (stalled && i === 50 ? 55 : k + i / 100) * 1e9),
    };
  });
  const pool = new PooledItl(requests);
  assert.ok(pool.quantile(0.99) < 11);
  // Where one event was seen, six may have been due (Poisson, 99 %), and 144 tokens are more than one in a hundred.
  assert.equal(pool.bounds(0.99, sure(0.99)).high, 200);
  assert.ok((pool.bounds(0.9, sure(0.99)).high ?? 0) < 11, "p90 is another matter");
});

/** The quantile that the pool of many loops has: the truth, to a fraction of one loop's uncertainty. */
function truth(server: Server, p: number): number {
  const random = randomSource(99);
  return new PooledItl(Array.from({ length: 100 }, () => loop(random, server)).flat()).quantile(p);
}

const trials = 300;

for (const [what, server, p, naiveHolds] of [
  ["stalls of all streams at once", { stalls: 0.03, stallMs: 40 }, 0.99, 0.6],
  ["requests that are slow as a whole", { perRequest: 0.2 }, 0.5, 0.4],
  ["requests that are slow as a whole", { perRequest: 0.2 }, 0.9, 0.4],
  ["both", { perRequest: 0.1, stalls: 0.05, stallMs: 20 }, 0.9, 0.5],
  ["both", { perRequest: 0.1, stalls: 0.03, stallMs: 40 }, 0.99, 0.6],
  ["prompts read between the steps", { prefillMs: 20, stalls: 0.02, stallMs: 40 }, 0.99, 0.8],
] as const) {
  test(`a 95 % interval holds p${100 * p} about as often with ${what}; one of independent tokens does not`, () => {
    const trueMs = truth(server, p);
    const random = randomSource(7);
    let held = 0;
    let heldNaively = 0;
    let endless = 0;
    for (let trial = 0; trial < trials; trial++) {
      const requests = loop(random, server);
      const pool = new PooledItl(requests);
      const { low = 0, high = Number.POSITIVE_INFINITY } = pool.bounds(p, sure(0.975));
      if (low <= trueMs && trueMs <= high) held++;
      if (!Number.isFinite(high)) endless++;
      const naive = shareBounds(pool.tokens, p, sure(0.975));
      if (pool.quantile(naive.low ?? 0) <= trueMs && trueMs <= pool.quantile(naive.high ?? 1)) heldNaively++;
    }
    // 95 % of 300 is 285, standard deviation 4; binomial bounds are a little wide, a variance from few clusters a little small.
    assert.ok(held / trials >= 0.92, `${held} of ${trials}`);
    assert.ok(endless / trials < 0.1, `${endless} of ${trials} have no end`);
    assert.ok(heldNaively / trials < naiveHolds, `${heldNaively} of ${trials} as if tokens were independent`);
  });
}

test("an upper bound of 99 % lies below the true p99 in few loops, and exists in most", () => {
  const server = { perRequest: 0.05, stalls: 0.03, stallMs: 40 };
  const trueMs = truth(server, 0.99);
  const random = randomSource(8);
  let below = 0;
  let none = 0;
  for (let trial = 0; trial < trials; trial++) {
    const { high } = new PooledItl(loop(random, server, 300)).bounds(0.99, sure(0.99));
    if (high === undefined) none++;
    else if (high < trueMs) below++;
  }
  assert.ok(below <= 0.03 * trials, `${below} of ${trials} would pass a limit that the server breaks`);
  assert.ok(none < 0.1 * trials, `${none} of ${trials} without a bound`);
});
