/** What a VU takes of memory: each has a JavaScript engine of its own, and a run may have thousands. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { noPeakMemory, peakMemory } from "../support/peak-memory";
import { type RunSettings, startRun } from "../support/run";
import { startServer } from "../support/simulated";

const [few, many] = [50, 300];
/**
 * Measured: 0.4 to 0.45 MB, of which k6's own runtime is 0.1. What is needed once a run (reading settings, thresholds) takes a megabyte
 * more in each VU that loads it.
 */
const mostMB = 0.75;

const loads: { why: string; settings: RunSettings }[] = [
  { why: "a sweep", settings: {} },
  { why: "a sweep with a shared prefix", settings: { SHARED_PREFIX: 16 } },
];

for (const { why, settings } of loads) {
  test(`a VU of ${why} takes less than ${mostMB} MB`, { timeout: 120_000, skip: noPeakMemory }, async (t) => {
    const server = await startServer("--ttft", "20ms", "--itl", "1ms");
    t.after(server.stop);
    const peakOf = async (vus: number): Promise<number> => {
      const { child } = startRun("concurrency-sweep", {
        ...{ BASE_URL: server.baseUrl, INPUT_TOKENS: 32, OUTPUT_TOKENS: 2, WARMUP: 0, THRESHOLDS: "none" },
        ...{ CONCURRENCY: vus, REQUESTS: vus, CLIENTS_PER_VU: 1, ...settings },
      });
      const peak = await peakMemory(child);
      const { code, stdout, stderr } = await child.ended;
      assert.equal(code, 0, stdout + stderr);
      return peak;
    };
    const perVU = ((await peakOf(many)) - (await peakOf(few))) / (many - few) / 1e6;
    t.diagnostic(`${perVU.toFixed(2)} MB a VU`);
    assert.ok(perVU < mostMB, `${perVU} MB a VU`);
  });
}
