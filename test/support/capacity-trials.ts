/**
 * Searches for capacity on simulated servers whose capacity is known: by a formula, or by a run that is so long that its error
 * does not count. On their own clock, so that hours take milliseconds.
 *
 *   node build/bootstrap.cjs test/support/capacity-trials.ts [TRIALS [FIRST_SEED [SERVER]]]     (default 200, 1001, all)
 */
import { alphaOf, type CapacityResult, CapacitySearch, type SearchPlan } from "../../lib/load/capacity-search";
import { Probe, type ProbePlan } from "../../lib/load/probe";
import { type Rng, randomNormal, seededRng } from "../../lib/workload/rng";

/** A server on a clock of its own, in ms. Times must not go back. */
export interface QueueModel {
  /** Sends request `index` at that time. */
  arrive(index: number, atMs: number): void;
  /** Calls `ended` for what ends up to that time, in order. ratio is the latency over its SLO. */
  advance(toMs: number, ended: (index: number, atMs: number, ratio: number) => void): void;
}

export interface SimulatedServer {
  readonly name: string;
  /** Share of requests that must be good. */
  readonly target: number;
  /** Requests come at a rate (Poisson), else from so many clients. */
  readonly open: boolean;
  /** `sinceMs` is the server's age when the model's clock begins. */
  model(rng: Rng, sinceMs: number): QueueModel;
  /** The capacity by formula; where there is none it is computed by a long run. */
  readonly capacity?: number;
  readonly start: number;
  readonly most: number;
  /** What the search is told of differences between probes; by default that there are none. */
  readonly probeSd?: number;
}

const exponential = (rng: Rng, mean: number) => -mean * Math.log(1 - rng());

/** Inserts into an ascending array. */
function insert<T>(into: T[], item: T, key: (item: T) => number): void {
  let at = into.length;
  while (at > 0 && key(into[at - 1] as T) > key(item)) at--;
  into.splice(at, 0, item);
}

interface Running {
  readonly index: number;
  readonly endMs: number;
  readonly ratio: number;
  readonly held: number;
}

interface Waiting {
  readonly index: number;
  readonly sentMs: number;
  readonly held: number;
  readonly workMs: number;
}

/** First in, first out. An array's own shift() moves all others. */
class Fifo<T> {
  private items: T[] = [];
  private gone = 0;

  push(item: T): void {
    this.items.push(item);
  }

  first(): T | undefined {
    return this.items[this.gone];
  }

  shift(): T | undefined {
    const item = this.items[this.gone++];
    if (this.gone > 1000 && this.gone * 2 > this.items.length) {
      this.items = this.items.slice(this.gone);
      this.gone = 0;
    }
    return item;
  }
}

/**
 * Requests wait in order until the server has room for them: `room` units, of which each holds some while it is served. One
 * slot a request is M/G/c; tokens of a KV cache are the same with more units. The SLO is on the wait (TTFT).
 */
class RoomModel implements QueueModel {
  private readonly running: Running[] = [];
  private readonly waiting = new Fifo<Waiting>();
  private free: number;

  constructor(
    private readonly room: number,
    private readonly sloMs: number,
    private readonly request: (atMs: number) => { readonly held: number; readonly workMs: number },
  ) {
    this.free = room;
  }

  arrive(index: number, atMs: number): void {
    const { held, workMs } = this.request(atMs);
    this.waiting.push({ index, sentMs: atMs, held: Math.min(held, this.room), workMs });
    this.admit(atMs);
  }

  advance(toMs: number, ended: (index: number, atMs: number, ratio: number) => void): void {
    for (let next = this.running[0]; next && next.endMs <= toMs; next = this.running[0]) {
      this.running.shift();
      this.free += next.held;
      this.admit(next.endMs);
      ended(next.index, next.endMs, next.ratio);
    }
  }

  private admit(atMs: number): void {
    for (let next = this.waiting.first(); next && next.held <= this.free; next = this.waiting.first()) {
      this.waiting.shift();
      this.free -= next.held;
      const ratio = (atMs - next.sentMs) / this.sloMs;
      insert(
        this.running,
        { index: next.index, endMs: atMs + next.workMs, ratio, held: next.held },
        ({ endMs }) => endMs,
      );
    }
  }
}

/** Requests share one batch: a step takes longer the more there are (processor sharing). The SLO is on latency per token, the
 * wait for a place in the batch included. */
class BatchModel implements QueueModel {
  /** By the virtual time, in tokens, at which they end. */
  private readonly running: { index: number; sentMs: number; tokens: number; endsAt: number }[] = [];
  private readonly waiting = new Fifo<{ index: number; sentMs: number; tokens: number }>();
  private tokens = 0;
  private nowMs = 0;

  constructor(
    private readonly stepMs: (running: number) => number,
    private readonly sloMs: number,
    private readonly length: () => number,
    private readonly most = 64,
  ) {}

  arrive(index: number, atMs: number): void {
    this.nowMs = Math.max(this.nowMs, atMs);
    this.waiting.push({ index, sentMs: atMs, tokens: this.length() });
    this.admit();
  }

  private admit(): void {
    while (this.running.length < this.most) {
      const next = this.waiting.first();
      if (!next) return;
      this.waiting.shift();
      insert(this.running, { ...next, endsAt: this.tokens + next.tokens }, ({ endsAt }) => endsAt);
    }
  }

  advance(toMs: number, ended: (index: number, atMs: number, ratio: number) => void): void {
    for (let next = this.running[0]; next; next = this.running[0]) {
      const stepMs = this.stepMs(this.running.length);
      const endMs = this.nowMs + (next.endsAt - this.tokens) * stepMs;
      if (endMs > toMs) {
        this.tokens += (toMs - this.nowMs) / stepMs;
        break;
      }
      this.running.shift();
      this.tokens = next.endsAt;
      this.nowMs = endMs;
      this.admit();
      ended(next.index, endMs, (endMs - next.sentMs) / next.tokens / this.sloMs);
    }
    this.nowMs = Math.max(this.nowMs, toMs);
  }
}

/** P(wait > t) of M/M/c (Erlang C), for a mean service time of 1. */
export function waitsLonger(rate: number, servers: number, t: number): number {
  let blocked = 1; // Erlang B, by its recursion
  for (let k = 1; k <= servers; k++) blocked = (rate * blocked) / (k + rate * blocked);
  const busy = rate / servers;
  return (blocked / (1 - busy * (1 - blocked))) * Math.exp(-(servers - rate) * t);
}

/** The rate at which a falling share reaches the target. */
function where(share: (rate: number) => number, target: number, most: number): number {
  let [low, high] = [0, most];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (share(middle) >= target) low = middle;
    else high = middle;
  }
  return low;
}

const slots = 4;
const serviceMs = 200;
const queueSlo = 300;
const queueCapacity =
  (1000 / serviceMs) * where((rate) => 1 - waitsLonger(rate, slots, queueSlo / serviceMs), 0.9, slots);

const slotted = (rng: Rng, slowdown: (atMs: number) => number) =>
  new RoomModel(slots, queueSlo, (atMs) => ({ held: 1, workMs: exponential(rng, serviceMs * slowdown(atMs)) }));

/** Four slots, exponential service: capacity by Erlang's C formula. */
export const queueing: SimulatedServer = {
  ...{ name: "queueing limit", target: 0.9, open: true, start: 1, most: 100, capacity: queueCapacity },
  model: (rng) => slotted(rng, () => 1),
};

/** A KV cache of 20,000 tokens; requests hold 200 to 2,200 of them while they are decoded. */
export const kvLimited: SimulatedServer = {
  ...{ name: "KV limit", target: 0.95, open: true, start: 2, most: 200 },
  model: (rng) =>
    new RoomModel(20_000, 500, () => {
      const output = 50 + 350 * rng();
      return { held: 150 + 1650 * rng() + output, workMs: output * 10 };
    }),
};

const batched = (rng: Rng, msAfterKnee: number) =>
  new BatchModel(
    (running) => 10 + msAfterKnee * Math.max(0, running - 8),
    25,
    () => 40 + 120 * rng(),
  );

/** Free up to 8 requests in a batch; each one more makes the step longer, by less than it brings. */
const kneed: SimulatedServer = {
  ...{ name: "knee", target: 0.9, open: true, start: 1, most: 200 },
  model: (rng) => batched(rng, 1),
};

/**
 * A knee behind which each request more costs more than it brings: 8 sequences make 8 requests a second, 64 only 5.2. Between
 * these rates it works well until chance fills the batch, and then never recovers. It has no steady state there, and so no
 * capacity to be found by one: what a long run measures depends on how long it is.
 */
const collapsing: SimulatedServer = {
  ...{ name: "collapse", target: 0.9, open: true, start: 1, most: 200 },
  model: (rng) => batched(rng, 2),
};

/** The queueing limit of a server that is half as slow again when it is new, and gets over it within a minute or two. */
export const drifting: SimulatedServer = {
  ...{ name: "drift to rest", target: 0.9, open: true, start: 1, most: 100, capacity: queueCapacity },
  model: (rng, sinceMs) => slotted(rng, (atMs) => 1 + 0.5 * Math.exp(-(sinceMs + atMs) / 60_000)),
};

/** The same over a quarter of an hour: each of the first probes finds a faster server than the one before. */
const slowlyDrifting: SimulatedServer = {
  ...{ name: "slow drift to rest", target: 0.9, open: true, start: 1, most: 100, capacity: queueCapacity },
  model: (rng, sinceMs) => slotted(rng, (atMs) => 1 + 0.5 * Math.exp(-(sinceMs + atMs) / 300_000)),
};

/** A server whose speed is another in each probe, by a standard deviation of 3 %: a machine with neighbours. */
export const wandering: SimulatedServer = {
  ...{ name: "speed differs by 3 % a probe", target: 0.9, open: true, start: 1, most: 100, capacity: queueCapacity },
  probeSd: 0.03,
  model: (rng) => {
    const speed = Math.exp(0.03 * randomNormal(rng));
    return slotted(rng, () => 1 / speed);
  },
};

/** The same, and a search that takes probes for equal. */
const unforeseen: SimulatedServer = { ...wandering, name: "the same, PROBE_SD=0", probeSd: 0 };

/** A server that loses a third of its speed every hour (5 minutes of the search tell nothing of it). */
const fading: SimulatedServer = {
  ...{ name: "ever slower", target: 0.9, open: true, start: 1, most: 100 },
  model: (rng, sinceMs) => slotted(rng, (atMs) => 1.5 ** ((sinceMs + atMs) / 3_600_000)),
};

const spread = 0.1;
/** Clients in a closed loop; TPOT is lognormal around a step that grows by 1 ms a client: 90 % below 40 ms. */
export const closed: SimulatedServer = {
  ...{ name: "clients", target: 0.9, open: false, start: 1, most: 500 },
  capacity: Math.floor(40 / Math.exp(1.2815515655 * spread) - 10),
  model: (rng) => {
    const running: { index: number; endMs: number; ratio: number }[] = [];
    const pending: { index: number; atMs: number }[] = [];
    return {
      arrive: (index, atMs) => pending.push({ index, atMs }),
      advance(toMs, ended) {
        const clients = running.length + pending.length;
        for (const { index, atMs } of pending.splice(0)) {
          const normal = Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());
          const tpotMs = (10 + clients) * Math.exp(spread * normal);
          insert(running, { index, endMs: atMs + 64 * tpotMs, ratio: tpotMs / 40 }, ({ endMs }) => endMs);
        }
        for (let next = running[0]; next && next.endMs <= toMs; next = running[0]) {
          running.shift();
          ended(next.index, next.endMs, next.ratio);
        }
      },
    };
  },
};

/** Sends Poisson arrivals, or keeps so many clients busy, until `done` says so; it is asked after each end. */
export function load(
  server: Pick<SimulatedServer, "open">,
  model: QueueModel,
  level: number,
  rng: Rng,
  take: (index: number, scheduledMs: number, endMs: number, ratio: number) => boolean,
  sent: (atMs: number) => boolean = () => false,
): { sent: number; elapsedMs: number } {
  const scheduled: number[] = [];
  let over = false;
  let nowMs = 0;
  const ended = (index: number, atMs: number, ratio: number) => {
    nowMs = atMs;
    over ||= take(index, scheduled[index] ?? 0, atMs, ratio);
    if (!server.open && !over) send(atMs);
  };
  const send = (atMs: number) => {
    scheduled.push(atMs);
    over ||= sent(atMs);
    model.arrive(scheduled.length - 1, atMs);
  };
  if (server.open) {
    for (let atMs = exponential(rng, 1000 / level); !over; atMs += exponential(rng, 1000 / level)) {
      model.advance(atMs, ended);
      nowMs = atMs;
      send(atMs);
    }
  } else {
    for (let client = 0; client < level; client++) send(0);
    for (let atMs = 100; !over; atMs += 100) model.advance(atMs, ended);
  }
  return { sent: scheduled.length, elapsedMs: nowMs };
}

/** The share of good requests at a level, of so many that were sent behind a warm-up of a tenth as many. */
export function longRun(server: SimulatedServer, level: number, requests: number, seed: number): number {
  const from = Math.floor(requests / 10);
  let [sent, good] = [0, 0];
  const take = (index: number, _sentMs: number, _endMs: number, ratio: number) => {
    if (index >= from && ratio <= 1) good++;
    return false;
  };
  const model = server.model(seededRng(seed, 1), 1e12);
  load(server, model, level, seededRng(seed, 2), take, () => ++sent >= requests + from);
  return good / requests;
}

/** The capacity by formula, or by bisection with runs of that many requests, all of the same random numbers. */
export function trueCapacity(server: SimulatedServer, requests: number): number {
  if (server.capacity !== undefined) return server.capacity;
  let [low, high] = [server.start, server.start * 2];
  const kept = (level: number) => longRun(server, level, requests, 1) >= server.target;
  while (kept(high)) [low, high] = [high, high * 2];
  while (high / low > 1.001) {
    const middle = Math.sqrt(low * high);
    if (kept(middle)) low = middle;
    else high = middle;
  }
  return Math.sqrt(low * high);
}

const trialPlan = { precision: 0.15, confidence: 0.95, mostProbes: 20 };
const limits = { leastRequests: 500, mostRequests: 20_000, mostMs: 3_600_000 };

export interface Trial {
  readonly result: CapacityResult;
  readonly requests: number;
}

/** One search on one simulated server. */
function search(server: SimulatedServer, seed: number, plan: Partial<SearchPlan> = {}): Trial {
  const whole = !server.open;
  const least = whole ? 1 : server.start / 8;
  const searchPlan: SearchPlan = {
    target: server.target,
    start: server.start,
    most: server.most,
    least,
    whole,
    ...trialPlan,
    probeSd: server.probeSd ?? 0,
    ...plan,
  };
  const searching = new CapacitySearch(searchPlan);
  const probePlan: ProbePlan = { target: server.target, alpha: alphaOf(searchPlan), open: server.open, ...limits };
  let [requests, ageMs] = [0, 0];
  for (let level = searching.next(); level !== undefined; level = searching.next()) {
    const probe = new Probe(probePlan);
    let figures = probe.judge(0);
    const seeds = seed * 1000 + searching.made.length;
    const { sent, elapsedMs } = load(
      server,
      server.model(seededRng(seeds, 1), ageMs),
      level,
      seededRng(seeds, 2),
      (index, scheduledMs, endMs, ratio) => {
        probe.add(index, { scheduledMs, endMs, ratio });
        figures = probe.judge(endMs);
        return figures.state !== "more";
      },
      (atMs) => {
        probe.sent(atMs);
        figures = probe.judge(atMs);
        return figures.state !== "more";
      },
    );
    const { state, ...rest } = figures;
    if (state === "more") throw new Error("a probe ended without an answer");
    requests += sent;
    ageMs += elapsedMs;
    searching.take(level, { ...rest, state, tookS: elapsedMs / 1000, sent });
  }
  return { result: searching.result(), requests };
}

/** Whether the interval holds the capacity; of clients, whose number is whole, the last that keeps the SLOs. */
function holds({ interval }: CapacityResult, capacity: number): boolean {
  return (interval.low ?? Number.POSITIVE_INFINITY) <= capacity && capacity < (interval.high ?? 0);
}

export interface Trials {
  readonly trials: number;
  readonly found: number;
  readonly holding: number;
  readonly precise: number;
  readonly medianWidth: number;
  readonly meanRequests: number;
  readonly meanProbes: number;
  readonly states: Readonly<Record<string, number>>;
}

/** Searches with the seeds from `firstSeed` on. */
export function runTrials(server: SimulatedServer, trials: number, capacity: number, firstSeed = 1): Trials {
  const results = Array.from({ length: trials }, (_, k) => search(server, firstSeed + k));
  const mean = (of: (trial: Trial) => number) => results.reduce((sum, trial) => sum + of(trial), 0) / trials;
  const found = results.filter(({ result }) => result.state === "found");
  const widths = found.map(({ result }) => (result.interval.high ?? 0) / (result.interval.low ?? 1) - 1);
  const states: Record<string, number> = {};
  for (const { result } of results) states[result.state] = (states[result.state] ?? 0) + 1;
  return {
    ...{ trials, found: found.length, states },
    holding: results.filter(({ result }) => holds(result, capacity)).length,
    precise: found.filter(({ result }) => result.precise).length,
    medianWidth: widths.sort((a, b) => a - b)[widths.length >> 1] ?? Number.NaN,
    meanRequests: mean(({ requests }) => requests),
    meanProbes: mean(({ result }) => result.probes.length),
  };
}

/**
 * A sweep of fixed levels with the same number of requests each, judged as the probes are: levels `ratio` apart from `start` to
 * beyond the capacity (which a sweep cannot know; it would go on).
 */
function fixedSweep(server: SimulatedServer, ratio: number, requests: number, capacity: number, seed: number): Trial {
  const level = { low: 0, high: Number.POSITIVE_INFINITY };
  // The capacity lies anywhere between two levels of the grid.
  const offset = ratio ** seededRng(seed, 9)();
  let sent = 0;
  const alpha = alphaOf({ ...trialPlan, probeSd: 0 });
  for (let at = server.start * offset; at < capacity * 1.5; at *= ratio) {
    const probe = new Probe({ target: server.target, alpha, open: server.open, ...limits, mostRequests: requests });
    let figures = probe.judge(0);
    const model = server.model(seededRng(seed * 1000 + sent, 1), 1e12);
    const ran = load(
      server,
      model,
      server.open ? at : Math.round(at),
      seededRng(seed * 1000 + sent, 2),
      (index, scheduledMs, endMs, good) => {
        probe.add(index, { scheduledMs, endMs, ratio: good });
        return false;
      },
      (atMs) => {
        probe.sent(atMs);
        return probe.sentCount >= requests;
      },
    );
    figures = probe.judge(Number.POSITIVE_INFINITY);
    sent += ran.sent;
    if (figures.state === "pass") level.low = Math.max(level.low, at);
    if (figures.state === "fail") level.high = Math.min(level.high, at);
  }
  const result = { interval: level } as unknown as CapacityResult;
  return { result, requests: sent };
}

/** The requests of the cheapest fixed sweep whose intervals are as narrow in the median as `width`; with their number a level. */
function cheapestSweep(server: SimulatedServer, width: number, capacity: number, trials: number): string {
  const ratio = (1 + width) ** (1 / 3);
  for (let requests = 1000; requests <= 64_000; requests *= 2) {
    const sweeps = Array.from({ length: trials }, (_, k) => fixedSweep(server, ratio, requests, capacity, k + 1));
    const widths = sweeps.map(({ result: { interval } }) => (interval.high ?? 0) / (interval.low ?? 0) - 1);
    if ((widths.sort((a, b) => a - b)[trials >> 1] ?? 0) > width) continue;
    const mean = sweeps.reduce((sum, sweep) => sum + sweep.requests, 0) / trials;
    return `${Math.round(mean)} (${requests} a level)`;
  }
  return "more than 64000 a level";
}

function main(): void {
  const trials = Number(process.argv[2] ?? 200);
  const firstSeed = Number(process.argv[3] ?? 1001);
  const only = process.argv[4];
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  console.log("| server | capacity | found | holds the capacity | median width | probes | requests | fixed sweep |");
  console.log("|---|---:|---:|---:|---:|---:|---:|---:|");
  for (const server of [queueing, kvLimited, kneed, drifting, slowlyDrifting, wandering, unforeseen, closed]) {
    if (only !== undefined && server.name !== only) continue;
    const capacity = trueCapacity(server, 1_000_000);
    const outcome = runTrials(server, trials, capacity, firstSeed);
    const { found, holding, medianWidth, meanProbes, meanRequests } = outcome;
    const sweep = [drifting, slowlyDrifting, wandering, unforeseen].includes(server)
      ? "-"
      : cheapestSweep(server, medianWidth, capacity, Math.min(trials, 10));
    const cells = [capacity.toFixed(2), percent(found / trials), percent(holding / trials), percent(medianWidth)];
    console.log(`| ${[server.name, ...cells, meanProbes.toFixed(1), Math.round(meanRequests), sweep].join(" | ")} |`);
  }
  // Without a capacity to hold: what the search says of them.
  for (const server of [fading, collapsing]) {
    if (only !== undefined && server.name !== only) continue;
    const { states } = runTrials(server, Math.min(trials, 50), Number.NaN, firstSeed);
    console.log(`${server.name}: ${JSON.stringify(states)}`);
  }
}

if (process.argv[1] === __filename) main();
