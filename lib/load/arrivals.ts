import { abort } from "../abort";
import type { OwnResults, RunReport } from "../figures/level-summary";
import { ramp } from "../lazy";
import { type Config, demand, orRefuse, shownSettings } from "../settings/config";
import { formatDurationMs } from "../settings/duration";
import { SettingError } from "../settings/setting-error";
import { type ArrivalSpec, tokenclock } from "../wire/client";
import { openTrace } from "../workload/file-rows";
import { planRequests } from "../workload/load-plan";
import { openPrompts, type PromptSource, tracePrompts } from "../workload/prompts";
import type { PlannedLevel } from "./measurable";
import { openStages } from "./open-stages";
import { clientsPerVU, k6Options, loadOptions } from "./options";
import type { GatedLevel, Load, Shape } from "./shape";

/** The load of RATE, STAGES, PATTERN, RATE_FILE or TRACE: arrivals a second, or with LOOP=closed a changing number of users. */
export const arrivals: Shape = {
  uses: ["arrivals", "prompts", "generation"],
  open(config) {
    if (config.LOOP === "closed") return changingUsers(config);
    return config.TRACE === "" ? scheduled(config) : replayed(config);
  },
  // With xk6-sse there are no seconds, and nothing is known of when what happened.
  shows: showSeconds,
};

/** The requests of TRACE at their times. */
export const traceReplay: Shape = {
  uses: ["trace", "generation"],
  open(config) {
    demand(config.TRACE !== "", `${config.scenario} needs TRACE, the file of requests with their times`);
    return replayed(config);
  },
  shows: showSeconds,
};

function showSeconds({ seconds }: RunReport, { LOOP: loop }: Config): OwnResults {
  if (seconds.length === 0) return {};
  return { text: ramp().rampLines(seconds, loop), files: { "seconds.csv": ramp().secondsCsv(seconds) } };
}

/** The requests of TRACE at their times. */
function replayed(config: Config): Load {
  const trace = openTrace(config);
  refuseWarmup(config, "a trace");
  // The module reads the schedule of the first VU, which has read the file.
  const spec = { traceName: "trace", ...(trace.timesMs && { traceMs: trace.timesMs }) };
  return onSchedule(config, spec, [{ name: "trace" }], [{ name: "trace", requests: trace.length }], () =>
    tracePrompts(config, trace),
  );
}

/** The arrivals of RATE, STAGES, PATTERN or RATE_FILE. */
export function scheduled(config: Config): Load {
  const stages = openStages(config);
  const measured = stages.filter(({ phase }) => phase !== "warmup");
  return onSchedule(config, { stages }, measured, stages, () => openPrompts(config));
}

/**
 * Arrivals on a schedule that all VUs share. With MAX_IN_FLIGHT requests in flight the next request is sent late, and its
 * lag is queue delay.
 */
function onSchedule(
  config: Config,
  times: Pick<ArrivalSpec, "stages" | "traceMs" | "traceName">,
  levels: readonly GatedLevel[],
  planned: readonly PlannedLevel[],
  open: () => PromptSource,
): Load {
  const spec: ArrivalSpec = {
    arrival: config.ARRIVAL.kind,
    seed: config.SEED,
    maxInFlight: config.MAX_IN_FLIGHT,
    ...times,
  };
  if (config.ARRIVAL.kind === "gamma") spec.cv = config.ARRIVAL.cv;
  const schedule = new tokenclock.Arrivals(config.scenario, spec);
  if (times.stages) planRequests(schedule.count);
  const inFlight = Math.ceil(config.MAX_IN_FLIGHT / config.RUNNERS);
  const perVU = clientsPerVU(config.CLIENTS_PER_VU, inFlight);
  const prompts = open();
  return {
    levels,
    options: (gates) => loadOptions(config, gates, Math.ceil(inFlight / perVU), planned),
    each: (send) => schedule.each(perVU, (slot) => send(slot, prompts), abort),
    report: tokenclock.emitLevelMetrics,
  };
}

/** Ends the run where WARMUP is set for a load that has none: no setting is silently ignored. */
function refuseWarmup(config: Config, load: string): void {
  const { WARMUP: warmup } = config;
  if ("perSlot" in warmup || ("requests" in warmup ? warmup.requests : warmup.durationMs) === 0) return;
  orRefuse(() => {
    throw new SettingError(`WARMUP=${shownSettings(config).WARMUP}: ${load} has no warm-up`);
  });
}

/** Users that send one request after the other; their number follows STAGES. One window spans the whole ramp. */
function changingUsers(config: Config): Load {
  if (config.STAGES.length === 0) {
    orRefuse(() => {
      throw new SettingError("LOOP=closed needs STAGES, the number of users over time");
    });
  }
  refuseWarmup(config, "LOOP=closed");
  demand(
    config.CLIENTS_PER_VU === "auto" || config.CLIENTS_PER_VU === 1,
    `CLIENTS_PER_VU=${config.CLIENTS_PER_VU}: with LOOP=closed each user is a VU, whose number k6 changes; leave it out`,
  );
  const lengthMs = config.STAGES.reduce((sum, { durationMs }) => sum + durationMs, 0);
  demand(
    lengthMs <= config.MAX_DURATION,
    `MAX_DURATION=${formatDurationMs(config.MAX_DURATION)} is shorter than STAGES, ${formatDurationMs(lengthMs)}`,
  );
  const maxInFlight = Math.max(...config.STAGES.map(({ target }) => Math.round(target)));
  const windows = new tokenclock.Windows(config.scenario, [{ name: "ramp", maxInFlight }]);
  planRequests(undefined);
  const prompts = openPrompts(config);
  return {
    levels: [{ name: "ramp" }],
    options: (gates) =>
      k6Options(config, gates, {
        executor: "ramping-vus",
        stages: config.STAGES.map(({ durationMs, target }) => ({
          duration: formatDurationMs(durationMs),
          target: Math.round(target),
        })),
        gracefulRampDown: formatDurationMs(config.TIMEOUT),
        gracefulStop: formatDurationMs(config.TIMEOUT),
      }),
    each(send) {
      try {
        send(windows.begin("ramp"), prompts);
      } catch (error) {
        abort(error);
      }
    },
    report(computed) {
      windows.end("ramp");
      tokenclock.emitLevelMetrics(computed);
    },
  };
}
