/** The parts of a level's window, from records: what the extension folds while the run goes on. Pure. */
import { chunksOf, figuresOf } from "./fold";
import type { Slice } from "./level-summary";
import { statsOf } from "./percentile";
import type { LevelLine, RequestLine } from "./records";

const nsPerS = 1e9;

/** `count` equal parts of a window, of all requests of its level. */
export function foldSlices(
  requests: readonly RequestLine[],
  { openNs, closeNs, clientMB = [] }: Pick<LevelLine, "openNs" | "closeNs" | "clientMB">,
  count: number,
): Slice[] {
  const lengthNs = (closeNs - openNs) / count;
  const partOf = (ns: number) => (ns < openNs || ns >= closeNs ? -1 : Math.floor((ns - openNs) / lengthNs));
  const byPart = Array.from({ length: count }, () => [] as RequestLine[]);
  const tokens = Array.from({ length: count }, () => 0);
  for (const request of requests) {
    const { scheduledNs = 0, startedNs = 0 } = request;
    if (request.phase === "steady") byPart[partOf(scheduledNs || startedNs)]?.push(request);
    if (request.outcome === "failed") continue;
    for (const chunk of chunksOf(request)) {
      const part = partOf(chunk.atNs);
      if (part >= 0) tokens[part] = (tokens[part] ?? 0) + chunk.tokens;
    }
  }
  const isMeasured = (value: number | undefined): value is number => value !== undefined && value >= 0;
  return byPart.map((own, part) => {
    const completed = own.filter(({ outcome }) => outcome === "completed");
    const aborted = own.filter((each) => each.outcome === "failed" && each.failure === "aborted").length;
    const figures = completed.map(figuresOf);
    return {
      startS: (openNs + part * lengthNs) / nsPerS,
      durationS: lengthNs / nsPerS,
      requests: own.length,
      completed: completed.length,
      failed: own.length - completed.length - aborted,
      ttftMs: statsOf(figures.map(({ ttftMs }) => ttftMs).filter(isMeasured)),
      tpotMs: statsOf(figures.map(({ tpotMs }) => tpotMs).filter(isMeasured)),
      outputThroughput: (tokens[part] ?? 0) / (lengthNs / nsPerS),
      ...memoryOf(clientMB.map((of) => of[part] ?? 0)),
    };
  });
}

/** The memory of all clients in one part: of several it is known where each one's is. */
function memoryOf(clients: readonly number[]): Pick<Slice, "clientMB" | "runnersMB"> {
  if (clients.length === 0 || clients.includes(0)) return {};
  return { clientMB: Math.max(...clients), ...(clients.length > 1 && { runnersMB: [...clients] }) };
}
