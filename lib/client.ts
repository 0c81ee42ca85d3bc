/**
 * The one file that speaks to the k6 module `k6/x/tokenclock`. client-sse.ts has the same exports on top of xk6-sse;
 * the bundler puts it here for binaries that lack the module.
 */
import { type LevelSummary as ModuleLevelSummary, type Report as ModuleReport, report } from "k6/x/tokenclock";
import type { LevelSummary, RunReport } from "./level-summary";

export type {
  Api,
  ArrivalSpec,
  BatchResult,
  LevelSpec,
  Phase,
  RequestSpec,
  Result,
  Slot,
  StageSpec,
} from "k6/x/tokenclock";
export {
  Arrivals,
  Client,
  emitLevelMetrics,
  fetch,
  Levels,
  Lines,
  MetricsPoller,
  refuse,
  run,
  Windows,
} from "k6/x/tokenclock";

// The pure files describe the same shapes as the module does; if either changes, this stops compiling.
type Same<A, B> = A extends B ? (B extends A ? true : never) : never;
type Agreed = [Same<ModuleReport, RunReport>, Same<ModuleLevelSummary, LevelSummary>];

/** Everything measured so far. The argument of handleSummary is not needed here; client-sse.ts lives on it. */
export function runReport(_data?: unknown): RunReport {
  const measured: Agreed[0] extends true ? ModuleReport : never = report();
  return measured;
}
