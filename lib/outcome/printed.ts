/** What a test prints of its levels beside the common table; for `shows`. */
import type { LevelSummary } from "../figures/level-summary";
import { ingestion, phaseSplit } from "../lazy";

/** The speed at which the server reads prompts: a line through the TTFT of levels of several input lengths. */
export function ingestionText(levels: readonly LevelSummary[]): string | undefined {
  return ingestion().ingestionText(levels);
}

/** What prefill and decode took, of the levels `full` and `prefill`. */
export function phaseFigures(levels: readonly LevelSummary[]): string | undefined {
  return phaseSplit().phaseFigures(levels);
}
