/**
 * Rows of a trace that a file reads by itself. An interpreter takes a tenth of a millisecond for a row, and a trace may have millions
 * of rows that look alike: the readers look at one, say what it looks like, and see the others again only where they differ.
 */

/** What a row's fields are, in their order; see Likeness in the module's index.d.ts. */
export interface Likeness {
  readonly names: readonly string[];
  readonly roles: readonly Role[];
  readonly dates?: boolean;
  readonly zoned?: boolean;
  readonly originMs?: number;
}

type Role = "inputTokens" | "outputTokens" | "time" | "blockIds" | "any" | "empty";

/** Many rows at once; see LengthRows in the module's index.d.ts. */
export interface TimedRows {
  readonly length: number;
  readonly times: Float64Array;
  readonly fraction: boolean;
  readonly least: number;
  readonly most: number;
  readonly inputs: Float64Array;
  readonly ids: Float64Array;
}

/** Whether what is said of a record is what others look like. */
export function isLikeness(said: unknown): said is Likeness {
  return typeof said === "object" && said !== null;
}
