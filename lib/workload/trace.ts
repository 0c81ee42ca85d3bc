import type { Prompt } from "./prompt";

/** One request of a recorded trace. */
export interface TraceRow extends Pick<Partial<Prompt>, "input" | "body" | "ceiling"> {
  /** Length of the input, which is made of words where the row has no `input`. */
  readonly inputTokens?: number;
  readonly outputTokens: number;
  /** One id a block of input tokens; equal ids at the beginning mean a shared prefix. */
  readonly blockIds?: readonly number[];
}

/** The requests of a trace by number, in the order of their times. */
export interface Trace {
  readonly length: number;
  /** When each is sent, ms from the begin of the load; of the first VU only. */
  readonly timesMs?: Float64Array | undefined;
  /** Input tokens that an id stands for; by default Mooncake's. */
  readonly blockTokens?: number | undefined;
  at(index: number): TraceRow | undefined;
}

/** Input tokens that one of a Mooncake trace's block ids stands for. */
export const blockTokens = 512;
