/**
 * The levels of a run that was killed before it wrote its summary, from its records. These are read twice: first each level's window
 * has to be known, then each request is folded as it comes, so that no arrivals are kept.
 */
import { LevelFold, levelWindow, type Pool } from "../../lib/figures/fold";
import type { LevelSummary, Stats } from "../../lib/figures/level-summary";
import { statsOf } from "../../lib/figures/percentile";
import { TimeHistogram } from "./arrivals";
import type { LevelLine, RunLine, SessionLine } from "./records";
import { readRecords } from "./records";
import type { Rows } from "./rows";

/** What the first reading found. */
interface FirstReading {
  readonly run?: RunLine;
  readonly levels: readonly LevelLine[];
  readonly requests?: Rows;
}

/**
 * Folds the levels in the order in which they began. Mean, deviation, least and most of tokens' times are exact, percentiles within
 * 0.3 % as those of a summary are. `onProgress` gets the share (0..1) of the records that was read.
 */
export async function foldLevels(
  path: string,
  first: FirstReading,
  onProgress?: (share: number) => void,
): Promise<LevelSummary[]> {
  const folds = levelFolds(first);
  const sessions = new Map<string, SessionLine[]>();
  // A run that is still going on has written more since.
  let left = first.requests?.length ?? 0;
  for await (const line of readRecords(path, [], onProgress)) {
    if (line.type === "session" && line.phase !== "warmup") {
      const own = sessions.get(line.level);
      if (own) own.push(line);
      else sessions.set(line.level, [line]);
    }
    if (line.type !== "request") continue;
    if (left-- <= 0) break;
    folds.get(line.level)?.add(line);
  }
  const levels = [...folds].map(([name, fold]) => fold.summary(sessions.get(name)));
  return levels.sort((a, b) => a.windowStartS - b.windowStartS);
}

/** An empty fold of each level that has a request, with its window. */
function levelFolds({ run, levels, requests }: FirstReading): Map<string, LevelFold> {
  const steady = new Map<string, { firstNs: number; lastNs: number }>();
  for (const { level, phase, scheduledNs, endNs } of requests ?? []) {
    // Requests without a slot belong to no level.
    if (level === "") continue;
    const span = steady.get(level) ?? { firstNs: Number.POSITIVE_INFINITY, lastNs: 0 };
    steady.set(level, span);
    if (phase !== "steady") continue;
    span.firstNs = Math.min(span.firstNs, scheduledNs);
    span.lastNs = Math.max(span.lastNs, endNs);
  }
  const lines = new Map(levels.map((line) => [line.name, line]));
  return new Map(
    [...steady].map(([name, { firstNs, lastNs }]) => {
      const span = { firstNs: Number.isFinite(firstNs) ? firstNs : 0, lastNs };
      return [
        name,
        new LevelFold(name, levelWindow(lines.get(name), run?.sloMs ?? {}, span), { pool: () => new TimePool() }),
      ];
    }),
  );
}

/** Times of tokens, ms, in a histogram. Mean and variance are updated value by value (West 1979). */
class TimePool implements Pool {
  readonly #histogram = new TimeHistogram();
  #mean = 0;
  #squares = 0;
  #least = Number.POSITIVE_INFINITY;
  #most = 0;

  add(ms: number, weight = 1): void {
    this.#histogram.add(1e6 * ms, weight);
    const off = ms - this.#mean;
    this.#mean += (off * weight) / this.#histogram.total;
    this.#squares += weight * off * (ms - this.#mean);
    this.#least = Math.min(this.#least, ms);
    this.#most = Math.max(this.#most, ms);
  }

  stats(): Stats {
    const { total } = this.#histogram;
    if (total === 0) return statsOf([]);
    const [min, max] = [this.#least, this.#most];
    const percentile = (p: number) => {
      const rank = p * (total - 1);
      const below = Math.floor(rank);
      // Half a rank further is surely the value of that rank, however the product of a share and a count is rounded.
      const [low = 0, high = 0] = this.#histogram.quantiles([0.5, 1.5].map((more) => (below + more) / (total - 1)));
      return Math.min(max, Math.max(min, (low + (high - low) * (rank - below)) / 1e6));
    };
    const [mean, std] = [this.#mean, Math.sqrt(this.#squares / total)];
    const tail = { p95: percentile(0.95), p99: percentile(0.99), p999: percentile(0.999) };
    return { count: total, mean, std, min, p50: percentile(0.5), p90: percentile(0.9), ...tail, max };
  }
}
