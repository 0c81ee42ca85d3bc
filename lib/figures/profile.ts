import type { MetricName } from "./metrics-table";
import { parseThreshold } from "./threshold";

/** A gate: what every level must keep. Written in k6's threshold language, one list of expressions a metric. */
export interface Profile {
  /** What the profile is for, one sentence. */
  readonly description?: string;
  /** Fewest steady requests of a level; a gate without samples would pass. */
  readonly minRequests: number;
  /** Largest share of a level's steady requests that may fail (0..1). */
  readonly maxFailureShare: number;
  /** Limits of each level, e.g. {"llm_ttft": ["p(95)<500"], "llm_itl_p99": ["value<100"]}. */
  readonly limits: Readonly<Partial<Record<MetricName, readonly string[]>>>;
}

/** What k6 judges of a run, and the profile that this follows from; undefined with THRESHOLDS=none. */
export interface Gates {
  /** k6's thresholds option. */
  readonly thresholds: Record<string, string[]>;
  /** Those among them that the script itself named (test.threshold). */
  readonly script?: Readonly<Record<string, readonly string[]>>;
  readonly profile: Profile | undefined;
}

/** The profiles in thresholds/, and "none" for no gate but the SLOs. */
export const profileNames = ["smoke", "interactive", "batch", "none"] as const;

/** The name of a shipped profile. */
export type ProfileName = (typeof profileNames)[number];

/**
 * The profile in a user's JSON: limits at top level beside `minRequests` (default 1), `maxFailureShare` (default 0) and
 * `description`.
 * @throws Error with one line that names what is wrong.
 */
export function parseProfile(text: string): Profile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`it is not JSON (${error instanceof Error ? error.message : error})`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Error("it is not a JSON object");
  const { description, minRequests = 1, maxFailureShare = 0, ...rest } = json as Record<string, unknown>;
  if (description !== undefined && typeof description !== "string") throw new Error("description is not a text");
  if (typeof minRequests !== "number" || !Number.isInteger(minRequests) || minRequests < 1) {
    throw new Error(`minRequests ${JSON.stringify(minRequests)} is not a whole number from 1`);
  }
  if (typeof maxFailureShare !== "number" || !(maxFailureShare >= 0 && maxFailureShare <= 1)) {
    throw new Error(`maxFailureShare ${JSON.stringify(maxFailureShare)} is not a number from 0 to 1`);
  }
  const limits: Partial<Record<MetricName, readonly string[]>> = {};
  for (const [name, value] of Object.entries(rest)) {
    const expressions: unknown[] = Array.isArray(value) ? value : [value];
    if (expressions.length === 0) throw new Error(`${name}: a list without a threshold; leave the metric out`);
    for (const each of expressions) parseThreshold(name, each);
    limits[name as MetricName] = expressions as string[];
  }
  return { description, minRequests, maxFailureShare, limits };
}
