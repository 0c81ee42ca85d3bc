// This project's client, as its scenarios use it. One file for the four loads, chosen by LOAD.
import { Client, Levels, report, run } from "k6/x/tokenclock";

// biome-ignore lint/style/noRestrictedGlobals: a benchmark's script takes no settings of the project
const { LOAD, URL, BODY, STREAMS, REQUESTS, TOKENS, RESULT, HTTP2, STAMPS } = __ENV;
const streams = Number(STREAMS);
const requests = Number(REQUESTS);
const body = open(BODY);

const fewVus = Math.min(4, streams);
const loads = {
  // A few VUs carry the clients, each of which sends one request behind the other.
  closed: { vus: fewVus, iterations: 1 },
  // The same for replies that are no streams.
  json: { vus: fewVus, iterations: 1 },
  // A VU for each client.
  vus: { vus: streams, iterations: requests },
  // All requests behind one barrier.
  batch: { vus: 1, iterations: requests },
  // All at once, from few VUs.
  start: { vus: fewVus, iterations: requests },
};

export const options = {
  scenarios: { load: { executor: "per-vu-iterations", maxDuration: "5m", ...loads[LOAD] } },
};

run({ scenario: `bench-${LOAD}`, config: {}, sloMs: {}, stamps: STAMPS || "auto" });
const client = new Client(
  LOAD === "json"
    ? { url: URL, api: "json", inputTokensPointer: "/input_tokens", outputTokensPointer: "/output_tokens" }
    : { url: URL, api: "chat", http2: HTTP2 === "true" },
);
const spec = { body, outputTokens: Number(TOKENS) };
const level = { name: "load", concurrency: streams, requests: streams * requests, warmupRequests: 0 };
const levels = LOAD === "closed" || LOAD === "json" ? new Levels("load", [level]) : undefined;
const carry = () => levels.each(Math.ceil(streams / fewVus), (slot) => client.start(spec, slot));

const send = {
  closed: carry,
  json: carry,
  batch: () => client.batch(Array(streams).fill(spec)),
  start: () => Promise.all(Array.from({ length: streams / fewVus }, () => client.start(spec))),
};

export default send[LOAD] ?? (() => client.request(spec));

export function handleSummary() {
  const { total, validity, seconds } = report();
  return {
    [RESULT]: JSON.stringify({
      requests: total.completed,
      failed: total.failed,
      tokens: total.outputTokens,
      spanS: total.whole.durationS,
      ttftMs: total.ttftMs,
      itlMs: total.itlMs,
      mostInFlight: Math.max(0, ...seconds.map(({ inFlight }) => inFlight)),
      validity: [validity.state, ...validity.reasons].join(": "),
    }),
  };
}
