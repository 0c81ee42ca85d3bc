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

/**
 * Sources of uniform numbers that belong to a salt: `(scope, stream)` gives equal sequences for equal salt, scope and stream,
 * in k6 and in Node. Sequences of different streams of a scope differ; those of different salts or scopes are equal with a
 * probability of 2^-96 (sfc32, seeded by 96 bits of hash).
 */
export function saltedRngs(salt: string): (scope: string, stream?: number) => Rng {
  let hashedScope: string | undefined;
  let seeds: readonly [number, number, number] = [0, 0, 0];
  return (scope, stream = 0) => {
    // The scope changes once a level, the stream with every prompt.
    if (scope !== hashedScope) {
      // Three hashes of the text (FNV-1a with other primes), mixed into each other.
      const text = `${salt}\n${scope}`;
      let [x, y, z] = [0x811c9dc5, 0x9e3779b9, 0x85ebca6b];
      for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i);
        x = Math.imul(x ^ code, 0x01000193);
        y = Math.imul(y ^ code, 0x5bd1e995) ^ (x >>> 15);
        z = Math.imul(z ^ code, 0xcc9e2d51) ^ (y >>> 13);
      }
      seeds = [x ^ (z >>> 7), y, z];
      hashedScope = scope;
    }
    let a = seeds[0] ^ stream;
    let b = seeds[1] ^ Math.imul(stream + 1, 0x9e3779b1);
    let c = seeds[2];
    let counter = 1;
    const next = () => {
      const sum = (a + b + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + sum) | 0;
      return sum >>> 0;
    };
    // Until the seeds have reached every bit of the state.
    for (let i = 0; i < 12; i++) next();
    return () => next() / 2 ** 32;
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
