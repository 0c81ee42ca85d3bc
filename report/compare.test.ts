import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { chanceOfFailures, changeOfItl, changeOfQuantile, compareRuns, workloadDifferences } from "./compare";
import { PooledItl } from "./itl";
import { readResults } from "./read";
import { ascending, quantile, seededRandom } from "./statistics";
import { type RunSpec, randomSource, requestLine, sweep, writeRun } from "./synthetic";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-compare-"));
after(() => rmSync(dir, { recursive: true }));
let written = 0;
const write = (spec: RunSpec): string => writeRun(spec, dir, `run-${written++}`);
const options = { limit: 0.05, confidence: 0.99, seed: 1 };
const small = (seed: number, slower = 1, config = {}) =>
  sweep({ seed, concurrencies: [4], requestsPerLevel: 300, tokens: 8, slower, config });

const readWhole = (folder: string) => readResults(folder, true);

test("the interval agrees with a bootstrap that draws every resample", () => {
  const random = randomSource(3);
  const a = Array.from({ length: 200 }, () => Math.exp(random.normal(3, 0.4)));
  const b = Array.from({ length: 250 }, () => 1.1 * Math.exp(random.normal(3, 0.4)));
  for (const q of [0.5, 0.9]) {
    const fast = changeOfQuantile(a, b, q, 0.95, 1, 20_000);
    const uniform = seededRandom(99);
    const resample = (values: number[]) =>
      quantile(ascending(values.map(() => values[Math.floor(uniform() * values.length)] as number)), q);
    const changes = ascending(Array.from({ length: 4000 }, () => resample(b) / resample(a) - 1));
    for (const [bound, share] of [
      ["low", 0.025],
      ["high", 0.975],
    ] as const) {
      assert.ok(
        Math.abs(fast[bound] - quantile(changes, share)) < 0.015,
        `${bound} of p${100 * q}: ${fast[bound]} and ${quantile(changes, share)}`,
      );
    }
    assert.ok(Math.abs(fast.change - (quantile(ascending(b), q) / quantile(ascending(a), q) - 1)) < 1e-12);
  }
});

test("the interval holds the true change about as often as it says", () => {
  const random = randomSource(4);
  let held = 0;
  const trials = 400;
  for (let trial = 0; trial < trials; trial++) {
    const draw = () => Array.from({ length: 200 }, () => Math.exp(random.normal(3, 0.5)));
    const { low, high } = changeOfQuantile(draw(), draw(), 0.9, 0.95, trial, 500);
    if (low <= 0 && high >= 0) held++;
  }
  // 95 % of 400 is 380, standard deviation 4.4; a percentile bootstrap is a little off either way.
  assert.ok(held > 360 && held < 400, `${held} of ${trials}`);
});

test("the same workload twice shows no regression, a slower server does", async () => {
  const a = await readWhole(write(small(1)));
  const same = compareRuns(a, await readWhole(write(small(2))), options);
  assert.deepEqual(
    same.filter(({ verdict }) => verdict === "regression"),
    [],
  );
  const slower = compareRuns(a, await readWhole(write(small(3, 1.2))), options);
  for (const row of slower.filter(({ metric }) => /p50/.test(metric))) {
    assert.equal(row.verdict, "regression", row.metric);
    assert.ok((row.low ?? 1) < 0.2 && (row.high ?? 0) > 0.2, `${row.metric}: 20 % is in ${row.low} to ${row.high}`);
  }
  const faster = compareRuns(await readWhole(write(small(3, 1.2))), a, options);
  assert.ok(faster.filter(({ metric }) => /p50/.test(metric)).every(({ verdict }) => verdict === "improvement"));
});

test("the interval of an ITL percentile's change holds the true change about as often as it says", () => {
  const random = randomSource(6);
  /** 60 requests one after the other, each slow or fast as a whole; all 10 % slower where `slower` is 1.1. */
  const pool = (slower: number) => {
    let nowNs = 0;
    const requests = Array.from({ length: 60 }, () => {
      const own = slower * Math.exp(random.normal(2, 0.1));
      const ms = Float64Array.from({ length: 30 }, () => own * Math.exp(random.normal(0, 0.1)));
      const atNs = ms.map((each) => {
        nowNs += each * 1e6;
        return nowNs;
      });
      return { ms, tokens: new Uint32Array(30).fill(1), atNs };
    });
    return new PooledItl(requests);
  };
  const trials = 200;
  for (const q of [0.5, 0.9]) {
    let held = 0;
    let width = 0;
    for (let trial = 0; trial < trials; trial++) {
      const { low, high, change } = changeOfItl(pool(1), pool(1.1), q, 0.95) ?? assert.fail("no interval");
      assert.ok(low < change && change < high);
      if (low <= 0.1 && high >= 0.1) held++;
      width += (high - low) / trials;
    }
    // 95 % of 200 is 190, standard deviation 3.1.
    assert.ok(held >= 183, `${held} of ${trials} hold p${100 * q}`);
    assert.ok(width < 0.3, `p${100 * q}: ${width} wide`);
  }
});

test("too few samples for a quantile are not judged", async () => {
  const rows = compareRuns(await readWhole(write(small(1))), await readWhole(write(small(3, 2))), options);
  assert.equal(
    rows.find(({ metric }) => metric === "TTFT p99")?.verdict,
    "not judged",
    "300 requests have three beyond p99",
  );
  const itl = rows.filter(({ metric }) => metric.startsWith("ITL"));
  assert.deepEqual(
    itl.map(({ metric, verdict }) => [metric, verdict]),
    ["p50", "p90", "p99"].map((p) => [`ITL ${p}`, "regression"]),
    "the 2,100 tokens of as many requests suffice",
  );
  const [short, other] = [7, 8].map((seed) => sweep({ seed, concurrencies: [4], requestsPerLevel: 12, tokens: 8 }));
  const thin = compareRuns(
    await readWhole(write(short ?? assert.fail())),
    await readWhole(write(other ?? assert.fail())),
    options,
  );
  assert.equal(thin.find(({ metric }) => metric === "ITL p99")?.verdict, "not judged");
  assert.equal(thin.find(({ metric }) => metric === "ITL p99")?.low, undefined);
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
    const rows = compareRuns(await readWhole(write(a)), await readWhole(write(b)), options);
    return rows.find(({ metric }) => metric === "failed requests")?.verdict;
  };
  assert.equal(await verdict(0, 0), "no change");
  assert.equal(await verdict(0, 31), "regression");
  assert.equal(await verdict(31, 0), "improvement");
  assert.equal(await verdict(3, 4), "unclear");
  assert.equal(await verdict(4, 3), "no change");
});

test("workloads differ by any setting but those of address, results and judgement", async () => {
  const a = await readWhole(write(small(1)));
  const other = await readResults(
    write(small(1, 1, { OUTPUT_TOKENS: 7, BASE_URL: "http://elsewhere/v1", MODEL: "new", SLO_TTFT: 1 })),
  );
  assert.deepEqual(workloadDifferences(a, other), [{ setting: "OUTPUT_TOKENS", a: undefined, b: 7 }]);
});

function runCompare(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["-r", "ts-node/register/transpile-only", join(__dirname, "compare.ts"), ...args],
    { encoding: "utf8", cwd: join(__dirname, "..") },
  );
  return { status, output: stdout + stderr };
}

test("exit codes: 0, 99 beyond the limit only, 98 for a client-bound run, 104 for another workload", () => {
  const a = write(small(1));
  const slower = write(small(3, 1.2));
  const bound = write({ ...small(2), validity: { state: "CLIENT-BOUND", reasons: [] } });
  const unjudged = write({ ...small(2), validity: { state: "UNJUDGED", reasons: [] } });
  const other = write(small(2, 1, { REQUESTS: 301 }));
  const cut = write(small(2));
  writeFileSync(join(cut, "summary.json"), "{");
  const gone = join(dir, "gone");
  const failed = write(failing(small(2), 31));
  const refused = write({
    ...failing(small(2), 31),
    pass: false,
    reasons: ["llm_request_failed value 0.1, limit <= 0"],
  });
  const two = write(sweep({ seed: 1, concurrencies: [4], requestsPerLevel: 2, tokens: 8 }));
  for (const [args, status, words] of [
    [[a, a], 0, /No regression beyond 5 % is shown/],
    [[a, slower], 99, /REGRESSION: \d+ figures are worse by more than 5 %/],
    [[a, slower, "--limit", "40%"], 0, /No regression beyond 40 %/],
    [[a, bound], 98, /CLIENT-BOUND/],
    [[unjudged, a], 98, /NOT VALID: run-\d+: UNJUDGED, a difference may be the client's/],
    [[a, failed], 99, /REGRESSION: more requests fail in 1 level, with 99 % confidence each/],
    [[a, refused], 98, /NOT VALID: run-\d+: the run failed by its own thresholds \(llm_request_failed value 0.1/],
    [[two, two], 96, /NOTHING JUDGED/],
    [[a, cut], 98, /NOT VALID: run-\d+: summary.json cannot be read/],
    [[a, gone], 98, /NOT VALID: .*gone holds neither summary.json nor records/],
    [[a, a, "--seed", "x"], 1, /a whole number from 0 is needed/],
    [[a, a, "--confidence", "100"], 1, /a percentage between 0 and 100 is needed/],
    [[a, other], 104, /REQUESTS: 300 and 301\nNot compared/],
    [[a, other, "--anyway"], 0, /REQUESTS: 300 and 301/],
  ] as const) {
    const result = runCompare(...args);
    assert.match(result.output, words);
    assert.equal(result.status, status, result.output);
  }
  assert.equal(runCompare(a, slower).output, runCompare(a, slower).output, "the same seed gives the same intervals");
});
