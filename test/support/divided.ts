/** Loads that several instances divide: what all of them send is exactly what one process sends, or the load is refused. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import type { RunSettings } from "./run";
import { scratchDir } from "./scratch";

const file = (name: string, text: string): string => {
  const at = path.join(scratchDir(), name);
  writeFileSync(at, text);
  return at;
};

const lines = (rows: readonly object[]) => `${rows.map((row) => JSON.stringify(row)).join("\n")}\n`;

const trace = () =>
  file(
    "trace.csv",
    `timestamp,input_length,output_length\n${Array.from({ length: 17 }, (_, k) => `${k * 20},${10 + k},${2 + (k % 3)}`).join("\n")}\n`,
  );

const mixed = () =>
  file(
    "mix.json",
    JSON.stringify({
      classes: [
        { name: "chat", share: 0.4, settings: { INPUT_TOKENS: "uniform:5:60", OUTPUT_TOKENS: 2 } },
        {
          name: "agents",
          share: 0.2,
          sessions: true,
          settings: { SESSION_TURNS: 2, THINK_TIME: "5ms", OUTPUT_TOKENS: 2 },
        },
        { name: "long", share: 0.4, settings: { INPUT_TOKENS: 100, OUTPUT_TOKENS: 3 } },
      ],
    }),
  );

const lengths = { INPUT_TOKENS: "uniform:5:80", OUTPUT_TOKENS: "uniform:1:4" };

/**
 * A load by what it is: its scenario and settings. Some are bounded by time, so that how much is sent depends on the server; of
 * those the parts must at least be disjoint. What cannot be divided is refused.
 */
export const dividedLoads: Readonly<
  Record<string, { scenario: string; settings: () => RunSettings; bounded?: "time"; refused?: RegExp }>
> = {
  sessions: {
    scenario: "conversations",
    settings: () => ({ CONCURRENCY: "2,5", SESSIONS: 7, SESSION_TURNS: 3, THINK_TIME: 0, ...lengths }),
  },
  "arriving sessions": {
    scenario: "conversations",
    settings: () => ({ STAGES: "300ms:30", SESSION_TURNS: 2, THINK_TIME: 0, ...lengths }),
  },
  trace: { scenario: "trace-replay", settings: () => ({ TRACE: trace() }) },
  dataset: {
    scenario: "concurrency-sweep",
    settings: () => ({
      DATASET: file("rows.jsonl", lines(Array.from({ length: 30 }, (_, k) => ({ prompt: `row ${k}` })))),
      ...{ CONCURRENCY: "1,3,4", REQUESTS: 8, WARMUP: 1, OUTPUT_TOKENS: 2, CACHE: "warm" },
    }),
  },
  "two phases": {
    scenario: "prefill-decode",
    settings: () => ({ CONCURRENCY: 3, REQUESTS: 10, INPUT_TOKENS: 24, OUTPUT_TOKENS: 4 }),
  },
  mix: { scenario: "mixed", settings: () => ({ MIX: mixed(), RATE: 40, DURATION: "400ms" }) },
  soak: { scenario: "soak", settings: () => ({ RATE: 60, DURATION: "400ms", WARMUP: 0, ...lengths }) },
  "changing users": {
    scenario: "arrival-rate-ramp",
    settings: () => ({ LOOP: "closed", STAGES: "100ms:4,400ms:4", ...lengths }),
    bounded: "time",
  },
  "clients for a time": {
    scenario: "soak",
    settings: () => ({ CONCURRENCY: 3, DURATION: "300ms", WARMUP: 0, ...lengths }),
    bounded: "time",
  },
  "input lengths": { scenario: "prompt-ingestion", settings: () => ({ INPUT_LENGTHS: "8,32", REQUESTS: 5 }) },
  bursts: { scenario: "batch-burst", settings: () => ({ BATCH_SIZES: "2,7", RUNS: 2, ...lengths }) },
  refilled: { scenario: "batch-burst", settings: () => ({ BATCH_SIZES: "2,5", RUNS: 2, REFILL: "true", ...lengths }) },
  search: {
    scenario: "capacity",
    settings: () => ({ SLO_TTFT: 100, OUTPUT_TOKENS: 2 }),
    refused: /RUNNERS=\d: a search for capacity runs in one process/,
  },
  "turns of sessions": {
    scenario: "conversations",
    settings: () => ({ CONCURRENCY: 2, REQUESTS: 9, SESSION_TURNS: 3, THINK_TIME: 0 }),
    refused: /REQUESTS counts the turns of all sessions together/,
  },
};
