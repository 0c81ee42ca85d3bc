/** Files of many rows: what a run keeps of them. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { noPeakMemory, peakMemory } from "../support/peak-memory";
import { type RunSettings, readRecords, requestsIn, startRun } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

interface Load {
  readonly why: string;
  readonly scenario: string;
  settings(file: string): RunSettings;
  row(k: number): object;
}

// No ASCII: such a text takes JavaScript two bytes a character, and its UTF-8 some more.
const prompt = (k: number) => ({ timestamp: k * 10, output_length: 2, text_input: `${k} ${"größe ".repeat(170)}` });
const message = (k: number, turn: number) => ({
  role: turn % 2 === 0 ? "user" : "assistant",
  content: `${k} ${"größe ".repeat(20)}`,
});
const chat = (k: number) => ({ messages: Array.from({ length: 8 }, (_, turn) => message(k, turn)) });

const loads: readonly Load[] = [
  {
    ...{ why: "a trace", scenario: "trace-replay", row: prompt },
    settings: (file) => ({ TRACE: file, TRACE_WINDOW: "1-20" }),
  },
  {
    ...{ why: "a set of prompts", scenario: "concurrency-sweep", row: prompt },
    settings: (file) => ({ DATASET: file, CONCURRENCY: 1, REQUESTS: 20, WARMUP: 0 }),
  },
  {
    ...{ why: "a set of conversations", scenario: "conversations", row: chat },
    settings: (file) => ({ DATASET: file, CONCURRENCY: 1, SESSIONS: 5, OUTPUT_TOKENS: 2 }),
  },
];

for (const { why, scenario, settings, row } of loads) {
  test(`${why} of more rows takes little more memory than their bytes`, {
    timeout: 900_000,
    skip: noPeakMemory,
  }, async (t) => {
    const server = await startServer("--ttft", "5ms", "--itl", "1ms");
    t.after(server.stop);
    const dir = scratchDir();
    /** The largest memory of a run of a file with so many rows, and the file's size. */
    const measure = async (rows: number): Promise<{ peak: number; size: number }> => {
      const file = path.join(dir, `${rows}.jsonl`);
      const text = Array.from({ length: rows }, (_, k) => JSON.stringify(row(k))).join("\n");
      writeFileSync(file, text);
      const named = { BASE_URL: server.baseUrl, THRESHOLDS: "none", ...settings(file) };
      const { child, ...started } = startRun(scenario, named, { timeoutMs: 400_000 });
      // The file has been read long before the run ends.
      const peak = await peakMemory(child);
      const { code, stdout, stderr } = await child.ended;
      assert.ok(code === 0 || code === 98, stdout + stderr);
      const requests = requestsIn(readRecords(path.join(started.dir, "records.ndjson.gz")));
      assert.equal(requests.length, 20);
      return { peak, size: Buffer.byteLength(text) };
    };
    const few = await measure(2_000);
    const many = await measure(12_000);
    const grown = (many.peak - few.peak) / (many.size - few.size);
    // Measured from 4,000 to 14,000 rows: 0.8 to 0.9. Rows as strings of JavaScript, of a file that k6 holds whole, took 9 to 12, and
    // conversations as its objects more than that.
    assert.ok(grown < 3, `${grown} bytes of memory for each of the file`);
  });
}
