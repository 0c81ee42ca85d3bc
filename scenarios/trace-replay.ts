/** How does the server take what production sent? The requests of a trace, each at its recorded time. */
import { openTest, traceReplay } from "../lib";

const replay = openTest("trace-replay", { MAX_IN_FLIGHT: 1000 }, traceReplay);

export const { options, setup, teardown, handleSummary } = replay;
export default replay.run;
