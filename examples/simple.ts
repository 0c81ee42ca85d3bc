import { levels, openTest } from "./tokenclock.js";

const test = openTest("simple", { CONCURRENCY: [2, 4], REQUESTS: 8, OUTPUT_TOKENS: 16 }, levels);
export const { options, setup, teardown, handleSummary } = test;
export default test.run;
