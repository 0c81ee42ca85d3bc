/** How do latency and throughput change as more clients wait at once? Levels of constant concurrency, one after the other. */

import { requestFigures } from "../lib/figures/figures";
import { concurrencyLevels } from "../lib/load/levels";
import { handleSummaryWith } from "../lib/outcome/summary";
import { readConfig } from "../lib/settings/config";
import { openClient, type Server } from "../lib/wire/llm-client";
import { openPrompts } from "../lib/workload/prompts";
import { gates } from "../thresholds";

const config = readConfig("concurrency-sweep", { CONCURRENCY: [1, 2, 4, 8], REQUESTS: 32, OUTPUT_TOKENS: 32 }, [
  "levels",
  "prompts",
  "generation",
]);
const levels = concurrencyLevels(config);
const client = openClient(config);
const prompts = openPrompts(config);

export const options = levels.options(() => gates(config, levels.specs));

export function setup(): Server {
  return client.ready();
}

export default function (server: Server): void {
  levels.each((slot) => client.request(server, prompts.next(slot, server), slot));
}

export function teardown(): void {
  levels.report();
}

export const handleSummary = handleSummaryWith((report) =>
  config.API === "json" ? { text: report.levels.map(requestFigures).join("\n\n") } : {},
);
