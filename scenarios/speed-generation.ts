/** How fast does each of N parallel requests get its tokens, and how full is the KV cache then? */

import { concurrencyLevels, lengthLabels } from "../lib/load/levels";
import { handleSummaryWith } from "../lib/outcome/summary";
import { readConfig } from "../lib/settings/config";
import { openClient, type Server } from "../lib/wire/llm-client";
import { openServerMetrics } from "../lib/wire/server-metrics";
import { openPrompts } from "../lib/workload/prompts";
import { gates } from "../thresholds";

const config = readConfig(
  "speed-generation",
  {
    API: "completions",
    CONCURRENCY: [1, 2, 3, 4, 6, 8, 10, 14],
    REQUESTS: 28,
    INPUT_TOKENS: 32,
    OUTPUT_TOKENS: 128,
  },
  ["levels", "SPEED_THRESHOLD", "prompts", "generation", "gauges"],
);
const levels = concurrencyLevels(config, lengthLabels(config));
const client = openClient(config);
const prompts = openPrompts(config);
const serverMetrics = openServerMetrics(config);

export const options = levels.options(() => gates(config, levels.specs));

export function setup(): Server {
  serverMetrics.start();
  return client.ready();
}

export default function (server: Server): void {
  levels.each((slot) => client.request(server, prompts.next(slot, server), slot));
}

export function teardown(): void {
  serverMetrics.stop();
  levels.report();
}

export const handleSummary = handleSummaryWith(() => serverMetrics.results());
