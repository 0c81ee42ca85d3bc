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
 * A packet that leaves is stamped once, for all who capture. One that arrives over loopback is stamped for each of them when it
 * is handed over (the kernel's skb_clear_delivery_time): first for the client, which captures on all interfaces, then for
 * this test, which captures on one. The processor may be interrupted between the two for any time. So each arrival is held
 * between the packet's leaving and its arrival in the test's capture, and 999 in 1,000 times are equal to the test's.
 */
const clockErrorMs = 0.05;

const paced = ["--ttft", "uniform:20ms,60ms", "--itl", "normal:10ms,2ms"];
const load: RunSettings = {
  CONCURRENCY: 16,
  REQUESTS: 48,
  OUTPUT_TOKENS: 150,
  WARMUP: 0,
  THRESHOLDS: "none",
  STAMPS: "ring",
};

interface Place {
  client?: readonly string[];
  server?: readonly string[];
  clientDevice?: string;
  /** Where packets of the server leave; none = the client's device, loopback, sees both ends. */
  serverDevice?: string;
  host?: string;
}

interface Measured {
  run: EndedRun["requests"];
  /** At the client and at the server. */
  captures: [Capture, Capture];
  code: number | undefined;
  validity: unknown;
}

/** Runs a load with a capture beside it. `meanwhile` gets the client's process when its first requests have ended. */
async function measure(
  t: TestContext,
  place: Place,
  flags: readonly string[],
  settings: RunSettings,
  meanwhile: (pid: number) => Promise<void> = async () => {},
): Promise<Measured | undefined> {
  const server = await startServerWithin(
    place.server ?? [],
    ...(place.host ? ["--host", place.host] : []),
    ...paced,
    ...flags,
  );
  try {
    const port = Number(new URL(server.origin).port);
    const capture = await startCapture(port, place.clientDevice, place.client);
    if ("refused" in capture) {
      t.skip(capture.refused);
      return undefined;
    }
    const atServer = place.serverDevice ? await startCapture(port, place.serverDevice, place.server) : undefined;
    assert.ok(!atServer || !("refused" in atServer));
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
    const seen = await capture.end();
    return { run: requests, captures: [seen, (await atServer?.end()) ?? seen], code, validity: end?.validity };
  } finally {
    await server.stop();
  }
}

/**
 * Errors of TTFT and of each gap against the test's capture, ms. Every chunk of every request has to be in it, and to have
 * arrived after it left and before the test saw it arrive.
 */
function errorsOf(requests: readonly RequestLine[], captures: Measured["captures"]): Record<"TTFT" | "gaps", number[]> {
  const errors = { TTFT: [] as number[], gaps: [] as number[] };
  const [byId, byIdAtServer] = captures.map(({ exchanges, drops }) => {
    assert.equal(drops, 0, "the capture is whole");
    return new Map(exchanges.map((each) => [each.id, each]));
  });
  const [zeroNs = 0n, zeroAtServerNs = 0n] = captures.map(({ zeroUnixNs }) => BigInt(zeroUnixNs));
  const serverNs = Number(zeroAtServerNs - zeroNs);
  for (const request of requests) {
    const seen = byId?.get(request.id ?? "");
    const atServer = byIdAtServer?.get(request.id ?? "");
    assert.ok(seen && atServer, `request ${request.id} is in the captures`);
    assert.equal(request.stamp, "ring");
    // The first event brings the role alone, and the last three the finish reason, the usage and [DONE].
    const chunks = seen.events.slice(1, 1 + (request.arrivals?.length ?? 0));
    assert.equal(chunks.length, request.arrivals?.length);
    let arrivedNs = seen.request.sentNs;
    request.arrivals?.forEach(([deltaNs], k) => {
      arrivedNs += deltaNs;
      const before = k === 0 ? seen.request.sentNs : (chunks[k - 1]?.[1] ?? 0);
      const seenNs = chunks[k]?.[1] ?? 0;
      (k === 0 ? errors.TTFT : errors.gaps).push(Math.abs(deltaNs - (seenNs - before)) / 1e6);
      const leftNs = atServer.events[1 + k]?.[0] ?? -1;
      assert.ok(leftNs >= 0, "the capture has where the packet left");
      const early = (leftNs + serverNs - arrivedNs) / 1e6;
      const late = (arrivedNs - seenNs) / 1e6;
      assert.ok(early <= clockErrorMs, `request ${request.id}: chunk ${k} arrived ${early} ms before it left`);
      assert.ok(late <= clockErrorMs, `request ${request.id}: chunk ${k} is ${late} ms late`);
    });
  }
  return errors;
}

function judge(t: TestContext, measured: Measured | undefined): void {
  if (!measured) return;
  const errors = errorsOf(measured.run, measured.captures);
  assert.equal(measured.run.length, Number(load.REQUESTS));
  const all = Object.entries(errors).flatMap(([what, ms]) => {
    t.diagnostic(
      `${what}: ${ms.length} times, p50 ${quantile(ms, 0.5)}, p99 ${quantile(ms, 0.99)}, largest ${largest(ms)} ms`,
    );
    return ms;
  });
  assert.ok(quantile(all, 0.999) <= clockErrorMs, `one in a thousand is off by ${quantile(all, 0.999)} ms`);
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
        clientDevice: hosts.clientDevice,
        serverDevice: hosts.serverDevice,
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
