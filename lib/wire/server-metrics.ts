import type { ServerMetrics } from "../figures/server-metrics";
import { beforeLoad } from "../lazy";
import { type Config, shownSettings } from "../settings/config";
import { fetch, MetricsPoller, runReport, watchCache } from "./client";
import { addressOf, requestHeaders } from "./llm-client";

/**
 * Has the server's metrics pages polled, and the counters of its prefix cache read where a level begins and ends. Init context
 * only. VUs that send requests have none of it: it is for setup(), teardown() and handleSummary().
 */
export function openServerMetrics(config: Config): ServerMetrics | undefined {
  if (__VU !== 0) return undefined;
  return beforeLoad().openPolled(config, requestHeaders(config), addressOf(config, "/metrics"), {
    ...{ fetch, MetricsPoller, runReport, watchCache },
    shown: shownSettings(config).METRICS_URL,
  });
}
