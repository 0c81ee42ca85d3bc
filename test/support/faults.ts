/** The fault matrix: what a server does wrong, on each wire, under each load shape, and the class it has to be counted under. */
import type { EndedRun, RunSettings } from "./run";
import { run } from "./run";
import { startServer } from "./simulated";

/** A fault of every request, and its class. */
export const faults: readonly { fault: string; failure: string; settings?: RunSettings }[] = [
  { fault: "refuse", failure: "reset" },
  { fault: "status=429", failure: "http_429" },
  { fault: "status=503", failure: "http_5xx" },
  { fault: "status=404", failure: "http_4xx" },
  { fault: "error=2", failure: "error_event" },
  { fault: "cut=2", failure: "reset" },
  { fault: "cut=2,cutHow=end", failure: "truncated" },
  { fault: "malformed=2", failure: "malformed" },
  { fault: "stall=2,stallMs=30000", failure: "timeout", settings: { TIMEOUT: "700ms" } },
  { fault: "cut=2,cutHow=fin", failure: "truncated" },
];

export const wires = ["chat", "completions", "responses", "messages"] as const;

/** A few requests of each kind of load: closed, open and at once. */
export const shapes: Readonly<Record<string, RunSettings>> = {
  "concurrency-sweep": { CONCURRENCY: 2, REQUESTS: 6, WARMUP: 0 },
  "arrival-rate-ramp": { STAGES: "500ms:16" },
  "batch-burst": { BATCH_SIZES: 4, RUNS: 1 },
};

/** A cell: what came of it, and what is wrong with that; "" where nothing is. */
export interface Cell {
  readonly requests: number;
  readonly wrong: string;
}

/** Runs one cell against a server of its own. */
export async function runCell(
  { fault, failure, settings }: (typeof faults)[number],
  wire: (typeof wires)[number],
  shape: string,
): Promise<Cell> {
  const server = await startServer("--ttft", "5ms", "--itl", "2ms", "--fault", fault);
  try {
    const ended = await run(shape, {
      ...{ API: wire, OUTPUT_TOKENS: 6, INPUT_TOKENS: 16, BASE_URL: server.baseUrl, MODEL: "simulated" },
      ...shapes[shape],
      ...settings,
    });
    const { requestCount } = await server.truth();
    return {
      requests: ended.requests.length,
      wrong: wrongOf(ended, failure, fault === "refuse" ? undefined : requestCount),
    };
  } finally {
    await server.stop();
  }
}

/** What a run did not do that it should: end with 99, count each request once, under the class, and feed no latency. */
function wrongOf({ code, summary, requests, stderr }: EndedRun, failure: string, served: number | undefined): string {
  const wrong: string[] = [];
  if (code !== 99) wrong.push(`exit code ${code}: ${stderr.trim().split("\n").at(-1)}`);
  if (requests.length === 0) wrong.push("no request");
  if (served !== undefined && served !== requests.length)
    wrong.push(`the server counts ${served} requests, the records ${requests.length}`);
  const classes = new Map<string, number>();
  for (const each of requests) {
    const name = each.outcome === "failed" ? (each.failure ?? "?") : each.outcome;
    classes.set(name, (classes.get(name) ?? 0) + 1);
  }
  if (classes.size !== 1 || !classes.has(failure))
    wrong.push(`classes ${JSON.stringify([...classes])}, wanted ${failure}`);
  const latencies = summary.levels.reduce((sum, level) => sum + level.ttftMs.count + level.itlMs.count, 0);
  if (latencies !== 0) wrong.push(`${latencies} latencies of failed requests`);
  return wrong.join("; ");
}
