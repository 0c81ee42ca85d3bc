/** Why requests failed, in the server's or the system's own words. */
import type { FailedLine } from "./records";

/** Requests that failed under one class with one message. */
export interface FailureWords {
  failure: string;
  message: string;
  count: number;
  /** The message of the first of them. */
  level: string;
  status: number;
  atNs: number;
}

/** Different messages of a class that are kept; the others are counted together. */
const mostMessages = 20;
/** Stands for the messages beyond. */
const otherMessages = "(other messages)";

/** Counts failures by class and message, in bounded memory: a server may name the request in each message. */
export class FailureFold {
  readonly #byClass = new Map<string, Map<string, FailureWords>>();

  add(line: FailedLine): void {
    const { failure, level, status = 0, endNs: atNs = 0 } = line;
    const known = this.#byClass.get(failure) ?? new Map<string, FailureWords>();
    this.#byClass.set(failure, known);
    const own = line.message ?? "";
    const message = known.has(own) || known.size < mostMessages ? own : otherMessages;
    const words = known.get(message);
    if (words) words.count++;
    else known.set(message, { failure, message, count: 1, level, status, atNs });
  }

  /** The commonest first. */
  get words(): FailureWords[] {
    return [...this.#byClass.values()]
      .flatMap((messages) => [...messages.values()])
      .sort((a, b) => b.count - a.count || a.atNs - b.atNs);
  }
}
