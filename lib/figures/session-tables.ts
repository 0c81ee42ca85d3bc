/** Conversations in lines: how sessions ended, and how their turns went. Pure: text from summaries. */
import { type Freed, withFreed } from "./freed";
import type { LevelSummary, SessionSummary, TurnSummary } from "./level-summary";
import { type Column, filledColumns, percent, shortNumber, textTable } from "./table";

interface SessionRow extends SessionSummary {
  readonly name: string;
}

const seconds = (ms: number, count: number) => (count > 0 ? shortNumber(ms / 1000) : "-");

const sessionColumns: Column<SessionRow>[] = [
  { heading: "level", left: true, cell: ({ name }) => name },
  { heading: "sessions", cell: ({ sessions }) => String(sessions) },
  { heading: "completed", cell: ({ completed }) => String(completed) },
  { heading: "failed", cell: ({ failed }) => (failed > 0 ? String(failed) : "") },
  { heading: "abandoned", cell: ({ abandoned }) => (abandoned > 0 ? String(abandoned) : "") },
  { heading: "cut", cell: ({ cut }) => (cut > 0 ? String(cut) : "") },
  { heading: "turns", cell: ({ turns }) => String(turns) },
  { heading: "not sent", cell: ({ notSent }) => (notSent > 0 ? String(notSent) : "") },
  { heading: "session p50", cell: ({ durationMs }) => seconds(durationMs.p50, durationMs.count) },
  { heading: "p99 s", cell: ({ durationMs }) => seconds(durationMs.p99, durationMs.count) },
  { heading: "task p50", cell: ({ taskMs }) => seconds(taskMs.p50, taskMs.count) },
  { heading: "p99 s", cell: ({ taskMs }) => seconds(taskMs.p99, taskMs.count) },
  { heading: "waits p50 s", cell: ({ waitMs }) => seconds(waitMs.p50, waitMs.count) },
];

const milliseconds = (value: number, count: number) => (count > 0 ? shortNumber(value) : "-");

const turnColumns: Column<TurnSummary>[] = [
  { heading: "turn", cell: ({ turn }) => String(turn) },
  { heading: "requests", cell: ({ requests }) => String(requests) },
  {
    heading: "input tokens",
    cell: ({ inputTokens, completed }) => (completed > 0 ? shortNumber(inputTokens / completed) : "-"),
  },
  { heading: "cached", cell: ({ cachedShare }) => (cachedShare === undefined ? "" : percent(cachedShare)) },
  { heading: "TTFT p50", cell: ({ ttftMs }) => milliseconds(ttftMs.p50, ttftMs.count) },
  { heading: "p99 ms", cell: ({ ttftMs }) => milliseconds(ttftMs.p99, ttftMs.count) },
  { heading: "tok/s a request", cell: ({ outputSpeed }) => milliseconds(outputSpeed.p50, outputSpeed.count) },
];

/** More turns than these are shown in part: summary.json has all. */
const shownTurns = 20;

/** The table of sessions, and of each level the table of its turns; "" where there was no session. */
export function sessionTables(levels: readonly LevelSummary[]): string {
  const rows = levels.flatMap(({ name, sessions }) => (sessions ? [{ ...sessions, name }] : []));
  if (rows.length === 0) return "";
  const table = textTable(filledColumns(sessionColumns, rows), rows);
  const turns = levels.flatMap(({ name, turns = [] }) => {
    if (turns.length === 0) return [];
    const shown = turns.slice(0, shownTurns);
    const rest = turns.length > shown.length ? `\n  (${turns.length - shown.length} more turns in summary.json)` : "";
    return [`${name} by turn\n${textTable(filledColumns(turnColumns, shown), shown)}${rest}`];
  });
  return [table, ...turns].join("\n\n");
}

/** What conversations show. */
export const sessionResults = (levels: readonly LevelSummary[], freed: readonly Freed[]) =>
  withFreed(sessionTables(levels), freed);
