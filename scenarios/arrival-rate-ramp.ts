/** Up to which rate does the server answer, and what happens beyond it? Arrivals on a schedule, or a ramp of users. */

import { rampLines, secondsCsv } from "../lib/figures/figures";
import { openArrivals } from "../lib/load/arrivals";
import { handleSummaryWith } from "../lib/outcome/summary";
import { readConfig } from "../lib/settings/config";
import { openClient, type Server } from "../lib/wire/llm-client";
import { openPrompts, tracePrompts } from "../lib/workload/prompts";
import { gates } from "../thresholds";

const config = readConfig(
  "arrival-rate-ramp",
  {
    STAGES: [{ durationMs: 20_000, target: 20 }],
    MAX_IN_FLIGHT: 200,
    OUTPUT_TOKENS: 32,
  },
  ["arrivals", "prompts", "generation"],
);
const load = openArrivals(config);
const client = openClient(config);
const prompts = load.trace.length > 0 ? tracePrompts(config, load.trace) : openPrompts(config);

export const options = load.options(() => gates(config, load.specs));

export function setup(): Server {
  return client.ready();
}

export default function (server: Server): void {
  load.each((slot) => client.request(server, prompts.next(slot, server), slot));
}

export function teardown(): void {
  load.report();
}

// With xk6-sse there are no seconds, and nothing is known of when what happened.
export const handleSummary = handleSummaryWith(({ seconds }) =>
  seconds.length > 0 ? { text: rampLines(seconds, config.LOOP), files: { "seconds.csv": secondsCsv(seconds) } } : {},
);
