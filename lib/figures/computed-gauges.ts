/** Metrics of a level that k6 gets as gauges and that follow from other values: its cost and energy. One definition for run, gate and merge. Pure. */
import { atOnce } from "./at-once";
import { costOf, type PriceSettings, pricesOf } from "./cost";
import type { LevelSummary, RunReport } from "./level-summary";
import type { MetricName } from "./metrics-table";

/** The value of each, undefined where it is not known: dollars of a level with its cost, J of one with the server's energy. */
export const computedGauges = {
  llm_cost_request: ({ cost }) => cost?.perRequest,
  llm_cost_output: ({ cost }) => cost?.perMillionOutputTokens,
  llm_cost_output_slo: ({ cost }) => cost?.perMillionGoodOutputTokens,
  llm_cost_good_request: ({ cost }) => cost?.perGoodRequest,
  llm_energy_output: ({ server }) => server?.joulesPerOutputToken,
} as const satisfies Partial<Record<MetricName, (level: LevelSummary) => number | undefined>>;

/** The known ones of a level, by name. */
export function gaugesOf(level: LevelSummary): Record<string, number> {
  const known: Record<string, number> = {};
  for (const [name, of] of Object.entries(computedGauges)) {
    const value = of(level);
    if (value !== undefined) known[name] = value;
  }
  return known;
}

/** The report with what each level's requests cost, and a line for each cost that is not known. */
export function withCosts(report: RunReport, config: PriceSettings): { report: RunReport; unknown: string[] } {
  const prices = pricesOf(config);
  if (!prices) return { report, unknown: [] };
  const unknown: string[] = [];
  const shared = prices.hour === undefined ? [] : atOnce(report.levels);
  const levels = report.levels.map((level) => {
    const cost = shared.includes(level)
      ? "PRICE_HOUR is the whole server's, which other levels loaded at the same time; set PRICE_INPUT and PRICE_OUTPUT"
      : costOf(level, prices);
    if (typeof cost !== "string") return { ...level, cost };
    unknown.push(`the cost of ${level.name} is not known: ${cost}`);
    return level;
  });
  return { report: { ...report, levels }, unknown };
}
