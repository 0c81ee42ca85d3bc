/**
 * One probe of a search for capacity: is the share of requests that meet every SLO above or below a target, at one rate or
 * concurrency? The probe may be asked after every request and answers as soon as the data suffice. Pure: the load and its clock
 * are the caller's.
 */
import { designEffect, logEvidence, type Side } from "../figures/sequential";
import { trendOf } from "../figures/trend";

/** One request of a probe, in the order in which they were scheduled. */
export interface ProbedRequest {
  /** When the load shape wanted it to start and when it ended, ms on one clock. */
  readonly scheduledMs: number;
  readonly endMs: number;
  /** The largest of its latencies over their SLOs: up to 1 is good. Infinity where it failed or has no such latency. */
  readonly ratio: number;
}

export interface ProbePlan {
  /** The share of requests (0..1) that must meet every SLO. */
  readonly target: number;
  /** Chance that the verdict is wrong. */
  readonly alpha: number;
  /** Fewest requests before a verdict. */
  readonly leastRequests: number;
  /** Most requests, and the longest time, after which an open question stays open. */
  readonly mostRequests: number;
  readonly mostMs: number;
  /** Requests come at a rate, whatever the server does: its queue may grow without end. */
  readonly open: boolean;
}

export interface ProbeFigures {
  /** more: no answer yet. undecided: none within the limits. unsteady: the server never came to rest within the limits. */
  readonly state: "more" | "pass" | "fail" | "undecided" | "unsteady";
  /** Requests judged, those that met every SLO, and how many independent ones they are worth. */
  readonly requests: number;
  readonly good: number;
  readonly independent: number;
  /** Requests cut off as the server's way to its steady state. */
  readonly cut: number;
  /** Whether latency rose or fell over the part that was judged, and whether the queue grew. */
  readonly trend: "rising" | "falling" | "flat";
  readonly queueGrows: boolean;
  /** Completed requests a second, and their mean latency (scheduled to end) in ms. */
  readonly throughput: number;
  readonly meanMs: number;
}

/** How far a latency lies beyond its SLO is bounded: one timeout must not outweigh a thousand requests. */
const worstRatio = 2;
const slices = 12;
/** Shares of a probe that may be cut off as warm-up, the least first. */
const cuts = [0.1, 0.3, 0.5];

export class Probe {
  private readonly byIndex: (ProbedRequest | undefined)[] = [];
  private readonly sentMs: number[] = [];
  private readonly endsMs: number[] = [];
  private known = 0;
  private judgedAt = 0;
  private last: ProbeFigures | undefined;

  constructor(readonly plan: ProbePlan) {}

  /** Adds a request that was scheduled, in order. */
  sent(scheduledMs: number): void {
    this.sentMs.push(scheduledMs);
  }

  /** Requests scheduled so far. */
  get sentCount(): number {
    return this.sentMs.length;
  }

  /** Adds a request that ended, by its number in the probe from 0. They may come in any order. */
  add(index: number, request: ProbedRequest): void {
    this.byIndex[index] = request;
    this.endsMs.push(request.endMs);
    while (this.byIndex[this.known] !== undefined) this.known++;
  }

  /**
   * What is known now. Only requests in front of the first that has not ended count: those that end early are the fast ones.
   * `elapsedMs` is the time since the probe began.
   */
  judge(elapsedMs: number): ProbeFigures {
    const over = this.known >= this.plan.mostRequests || elapsedMs >= this.plan.mostMs;
    // Judging costs a pass over all requests: again only when there are some more.
    if (!over && this.last && this.known < this.judgedAt * 1.05 + 8) return this.last;
    this.judgedAt = this.known;
    this.last = judgeRequests(this.byIndex.slice(0, this.known) as ProbedRequest[], this.plan, over);
    // A server that does not keep up with arrivals up to the limit has no steady state: its latency grows without end.
    if (over && this.last.state !== "pass" && this.plan.open && this.fallsBehind()) {
      this.last = { ...this.last, state: "fail", queueGrows: true };
    }
    return this.last;
  }

  /** Whether the queue grew through the probe's second half, by a tenth of its requests or more. */
  private fallsBehind(): boolean {
    const half = this.sentMs.length >> 1;
    const size = Math.floor(half / slices);
    if (size < 4) return false;
    const backlog = backlogs(this.sentMs, this.endsMs, half, size);
    const { direction, slope } = trendOf(backlog);
    return direction === "rising" && slope * slices > 0.1 * half;
  }

  /** The evidence (natural logarithm) that the share lies on that side of another target, from the part last judged. */
  evidence(side: Side, target: number): number {
    if (!this.last || this.last.requests === 0) return Number.NEGATIVE_INFINITY;
    const scale = this.last.independent / this.last.requests;
    return logEvidence(side, this.last.good * scale, (this.last.requests - this.last.good) * scale, target);
  }
}

/** Judges what was measured so far; `over` says that no more will come. */
function judgeRequests(all: readonly ProbedRequest[], plan: ProbePlan, over: boolean): ProbeFigures {
  const bound = Math.log(1 / plan.alpha);
  let figures: ProbeFigures | undefined;
  let everSteady = false;
  for (const share of cuts) {
    const from = Math.floor(all.length * share);
    const part = all.slice(from);
    const shape = steadiness(part, plan.open);
    const steady = shape.trend === "flat" && !shape.queueGrows;
    const ratios = part.map(({ ratio }) => Math.min(ratio, worstRatio));
    const missed = part.map(({ ratio }) => (ratio <= 1 ? 0 : 1));
    const missedCount = missed.reduce<number>((sum, each) => sum + each, 0);
    const effect = Math.max(designEffect(ratios), designEffect(missed));
    const independent = part.length / effect;
    const completed = part.filter(({ ratio }) => Number.isFinite(ratio));
    const latencies = completed.map(({ scheduledMs, endMs }) => endMs - scheduledMs);
    const candidate: ProbeFigures = {
      state: "more",
      requests: part.length,
      good: part.length - missedCount,
      independent,
      cut: from,
      ...shape,
      throughput: throughputOf(completed),
      meanMs: latencies.length > 0 ? latencies.reduce((sum, each) => sum + each, 0) / latencies.length : Number.NaN,
    };
    figures ??= candidate;
    everSteady ||= steady;
    if (part.length < plan.leastRequests) break;
    const met = (part.length - missedCount) / effect;
    const evidence = (side: Side) => logEvidence(side, met, missedCount / effect, plan.target);
    // Latency that still rises can only turn a pass into a fail, and one that still falls a fail into a pass.
    const worsens = shape.trend === "rising" || shape.queueGrows;
    const pass = !worsens && evidence("above") >= bound;
    const fail = shape.trend !== "falling" && evidence("below") >= bound;
    if (pass || fail) return { ...candidate, state: pass ? "pass" : "fail" };
    if (steady) {
      figures = candidate; // no more need be cut off than until it is steady
      break;
    }
  }
  const none: ProbeFigures = figures ?? {
    ...{ state: "more", requests: 0, good: 0, independent: 0, cut: 0, trend: "flat", queueGrows: false },
    ...{ throughput: 0, meanMs: Number.NaN },
  };
  return over ? { ...none, state: everSteady ? "undecided" : "unsteady" } : none;
}

/** Completed requests a second, from the first end to the last; 0 of fewer than two. */
function throughputOf(completed: readonly ProbedRequest[]): number {
  let [first, last] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const { endMs } of completed) [first, last] = [Math.min(first, endMs), Math.max(last, endMs)];
  return last > first ? ((completed.length - 1) * 1000) / (last - first) : 0;
}

/** Whether latency or the queue has a trend over requests in the order in which they were scheduled. */
function steadiness(part: readonly ProbedRequest[], open: boolean): Pick<ProbeFigures, "trend" | "queueGrows"> {
  const size = Math.floor(part.length / slices);
  if (size < 4) return { trend: "flat", queueGrows: false };
  const means: number[] = [];
  for (let k = 0; k < slices; k++) {
    const slice = part.slice(k * size, (k + 1) * size);
    means.push(slice.reduce((sum, { ratio }) => sum + Math.min(ratio, worstRatio), 0) / slice.length);
  }
  const backlog = backlogs(
    part.map(({ scheduledMs }) => scheduledMs),
    part.map(({ endMs }) => endMs),
    0,
    size,
  );
  const trend = trendOf(means);
  const mean = means.reduce((sum, each) => sum + each, 0) / slices;
  // A trend that is certain and yet of no matter is none: a tenth over the whole part.
  const direction = Math.abs(trend.slope) * slices > 0.1 * mean ? trend.direction : "flat";
  const queue = trendOf(backlog);
  const queueGrows = open && queue.direction === "rising" && queue.slope * slices > Math.max(5, 0.03 * size * slices);
  return { trend: direction, queueGrows };
}

/** How many requests had not ended when each slice of `size` requests behind the first `from` was sent. */
function backlogs(sentMs: readonly number[], endsMs: readonly number[], from: number, size: number): number[] {
  const ends = [...endsMs].sort((a, b) => a - b);
  let ended = 0;
  return Array.from({ length: slices }, (_, k) => {
    const sent = from + (k + 1) * size;
    while (ended < ends.length && (ends[ended] ?? 0) <= (sentMs[sent - 1] ?? 0)) ended++;
    return sent - ended;
  });
}
