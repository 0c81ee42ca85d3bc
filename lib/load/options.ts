/** k6's options of a load: one k6 scenario, with the thresholds that judge it. */
import type { Options, Scenario } from "k6/options";
import type { Gates } from "../figures/profile";
import { beforeLoad } from "../lazy";
import { type Config, orRefuse } from "../settings/config";
import { formatDurationMs } from "../settings/duration";
import { adaptOptions } from "../wire/client";
import { rememberLoad } from "./load-guard";
import type { PlannedLevel } from "./measurable";

/**
 * How many clients each VU carries. A VU costs 0.4 MB and 1.5 ms of CPU. Its JavaScript runs on one core and takes 0.1 ms a
 * request, so that four VUs send up to 40,000 requests a second; with 1 to 16 VUs a load costs the same (docs/performance.md).
 */
export function clientsPerVU(setting: number | "auto", clients: number): number {
  return setting === "auto" ? Math.ceil(clients / fewVUs) : Math.min(setting, clients);
}

const fewVUs = 4;

/** Options of a load that lasts one iteration of each VU. */
export function loadOptions(
  config: Config,
  gates: () => Gates,
  vus: number,
  planned: readonly PlannedLevel[] = [],
): Options | undefined {
  const scenario: Scenario = {
    executor: "per-vu-iterations",
    vus: vus * config.RUNNERS,
    iterations: 1,
    maxDuration: formatDurationMs(config.MAX_DURATION),
    // k6 would let requests end for 30 s more, and count them as if they had been in time.
    gracefulStop: "0s",
  };
  return k6Options(config, gates, scenario, planned);
}

/** Options of one k6 scenario. Only for the first runtime: k6 reads no other's, but fills in those it finds. */
export function k6Options(
  config: Config,
  gates: () => Gates,
  scenario: Scenario,
  planned: readonly PlannedLevel[] = [],
): Options | undefined {
  if (__VU !== 0) return undefined;
  let options: Options | undefined;
  // Here in each runtime of number 0: with xk6-sse handleSummary could not make them.
  const { thresholds: all, profile } = gates();
  rememberLoad(() => {
    const { requireMeasurable, trendStats, unreachableLine } = beforeLoad();
    orRefuse(() => requireMeasurable(config, all));
    const line = unreachableLine(config, all, profile, planned);
    if (line !== "") console.warn(`tokenclock: ${line}`);
    // A runner without a client in a level would fail there. What all runners measured together is judged by the merge.
    const thresholds = config.RUNNERS > 1 || config.COORDINATOR !== "" ? {} : all;
    options = adaptOptions({
      thresholds,
      summaryTrendStats: trendStats(thresholds) as Options["summaryTrendStats"],
      scenarios: { [config.scenario.replaceAll("-", "_")]: scenario },
      // What Grafana Cloud k6 shows of the run; K6_CLOUD_NAME and K6_CLOUD_PROJECT_ID count for more.
      cloud: { name: config.scenario, ...(config.DESCRIPTION === "" ? {} : { note: config.DESCRIPTION }) },
    });
    return options;
  });
  return options;
}
