import { abort } from "../abort";
import { gateLabels } from "../figures/gate-labels";
import { afterLoad } from "../lazy";
import { type Config, demand, readMix } from "../settings/config";
import type { MixClass } from "../settings/parse-config";
import { Arrivals, emitLevelMetrics, Levels, type Slot } from "../wire/client";
import { openClient, type Server } from "../wire/llm-client";
import { planRequests } from "../workload/load-plan";
import { openPrompts } from "../workload/prompts";
import { openConversations } from "./conversations";
import { warmupOf } from "./levels";
import { clientsPerVU, loadOptions } from "./options";
import type { Load, Shape } from "./shape";

/** Classes of load that run at once, each of which is a level with limits of its own: those of the file MIX. */
export const mix: Shape = {
  // No spread: a bundle could not leave out what it does not use.
  uses: [
    "MIX",
    "RATE",
    "DURATION",
    "ARRIVAL",
    "MAX_IN_FLIGHT",
    "CLIENTS_PER_VU",
    "INPUT_TOKENS",
    "SHARED_PREFIX",
    "PREFIX_GROUPS",
    "PREFIX_POPULARITY",
    "generation",
  ],
  open(config) {
    const classes = readMix(config);
    const load = openMix(config, classes);
    const parts = classes.map(({ sessions, config: own }) => {
      const client = openClient(own);
      const modelOf = (server: Server): Server => (own.MODEL === "" ? server : { ...server, model: own.MODEL });
      if (sessions) {
        const { hold } = openConversations(own);
        return (slot: Slot, server: Server) => hold(slot, modelOf(server), client);
      }
      const prompts = openPrompts(own);
      return (slot: Slot, server: Server) =>
        client.request(modelOf(server), prompts.next(slot, server.tokensPerWord), slot);
    });
    return { ...load, each: (_, server) => load.each((slot, part) => parts[part]?.(slot, server)) };
  },
  shows: ({ levels, total }) => {
    const { sessionTables, togetherLine } = afterLoad();
    return { text: [togetherLine(total), sessionTables(levels)].filter(Boolean).join("\n\n") };
  },
};

/** The loads of all classes; `send` is given the number of the class. */
interface MixLoad extends Omit<Load, "each"> {
  each(send: (slot: Slot, part: number) => unknown): void;
}

/** Each class of the mix for DURATION: arrivals at its rate, or so many clients. Sessions may last longer. */
function openMix(config: Config, classes: readonly MixClass[]): MixLoad {
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
    levels: specs,
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
