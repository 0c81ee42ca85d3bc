import type { RunReport } from "./level-summary";

/** What is polled of the server, for the VUs that send nothing. */
export interface ServerMetrics {
  /** Begins to poll. For setup(). */
  start(): void;
  /** Ends to poll, and returns the levels' gauges that are computed from what was found: cost and energy. For teardown(). */
  stop(): Record<string, Record<string, number>>;
  /** The report with what the server says of each level. */
  added(report: RunReport): RunReport;
  /** server-metrics.json: what was polled, over time. */
  files(): { "server-metrics.json"?: string };
}
