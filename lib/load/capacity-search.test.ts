import assert from "node:assert/strict";
import { test } from "node:test";
import {
  closed,
  drifting,
  kvLimited,
  longRun,
  queueing,
  runTrials,
  trueCapacity,
  waitsLonger,
  wandering,
} from "../../test/support/capacity-trials";
import { CapacitySearch, costAtMost, marginOf, type ProbeOutcome, type SearchPlan } from "./capacity-search";

const plan: SearchPlan = {
  ...{ start: 1, target: 0.9, least: 0.5, most: 100, whole: false, precision: 0.1, confidence: 0.95, mostProbes: 16 },
  probeSd: 0,
};

const outcome = (state: ProbeOutcome["state"], more: Partial<ProbeOutcome> = {}): ProbeOutcome => ({
  ...{ state, requests: 100, good: 100, independent: 100, cut: 10, trend: "flat", queueGrows: false },
  ...{ throughput: 1, meanMs: 100, tookS: 1, sent: 110, ...more },
});

/** Probes until the search is over. */
function run(plan: SearchPlan, of: (level: number, nth: number) => ProbeOutcome): CapacitySearch {
  const searching = new CapacitySearch(plan);
  for (let level = searching.next(); level !== undefined; level = searching.next()) {
    searching.take(level, of(level, searching.made.length));
  }
  return searching;
}

test("doubling, bisection, and the bound that is older once more", () => {
  const searching = run(plan, (level) => outcome(level <= 7 ? "pass" : "fail"));
  const levels = searching.made.map(({ level }) => level);
  assert.deepEqual(levels.slice(0, 5), [1, 2, 4, 8, 5.66]);
  const { state, interval, precise } = searching.result();
  assert.equal(state, "found");
  assert.ok(precise);
  assert.ok((interval.low ?? 0) <= 7 && (interval.high ?? 0) > 7, JSON.stringify(interval));
  assert.equal(new Set(levels).size, levels.length - 1, "one level was probed twice");
});

test("whole levels end at neighbours", () => {
  const searching = run({ ...plan, whole: true, precision: 0 }, (level) => outcome(level <= 13 ? "pass" : "fail"));
  assert.deepEqual(searching.result().interval, { low: 13, high: 14 });
});

test("no failing and no passing level are answers of their own", () => {
  const all = run({ ...plan, most: 20 }, () => outcome("pass")).result();
  assert.equal(all.state, "at_least");
  assert.deepEqual(all.interval, { low: 20 });
  const none = run(plan, () => outcome("fail")).result();
  assert.equal(none.state, "below");
  assert.deepEqual(none.interval, { high: 0.5 });
});

test("an undecided level is enclosed, not given up", () => {
  const searching = run(plan, (level) => outcome(level < 5.4 ? "pass" : level > 5.9 ? "fail" : "undecided"));
  const { state, interval, notes } = searching.result();
  assert.equal(state, "found");
  assert.ok((interval.low ?? 0) > 5.1 && (interval.high ?? 0) < 6.2, JSON.stringify(interval));
  assert.ok(notes.some((note) => /undecided/.test(note)));
});

test("a client that cannot carry more is no answer of the server's", () => {
  const searching = run(plan, (level) => (level > 9 ? outcome("void", { why: "CLIENT-BOUND" }) : outcome("pass")));
  const { state, interval, notes } = searching.result();
  assert.equal(state, "at_least");
  assert.ok((interval.low ?? 0) > 8 && (interval.low ?? 0) <= 9);
  assert.ok(notes.some((note) => /CLIENT-BOUND/.test(note)));
});

test("a server that fails what it passed has no capacity", () => {
  const searching = run(plan, (level, nth) => outcome(level <= (nth < 6 ? 7 : 3) ? "pass" : "fail"));
  assert.equal(searching.result().state, "drifted");
  assert.deepEqual(searching.result().interval, {});
});

test("verdicts that contradict each other by no more than probes differ widen the interval; by more, the server drifted", () => {
  const wandering = { ...plan, probeSd: 0.03 };
  // z of (1 - 0.95) / 8 is 2.498: a factor of 1.078.
  assert.ok(Math.abs(marginOf(wandering) - Math.exp(0.03 * 2.4977)) < 1e-4);
  const steady = run(wandering, (level) => outcome(level <= 7 ? "pass" : "fail")).result();
  const { low = 0, high = 0 } = steady.probed;
  assert.ok(low <= 7 && high > 7 && high / low <= 1.1, JSON.stringify(steady.probed));
  assert.deepEqual(steady.interval, {
    low: Number((low / marginOf(wandering)).toPrecision(3)),
    high: Number((high * marginOf(wandering)).toPrecision(3)),
  });
  // The older bound is probed once more, and then the server carries other loads than before.
  const confirmedAt = (factor: number, sd: number) => {
    const seen = new Set<number>();
    return run({ ...plan, probeSd: sd }, (level) => {
      const carried = seen.has(level) ? 7 * factor : 7;
      seen.add(level);
      return outcome(level <= carried ? "pass" : "fail");
    }).result();
  };
  assert.equal(confirmedAt(0.9, 0).state, "drifted");
  assert.equal(confirmedAt(0.9, 0.03).state, "found");
  assert.equal(confirmedAt(0.9, 0.03).probed.low, confirmedAt(0.9, 0.03).probed.high);
  assert.equal(
    run({ ...wandering }, (level, nth) => outcome(level <= (nth < 6 ? 7 : 3) ? "pass" : "fail")).result().state,
    "drifted",
  );
});

test("numbers of clients are moved to whole ones, and of one client that passed nothing is left", () => {
  const clients = { ...plan, whole: true, precision: 0, probeSd: 0.03 };
  const of = (capacity: number) => run(clients, (level) => outcome(level <= capacity ? "pass" : "fail")).result();
  assert.deepEqual(
    [of(13).probed, of(13).interval],
    [
      { low: 13, high: 14 },
      { low: 12, high: 16 },
    ],
  );
  assert.deepEqual([of(1).probed, of(1).interval], [{ low: 1, high: 2 }, { high: 3 }]);
});

test("the search never makes more probes than its limit, and its cost is bounded beforehand", () => {
  const searching = run({ ...plan, mostProbes: 4 }, () => outcome("undecided"));
  assert.ok(searching.made.length <= 4);
  assert.equal(searching.result().state, "none");
  assert.deepEqual(costAtMost(4, { mostMs: 50_000, mostRequests: 300 }, 10_000), {
    probes: 4,
    minutes: 4,
    requests: 1200,
  });
});

test("the long run that finds capacities agrees with Erlang's formula", () => {
  const capacity = queueing.capacity ?? 0;
  assert.ok(Math.abs(waitsLonger(capacity / 5, 4, 1.5) - 0.1) < 1e-9);
  assert.ok(Math.abs(longRun(queueing, capacity, 400_000, 5) - 0.9) < 0.012);
});

test("the interval holds the capacity of servers of which it is known", () => {
  for (const [server, trials] of [
    [queueing, 4],
    [kvLimited, 4],
    [drifting, 3],
    [wandering, 3],
    [closed, 10],
  ] as const) {
    const outcome = runTrials(server, trials, trueCapacity(server, 150_000));
    assert.ok(outcome.found >= trials - 1, `${server.name}: ${JSON.stringify(outcome)}`);
    assert.ok(outcome.holding >= trials - 1, `${server.name}: ${JSON.stringify(outcome)}`);
    assert.ok(outcome.medianWidth < 0.45, `${server.name}: ${JSON.stringify(outcome)}`);
  }
});
