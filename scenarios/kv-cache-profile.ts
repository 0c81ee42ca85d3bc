/** How do KV cache, running and waiting requests develop as 1, 2, 3, ... requests are sent at once? */
import { burstsOf, lengthLabels, openTest } from "../lib";

const releases = burstsOf(["CONCURRENCY", "prompts", "generation"], (config) =>
  config.CONCURRENCY.map((size) => ({ name: `n${size}`, size, labels: { ...lengthLabels(config), requests: size } })),
);
const profile = openTest(
  "kv-cache-profile",
  {
    API: "completions",
    CONCURRENCY: [1, 2, 3, 4, 6, 8, 10, 14],
    WARMUP: { requests: 0 },
    METRICS_INTERVAL: 10,
    INPUT_TOKENS: 1024,
    OUTPUT_TOKENS: 128,
  },
  releases,
);

export const { options, setup, teardown, handleSummary } = profile;
export default profile.run;
