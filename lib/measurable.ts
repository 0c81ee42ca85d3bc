import { betweenTokens, isMetricName, needsStream } from "./metrics-table";
import { SettingError } from "./setting-error";
import type { Settings } from "./settings";

/**
 * Refuses a gate on a figure that no request of these settings can have: it would fail whatever the server does.
 * @throws SettingError that names the limit and the setting that rules the figure out.
 */
export function requireMeasurable(config: Settings, thresholds: Readonly<Record<string, readonly string[]>>): void {
  const whole = config.API === "embeddings" || config.API === "json" ? `API=${config.API}` : "";
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
