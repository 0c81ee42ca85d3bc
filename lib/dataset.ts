import type { Input } from "./body";
import { csvRows } from "./csv";

/** One prompt of a dataset. */
export interface Entry {
  readonly input: Input;
  /** Input length in tokens where the dataset knows it, else 0. */
  readonly inputTokens: number;
  /** Output length that goes with the prompt; undefined where the dataset names none. */
  readonly outputTokens?: number;
}

/** Names under which datasets keep a prompt's text, the most telling first. */
const textFields = ["prompt", "question", "instruction", "text", "content", "input"];
const idFields = ["prompt_token_ids", "token_ids", "input_ids", "tok_input"];
const outputFields = ["output_tokens", "output_length", "output_len", "max_tokens", "tok_output_length"];
const inputFields = ["input_tokens", "input_length", "prompt_len", "tok_input_length"];

/** What a dataset's rows may look like, for messages. */
export const entrySyntax =
  "a text, a list of token ids, or an object with one of prompt, messages, conversations, prompt_token_ids, text, question";

/**
 * The prompt in one element of a dataset: a text, a list of token ids, `{prompt}` (text or token ids), chat
 * `{messages}`, ShareGPT's `{conversations: [{from, value}]}`; `output_tokens` and the like give the output length.
 * undefined where there is no prompt in it.
 */
export function parseEntry(value: unknown): Entry | undefined {
  if (typeof value === "string") return value === "" ? undefined : textEntry(value, {});
  if (isTokenIds(value)) return idsEntry(value, {});
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Record<string, unknown>;

  if (Array.isArray(fields.messages) && fields.messages.length > 0 && fields.messages.every(isMessage)) {
    return { input: { kind: "messages", messages: fields.messages }, ...lengthsIn(fields, 0) };
  }
  if (Array.isArray(fields.conversations)) return shareGptEntry(fields.conversations, fields);
  for (const name of idFields) {
    const ids = fields[name];
    if (isTokenIds(ids)) return idsEntry(ids, fields);
  }
  for (const name of textFields) {
    const text = fields[name];
    if (isTokenIds(text)) return idsEntry(text, fields);
    if (typeof text === "string" && text !== "") return textEntry(text, fields);
  }
  return undefined;
}

/**
 * The element in one line of a .jsonl or .txt file: JSON where it is any, else the line itself is the prompt. undefined
 * where the line begins like an object and is none: a broken one is no prompt.
 */
export function parseLine(line: string): unknown {
  if (!/^\s*[{["]/.test(line)) return line;
  try {
    return JSON.parse(line);
  } catch {
    return /^\s*\{/.test(line) ? undefined : line;
  }
}

/**
 * The rows of a CSV file as objects by its heading.
 * @throws Error where no column has the name of a text: whether the first row is a heading cannot be told.
 */
export function parseCsv(text: string): unknown[] {
  const [heading = [], ...rows] = csvRows(text);
  if (!heading.some((name) => textFields.includes(name.trim().toLowerCase()))) {
    throw new Error(`its first line names none of the columns ${textFields.join(", ")}`);
  }
  return rows.map((row) => Object.fromEntries(heading.map((name, i) => [name.trim().toLowerCase(), row[i] ?? ""])));
}

/** The elements of a .json file: its array, or the first array among its fields. */
export function parseJsonArray(text: string): unknown[] {
  const value: unknown = JSON.parse(text);
  if (Array.isArray(value)) return value;
  const inside = typeof value === "object" && value !== null ? Object.values(value).find(Array.isArray) : undefined;
  return inside ?? [];
}

function textEntry(text: string, fields: Record<string, unknown>): Entry {
  return { input: { kind: "text", text }, ...lengthsIn(fields, 0) };
}

function idsEntry(tokenIds: readonly number[], fields: Record<string, unknown>): Entry {
  return { input: { kind: "tokenIds", tokenIds }, ...lengthsIn(fields, tokenIds.length) };
}

/** The first thing a person said; what the model answered is only worth its length, which needs a tokenizer. */
function shareGptEntry(turns: unknown[], fields: Record<string, unknown>): Entry | undefined {
  for (const turn of turns) {
    const { from, value } = (turn ?? {}) as { from?: unknown; value?: unknown };
    if ((from === "human" || from === "user") && typeof value === "string" && value !== "") {
      return textEntry(value, fields);
    }
  }
  return undefined;
}

function lengthsIn(fields: Record<string, unknown>, inputTokens: number): Pick<Entry, "inputTokens" | "outputTokens"> {
  return {
    inputTokens: firstCount(fields, inputFields) ?? inputTokens,
    outputTokens: firstCount(fields, outputFields),
  };
}

function firstCount(fields: Record<string, unknown>, names: readonly string[]): number | undefined {
  for (const name of names) {
    const count = Number(fields[name] ?? Number.NaN);
    if (Number.isInteger(count) && count > 0) return count;
  }
  return undefined;
}

function isTokenIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id) && id >= 0);
}

function isMessage(value: unknown): value is { role: string; content: unknown } {
  return typeof value === "object" && value !== null && "role" in value && "content" in value;
}
