/** What the conversations of a level came to, from their records. Pure. */
import { Column } from "./column";
import type { LevelSummary, SessionSummary, TurnSummary } from "./level-summary";
import { statsOf } from "./percentile";
import type { RequestLine, SessionLine } from "./records";

const nsPerMs = 1e6;
/** Turns beyond it share the last place. */
const mostTurns = 1000;

/** The conversations that have ended; nothing where there is none. `requests` has their turns. */
export function foldSessions(
  sessions: readonly SessionLine[],
  requests: readonly TurnTime[],
): Pick<LevelSummary, "sessions"> {
  if (sessions.length === 0) return {};
  const of = (outcome: SessionLine["outcome"]) => sessions.filter((each) => each.outcome === outcome);
  const completed = of("completed").filter(({ endNs = 0 }) => endNs > 0);
  const turnsOf = groupBy(requests, ({ session }) => session);
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const summary: SessionSummary = {
    sessions: sessions.length,
    completed: of("completed").length,
    failed: of("failed").length,
    abandoned: of("abandoned").length,
    cut: of("cut").length,
    turns: sum(sessions.map(({ turns = 0 }) => turns)),
    notSent: sum(sessions.map(({ notSent = 0 }) => notSent)),
    durationMs: statsOf(completed.map(({ startNs = 0, endNs = 0 }) => (endNs - startNs) / nsPerMs)),
    taskMs: statsOf(completed.flatMap(({ id }) => tasksOf(turnsOf.get(id) ?? [])).map((ns) => ns / nsPerMs)),
    waitMs: statsOf(completed.map(({ waitNs = 0 }) => waitNs / nsPerMs)),
  };
  return { sessions: summary };
}

/** How long each task of a session took, ns: from the scheduled time of a user's turn to the last end before the next one. */
function tasksOf(turns: readonly TurnTime[]): number[] {
  const tasks: { beganNs: number; endNs: number }[] = [];
  for (const { tool, scheduledNs = 0, endNs = 0 } of [...turns].sort((a, b) => (a.turn ?? 0) - (b.turn ?? 0))) {
    const last = tasks.at(-1);
    if (tool && last) last.endNs = Math.max(last.endNs, endNs);
    else tasks.push({ beganNs: scheduledNs, endNs });
  }
  return tasks.map(({ beganNs, endNs }) => endNs - beganNs);
}

/** The times of a turn of a session. */
export type TurnTime = Pick<RequestLine, "session" | "turn" | "tool" | "scheduledNs" | "endNs">;

/** The times of all turns, which is what sessions need of the requests. */
export class TurnTimes {
  readonly all: TurnTime[] = [];
  /** One text for all turns of a session. */
  readonly #ids = new Map<string, string>();

  add({ session, turn, tool, scheduledNs, endNs }: RequestLine): void {
    if (session === undefined) return;
    const id = this.#ids.get(session) ?? session;
    if (id === session) this.#ids.set(session, id);
    this.all.push({ session: id, turn, tool, scheduledNs, endNs });
  }
}

/** What is counted of a turn. */
interface TurnCounts {
  requests: number;
  completed: number;
  inputTokens: number;
  cachedTokens: number;
  readonly ttftMs: Column;
  readonly outputSpeed: Column;
}

/** The steady requests by the turn of their conversation. */
export class TurnFold {
  readonly #turns = new Map<number, TurnCounts>();

  add(request: RequestLine, figures: { readonly ttftMs?: number; readonly outputSpeed?: number }): void {
    const { turn = 0, inputTokens = 0, cachedTokens = 0 } = request;
    if (turn === 0) return;
    const counts = this.#countsOf(Math.min(turn, mostTurns));
    counts.requests++;
    if (request.outcome !== "completed") return;
    counts.completed++;
    counts.inputTokens += inputTokens;
    counts.cachedTokens += cachedTokens;
    for (const key of ["ttftMs", "outputSpeed"] as const) {
      const value = figures[key];
      if (value !== undefined && value >= 0) counts[key].push(value);
    }
  }

  /** The turns up to the last one; nothing where no request is one. */
  summary(cachedKnown: boolean): Pick<LevelSummary, "turns"> {
    if (this.#turns.size === 0) return {};
    const last = [...this.#turns.keys()].reduce((a, b) => Math.max(a, b));
    return { turns: Array.from({ length: last }, (_, k) => this.#turn(k + 1, cachedKnown)) };
  }

  #turn(turn: number, cachedKnown: boolean): TurnSummary {
    const { ttftMs, outputSpeed, ...counts } = this.#turns.get(turn) ?? noTurn();
    const { inputTokens, cachedTokens } = counts;
    return {
      turn,
      ...counts,
      ...(cachedKnown && inputTokens > 0 ? { cachedShare: cachedTokens / inputTokens } : {}),
      ttftMs: statsOf(ttftMs.values),
      outputSpeed: statsOf(outputSpeed.values),
    };
  }

  #countsOf(turn: number): TurnCounts {
    const known = this.#turns.get(turn);
    if (known) return known;
    const counts = noTurn();
    this.#turns.set(turn, counts);
    return counts;
  }
}

const noTurn = (): TurnCounts => ({
  ...{ requests: 0, completed: 0, inputTokens: 0, cachedTokens: 0 },
  ...{ ttftMs: new Column(), outputSpeed: new Column() },
});

function groupBy<T, K>(values: readonly T[], keyOf: (value: T) => K | undefined): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const value of values) {
    const key = keyOf(value);
    if (key === undefined) continue;
    const group = groups.get(key);
    if (group) group.push(value);
    else groups.set(key, [value]);
  }
  return groups;
}
