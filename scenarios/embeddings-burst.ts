/** How many texts a second does an embedding server take in, by batch size and length of text? */

import { burstTable } from "../lib/figures/figures";
import { batchBursts, openBursts } from "../lib/load/bursts";
import { handleSummaryWith } from "../lib/outcome/summary";
import { readConfig } from "../lib/settings/config";
import { openClient, type Server } from "../lib/wire/llm-client";
import { openTexts } from "../lib/workload/texts";
import { gates } from "../thresholds";

const config = readConfig(
  "embeddings-burst",
  {
    API: "embeddings",
    BATCH_SIZES: [1, 8, 64],
    RUNS: 3,
    LENGTHS: "short,medium,long,mixed",
  },
  ["bursts", "LENGTHS", "DATASET", "MAX_INPUT_TOKENS", "SHARED_PREFIX", "TOKEN_IDS"],
);
const client = openClient(config);
const texts = openTexts(config);
const bursts = openBursts(
  config,
  texts.flatMap(({ length }) => batchBursts(config, { length }, `-${length}`)),
);

export const options = bursts.options(() => gates(config, bursts.specs));

export function setup(): Server {
  return client.ready();
}

export default function (server: Server): void {
  bursts.each((slot, { size, labels }) => {
    const source = texts.find(({ length }) => length === labels.length);
    if (source) client.batch(server, source.prompts.batch(slot, server, size), slot, config.STAGGER);
  });
}

export function teardown(): void {
  bursts.report();
}

export const handleSummary = handleSummaryWith(({ levels }) => ({ text: burstTable(levels) }));
