/**
 * The search for the highest load under which a server keeps its SLOs: doubling until one probe passes and another one fails,
 * then bisection. It assumes that more load never makes more requests good. Pure: it names the next level and takes its verdict.
 */
import type { Side } from "../figures/sequential";
import { normalQuantile } from "../figures/trend";
import type { ProbeFigures } from "./probe";

export interface SearchPlan {
  /** The first level probed: requests a second, or clients. */
  readonly start: number;
  /** The share of requests (0..1) that must be good. */
  readonly target: number;
  /** Lowest and highest level that may be probed. */
  readonly least: number;
  readonly most: number;
  /** Levels are whole numbers. */
  readonly whole: boolean;
  /** The search ends when the failing level is at most this part above the passing one: 0.1 for 10 %. */
  readonly precision: number;
  /** Chance that the interval holds the capacity, 0..1. */
  readonly confidence: number;
  readonly mostProbes: number;
  /**
   * Standard deviation of what the server carries from one probe to another, as a share of it (0.03 for 3 %). No probe shows it,
   * because the server is one and the same for its whole length.
   */
  readonly probeSd: number;
}

/** What a probe came to. void: it tells nothing of the server, for the reason that `why` names. */
export interface ProbeOutcome extends Omit<ProbeFigures, "state"> {
  readonly state: "pass" | "fail" | "undecided" | "unsteady" | "void";
  readonly why?: string;
  /** How long the probe took, s; and its requests, warm-up and cut included. */
  readonly tookS: number;
  readonly sent: number;
  /** Whether at least 90 % of the requests are shown to be good ("above"), or shown not to be ("below"). */
  readonly ninety?: Side;
}

export interface ProbeAt extends ProbeOutcome {
  readonly level: number;
}

/** An interval that holds a level; a side that no probe showed is absent. */
export interface Interval {
  readonly low?: number;
  readonly high?: number;
}

export interface CapacityResult {
  /**
   * found: the interval has two sides. at_least: no level failed. below: the lowest level failed. none: no probe was decided.
   * drifted: probes contradict each other by more than probeSd explains, so the server is not the one that it was.
   */
  readonly state: "found" | "at_least" | "below" | "none" | "drifted";
  /** Holds the capacity with `confidence`: the passing and the failing level, each moved outwards by what probeSd may account for. */
  readonly interval: Interval;
  /** The highest level that passed and the lowest that failed. */
  readonly probed: Interval;
  readonly probeSd: number;
  readonly confidence: number;
  /** Whether the interval is as narrow as PRECISION demands. */
  readonly precise: boolean;
  /** The same for the highest level with at least 90 % good requests: DistServe's goodput. */
  readonly ninety: Interval;
  /** The level with the most completed requests a second by mean latency (Kleinrock's power); absent without a probe. */
  readonly knee?: number;
  /** The probes by level, and what was probed twice in the order of the probes: the goodput curve. */
  readonly probes: readonly ProbeAt[];
  /** What a reader must know of it, a line each. */
  readonly notes: readonly string[];
}

/**
 * How sure each verdict must be so that all of them together are as sure as the plan asks for (Bonferroni). Where the server
 * differs from probe to probe, half of the chance to err is left to that (marginOf).
 */
export function alphaOf({ confidence, mostProbes, probeSd }: PlannedErrors): number {
  return ((1 - confidence) * (probeSd > 0 ? 0.5 : 1)) / mostProbes;
}

/**
 * The factor by which what the server carries in one probe may differ from what it carries in the median. A passing or failing
 * level errs by more only if the server was that much faster or slower just then. Levels further off decide nothing, so the
 * chance is shared by four probes: the two bounds, and each of them once more.
 */
export function marginOf({ confidence, probeSd }: PlannedErrors): number {
  return probeSd > 0 ? Math.exp(probeSd * normalQuantile((1 - confidence) / 2 / 4)) : 1;
}

type PlannedErrors = Pick<SearchPlan, "confidence" | "mostProbes" | "probeSd">;

export class CapacitySearch {
  private readonly probes: ProbeAt[] = [];
  private confirmed = false;

  constructor(readonly plan: SearchPlan) {}

  /** The level to probe next; undefined when the search is over. */
  next(): number | undefined {
    if (this.probes.length >= this.plan.mostProbes || this.contradiction()) return undefined;
    const { low, high } = this.probed();
    const retry = this.voided();
    if (retry !== undefined) return retry;
    if (low === undefined && high === undefined) return this.firstStep();
    if (high === undefined) return this.upwards(low ?? this.plan.start);
    if (low === undefined) return this.step(high, 0.5);
    if (low >= high) return this.beyondDoubt(low, high) ?? this.confirmation(low, high);
    const inside = this.isPrecise(low, high) ? undefined : this.between(low, high);
    return inside ?? this.confirmation(low, high);
  }

  /** Takes what the probe of the level that next() named came to. */
  take(level: number, outcome: ProbeOutcome): void {
    if (this.probes.some((probe) => probe.level === level && decided(probe))) this.confirmed = true;
    this.probes.push({ ...outcome, level });
  }

  /** Probes made so far, in order. */
  get made(): readonly ProbeAt[] {
    return this.probes;
  }

  result(): CapacityResult {
    const probed = this.probed();
    const interval = this.widened(probed);
    const { low, high } = interval;
    const drifted = this.contradiction();
    const state = drifted
      ? "drifted"
      : low !== undefined
        ? high !== undefined
          ? "found"
          : "at_least"
        : high !== undefined
          ? "below"
          : "none";
    return {
      state,
      interval: drifted ? {} : interval,
      probed,
      probeSd: this.plan.probeSd,
      confidence: this.plan.confidence,
      precise: state === "found" && this.isPrecise(probed.low ?? 0, probed.high ?? Number.POSITIVE_INFINITY),
      ninety: drifted ? {} : this.widened(enclosing(this.probes, (probe) => sideOfNinety(probe))),
      ...kneeOf(this.probes),
      probes: [...this.probes].sort((a, b) => a.level - b.level),
      notes: this.notes(drifted),
    };
  }

  private probed(): Interval {
    return enclosing(this.probes, ({ state }) => (state === "pass" ? "above" : state === "fail" ? "below" : undefined));
  }

  /** An interval of probed levels for the server as it is in the median, not as it was in those probes. */
  private widened({ low, high }: Interval): Interval {
    const margin = marginOf(this.plan);
    const [down, up] = this.plan.whole ? [Math.floor, Math.ceil] : [rounded3, rounded3];
    const least = low === undefined ? 0 : down(low / margin);
    // Nothing is left below one client that passed: a slower server may carry none.
    return { ...(least > 0 ? { low: least } : {}), ...(high === undefined ? {} : { high: up(high * margin) }) };
  }

  /** Whether a level passed above one that failed, or both, by more than the server differs from probe to probe. */
  private contradiction(): boolean {
    const { low = 0, high = Number.POSITIVE_INFINITY } = this.probed();
    return low >= high * this.tolerance();
  }

  /** The factor by which two probes may differ: the difference of two has a standard deviation of the square root of 2. */
  private tolerance(): number {
    return marginOf(this.plan) ** Math.SQRT2;
  }

  /**
   * Where verdicts contradict each other by no more than probes differ, a level that decides between that and a server that changed:
   * if it goes the way of the newest verdict, too, the server is another one. A hundredth further, because levels are rounded.
   */
  private beyondDoubt(low: number, high: number): number | undefined {
    const newest = this.probes.filter(decided).at(-1);
    const further = 1.01 * this.tolerance();
    const level = this.clamp(newest?.state === "fail" ? this.down(low / further) : this.up(high * further));
    return this.probes.some((probe) => probe.level === level) ? undefined : level;
  }

  /** A level whose only probe was void: what kept it from being one may be gone. */
  private voided(): number | undefined {
    const last = this.probes.at(-1);
    if (last?.state !== "void") return undefined;
    return this.probes.filter(({ level }) => level === last.level).length < 2 ? last.level : undefined;
  }

  private firstStep(): number | undefined {
    if (this.probes.length === 0) return this.clamp(this.plan.start);
    // No probe was decided. Where enough requests were good a higher level shows more in the same time.
    const { level, state, good, requests } = this.probes.at(-1) as ProbeAt;
    const up = state === "undecided" && good >= this.plan.target * requests;
    return this.step(level, up ? 2 : 0.5);
  }

  /** A level beyond `from` that no probe was made of yet; undefined at the limit of what may be probed. */
  private step(from: number, factor: number): number | undefined {
    let level = from;
    for (;;) {
      const further = this.clamp(factor > 1 ? this.up(level * factor) : this.down(level * factor));
      if (further === level) return undefined;
      level = further;
      const there = this.probes.filter((probe) => probe.level === level);
      if (there.length === 0) return level;
    }
  }

  /**
   * Where no level failed, a higher one. A void or unsteady probe above says where client or server leave what can be measured,
   * and more load would not be measured either: a level below it.
   */
  private upwards(low: number): number | undefined {
    const beyond = this.probes
      .filter(({ level, state }) => level > low && (state === "void" || state === "unsteady"))
      .map(({ level }) => level);
    if (beyond.length === 0) return this.step(low, 2);
    const limit = Math.min(...beyond);
    return this.isPrecise(low, limit) ? undefined : this.between(low, limit);
  }

  /**
   * A level between a passing and a failing one. Where a probe in between was not decided, the capacity is near it, and the
   * next probes enclose it at the distance that the precision asks for.
   */
  private between(low: number, high: number): number | undefined {
    const open = this.probes.filter(({ level }) => level > low && level < high).map(({ level }) => level);
    if (open.length === 0) return this.inside(Math.sqrt(low * high), low, high);
    const margin = Math.sqrt(1 + this.plan.precision);
    const [lowest, highest] = [Math.min(...open), Math.max(...open)];
    const below = Math.max(Math.sqrt(low * lowest), lowest / margin);
    const above = Math.min(Math.sqrt(high * highest), highest * margin);
    const worthwhile = 1 + this.plan.precision / 4;
    const candidates = [
      lowest / low > worthwhile ? this.inside(below, low, lowest) : undefined,
      high / highest > worthwhile ? this.inside(above, highest, high) : undefined,
    ];
    return candidates.find((level) => level !== undefined);
  }

  /** Probes that bound once more that was probed first: a server that drifts slowly looks steady within each probe. */
  private confirmation(low: number, high: number): number | undefined {
    if (this.confirmed || this.probes.at(-1)?.state === "void") return undefined;
    const at = (wanted: number) => this.probes.findIndex(({ level, state }) => level === wanted && state !== "void");
    return at(low) < at(high) ? low : high;
  }

  private isPrecise(low: number, high: number): boolean {
    return high / low <= (1 + this.plan.precision) * (1 + 1e-9) || (this.plan.whole && high - low <= 1);
  }

  private inside(level: number, low: number, high: number): number | undefined {
    const rounded = this.plan.whole ? Math.round(level) : rounded3(level);
    if (rounded > low && rounded < high) return rounded;
    if (!this.plan.whole || high - low <= 1) return undefined;
    return rounded <= low ? low + 1 : high - 1;
  }

  private clamp(level: number): number {
    return Math.min(this.plan.most, Math.max(this.plan.least, level));
  }

  private up = (level: number) => (this.plan.whole ? Math.ceil(level) : rounded3(level));
  private down = (level: number) => (this.plan.whole ? Math.floor(level) : rounded3(level));

  private notes(drifted: boolean): string[] {
    const notes: string[] = [];
    if (drifted) notes.push("a level passed that is not below one that failed: the server changed during the search");
    for (const { level, state, why } of this.probes) {
      if (state === "unsteady") notes.push(`the server was never steady at ${level}`);
      if (state === "undecided") notes.push(`${level} is undecided: the probe ended at its limit`);
      if (state === "void") notes.push(`the probe at ${level} is no answer: ${why ?? "unknown"}`);
    }
    if (this.probes.length >= this.plan.mostProbes)
      notes.push(`the search ended at its limit of ${this.plan.mostProbes} probes`);
    return notes;
  }
}

const decided = ({ state }: ProbeAt) => state === "pass" || state === "fail";

/** Three significant digits: a rate is also a level's name. */
const rounded3 = (level: number) => Number(level.toPrecision(3));

function enclosing(probes: readonly ProbeAt[], sideOf: (probe: ProbeAt) => Side | undefined): Interval {
  const [above, below] = [[] as number[], [] as number[]];
  for (const probe of probes) {
    const side = sideOf(probe);
    if (side === "above") above.push(probe.level);
    if (side === "below") below.push(probe.level);
  }
  const [low, high] = [Math.max(...above), Math.min(...below)];
  return { ...(above.length > 0 ? { low } : {}), ...(below.length > 0 ? { high } : {}) };
}

const sideOfNinety = ({ state, ninety }: ProbeAt): Side | undefined =>
  state === "pass" || state === "fail" || state === "undecided" ? ninety : undefined;

/** L. Kleinrock, *Power and Deterministic Rules of Thumb for Probabilistic Problems in Computer Communications* (1979). */
function kneeOf(probes: readonly ProbeAt[]): { knee?: number } {
  let best: ProbeAt | undefined;
  const power = ({ throughput, meanMs }: ProbeAt) => throughput / meanMs;
  for (const probe of probes) {
    if (probe.state === "void" || probe.state === "unsteady" || !(power(probe) > 0)) continue;
    if (!best || power(probe) > power(best)) best = probe;
  }
  return best ? { knee: best.level } : {};
}

/** The most that a search can cost. */
export interface SearchCost {
  readonly probes: number;
  readonly minutes: number;
  readonly requests: number;
}

/** The upper bound of what `probes` more probes cost, each with its warm-up and the wait for its last requests. */
export function costAtMost(
  probes: number,
  { mostMs, mostRequests }: { readonly mostMs: number; readonly mostRequests: number },
  overheadMs: number,
): SearchCost {
  return { probes, minutes: (probes * (mostMs + overheadMs)) / 60_000, requests: probes * mostRequests };
}
