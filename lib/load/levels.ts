import type { Options, Scenario } from "k6/options";
import type { Gates } from "../figures/profile";
import { type Config, orRefuse } from "../settings/config";
import { formatDurationMs } from "../settings/duration";
import type { Warmup } from "../settings/settings";
import { adaptOptions, emitLevelMetrics, type LevelSpec, Levels, type Slot, shared } from "../wire/client";
import { abort, rememberLoad } from "./load-guard";
import { planRequests } from "./load-plan";
import type { PlannedLevel } from "./measurable";

/** Levels of load as the scenario file uses them. */
export interface LoadLevels {
  /** The levels that gates judge. */
  readonly specs: readonly LevelSpec[];
  /** k6's options for this load with these gates. */
  options(gates: () => Gates): Options | undefined;
  /**
   * Has this VU's clients send until they have no more to send in any level. A slot ends with the promise that `send`
   * returns, or where it returns none, with `send`.
   */
  each(send: (slot: Slot) => unknown): void;
  /** For teardown(): hands the levels' figures to k6's thresholds. */
  report(): void;
}

/** The name of a pause's level, which sends no request and is left out of summaries. */
export const pauseLevel = "pause";

/** Levels of constant concurrency, one after the other: c1, c2, c4, ... */
export function concurrencyLevels(config: Config, labels?: Labels): LoadLevels {
  return levelsInTurn(
    config,
    config.CONCURRENCY.map((concurrency) => concurrencyLevel(config, `c${concurrency}`, concurrency, labels)),
  );
}

/** Tags of the workload that go into a level's summary. */
export type Labels = Readonly<Record<string, string | number>>;

/** The lengths of the workload where they are the same for all requests. */
export function lengthLabels({ INPUT_TOKENS: input, OUTPUT_TOKENS: output }: Config): Labels {
  const labels: Record<string, number> = {};
  if (input.kind === "fixed") labels.inputTokens = input.value;
  if (output.kind === "fixed") labels.outputTokens = output.value;
  return labels;
}

/** One level of constant concurrency, bounded by REQUESTS or DURATION. */
export function concurrencyLevel(config: Config, name: string, concurrency: number, labels: Labels = {}): LevelSpec {
  const bound =
    config.DURATION === undefined ? { requests: config.REQUESTS ?? concurrency } : { durationMs: config.DURATION };
  return { name, concurrency, labels, ...bound, ...warmupOf(config.WARMUP, concurrency) };
}

/** Levels of constant concurrency that follow each other in one k6 scenario. */
export function levelsInTurn(config: Config, specs: readonly LevelSpec[]): LoadLevels {
  const levels = new Levels(config.scenario, [...specs]);
  for (const { name, requests, concurrency = 1, warmupRequests = concurrency, warmupMs } of specs) {
    const counted = requests !== undefined && !warmupMs;
    if (name !== pauseLevel) planRequests(counted ? requests + warmupRequests : undefined);
  }
  const clients = Math.max(...specs.map(({ concurrency }) => concurrency ?? 1));
  const perVU = clientsPerVU(config.CLIENTS_PER_VU, clients);
  return {
    specs,
    // Each VU goes through all levels in one iteration: k6 cannot start a level when another has ended, the module can.
    options: (gates) => loadOptions(config, gates, Math.ceil(clients / perVU), specs),
    each: (send) => levels.each(perVU, send, abort),
    report: emitLevelMetrics,
  };
}

/**
 * How many clients each VU carries. A VU costs 0.3 MB and 1 ms of CPU. Its JavaScript runs on one core and takes 0.1 ms a
 * request, so that four VUs send up to 40,000 requests a second; with 1 to 16 VUs a load costs the same (docs/performance.md).
 */
export function clientsPerVU(setting: number | "auto", clients: number): number {
  return setting === "auto" ? Math.ceil(clients / fewVUs) : Math.min(setting, clients);
}

const fewVUs = 4;

/** Options of a load that lasts one iteration of each VU. */
export function loadOptions(
  config: Config,
  gates: () => Gates,
  vus: number,
  planned: readonly PlannedLevel[] = [],
): Options | undefined {
  const scenario: Scenario = {
    executor: "per-vu-iterations",
    vus,
    iterations: 1,
    maxDuration: formatDurationMs(config.MAX_DURATION),
    // k6 would let requests end for 30 s more, and count them as if they had been in time.
    gracefulStop: "0s",
  };
  return k6Options(config, gates, scenario, planned);
}

/** What the run is to be judged by; in the runtimes with number 0, of which one is handleSummary's. */
export let declaredGates: Gates | undefined;

/** Options of one k6 scenario. Only for the runtimes with number 0: k6 reads no other's, but fills in those it finds. */
export function k6Options(
  config: Config,
  gates: () => Gates,
  scenario: Scenario,
  planned: readonly PlannedLevel[] = [],
): Options | undefined {
  if (__VU !== 0) return undefined;
  const { thresholds, profile } = gates();
  const { requireMeasurable, unreachableLine } = require("./measurable") as typeof import("./measurable");
  orRefuse(() => requireMeasurable(config, thresholds));
  declaredGates = { thresholds, profile };
  // Once: the runtime of handleSummary has number 0, too.
  shared("gates are reachable", () => {
    const line = unreachableLine(config, thresholds, profile, planned);
    if (line !== "") console.warn(`tokenclock: ${line}`);
    return true;
  });
  const options = adaptOptions({
    thresholds,
    summaryTrendStats: trendStats(thresholds) as Options["summaryTrendStats"],
    scenarios: { [config.scenario.replaceAll("-", "_")]: scenario },
  });
  return rememberLoad(options);
}

/** The warm-up of a level with this many slots. */
export function warmupOf(warmup: Warmup, slots: number): Pick<LevelSpec, "warmupRequests" | "warmupMs"> {
  if ("requests" in warmup) return { warmupRequests: warmup.requests };
  if ("durationMs" in warmup) return { warmupMs: warmup.durationMs };
  return { warmupRequests: slots };
}

/** k6 keeps only the percentiles that it is asked for; a verdict must name the value of each that a threshold judges. */
function trendStats(thresholds: Gates["thresholds"]): string[] {
  const stats = ["count", "avg", "min", "med", "p(90)", "p(95)", "p(99)", "p(99.9)", "max"];
  for (const expression of Object.values(thresholds).flat()) {
    const [percentile] = /^p\([\d.]+\)/.exec(expression) ?? [];
    if (percentile) stats.push(percentile);
  }
  return [...new Set(stats)];
}
