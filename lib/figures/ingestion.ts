/** How fast a server reads prompts: a line through the TTFT of prompts of several lengths, and when its slope is a speed. Pure. */
import type { LevelSummary } from "./level-summary";
import { fitLine, type Line } from "./line";
import { shortNumber } from "./table";

/** The least r2 of a line whose slope is a speed. */
const leastR2 = 0.9;

/** The line through [mean input tokens, median TTFT in ms] of the levels that completed a request; undefined for one length. */
export function ingestionLine(levels: readonly LevelSummary[]): Line | undefined {
  const measured = levels.filter(({ completed, ttftMs }) => completed > 0 && ttftMs.count > 0);
  return fitLine(measured.map((level) => [level.inputTokens / level.completed, level.ttftMs.p50]));
}

/**
 * Why a line gives no ingestion speed; undefined where it does, 1000 / slope tokens/s. A line that begins below 0 ms says that
 * a prompt of no token is answered before it is sent: the TTFT of short prompts came from elsewhere, such as a prefix cache.
 */
export function noIngestionSpeed({
  slope,
  intercept,
  r2,
}: Pick<Line, "slope" | "intercept" | "r2">): string | undefined {
  if (!(slope > 0)) return "TTFT does not grow with the prompt's length: no ingestion speed";
  if (intercept < 0) return `the fitted line begins at ${shortNumber(intercept)} ms, below 0: no ingestion speed`;
  if (r2 < leastR2) {
    return `the fitted line explains ${shortNumber(r2 * 100)} % of the differences in TTFT, less than ${leastR2 * 100} %: no ingestion speed`;
  }
  return undefined;
}

/** The ingestion speed of a line, tokens/s; undefined where its slope is none. */
export function ingestionSpeed(line: Line | undefined): number | undefined {
  return line && noIngestionSpeed(line) === undefined ? 1000 / line.slope : undefined;
}

/** The ingestion speed and its line, in a line of text. */
export function ingestionText(levels: readonly LevelSummary[]): string {
  const line = ingestionLine(levels);
  if (!line) return "there are not two prompt lengths with a completed request: no ingestion speed";
  const speed = ingestionSpeed(line);
  if (speed === undefined) return noIngestionSpeed(line) ?? "";
  return `ingestion ${shortNumber(speed)} tokens/s; TTFT = ${shortNumber(line.intercept)} ms + ${shortNumber(line.slope)} ms a token`;
}
