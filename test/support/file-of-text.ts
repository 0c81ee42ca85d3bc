/** A file as the readers of lib/workload/formats see it, without k6. */
import type { TextFile } from "../../lib/workload/formats/container";
import { type ReadFile, type ReadSettings, readFile } from "../../lib/workload/formats/read";
import { sessionReader } from "../../lib/workload/formats/sessions";
import { traceReader } from "../../lib/workload/formats/trace-rows";

/** The file that holds this text; a byte order mark is dropped, as the client does. */
function fileOfText(whole: string): TextFile {
  const text = whole.replace(/^\uFEFF/, "");
  return {
    head: text.slice(0, 65_536),
    parquet: false,
    text: () => text,
    // A line a piece, so that tests see rows that several pieces make.
    pieces(take) {
      (text.match(/[^\n]*\n|[^\n]+$/g) ?? []).every((line) => take(line) !== false);
    },
    lines(take) {
      text.split(/\r?\n/).every((line, i) => line.trim() === "" || take(line, i + 1) !== false);
    },
    elements(take) {
      const elements: unknown[] = JSON.parse(text);
      elements.every((element, i) => take(JSON.stringify(element), i + 1) !== false);
    },
  };
}

/** What files are read by where nothing is set. */
const defaultReading: ReadSettings = {
  API: "chat",
  TURNS: "auto",
  DATASET_COLUMNS: [],
  DATASET_SHUFFLE: false,
  SEED: 1,
  TRACE_UNIT: "auto",
  SPEED: 1,
};

/** What a file turned out to be, with its rows as the load is given them, in JSON and in the order of sending. */
export function readRows(
  kind: "DATASET" | "TRACE",
  name: string,
  text: string,
  set: Partial<ReadSettings> = {},
  sessions = false,
): ReadFile & { readonly rows: readonly string[] } {
  const kept: string[] = [];
  const read = readFile(
    kind,
    name,
    fileOfText(text),
    { ...defaultReading, ...set },
    (row) => kept.push(row as string),
    sessions ? sessionReader(kind === "TRACE") : kind === "TRACE" ? traceReader : undefined,
  );
  const { order, timesMs, blockTokens } = read;
  const ordered = order ? Array.from(order, (k) => kept[k] ?? "") : kept;
  return {
    ...read,
    rows: ordered.map((row, k) =>
      timesMs ? JSON.stringify({ atMs: timesMs[k], blockTokens, ...JSON.parse(row) }) : row,
    ),
  };
}
