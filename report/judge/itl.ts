/**
 * The inter-token latencies of a level, pooled over its requests, and how sure their percentiles are.
 *
 * Tokens are not independent samples. Those of one request share its replica, its connection and its place in the batch;
 * those of one moment share the server's step, whichever request they belong to. So a percentile of a million tokens may
 * rest on a few hundred independent ones. How many it is follows from the spread of the share of latencies beyond a value:
 * 1. the variance of that share (a ratio estimator's) with clusters by request and by time slice at once, so that tokens
 *    which share either may depend on each other in any way: V = V(request) + V(slice) - V(both) (Cameron, Gelbach and
 *    Miller 2011, Robust Inference With Multiway Clustering; Thompson 2011), and at least either alone;
 * 2. the effective number of samples n = share (1 - share) / V, reduced for the few clusters that V is estimated from, and
 *    with it the binomial bounds of the share (Korn and Graubard 1998, Confidence Intervals for Proportions with Small
 *    Expected Number of Positive Counts Estimated from Survey Data), which are those of MLPerf's early stopping;
 * 3. the latencies at those shares (Woodruff 1952, Confidence Intervals for Medians and Other Position Measures).
 * R's survey::svyquantile does 2 and 3 under interval.type "beta".
 */

import { studentQuantile } from "../../lib/figures/beta";
import { itlGaps } from "../../lib/figures/fold";
import { percentile } from "../../lib/figures/percentile";
import type { RequestLine } from "../read/records";
import { type Confidence, shareBounds } from "./early-stopping";

/** The gaps before the chunks of one request, in the order in which they ended. */
export interface RequestItl {
  /** The latency of each token of the chunk that ended the gap: gap / tokens. */
  ms: Float64Array;
  tokens: Uint32Array;
  /** When the gap ended, ns from the run's start. */
  atNs: Float64Array;
}

/** The inter-token latencies of a record. */
export function requestItl(line: RequestLine): RequestItl {
  const gaps = itlGaps(line);
  // One choice after the other so far.
  gaps.sort((a, b) => a.atNs - b.atNs);
  return {
    ms: Float64Array.from(gaps, ({ gapNs, tokens }) => gapNs / 1e6 / tokens),
    tokens: Uint32Array.from(gaps, ({ tokens }) => tokens),
    atNs: Float64Array.from(gaps, ({ atNs }) => atNs),
  };
}

/**
 * Time slices a level is cut into, from its first to its last token: of the 10 to 30 batches that the method of batch
 * means works with (Schmeiser 1982, Batch Size Effects in the Analysis of Simulation Output). What a server does for
 * longer than such a slice is taken for several events, so that slow drifts leave the bounds too narrow.
 */
const slices = 20;

/** One-sided bounds of a percentile, ms, each right with the chance asked for; undefined where the sample gives none. */
export interface Bounds {
  low?: number;
  high?: number;
  /** What the tokens are worth: as many independent ones say as much. */
  independent: number;
}

/** The pooled latencies of some requests. */
export class PooledItl {
  readonly #requests: readonly RequestItl[];
  /** One value a token. */
  readonly #ascending: Float64Array;
  readonly #fromNs: number;
  readonly #toNs: number;

  constructor(all: readonly RequestItl[]) {
    const requests = all.filter(({ ms }) => ms.length > 0);
    this.#requests = requests;
    const perToken = new Float64Array(requests.reduce((sum, { tokens }) => tokens.reduce((a, b) => a + b, sum), 0));
    let filled = 0;
    for (const { ms, tokens } of requests) {
      for (let i = 0; i < ms.length; i++) {
        for (let n = tokens[i] ?? 0; n > 0; n--) perToken[filled++] = ms[i] ?? 0;
      }
    }
    this.#ascending = perToken.sort();
    this.#fromNs = requests.reduce((first, { atNs }) => Math.min(first, atNs[0] ?? first), Number.POSITIVE_INFINITY);
    this.#toNs = requests.reduce((last, { atNs }) => Math.max(last, atNs.at(-1) ?? last), Number.NEGATIVE_INFINITY);
  }

  get requests(): number {
    return this.#requests.length;
  }

  /** How many tokens have a latency: all but those that came with the first output. */
  get tokens(): number {
    return this.#ascending.length;
  }

  /** ms; the share `p` (0..1) lies below. */
  quantile(p: number): number {
    return percentile(this.#ascending, p);
  }

  /** The share of tokens whose latency keeps a limit; 0 of none. */
  share(keeps: (ms: number) => boolean): number {
    return this.#ascending.reduce((count, ms) => count + (keeps(ms) ? 1 : 0), 0) / Math.max(1, this.tokens);
  }

  /** Bounds of the p-quantile. A tolerance lowers the share that `high` bounds. */
  bounds(p: number, by: Confidence): Bounds {
    const typical = this.#independent(this.#valueAt(p), by.confidence) ?? this.requests;
    const bound = (side: "low" | "high"): [value: number | undefined, independent: number] => {
      const valueFor = (samples: number) => {
        const share = shareBounds(samples, p, by)[side];
        return share === undefined ? undefined : this.#valueAt(share);
      };
      const first = valueFor(typical);
      // What lies out there may come in larger clumps than what lies at the percentile.
      const there = first === undefined ? undefined : this.#independent(first, by.confidence);
      const samples = Math.min(typical, there ?? typical);
      return [samples < typical ? valueFor(samples) : first, samples];
    };
    const [low, atLow] = bound("low");
    const [high, atHigh] = bound("high");
    return { low, high, independent: Math.min(atLow, atHigh) };
  }

  /** The least latency that at least this share of the tokens does not exceed. */
  #valueAt(share: number): number {
    const { length } = this.#ascending;
    return this.#ascending[Math.min(length, Math.max(1, Math.ceil(share * length - 1e-9))) - 1] ?? Number.NaN;
  }

  /**
   * How many independent tokens would tell the share beyond `limitMs` as well; undefined where none or all are beyond it,
   * which tells nothing of how they clump. 0 where there are too few clusters to say.
   */
  #independent(limitMs: number, confidence: number): number | undefined {
    const { tokens } = this;
    let over = 0;
    for (const { ms, tokens: weights } of this.#requests) {
      for (let i = 0; i < ms.length; i++) if ((ms[i] ?? 0) > limitMs) over += weights[i] ?? 0;
    }
    if (over === 0 || over === tokens) return undefined;
    const share = over / tokens;

    const bySlice = new Float64Array(slices);
    const seen = new Set<number>();
    const byRequest = new SquaredSums();
    const byBoth = new SquaredSums();
    for (const { ms, tokens: weights, atNs } of this.#requests) {
      let sum = 0;
      let sumOfSlice = 0;
      let slice = -1;
      for (let i = 0; i < ms.length; i++) {
        const at = this.#sliceOf(atNs[i] ?? 0);
        if (at !== slice) {
          if (slice >= 0) byBoth.add(sumOfSlice);
          slice = at;
          seen.add(at);
          sumOfSlice = 0;
        }
        const residual = (weights[i] ?? 0) * (((ms[i] ?? 0) > limitMs ? 1 : 0) - share);
        sum += residual;
        sumOfSlice += residual;
        bySlice[at] = (bySlice[at] ?? 0) + residual;
      }
      byBoth.add(sumOfSlice);
      byRequest.add(sum);
    }
    const bySlices = new SquaredSums();
    for (const slice of seen) bySlices.add(bySlice[slice] ?? 0);

    const clusters = Math.min(byRequest.count, bySlices.count);
    if (clusters < 2) return 0;
    const [request, slice, both] = [byRequest.variance, bySlices.variance, byBoth.variance];
    const squares = Math.max(request + slice - both, request, slice);
    const effective = Math.min(tokens, (share * (1 - share) * tokens ** 2) / squares);
    const few = studentQuantile(confidence, tokens - 1) / studentQuantile(confidence, clusters - 1);
    return effective * few ** 2;
  }

  #sliceOf(atNs: number): number {
    const length = (this.#toNs - this.#fromNs) / slices;
    return length > 0 ? Math.min(slices - 1, Math.floor((atNs - this.#fromNs) / length)) : 0;
  }
}

/** The variance of a total from the residuals of its clusters, which add up to 0. */
class SquaredSums {
  count = 0;
  #squares = 0;

  add(sum: number): void {
    this.count++;
    this.#squares += sum ** 2;
  }

  get variance(): number {
    return this.count > 1 ? (this.#squares * this.count) / (this.count - 1) : 0;
  }
}
