/** Runs the probes of a search for capacity: one VU carries all requests, so that the search sees each as it ends. */
import { Gauge } from "k6/metrics";
import { setTimeout } from "k6/timers";
import { abort } from "../abort";
import { beforeLoad, capacityLines, prober } from "../lazy";
import { type Config, demand } from "../settings/config";
import { formatDurationMs } from "../settings/duration";
import { type Phase, type Result, type Slot, tokenclock } from "../wire/client";
import { planRequests } from "../workload/load-plan";
import { openPrompts } from "../workload/prompts";
import type { CapacityResult, ProbeOutcome, SearchPlan } from "./capacity-search";
import { loadOptions } from "./options";
import type { ProbeFigures } from "./probe";
import type { Load, Shape } from "./shape";

/** A search for the load under which the SLOs hold: request rates, or with LOOP=closed numbers of clients. */
export const search: Shape = {
  uses: ["search", "LOOP", "ARRIVAL", "MAX_IN_FLIGHT", "prompts", "generation"],
  open: openSearch,
  shows: (_report, { LOOP }) =>
    capacityLines().capacityResults(capacityFound(), LOOP === "closed" ? "clients" : "req/s"),
};

/** Sends the request of a slot. */
type SendProbe = (slot: Slot) => Promise<Result>;

/** A request that is sent so much later than it was due is the client's doing: ms, and a share of its latency. */
const latestSendMs = 10;
const latestSendShare = 0.05;

/** What the settings ask the search for. */
function searchPlanOf(config: Config): SearchPlan {
  return {
    start: config.SEARCH_START,
    target: config.ATTAINMENT / 100,
    // Below it no probe has enough requests in its time.
    least: config.LOOP === "closed" ? 1 : (config.PROBE_REQUESTS / config.PROBE_TIME) * 1000,
    most: config.LOOP === "closed" ? Math.min(config.SEARCH_MOST, config.MAX_IN_FLIGHT) : config.SEARCH_MOST,
    whole: config.LOOP === "closed",
    precision: config.PRECISION / 100,
    confidence: config.CONFIDENCE / 100,
    mostProbes: config.PROBES,
    probeSd: config.PROBE_SD / 100,
  };
}

/** The search that LOOP, SEARCH_START, PROBES and the SLOs describe. Init context only. */
function openSearch(config: Config): Load {
  const { SLO_TTFT: ttft, SLO_TPOT: tpot, SLO_E2E: e2e } = config;
  demand(
    [ttft, tpot, e2e].some((slo) => slo !== undefined),
    "capacity is the load under which the SLOs hold: set SLO_TTFT, SLO_TPOT or SLO_E2E (ms)",
  );
  demand(
    config.RUNNERS === 1 && config.COORDINATOR === "",
    `RUNNERS=${config.RUNNERS}: a search for capacity runs in one process, because it decides by what it has measured itself; leave RUNNERS and COORDINATOR out`,
  );
  demand(
    config.PROBE_REQUESTS <= config.PROBE_MOST_REQUESTS,
    `PROBE_MOST_REQUESTS=${config.PROBE_MOST_REQUESTS} is below PROBE_REQUESTS=${config.PROBE_REQUESTS}`,
  );
  const plan = searchPlanOf(config);
  demand(
    !plan.whole || Number.isInteger(plan.start),
    `SEARCH_START=${plan.start}: with LOOP=closed it counts clients; set a whole number`,
  );
  demand(
    plan.start >= plan.least && plan.start <= plan.most,
    `SEARCH_START=${plan.start} is not between SEARCH_MOST=${config.SEARCH_MOST} and ${plan.least}, the rate that makes PROBE_REQUESTS=${config.PROBE_REQUESTS} in PROBE_TIME=${formatDurationMs(config.PROBE_TIME)}`,
  );
  const capacity = new Gauge("llm_capacity");
  const windows = new tokenclock.Windows(config.scenario, []);
  planRequests(undefined);
  const ratioOf = (result: Result): number => {
    if (result.outcome !== "completed") return Number.POSITIVE_INFINITY;
    const part = (figure: number, slo: number | undefined) =>
      slo === undefined ? 0 : figure >= 0 ? figure / slo : Number.POSITIVE_INFINITY;
    return Math.max(part(result.ttftMs, ttft), part(result.tpotMs, tpot), part(result.e2eMs, e2e));
  };

  /** Loads the server at one level until the probe has an answer, and waits for all that is in flight. */
  async function probeAt(level: number, name: string, send: SendProbe, seed: number): Promise<ProbeOutcome> {
    const { alphaOf, gapsOf, Probe, seededRng } = prober();
    const rng = seededRng(config.SEED, 1000 + seed);
    const probe = new Probe({
      target: plan.target,
      alpha: alphaOf(plan),
      leastRequests: config.PROBE_REQUESTS,
      mostRequests: config.PROBE_MOST_REQUESTS,
      mostMs: config.PROBE_TIME,
      open: !plan.whole,
    });
    windows.declare({ name, ...(plan.whole ? { concurrency: level } : { rate: level }) });
    const beganMs = windows.now();
    const warmupMs = "durationMs" in config.WARMUP ? config.WARMUP.durationMs : 0;
    const steadyMs = beganMs + warmupMs;
    const delays: { readonly delayMs: number; readonly e2eMs: number }[] = [];
    let figures: ProbeFigures = probe.judge(0);
    let [sent, inFlight, steady, full] = [0, 0, 0, false];
    const settled: (() => void)[] = [];
    const judge = () => {
      figures = probe.judge(windows.now() - steadyMs);
    };
    const start = (dueMs: number): Promise<void> => {
      const warm = dueMs < steadyMs;
      const phase: Phase = warm ? "warmup" : "steady";
      const slot = windows.begin(name, phase, dueMs);
      const index = steady;
      if (!warm) {
        steady++;
        probe.sent(dueMs);
      }
      sent++;
      inFlight++;
      return send(slot).then((result) => {
        inFlight--;
        if (!warm) {
          const e2eMs = result.outcome === "completed" ? result.e2eMs : 0;
          if (result.queueDelayMs >= 0) delays.push({ delayMs: result.queueDelayMs, e2eMs });
          const endMs = e2eMs > 0 ? dueMs + Math.max(0, result.queueDelayMs) + e2eMs : windows.now();
          probe.add(index, { scheduledMs: dueMs, endMs, ratio: ratioOf(result) });
          judge();
        }
        while (settled.length > 0) settled.shift()?.();
      });
    };
    const more = () => figures.state === "more";
    if (plan.whole) {
      const client = async () => {
        for (let dueMs = beganMs; more(); dueMs = windows.now()) await start(dueMs);
      };
      await Promise.all(Array.from({ length: level }, client));
    } else {
      const gapMs = gapsOf(config.ARRIVAL, level, rng);
      for (let dueMs = beganMs + gapMs(); ; dueMs += gapMs()) {
        for (let waitMs = dueMs - windows.now(); waitMs > 0 && more(); waitMs = dueMs - windows.now()) {
          await sleepMs(waitMs);
        }
        if (dueMs >= steadyMs) judge();
        if (!more()) break;
        full = inFlight >= config.MAX_IN_FLIGHT;
        if (full) break;
        start(dueMs).catch(abort);
        // Requests that are due at once are sent by turns with the ends of others.
        if (dueMs + 1 > windows.now()) await Promise.resolve();
      }
      while (inFlight > 0) await new Promise<void>((resolve) => settled.push(resolve));
      if (full) figures = probe.judge(Number.POSITIVE_INFINITY);
    }
    windows.end(name);
    const { state, ...rest } = figures;
    const ninety = (["above", "below"] as const).find(
      (side) => probe.evidence(side, 0.9) >= Math.log(1 / alphaOf(plan)),
    );
    const taken = { ...rest, tookS: (windows.now() - beganMs) / 1000, sent, ...(ninety ? { ninety } : {}) };
    const late = delays.filter((each) => each.delayMs > Math.max(latestSendMs, latestSendShare * each.e2eMs)).length;
    // Late requests come in bursts that the server was not to get: they must not be able to make half of the allowed misses.
    if (late > ((1 - plan.target) / 2) * delays.length) {
      return { ...taken, state: "void", why: `CLIENT-BOUND, ${late} of ${delays.length} requests were sent too late` };
    }
    if (state === "more" || (full && state !== "fail" && state !== "pass")) {
      return { ...taken, state: "void", why: `MAX_IN_FLIGHT=${config.MAX_IN_FLIGHT} requests were in flight` };
    }
    return { ...taken, state };
  }

  async function run(send: SendProbe): Promise<void> {
    try {
      const { CapacitySearch, costAtMost } = prober();
      const searching = new CapacitySearch(plan);
      const warmupMs = "durationMs" in config.WARMUP ? config.WARMUP.durationMs : 0;
      const overheadMs = warmupMs + config.TIMEOUT;
      const limits = { mostMs: config.PROBE_TIME, mostRequests: config.PROBE_MOST_REQUESTS };
      const cost = (left: number) => {
        const { probes, minutes, requests } = costAtMost(left, limits, warmupMs);
        const beside = warmupMs > 0 ? ` beside the warm-up's ${formatDurationMs(warmupMs)} a probe` : "";
        return `at most ${probes} more probes, ${minutes.toFixed(1)} min with warm-up, and ${requests} requests${beside}`;
      };
      say(`the search takes ${cost(plan.mostProbes)}, and after each probe the wait for its last request (TIMEOUT)`);
      const beganMs = windows.now();
      for (let level = searching.next(); level !== undefined; level = searching.next()) {
        const spentMs = windows.now() - beganMs;
        if (spentMs + config.PROBE_TIME + overheadMs > config.MAX_DURATION && searching.made.length > 0) {
          const most = formatDurationMs(config.PROBE_TIME + overheadMs);
          say(
            `no time for another probe within MAX_DURATION=${formatDurationMs(config.MAX_DURATION)}: it may take ${most}, PROBE_TIME with its warm-up and TIMEOUT for its last request; set TIMEOUT lower or MAX_DURATION higher`,
          );
          break;
        }
        const nth = searching.made.length + 1;
        const unit = plan.whole ? "clients" : "req/s";
        const outcome = await probeAt(level, `p${nth}`, send, nth);
        searching.take(level, outcome);
        const { requests, good, state, tookS, why } = outcome;
        const share = requests > 0 ? `${((100 * good) / requests).toFixed(1)} % of ${requests} good, ` : "";
        const left = plan.mostProbes - nth;
        say(
          `probe ${nth}: ${level} ${unit}: ${state}${why ? ` (${why})` : ""}, ${share}${tookS.toFixed(1)} s; ${cost(left)}`,
        );
      }
      const found = searching.result();
      capacity.add(found.interval.low ?? 0);
      tokenclock.shared(resultName, () => JSON.stringify(found));
    } catch (error) {
      abort(error);
    }
  }

  const prompts = openPrompts(config);
  return {
    levels: [],
    gates: () => beforeLoad().capacityGates(config),
    options: (gates) => loadOptions(config, gates, 1),
    // The iteration lasts as long as timers and requests of this VU are open.
    each: (send) => void run((slot) => send(slot, prompts) as Promise<Result>),
    report: tokenclock.emitLevelMetrics,
  };
}

const resultName = "capacity's result";

/** What the search of this run found; undefined where it did not end. For handleSummary, which has a runtime of its own. */
function capacityFound(): CapacityResult | undefined {
  const text = tokenclock.shared(resultName, () => "");
  return text === "" ? undefined : (JSON.parse(text) as CapacityResult);
}

const sleepMs = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

function say(line: string): void {
  console.log(`tokenclock: ${line}`);
}
