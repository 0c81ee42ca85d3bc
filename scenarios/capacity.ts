/** How much load does the server carry? A search for the highest rate (or number of clients) under which the SLOs hold. */
import { openTest, search } from "../lib";

const capacity = openTest(
  "capacity",
  {
    ARRIVAL: { kind: "poisson" },
    WARMUP: { durationMs: 5000 },
    OUTPUT_TOKENS: 32,
    // A search takes as long as its probes need.
    MAX_DURATION: 4 * 3_600_000,
  },
  search,
);

export const { options, setup, teardown, handleSummary } = capacity;
export default capacity.run;
