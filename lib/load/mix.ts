import { abort } from "../abort";
import { gateLabels } from "../figures/gate-labels";
import { mixReader, together } from "../lazy";
import { type Config, demand, orRefuse, readMix } from "../settings/config";
import type { ClassSpec, MixClass } from "../settings/parse-config";
import { type Slot, tokenclock } from "../wire/client";
import { awaitFreed, freedServers } from "../wire/freed";
import { openClient } from "../wire/llm-client";
import { planRequests } from "../workload/load-plan";
import { openPrompts } from "../workload/prompts";
import { openConversations } from "./conversations";
import { warmupOf } from "./levels";
import type { PlannedLevel } from "./measurable";
import { openStages } from "./open-stages";
import { clientsPerVU, loadOptions } from "./options";
import type { Load, Route, Routes, Send, Shape } from "./shape";
import { type User, userOf } from "./users";

/** Classes of load that run at once, each of which is a level with limits of its own: those of the file MIX. */
export const mix: Shape = {
  uses: ["MIX", "classes", "generation"],
  classes: readMix,
  open: (config) => openClasses(config, readMix(config)),
  shows: ({ levels, total }) => together().classResults(total, levels, freedServers()),
};

/** A class as a script gives it. */
export interface TestClass extends ClassSpec {
  /** What each of its users does, in the place of single requests. Its `rate` and `concurrency` count users. */
  readonly users?: (user: User) => Promise<void>;
}

/**
 * Classes of load that run at once for DURATION, by name. Each is a level with its own lengths, SLOs and thresholds, and with
 * `server` on a server of its own. A request's `slot.level` is the name of its class.
 */
export function classes(of: Readonly<Record<string, TestClass>>): Shape {
  const lives = new Map<string, TestClass["users"]>();
  const specs: Record<string, ClassSpec> = {};
  for (const [name, { users, ...spec }] of Object.entries(of)) {
    specs[name] = spec;
    if (users) lives.set(name, users);
  }
  const parsed = (config: Config) =>
    orRefuse(() => tokenclock.shared("classes", () => mixReader().parseClasses(specs, [...lives.keys()], config)));
  return {
    uses: ["classes", "generation"],
    defaults: { DURATION: 30_000, RATE: [], WARMUP: { requests: 0 } },
    classes: parsed,
    open: (config) => openClasses(config, parsed(config), (name) => lives.get(name)),
    shows: mix.shows,
  };
}

/** The load of all classes. `live` has what the users of a class do, where the script says it. */
function openClasses(
  config: Config,
  list: readonly MixClass[],
  live: (name: string) => TestClass["users"] = () => undefined,
): Load {
  const load = openMix(config, list);
  const parts = list.map(({ name, sessions, config: own }) => {
    const client = openClient(own);
    const routeOf = (routes: Routes): Route => {
      const { server } = routes();
      const at = server.parts?.[name] ?? server;
      return { config: own, client, server: own.MODEL === "" ? at : { ...at, model: own.MODEL } };
    };
    return { name, own, client, carry: carrierOf(own, routeOf, sessions, live(name)) };
  });
  return {
    ...load,
    ready() {
      const apart = parts.filter(({ own }) => own.BASE_URL !== config.BASE_URL);
      return Object.fromEntries(apart.map(({ name, client }) => [name, client.ready()]));
    },
    each: (send, routes) => load.each((slot, part) => parts[part]?.carry(slot, send, routes)),
    settle: () => awaitFreed(list.map((each) => each.config)),
  };
}

/** What carries a slot of a class: its users, a conversation, or one request. */
function carrierOf(
  own: Config,
  routeOf: (routes: Routes) => Route,
  sessions: boolean,
  users: TestClass["users"],
): (slot: Slot, send: Send, routes: Routes) => unknown {
  if (users) {
    return (slot, _, routes) => {
      const route = routeOf(routes);
      return users(userOf(slot, (named) => (named === undefined ? route : routes(named))));
    };
  }
  if (sessions) {
    const { hold } = openConversations(own);
    return (slot, _, routes) => {
      const { server, client } = routeOf(routes);
      return hold(slot, server, client);
    };
  }
  const prompts = openPrompts(own);
  return (slot, send, routes) => send(slot, prompts, undefined, routeOf(routes));
}

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
  /** When requests of a class arrive: at its rate, or by its rate over time, which may end before the others do. */
  const stagesOf = ({ name, rate, config: own }: MixClass) => {
    if (rate !== undefined) {
      const of = { name, fromRate: rate, toRate: rate };
      const warm = warmupMs > 0 ? [{ ...of, durationMs: warmupMs, phase: "warmup" as const }] : [];
      return [...warm, { ...of, durationMs }];
    }
    const stages = openStages({ ...own, RATE: [], STAGES: [], DURATION: durationMs, WARMUP: warmup });
    const lastsMs = stages.at(-1)?.durationMs ?? 0;
    demand(
      lastsMs <= durationMs,
      `MIX: class ${name}: rateFile lasts ${lastsMs / 1000} s, and the mix DURATION=${durationMs / 1000}s`,
    );
    return stages;
  };
  let vus = 1;
  const planned: PlannedLevel[] = [];
  const loads = classes.map((each, k) => {
    const { name, concurrency, sessions, config: own } = each;
    const labels = specs[k]?.labels ?? {};
    planRequests(undefined);
    const most = concurrency ?? config.MAX_IN_FLIGHT;
    const perVU = clientsPerVU(config.CLIENTS_PER_VU, most);
    vus = Math.max(vus, Math.ceil(most / perVU));
    if (concurrency !== undefined) {
      const warm = warmupMs > 0 ? warmupOf(warmup, concurrency) : { warmupRequests: 0 };
      const levels = new tokenclock.Levels(`${config.scenario} ${name}`, [
        { name, concurrency, labels, sessions, durationMs, ...warm },
      ]);
      planned.push({ name });
      return { load: levels, perVU };
    }
    const stages = stagesOf(each).map((stage) => ({ ...stage, name, labels }));
    planned.push(...stages);
    const arrivals = new tokenclock.Arrivals(`${config.scenario} ${name}`, {
      arrival: own.ARRIVAL.kind,
      ...(own.ARRIVAL.kind === "gamma" ? { cv: own.ARRIVAL.cv } : {}),
      // Each class has a schedule of its own: what one of them has moves no other's.
      seed: (config.SEED + k) % 2 ** 31,
      maxInFlight: config.MAX_IN_FLIGHT,
      sessions,
      stages,
    });
    return { load: arrivals, perVU };
  });
  return {
    levels: specs,
    options: (gates) => loadOptions(config, gates, vus, planned),
    each: (send) => {
      for (const [part, { load, perVU }] of loads.entries()) load.each(perVU, (slot) => send(slot, part), abort);
    },
    report: tokenclock.emitLevelMetrics,
  };
}
