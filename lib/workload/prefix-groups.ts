/** Groups of prompts that share their beginning: so many prefixes, some of which are asked for more often. Pure. */
import type { Settings } from "../settings/settings";
import { type Distribution, sample } from "./distribution";
import { type Rng, randomInt } from "./rng";

/** How often each prefix is asked for: all alike, or the k-th in proportion to k^-exponent. */
export type Popularity = { readonly kind: "uniform" } | { readonly kind: "zipf"; readonly exponent: number };

/** The popularity that "uniform" or "zipf:1.1" writes down. */
export function parsePopularity(text: string): Popularity | undefined {
  if (text === "uniform") return { kind: "uniform" };
  const exponent = Number(/^zipf:(\d+(?:\.\d+)?)$/.exec(text)?.[1]);
  return exponent > 0 ? { kind: "zipf", exponent } : undefined;
}

/** The text that parses to this popularity. */
export function formatPopularity(of: Popularity): string {
  return of.kind === "zipf" ? `zipf:${of.exponent}` : of.kind;
}

/** The number of the prefix that a prompt begins with, from 0: 0 is the most popular. One group draws nothing. */
export function drawGroup(
  { PREFIX_GROUPS: groups, PREFIX_POPULARITY: popularity }: Pick<Settings, "PREFIX_GROUPS" | "PREFIX_POPULARITY">,
  rng: Rng,
): number {
  if (groups === 1) return 0;
  if (popularity.kind === "uniform") return randomInt(rng, 0, groups - 1);
  const of: Distribution = { kind: "zipf", max: groups, exponent: popularity.exponent };
  return sample(of, rng) - 1;
}
