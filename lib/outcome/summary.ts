import type { RunReport } from "../figures/level-summary";
import { declaredGates, pauseLevel } from "../load/levels";
import { repetition } from "../load/load-plan";
import { type Config, currentConfig, digests, shownSettings } from "../settings/config";
import { conclude, runReport, writeResult } from "../wire/client";
import type { OwnResults, SummaryData } from "./summary-files";

/** k6's handleSummary: the table of levels and the verdict on stdout, summary.json and config.json in RESULTS where it is
 * set. */
export function handleSummary(data: SummaryData): Record<string, string> {
  return writeSummary(data, () => ({}));
}

/** handleSummary of a scenario that has results of its own. */
export function handleSummaryWith(
  own: (report: RunReport, config: Config) => OwnResults,
): (data: SummaryData) => Record<string, string> {
  return (data) => writeSummary(data, own);
}

function writeSummary(
  data: SummaryData,
  results: (report: RunReport, config: Config) => OwnResults,
): Record<string, string> {
  const { concludeRun } = require("./summary-files") as typeof import("./summary-files");
  const settings = currentConfig();
  // Results name the model that was measured, also where the server was asked for it.
  const config = { ...settings, MODEL: settings.MODEL || data.setup_data?.model || "" };
  const report = withoutPauses(runReport(data));
  const own = report.total.requests > 0 ? results(report, config) : {};
  const repeated = repetition(report.total.whole.requests);
  const { output, exitCode } = concludeRun(
    {
      ...{ config, report, own, metrics: data.metrics },
      shown: shownSettings(config),
      gates: declaredGates ?? { thresholds: {}, profile: undefined },
      digests: digests ?? {},
      notes: repeated === undefined ? [] : [repeated],
    },
    writeResult,
  );
  conclude(exitCode);
  return output;
}

/** A pause stands among the levels so that nothing runs beside it; it is none. */
function withoutPauses(report: RunReport): RunReport {
  return { ...report, levels: report.levels.filter(({ name }) => name !== pauseLevel) };
}
