import type { HostPauses, Pauses, RunReport, ScriptMetric, Validity, Verdict } from "../figures/level-summary";
import { isMetricName, metrics } from "../figures/metrics-table";
import { selectorOf } from "../figures/selector";
import { besideLimit, percent, shortNumber } from "../figures/table";

/** A threshold as k6 judged it. */
export interface Judged {
  /** Metric with its tags, as k6 writes it: `llm_ttft{level:c8,phase:steady}`. */
  readonly metric: string;
  /** e.g. `p(95)<200`. */
  readonly expression: string;
  readonly ok: boolean;
  /** The value that was compared; undefined where k6 gave none. */
  readonly value: number | undefined;
  /** The script named it, and no profile or SLO. */
  readonly script?: true;
  /** The metric has no values, and k6 compared what stands for none. Metrics of this project count theirs in llm_samples. */
  readonly empty?: true;
}

/** k6's metrics in handleSummary's data, as far as they are read here. */
export type SummaryMetrics = Readonly<
  Record<
    string,
    {
      type?: string;
      /** What its values are: "time", "data" or "default". */
      contains?: string;
      values: Readonly<Record<string, number>>;
      thresholds?: Readonly<Record<string, { ok: boolean }>>;
    }
  >
>;

/** Thresholds by metric, as k6 takes them. */
type Thresholds = Readonly<Record<string, readonly string[]>>;

/** Every threshold in handleSummary's data with its value; `script` holds those that the script named. */
export function judgedThresholds(of: SummaryMetrics, script: Thresholds = {}): Judged[] {
  return Object.entries(of).flatMap(([metric, { values, thresholds = {} }]) =>
    Object.entries(thresholds).map(([expression, { ok }]) => {
      const ofScript = Object.hasOwn(script, metric) && script[metric]?.includes(expression);
      // Those of the profile count the samples of their metric in llm_samples.
      const counted = metric.startsWith("llm_") && !ofScript;
      return {
        metric,
        expression,
        ok,
        value: values[/^[^<>=!\s]+/.exec(expression)?.[0] ?? ""],
        ...(ofScript && { script: true as const }),
        ...(!counted && isEmpty(values) && { empty: true as const }),
      };
    }),
  );
}

/**
 * Whether a metric has no values. A Counter without any is 0, as it should be. A Gauge that was never set looks to k6 like one that
 * was always 0, and counts as empty.
 */
function isEmpty(values: Readonly<Record<string, number>>): boolean {
  const { count, passes, fails, value, min, max } = values;
  if (passes !== undefined && fails !== undefined) return passes + fails === 0;
  if (value !== undefined && min !== undefined && max !== undefined) return value === 0 && min === 0 && max === 0;
  return "avg" in values && count === 0;
}

/** k6's own metrics, and those of this project, by their names (metrics/builtin.go of k6 2; extension/sse). */
const notOfScripts =
  /^(llm_\w+|vus|vus_max|iterations|iteration_duration|dropped_iterations|checks|group_duration|data_sent|data_received|http_reqs|http_req_(failed|duration|blocked|connecting|tls_handshaking|sending|waiting|receiving)|ws_(sessions|msgs_sent|msgs_received|ping|session_duration|connecting)|grpc_req_duration|sse_event)$/;

const units: Readonly<Record<string, "ms" | "bytes">> = { time: "ms", data: "bytes" };

/** The metrics in handleSummary's data that the script itself made. */
export function scriptMetrics(of: SummaryMetrics): ScriptMetric[] {
  return Object.entries(of).flatMap(([key, { type, contains = "", values }]): ScriptMetric[] => {
    const { metric: name, tags } = selectorOf(key);
    if (notOfScripts.test(name) || !isMetricType(type)) return [];
    const unit = units[contains];
    return [
      {
        name,
        ...(Object.keys(tags).length > 0 && { tags }),
        type,
        ...(unit && { unit }),
        values: { ...values },
        ...(isEmpty(values) && { empty: true as const }),
      },
    ];
  });
}

function isMetricType(type: string | undefined): type is ScriptMetric["type"] {
  return type === "counter" || type === "gauge" || type === "rate" || type === "trend";
}

/** The metric whose samples a threshold counts, with its level; undefined of a threshold on anything else. */
function samplesOf(metric: string): string | undefined {
  const [, level, of] = /^llm_samples\{level:([^,}]+),metric:(\w+)\}$/.exec(metric) ?? [];
  return level === undefined ? undefined : `${of}{level:${level}}`;
}

/** One line that names threshold, level, value and limit: "llm_ttft{level:c8} p(95) 812 ms, limit < 200 ms". */
export function describeThreshold({ metric, expression, value }: Judged): string {
  const [, aggregate = expression, comparison = "", limit = ""] =
    /^([^<>=!\s]+)\s*([<>=!]+)\s*(\S+)$/.exec(expression) ?? [];
  const samples = samplesOf(metric);
  if (samples) return `${samples} samples ${value ?? 0}, limit ${comparison} ${limit}`;
  // The phase is steady in every gate, so that it says nothing.
  const shown = metric.replace(/,phase:steady\}|\{phase:steady\}/, (end) => (end.startsWith(",") ? "}" : ""));
  const name = metric.replace(/\{.*/, "");
  const unit = isMetricName(name) && !["0 or 1", "share"].includes(metrics[name].unit) ? ` ${metrics[name].unit}` : "";
  const measured = value === undefined ? "not measured" : `${besideLimit(value, Number(limit))}${unit}`;
  return `${shown} ${aggregate} ${measured}, limit ${comparison} ${limit}${unit}`;
}

/**
 * The verdict of a run: it passes when it is valid, something was measured and no threshold was crossed. k6's exit code
 * follows the thresholds alone; llm_client_bound carries the validity into them. A smoke run needs not be valid: it measures nothing.
 */
export function judge(report: RunReport, judged: readonly Judged[], smoke = false): Verdict {
  const { state } = report.validity;
  // Without a request every gate has failed, and none of them says why.
  if (report.total.requests === 0) return { pass: false, validity: state, reasons: ["no request was sent"] };
  const order = new Map(report.levels.map(({ name }, i) => [name, i]));
  const placeOf = ({ metric }: Judged) => order.get(/level:([^,}]+)/.exec(metric)?.[1] ?? "") ?? -1;
  // The gauges only carry the validity into k6's exit code; its own reasons say more.
  const ofValidity = (metric: string) => metric === "llm_client_bound" || metric === "llm_cache_bound";
  const failed = judged.filter(({ ok, metric }) => !ok && !(ofValidity(metric) && state !== "VALID"));
  // Where no request of a level completed, its other gates say so once for all.
  const empty = new Set(report.levels.flatMap(({ completed }, i) => (completed === 0 ? [i] : [])));
  const violatedPlaces = new Set(failed.filter(({ metric }) => !samplesOf(metric)).map(placeOf));
  const reported = failed.filter(
    (each) => !(samplesOf(each.metric) && empty.has(placeOf(each)) && violatedPlaces.has(placeOf(each))),
  );
  const crossed = reported.sort((a, b) => placeOf(a) - placeOf(b));
  const reasons = crossed.map(describeThreshold);
  if (state !== "VALID" && state !== "UNJUDGED" && !(smoke && state !== "NOT-MEASURED")) {
    reasons.push(...report.validity.reasons.map((reason) => `${state}: ${reason}`));
  }
  if (report.total.completed === 0 && reasons.length === 0) reasons.push("no request completed");
  return { pass: reasons.length === 0, validity: state, reasons };
}

/** What stamped the arrivals, and why not a better source: "socket 100 % (no packet ring: ...)"; "" where nothing was stamped. */
export function stampsText({ stamps }: Pick<Validity, "stamps">): string {
  if (!stamps) return "";
  const used = (["ring", "socket", "user"] as const).filter((source) => stamps[source] > 0);
  const shares = used.map((source) => `${source} ${percent(stamps[source])}`).join(", ");
  return shares !== "" && stamps.why ? `${shares} (${stamps.why})` : shares;
}

const happened = ({ count, total }: Pauses) => count > 0 || total > 0;

/** One kind of pause: "2 times, 3000 ms in total, 1501 ms the longest", or "none". */
export function pausesText(pauses: Pauses): string {
  if (!happened(pauses)) return "none";
  const { count, total, longest } = pauses;
  const often = count > 0 ? [count === 1 ? "once" : `${count} times`] : [];
  const once = longest > 0 && longest !== total ? [`${shortNumber(longest)} ms the longest`] : [];
  return [...often, `${shortNumber(total)} ms in total`, ...once].join(", ");
}

const pauseKinds: [keyof HostPauses, string][] = [
  ["stoppedMs", "stopped"],
  ["suspendedMs", "suspended"],
  ["throttledMs", "throttled"],
  ["stolenMs", "stolen"],
];

/** What happened to the client for how long, one text a kind that happened: "stopped 2 times, 3000 ms in total". */
export function hostTexts(pauses: HostPauses): string[] {
  return pauseKinds.flatMap(([kind, name]) => {
    const of = pauses[kind];
    return of && happened(of) ? [`${name} ${pausesText(of)}`] : [];
  });
}

/** The lines on the client for the terminal; none where nothing was measured. */
export function clientLines({ validity, total }: Pick<RunReport, "validity" | "total">): string[] {
  if (total.completed === 0) return [];
  const stamps = stampsText(validity);
  // Most virtual machines lose a little to their neighbours all the time, which the report shows.
  const { stolenMs, ...others } = validity;
  const paused = hostTexts(stolenMs && stolenMs.longest > 0 ? validity : others);
  return [
    ...(stamps === "" ? [] : [`stamps: ${stamps}`]),
    ...(paused.length === 0 ? [] : [`client: ${paused.join("; ")}`]),
    ...(validity.notes ?? []).map((note) => `note: ${note}`),
  ];
}
