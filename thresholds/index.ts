import type { GateConfig, Gated, Thresholds } from "./gates";

export type { GateConfig, Gated, Thresholds };

/** The thresholds of a run, as gates.ts makes them. Loaded when asked for: of thousands of VUs, k6 asks one. */
export function thresholds(config: GateConfig, levels: readonly Gated[]): Thresholds {
  return (require("./gates") as typeof import("./gates")).thresholds(config, levels);
}
