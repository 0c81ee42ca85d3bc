import type { Options } from "k6/options";
import type { Gates } from "../figures/profile";
import { type Config, demand, orRefuse } from "../settings/config";
import { SettingError } from "../settings/setting-error";
import { type ArrivalSpec, Arrivals, emitLevelMetrics, type LevelSpec, type Slot } from "../wire/client";
import { clientsPerVU, levelsInTurn, loadOptions, warmupOf } from "./levels";
import { abort } from "./load-guard";
import { planRequests } from "./load-plan";
import { stagesOf } from "./stages";

/** A load whose unit is the conversation: each slot is a session. */
export interface SessionLoad {
  readonly specs: readonly { readonly name: string }[];
  options(gates: () => Gates): Options | undefined;
  /** Has `hold` hold each session; it ends with the promise that `hold` returns. */
  each(hold: (slot: Slot) => Promise<void>): void;
  report(): void;
}

/**
 * So many sessions open at once (CONCURRENCY), or arrivals of sessions: RATE, STAGES, or the begins of a TRACE, `beginsMs`. A level
 * of CONCURRENCY is bounded by SESSIONS, by their turns (REQUESTS) or by DURATION.
 */
export function openSessions(config: Config, beginsMs?: readonly number[]): SessionLoad {
  const apis = ["chat", "responses", "messages"];
  demand(
    apis.includes(config.API),
    `API=${config.API} has no conversations; ${config.scenario} takes one of ${apis.join(", ")}`,
  );
  if (beginsMs || config.RATE.length > 0 || config.STAGES.length > 0) return arrivingSessions(config, beginsMs);
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
function arrivingSessions(config: Config, beginsMs: readonly number[] | undefined): SessionLoad {
  const { WARMUP: warmup } = config;
  const warm = "durationMs" in warmup ? warmup.durationMs > 0 : "perSlot" in warmup || warmup.requests > 0;
  if (beginsMs && warm) {
    orRefuse(() => {
      throw new SettingError("WARMUP is set, but a trace has no warm-up; leave it out");
    });
  }
  const stages = beginsMs ? [] : orRefuse(() => stagesOf(config));
  const spec: ArrivalSpec = {
    arrival: config.ARRIVAL.kind,
    seed: config.SEED,
    maxInFlight: config.MAX_IN_FLIGHT,
    sessions: true,
  };
  if (config.ARRIVAL.kind === "gamma") spec.cv = config.ARRIVAL.cv;
  if (beginsMs) Object.assign(spec, { traceMs: [...beginsMs], traceName: "trace" });
  else spec.stages = stages;
  const schedule = new Arrivals(config.scenario, spec);
  planRequests(schedule.count);
  const perVU = clientsPerVU(config.CLIENTS_PER_VU, config.MAX_IN_FLIGHT);
  return {
    specs: beginsMs ? [{ name: "trace" }] : stages.filter(({ phase }) => phase !== "warmup"),
    options: (gates) =>
      loadOptions(
        config,
        gates,
        Math.ceil(config.MAX_IN_FLIGHT / perVU),
        beginsMs ? [{ name: "trace", requests: beginsMs.length }] : stages,
      ),
    each: (hold) => schedule.each(perVU, hold, abort),
    report: emitLevelMetrics,
  };
}
