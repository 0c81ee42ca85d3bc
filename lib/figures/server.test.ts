import assert from "node:assert/strict";
import test from "node:test";
import { statsOf } from "./percentile";
import { bucketedPercentile, type PointsLine, pagesOf, serverFigures } from "./server";

const s = 1e9;

/** A page polled each second from 0: gauges and counters, and a histogram of TTFT with bounds 0.1 and 0.2 s. */
const values = (page: number, columns: Record<string, (number | null)[]>, kinds: PointsLine["kinds"]): PointsLine => ({
  ...{ type: "points", name: "t", page, what: "values", metrics: Object.keys(columns), kinds },
  points: Array.from(Object.values(columns)[0] ?? [], (_, i) => [
    i * s,
    ...Object.values(columns).map((column) => column[i] ?? null),
  ]),
});

const level = (windowStartS: number, durationS: number, ttft: number[] = []) => ({
  ...{ windowStartS, durationS, outputThroughput: 100, ttftMs: statsOf(ttft), itlMs: statsOf([]) },
});

test("a gauge is its mean over the window's time, each poll holding until the next", () => {
  const line = values(0, { "vllm:num_requests_running": [0, 4, 8, 0, 100] }, ["gauge"]);
  const said = serverFigures(pagesOf([line]), level(1, 2));
  assert.deepEqual(said?.running, { mean: 6, max: 8 });
  assert.equal(serverFigures(pagesOf([line]), level(1, 1.5))?.running?.mean, 16 / 3);
  // From 1.5 to 2.5 s: half of each.
  assert.deepEqual(serverFigures(pagesOf([line]), level(1.5, 1))?.running, { mean: 6, max: 8 });
});

test("a counter grows evenly between its polls, begins with nothing and again after a restart", () => {
  const line = values(0, { "vllm:num_preemptions_total": [10, 20, 40, 5, 6], late_total: [null, null, null, 3, 4] }, [
    "counter",
    "counter",
  ]);
  const pages = pagesOf([line]);
  assert.equal(serverFigures(pages, level(0, 2))?.preemptions, 30);
  assert.equal(serverFigures(pages, level(0.5, 1))?.preemptions, 15);
  assert.equal(serverFigures(pages, level(2, 2))?.preemptions, 6, "5 and 1: the server was started anew");
  assert.deepEqual(serverFigures(pages, level(2, 2))?.pages[0]?.late_total, { kind: "counter", increase: 4, rate: 2 });
});

test("a window that was not polled through half of its time has no figures", () => {
  const line = values(0, { "vllm:num_requests_running": [1, 1, 1], "vllm:num_preemptions_total": [1, 2, 3] }, [
    "gauge",
    "counter",
  ]);
  const pages = pagesOf([line]);
  assert.equal(serverFigures(pages, level(5, 4))?.preemptions, undefined);
  assert.equal(serverFigures(pages, level(1, 4))?.preemptions, undefined);
  assert.equal(serverFigures(pages, level(1, 0)), undefined);
  assert.equal(serverFigures([], level(0, 2)), undefined);
});

test("a gauge is not known where one poll stands for more than two thirds of the window", () => {
  const line = values(0, { "vllm:num_requests_running": [0, 0, 3, 3, 0] }, ["gauge"]);
  const pages = pagesOf([line]);
  assert.equal(serverFigures(pages, level(1, 0.9))?.running, undefined, "none ran when the level began");
  assert.equal(serverFigures(pages, level(1.2, 1.7))?.running?.max, 3);
  assert.deepEqual(serverFigures(pages, level(1, 3))?.running, { mean: 2, max: 3 });
});

test("counts of several pages are summed, shares are not, and what a pool and its engines both count is counted once", () => {
  const kinds: PointsLine["kinds"] = ["gauge", "gauge"];
  const engine = (page: number, running: number, usage: number) =>
    values(
      page,
      { "vllm:num_requests_running": [running, running, running], "vllm:kv_cache_usage_perc": [usage, usage, usage] },
      kinds,
    );
  const front = values(2, { dynamo_frontend_inflight_requests: [7, 7, 7] }, ["gauge"]);
  const said = serverFigures(pagesOf([engine(0, 3, 0.2), engine(1, 4, 0.6), front]), level(0, 2));
  assert.deepEqual(said?.running, { mean: 7, max: 7 });
  assert.ok(Math.abs((said?.kvUsage?.mean ?? 0) - 0.4) < 1e-12);
  assert.equal(said?.kvUsage?.max, 0.6);
});

test("shares are of what was counted in the window", () => {
  const line = values(
    0,
    {
      "vllm:prefix_cache_hits_total": [1000, 1010, 1030],
      "vllm:prefix_cache_queries_total": [1000, 1100, 1100],
      "vllm:spec_decode_num_draft_tokens_total": [0, 0, 0],
      "vllm:spec_decode_num_accepted_tokens_total": [0, 0, 0],
    },
    ["counter", "counter", "counter", "counter"],
  );
  const said = serverFigures(pagesOf([line]), level(0, 2));
  assert.ok(Math.abs((said?.prefixHitShare ?? 0) - 0.3) < 1e-12);
  assert.equal(said?.acceptance, undefined, "of no draft there is no share");
});

test("energy is the counter's, else power over the window; POWER_METRIC is taken instead of both", () => {
  const line = values(
    0,
    {
      DCGM_FI_DEV_POWER_USAGE: [100, 100, 100],
      DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION: [0, 300_000, 600_000],
      rack_watts: [1000, 1000, 1000],
    },
    ["gauge", "counter", "gauge"],
  );
  const pages = pagesOf([line]);
  const said = serverFigures(pages, level(0, 2));
  assert.deepEqual([said?.energyJ, said?.powerW, said?.joulesPerOutputToken], [600, 100, 3]);
  const rack = serverFigures(pages, level(0, 2), { name: "rack_watts", role: "power", scale: 1 });
  assert.deepEqual([rack?.energyJ, rack?.joulesPerOutputToken], [2000, 10]);
  assert.equal(serverFigures(pages, level(0, 2), { name: "gone", role: "power", scale: 1 })?.energyJ, undefined);
  const counted = { name: "rack_watts", role: "energy", scale: 1 } as const;
  assert.equal(serverFigures(pages, level(0, 2), counted)?.energyJ, undefined, "a gauge is no sum");
});

test("a histogram's percentile is known to a bucket, and its mean is held against ours", () => {
  const line: PointsLine = {
    ...{ type: "points", name: "t", page: 0, what: "histograms" },
    metrics: ["count", "sum", 'bucket{le="0.1"}', 'bucket{le="0.2"}'].map(
      (part) => `vllm:time_to_first_token_seconds_${part}`,
    ),
    kinds: ["histogram", "histogram", "histogram", "histogram"],
    points: [
      [0, 100, 50, 90, 95],
      [2 * s, 200, 65, 130, 195],
    ],
  };
  const times = (ms: readonly number[], of: number) => Array.from({ length: of }, (_, i) => ms[i % ms.length] ?? 0);
  const said = serverFigures(pagesOf([line]), level(0, 2, times([155, 165, 175], 90)));
  const { ttft } = said ?? {};
  assert.ok(ttft);
  assert.deepEqual([ttft.count, ttft.meanMs, ttft.ours.meanMs, ttft.outsideMs], [100, 150, 165, 15]);
  // 40 up to 100 ms, 100 up to 200: the 50th is a sixth into the second bucket.
  assert.deepEqual([ttft.p50Ms?.low, ttft.p50Ms?.high], [100, 200]);
  assert.ok(Math.abs((ttft.p50Ms?.estimate ?? 0) - (100 + 100 / 6)) < 1e-9);
  assert.equal(ttft.p50Agrees, true);
  const far = serverFigures(pagesOf([line]), level(0, 2, times([1, 1, 493], 99)))?.ttft;
  assert.equal(far?.p50Agrees, false, "1 ms is in no such bucket, whatever passes outside of 15 ms");
  const others = serverFigures(pagesOf([line]), level(0, 2, times([155], 130)))?.ttft;
  assert.deepEqual([others?.count, others?.ours.count], [100, 130]);
  assert.deepEqual([others?.outsideMs, others?.p50Agrees], [undefined, undefined], "they are not the same requests");
});

test("beyond the last bound a percentile has no upper end", () => {
  assert.deepEqual(bucketedPercentile([1, 2], [5, 6], 10, 0.9), { low: 2 });
  assert.deepEqual(bucketedPercentile([1, 2], [5, 6], 10, 0.5), { low: 0, high: 1, estimate: 1 });
  assert.deepEqual(bucketedPercentile([], [], 10, 0.5), { low: 0 });
});

test("lines that came one after the other are one series, with columns that showed up on the way", () => {
  const first = values(0, { a: [1, 2] }, ["gauge"]);
  const second: PointsLine = {
    ...first,
    metrics: ["a", "b_total"],
    kinds: ["gauge", "counter"],
    points: [[2 * s, 3, 5]],
  };
  const [page] = pagesOf([first, second]);
  assert.deepEqual(page?.get("a")?.values, [1, 2, 3]);
  assert.deepEqual(page?.get("b_total")?.values, [null, null, 5]);
});
