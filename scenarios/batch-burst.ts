/** What does a batch of simultaneous requests cost and give? All requests of a batch are released behind one barrier. */
import { bursts, openTest } from "../lib";

const batches = openTest("batch-burst", { BATCH_SIZES: [1, 2, 4, 8], RUNS: 3, OUTPUT_TOKENS: 64 }, bursts);

export const { options, setup, teardown, handleSummary } = batches;
export default batches.run;
