/** How does the server serve conversations, turn after turn? */
import { freedLine } from "../../../lib/figures/freed";
import { formatMs, formatNumber, formatShare } from "../../format";
import type { LevelSummary, Results } from "../../read/read";
import type { Answer } from "../answer";
import { drawCurves, type Picture } from "../chart";
import type { Table } from "../table";
import { failureSentence, failuresTable, levelsTable, percentilesTable, present, statusTable } from "./levels";

export function conversations([run]: [Results, ...Results[]]): Answer {
  const levels = run.levelSummaries;
  return {
    sentences: [
      ...levels.flatMap(sessionSentences),
      ...(run.summary?.freed ?? []).map(freedLine).map((line) => `${line[0]?.toUpperCase()}${line.slice(1)}.`),
      failureSentence(levels),
    ],
    sections: [
      {
        heading: "Turn by turn",
        pictures: turnPictures(levels),
        tables: conversationTables(levels),
      },
      {
        heading: "Requests",
        pictures: [],
        tables: [levelsTable(levels, { key: "level", title: "Level" }, (level) => level.name)],
      },
      {
        heading: "Failures and details",
        pictures: [],
        tables: present([failuresTable(levels), statusTable(levels), percentilesTable(levels)]),
      },
    ],
    files: [],
  };
}

/** The tables of sessions and turns; none where there was no session. */
export function conversationTables(levels: readonly LevelSummary[]): Table[] {
  return present([sessionsTable(levels), turnsTable(levels)]);
}

/** What a level's sessions came to, and what the first turn and the last one took. */
function sessionSentences({ name, sessions, turns = [] }: LevelSummary): string[] {
  if (!sessions) return [`No session of ${name} ended.`];
  const { completed, durationMs } = sessions;
  const ended = `${name}: ${completed.toLocaleString("en-US")} of ${sessions.sessions.toLocaleString("en-US")} sessions completed`;
  const took = durationMs.count > 0 ? `, half of them within ${formatNumber(durationMs.p50 / 1000)} s` : "";
  const lines = [`${ended}${took}.`];
  const [first, last] = [turns[0], turns.at(-1)];
  if (first && last && first !== last && first.ttftMs.count > 0 && last.ttftMs.count > 0) {
    const cached = last.cachedShare === undefined ? "" : `, of whose input ${formatShare(last.cachedShare)} was cached`;
    lines.push(
      `TTFT p50 is ${formatMs(first.ttftMs.p50)} in turn 1 and ${formatMs(last.ttftMs.p50)} in turn ${last.turn}${cached}.`,
    );
  }
  if (sessions.notSent > 0) {
    lines.push(
      `${sessions.notSent.toLocaleString("en-US")} turns were not sent: their sessions failed, were abandoned or were cut before.`,
    );
  }
  return lines;
}

function turnPictures(levels: readonly LevelSummary[]): Picture[] {
  const known = levels.filter(({ turns = [] }) => turns.some(({ ttftMs }) => ttftMs.count > 0));
  if (known.length === 0) return [];
  const x = { title: "Turn" };
  const several = known.length > 1;
  const cached = known.filter(({ turns = [] }) => turns.some(({ cachedShare }) => cachedShare !== undefined));
  return drawCurves({
    name: "turns",
    title: cached.length > 0 ? "TTFT and cached input by turn" : "TTFT by turn",
    alt: "Time to first token p50 and p99, and the share of the input that the server had cached, against the turn",
    panels: [
      {
        x,
        y: { title: "TTFT (ms)", min: 0 },
        series: known.flatMap(({ name, turns = [] }, color) =>
          (["p50", "p99"] as const).map((p) => ({
            name: several ? `${name} ${p}` : p,
            color: several ? color : undefined,
            dash: p === "p99" ? ("dashed" as const) : ("solid" as const),
            symbols: true,
            points: turns.map(({ turn, ttftMs }) => [turn, ttftMs.count > 0 ? ttftMs[p] : null] as const),
          })),
        ),
      },
      ...(cached.length > 0
        ? [
            {
              x,
              y: { title: "Cached input (%)", min: 0, max: 100 },
              series: cached.map(({ name, turns = [] }) => ({
                name,
                symbols: true,
                points: turns.map(
                  ({ turn, cachedShare }) => [turn, cachedShare === undefined ? null : 100 * cachedShare] as const,
                ),
              })),
              height: 160,
            },
          ]
        : []),
    ],
  });
}

function sessionsTable(levels: readonly LevelSummary[]): Table | undefined {
  const rows = levels.flatMap(({ name, sessions }) => (sessions ? [{ name, ...sessions }] : []));
  if (rows.length === 0) return undefined;
  const inS = (ms: number, count: number) => (count > 0 ? ms / 1000 : null);
  return {
    name: "sessions",
    title: "Sessions",
    note: "A session lasts from its scheduled time to the last end of a turn, waits included; a task from a user's turn to the last end before the user's next one. Both are those of completed sessions.",
    columns: [
      { key: "level", title: "Level" },
      { key: "sessions", title: "Sessions", format: "integer" },
      { key: "completed", title: "Completed", format: "integer" },
      { key: "failed", title: "Failed", format: "integer" },
      { key: "abandoned", title: "Abandoned", format: "integer" },
      { key: "cut", title: "Cut", format: "integer" },
      { key: "turns", title: "Turns", format: "integer" },
      { key: "not_sent", title: "Not sent", format: "integer" },
      { key: "session_p50_s", title: "Session p50", unit: "s" },
      { key: "session_p99_s", title: "Session p99", unit: "s" },
      { key: "task_p50_s", title: "Task p50", unit: "s" },
      { key: "task_p99_s", title: "Task p99", unit: "s" },
      { key: "waits_p50_s", title: "Waits p50", unit: "s" },
    ],
    rows: rows.map(({ name, durationMs, taskMs, waitMs, notSent, ...counts }) => ({
      level: name,
      ...{ sessions: counts.sessions, completed: counts.completed, failed: counts.failed },
      ...{ abandoned: counts.abandoned, cut: counts.cut, turns: counts.turns, not_sent: notSent },
      session_p50_s: inS(durationMs.p50, durationMs.count),
      session_p99_s: inS(durationMs.p99, durationMs.count),
      task_p50_s: inS(taskMs.p50, taskMs.count),
      task_p99_s: inS(taskMs.p99, taskMs.count),
      waits_p50_s: inS(waitMs.p50, waitMs.count),
    })),
  };
}

function turnsTable(levels: readonly LevelSummary[]): Table | undefined {
  const rows = levels.flatMap(({ name, turns = [] }) => turns.map((turn) => ({ name, ...turn })));
  if (rows.length === 0) return undefined;
  const of = (value: number, count: number) => (count > 0 ? value : null);
  return {
    name: "turns",
    title: "Turns",
    note: "The steady requests that were the same turn of their sessions.",
    columns: [
      { key: "level", title: "Level" },
      { key: "turn", title: "Turn", format: "integer" },
      { key: "requests", title: "Requests", format: "integer" },
      { key: "completed", title: "Completed", format: "integer" },
      { key: "input_tokens_mean", title: "Input", unit: "tokens" },
      { key: "cached_share", title: "Cached input", unit: "of input tokens", format: "share" },
      { key: "ttft_p50_ms", title: "TTFT p50", unit: "ms" },
      { key: "ttft_p99_ms", title: "TTFT p99", unit: "ms" },
      { key: "output_speed_p50_tokens_per_s", title: "Speed p50", unit: "tok/s a request" },
    ],
    rows: rows.map(({ name, turn, requests, completed, inputTokens, cachedShare, ttftMs, outputSpeed }) => ({
      level: name,
      ...{ turn, requests, completed },
      input_tokens_mean: of(inputTokens / Math.max(1, completed), completed),
      cached_share: cachedShare ?? null,
      ttft_p50_ms: of(ttftMs.p50, ttftMs.count),
      ttft_p99_ms: of(ttftMs.p99, ttftMs.count),
      output_speed_p50_tokens_per_s: of(outputSpeed.p50, outputSpeed.count),
    })),
  };
}
