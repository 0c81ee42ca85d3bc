import assert from "node:assert/strict";
import { test } from "node:test";
import {
  candidates,
  ingestionCount,
  ingestionStep,
  lengthPairs,
  type Measured,
  nextParallel,
  optionName,
  parallelRequests,
  parseEnvFile,
  profileStep,
  progressLine,
  speedStep,
  suiteOptions,
  suiteSettings,
  variableName,
} from "./suite-plan";

const none = () => false;
const options = (given: Parameters<typeof suiteOptions>[0] = {}) => suiteOptions(given, {}, {});

test("all of benchmark_llm_serving's arguments exist under their names", () => {
  const theirs = [
    "model",
    "model-name",
    "gpu-name",
    "base-url",
    "host",
    "port",
    "dataset-folder",
    "output-folder",
    "step-live-metrics",
    "max-queries",
    "max-duration-prompt-ingestion",
    "max-duration-kv-cache-profile",
    "max-duration-speed-generation",
    "min-duration-speed-generation",
    "target-queries-nb-speed-generation",
    "backend",
    "completions-endpoint",
    "metrics-endpoint",
    "info-endpoint",
    "launch-arguments-endpoint",
    "speed-threshold",
  ];
  const ours = ["input-lengths", "output-lengths", "ingestion-lengths"];
  assert.deepEqual(suiteSettings.map(optionName).sort(), [...theirs, ...ours].sort());
});

test("command line before environment before .env before default", () => {
  const env = parseEnvFile(
    `# a comment\nMAX_QUERIES=7\nexport backend = "vllm"  \nspeed_threshold=30 # tokens/s\nGPU_NAME='A # B'\nnonsense`,
  );
  assert.deepEqual(env, { MAX_QUERIES: "7", BACKEND: "vllm", SPEED_THRESHOLD: "30", GPU_NAME: "A # B" });
  const chosen = suiteOptions({ maxQueries: "9" }, { MAX_QUERIES: "8", speed_threshold: "25" }, env);
  assert.equal(chosen.maxQueries, 9);
  assert.equal(chosen.speedThreshold, 25);
  assert.equal(chosen.backend, "vllm");
  assert.equal(chosen.stepLiveMetrics, 0.01);
  assert.equal(variableName("targetQueriesNbSpeedGeneration"), "TARGET_QUERIES_NB_SPEED_GENERATION");
});

test("host and port have an effect, and base-url is taken with and without /v1", () => {
  assert.equal(options({ host: "gpu", port: "9" }).baseUrl, "http://gpu:9");
  assert.equal(options({ baseUrl: "https://a/b/v1/", host: "gpu" }).baseUrl, "https://a/b");
});

test("a bad value is refused by name, value and what is allowed", () => {
  assert.throws(() => options({ maxQueries: "many" }), /max-queries=many is not a number from 1/);
  assert.throws(
    () => options({ backend: "tgi" }),
    /backend=tgi is not one of happy_vllm, vllm, llama.cpp, sglang, simulator/,
  );
  assert.throws(() => options({ baseUrl: "gpu:8000" }), /base-url=gpu:8000 is not an address/);
});

test("nine pairs of lengths, each file under its name", () => {
  const names = lengthPairs(options()).map((lengths) => profileStep(options(), lengths, none).name);
  assert.equal(new Set(names).size, 9);
  assert.ok(names.includes("kv_cache_profile_input_4096_output_1024"));
  assert.equal(ingestionCount(options()), 4);
  const fourth = ingestionStep(options(), 3);
  assert.equal(fourth.name, "prompt_ingestion_3");
  assert.equal(fourth.env.INPUT_LENGTHS, "32,128,512,1024,2048,3072,4096");
  assert.equal(
    speedStep(options(), { inputTokens: 32, outputTokens: 16 }, 6, 0, none).name,
    "generation_speed_input_32_output_16_nb_requests_6",
  );
});

test("lengths are arguments, and a refused one is left out of the ingestion", () => {
  const chosen = options({ inputLengths: "2048, 64", outputLengths: "8", ingestionLengths: "64,512,2048" });
  assert.deepEqual(lengthPairs(chosen), [
    { inputTokens: 64, outputTokens: 8 },
    { inputTokens: 2048, outputTokens: 8 },
  ]);
  assert.equal(ingestionStep(chosen, 1, [2048]).env.INPUT_LENGTHS, "64,512");
  for (const list of ["", "32,", "32,32", "0", "1.5", "32;64", "1e400"])
    assert.throws(
      () => options({ inputLengths: list }),
      /input-lengths=.* is not a list of different whole numbers from 1/,
    );
  assert.throws(() => suiteOptions({}, { OUTPUT_LENGTHS: "x" }, {}), /output-lengths=x is not a list/);
});

test("the profile sends 1, 2, 3, ... requests, together no more than max-queries", () => {
  const { env } = profileStep(options({ maxQueries: "20" }), { inputTokens: 32, outputTokens: 16 }, none);
  assert.equal(env.CONCURRENCY, "1,2,3,4,5");
  assert.equal(env.METRICS_INTERVAL, "10ms");
  assert.equal(env.INPUT_TOKENS, "32");
});

test("a generation step reaches both target and least duration, and stays within the longest", () => {
  const lengths = { inputTokens: 32, outputTokens: 16 };
  const requests = (rate: number, given = {}) => speedStep(options(given), lengths, 2, rate, none).env;
  assert.equal(requests(0).DURATION, "60s", "nothing is known before the first: it runs for the least duration");
  assert.equal(requests(1).REQUESTS, "100", "60 s give 60 requests, the target is 100");
  assert.equal(requests(5).REQUESTS, "300", "60 s give 300");
  assert.equal(requests(0.05).REQUESTS, "45", "900 s give 45");
  assert.equal(requests(1000).REQUESTS, "1000", "max-queries");
  assert.equal(requests(5, { quick: true }).REQUESTS, "4");
});

test("prompts come from the dataset folder where it has the length", () => {
  const step = (path: string) =>
    profileStep(options({ datasetFolder: "data/" }), { inputTokens: 32, outputTokens: 16 }, (file) => file === path)
      .env;
  assert.equal(step("data/prompts_length_32.json").DATASET, "data/prompts_length_32.json");
  assert.equal(step("elsewhere").DATASET, undefined);
});

/** Searches on a server with these curves; returns what was measured and the thresholds it shows. */
function search(speed: (n: number) => number, kv: ((n: number) => number) | undefined, sweep = false) {
  const measured: Measured[] = [];
  for (;;) {
    const parallel = nextParallel(parallelRequests, measured, 20, 0.95, sweep);
    if (parallel === undefined) break;
    assert.ok(!measured.some((each) => each.parallel === parallel), `${parallel} is measured twice`);
    measured.push({ parallel, speed: speed(parallel), kvUsage: kv?.(parallel) });
  }
  const largest = (holds: (each: Measured) => boolean) =>
    Math.max(0, ...measured.filter(holds).map((each) => each.parallel));
  return {
    steps: measured.length,
    speed: largest((each) => each.speed >= 20),
    kv: largest((each) => (each.kvUsage ?? 0) < 0.95),
  };
}
const truth = (holds: (n: number) => boolean) => Math.max(0, ...parallelRequests.filter(holds));

test("the search finds the thresholds of every monotone server in fewer steps than the sweep", () => {
  let most = 0;
  for (let capacity = 10; capacity <= 1000; capacity += 7) {
    for (const perRequest of [0.01, 0.03, 0.09, 0.4, 1]) {
      const speed = (n: number) => capacity / n;
      const kv = (n: number) => Math.min(1, n * perRequest);
      const found = search(speed, kv);
      assert.equal(
        found.speed,
        truth((n) => speed(n) >= 20),
        `speed at capacity ${capacity}`,
      );
      assert.equal(
        found.kv,
        truth((n) => kv(n) < 0.95),
        `KV at ${perRequest}`,
      );
      most = Math.max(most, found.steps);
    }
  }
  assert.ok(most <= 9, `${most} steps of ${parallelRequests.length}`);
  assert.equal(search((n) => 300 / n, undefined).steps <= 6, true, "without a gauge there is one threshold to find");
});

test("a curve that is not monotone is swept, and --sweep sweeps any", () => {
  const bumpy = (n: number) => (n === 38 ? 25 : n < 6 ? 30 : 10);
  const found = search(bumpy, (n) => (n > 10 ? 0.5 : 0.99));
  assert.equal(found.steps, parallelRequests.length);
  assert.equal(found.speed, 38);
  assert.equal(search((n) => 300 / n, undefined, true).steps, parallelRequests.length);
});

test("quick has fewer numbers and fewer requests", () => {
  assert.ok(candidates(options({ quick: true })).length < candidates(options()).length);
  assert.equal(ingestionCount(options({ quick: true })), 1);
});

test("the progress line shows what is done, what runs and the time left", () => {
  assert.equal(progressLine(5, 10, "x", 200), "[##########----------] 5/10 x, about 3 min left");
  assert.equal(progressLine(0, 10, "x", undefined), "[--------------------] 0/10 x");
  assert.equal(progressLine(10, 10, "x", 7200), "[####################] 10/10 x, about 2.0 h left");
});
