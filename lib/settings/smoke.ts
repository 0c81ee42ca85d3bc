/** The smoke run: the same test with one request a level, of which only a failure fails. Pure. */
import type { Config } from "./parse-config";
import { SettingError } from "./setting-error";

/**
 * The settings of the smoke run of a configured one. Its levels are those of the run, each with one request and without a
 * warm-up; of a burst, a batch or a schedule of arrivals the first request is left. No latency is judged.
 * @throws SettingError for a load that has no single request.
 */
export function smoked(config: Config): Config {
  if (config.LOOP === "closed" && config.used.includes("LOOP")) {
    throw new SettingError("SMOKE=true sends one request a level, and LOOP=closed has no levels; leave LOOP out");
  }
  for (const [setting, what] of [
    ["SEARCH_START", "the probes of a search need many requests"],
    ["MIX", "the classes of a mix have no single request"],
  ] as const) {
    if (!config.used.includes(setting)) continue;
    throw new SettingError(
      `SMOKE=true: ${what}; try the server with concurrency-sweep, and ${config.scenario} with a short run`,
    );
  }
  const isOpen = config.used.includes("RATE") && (config.RATE.length > 0 || config.STAGES.length > 0);
  return {
    ...config,
    ...{ REQUESTS: 1, SESSIONS: undefined, DURATION: undefined, WARMUP: { requests: 0 } },
    ...{ BATCH_SIZES: [1], RUNS: 1, TRACE_WINDOW: { of: "rows", from: 1, to: 1 } },
    // One request at once, for one second.
    ...(isOpen && {
      RATE: [1],
      STAGES: [],
      PATTERN: undefined,
      RATE_FILE: "",
      DURATION: 1000,
      ARRIVAL: { kind: "constant" },
    }),
    profile: "smoke",
    sloMs: {},
    ...{ SLO_TTFT: undefined, SLO_TPOT: undefined, SLO_E2E: undefined },
  };
}
