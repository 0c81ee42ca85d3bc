/** Whether a server stopped working for clients that had abandoned their requests. Pure. */

/** What a server's metrics page said behind the load of a run with ABANDON. */
export interface Freed {
  /** Of a mix: the class whose server it is. */
  class?: string;
  /** Requests that were still running or waiting, of all clients; absent where the page says nothing of them. */
  left?: number;
  /** From the end of the load to the last look at the page, s. */
  waitedS: number;
}

export function freedLine({ class: of, left, waitedS }: Freed): string {
  const server = of === undefined ? "the server" : `the server of ${of}`;
  if (left === undefined)
    return `whether ${server} freed abandoned requests is unknown: its metrics page says nothing of running requests`;
  if (left > 0)
    return `${server} still works on ${left} requests ${waitedS.toFixed(0)} s after the end of the load: it does not notice that a client is gone`;
  return waitedS === 0
    ? `${server} had freed all abandoned requests when the load ended`
    : `${server} had freed all abandoned requests ${waitedS.toFixed(1)} s after the end of the load`;
}
