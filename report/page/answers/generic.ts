/** The answer for a scenario that has none of its own, a user's for one, and for several runs beside each other. */
import { formatMs, formatNumber } from "../../format";
import { levelFails } from "../../judge/level-state";
import type { LevelSummary, Results } from "../../read/read";
import type { Answer } from "../answer";
import { runColumn, type ShownRun, shownRuns } from "../sections/runs";
import type { Table } from "../table";
import {
  failureSentence,
  failuresTable,
  levelsTable,
  levelWords,
  measured,
  percentilesTable,
  present,
  statusTable,
} from "./levels";

export function generic(runs: readonly [Results, ...Results[]]): Answer {
  const shown = shownRuns(runs);
  const several = shown.length > 1;
  const tables = (make: (levels: LevelSummary[]) => Table | undefined): Table[] => {
    const made = shown.flatMap((each) => {
      const table = make(each.run.levelSummaries);
      return table ? [{ each, table }] : [];
    });
    const [first] = made;
    return first
      ? [
          joined(
            shown,
            made.map(({ each, table }) => [each, table] as const),
            first.table,
          ),
        ]
      : [];
  };
  return {
    sentences: shown.map(({ run, label }) => `${several ? `${label} (${run.name}): ` : ""}${words(run)}`),
    sections: [
      {
        heading: "Levels",
        pictures: [],
        tables: present([
          ...tables((levels) => levelsTable(levels, { key: "level", title: "Level" }, (level) => level.name)),
          ...tables(failuresTable),
          ...tables(statusTable),
          ...tables(percentilesTable),
        ]),
      },
    ],
    files: [],
  };
}

/** The tables of several runs as one, with a column that names the run; columns that only some have are kept. */
function joined(shown: readonly ShownRun[], tables: readonly (readonly [ShownRun, Table])[], first: Table): Table {
  const columns = [...runColumn(shown)];
  for (const [, table] of tables)
    for (const column of table.columns) if (!columns.some(({ key }) => key === column.key)) columns.push(column);
  return {
    ...first,
    columns,
    rows: tables.flatMap(([{ label }, { rows }]) => rows.map((row) => ({ run: label, ...row }))),
  };
}

function words(run: Results): string {
  const levels = run.levelSummaries;
  const passing = levels.filter((level) => level.completed > 0 && !levelFails(run, level));
  const failures = failureSentence(levels);
  if (levels.every(({ completed }) => completed === 0)) return `No request completed. ${failures}`;
  const [first, ...rest] = passing;
  if (!first) return `Every level violated a threshold. ${failures}`;
  const tokens = passing.some(({ outputTokens }) => outputTokens > 0);
  const throughput = (level: LevelSummary) => (tokens ? level.outputThroughput : level.requestThroughput);
  const best = rest.reduce((most, level) => (throughput(level) > throughput(most) ? level : most), first);
  const latency = measured(best, "ttftMs") ?? measured(best, "e2eMs");
  const name = measured(best, "ttftMs") ? "TTFT" : "e2e latency";
  const at = latency ? ` at ${name} p50 ${formatMs(latency.p50)}, p99 ${formatMs(latency.p99)}` : "";
  const unit = tokens ? "output tokens/s" : "requests/s";
  const which = levels.length > 1 ? ` in ${best.name} (${levelWords(best)})` : "";
  return `The server delivers ${levels.length > 1 ? "at most " : ""}${formatNumber(throughput(best))} ${unit}${which}${at}. ${failures}`;
}
