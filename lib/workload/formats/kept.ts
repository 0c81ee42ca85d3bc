/** What of a row the load keeps. */
import type { Input } from "../prompt";
import type { Notes, Row } from "./row";

/** A row as the load keeps it, in JSON: a prompt, or of a trace lengths. */
export interface KeptRow {
  readonly input?: Input;
  readonly body?: Readonly<Record<string, unknown>>;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly ceiling?: boolean;
  readonly blockIds?: readonly number[];
}

/** Tools and response formats constrain what is generated: forcing a length beside them would break it. */
const constraining = [
  "tools",
  "functions",
  "response_format",
  "guided_json",
  "guided_regex",
  "guided_choice",
  "guided_grammar",
  "structured_outputs",
];

/** The prompt of a row. */
export function promptOf({ input, body, inputTokens, outputTokens, ceiling }: Row, notes: Notes): KeptRow {
  const free = ceiling || constraining.some((name) => body?.[name] !== undefined);
  if (ceiling)
    notes.remark("max_tokens and the like are ceilings: the answer may end before them (IGNORE_EOS does not apply)");
  else if (free) notes.remark("rows with tools or a response format are sent without a forced length");
  return { input, body, inputTokens, outputTokens, ...(free ? { ceiling: true } : {}) };
}
