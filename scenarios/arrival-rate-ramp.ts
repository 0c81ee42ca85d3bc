/** Up to which rate does the server answer, and what happens beyond it? Arrivals on a schedule, or a ramp of users. */
import { openArrivals } from "../lib/arrivals";
import { readConfig } from "../lib/config";
import { rampFigures, secondsCsv } from "../lib/figures";
import { openClient, type Server } from "../lib/llm-client";
import { openPrompts, tracePrompts } from "../lib/prompts";
import { handleSummaryWith } from "../lib/summary";
import { percent, shortNumber } from "../lib/table";
import { thresholds } from "../thresholds";

const config = readConfig("arrival-rate-ramp", {
  STAGES: [{ durationMs: 20_000, target: 20 }],
  MAX_IN_FLIGHT: 200,
  OUTPUT_TOKENS: 32,
});
const load = openArrivals(config);
const client = openClient(config);
const prompts = load.trace.length > 0 ? tracePrompts(config, load.trace) : openPrompts(config);

export const options = load.options(thresholds(config, load.specs));

export function setup(): Server {
  return client.ready();
}

export default function (server: Server): void {
  load.each((slot) => client.request(server, prompts.next(slot, server), slot));
}

export function teardown(): void {
  load.report();
}

export const handleSummary = handleSummaryWith(({ seconds }) => {
  const { onset, highestSuccessRate, failureShareAtEnd } = rampFigures(seconds);
  const lines = [
    `highest sustained success rate ${shortNumber(highestSuccessRate)} requests/s`,
    onset
      ? `requests fail from ${shortNumber(onset.askedRate)} requests/s asked (second ${onset.t}, p95 ${shortNumber(onset.p95Ms)} ms)`
      : "no sustained rate at which requests fail",
    `failed at the end ${percent(failureShareAtEnd)}`,
  ];
  return { text: lines.join("\n"), files: { "seconds.csv": secondsCsv(seconds) } };
});
