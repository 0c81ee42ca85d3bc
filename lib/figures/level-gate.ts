/** Limits that a level has of its own, as its labels carry them: into the summary, the records and every judge. Pure. */
import type { LevelSummary, SloMs } from "./level-summary";
import { parseThreshold } from "./threshold";

/** What one level must keep beside the run's profile, and in the place of the run's SLOs. */
export interface LevelGate {
  readonly sloMs: SloMs;
  /** In k6's threshold language, by metric. */
  readonly limits: Readonly<Record<string, readonly string[]>>;
}

const sloLabels = { ttft: "sloTtftMs", tpot: "sloTpotMs", e2e: "sloE2eMs" } as const;

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

/** The gate that a level's labels hold; undefined where it has none of its own. */
export function gateOf(labels: LevelSummary["labels"] | undefined): LevelGate | undefined {
  if (labels?.ownGate === undefined) return undefined;
  const sloMs: Record<string, number> = {};
  for (const [name, label] of Object.entries(sloLabels)) {
    if (labels[label] !== undefined) sloMs[name] = Number(labels[label]);
  }
  const limits: Record<string, string[]> = {};
  for (const text of String(labels.limits ?? "").split("; ")) {
    const [metric = "", expression = ""] = text.split(" ");
    if (metric === "") continue;
    parseThreshold(metric, expression);
    limits[metric] = [...(limits[metric] ?? []), expression];
  }
  return { sloMs, limits };
}
