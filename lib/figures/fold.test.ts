import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { chunksOf, figuresOf, foldRecords, isGood, weightedStats } from "./fold";
import type { SloMs } from "./level-summary";
import { statsOf } from "./percentile";
import type { CompletedLine, FailedLine, LevelLine, RecordLine } from "./records";

const ms = (value: number) => value * 1e6;

/** A completed request whose chunks arrive `gapsMs` after one another, the first that long after it was sent. */
function completed(sentMs: number, gapsMs: number[], more: Partial<CompletedLine> = {}): CompletedLine {
  const lastMs = sentMs + gapsMs.reduce((sum, gap) => sum + gap, 0);
  return {
    type: "request",
    level: "c1",
    phase: "steady",
    scheduledNs: ms(sentMs - 1),
    sentNs: ms(sentMs),
    firstOutputNs: ms(sentMs + (gapsMs[0] ?? 0)),
    firstNonReasonNs: ms(sentMs + (gapsMs[0] ?? 0)),
    lastOutputNs: ms(lastMs),
    endNs: ms(lastMs),
    arrivals: gapsMs.map((gap) => [ms(gap), 1]),
    status: 200,
    inputTokens: 10,
    outputTokens: gapsMs.length,
    tokenSource: "usage",
    stamp: "socket",
    outcome: "completed",
    ...more,
  };
}

function failed(sentMs: number, failure: string, more: Partial<FailedLine> = {}): FailedLine {
  return {
    type: "request",
    level: "c1",
    phase: "steady",
    scheduledNs: ms(sentMs),
    sentNs: ms(sentMs),
    endNs: ms(sentMs + 1),
    outcome: "failed",
    failure,
    ...more,
  };
}

const window = (openMs: number, closeMs: number): LevelLine => ({
  type: "level",
  name: "c1",
  concurrency: 1,
  openNs: ms(openMs),
  closeNs: ms(closeMs),
  endNs: ms(closeMs),
});

function foldOne(lines: RecordLine[]) {
  const [level] = foldRecords(lines).levels;
  assert.ok(level);
  return level;
}

test("latencies follow the metric table: all from sent, TPOT over the tokens after the first", () => {
  assert.deepEqual(figuresOf(completed(100, [50, 10, 20])), {
    queueDelayMs: 1,
    ttftMs: 50,
    ttftScheduledMs: 51,
    ttfoMs: 50,
    e2eMs: 80,
    e2eScheduledMs: 81,
    maxStallMs: 20,
    tpotMs: 15,
    outputSpeed: 1000 / 15,
  });
});

test("a failed request has a queue delay and no latency, even if it got output", () => {
  const request = failed(100, "truncated", { firstOutputNs: ms(150), lastOutputNs: ms(160), scheduledNs: ms(98) });
  assert.deepEqual(figuresOf(request), { queueDelayMs: 2 });
});

test("of one token there is no TPOT, no gap and no stall", () => {
  const level = foldOne([window(0, 1000), completed(100, [50])]);
  assert.equal(level.ttftMs.count, 1);
  for (const stats of [level.tpotMs, level.itlMs, level.chunkGapMs, level.maxStallMs]) assert.equal(stats.count, 0);
});

test("ITL shares the gap before a chunk among the tokens of that chunk; the chunk gap does not", () => {
  const request = completed(100, [50, 30, 10], {
    outputTokens: 5,
    arrivals: [
      [ms(50), 1],
      [ms(30), 3],
      [ms(10), 1],
    ],
  });
  const { itlMs, chunkGapMs } = foldOne([window(0, 1000), request]);
  assert.deepEqual([itlMs.count, itlMs.mean, itlMs.max], [4, 10, 10]);
  assert.deepEqual([chunkGapMs.count, chunkGapMs.min, chunkGapMs.max], [2, 10, 30]);
});

test("where chunks and the final usage differ, every chunk is scaled to the usage", () => {
  const request = completed(100, [50, 20, 20], { outputTokens: 6 });
  assert.deepEqual(
    chunksOf(request).map(({ tokens }) => tokens),
    [2, 2, 2],
  );
  const { itlMs } = foldOne([window(0, 1000), request]);
  assert.deepEqual([itlMs.count, itlMs.p50], [4, 10]);
});

test("a share of tokens that is not whole is made whole, and all shares add up to the usage", () => {
  const tokens = (outputTokens: number) =>
    chunksOf(completed(100, [50, 20, 20], { outputTokens })).map(({ tokens: each }) => each);
  assert.deepEqual(tokens(4), [1, 1, 2]);
  assert.deepEqual(tokens(2), [0, 1, 1]);
});

test("chunks of one receive are separate arrivals: no stall is smoothed by what came right behind it", () => {
  const { itlMs, chunkGapMs } = foldOne([window(0, 1000), completed(100, [50, 0, 30, 0, 10])]);
  assert.deepEqual([itlMs.count, itlMs.min, itlMs.max, itlMs.mean], [4, 0, 30, 10]);
  assert.deepEqual(chunkGapMs, itlMs, "a token a chunk");
  const bursts = Array<number[]>(100).fill([250, 0, 0, 0, 0]).flat();
  const bursty = foldOne([window(0, 1000), completed(100, [50, ...bursts])]).itlMs;
  assert.deepEqual([bursty.count, bursty.p50, bursty.p90, bursty.p99], [500, 0, 250, 250]);
  const kept = foldOne([window(0, 1000), completed(100, [50, 0, 0])]);
  assert.deepEqual([kept.itlMs.count, kept.tpotMs.count], [0, 0], "a stream that something kept back to its end");
});

test("the uncertainty of arrivals is pooled over all output chunks, those that are exact included", () => {
  const request = completed(100, [50, 30, 10], {
    arrivals: [
      [ms(50), 1],
      [ms(30), 1, 0, ms(2)],
      [ms(10), 1, 1, ms(1)],
    ],
  });
  const { arrivalUncertaintyMs } = foldOne([
    window(0, 1000),
    request,
    failed(10, "reset", { arrivals: request.arrivals }),
  ]);
  assert.deepEqual([arrivalUncertaintyMs.count, arrivalUncertaintyMs.mean, arrivalUncertaintyMs.max], [3, 1, 2]);
  assert.deepEqual(
    chunksOf(request).map(({ choice, widthNs }) => [choice, widthNs]),
    [
      [0, 0],
      [0, ms(2)],
      [1, ms(1)],
    ],
  );
});

test("a latency below zero is counted as a clock's error, and feeds no statistic", () => {
  const sound = completed(100, [50, 10, 10]);
  const early = { firstOutputNs: ms(99), scheduledNs: ms(50) };
  for (const [name, request, errors, counts] of [
    ["all is well", sound, 0, [1, 1, 1, 2, 2]],
    ["first output before the send", { ...sound, ...early }, 1, [0, 1, 1, 2, 2]],
    ["last output before the send", { ...sound, lastOutputNs: ms(99) }, 1, [1, 0, 1, 2, 2]],
    ["sent before it was scheduled", { ...sound, scheduledNs: ms(100.5) }, 1, [1, 1, 0, 2, 2]],
    ["a chunk before the one before it", completed(100, [50, -1, 10]), 1, [1, 1, 1, 1, 1]],
    [
      "a failed request sent before it was scheduled",
      failed(100, "reset", { scheduledNs: ms(101) }),
      1,
      [0, 0, 0, 0, 0],
    ],
    ["a failed request answered before all was sent", failed(100, "http_4xx", early), 0, [0, 0, 1, 0, 0]],
  ] as const) {
    const level = foldOne([window(0, 1000), request]);
    assert.equal(level.clockErrors, errors, name);
    const { ttftMs, e2eMs, queueDelayMs, itlMs, chunkGapMs } = level;
    const stats = [ttftMs, e2eMs, queueDelayMs, itlMs, chunkGapMs];
    assert.deepEqual(
      stats.map(({ count }) => count),
      counts,
      name,
    );
    for (const { min } of stats) assert.ok(min >= 0, name);
  }
  const wrong = { ...sound, ...early };
  assert.equal(isGood(wrong, figuresOf(wrong), { ttft: 1000 }), false, "no proof that a limit is met");
});

test("the gap before a chunk without a token counts towards the next token", () => {
  const itlOf = (outputTokens: number, arrivals: [number, number][]) => {
    const gapsMs = arrivals.map(([gapMs]) => gapMs);
    const request = completed(100, gapsMs, { outputTokens, arrivals: arrivals.map(([gap, n]) => [ms(gap), n]) });
    const { count, min, max } = foldOne([window(0, 1000), request]).itlMs;
    return [count, min, max];
  };
  const split: [number, number][] = [
    [50, 1],
    [10, 0],
    [13, 0],
    [7, 1],
  ];
  assert.deepEqual(itlOf(2, split), [1, 30, 30]);
  assert.deepEqual(itlOf(2, [...split.slice(0, 3), [0, 1]]), [1, 23, 23], "in the receive of one without");
  assert.deepEqual(
    itlOf(2, [
      [50, 1],
      [10, 1],
      [13, 0],
    ]),
    [1, 10, 10],
    "what comes after the last token is no token's",
  );
  const { itlMs } = foldOne([
    window(0, 1000),
    completed(100, [50, ...Array<number>(199).fill(10)], { outputTokens: 197 }),
  ]);
  assert.deepEqual([itlMs.count, itlMs.max], [199, 10], "of more chunks than tokens nothing says which has none");
});

test("hidden reasoning is among the output tokens, and in no figure of their times", () => {
  const request = completed(100, [50, ...Array<number>(10).fill(10)], { outputTokens: 111, hiddenTokens: 100 });
  const level = foldOne([window(0, 1000), request]);
  assert.deepEqual([level.tpotMs.mean, level.outputSpeed.mean], [10, 100]);
  assert.deepEqual([level.itlMs.count, level.itlMs.mean], [10, 10]);
  assert.deepEqual([level.outputTokens, level.outputThroughput, level.whole.outputTokens], [111, 11, 111]);
  assert.equal(Math.round(level.whole.outputThroughput * level.whole.durationS), 11);
  const reply = completed(100, [], { outputTokens: 9, hiddenTokens: 7, lastOutputNs: ms(500) });
  assert.equal(foldOne([window(0, 1000), reply]).outputThroughput, 2, "of a reply that was not streamed");
});

test("of several choices each is a stream of its own", () => {
  const request = completed(100, [50, 1, 9, 1, 9, 21], { outputTokens: 6 });
  request.arrivals = (request.arrivals ?? []).map(([gapNs, tokens], i) =>
    i % 2 ? [gapNs, tokens, 3] : [gapNs, tokens],
  );
  const level = foldOne([window(0, 1000), request]);
  // Choice 0 at 50, 60, 70; choice 3 at 51, 61, 91.
  assert.deepEqual([level.chunkGapMs.count, level.itlMs.count, level.itlMs.mean, level.itlMs.max], [4, 4, 15, 30]);
  assert.deepEqual([level.tpotMs.mean, level.maxStallMs.max, level.e2eMs.mean], [15, 30, 91]);
  const slo: SloMs = { tpot: 1 };
  const one = completed(100, [50, 10], {
    arrivals: [
      [ms(50), 1],
      [ms(10), 1, 1],
    ],
  });
  assert.deepEqual([figuresOf(one).tpotMs, isGood(one, figuresOf(one), slo)], [undefined, true], "one token of each");
});

test("the span of a level is that of its completed steady requests, from send to output", () => {
  const level = foldOne([
    window(0, 1000),
    completed(100, [50, 10], { phase: "warmup" }),
    failed(150, "timeout", { endNs: ms(5000) }),
    completed(200, [50, 10], { scheduledNs: ms(180), endNs: ms(300) }),
    completed(210, [60]),
  ]);
  assert.equal(level.spanS, 0.07, "210 + 60 - 200 ms");
  assert.equal(foldOne([window(0, 1000), failed(150, "timeout")]).spanS, 0, "nothing completed");
});

test("throughput counts the tokens that arrived inside the window, and requests that ended inside it", () => {
  const lines = [
    window(1000, 2000),
    // Sent as warm-up, its last two tokens arrive inside.
    completed(900, [50, 100, 100], { phase: "warmup" }),
    completed(1200, [100, 100, 100]),
    // Its last token comes after the close: the latencies count, that token and the request do not.
    completed(1900, [50, 20, 200]),
  ];
  const level = foldOne(lines);
  assert.equal(level.durationS, 1);
  assert.equal(level.outputThroughput, 2 + 3 + 2);
  assert.equal(level.requestThroughput, 2);
  assert.equal(level.ttftMs.count, 2);
  assert.equal(level.warmupRequests, 1);
  assert.deepEqual([level.whole.requests, level.whole.outputTokens], [3, 9]);
});

test("goodput: failed requests and those that break one SLO are no good", () => {
  const run: RecordLine = {
    type: "run",
    schema: 1,
    scenario: "s",
    startUnixNs: 0,
    config: {},
    sloMs: { ttft: 60, e2e: 100 },
    versions: {},
  };
  const level = foldOne([
    run,
    window(0, 1000),
    completed(100, [50, 10]),
    completed(200, [61, 10]),
    completed(300, [50, 60]),
    failed(400, "timeout"),
  ]);
  assert.equal(level.goodShare, 0.25);
  assert.equal(level.requestGoodput, 1);
  assert.equal(level.requestThroughput, 3);
});

test("a limit on what was not measured is not met; a single token has no TPOT to limit", () => {
  const goodShare = (sloMs: SloMs, request: CompletedLine) => {
    const run: RecordLine = { type: "run", schema: 1, scenario: "s", startUnixNs: 0, config: {}, sloMs, versions: {} };
    return foldOne([run, window(0, 1000), request]).goodShare;
  };
  const whole = completed(100, [], { outputTokens: 5, firstOutputNs: ms(150), lastOutputNs: ms(150) });
  assert.equal(goodShare({ ttft: 60 }, whole), 0);
  assert.equal(goodShare({ tpot: 60 }, whole), 0);
  assert.equal(goodShare({ e2e: 60 }, whole), 1);
  assert.equal(goodShare({ tpot: 60 }, completed(100, [50, 0, 0])), 0, "all in one receive");
  assert.equal(goodShare({ ttft: 60, tpot: 60 }, completed(100, [50])), 1, "one token");
  assert.equal(foldOne([window(0, 1000), whole]).ttftMs.count, 0);
});

test("without an SLO there is no goodput", () => {
  assert.equal(foldOne([window(0, 1000), completed(100, [50])]).requestGoodput, undefined);
});

test("failures are counted by class, statuses by number, token sources by name", () => {
  const level = foldOne([
    window(0, 1000),
    completed(100, [50]),
    failed(200, "http_429", { status: 429 }),
    failed(300, "http_429", { status: 429 }),
    failed(400, "connect"),
  ]);
  assert.deepEqual([level.requests, level.completed, level.failed], [4, 1, 3]);
  assert.deepEqual(level.failures, { http_429: 2, connect: 1 });
  assert.deepEqual(level.statuses, { "200": 1, "429": 2 });
  assert.deepEqual(level.tokenSources, { usage: 1 });
  assert.deepEqual([level.inputTokens, level.outputTokens], [10, 1]);
});

test("the histograms of a level's line stay with the level", () => {
  const itlHistograms = { steady: "HISTFAAA" };
  assert.equal(foldOne([{ ...window(0, 1000), itlHistograms }, completed(100, [50])]).itlHistograms, itlHistograms);
});

test("a killed run has no level line: its window is that of the steady requests", () => {
  const level = foldOne([completed(100, [50]), completed(200, [50])]);
  assert.equal(level.windowStartS, 0.099);
  assert.ok(Math.abs(level.durationS - 0.151) < 1e-9);
});

test("levels come in the order in which they ran, and requests without a level only count in the total", () => {
  const { levels, total } = foldRecords([
    { ...window(500, 900), name: "c2" },
    completed(500, [50], { level: "c2" }),
    window(0, 400),
    completed(100, [50]),
    completed(950, [50], { level: "" }),
  ]);
  assert.deepEqual(
    levels.map(({ name }) => name),
    ["c1", "c2"],
  );
  assert.equal(total.requests, 3);
});

test("weighted statistics equal those of the values written down as often", () => {
  const values = fc.array(fc.tuple(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 1, max: 9 })), {
    minLength: 1,
  });
  fc.assert(
    fc.property(values, (pairs) => {
      const weighted = weightedStats(pairs.map(([value, weight]) => ({ value, weight })));
      const plain = statsOf(pairs.flatMap(([value, weight]) => Array<number>(weight).fill(value)));
      for (const [name, value] of Object.entries(plain)) {
        assert.ok(Math.abs(value - weighted[name as keyof typeof weighted]) < 1e-6, name);
      }
    }),
  );
});

test("the sources of stamps are counted by request; one that is not known is none of the kernel's", () => {
  const stamped = [
    "ring",
    "ring",
    "socket",
    "kernel",
    "user",
    "sundial",
    undefined,
    "ring",
  ] as CompletedLine["stamp"][];
  const level = foldOne([...stamped.map((stamp, k) => completed(10 + k, [5, 5], { stamp })), window(1, 1000)]);
  assert.equal(level.ringStampShare, 3 / 7);
  assert.equal(level.kernelStampShare, 5 / 7);
});

test("cached input: by usage where any request's tells it, else by the server's counters, else unknown", () => {
  const line = { ...window(0, 1000), cacheHits: 30, cacheQueries: 120 };
  const cachedOf = (lines: RecordLine[]) => {
    const { cachedTokens, cachedShare, cachedSource } = foldOne(lines);
    return [cachedTokens, cachedShare, cachedSource];
  };
  const [silent, none, some] = [
    completed(0, [5]),
    completed(10, [5], { cachedTokens: 0 }),
    completed(20, [5], { cachedTokens: 6 }),
  ];
  assert.deepEqual(cachedOf([silent, none, some, line]), [6, 0.2, "usage"]);
  assert.deepEqual(cachedOf([silent, none, line]), [0, 0, "usage"]);
  assert.deepEqual(cachedOf([silent, line]), [30, 0.25, "server"]);
  assert.deepEqual(cachedOf([silent, window(0, 1000)]), [0, undefined, undefined]);
  const warm = completed(0, [5], { cachedTokens: 10, phase: "warmup" });
  assert.deepEqual(cachedOf([warm, none, line]), [0, 0, "usage"], "a warm-up is not what is measured");
});
