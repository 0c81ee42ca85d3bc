/** What is polled of the server, and what comes of it. Pure; loaded where it is needed. */
import { gaugesOf, withCosts } from "../figures/computed-gauges";
import type { RunReport } from "../figures/level-summary";
import type { PointsLine } from "../figures/server";
import type { ServerMetrics } from "../figures/server-metrics";
import { type PageState, serveEnergy, serverFile, shownPages, withServer } from "../figures/server-pages";
import { wantedMetrics } from "../figures/server-presets";
import { mayHaveKey } from "../settings/address";
import type { Settings } from "../settings/settings";

/** A page of the server's metrics, and what it is asked for with. */
interface Page {
  readonly url: string;
  readonly headers: Record<string, string>;
}

/** What of the k6 module is needed here. */
interface Module {
  readonly MetricsPoller: new (
    name: string,
    options: { pages: Page[]; intervalMs: number; metrics: string[] },
  ) => { start(): void; stop(): void; series(): PointsLine[]; pages(): PageState[] };
  /** Reads the prefix cache's counters where a level begins and ends; undefined where they would say nothing of a level. */
  readonly watchCache: ((options: Page & { counters: { hits: string[]; queries: string }[] }) => void) | undefined;
  fetch(
    url: string,
    options: { headers: Record<string, string>; timeoutMs: number },
  ): { status: number; error: string };
  runReport(): RunReport;
  /** METRICS_URL without secrets. */
  readonly shown: unknown;
}

/**
 * The pages that METRICS_URL names, else `ownPage`; of what answers JSON in general none is guessed. `headers` go to BASE_URL's own
 * host only: they hold its key.
 */
export function metricsPages(config: Settings, headers: Record<string, string>, ownPage: string): Page[] {
  const { METRICS_URL: named, API: api } = config;
  const urls = named === "none" ? [] : named.length > 0 ? named : api === "json" ? [] : [ownPage];
  return urls.map((url) => ({ url, headers: mayHaveKey(url, config) ? headers : {} }));
}

/** Opens the poller of these pages. */
export function openPolled(
  config: Settings & { readonly scenario: string },
  headers: Record<string, string>,
  ownPage: string,
  { MetricsPoller, watchCache, fetch, runReport, shown }: Module,
): ServerMetrics {
  const { METRICS_URL: named } = config;
  const pages = metricsPages(config, headers, ownPage);
  const [first] = pages;
  if (first) watchCache?.({ ...first, counters: cacheCounters });
  const poller =
    first &&
    new MetricsPoller(config.scenario, {
      pages,
      intervalMs: config.METRICS_INTERVAL,
      metrics: wantedMetrics(config.METRICS, config.POWER_METRIC).selectors,
    });
  const settings = { METRICS_URL: shown, POWER_METRIC: config.POWER_METRIC };
  const urls = shownPages(settings);
  const added = (report: RunReport) =>
    poller ? withServer(report, settings, { series: poller.series(), states: poller.pages() }) : report;
  return {
    start() {
      // Not every server has such a page; one that was named is expected to be there.
      const polledPages = named.length > 0 ? pages : [];
      polledPages.forEach(({ url, headers }, i) => {
        const { status, error } = fetch(url, { headers, timeoutMs: 5000 });
        const why = status === 0 ? `cannot be reached: ${error}` : `answered HTTP ${status}`;
        if (status !== 200)
          console.warn(`tokenclock: METRICS_URL=${urls[i]} ${why}; the run has no metrics of the server from it`);
      });
      poller?.start();
    },
    stop() {
      poller?.stop();
      const report = runReport();
      const whole = poller && serveEnergy(settings, poller.series()) ? added(report) : report;
      const { levels } = withCosts(whole, config).report;
      return Object.fromEntries(levels.map((level) => [level.name, gaugesOf(level)]));
    },
    added,
    files() {
      const file = poller && serverFile(settings, { series: poller.series(), states: poller.pages() });
      return file === undefined ? {} : { "server-metrics.json": file };
    },
  };
}

/** The prompt tokens that servers found in their prefix cache and looked up, by kind of server. */
const cacheCounters = [
  {
    hits: ["vllm:prefix_cache_hits_total", "vllm:external_prefix_cache_hits_total"],
    queries: "vllm:prefix_cache_queries_total",
  },
  { hits: ["vllm:gpu_prefix_cache_hits_total"], queries: "vllm:gpu_prefix_cache_queries_total" },
  { hits: ["sglang:cached_tokens_total"], queries: "sglang:prompt_tokens_total" },
];
