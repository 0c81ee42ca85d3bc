/** How fast does the server read prompts? One request at a time, prompts of growing length, a line through their TTFT. */

import { ingestionText } from "../lib/figures/ingestion";
import { concurrencyLevel, levelsInTurn } from "../lib/load/levels";
import { handleSummaryWith } from "../lib/outcome/summary";
import { readConfig } from "../lib/settings/config";
import { openClient, type Server } from "../lib/wire/llm-client";
import { openPrompts } from "../lib/workload/prompts";
import { gates } from "../thresholds";

const config = readConfig("prompt-ingestion", { REQUESTS: 5, OUTPUT_TOKENS: 1, API: "completions" }, [
  "INPUT_LENGTHS",
  "REQUESTS",
  "DURATION",
  "CLIENTS_PER_VU",
  "MAX_INPUT_TOKENS",
  "SHARED_PREFIX",
  "TOKEN_IDS",
  "generation",
]);
const levels = levelsInTurn(
  config,
  config.INPUT_LENGTHS.map((inputTokens) => concurrencyLevel(config, `i${inputTokens}`, 1, { inputTokens })),
);
const client = openClient(config);
const prompts = new Map(
  config.INPUT_LENGTHS.map((value) => [`i${value}`, openPrompts(config, { inputTokens: { kind: "fixed", value } })]),
);

export const options = levels.options(() => gates(config, levels.specs));

export function setup(): Server {
  return client.ready();
}

export default function (server: Server): void {
  levels.each((slot) => {
    const source = prompts.get(slot.level);
    return source && client.request(server, source.next(slot, server), slot);
  });
}

export function teardown(): void {
  levels.report();
}

export const handleSummary = handleSummaryWith(({ levels }) => ({ text: ingestionText(levels) }));
