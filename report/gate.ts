/**
 * `npm run gate -- DIR`: judges a finished run. Exit 0 passed, 99 a limit is broken, 98 not valid (client-bound, no
 * summary, or the server was not measured at all), 96 inconclusive: too few samples to be sure either way.
 */
import { existsSync, readFileSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import { isMetricName, type MetricName, metrics } from "../lib/metrics-table";
import { parseProfile, profileNames } from "../lib/profile";
import { type GateConfig, type Gated, thresholds } from "../thresholds";
import { type Confidence, judgeShare, type LimitVerdict, mlperfConfidence, samplesInAll } from "./early-stopping";
import { formatNumber, formatShare, plural } from "./format";
import type { PooledItl } from "./itl";
import { type LevelSummary, type RequestRow, type Results, readResults, setting } from "./read";
import { defined, e2eMs, pooledItl, queueDelayMs, steadyRows, tpotMs, ttftMs, ttftScheduledMs } from "./request";
import { ascending, mean, quantile } from "./statistics";

export type GateState = "passed" | "failed" | "not valid" | "inconclusive";

export const exitCodes: Record<GateState, number> = { passed: 0, failed: 99, "not valid": 98, inconclusive: 96 };

/** One limit of one level, judged. */
export interface Judgement {
  level: string;
  metric: MetricName;
  /** As in k6: "p(99)<200". */
  expression: string;
  verdict: LimitVerdict;
  /** One line with value, limit and, of percentiles, the samples it rests on. */
  reason: string;
}

export interface GateResult {
  state: GateState;
  /** Why the run is not valid; empty otherwise. */
  invalid: string[];
  judgements: Judgement[];
}

/** Values of the metrics that have one a request. */
const perRequest: Partial<Record<MetricName, (rows: RequestRow[]) => number[]>> = {
  llm_ttft: (rows) => defined(completed(rows).map(ttftMs)),
  llm_ttft_scheduled: (rows) => defined(completed(rows).map(ttftScheduledMs)),
  llm_tpot: (rows) => defined(completed(rows).map(tpotMs)),
  llm_e2e_latency: (rows) => completed(rows).map(e2eMs),
  llm_e2e_scheduled: (rows) => completed(rows).map((row) => e2eMs(row) + queueDelayMs(row)),
  llm_itl_max: (rows) =>
    completed(rows)
      .filter((row) => row.maxStallNs > 0)
      .map((row) => row.maxStallNs / 1e6),
  llm_queue_delay: (rows) => rows.filter((row) => row.sentNs > 0).map(queueDelayMs),
  llm_output_speed: (rows) =>
    defined(completed(rows).map(tpotMs))
      .filter((ms) => ms > 0)
      .map((ms) => 1000 / ms),
};

const completed = (rows: RequestRow[]): RequestRow[] => rows.filter((row) => row.completed);

/** Which percentile of the pooled inter-token latencies a metric is. */
const pooled: Partial<Record<MetricName, number>> = { llm_itl_p50: 0.5, llm_itl_p90: 0.9, llm_itl_p99: 0.99 };

/** Values of the metrics that have one a level. */
const perLevel: Partial<Record<MetricName, (level: LevelSummary) => number | undefined>> = {
  llm_output_throughput: (level) => level.outputThroughput,
  llm_request_throughput: (level) => level.requestThroughput,
  llm_request_goodput: (level) => level.requestGoodput,
  llm_requests: (level) => level.requests,
  llm_failures: (level) => level.failed,
  llm_request_failed: (level) => (level.requests > 0 ? level.failed / level.requests : undefined),
  llm_goodput: (level) => level.goodShare,
  llm_input_tokens: (level) => level.inputTokens,
  llm_output_tokens: (level) => level.outputTokens,
};

const comparisons: Record<string, (value: number, limit: number) => boolean> = {
  "<": (value, limit) => value < limit,
  "<=": (value, limit) => value <= limit,
  ">": (value, limit) => value > limit,
  ">=": (value, limit) => value >= limit,
  "==": (value, limit) => value === limit,
  "===": (value, limit) => value === limit,
  "!=": (value, limit) => value !== limit,
};

/** A threshold expression taken apart. */
interface Limit {
  aggregate: string;
  /** Whether less is better. */
  below: boolean;
  keeps: (value: number) => boolean;
  /** Of the metric, with a space before it; "" where it has none. */
  unit: string;
  /** "<", and "200 ms". */
  comparison: string;
  value: string;
}

type Judged = Pick<Judgement, "verdict" | "reason">;

function judge(
  level: LevelSummary,
  rows: RequestRow[],
  itl: () => PooledItl,
  metric: MetricName,
  expression: string,
  by: Confidence,
): Judged {
  const [, aggregate = "", comparison = "", limitText = ""] =
    /^([^<>=!\s]+)\s*([<>=!]+)\s*(\S+)$/.exec(expression) ?? [];
  const value = Number(limitText);
  const compare = comparisons[comparison];
  if (!compare || !Number.isFinite(value)) return { verdict: "failed", reason: `${expression} is no threshold` };
  const unit = ["share", "0 or 1"].includes(metrics[metric].unit) ? "" : ` ${metrics[metric].unit}`;
  const limit: Limit = {
    ...{ aggregate, unit, below: comparison.startsWith("<"), keeps: (each) => compare(each, value) },
    ...{ comparison, value: `${formatNumber(value)}${unit}` },
  };
  const values = perRequest[metric]?.(rows);
  const percent = aggregate === "med" ? 50 : Number(/^p\((\d+(?:\.\d+)?)\)$/.exec(aggregate)?.[1] ?? Number.NaN);
  if (values && percent > 0 && percent < 100) return judgeRequests(values, percent / 100, limit, by);
  const p = pooled[metric];
  // That a percentile equals something cannot be shown by a sample.
  if (p !== undefined && /^[<>]/.test(comparison)) return judgeTokens(itl(), p, limit, by);
  return judgePoint(values ? pointValue(values, aggregate) : perLevel[metric]?.(level), limit);
}

/** A percentile of what requests have one value of: by the number of requests beyond the limit. */
function judgeRequests(values: number[], p: number, limit: Limit, by: Confidence): Judged {
  if (values.length === 0) return judgePoint(undefined, limit);
  const { aggregate, comparison, unit } = limit;
  const share = shareOf(p, limit);
  const over = values.filter((value) => !limit.keeps(value)).length;
  const verdict = judgeShare(values.length, over, share, by);
  const value = `${formatNumber(quantile(ascending(values), p))}${unit}`;
  const count = `${over} of ${values.length} requests beyond ${limit.value}`;
  const needed = samplesInAll(values.length, over, share, by);
  const more =
    verdict === "inconclusive"
      ? Number.isFinite(needed)
        ? `; at this share ${needed.toLocaleString("en-US")} would be needed`
        : "; too close to the limit for any number"
      : "";
  return { verdict, reason: `${aggregate} ${value}, limit ${comparison} ${limit.value}: ${count}${more}` };
}

/** The share that a limit on the p-quantile asks for. "p(99)<200": 99 % are below 200. "p(10)>20": 90 % are above 20. */
const shareOf = (p: number, { below }: Limit): number => (below ? p : 1 - p);

/**
 * A percentile of the pooled inter-token latencies: it passes when even its bound beyond the limit's side keeps the limit,
 * and fails when the other bound does not.
 */
function judgeTokens(pool: PooledItl, p: number, limit: Limit, by: Confidence): Judged {
  const { aggregate, below, comparison, keeps, unit } = limit;
  if (pool.tokens === 0) return judgePoint(undefined, limit);
  const { low, high, independent } = pool.bounds(p, by);
  const [worst, best] = below ? [high, low] : [low, high];
  const atLeast = low === undefined ? "no lower bound" : `at least ${formatNumber(low)}${unit}`;
  const atMost = high === undefined ? "no upper bound" : `at most ${formatNumber(high)}${unit}`;
  const worth = independent > 0 ? `, worth ${formatNumber(Math.floor(independent))} independent ones` : "";
  const from = `${plural(pool.tokens, "token")} of ${plural(pool.requests, "request")}${worth}`;
  const value = `${formatNumber(pool.quantile(p))}${unit}`;
  const reason = (bound: string) => `${aggregate} ${value}, limit ${comparison} ${limit.value}: ${bound} (${from})`;
  if (worst !== undefined && keeps(worst)) return { verdict: "passed", reason: reason(below ? atMost : atLeast) };
  if (best !== undefined && !keeps(best)) return { verdict: "failed", reason: reason(below ? atLeast : atMost) };
  const needed = samplesInAll(independent, independent * (1 - pool.share(keeps)), shareOf(p, limit), by);
  const requests = Math.ceil((needed / independent) * pool.requests);
  const more = Number.isFinite(requests)
    ? `at this share about ${requests.toLocaleString("en-US")} requests would be needed`
    : independent > 0
      ? "too close to the limit for any number"
      : "too few requests to say how far tokens depend on each other";
  return { verdict: "inconclusive", reason: `${reason(`${atLeast}, ${atMost}`)}; ${more}` };
}

function judgePoint(value: number | undefined, { aggregate, comparison, keeps, unit, ...limit }: Limit): Judged {
  if (value === undefined || !Number.isFinite(value)) return { verdict: "failed", reason: "not measured" };
  const reason = `${aggregate} ${formatNumber(value)}${unit}, limit ${comparison} ${limit.value}`;
  return { verdict: keeps(value) ? "passed" : "failed", reason };
}

function pointValue(values: number[], aggregate: string): number | undefined {
  if (values.length === 0) return undefined;
  if (aggregate === "avg") return mean(values);
  if (aggregate === "min" || aggregate === "max")
    return values.reduce((a, b) => (aggregate === "min" ? Math.min(a, b) : Math.max(a, b)));
  return aggregate === "count" ? values.length : undefined;
}

/** Why a run may not be judged at all. */
function invalidity(run: Results): string[] {
  // What is missing from the records would be judged as if it had kept every limit.
  if (!run.summary) return run.damage;
  const reasons: string[] = [];
  const { state, reasons: why } = run.summary.validity;
  // Not told to be fit is not fit: a gate must not pass what a client made.
  const words = state === "UNJUDGED" ? ["measured through xk6-sse, where a run cannot judge its own client"] : why;
  if (state !== "VALID") reasons.push(`${state}${words.length > 0 ? `: ${words.join("; ")}` : ""}`);
  if (run.levelSummaries.every((level) => level.requests === 0))
    reasons.push("no request was sent in a steady window: the server was not measured");
  else if (run.levelSummaries.every((level) => level.completed === 0))
    reasons.push("no request completed: the server was not measured");
  return [...reasons, ...run.damage];
}

/** A level as the run's own gates knew it; one whose requests had a token each is judged as one that asked for that. */
function gated({ name, batchSize, completed, outputTokens }: LevelSummary): Gated {
  return { name, batchSize, outputTokens: completed > 0 && outputTokens === completed ? 1 : undefined };
}

/** Judges a run by the thresholds of a gate configuration, level by level. */
export function gate(run: Results, config: GateConfig, by: Confidence = mlperfConfidence, only?: string): GateResult {
  const invalid = invalidity(run);
  if (invalid.length > 0) return { state: "not valid", invalid, judgements: [] };
  const levels = run.levelSummaries.filter((level) => only === undefined || level.name === only);
  const limits = Object.entries(thresholds(config, run.levelSummaries.map(gated)));
  const judgements: Judgement[] = [];
  for (const level of levels) {
    const rows = steadyRows(run, level.name);
    const itl = () => pooledItl(run, level.name);
    for (const [key, expressions] of limits) {
      const [, metric = "", of = ""] = /^(\w+)\{level:([^,}]+)/.exec(key) ?? [];
      if (of !== level.name) continue;
      // The validity was judged above; a limit on what was not measured fails here by itself.
      if (!isMetricName(metric) || metric === "llm_client_bound" || metric === "llm_samples") continue;
      for (const expression of expressions) {
        judgements.push({ level: level.name, metric, expression, ...judge(level, rows, itl, metric, expression, by) });
      }
    }
  }
  const has = (verdict: LimitVerdict): boolean => judgements.some((each) => each.verdict === verdict);
  return { state: has("failed") ? "failed" : has("inconclusive") ? "inconclusive" : "passed", invalid: [], judgements };
}

interface Options {
  profile?: string;
  sloTtft?: number;
  sloTpot?: number;
  sloE2e?: number;
  percentile?: number;
  confidence: number;
  tolerance: number;
  level?: string;
  json?: boolean;
}

/** What the run itself was gated by, unless an option says otherwise. */
export function gateConfig(run: Results, options: Partial<Options>): GateConfig {
  const number = (given: number | undefined, name: string): number | undefined => {
    const value = given ?? setting(run.config, name);
    return value === undefined || value === null ? undefined : Number(value);
  };
  const name = options.profile ?? String(setting(run.config, "THRESHOLDS") ?? "none");
  const shipped = profileNames.find((known) => known === name);
  if (!shipped && !existsSync(name))
    throw new Error(`${name} is neither a profile (${profileNames.join(", ")}) nor a file`);
  return {
    profile: shipped ?? parseProfile(readFileSync(name, "utf8")),
    SLO_TTFT: number(options.sloTtft, "SLO_TTFT"),
    SLO_TPOT: number(options.sloTpot, "SLO_TPOT"),
    SLO_E2E: number(options.sloE2e, "SLO_E2E"),
    SLO_PERCENTILE: number(options.percentile, "SLO_PERCENTILE") ?? 99,
  };
}

/** The lines that the command prints. */
export function gateLines(result: GateResult, by: Confidence): string[] {
  const marks: Record<LimitVerdict, string> = { passed: "ok  ", failed: "FAIL", inconclusive: "??  " };
  const lines = result.judgements.map(
    ({ verdict, level, metric, reason }) => `${marks[verdict]} ${level} ${metric} ${reason}`,
  );
  const words: Record<GateState, string> = {
    passed: `PASSED: ${result.judgements.length} limits kept, percentiles with ${formatShare(by.confidence)} confidence`,
    failed: "FAILED: at least one limit is broken",
    "not valid": `NOT VALID: ${result.invalid.join("; ")}`,
    inconclusive: `INCONCLUSIVE: too few samples to be ${formatShare(by.confidence)} sure of a percentile either way`,
  };
  if (result.state === "passed" && result.judgements.length === 0)
    return ["PASSED: the run is valid, and no limit was set (--profile, --slo-ttft, ...)"];
  return [...lines, words[result.state]];
}

function positiveNumber(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("a number above 0 is needed");
  return value;
}

function percentile(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 100)) throw new InvalidArgumentError("a number between 0 and 100 is needed");
  return value;
}

function share(text: string): number {
  const value = Number(text);
  if (!(value >= 0 && value < 1)) throw new InvalidArgumentError("a number from 0 to below 1 is needed");
  return value;
}

async function main(): Promise<void> {
  const program = new Command("gate")
    .description("Judges a results folder by SLOs and a threshold profile, percentiles with MLPerf's early stopping")
    .argument("<dir>", "results folder")
    .option("--profile <name>", "smoke, interactive, batch, none, or a JSON file (default: the run's)")
    .option("--slo-ttft <ms>", "limit of TTFT (default: the run's)", positiveNumber)
    .option("--slo-tpot <ms>", "limit of TPOT (default: the run's)", positiveNumber)
    .option("--slo-e2e <ms>", "limit of the e2e latency (default: the run's)", positiveNumber)
    .option("--percentile <p>", "percentile of the SLOs (default: the run's)", percentile)
    .option("--confidence <share>", "how sure a percentile's verdict has to be", share, mlperfConfidence.confidence)
    .option(
      "--tolerance <share>",
      "MLPerf's d: how much of the share may be missing",
      share,
      mlperfConfidence.tolerance,
    )
    .option("--level <name>", "judge this level only")
    .option("--json", "print the verdict as JSON");
  program.parse();
  const options = program.opts<Options>();
  const by = { confidence: options.confidence, tolerance: options.tolerance };
  const run = await readResults(program.args[0] as string, true).catch((error: Error) => error);
  if (run instanceof Error) {
    console.log(`NOT VALID: ${run.message}`);
    process.exitCode = exitCodes["not valid"];
    return;
  }
  if (options.level !== undefined && !run.levelSummaries.some(({ name }) => name === options.level)) {
    throw new Error(`the run has no level ${options.level} (${run.levelSummaries.map(({ name }) => name).join(", ")})`);
  }
  const result = gate(run, gateConfig(run, options), by, options.level);
  console.log(options.json ? JSON.stringify(result, null, 2) : gateLines(result, by).join("\n"));
  process.exitCode = exitCodes[result.state];
}

if (process.argv[1] === __filename) {
  main().catch((error: Error) => {
    console.error(`gate: ${error.message}`);
    process.exitCode = 104;
  });
}
