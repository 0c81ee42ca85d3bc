/**
 * The capacity of one real server, searched for twice: `node build/bootstrap.cjs test/bench/capacity.ts [PRECISION]` starts llama-server on
 * its tiny model, searches for the number of requests a second that it carries, prints both intervals and whether they overlap. Each
 * search makes at most seven probes of 15 s. The machine has to be quiet: what else it does is taken from the server's capacity.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { bundleScenarios } from "../../build/bundle";
import { ensureK6 } from "../../build/k6";
import { runProgram } from "../../build/program";
import type { FoundCapacity } from "../../lib/figures/capacity-lines";
import { missingLlamaServer, startLlamaServer } from "../realserver/llama-server";
import { run } from "../support/run";

void runProgram(async () => {
  const precision = process.argv[2] ?? "40";
  const missing = await missingLlamaServer();
  if (missing !== undefined) throw new Error(missing);
  await bundleScenarios();
  await ensureK6();
  const server = await startLlamaServer({ slots: 4, contextPerSlot: 512 });
  try {
    const found: FoundCapacity[] = [];
    for (const seed of [1, 2]) {
      const ended = await run(
        "capacity",
        {
          ...{
            BASE_URL: server.baseUrl,
            MODEL: "tiny",
            SLO_TTFT: 150,
            INPUT_TOKENS: 32,
            OUTPUT_TOKENS: 32,
            SEED: seed,
          },
          ...{ SEARCH_START: 8, PROBE_TIME: "15s", PROBE_REQUESTS: 100, PROBES: 7, PRECISION: precision, WARMUP: "1s" },
          ...{ THRESHOLDS: "none", MAX_DURATION: "10m", TIMEOUT: "30s" },
        },
        { timeoutMs: 300_000 },
      );
      console.log(ended.stdout);
      found.push(JSON.parse(readFileSync(path.join(ended.dir, "capacity.json"), "utf8")) as FoundCapacity);
    }
    const [a, b] = found.map(({ interval: { low = 0, high = Number.POSITIVE_INFINITY } }) => ({ low, high }));
    if (!a || !b) return 1;
    // The upper end of an interval failed: one that another search passed is in one of the two only.
    const overlap = a.low < b.high && b.low < a.high;
    console.log(
      `${a.low} to ${a.high} and ${b.low} to ${b.high} req/s: they ${overlap ? "overlap" : "do not overlap"}`,
    );
    return overlap ? 0 : 1;
  } finally {
    await server.stop();
  }
});
