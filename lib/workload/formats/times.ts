/** The times of many rows in typed arrays, and the order that follows from them. */
import type { Likeness, TimedRows } from "./like";
import { numbersTo, type TimeUnit } from "./row";
import { originOf, TimeScale, timeMs } from "./time";

export { originOf, TimeScale, timeMs } from "./time";

/** A part of a trace: rows by number from 1, or times from its first, ms; `to` is included of rows and left out of times. */
export interface Window {
  readonly of: "rows" | "time";
  readonly from: number;
  readonly to: number;
}

/** The times of a trace's rows in the order in which they come, 8 bytes each. */
export class Times {
  /** Numbers as they are in the file; dates in ms from `origin`, longer numbers than a double holds from the first one. */
  private values = new Float64Array(1024);
  private count = 0;
  private readonly scale = new TimeScale();
  private origin = 0;
  private first: bigint | undefined;

  get length(): number {
    return this.count;
  }

  /** @throws Error as TimeScale.see does. */
  add(time: number | string): void {
    this.scale.see(time);
    this.reserve(1);
    this.values[this.count] = this.valueOf(time);
    this.count++;
  }

  /** Adds the times of rows that look like the one that was added last. */
  addMany(rows: TimedRows): void {
    this.scale.seeMany(rows);
    this.reserve(rows.length);
    this.values.set(rows.times, this.count);
    this.count += rows.length;
  }

  /** What the times of such rows are; undefined before the first, and where numbers are longer than a double is exact. */
  likeness(): Pick<Likeness, "dates" | "zoned" | "originMs"> | undefined {
    if (this.count === 0 || this.first !== undefined) return undefined;
    return this.scale.ofDates ? { dates: true, zoned: this.scale.ofZones, originMs: this.origin } : {};
  }

  private reserve(more: number): void {
    if (this.count + more <= this.values.length) return;
    const values = new Float64Array(Math.max(2 * this.values.length, this.count + more));
    values.set(this.values.subarray(0, this.count));
    this.values = values;
  }

  private valueOf(time: number | string): number {
    // Fewer than 16 digits: most files are of such times.
    if (typeof time === "number" && this.first === undefined && (this.count > 0 || time < 1e15)) return time;
    if (this.scale.ofDates) {
      if (this.count === 0) this.origin = originOf(time, undefined);
      return timeMs(time, undefined, this.origin);
    }
    const digits = String(time).trim();
    const long = digits.length > 15 && /^\d+$/.test(digits);
    if (this.count === 0 && long) this.first = BigInt(digits);
    if (this.first === undefined) return Number(digits);
    return long ? Number(BigInt(digits) - this.first) : Number(digits) - Number(this.first);
  }

  /** The unit of the numbers; undefined for dates. */
  unit(): TimeUnit | undefined {
    return this.scale.unit();
  }

  /** All times in ms from a time near the first. */
  ms(unit: TimeUnit | undefined): Float64Array {
    const times = this.values.subarray(0, this.count);
    if (unit === undefined) return times;
    const origin = originOf(times[0] ?? 0, unit);
    for (let k = 0; k < times.length; k++) times[k] = timeMs(times[k] ?? 0, unit, origin);
    return times;
  }
}

/**
 * Which rows are sent when: those of the window in the order of their times `atMs`, the first at 0 or, in a window of times, so
 * long after the window's begin. `order` is absent where all are sent as they come; `unordered` is called where some come before
 * an earlier one.
 */
export function inTime(
  atMs: Float64Array,
  window: Window | undefined,
  speed: number,
  unordered: () => void,
): { timesMs: Float64Array; order?: Uint32Array } {
  let order: Uint32Array | undefined;
  for (let k = 1; k < atMs.length; k++) {
    if ((atMs[k] ?? 0) >= (atMs[k - 1] ?? 0)) continue;
    order = numbersTo(atMs.length).sort((a, b) => (atMs[a] ?? 0) - (atMs[b] ?? 0) || a - b);
    unordered();
    break;
  }
  const sorted = order ? new Float64Array(order.length) : atMs;
  order?.forEach((k, i) => {
    sorted[i] = atMs[k] ?? 0;
  });
  const [from, to] = window ? bounds(sorted, window) : [0, sorted.length];
  if (window) order = (order ?? numbersTo(atMs.length)).subarray(from, to);
  const timesMs = sorted.slice(from, to);
  const zero = window?.of === "time" ? (sorted[0] ?? 0) + window.from : (timesMs[0] ?? 0);
  for (let k = 0; k < timesMs.length; k++) timesMs[k] = ((timesMs[k] ?? 0) - zero) / speed;
  return order ? { timesMs, order } : { timesMs };
}

/** Where a window begins and ends among times in order: the numbers of its first and of the one behind its last. */
function bounds(sorted: Float64Array, window: Window): [from: number, to: number] {
  if (window.of === "rows") return [Math.min(window.from - 1, sorted.length), Math.min(window.to, sorted.length)];
  const first = sorted[0] ?? 0;
  const before = (ms: number) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sorted[middle] ?? 0) - first >= ms) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  return [before(window.from), before(window.to)];
}
