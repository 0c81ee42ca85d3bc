/** Polled lines of one page become one table, whatever the server served when. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunReport } from "./level-summary";
import { statsOf } from "./percentile";
import type { PointsLine } from "./server";
import { joinedSeries, serverFile, shownPages, withServer } from "./server-pages";

const line = (
  page: number,
  what: "values" | "histograms",
  metrics: string[],
  points: PointsLine["points"],
): PointsLine => ({
  ...{ type: "points", name: "s", page, what, metrics, points },
  kinds: metrics.map(() => (what === "values" ? "gauge" : "histogram")),
});

test("lines of one page and kind are one table with the columns of all", () => {
  const joined = joinedSeries([
    line(0, "values", ["a"], [[1, 10]]),
    line(1, "values", ["a"], [[1, 99]]),
    line(0, "histograms", ["h_count"], [[1, 5]]),
    line(
      0,
      "values",
      ["a", "b"],
      [
        [2, 11, 20],
        [3, null, 21],
      ],
    ),
    line(0, "values", ["b"], [[4, 22]]),
  ]);
  assert.deepEqual(
    joined.map(({ page, what, metrics, points }) => ({ page, what, metrics, points })),
    [
      {
        page: 0,
        what: "values",
        metrics: ["a", "b"],
        points: [
          [1, 10, null],
          [2, 11, 20],
          [3, null, 21],
          [4, null, 22],
        ],
      },
      { page: 1, what: "values", metrics: ["a"], points: [[1, 99]] },
      { page: 0, what: "histograms", metrics: ["h_count"], points: [[1, 5]] },
    ],
  );
  assert.deepEqual(joined[0]?.kinds, ["gauge", "gauge"]);
});

test("the file has each page under its address, and there is none where nothing was polled", () => {
  const state = { polls: 1, failed: 0, skipped: 0, error: "", bytes: 9, seconds: 1, cpuShare: 0 };
  const none = { count: 0, mean: 0, std: 0, min: 0, p50: 0, p90: 0, p95: 0, p99: 0, p999: 0, max: 0 };
  const states = [0, 1].map(() => ({ ...state, pageMs: none, readMs: none }));
  const settings = { METRICS_URL: "http://a/metrics?x=1,2,http://b/metrics" };
  assert.deepEqual(shownPages(settings), ["http://a/metrics?x=1,2", "http://b/metrics"]);
  assert.deepEqual(shownPages({}), ["/metrics"]);
  const text = serverFile(settings, { series: [line(1, "values", ["a"], [[1, 10]])], states }) ?? "";
  const { pages } = JSON.parse(text) as { pages: { url: string; values?: { points: unknown } }[] };
  assert.deepEqual(
    pages.map(({ url, values }) => [url, values?.points]),
    [
      ["http://a/metrics?x=1,2", undefined],
      ["http://b/metrics", [[1, 10]]],
    ],
  );
  assert.equal(serverFile(settings, { series: [], states }), undefined);
});

test("levels that loaded the server at the same time are not held against its latencies", () => {
  const histogram: PointsLine = {
    ...{ type: "points", name: "s", page: 0, what: "histograms" },
    metrics: ["count", "sum"].map((part) => `vllm:time_to_first_token_seconds_${part}`),
    kinds: ["histogram", "histogram"],
    points: Array.from({ length: 31 }, (_, t) => [t * 1e9, t, t / 10]),
  };
  const state = { polls: 31, failed: 0, skipped: 0, error: "", bytes: 9, seconds: 30, cpuShare: 0 };
  const states = [{ ...state, pageMs: statsOf([]), readMs: statsOf([]) }];
  const levels = (windows: readonly (readonly [fromS: number, durationS: number])[]) =>
    windows.map(([windowStartS, durationS]) => ({
      ...{ windowStartS, durationS, outputThroughput: 1, ttftMs: statsOf(Array(10).fill(110)), itlMs: statsOf([]) },
    }));
  const held = (windows: Parameters<typeof levels>[0]) => {
    const report = { levels: levels(windows) } as unknown as RunReport;
    return withServer(report, {}, { series: [histogram], states }).levels.map(({ server }) => server?.ttft?.meanMs);
  };
  const rounded = (windows: Parameters<typeof levels>[0]) => held(windows).map((ms) => ms && Math.round(ms));
  assert.deepEqual(
    rounded([
      [0, 10],
      [10, 10],
      [20, 10],
    ]),
    [100, 100, 100],
  );
  assert.deepEqual(
    rounded([
      [0, 10],
      [1, 8],
      [20, 10],
    ]),
    [undefined, undefined, 100],
  );
});
