/** Whether a level came to rest: whether latency, throughput or queue had a trend over its window. Pure. */
import type { LevelSummary, Second } from "./level-summary";
import { sampleVariance } from "./percentile";
import { percent, shortNumber } from "./table";
import { fewestSlices, trendOf } from "./trend";

/** What was found of a level's steady window. */
export interface SteadyState {
  /**
   * steady: from `fromS` on nothing has a trend. never: something has one, however much is cut off at the front. unknown: the
   * window is too short to tell.
   */
  state: "steady" | "never" | "unknown";
  /** The part that is steady, or that was looked at; seconds from the run's start. */
  fromS: number;
  untilS: number;
  /** What has a trend, or why that cannot be decided. Absent where the level is steady. */
  why?: string;
}

/** Most slices of a window: more of them would only be noisier. */
const mostSlices = 20;
/** The part of the slices that may be cut off at the front. What is left must be long enough to have a trend. */
const mostCut = 0.3;
/** Chance that one quantity of a steady level seems to have a trend. */
const alpha = 0.005;
/** A change of less than this part of the mean is of no matter however certain it is. */
const leastChange = 0.1;
/** By how many standard errors the beginning of a part must differ from the rest: a chance of 0.001 with 8 slices. */
const coldErrors = 5;

interface Slice {
  readonly fromS: number;
  readonly latencyMs: number;
  readonly throughput: number;
  readonly inFlight: number;
}

/**
 * Whether a level was steady, from the run's seconds and all of its levels. Undefined for a level that is not meant to be: one
 * whose rate changes (a ramp, a pattern, a trace; the module labels it), and a burst, which has neither a rate nor a number of clients.
 *
 * The window is cut into 8 to 20 slices of whole seconds, each at least twice as long as a request, so that one slice tells
 * little of the next. Mean latency, output tokens (requests where there are none) and, with a fixed rate, requests in flight
 * are tested for a trend.
 */
export function steadyStateOf(
  level: LevelSummary,
  levels: readonly LevelSummary[],
  seconds: readonly Second[],
): SteadyState | undefined {
  const { windowStartS, durationS, rate, concurrency, completed, labels } = level;
  if (labels?.load === "changing" || (rate === undefined && concurrency === undefined)) return undefined;
  const untilS = windowStartS + durationS;
  const unknown = (why: string): SteadyState => ({ state: "unknown", fromS: windowStartS, untilS, why });
  if (completed === 0) return unknown("no request completed");
  const beside = levels.find(
    (other) =>
      other.name !== level.name && other.windowStartS < untilS && other.windowStartS + other.durationS > windowStartS,
  );
  if (beside) return unknown(`${beside.name} ran at the same time, and the run's seconds do not tell them apart`);
  const zeroS = zeroOf(levels);
  // Rounding must not take a second from a window of whole ones.
  const first = Math.ceil(windowStartS - zeroS - 1e-3);
  const end = Math.floor(untilS - zeroS + 1e-3);
  const inside = seconds.filter(({ t }) => t >= first && t < end);
  // The quicker tenth: where a queue grows, the mean does with it, and no window would be long enough to show that.
  const latencies = inside.filter(({ succeeded }) => succeeded > 0).map(({ meanMs }) => meanMs);
  const latencyMs = latencies.sort((a, b) => a - b)[Math.floor(latencies.length / 10)] ?? 0;
  const sliceS = Math.max(1, Math.ceil((2 * latencyMs) / 1000));
  const count = Math.min(mostSlices, Math.floor(inside.length / sliceS));
  if (count < fewestSlices) {
    return unknown(
      `${shortNumber(durationS)} s are too short: ${fewestSlices} slices of ${sliceS} s are needed (whole seconds, at least twice the latency)`,
    );
  }
  const size = Math.floor(inside.length / count);
  const tokens = inside.some(({ outputTokens }) => outputTokens > 0);
  const slices = Array.from({ length: count }, (_, k) =>
    sliceOf(inside.slice(inside.length - (count - k) * size).slice(0, size), tokens, zeroS),
  );
  if (slices.some(({ latencyMs }) => Number.isNaN(latencyMs))) {
    return unknown("there are times in which no request completed");
  }
  let why = "";
  for (let cut = 0; cut <= mostCut * count && count - cut >= fewestSlices; cut++) {
    const part = slices.slice(cut);
    const trend = trendIn(part, rate !== undefined, tokens, size);
    if (trend === undefined)
      return { state: "steady", fromS: cut === 0 ? windowStartS : (part[0]?.fromS ?? untilS), untilS };
    why ||= trend;
  }
  return { state: "never", fromS: windowStartS, untilS, why };
}

function sliceOf(seconds: readonly Second[], tokens: boolean, zeroS: number): Slice {
  const sum = (of: (second: Second) => number) => seconds.reduce((total, second) => total + of(second), 0);
  const succeeded = sum((second) => second.succeeded);
  return {
    fromS: zeroS + (seconds[0]?.t ?? 0),
    latencyMs: succeeded > 0 ? sum((second) => second.meanMs * second.succeeded) / succeeded : Number.NaN,
    throughput: (tokens ? sum(({ outputTokens }) => outputTokens) : succeeded) / seconds.length,
    inFlight: seconds.at(-1)?.inFlight ?? 0,
  };
}

/** What of a part has a trend that matters, in words; undefined where nothing has. */
function trendIn(part: readonly Slice[], open: boolean, tokens: boolean, sliceS: number): string | undefined {
  const words: string[] = [];
  const test = (name: string, of: (slice: Slice) => number, least = 0) => {
    const values = part.map(of);
    const mean = meanOf(values);
    const matters = (change: number) => Math.abs(change) > Math.max(least, leastChange * mean);
    const quarter = values.length >> 2;
    const change = meanOf(values.slice(-quarter)) - meanOf(values.slice(0, quarter));
    if (trendOf(values, alpha).direction !== "flat" && matters(change)) {
      const how = change > 0 ? "rose" : "fell";
      words.push(`${name} ${how} by ${percent(Math.abs(change) / mean)} of its mean in ${part.length * sliceS} s`);
      return;
    }
    // A trend test asks for the order alone: two slices out of twenty are none, however far off they are.
    const cold = Math.max(1, values.length >> 3);
    const rest = values.slice(cold);
    const apart = meanOf(values.slice(0, cold)) - meanOf(rest);
    const error = Math.sqrt(sampleVariance(rest) * (1 / cold + 1 / rest.length));
    if (matters(apart) && Math.abs(apart) > coldErrors * error) {
      const where = apart > 0 ? "above" : "below";
      words.push(`${name} began ${percent(Math.abs(apart) / meanOf(rest))} ${where} the rest`);
    }
  };
  test("latency", ({ latencyMs }) => latencyMs);
  test(tokens ? "output throughput" : "request throughput", ({ throughput }) => throughput);
  // With a fixed number of clients as many are in flight, but for those between two requests.
  if (open) test("the number of requests in flight", ({ inFlight }) => inFlight, 5);
  return words.length > 0 ? words.join(", ") : undefined;
}

/** Second 0 of a run's seconds, in seconds from its start: the opening of its first steady window. */
export function zeroOf(levels: readonly LevelSummary[]): number {
  const opened = levels.filter(({ requests }) => requests > 0).map(({ windowStartS }) => windowStartS);
  return opened.length > 0 ? Math.min(...opened) : 0;
}

/** What a reader must know of levels that are not steady as a whole, a line each. */
export function steadyNotes(levels: readonly LevelSummary[]): string[] {
  return levels.flatMap(({ name, steady, windowStartS }) => {
    if (steady?.state === "never") return [`${name} was never steady: ${steady.why}`];
    if (steady?.state !== "steady" || steady.fromS <= windowStartS) return [];
    const cutS = shortNumber(steady.fromS - windowStartS);
    return [
      `${name} was steady only after ${cutS} s of its window; \`npm run gate\` leaves them out, this verdict does not`,
    ];
  });
}

/** Whether a level was steady, as the cell of a table: "yes", "after 3 s", "never", "unknown"; "" where it need not be. */
export function steadyWord({ steady, windowStartS }: LevelSummary): string {
  if (!steady) return "";
  if (steady.state !== "steady") return steady.state;
  const cutS = steady.fromS - windowStartS;
  return cutS > 0 ? `after ${shortNumber(cutS)} s` : "yes";
}

const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
