/** How does the server serve several kinds of load at once? Classes with lengths, models, SLOs and thresholds of their own. */
import { mix, openTest } from "../lib";

const test = openTest("mixed", { DURATION: 30_000, RATE: [], WARMUP: { requests: 0 }, CACHE: "warm" }, mix);

export const { options, setup, teardown, handleSummary } = test;
export default test.run;
