/** Whether a server stopped working for clients that had abandoned their requests. Pure. */

import type { OwnResults } from "./level-summary";

/** What a server's metrics page said behind the load of a run with ABANDON. */
export interface Freed {
  /** The class of a mix whose server it is. */
  class?: string | undefined;
  /** Requests that were still running or waiting, of all clients; absent where the page says nothing of them. */
  left?: number | undefined;
  /** From the end of the load to the last look at the page, s. */
  waitedS: number;
}

export function freedLine({ class: of, left, waitedS }: Freed): string {
  const server = of === undefined ? "the server" : `the server of ${of}`;
  const when = waitedS === 0 ? "when the load ended" : `${+waitedS.toFixed(1)} s after the end of the load`;
  if (left === undefined)
    return `whether ${server} freed abandoned requests is unknown: its metrics page has no gauge of them`;
  return left > 0
    ? `${server} still works on ${left} requests ${when}: it does not notice that a client is gone`
    : `${server} had freed all abandoned requests ${when}`;
}

/** What a load of conversations shows: its tables, and below them what became of abandoned requests. */
export function withFreed(text: string, freed: readonly Freed[]): OwnResults {
  return { text: [text, freed.map(freedLine).join("\n")].filter(Boolean).join("\n\n"), freed };
}
