/** Reads the limits that a level has of its own from its labels. Pure. */
import { type LevelGate, sloLabels } from "./gate-labels";
import type { LevelSummary } from "./level-summary";
import { parseThreshold } from "./threshold";

export type { LevelGate } from "./gate-labels";

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
