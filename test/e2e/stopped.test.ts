/** A client that somebody stops measures its own pause: the verdict says so, and such a run does not pass. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import type { Summary } from "../../lib/figures/level-summary";
import { withAttempts } from "../support/attempts";
import { type RunSettings, requestsIn, run, type StartedRun, startRun } from "../support/run";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const limits = { timeout: 90_000, skip: process.platform === "win32" && "there is no SIGSTOP on Windows" };
const after = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits until so many steady requests more than `than` are in the records; returns how many there are. */
async function steadyRequests(started: StartedRun, more: number, than = 0): Promise<number> {
  for (;;) {
    const count = requestsIn(started.records()).filter(({ phase }) => phase === "steady").length;
    if (count >= than + more) return count;
    await after(20);
  }
}

async function runWith(
  t: TestContext,
  settings: RunSettings,
  meanwhile: (started: StartedRun) => Promise<void> = async () => {},
) {
  const server = await startServer("--ttft", "20ms", "--itl", "5ms");
  t.after(server.stop);
  const started = startRun("concurrency-sweep", {
    BASE_URL: server.baseUrl,
    CONCURRENCY: 8,
    REQUESTS: 300,
    OUTPUT_TOKENS: 32,
    ...settings,
  });
  await meanwhile(started);
  const { code, stdout } = await started.child.ended;
  const summary = JSON.parse(readFileSync(path.join(started.dir, "summary.json"), "utf8")) as Summary;
  return { code, stdout, summary, records: started.records() };
}

test("a client that is stopped twice is CLIENT-BOUND, and the reason names the stops", limits, async (t) => {
  await withAttempts(t, async () => {
    const stopMs = 1500;
    let heldMs = 0;
    const { code, stdout, summary, records } = await runWith(t, { STAMPS: "socket" }, async (started) => {
      let seen = 0;
      for (let stop = 1; stop <= 2; stop++) {
        seen = await steadyRequests(started, 8, seen);
        const fromMs = performance.now();
        started.child.kill("SIGSTOP");
        await after(stopMs);
        started.child.kill("SIGCONT");
        heldMs += performance.now() - fromMs;
      }
    });
    const { validity, verdict } = summary;
    assert.equal(code, 98);
    assert.deepEqual([verdict.pass, verdict.validity], [false, "CLIENT-BOUND"]);
    const { count, total, longest } = validity.stoppedMs ?? { count: 0, total: 0, longest: 0 };
    // A virtual machine that its host pauses for some tens of milliseconds looks like one stop more.
    assert.ok(count >= 2 && count <= 4, `${count} stops`);
    // What the process ran and waited for a core in the same gaps is taken off, which is little where the machine is not crowded.
    assert.ok(total > 0.6 * 2 * stopMs && total < heldMs + 1000, `${total} ms of ${heldMs}`);
    assert.ok(longest > 0.6 * stopMs && longest < total, `${longest} ms`);
    assert.ok(
      validity.reasons.some((reason) =>
        new RegExp(`^level c8: this process was stopped ${count} times, \\d+ ms in total, \\d+ ms the longest`).test(
          reason,
        ),
      ),
      validity.reasons.join("\n"),
    );
    assert.deepEqual(
      validity.hostLevels?.map(({ name, stoppedMs }) => [name, stoppedMs?.count]),
      [["c8", count]],
    );
    assert.match(stdout, new RegExp(`^client: stopped ${count} times, \\d+ ms in total`, "m"));
    assert.match(stdout, new RegExp(`^FAIL CLIENT-BOUND: level c8: this process was stopped ${count} times`, "m"));
    const end = records.find((line) => line.type === "end");
    assert.deepEqual(
      [end?.validity.state, end?.validity.stoppedMs?.count],
      ["CLIENT-BOUND", count],
      "the records say it, too",
    );
  });
});

test(
  "a client that nobody stops, however late it runs, was not stopped; the run names its stamps",
  limits,
  async (t) => {
    const { stdout, summary, records } = await runWith(t, {});
    const { stamps, stoppedMs, suspendedMs } = summary.validity;
    // Of a virtual machine its host may pause all processes for a moment. A loop that took late ticks for stops would find dozens.
    assert.ok((stoppedMs?.count ?? 9) <= 2 && (stoppedMs?.total ?? 999) < 300, JSON.stringify(summary.validity));
    assert.equal(suspendedMs?.count, 0);
    assert.ok(stamps);
    assert.ok(Math.abs(stamps.ring + stamps.socket + stamps.user - 1) < 1e-9, JSON.stringify(stamps));
    assert.ok(stamps[stamps.source] > 0.99, "the source that the process names is the one that it used");
    assert.match(stdout, new RegExp(`^stamps: .*${stamps.source} \\d`, "m"));
    const run = records.find((line) => line.type === "run");
    assert.equal(run?.stamps?.source, stamps.source);
    assert.ok(stamps.source === "ring" || stamps.why, "what is not the best has its reason");
  },
);

test("with the packet ring a stop is a note: it moves no arrival time", limits, async (t) => {
  const fromRing = await runWith(t, { REQUESTS: 48, OUTPUT_TOKENS: 256 }, async (started) => {
    await steadyRequests(started, 1); // of 1.3 s each, so that packets come all through the stop
    started.child.kill("SIGSTOP");
    await after(700);
    started.child.kill("SIGCONT");
  });
  const { validity } = fromRing.summary;
  if (validity.stamps?.source !== "ring") {
    t.skip(`there is no packet ring here: ${validity.stamps?.why}`);
    return;
  }
  assert.equal(validity.stoppedMs?.count, 1, JSON.stringify(validity.stoppedMs));
  const stops = /^level c8: this process was stopped once, .*; arrival times are the packet ring's and stay exact$/;
  assert.ok(
    validity.notes?.some((note) => stops.test(note)),
    validity.notes?.join("\n"),
  );
  assert.match(fromRing.stdout, /^note: level c8: this process was stopped once/m);
  for (const reason of validity.reasons) assert.doesNotMatch(reason, /stopped/, "at most that the load was sent late");
  assert.ok(validity.ring && validity.ring.packets > 48 * 256, JSON.stringify(validity.ring));
});

test("a hypervisor's part of the time is judged by what MAX_STOLEN allows", limits, async (t) => {
  // The client sees another /proc/stat, in which each of two processors has half of its time stolen.
  const dir = scratchDir();
  const faked = path.join(dir, "stat");
  const beganMs = performance.now();
  const steal = () => {
    const ticks = Math.round((performance.now() - beganMs) / 20); // of 10 ms each
    const line = (name: string, stolen: number) => `${name} 0 0 0 0 0 0 0 ${stolen} 0 0\n`;
    writeFileSync(faked, line("cpu ", 2 * ticks) + line("cpu0", ticks) + line("cpu1", ticks));
  };
  steal();
  const within = ["unshare", "--mount", "sh", "-c", `mount --bind '${faked}' /proc/stat && exec "$@"`, "sh"];
  const { error, status, stderr } = spawnSync(within[0] ?? "", [...within.slice(1), "true"], { encoding: "utf8" });
  if (error || status !== 0) return t.skip(`no mount namespace here: ${error?.message ?? stderr.trim()}`);
  const timer = setInterval(steal, 100);
  t.after(() => clearInterval(timer));
  const server = await startServer("--ttft", "20ms", "--itl", "5ms");
  t.after(server.stop);
  const load = { BASE_URL: server.baseUrl, CONCURRENCY: 1, REQUESTS: 10, OUTPUT_TOKENS: 32 };
  const said = /level c1: the hypervisor gave this machine's 2 processors to others for \d+ ms in total/;
  const judged = async (maxStolen: string) => {
    const { code, summary } = await run("concurrency-sweep", { ...load, MAX_STOLEN: maxStolen }, { within });
    const { reasons, notes } = summary.validity;
    return { code, reason: reasons.find((text) => said.test(text)), note: notes?.find((text) => said.test(text)) };
  };
  const refused = await judged("0.5");
  assert.equal(refused.code, 98);
  assert.match(refused.reason ?? "", /% of their time, limit 0.5 %/);
  assert.equal(refused.note, undefined);
  const allowed = await judged("100");
  assert.equal(allowed.reason, undefined);
  assert.match(allowed.note ?? "", /% of their time, limit 100 %/);
});
