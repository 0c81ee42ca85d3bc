/** How fast does the server read prompts? One request at a time, prompts of growing length, a line through their TTFT. */
import { ingestionText, levelsOf, openTest } from "../lib";

const lengths = levelsOf(
  [
    ...(["INPUT_LENGTHS", "REQUESTS", "DURATION", "CLIENTS_PER_VU"] as const),
    ...(["MAX_INPUT_TOKENS", "SHARED_PREFIX", "TOKEN_IDS", "generation"] as const),
  ],
  ({ INPUT_LENGTHS: each }) =>
    each.map((inputTokens) => ({ name: `i${inputTokens}`, concurrency: 1, labels: { inputTokens }, inputTokens })),
  { shows: ({ levels }) => ({ text: ingestionText(levels) }) },
);
const ingestion = openTest("prompt-ingestion", { REQUESTS: 5, OUTPUT_TOKENS: 1, API: "completions" }, lengths);

export const { options, setup, teardown, handleSummary } = ingestion;
export default ingestion.run;
