/** How does the server serve conversations, turn after turn? Sessions of a file, a trace or of words, with think time and tools. */
import { conversations, openTest } from "../lib";

const sessions = openTest(
  "conversations",
  {
    CONCURRENCY: [4],
    SESSIONS: 16,
    RATE: [],
    WARMUP: { requests: 0 },
    OUTPUT_TOKENS: 32,
    // Each turn repeats those before it: what the prefix cache makes of that is what is measured.
    CACHE: "warm",
  },
  conversations,
);

export const { options, setup, teardown, handleSummary } = sessions;
export default sessions.run;
