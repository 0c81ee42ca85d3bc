/** What does a batch of simultaneous requests cost and give? All requests of a batch are released behind one barrier. */

import { burstTable } from "../lib/figures/figures";
import { batchBursts, openBursts } from "../lib/load/bursts";
import { concurrencyLevel, levelsInTurn } from "../lib/load/levels";
import { handleSummaryWith } from "../lib/outcome/summary";
import { readConfig } from "../lib/settings/config";
import { openClient, type Server } from "../lib/wire/llm-client";
import { openPrompts } from "../lib/workload/prompts";
import { gates } from "../thresholds";

const config = readConfig("batch-burst", { BATCH_SIZES: [1, 2, 4, 8], RUNS: 3, OUTPUT_TOKENS: 64 }, [
  "bursts",
  "REFILL",
  "CLIENTS_PER_VU",
  "prompts",
  "generation",
]);
const client = openClient(config);
const prompts = openPrompts(config);

// Refilled, a batch is a level of constant concurrency that handles as many requests as its runs would.
const refilled = config.REFILL
  ? levelsInTurn(
      config,
      config.BATCH_SIZES.map((size) => ({
        ...concurrencyLevel(config, `b${size}`, size, { mode: "continuous" }),
        batchSize: size,
        requests: size * config.RUNS,
      })),
    )
  : undefined;
const bursts = openBursts(config, refilled ? [] : batchBursts(config));
const load = refilled ?? bursts;

export const options = load.options(() => gates(config, load.specs));

export function setup(): Server {
  return client.ready();
}

export default function (server: Server): void {
  refilled?.each((slot) => client.request(server, prompts.next(slot, server), slot));
  bursts.each((slot, { size }) => client.batch(server, prompts.batch(slot, server, size), slot, config.STAGGER));
}

export function teardown(): void {
  load.report();
}

export const handleSummary = handleSummaryWith(({ levels }) => ({ text: burstTable(levels) }));
