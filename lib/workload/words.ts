import { type Ring, randomTokenIds, randomWords, ringLength, wordBytes } from "./ring";
import { type Rng, randomInt } from "./rng";

/**
 * Common English words of four letters. With the space before it each is one token of most vocabularies, and all of one
 * size make any run of words a plain substring. One text, which all VUs share: a list would be made anew for each.
 */
const words =
  " able also area army away baby back ball band bank base bear beat bell best bird blue boat body bone book born" +
  " both bowl call came camp card care case cash cast cell city clay clip club coal coat code cold come cook cool" +
  " copy corn cost crop dark data date dawn days dead deal deep desk door down draw drop drum dust duty each earn" +
  " east easy edge else even ever face fact fair fall farm fast feel feet file fill film find fine fire firm fish" +
  " five flag flat flow food foot form four free from fuel full fund gain game gate gave gift girl give glad goal" +
  " goes gold good gray grew grow hair half hall hand hard have head hear heat help here high hill hold home hope" +
  " hour huge idea inch into iron item join jump just keep kept kind king knee knew know lake lamp land last late" +
  " lead leaf left less life lift like line lion list live long look lost loud love luck made mail main make many" +
  " mark mass meal mean meat meet mile milk mind mine miss moon more most move much must name near neck need nest" +
  " news next nice nine none noon nose note";

/** Every word once, with a space before each: what a tokenizer makes of it does not depend on seed or salt. */
export const everyWord: string = words;

/** Makes inputs of a given length. Those of different `rng` states share no beginning to speak of. */
export interface WordSource {
  /** `count` words, with a space before each. */
  text(count: number, rng: Rng): string;
  /** `count` token ids. */
  tokenIds(count: number, rng: Rng): number[];
}

/** A source of inputs cut out of a ring. */
export function wordSource(ring: Ring): WordSource {
  return {
    text(count, rng) {
      const fresh = Math.min(count, freshLength);
      let text = randomWords(rng, fresh, words);
      for (const [from, to] of cuts(count - fresh, rng)) text += ring.text.slice(from * wordBytes, to * wordBytes);
      return text;
    },
    tokenIds(count, rng) {
      const fresh = Math.min(count, freshLength);
      const ids = [randomTokenIds(rng, fresh)];
      for (const [from, to] of cuts(count - fresh, rng)) ids.push(ring.tokenIds.slice(from, to));
      return ids.flat();
    },
  };
}

/**
 * Every input begins with this many elements of its own, so that no prefix cache meets one twice: 16 of some 200 words or
 * token ids are 122 bits, and the sources of a salt (saltedRngs) tell 2^96 inputs apart.
 */
const freshLength = 16;

/** Pieces of the ring that have `count` elements together, each from a random place. */
function cuts(count: number, rng: Rng): [from: number, to: number][] {
  const pieces: [number, number][] = [];
  for (let left = count; left > 0; ) {
    const from = randomInt(rng, 0, ringLength - 1);
    const taken = Math.min(left, ringLength - from);
    pieces.push([from, from + taken]);
    left -= taken;
  }
  return pieces;
}
