/**
 * The one file that speaks to the k6 module `k6/x/tokenclock`. client-sse.ts has the same exports on top of xk6-sse;
 * the bundler puts it here for binaries that lack the module. The module is imported whole: each name of an import costs every VU
 * a function of 0.7 kB.
 */
import type { Options } from "k6/options";
import tokenclock, { type GivenSettings, type Report } from "k6/x/tokenclock";
import type { RunReport } from "../figures/level-summary";

export type {
  Api,
  ArrivalSpec,
  BatchResult,
  GivenSettings,
  HttpReply,
  LevelSpec,
  Phase,
  RequestSpec,
  Result,
  Session,
  Slot,
  ToolCall,
  TurnOptions,
} from "k6/x/tokenclock";
export { tokenclock };

/** Everything measured so far. Only k6's count of dropped iterations is needed of handleSummary's data. */
export function runReport(data?: unknown): RunReport {
  const { metrics } = (data ?? {}) as { metrics?: { dropped_iterations?: { values?: { count?: number } } } };
  // What results of earlier versions lack is optional in a RunReport; the module gives all of it.
  const measured: Report = tokenclock.report(metrics?.dropped_iterations?.values?.count ?? 0);
  return measured;
}

/** What the user set. A module that knows k6's command line needs no list of settings to tell it from the environment. */
export function givenSettings(_isSetting: (name: string) => boolean): GivenSettings {
  return tokenclock.settings();
}

/** Whether a load shape's level is worked on by this VU now; the module's load shapes see to that themselves. */
export function runsHere(_level: string): boolean {
  return true;
}

/** The options that a load shape needs from k6: as they are. */
export function adaptOptions(options: Options): Options {
  return options;
}
