/** Each kind of load that several instances divide: together they send what one process sends, body for body. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { dividedLoads } from "../support/divided";
import { type KeptRequest, keepingServer } from "../support/keeping-server";
import { run } from "../support/run";
import { runTogether, startCoordinator, startRunner, token } from "../support/runners";

/** What was sent, in an order of its own. */
const sent = (requests: readonly KeptRequest[]) =>
  requests.map(({ url, body }) => `${url} ${JSON.stringify(body)}`).sort();

/** The loads that distributed.test.ts divides as well, or that differ little from another one here. */
const elsewhere = [
  "dataset",
  "bursts",
  "refilled",
  "input lengths",
  "soak",
  "clients for a time",
  "arriving sessions",
  "turns of sessions",
];

/** SEGMENTS=1,2,3 runs every load on so many instances each; by default each runs on 2 or 3. */
const counts = (process.env.SEGMENTS ?? "").split(",").flatMap((n) => (Number(n) > 0 ? [Number(n)] : []));

const loads = Object.entries(dividedLoads).filter(([name]) => counts.length > 0 || !elsewhere.includes(name));
for (const [i, [name, { scenario, settings, bounded, refused }]] of loads.entries()) {
  const numbers = counts.length > 0 ? counts : [2 + (i % 2)];
  if (refused) {
    test(`${name}: refused by name, and nothing is sent`, { timeout: 60_000 }, async (t) => {
      const { baseUrl, requests } = await keepingServer(t);
      const coordinator = await startCoordinator(2, { args: ["--judge", "none"] });
      t.after(() => coordinator.child.kill("SIGKILL"));
      const own = { ...settings(), BASE_URL: baseUrl, COORDINATOR: coordinator.address, COORDINATOR_TOKEN: token };
      const runners = [await startRunner(scenario, 1, 2, own), await startRunner(scenario, 2, 2, own)];
      for (const runner of runners) if (await runner.ready()) await runner.release().catch(() => {});
      for (const { child } of runners) {
        const { code, stderr } = await child.ended;
        assert.notEqual(code, 0, stderr);
        assert.match(stderr, refused);
      }
      assert.equal(requests.length, 0);
    });
    continue;
  }
  const what = bounded ? "no two parts send the same" : "the parts are the load of one process";
  test(`${name}: ${what}`, { timeout: 120_000 }, async (t) => {
    const given = { ...settings(), SALT: "same", THRESHOLDS: "none", METRICS_URL: "none" };
    const [alone, shared] = [await keepingServer(t), await keepingServer(t)];
    const whole = run(scenario, { ...given, BASE_URL: alone.baseUrl });
    for (const n of numbers) {
      const own = { ...given, BASE_URL: shared.baseUrl };
      const { runners, judged } = await runTogether(scenario, n, own, { args: ["--judge", "none"] });
      // A soak that is as short as this says nothing of drift; a part is not judged.
      for (const { code, stderr } of runners) assert.equal(code, 0, stderr);
      assert.equal(judged.code, 0, judged.stderr);
      const all = sent(shared.requests.splice(0));
      assert.equal(new Set(all).size, all.length, `${n} instances sent something twice`);
      if (bounded) {
        assert.ok(all.length >= n, `${n} instances sent ${all.length} requests`);
        continue;
      }
      const { code, stderr } = await whole;
      assert.ok(code === 0 || (scenario === "soak" && code === 98), stderr);
      const one = sent(alone.requests);
      assert.ok(one.length >= 5, `${one.length} requests`);
      assert.deepEqual(all, one, `${n} instances sent ${all.length} requests, one process ${one.length}`);
    }
    await whole;
  });
}
