/** Synthetic runs whose summary says what a run's own would: of sessions, parts of the window, the server's side and costs. */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { withCosts } from "../../lib/figures/computed-gauges";
import { foldRecords } from "../../lib/figures/fold";
import type { LevelSummary, Summary } from "../../lib/figures/level-summary";
import { statsOf } from "../../lib/figures/percentile";
import type { LevelLine, RecordLine } from "../../lib/figures/records";
import type { PointsLine } from "../../lib/figures/server";
import { withServer } from "../../lib/figures/server-pages";
import { foldSlices } from "../../lib/figures/slices";
import { readRecords, requestsIn } from "./run";
import { type RunSpec, writeRun } from "./synthetic";

/** Writes a results folder as writeRun does, with the levels folded from its records by what the product folds with. */
export function writeFolded(spec: RunSpec, parent: string, name: string): string {
  const run = writeRun(spec, parent, name);
  const lines = readRecords(path.join(run, "records.ndjson.gz")) as (RecordLine | PointsLine)[];
  const series = lines.filter((line): line is PointsLine => line.type === "points");
  const records = lines.filter((line): line is RecordLine => line.type !== "points");
  const file = path.join(run, "summary.json");
  const summary = JSON.parse(readFileSync(file, "utf8")) as Summary;
  const { SLICES: parts } = summary.config;
  const levels = foldRecords(records).levels.map((level): LevelSummary => {
    const window = records.find((line): line is LevelLine => line.type === "level" && line.name === level.name);
    if (typeof parts !== "number" || !window) return level;
    const own = requestsIn(records).filter((line) => line.level === level.name);
    return { ...level, slices: foldSlices(own, window, parts) };
  });
  const state = { polls: 1, failed: 0, skipped: 0, error: "", bytes: 1000, seconds: 1, cpuShare: 0 };
  const states = [...new Set(series.map(({ page = 0 }) => page))].map(() => ({
    ...{ ...state, pageMs: statsOf([1]), readMs: statsOf([1]) },
  }));
  const polled = withServer({ ...summary, levels }, summary.config, { series, states });
  writeFileSync(file, JSON.stringify({ ...summary, ...withCosts(polled, summary.config).report }));
  return run;
}
