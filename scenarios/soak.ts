/** Does the server stay as fast as it was? One load for a long time, of which each tenth is compared with the others. */
import { openTest, soak } from "../lib";

const test = openTest(
  "soak",
  { CONCURRENCY: [8], RATE: [], DURATION: 1_800_000, WARMUP: { durationMs: 10_000 }, OUTPUT_TOKENS: 64 },
  soak,
);

export const { options, setup, teardown, handleSummary } = test;
export default test.run;
