/** The suite's files from results folders whose requests are known. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type LevelSummary, readResults } from "../report/read/read";
import type { RequestLine } from "../report/read/records";
import { near } from "../test/support/near";
import { quantile } from "../test/support/statistics";
import { cache, ingestion, type RunSpec, requestLine, writeRun } from "../test/support/synthetic";
import { ingestionStep, profileStep, speedStep, suiteOptions } from "./suite-plan";
import { refusalOf } from "./suite-refusals";
import { commonParameters, type Done, flaws, rawResult, writeSuiteReport } from "./suite-report";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-suite-"));
after(() => rmSync(dir, { recursive: true }));
const options = suiteOptions({ baseUrl: "http://127.0.0.1:8000", outputFolder: dir, quick: true }, {}, {});
const none = () => false;
const server = { model: "org/tiny", model_name: "tiny", vllm_version: "0.32", max_model_len: 8192 };
const parameters = commonParameters(options, "tiny", server, "suite-1");
const lengths = { inputTokens: 128, outputTokens: 64 };

async function done(step: Done["step"], spec: RunSpec): Promise<Done> {
  return { step, run: await readResults(writeRun(spec, join(dir, "runs"), step.name)) };
}
const loop = (parallel: number) =>
  cache({
    seed: 30 + parallel,
    shape: "loop",
    parallel: [parallel],
    cacheTokens: 1600,
    slots: 16,
    lengths: [[128, 64]],
  });
const profile = cache({
  seed: 40,
  shape: "burst",
  parallel: [1, 2, 4, 8, 10],
  cacheTokens: 1600,
  slots: 16,
  lengths: [[128, 64]],
});

async function all(): Promise<Done[]> {
  const ingestions = [done(ingestionStep(options, 0), ingestion({ seed: 20, tokensPerS: 8000, baseMs: 12 }))];
  const speeds = [1, 4, 8, 14].map((parallel) => done(speedStep(options, lengths, parallel, 0, none), loop(parallel)));
  return Promise.all([...ingestions, done(profileStep(options, lengths, none), profile), ...speeds]);
}

test("a step with failed requests or a bound client is named, and gives no threshold", async () => {
  const bound: RunSpec = { ...loop(8), validity: { state: "CLIENT-BOUND", reasons: ["queue delay p90 12 ms"] } };
  const failing: RunSpec = loop(8);
  failing.requests = failing.requests.map((line, index) =>
    index < 4 ? requestLine({ level: line.level, index, sentMs: (line.sentNs ?? 0) / 1e6, failure: "http_5xx" }) : line,
  );
  const step = speedStep(options, lengths, 8, 0, none);
  const one = await done(speedStep(options, lengths, 1, 0, none), loop(1));
  assert.deepEqual(flaws(one), []);
  for (const [spec, words] of [
    [bound, "CLIENT-BOUND: queue delay p90 12 ms"],
    [failing, "4 of 32 requests failed (http_5xx 4)"],
  ] as const) {
    const flawed = await done(step, spec);
    assert.deepEqual(flaws(flawed), [words]);
    await writeSuiteReport(dir, [one, flawed], options, parameters);
    assert.equal(
      readFileSync(join(dir, "report", "thresholds.csv"), "utf8"),
      "speed_threshold,input_length,output_length\n,128,64\n",
    );
  }
});

test("raw results have the other tool's keys and agree with the requests", async () => {
  const spec = loop(4);
  const raw = rawResult(await done(speedStep(options, lengths, 4, 0, none), spec), parameters) as {
    parameters: Record<string, unknown>;
    general_metrics: Record<string, number>;
    aggregated_metrics: Record<string, Record<string, number>>;
    errored_queries: unknown[];
  };
  assert.deepEqual(Object.keys(raw), ["parameters", "general_metrics", "aggregated_metrics", "errored_queries"]);
  assert.equal(raw.parameters.n_workers, 4);
  assert.equal(raw.parameters.model, "tiny");
  assert.equal(raw.parameters.max_model_len, 8192, "launch arguments are among the parameters");
  const general = raw.general_metrics;
  const e2eS = (line: RequestLine) => ((line.lastOutputNs ?? 0) - (line.sentNs ?? 0)) / 1e9;
  const total = spec.requests.reduce((sum, line) => sum + e2eS(line), 0);
  assert.equal(general.total_number_of_queries, 16);
  assert.equal(general.total_number_of_generated_tokens, 16 * 64);
  assert.equal(general.total_number_of_ingested_tokens, 16 * 128);
  assert.ok(Math.abs((general.total_time ?? 0) - total) < 1e-9);
  assert.ok(Math.abs((general.speed ?? 0) - (16 * 64) / total) < 1e-6);
  assert.equal(general.max_requests_running, 4);
  assert.equal(general.max_requests_waiting, 0);
  const speeds = spec.requests.map((line) => 64 / e2eS(line)).sort((a, b) => a - b);
  assert.ok(
    Math.abs(
      (raw.aggregated_metrics.speed_from_beginning?.median ?? 0) - ((speeds[7] as number) + (speeds[8] as number)) / 2,
    ) < 1e-6,
  );
  assert.deepEqual(Object.keys(raw.aggregated_metrics.time_to_first_token ?? {}), [
    "mean",
    "median",
    "percentile_1",
    "percentile_5",
    "percentile_10",
    "percentile_25",
    "percentile_75",
    "percentile_90",
    "percentile_95",
    "percentile_99",
  ]);
});

test("raw results of a profile hold the gauges, of an ingestion every query", async () => {
  const profiled = rawResult(await done(profileStep(options, lengths, none), profile), parameters) as {
    kv_cache_profile: Record<string, number>[];
    general_metrics: Record<string, number>;
  };
  assert.deepEqual(Object.keys(profiled.kv_cache_profile[0] ?? {}), [
    "timestamp",
    "gpu_cache_usage_perc",
    "num_requests_running",
    "num_requests_waiting",
  ]);
  // 192 tokens a request, eight of ten fit into 1600.
  assert.equal(Math.max(...profiled.kv_cache_profile.map((point) => point.num_requests_waiting ?? 0)), 2);
  assert.ok(Math.abs((profiled.general_metrics.max_kv_cache ?? 0) - 0.96) < 0.02);
  const ingested = rawResult(
    await done(ingestionStep(options, 0), ingestion({ seed: 20, tokensPerS: 8000, baseMs: 12 })),
    parameters,
  ) as { individual_query: Record<string, number>[] };
  assert.equal(ingested.individual_query.length, 120);
  for (const each of ingested.individual_query)
    assert.ok(Math.abs((each.time_to_first_token ?? 0) - (0.012 + (each.prompt_length ?? 0) / 8000)) < 1e-6);
});

test("report/ has every file of the layout, and thresholds.csv follows from the speeds", async () => {
  const files = await writeSuiteReport(dir, await all(), options, parameters);
  assert.deepEqual(files.map((file) => file.replaceAll("\\", "/")).sort(), [
    "data/prompt_ingestion_graph_data.json",
    "data/total_speed_generation_graph_data.json",
    "kv_cache_profile/graph_kv_cache_profile_input_128_output_64.png",
    "parameters.json",
    "prompt_ingestion_graph.png",
    "report.html",
    "speed_generation/data/speed_generation_graph_data_input_128_output_64.json",
    "speed_generation/speed_generation_graph_input_128_output_64.png",
    "thresholds.csv",
    "total_speed_generation_graph.png",
  ]);
  const json = (name: string) => JSON.parse(readFileSync(join(dir, "report", name), "utf8"));
  assert.equal(json("parameters.json").vllm_version, "0.32");
  const [slope, intercept] = json("data/prompt_ingestion_graph_data.json").fit_coefficients as [number, number];
  assert.ok(Math.abs(1 / slope - 8000) < 1 && Math.abs(intercept - 0.012) < 1e-5, `${1 / slope}, ${intercept}`);
  const data = json("speed_generation/data/speed_generation_graph_data_input_128_output_64.json") as Record<
    string,
    { speed_generation: number[]; max_kv_cache: number; parallel_requests_nb: number }
  >;
  assert.deepEqual(Object.keys(data), ["1", "4", "8", "14"]);
  const largest = (holds: (each: (typeof data)[string]) => boolean) =>
    Math.max(
      0,
      ...Object.values(data)
        .filter(holds)
        .map((each) => each.parallel_requests_nb),
    );
  const speed = largest((each) => (each.speed_generation[1] as number) >= 20);
  const kv = largest((each) => each.max_kv_cache < 0.95);
  assert.equal(
    readFileSync(join(dir, "report", "thresholds.csv"), "utf8"),
    `speed_threshold,kv_cache_threshold,input_length,output_length\n${speed},${kv},128,64\n`,
  );
  assert.equal(kv, 4, "eight requests of 192 tokens fill 0.96 of 1600");
  assert.equal(speed, 14);
  const totals = json("data/total_speed_generation_graph_data.json")["0"] as {
    data: { nb_parallel_requests: number; total_number_of_generated_tokens: number }[];
    input_length: number;
  };
  assert.equal(totals.input_length, 128);
  assert.deepEqual(
    totals.data.map((each) => each.total_number_of_generated_tokens),
    [4, 16, 32, 56].map((requests) => requests * 64),
  );
});

/** A run of one level whose requests all ended like this. */
const refused = (level: string, failure: string, status: number, message?: string, inputTokens = 0): RunSpec => ({
  scenario: "speed-generation",
  levels: [{ name: level, concurrency: 1, openMs: 0, closeMs: 100, labels: inputTokens > 0 ? { inputTokens } : {} }],
  requests: [0, 1, 2].map((index) =>
    requestLine({ level, index, sentMs: 10 * index, failure, status, ...(message === undefined ? {} : { message }) }),
  ),
});
const tooLong = "This model's maximum context length is 2048 tokens. However, your prompt contains 4096 input tokens.";

test("lengths that the server refuses are distinguished from failures", async () => {
  const step = speedStep(options, lengths, 1, 0, none);
  for (const [failure, status, message, words] of [
    ["http_4xx", 400, tooLong, tooLong],
    ["http_4xx", 413, undefined, "(no message)"],
    [
      "http_5xx",
      500,
      "the request exceeds the available context size",
      "the request exceeds the available context size",
    ],
    ["error_event", 200, "input is too long to process", "input is too long to process"],
    ["short", 200, undefined, "the server ended every response after 0 tokens or fewer (finish_reason none)"],
    ["http_4xx", 404, "no such model", undefined],
    ["http_429", 429, "too many requests", undefined],
    ["http_5xx", 500, "out of memory", undefined],
    ["connect", 0, "connection refused", undefined],
  ] as const) {
    const { run } = await done(step, refused("c1", failure, status, message));
    const refusal = refusalOf(run, run.levelSummaries[0] as LevelSummary);
    assert.deepEqual(refusal, words === undefined ? undefined : { status, words }, `${failure} ${status}`);
    assert.equal(flaws({ step, run }).length, words === undefined ? 1 : 0);
  }
  const mixed = refused("c1", "http_4xx", 400, tooLong);
  mixed.requests.push(requestLine({ level: "c1", index: 3, sentMs: 50, ttftMs: 5, gapsMs: [5] }));
  const { run } = await done(step, mixed);
  assert.equal(refusalOf(run, run.levelSummaries[0] as LevelSummary), undefined, "a request completed");
  assert.deepEqual(flaws({ step, run }), ["3 of 4 requests failed (http_4xx 3)"]);
});

test("the page has the thresholds, each speed, the words of a refusal, and no other number", async () => {
  const left = { inputTokens: 4096, outputTokens: 64, step: "generation_speed_x", status: 400, words: tooLong };
  const steps = await all();
  await writeSuiteReport(dir, steps, options, parameters, [left]);
  const folder = join(dir, "report");
  const page = readFileSync(join(folder, "report.html"), "utf8");
  assert.equal(
    readFileSync(join(folder, "thresholds.csv"), "utf8"),
    "speed_threshold,kv_cache_threshold,input_length,output_length\n14,4,128,64\n,,4096,64\n",
  );
  assert.deepEqual(JSON.parse(readFileSync(join(folder, "left_out.json"), "utf8")), [left]);
  const cells = (id: string): string[][] => {
    const table = new RegExp(`<table id="table-${id}"[^>]*>(.*?)</table>`, "s").exec(page)?.[1] ?? "";
    return [...table.matchAll(/<tr>(.*?)<\/tr>/gs)].map(([, row = ""]) =>
      [...row.matchAll(/<t[dh][^>]*>(.*?)<\/t[dh]>/gs)].map(([, text = ""]) => text.replace(/<[^>]*>/g, "")),
    );
  };
  assert.match(page, /id="verdict"><strong>NOT VALID<\/strong>/);
  assert.deepEqual(cells("thresholds").slice(1), [
    ["128", "64", "14", "4"],
    ["4,096", "64", "–", "–"],
  ]);
  const [, ...told] = cells("left_out");
  assert.deepEqual(told, [["4,096", "64", tooLong.replace("'", "&#39;"), "400", "generation_speed_x"]]);
  // The median of each number of parallel requests, from the lines of its requests.
  const shown = cells("speed_generation").slice(1);
  for (const [i, parallel] of [1, 4, 8, 14].entries()) {
    const speeds = loop(parallel).requests.map(
      (line) => 64e9 / ((line.lastOutputNs ?? Number.NaN) - (line.sentNs ?? Number.NaN)),
    );
    const row = shown[i] ?? [];
    assert.deepEqual(row.slice(1, 3), [String(parallel), String(speeds.length)]);
    near(Number(row[4]), quantile(speeds, 0.5), `speed of ${parallel}`, { relative: 0.01 });
  }
  assert.match(page, /npm run suite -- \\\n {2}--base-url http:\/\/127\.0\.0\.1:8000/);
  // A suite without anything left out says so by its verdict.
  await writeSuiteReport(dir, steps, options, parameters);
  assert.match(readFileSync(join(folder, "report.html"), "utf8"), /id="verdict"><strong>VALID<\/strong>/);
  assert.equal(existsSync(join(folder, "left_out.json")), false, "what an earlier report left out is not kept");
});
