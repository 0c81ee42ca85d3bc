// Two levels of constant concurrency, one after the other, and a threshold on the tokens per second of the second.
//
//   k6 run -e BASE_URL=http://127.0.0.1:8000/v1 levels.js
import { Client, emitLevelMetrics, Levels, run } from "k6/x/tokenclock";

run({ scenario: "levels", config: {}, sloMs: {} });
const levels = new Levels("levels", [
  { name: "c1", concurrency: 1, requests: 4, warmupRequests: 1 },
  { name: "c4", concurrency: 4, requests: 16, warmupRequests: 4 },
]);
const client = new Client({ url: `${__ENV.BASE_URL}/chat/completions`, api: "chat" });

export const options = {
  // One VU carries all four clients; it goes through all levels in one iteration.
  scenarios: { levels: { executor: "per-vu-iterations", vus: 1, iterations: 1, maxDuration: "1m" } },
  thresholds: {
    "llm_output_throughput{level:c4}": ["value>10"],
    // k6 passes a threshold on nothing, so each travels with a count.
    "llm_requests{level:c4,phase:steady}": ["count>=16"],
    "llm_request_failed{level:c4,phase:steady}": ["rate<=0"],
  },
};

const body = (slot) =>
  JSON.stringify({
    model: __ENV.MODEL || "simulated",
    messages: [{ role: "user", content: `Write two lines about the number ${slot.index}.` }],
    max_tokens: 16,
    stream: true,
    stream_options: { include_usage: true },
  });

export default function () {
  levels.each(4, (slot) => client.start({ body: body(slot), outputTokens: 16 }, slot));
}

export function teardown() {
  emitLevelMetrics();
}
