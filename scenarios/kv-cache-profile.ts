/** How do KV cache, running and waiting requests develop as 1, 2, 3, ... requests are sent at once? */

import { burstTable } from "../lib/figures/figures";
import { openBursts } from "../lib/load/bursts";
import { lengthLabels } from "../lib/load/levels";
import { handleSummaryWith } from "../lib/outcome/summary";
import { readConfig } from "../lib/settings/config";
import { openClient, type Server } from "../lib/wire/llm-client";
import { openServerMetrics } from "../lib/wire/server-metrics";
import { openPrompts } from "../lib/workload/prompts";
import { gates } from "../thresholds";

const config = readConfig(
  "kv-cache-profile",
  {
    API: "completions",
    CONCURRENCY: [1, 2, 3, 4, 6, 8, 10, 14],
    WARMUP: { requests: 0 },
    INPUT_TOKENS: 1024,
    OUTPUT_TOKENS: 128,
  },
  ["CONCURRENCY", "prompts", "generation", "gauges"],
);
const bursts = openBursts(
  config,
  config.CONCURRENCY.map((size) => ({ name: `n${size}`, size, labels: { ...lengthLabels(config), requests: size } })),
);
const client = openClient(config);
const prompts = openPrompts(config);
const serverMetrics = openServerMetrics(config);

export const options = bursts.options(() => gates(config, bursts.specs));

export function setup(): Server {
  serverMetrics.start();
  return client.ready();
}

export default function (server: Server): void {
  bursts.each((slot, { size }) => client.batch(server, prompts.batch(slot, server, size), slot));
}

export function teardown(): void {
  serverMetrics.stop();
  bursts.report();
}

export const handleSummary = handleSummaryWith(({ levels }) => ({
  ...serverMetrics.results(),
  text: burstTable(levels),
}));
