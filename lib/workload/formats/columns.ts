/** DATASET_COLUMNS: what a file's columns are, where their names do not say it. */
import { isObject } from "./fields";
import type { Json } from "./row";

/** `role=column`; a column may be a path such as inputs.question. */
export interface Column {
  readonly role: string;
  readonly column: string;
}

/** What a column can be, and the name under which formats know it. */
const names: Readonly<Record<string, string>> = {
  prompt: "prompt",
  messages: "messages",
  token_ids: "token_ids",
  system: "system",
  context: "context",
  tools: "tools",
  image: "image_url",
  input_tokens: "input_length",
  output_tokens: "output_length",
  max_tokens: "max_tokens",
  time: "timestamp",
  hash_ids: "hash_ids",
};

/** The roles that DATASET_COLUMNS takes. */
export const columnRoles: readonly string[] = [...Object.keys(names), "ignore"];

/** Roles of which one says all that is asked: with it, columns that are not named are no part of the request. */
const whole = ["prompt", "messages", "token_ids"];

/** The record with its columns under the names that formats know. @throws Error where a column is missing. */
export function renamed(record: unknown, columns: readonly Column[]): unknown {
  if (columns.length === 0) return record;
  if (!isObject(record)) throw new Error("has no columns, which DATASET_COLUMNS names");
  const given = columns.filter(({ role }) => role !== "ignore");
  const named: Record<string, unknown> = {};
  for (const { role, column } of given) {
    const value = valueAt(record, column);
    if (value === undefined) throw new Error(`has no column ${column}, which DATASET_COLUMNS names`);
    named[names[role] ?? role] = value;
  }
  if (given.some(({ role }) => whole.includes(role))) return named;
  return { ...without(record, new Set(columns.flatMap(({ column }) => [column, column.toLowerCase()]))), ...named };
}

/** The record without these columns, at its top or in a body that it holds. */
function without(record: Json, columns: ReadonlySet<string>): Json {
  const kept = Object.entries(record).filter(([name]) => !columns.has(name));
  return Object.fromEntries(
    kept.map(([name, value]) => [
      name,
      isObject(value) ? Object.fromEntries(Object.entries(value).filter(([inner]) => !columns.has(inner))) : value,
    ]),
  );
}

function valueAt(record: Json, path: string): unknown {
  // The columns of a table are known in lower case.
  for (const name of [path, path.toLowerCase()]) if (record[name] !== undefined) return record[name];
  let value: unknown = record;
  for (const step of path.split(".")) value = isObject(value) ? value[step] : undefined;
  return value;
}
