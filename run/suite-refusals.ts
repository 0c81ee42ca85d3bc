/**
 * Lengths that a server does not serve: a context that is too small refuses the prompt, or cuts the output. Such lengths are
 * left out of the suite with the server's words, and the others are measured. Pure.
 */
import { plural } from "../report/format";
import type { LevelSummary, Results } from "../report/read/read";
import { Rows } from "../report/read/rows";
import { greatest } from "../report/statistics";
import type { Lengths } from "./suite-plan";

/** Lengths that were not measured, and why. */
export interface LeftOut {
  /** The step that found it. */
  readonly step: string;
  readonly inputTokens: number;
  /** undefined: of prompt ingestion, whose output is of no matter. */
  readonly outputTokens?: number;
  /** HTTP status of the replies. */
  readonly status: number;
  /** What the server said. */
  readonly words: string;
}

/** What a request is refused with that can never be served: wrong as it is, too large, or not to be processed. */
const refusing: readonly number[] = [400, 413, 422];
/** Words of servers that refuse a long prompt with another status, or within a stream. */
const aboutLength = /context|max_model_len|too (long|large)|maximum.*(length|tokens)|exceed/i;

/**
 * Why the server does not serve the lengths of a level: no request completed, and each was refused for what it asks for, or got
 * fewer tokens than it was forced to. Undefined where a request completed, or one failed for another reason.
 */
export function refusalOf(run: Results, level: LevelSummary): Pick<LeftOut, "status" | "words"> | undefined {
  const rows = (run.requests ?? Rows.of([])).filter((row) => row.level === level.name && row.failure !== "interrupted");
  const first = rows.at(0);
  if (!first || level.completed > 0 || rows.some(({ completed }) => completed)) return undefined;
  if (rows.every(({ failure }) => failure === "short")) return { status: first.status, words: cutWords(rows) };
  if (!rows.every(({ failure }) => failure === first.failure)) return undefined;
  const ofClass = run.failures.filter(({ failure }) => failure === first.failure);
  const failure = ofClass.find((each) => each.level === level.name) ?? ofClass[0];
  const words = failure?.message ?? "";
  const refused = first.failure === "http_4xx" && rows.every(({ status }) => refusing.includes(status));
  if (!refused && !aboutLength.test(words)) return undefined;
  return { status: first.status, words: words || "(no message)" };
}

function cutWords(rows: Rows): string {
  const most = greatest(rows.numbers(({ outputTokens }) => outputTokens));
  const reasons = [...new Set(rows.map(({ finishReason }) => finishReason || "none"))];
  return `the server ended every response after ${plural(most, "token")} or fewer (finish_reason ${reasons.join(", ")})`;
}

/** "input 4096, output 16 left out: HTTP 400, This model's maximum context length is ..." */
export function leftOutLine({ inputTokens, outputTokens, status, words }: LeftOut): string {
  return `${lengthsWords({ inputTokens, outputTokens })} left out: HTTP ${status}, ${words}`;
}

export const lengthsWords = ({ inputTokens, outputTokens }: Pick<LeftOut, "inputTokens" | "outputTokens">): string =>
  outputTokens === undefined
    ? `ingestion of ${inputTokens} tokens`
    : `input ${inputTokens}, output ${outputTokens} tokens`;

/** Whether a pair of lengths was left out. */
export const isLeftOut = (leftOut: readonly LeftOut[], pair: Lengths): boolean =>
  leftOut.some(
    ({ inputTokens, outputTokens }) => inputTokens === pair.inputTokens && outputTokens === pair.outputTokens,
  );
