/** One name, one number: whatever each scenario prints stands in the tables of its report, to the last digit. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { scenarioNames } from "../../build/bundle";
import { checkPrinted } from "../support/printed";
import { runReported } from "../support/reported";
import type { RunSettings } from "../support/run";
import { scratchDir } from "../support/scratch";

const engine = ["--step-time", "5ms"];

/** The classes of the mix that mixed.test.ts gates, with SLOs that each meets: a run that is to be printed must end well. */
function mixThatPasses(): string {
  const file = path.join(scratchDir(), "mix.json");
  const mix = JSON.parse(readFileSync(path.join(__dirname, "fixtures", "mix.json"), "utf8"));
  for (const each of mix.classes) Object.assign(each, { slo: { e2e: 60_000 }, thresholds: undefined });
  writeFileSync(file, JSON.stringify(mix));
  return file;
}

/** A short run of each scenario, more than one where it prints in more than one way; and the least numbers that it prints. */
const runs: { scenario: string; what: string; flags: string[]; settings: RunSettings; least: number }[] = [
  {
    ...{ scenario: "concurrency-sweep", what: "with an SLO and a warm-up", flags: engine, least: 25 },
    settings: { CONCURRENCY: "1,4", REQUESTS: 12, OUTPUT_TOKENS: 8, SLO_TTFT: 5000, SLO_E2E: 9000 },
  },
  {
    ...{ scenario: "concurrency-sweep", what: "of a JSON API that refuses some", least: 40 },
    flags: ["--tokenizer-cap", "6", "--tokenizer-time", "20ms"],
    settings: {
      ...{ API: "json", ENDPOINT: "/tokenizer", BODY: '{"output_tokens":120,"input_text":"abcdefghijkl"}' },
      // Without a warm-up: its requests would hold the server's places while those of the level are all refused.
      ...{ CONCURRENCY: "4,12", REQUESTS: 48, WARMUP: 0 },
      ...{ INPUT_TOKENS_POINTER: "/input_tokens", OUTPUT_TOKENS_POINTER: "/output_tokens" },
    },
  },
  {
    ...{ scenario: "arrival-rate-ramp", what: "beyond its capacity", least: 10 },
    flags: ["--predict-workers", "1", "--predict-time", "20ms", "--predict-queue", "4", "--predict-timeout", "200ms"],
    settings: { API: "json", BODY: "{}", ENDPOINT: "/predict", STAGES: "6s:120", MAX_IN_FLIGHT: 100 },
  },
  {
    ...{ scenario: "prefill-decode", what: "of eight prompts", flags: engine, least: 25 },
    settings: { CONCURRENCY: 2, REQUESTS: 8, INPUT_TOKENS: 200, OUTPUT_TOKENS: 16 },
  },
  {
    ...{ scenario: "conversations", what: "with a failed turn and a cached prefix", least: 30 },
    flags: [
      ...[...engine, "--enable-prefix-caching", "--enable-prompt-tokens-details"],
      ...["--fault", "status=500,share=0.1"],
    ],
    settings: { CONCURRENCY: "2,4", SESSIONS: 6, SESSION_TURNS: 3, OUTPUT_TOKENS: 6, THINK_TIME: "20ms" },
  },
  {
    ...{ scenario: "mixed", what: "of three classes", flags: engine, least: 40 },
    settings: { MIX: mixThatPasses(), RATE: 12, DURATION: "2s" },
  },
  {
    ...{ scenario: "batch-burst", what: "released, with a stagger", flags: engine, least: 40 },
    settings: { BATCH_SIZES: "1,4", RUNS: 2, OUTPUT_TOKENS: 12, STAGGER: "20ms" },
  },
  {
    ...{ scenario: "batch-burst", what: "refilled", flags: engine, least: 15 },
    settings: { BATCH_SIZES: 4, RUNS: 2, OUTPUT_TOKENS: "oneof:4:20", REFILL: "true" },
  },
  {
    ...{ scenario: "embeddings-burst", what: "of two lengths", flags: engine, least: 20 },
    settings: { BATCH_SIZES: "1,4", RUNS: 1, LENGTHS: "short,long" },
  },
  {
    ...{
      scenario: "prompt-ingestion",
      what: "of three lengths",
      flags: [...engine, "--prefill-rate", "20000"],
      least: 20,
    },
    settings: { INPUT_LENGTHS: "200,1000,2000", REQUESTS: 4 },
  },
  {
    ...{ scenario: "kv-cache-profile", what: "of up to three requests", flags: engine, least: 30 },
    settings: { CONCURRENCY: "1,3", INPUT_TOKENS: 64, OUTPUT_TOKENS: 16 },
  },
  {
    ...{ scenario: "speed-generation", what: "of one and four", flags: engine, least: 20 },
    settings: { CONCURRENCY: "1,4", REQUESTS: 8, OUTPUT_TOKENS: 16 },
  },
];

for (const { scenario, what, flags, settings, least } of runs) {
  test(`${scenario} ${what}: every number on the terminal is one of the report's`, { timeout: 60_000 }, async () => {
    const reported = await runReported(scenario, flags, settings);
    const checked = checkPrinted(reported, scenario);
    assert.ok(checked >= least, `${checked} numbers\n${reported.ended.stdout}`);
  });
}

/** Scenarios whose own end-to-end test recomputes what they print from the records. */
const elsewhere: Readonly<Record<string, string>> = {
  capacity: "capacity.test.ts recounts every probe",
  "endpoints-curve": "endpoints-curve.test.ts recomputes points and steps, and compares the printed table",
  soak: "soak.test.ts folds the slices again",
  "trace-replay": "open-loads.test.ts holds times and rates against the file",
};

test("no scenario is left out", () => {
  const held = [...new Set(runs.map(({ scenario }) => scenario)), ...Object.keys(elsewhere)];
  assert.deepEqual(held.sort(), [...scenarioNames()].sort());
});

test("a number that the report has otherwise is found", async () => {
  const reported = await runReported("speed-generation", engine, { CONCURRENCY: 1, REQUESTS: 4, OUTPUT_TOKENS: 8 });
  const wrong = {
    ...reported,
    rows: (name: string) =>
      reported.rows(name).map((row) => ({ ...row, ...(name === "levels" ? { request_throughput_per_s: 1e6 } : {}) })),
  };
  assert.throws(() => checkPrinted(wrong, "speed-generation"), /req\/s: \S+ is printed, the report has 1000000/);
});
