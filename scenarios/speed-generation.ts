/** How fast does each of N parallel requests get its tokens, and how full is the KV cache then? */
import { lengthLabels, levelsOf, openTest } from "../lib";

const parallel = levelsOf(["levels", "SPEED_THRESHOLD", "prompts", "generation"], (config) =>
  config.CONCURRENCY.map((concurrency) => ({ name: `c${concurrency}`, concurrency, labels: lengthLabels(config) })),
);
const speed = openTest(
  "speed-generation",
  {
    API: "completions",
    CONCURRENCY: [1, 2, 3, 4, 6, 8, 10, 14],
    REQUESTS: 28,
    METRICS_INTERVAL: 10,
    INPUT_TOKENS: 32,
    OUTPUT_TOKENS: 128,
  },
  parallel,
);

export const { options, setup, teardown, handleSummary } = speed;
export default speed.run;
