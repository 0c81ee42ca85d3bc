/**
 * Every scenario on the simulated server: its files and formulas against what follows from the server's own truth, computed
 * here. Times may differ by what a busy machine does to a process; counts, tokens and formulas may not.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { type FoldedSecond, foldRecords, foldSeconds } from "../../lib/figures/fold";
import { phaseFigures, phaseSplit } from "../../lib/figures/phase-split";
import { rampFigures, rampLines } from "../../lib/figures/ramp";
import { renderReport } from "../../report/page/render";
import { readResults } from "../../report/read/read";
import { withAttempts } from "../support/attempts";
import { near } from "../support/near";
import {
  firstSendNs,
  lastSendNs,
  type Reported,
  runReported,
  type Seen,
  succeeded,
  trueE2eMs,
  trueSpanS,
} from "../support/reported";
import { levelOf } from "../support/run";
import { scratchDir } from "../support/scratch";
import { largest, mean, quantile, sampleStd, smallest, sum } from "../support/statistics";

const limits = { timeout: 150_000 };

/** One request's latency: a millisecond, and two per cent for what runs in between. */
const latency = { absolute: 1, relative: 0.02 };
/** Spans of many requests: the client's own gaps between requests are not the server's. */
const span = { absolute: 0.03, relative: 0.05 };
const exact = { relative: 1e-9, absolute: 1e-9 };

const tokensIn = (seen: readonly Seen[]) => sum(seen.map(({ truth }) => truth.promptTokens));
const tokensOut = (seen: readonly Seen[]) => sum(seen.map(({ truth }) => truth.outputTokens));

/** Fails unless each picture of a report is a PNG that is not empty. */
function assertPictures({ ended }: Reported, least: number): void {
  const folder = path.join(ended.dir, "pictures");
  const names = readdirSync(folder);
  assert.ok(names.length >= least, `${names.length} pictures`);
  for (const name of names) {
    assert.equal(readFileSync(path.join(folder, name)).subarray(1, 4).toString(), "PNG", name);
    assert.ok(statSync(path.join(folder, name)).size > 2000, name);
  }
}

for (const method of ["GET", "POST"]) {
  test(`A, request benchmark by ${method}: a capped token generator`, limits, async (t) => {
    const targets = path.join(scratchDir(), "targets.txt");
    const asked = {
      GET: ["?output_tokens=300&input_text=abcdefgh", "?output_tokens=30&input_text=abcdefgh"],
      POST: [""],
    };
    writeFileSync(targets, asked[method as "GET"].map((query) => `/tokenizer${query}\n`).join(""));
    await withAttempts(t, async () => {
      const reported = await runReported("concurrency-sweep", ["--tokenizer-cap", "6", "--tokenizer-time", "20ms"], {
        ...{ API: "json", METHOD: method, TARGETS: targets, CONCURRENCY: "4,12", REQUESTS: 72, WARMUP: 0 },
        ...(method === "POST" ? { BODY: '{"output_tokens":120,"input_text":"abcdefghijkl"}' } : {}),
        ...{ INPUT_TOKENS_POINTER: "/input_tokens", OUTPUT_TOKENS_POINTER: "/output_tokens" },
      });
      const rows = reported.rows("request_benchmark");
      const averages = reported.rows("request_benchmark_averages");
      assert.equal(rows.length, 2);
      for (const [i, concurrency] of [4, 12].entries()) {
        const all = reported.seen(`c${concurrency}`);
        const good = succeeded(all);
        const [row, mixed] = [rows[i] ?? {}, averages[i] ?? {}];
        const refused = all.length - good.length;
        assert.equal(all.length, 72);
        assert.equal(refused > 0, concurrency === 12, "only over the cap is a request refused");
        assert.equal(row.concurrency, concurrency);
        assert.equal(row.status_codes, refused > 0 ? `200: ${good.length}, 429: ${refused}` : "200: 72");
        near(row.success_ratio, good.length / 72, "success ratio", exact);
        const latenciesMs = good.map(({ truth }) => trueE2eMs(truth));
        near(row.average_latency_ms, mean(latenciesMs), "average latency", latency);
        near(row.median_latency_ms, quantile(latenciesMs, 0.5), "median latency", latency);
        near(row.shortest_latency_ms, smallest(latenciesMs), "shortest latency", latency);
        near(row.longest_latency_ms, largest(latenciesMs), "longest latency", latency);
        near(row.total_time_s, trueSpanS(all), "total time", span);
        // The rates are those of the steady window: requests that completed inside it.
        const { openNs, closeNs } = reported.level(`c${concurrency}`);
        const windowS = (closeNs - openNs) / 1e9;
        near(row.steady_window_s, windowS, "steady window", exact);
        const inside = good.filter(({ request: { endNs = 0 } }) => endNs > openNs && endNs <= closeNs);
        near(row.requests_per_s, inside.length / windowS, "requests/s", exact);
        near(row.output_token_throughput_per_s, tokensOut(inside) / windowS, "output token throughput", {
          relative: 0.02,
        });
        near(
          row.input_token_throughput_per_s,
          (inside.length / windowS) * (tokensIn(good) / good.length),
          "input token throughput",
          exact,
        );
        near(row.average_input_tokens_per_request, tokensIn(good) / good.length, "input tokens", exact);
        near(row.average_output_tokens_per_request, tokensOut(good) / good.length, "output tokens", exact);
        // With failures mixed in as replies of nothing, as the benchmark does that this one stands for.
        near(mixed.average_output_tokens, tokensOut(good) / good.length, "output tokens of completed ones", exact);
        near(mixed.average_output_tokens_mixed, tokensOut(good) / 72, "output tokens, mixed", exact);
        const withRefusals = all.map(({ truth }) => trueE2eMs(truth));
        near(mixed.average_latency_mixed_ms, mean(withRefusals), "latency, mixed", latency);
        assert.match(reported.ended.stdout, new RegExp(`^  Status codes +${row.status_codes}$`, "m"));
      }
      assertPictures(reported, 3);
    });
  });
}

/** Seconds with times in whole nanoseconds: some processors multiply and add with one rounding, others with two. */
const inNs = (seconds: readonly FoldedSecond[]) =>
  seconds.map(({ t, scheduled, sent, succeeded, failed, scheduledFailed, inFlight, ...times }) => [
    ...[t, scheduled, sent, succeeded, failed, scheduledFailed, inFlight],
    ...[times.meanMs, times.p50Ms, times.p95Ms].map((ms) => Math.round(ms * 1e6)),
  ]);

const workers = [
  "--predict-workers",
  "2",
  "--predict-time",
  "20ms",
  "--predict-queue",
  "8",
  "--predict-timeout",
  "300ms",
];
const rampSettings = { API: "json", BODY: "{}", STAGES: "12s:200", MAX_IN_FLIGHT: 100 };

test("B, ramp: one-by-one inference collapses near its capacity, batched does not; A against B", limits, async (t) => {
  await withAttempts(t, async () => {
    const single = await runReported("arrival-rate-ramp", workers, { ...rampSettings, ENDPOINT: "/predict" });
    const batched = await runReported("arrival-rate-ramp", workers, {
      ...rampSettings,
      ENDPOINT: "/optimized_predict",
    });
    for (const { seen } of [single, batched]) assert.equal(seen().length, (12 * 200) / 2, "the area under the ramp");

    // Each second of the ramp: when the server had answered, on its own clock.
    const begins = single.level("s1").openNs;
    const secondOf = (ns: number) => Math.floor((single.atNs(ns) - begins) / 1e9);
    const rows = single.rows("seconds");
    const all = single.seen();
    assert.equal(sum(rows.map((row) => Number(row.succeeded_per_s))), succeeded(all).length);
    assert.equal(sum(rows.map((row) => Number(row.failed_per_s))), all.length - succeeded(all).length);
    for (const row of rows) {
      const second = Number(row.t_s);
      const ended = all.filter(({ truth }) => secondOf(truth.doneNs) === second);
      // Those that are answered as the second changes may count on either side.
      near(row.succeeded_per_s, succeeded(ended).length, `second ${second}: succeeded`, {
        absolute: 4,
        relative: 0.05,
      });
      // The rate grows by 200 / 12 in each second.
      if (second < 12)
        near(row.scheduled_per_s, (200 / 12) * (second + 0.5), `second ${second}: scheduled`, { absolute: 2 });
      if (succeeded(ended).length > 10) {
        near(
          row.p50_ms,
          quantile(
            succeeded(ended).map(({ truth }) => trueE2eMs(truth)),
            0.5,
          ),
          `second ${second}: p50`,
          {
            absolute: 4,
            relative: 0.1,
          },
        );
      }
    }
    // What the run printed, its summary's seconds and those folded from the records are one.
    for (const { ended, level } of [single, batched]) {
      const { seconds } = ended.summary;
      const folded = foldSeconds((await readResults(ended.dir)).requests ?? [], level("s1").openNs);
      assert.deepEqual(inNs(folded), inNs(seconds));
      assert.ok(ended.stdout.includes(rampLines(folded)), ended.stdout);
    }
    const told = rampFigures(single.ended.summary.seconds);
    assert.equal(single.rows("ramp_figures")[0]?.onset_rate_per_s, told.onset?.scheduledRate);
    near(single.rows("ramp_figures")[0]?.onset_p95_ms, told.onset?.p95Ms ?? 0, "p95 at the onset", exact);
    assert.equal(single.rows("ramp_figures")[0]?.highest_success_rate_per_s, told.highestSuccessRate);
    const csv = single.file("seconds.csv").trim().split("\n").slice(1);
    assert.equal(
      sum(csv.map((line) => Number(line.split(",")[3]))),
      succeeded(all).length,
      "seconds.csv counts them all",
    );

    const [figures] = single.rows("ramp_figures");
    // Two workers of 20 ms each.
    near(figures?.highest_success_rate_per_s, 100, "highest success rate", { relative: 0.1 });
    const onset = Number(figures?.onset_rate_per_s);
    assert.ok(onset > 85 && onset < 170, `failures begin beyond the capacity of 100/s: ${onset}`);
    const { openNs } = single.level("s1");
    const late = all.filter(({ request }) => (request.scheduledNs ?? 0) - openNs >= 7e9);
    const failedShare = 1 - succeeded(late).length / late.length;
    near(figures?.failed_share_at_end, failedShare, "share of failures in the last five seconds", { absolute: 0.05 });
    assert.equal(batched.rows("ramp_figures")[0]?.onset_rate_per_s, null, "the batched endpoint holds");
    assert.equal(batched.ended.summary.total.failed, 0);

    const both = scratchDir();
    await renderReport([single.ended.dir, batched.ended.dir], { outputDir: both });
    const { rows: changes } = JSON.parse(readFileSync(path.join(both, "tables", "a_against_b.json"), "utf8")) as {
      rows: { span: string; statistic: string; a_ms: number; b_ms: number; change: number }[];
    };
    const trueMs = [single, batched].map(({ seen }) => succeeded(seen()).map(({ truth }) => trueE2eMs(truth))) as [
      number[],
      number[],
    ];
    for (const [statistic, figure] of [
      ["average", mean],
      ["p95", (values: number[]) => quantile(values, 0.95)],
    ] as const) {
      const row = changes.find((each) => each.statistic === statistic && each.span === "whole ramp");
      assert.ok(row);
      near(row.a_ms, figure(trueMs[0]), `A's ${statistic}`, { absolute: 2, relative: 0.05 });
      near(row.b_ms, figure(trueMs[1]), `B's ${statistic}`, { absolute: 2, relative: 0.05 });
      near(row.change, row.b_ms / row.a_ms - 1, `change of ${statistic}`, exact);
    }
    assertPictures(single, 1);
  });
});

test("B, ramp of users: each sends one request after the other", limits, async () => {
  const { MAX_IN_FLIGHT: _, ...ofUsers } = rampSettings;
  const { ended, truth, seen } = await runReported("arrival-rate-ramp", workers, {
    ...{ ...ofUsers, ENDPOINT: "/optimized_predict", LOOP: "closed", STAGES: "2s:4,1s:4" },
  });
  assert.ok(seen().length > 20);
  assert.equal(seen().length, truth.requestCount);
  const users = new Set(ended.requests.map(({ vu }) => vu));
  assert.equal(users.size, 4);
  for (const user of users) {
    const own = ended.requests.filter(({ vu }) => vu === user).sort((a, b) => (a.sentNs ?? 0) - (b.sentNs ?? 0));
    for (const [i, { sentNs = 0 }] of own.entries()) {
      assert.ok(i === 0 || sentNs >= (own[i - 1]?.endNs ?? 0), "one at a time");
    }
  }
});

test("C, prefill and decode: both phases in one run, and as two runs that the report joins", limits, async (t) => {
  // One sequence at a time, so that requests must wait in the server.
  const engine = ["--max-num-seqs", "1", "--step-time", "10ms", "--prefill-rate", "20000"];
  const settings = { CONCURRENCY: 2, REQUESTS: 8, INPUT_TOKENS: 200, OUTPUT_TOKENS: 16 };
  await withAttempts(t, async () => {
    const run = await runReported("prefill-decode", engine, settings);
    const [full, prefill] = [run.seen("full"), run.seen("prefill")];
    const levelLines = run.ended.records.filter(({ type }) => type === "level") as { name: string }[];
    for (const levels of [levelLines, run.ended.summary.levels])
      assert.deepEqual(
        levels.map(({ name }) => name),
        ["full", "prefill"],
        "what happens between the phases is no level",
      );
    assert.deepEqual([tokensIn(full), tokensOut(full), tokensIn(prefill), tokensOut(prefill)], [1600, 128, 1600, 8]);
    assert.deepEqual(
      full.map(({ request }) => request.index).sort(),
      prefill.map(({ request }) => request.index).sort(),
      "the same prompts",
    );
    const check = (rows: Record<string, number | string | null>[], e2eS: number, summarizationS: number) => {
      const [row] = rows;
      near(row?.e2e_latency_s, e2eS, "e2e latency", span);
      near(row?.summarization_latency_s, summarizationS, "summarization latency", span);
      const [e2e, summarization] = [Number(row?.e2e_latency_s), Number(row?.summarization_latency_s)];
      near(row?.input_tokens, 1600, "input tokens", exact);
      near(row?.generated_tokens, 128, "generated tokens", exact);
      near(row?.generation_latency_s, e2e - summarization, "generation latency", exact);
      near(row?.summarization_throughput_tokens_per_s, 1600 / summarization, "summarization throughput", exact);
      near(row?.e2e_throughput_tokens_per_s, 128 / e2e, "e2e throughput", exact);
      near(row?.generation_throughput_tokens_per_s, 128 / (e2e - summarization), "generation throughput", exact);
    };
    check(run.rows("prefill_decode"), trueSpanS(full), trueSpanS(prefill));
    // What the run printed, what its summary says and what the records come to are one.
    const [whole] = run.rows("prefill_decode");
    for (const told of [run.ended.summary, foldRecords(run.ended.records)]) {
      const split = phaseSplit(levelOf(told, "full"), levelOf(told, "prefill"));
      assert.equal(whole?.e2e_latency_s, split.e2eLatencyS);
      assert.equal(whole?.summarization_latency_s, split.summarizationLatencyS);
      assert.equal(whole?.summarization_throughput_tokens_per_s, split.summarizationThroughput);
      assert.equal(whole?.generation_throughput_tokens_per_s, split.generationThroughput);
    }
    assert.ok(run.ended.stdout.includes(phaseFigures(run.ended.summary.levels) ?? "nothing"), run.ended.stdout);
    const [, each] = run.rows("prefill_decode");
    near(each?.e2e_latency_s, mean(full.map(({ truth }) => trueE2eMs(truth))) / 1000, "mean e2e", {
      absolute: 0.003,
      relative: 0.02,
    });
    const ttftMs = full.map(({ truth }) => (firstSendNs(truth) - truth.beginNs) / 1e6);
    const latencies = run.rows("phase_latencies").find((row) => row.phase === "full" && row.metric === "TTFT");
    near(latencies?.mean_ms, mean(ttftMs), "mean TTFT", latency);
    const [queueing] = run.rows("queueing");
    assert.equal(queueing?.waiting_max, 1, "two clients, one sequence at a time");
    assert.equal(queueing?.running_max, 1);
    // The second request waits for all of the first.
    assert.ok(Number(queueing?.waiting_share) > 0.5, `${queueing?.waiting_share}`);
    const first = await runReported("prefill-decode", engine, { ...settings, PHASE: "full" });
    const second = await runReported("prefill-decode", engine, { ...settings, PHASE: "prefill" });
    const joined = scratchDir();
    await renderReport([first.ended.dir, second.ended.dir], { outputDir: joined });
    const { rows } = JSON.parse(readFileSync(path.join(joined, "tables", "prefill_decode.json"), "utf8"));
    check(rows, trueSpanS(first.seen("full")), trueSpanS(second.seen("prefill")));
    assertPictures(run, 2);
  });
});

interface MeanStd {
  mean: number;
  std: number;
}
interface BatchFile {
  metadata: Record<string, unknown>;
  results: Record<string, Record<"tokens" | "timings" | "throughput", Record<string, MeanStd>>>;
}

/** The result file of the batch tool, recomputed from the truth of each release. */
function checkBatchFile(
  file: BatchFile,
  size: number,
  runs: Seen[][],
  tokensOf: (seen: readonly Seen[]) => number,
): void {
  const result = file.results[String(size)];
  assert.ok(result, `a result for batches of ${size}`);
  assert.deepEqual(Object.keys(result), ["tokens", "timings", "throughput"]);
  assert.deepEqual(Object.keys(result.tokens), ["input_per_request", "output_per_request"]);
  assert.deepEqual(Object.keys(result.timings), [
    ...["batch_total_seconds", "fastest_seconds", "slowest_seconds", "spread_seconds"],
  ]);
  assert.deepEqual(Object.keys(result.throughput), ["batch_tokens_per_second", "request_tokens_per_second"]);
  const check = (
    found: MeanStd | undefined,
    values: number[],
    what: string,
    allowed: { absolute?: number; relative?: number },
  ) => {
    near(found?.mean, mean(values), `${size}: ${what}`, allowed);
    near(found?.std, sampleStd(values), `${size}: ${what}, std`, {
      absolute: (allowed.absolute ?? 0) + 0.02 * mean(values),
    });
  };
  const all = runs.flat();
  check(
    result.tokens.input_per_request,
    all.map(({ truth }) => truth.promptTokens),
    "input tokens",
    exact,
  );
  check(
    result.tokens.output_per_request,
    all.map(({ truth }) => truth.outputTokens),
    "output tokens",
    exact,
  );
  const timing = { absolute: 0.004, relative: 0.02 };
  const ends = runs.map((seen) => {
    const release = smallest(seen.map(({ truth }) => truth.beginNs));
    return seen.map(({ truth }) => (lastSendNs(truth) - release) / 1e9);
  });
  check(result.timings.batch_total_seconds, runs.map(trueSpanS), "batch total", timing);
  check(result.timings.fastest_seconds, ends.map(smallest), "fastest", timing);
  check(result.timings.slowest_seconds, ends.map(largest), "slowest", timing);
  check(
    result.timings.spread_seconds,
    ends.map((each) => largest(each) - smallest(each)),
    "spread",
    timing,
  );
  const rate = { relative: 0.1 };
  near(
    result.throughput.batch_tokens_per_second?.mean,
    mean(runs.map((seen) => tokensOf(seen) / trueSpanS(seen))),
    `${size}: batch tokens/s`,
    rate,
  );
  near(
    result.throughput.request_tokens_per_second?.mean,
    mean(all.map((each) => (1000 * tokensOf([each])) / trueE2eMs(each.truth))),
    `${size}: request tokens/s`,
    rate,
  );
}

test("D, batches: released behind one barrier, the result file key for key", limits, async (t) => {
  await withAttempts(t, async () => {
    const reported = await runReported("batch-burst", ["--step-time", "10ms"], {
      ...{ BATCH_SIZES: "1,6", RUNS: 3, OUTPUT_TOKENS: 12, WARMUP: 0, TEMPERATURE: 0.5, DESCRIPTION: "for the test" },
    });
    const file = JSON.parse(reported.file("batch-burst.json")) as BatchFile;
    const { batch_sizes, num_runs, max_tokens, temperature, description } = file.metadata;
    assert.deepEqual(
      { batch_sizes, num_runs, max_tokens, temperature, description },
      { batch_sizes: [1, 6], num_runs: 3, max_tokens: 12, temperature: 0.5, description: "for the test" },
    );
    const released = reported.rows("occupancy");
    for (const [i, size] of [1, 6].entries()) {
      const runs = [1, 2, 3].map((run) => reported.seen(`b${size}-${run}`));
      for (const seen of runs) assert.equal(seen.length, size);
      checkBatchFile(file, size, runs, tokensOut);
      const spreads = runs.map((seen) => {
        const begins = seen.map(({ truth }) => truth.beginNs);
        return (largest(begins) - smallest(begins)) / 1e6;
      });
      near(released[i]?.release_spread_max_ms, largest(spreads), "release spread", { absolute: 2 });
      // In flight on the server, over the batch's size.
      const shares = runs.map(
        (seen) => sum(seen.map(({ truth }) => trueE2eMs(truth))) / (1000 * size * trueSpanS(seen)),
      );
      near(released[i]?.mean_occupancy, mean(shares), "mean occupancy", { absolute: 0.05 });
    }
    assertPictures(reported, 2);
  });
});

test("D, batches past the fixed one: staggered, mixed lengths, and refilled", limits, async () => {
  const staggered = await runReported("batch-burst", ["--step-time", "10ms"], {
    ...{
      BATCH_SIZES: 4,
      RUNS: 1,
      OUTPUT_TOKENS: "oneof:4:20",
      INPUT_TOKENS: "uniform:20:400",
      WARMUP: 0,
      STAGGER: "50ms",
    },
  });
  const begins = staggered
    .seen()
    .map(({ truth }) => truth.beginNs)
    .sort((a, b) => a - b);
  near((largest(begins) - smallest(begins)) / 1e6, 150, "from the first to the last start, ms", { absolute: 40 });
  assert.ok(new Set(staggered.seen().map(({ truth }) => truth.promptTokens)).size > 1, "lengths are mixed");

  const refilled = await runReported("batch-burst", ["--step-time", "10ms"], {
    ...{ BATCH_SIZES: 4, RUNS: 3, OUTPUT_TOKENS: "oneof:4:20", WARMUP: 0, REFILL: "true" },
  });
  const seen = refilled.seen("b4");
  assert.equal(seen.length, 12);
  const atOnce = (ns: number) => seen.filter(({ truth }) => truth.beginNs <= ns && lastSendNs(truth) >= ns).length;
  assert.equal(largest(seen.map(({ truth }) => atOnce(truth.beginNs))), 4, "never more than the batch");
  const later = seen
    .map(({ truth }) => truth.beginNs)
    .sort((a, b) => a - b)
    .slice(4);
  const firstEnd = smallest(seen.map(({ truth }) => lastSendNs(truth)));
  const slowestOfFirst = seen
    .map(({ truth }) => truth)
    .sort((a, b) => a.beginNs - b.beginNs)
    .slice(0, 4);
  assert.ok((later[0] ?? 0) >= firstEnd, "a request starts when one has ended");
  assert.ok((later[0] ?? 0) < largest(slowestOfFirst.map(lastSendNs)), "and does not wait for the slowest");
});

test("D, embeddings: batches by length of text", limits, async (t) => {
  await withAttempts(t, async () => {
    const reported = await runReported("embeddings-burst", ["--embedding-time", "40ms", "--embedding-batch", "4"], {
      ...{ BATCH_SIZES: "1,12", RUNS: 2, LENGTHS: "short,60", WARMUP: 0 },
    });
    for (const length of ["short", "60"]) {
      const file = JSON.parse(reported.file(`embeddings-burst-${length}.json`)) as BatchFile;
      for (const size of [1, 12]) {
        const runs = [1, 2].map((run) => reported.seen(`b${size}-${length}-${run}`));
        for (const seen of runs) assert.equal(seen.length, size);
        checkBatchFile(file, size, runs, tokensIn);
      }
    }
    const [long, short] = ["b12-60-1", "b12-short-1"].map((level) => tokensIn(reported.seen(level)));
    assert.ok((long ?? 0) > 12 * 60 && (long ?? 0) > 3 * (short ?? 0), `sixty words a text, ${long} tokens in twelve`);
    assertPictures(reported, 2);
  });
});

test("E, prompt ingestion: the line through TTFT and its slope", limits, async (t) => {
  await withAttempts(t, async () => {
    const reported = await runReported("prompt-ingestion", ["--prefill-rate", "10000"], {
      ...{ INPUT_LENGTHS: "100,500,2000", REQUESTS: 4, WARMUP: 0 },
    });
    const points = reported
      .seen()
      .map(({ truth }): [number, number] => [truth.promptTokens, (firstSendNs(truth) - truth.beginNs) / 1e6]);
    const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
    const slope = sum(points.map(([x, y]) => (x - meanX) * (y - meanY))) / sum(points.map(([x]) => (x - meanX) ** 2));
    // The run's own line, through the median of each length, and that of all requests.
    const [medians, all] = reported.rows("prompt_ingestion");
    assert.deepEqual([medians?.points, all?.points], [3, 12]);
    near(medians?.ingestion_speed_tokens_per_s, 10_000, "the medians' speed", { relative: 0.05 });
    near(all?.us_per_token, 1000 * slope, "time a token", { relative: 0.02 });
    near(all?.ingestion_speed_tokens_per_s, 1000 / slope, "ingestion speed", { relative: 0.02 });
    near(all?.ingestion_speed_tokens_per_s, 10_000, "what the server was told to do", { relative: 0.05 });
    near(all?.intercept_ms, meanY - slope * meanX, "intercept", { absolute: 1 });
    assertPictures(reported, 1);
  });
});

/** The most requests that were being answered at once. */
function mostAtOnce(seen: readonly Seen[], fromNs: (each: Seen) => number, toNs: (each: Seen) => number): number {
  return largest(
    seen.map((each) => seen.filter((other) => fromNs(other) <= fromNs(each) && toNs(other) > fromNs(each)).length),
  );
}

test("E, KV cache profile: the server's gauges on the time axis of the requests", limits, async () => {
  const reported = await runReported(
    "kv-cache-profile",
    [...["--max-num-seqs", "4", "--num-gpu-blocks", "120", "--max-model-len", "1000", "--step-time", "20ms"]],
    { CONCURRENCY: "1,3,8", INPUT_TOKENS: 300, OUTPUT_TOKENS: 20 },
  );
  const polled = JSON.parse(reported.file("server-metrics.json")) as {
    pages: [{ values: { metrics: string[]; points: number[][] } }];
  };
  const { metrics, points } = polled.pages[0].values;
  const column = (name: string) => metrics.indexOf(name) + 1;
  const rows = reported.rows("kv_cache_profile");
  for (const [i, n] of [1, 3, 8].entries()) {
    const seen = reported.seen(`n${n}`);
    assert.equal(seen.length, n);
    const row = rows[i] ?? {};
    assert.equal(row.requests_at_once, n);
    assert.equal(row.completed, n);
    const { openNs, endNs } = reported.level(`n${n}`);
    const within = points.filter(([tNs = 0]) => tNs >= openNs && tNs <= endNs);
    const highest = (name: string) => largest(within.map((point) => point[column(name)] ?? 0));
    near(row.kv_usage_max, highest("vllm:kv_cache_usage_perc"), "KV usage", exact);
    near(row.running_max, highest("vllm:num_requests_running"), "running", exact);
    near(row.waiting_max, highest("vllm:num_requests_waiting"), "waiting", exact);
    // What the gauges must have shown: four at most run, the rest waits; a request of 300 tokens has 19 of 120 blocks.
    assert.ok(Number(row.running_max) <= Math.min(n, 4), `${row.running_max} running`);
    assert.ok(Number(row.running_max) >= 1);
    assert.ok(Number(row.waiting_max) <= n - 1);
    if (n === 8) assert.ok(Number(row.waiting_max) >= 4, "eight requests, four of them wait");
    const kv = Number(row.kv_usage_max);
    assert.ok(kv >= 19 / 120 - 1e-9 && kv <= Math.min(1, (Math.min(n, 4) * 20) / 120) + 1e-9, `KV usage ${kv}`);
    const decoding = mostAtOnce(
      seen,
      ({ truth }) => firstSendNs(truth),
      ({ truth }) => lastSendNs(truth),
    );
    assert.ok(decoding <= 4, `${decoding} at once got tokens`);
    near(row.ttft_max_ms, largest(seen.map(({ truth }) => (firstSendNs(truth) - truth.beginNs) / 1e6)), "TTFT max", {
      absolute: 10,
      relative: 0.05,
    });
  }
  assertPictures(reported, 1);
});

test("E, generation speed: per request, with and without waiting, and the thresholds", limits, async (t) => {
  await withAttempts(t, async () => {
    const reported = await runReported("speed-generation", ["--step-time", "20ms", "--max-num-seqs", "2"], {
      ...{ CONCURRENCY: "1,4", REQUESTS: 8, INPUT_TOKENS: 64, OUTPUT_TOKENS: 16, WARMUP: 0, SPEED_THRESHOLD: 40 },
    });
    const rows = reported.rows("speed_generation");
    const medians: number[] = [];
    for (const [i, n] of [1, 4].entries()) {
      const seen = reported.seen(`c${n}`);
      const speeds = seen.map(({ truth }) => truth.outputTokens / (trueE2eMs(truth) / 1000));
      const row = rows[i] ?? {};
      assert.equal(row.parallel_requests, n);
      assert.equal(row.completed, 8);
      medians.push(quantile(speeds, 0.5));
      near(row.speed_from_beginning_median, quantile(speeds, 0.5), `${n}: median speed`, { relative: 0.05 });
      near(row.speed_from_beginning_p25, quantile(speeds, 0.25), `${n}: p25`, { relative: 0.1 });
      near(
        row.ttft_median_ms,
        quantile(
          seen.map(({ truth }) => (firstSendNs(truth) - truth.beginNs) / 1e6),
          0.5,
        ),
        "TTFT",
        {
          absolute: 3,
          relative: 0.05,
        },
      );
    }
    const [alone = 0, shared = 0] = medians;
    assert.ok(alone > 40 && shared < 40, `the threshold lies between: ${alone} and ${shared} tokens/s`);
    const [header = "", values = ""] = reported.file("thresholds.csv").trim().split("\n");
    assert.equal(header, "speed_threshold,kv_cache_threshold,input_length,output_length");
    assert.equal(values, "1,4,64,16");
    assertPictures(reported, 2);
  });
});
