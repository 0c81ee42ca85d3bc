/** Times of a trace: numbers of some unit, or dates. */
import { shown } from "./fields";
import type { TimedRows } from "./like";
import type { TimeUnit } from "./row";

const unitMs: Readonly<Record<TimeUnit, number>> = { s: 1000, ms: 1, us: 1e-3, ns: 1e-6 };

/** Times since 2001 and before 2286 tell their unit by their size. */
const epochUnits: readonly [from: number, unit: TimeUnit][] = [
  [1e18, "ns"],
  [1e15, "us"],
  [1e12, "ms"],
  [1e9, "s"],
];

/** Finds the unit of a trace's numbers while its rows are read, in the order in which they come. */
export class TimeScale {
  private fraction = false;
  private least = Number.POSITIVE_INFINITY;
  private most = 0;
  private kind: "number" | "date" | undefined;
  private zoned: boolean | undefined;

  /** @throws Error for a time that is neither a number nor a date, or not of the kind of those before it. */
  see(time: number | string): void {
    const number = isNumber(time);
    const kind = number ? "number" : "date";
    this.kind ??= kind;
    if (this.kind !== kind) throw new Error(`the time ${shown(time)} is no ${this.kind}, unlike those before it`);
    if (number) {
      const value = Number(time);
      this.fraction ||= !Number.isInteger(value) || (typeof time === "string" && time.includes("."));
      if (value < this.least) this.least = value;
      if (value > this.most) this.most = value;
      return;
    }
    const zoned = dateParts(String(time)).zone !== "";
    this.zoned ??= zoned;
    if (this.zoned !== zoned)
      throw new Error(`the time ${shown(time)} ${zoned ? "has" : "lacks"} an offset from UTC, unlike those before it`);
  }

  /** Sees many times of the kind of those before them. */
  seeMany({ fraction, least, most }: TimedRows): void {
    if (this.kind !== "number") return;
    this.fraction ||= fraction;
    this.least = Math.min(this.least, least);
    this.most = Math.max(this.most, most);
  }

  /** Whether dates have an offset from UTC. */
  get ofZones(): boolean {
    return this.zoned === true;
  }

  /** Whether the times are dates. */
  get ofDates(): boolean {
    return this.kind === "date";
  }

  /** The unit of the numbers; undefined for dates. */
  unit(): TimeUnit | undefined {
    if (this.kind !== "number") return undefined;
    const epoch = epochUnits.find(([from]) => this.least >= from && this.most < from * 10)?.[1];
    return epoch ?? (this.fraction ? "s" : "ms");
  }
}

function isNumber(time: number | string): boolean {
  return typeof time === "number" ? Number.isFinite(time) : /^\s*\d+(\.\d+)?\s*$/.test(time);
}

/** ms of a time in `unit` since `originMs`, exact to some ns: of ms since 1970 a number holds no more than every 250 ns. */
export function timeMs(time: number | string, unit: TimeUnit | undefined, originMs: number): number {
  if (typeof time === "number" && unit !== undefined && Number.isFinite(time)) return time * unitMs[unit] - originMs;
  if (unit === undefined || !isNumber(time)) return dateMs(String(time), originMs);
  const digits = String(time).trim();
  if (unit === "ns" && typeof time === "string" && /^\d{7,}$/.test(digits)) {
    return Number(digits.slice(0, -6)) - originMs + Number(digits.slice(-6)) / 1e6;
  }
  return Number(time) * unitMs[unit] - originMs;
}

/** A time near this one, in whole seconds: an origin for timeMs. */
export function originOf(time: number | string, unit: TimeUnit | undefined): number {
  return Math.floor(timeMs(time, unit, 0) / 1000) * 1000;
}

interface DateParts {
  readonly seconds: string;
  readonly fraction: string;
  readonly zone: string;
}

/** @throws Error for a text that is no ISO date. */
function dateParts(text: string): DateParts {
  const parts = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)? ?(Z|UTC|[+-]\d\d:?\d\d)?$/.exec(text.trim());
  const [, day = "", clock = "", fraction = "", zone = ""] = parts ?? [];
  const seconds = `${day}T${clock}`;
  if (!parts || Number.isNaN(Date.parse(`${seconds}Z`))) {
    throw new Error(`the time ${shown(text)} is neither a number nor a date such as 2024-05-10 00:00:00.123+00:00`);
  }
  return { seconds, fraction, zone: zone.replace(/^(Z|UTC)$/, "+00:00") };
}

/** Without an offset the date is UTC. A Date keeps three decimals, so the fraction is read apart. */
function dateMs(text: string, originMs: number): number {
  const { seconds, fraction, zone } = dateParts(text);
  const offset = /^([+-])(\d\d):?(\d\d)$/.exec(zone);
  const minutes = offset ? Number(`${offset[1]}1`) * (Number(offset[2]) * 60 + Number(offset[3])) : 0;
  return Date.parse(`${seconds}Z`) - minutes * 60_000 - originMs + Number(fraction || 0) * 1000;
}
