/**
 * Rows of a trace that a file reads by itself. An interpreter takes a tenth of a millisecond for a row, and a trace may have millions
 * of rows that look alike: the readers look at one, say what it looks like, and see the others again only where they differ.
 */

import type { LengthRows, Likeness as RowLikeness } from "k6/x/tokenclock";

/** What a row's fields are, in their order. Those of a table are named by its heading. */
export type Likeness = RowLikeness & { readonly names: readonly string[] };

/** Many rows at once. */
export type TimedRows = LengthRows;

/** Whether a reader's answer to a record is what others look like. */
export function isLikeness(answer: unknown): answer is Likeness {
  return typeof answer === "object" && answer !== null;
}
