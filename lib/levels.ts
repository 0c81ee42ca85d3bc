import type { Options } from "k6/options";
import { emitLevelMetrics, type LevelSpec, Levels, type Slot } from "./client";
import type { Config } from "./config";
import { formatDurationMs, type Warmup } from "./settings";

/** Levels of load as the scenario file uses them. */
export interface LoadLevels {
  readonly specs: readonly LevelSpec[];
  /** k6's options for this load with these thresholds. */
  options(thresholds: Record<string, string[]>): Options;
  /** Sends until this VU has no more to send in any level. */
  each(send: (slot: Slot) => void): void;
  /** For teardown(): hands the levels' figures to k6's thresholds. */
  report(): void;
}

/** Levels of constant concurrency, one after the other: c1, c2, c4, ... */
export function concurrencyLevels(config: Config): LoadLevels {
  const specs = config.CONCURRENCY.map(
    (concurrency): LevelSpec => ({
      name: `c${concurrency}`,
      concurrency,
      requests: config.REQUESTS,
      durationMs: config.DURATION,
      ...warmupOf(config.WARMUP, concurrency),
    }),
  );
  const levels = new Levels(config.scenario, specs);
  return {
    specs,
    options: (thresholds) => ({
      ...commonOptions(thresholds),
      scenarios: {
        // Each VU goes through all levels in one iteration: k6 cannot start a level when another has ended, the module can.
        [config.scenario.replaceAll("-", "_")]: {
          executor: "per-vu-iterations",
          vus: Math.max(...config.CONCURRENCY),
          iterations: 1,
          maxDuration: formatDurationMs(config.MAX_DURATION),
        },
      },
    }),
    each(send) {
      for (let slot = levels.acquire(); slot !== null; slot = levels.acquire()) send(slot);
    },
    report: emitLevelMetrics,
  };
}

/** Options that all loads share. */
export function commonOptions(thresholds: Record<string, string[]>): Options {
  return {
    thresholds,
    // Requests that run into TIMEOUT must still end as such while k6 waits for the last of them.
    setupTimeout: "60s",
    teardownTimeout: "60s",
    noUsageReport: true,
    summaryTrendStats: trendStats(thresholds) as Options["summaryTrendStats"],
  };
}

/** The warm-up of a level with this many slots. */
export function warmupOf(warmup: Warmup, slots: number): Pick<LevelSpec, "warmupRequests" | "warmupMs"> {
  if ("requests" in warmup) return { warmupRequests: warmup.requests };
  if ("durationMs" in warmup) return { warmupMs: warmup.durationMs };
  return { warmupRequests: slots };
}

/** k6 keeps only the percentiles that it is asked for; a verdict must name the value of each that a threshold judges. */
function trendStats(thresholds: Record<string, string[]>): string[] {
  const stats = ["count", "avg", "min", "med", "p(90)", "p(95)", "p(99)", "p(99.9)", "max"];
  for (const expression of Object.values(thresholds).flat()) {
    const [percentile] = /^p\([\d.]+\)/.exec(expression) ?? [];
    if (percentile) stats.push(percentile);
  }
  return [...new Set(stats)];
}
