/** One kill of each kind. `npm run kills` does it again and again. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { seededRng } from "../../lib/workload/rng";
import { nthKill, victims } from "../support/kills";
import { type SimulatedServer, startServer } from "../support/simulated";

let server: SimulatedServer;
before(async () => {
  server = await startServer("--ttft", "20ms", "--itl", "4ms");
});
after(() => server.stop());

/** By this seed the kills fall into the middle of their runs, each of another load. */
const random = seededRng(1801);
for (const [i, victim] of victims.entries()) {
  test(`kill -9 of ${victim}: nothing that had arrived is lost, nothing passes, and all others end`, {
    timeout: 120_000,
  }, async (t) => {
    const { wrong, scenario, atMs, verdict, kept, served, tooLate } = await nthKill(server, i, random);
    t.diagnostic(`${scenario} after ${atMs} ms: ${kept} of ${served} requests kept, verdict ${verdict}`);
    assert.deepEqual(wrong, []);
    if (!tooLate) assert.equal(verdict, 98);
  });
}
