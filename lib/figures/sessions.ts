/** What the conversations of a level came to, from their records. Pure. */
import type { LevelSummary, SessionSummary, TurnSummary } from "./level-summary";
import { statsOf } from "./percentile";
import type { RequestLine, SessionLine } from "./records";

const nsPerMs = 1e6;
/** Turns beyond it share the last place. */
const mostTurns = 1000;

/** The conversations that have ended; nothing where there is none. `requests` has their turns. */
export function foldSessions(
  sessions: readonly SessionLine[],
  requests: readonly RequestLine[],
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
function tasksOf(turns: readonly RequestLine[]): number[] {
  const tasks: { beganNs: number; endNs: number }[] = [];
  for (const { tool, scheduledNs = 0, endNs = 0 } of [...turns].sort((a, b) => (a.turn ?? 0) - (b.turn ?? 0))) {
    const last = tasks.at(-1);
    if (tool && last) last.endNs = Math.max(last.endNs, endNs);
    else tasks.push({ beganNs: scheduledNs, endNs });
  }
  return tasks.map(({ beganNs, endNs }) => endNs - beganNs);
}

/** The steady requests by the turn of their conversation; nothing where none is one. */
export function foldTurns(
  steady: readonly RequestLine[],
  cachedKnown: boolean,
  figuresOf: FiguresOf,
): Pick<LevelSummary, "turns"> {
  const byTurn = groupBy(steady, ({ turn = 0 }) => (turn === 0 ? undefined : Math.min(turn, mostTurns)));
  if (byTurn.size === 0) return {};
  const last = [...byTurn.keys()].reduce((a, b) => Math.max(a, b));
  const turns = Array.from({ length: last }, (_, k) => turnOf(k + 1, byTurn.get(k + 1) ?? [], cachedKnown, figuresOf));
  return { turns };
}

type FiguresOf = (request: RequestLine) => { readonly ttftMs?: number; readonly outputSpeed?: number };

function turnOf(
  turn: number,
  requests: readonly RequestLine[],
  cachedKnown: boolean,
  figuresOf: FiguresOf,
): TurnSummary {
  const completed = requests.filter(({ outcome }) => outcome === "completed");
  const figures = completed.map(figuresOf);
  const measured = (values: readonly (number | undefined)[]) =>
    values.filter((value): value is number => value !== undefined && value >= 0);
  const inputTokens = completed.reduce((sum, each) => sum + (each.inputTokens ?? 0), 0);
  const cachedTokens = completed.reduce((sum, each) => sum + (each.cachedTokens ?? 0), 0);
  return {
    turn,
    requests: requests.length,
    completed: completed.length,
    inputTokens,
    cachedTokens,
    ...(cachedKnown && inputTokens > 0 ? { cachedShare: cachedTokens / inputTokens } : {}),
    ttftMs: statsOf(measured(figures.map(({ ttftMs }) => ttftMs))),
    outputSpeed: statsOf(measured(figures.map(({ outputSpeed }) => outputSpeed))),
  };
}

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
