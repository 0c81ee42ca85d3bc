/** How fast a server reads prompts: a line through the TTFT of prompts of several lengths. Pure. */
import type { LevelSummary } from "./level-summary";
import { fitLine, type Line } from "./line";
import { shortNumber } from "./table";

/** Below this share of the variance explained, a line is no statement on the server. */
export const leastR2 = 0.9;

/** The line through [mean input tokens, median TTFT in ms] of the levels that completed a request. */
export function ingestionLine(levels: readonly LevelSummary[]): Line | undefined {
  const measured = levels.filter(({ completed, ttftMs }) => completed > 0 && ttftMs.count > 0);
  return fitLine(measured.map((level) => [level.inputTokens / level.completed, level.ttftMs.p50]));
}

/** Why a line gives no ingestion speed; "" where it gives one. */
export function noIngestionSpeed(line: Line | undefined): string {
  if (!line) return "there are not two prompt lengths with a completed request";
  if (!(line.slope > 0))
    return "TTFT does not grow with the prompt: the prompts are too short, or the server knew their prefixes";
  if (line.intercept < 0)
    return `the line would begin below zero, at ${shortNumber(line.intercept)} ms: TTFT does not grow evenly with the prompt`;
  if (line.r2 < leastR2)
    return `the line explains ${shortNumber(100 * line.r2)} % of the differences of TTFT, less than ${100 * leastR2} %`;
  return "";
}

/** Ingestion speed, tokens/s: undefined where the line gives none. */
export function ingestionSpeed(line: Line | undefined): number | undefined {
  return line && noIngestionSpeed(line) === "" ? 1000 / line.slope : undefined;
}

/** The ingestion speed and its line in a line of text. */
export function ingestionText(levels: readonly LevelSummary[]): string {
  const line = ingestionLine(levels);
  const speed = ingestionSpeed(line);
  if (!line || speed === undefined) return `no ingestion speed: ${noIngestionSpeed(line)}`;
  return `ingestion ${shortNumber(speed)} tokens/s; TTFT = ${shortNumber(line.intercept)} ms + ${shortNumber(line.slope)} ms a token (r2 ${shortNumber(line.r2)})`;
}
