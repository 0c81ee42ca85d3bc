/** Polled lines of one page become one table, whatever the server served when. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunReport } from "./level-summary";
import { statsOf } from "./percentile";
import type { PointsLine } from "./server";
import { joinedSeries, serveEnergy, serverFile, shownPages, withServer } from "./server-pages";
import { knownMetrics } from "./server-presets";

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

test("what the server says of levels that ran at once is none's own: it stands once, over all their windows", () => {
  const of = (
    what: "values" | "histograms",
    metrics: string[],
    kind: "gauge" | "histogram",
    at: (t: number) => number[],
  ) => ({
    ...{ type: "points" as const, name: "s", page: 0, what, metrics, kinds: metrics.map(() => kind) },
    points: Array.from({ length: 31 }, (_, t): [number, ...number[]] => [t * 1e9, ...at(t)]),
  });
  const ttft = ["count", "sum"].map((part) => `vllm:time_to_first_token_seconds_${part}`);
  const series = [
    of("histograms", ttft, "histogram", (t) => [t, t / 10]),
    of("values", ["vllm:num_requests_running"], "gauge", (t) => [t]),
  ];
  const state = { polls: 31, failed: 0, skipped: 0, error: "", bytes: 9, seconds: 30, cpuShare: 0 };
  const states = [{ ...state, pageMs: statsOf([]), readMs: statsOf([]) }];
  const latencies = (count: number) => ({ ttftMs: statsOf(Array(count).fill(110)), itlMs: statsOf([]) });
  const said = (...windows: readonly (readonly [fromS: number, durationS: number])[]) => {
    const levels = windows.map(([windowStartS, durationS]) => ({
      ...{ windowStartS, durationS, outputThroughput: 2, ...latencies(10) },
    }));
    const report = { levels, total: latencies(20) } as unknown as RunReport;
    const { levels: own, server } = withServer(report, {}, { series, states });
    const figures = [...own.map((level) => level.server), server];
    return figures.map((each) => each && [each.running?.mean, each.ttft && Math.round(each.ttft.meanMs)]);
  };
  assert.deepEqual(said([0, 10], [10, 10], [20, 10]), [[4.5, 100], [14.5, 100], [24.5, 100], undefined]);
  // From 0 to 15 s.
  assert.deepEqual(said([0, 10], [5, 10]), [undefined, undefined, [7, 100]]);
  // The run's TTFT is also that of a level that was alone.
  assert.deepEqual(said([0, 10], [1, 8], [20, 10]), [undefined, undefined, [24.5, 100], [4.5, undefined]]);
});

test("energy of levels that ran at once is over the tokens of all of them", () => {
  const points = Array.from({ length: 21 }, (_, t): [number, number] => [t * 1e9, 40]);
  const power: PointsLine = {
    type: "points",
    name: "s",
    page: 0,
    what: "values",
    metrics: ["rack_power_watts"],
    kinds: ["gauge"],
    points,
  };
  const state = { polls: 21, failed: 0, skipped: 0, error: "", bytes: 9, seconds: 20, cpuShare: 0 };
  const states = [{ ...state, pageMs: statsOf([]), readMs: statsOf([]) }];
  const none = { ttftMs: statsOf([]), itlMs: statsOf([]) };
  const levels = [
    { windowStartS: 0, durationS: 20, outputThroughput: 6, ...none },
    { windowStartS: 0, durationS: 10, outputThroughput: 8, ...none },
  ];
  const report = { levels, total: none } as unknown as RunReport;
  const { server } = withServer(report, { POWER_METRIC: "rack_power_watts" }, { series: [power], states });
  assert.equal(server?.joulesPerOutputToken, (40 * 20) / (6 * 20 + 8 * 10));
});

test("joules of a token are known of no page that is said to serve no energy", () => {
  const none = { ttftMs: statsOf([]), itlMs: statsOf([]) };
  const report = {
    levels: [{ windowStartS: 0, durationS: 3, outputThroughput: 6, ...none }],
    total: none,
  } as unknown as RunReport;
  const states = [{ polls: 4, failed: 0, skipped: 0, error: "", bytes: 9, seconds: 3, cpuShare: 0 }] as never;
  const points: PointsLine["points"] = [0, 1, 2, 3].map((t) => [t * 1e9, 5 + t]);
  const served: string[] = [];
  for (const { name } of [...knownMetrics, { name: "rack_power_watts" }]) {
    for (const POWER_METRIC of [undefined, "rack_power_watts"]) {
      for (const kind of ["gauge", "counter"] as const) {
        const series: PointsLine[] = [
          { ...{ type: "points", name: "s", page: 0, what: "values", metrics: [name], kinds: [kind] }, points },
        ];
        const joules = withServer(report, { POWER_METRIC }, { series, states }).levels[0]?.server?.joulesPerOutputToken;
        const serves = serveEnergy({ POWER_METRIC }, series);
        assert.ok(joules === undefined || serves, name);
        if (joules !== undefined) served.push(name);
      }
    }
  }
  assert.deepEqual([...new Set(served)].sort(), [
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
    "nv_energy_consumption",
    "nv_gpu_power_usage",
    "rack_power_watts",
  ]);
});
