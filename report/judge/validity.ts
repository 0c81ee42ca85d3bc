/** Why a run may not be judged or compared at all, however good its figures are. */
import type { LevelSummary, Results } from "../read/read";

/**
 * What keeps a run from saying anything of the server, in words; empty where nothing does. `only` names the one level that
 * is looked at. What is unset, unknown, cut or unmeasured is never valid: what is missing would be judged as if it had kept
 * every limit.
 */
export function invalidity(run: Results, only?: string): string[] {
  if (!run.summary) return run.damage;
  return [
    ...smokeReasons(run),
    ...clientReasons(run),
    ...endReasons(run),
    ...measuredReasons(run, only),
    ...run.damage,
  ];
}

/** The run's own judgement of its client, of caches and of what else it knows. */
function clientReasons({ summary }: Results): string[] {
  if (!summary) return [];
  const { state, reasons } = summary.validity;
  // A verdict may know more than the client: that input came from the server's cache.
  const worst = state === "VALID" ? summary.verdict.validity : state;
  if (worst === "VALID") return [];
  const words =
    worst === "UNJUDGED"
      ? ["measured through xk6-sse, where a run cannot judge its own client"]
      : reasons.length > 0
        ? reasons
        : summary.verdict.reasons
            .filter((reason) => reason.startsWith(`${worst}: `))
            .map((reason) => reason.slice(worst.length + 2));
  return [`${worst}${words.length > 0 ? `: ${words.join("; ")}` : ""}`];
}

function smokeReasons({ summary }: Results): string[] {
  return summary?.config.SMOKE === true ? ["it is a smoke run (SMOKE=true): one request a level measures nothing"] : [];
}

/** Whether the run came to its end: what was under way when it stopped was cut by the client, not by the server. */
function endReasons({ summary, end, requests }: Results): string[] {
  const reasons: string[] = [];
  const ended = [summary?.ended, ...(end ? [end.ended] : [])];
  if (ended.some((how) => how !== "complete")) {
    const words = [...new Set(ended)]
      .filter((how) => how !== "complete")
      .map((how) => (how === undefined ? "it does not say how it ended" : String(how)));
    reasons.push(`the run did not come to its end (${words.join(", ")})`);
  }
  const cut = requests?.filter(({ failure, phase }) => failure === "interrupted" && phase === "steady").length ?? 0;
  if (cut > 0) reasons.push(`the run was cut: ${cut} requests were under way when it ended`);
  if (summary?.recordsError !== undefined) reasons.push(`the records were not written whole: ${summary.recordsError}`);
  return reasons;
}

function measuredReasons({ levelSummaries }: Results, only: string | undefined): string[] {
  const levels = levelSummaries.filter(({ name }) => only === undefined || name === only);
  if (levels.length === 0) return ["it has no level: the server was not measured"];
  const reasonOf = ({ name, requests }: LevelSummary) =>
    requests === 0
      ? `level ${name}: no request was sent in its steady window: it was not measured`
      : `level ${name}: no request completed: it was not measured`;
  return levels.filter(({ completed }) => !(completed > 0)).map(reasonOf);
}
