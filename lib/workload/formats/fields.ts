import type { Likeness } from "./like";
import type { Json, Notes, Row } from "./row";
import type { Shape } from "./shape";

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

/** A count of tokens and the field that had it. */
type Found = { readonly name: string; readonly tokens: number } | undefined;

/**
 * A record's fields; which of them are read is kept, so that the others can be listed. A file may have a million records, and what
 * reads JavaScript in k6 takes its time for each step: loops go by number and over the fields that are there.
 */
export class Fields {
  declare private readonly record: Json;
  declare private readonly notes: Notes;
  declare private readonly read: string[];
  declare private readonly shape: Shape;

  constructor(record: Json, notes: Notes) {
    this.record = record;
    this.notes = notes;
    this.read = [];
    this.shape = notes.shapeOf(record);
  }

  /** Those of these names, in their order, that the record has, with whatever value. */
  among(names: readonly string[]): readonly string[] {
    return this.shape.among(names);
  }

  /** Whether the field is there and not null or empty. */
  has(name: string): boolean {
    const value = this.record[name];
    return value !== undefined && value !== null && value !== "";
  }

  /** The field's value, which is then one that the row is made of; undefined where it is null or empty. */
  get(name: string): unknown {
    const value = this.record[name];
    // What is not there or empty is listed nowhere, read or not.
    if (value === undefined || value === null || value === "") return undefined;
    this.read.push(name);
    this.notes.used.add(name);
    return value;
  }

  /** Says that the field is known and not sent. */
  skip(names: readonly string[]): void {
    const there = names.length > 1 ? this.shape.among(names) : names;
    for (let i = 0; i < there.length; i++) {
      const name = there[i] as string;
      this.read.push(name);
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
    return this.shape.names.filter((name) => !this.read.includes(name) && this.has(name));
  }

  /** Lists what nobody has read as not sent. */
  close(): void {
    const { names } = this.shape;
    // Mostly all of them have been read.
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string;
      if (!this.read.includes(name) && this.has(name)) this.notes.unsent.add(name);
    }
  }

  /**
   * A count of tokens under one of several names.
   * @throws Error where it is no whole number from 0, or two names disagree.
   */
  count(names: readonly string[]): number | undefined {
    const there = this.shape.among(names);
    let found: Found;
    for (let i = 0; i < there.length; i++) {
      const name = there[i] as string;
      if (this.has(name)) found = this.agreeing(found, name);
    }
    return found?.tokens;
  }

  /** The lengths of a request and its answer; recorded usage counts for more than a ceiling. */
  lengths(): Pick<Row, "inputTokens" | "outputTokens" | "ceiling"> {
    const input = this.known(inputLengthFields);
    const output = this.known(lengthFields);
    const ceiling = this.known(ceilingFields);
    const outputTokens = output?.tokens ?? this.usage();
    const row: { inputTokens?: number; outputTokens?: number; ceiling?: boolean } = {};
    if (input) row.inputTokens = input.tokens;
    if (outputTokens !== undefined) row.outputTokens = outputTokens;
    else if (ceiling && ceiling.tokens > 0) [row.outputTokens, row.ceiling] = [ceiling.tokens, true];
    return row;
  }

  /** The count that these names agree on; a list under such a name holds token ids. */
  private known(names: readonly string[]): Found {
    const there = this.shape.among(names);
    let found: Found;
    for (let i = 0; i < there.length; i++) {
      const name = there[i] as string;
      if (this.has(name) && typeof this.record[name] !== "object") found = this.agreeing(found, name);
    }
    return found;
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

  /**
   * What rows look like of which a length of the input, one of the answer, a time and hash_ids are all that is read, as of this one;
   * undefined where it has one of these under two names, or something else that counts.
   */
  likeness(): Likeness | undefined {
    const { names, timed } = this.shape;
    const inputs = this.shape.among(inputLengthFields);
    const outputs = this.shape.among(lengthFields);
    if (inputs.length !== 1 || outputs.length !== 1 || timed.length !== 1) return undefined;
    if (this.shape.among(ceilingFields).length > 0) return undefined;
    const roles: Likeness["roles"][number][] = [];
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string;
      if (name === inputs[0]) roles.push("inputTokens");
      else if (name === outputs[0]) roles.push("outputTokens");
      else if (name === timed[0]) roles.push("time");
      else if (name === "hash_ids" && Array.isArray(this.record[name])) roles.push("blockIds");
      else if (!this.has(name)) roles.push("empty");
      else if (this.notes.unsent.has(name)) roles.push("any");
      else return undefined;
    }
    return { names, roles };
  }

  /** The time under one of its names. */
  time(): Pick<Row, "time"> {
    const there = this.shape.timed;
    let name: string | undefined;
    for (let i = 0; i < there.length && name === undefined; i++) if (this.has(there[i] as string)) name = there[i];
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
