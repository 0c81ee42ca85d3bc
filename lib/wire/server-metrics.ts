import { gaugeNames } from "../figures/gauge-names";
import type { OwnResults } from "../figures/level-summary";
import { type Config, shownSettings } from "../settings/config";
import { fetch, MetricsPoller } from "./client";
import { addressOf, requestHeaders } from "./llm-client";

/** What is polled. */
const gauges = Object.keys(gaugeNames);

/** The server's own gauges, polled while the load runs. */
export interface ServerMetrics {
  start(): void;
  stop(): void;
  /** server-metrics.json: the gauges that the server has, [ns from the run's start, a value a gauge] a poll. */
  results(): OwnResults;
}

/** Polls METRICS_URL (by default /metrics on BASE_URL's host) every METRICS_INTERVAL. Init context only. */
export function openServerMetrics(config: Config): ServerMetrics {
  const headers = requestHeaders(config);
  const poller = new MetricsPoller(config.scenario, {
    url: config.METRICS_URL || addressOf(config, "/metrics"),
    intervalMs: config.METRICS_INTERVAL,
    metrics: gauges,
    headers,
  });
  return {
    start() {
      // Not every server has such a page; one that was named is expected to be there.
      if (config.METRICS_URL !== "") {
        const { status, error } = fetch(config.METRICS_URL, { headers, timeoutMs: 5000 });
        const why = status === 0 ? `cannot be reached: ${error}` : `answered HTTP ${status}`;
        const shown = shownSettings(config).METRICS_URL;
        if (status !== 200)
          console.warn(`tokenclock: METRICS_URL=${shown} ${why}; the run has no figures of the server's`);
      }
      poller.start();
    },
    stop: () => poller.stop(),
    results() {
      const points = poller.points();
      const served = gauges.map((_, column) => points.some(({ values }) => values[column] !== null));
      const ours = <T>(values: readonly T[]) => values.filter((_, column) => served[column]);
      const content = {
        type: "points",
        metrics: ours(gauges),
        points: points.map(({ t, values }) => [Math.round(t * 1e9), ...ours(values)]),
      };
      return { files: { "server-metrics.json": `${JSON.stringify(content)}\n` } };
    },
  };
}
