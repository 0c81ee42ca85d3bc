/** How far the client's times lie from the server's, request by request. */
import assert from "node:assert/strict";
import type { RequestLine } from "../../lib/figures/records";
import type { RequestTruth } from "./simulated";
import { largest, quantile } from "./statistics";

export interface Pair {
  request: RequestLine;
  truth: RequestTruth;
}

/** Errors in ms: what lies outside of the server's doubt about when it sent, and of the client's about when it did. */
export interface Errors {
  ttftMs: number[];
  gapMs: number[];
}

/** Every request beside its truth; fails for one that has none. */
export function pair(requests: readonly RequestLine[], truths: readonly RequestTruth[]): Pair[] {
  const byId = new Map(truths.map((truth) => [truth.id, truth]));
  return requests.map((request) => {
    const truth = byId.get(request.id ?? "");
    assert.ok(truth, `the server knows nothing of request ${request.id}`);
    return { request, truth };
  });
}

/** The errors of TTFT and of every gap. The number of chunks and the tokens of each request must be exact. */
export function errorsOf(pairs: readonly Pair[]): Errors {
  const errors: Errors = { ttftMs: [], gapMs: [] };
  for (const { request, truth } of pairs) {
    const chunks = truth.sendsNs;
    const { arrivals = [], outputTokens, sentUncertaintyNs = 0 } = request;
    assert.equal(request.outcome, "completed", `${request.id}: ${request.outcome === "failed" && request.message}`);
    assert.equal(outputTokens, truth.outputTokens, `output tokens of ${request.id}`);
    assert.equal(request.inputTokens, truth.promptTokens, `input tokens of ${request.id}`);
    assert.equal(arrivals.length, chunks.length, `chunks of ${request.id}`);
    chunks.forEach(([beforeNs, afterNs], i) => {
      const [gapNs] = arrivals[i] ?? [Number.NaN];
      const last = chunks[i - 1];
      const [lastBeforeNs, lastAfterNs] = last ?? [truth.beginNs, truth.beginNs];
      // Events that left together are one moment, however wide the doubt about it.
      const oneWrite = last !== undefined && lastBeforeNs === beforeNs;
      // `sent` is the end of the client's own write, which may have been that much earlier.
      const low = oneWrite ? 0 : beforeNs - lastAfterNs - (last ? 0 : sentUncertaintyNs);
      const high = oneWrite ? 0 : afterNs - lastBeforeNs;
      (last ? errors.gapMs : errors.ttftMs).push(Math.max(0, low - gapNs, gapNs - high) / 1e6);
    });
  }
  return errors;
}

/** ITL of the truth, ms: the gap before each chunk shared by its tokens; the chunks of one packet are apart by 0. */
export function trueItlMs(pairs: readonly Pair[]): number[] {
  return pairs.flatMap(({ truth: { sendsNs } }) =>
    sendsNs.slice(1).flatMap(([atNs, , tokens], i) => {
      const gapMs = (atNs - (sendsNs[i]?.[0] ?? 0)) / 1e6;
      return new Array<number>(tokens).fill(gapMs / tokens);
    }),
  );
}

/** Share of errors above a limit. */
export function shareAbove(errorsMs: readonly number[], limitMs: number): number {
  return errorsMs.filter((error) => error > limitMs).length / Math.max(1, errorsMs.length);
}

/** One line for the test's output. */
export function describeErrors(what: string, errorsMs: readonly number[]): string {
  const us = (ms: number) => `${Math.round(ms * 1000)} µs`;
  const [p50, p99] = [0.5, 0.99].map((p) => us(quantile(errorsMs, p)));
  return `${what}: ${errorsMs.length} compared, error p50 ${p50}, p99 ${p99}, largest ${us(largest(errorsMs))}`;
}
