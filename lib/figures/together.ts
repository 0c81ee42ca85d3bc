/** All classes of a mix as one. Pure. */
import { type Freed, withFreed } from "./freed";
import type { LevelSummary } from "./level-summary";
import { sessionTables } from "./session-tables";
import { shortNumber } from "./table";

/** What a mix shows: all classes as one, and the tables of the classes that hold conversations. */
function classTables(total: LevelSummary, levels: readonly LevelSummary[]): string {
  return [togetherLine(total), sessionTables(levels)].filter(Boolean).join("\n\n");
}

/** The same, and what became of abandoned requests. */
export const classResults = (total: LevelSummary, levels: readonly LevelSummary[], freed: readonly Freed[]) =>
  withFreed(classTables(total, levels), freed);

/** What a run came to, whatever class a request was of, warm-up and drain included. */
export function togetherLine(total: LevelSummary): string {
  const { requests, failed, outputTokens, outputThroughput, requestThroughput } = total;
  const tokens = outputTokens > 0 ? `, ${shortNumber(outputThroughput)} tok/s` : "";
  return `all classes together: ${requests} requests, ${failed} failed${tokens}, ${shortNumber(requestThroughput)} req/s`;
}
