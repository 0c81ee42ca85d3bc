/**
 * What a report takes from the arrivals of single chunks while the records stream by: figures of the request, inter-token
 * latencies by level, output tokens over time. Memory is bounded: histograms and time bins, no list of gaps.
 */
import type { RequestLine } from "./records";
import type { ChunkFigures } from "./rows";

/** Buckets between a value and its double: a value is known to 0.27 % on either side. */
const perOctave = 128;
const leastNs = 1000;
const octaves = 33;
const lastBucket = octaves * perOctave - 1;

/** Counts of times from a microsecond to two hours, in buckets whose widths are a constant share of their value; 1 kB an octave that is used. */
export class TimeHistogram {
  readonly #octaves: (Float64Array | undefined)[] = [];
  /** Below a microsecond. */
  #least = 0;
  #total = 0;

  get total(): number {
    return this.#total;
  }

  /** Adds a time `weight` times; below a microsecond it counts as 0. */
  add(ns: number, weight = 1): void {
    this.#total += weight;
    if (ns < leastNs) {
      this.#least += weight;
      return;
    }
    const bucket = Math.min(lastBucket, Math.floor(Math.log2(ns / leastNs) * perOctave));
    const octave = Math.floor(bucket / perOctave);
    this.#octaves[octave] ??= new Float64Array(perOctave);
    const counts = this.#octaves[octave];
    const at = bucket % perOctave;
    counts[at] = (counts[at] as number) + weight;
  }

  /** The value, ns, at each of ascending shares (0..1): the middle of the bucket that holds the nearest rank. */
  quantiles(shares: readonly number[]): number[] {
    const values: number[] = [];
    let bucket = -1;
    let upTo = this.#least;
    for (const share of shares) {
      const rank = share * (this.#total - 1);
      while (upTo <= rank && bucket < lastBucket) upTo += this.#countOf(++bucket);
      values.push(bucket < 0 ? 0 : leastNs * 2 ** ((bucket + 0.5) / perOctave));
    }
    return values;
  }

  #countOf(bucket: number): number {
    return this.#octaves[Math.floor(bucket / perOctave)]?.[bucket % perOctave] ?? 0;
  }
}

/** At most this many bins: where a run is longer, they become twice as wide. */
const mostBins = 1 << 20;

/** Amounts over the time of a run, in bins of 100 ms or, of runs longer than a day, wider ones. */
export class Timeline {
  widthNs = 1e8;
  #bins = new Float64Array(4096);
  #used = 0;

  add(atNs: number, amount: number): void {
    let bin = Math.max(0, Math.floor(atNs / this.widthNs));
    while (bin >= mostBins && Number.isFinite(bin)) {
      this.#coarsen();
      bin = Math.floor(atNs / this.widthNs);
    }
    if (!(bin < mostBins)) return;
    if (bin >= this.#bins.length) {
      const larger = new Float64Array(Math.min(mostBins, Math.max(bin + 1, 2 * this.#bins.length)));
      larger.set(this.#bins);
      this.#bins = larger;
    }
    this.#bins[bin] = (this.#bins[bin] as number) + amount;
    if (bin >= this.#used) this.#used = bin + 1;
  }

  /** The amount of each bin, from the run's start. */
  get amounts(): Float64Array {
    return this.#bins.subarray(0, this.#used);
  }

  #coarsen(): void {
    const half = Math.ceil(this.#used / 2);
    for (let i = 0; i < half; i++) this.#bins[i] = (this.#bins[2 * i] ?? 0) + (this.#bins[2 * i + 1] ?? 0);
    this.#bins.fill(0, half);
    this.#used = half;
    this.widthNs *= 2;
  }
}

/** All that is kept of the arrivals of a run. */
export class ArrivalFold {
  /** Inter-token latencies of the completed steady requests by level, each token once. */
  readonly itl = new Map<string, TimeHistogram>();
  /** Output tokens of completed requests, by their arrival. */
  readonly tokens = new Timeline();
  #gaps = new Float64Array(1024);
  #lastNs: number[] = [];
  #sinceNs: number[] = [];

  /** Takes a request in; its own figures are those of figuresOf in lib/figures/fold.ts. */
  add(line: RequestLine): ChunkFigures {
    const { arrivals = [], sentNs = 0 } = line;
    const none = { maxStallNs: 0, medianGapNs: 0, pausesNs: 0 };
    const completed = line.outcome === "completed";
    const shown = (line.outputTokens ?? 0) - (line.hiddenTokens ?? 0);
    if (arrivals.length === 0) {
      // A reply that was not streamed arrives as one.
      if (completed && shown > 0) this.tokens.add(line.lastOutputNs ?? line.endNs ?? 0, shown);
      return none;
    }
    let counted = 0;
    for (const arrival of arrivals) counted += arrival[1];
    const even = shown > 0 && shown !== counted;
    const histogram = completed && line.phase === "steady" ? this.#histogramOf(line.level) : undefined;
    if (this.#gaps.length < arrivals.length) this.#gaps = new Float64Array(2 * arrivals.length);
    const gaps = this.#gaps;
    const lastNs = this.#lastNs;
    lastNs.length = 0;
    let atNs = sentNs;
    let choices = 0;
    let found = 0;
    let spanNs = 0;
    let most = 0;
    for (const [sinceNs, , choice = 0] of arrivals) {
      atNs += sinceNs;
      const before = lastNs[choice];
      lastNs[choice] = atNs;
      if (before === undefined) {
        choices++;
        continue;
      }
      const gapNs = atNs - before;
      gaps[found++] = gapNs;
      spanNs += gapNs;
      if (gapNs > most) most = gapNs;
    }
    if (completed) this.#addTokens(line, sentNs, shown, even, spanNs === 0 ? undefined : histogram);
    if (found === 0) return none;
    const ofTokens = shown - choices;
    const sorted = gaps.slice(0, found).sort();
    const median = ((sorted[(found - 1) >> 1] as number) + (sorted[found >> 1] as number)) / 2;
    return {
      ...(ofTokens > 0 && spanNs > 0 ? { tpotMs: spanNs / 1e6 / ofTokens } : {}),
      maxStallNs: most,
      medianGapNs: median,
      pausesNs: pausesNs(sorted, median),
    };
  }

  #addTokens(
    { arrivals = [] }: RequestLine,
    sentNs: number,
    shown: number,
    even: boolean,
    histogram: TimeHistogram | undefined,
  ): void {
    const sinceNs = this.#sinceNs;
    sinceNs.length = 0;
    const { length } = arrivals;
    let atNs = sentNs;
    for (let i = 0; i < length; i++) {
      const [deltaNs, own, choice = 0] = arrivals[i] as [number, number, number?];
      atNs += deltaNs;
      const tokens = even ? Math.floor(((i + 1) * shown) / length) - Math.floor((i * shown) / length) : own;
      if (tokens > 0) this.tokens.add(atNs, tokens);
      if (histogram === undefined) continue;
      const before = sinceNs[choice];
      // As itlGaps in lib/figures/fold.ts has it: a chunk without a token gives its gap to the next of its choice.
      const shares = Math.max(tokens, even ? 1 : 0);
      if (before !== undefined && shares === 0) continue;
      sinceNs[choice] = atNs;
      if (before !== undefined && atNs >= before) histogram.add((atNs - before) / shares, shares);
    }
  }

  #histogramOf(level: string): TimeHistogram {
    const known = this.itl.get(level);
    if (known) return known;
    const made = new TimeHistogram();
    this.itl.set(level, made);
    return made;
  }
}

/**
 * How long a generation stood still between its first and last chunk, ns: what each gap exceeds the median gap plus three
 * standard deviations by (the rule of benchmark_llm_serving's total_waiting_time, less the TTFT that it adds). 0 with fewer
 * than ten gaps, where the rule has no meaning.
 */
export function pausesNs(gapsNs: ArrayLike<number>, medianNs: number): number {
  const { length } = gapsNs;
  if (length < 10) return 0;
  let sum = 0;
  for (let i = 0; i < length; i++) sum += gapsNs[i] as number;
  const mean = sum / length;
  let squares = 0;
  for (let i = 0; i < length; i++) squares += ((gapsNs[i] as number) - mean) ** 2;
  const typicalNs = medianNs + 3 * Math.sqrt(squares / (length - 1));
  let still = 0;
  for (let i = 0; i < length; i++) still += Math.max(0, (gapsNs[i] as number) - typicalNs);
  return still;
}
