/** A source of uniform numbers in [0, 1). */
export type Rng = () => number;

/**
 * A seeded source of uniform numbers (mulberry32): equal seeds give equal sequences in k6 and in Node. `stream` sets
 * apart sequences that share a seed, such as those of two requests.
 */
export function seededRng(seed: number, stream = 0): Rng {
  // The multiplier spreads neighbouring streams over the state space, or their first numbers would resemble each other.
  let state = (Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul((stream | 0) + 1, 0x85ebca6b)) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A uniform whole number from `low` to `high`, both included. */
export function randomInt(rng: Rng, low: number, high: number): number {
  return low + Math.floor(rng() * (high - low + 1));
}

/** A standard normal number (Box-Muller). */
export function randomNormal(rng: Rng): number {
  // 1 - u is in (0, 1], so the logarithm is finite.
  return Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());
}
