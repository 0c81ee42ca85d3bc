/** A search for capacity on a simulated server whose limit follows from its settings. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import type { FoundCapacity } from "../../lib/figures/capacity-lines";
import { withAttempts } from "../support/attempts";
import { runReported } from "../support/reported";

test("capacity: the search opens its levels on the way and encloses what the server can carry", {
  timeout: 150_000,
}, async (t) => {
  await withAttempts(t, async () => {
    // Two sequences at once, 4 tokens each, a step of 8.1 ms: not more than 62 requests a second.
    const reported = await runReported("capacity", ["--max-num-seqs", "2"], {
      ...{ SLO_TTFT: "150", OUTPUT_TOKENS: "4", INPUT_TOKENS: "16", WARMUP: "200ms", THRESHOLDS: "none" },
      ...{
        SEARCH_START: "25",
        PROBE_TIME: "5s",
        PROBE_REQUESTS: "100",
        PRECISION: "100",
        PROBES: "6",
        CONFIDENCE: "80",
        ATTAINMENT: "60",
      },
    });
    const found = JSON.parse(readFileSync(path.join(reported.ended.dir, "capacity.json"), "utf8")) as FoundCapacity;
    assert.equal(found.state, "found", JSON.stringify(found));
    assert.ok((found.interval.low ?? 0) >= 25 && (found.interval.low ?? 0) < 62, JSON.stringify(found.interval));
    assert.ok((found.interval.high ?? 0) > 30 && (found.interval.high ?? 0) <= 160, JSON.stringify(found.interval));
    assert.match(reported.ended.stderr, /the search takes at most 6 more probes/);
    assert.match(reported.ended.stdout, /capacity: from [\d.]+ to [\d.]+ req\/s, with 80(\.0)? % confidence/);
    // Each probe is a level with its own rate, over before the next began, and its requests are in the records.
    const levels = reported.ended.summary?.levels ?? [];
    assert.deepEqual(
      levels.map(({ rate = 0 }) => rate).sort((a, b) => a - b),
      found.probes.map(({ level }) => level),
    );
    for (const { requests, good } of found.probes) assert.ok(good <= requests);
  });
});
