import assert from "node:assert/strict";
import { test } from "node:test";
import type { Second } from "./level-summary";
import { rampFigures, rampLines, secondsCsv } from "./ramp";

function second(t: number, succeeded: number, failed = 0): Second {
  const scheduled = succeeded + failed;
  const counts = {
    scheduled,
    sent: scheduled,
    succeeded,
    failed,
    scheduledFailed: failed,
    inFlight: 0,
    outputTokens: 0,
  };
  return { t, ...counts, meanMs: 10, p50Ms: 9, p95Ms: t };
}

test("failures begin where more than one per cent fail over five seconds, not at a single slip", () => {
  const seconds = [
    ...Array.from({ length: 10 }, (_, t) => second(t, 100)),
    second(10, 99, 1),
    ...Array.from({ length: 10 }, (_, i) => second(11 + i, 100)),
    ...Array.from({ length: 5 }, (_, i) => second(21 + i, 60, 40)),
  ];
  const { onset, highestScheduledRate, highestSuccessRate, failedShareAtEnd } = rampFigures(seconds);
  assert.deepEqual(onset, { t: 21, scheduledRate: 100, failedShare: 0.4, p95Ms: 21 });
  assert.deepEqual([highestScheduledRate, highestSuccessRate, failedShareAtEnd], [100, 100, 0.4]);
});

test("the onset: not two bad seconds, not exactly one per cent, and in the last seconds each of them", () => {
  const failing = (from: number, to: number, failed: number) =>
    Array.from({ length: 40 }, (_, t) => (t >= from && t < to ? second(t, 100 - failed, failed) : second(t, 100)));
  const onsetOf = (from: number, to: number, failed: number) => rampFigures(failing(from, to, failed)).onset?.t;
  assert.equal(onsetOf(10, 12, 50), undefined, "a blip of two seconds");
  assert.equal(onsetOf(30, 31, 99), undefined, "a bad second, and then the ramp's last five");
  assert.equal(onsetOf(20, 40, 30), 20);
  assert.equal(onsetOf(20, 40, 1), undefined, "one per cent is not more than one per cent");
  assert.equal(onsetOf(35, 40, 30), 35, "a ramp that ends while failing");
  assert.equal(onsetOf(37, 40, 30), 37, "a server that is dead at the end");
  assert.equal(onsetOf(36, 38, 50), undefined, "one that came back");
  assert.equal(onsetOf(39, 40, 1), undefined, "one request at the very end");
});

test("a ramp's figures in words", () => {
  const seconds = [0, 1, 2, 3, 4, 5].map((t) => ({ ...second(t, 10 * t, 10), p95Ms: 250 + t }));
  assert.equal(
    rampLines(seconds),
    "highest sustained success rate 30 requests/s\n" +
      "requests fail from 10 requests/s scheduled (second 0), p95 250 ms there\n" +
      "failed at the end 25 %\n" +
      "response time p50 9 ms in the first second, 9 ms in the last",
  );
  assert.match(
    rampLines(seconds, "closed"),
    /^requests fail from second 0, p95 250 ms there$/m,
    "no rate was scheduled",
  );
  assert.match(
    rampLines([second(0, 5)]),
    /^success rate 5 requests\/s over 1 s\nno rate at which requests go on failing$/m,
  );
});

test("the rate at the onset is the one scheduled in that second, the highest one that of the last", () => {
  const { onset, highestScheduledRate } = rampFigures(
    Array.from({ length: 20 }, (_, t) => (t < 13 ? second(t, 100 * t + 50) : second(t, 1000, 100 * t - 950))),
  );
  assert.equal(onset?.t, 13);
  assert.ok(Math.abs((onset?.scheduledRate ?? 0) - 1350) < 1e-6 && Math.abs(highestScheduledRate - 1950) < 1e-6);
});

/** What a server that ends 14 requests a second, and refuses none, makes of a ramp to 60 requests/s in 15 s. */
function queueing(): Second[] {
  let open = 0;
  return Array.from({ length: 60 }, (_, t) => {
    const scheduled = t < 15 ? 4 * t + 2 : 0;
    const ended = Math.min(14, open + scheduled);
    open += scheduled - ended;
    return { ...second(t, ended), scheduled, sent: scheduled, p50Ms: 270 + (1000 * open) / 14 };
  });
}

test("a server that queues instead of refusing falls behind where more is scheduled than it ends", () => {
  const seconds = queueing();
  const { onset, fallingBehind, openAtEnd } = rampFigures(seconds);
  assert.equal(onset, undefined);
  assert.ok(fallingBehind && fallingBehind.t >= 3 && fallingBehind.t <= 4, JSON.stringify(fallingBehind));
  assert.ok(Math.abs(fallingBehind.scheduledRate - (4 * fallingBehind.t + 2)) < 1e-6);
  assert.equal(openAtEnd, 450 - 2 - 6 - 10 - 14 * 12);
  assert.match(
    rampLines(seconds),
    /^the server falls behind from \d+ requests\/s scheduled .* 2\d\d requests are open when/m,
  );
  assert.equal(rampFigures(seconds, "closed").fallingBehind, undefined, "users wait");
});

test("a server that keeps up does not, however long its answers take", () => {
  for (const latencyS of [1, 2, 3]) {
    const scheduled = (t: number) => (t >= 0 && t < 40 ? t + 1 : 0);
    const seconds = Array.from({ length: 45 }, (_, t) => ({
      ...second(t, scheduled(t - latencyS)),
      scheduled: scheduled(t),
      p50Ms: t < latencyS ? 0 : 1000 * latencyS,
    }));
    assert.equal(rampFigures(seconds).fallingBehind, undefined, `${latencyS} s`);
  }
});

test("a rate that is reached for one second is not sustained", () => {
  const seconds = [second(0, 10), second(1, 10), second(2, 90), second(3, 10), second(4, 10), second(5, 10)];
  assert.equal(rampFigures(seconds).highestSuccessRate, 26);
});

test("a ramp shorter than that counts as a whole; none counts nothing", () => {
  assert.equal(rampFigures([second(0, 4), second(1, 8)]).highestSuccessRate, 6);
  const zero = { highestScheduledRate: 0, highestSuccessRate: 0, overS: 0, failedShareAtEnd: 0 };
  assert.deepEqual(rampFigures([]), { ...zero, openAtEnd: 0, firstP50Ms: 0, lastP50Ms: 0 });
});

test("seconds become a line each", () => {
  assert.equal(
    secondsCsv([second(3, 2, 1)]),
    "t_s,scheduled,sent,succeeded,failed,mean_ms,p50_ms,p95_ms,in_flight,output_tokens\n3,3,3,2,1,10,9,3,0,0\n",
  );
});
