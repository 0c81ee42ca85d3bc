/** A file as the readers of lib/workload/formats see it, without k6. */
import type { TextFile } from "../../lib/workload/formats/container";
import type { ReadSettings } from "../../lib/workload/formats/read";

/** The file that holds this text; a byte order mark is dropped, as the client does. */
export function fileOfText(whole: string): TextFile {
  const text = whole.replace(/^\uFEFF/, "");
  return {
    head: text.slice(0, 65_536),
    parquet: false,
    text: () => text,
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
export const defaultReading: ReadSettings = {
  API: "chat",
  TURNS: "auto",
  DATASET_COLUMNS: [],
  DATASET_SHUFFLE: false,
  SEED: 1,
  TRACE_UNIT: "auto",
  SPEED: 1,
};
