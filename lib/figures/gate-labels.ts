/** Limits that a level has of its own, as its labels carry them: into the summary, the records and every judge. Pure. */
import type { SloMs } from "./level-summary";

/** What one level must keep beside the run's profile, and in the place of the run's SLOs. */
export interface LevelGate {
  readonly sloMs: SloMs;
  /** In k6's threshold language, by metric. */
  readonly limits: Readonly<Record<string, readonly string[]>>;
}

/** The labels of SLOs. */
export const sloLabels = { ttft: "sloTtftMs", tpot: "sloTpotMs", e2e: "sloE2eMs" } as const;

/** The labels of a gate. */
export function gateLabels({ sloMs, limits }: LevelGate): Record<string, string | number> {
  const labels: Record<string, string | number> = { ownGate: 1 };
  for (const [name, label] of Object.entries(sloLabels)) {
    const limit = sloMs[name as keyof SloMs];
    if (limit !== undefined) labels[label] = limit;
  }
  const texts = Object.entries(limits).flatMap(([metric, each]) => each.map((expression) => `${metric} ${expression}`));
  if (texts.length > 0) labels.limits = texts.join("; ");
  return labels;
}
