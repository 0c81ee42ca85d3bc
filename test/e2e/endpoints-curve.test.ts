/** MLPerf Endpoints' curve: each point recomputed from the records, what is not by the rules, and the report. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import type { LevelLine, RequestLine } from "../../lib/figures/records";
import { renderReport } from "../../report/page/render";
import { run } from "../support/run";
import { type SimulatedServer, startServer } from "../support/simulated";

const limits = { timeout: 120_000 };
let server: SimulatedServer;
before(async () => {
  server = await startServer("--max-num-seqs", "16");
});
after(() => server.stop());

const load = { INPUT_TOKENS: 8, OUTPUT_TOKENS: 6, WARMUP: "50ms", CURVE_MAX: 48, DURATION: "250ms" };

/** By numpy's default, from the definition. */
function p90(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = 0.9 * (sorted.length - 1);
  const [low = Number.NaN, high = low] = [sorted[Math.floor(rank)], sorted[Math.ceil(rank)]];
  return low + (high - low) * (rank % 1);
}

/** System tokens/s, tokens/s per user and TTFT p90 of the level's window, from stamps alone. */
function pointOf(level: LevelLine, requests: readonly RequestLine[]) {
  const steady = requests.filter((line) => line.level === level.name && line.phase === "steady");
  const ttft = steady.map((line) => ((line.firstOutputNs ?? Number.NaN) - (line.sentNs ?? Number.NaN)) / 1e6);
  const tpot = steady.map((line) => ((line.lastOutputNs ?? Number.NaN) - (line.firstOutputNs ?? Number.NaN)) / 1e6 / 5);
  return { requests: steady.length, ttftP90Ms: p90(ttft), tpsPerUser: 1000 / p90(tpot) };
}

test("seven points by default: regions, figures and the step are what the records say", limits, async () => {
  const ended = await run("endpoints-curve", { ...load, BASE_URL: server.baseUrl });
  // Whether a busy machine makes the run CLIENT-BOUND is of no matter here.
  assert.equal(ended.summary.total.failed, 0, ended.stdout + ended.stderr);
  const levels = ended.records.filter((each): each is LevelLine => each.type === "level");
  // The lowest, and 1 + 47^(k/6) for k = 1 to 6: 2.90, 4.61, 7.86, 14.02, 25.7, 48.
  assert.deepEqual(
    levels.map(({ concurrency }) => concurrency),
    [1, 3, 5, 8, 14, 26, 48],
  );
  await renderReport(ended.dir);
  const { rows } = JSON.parse(readFileSync(path.join(ended.dir, "tables", "curve.json"), "utf8")) as {
    rows: Record<string, string | number>[];
  };
  assert.deepEqual(
    rows.map(({ region }) => region),
    ["Ultra Low", "Low", "Low", "Medium", "Medium", "High", "High"],
  );
  const printed = ended.stdout.split("\n").filter((line) => /^(Ultra Low|Low|Medium|High) /.test(line));
  assert.equal(printed.length, 7, ended.stdout);
  const near = (actual: unknown, expected: number, what: string, share = 1e-6) =>
    assert.ok(Math.abs(Number(actual) - expected) <= share * expected, `${what}: ${actual} instead of ${expected}`);
  for (const [i, level] of levels.entries()) {
    const row = rows[i] ?? {};
    const truth = pointOf(level, ended.requests);
    const summed = ended.summary.levels[i];
    assert.equal(row.requests, truth.requests, level.name);
    near(row.ttft_p90_ms, truth.ttftP90Ms, `TTFT of ${level.name}`);
    near(row.tokens_per_s_per_user, truth.tpsPerUser, `tokens/s per user of ${level.name}`);
    near(row.system_tokens_per_s, summed?.outputThroughput ?? 0, `system tokens/s of ${level.name}`);
    const cells = (printed[i] ?? "").split(/ {2,}/);
    assert.equal(cells[1], String(level.concurrency));
    // Three digits or more are shown.
    near(cells[2], truth.ttftP90Ms, `printed TTFT of ${level.name}`, 0.01);
    near(cells[4], truth.tpsPerUser, `printed tokens/s per user of ${level.name}`, 0.01);
    const dominated = rows.some(
      (other) =>
        other !== row &&
        Number(other.tokens_per_s_per_user) >= Number(row.tokens_per_s_per_user) &&
        Number(other.system_tokens_per_s) >= Number(row.system_tokens_per_s),
    );
    assert.equal(row.on_step, dominated ? "no" : "yes", level.name);
    assert.equal(cells[5], row.on_step);
  }
  assert.match(ended.stdout, /^not by the rules: c1, c3, c5, c8, c14, c26, c48: shorter than the 600 s/m);
  const page = readFileSync(path.join(ended.dir, "report.html"), "utf8");
  assert.match(page, /The regions are Ultra Low 1, Low 2-5, Medium 6-14, High 15-48\./);
  assert.match(page, /Not by the rules: c1, c3, /);
  assert.match(page, /id="picture-endpoints-curve"/);
});

test("points that break the rules are reported in a short run and refused in a full one", limits, async () => {
  const { CURVE_MAX: _, ...own } = load;
  const two = { ...own, CONCURRENCY: "1,8", BASE_URL: server.baseUrl };
  const short = await run("endpoints-curve", two);
  assert.equal(short.summary.total.failed, 0, short.stdout + short.stderr);
  assert.match(short.stdout, /^not by the rules: 2 points; the rules ask for 7/m);
  assert.match(short.stdout, /^not by the rules: the highest concurrency is 8; the rules ask for more than 32/m);
  assert.match(short.stdout, /^- +1 /m);
  const { DURATION: __, ...untimed } = two;
  const full = await run("endpoints-curve", { ...untimed, CURVE_PROFILE: "full" });
  assert.equal(full.code, 104, full.stderr);
  assert.match(full.stderr, /CONCURRENCY=1,8: 2 points; the rules ask for 7.*list other points/);
  assert.equal(full.requests.length, 0);
});
