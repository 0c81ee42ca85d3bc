/** The summary that the extension folds while a run goes on is the one that its records fold to afterwards. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chunksOf, foldRecords, sharedGaps } from "../lib/fold";
import type { LevelSummary, Stats } from "../lib/level-summary";
import { statsOf } from "../lib/percentile";
import { run } from "./support/run";
import { startServer } from "./support/simulated";

const statistics = [
  ...([
    "ttftMs",
    "ttftScheduledMs",
    "ttfoMs",
    "tpotMs",
    "maxStallMs",
    "e2eMs",
    "e2eScheduledMs",
    "queueDelayMs",
  ] as const),
  "outputSpeed" as const,
];
const counts = [
  "requests",
  "completed",
  "failed",
  "inputTokens",
  "outputTokens",
  "warmupRequests",
  "tokenMismatches",
] as const;
const rates = ["requestThroughput", "outputThroughput", "requestGoodput", "goodShare", "releaseSpreadMs"] as const;

function assertClose(actual: number | undefined, expected: number | undefined, relative: number, what: string): void {
  if (actual === undefined || expected === undefined) {
    assert.equal(actual, expected, what);
    return;
  }
  // Times are kept in whole nanoseconds, speeds in thousandths of a token a second.
  const allowed = relative * Math.abs(expected) + (what.includes("outputSpeed") ? 1e-3 : 1e-5);
  assert.ok(Math.abs(actual - expected) <= allowed, `${what}: summary ${actual}, fold ${expected}`);
}

function assertSameStats(actual: Stats, expected: Stats, what: string): void {
  for (const name of Object.keys(expected) as (keyof Stats)[]) {
    assertClose(actual[name], expected[name], name === "count" ? 0 : 1e-6, `${what}.${name}`);
  }
}

/** ITL and chunk gaps are kept in histograms: a percentile is that of a neighbouring rank, to three significant digits. */
function assertPooled(actual: Stats, valuesMs: number[], what: string): void {
  const ascending = valuesMs.sort((a, b) => a - b);
  const expected = statsOf(ascending);
  for (const name of ["count", "mean", "std", "min", "max"] as const) {
    assertClose(actual[name], expected[name], 1e-4, `${what}.${name}`);
  }
  const shares = { p50: 0.5, p90: 0.9, p95: 0.95, p99: 0.99, p999: 0.999 } as const;
  for (const [name, share] of Object.entries(shares) as [keyof typeof shares, number][]) {
    const rank = share * ascending.length;
    const low = ascending[Math.max(0, Math.floor(rank) - 1)] ?? 0;
    const high = ascending[Math.min(ascending.length - 1, Math.ceil(rank))] ?? 0;
    const value = actual[name];
    assert.ok(value >= low * 0.999 && value <= high * 1.001, `${what}.${name}: ${value} not in ${low} to ${high}`);
  }
}

function assertSameLevel(actual: LevelSummary, expected: LevelSummary): void {
  const what = (field: string) => `${expected.name}.${field}`;
  for (const field of counts) assert.equal(actual[field], expected[field], what(field));
  for (const field of ["failures", "statuses", "tokenSources"] as const) {
    assert.deepEqual(actual[field], expected[field], what(field));
  }
  for (const field of rates) assertClose(actual[field], expected[field], 1e-6, what(field));
  for (const field of ["windowStartS", "durationS"] as const)
    assertClose(actual[field], expected[field], 1e-9, what(field));
  for (const field of statistics) assertSameStats(actual[field], expected[field], what(field));
}

const sweeps: { what: string; server: string[]; settings: Record<string, string> }[] = [
  {
    what: "levels bounded by requests, every request good or bad by an SLO",
    server: [],
    settings: { CONCURRENCY: "1,4", REQUESTS: "12", OUTPUT_TOKENS: "uniform:2:24", SLO_TTFT: "20", SLO_E2E: "200" },
  },
  {
    what: "levels bounded by time with warm-up by time",
    server: [],
    settings: { CONCURRENCY: "2,5", DURATION: "2s", WARMUP: "500ms", OUTPUT_TOKENS: "16", INPUT_TOKENS: "64" },
  },
  {
    what: "failures of several kinds, and tokens that arrive together",
    server: ["--fault", "status=429,share=0.2", "--fault", "cut=5,share=0.2", "--fault", "tokensPerChunk=3"],
    settings: { CONCURRENCY: "3", REQUESTS: "40", OUTPUT_TOKENS: "20", THRESHOLDS: "none" },
  },
];
for (const { what, server, settings } of sweeps) {
  test(`summary and records agree: ${what}`, async (t) => {
    const { baseUrl, stop } = await startServer(...server);
    t.after(stop);
    const { summary, records, requests } = await run("concurrency-sweep", {
      BASE_URL: baseUrl,
      THRESHOLDS: "none",
      ...settings,
    });
    const { levels } = summary;
    const folded = foldRecords(records).levels;
    assert.deepEqual(
      levels.map(({ name }) => name),
      folded.map(({ name }) => name),
    );
    for (const [i, level] of levels.entries()) {
      const expected = folded[i];
      assert.ok(expected && expected.requests > 0);
      const streams = requests
        .filter((each) => each.level === level.name && each.phase === "steady" && each.outcome === "completed")
        .map(chunksOf);
      const itlMs = streams
        .flatMap(sharedGaps)
        .flatMap(({ gapNs, tokens }) => Array<number>(tokens).fill(gapNs / tokens / 1e6));
      const gapsMs = streams.flatMap((chunks) => chunks.slice(1).map(({ gapNs }) => gapNs / 1e6));
      await t.test(level.name, () => {
        assertSameLevel(level, expected);
        assertPooled(level.itlMs, itlMs, `${level.name}.itlMs`);
        assertPooled(level.chunkGapMs, gapsMs, `${level.name}.chunkGapMs`);
      });
    }
  });
}
