import type { Json, Notes, Row } from "./row";

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isTokenIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id) && id >= 0);
}

export function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.every((text) => typeof text === "string");
}

/** A value for messages: short, and on one line. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}

/** Names of an answer's recorded length. */
export const lengthFields = [
  ...["output_tokens", "output_length", "output_len", "output_tokens_count", "completion_tokens_count"],
  ...["completion_tokens", "num_output_tokens", "tok_output_length", "tok_output_len", "response_length"],
  ...["generatedtokens", "response tokens"],
];

/** Names of the most that an answer may have. */
const ceilingFields = ["max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens"];

/** Names of a prompt's length. */
const inputLengthFields = [
  ...["input_length", "input_len", "prompt_len", "prompt_length", "prompt_tokens", "prompt_tokens_count"],
  ...["input_tokens", "input_tokens_count", "tok_input_length", "tok_input_len", "num_prompt_tokens"],
  ...["input_tokens_total", "contexttokens", "request tokens"],
];

/** Names of a request's time. */
const timeFields = new Set(["timestamp", "ts", "time", "startTime", "start_time"]);

type Kind = "input" | "output" | "ceiling";

/** What a field's number is: one look a field, where a trace has a million rows. */
const lengthKinds = new Map<string, Kind>([
  ...inputLengthFields.map((name) => [name, "input"] as const),
  ...lengthFields.map((name) => [name, "output"] as const),
  ...ceilingFields.map((name) => [name, "ceiling"] as const),
]);

/** A count of tokens and the field that had it. */
type Found = { readonly name: string; readonly tokens: number } | undefined;

/** A record's fields; which of them are read is kept, so that the others can be listed. */
export class Fields {
  private readonly record: Json;
  private readonly notes: Notes;
  private readonly read = new Set<string>();

  constructor(record: Json, notes: Notes) {
    this.record = record;
    this.notes = notes;
  }

  /** Whether the field is there and not null or empty. */
  has(name: string): boolean {
    const value = this.record[name];
    return value !== undefined && value !== null && value !== "";
  }

  /** The field's value, which is then one that the row is made of; undefined where it is null or empty. */
  get(name: string): unknown {
    this.read.add(name);
    if (!this.has(name)) return undefined;
    this.notes.used.add(name);
    return this.record[name];
  }

  /** Says that the field is known and not sent. */
  skip(...names: string[]): void {
    for (const name of names) {
      this.read.add(name);
      if (this.has(name)) this.notes.unsent.add(name);
    }
  }

  /** The field's value, or what the JSON in its text stands for. */
  json(name: string): unknown {
    const value = this.get(name);
    if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
    try {
      return JSON.parse(value);
    } catch {
      throw new Error(`${name} holds broken JSON`);
    }
  }

  /** The names that nobody has read. */
  rest(): string[] {
    return Object.keys(this.record).filter((name) => !this.read.has(name) && this.has(name));
  }

  /** Lists what nobody has read as not sent. */
  close(): void {
    for (const name in this.record) if (!this.read.has(name) && this.has(name)) this.notes.unsent.add(name);
  }

  /**
   * A count of tokens under one of several names.
   * @throws Error where it is no whole number from 0, or two names disagree.
   */
  count(names: readonly string[]): number | undefined {
    let found: Found;
    for (const name of names) if (this.has(name)) found = this.agreeing(found, name);
    return found?.tokens;
  }

  /** The lengths of a request and its answer; recorded usage counts for more than a ceiling. */
  lengths(): Pick<Row, "inputTokens" | "outputTokens" | "ceiling"> {
    let input: Found;
    let output: Found;
    let ceiling: Found;
    for (const name in this.record) {
      const kind = lengthKinds.get(name);
      // A list under such a name holds token ids.
      if (kind === undefined || !this.has(name) || typeof this.record[name] === "object") continue;
      if (kind === "input") input = this.agreeing(input, name);
      else if (kind === "output") output = this.agreeing(output, name);
      else ceiling = this.agreeing(ceiling, name);
    }
    const outputTokens = output?.tokens ?? this.usage();
    const row: { inputTokens?: number; outputTokens?: number; ceiling?: boolean } = {};
    if (input) row.inputTokens = input.tokens;
    if (outputTokens !== undefined) row.outputTokens = outputTokens;
    else if (ceiling && ceiling.tokens > 0) [row.outputTokens, row.ceiling] = [ceiling.tokens, true];
    return row;
  }

  private agreeing(before: Found, name: string): Found {
    const tokens = Number(this.get(name));
    if (!Number.isInteger(tokens) || tokens < 0) {
      throw new Error(`${name}=${shown(this.record[name])} is no length, a whole number of tokens`);
    }
    if (before && before.tokens !== tokens) {
      throw new Error(`${before.name}=${before.tokens} and ${name}=${tokens} disagree; ${ignoring(name)}`);
    }
    return { name, tokens };
  }

  private usage(): number | undefined {
    if (!this.has("usage") && !this.has("response")) return undefined;
    const usage = this.json("usage") ?? (isObject(this.record.response) ? this.record.response.usage : undefined);
    if (!isObject(usage)) return undefined;
    const tokens = usage.completion_tokens ?? usage.output_tokens;
    return Number.isInteger(tokens) ? (tokens as number) : undefined;
  }

  /** The time under one of its names. */
  time(): Pick<Row, "time"> {
    let name: string | undefined;
    for (const each in this.record) if (timeFields.has(each) && this.has(each)) name ??= each;
    if (name === undefined) return {};
    const value = this.record[name];
    // A field that is called so and holds no time is one of those that are listed.
    if (typeof value !== "number" && typeof value !== "string") return {};
    this.get(name);
    return { time: value };
  }
}

/** The way out where a field is not to be sent. */
export function ignoring(field: string): string {
  return `to leave it out, set DATASET_COLUMNS=ignore=${field}`;
}
