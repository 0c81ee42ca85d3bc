import { orAbort } from "../abort";
import { burst as burstTables } from "../lazy";
import type { Config } from "../settings/config";
import type { Use } from "../settings/used-settings";
import { type LevelSpec, runsHere, tokenclock } from "../wire/client";
import { planRequests } from "../workload/load-plan";
import { openPrompts, type PromptSource } from "../workload/prompts";
import { type Labels, openLevels } from "./levels";
import { loadOptions } from "./options";
import type { Load, Shape } from "./shape";

/** A release of several requests at once. */
export interface Burst {
  readonly name: string;
  readonly size: number;
  readonly labels: Labels;
  /** Where its prompts come from; by default the settings say it. */
  readonly prompts?: PromptSource;
}

/** Bursts of BATCH_SIZES, RUNS times each; with REFILL a request is started whenever one of the batch has ended. */
export const bursts: Shape = {
  uses: ["bursts", "REFILL", "CLIENTS_PER_VU", "prompts", "generation"],
  open: (config) => (config.REFILL ? openRefilled(config) : openBursts(config, batchBursts(config))),
  shows: burstFigures,
};

/** Bursts of one's own, one after the other, made of the settings that `uses` names. */
export function burstsOf(uses: readonly Use[], list: (config: Config) => readonly Burst[]): Shape {
  return { uses, open: (config) => openBursts(config, list(config)), shows: burstFigures };
}

function burstFigures({ levels }: Parameters<NonNullable<Shape["shows"]>>[0]): { text?: string } {
  return { text: burstTables().burstTable(levels) };
}

/** Refilled, a batch is a level of constant concurrency that handles as many requests as its runs would. */
function openRefilled(config: Config): Load {
  const batches = config.BATCH_SIZES.map((size) => ({
    ...{ name: `b${size}`, concurrency: size, batchSize: size, requests: size * config.RUNS },
    labels: { mode: "continuous" },
  }));
  return openLevels(config, batches);
}

/**
 * Bursts that one VU releases one after the other, each a level of its own so that every release has its own values.
 * A warm-up burst of the same kind goes before the first of each size and kind.
 */
function openBursts(config: Config, all: readonly Burst[]): Load {
  const list = config.SMOKE ? all.map((burst) => ({ ...burst, size: 1 })) : all;
  const specs = list.map(({ name, size, labels }): LevelSpec => ({ name, batchSize: size, requests: size, labels }));
  const windows = new tokenclock.Windows(config.scenario, specs);
  const common = list.some(({ prompts }) => prompts === undefined) ? openPrompts(config) : undefined;
  // What the runs of a burst have in common.
  const kindOf = ({ size, labels: { run: _, ...kind } }: Burst) => JSON.stringify([size, kind]);
  const warmed = new Set<string>();
  for (const burst of list) {
    planRequests(wantsWarmup(config) && !warmed.has(kindOf(burst)) ? 2 * burst.size : burst.size);
    warmed.add(kindOf(burst));
  }
  return {
    levels: specs,
    options: (gates) => loadOptions(config, gates, 1, specs),
    each(send) {
      const warm = new Set<string>();
      orAbort(() => {
        for (const burst of list) {
          const { name, size, prompts = common } = burst;
          if (!runsHere(name) || !prompts) continue;
          const key = kindOf(burst);
          if (wantsWarmup(config) && !warm.has(key)) send(windows.begin(name, "warmup"), prompts, size);
          warm.add(key);
          send(windows.begin(name), prompts, size);
          windows.end(name);
        }
      });
    },
    report: tokenclock.emitLevelMetrics,
  };
}

/** The bursts of BATCH_SIZES, each RUNS times: b8 where it is released once, else b8-1, b8-2, ... */
export function batchBursts(config: Config, labels: Labels = {}, suffix = "", prompts?: PromptSource): Burst[] {
  return config.BATCH_SIZES.flatMap((size) =>
    Array.from({ length: config.RUNS }, (_, i) => ({
      name: `b${size}${suffix}${config.RUNS > 1 ? `-${i + 1}` : ""}`,
      size,
      labels: { ...labels, run: i + 1 },
      prompts,
    })),
  );
}

function wantsWarmup({ WARMUP: warmup }: Config): boolean {
  if ("requests" in warmup) return warmup.requests > 0;
  return "durationMs" in warmup ? warmup.durationMs > 0 : true;
}
