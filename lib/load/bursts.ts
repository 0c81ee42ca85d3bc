import type { Options } from "k6/options";
import type { Gates } from "../figures/profile";
import type { Config } from "../settings/config";
import { emitLevelMetrics, type LevelSpec, runsHere, type Slot, Windows } from "../wire/client";
import { type Labels, loadOptions } from "./levels";
import { orAbort } from "./load-guard";
import { planRequests } from "./load-plan";

/** A release of several requests at once. */
export interface Burst {
  readonly name: string;
  readonly size: number;
  readonly labels: Labels;
}

/** Bursts as the scenario file uses them. */
export interface Bursts {
  readonly specs: readonly LevelSpec[];
  options(gates: () => Gates): Options | undefined;
  /** Releases the bursts one after the other; `release` returns when all requests of one have ended. */
  each(release: (slot: Slot, burst: Burst) => void): void;
  report(): void;
}

/**
 * Bursts that one VU releases one after the other, each a level of its own so that every release has its own figures.
 * A warm-up burst of the same kind goes before the first of each size and kind.
 */
export function openBursts(config: Config, bursts: readonly Burst[]): Bursts {
  const specs = bursts.map(({ name, size, labels }): LevelSpec => ({ name, batchSize: size, requests: size, labels }));
  const windows = new Windows(config.scenario, specs);
  // What the runs of a burst have in common.
  const kindOf = ({ size, labels: { run: _, ...kind } }: Burst) => JSON.stringify([size, kind]);
  const warmed = new Set<string>();
  for (const burst of bursts) {
    planRequests(wantsWarmup(config) && !warmed.has(kindOf(burst)) ? 2 * burst.size : burst.size);
    warmed.add(kindOf(burst));
  }
  return {
    specs,
    options: (gates) => loadOptions(config, gates, 1, specs),
    each(release) {
      const warm = new Set<string>();
      orAbort(() => {
        for (const burst of bursts) {
          if (!runsHere(burst.name)) continue;
          const key = kindOf(burst);
          if (wantsWarmup(config) && !warm.has(key)) release(windows.begin(burst.name, "warmup"), burst);
          warm.add(key);
          release(windows.begin(burst.name), burst);
          windows.end(burst.name);
        }
      });
    },
    report: emitLevelMetrics,
  };
}

/** The bursts of BATCH_SIZES, each RUNS times: b8 where it is released once, else b8-1, b8-2, ... */
export function batchBursts(config: Config, labels: Labels = {}, suffix = ""): Burst[] {
  return config.BATCH_SIZES.flatMap((size) =>
    Array.from({ length: config.RUNS }, (_, i) => ({
      name: `b${size}${suffix}${config.RUNS > 1 ? `-${i + 1}` : ""}`,
      size,
      labels: { ...labels, run: i + 1 },
    })),
  );
}

function wantsWarmup({ WARMUP: warmup }: Config): boolean {
  if ("requests" in warmup) return warmup.requests > 0;
  return "durationMs" in warmup ? warmup.durationMs > 0 : true;
}
