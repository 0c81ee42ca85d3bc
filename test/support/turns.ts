/** What a run of conversations says of each request, held against what the server did for it. Pure. */
import { figuresOf as latenciesOf } from "../../lib/figures/fold";
import type { RequestLine, SessionLine } from "../../lib/figures/records";
import type { RequestTruth } from "./simulated";

/** Figures of turns; errors are the client's minus the truth's. */
export interface TurnFigures {
  /** Requests that only one of the two has. */
  readonly unmatched: number;
  /** Of the turn whose mean TTFT is farthest from the truth's, ms. */
  readonly turnTtftErrorMs: number;
  /** Requests whose input or cached input is not what the server counted. */
  readonly cachedWrong: number;
  /** Of the turn whose cached share of the input is farthest from the truth's. */
  readonly turnCachedError: number;
  /**
   * Of the turn with the largest difference: mean time from when a turn was scheduled (behind the think time) to its last
   * output, less the server's own time for it, ms. A think time in a latency would be in it whole.
   */
  readonly thinkErrorMs: number;
  /** Least mean think time of a turn behind the first, ms: what thinkErrorMs would hold. */
  readonly leastThinkMs: number;
  readonly mostSessions: number;
  readonly vus: number;
}

/** Compares a run's records with the truth of the same requests. */
export function turnFigures(
  requests: readonly RequestLine[],
  sessions: readonly SessionLine[],
  truths: readonly RequestTruth[],
): TurnFigures {
  const truth = new Map(truths.map((each) => [each.id, each]));
  const own = requests.flatMap((line) => {
    const of = truth.get(line.id ?? "");
    return of ? [{ line, of, turn: line.turn ?? 0 }] : [];
  });
  const endBefore = new Map(own.map(({ line, turn }) => [`${line.session} ${turn + 1}`, line.endNs ?? 0]));
  const turns = [...new Set(own.map(({ turn }) => turn))].map((turn) => {
    const rows = own.filter((each) => each.turn === turn);
    const mean = (of: (row: (typeof rows)[number]) => number) =>
      rows.reduce((sum, row) => sum + of(row), 0) / rows.length;
    const firstSend = ({ of }: (typeof rows)[number]) => (of.sendsNs[0]?.[0] ?? Number.NaN) - of.beginNs;
    const lastSend = ({ of }: (typeof rows)[number]) => (of.sendsNs.at(-1)?.[0] ?? Number.NaN) - of.beginNs;
    return {
      turn,
      ttftErrorMs: mean((row) => (latenciesOf(row.line).ttftMs ?? Number.NaN) - firstSend(row) / 1e6),
      cachedError:
        mean(({ line }) => line.cachedTokens ?? 0) / mean(({ line }) => line.inputTokens ?? Number.NaN) -
        mean(({ of }) => of.cachedTokens ?? 0) / mean(({ of }) => of.promptTokens),
      thinkErrorMs: mean(
        (row) => ((row.line.lastOutputNs ?? Number.NaN) - (row.line.scheduledNs ?? Number.NaN) - lastSend(row)) / 1e6,
      ),
      thinkMs: mean(
        ({ line }) =>
          ((line.scheduledNs ?? Number.NaN) - (endBefore.get(`${line.session} ${turn}`) ?? Number.NaN)) / 1e6,
      ),
    };
  });
  const farthest = (values: readonly number[]) =>
    values.reduce((most, value) => (Number.isNaN(value) || Math.abs(value) > Math.abs(most) ? value : most), 0);
  return {
    unmatched: requests.length + truths.length - 2 * own.length,
    turnTtftErrorMs: farthest(turns.map(({ ttftErrorMs }) => ttftErrorMs)),
    cachedWrong: own.filter(
      ({ line, of }) => line.inputTokens !== of.promptTokens || (line.cachedTokens ?? 0) !== (of.cachedTokens ?? 0),
    ).length,
    turnCachedError: farthest(turns.map(({ cachedError }) => cachedError)),
    thinkErrorMs: farthest(turns.map(({ thinkErrorMs }) => thinkErrorMs)),
    leastThinkMs: Math.min(...turns.filter(({ turn }) => turn > 1).map(({ thinkMs }) => thinkMs)),
    mostSessions: mostAtOnce(sessions),
    vus: new Set(requests.map(({ vu }) => vu)).size,
  };
}

/** The most sessions that were open at once. */
function mostAtOnce(sessions: readonly SessionLine[]): number {
  const changes = sessions.flatMap(({ startNs = 0, endNs = 0 }): [number, number][] => [
    [startNs, 1],
    [endNs, -1],
  ]);
  // One that ends when another begins was open beside it for no time.
  changes.sort(([a, up], [b, down]) => a - b || up - down);
  let open = 0;
  return changes.reduce((most, [, by]) => {
    open += by;
    return Math.max(most, open);
  }, 0);
}
