/** Up to which rate does the server answer, and what happens beyond it? Arrivals on a schedule, or a ramp of users. */
import { arrivals, openTest } from "../lib";

const ramp = openTest(
  "arrival-rate-ramp",
  { STAGES: [{ durationMs: 20_000, target: 20 }], MAX_IN_FLIGHT: 200, OUTPUT_TOKENS: 32 },
  arrivals,
);

export const { options, setup, teardown, handleSummary } = ramp;
export default ramp.run;
