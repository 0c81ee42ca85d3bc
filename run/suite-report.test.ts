/** The suite's files from results folders whose requests are known. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readResults } from "../report/read/read";
import type { RequestLine } from "../report/read/records";
import { cache, ingestion, type RunSpec, requestLine, writeRun } from "../test/support/synthetic";
import { ingestionSteps, profileStep, speedStep, suiteOptions } from "./suite-plan";
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
  const ingestions = ingestionSteps(options).map((step, i) =>
    done(step, ingestion({ seed: 20 + i, tokensPerS: 8000, baseMs: 12 })),
  );
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
  const [step] = ingestionSteps(options);
  const ingested = rawResult(
    await done(step as Done["step"], ingestion({ seed: 20, tokensPerS: 8000, baseMs: 12 })),
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
