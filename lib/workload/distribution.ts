import { type Rng, randomInt, randomNormal } from "./rng";

/** How lengths vary from request to request. Parsed from "128", "uniform:64:256" and so on. */
export type Distribution =
  | { readonly kind: "fixed"; readonly value: number }
  | { readonly kind: "uniform"; readonly low: number; readonly high: number }
  | { readonly kind: "normal"; readonly mean: number; readonly std: number }
  | { readonly kind: "lognormal"; readonly mean: number; readonly std: number }
  | { readonly kind: "exponential"; readonly mean: number }
  | { readonly kind: "zipf"; readonly max: number; readonly exponent: number }
  | { readonly kind: "oneof"; readonly values: readonly number[] };

/** What a distribution may look like, for messages and documentation. */
export const distributionSyntax =
  "a whole number from 1 or one of uniform:LOW:HIGH, normal:MEAN:STD, lognormal:MEAN:STD, exponential:MEAN, zipf:MAX:EXPONENT, oneof:A:B:...";

/** The distribution that `text` writes down; undefined where it writes none. */
export function parseDistribution(text: string): Distribution | undefined {
  const [kind = "", ...words] = text.trim().split(":");
  if (words.length === 0) {
    const value = wholeNumber(kind);
    return value === undefined ? undefined : { kind: "fixed", value };
  }
  const values = words.map((word) => (/^\d+(\.\d+)?$/.test(word) ? Number(word) : Number.NaN));
  if (values.some(Number.isNaN)) return undefined;
  const [a = 0, b = 0] = values;
  const whole = values.every(Number.isInteger);
  switch (kind) {
    case "uniform":
      return values.length === 2 && whole && a >= 1 && b >= a ? { kind, low: a, high: b } : undefined;
    case "normal":
    case "lognormal":
      return values.length === 2 && a >= 1 ? { kind, mean: a, std: b } : undefined;
    case "exponential":
      return values.length === 1 && a >= 1 ? { kind, mean: a } : undefined;
    case "zipf":
      return values.length === 2 && Number.isInteger(a) && a >= 1 && a <= 1e6 && b > 0
        ? { kind, max: a, exponent: b }
        : undefined;
    case "oneof":
      return whole && values.every((value) => value >= 1) ? { kind, values } : undefined;
    default:
      return undefined;
  }
}

/** The text that parses to this distribution. */
export function formatDistribution(of: Distribution): string {
  switch (of.kind) {
    case "fixed":
      return String(of.value);
    case "uniform":
      return `uniform:${of.low}:${of.high}`;
    case "normal":
    case "lognormal":
      return `${of.kind}:${of.mean}:${of.std}`;
    case "exponential":
      return `exponential:${of.mean}`;
    case "zipf":
      return `zipf:${of.max}:${of.exponent}`;
    case "oneof":
      return `oneof:${of.values.join(":")}`;
  }
}

/** A whole number from 1 drawn from the distribution; what falls below 1 becomes 1. */
export function sample(of: Distribution, rng: Rng): number {
  return Math.max(1, Math.round(draw(of, rng)));
}

function draw(of: Distribution, rng: Rng): number {
  switch (of.kind) {
    case "fixed":
      return of.value;
    case "uniform":
      return randomInt(rng, of.low, of.high);
    case "normal":
      return of.mean + of.std * randomNormal(rng);
    case "lognormal": {
      // Mean and standard deviation are those of the lengths themselves, not of their logarithm.
      const variance = Math.log(1 + (of.std / of.mean) ** 2);
      return Math.exp(Math.log(of.mean) - variance / 2 + Math.sqrt(variance) * randomNormal(rng));
    }
    case "exponential":
      return -of.mean * Math.log(1 - rng());
    case "zipf":
      return drawZipf(of.max, of.exponent, rng);
    case "oneof":
      return of.values[randomInt(rng, 0, of.values.length - 1)] ?? 1;
  }
}

/** Zipf over 1..max by rejection-inversion (Hörmann and Derflinger 1996): constant memory and time whatever max is. */
function drawZipf(max: number, exponent: number, rng: Rng): number {
  const density = (x: number) => Math.exp(-exponent * Math.log(x));
  const integral = (x: number) => {
    const log = Math.log(x);
    return over(Math.expm1, (1 - exponent) * log) * log;
  };
  const inverse = (y: number) => Math.exp(over(Math.log1p, Math.max(-1, y * (1 - exponent))) * y);
  const first = integral(1.5) - 1;
  const last = integral(max + 0.5);
  const shift = 2 - inverse(integral(2.5) - density(2));
  for (;;) {
    const u = last + rng() * (first - last);
    const x = inverse(u);
    const rank = Math.min(max, Math.max(1, Math.round(x)));
    if (rank - x <= shift || u >= integral(rank + 0.5) - density(rank)) return rank;
  }
}

/** f(x) / x, also at 0; f is expm1 or log1p, both of which are x itself near 0. */
function over(f: (x: number) => number, x: number): number {
  return x === 0 ? 1 : f(x) / x;
}

function wholeNumber(text: string): number | undefined {
  return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined;
}
