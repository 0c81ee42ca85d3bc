/**
 * What a merged run shows and writes beside the table of levels, and the limits of its load's own, as one process does in
 * handleSummary. The load's kind follows from the settings that only such a load echoes, and from its levels. Pure.
 */

import { burstTable } from "../../lib/figures/burst";
import { curveText } from "../../lib/figures/curve";
import { driftLimits, driftText } from "../../lib/figures/drift";
import { ingestionText } from "../../lib/figures/ingestion";
import type { OwnResults, RunReport } from "../../lib/figures/level-summary";
import { phaseFigures } from "../../lib/figures/phase-split";
import { rampLines, secondsCsv } from "../../lib/figures/ramp";
import { requestFigures } from "../../lib/figures/request-benchmark";
import { sessionTables } from "../../lib/figures/session-tables";
import { togetherLine } from "../../lib/figures/together";

/** The settings of a run as it echoed them. */
type Echoed = Readonly<Record<string, unknown>>;

/** The results of a load; those of several kinds where it is of several. */
export function loadResults(report: RunReport, config: Echoed): OwnResults {
  const { levels, seconds, total } = report;
  if (total.requests === 0) return {};
  const has = (name: string) => config[name] !== undefined;
  const smoke = config.SMOKE === true;
  const texts: (string | undefined)[] = [];
  const files: Record<string, string> = {};
  if (has("MIX")) texts.push(togetherLine(total));
  if (levels.some(({ sessions }) => sessions)) texts.push(sessionTables(levels));
  else if (!has("MIX") && !has("DRIFT_LIMIT") && arrives(report, config) && seconds.length > 0) {
    texts.push(rampLines(seconds, config.LOOP === "closed" ? "closed" : "open"));
    files["seconds.csv"] = secondsCsv(seconds);
  }
  if (levels.some(({ batchSize }) => batchSize !== undefined)) texts.push(burstTable(levels));
  if (has("CURVE_PROFILE") && !smoke) texts.push(curveText(levels));
  if (has("INPUT_LENGTHS")) texts.push(ingestionText(levels));
  if (has("PHASE")) texts.push(phaseFigures(levels));
  if (config.API === "json" && has("CONCURRENCY")) texts.push(levels.map(requestFigures).join("\n\n"));
  const drift =
    has("DRIFT_LIMIT") && !smoke
      ? { percent: Number(config.DRIFT_LIMIT), memoryMB: Number(config.CLIENT_MEMORY_LIMIT) }
      : undefined;
  if (drift !== undefined) texts.push(...levels.map((level) => driftText(level, drift)));
  return {
    text: texts.filter(Boolean).join("\n\n"),
    files,
    limits: drift === undefined ? [] : levels.flatMap((level) => driftLimits(level, drift)),
  };
}

/** Whether the load follows a schedule, a trace or a changing number of users. */
const arrives = ({ levels }: RunReport, config: Echoed): boolean =>
  config.LOOP !== undefined || levels.some(({ name, rate }) => rate !== undefined || name === "trace");
