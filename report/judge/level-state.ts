/** Which levels of a run kept their limits, so that a report praises no other. */
import type { Profile } from "../../lib/figures/profile";
import { formatMs } from "../format";
import { type LevelSummary, type Results, type SloMs, setting } from "../read/read";
import { e2eMs, steadyRows, tpotMs, ttftMs } from "../read/request";
import { ascending, type Numbers, quantile } from "../statistics";

/** Without any limit: the share of failed requests from which on a level is none to praise. */
const mostFailed = 0.01;

/** Whether a level violated a limit of its run; where the run has none, whether more than 1 % of its requests failed. */
export function levelFails(run: Results, { name, failed, requests }: LevelSummary): boolean {
  const { thresholds, verdict } = run.summary ?? {};
  const own = thresholds?.filter(({ level }) => level === name);
  if (own && own.length > 0) return own.some(({ result }) => result !== "passed");
  const tag = new RegExp(`\\{level:${name.replace(/[^\w]/g, "\\$&")}[,}]`);
  return verdict?.reasons.some((reason) => tag.test(reason)) || failed > mostFailed * requests;
}

/** The SLOs of a run at the percentile that it gates them by, in words: "TTFT p95 < 60 ms". */
export function sloWords(run: Results): string {
  return Object.entries(slosOf(run))
    .map(([name, ms]) => `${name === "e2e" ? "e2e" : name.toUpperCase()} p${sloPercentile(run)} < ${formatMs(ms)}`)
    .join(", ");
}

export const slosOf = (run: Results): SloMs => run.run?.sloMs ?? run.summary?.sloMs ?? {};

const sloPercentile = (run: Results): number => Number(setting(run.config, "SLO_PERCENTILE") ?? 95);

/**
 * Whether a level keeps every SLO as its gate takes them: the percentile of the completed requests is below each, and no more
 * requests failed than the profile lets.
 */
export function keepsSlos(run: Results, level: LevelSummary): boolean {
  const completed = steadyRows(run, level.name).filter((row) => row.completed);
  const allowed = (run.summary?.profile as Profile | undefined)?.maxFailureShare ?? 0;
  if (completed.length === 0 || level.failed > allowed * level.requests) return false;
  const slo = slosOf(run);
  const meets = (limit: number | undefined, values: Numbers) =>
    limit === undefined || (values.length > 0 && quantile(ascending(values), sloPercentile(run) / 100) < limit);
  // A single token has no TPOT to limit.
  const single = level.outputTokens === level.completed;
  return (
    meets(slo.ttft, completed.numbers(ttftMs)) &&
    (single || meets(slo.tpot, completed.numbers(tpotMs))) &&
    meets(slo.e2e, completed.numbers(e2eMs))
  );
}
