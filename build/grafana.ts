import type { MetricName } from "../lib/figures/metrics-table";

/** Statistics of a Trend that the dashboard shows, as K6_PROMETHEUS_RW_TREND_STATS takes them. */
export const trendStats = ["p(50)", "p(95)", "p(99)"] as const;

const where = 'testid=~"$testid",scenario=~"$scenario",level=~"$level"';

interface Series {
  /** PromQL. */
  readonly expr: string;
  /** Grafana's template of a line's name. */
  readonly legend: string;
}

interface Panel {
  readonly title: string;
  readonly description: string;
  /** Grafana's name of the unit. */
  readonly unit: string;
  readonly series: readonly Series[];
}

/** A Trend's percentiles. k6's Prometheus output turns times of Trends into seconds, those of Gauges it leaves in ms. */
function percentiles(metric: MetricName, title: string, description: string, unit = "s"): Panel {
  const series = trendStats.map((stat) => {
    const name = stat.replace(/[()]/g, "");
    return { expr: `k6_${metric}_${name}{${where},phase="steady"}`, legend: `{{level}} ${name}` };
  });
  return { title, description, unit, series };
}

/** The last value of Gauges that exist once a level, when it is over. */
function gauges(title: string, description: string, unit: string, metrics: readonly MetricName[]): Panel {
  const series = metrics.map((metric) => ({
    expr: `max by (level) (k6_${metric}{${where}})`,
    legend: `{{level}} ${metric.replace(/^llm_/, "")}`,
  }));
  return { title, description, unit, series };
}

/** Over how many seconds a rate is a mean: three writes of k6's Prometheus output, which come each 5 s. */
export const rateSeconds = 15;

/**
 * A counter's growth. rate() would leave out what a level counted before its first write, which is all of a short level, and
 * Grafana's interval is a minute: here a series begins at 0, and all that was counted is in the panel's area.
 */
function perSecond(metric: MetricName, by: string, title: string, unit: string): Panel {
  const total = `k6_${metric}_total`;
  const before = `(${total}{${where}} offset ${rateSeconds}s or ${total}{${where}} * 0)`;
  return {
    title: `${title} over ${rateSeconds} s`,
    description: `All phases; the mean of the last ${rateSeconds} s, which is too low where a level is shorter.`,
    unit,
    series: [{ expr: `sum by (${by}) (${total}{${where}} - ${before}) / ${rateSeconds}`, legend: `{{${by}}}` }],
  };
}

function share(metric: MetricName, title: string, description: string): Panel {
  const series = [{ expr: `k6_${metric}_rate{${where},phase="steady"}`, legend: "{{level}}" }];
  return { title, description, unit: "percentunit", series };
}

const soFar = "Over the level's steady requests so far.";

const panels: readonly Panel[] = [
  percentiles("llm_ttft", "Time to first token", soFar),
  percentiles("llm_tpot", "Time per output token", soFar),
  percentiles("llm_e2e_latency", "End-to-end latency", soFar),
  percentiles("llm_itl_max", "Max stall", `The largest gap of each request. ${soFar}`),
  gauges("Inter-token latency", "Pooled over the level's tokens; one point a level, when it is over.", "ms", [
    "llm_itl_p50",
    "llm_itl_p90",
    "llm_itl_p99",
  ]),
  gauges("Output tokens/s", "In the level's steady window, when it is over: right for short levels, too.", "short", [
    "llm_output_throughput",
  ]),
  perSecond("llm_output_tokens", "level", "Output tokens/s", "short"),
  perSecond("llm_requests", "level", "Requests/s", "reqps"),
  perSecond("llm_failures", "failure", "Failures/s by class", "reqps"),
  share("llm_request_failed", "Share that failed", soFar),
  share("llm_goodput", "Goodput", "Share that met every SLO; only where one is set."),
  percentiles(
    "llm_queue_delay",
    "Queue delay",
    "The load generator's own lag: what is large here is not the server's.",
  ),
];

const datasource = { type: "prometheus", uid: "$datasource" };

function variable(name: string, label: string) {
  return {
    name,
    label,
    type: "query",
    datasource,
    query: { query: `label_values(k6_llm_requests_total, ${name})`, refId: name },
    refresh: 2,
    includeAll: true,
    multi: true,
    allValue: ".*",
    current: { text: "All", value: "$__all" },
  };
}

/** The dashboard of a run that writes to Prometheus (`--out experimental-prometheus-rw`), as Grafana imports it. */
export function dashboard(): object {
  const columns = 2;
  return {
    uid: "tokenclock",
    title: "tokenclock",
    tags: ["k6", "llm"],
    schemaVersion: 39,
    refresh: "10s",
    time: { from: "now-30m", to: "now" },
    templating: {
      list: [
        { name: "datasource", label: "Data source", type: "datasource", query: "prometheus" },
        variable("testid", "Test"),
        variable("scenario", "Scenario"),
        variable("level", "Level"),
      ],
    },
    panels: panels.map(({ title, description, unit, series }, i) => ({
      id: i + 1,
      type: "timeseries",
      title,
      description,
      datasource,
      gridPos: { w: 24 / columns, h: 8, x: (24 / columns) * (i % columns), y: 8 * Math.floor(i / columns) },
      fieldConfig: { defaults: { unit, min: 0, custom: { lineWidth: 2, showPoints: "auto" } }, overrides: [] },
      options: { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi", sort: "desc" } },
      targets: series.map(({ expr, legend }, k) => ({
        refId: String.fromCharCode(65 + k),
        datasource,
        expr,
        legendFormat: legend,
      })),
    })),
  };
}

/** What the panel of a title asks for, with values in the places of the dashboard's variables. */
export function panelQueries(title: string, values: Readonly<Record<string, string>>): string[] {
  const panel = panels.find((each) => each.title === title);
  if (!panel) throw new Error(`no panel is named ${title}`);
  return panel.series.map(({ expr }) => expr.replace(/\$(\w+)/g, (whole, name: string) => values[name] ?? whole));
}

/** The titles of the panels. */
export const panelTitles: readonly string[] = panels.map(({ title }) => title);

/** The names of the time series that the dashboard asks for. */
export function dashboardSeries(): string[] {
  const names = panels.flatMap(({ series }) => series.flatMap(({ expr }) => expr.match(/k6_\w+/g) ?? []));
  return [...new Set(names)].sort();
}
