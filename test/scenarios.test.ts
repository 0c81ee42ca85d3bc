/** Every scenario on the simulated server, small: it sends what it says, and every request completes. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { scenarioNames } from "../build/bundle";
import type { RequestLine } from "../lib/records";
import { type EndedRun, type RunSettings, run as runScenario } from "./support/run";
import { scratchDir } from "./support/scratch";
import { startServer } from "./support/simulated";

interface Row {
  scenario: string;
  settings: RunSettings;
  /** Steady requests by level. */
  levels: Record<string, number>;
  /** What is special about it. */
  check?(run: EndedRun): void;
}

/** Steady requests by their number in the level. */
const steady = (run: EndedRun): RequestLine[] =>
  run.requests.filter(({ phase }) => phase === "steady").sort((a, b) => (a.index ?? 0) - (b.index ?? 0));

async function serverFor(t: TestContext): Promise<string> {
  const server = await startServer();
  t.after(server.stop);
  return server.baseUrl;
}

const rows: Row[] = [
  {
    scenario: "concurrency-sweep",
    settings: {
      CONCURRENCY: "1,3",
      REQUESTS: "5",
      OUTPUT_TOKENS: "3",
      API: "completions",
      TOKEN_IDS: "true",
      INPUT_TOKENS: "40",
    },
    levels: { c1: 5, c3: 5 },
    check(run) {
      for (const { inputTokens, outputTokens } of steady(run)) assert.deepEqual([inputTokens, outputTokens], [40, 3]);
    },
  },
  {
    scenario: "arrival-rate-ramp",
    settings: { RATE: "10,20", STAGES: "", DURATION: "1s", OUTPUT_TOKENS: "2", MAX_IN_FLIGHT: "10", INPUT_TOKENS: "8" },
    levels: { r10: 10, r20: 20 },
    check(run) {
      assert.match(run.stdout, /highest sustained success rate/);
      const csv = readFileSync(path.join(run.dir, "seconds.csv"), "utf8").trim().split("\n");
      assert.match(csv[0] ?? "", /^t_s,asked,sent,succeeded,failed/);
      const asked = csv.slice(1).reduce((sum, line) => sum + Number(line.split(",")[1]), 0);
      assert.equal(asked, 30);
    },
  },
  {
    scenario: "prefill-decode",
    settings: { CONCURRENCY: "2", REQUESTS: "4", INPUT_TOKENS: "64", OUTPUT_TOKENS: "8" },
    levels: { full: 4, prefill: 4 },
    check(run) {
      const requests = steady(run);
      const tokens = (level: string, key: "inputTokens" | "outputTokens") =>
        requests.filter((each) => each.level === level).map((each) => each[key]);
      assert.deepEqual(tokens("full", "outputTokens"), [8, 8, 8, 8]);
      assert.deepEqual(tokens("prefill", "outputTokens"), [1, 1, 1, 1]);
      assert.deepEqual(tokens("full", "inputTokens"), tokens("prefill", "inputTokens"));
      assert.match(run.stdout, /input tokens 256, generated tokens 32/);
    },
  },
  {
    scenario: "batch-burst",
    settings: { BATCH_SIZES: "1,4", RUNS: "2", OUTPUT_TOKENS: "4", INPUT_TOKENS: "16" },
    levels: { "b1-1": 1, "b1-2": 1, "b4-1": 4, "b4-2": 4 },
    check(run) {
      // One batch is over before the next is released.
      const requests = steady(run);
      const ends = requests.filter(({ level }) => level === "b4-1").map(({ endNs = 0 }) => endNs);
      const sends = requests.filter(({ level }) => level === "b4-2").map(({ sentNs = 0 }) => sentNs);
      assert.ok(Math.min(...sends) > Math.max(...ends));
    },
  },
  {
    scenario: "batch-burst",
    settings: { BATCH_SIZES: "2,3", RUNS: "2", OUTPUT_TOKENS: "4", INPUT_TOKENS: "16", REFILL: "true" },
    levels: { b2: 4, b3: 6 },
  },
  {
    scenario: "embeddings-burst",
    settings: { BATCH_SIZES: "3", RUNS: "1", LENGTHS: "short,mixed,25" },
    levels: { "b3-short": 3, "b3-mixed": 3, "b3-25": 3 },
  },
  {
    scenario: "prompt-ingestion",
    settings: { INPUT_LENGTHS: "16,256", REQUESTS: "2" },
    levels: { i16: 2, i256: 2 },
    check(run) {
      assert.match(run.stdout, /ingestion [\d.]+ tokens\/s/);
    },
  },
  {
    scenario: "kv-cache-profile",
    settings: { CONCURRENCY: "1,2", INPUT_TOKENS: "64", OUTPUT_TOKENS: "16" },
    levels: { n1: 1, n2: 2 },
    check(run) {
      const polled = JSON.parse(readFileSync(path.join(run.dir, "server-metrics.json"), "utf8"));
      assert.ok(polled.metrics.includes("vllm:kv_cache_usage_perc"));
      const usage = polled.metrics.indexOf("vllm:kv_cache_usage_perc") + 1;
      assert.ok(
        polled.points.some((point: number[]) => (point[usage] ?? 0) > 0),
        "the cache was seen in use",
      );
    },
  },
  {
    scenario: "speed-generation",
    settings: { CONCURRENCY: "1,2", REQUESTS: "2", OUTPUT_TOKENS: "8" },
    levels: { c1: 2, c2: 2 },
  },
];

for (const { scenario, settings, levels, check } of rows) {
  test(`${scenario} ${JSON.stringify(settings)}`, async (t) => {
    const BASE_URL = await serverFor(t);
    const run = await runScenario(scenario, { BASE_URL, THRESHOLDS: "none", ...settings });
    assert.equal(run.code, 0, run.stdout);
    const { summary } = run;
    assert.deepEqual(Object.fromEntries(summary.levels.map(({ name, requests }) => [name, requests])), levels);
    for (const { name, failed, failures } of summary.levels)
      assert.equal(failed, 0, `${name} ${JSON.stringify(failures)}`);
    check?.(run);
  });
}

test("every scenario is among them", () => {
  assert.deepEqual([...new Set(rows.map(({ scenario }) => scenario))].sort(), scenarioNames());
});

test("API=json: targets in turn, token counts by pointer, figures in a request benchmark's words", async (t) => {
  const BASE_URL = await serverFor(t);
  const targets = path.join(scratchDir(), "targets.txt");
  writeFileSync(
    targets,
    "/tokenizer?output_tokens=30&input_text=abcdefgh\n/tokenizer?output_tokens=10&input_text=abcd\n",
  );
  const run = await runScenario("concurrency-sweep", {
    BASE_URL,
    API: "json",
    METHOD: "GET",
    TARGETS: targets,
    INPUT_TOKENS_POINTER: "/input_tokens",
    OUTPUT_TOKENS_POINTER: "/output_tokens",
    CONCURRENCY: "2",
    REQUESTS: "20",
    WARMUP: "0",
    THRESHOLDS: "none",
  });
  assert.equal(run.code, 0, run.stdout);
  const [level] = run.summary.levels;
  assert.deepEqual([level?.requests, level?.outputTokens, level?.statuses], [20, 400, { "200": 20 }]);
  assert.match(run.stdout, /Average output tokens per request +20$/m);
  assert.match(run.stdout, /Success ratio +100 %/);
});

test("a shipped dataset and a file of one's own are asked in turn", async (t) => {
  const BASE_URL = await serverFor(t);
  const settings = {
    BASE_URL,
    CONCURRENCY: "2",
    REQUESTS: "6",
    THRESHOLDS: "none",
    API: "completions",
    WARMUP: "0",
  };
  const shipped = await runScenario("concurrency-sweep", { ...settings, DATASET: "token-ids" });
  assert.equal(shipped.code, 0, shipped.stdout);
  const lines = readFileSync(path.join(__dirname, "..", "datasets", "token-ids.jsonl"), "utf8")
    .split("\n")
    .slice(0, 6);
  const expected = lines.map((line) => {
    const { prompt_token_ids: ids, output_tokens: output } = JSON.parse(line);
    return [ids.length, output];
  });
  assert.deepEqual(
    steady(shipped).map(({ inputTokens, outputTokens }) => [inputTokens, outputTokens]),
    expected,
  );
  const csv = path.join(shipped.dir, "own.csv");
  writeFileSync(csv, 'prompt,output_tokens\n"Hello, you",3\nBye,5\n');
  const own = await runScenario("concurrency-sweep", { ...settings, DATASET: csv });
  assert.equal(own.code, 0, own.stdout);
  assert.deepEqual(
    steady(own).map(({ outputTokens }) => outputTokens),
    [3, 5, 3, 5, 3, 5],
  );
});

test("a trace is followed: its arrivals, its lengths", async (t) => {
  const BASE_URL = await serverFor(t);
  const trace = path.join(scratchDir(), "trace.jsonl");
  const rows = [
    { timestamp: 500, input_length: 30, output_length: 2, hash_ids: [1] },
    { timestamp: 900, input_length: 60, output_length: 4, hash_ids: [1] },
    { timestamp: 1000, input_length: 10, output_length: 3, hash_ids: [2] },
  ];
  writeFileSync(trace, rows.map((row) => JSON.stringify(row)).join("\n"));
  const run = await runScenario("arrival-rate-ramp", {
    BASE_URL,
    TRACE: trace,
    THRESHOLDS: "none",
    MAX_IN_FLIGHT: "4",
  });
  assert.equal(run.code, 0, run.stdout);
  const requests = steady(run);
  const [first] = requests;
  assert.deepEqual(
    requests.map(({ scheduledNs = 0, outputTokens }) => [
      Math.round((scheduledNs - (first?.scheduledNs ?? 0)) / 1e6),
      outputTokens,
    ]),
    [
      [0, 2],
      [400, 4],
      [500, 3],
    ],
  );
});
