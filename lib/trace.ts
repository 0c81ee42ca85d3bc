import { csvRows } from "./csv";

/** One request of a recorded trace. */
export interface TraceRow {
  /** Arrival, ms from the trace's first. */
  readonly atMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Mooncake's: one id a block of 512 input tokens; equal ids at the beginning mean a shared prefix. */
  readonly blockIds: readonly number[];
}

/** Input tokens that one of a Mooncake trace's block ids stands for. */
export const blockTokens = 512;

/** Which traces are understood, for messages. */
export const traceSyntax =
  "a Mooncake trace (JSONL: timestamp, input_length, output_length), an Azure trace (CSV: TIMESTAMP, ContextTokens, " +
  "GeneratedTokens) or a BurstGPT trace (CSV: Timestamp, Request tokens, Response tokens)";

/**
 * The requests of a trace file in order of arrival, the first at 0. Rows without output (BurstGPT's failed requests)
 * are left out. Empty where the text is no known trace.
 * @throws Error for a row whose time or lengths are no numbers: left out, it would lower the load in silence.
 */
export function parseTrace(text: string): TraceRow[] {
  const rows = /^\s*\{/.test(text) ? mooncakeRows(text) : tableRows(text);
  // Of a table that has none of the columns nothing is a number.
  const known = rows.some(isRow);
  const bad = known ? rows.findIndex((row) => !isRow(row)) : -1;
  if (bad >= 0) throw new Error(`request ${bad + 1} has a time or a length that is no number`);
  const valid = rows.filter((row) => isRow(row) && row.inputTokens > 0 && row.outputTokens > 0);
  valid.sort((a, b) => a.atMs - b.atMs);
  const firstMs = valid[0]?.atMs ?? 0;
  return valid.map((row) => ({ ...row, atMs: row.atMs - firstMs }));
}

function isRow({ atMs, inputTokens, outputTokens }: TraceRow): boolean {
  return [atMs, inputTokens, outputTokens].every(Number.isFinite);
}

/** https://github.com/kvcache-ai/Mooncake: times in ms. */
function mooncakeRows(text: string): TraceRow[] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const row = JSON.parse(line) as Record<string, unknown>;
      return {
        atMs: Number(row.timestamp),
        inputTokens: Number(row.input_length),
        outputTokens: Number(row.output_length),
        blockIds: Array.isArray(row.hash_ids) ? row.hash_ids.map(Number) : [],
      };
    });
}

function tableRows(text: string): TraceRow[] {
  const [heading = [], ...rows] = csvRows(text);
  const records = rows.map((row) => Object.fromEntries(heading.map((name, i) => [name, row[i] ?? ""])));
  return records.map((row: Record<string, string | undefined>) => ({
    // Azure's traces hold dates (UTC, seven decimals of a second), BurstGPT's seconds.
    atMs: row.TIMESTAMP === undefined ? Number(row.Timestamp) * 1000 : dateMs(row.TIMESTAMP),
    inputTokens: Number(row.ContextTokens ?? row["Request tokens"]),
    outputTokens: Number(row.GeneratedTokens ?? row["Response tokens"]),
    blockIds: [],
  }));
}

/** ms of "2023-11-16 18:15:46.6805900"; dates keep three decimals, so the fraction is read apart. */
function dateMs(text: string): number {
  const [, seconds = "", fraction = ""] = /^(\S+[ T]\d\d:\d\d:\d\d)(\.\d+)?/.exec(text.trim()) ?? [];
  return Date.parse(`${seconds.replace(" ", "T")}Z`) + Number(fraction || 0) * 1000;
}
