/** What a load asks its file of prompts for: whether the file has as many rows as requests are to be sent. */

/** The file that the prompts come from; "DATASET=prompts" as the user wrote it. */
interface Rows {
  readonly setting: string;
  readonly count: number;
  /** What its rows are, and the load's unit. */
  readonly item: "row" | "session";
}

let rows: Rows | undefined;
/** undefined: a level is bounded by time, so nobody knows. */
let planned: number | undefined = 0;
let passes = 1;

/** Says how many prompts the file has that the run takes them from. */
export function promptRows(setting: string, count: number, item: Rows["item"] = "row"): void {
  rows = { setting, count, item };
}

/** Adds the requests of a level or a burst to those that the load is to send; undefined where time bounds them. */
export function planRequests(count: number | undefined): void {
  planned = planned === undefined || count === undefined ? undefined : planned + count;
}

/** Says that the load goes through the same prompts so many times on purpose. */
export function planPasses(count: number): void {
  passes = count;
}

/**
 * How often each row of the file is sent by so many requests, in words; by default by those of the load, as far as they are
 * known. undefined where no row is sent twice.
 */
export function repetition(requests = planned ?? 0): string | undefined {
  const needed = Math.ceil(requests / passes);
  if (!rows || needed <= rows.count) return undefined;
  const times = (needed / rows.count).toFixed(1);
  const items = rows.item === "row" ? "requests" : "sessions";
  return `${rows.setting} has ${rows.count} ${rows.item}s for ${needed} ${items}: each ${rows.item} is sent ${times} times`;
}
