import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { loadTypeScript } from "../../build/paths";
import { simulate } from "../../test/bench/compare-simulation";
import { type RunSpec, randomSource, requestLine, sweep, writeRun } from "../../test/support/synthetic";
import {
  type ComparedMetric,
  type CompareOptions,
  chanceOfFailures,
  compareSides,
  defaultOptions,
  upperTail,
} from "../judge/comparison";
import { quantileError, type RunFigure } from "../judge/run-figures";
import { type Results, readResults, type Summary } from "../read/read";
import { ascending, quantile, sampleStd } from "../statistics";
import { compareRuns, main, sidesOf, workloadDifferences } from "./compare";
import { exitCodeOf } from "./options";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-compare-"));
after(() => rmSync(dir, { recursive: true }));
let written = 0;
const write = (spec: RunSpec): string => writeRun(spec, dir, `run-${written++}`);
const small = (seed: number, slower = 1, config = {}) =>
  sweep({ seed, concurrencies: [4], requestsPerLevel: 300, tokens: 8, slower, config });

const readWhole = (folder: string) => readResults(folder, { itl: true });

test("the standard error of a quantile is that of many samples", () => {
  const random = randomSource(3);
  const draw = () => ascending(Array.from({ length: 300 }, () => Math.exp(random.normal(3, 0.4))));
  for (const q of [0.5, 0.9]) {
    const samples = Array.from({ length: 1500 }, draw);
    const truth = sampleStd(samples.map((sample) => Math.log(quantile(sample, q))));
    const told = samples.reduce((sum, sample) => sum + quantileError(sample, q), 0) / samples.length;
    assert.ok(Math.abs(told / truth - 1) < 0.1, `p${100 * q}: ${told} and ${truth}`);
  }
});

test("the tail of Student's t", () => {
  // Tables: t(0.99, 4) = 3.747, t(0.95, 10) = 1.812; the normal's 1.645.
  for (const [t, df, tail] of [
    [3.747, 4, 0.01],
    [1.812, 10, 0.05],
    [1.645, 10_000, 0.05],
    [-1.812, 10, 0.95],
  ] as const)
    assert.ok(Math.abs(upperTail(t, 1, df) - tail) < 1e-4, `${t}, ${df}: ${upperTail(t, 1, df)}`);
  assert.deepEqual([upperTail(1, 0, 4), upperTail(0, 0, 4), upperTail(-1, 0, 4)], [0, 1, 1]);
});

/** A side of runs with these values of one figure. */
const sideOf = (metric: string, values: number[], more: Partial<RunFigure> = {}) => ({
  figures: values.map((value): RunFigure[] => [
    { level: "c1", metric, unit: "ms", better: "lower", value, samples: 1000, error: 0.001, enough: true, ...more },
  ]),
  failures: [],
});

function verdictOf(
  metric: string,
  a: number[],
  b: number[],
  more: Partial<RunFigure> = {},
  options: Partial<CompareOptions> = {},
) {
  const rows = compareSides(sideOf(metric, a, more), sideOf(metric, b, more), { ...defaultOptions, ...options });
  assert.equal(rows.length, 1);
  return rows[0] as ComparedMetric;
}

for (const [what, metric, a, b, verdict] of [
  ["ten equal runs", "TTFT p50", [100, 101, 99, 100, 100], [100, 100, 101, 99, 100], "no change"],
  ["10 % slower", "TTFT p50", [100, 101, 99, 100, 100], [110, 111, 109, 110, 110], "regression"],
  ["10 % faster", "TTFT p50", [110, 111, 109, 110, 110], [100, 101, 99, 100, 100], "improvement"],
  ["2 % slower, surely: below the floor", "TTFT p50", [100, 100.1, 99.9], [102, 102.1, 101.9], "no change"],
  ["3 % slower, surely: above it", "TTFT p50", [100, 100.1, 99.9], [103, 103.1, 102.9], "regression"],
  ["10 % slower in runs that differ by 10 %", "TTFT p50", [90, 100, 110], [99, 110, 121], "unclear"],
  ["equal in runs that differ by 10 %", "TTFT p50", [90, 100, 110], [90, 100, 110], "unclear"],
  ["12 % of 0.385 ms: below the floor in ms", "TPOT p50", [0.385, 0.386, 0.384], [0.43, 0.431, 0.429], "no change"],
  ["100 % of 0.385 ms", "TPOT p50", [0.385, 0.386, 0.384], [0.77, 0.771, 0.769], "regression"],
  ["0.8 ms of a TTFT of 8 ms", "TTFT p50", [8, 8.01, 7.99], [8.8, 8.81, 8.79], "no change"],
  ["one run a side, 5 % slower", "TTFT p50", [100], [105], "unclear"],
  ["one run a side, 20 % slower", "TTFT p50", [100], [120], "regression"],
  ["one run against five", "TTFT p50", [100, 101, 99, 100, 100], [110], "regression"],
] as const) {
  test(`${what}: ${verdict}`, () => {
    const row = verdictOf(metric, [...a], [...b]);
    assert.equal(row.verdict, verdict, JSON.stringify(row));
  });
}

test("less throughput is a regression, more is none", () => {
  const more = { unit: "tokens/s", better: "higher" } as const;
  const [high, low] = [
    [1000, 1010, 990],
    [900, 910, 890],
  ];
  const worse = verdictOf("output throughput", high, low, more);
  assert.equal(worse.verdict, "regression");
  assert.ok((worse.low ?? 0) < -0.1 && (worse.high ?? 0) > -0.1 && (worse.high ?? 0) < 0, JSON.stringify(worse));
  assert.equal(verdictOf("output throughput", low, high, more).verdict, "improvement");
});

test("a run's own error counts where the runs agree by chance", () => {
  const [a, b] = [
    [100, 100, 100],
    [104, 104, 104],
  ];
  assert.equal(verdictOf("TTFT p50", a, b, { error: 0.001 }).verdict, "regression");
  assert.equal(verdictOf("TTFT p50", a, b, { error: 0.05 }).verdict, "unclear");
});

test("Holm: the smallest of m chances counts m times, the next m - 1 times, and none less than the one before", () => {
  const three = (values: number[][]) => ({
    figures: [0, 1, 2].map((run) =>
      values.flatMap((each, i) => sideOf(`TTFT p${i}`, [each[run] as number]).figures[0] as RunFigure[]),
    ),
    failures: [],
  });
  const a = three([
    [100, 101, 99],
    [100, 101, 99],
    [100, 101, 99],
  ]);
  const b = three([
    [110, 111, 109],
    [103, 104, 102],
    [100, 101, 99],
  ]);
  const alone = [110, 103, 100].map((x) => verdictOf("TTFT p50", [100, 101, 99], [x, x + 1, x - 1]).p as number) as [
    number,
    number,
    number,
  ];
  const rows = compareSides(a, b, defaultOptions);
  const expected = [3 * alone[0], Math.max(3 * alone[0], 2 * alone[1]), Math.max(2 * alone[1], alone[2])];
  rows.forEach(({ p = 0 }, i) => {
    assert.ok(Math.abs(p - (expected[i] as number)) < 1e-9, `${p} and ${expected[i]}`);
  });
});

test("a figure that not every run has, or not from enough samples, is not judged", () => {
  const a = sideOf("TTFT p50", [100, 101, 99]);
  const b = sideOf("TTFT p50", [200, 201, 199]);
  assert.equal(compareSides(a, b, defaultOptions)[0]?.verdict, "regression");
  b.figures[1] = [];
  assert.equal(compareSides(a, b, defaultOptions)[0]?.verdict, "not judged");
  assert.equal(verdictOf("TTFT p50", [100, 101, 99], [200, 201, 199], { enough: false }).verdict, "not judged");
});

// The whole of these tables: node build/bootstrap.cjs test/bench/compare-simulation.ts
test("equal servers whose runs differ by 3 % are no regression in 99 % of the comparisons", () => {
  let regressions = 0;
  for (const runs of [
    [1, 1],
    [3, 3],
    [5, 2],
    [16, 16],
  ] as [number, number][])
    regressions += simulate({ pairs: 100, runs, requests: 200, slower: 1, runSd: 0.03, seed: 5 }).regression;
  // Of 400, 4 are allowed on average; bounds without the runs' variance call 99 a regression, without Holm 11.
  assert.ok(regressions <= 8, `${regressions} of 400`);
});

test("a server 5 % slower is found in 95 % with 16 runs a side of 300 requests, and an equal one passes in most", () => {
  const of = { pairs: 100, runs: [16, 16] as [number, number], requests: 300, runSd: 0.03, seed: 6 };
  const slower = simulate({ ...of, slower: 1.05 });
  assert.ok(slower.regression >= 95, `${slower.regression} of 100`);
  const equal = simulate({ ...of, slower: 1 });
  assert.ok(equal.passed >= 85, `${equal.passed} of 100`);
});

test("the same workload several times shows no regression, a slower server does", async () => {
  const runs = (seeds: number[], slower = 1) => Promise.all(seeds.map((seed) => readWhole(write(small(seed, slower)))));
  const a = await runs([1, 2, 3]);
  const same = compareRuns(a, await runs([4, 5, 6]));
  assert.deepEqual(
    same.filter(({ verdict }) => verdict === "regression"),
    [],
  );
  const slower = compareRuns(a, await runs([7, 8, 9], 1.2));
  for (const row of slower.filter(({ metric }) => /p50|throughput/.test(metric))) {
    assert.equal(row.verdict, "regression", row.metric);
    // TTFT p50 of 300 requests is known to 1 %.
    const truth = /throughput/.test(row.metric) ? 1 / 1.2 - 1 : 0.2;
    assert.ok((row.low ?? 1) < truth && (row.high ?? -1) > truth, `${row.metric}: ${row.low} to ${row.high}`);
  }
});

/** The first requests of a run fail. */
function failing(spec: RunSpec, count: number): RunSpec {
  const requests = spec.requests.map((line, index) =>
    index < count
      ? requestLine({ level: line.level, index, sentMs: (line.sentNs ?? 0) / 1e6, failure: "http_5xx" })
      : line,
  );
  return { ...spec, requests };
}

test("the share of failed requests is judged by Fisher's exact test", async () => {
  // The lady tasting tea: 3 and 4 of 4 cups, 17/70 and 1/70.
  assert.ok(Math.abs(chanceOfFailures([1, 4], [3, 4]) - 17 / 70) < 1e-12);
  assert.ok(Math.abs(chanceOfFailures([0, 4], [4, 4]) - 1 / 70) < 1e-12);
  assert.equal(chanceOfFailures([0, 120], [0, 120]), 1);
  const verdict = async (inA: number, inB: number) => {
    const [a, b] = [failing(small(1), inA), failing(small(2), inB)];
    const rows = compareRuns([await readWhole(write(a))], [await readWhole(write(b))]);
    return rows.find(({ metric }) => metric === "failed requests")?.verdict;
  };
  assert.equal(await verdict(0, 0), "no change");
  assert.equal(await verdict(0, 31), "regression");
  assert.equal(await verdict(31, 0), "improvement");
  assert.equal(await verdict(3, 4), "unclear");
  assert.equal(await verdict(4, 3), "no change");
});

test("failures of one bad run of several are no regression, those of every run are", () => {
  const side = (failed: number[]) => ({
    figures: failed.map(() => []),
    failures: failed.map((each) => [{ level: "c1", failed: each, requests: 300 }]),
  });
  const verdict = (a: number[], b: number[]) => compareSides(side(a), side(b), defaultOptions)[0]?.verdict;
  assert.equal(verdict([0, 0, 0], [60, 0, 0]), "unclear");
  assert.equal(verdict([0, 0, 0], [20, 21, 19]), "regression");
});

test("workloads differ by any setting but those of address, results, judgement and words", async () => {
  const a = await readWhole(write(small(1)));
  const differences = async (config: Record<string, unknown>) =>
    workloadDifferences(a, await readResults(write(small(1, 1, config)))).map(({ setting }) => setting);
  assert.deepEqual(
    await differences({ BASE_URL: "http://elsewhere/v1", MODEL: "new", SLO_TTFT: 1, SALT: "x", SEED: 9 }),
    [],
  );
  assert.deepEqual(await differences({ OUTPUT_TOKENS: 7 }), ["OUTPUT_TOKENS"]);
  assert.deepEqual(await differences({ DATASET: "mine.jsonl" }), ["DATASET"], "its content is not known");
});

function runCompare(...args: string[]): Promise<{ status: number; output: string }> {
  let output = "";
  // What the page shows has a test of its own.
  return main([...args, "--no-page"], (text) => {
    output += text;
  }).then(
    (status) => ({ status, output }),
    (error: Error) => ({ status: exitCodeOf(error), output: output + error.message }),
  );
}

test("exit codes: 0, 99 beyond the limit only, 98 for a client-bound run, 104 for another workload", async () => {
  const base = [1, 2, 3, 4].map((seed) => write(small(seed)));
  const a = base[0] as string;
  const same = [11, 12, 13, 14].map((seed) => write(small(seed)));
  const slow = [21, 22, 23, 24].map((seed) => write(small(seed, 1.2)));
  const bound = write({ ...small(2), validity: { state: "CLIENT-BOUND", reasons: [] } });
  const unjudged = write({ ...small(2), validity: { state: "UNJUDGED", reasons: [] } });
  const other = write(small(2, 1, { REQUESTS: 301 }));
  const cut = write(small(2));
  writeFileSync(join(cut, "summary.json"), "{");
  const gone = join(dir, "gone");
  const refused = write({
    ...failing(small(2), 31),
    pass: false,
    reasons: ["llm_request_failed value 0.1, limit <= 0"],
  });
  const [two, twoMore] = [1, 2].map((seed) =>
    write(sweep({ seed, concurrencies: [4], requestsPerLevel: 2, tokens: 8 })),
  ) as [string, string];
  const copy = join(dir, "copy");
  cpSync(a, copy, { recursive: true });
  const failed = [31, 32, 33, 34].map((seed) => write(failing(small(seed), 31)));
  for (const [args, status, words] of [
    [
      [...base, "--", ...same],
      0,
      /NO REGRESSION: a change of 5 % for the worse is excluded in \d metrics, with 99 % conf/,
    ],
    [["--baseline", ...base, "--candidate", ...same], 0, /NO REGRESSION/],
    [[...base, "--", ...slow], 99, /REGRESSION: \d+ metrics worse, with 99 % confidence for all metrics together/],
    [[...base, "--", ...slow, "--limit", "60%", "--floor", "50"], 0, /NO REGRESSION: a change of 60 %/],
    [[...base, "--", ...failed], 99, /REGRESSION: 2 metrics worse, and more requests fail in 1 level, with 99 %/],
    [[...base, "--", ...slow, "--metric", "failed-requests"], 0, /NO REGRESSION/],
    [[...base, "--", ...slow, "--metric", "ttft-p90"], 99, /REGRESSION: 1 metric worse/],
    [
      [a, same[0]],
      96,
      /One run a side says nothing.*\nUNCLEAR: .*cannot be excluded in \d of \d metrics; about \d+ runs a side/,
    ],
    [[a, slow[0]], 99, /REGRESSION/],
    [[a, bound], 98, /CLIENT-BOUND/],
    [[unjudged, a], 98, /NOT VALID: run-\d+: UNJUDGED/],
    [[a, refused], 98, /NOT VALID: run-\d+: the run failed by its own thresholds \(llm_request_failed value 0.1/],
    [[...base, "--", ...same, bound], 98, /CLIENT-BOUND/],
    [[two, twoMore], 96, /UNCLEAR/],
    [[two, twoMore, "--metric", "ttft-p50,tpot-p50"], 96, /NOTHING JUDGED/],
    [[a, cut], 98, /NOT VALID: run-\d+: summary.json cannot be read/],
    [[a, gone], 98, /NOT VALID: .*gone holds neither summary.json nor records/],
    [[a, a], 104, /is named twice/],
    [[a, copy], 104, /are the same run/],
    [[...base, ...same], 104, /8 folders: name A and B, or npm run compare -- A1 A2 \.\.\. -- B1/],
    [[a], 104, /1 folders: name A and B/],
    [[a, "--"], 104, /name A and B/],
    [["--baseline", a], 104, /name all folders of both sides/],
    [[a, same[0], "--confidence", "0.99"], 104, /it is per cent, from 50 to 99.999: write 99 or/],
    [[a, same[0], "--limit", "0.05"], 104, /it is per cent, from 0.1 to 1000: write 5 or 0.05%/],
    [[a, same[0], "--floor", "9"], 104, /--floor 9 % is above --limit 5 %/],
    [[a, same[0], "--metric", "ttft-p95"], 104, /--metric ttft-p95 is none of TTFT p50/],
    [[a, other], 104, /REQUESTS: 300 and 301\nREFUSED: the runs are not of one workload/],
    [[a, other, "--anyway"], 96, /REQUESTS: 300 and 301/],
  ] as const) {
    const result = await runCompare(...(args as readonly string[]));
    assert.match(result.output, words);
    assert.equal(result.status, status, `${args.join(" ")}: ${result.output}`);
  }
});

/** A run whose first level has these figures beside those of its requests. */
function having(seed: number, figures: object): string {
  const folder = write(small(seed));
  const file = join(folder, "summary.json");
  const summary = JSON.parse(readFileSync(file, "utf8")) as Summary;
  Object.assign(summary.levels[0] as object, figures);
  writeFileSync(file, JSON.stringify(summary));
  return folder;
}

test("goodput, costs and energy are compared, and one of them can be required", async () => {
  const figures = (by: number) => ({
    requestGoodput: 20 / by,
    cost: { perRequest: 0.01 * by, perMillionOutputTokens: 3 * by, perMillionGoodOutputTokens: 4 * by },
    server: { joulesPerOutputToken: 2 * by, pages: [] },
  });
  const [a, same, worse] = [having(1, figures(1)), having(2, figures(1)), having(3, figures(1.4))];
  const [ofA, ofWorse] = await Promise.all([a, worse].map(readWhole));
  const rows = compareRuns([ofA as Results], [ofWorse as Results]);
  for (const [metric, change, values] of [
    ["request goodput", 1 / 1.4 - 1, [20, 20 / 1.4]],
    ["cost of a million output tokens", 0.4, [3, 4.2]],
    ["cost of a million output tokens within SLOs", 0.4, [4, 5.6]],
    ["energy of an output token", 0.4, [2, 2.8]],
  ] as const) {
    const row = rows.find((each) => each.metric === metric);
    assert.ok(row && Math.abs((row.change ?? 0) - change) < 1e-9, `${metric}: ${JSON.stringify(row)}`);
    assert.ok(Math.abs(row.a - values[0]) < 1e-9 && Math.abs(row.b - values[1]) < 1e-9, metric);
    assert.deepEqual([row.verdict, row.required], ["regression", false], metric);
  }
  const required = (b: string, metric: string) => runCompare(a, b, "--metric", metric);
  assert.equal((await required(worse, "energy-of-an-output-token")).status, 99);
  assert.equal((await required(same, "request-goodput")).status, 96, "one run a side does not exclude 5 %");
  // What one side does not know is no pass.
  assert.equal((await required(write(small(4)), "energy-of-an-output-token")).status, 96);
});

test("a level that was never steady shows no pass", async () => {
  const never = { steady: { state: "never", fromS: 0, untilS: 9, why: "latency rose" } };
  const side = (from: number, figures = {}) => [0, 1, 2, 3].map((i) => having(from + i, figures));
  const compared = async (b: string[]) =>
    runCompare(...side(1), "--", ...b, "--metric", "output-throughput", "--limit", "50");
  const { status, output } = await compared(side(11));
  assert.equal(status, 0, output);
  const restless = await compared([...side(11).slice(1), having(20, never)]);
  assert.equal(restless.status, 96, restless.output);
  assert.match(restless.output, /c4 was never steady in run-\d+: its metrics can show a regression and no pass/);
});

test("as a process of its own: --json prints nothing else, and the verdict is written for pipelines, with a page", async () => {
  const [a, b] = [write(small(1)), write(small(2, 1.3))];
  const out = join(dir, "verdict");
  const summaryPage = join(dir, "step.md");
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["-r", loadTypeScript, join(__dirname, "compare.ts"), a, "--", b, "--json", "--output", out],
    { encoding: "utf8", cwd: join(__dirname, "..", ".."), env: { ...process.env, GITHUB_STEP_SUMMARY: summaryPage } },
  );
  assert.deepEqual([status, stderr], [99, ""]);
  const json = JSON.parse(stdout);
  assert.deepEqual([json.state, json.exitCode, json.differences], ["failed", 99, []]);
  assert.deepEqual(JSON.parse(readFileSync(join(out, "compare.json"), "utf8")), json);
  assert.match(readFileSync(join(out, "compare.junit.xml"), "utf8"), /<failure type="failed" message="REGRESSION: /);
  assert.match(readFileSync(summaryPage, "utf8"), /### ❌ tokenclock compare: run-\d+ and run-\d+\n\nREGRESSION/);
  assert.ok(!existsSync(join(b, "compare.json")), "nowhere else");

  // The page has the same figures, and the runs beside each other.
  const page = readFileSync(join(out, "compare.html"), "utf8");
  assert.match(page, /id="verdict"><strong>REGRESSION<\/strong>/);
  const charts = JSON.parse(/id="charts">([^<]*)</.exec(page)?.[1] ?? "{}");
  const [level] = json.rows.map((row: { level: string }) => row.level);
  const own = json.rows.filter(
    (row: Record<string, unknown>) => row.level === level && row.low !== undefined && row.change !== undefined,
  );
  const { x, series } = charts["change-1"].panels[0];
  assert.deepEqual(
    x.categories,
    own.map(({ metric }: { metric: string }) => metric),
  );
  for (const [i, [at, change]] of series[1].points.entries()) {
    assert.equal(at, i);
    assert.ok(Math.abs(change - 100 * own[i].change) <= 1e-5 * Math.abs(change));
  }
  const curves = charts["ttft-percentiles"].panels[0].series.map(({ name }: { name: string }) => name[0]);
  assert.deepEqual([...new Set(curves)], ["A", "B"]);

  // A comparison that cannot be made leaves none behind that another one made.
  assert.equal((await runCompare(a, a, "--output", out)).status, 104);
  assert.ok(!existsSync(join(out, "compare.html")));
});

test("which folders are whose", () => {
  assert.deepEqual(sidesOf(["a", "b"], {}), [["a"], ["b"]]);
  assert.deepEqual(sidesOf([], { baseline: ["a", "b"], candidate: ["c"] }), [["a", "b"], ["c"]]);
  for (const args of [[], ["a"], ["a", "b", "c"]]) assert.throws(() => sidesOf(args, {}), /name A and B/);
  assert.throws(() => sidesOf(["a"], { baseline: ["a"], candidate: ["c"] }), /name all folders/);
});
