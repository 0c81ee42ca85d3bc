/** What single requests say, by the definitions of the metric table; ms and tokens/s. Only of completed requests. */
import { PooledItl } from "../judge/itl";
import type { LevelSummary, RequestRow, Results } from "./read";
import { Rows } from "./rows";

/** Time to the first token; undefined where the request has none, as of a reply that was not streamed. */
export const ttftMs = (row: RequestRow): number | undefined => row.ttftMs;

/** The same from the time at which the request was due. */
export const ttftScheduledMs = (row: RequestRow): number | undefined =>
  row.ttftMs === undefined ? undefined : row.ttftMs + queueDelayMs(row);

/** Last output chunk - sent; a reply without output chunks (embeddings, JSON) counts to its end. */
export const e2eMs = (row: RequestRow): number => ((row.lastOutputNs || row.endNs) - row.sentNs) / 1e6;

export const queueDelayMs = (row: RequestRow): number => (row.sentNs - row.scheduledNs) / 1e6;

/** Time per output token; undefined where the request has none, as of one token. */
export const tpotMs = (row: RequestRow): number | undefined => row.tpotMs;

/** Output tokens over the whole request, waiting for the first token included. */
export function speedFromBeginning(row: RequestRow): number | undefined {
  const ms = e2eMs(row);
  return row.outputTokens > 0 && ms > 0 ? (1000 * row.outputTokens) / ms : undefined;
}

/** Shown tokens after the first over the time they took, standstills taken out: the speed while the server works on the request. */
export function speedWithoutWaiting(row: RequestRow): number | undefined {
  const ms = (row.lastOutputNs - row.firstOutputNs - row.pausesNs) / 1e6;
  return row.shownTokens > 1 && ms > 0 ? (1000 * (row.shownTokens - 1)) / ms : undefined;
}

/** Steady requests of a level; with `fromS` (seconds from the run's start) those that were scheduled from then on. */
export function steadyRows(run: Results, level: string, fromS?: number): Rows {
  const fromNs = fromS === undefined ? Number.NEGATIVE_INFINITY : fromS * 1e9;
  return (run.requests ?? Rows.of([])).filter(
    (row) => row.level === level && row.phase === "steady" && row.scheduledNs >= fromNs,
  );
}

/**
 * The pooled inter-token latencies of a level; with `fromS` those of requests whose first gap ended from then on. Throws where
 * they were not read.
 */
export function pooledItl(run: Results, level: string, fromS?: number): PooledItl {
  if (run.requests && !run.itl) throw new Error(`${run.name} was read without its inter-token latencies`);
  const all = run.itl?.get(level) ?? [];
  return new PooledItl(fromS === undefined ? all : all.filter(({ atNs }) => (atNs[0] ?? 0) >= fromS * 1e9));
}

/** A label of a level as a number; undefined where it has none. */
export function labelNumber(level: LevelSummary, name: string): number | undefined {
  const value = level.labels?.[name];
  const number = typeof value === "string" ? Number(value) : value;
  return number !== undefined && Number.isFinite(number) ? number : undefined;
}

export interface Combination {
  inputTokens?: number;
  outputTokens?: number;
  /** "1024 in, 128 out"; "" where the levels carry no lengths. */
  words: string;
  /** For file names: "input_1024_output_128"; "" likewise. */
  stem: string;
  levels: LevelSummary[];
}

/** Levels by the lengths in their labels, shortest first. */
export function combinations(levels: LevelSummary[]): Combination[] {
  const found = new Map<string, Combination>();
  for (const level of levels) {
    const inputTokens = labelNumber(level, "inputTokens");
    const outputTokens = labelNumber(level, "outputTokens");
    const key = `${inputTokens}/${outputTokens}`;
    const words = [
      inputTokens === undefined ? "" : `${inputTokens} in`,
      outputTokens === undefined ? "" : `${outputTokens} out`,
    ]
      .filter(Boolean)
      .join(", ");
    const stem = [
      inputTokens === undefined ? "" : `input_${inputTokens}`,
      outputTokens === undefined ? "" : `output_${outputTokens}`,
    ]
      .filter(Boolean)
      .join("_");
    const combination = found.get(key) ?? { inputTokens, outputTokens, words, stem, levels: [] };
    combination.levels.push(level);
    found.set(key, combination);
  }
  return [...found.values()].sort(
    (a, b) => (a.inputTokens ?? 0) - (b.inputTokens ?? 0) || (a.outputTokens ?? 0) - (b.outputTokens ?? 0),
  );
}
