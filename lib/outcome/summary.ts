import type { OwnResults, RunReport } from "../figures/level-summary";
import type { Gates } from "../figures/profile";
import type { ServerMetrics } from "../figures/server-metrics";
import { afterLoad } from "../lazy";
import { type Config, digests, shownSettings } from "../settings/config";
import { runReport, tokenclock } from "../wire/client";
import { repetition } from "../workload/load-plan";
import type { SummaryData } from "./summary-files";

export type { SummaryData };

/**
 * What handleSummary is to do: the table of levels and the verdict on stdout, summary.json and config.json in RESULTS where it
 * is set, and what the test itself shows and writes. Returns what is left to k6.
 */
export function writeSummary(
  data: SummaryData,
  settings: Config,
  gates: Gates,
  server: ServerMetrics | undefined,
  shows: (report: RunReport, config: Config) => OwnResults,
): Record<string, string> {
  // Results name the model that was measured, also where the server was asked for it.
  const config = { ...settings, MODEL: settings.MODEL || data.setup_data?.model || "" };
  const shown = shownSettings(settings);
  if (Object.hasOwn(shown, "MODEL")) shown.MODEL = config.MODEL;
  const measured = runReport(data);
  const report = server?.added(measured) ?? measured;
  const own = report.total.requests > 0 ? shows(report, config) : {};
  const files = { ...server?.files(), ...own.files };
  const repeated = repetition(report.total.whole.requests);
  const { output, exitCode } = afterLoad().concludeRun(
    {
      ...{ config, report, own: { ...own, files }, metrics: data.metrics },
      shown,
      gates,
      digests: digests ?? {},
      notes: repeated === undefined ? [] : [repeated],
    },
    tokenclock.writeResult,
  );
  tokenclock.conclude(exitCode);
  return output;
}
