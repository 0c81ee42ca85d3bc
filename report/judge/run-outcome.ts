/** What a run came to by its own thresholds, for pipelines: `npm start` writes it at its end. */
import { existsSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { JudgedLimit } from "../../lib/figures/level-summary";
import { isMetricName, metrics } from "../../lib/figures/metrics-table";
import { shownSelector } from "../../lib/figures/selector";
import { formatNumber } from "../format";
import type { Summary } from "../read/read";
import { type Check, exitCodes, type Outcome, type OutcomeState, outcomeOf, published } from "./outcome";

/** A run that `npm start` made: its summary, or why it has none that can be read. */
interface EndedRun {
  name: string;
  summary?: Summary;
  problem?: string;
}

/**
 * Writes start.junit.xml, start.md and start.json into a run's folder, for a run of two phases of both. Returns the exit code:
 * the one given, or one that does not pass where it cannot be written. A run that left nothing, as one whose settings were
 * refused, leaves no file either.
 */
export function publishRun(dir: string, exitCode: number): number {
  const runs = [dir, join(dir, "full"), join(dir, "prefill")].flatMap((each) => endedRun(each) ?? []);
  if (runs.length === 0) return exitCode;
  return published(runOutcome(basename(resolve(dir)), runs, exitCode), dir);
}

function endedRun(dir: string): EndedRun | undefined {
  const file = join(dir, "summary.json");
  const name = basename(resolve(dir));
  if (!existsSync(file)) {
    const records = ["records.ndjson.gz", "records.ndjson"].some((each) => existsSync(join(dir, each)));
    return records
      ? { name, problem: "there is no summary.json: the run was killed before it wrote one, or could not write it" }
      : undefined;
  }
  try {
    const summary = JSON.parse(readFileSync(file, "utf8")) as Summary;
    if (typeof summary.verdict?.pass !== "boolean") throw new Error("it has no verdict");
    return { name, summary };
  } catch (error) {
    return { name, problem: `summary.json cannot be read: ${(error as Error).message}` };
  }
}

/** The outcome of one run or of several that belong together, which ended with this exit code. */
export function runOutcome(
  subject: string,
  runs: readonly EndedRun[],
  exitCode: number,
  tool: "start" | "merge" = "start",
): Outcome {
  const several = runs.length > 1;
  const reasons = runs.flatMap(({ name, summary, problem }) =>
    (problem === undefined ? (summary?.verdict.reasons ?? []) : [problem]).map((reason) =>
      several ? `${name}: ${reason}` : reason,
    ),
  );
  const passed = runs.every(({ summary }) => summary?.verdict.pass === true);
  // Without thresholds a run ends with 0 whatever its verdict is: that is no pass to show.
  const state: OutcomeState = exitCode === 0 && !passed ? "not valid" : stateOf(exitCode);
  const validity = [...new Set(runs.map(({ summary }) => summary?.verdict.validity ?? "NOT VALID"))].join(", ");
  const headline =
    state === "passed"
      ? `PASS, ${validity}`
      : `FAIL, ${validity}${reasons.length > 0 ? `: ${reasons.join("; ")}` : ""}`;
  const checks = runs.flatMap(({ name, summary }) =>
    (summary?.thresholds ?? []).map((limit) => checkOf(limit, several ? name : "")),
  );
  return outcomeOf(tool, subject, state, headline, {
    ...{ exitCode, checks, invalid: state === "passed" ? [] : reasons },
    details: { runs: runs.map(({ name, summary, problem }) => ({ name, problem, verdict: summary?.verdict })) },
  });
}

function stateOf(exitCode: number): OutcomeState {
  const known = (Object.keys(exitCodes) as OutcomeState[]).find((state) => exitCodes[state] === exitCode);
  // Interrupted, aborted, killed.
  return known ?? "not valid";
}

function checkOf({ metric, level, tags, of, expression, value, margin, result }: JudgedLimit, run: string): Check {
  const { unit: own = "" } = isMetricName(metric) ? metrics[metric] : {};
  const unit = own === "" || own === "share" || own === "0 or 1" ? "" : ` ${own}`;
  const values = [
    value === undefined ? "no value" : `value ${formatNumber(value)}${unit}`,
    ...(margin === undefined ? [] : [`margin ${formatNumber(margin)}${unit}`]),
  ];
  return {
    level: [run, level ?? "whole run"].filter((part) => part !== "").join(" "),
    name: `${shownSelector(metric, tags)}${of === undefined ? "" : ` of ${of}`} ${expression}`,
    verdict: result === "passed" ? "passed" : "failed",
    text: `${result}: ${values.join(", ")}`,
  };
}
