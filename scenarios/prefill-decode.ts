/**
 * What do reading a prompt and writing the answer cost, apart? The same prompts twice: with the whole output, then with
 * one output token. The second is prefill, what the first takes longer is decode. Unless the server's prefix cache is
 * emptied in between, the second phase takes other words of the same lengths.
 */
import { type Config, demand, levelsOf, openTest, phaseFigures, repliesWhole, resetAndRest } from "../lib";

const phases = levelsOf(
  ["CONCURRENCY", "REQUESTS", "CLIENTS_PER_VU", "phases", "prompts", "generation"],
  (config) => {
    requireTwoPhases(config);
    const names = config.PHASE === "both" ? ["full", "prefill"] : [config.PHASE];
    return names.map((name) => ({
      name,
      concurrency: config.CONCURRENCY[0] ?? 1,
      outputTokens: name === "prefill" ? 1 : undefined,
      repeats: "",
      words: isEmptied(config) ? "" : name,
    }));
  },
  { between: resetAndRest, shows: ({ levels }) => ({ text: phaseFigures(levels) }) },
);

const split = openTest(
  "prefill-decode",
  {
    API: "completions",
    TOKEN_IDS: true,
    CONCURRENCY: [8],
    REQUESTS: 32,
    WARMUP: { requests: 0 },
    METRICS_INTERVAL: 10,
    INPUT_TOKENS: 512,
    OUTPUT_TOKENS: 64,
  },
  phases,
);

export const { options, setup, teardown, handleSummary } = split;
export default split.run;

/** A phase that runs alone has an emptied cache before it (BETWEEN), or another salt. */
function isEmptied({ RESET_URL: url, PHASE: phase }: Config): boolean {
  return url !== "" || phase !== "both";
}

function requireTwoPhases(config: Config): void {
  const { CONCURRENCY: concurrency, API: api, DATASET: dataset, CACHE: cache } = config;
  demand(
    concurrency.length === 1,
    `CONCURRENCY=${concurrency.join(",")}: prefill-decode has one level; set one number`,
  );
  demand(!repliesWhole(api), `API=${api} decodes no tokens, which prefill-decode measures; set another API`);
  demand(
    dataset === "" || isEmptied(config) || cache === "warm",
    `DATASET=${dataset}: both phases send the same rows, and a prefix cache answers those of the second; set RESET_URL or BETWEEN to empty it, or CACHE=warm where the server has none`,
  );
}
