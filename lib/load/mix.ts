import type { Options } from "k6/options";
import { gateLabels, type LevelGate } from "../figures/level-gate";
import type { Gates } from "../figures/profile";
import { type Config, demand } from "../settings/config";
import { Arrivals, emitLevelMetrics, Levels, type Slot } from "../wire/client";
import { clientsPerVU, loadOptions, warmupOf } from "./levels";
import { abort } from "./load-guard";
import { planRequests } from "./load-plan";

/** A class of a mix as its load needs it. */
export interface LoadClass extends LevelGate {
  readonly name: string;
  readonly rate?: number;
  readonly concurrency?: number;
  readonly sessions: boolean;
  readonly config: Config;
}

/** The loads of all classes, which run at once; each class is a level. */
export interface MixLoad {
  readonly specs: readonly { readonly name: string; readonly labels: Record<string, string | number> }[];
  options(gates: () => Gates): Options | undefined;
  /** Sends of every class; `send` is given the number of the class. */
  each(send: (slot: Slot, part: number) => unknown): void;
  report(): void;
}

/** Each class of the mix for DURATION: arrivals at its rate, or so many clients. Sessions may last longer. */
export function openMix(config: Config, classes: readonly LoadClass[]): MixLoad {
  const { DURATION: durationMs = 0, WARMUP: warmup } = config;
  demand(durationMs > 0, "a mix is bounded by time: set DURATION");
  demand(
    !("requests" in warmup) || warmup.requests === 0,
    "WARMUP counts requests; the warm-up of a mix is a duration, the same for all classes",
  );
  const warmupMs = "durationMs" in warmup ? warmup.durationMs : 0;
  const specs = classes.map(({ name, ...gate }) => ({ name, labels: gateLabels(gate) }));
  let vus = 1;
  const loads = classes.map(({ name, rate, concurrency, sessions, config: own }, k) => {
    const labels = specs[k]?.labels ?? {};
    planRequests(undefined);
    const most = concurrency ?? config.MAX_IN_FLIGHT;
    const perVU = clientsPerVU(config.CLIENTS_PER_VU, most);
    vus = Math.max(vus, Math.ceil(most / perVU));
    if (concurrency !== undefined) {
      const warm = warmupMs > 0 ? warmupOf(warmup, concurrency) : { warmupRequests: 0 };
      const levels = new Levels(`${config.scenario} ${name}`, [
        { name, concurrency, labels, sessions, durationMs, ...warm },
      ]);
      return { load: levels, perVU };
    }
    const of = { name, fromRate: rate ?? 0, toRate: rate ?? 0, labels };
    const arrivals = new Arrivals(`${config.scenario} ${name}`, {
      arrival: own.ARRIVAL.kind,
      ...(own.ARRIVAL.kind === "gamma" ? { cv: own.ARRIVAL.cv } : {}),
      // Each class has a schedule of its own: what one of them has moves no other's.
      seed: (config.SEED + k) % 2 ** 31,
      maxInFlight: config.MAX_IN_FLIGHT,
      sessions,
      stages: [
        ...(warmupMs > 0 ? [{ ...of, durationMs: warmupMs, phase: "warmup" as const }] : []),
        { ...of, durationMs },
      ],
    });
    return { load: arrivals, perVU };
  });
  return {
    specs,
    options: (gates) =>
      loadOptions(
        config,
        gates,
        vus,
        classes.map(({ name, rate }) => ({ name, ...(rate ? { fromRate: rate, toRate: rate, durationMs } : {}) })),
      ),
    each: (send) => {
      for (const [part, { load, perVU }] of loads.entries()) load.each(perVU, (slot) => send(slot, part), abort);
    },
    report: emitLevelMetrics,
  };
}
