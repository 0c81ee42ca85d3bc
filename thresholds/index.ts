import type { Gates } from "../lib/figures/profile";
import type { GateConfig, Gated, Thresholds } from "./gates";

export type { GateConfig, Gated, Thresholds };

/** The thresholds of a run, as gates.ts makes them. Loaded when asked for: of thousands of VUs, k6 asks one. */
export function thresholds(config: GateConfig, levels: readonly Gated[]): Thresholds {
  return (require("./gates") as typeof import("./gates")).thresholds(config, levels);
}

/** The thresholds of a run with the profile that they follow from, for a load's options. */
export function gates(config: GateConfig, levels: readonly Gated[]): Gates {
  const made = require("./gates") as typeof import("./gates");
  return { thresholds: made.thresholds(config, levels), profile: made.profileOf(config) };
}
