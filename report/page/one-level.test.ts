/** What a run of one level shows: no picture of dots where a curve would be, but the level's row and its distributions. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { writeFolded } from "../../test/support/folded-run";
import {
  batches,
  cache,
  classes,
  ingestion,
  lasting,
  phases,
  type RunSpec,
  ramp,
  sweep,
  talks,
  writeRun,
} from "../../test/support/synthetic";
import { main as compare } from "../cli/compare";
import type { ChartSpec } from "./chart-option";
import { renderReport } from "./render";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-one-level-"));
after(() => rmSync(dir, { recursive: true }));

const chartsOf = (html: string): Record<string, ChartSpec> =>
  JSON.parse(/<script type="application\/json" id="charts">([^<]*)</.exec(html)?.[1] ?? "");

/** The panels in which every line and bar stands at a single place of the x axis. Points of single requests are no curve. */
function dotted(charts: Record<string, ChartSpec>): string[] {
  return Object.values(charts).flatMap(({ name, panels }) =>
    panels.flatMap(({ series, y }) => {
      if (name === "requests-scatter") return [];
      const places = series.map(
        ({ points }) => new Set(points.filter(([, value]) => value !== null).map(([x]) => x)).size,
      );
      return places.some((count) => count > 1) ? [] : [`${name}: ${y.title}`];
    }),
  );
}

const sweepOfOne = (seed: number) =>
  sweep({ seed, concurrencies: [16], failBeyond: 12, requestsPerLevel: 60, tokens: 8, sloMs: { ttft: 120 } });
const lengths = { lengths: [[128, 16]] as [number, number][] };

/** A run of one level of each shape, a table that has its row, and the pictures that several levels would have. */
const shapes: Record<string, [spec: RunSpec, table: string, curves: string[]]> = {
  "closed loop": [
    sweepOfOne(1),
    "levels",
    [
      ...["ttft", "itl", "tpot", "e2e", "throughput", "failures"].map((name) => `${name}-by-concurrency`),
      "throughput-against-latency",
    ],
  ],
  "search that probed once": [{ ...sweepOfOne(2), scenario: "capacity" }, "levels", ["goodput-by-load"]],
  "point of the curve": [{ ...sweepOfOne(3), scenario: "endpoints-curve" }, "curve", ["endpoints-curve"]],
  "own script": [{ ...sweepOfOne(4), scenario: "my-chat" }, "levels", ["throughput-against-latency"]],
  "burst of one size": [
    batches({ seed: 5, sizes: [8], runs: 3 }),
    "batches",
    ["throughput-by-batch-size", "throughput-against-latency"],
  ],
  "burst of one request": [batches({ seed: 5, sizes: [1], runs: 1 }), "batches", ["throughput-by-batch-size"]],
  "burst of embeddings": [
    batches({ seed: 6, sizes: [8], runs: 1, embeddings: true }),
    "batches",
    ["throughput-by-batch-size"],
  ],
  "parallel requests": [
    cache({ seed: 7, shape: "loop", parallel: [4], cacheTokens: 900, slots: 8, ...lengths }),
    "speed_generation",
    ["speed-generation-input-128-output-16", "total-speed-generation"],
  ],
  "cache of a server without gauges": [
    { ...cache({ seed: 8, shape: "burst", parallel: [4], cacheTokens: 900, slots: 8, ...lengths }), points: [] },
    "kv_cache_profile",
    [],
  ],
  "stage of a ramp": [ramp({ seed: 9, rates: [20], capacity: 85 }), "ramp_figures", []],
  "two phases": [phases({ seed: 10, prompts: 4, tokens: 4 }), "prefill_decode", ["throughput-against-latency"]],
  "classes that ran at once": [classes({ seed: 14, lastsS: 3 }), "levels", ["throughput-against-latency"]],
  soak: [lasting({ seed: 11, lastsS: 10 }), "parts_c4", []],
  "conversation of one turn": [talks({ seed: 12, turns: 1 }), "turns", ["turns"]],
};

for (const [shape, [spec, table, curves]] of Object.entries(shapes))
  test(`${shape}: one level is a row of a table, and no picture has a lone dot`, async () => {
    const run = (table === "turns" || table.startsWith("parts") ? writeFolded : writeRun)(spec, dir, shape);
    await renderReport(run);
    const charts = chartsOf(readFileSync(join(run, "report.html"), "utf8"));
    assert.deepEqual(dotted(charts), []);
    for (const name of curves) {
      assert.equal(charts[name], undefined, name);
      assert.ok(!existsSync(join(run, "pictures", `${name}.png`)), name);
    }
    const { rows } = JSON.parse(readFileSync(join(run, "tables", `${table}.json`), "utf8")) as { rows: unknown[] };
    assert.ok(rows.length > 0, `${table} has a row`);
  });

test("prompts of one length are no line", async () => {
  const spec = ingestion({ seed: 13, tokensPerS: 8000, baseMs: 12, noiseMs: 3 });
  const [level] = spec.levels;
  const requests = spec.requests.filter((line) => line.level === level?.name);
  const run = writeRun({ ...spec, levels: level ? [level] : [], requests }, dir, "one-length");
  await renderReport(run);
  const charts = chartsOf(readFileSync(join(run, "report.html"), "utf8"));
  assert.equal(charts["prompt-ingestion"], undefined);
  assert.ok(charts["ttft-percentiles"], "but they have a distribution");
});

test("two runs of one level each are two rows and two distributions, not a pair of dots", async () => {
  const [a, b] = [20, 21].map((seed) => writeRun(sweepOfOne(seed), dir, `side-${seed}`)) as [string, string];
  const outputDir = join(dir, "beside");
  await renderReport([a, b], { outputDir });
  mkdirSync(join(dir, "compared"));
  await compare([a, b, "--output", join(dir, "compared")], () => undefined);
  for (const file of [join(outputDir, "report.html"), join(dir, "compared", "compare.html")]) {
    const charts = chartsOf(readFileSync(file, "utf8"));
    assert.equal(charts["throughput-against-latency"], undefined);
    // The changes of single figures stand beside each other, a category each.
    assert.deepEqual(dotted(charts), []);
    assert.deepEqual(
      charts["ttft-percentiles"]?.panels[0]?.series.map(({ name }) => name),
      ["A c16", "B c16"],
    );
  }
  const { rows } = JSON.parse(readFileSync(join(outputDir, "tables", "levels.json"), "utf8")) as { rows: unknown[] };
  assert.equal(rows.length, 2);
});

test("a second level makes the curves", async () => {
  const run = writeRun(sweep({ seed: 22, concurrencies: [2, 16], requestsPerLevel: 30, tokens: 8 }), dir, "two-levels");
  await renderReport(run);
  const charts = chartsOf(readFileSync(join(run, "report.html"), "utf8"));
  for (const name of ["ttft", "itl", "tpot", "e2e", "throughput"]) assert.ok(charts[`${name}-by-concurrency`], name);
  assert.ok(charts["throughput-against-latency"]);
});
