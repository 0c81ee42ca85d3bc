/** What is polled of the server, and what comes of it. Pure; loaded where it is needed. */
import { costOf, pricesOf } from "../figures/cost";
import type { LevelSummary, PolledPage, RunReport } from "../figures/level-summary";
import { type PointsLine, pagesOf, serverFigures } from "../figures/server";
import type { ServerMetrics } from "../figures/server-metrics";
import { parsePowerMetric, wantedMetrics } from "../figures/server-presets";
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
  watchCache(options: Page & { counters: { hits: string[]; queries: string }[] }): void;
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
  return urls.map((url) => ({ url, headers: sameHost(url, config.BASE_URL) ? headers : {} }));
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
  // Of a mix nobody could tell which class the server's counters are of.
  if (first && config.MIX === "") watchCache({ ...first, counters: cacheCounters });
  const poller =
    first &&
    new MetricsPoller(config.scenario, {
      pages,
      intervalMs: config.METRICS_INTERVAL,
      metrics: wantedMetrics(config.METRICS, config.POWER_METRIC).selectors,
    });
  const shownPages = typeof shown === "string" && named.length > 0 ? shown.split(",") : ["/metrics"];
  const added = (report: RunReport) =>
    poller ? addServer(report, config, shownPages, poller.series(), poller.pages()) : report;
  return {
    start() {
      // Not every server has such a page; one that was named is expected to be there.
      const asked = named.length > 0 ? pages : [];
      asked.forEach(({ url, headers }, i) => {
        const { status, error } = fetch(url, { headers, timeoutMs: 5000 });
        const why = status === 0 ? `cannot be reached: ${error}` : `answered HTTP ${status}`;
        if (status !== 200)
          console.warn(
            `tokenclock: METRICS_URL=${shownPages[i]} ${why}; the run has no figures of the server's from it`,
          );
      });
      poller?.start();
    },
    stop() {
      poller?.stop();
      return levelGauges(added(runReport()), config);
    },
    added,
    files() {
      const series = poller?.series() ?? [];
      if (!poller || series.length === 0) return {};
      return { "server-metrics.json": serverFile(shownPages, series, poller.pages()) };
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

/** Whether two addresses are of one scheme, host and port (or one socket), so that a key for the one may go to the other. */
export function sameHost(url: string, base: string): boolean {
  const origin = originOf(url);
  return origin !== undefined && origin === originOf(base);
}

function originOf(url: string): string | undefined {
  const socket = /^unix:[^:]+:/.exec(url)?.[0];
  if (socket !== undefined) return socket;
  // A host ends before what stands behind it; what stands before its last @ is a user's name and password.
  const [, scheme = "", authority] = /^(https?):\/\/([^/?#\\]+)/i.exec(url) ?? [];
  if (authority === undefined) return undefined;
  const host = authority.slice(authority.lastIndexOf("@") + 1).toLowerCase();
  const standard = scheme.toLowerCase() === "https" ? ":443" : ":80";
  return `${scheme.toLowerCase()}://${/:\d+$/.test(host) ? host : host + standard}`;
}

/** The gauges of levels that are computed here, by level and metric: what is not known has none. */
function levelGauges({ levels }: RunReport, config: Settings): Record<string, Record<string, number>> {
  const prices = pricesOf(config);
  const gaugesOf = (level: LevelSummary): Record<string, number> => {
    const cost = prices ? costOf(level, prices) : "";
    const known = typeof cost === "string" ? undefined : cost;
    const values = {
      llm_cost_request: known?.perRequest,
      llm_cost_output: known?.perMillionOutputTokens,
      llm_cost_output_slo: known?.perMillionGoodOutputTokens,
      llm_cost_good_request: known?.perGoodRequest,
      llm_energy_output: level.server?.joulesPerOutputToken,
    };
    return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Record<
      string,
      number
    >;
  };
  return Object.fromEntries(levels.map((level) => [level.name, gaugesOf(level)]));
}

/** How a page was polled, as the module says it. */
type PageState = Omit<PolledPage, "url">;

/** The report with what the server says of each level, and how its pages were polled. */
function addServer(
  report: RunReport,
  config: Settings,
  urls: readonly string[],
  series: readonly PointsLine[],
  states: readonly PageState[],
): RunReport {
  // A server without such a page needs no word, unless one was named.
  if (series.length === 0 && config.METRICS_URL.length === 0) return report;
  const pages = pagesOf(series);
  const power = config.POWER_METRIC === "" ? undefined : parsePowerMetric(config.POWER_METRIC);
  const levels = report.levels.map((level) => {
    const server = serverFigures(pages, level, power);
    return server ? { ...level, server } : level;
  });
  const serverPages = states.map((state, i) => ({ url: urls[i] ?? "", ...state }));
  return { ...report, levels, serverPages };
}

/** server-metrics.json: by page how it was polled, and what was read. */
function serverFile(urls: readonly string[], series: readonly PointsLine[], states: readonly PageState[]): string {
  const table = (page: number, which: string) => {
    const found = series.find((line) => (line.page ?? 0) === page && line.what === which);
    return found && { metrics: found.metrics, kinds: found.kinds, points: found.points };
  };
  const pages = states.map((state, page) => ({
    url: urls[page] ?? "",
    ...state,
    values: table(page, "values"),
    histograms: table(page, "histograms"),
  }));
  return `${JSON.stringify({ schema: 1, pages })}\n`;
}
