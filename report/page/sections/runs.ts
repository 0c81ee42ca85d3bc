/** What the sections of a page need of the runs that it shows, one or several. */
import type { LevelSummary, RequestRow, Results, Rows } from "../../read/read";
import { evenly } from "../evenly";
import type { Column } from "../table";

/** A run with the name that it has on the page: "" where it is the only one. */
export interface ShownRun {
  run: Results;
  label: string;
}

/** The runs with the letters A, B, C... where there are several. */
export function shownRuns(runs: readonly Results[]): ShownRun[] {
  return runs.map((run, i) => ({ run, label: runs.length === 1 ? "" : String.fromCharCode(65 + i) }));
}

/** A column that names the run, where there are several. */
export const runColumn = (shown: readonly ShownRun[]): Column[] =>
  shown.length > 1 ? [{ key: "run", title: "Run" }] : [];

/** More levels than this are thinned out in charts that draw a line each. */
const mostLevels = 12;

/** The levels that charts draw: of many, evenly chosen ones, the first and the last among them. */
export function drawnLevels(levels: readonly LevelSummary[]): LevelSummary[] {
  return evenly(levels.length, mostLevels).map((i) => levels[i] as LevelSummary);
}

/** "A c8" or "c8". */
export const seriesName = (label: string, name: string): string => [label, name].filter(Boolean).join(" ");

/** The rows of each level, of the phases that are asked for, in the order of the records. */
export function rowsByLevel(run: Results, keep: (row: RequestRow) => boolean): Map<string, Rows> {
  return run.requests?.filter(keep).groupBy(({ level }) => level) ?? new Map();
}

/** Numbers as a chart keeps them: six digits are more than a screen shows. */
export const rounded = (value: number): number => Number(value.toPrecision(6));
