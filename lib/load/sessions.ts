import { abort } from "../abort";
import { sessionTables } from "../lazy";
import { type Config, demand, orRefuse } from "../settings/config";
import { SettingError } from "../settings/setting-error";
import { type ArrivalSpec, type LevelSpec, tokenclock } from "../wire/client";
import { awaitFreed, freedServers } from "../wire/freed";
import { planRequests } from "../workload/load-plan";
import { openConversations } from "./conversations";
import { levelsInTurn, type PlainLoad, warmupOf } from "./levels";
import { openStages } from "./open-stages";
import { clientsPerVU, loadOptions } from "./options";
import type { Shape } from "./shape";

/** Conversations: of a file, of a trace or of words, so many at once (CONCURRENCY) or as they arrive. */
export const conversations: Shape = {
  uses: ["sessions", "generation"],
  open(config) {
    const { beginsMs, hold } = openConversations(config);
    const load = openSessions(config, beginsMs);
    return {
      ...load,
      each: (_, routes) => {
        const { server, client } = routes();
        load.each((slot) => hold(slot, server, client));
      },
      settle: () => awaitFreed([config]),
    };
  },
  shows: ({ levels }) => sessionTables().sessionResults(levels, freedServers()),
};

/**
 * So many sessions open at once (CONCURRENCY), or arrivals of sessions: RATE, STAGES, PATTERN, RATE_FILE, or the begins of a TRACE,
 * `beginsMs`. A level of CONCURRENCY is bounded by SESSIONS, by their turns (REQUESTS) or by DURATION.
 */
export function openSessions(config: Config, beginsMs?: Float64Array): PlainLoad {
  const apis = ["chat", "responses", "messages"];
  demand(
    apis.includes(config.API),
    `API=${config.API} has no conversations; ${config.scenario} takes one of ${apis.join(", ")}`,
  );
  const { RATE: each, STAGES: stages, PATTERN: pattern, RATE_FILE: file } = config;
  if (beginsMs || each.length + stages.length > 0 || pattern || file !== "") return arrivingSessions(config, beginsMs);
  return levelsInTurn(
    config,
    config.CONCURRENCY.map((concurrency) => sessionLevel(config, `c${concurrency}`, concurrency)),
  );
}

function sessionLevel(config: Config, name: string, concurrency: number): LevelSpec {
  const { SESSIONS: sessions, REQUESTS: turns, DURATION: durationMs } = config;
  const bound =
    durationMs !== undefined ? { durationMs } : turns !== undefined ? { turns } : { requests: sessions ?? concurrency };
  return { name, concurrency, sessions: true, labels: {}, ...bound, ...warmupOf(config.WARMUP, concurrency) };
}

/** With MAX_IN_FLIGHT sessions open the next one begins late, and its lag is queue delay. */
function arrivingSessions(config: Config, beginsMs: Float64Array | undefined): PlainLoad {
  const { WARMUP: warmup } = config;
  const warm = "durationMs" in warmup ? warmup.durationMs > 0 : "perSlot" in warmup || warmup.requests > 0;
  if (beginsMs && warm) {
    orRefuse(() => {
      throw new SettingError("WARMUP is set, but a trace has no warm-up; leave it out");
    });
  }
  const stages = beginsMs ? [] : openStages(config);
  const spec: ArrivalSpec = {
    arrival: config.ARRIVAL.kind,
    seed: config.SEED,
    maxInFlight: config.MAX_IN_FLIGHT,
    sessions: true,
  };
  if (config.ARRIVAL.kind === "gamma") spec.cv = config.ARRIVAL.cv;
  if (beginsMs) Object.assign(spec, { traceMs: beginsMs, traceName: "trace" });
  else spec.stages = stages;
  const schedule = new tokenclock.Arrivals(config.scenario, spec);
  planRequests(schedule.count);
  const inFlight = Math.ceil(config.MAX_IN_FLIGHT / config.RUNNERS);
  const perVU = clientsPerVU(config.CLIENTS_PER_VU, inFlight);
  return {
    levels: beginsMs ? [{ name: "trace" }] : stages.filter(({ phase }) => phase !== "warmup"),
    options: (gates) =>
      loadOptions(
        config,
        gates,
        Math.ceil(inFlight / perVU),
        beginsMs ? [{ name: "trace", requests: beginsMs.length }] : stages,
      ),
    each: (send) => schedule.each(perVU, send, abort),
    report: tokenclock.emitLevelMetrics,
  };
}
