import { betweenTokens, isMetricName, needsStream } from "../figures/metrics-table";
import type { Profile } from "../figures/profile";
import { pooledPercentile, samplesNeeded } from "../figures/threshold";
import { repliesWhole } from "../settings/apis";
import { SettingError } from "../settings/setting-error";
import type { Settings } from "../settings/settings";

/**
 * Refuses a gate on a figure that no request of these settings can have: it would fail whatever the server does.
 * @throws SettingError that names the limit and the setting that rules the figure out.
 */
export function requireMeasurable(config: Settings, thresholds: Readonly<Record<string, readonly string[]>>): void {
  const whole = repliesWhole(config.API) ? `API=${config.API}` : "";
  const unstreamed = whole || (config.STREAM ? "" : "STREAM=false");
  const oneToken = oneTokenBy(config);
  for (const key of Object.keys(thresholds)) {
    const name = key.replace(/\{.*/, "");
    if (!isMetricName(name)) continue;
    const by = (needsStream(name) && unstreamed) || (betweenTokens(name) && oneToken);
    if (by) throw new SettingError(`${limitBy(name, config)} limits ${name}, and with ${by} no request has one`);
  }
}

/** The setting that gives every output one token; "" where some may be longer. */
function oneTokenBy({ MAX_OUTPUT_TOKENS, OUTPUT_TOKENS, DATASET, TRACE }: Settings): string {
  if (MAX_OUTPUT_TOKENS === 1) return "MAX_OUTPUT_TOKENS=1";
  const own = DATASET === "" && TRACE === "";
  return own && OUTPUT_TOKENS.kind === "fixed" && OUTPUT_TOKENS.value === 1 ? "OUTPUT_TOKENS=1" : "";
}

function limitBy(metric: string, { SLO_TTFT, SLO_TPOT, THRESHOLDS }: Settings): string {
  if (metric === "llm_ttft" && SLO_TTFT !== undefined) return `SLO_TTFT=${SLO_TTFT}`;
  if (metric === "llm_tpot" && SLO_TPOT !== undefined) return `SLO_TPOT=${SLO_TPOT}`;
  return `THRESHOLDS=${THRESHOLDS}`;
}

/** The confidence with which `npm run gate` judges by default. */
const gateConfidence = 0.99;

/** A level as far as it says how many steady requests it will have: their number, or a rate and a time. */
export interface PlannedLevel {
  readonly name: string;
  readonly requests?: number;
  readonly fromRate?: number;
  readonly toRate?: number;
  readonly durationMs?: number;
  readonly phase?: string;
}

/** The steady requests of each level by name; of a random schedule about as many. Levels that do not say it are left out. */
function plannedRequests(levels: readonly PlannedLevel[]): Record<string, number> {
  const planned: Record<string, number> = {};
  for (const { name, requests, fromRate, toRate, durationMs, phase = "steady" } of levels) {
    if (phase !== "steady") continue;
    if (requests !== undefined) planned[name] = requests;
    else if (fromRate !== undefined && toRate !== undefined && durationMs !== undefined)
      planned[name] = Math.round(((fromRate + toRate) / 2) * (durationMs / 1000));
  }
  return planned;
}

/** A line where a level will have too few requests for its gate to pass whatever the server does; "" where none has. */
export function unreachableLine(
  { THRESHOLDS, REQUESTS }: Settings,
  thresholds: Readonly<Record<string, readonly string[]>>,
  profile: Profile | undefined,
  levels: readonly PlannedLevel[],
): string {
  const planned = plannedRequests(levels);
  let worst = { level: "", need: 0, what: "" };
  const consider = (level: string, need: number, what: string) => {
    if (need > (planned[level] ?? Number.POSITIVE_INFINITY) && need > worst.need) worst = { level, need, what };
  };
  for (const [key, expressions] of Object.entries(thresholds)) {
    const [, metric = "", level = ""] = /^(\w+)\{level:([^,}]+)/.exec(key) ?? [];
    // The samples of a pooled metric are tokens, and nobody knows yet how many there will be.
    if (!isMetricName(metric) || pooledPercentile(metric) !== undefined) continue;
    for (const expression of expressions) {
      consider(level, samplesNeeded(expression, gateConfidence), `${metric} ${expression}`);
    }
  }
  if (profile && profile.maxFailureShare > 0 && profile.maxFailureShare < 1) {
    const gated = Object.keys(thresholds).flatMap((key) => /^llm_requests\{level:([^,}]+)/.exec(key)?.[1] ?? []);
    for (const level of gated) {
      const needed = samplesNeeded(`rate<=${profile.maxFailureShare}`, gateConfidence);
      consider(level, needed, `a failure share of ${profile.maxFailureShare}`);
    }
  }
  if (worst.need === 0) return "";
  const subject = REQUESTS === undefined ? `level ${worst.level}` : `REQUESTS=${REQUESTS}, level ${worst.level}`;
  return (
    `${subject} has ${planned[worst.level]} requests: too few for \`npm run gate\` to pass THRESHOLDS=${THRESHOLDS} with ` +
    `${gateConfidence * 100} % confidence, whatever the server does; ${worst.what} needs ${worst.need}`
  );
}

/** k6 keeps only the percentiles that the options name; a verdict must name the value of each that a threshold judges. */
export function trendStats(thresholds: Readonly<Record<string, readonly string[]>>): string[] {
  const stats = ["count", "avg", "min", "med", "p(90)", "p(95)", "p(99)", "p(99.9)", "max"];
  for (const expression of Object.values(thresholds).flat()) {
    const [percentile] = /^p\([\d.]+\)/.exec(expression) ?? [];
    if (percentile) stats.push(percentile);
  }
  return [...new Set(stats)];
}
