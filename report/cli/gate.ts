/**
 * `npm run gate -- DIR`: judges a finished run. Exit 0 passed, 99 a threshold is violated, 98 not valid (client-bound, cut, damaged,
 * or a level was not measured), 96 inconclusive: too few samples to be sure either way, or a level was never steady; 104
 * nothing to judge by. A level that was steady only from some time on is judged by that part.
 */

import { existsSync, readFileSync } from "node:fs";
import { Command } from "commander";
import { makeOutput } from "../../build/folder";
import { clientMemory } from "../../lib/figures/drift";
import type { Second } from "../../lib/figures/level-summary";
import { isMetricName, type MetricName, metrics } from "../../lib/figures/metrics-table";
import { type Profile, parseProfile, profileNames } from "../../lib/figures/profile";
import { shownSelector } from "../../lib/figures/selector";
import { type SteadyState, steadyStateOf, zeroOf } from "../../lib/figures/steady";
import { besideLimit } from "../../lib/figures/table";
import { gatesEveryRun, parseThreshold, partsOf, pooledPercentile } from "../../lib/figures/threshold";
import { settings } from "../../lib/settings/settings";
import { capacityGates, type GateConfig, type Gated, thresholds } from "../../thresholds/gates";
import { formatNumber, formatShare } from "../format";
import { capacityOf, judgeCapacity } from "../judge/capacity";
import { type Confidence, type LimitVerdict, mlperfConfidence } from "../judge/early-stopping";
import type { PooledItl } from "../judge/itl";
import { slosOf } from "../judge/level-state";
import { levelValues } from "../judge/level-values";
import { type Evidence, judgeLimit } from "../judge/limit";
import { type Outcome, outcomeJson, outcomeOf, published } from "../judge/outcome";
import { invalidity } from "../judge/validity";
import { type LevelSummary, type Results, type Rows, readResults, setting } from "../read/read";
import { e2eMs, pooledItl, queueDelayMs, steadyRows, tpotMs, ttftMs, ttftScheduledMs } from "../read/request";
import { type Numbers, sum } from "../statistics";
import { parseCommandLine, percentage, positiveNumber, runCommandLine } from "./options";

/** One limit of one level, judged. */
export interface Judgement {
  /** "run" where it is for the whole run. */
  level: string;
  /** One of this project's; of a script, with its tags, also its own or k6's; client_memory of a soak. */
  metric: string;
  /** As in k6: "p(99)<200"; of a soak "drift<=5%" and "growth<=256MB". */
  expression: string;
  verdict: LimitVerdict;
  /** The script named it, and k6 judged it. */
  script?: true;
  /** One line with value, limit and, of what is estimated, the samples it rests on. */
  reason: string;
}

/** "refused": there is no limit to judge by. */
export type GateState = "passed" | "failed" | "not valid" | "inconclusive" | "refused";

export interface GateResult {
  state: GateState;
  /** Why the run is not valid, or the gate refused; empty otherwise. */
  invalid: string[];
  judgements: Judgement[];
}

/** Values of the metrics that have one a request. */
const perRequest: Partial<Record<MetricName, (rows: Rows) => Numbers>> = {
  llm_ttft: (rows) => completed(rows).numbers(ttftMs),
  llm_ttfo: (rows) => completed(rows).numbers((row) => row.ttfoMs),
  llm_ttft_scheduled: (rows) => completed(rows).numbers(ttftScheduledMs),
  llm_tpot: (rows) => completed(rows).numbers(tpotMs),
  llm_e2e_latency: (rows) => completed(rows).numbers(e2eMs),
  llm_e2e_scheduled: (rows) => completed(rows).numbers((row) => e2eMs(row) + queueDelayMs(row)),
  llm_itl_max: (rows) => completed(rows).numbers(({ maxStallNs }) => (maxStallNs > 0 ? maxStallNs / 1e6 : undefined)),
  llm_queue_delay: (rows) => rows.numbers((row) => (row.sentNs > 0 ? queueDelayMs(row) : undefined)),
  llm_output_speed: (rows) =>
    completed(rows)
      .numbers(tpotMs)
      .filter((ms) => ms > 0)
      .map((ms) => 1000 / ms),
};

const completed = (rows: Rows): Rows => rows.filter((row) => row.completed);

/** Values of the metrics that have one a level. */
const perLevel: Partial<Record<string, (level: LevelSummary, rows: Rows) => number | undefined>> = {
  ...levelValues,
  llm_cached_tokens: ({ cachedShare, cachedTokens = 0 }) => (cachedShare === undefined ? undefined : cachedTokens),
  llm_chunks: (_, rows) => sum(completed(rows).numbers(({ chunks }) => chunks)),
};

/** Requests that a rate counts. */
const perShare: Partial<Record<MetricName, (level: LevelSummary) => Evidence>> = {
  llm_request_failed: ({ requests, failed }) => ({ kind: "share", requests, counted: failed, words: "failed" }),
  llm_goodput: ({ requests, goodShare }) =>
    goodShare === undefined
      ? { kind: "point", value: undefined }
      : { kind: "share", requests, counted: Math.round(goodShare * requests), words: "met every SLO" },
};

/** What a metric of a level is judged by. Throws for a metric that is not known here: nothing unknown passes. */
function evidenceOf(metric: MetricName, level: LevelSummary, rows: Rows, itl: () => PooledItl): Evidence {
  const percentile = pooledPercentile(metric);
  if (percentile !== undefined) return { kind: "pooled", pool: itl(), percentile: Number(percentile) };
  const values = perRequest[metric]?.(rows);
  if (values) return { kind: "values", values };
  const share = perShare[metric]?.(level);
  if (share) return share;
  const value = perLevel[metric];
  if (!value) throw new Error(`gate cannot judge ${metric}: leave it to k6's thresholds`);
  return { kind: "point", value: value(level, rows) };
}

const unitOf = (metric: MetricName): string =>
  ["share", "0 or 1"].includes(metrics[metric].unit) ? "" : metrics[metric].unit;

/** A level as the run's own gates knew it; one whose requests had a token each is judged as one that asked for that. */
export function gated({ name, batchSize, completed, outputTokens, labels }: LevelSummary): Gated {
  return { name, batchSize, labels, outputTokens: completed > 0 && outputTokens === completed ? 1 : undefined };
}

/**
 * Judges a run by the thresholds of a gate configuration, level by level.
 * @throws Error for a limit whose aggregate the metric does not have.
 */
export function gate(run: Results, config: GateConfig, by: Confidence = mlperfConfidence, only?: string): GateResult {
  const invalid = invalidity(run, only);
  if (invalid.length > 0) return { state: "not valid", invalid, judgements: [] };
  const stateOf = (judgements: readonly Judgement[]) => {
    const has = (verdict: LimitVerdict): boolean => judgements.some((each) => each.verdict === verdict);
    return has("failed") ? "failed" : has("inconclusive") ? "inconclusive" : "passed";
  };
  if (run.scenario === "capacity") {
    const bounds = capacityOf(run);
    const judgements = (capacityGates(config).thresholds.llm_capacity ?? []).map(
      (expression): Judgement => ({
        ...{ level: "search", metric: "llm_capacity", expression, ...judgeCapacity(bounds, expression) },
      }),
    );
    return { state: stateOf(judgements), invalid: [], judgements };
  }
  const levels = run.levelSummaries.filter((level) => only === undefined || level.name === only);
  const limits = Object.entries(thresholds(config, run.levelSummaries.map(gated)));
  const judgements: Judgement[] = [];
  for (const whole of levels) {
    const steady = steadyOf(run, whole);
    const fromS = steady?.state === "steady" && steady.fromS > whole.windowStartS ? steady.fromS : undefined;
    const rows = steadyRows(run, whole.name, fromS);
    const level = fromS === undefined ? whole : steadyPart(run, whole, rows, fromS);
    let pool: PooledItl | undefined;
    const itl = () => {
      pool ??= pooledItl(run, level.name, fromS);
      return pool;
    };
    for (const [key, expressions] of limits) {
      const [, metric = "", of = ""] = /^(\w+)\{level:([^,}]+)/.exec(key) ?? [];
      if (of !== level.name) continue;
      if (!isMetricName(metric)) throw new Error(`gate cannot judge ${metric}: it is not a metric`);
      // The validity was judged above; a limit on what was not measured fails here by itself.
      if (gatesEveryRun(metric)) continue;
      for (const expression of expressions) {
        const threshold = parseThreshold(metric, expression);
        // A failure is one whenever it happened.
        const all = metric === "llm_request_failed" || metric === "llm_failures";
        const evidence = evidenceOf(metric, all ? whole : level, rows, itl);
        const judged = judgeLimit(threshold, evidence, unitOf(metric), by);
        const worth = inSteadyState(judged, steady, all ? undefined : fromS, whole);
        judgements.push({ level: level.name, metric, expression, ...worth });
      }
    }
  }
  for (const limit of [...ownLimits(run, only), ...scriptLimits(run, only)]) judgements.push(limit);
  if (judgements.length === 0) return { state: "refused", invalid: [noLimit], judgements };
  return { state: stateOf(judgements), invalid: [], judgements };
}

/** The limits that the run judged by itself, such as the drift of a soak: what they rest on is more than a level as a whole. */
function ownLimits({ summary, scenario }: Results, only?: string): Judgement[] {
  const own = (summary?.thresholds ?? []).flatMap(({ metric, level = "", expression, value, result }): Judgement[] => {
    const [, limit, unit] = /^(?:drift|growth)<=([\d.]+)(%|MB)$/.exec(expression) ?? [];
    if (unit === undefined || !(isMetricName(metric) || metric === clientMemory)) return [];
    if (only !== undefined && level !== only) return [];
    const verdict = result === "passed" ? "passed" : result === "violated" ? "failed" : "inconclusive";
    const reason = `${expression}: ${value === undefined ? "was not measured" : `${besideLimit(value, Number(limit))} ${unit}`}`;
    return [{ level, metric, expression, verdict, reason }];
  });
  if (scenario !== "soak" || own.length > 0) return own;
  const reason = "the run holds no drift: its summary is missing or of another version";
  return [{ level: only ?? "", metric: "llm_tpot", expression: "drift", verdict: "inconclusive", reason }];
}

/**
 * The limits that the script named (test.threshold), as k6 judged them on all samples of the run: their values are not in the
 * records, so that nothing is known of their confidence. What k6 did not measure or judge fails.
 */
function scriptLimits({ summary }: Results, only?: string): Judgement[] {
  return (summary?.thresholds ?? []).flatMap(
    ({ script, metric, level, tags, expression, value, result }): Judgement[] => {
      if (!script || (only !== undefined && level !== only)) return [];
      const verdict = result === "passed" ? "passed" : "failed";
      const limit = partsOf(expression)?.limit;
      const shown = (of: number) => (limit === undefined ? formatNumber(of) : besideLimit(of, limit, formatNumber));
      const measured = result === "not measured" || value === undefined ? "not measured" : shown(value);
      const reason = `${expression}: ${measured}, as k6 judged it`;
      return [{ level: level ?? "run", metric: shownSelector(metric, tags), expression, verdict, reason, script }];
    },
  );
}

/**
 * Whether a level was steady: as its run found it, or of a run that did not look, from its seconds. A soak has limits of its own
 * on how far it drifts.
 */
function steadyOf({ scenario, summary, levelSummaries }: Results, level: LevelSummary): SteadyState | undefined {
  if (scenario === "soak") return undefined;
  return level.steady ?? (summary && steadyStateOf(level, levelSummaries, summary.seconds ?? []));
}

/**
 * A level that is steady from a time on, as far as limits are judged by its figures: the requests that were scheduled from then
 * on, and throughputs of the whole seconds since.
 */
function steadyPart(run: Results, level: LevelSummary, rows: Rows, fromS: number): LevelSummary {
  const zeroS = zeroOf(run.levelSummaries);
  const seconds = (run.summary?.seconds ?? []).filter(
    ({ t }) => zeroS + t >= fromS - 1e-3 && zeroS + t + 1 <= level.windowStartS + level.durationS + 1e-3,
  );
  const perSecond = (of: (second: Second) => number) =>
    seconds.reduce((sum, second) => sum + of(second), 0) / seconds.length;
  const done = completed(rows);
  const abandoned = rows.filter(({ failure }) => failure === "aborted").length;
  const slo = slosOf(run);
  const met = (limit: number | undefined, value: number | undefined) =>
    limit === undefined || (value !== undefined && value >= 0 && value <= limit);
  const good = done.filter(
    (row) =>
      met(slo.ttft, ttftMs(row)) && (row.shownTokens === 1 || met(slo.tpot, tpotMs(row))) && met(slo.e2e, e2eMs(row)),
  ).length;
  const share = good / Math.max(1, rows.length - abandoned);
  const requestThroughput = perSecond(({ succeeded }) => succeeded);
  return {
    ...level,
    ...{ requests: rows.length, completed: done.length, failed: rows.length - done.length - abandoned },
    ...{ requestThroughput, outputThroughput: perSecond(({ outputTokens }) => outputTokens) },
    inputTokens: sum(done.numbers(({ inputTokens }) => inputTokens)),
    outputTokens: sum(done.numbers(({ outputTokens }) => outputTokens)),
    ...(level.goodShare === undefined
      ? {}
      : { goodShare: share, requestGoodput: done.length > 0 ? (requestThroughput * good) / done.length : 0 }),
  };
}

/** What a verdict is worth on a level that was steady in part or never: a pass without a steady state is none. */
function inSteadyState(
  judged: { verdict: LimitVerdict; reason: string },
  steady: SteadyState | undefined,
  fromS: number | undefined,
  { windowStartS }: LevelSummary,
): { verdict: LimitVerdict; reason: string } {
  if (fromS !== undefined) {
    return {
      ...judged,
      reason: `${judged.reason}, without the first ${formatNumber(fromS - windowStartS)} s, which were not steady`,
    };
  }
  if (steady?.state !== "never") return judged;
  const verdict = judged.verdict === "passed" ? "inconclusive" : judged.verdict;
  return { verdict, reason: `${judged.reason}; never steady: ${steady.why}` };
}

const noLimit =
  "there is no limit to judge by: the run has THRESHOLDS=none and no SLO; give --profile, --slo-ttft, --slo-tpot or --slo-e2e";

interface Options {
  profile?: string;
  sloTtft?: number;
  sloTpot?: number;
  sloE2e?: number;
  percentile?: number;
  confidence?: number;
  tolerance?: number;
  level?: string;
  output?: string;
  json?: boolean;
}

/** What the run itself was gated by, unless an option says otherwise. */
export function gateConfig(run: Pick<Results, "config" | "summary">, options: Partial<Options>): GateConfig {
  const number = (given: number | undefined, name: string): number | undefined => {
    const value = given ?? setting(run.config, name);
    return value === undefined || value === null ? undefined : Number(value);
  };
  return {
    profile: profileOf(run, options.profile),
    SLO_TTFT: number(options.sloTtft, "SLO_TTFT"),
    SLO_TPOT: number(options.sloTpot, "SLO_TPOT"),
    SLO_E2E: number(options.sloE2e, "SLO_E2E"),
    SLO_PERCENTILE: number(options.percentile, "SLO_PERCENTILE") ?? settings.SLO_PERCENTILE.initial,
  };
}

/** The profile that an option names, else the run's own, as the run holds it: its file may have changed since. */
function profileOf(run: Pick<Results, "config" | "summary">, option: string | undefined): GateConfig["profile"] {
  const own = run.summary?.profile;
  if (option === undefined && own !== undefined) return checkedProfile(own, "of the run");
  const name = option ?? String(setting(run.config, "THRESHOLDS") ?? "none");
  const shipped = profileNames.find((known) => known === name);
  if (shipped) return shipped;
  if (option === undefined) throw new Error(`the run does not hold its profile, THRESHOLDS=${name}; give --profile`);
  if (!existsSync(name)) throw new Error(`${name} is neither a profile (${profileNames.join(", ")}) nor a file`);
  return readProfile(name);
}

/** A profile in the form that runs keep, checked as a file is. */
function checkedProfile(profile: unknown, which: string): Profile {
  try {
    const { limits, ...rest } = profile as Profile;
    return parseProfile(JSON.stringify({ ...limits, ...rest }));
  } catch (error) {
    throw new Error(`the profile ${which} cannot be used: ${(error as Error).message}`);
  }
}

function readProfile(file: string): Profile {
  try {
    return parseProfile(readFileSync(file, "utf8"));
  } catch (error) {
    throw new Error(`the profile ${file} cannot be used: ${(error as Error).message}`);
  }
}

/** The lines that the command prints. */
function gateLines(result: GateResult, by: Confidence): string[] {
  const marks: Record<LimitVerdict, string> = { passed: "ok  ", failed: "FAIL", inconclusive: "??  " };
  const lines = result.judgements.map(
    ({ verdict, level, metric, reason }) => `${marks[verdict]} ${level} ${metric} ${reason}`,
  );
  return [...lines, headlineOf(result, by)];
}

function headlineOf({ state, judgements, invalid }: GateResult, by: Confidence): string {
  const sure = formatShare(by.confidence);
  switch (state) {
    case "passed": {
      const script = judgements.filter((each) => each.script).length;
      const own = script > 0 ? `; ${script} of them are the script's, as k6 judged them` : "";
      return script === judgements.length
        ? `PASSED: ${script} thresholds of the script passed, as k6 judged them`
        : `PASSED: ${judgements.length} thresholds passed, percentiles and shares with ${sure} confidence${own}`;
    }
    case "failed":
      return "FAILED: at least one threshold is violated";
    case "inconclusive":
      return `INCONCLUSIVE: too few samples to be ${sure} sure either way, or a level that was never steady`;
    case "not valid":
      return `NOT VALID: ${invalid.join("; ")}`;
    case "refused":
      return `NOTHING JUDGED: ${invalid.join("; ")}`;
  }
}

/** The result as pipelines get it. */
function gateOutcome(subject: string, result: GateResult, by: Confidence): Outcome {
  const { state, invalid, judgements } = result;
  const checks = judgements.map(({ level, metric, expression, verdict, reason }) => ({
    ...{ level, name: `${metric} ${expression}`, verdict, text: reason },
  }));
  return outcomeOf("gate", subject, state, headlineOf(result, by), { invalid, checks, details: { judgements } });
}

/** N of p(N). */
const percentile = (text: string): number => Number((100 * percentage(50, 100)(text)).toPrecision(12));

export function commandLine(): Command {
  return new Command("gate")
    .description(
      "Judges a results folder by SLOs and a threshold profile, percentiles and shares with MLPerf's early stopping",
    )
    .argument("<dir>", "results folder")
    .option("--profile <name>", "smoke, interactive, batch, none, or a JSON file (default: the run's)")
    .option("--slo-ttft <ms>", "limit of TTFT (default: the run's)", positiveNumber)
    .option("--slo-tpot <ms>", "limit of TPOT (default: the run's)", positiveNumber)
    .option("--slo-e2e <ms>", "limit of the e2e latency (default: the run's)", positiveNumber)
    .option("--percentile <percent>", "percentile of the SLOs, 50 to 100 (default: the run's)", percentile)
    .option(
      "--confidence <percent>",
      "how sure a verdict has to be, 50 to 99.999 (default: 99)",
      percentage(50, 99.999),
    )
    .option(
      "--tolerance <percent>",
      "MLPerf's d: how much of a share may be missing, 0 to 10 (default: 0)",
      percentage(0, 10),
    )
    .option("--level <name>", "judge this level only")
    .option("--output <dir>", "where gate.junit.xml, gate.md and gate.json are written (default: the results folder)")
    .option("--json", "print the verdict as JSON, and nothing else");
}

/** The command; resolves to the exit code. @throws Error for what is asked wrongly. */
export async function main(
  argv: readonly string[],
  print: (text: string) => void = (text) => process.stdout.write(text),
): Promise<number> {
  const program = commandLine();
  parseCommandLine(program, argv);
  const options = program.opts<Options>();
  const { confidence = mlperfConfidence.confidence, tolerance = mlperfConfidence.tolerance } = options;
  const dir = program.args[0] as string;
  const by = { confidence, tolerance };
  if (options.output !== undefined) makeOutput(options.output);
  const run = await readResults(dir, { itl: true }).catch((error: Error) => error);
  const result = run instanceof Error ? notValid(run.message) : orRefused(() => judged(run, options, by));
  const outcome = gateOutcome(run instanceof Error ? dir : run.name, result, by);
  print(options.json ? outcomeJson(outcome) : `${gateLines(result, by).join("\n")}\n`);
  return published(outcome, options.output ?? (run instanceof Error ? undefined : dir));
}

const notValid = (reason: string): GateResult => ({ state: "not valid", invalid: [reason], judgements: [] });

function orRefused(judge: () => GateResult): GateResult {
  try {
    return judge();
  } catch (error) {
    return { state: "refused", invalid: [(error as Error).message], judgements: [] };
  }
}

function judged(run: Results, options: Options, by: Confidence): GateResult {
  const { level } = options;
  if (level !== undefined && !run.levelSummaries.some(({ name }) => name === level)) {
    throw new Error(`the run has no level ${level} (${run.levelSummaries.map(({ name }) => name).join(", ")})`);
  }
  return gate(run, gateConfig(run, options), by, level);
}

if (process.argv[1] === __filename) runCommandLine("gate", () => main(process.argv.slice(2)));
