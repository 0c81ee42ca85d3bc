/**
 * The times in the records against a packet capture that the test makes itself. With stamps from the packet ring they are
 * the packets' own, whatever the client's process does meanwhile: here it is stopped, twice.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestLine } from "../../lib/figures/records";
import { type Capture, startCapture } from "../support/capture";
import { makeNamespaces } from "../support/namespaces";
import { type EndedRun, type RunSettings, startRun } from "../support/run";
import { startServerWithin } from "../support/simulated";
import { largest, quantile } from "../support/statistics";

/**
 * Both sides read one stamp of the kernel; what differs is the conversion between two clocks, and rounding. Two processors may
 * hand packets to the two sockets in different orders, which moves a time by what lies between them.
 */
const p999ErrorMs = 0.05;
const largestErrorMs = 1;

const paced = ["--ttft", "uniform:20ms,60ms", "--itl", "normal:10ms,2ms"];
const load: RunSettings = {
  CONCURRENCY: 16,
  REQUESTS: 48,
  OUTPUT_TOKENS: 60,
  WARMUP: 0,
  THRESHOLDS: "none",
  STAMPS: "ring",
};

interface Place {
  device?: string;
  client?: readonly string[];
  server?: readonly string[];
  host?: string;
}

/** Runs a load with a capture beside it. `meanwhile` gets the client's process when its first requests have ended. */
async function measure(
  t: TestContext,
  place: Place,
  flags: readonly string[],
  settings: RunSettings,
  meanwhile: (pid: number) => Promise<void> = async () => {},
): Promise<{ run: EndedRun["requests"]; capture: Capture; code: number | undefined; validity: unknown } | undefined> {
  const server = await startServerWithin(
    place.server ?? [],
    ...(place.host ? ["--host", place.host] : []),
    ...paced,
    ...flags,
  );
  try {
    const capture = await startCapture(Number(new URL(server.origin).port), place.device, place.client);
    if ("refused" in capture) {
      t.skip(capture.refused);
      return undefined;
    }
    const started = startRun(
      "concurrency-sweep",
      { ...load, ...settings, BASE_URL: server.baseUrl },
      { within: place.client },
    );
    let over = false;
    void started.child.ended.finally(() => {
      over = true;
    });
    while (!over && started.records().length < 3) await sleep(20);
    await meanwhile(started.child.pid);
    const { code, stderr } = await started.child.ended;
    const records = started.records();
    const requests = records.filter((line): line is RequestLine => line.type === "request");
    assert.ok(requests.length > 0, `code ${code}: ${stderr}`);
    const end = records.find((line) => line.type === "end") as { validity: unknown } | undefined;
    return { run: requests, capture: await capture.end(), code, validity: end?.validity };
  } finally {
    await server.stop();
  }
}

/** Errors of TTFT and of each gap, ms; every chunk of every request has to be in the capture. */
function errorsOf(
  requests: readonly RequestLine[],
  { exchanges, drops }: Capture,
): { ttftMs: number[]; gapMs: number[] } {
  assert.equal(drops, 0, "the capture is whole");
  const byId = new Map(exchanges.map((each) => [each.id, each]));
  const errors = { ttftMs: [] as number[], gapMs: [] as number[] };
  for (const request of requests) {
    const seen = byId.get(request.id ?? "");
    assert.ok(seen, `request ${request.id} is in the capture`);
    // The first event brings the role alone, and the last three the finish reason, the usage and [DONE].
    const chunks = seen.events.slice(1, 1 + (request.arrivals?.length ?? 0));
    assert.equal(chunks.length, request.arrivals?.length);
    assert.equal(request.stamp, "ring");
    request.arrivals?.forEach(([deltaNs], k) => {
      const before = k === 0 ? seen.request.sentNs : (chunks[k - 1]?.[1] ?? 0);
      const errorMs = Math.abs(deltaNs - ((chunks[k]?.[1] ?? 0) - before)) / 1e6;
      (k === 0 ? errors.ttftMs : errors.gapMs).push(errorMs);
    });
  }
  return errors;
}

function judge(t: TestContext, measured: Awaited<ReturnType<typeof measure>>): void {
  if (!measured) return;
  const errors = errorsOf(measured.run, measured.capture);
  assert.equal(measured.run.length, Number(load.REQUESTS));
  for (const [what, ms] of Object.entries(errors)) {
    t.diagnostic(`${what}: ${ms.length} times, p50 ${quantile(ms, 0.5)}, largest ${largest(ms)} ms`);
    assert.ok(quantile(ms, 0.999) <= p999ErrorMs, `${what}: one in a thousand is off by ${quantile(ms, 0.999)} ms`);
    assert.ok(largest(ms) <= largestErrorMs, `${what}: one is off by ${largest(ms)} ms`);
  }
}

/** Stops the client twice; when it goes on, more than a second of its streams waits for it. */
async function stopTwice(pid: number): Promise<void> {
  for (let k = 0; k < 2; k++) {
    process.kill(pid, "SIGSTOP");
    await sleep(700);
    process.kill(pid, "SIGCONT");
    await sleep(200);
  }
}

const cases: { name: string; flags?: string[]; settings?: RunSettings; meanwhile?: (pid: number) => Promise<void> }[] =
  [
    { name: "in peace" },
    { name: "while the client is stopped twice", settings: { OUTPUT_TOKENS: 300, REQUESTS: 48 }, meanwhile: stopTwice },
    { name: "four events in a write", flags: ["--fault", "eventsPerChunk=4"] },
  ];

for (const each of cases) {
  test(`times are those of the packets: ${each.name}`, { timeout: 120_000 }, async (t) => {
    judge(t, await measure(t, {}, each.flags ?? [], each.settings ?? {}, each.meanwhile));
  });
}

for (const version of ["ipv4", "ipv6"] as const) {
  test(`times are those of the packets: two hosts, ${version}`, { timeout: 120_000 }, async (t) => {
    const hosts = makeNamespaces();
    if ("refused" in hosts) return t.skip(hosts.refused);
    try {
      const place = {
        device: hosts.clientDevice,
        client: hosts.client,
        server: hosts.server,
        host: hosts.address[version],
      };
      judge(t, await measure(t, place, [], {}));
    } finally {
      hosts.remove();
    }
  });
}
