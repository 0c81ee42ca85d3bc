/** What does the server give in all when each user must get so much? The points and the step curve of MLPerf Endpoints. */
import { curve, openTest } from "../lib";

const points = openTest(
  "endpoints-curve",
  {
    CONCURRENCY: [],
    WARMUP: { durationMs: 5000 },
    OUTPUT_TOKENS: 64,
    // 32 points of 20 minutes, the most that the rules allow, and their warm-up.
    MAX_DURATION: 12 * 3_600_000,
  },
  curve,
);

export const { options, setup, teardown, handleSummary } = points;
export default points.run;
