/** When a line through TTFT over prompt length gives the speed at which a server reads prompts. Pure. */
import { shortNumber } from "./table";

/** TTFT = intercept + slope x prompt length; ms and tokens. */
export interface IngestionLine {
  readonly slope: number;
  readonly intercept: number;
  /** Share of the variance of TTFT that the line explains, 0 to 1. */
  readonly r2: number;
}

/** The least r2 of a line whose slope is a speed. */
export const leastR2 = 0.9;

/**
 * Why a line gives no ingestion speed; undefined where it does, 1000 / slope tokens/s. A line that begins below 0 ms says that
 * a prompt of no token is answered before it is sent: the TTFT of short prompts came from elsewhere, such as a prefix cache.
 */
export function noIngestionSpeed({ slope, intercept, r2 }: IngestionLine): string | undefined {
  if (!(slope > 0)) return "TTFT does not grow with the prompt's length: no ingestion speed";
  if (intercept < 0) return `the fitted line begins at ${shortNumber(intercept)} ms, below 0: no ingestion speed`;
  if (r2 < leastR2) {
    return `the fitted line explains ${shortNumber(r2 * 100)} % of the differences in TTFT, less than ${leastR2 * 100} %: no ingestion speed`;
  }
  return undefined;
}
