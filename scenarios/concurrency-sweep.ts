/** How do latency and throughput change as more clients wait at once? Levels of constant concurrency, one after the other. */
import { levels, openTest } from "../lib";

const sweep = openTest("concurrency-sweep", { CONCURRENCY: [1, 2, 4, 8], REQUESTS: 32, OUTPUT_TOKENS: 32 }, levels);

export const { options, setup, teardown, handleSummary } = sweep;
export default sweep.run;
