/**
 * Every number of the suite's page against a second computation from the records of its steps: written here from the
 * definitions, without anything that the report folds with.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { LevelLine, RecordLine, RequestLine } from "../lib/figures/records";
import type { PointsLine } from "../lib/figures/server";
import { readResults } from "../report/read/read";
import { writeFolded } from "../test/support/folded-run";
import { near } from "../test/support/near";
import { largest, mean, quantile, sampleStd, smallest, sum } from "../test/support/statistics";
import { cache, ingestion, type RunSpec } from "../test/support/synthetic";
import { ingestionStep, profileStep, type Step, speedStep, suiteOptions } from "./suite-plan";
import { type Done, writeSuiteReport } from "./suite-report";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-suite-numbers-"));
after(() => rmSync(dir, { recursive: true }));
const options = suiteOptions(
  { baseUrl: "http://127.0.0.1:8000", outputFolder: dir, quick: true, speedThreshold: "40" },
  {},
  {},
);

const pairs = [
  { inputTokens: 64, outputTokens: 24 },
  { inputTokens: 128, outputTokens: 64 },
];
const parallels = [1, 4, 8, 14];
const bursts = [1, 2, 4, 8, 10];

/** The lines of a step's records, and its folder. */
interface Recorded {
  readonly step: Step;
  readonly lines: (RecordLine | PointsLine)[];
}
const recorded = new Map<string, Recorded>();
let html: string;
let charts: Record<string, { panels: { series: { name: string; points: [number, number | null][] }[] }[] }>;

const none = () => false;
const ingestionSteps = [0, 1].map((instance) => ingestionStep(options, instance));
const profileSteps = pairs.map((lengths) => profileStep(options, lengths, none));
const speedSteps = pairs.map((lengths) => parallels.map((n) => speedStep(options, lengths, n, 0, none)));

before(async () => {
  const done: Done[] = [];
  const add = async (step: Step, spec: RunSpec) => {
    const run = writeFolded(spec, join(dir, "runs"), step.name);
    const lines = gunzipSync(readFileSync(join(run, "records.ndjson.gz")))
      .toString()
      .split("\n")
      .flatMap((text) => (text === "" ? [] : [JSON.parse(text)]));
    recorded.set(step.name, { step, lines });
    done.push({ step, run: await readResults(run) });
  };
  for (const [i, step] of ingestionSteps.entries())
    await add(step, ingestion({ seed: 60 + i, tokensPerS: 8000, baseMs: 12, noiseMs: 8 }));
  for (const [i, { inputTokens, outputTokens }] of pairs.entries()) {
    const common = { cacheTokens: 1600, slots: 12, lengths: [[inputTokens, outputTokens]] as [number, number][] };
    await add(profileSteps[i] as Step, cache({ ...common, seed: 70 + i, shape: "burst", parallel: bursts }));
    for (const [k, n] of parallels.entries())
      await add(speedSteps[i]?.[k] as Step, cache({ ...common, seed: 80 + 10 * i + k, shape: "loop", parallel: [n] }));
  }
  await writeSuiteReport(dir, done, options, { model_name: "tiny", suite_id: "suite-1" });
  html = readFileSync(join(dir, "report", "report.html"), "utf8");
  charts = JSON.parse(/id="charts">([^<]*)</.exec(html)?.[1] ?? "{}");
});

const linesOf = (step: Step | undefined) => recorded.get(step?.name ?? "")?.lines ?? [];
const requestsOf = (step: Step | undefined, level?: string): RequestLine[] =>
  linesOf(step).filter(
    (line): line is RequestLine =>
      line.type === "request" && line.phase === "steady" && (level === undefined || line.level === level),
  );
const levelsOf = (step: Step | undefined): LevelLine[] =>
  linesOf(step).filter((line): line is LevelLine => line.type === "level");

/** The highest value of a gauge between a level's opening and its end. */
function highest(step: Step | undefined, metric: string, { openNs, endNs }: LevelLine): number {
  return largest(
    linesOf(step).flatMap((line) => {
      if (line.type !== "points") return [];
      const column = 1 + line.metrics.indexOf(metric);
      return line.points.filter(([ns]) => ns >= openNs && ns <= endNs).map((row) => row[column] as number);
    }),
  );
}

/** The cells of a table of the page, without its head. */
function cells(id: string): string[][] {
  const table = new RegExp(`<table id="table-${id}"[^>]*>(.*?)</table>`, "s").exec(html)?.[1] ?? "";
  return [...table.matchAll(/<tr>(.*?)<\/tr>/gs)]
    .slice(1)
    .map(([, row = ""]) => [...row.matchAll(/<td[^>]*>(.*?)<\/td>/gs)].map(([, text = ""]) => text));
}

/** A number as the page writes it: three digits below 1000, per cent of shares. */
function shown(text: string | undefined, truth: number, what: string): void {
  const value = Number(String(text).replace(/,/g, "").replace(/ %$/, "")) / (/ %$/.test(text ?? "") ? 100 : 1);
  near(value, truth, what, { relative: 0.0051, absolute: / %$/.test(text ?? "") ? 0.0006 : 1e-9 });
}

const ttftMs = (line: RequestLine) => ((line.firstOutputNs ?? 0) - (line.sentNs ?? 0)) / 1e6;
const e2eMs = (line: RequestLine) => ((line.lastOutputNs ?? 0) - (line.sentNs ?? 0)) / 1e6;

/** Least squares by the normal equations: [slope, intercept, R²]. */
function fitted(points: readonly (readonly [number, number])[]): [number, number, number] {
  const n = points.length;
  const [x, y] = [sum(points.map(([each]) => each)), sum(points.map(([, each]) => each))];
  const xy = sum(points.map(([a, b]) => a * b));
  const xx = sum(points.map(([a]) => a * a));
  const slope = (n * xy - x * y) / (n * xx - x * x);
  const intercept = (y - slope * x) / n;
  const left = sum(points.map(([a, b]) => (b - intercept - slope * a) ** 2));
  return [slope, intercept, 1 - left / sum(points.map(([, b]) => (b - y / n) ** 2))];
}

test("prompt ingestion: three lines through the TTFT of all its runs, and the speed on top", () => {
  const requests = ingestionSteps.flatMap((step) => requestsOf(step));
  const points = requests.map((line) => [line.inputTokens ?? 0, ttftMs(line)] as const);
  const all = fitted(points);
  const medians = ingestionSteps.flatMap((step) =>
    levelsOf(step).map(({ name }) => {
      const own = requestsOf(step, name);
      return [mean(own.map(({ inputTokens = 0 }) => inputTokens)), quantile(own.map(ttftMs), 0.5)] as const;
    }),
  );
  const close = points.filter(([x, y]) => Math.abs(all[1] + all[0] * x - y) < 0.05 * y);
  assert.ok(close.length < points.length);
  const rows = cells("prompt_ingestion");
  for (const [i, of] of [medians, points, close].entries()) {
    const [slope, intercept, r2] = fitted(of);
    const [, number, speed, perToken, begin, explained] = rows[i] ?? [];
    assert.equal(number?.replace(",", ""), String(of.length));
    shown(speed, 1000 / slope, "speed");
    shown(perToken, 1000 * slope, "time a token");
    shown(begin, intercept, "intercept");
    shown(explained, r2, "R²");
  }
  assert.match(html, new RegExp(`by the medians of ${medians.length} lengths over ${points.length} requests`));
  const [speed] = /Prompts are read at ([\d,.]+) tokens\/s/.exec(html)?.slice(1) ?? [];
  shown(speed, 1000 / fitted(medians)[0], "the speed on top");
  const drawn = charts["prompt-ingestion"]?.panels[0]?.series[0]?.points ?? [];
  assert.deepEqual(new Set(drawn.map(String)), new Set(points.map(String)), "a point a request");
});

/** Tokens after the first over their time, without what single gaps exceed the median gap and three deviations by. */
function speedWithoutWaiting({ arrivals = [] }: RequestLine): number {
  const gaps = arrivals.slice(1).map(([ns]) => ns);
  const typical = quantile(gaps, 0.5) + 3 * sampleStd(gaps);
  const still = sum(gaps.map((gap) => Math.max(0, gap - typical)));
  return (1e9 * gaps.length) / (sum(gaps) - still);
}

test("speeds: every number of parallel requests of every pair of lengths, and the thresholds that follow", () => {
  const rows = cells("speed_generation");
  assert.equal(rows.length, pairs.length * parallels.length);
  const thresholds = cells("thresholds");
  const found: number[] = [];
  for (const [p, { inputTokens, outputTokens }] of pairs.entries()) {
    const truths = parallels.map((_, k) => {
      const step = speedSteps[p]?.[k];
      const [level] = levelsOf(step) as [LevelLine];
      const own = requestsOf(step);
      const fromBeginning = own.map((line) => (1000 * (line.outputTokens ?? 0)) / e2eMs(line));
      const arrived = own.flatMap(({ sentNs = 0, arrivals = [] }) => {
        let atNs = sentNs;
        return arrivals.map(([delta]) => {
          atNs += delta;
          return atNs;
        });
      });
      return {
        completed: own.length,
        speeds: [0.25, 0.5, 0.75].map((q) => quantile(fromBeginning, q)),
        without: quantile(own.map(speedWithoutWaiting), 0.5),
        ttft: quantile(own.map(ttftMs), 0.5),
        kv: highest(step, "vllm:kv_cache_usage_perc", level),
        waiting: highest(step, "vllm:num_requests_waiting", level),
        together:
          (1e9 * arrived.filter((ns) => ns > level.openNs && ns <= level.closeNs).length) /
          (level.closeNs - level.openNs),
      };
    });
    const stem = `speed-generation-input-${inputTokens}-output-${outputTokens}`;
    const drawn = (series: string, panel = 0) =>
      charts[stem]?.panels[panel]?.series.find(({ name }) => name === series)?.points ?? [];
    for (const [k, truth] of truths.entries()) {
      const row = rows[p * parallels.length + k] ?? [];
      const what = `${inputTokens} in, ${outputTokens} out, ${parallels[k]} at once`;
      assert.deepEqual(row.slice(0, 3), [
        `${inputTokens} in, ${outputTokens} out`,
        String(parallels[k]),
        String(truth.completed),
      ]);
      for (const [i, [name, value]] of (
        [
          ["p25", truth.speeds[0]],
          ["median", truth.speeds[1]],
          ["p75", truth.speeds[2]],
          ["without waiting", truth.without],
          ["TTFT", truth.ttft],
          ["KV usage", truth.kv],
          ["waiting", truth.waiting],
          ["all requests", truth.together],
        ] as const
      ).entries())
        shown(row[3 + i], value ?? Number.NaN, `${what}: ${name}`);
      const exact = { relative: 1e-5 };
      near(drawn("with waiting, median")[k]?.[1], truth.speeds[1] ?? Number.NaN, `${what}, drawn`, exact);
      near(drawn("without waiting, median")[k]?.[1], truth.without, `${what}, drawn without waiting`, exact);
      near(drawn("highest KV usage")[k]?.[1], 100 * truth.kv, `${what}, drawn KV usage`, exact);
      near(drawn("TTFT, median", 1)[k]?.[1], truth.ttft, `${what}, drawn TTFT`, exact);
      const total = charts["total-speed-generation"]?.panels[0]?.series[p]?.points[k]?.[1];
      near(total, truth.together, `${what}, drawn together`, exact);
    }
    const most = (keeps: (truth: (typeof truths)[number]) => boolean) =>
      String(Math.max(0, ...parallels.filter((_, k) => keeps(truths[k] as (typeof truths)[number]))));
    const [bySpeed, byCache] = [most(({ speeds }) => (speeds[1] ?? 0) >= 40), most(({ kv }) => kv < 0.95)];
    assert.deepEqual(thresholds[p], [String(inputTokens), String(outputTokens), bySpeed, byCache]);
    found.push(Number(bySpeed), Number(byCache));
  }
  assert.ok(
    found.some((most) => most > 1 && most < 14),
    `thresholds in the middle of what was measured: ${found}`,
  );
});

test("KV cache profiles: the gauges and the requests of each burst", () => {
  for (const [p, { inputTokens, outputTokens }] of pairs.entries()) {
    const step = profileSteps[p];
    const rows = cells(`kv_cache_profile_input_${inputTokens}_output_${outputTokens}`);
    assert.equal(rows.length, bursts.length);
    for (const [k, level] of levelsOf(step).entries()) {
      const own = requestsOf(step, level.name);
      const what = `${level.name}`;
      const [lengths, atOnce, kv, running, waiting, completed, failed, ttft, ttftMax, e2e, output] = rows[k] ?? [];
      assert.deepEqual(
        [lengths, atOnce, completed, failed],
        [`${inputTokens} in, ${outputTokens} out`, String(bursts[k]), String(own.length), "0"],
      );
      shown(kv, highest(step, "vllm:kv_cache_usage_perc", level), `${what}, KV usage`);
      shown(running, highest(step, "vllm:num_requests_running", level), `${what}, running`);
      shown(waiting, highest(step, "vllm:num_requests_waiting", level), `${what}, waiting`);
      shown(ttft, quantile(own.map(ttftMs), 0.5), `${what}, TTFT`);
      shown(ttftMax, largest(own.map(ttftMs)), `${what}, TTFT max`);
      shown(e2e, quantile(own.map(e2eMs), 0.5), `${what}, e2e`);
      // A burst's window closes with its last token.
      const tokens = sum(own.map((line) => line.outputTokens ?? 0));
      shown(output, (1e9 * tokens) / (level.closeNs - level.openNs), `${what}, output`);
    }
  }
});

test("steps: the requests of every run", () => {
  const rows = cells("steps");
  assert.equal(rows.length, recorded.size);
  for (const [name, requests, completed, failed, validity, flaws] of rows) {
    const own = requestsOf(recorded.get(name ?? "")?.step);
    const done = own.filter(({ outcome }) => outcome === "completed").length;
    assert.ok(own.length > 0);
    assert.deepEqual([requests, completed, failed], [own.length, done, own.length - done].map(String), name);
    assert.deepEqual([validity, flaws], ["VALID", ""]);
  }
  const lengths = ingestionSteps.flatMap((step) => requestsOf(step)).map(({ inputTokens = 0 }) => inputTokens);
  assert.match(html, new RegExp(`of ${smallest(lengths)} to ${largest(lengths)} tokens`));
});
