import type { Options, Scenario } from "k6/options";
import { adaptOptions, emitLevelMetrics, type LevelSpec, Levels, type Slot } from "./client";
import { type Config, orRefuse } from "./config";
import { formatDurationMs } from "./duration";
import { abort, rememberLoad } from "./load-guard";
import { planRequests } from "./load-plan";
import { SettingError } from "./setting-error";
import type { Warmup } from "./settings";

/** k6's thresholds option. */
export type Thresholds = Record<string, string[]>;

/** Levels of load as the scenario file uses them. */
export interface LoadLevels {
  /** The levels that gates judge. */
  readonly specs: readonly LevelSpec[];
  /** k6's options for this load with these thresholds. */
  options(thresholds: () => Thresholds): Options | undefined;
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

/** Ends the run where a level is bounded by time, for scenarios that compare the same requests. Init context only. */
export function requireRequests({ DURATION: durationMs, scenario }: Config): void {
  if (durationMs === undefined) return;
  orRefuse(() => {
    const given = `DURATION=${formatDurationMs(durationMs)}`;
    throw new SettingError(`${given} cannot bound ${scenario}, which sends the same requests twice; set REQUESTS`);
  });
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
    options: (thresholds) => loadOptions(config, thresholds, Math.ceil(clients / perVU)),
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
export function loadOptions(config: Config, thresholds: () => Thresholds, vus: number): Options | undefined {
  return k6Options(config, thresholds, {
    executor: "per-vu-iterations",
    vus,
    iterations: 1,
    maxDuration: formatDurationMs(config.MAX_DURATION),
    // k6 would let requests end for 30 s more, and count them as if they had been in time.
    gracefulStop: "0s",
  });
}

/** Options of one k6 scenario. Only for the runtimes with number 0: k6 reads no other's, but fills in those it finds. */
export function k6Options(config: Config, thresholds: () => Thresholds, scenario: Scenario): Options | undefined {
  if (__VU !== 0) return undefined;
  const gates = thresholds();
  const { requireMeasurable } = require("./measurable") as typeof import("./measurable");
  orRefuse(() => requireMeasurable(config, gates));
  const options = adaptOptions({
    thresholds: gates,
    summaryTrendStats: trendStats(gates) as Options["summaryTrendStats"],
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
function trendStats(thresholds: Thresholds): string[] {
  const stats = ["count", "avg", "min", "med", "p(90)", "p(95)", "p(99)", "p(99.9)", "max"];
  for (const expression of Object.values(thresholds).flat()) {
    const [percentile] = /^p\([\d.]+\)/.exec(expression) ?? [];
    if (percentile) stats.push(percentile);
  }
  return [...new Set(stats)];
}
