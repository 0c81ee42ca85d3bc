/** What a run came to: its verdict, every limit with its margin, and the exit code that follows. Pure. */

import type { JudgedLimit, RunReport, Verdict } from "../figures/level-summary";
import { selectorOf } from "../figures/selector";
import { besideLimit } from "../figures/table";
import { type ExitCodeName, exitCodes } from "./exit-codes";
import { type Judged, judge } from "./verdict";

/** What a verdict rests on. */
export interface Evidence {
  readonly report: RunReport;
  /** The thresholds as k6 judged them; undefined where k6 does not say. */
  readonly judged: readonly Judged[] | undefined;
  /** The thresholds that the run was to be judged by. */
  readonly expected: Readonly<Record<string, readonly string[]>>;
  /** Those among them that the script named (test.threshold). */
  readonly script?: Readonly<Record<string, readonly string[]>>;
  /** Results that could not be written whole, a line each. */
  readonly unwritten: readonly string[];
  /** Limits that the test itself judged. */
  readonly own?: readonly JudgedLimit[];
  /** The test judges by itself how its levels change, as a soak and a search for capacity do: a level need not be steady. */
  readonly mayChange?: boolean;
  /** A smoke run: only failures are judged, and not how well the client measured what nobody judges. */
  readonly smoke?: boolean;
}

/** The verdict of a run with its exit code. */
export interface Conclusion {
  readonly verdict: Verdict;
  readonly limits: readonly JudgedLimit[];
  readonly exit: ExitCodeName;
}

/** Judges a run. It passes when it is complete and valid, every level was measured, and no limit was violated or unjudged. */
export function conclude(evidence: Evidence): Conclusion {
  const { report, judged = [], smoke = false } = evidence;
  if (report.part) return partOf(report.part, evidence);
  const limits = judged.map(limitOf);
  markUnmeasured(limits);
  const { own = [] } = evidence;
  limits.push(...unjudgedOfScript(evidence), ...own);
  const invalid = flaws(evidence);
  const byThresholds = judge(report, judged, smoke);
  const unmeasured = unmeasuredLevels(report).filter(
    // A violated threshold of the level, or the verdict, reports it already.
    (name) => !byThresholds.reasons.some((reason) => reason.includes(`level:${name}}`) || /^no request/.test(reason)),
  );
  const reasons = [
    ...invalid,
    ...byThresholds.reasons,
    ...own.filter(({ result }) => result !== "passed").map(ownReason),
    ...judged.filter(({ empty, ok }) => empty && ok).map(emptyReason),
    ...unmeasured.map((name) => `no request of ${name} completed`),
    ...neverSteady(evidence),
  ];
  const verdict: Verdict = { ...byThresholds, pass: reasons.length === 0, reasons };
  return { verdict, limits, exit: exitOf(evidence, verdict, limits, invalid.length > 0) };
}

/** Limits of the script that k6 did not judge: whoever judges the run later must know that there were some. */
function unjudgedOfScript({ judged = [], script = {} }: Evidence): JudgedLimit[] {
  const known = new Set(judged.map(({ metric, expression }) => `${metric} ${expression}`));
  return Object.entries(script).flatMap(([metric, expressions]) =>
    expressions
      .filter((expression) => !known.has(`${metric} ${expression}`))
      .map((expression) => limitOf({ metric, expression, ok: false, value: undefined, empty: true, script: true })),
  );
}

/** What one of several instances comes to: it never passes by itself, for the merge judges what all of them measured. */
function partOf({ number, of }: NonNullable<RunReport["part"]>, evidence: Evidence): Conclusion {
  const { report } = evidence;
  const invalid = flaws({ ...evidence, judged: [], expected: {} });
  const { state, reasons } = report.validity;
  const whose = `part ${number} of ${of} of a run: the coordinator, or npm run merge, judges all of them together`;
  const ofClient = state === "VALID" ? [] : reasons.map((reason) => `${state}: ${reason}`);
  const verdict: Verdict = { pass: false, validity: state, reasons: [...invalid, ...ofClient, whose] };
  const exit = report.ended === "interrupted" ? "interrupted" : invalid.length > 0 ? "notValid" : "passed";
  return { verdict, limits: [], exit };
}

const emptyReason = ({ metric, expression }: Judged) =>
  `${metric} ${expression} was not measured: the metric has no values, and k6 passes a threshold on none`;

/** "llm_ttft{level:c8} drift 12.3 %, limit <= 5 %". */
function ownReason({ metric, level, expression, value, result }: JudgedLimit): string {
  const of = level === undefined ? metric : `${metric}{level:${level}}`;
  const [, what = expression, comparison = "", bound = "", unit = ""] =
    /^(\w+)([<>=]+)([\d.]+)(%|MB)?$/.exec(expression) ?? [];
  const after = unit === "" ? "" : ` ${unit}`;
  if (result === "not measured" || value === undefined) return `${of} ${what} was not measured`;
  return `${of} ${what} ${besideLimit(value, Number(bound))}${after}, limit ${comparison} ${bound}${after}`;
}

/** Why the run says nothing about the server, beside what its client's validity says. */
function flaws({ report, judged, expected, unwritten }: Evidence): string[] {
  const lines: string[] = [];
  const missing = report.unsent === undefined ? "" : `: ${report.unsent}`;
  if (report.ended === "cut") lines.push(`the run was cut short${missing}`);
  if (report.ended === "interrupted") lines.push(`the run was interrupted${missing}`);
  if (judged === undefined) {
    lines.push("k6 does not say which thresholds were crossed: run without --new-machine-readable-summary");
  } else {
    const known = new Set(judged.map(({ metric, expression }) => `${metric} ${expression}`));
    const unjudged = Object.entries(expected).flatMap(([metric, expressions]) =>
      expressions.filter((expression) => !known.has(`${metric} ${expression}`)),
    );
    if (unjudged.length > 0) lines.push(`${unjudged.length} thresholds were not judged: run without --no-thresholds`);
  }
  for (const line of unwritten) lines.push(`results were not written whole: ${line}`);
  return lines;
}

function unmeasuredLevels({ levels }: RunReport): string[] {
  return levels.filter(({ completed }) => completed === 0).map(({ name }) => name);
}

/** Whether anything is judged. Without a gate a slow client and an unsteady level are for the reader to see. */
const gated = ({ expected }: Evidence): boolean => Object.keys(expected).length > 0;

/** Levels that were judged and never came to rest: what their percentiles say depends on how long they lasted, so that none passes. */
function neverSteady(evidence: Evidence): string[] {
  if (!gated(evidence) || evidence.mayChange) return [];
  return evidence.report.levels.flatMap(({ name, steady }) =>
    steady?.state === "never" ? [`${name} was never steady: ${steady.why}`] : [],
  );
}

function exitOf(evidence: Evidence, { pass }: Verdict, limits: readonly JudgedLimit[], invalid: boolean): ExitCodeName {
  const { report } = evidence;
  const { state } = report.validity;
  if (report.ended === "interrupted") return "interrupted";
  if (
    invalid ||
    (gated(evidence) && !evidence.smoke && state !== "VALID" && state !== "UNJUDGED" && state !== "NOT-MEASURED")
  )
    return "notValid";
  const violated = limits.filter(({ result }) => result === "violated");
  if (violated.some((limit) => !countsSamples(limit))) return "failed";
  if (limits.some(({ result }) => result === "not measured") || unmeasuredLevels(report).length > 0) return "notValid";
  if (report.total.completed === 0) return "notValid";
  if (violated.length > 0) return "inconclusive";
  if (pass || !gated(evidence)) return "passed";
  return neverSteady(evidence).length > 0 ? "inconclusive" : "notValid";
}

/** Whether a limit asks for a number of samples, and says nothing about their values. */
function countsSamples({ metric }: JudgedLimit): boolean {
  return metric === "llm_requests" || metric === "llm_samples";
}

function limitOf({ metric: key, expression, ok, value, empty, script }: Judged): JudgedLimit {
  const { metric, tags } = selectorOf(key);
  const { level, metric: of, phase, ...others } = tags;
  if (phase !== undefined && phase !== "steady") others.phase = phase;
  const [, comparison = "", bound = ""] = /([<>=!]+)\s*(-?[\d.]+(?:e[+-]?\d+)?)$/i.exec(expression) ?? [];
  const limit: JudgedLimit = { metric, expression, result: empty ? "not measured" : ok ? "passed" : "violated" };
  if (level !== undefined) limit.level = level;
  if (of !== undefined && metric === "llm_samples") limit.of = of;
  else if (of !== undefined) others.metric = of;
  if (Object.keys(others).length > 0) limit.tags = others;
  if (script) limit.script = true;
  if (value === undefined || empty) return limit;
  limit.value = value;
  if (comparison.startsWith("<")) limit.margin = Number(bound) - value;
  if (comparison.startsWith(">")) limit.margin = value - Number(bound);
  return limit;
}

/** k6 takes a limit on nothing for one that is kept; llm_samples tells which those are. Changes `limits`. */
function markUnmeasured(limits: JudgedLimit[]): void {
  const empty = new Set(
    limits.flatMap(({ of, level, value }) => (of !== undefined && (value ?? 0) === 0 ? [`${of} ${level}`] : [])),
  );
  for (const limit of limits) {
    if (limit.of !== undefined ? (limit.value ?? 0) === 0 : empty.has(`${limit.metric} ${limit.level}`)) {
      limit.result = "not measured";
      delete limit.margin;
    }
  }
}

/** The exit code of a conclusion. */
export function exitCodeOf({ exit }: Conclusion): number {
  return exitCodes[exit];
}
