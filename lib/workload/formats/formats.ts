import {
  agenticTurns,
  aiperfPayloads,
  aiperfTurns,
  conversationSet,
  messageRows,
  numberedTurns,
  questionTurns,
} from "./conversation";
import { isObject } from "./fields";
import { har, spans } from "./logs";
import { promptFormat } from "./prompt";
import { messagesFormat, wrapped } from "./request";
import type { Format } from "./row";
import { timedLengths, weka } from "./timed";

/** Every format there is; the first that a file's first record matches is the file's. */
export const formats: readonly Format[] = [
  messageRows,
  conversationSet,
  numberedTurns,
  aiperfTurns,
  aiperfPayloads,
  agenticTurns,
  questionTurns,
  weka,
  har,
  spans,
  timedLengths,
  messagesFormat,
  wrapped,
  promptFormat,
];

/** The error of a record of no known format. */
export function unknownRecord(record: unknown): string {
  const fields = isObject(record) ? `its fields are ${Object.keys(record).slice(0, 12).join(", ")}; ` : "";
  return `is of no known format: ${fields}docs/datasets.md lists the formats; a column is named by DATASET_COLUMNS=prompt=COLUMN`;
}
