/** A search for capacity on a simulated server whose limit follows from its settings. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import type { FoundCapacity } from "../../lib/figures/capacity-lines";
import { figuresOf } from "../../lib/figures/fold";
import { withAttempts } from "../support/attempts";
import { runReported } from "../support/reported";

const sloMs = 150;

test("capacity: the search opens its levels on the way and encloses what the server can carry", {
  timeout: 90_000,
}, async (t) => {
  await withAttempts(t, async () => {
    // Two sequences at once, 4 tokens each, a step of 8.1 ms: not more than 62 requests a second.
    const reported = await runReported("capacity", ["--max-num-seqs", "2"], {
      ...{ SLO_TTFT: String(sloMs), OUTPUT_TOKENS: "4", INPUT_TOKENS: "16", WARMUP: "100ms", THRESHOLDS: "none" },
      ...{ SEARCH_START: "40", PROBE_TIME: "3s", PROBE_REQUESTS: "100", PRECISION: "100" },
      ...{ PROBES: "3", CONFIDENCE: "80", ATTAINMENT: "60", ARRIVAL: "gamma:0.5" },
    });
    const found = JSON.parse(readFileSync(path.join(reported.ended.dir, "capacity.json"), "utf8")) as FoundCapacity;
    assert.equal(found.state, "found", JSON.stringify(found));
    const { low = 0, high = 0 } = found.probed;
    assert.ok(low >= 40 && low < 62 && high > 45 && high <= 80, JSON.stringify(found.probed));
    // 80 % confidence and a standard deviation of 3 % move the bounds by exp(0.03 * 1.96), to three digits.
    assert.ok(Math.abs((found.interval.low ?? 0) * 1.0606 - low) < 0.006 * low, JSON.stringify(found.interval));
    assert.ok(Math.abs((found.interval.high ?? 0) / 1.0606 - high) < 0.006 * high, JSON.stringify(found.interval));
    assert.match(reported.ended.stderr, /the search takes at most 3 more probes/);
    assert.match(reported.ended.stdout, /capacity: from [\d.]+ to [\d.]+ req\/s, with 80(\.0)? % confidence/);
    // Each probe is a level with its own rate, over before the next began, and its requests are in the records.
    const levels = reported.ended.summary?.levels ?? [];
    assert.deepEqual(
      levels.map(({ rate = 0 }) => rate).sort((a, b) => a - b),
      found.probes.map(({ level }) => level),
    );
    const once = found.probes.filter(({ level }, _, all) => all.filter((each) => each.level === level).length === 1);
    assert.ok(once.length > 0);
    for (const { level: rate, sent, cut, requests, good } of once) {
      const level = levels.find((each) => each.rate === rate);
      const own = reported.ended.requests.filter((line) => line.level === level?.name);
      assert.equal(own.length, sent, "every request of a probe is in the records");
      // Recomputed: of the steady requests in the order of their schedule, those behind the cut.
      const steady = own.filter(({ phase }) => phase === "steady");
      steady.sort((a, b) => (a.scheduledNs ?? 0) - (b.scheduledNs ?? 0));
      const judged = steady.slice(cut, cut + requests);
      assert.equal(judged.length, requests);
      assert.equal(judged.filter((line) => (figuresOf(line).ttftMs ?? Infinity) <= sloMs).length, good);
    }
  });
});
