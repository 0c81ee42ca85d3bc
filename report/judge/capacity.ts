/** What a search for capacity shows of a limit, and of another search: its interval decides, not the levels that it probed. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { FoundCapacity } from "../../lib/figures/capacity-lines";
import { parseThreshold, type Threshold } from "../../lib/figures/threshold";
import { formatNumber } from "../format";
import type { Results } from "../read/read";
import type { LimitVerdict } from "./early-stopping";

/** The capacity between `low` and `high`; a side that no probe showed is 0 or Infinity. */
export interface CapacityBounds {
  readonly low: number;
  readonly high: number;
  readonly unit: string;
}

/** The interval that a run of `capacity` found. @throws Error where its capacity.json is missing or holds none. */
export function capacityOf({ dir, name }: Results): CapacityBounds {
  let found: FoundCapacity;
  try {
    found = JSON.parse(readFileSync(join(dir, "capacity.json"), "utf8")) as FoundCapacity;
  } catch (error) {
    throw new Error(`${name}: capacity.json cannot be read: ${(error as Error).message}`);
  }
  const { low, high } = found.interval ?? {};
  const isBound = (value: unknown) => value === undefined || (typeof value === "number" && value > 0);
  if (!isBound(low) || !isBound(high) || (low === undefined && high === undefined)) {
    throw new Error(`${name}: the search found no capacity (${found.state})`);
  }
  return { low: low ?? 0, high: high ?? Number.POSITIVE_INFINITY, unit: found.unit };
}

export function boundsText({ low, high, unit }: CapacityBounds): string {
  if (high === Number.POSITIVE_INFINITY) return `at least ${formatNumber(low)} ${unit}`;
  return low === 0 ? `below ${formatNumber(high)} ${unit}` : `${formatNumber(low)} to ${formatNumber(high)} ${unit}`;
}

/** Whether the whole interval keeps a limit of llm_capacity, none of it, or a part. */
export function judgeCapacity(bounds: CapacityBounds, expression: string): { verdict: LimitVerdict; reason: string } {
  const { operator, limit }: Threshold = parseThreshold("llm_capacity", expression);
  const { low, high } = bounds;
  const above = operator === ">" || operator === ">=";
  if (!above && operator !== "<" && operator !== "<=") {
    throw new Error(`llm_capacity is an interval: ${expression} cannot be judged, use <, <=, > or >=`);
  }
  const isAbove = operator === ">" || operator === "<=" ? low > limit : low >= limit;
  const isBelow = high <= limit;
  const decided = above ? [isAbove, isBelow] : [isBelow, isAbove];
  const verdict = decided[0] ? "passed" : decided[1] ? "failed" : "inconclusive";
  return { verdict, reason: `capacity ${boundsText(bounds)}, limit ${operator} ${formatNumber(limit)}` };
}

/**
 * Whether the capacity of B is lower than that of A: a regression where its interval lies below A's, a pass where even A's
 * upper and B's lower end are no more than `limit` (0.05 for 5 %) apart, else unclear.
 */
export function compareCapacities(
  a: CapacityBounds,
  b: CapacityBounds,
  limit: number,
): { verdict: "regression" | "pass" | "unclear"; text: string } {
  if (a.unit !== b.unit) throw new Error(`A was searched in ${a.unit}, B in ${b.unit}: set LOOP alike`);
  const verdict = b.high <= a.low ? "regression" : b.low >= a.high * (1 - limit) ? "pass" : "unclear";
  return { verdict, text: `capacity: A ${boundsText(a)}, B ${boundsText(b)}: ${verdict}` };
}
