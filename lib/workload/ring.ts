/** Draws what prompts are cut out of. Apart from the words, which the first VU has in its bundle already. Pure. */
import { type Rng, randomInt } from "./rng";

/** Each word has so many letters, with the space before it. */
export const wordBytes = 5;
/** Words, or token ids, of a ring. */
export const ringLength = 2048;

/** Token ids that are words, not control tokens, in every vocabulary we met. */
const lowestTokenId = 20;
const highestTokenId = 220;

/** Words and token ids drawn once, that prompts are cut out of: one of thousands of tokens then costs no loop. */
export interface Ring {
  readonly text: string;
  readonly tokenIds: readonly number[];
}

/** Draws a ring, some 20 kB, of these words. */
export function drawRing(rng: Rng, words: string): Ring {
  return { text: randomWords(rng, ringLength, words), tokenIds: randomTokenIds(rng, ringLength) };
}

/** So many of these words, with a space before each. */
export function randomWords(rng: Rng, count: number, words: string): string {
  const chosen = new Array<string>(count);
  for (let i = 0; i < count; i++) {
    const at = randomInt(rng, 0, words.length / wordBytes - 1) * wordBytes;
    chosen[i] = words.slice(at, at + wordBytes);
  }
  return chosen.join("");
}

/** So many token ids. */
export function randomTokenIds(rng: Rng, count: number): number[] {
  return Array.from({ length: count }, () => randomInt(rng, lowestTokenId, highestTokenId));
}
