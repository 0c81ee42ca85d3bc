import { abort, orAbort } from "../abort";
import type { OwnResults, RunReport } from "../figures/level-summary";
import { requestBenchmark } from "../lazy";
import type { Config } from "../settings/config";
import type { Warmup } from "../settings/settings";
import type { Use } from "../settings/used-settings";
import { type LevelSpec, type Slot, tokenclock } from "../wire/client";
import type { Distribution } from "../workload/distribution";
import { planPasses, planRequests } from "../workload/load-plan";
import { answeredBy, openPrompts, type PromptSource, repeated } from "../workload/prompts";
import { clientsPerVU, loadOptions } from "./options";
import type { Load, Shape } from "./shape";

/** Tags of the workload that go into a level's summary. */
export type Labels = Readonly<Record<string, string | number>>;

/** A level of constant concurrency: so many clients, each of which sends its next request when its last one ended. */
export interface Level {
  /** Unique in the run, such as c8: the level's name in metrics, records and tables. */
  readonly name: string;
  readonly concurrency: number;
  /** Steady requests; by default REQUESTS, unless DURATION or `durationMs` bounds the level. */
  readonly requests?: number;
  /** Length of the steady part; by default DURATION. */
  readonly durationMs?: number;
  /** What precedes the steady part; by default WARMUP. */
  readonly warmup?: Warmup;
  readonly labels?: Labels;
  /** The level is a batch of this size whose requests are refilled. */
  readonly batchSize?: number;
  /** Length of its prompts in tokens; by default INPUT_TOKENS. */
  readonly inputTokens?: number | Distribution;
  /** Length of its answers in tokens; by default OUTPUT_TOKENS. */
  readonly outputTokens?: number;
  /** Levels of equal `repeats` send prompts of equal lengths, or the same rows of a file; by default each level has its own. */
  readonly repeats?: string;
  /** Levels of equal `repeats` and equal `words` send the very same prompts. */
  readonly words?: string;
}

/** What happens between two levels, when the last request of one has ended and none of the next was sent. */
export interface Between {
  /** For setup(): ends the run where this could not be done. */
  check(): void;
  run(): void;
}

/** Levels of the concurrencies that CONCURRENCY lists, one after the other: c1, c2, c4, ... */
export const levels: Shape = /* @__PURE__ */ levelsOf(["levels", "prompts", "generation"], ({ CONCURRENCY }) =>
  CONCURRENCY.map((concurrency) => ({ name: `c${concurrency}`, concurrency })),
);

/** What a test shows of its levels. Limits it has none of its own: a merge of several runners, which has only the records, would not judge them. */
export type Shows = (report: RunReport, config: Config) => Omit<OwnResults, "limits">;

/**
 * Levels of one's own, one after the other, made of the settings that `uses` names. `between` is done before each but the
 * first. What a level does not say follows from the settings.
 */
export function levelsOf(
  uses: readonly Use[],
  list: (config: Config) => readonly Level[],
  { shows = jsonFigures, between }: { shows?: Shows; between?: (config: Config) => Between } = {},
): Shape {
  return { uses, open: (config) => openLevels(config, list(config), between?.(config)), shows };
}

/** An API that answers JSON is measured as a request benchmark does. */
function jsonFigures({ levels: measured }: RunReport, { API: api }: Config): OwnResults {
  return api === "json" ? { text: measured.map(requestBenchmark().requestFigures).join("\n\n") } : {};
}

/** The lengths of the workload where they are the same for all requests. */
export function lengthLabels({ INPUT_TOKENS: input, OUTPUT_TOKENS: output }: Config): Labels {
  const labels: Record<string, number> = {};
  if (input.kind === "fixed") labels.inputTokens = input.value;
  if (output.kind === "fixed") labels.outputTokens = output.value;
  return labels;
}

/** Levels of constant concurrency with the prompts that each carries. */
export function openLevels(config: Config, list: readonly Level[], between?: Between): Load {
  const load = levelsInTurn(
    config,
    list.map((level) => specOf(config, level)),
    between,
  );
  const prompts = openPromptsOf(config, list);
  return { ...load, levels: list, each: (send) => load.each((slot) => send(slot, prompts(slot.level))) };
}

/** A load whose slots say nothing of what is sent. */
export interface PlainLoad extends Omit<Load, "each"> {
  each(send: (slot: Slot) => unknown): void;
}

/** Levels of constant concurrency that follow each other in one k6 scenario. */
export function levelsInTurn(config: Config, measured: readonly LevelSpec[], between?: Between): PlainLoad {
  const shape = new tokenclock.Levels(config.scenario, [...measured], between && (() => orAbort(() => between.run())));
  for (const { requests, concurrency = 1, warmupRequests = concurrency, warmupMs } of measured) {
    planRequests(requests !== undefined && !warmupMs ? requests + warmupRequests : undefined);
  }
  // RUNNERS divide them equally.
  const clients = Math.ceil(Math.max(...measured.map(({ concurrency }) => concurrency ?? 1)) / config.RUNNERS);
  const perVU = clientsPerVU(config.CLIENTS_PER_VU, clients);
  return {
    levels: measured,
    // Each VU goes through all levels in one iteration: k6 cannot start a level when another has ended, the module can.
    options: (gates) => loadOptions(config, gates, Math.ceil(clients / perVU), measured),
    check: between && (() => orAbort(() => between.check())),
    each: (send) => shape.each(perVU, send, abort),
    report: tokenclock.emitLevelMetrics,
  };
}

function specOf(
  config: Config,
  { name, concurrency, requests, durationMs, labels = {}, batchSize, warmup }: Level,
): LevelSpec {
  const time = durationMs ?? (requests === undefined ? config.DURATION : undefined);
  const bound = time === undefined ? { requests: requests ?? config.REQUESTS ?? concurrency } : { durationMs: time };
  const spec: LevelSpec = { name, concurrency, labels, ...bound, ...warmupOf(warmup ?? config.WARMUP, concurrency) };
  if (batchSize !== undefined) spec.batchSize = batchSize;
  return spec;
}

/** The prompts of each level by its name. */
function openPromptsOf(config: Config, list: readonly Level[]): (level: string) => PromptSource {
  const common = openPrompts(config);
  // Most loads have none, and the first Map costs a VU 8 kB.
  let own: Map<string, PromptSource> | undefined;
  for (const { name, inputTokens, outputTokens, repeats, words } of list) {
    if (inputTokens === undefined && outputTokens === undefined && repeats === undefined) continue;
    const lengths = typeof inputTokens === "number" ? ({ kind: "fixed", value: inputTokens } as const) : inputTokens;
    let source = lengths === undefined ? common : openPrompts(config, { inputTokens: lengths });
    if (repeats !== undefined) source = repeated(source, repeats, words);
    own ??= new Map();
    own.set(name, outputTokens === undefined ? source : answeredBy(source, outputTokens));
  }
  const passes = list.filter(({ repeats }) => repeats !== undefined && repeats === list[0]?.repeats).length;
  if (passes > 1) planPasses(passes);
  return (level) => own?.get(level) ?? common;
}

/** The warm-up of a level with this many slots. */
export function warmupOf(warmup: Warmup, slots: number): Pick<LevelSpec, "warmupRequests" | "warmupMs"> {
  if ("requests" in warmup) return { warmupRequests: warmup.requests };
  if ("durationMs" in warmup) return { warmupMs: warmup.durationMs };
  return { warmupRequests: slots };
}
