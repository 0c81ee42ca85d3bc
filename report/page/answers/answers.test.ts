/** Every scenario's figures against arithmetic done here, from requests whose times are known. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type FoldedSecond, foldRecords, foldSeconds } from "../../../lib/figures/fold";
import type { LevelSummary } from "../../../lib/figures/level-summary";
import { meanPhaseSplit, phaseFigures, phaseSplit } from "../../../lib/figures/phase-split";
import { rampFigures, rampLines } from "../../../lib/figures/ramp";
import {
  batches,
  cache,
  ingestion,
  phases,
  type RunSpec,
  ramp,
  requestLine,
  sweep,
  writeRun,
} from "../../../test/support/synthetic";
import { readResults } from "../../read/read";
import type { RequestLine } from "../../read/records";
import type { Answer } from "../answer";
import type { Cell, Table } from "../table";
import { arrivalRateRamp } from "./arrival-rate-ramp";
import { type BatchResult, burst } from "./burst";
import { concurrencySweep } from "./concurrency-sweep";
import { kvCacheProfile } from "./kv-cache-profile";
import { prefillDecode } from "./prefill-decode";
import { promptIngestion } from "./prompt-ingestion";
import { speedGeneration } from "./speed-generation";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-answers-"));
after(() => rmSync(dir, { recursive: true }));
let written = 0;
const write = (spec: RunSpec): string => writeRun(spec, dir, `run-${written++}`);

function table(answer: Answer, name: string): Table {
  const found = answer.sections.flatMap(({ tables }) => tables).find((each) => each.name === name);
  assert.ok(found, `there is no table ${name}`);
  return found;
}

function near(actual: Cell | undefined, expected: number, what: string, relative = 1e-9): void {
  assert.equal(typeof actual, "number", `${what} is ${actual}`);
  assert.ok(
    Math.abs((actual as number) - expected) <= relative * Math.max(1e-12, Math.abs(expected)),
    `${what}: ${actual} instead of ${expected}`,
  );
}

const ms = (line: RequestLine, to: "firstOutputNs" | "lastOutputNs" | "endNs"): number =>
  ((line[to] ?? 0) - (line.sentNs ?? 0)) / 1e6;
const average = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const middle = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(half)] as number)
    : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2;
};
const deviation = (values: number[]): number =>
  values.length < 2
    ? 0
    : Math.sqrt(values.reduce((sum, value) => sum + (value - average(values)) ** 2, 0) / (values.length - 1));

test("concurrency sweep, API=json: the request benchmark's figures, with failed requests left out and mixed in", async () => {
  const spec = sweep({ seed: 5, concurrencies: [4, 32], failBeyond: 8, config: { API: "json" } });
  const answer = concurrencySweep([await readResults(write(spec))]);
  const rows = table(answer, "request_benchmark").rows;
  const mixed = table(answer, "request_benchmark_averages").rows;
  for (const [i, concurrency] of [4, 32].entries()) {
    const all = spec.requests.filter((line) => line.level === `c${concurrency}`);
    const good = all.filter((line) => line.outcome === "completed");
    // The steady window, which in these runs is the whole level.
    const { openMs, closeMs } = spec.levels[i] as (typeof spec.levels)[number];
    const seconds = (closeMs - openMs) / 1000;
    const row = rows[i] as Record<string, Cell>;
    assert.equal(row.concurrency, concurrency);
    assert.equal(
      row.status_codes,
      concurrency === 4 ? "200: 100" : `200: ${good.length}, 429: ${all.length - good.length}`,
    );
    near(row.success_ratio, good.length / all.length, "success ratio");
    near(row.total_time_s, seconds, "total time");
    near(row.steady_window_s, seconds, "window");
    near(row.requests_per_s, good.length / seconds, "requests/s: completed ones");
    near(row.average_latency_ms, average(good.map((line) => ms(line, "lastOutputNs"))), "average latency");
    near(row.median_latency_ms, middle(good.map((line) => ms(line, "lastOutputNs"))), "median latency");
    near(row.shortest_latency_ms, Math.min(...good.map((line) => ms(line, "lastOutputNs"))), "shortest");
    near(row.longest_latency_ms, Math.max(...good.map((line) => ms(line, "lastOutputNs"))), "longest");
    near(row.average_output_tokens_per_request, 32, "output tokens");
    near(row.average_input_tokens_per_request, average(good.map((line) => line.inputTokens ?? 0)), "input tokens");
    near(
      row.input_token_throughput_per_s,
      good.reduce((sum, line) => sum + (line.inputTokens ?? 0), 0) / seconds,
      "input throughput",
    );
    near(row.output_token_throughput_per_s, (32 * good.length) / seconds, "output throughput", 0.01);
    const both = mixed[i] as Record<string, Cell>;
    near(both.average_output_tokens_mixed, (32 * good.length) / all.length, "mixed tokens");
    near(
      both.average_latency_mixed_ms,
      average(all.map((line) => ms(line, line.outcome === "completed" ? "lastOutputNs" : "endNs"))),
      "mixed latency",
    );
    near(both.average_latency_ms, average(good.map((line) => ms(line, "lastOutputNs"))), "own latency");
  }
  assert.ok(
    (mixed[1]?.average_latency_mixed_ms as number) < (mixed[1]?.average_latency_ms as number),
    "refusals flatter",
  );
});

test("concurrency sweep: the answer names the best level, the SLO's reach and the failures", async () => {
  const spec = sweep({ seed: 6, failBeyond: 16, sloMs: { ttft: 60 } });
  const { sentences } = concurrencySweep([await readResults(write(spec))]);
  const failed = spec.requests.filter((line) => line.outcome === "failed").length;
  // Half of the requests of 32 clients are refused: that level is none to praise.
  assert.match(sentences[0] as string, /highest with 16 clients, of the levels that passed/);
  assert.match(sentences[1] as string, /^Limits were violated with 32 clients/);
  // The TTFT is near 20 + 1.5 c^1.3 ms: 42 at 8 clients, 75 at 16.
  assert.ok(
    sentences.some((words) => /keeps the SLOs \(TTFT p95 < 60 ms\) up to 8 clients/.test(words)),
    sentences.join("\n"),
  );
  assert.ok(sentences.some((words) => words.includes(`${failed} of 600 requests failed (http_429 ${failed})`)));
  assert.ok(
    !JSON.stringify(concurrencySweep([await readResults(write(spec))]).sections.map(({ tables }) => tables)).includes(
      "request_benchmark",
    ),
    "only API=json has it",
  );
});

test("a sweep without one completed request reports no latency", async () => {
  const requests = Array.from({ length: 10 }, (_, index) =>
    requestLine({ level: "c1", index, sentMs: 10 + index, failure: "connect", status: 0 }),
  );
  const answer = concurrencySweep([
    await readResults(
      write({
        scenario: "concurrency-sweep",
        requests,
        levels: [{ name: "c1", concurrency: 1, openMs: 0, closeMs: 100 }],
      }),
    ),
  ]);
  assert.match(answer.sentences[0] as string, /No request completed/);
  assert.equal(table(answer, "percentiles").rows.filter((row) => row.metric !== "queue_delay").length, 0);
  assert.equal(
    answer.sections.flatMap(({ pictures }) => pictures).filter(({ name }) => !name.startsWith("failures")).length,
    0,
  );
});

test("ramp: every second's counts and response times", async () => {
  const spec = ramp({ seed: 8, capacity: 85 });
  const { rows } = table(arrivalRateRamp([await readResults(write(spec))]), "seconds");
  for (const t of [0, 15, 31, 47, 59]) {
    const row = rows[t];
    const during = (key: "scheduledNs" | "sentNs" | "endNs") =>
      spec.requests.filter((line) => Math.floor((line[key] ?? 0) / 1e9) === t);
    const succeeded = during("endNs").filter((line) => line.outcome === "completed");
    assert.equal(row?.t_s, t);
    assert.equal(row?.scheduled_per_s, during("scheduledNs").length);
    assert.equal(row?.sent_per_s, during("sentNs").length);
    assert.equal(row?.succeeded_per_s, succeeded.length);
    assert.equal(row?.failed_per_s, during("endNs").length - succeeded.length);
    near(row?.average_ms, average(succeeded.map((line) => ms(line, "lastOutputNs"))), "average");
    near(row?.p50_ms, middle(succeeded.map((line) => ms(line, "lastOutputNs"))), "p50");
    const inFlight = spec.requests.filter(
      (line) => (line.sentNs ?? 0) < (t + 1) * 1e9 && (line.endNs ?? 0) >= (t + 1) * 1e9,
    ).length;
    assert.equal(row?.in_flight, inFlight);
  }
});

test("ramp: a second in which nothing succeeded has no response time", async () => {
  const requests = [0, 1, 2].map((s) =>
    s === 1
      ? requestLine({ level: "r1", sentMs: 1 + 1000 * s, failure: "http_5xx" })
      : requestLine({ level: "r1", sentMs: 1 + 1000 * s, ttftMs: 10 }),
  );
  const levels = [{ name: "r1", rate: 1, openMs: 0, closeMs: 3000 }];
  const answer = arrivalRateRamp([await readResults(write({ scenario: "arrival-rate-ramp", requests, levels }))]);
  assert.deepEqual(
    table(answer, "seconds").rows.map((row) => row.p95_ms),
    [10, null, 10],
  );
});

/** The same run, begun so much later. */
const later = (spec: RunSpec, lateMs: number): RunSpec => ({
  ...spec,
  levels: spec.levels.map((level) => ({ ...level, openMs: level.openMs + lateMs, closeMs: level.closeMs + lateMs })),
  requests: spec.requests.map((line) => {
    const moved = { ...line };
    for (const key of ["scheduledNs", "startedNs", "sentNs", "firstOutputNs", "lastOutputNs", "endNs"] as const)
      if (moved[key] !== undefined) moved[key] += lateMs * 1e6;
    return moved;
  }),
});

test("ramp: what a run prints is what the report says", async () => {
  const spec = later(ramp({ seed: 13, capacity: 85 }), 3700);
  // Warm-up comes before the first window.
  spec.requests.unshift(requestLine({ level: "r20", phase: "warmup", sentMs: 2000, ttftMs: 900 }));
  const dir = write(spec);
  const run = await readResults(dir);
  const seconds = run.summary?.seconds ?? [];
  const told = rampFigures(seconds);
  assert.ok(told.onset);
  const [row] = table(arrivalRateRamp([run]), "ramp_figures").rows;
  near(row?.onset_p95_ms, told.onset.p95Ms ?? 0, "p95 at the onset", 1e-12);
  near(row?.p50_at_end_ms, told.lastP50Ms, "p50 at the end", 1e-12);
  near(row?.p50_at_begin_ms, told.firstP50Ms, "p50 at the beginning", 1e-12);
  assert.deepEqual(row, {
    run: "ramp",
    highest_scheduled_rate_per_s: told.highestScheduledRate,
    onset_rate_per_s: told.onset.scheduledRate,
    onset_at_s: told.onset.t,
    onset_failed_share: told.onset.failedShare,
    onset_p95_ms: row?.onset_p95_ms,
    falling_behind_rate_per_s: null,
    falling_behind_at_s: null,
    open_at_end: told.openAtEnd,
    p50_at_begin_ms: row?.p50_at_begin_ms,
    p50_at_end_ms: row?.p50_at_end_ms,
    highest_success_rate_per_s: told.highestSuccessRate,
    failed_share_at_end: told.failedShareAtEnd,
  });
  const folded = foldSeconds(run.requests ?? [], 3700e6);
  assert.equal(rampLines(folded), rampLines(seconds), "the printed lines");
  const counts = (all: readonly FoldedSecond[]) => all.map((s) => [s.t, s.scheduled, s.sent, s.succeeded, s.failed]);
  assert.deepEqual(counts(folded), counts(seconds));
  for (const [t, { scheduledFailed, inFlight, meanMs }] of folded.entries()) {
    assert.deepEqual([scheduledFailed, inFlight], [seconds[t]?.scheduledFailed, seconds[t]?.inFlight], `second ${t}`);
    near(meanMs, seconds[t]?.meanMs ?? 0, `second ${t}: average`);
  }
  rmSync(join(dir, "records.ndjson.gz"));
  const [alone] = table(arrivalRateRamp([await readResults(dir)]), "ramp_figures").rows;
  const ofSummary = { onset_p95_ms: told.onset.p95Ms, p50_at_begin_ms: told.firstP50Ms, p50_at_end_ms: told.lastP50Ms };
  assert.deepEqual(alone, { ...row, ...ofSummary }, "a folder without records");
});

test("ramp: time counts from the ramp's beginning, however long the set-up took", async () => {
  const spec = ramp({ seed: 8, capacity: 85 });
  const [first, second] = [
    arrivalRateRamp([await readResults(write(spec))]),
    arrivalRateRamp([await readResults(write(later(spec, 3700)))]),
  ];
  assert.deepEqual(table(second, "seconds").rows, table(first, "seconds").rows);
  assert.deepEqual(table(second, "ramp_figures").rows, table(first, "ramp_figures").rows);
});

test("ramp: version B against version A on the same ramp, in per cent", async () => {
  const a = ramp({ seed: 9, capacity: 1000 });
  const b = ramp({ seed: 9, capacity: 1000, slower: 0.75 });
  const answer = arrivalRateRamp([await readResults(write(a)), await readResults(write(b))]);
  const rows = table(answer, "a_against_b").rows.filter((row) => row.span === "whole ramp");
  assert.deepEqual(
    rows.map((row) => row.statistic),
    ["average", "p50", "p95"],
  );
  for (const row of rows) near(row.change, -0.25, `change of ${row.statistic}`, 1e-4);
  near(rows[0]?.a_ms, average(a.requests.map((line) => ms(line, "lastOutputNs"))), "A's average");
  assert.match(answer.sentences[0] as string, /average -25\.0 %/);
  const other = arrivalRateRamp([
    await readResults(write(a)),
    await readResults(write({ ...b, config: { ...b.config, STAGES: "else" } })),
  ]);
  assert.match(other.sentences[0] as string, /not follow the same ramp \(STAGES/);
});

test("prefill and decode: the formulas, from one run and from two folders", async () => {
  const both = phases({ seed: 10 });
  const full = both.requests.filter((line) => line.level === "full");
  const prefill = both.requests.filter((line) => line.level === "prefill");
  const wallS = (lines: RequestLine[]) =>
    (Math.max(...lines.map((line) => line.lastOutputNs ?? 0)) - Math.min(...lines.map((line) => line.sentNs ?? 0))) /
    1e9;
  const input = full.reduce((sum, line) => sum + (line.inputTokens ?? 0), 0);
  const apart = [write(phases({ seed: 10, only: "full" })), write(phases({ seed: 10, only: "prefill" }))] as const;
  const answers = [
    prefillDecode([await readResults(write(both))]),
    prefillDecode([await readResults(apart[0]), await readResults(apart[1])]),
    prefillDecode([await readResults(apart[1]), await readResults(apart[0])]),
  ];
  for (const answer of answers) {
    const [whole, each] = table(answer, "prefill_decode").rows;
    near(whole?.input_tokens, input, "input tokens");
    near(whole?.generated_tokens, 20 * 50, "generated tokens");
    near(whole?.e2e_latency_s, wallS(full), "e2e latency");
    near(whole?.summarization_latency_s, wallS(prefill), "summarization latency");
    near(whole?.generation_latency_s, wallS(full) - wallS(prefill), "generation latency");
    near(whole?.summarization_throughput_tokens_per_s, input / wallS(prefill), "summarization throughput");
    near(whole?.e2e_throughput_tokens_per_s, 1000 / wallS(full), "e2e throughput");
    near(whole?.generation_throughput_tokens_per_s, 1000 / (wallS(full) - wallS(prefill)), "generation throughput");
    // One request: 49 gaps of 10 ms after a prefill at 2 tokens/ms.
    near(each?.generation_latency_s, 0.49, "generation of one request", 1e-6);
    near(each?.summarization_latency_s, input / 20 / 2 / 1000, "prefill of one request", 1e-6);
    near(
      table(answer, "phase_latencies").rows.find((row) => row.phase === "full" && row.metric === "TPOT")?.mean_ms,
      10,
      "TPOT",
      1e-6,
    );
  }
});

test("prefill and decode: what a run prints is what the report says, to the last bit", async () => {
  const { requests, ...spec } = phases({ seed: 12 });
  const late = requests.at(-1)?.endNs ?? 0;
  const both: RunSpec = {
    ...spec,
    requests: [
      // Neither a warm-up nor a failed request belongs to what the phases took.
      requestLine({ level: "full", phase: "warmup", sentMs: 1, ttftMs: 200, gapsMs: [10], inputTokens: 300 }),
      ...requests,
      requestLine({ level: "prefill", index: 20, sentMs: 2 + late / 1e6, failure: "timeout", failedAfterMs: 9000 }),
    ],
  };
  const run = await readResults(write(both));
  const [whole, each] = table(prefillDecode([run]), "prefill_decode").rows;
  const lines = both.levels.map(({ name, openMs, closeMs }) => ({
    ...{ type: "level" as const, name, openNs: openMs * 1e6, closeNs: closeMs * 1e6, endNs: closeMs * 1e6 },
  }));
  for (const [how, levels] of [
    ["summary", run.levelSummaries],
    ["records", foldRecords([...lines, ...both.requests]).levels],
  ] as const) {
    const [full, prefill] = levels as [LevelSummary, LevelSummary];
    const { e2eLatencyS, summarizationLatencyS, generationThroughput } = phaseSplit(full, prefill);
    assert.equal(whole?.e2e_latency_s, e2eLatencyS, how);
    assert.equal(whole?.summarization_latency_s, summarizationLatencyS, how);
    assert.equal(whole?.generation_throughput_tokens_per_s, generationThroughput, how);
    near(each?.e2e_latency_s, meanPhaseSplit(full, prefill).e2eLatencyS, `${how}: one request`, 1e-12);
    assert.equal(phaseFigures(levels), phaseFigures(run.levelSummaries), "the printed lines");
  }
});

test("prefill and decode: queueing in client and server is shown, and a missing phase is reported", async () => {
  const answer = prefillDecode([await readResults(write(phases({ seed: 10 })))]);
  const [full] = table(answer, "queueing").rows;
  near(full?.queue_delay_mean_ms, 0.2, "queue delay", 1e-5);
  near(full?.waiting_mean, 0.25, "waiting on average");
  near(full?.waiting_max, 1, "most waiting");
  near(full?.waiting_share, 0.25, "share of polls with requests waiting");
  const half = prefillDecode([await readResults(write(phases({ seed: 10, only: "full" })))]);
  assert.match(half.sentences[0] as string, /no completed request of phase prefill/);
});

for (const oneLevelPerSize of [false, true]) {
  test(`batches: the exact JSON of the other tool, a level a ${oneLevelPerSize ? "size" : "run"}`, async () => {
    const spec = batches({ seed: 11, sizes: [1, 8, 64], runs: 3, oneLevelPerSize });
    const answer = burst([await readResults(write(spec))]);
    assert.deepEqual(
      answer.files.map(({ name }) => name),
      ["batch-burst.json"],
    );
    const text = answer.files[0]?.content ?? "";
    const { metadata, results } = JSON.parse(text) as {
      metadata: Record<string, unknown>;
      results: Record<string, BatchResult>;
    };
    assert.deepEqual(Object.keys(metadata), [
      "timestamp",
      "model",
      "dataset_key",
      "api_base",
      "batch_sizes",
      "num_runs",
      "max_tokens",
      "temperature",
      "seed",
      "warmup_runs",
      "description",
      "std",
    ]);
    assert.deepEqual(metadata.batch_sizes, [1, 8, 64]);
    assert.equal(metadata.num_runs, 3);
    assert.deepEqual(Object.keys(results), ["1", "8", "64"]);
    for (const size of [1, 8, 64]) {
      const result = results[String(size)] as BatchResult;
      assert.deepEqual(Object.keys(result), ["tokens", "timings", "throughput"]);
      assert.deepEqual(Object.keys(result.tokens), ["input_per_request", "output_per_request"]);
      assert.deepEqual(Object.keys(result.timings), [
        "batch_total_seconds",
        "fastest_seconds",
        "slowest_seconds",
        "spread_seconds",
      ]);
      assert.deepEqual(Object.keys(result.throughput), ["batch_tokens_per_second", "request_tokens_per_second"]);
      for (const group of Object.values(result))
        for (const value of Object.values(group)) assert.deepEqual(Object.keys(value as object), ["mean", "std"]);

      const all = spec.requests.filter((line) => line.level.split(".")[0] === `b${size}`);
      const runs = [0, 1, 2].map((run) => all.slice(run * size, (run + 1) * size));
      const starts = runs.map((lines) => Math.min(...lines.map((line) => line.sentNs ?? 0)));
      const ends = runs.map((lines, i) =>
        lines.map((line) => ((line.lastOutputNs ?? 0) - (starts[i] as number)) / 1e9),
      );
      const totals = ends.map((seconds) => Math.max(...seconds));
      const fastest = ends.map((seconds) => Math.min(...seconds));
      const perBatch = runs.map(
        (lines, i) => lines.reduce((sum, line) => sum + (line.outputTokens ?? 0), 0) / (totals[i] as number),
      );
      const perRequest = all.map((line) => (1000 * (line.outputTokens ?? 0)) / ms(line, "lastOutputNs"));
      for (const [what, actual, values] of [
        ["total", result.timings.batch_total_seconds, totals],
        ["fastest", result.timings.fastest_seconds, fastest],
        ["slowest", result.timings.slowest_seconds, totals],
        ["spread", result.timings.spread_seconds, totals.map((total, i) => total - (fastest[i] as number))],
        ["batch throughput", result.throughput.batch_tokens_per_second, perBatch],
        ["request throughput", result.throughput.request_tokens_per_second, perRequest],
        ["output tokens", result.tokens.output_per_request, all.map((line) => line.outputTokens ?? 0)],
        ["input tokens", result.tokens.input_per_request, all.map((line) => line.inputTokens ?? 0)],
      ] as const) {
        near(actual.mean, average([...values]), `${what} of ${size}`);
        near(actual.std, deviation([...values]), `std of ${what} of ${size}`, 1e-6);
      }
    }
  });
}

test("batches: occupancy and release spread of a batch that is known", async () => {
  // Two requests sent 1 ms apart: one for 100 ms, one for 49 ms. Full from 1 to 50 of 100 ms, busy 149 of 200.
  const requests = [
    requestLine({ level: "b2", index: 0, sentMs: 10, ttftMs: 100 }),
    requestLine({ level: "b2", index: 1, sentMs: 11, ttftMs: 49 }),
  ];
  const answer = burst([
    await readResults(
      write({ scenario: "batch-burst", requests, levels: [{ name: "b2", batchSize: 2, openMs: 10, closeMs: 110 }] }),
    ),
  ]);
  const [row] = table(answer, "occupancy").rows;
  near(row?.mean_occupancy, 149 / 200, "mean occupancy");
  near(row?.full_share, 49 / 100, "time full");
  near(row?.release_spread_max_ms, 1, "release spread");
});

test("embeddings: throughput counts input tokens; variants get a file each", async () => {
  const spec = batches({ seed: 12, sizes: [4, 16], runs: 2, embeddings: true });
  for (const [i, level] of spec.levels.entries()) level.labels = { ...level.labels, length: i < 2 ? "short" : "long" };
  const answer = burst([await readResults(write(spec))]);
  assert.deepEqual(answer.files.map(({ name }) => name).sort(), [
    "embeddings-burst-long.json",
    "embeddings-burst-short.json",
  ]);
  const short = JSON.parse(answer.files.find(({ name }) => name.includes("short"))?.content ?? "") as {
    results: Record<string, BatchResult>;
  };
  assert.deepEqual(Object.keys(short.results), ["4"]);
  const lines = spec.requests.filter((line) => line.level === "b4.1" || line.level === "b4.2");
  near(
    short.results["4"]?.throughput.request_tokens_per_second.mean,
    average(lines.map((line) => (1000 * (line.inputTokens ?? 0)) / ms(line, "endNs"))),
    "input tokens/s of a request",
  );
});

test("failed requests of a batch are left out, not counted as zeros", async () => {
  const requests = [
    requestLine({ level: "b2", index: 0, sentMs: 0.001, ttftMs: 100, gapsMs: [50] }),
    requestLine({ level: "b2", index: 1, sentMs: 0.001, failure: "http_5xx" }),
  ];
  const answer = burst([
    await readResults(
      write({ scenario: "batch-burst", requests, levels: [{ name: "b2", batchSize: 2, openMs: 0, closeMs: 150 }] }),
    ),
  ]);
  const { results } = JSON.parse(answer.files[0]?.content ?? "") as { results: Record<string, BatchResult> };
  near(results["2"]?.tokens.output_per_request.mean, 2, "tokens of the one that completed");
  near(results["2"]?.timings.batch_total_seconds.mean, 0.15, "total");
  near(results["2"]?.timings.batch_total_seconds.std, 0, "one run");
});

test("prompt ingestion: the speed of the server behind the noise, exactly without noise", async () => {
  const exact = promptIngestion([await readResults(write(ingestion({ seed: 13, tokensPerS: 8000, baseMs: 12 })))]);
  const [row] = table(exact, "prompt_ingestion").rows;
  near(row?.ingestion_speed_tokens_per_s, 8000, "speed", 1e-4);
  near(row?.intercept_ms, 12, "intercept", 1e-3);
  near(row?.r2, 1, "R squared", 1e-6);
  const noisy = promptIngestion([
    await readResults(write(ingestion({ seed: 14, tokensPerS: 8000, baseMs: 12, noiseMs: 10 }))),
  ]);
  // The slope's standard error: 10 ms / (1170 tokens x sqrt(120)) = 0.78 µs of 125, so that 3 % is five of them.
  near(table(noisy, "prompt_ingestion").rows[0]?.ingestion_speed_tokens_per_s, 8000, "speed", 0.03);
});

test("prompt ingestion: one disturbed request does not pass unseen", async () => {
  const spec = ingestion({ seed: 13, tokensPerS: 8000, baseMs: 12 });
  const worst = spec.requests.find((line) => (line.inputTokens ?? 0) > 3800) as RequestLine;
  for (const key of ["firstOutputNs", "lastOutputNs", "endNs"] as const) worst[key] = (worst[key] ?? 0) + 3e9;
  const rows = table(promptIngestion([await readResults(write(spec))]), "prompt_ingestion").rows;
  const [medians, all, cleaned] = rows;
  near(medians?.ingestion_speed_tokens_per_s, 8000, "the median of ten does not move", 1e-4);
  assert.ok((all?.r2 as number) < 0.9);
  assert.equal(all?.ingestion_speed_tokens_per_s, null, "no speed from a line that explains so little");
  assert.ok(Math.abs((cleaned?.us_per_token as number) / 125 - 1) < Math.abs((all?.us_per_token as number) / 125 - 1));
});

test("KV cache profile: what the gauges reached while n requests ran at once", async () => {
  // 192 tokens a request in a cache of 1000: five fit, so that with eight three wait.
  const spec = cache({ seed: 15, shape: "burst", parallel: [1, 4, 8], cacheTokens: 1000, slots: 16 });
  const answer = kvCacheProfile([await readResults(write(spec))]);
  const rows = table(answer, "kv_cache_profile").rows;
  assert.deepEqual(
    rows.map((row) => [row.requests_at_once, row.running_max, row.waiting_max]),
    [
      [1, 1, 0],
      [4, 4, 0],
      [8, 5, 3],
    ],
  );
  near(rows[0]?.kv_usage_max, 0.192, "usage of one", 0.02);
  near(rows[2]?.kv_usage_max, 0.96, "usage of five", 0.02);
  assert.ok(
    answer.sentences.some((words) => /full \(95 %\) from 8 on; requests wait from 8 on/.test(words)),
    answer.sentences.join("\n"),
  );
  assert.ok(
    answer.sentences.some((words) => /holds about (9[5-9]\d|1,0[0-4]\d) tokens/.test(words)),
    answer.sentences.join("\n"),
  );
});

test("speed generation: speeds with and without waiting, and thresholds.csv", async () => {
  const spec = cache({
    seed: 16,
    shape: "loop",
    parallel: [1, 4, 8, 14],
    cacheTokens: 1600,
    slots: 16,
    lengths: [
      [128, 64],
      [32, 16],
    ],
  });
  const answer = speedGeneration([await readResults(write({ ...spec, config: { SPEED_THRESHOLD: 40 } }))]);
  const rows = table(answer, "speed_generation").rows.filter((row) => row.lengths === "128 in, 64 out");
  for (const row of rows) {
    const lines = spec.requests.filter((line) => line.level === `i128-o64-n${row.parallel_requests}`);
    near(
      row.speed_from_beginning_median,
      middle(lines.map((line) => (1000 * 64) / ms(line, "lastOutputNs"))),
      "with waiting",
    );
    near(
      row.speed_without_waiting_median,
      middle(lines.map((line) => (1000 * 63) / (ms(line, "lastOutputNs") - ms(line, "firstOutputNs")))),
      "without waiting",
      0.001,
    );
    near(row.ttft_median_ms, middle(lines.map((line) => ms(line, "firstOutputNs"))), "TTFT");
  }
  const csv = answer.files.find(({ name }) => name === "thresholds.csv")?.content ?? "";
  const [header, ...lines] = csv.trim().split("\n");
  assert.equal(header, "speed_threshold,kv_cache_threshold,input_length,output_length");
  const largest = (holds: (row: Record<string, Cell>) => boolean) =>
    Math.max(0, ...rows.filter(holds).map((row) => row.parallel_requests as number));
  const speed = largest((row) => (row.speed_from_beginning_median as number) >= 40);
  const kv = largest((row) => (row.max_kv_usage as number) < 0.95);
  assert.equal(speed, 8, "with 14 in eight places most of the time is waiting");
  assert.equal(kv, 4);
  assert.ok(lines.includes(`${speed},${kv},128,64`), csv);
});

test("speed generation: a server without a KV gauge has no KV column", async () => {
  const spec = cache({ seed: 16, shape: "loop", parallel: [1, 4], cacheTokens: 1600, slots: 16 });
  const answer = speedGeneration([await readResults(write({ ...spec, points: [] }))]);
  assert.equal(answer.files[0]?.content, "speed_threshold,input_length,output_length\n4,128,64\n");
});
