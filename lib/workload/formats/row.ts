import type { Input } from "../prompt";
import { randomInt, seededRng } from "../rng";
import type { Likeness } from "./like";
import { type Shape, Shapes } from "./shape";

/** A JSON object of a file. */
export type Json = Readonly<Record<string, unknown>>;

/** The wire format that a recorded body is written in. */
export type Wire = "chat" | "completions" | "embeddings" | "responses" | "messages";

/** One request as a file describes it, whatever the file's format is. */
export interface Row {
  /** What is asked; absent where the file knows lengths only. */
  readonly input?: Input;
  /** Further fields of the request's body: model, tools, sampling. */
  readonly body?: Json;
  /** The wire format of a whole recorded body. */
  readonly wire?: Wire;
  readonly inputTokens?: number;
  /** Length of the answer: the recorded one, or with `ceiling` the most that the request allowed. 0: there was none. */
  readonly outputTokens?: number;
  readonly ceiling?: boolean;
  /** When it arrived, as the file has it: a number in `unit` (undefined: to be found out) or a text. */
  readonly time?: number | string;
  readonly unit?: TimeUnit;
  /** ids of its input's blocks; equal ids at the beginning mean a shared prefix. */
  readonly blockIds?: readonly number[];
  /** Tokens of a block, where the file says so. */
  readonly blockTokens?: number;
  /** The conversation that it is a turn of, and which: 0 is the first. Absent where it stands alone. */
  readonly session?: string;
  readonly turn?: number;
  /** The turns of its session, by number, that must have ended before it; absent: the one before it. */
  readonly after?: readonly number[];
  /** It hands over results of tools. */
  readonly tool?: boolean;
  /** Wait between the answer to the turn before and this one, ms. */
  readonly delayMs?: number;
  /** Its input lacks the answers to earlier turns, which only a live server gives. */
  readonly needsAnswers?: boolean;
}

/** @throws Error for a delay that is no time to wait for. */
export function requireDelay({ delayMs }: Row): void {
  if (delayMs !== undefined && !(delayMs >= 0 && delayMs < Number.POSITIVE_INFINITY))
    throw new Error(`has a delay of ${delayMs} ms; it must be 0 or more`);
}

/** Units of a trace's times. */
export type TimeUnit = "s" | "ms" | "us" | "ns";

/** What reading a file brings to light beside its rows; each is reported once. */
export class Notes {
  /** Fields that rows were made of. */
  readonly used = new Set<string>();
  /** Fields that no request carries. */
  readonly unsent = new Set<string>();
  /** Other things to know, with the number of rows that each is true of. */
  readonly remarks = new Map<string, number>();

  private readonly shapes = new Shapes();

  /** The names of a record's fields. */
  shapeOf(record: Json): Shape {
    return this.shapes.of(record);
  }

  /** Counts the field as one that rows were made of. */
  uses(field: string): this {
    this.used.add(field);
    return this;
  }

  remark(text: string): void {
    this.remarks.set(text, (this.remarks.get(text) ?? 0) + 1);
  }
}

/** A format of files: how its records are recognized and read. */
export interface Format {
  readonly name: string;
  /** Whether this record, the file's first, is one of the format. */
  matches(record: unknown): boolean;
  /**
   * The rows of one record: none where it is empty, one a turn where it is a conversation; undefined where it is no request,
   * which a remark says.
   * @throws Error that names the field and what to do.
   */
  read(record: unknown, notes: Notes): Row[] | undefined;
  /** What records like this one, which has been read, look like; undefined where each is to be looked at. */
  like?(record: Json, notes: Notes): Likeness | undefined;
  /** The field that makes a record a conversation of several turns, for messages. */
  readonly turnsIn?: string;
  /** Sets of conversations of which the tools that read them send the first turn, each apart. */
  readonly firstTurn?: boolean;
  /** A conversation is spread over several records. */
  readonly grouped?: boolean;
}

/** The numbers from 0 to this one, which is left out. */
export function numbersTo(count: number): Uint32Array {
  const numbers = new Uint32Array(count);
  for (let k = 0; k < count; k++) numbers[k] = k;
  return numbers;
}

/** Puts the numbers into an order drawn by the seed. */
export function shuffled(numbers: Uint32Array, seed: number): Uint32Array {
  const rng = seededRng(seed, 0x53485546);
  for (let i = numbers.length - 1; i > 0; i--) {
    const k = randomInt(rng, 0, i);
    const last = numbers[i] ?? 0;
    numbers[i] = numbers[k] ?? 0;
    numbers[k] = last;
  }
  return numbers;
}
