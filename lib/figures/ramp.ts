/** A load that changes, second by second: the highest rate sustained, and from where the server fails or falls behind. Pure. */
import type { Second } from "./level-summary";
import { fitLine } from "./line";
import { percent, shortNumber } from "./table";

/** A second as far as the figures of a ramp need it. */
export type RampSecond = Pick<Second, "scheduled" | "scheduledFailed" | "succeeded" | "failed" | "p50Ms" | "p95Ms">;

/** What a ramp came to. Rates are requests/s. */
export interface RampFigures {
  /**
   * The first second with a failed request from which on, for `sustainedS`, more than `onsetShare` of the requests scheduled
   * for failed, and in what came after that too: a single bad moment is none. Closer to the end of the ramp each second
   * that is left must have failures. The rate is the one scheduled in that second, the share that of the `sustainedS`, p95Ms
   * that of the second itself (absent where none succeeded in it).
   */
  onset?: { t: number; scheduledRate: number; failedShare: number; p95Ms?: number };
  /**
   * Where requests are neither answered nor refused fast enough: from some second on, to the end of the ramp, some of those
   * that were scheduled for twice the shortest median response time before have not ended. It begins with the seconds in front
   * of that one in which less than `keptUpShare` as many ended as should have. Absent where at least `keptUpShare` as many
   * ended in the last `sustainedS` as were scheduled, and of closed loops, which wait.
   */
  fallingBehind?: { t: number; scheduledRate: number };
  /** Highest rate scheduled. */
  highestScheduledRate: number;
  /** Highest mean of requests succeeded a second over `overS`. */
  highestSuccessRate: number;
  /** `sustainedS`, or all seconds of a shorter ramp. */
  overS: number;
  /** Share of failed requests in the last `sustainedS` in which any were scheduled. */
  failedShareAtEnd: number;
  /** Requests scheduled and not ended when the last second in which any were scheduled was over. */
  openAtEnd: number;
  /** Median response time in the first and the last second with an answer while requests were scheduled, ms; 0 = no answer. */
  firstP50Ms: number;
  lastP50Ms: number;
}

/** Length of what counts as sustained, s, the share of failures that counts as failing, and of ends as keeping up. */
export const sustainedS = 5;
export const onsetShare = 0.01;
export const keptUpShare = 0.9;

/** The figures of a ramp from its seconds, the first of which is second 0. A ramp shorter than that counts as a whole. */
export function rampFigures(seconds: readonly RampSecond[], loop: "open" | "closed" = "open"): RampFigures {
  const lastScheduled = seconds.reduce((last, { scheduled }, t) => (scheduled > 0 ? t : last), 0);
  const ramp = seconds.slice(0, lastScheduled + 1);
  const overS = Math.min(sustainedS, seconds.length);
  const sum = (start: number, key: "scheduled" | "scheduledFailed" | "succeeded" | "failed") =>
    seconds.slice(start, start + overS).reduce((total, second) => total + second[key], 0);
  const failedShare = (start: number) => sum(start, "scheduledFailed") / Math.max(1, sum(start, "scheduled"));
  const lastStart = Math.max(0, lastScheduled - overS + 1);
  const fails = ({ scheduled, scheduledFailed }: RampSecond) => scheduledFailed > onsetShare * scheduled;
  const goesOn = (start: number) => {
    const rest = ramp.slice(start);
    // One request that fails at the very end shows nothing.
    if (start > lastStart) return rest.every(fails) && sum(start, "scheduledFailed") > 1;
    return start + overS > lastScheduled ? ramp.slice(-2).some(fails) : failedShare(start + overS) > onsetShare;
  };
  const onset = ramp.findIndex(
    ({ scheduledFailed }, t) => scheduledFailed > 0 && failedShare(t) > onsetShare && goesOn(t),
  );
  const answered = ramp.map(({ p50Ms }) => p50Ms).filter((ms) => ms > 0);
  const figures: RampFigures = {
    highestScheduledRate: Math.max(0, ...ramp.map((_, t) => scheduledRateAt(ramp, t))),
    highestSuccessRate: Math.max(
      0,
      ...seconds.slice(0, seconds.length - overS + 1).map((_, t) => sum(t, "succeeded") / overS),
    ),
    overS,
    failedShareAtEnd: seconds.length > 0 ? failedShare(lastStart) : 0,
    openAtEnd: ramp.reduce((open, { scheduled, succeeded, failed }) => open + scheduled - succeeded - failed, 0),
    firstP50Ms: answered[0] ?? 0,
    lastP50Ms: answered.at(-1) ?? 0,
  };
  if (onset >= 0) {
    const p95Ms = ramp[onset]?.p95Ms || undefined;
    figures.onset = { t: onset, scheduledRate: scheduledRateAt(ramp, onset), failedShare: failedShare(onset), p95Ms };
  }
  const ended = sum(lastStart, "succeeded") + sum(lastStart, "failed");
  if (loop === "open" && ended < keptUpShare * sum(lastStart, "scheduled")) {
    const t = behindFrom(ramp, answered.length > 0 ? Math.min(...answered) / 1000 : 0);
    if (t !== undefined) figures.fallingBehind = { t, scheduledRate: scheduledRateAt(ramp, t) };
  }
  return figures;
}

/** The rate scheduled in the middle of second `t`: a line through the counts of the seconds around it. */
function scheduledRateAt(ramp: readonly RampSecond[], t: number): number {
  const around = [-2, -1, 0, 1, 2].flatMap((d) => {
    const scheduled = ramp[t + d]?.scheduled;
    return scheduled === undefined ? [] : [[d, scheduled] as const];
  });
  return Math.max(0, fitLine(around)?.intercept ?? ramp[t]?.scheduled ?? 0);
}

/** The first second of those at whose ends, up to the last, requests scheduled for twice `latencyS` before have not all ended. */
function behindFrom(ramp: readonly RampSecond[], latencyS: number): number | undefined {
  const scheduledUpTo = [0];
  for (const { scheduled } of ramp) scheduledUpTo.push((scheduledUpTo.at(-1) ?? 0) + scheduled);
  // Within a second requests are scheduled evenly.
  const askedBy = (s: number) => {
    const whole = Math.max(0, Math.floor(s));
    return s > 0 ? (scheduledUpTo[whole] ?? 0) + (s - whole) * (ramp[whole]?.scheduled ?? 0) : 0;
  };
  const ends = ramp.map(({ succeeded, failed }) => succeeded + failed);
  let ended = 0;
  let from: number | undefined;
  for (const [t, now] of ends.entries()) {
    ended += now;
    if (ended >= askedBy(t + 1 - 2 * latencyS) - 1) from = undefined;
    else from ??= t;
  }
  if (from === undefined) return undefined;
  const tooFew = (t: number) => (ends[t] ?? 0) < keptUpShare * (askedBy(t + 1 - latencyS) - askedBy(t - latencyS));
  while (from > 0 && tooFew(from - 1)) from--;
  return from;
}

/** The figures of a ramp in lines. */
export function rampLines(seconds: readonly RampSecond[], loop: "open" | "closed" = "open"): string {
  const figures = rampFigures(seconds, loop);
  const { onset, fallingBehind, highestSuccessRate, overS, failedShareAtEnd, openAtEnd, firstP50Ms, lastP50Ms } =
    figures;
  const rate = `${shortNumber(highestSuccessRate)} requests/s`;
  // A closed loop asks as fast as it is answered.
  const from = (at: { t: number; scheduledRate: number }) =>
    loop === "open" ? `${shortNumber(at.scheduledRate)} requests/s scheduled (second ${at.t})` : `second ${at.t}`;
  const lines = [
    overS < sustainedS ? `success rate ${rate} over ${overS} s` : `highest sustained success rate ${rate}`,
    onset
      ? `requests fail from ${from(onset)}, p95 ${shortNumber(onset.p95Ms ?? Number.NaN)} ms there`
      : "no rate at which requests go on failing",
    `failed at the end ${percent(failedShareAtEnd)}`,
  ];
  if (fallingBehind)
    lines.push(
      `the server falls behind from ${from(fallingBehind)}: ${openAtEnd} requests are open when the ramp ends`,
    );
  if (lastP50Ms > 0)
    lines.push(
      `response time p50 ${shortNumber(firstP50Ms)} ms in the first second, ${shortNumber(lastP50Ms)} ms in the last`,
    );
  return lines.join("\n");
}

/** One line a second: what was scheduled, sent, and how it ended. */
export function secondsCsv(seconds: readonly Second[]): string {
  const heading = "t_s,scheduled,sent,succeeded,failed,mean_ms,p50_ms,p95_ms,in_flight,output_tokens";
  const rows = seconds.map((s) =>
    [s.t, s.scheduled, s.sent, s.succeeded, s.failed, s.meanMs, s.p50Ms, s.p95Ms, s.inFlight, s.outputTokens].join(","),
  );
  return `${[heading, ...rows].join("\n")}\n`;
}
