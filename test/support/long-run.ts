/** The results folder of a closed loop of any number of requests, written a line at a time: what a report of a large run reads. */
import { createWriteStream, writeFileSync } from "node:fs";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { seededRng } from "../../lib/workload/rng";

/** Requests in flight at once. */
const streams = 64;

/** The records of a closed loop, a line at a time. */
function* recordLines(requests: number, tokens: number): Generator<string> {
  const line = (value: object) => `${JSON.stringify(value)}\n`;
  const rng = seededRng(1);
  yield line({
    ...{ type: "run", schema: 1, scenario: "concurrency-sweep", startUnixNs: 1_764_000_000_000_000_000 },
    ...{ config: { CONCURRENCY: [streams], REQUESTS: requests }, sloMs: { ttft: 100 }, versions: {} },
  });
  const freeNs = new Float64Array(streams);
  let endNs = 0;
  for (let index = 0; index < requests; index++) {
    const stream = index % streams;
    const sentNs = Math.round((freeNs[stream] as number) + 5e4);
    const arrivals: [number, number][] = [];
    let atNs = sentNs;
    for (let i = 0; i < tokens; i++) {
      const deltaNs = Math.round(i === 0 ? 2e7 + 6e7 * rng() : 8e6 + 4e6 * rng());
      atNs += deltaNs;
      arrivals.push([deltaNs, 1]);
    }
    freeNs[stream] = atNs + 1e5;
    endNs = Math.max(endNs, atNs);
    yield line({
      ...{
        type: "request",
        level: `c${streams}`,
        phase: "steady",
        index,
        scheduledNs: sentNs - 5e4,
        startedNs: sentNs - 4e4,
      },
      ...{ sentNs, firstByteNs: sentNs + (arrivals[0]?.[0] ?? 0), firstOutputNs: sentNs + (arrivals[0]?.[0] ?? 0) },
      ...{ firstNonReasonNs: sentNs + (arrivals[0]?.[0] ?? 0), lastOutputNs: atNs, endNs: atNs + 5e4, arrivals },
      ...{
        status: 200,
        outcome: "completed",
        inputTokens: 100 + (index % 50),
        outputTokens: tokens,
        reused: index >= streams,
      },
      ...{ tokenSource: "usage", finishReason: "length", stamp: "ring", streamed: true },
    });
  }
  yield line({ type: "level", name: `c${streams}`, concurrency: streams, openNs: 0, closeNs: endNs, endNs });
  yield line({ type: "end", endNs, ended: "complete", validity: { state: "VALID", reasons: [] } });
}

/** A summary that has what a report reads of a level; its statistics are none of this measurement's. */
function summaryOf(requests: number, tokens: number): object {
  const stats = { count: 0, mean: 0, std: 0, min: 0, p50: 0, p90: 0, p95: 0, p99: 0, p999: 0, max: 0 };
  const level = {
    ...{
      name: `c${streams}`,
      concurrency: streams,
      labels: {},
      requests,
      completed: requests,
      failed: 0,
      failures: {},
    },
    ...{ statuses: { 200: requests }, outputTokens: requests * tokens, windowStartS: 0, durationS: 1 },
    inputTokens: Array.from({ length: requests }, (_, i) => 100 + (i % 50)).reduce((a, b) => a + b, 0),
    ...{ requestThroughput: requests, outputThroughput: requests * tokens, ttftMs: stats, itlMs: stats, e2eMs: stats },
  };
  return {
    ...{ schema: 1, scenario: "concurrency-sweep", ended: "complete", levels: [level], config: {}, versions: {} },
    verdict: { pass: true, validity: "VALID", reasons: [] },
    validity: { state: "VALID", reasons: [] },
  };
}

/** Writes summary.json and records.ndjson.gz of requests with so many tokens each into a folder. */
export async function writeLongRun(dir: string, requests: number, tokens: number): Promise<void> {
  const records = createWriteStream(path.join(dir, "records.ndjson.gz"));
  await pipeline(Readable.from(recordLines(requests, tokens)), createGzip({ level: 1 }), records);
  writeFileSync(path.join(dir, "summary.json"), JSON.stringify(summaryOf(requests, tokens)));
}
