/** Parts of one run become the run again, and what is not one run is refused by name. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { foldLevel } from "../../lib/figures/fold";
import type { Validity } from "../../lib/figures/level-summary";
import type { LevelLine, PartLine, RequestLine, RunLine } from "../../lib/figures/records";
import { randomSource, requestLine, statsOf } from "../../test/support/synthetic";
import type { PagesLine, PointsLine } from "../read/records";
import { countsOf } from "./histogram-sum";
import { type MergeLimits, merge, mergeRefusals, type PartRecords } from "./merge";

const second = 1e9;
const epochNs = 1_780_000_000 * second;

const run: RunLine = {
  ...{ type: "run", schema: 1, scenario: "concurrency-sweep", startUnixNs: epochNs },
  ...{ config: { REQUESTS: 40, RESULTS: "/out" }, sloMs: { ttft: 200 }, digests: { DATASET: "d1" }, profile: "smoke" },
  versions: { tokenclock: "0.1.0", k6: "2.2.0", go: "1.25", os: "linux" },
};

function validity(own: Partial<Validity> = {}): Validity {
  const none = statsOf([]);
  return {
    ...{ state: "VALID", reasons: [], schedulingLagMs: none, queueDelayMs: none, kernelStampShare: 1 },
    ...{ coalescedShare: 0, arrivalUncertaintyMs: none, clockErrors: 0, sendUncertaintyMs: none, cpuShare: 0.1 },
    ...{ droppedIterations: 0, retriedOnReuse: 0, clockSteps: 0, rejectedStamps: 0 },
    ...own,
  };
}

/** Requests of a level of 2 clients from 1 s on, of which the first two are its warm-up. */
function requestsOf(level: string, fromMs: number, count: number): RequestLine[] {
  const random = randomSource(count);
  return Array.from({ length: count }, (_, index) => ({
    ...requestLine({
      ...{ level, index, phase: index < 2 ? "warmup" : "steady", sentMs: fromMs + index * 50, inputTokens: 7 + index },
      ...(index % 9 === 8 ? { failure: "http_5xx" } : { ttftMs: 20 + 200 * random.uniform(), gapsMs: [10, 12, 9] }),
    }),
    id: `${level}-${index}`,
  }));
}

const all = [...requestsOf("c2", 1000, 42), ...requestsOf("c5", 5000, 42)];
const line = (name: string, openMs: number, closeMs: number): LevelLine => ({
  ...{ type: "level", name, concurrency: Number(name.slice(1)), labels: {} },
  ...{ openNs: openMs * 1e6, closeNs: closeMs * 1e6, endNs: closeMs * 1e6 + 5e6 },
});
const lines = [line("c2", 1100, 3000), line("c5", 5100, 7000)];

/** The requests divided among n runners, whose clocks begin at other moments and are off by some ms. */
function partsOf(n: number, change: (part: PartRecords, k: number) => PartRecords = (part) => part): PartRecords[] {
  return Array.from({ length: n }, (_, k) => {
    // Runner k began k * 0.3 s later: on its own axis all was earlier.
    const laterNs = k * 3e8;
    const shift = <T extends object>(of: T, names: readonly (keyof T)[]): T => {
      const copy = { ...of };
      for (const name of names) if (copy[name]) copy[name] = ((copy[name] as number) - laterNs) as T[keyof T];
      return copy;
    };
    const moments = ["scheduledNs", "startedNs", "sentNs", "firstByteNs", "firstOutputNs"] as const;
    const ends = ["firstNonReasonNs", "lastOutputNs", "endNs"] as const;
    const clock: PartLine = {
      ...{ type: "part", run: "r1", part: k + 1, of: n, build: "b1", atNs: -laterNs },
      ...{ zeroUnixNs: epochNs + laterNs, uncertaintyNs: 50_000, offsetNs: k * 2e6 },
    };
    const part: PartRecords = {
      ...{ dir: `part-${k + 1}`, run, clocks: [clock], sessions: [], points: [], damage: [] },
      requests: all.filter((_, i) => i % n === k).map((each) => shift(each, [...moments, ...ends])),
      levels: lines.map((each) => shift(each, ["openNs", "closeNs", "endNs"])),
      end: { type: "end", endNs: 8 * second - laterNs, ended: "complete", validity: validity() },
    };
    return change(part, k);
  });
}

/** A level's pooled ITL as the extension writes it: three gaps of 10 ms. */
const itlOf3Gaps = "HISTFAAAACt42pJpmSzMwMDAwgABzFCakYGB2c1gxwIG+w8QgfbHjGyAAAAA//9kxgXA";

const limits = (parts: number): MergeLimits => ({ parts, offsetMs: 1000, uncertaintyMs: 25 });
const second2 = (change: (part: PartRecords) => PartRecords) =>
  partsOf(2, (part, k) => (k === 1 ? change(part) : part));

test("parts of 1, 2 and 3 runners are the run of one", () => {
  const one = merge(partsOf(1));
  for (const n of [1, 2, 3]) {
    const parts = partsOf(n);
    assert.deepEqual(mergeRefusals(parts, limits(n)), []);
    // In whatever order they are named.
    const merged = merge(parts.reverse());
    const byId = (requests: readonly RequestLine[]) =>
      [...requests].sort((a, b) => ((a.id ?? "") < (b.id ?? "") ? -1 : 1));
    assert.deepEqual(byId(merged.requests), byId(all));
    assert.deepEqual(merged.report.levels, one.report.levels);
    assert.deepEqual(merged.report.seconds, one.report.seconds);
    assert.equal(merged.report.total.requests, all.length);
    for (const [i, each] of lines.entries()) {
      const own = all.filter(({ level }) => level === each.name);
      const { failureMessages: _, ...level } = merged.report.levels[i] ?? {};
      assert.deepEqual(level, foldLevel(each.name, own, each, { ttft: 200 }));
    }
    assert.deepEqual(
      merged.run.parts?.map(({ part }) => part),
      Array.from({ length: n }, (_, k) => k + 1),
    );
  }
});

test("a level's window is the time in which all of its runners had theirs open; a burst's reaches over all", () => {
  const moved = (batchSize: number | undefined) =>
    second2((part) => ({
      ...part,
      levels: part.levels.map((each) => ({ ...each, openNs: each.openNs + 3e8, closeNs: each.closeNs + 3e8 })),
    })).map((part) => ({
      ...part,
      levels: part.levels.map((each) => ({ ...each, ...(batchSize ? { batchSize, concurrency: 0 } : {}) })),
    }));
  const [level] = merge(moved(undefined)).levels;
  assert.deepEqual([level?.openNs, level?.closeNs], [1.4e9, 3e9]);
  const [burst] = merge(moved(20)).levels;
  assert.deepEqual([burst?.openNs, burst?.closeNs], [1.1e9, 3.3e9]);
});

test("what is not one whole run is refused by name", () => {
  const clock = (own: Partial<PartLine>) => (part: PartRecords) => ({
    ...part,
    clocks: part.clocks.map((each) => ({ ...each, ...own })),
  });
  const ran = (own: Partial<RunLine>) => (part: PartRecords) => ({ ...part, run: { ...run, ...own } });
  const cases: [string, PartRecords[], RegExp, number?][] = [
    ["a missing part", partsOf(2).slice(0, 1), /^runner 2 of 2 is missing$/],
    ["the first part missing", partsOf(3).slice(1), /^runner 1 of 3 is missing$/, 3],
    [
      "the same part twice",
      [partsOf(2)[0], partsOf(2)[0]] as PartRecords[],
      /runner 1 of 2 .* is the same part as part-1/,
    ],
    ["more parts than asked for", partsOf(2), /runner 1 of 2 .* belongs to a run of 2 parts, not of 3/, 3],
    ["another run", second2(clock({ run: "r2" })), /runner 2 .* is of another run than runner 1/],
    ["another build", second2(clock({ build: "b2" })), /runner 2 .* is another build than runner 1/],
    ["another k6", second2(ran({ versions: { ...run.versions, k6: "2.3.0" } })), /is another build than runner 1/],
    [
      "another digest",
      second2(ran({ digests: { DATASET: "d2" } })),
      /read other files than runner 1: the digests of DATASET/,
    ],
    [
      "no digest",
      second2(ran({ digests: undefined })),
      /read other files than runner 1: the digests of DATASET differ/,
    ],
    ["another setting", second2(ran({ config: { REQUESTS: 41 } })), /had another workload: REQUESTS=41, runner 1 40/],
    ["a setting of one only", second2(ran({ config: { ...run.config, SEED: 2 } })), /SEED=2, runner 1 \(not set\)/],
    ["another profile", second2(ran({ profile: "batch" })), /has another threshold profile than runner 1/],
    ["another scenario", second2(ran({ scenario: "batch-burst" })), /ran batch-burst, runner 1 ran concurrency-sweep/],
    ["a clock that is off", second2(clock({ offsetNs: -1.5e9 })), /its clock was 1500 ms off .* limit 1000 ms/],
    ["a clock that is not known", second2(clock({ uncertaintyNs: 26e6 })), /known to 26\.0 ms only, limit 25 ms/],
    ["an offset that is no number", second2(clock({ offsetNs: Number.NaN })), /its clock was Infinity ms off/],
    [
      "a killed runner",
      second2(({ end: _, ...part }) => part),
      /runner 2 of 2 .* its records have no end: it was killed/,
    ],
    ["damaged records", second2((part) => ({ ...part, damage: ["line 3 is cut"] })), /runner 2 of 2 .*: line 3 is cut/],
    ["no part line", second2((part) => ({ ...part, clocks: [] })), /part-2: its records do not say which part/],
    [
      "windows one after the other",
      second2(clock({ zeroUnixNs: epochNs + 63 * second })),
      /^level c2: the runners' windows do not overlap: one had ended 60795 ms before another began$/,
    ],
  ];
  for (const [name, parts, reason, n = 2] of cases) {
    const refusals = mergeRefusals(parts, limits(n));
    assert.ok(
      refusals.some((text) => reason.test(text)),
      `${name}: ${refusals.join("; ") || "nothing is refused"}`,
    );
  }
  // Where each writes is its own, and the limits are inclusive.
  const own = second2((part) =>
    clock({ offsetNs: 1e9, uncertaintyNs: 25e6 })(ran({ config: { ...run.config, RESULTS: "/2" } })(part)),
  );
  assert.deepEqual(mergeRefusals(own, limits(2)), []);
});

test("one client that is not valid makes the whole not valid, and one that sent nothing counts for nothing", () => {
  const judged = (state: Validity["state"], idle = false) =>
    merge(
      second2((part) => ({
        ...part,
        ...(idle ? { requests: [], levels: [] } : {}),
        end: part.end && {
          ...part.end,
          validity: validity({ state, reasons: ["it was throttled"], droppedIterations: 3 }),
        },
      })),
    ).report.validity;
  assert.equal(judged("VALID").state, "VALID");
  for (const state of ["CLIENT-BOUND", "CACHE-BOUND", "NOT-MEASURED"] as const)
    assert.equal(judged(state).state, state);
  assert.deepEqual(judged("CLIENT-BOUND").reasons, ["runner 2: it was throttled"]);
  assert.equal(judged("CLIENT-BOUND").droppedIterations, 3);
  // A word that this version does not know is no better than the worst it knows.
  assert.equal(judged("HAPPY" as Validity["state"]).state, "CLIENT-BOUND");
  assert.equal(judged("CLIENT-BOUND", true).state, "VALID");
});

test("what the hosts did by level, the schedule and the pooled ITL are those of all runners", () => {
  const paused = (count: number) => ({ stolenMs: { count, total: 2 * count, longest: count } });
  const parts = partsOf(3, (part, k) => ({
    ...part,
    levels: part.levels.map((each) => ({ ...each, itlHistograms: { steady: itlOf3Gaps } })),
    end: part.end && {
      ...part.end,
      schedule: { digest: "ab", requests: 84 },
      validity: validity({
        hostLevels: [{ name: "c5", ...paused(k + 1) }, ...(k === 2 ? [{ name: "c2", ...paused(5) }] : [])],
      }),
    },
  }));
  assert.deepEqual(mergeRefusals(parts, limits(3)), []);
  const { report, end } = merge(parts);
  assert.deepEqual(report.validity.hostLevels, [
    { name: "c2", ...paused(5) },
    { name: "c5", stolenMs: { count: 6, total: 12, longest: 3 } },
  ]);
  assert.deepEqual([report.schedule, end.schedule], new Array(2).fill({ digest: "ab", requests: 84 }));
  assert.deepEqual(
    report.levels.map(({ itlHistograms = {} }) => countsOf(itlHistograms.steady ?? "").filter((count) => count > 0n)),
    [[9n], [9n]],
  );
  // Runners that follow different schedules do not run one load; nor does anyone know what a torn histogram held.
  const torn = second2((part) => ({
    ...part,
    levels: part.levels.map((each) => ({ ...each, itlHistograms: { steady: "HIST" } })),
    end: part.end && { ...part.end, schedule: { digest: "cd", requests: 84 } },
  })).map((part, k) =>
    k === 0 && part.end ? { ...part, end: { ...part.end, schedule: { digest: "ab", requests: 84 } } } : part,
  );
  const refusals = mergeRefusals(torn, limits(2)).join("\n");
  assert.match(refusals, /^runner 2 \(part-2\) followed another schedule than runner 1$/m);
  assert.match(refusals, /^runner 2 of 2 \(part-2\): the ITL histogram of level c2, steady, is damaged: no histogram/m);
});

test("a run that one runner did not end is not complete", () => {
  const ended = (how: "cut" | "interrupted", unsent?: string) =>
    merge(second2((part) => ({ ...part, end: part.end && { ...part.end, ended: how, unsent } }))).report;
  assert.equal(ended("cut", "3 of 20 requests").ended, "cut");
  assert.equal(ended("cut", "3 of 20 requests").unsent, "runner 2: 3 of 20 requests");
  assert.equal(ended("interrupted").ended, "interrupted");
});

test("the parts of a soak's window are those of all requests together", () => {
  const soak = { ...run, config: { ...run.config, SLICES: 8, DRIFT_LIMIT: 5 } };
  const merged = (n: number, memory: (k: number) => number[][] | undefined = () => undefined) =>
    merge(
      partsOf(n, (part, k) => {
        const clientMB = memory(k);
        return {
          ...{ ...part, run: soak },
          levels: part.levels.map((level) => ({ ...level, ...(clientMB && { clientMB }) })),
        };
      }),
    );
  const [of1, of3] = [1, 3].map((n) => merged(n).report.levels[0]);
  assert.equal(of3?.slices?.length, 8);
  assert.deepEqual(of3?.slices, of1?.slices);
  assert.equal(
    of3?.slices?.reduce((sum, { requests }) => sum + requests, 0),
    38,
  );
  // The memory of each runner, in their order; of one that does not say it, nothing is known of all.
  const own = (k: number) => [Array.from({ length: 8 }, (_, part) => 100 * (k + 1) + part)];
  const known = merged(3, own);
  assert.deepEqual(
    known.report.levels[0]?.slices?.map(({ clientMB, runnersMB }) => [clientMB, runnersMB]),
    Array.from({ length: 8 }, (_, part) => [300 + part, [100 + part, 200 + part, 300 + part]]),
  );
  assert.deepEqual(
    known.levels[0]?.clientMB,
    [0, 1, 2].flatMap((k) => own(k)),
  );
  const silent = merged(3, (k) => (k === 1 ? undefined : own(k))).report.levels[0]?.slices ?? [];
  assert.ok(silent.length === 8 && silent.every(({ clientMB, runnersMB }) => clientMB === undefined && !runnersMB));
});

const points = (name: string, rows: [number, number][]): PointsLine => ({
  ...{ type: "points", name, page: 0, what: "values", metrics: ["vllm:request_success_total"], kinds: ["counter"] },
  points: rows.map(([ms, value]) => [ms * 1e6, value]),
});
const pages: PagesLine = {
  ...{ type: "pages", name: run.scenario },
  pages: [
    {
      ...{ polls: 5, failed: 1, skipped: 0, error: "HTTP 503", bytes: 900, seconds: 7, cpuShare: 0.001 },
      ...{ pageMs: statsOf([1]), readMs: statsOf([0.1]) },
    },
  ],
};
const grown: [number, number][] = [
  ...([1000, 2000, 3000, 4000, 5000, 6000, 7000] as const).map((ms): [number, number] => [ms, ms / 10]),
];

test("what the server's pages said counts once, whichever runners polled, and is of each level's window", () => {
  const polled = (polling: (k: number) => boolean) =>
    merge(
      partsOf(2, (part, k) =>
        polling(k)
          ? {
              ...part,
              pages,
              // On the runner's own axis, one line a second as the records have it; and what a script polls by itself.
              points: [
                ...grown.map(([ms, value]) => points(run.scenario, [[ms - 300 * k, value]])),
                points("own", grown),
              ],
            }
          : part,
      ),
    );
  for (const polling of [(k: number) => k === 0, (k: number) => k === 1, () => true]) {
    const { report, polled: found } = polled(polling);
    assert.equal(found.series.length, 1);
    assert.equal(found.series[0]?.points.length, grown.length);
    const [level] = report.levels;
    const counter = level?.server?.pages[0]?.["vllm:request_success_total"];
    assert.ok(counter?.kind === "counter");
    // 100 a second over a window of 1.9 s.
    assert.ok(Math.abs(counter.increase - 190) < 1e-6, `${counter.increase}`);
    assert.deepEqual(report.serverPages, [{ url: "/metrics", ...pages.pages[0] }]);
  }
  assert.equal(polled(() => false).report.serverPages, undefined);
});
