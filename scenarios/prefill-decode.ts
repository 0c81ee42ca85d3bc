/**
 * What do reading a prompt and writing the answer cost, apart? The same prompts twice: with the whole output, then with
 * one output token. The second is prefill, what the first takes longer is decode. Unless the server's prefix cache is
 * emptied in between, the second phase takes other words of the same lengths.
 */

import { phaseFigures } from "../lib/figures/figures";
import { concurrencyLevel, levelsInTurn } from "../lib/load/levels";
import { planPasses } from "../lib/load/load-plan";
import { openPause } from "../lib/load/pause";
import { handleSummaryWith } from "../lib/outcome/summary";
import { repliesWhole } from "../lib/settings/apis";
import { demand, readConfig } from "../lib/settings/config";
import { openClient, type Server } from "../lib/wire/llm-client";
import { openServerMetrics } from "../lib/wire/server-metrics";
import { openPrompts } from "../lib/workload/prompts";
import { gates } from "../thresholds";

const config = readConfig(
  "prefill-decode",
  {
    API: "completions",
    TOKEN_IDS: true,
    CONCURRENCY: [8],
    REQUESTS: 32,
    WARMUP: { requests: 0 },
    INPUT_TOKENS: 512,
    OUTPUT_TOKENS: 64,
  },
  ["CONCURRENCY", "REQUESTS", "CLIENTS_PER_VU", "phases", "prompts", "generation", "gauges"],
);
demand(
  config.CONCURRENCY.length === 1,
  `CONCURRENCY=${config.CONCURRENCY.join(",")}: prefill-decode has one level; set one number`,
);
demand(
  !repliesWhole(config.API),
  `API=${config.API} decodes no tokens, which prefill-decode measures; set another API`,
);
// A phase that runs alone has an emptied cache before it (BETWEEN), or another salt.
const emptied = config.RESET_URL !== "" || config.PHASE !== "both";
demand(
  config.DATASET === "" || emptied || config.CACHE === "warm",
  `DATASET=${config.DATASET}: both phases send the same rows, and a prefix cache answers those of the second; set RESET_URL or BETWEEN to empty it, or CACHE=warm where the server has none`,
);
const phases = config.PHASE === "both" ? ["full", "prefill"] : [config.PHASE];
const pause = openPause(config);
const levels = levelsInTurn(
  config,
  phases.flatMap((phase, i) => {
    const level = concurrencyLevel(config, phase, config.CONCURRENCY[0] ?? 1);
    return i > 0 ? [pause.level, level] : [level];
  }),
);
planPasses(phases.length);
const client = openClient(config);
const prompts = openPrompts(config);
const serverMetrics = openServerMetrics(config);

export const options = levels.options(() =>
  gates(
    config,
    levels.specs
      .filter(({ name }) => name !== pause.level.name)
      .map(({ name }) => ({ name, outputTokens: name === "prefill" ? 1 : undefined })),
  ),
);

export function setup(): Server {
  serverMetrics.start();
  const server = client.ready();
  pause.check();
  return server;
}

export default function (server: Server): void {
  levels.each((slot) => {
    if (slot.level === pause.level.name) return pause.run();
    // Both phases ask for the same lengths: the number of the prompt counts, not the phase it is asked in.
    const prompt = prompts.next(
      { index: slot.index, serial: slot.index, level: "" },
      server,
      emptied ? "" : slot.level,
    );
    return client.request(server, slot.level === "prefill" ? { ...prompt, outputTokens: 1 } : prompt, slot);
  });
}

export function teardown(): void {
  serverMetrics.stop();
  levels.report();
}

export const handleSummary = handleSummaryWith((report) => ({
  ...serverMetrics.results(),
  text: phaseFigures(report.levels),
}));
