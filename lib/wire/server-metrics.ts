import type { ServerMetrics } from "../figures/server-metrics";
import { aroundLoad } from "../lazy";
import { type Config, shownSettings } from "../settings/config";
import { runReport, tokenclock } from "./client";
import { addressOf, requestHeaders } from "./llm-client";

/**
 * Has the server's metrics pages polled, and the counters of its prefix cache read where a level begins and ends. For
 * setup(), teardown() and handleSummary(): VUs that send requests have none of it. Of `classes`, which load the
 * server at once, nobody could tell whose those counters are: they are not read.
 */
export function openServerMetrics(config: Config, classes: boolean): ServerMetrics | undefined {
  if (__VU !== 0) return undefined;
  return aroundLoad().openPolled(config, requestHeaders(config), addressOf(config, "/metrics"), {
    ...{ fetch: tokenclock.fetch, MetricsPoller: tokenclock.MetricsPoller, runReport },
    watchCache: classes ? undefined : tokenclock.watchCache,
    shown: shownSettings(config).METRICS_URL,
  });
}
