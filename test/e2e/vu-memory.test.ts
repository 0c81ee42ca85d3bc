/** What a VU takes of memory: each has a JavaScript engine of its own, and a run may have thousands. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { noPeakMemory, peakMemory } from "../support/peak-memory";
import { type RunSettings, startRun } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const [few, many] = [50, 300];
/**
 * Measured: 0.36 to 0.44 MB, of which k6's own runtime is 0.1. What is needed once a run (reading settings, thresholds) takes a megabyte
 * more in each VU that loads it.
 */
const mostMB = 0.65;

/** A load of so many VUs that send a request or two each. */
type LoadOf = (vus: number) => { scenario: string; settings: RunSettings };

const sweep = (vus: number) => ({ CONCURRENCY: vus, REQUESTS: vus, INPUT_TOKENS: 32, OUTPUT_TOKENS: 2, WARMUP: 0 });

function mixOf(vus: number): string {
  const file = path.join(scratchDir(), "mix.json");
  const settings = { INPUT_TOKENS: "32", OUTPUT_TOKENS: "2" };
  writeFileSync(file, JSON.stringify({ classes: [{ name: "chat", concurrency: vus, settings }] }));
  return file;
}

const loads: { why: string; of: LoadOf }[] = [
  { why: "a sweep", of: (vus) => ({ scenario: "concurrency-sweep", settings: sweep(vus) }) },
  {
    why: "a sweep with a shared prefix",
    of: (vus) => ({ scenario: "concurrency-sweep", settings: { ...sweep(vus), SHARED_PREFIX: 16 } }),
  },
  { why: "a mix", of: (vus) => ({ scenario: "mixed", settings: { MIX: mixOf(vus), DURATION: "300ms" } }) },
];

for (const { why, of } of loads) {
  test(`a VU of ${why} takes less than ${mostMB} MB`, { timeout: 120_000, skip: noPeakMemory }, async (t) => {
    const server = await startServer("--ttft", "200ms", "--itl", "1ms");
    t.after(server.stop);
    const peakOf = async (vus: number): Promise<number> => {
      const { scenario, settings } = of(vus);
      const { child } = startRun(scenario, {
        ...{ BASE_URL: server.baseUrl, THRESHOLDS: "none", CLIENTS_PER_VU: 1, ...settings },
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
