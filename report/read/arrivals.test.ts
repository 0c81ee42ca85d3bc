import assert from "node:assert/strict";
import { test } from "node:test";
import { byChoice, chunksOf, figuresOf, itlGaps, weightedStats } from "../../lib/figures/fold";
import { seededRng } from "../../lib/workload/rng";
import { median } from "../statistics";
import { ArrivalFold, pausesNs, type TimeHistogram, Timeline } from "./arrivals";
import type { RequestLine } from "./records";
import { type RequestRow, RequestTable } from "./rows";

const rng = seededRng(5);

/** A request with chunks of several choices, tokens and gaps of all kinds. */
function line(choices: number, chunks: number, kind: "exact" | "even" | "none"): RequestLine {
  const arrivals = Array.from({ length: chunks }, (): [number, number, number] => [
    rng() < 0.2 ? 0 : Math.floor(1e6 + 2e7 * rng()),
    rng() < 0.2 ? 0 : 1 + Math.floor(3 * rng()),
    Math.floor(choices * rng()),
  ]);
  const counted = arrivals.reduce((sum, [, tokens]) => sum + tokens, 0);
  const sentNs = 1e9;
  const lastOutputNs = arrivals.reduce((sum, [ns]) => sum + ns, sentNs);
  return {
    ...{ type: "request", level: "c1", phase: "steady", outcome: "completed", scheduledNs: 9e8, startedNs: 95e7 },
    ...{ sentNs, firstOutputNs: sentNs + (arrivals[0]?.[0] ?? 0), firstNonReasonNs: sentNs + 5, lastOutputNs },
    ...{ endNs: lastOutputNs + 10, arrivals, inputTokens: 7, hiddenTokens: kind === "none" ? 0 : 2 },
    outputTokens: kind === "none" ? 0 : counted + (kind === "even" ? 5 : 2),
  } as RequestLine;
}

const lines = [1, 3].flatMap((choices) =>
  (["exact", "even", "none"] as const).flatMap((kind) =>
    [0, 1, 2, 9, 10, 11, 60].map((chunks) => line(choices, chunks, kind)),
  ),
);

test("a row's figures are those that lib folds, whatever its chunks and choices", () => {
  const table = new RequestTable();
  for (const each of lines) {
    table.add(each, new ArrivalFold().add(each));
    const row = table.rows.at(table.length - 1) as RequestRow;
    const { ttftMs, ttfoMs, tpotMs, maxStallMs = 0 } = figuresOf(each);
    assert.deepEqual([row.ttftMs, row.ttfoMs, row.tpotMs], [ttftMs, ttfoMs, tpotMs]);
    assert.equal(row.maxStallNs, Math.round(maxStallMs * 1e6));
    const gapsNs = byChoice(chunksOf(each)).flatMap((chunks) => chunks.slice(1).map(({ gapNs }) => gapNs));
    assert.equal(row.medianGapNs, gapsNs.length > 0 ? median(gapsNs) : 0);
    assert.ok(Math.abs(row.pausesNs - pausesNs(gapsNs, median(gapsNs))) <= 1e-6 * row.pausesNs);
    assert.deepEqual(
      [row.level, row.phase, row.completed, row.failure, row.inputTokens, row.chunks, row.cachedTokens, row.reused],
      ["c1", "steady", true, "", 7, each.arrivals?.length, undefined, false],
    );
  }
});

test("a table keeps its rows as it grows", () => {
  const table = new RequestTable();
  const { rows } = table;
  const [own] = lines as [RequestLine];
  const cachedOf = (index: number) => (index > 6000 && index % 3 === 0 ? index : undefined);
  for (let index = 0; index < 10_000; index++)
    table.add({ ...own, index, cachedTokens: cachedOf(index) }, new ArrivalFold().add(own));
  assert.equal(rows.length, 10_000);
  const kept = rows.map((row, i) => row.index === i && row.cachedTokens === cachedOf(i) && row.level === "c1");
  assert.ok(kept.every(Boolean));
});

test("pooled inter-token latencies and tokens over time are those of the single gaps and chunks", () => {
  const fold = new ArrivalFold();
  for (const each of lines) fold.add(each);
  const gaps = lines.flatMap(itlGaps).map(({ gapNs, tokens }) => ({ value: gapNs / tokens, weight: tokens }));
  const exact = weightedStats(gaps);
  const histogram = fold.itl.get("c1") as TimeHistogram;
  assert.equal(histogram.total, exact.count);
  const ascending = gaps.flatMap(({ value, weight }) => Array<number>(weight).fill(value)).sort((a, b) => a - b);
  const shares = [0, 0.1, 0.5, 0.9, 0.99, 1];
  for (const [i, ns] of histogram.quantiles(shares).entries()) {
    const truth = ascending[Math.floor((shares[i] as number) * (ascending.length - 1))] as number;
    assert.ok(Math.abs(ns - truth) <= 0.003 * truth, `${shares[i]}: ${ns} for ${truth}`);
  }
  const byBin = new Map<number, number>();
  const add = (atNs: number, tokens: number) =>
    byBin.set(Math.floor(atNs / 1e8), (byBin.get(Math.floor(atNs / 1e8)) ?? 0) + tokens);
  for (const each of lines) {
    for (const { atNs, tokens } of chunksOf(each)) add(atNs, tokens);
    // A reply that was not streamed arrives as one.
    if (each.arrivals?.length === 0) add(each.lastOutputNs ?? 0, Math.max(0, (each.outputTokens ?? 0) - 2));
  }
  for (const [bin, amount] of fold.tokens.amounts.entries()) assert.equal(amount, byBin.get(bin) ?? 0);
});

test("a failed request and one of the warm-up feed no inter-token latency", () => {
  const fold = new ArrivalFold();
  const [each] = lines.slice(-1) as [RequestLine];
  fold.add({ ...each, outcome: "failed", failure: "reset" } as RequestLine);
  fold.add({ ...each, phase: "warmup" });
  assert.equal(fold.itl.get("c1")?.total ?? 0, 0);
});

test("a timeline of any length keeps every amount in bounded memory", () => {
  const timeline = new Timeline();
  const day = 86_400e9;
  for (const days of [0, 1, 10, 40]) timeline.add(days * day, 5);
  timeline.add(Number.POSITIVE_INFINITY, 5);
  assert.equal(
    timeline.amounts.reduce((a, b) => a + b, 0),
    20,
  );
  assert.ok(timeline.amounts.length <= 1 << 20);
  assert.equal(timeline.amounts[Math.floor((10 * day) / timeline.widthNs)], 5);
});
