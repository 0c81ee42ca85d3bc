import { type Rng, randomInt } from "./rng";

/**
 * Common English words of four letters. With the space before it each is one token of most vocabularies, and all of one
 * size make any run of words a plain substring.
 */
const words = (
  "able also area army away baby back ball band bank base bear beat bell best bird blue boat body bone book born both " +
  "bowl bring call came camp card care case cash cast cell city clay clip club coal coat code cold come cook cool copy " +
  "corn cost crop dark data date dawn days dead deal deep desk door down draw drop drum dust duty each earn east easy " +
  "edge else even ever face fact fair fall farm fast feel feet file fill film find fine fire firm fish five flag flat " +
  "flow food foot form four free from fuel full fund gain game gate gave gift girl give glad goal goes gold good gray " +
  "grew grow hair half hall hand hard have head hear heat help here high hill hold home hope hour huge idea inch into " +
  "iron item join jump just keep kept kind king knee knew know lake lamp land last late lead leaf left less life lift " +
  "like line lion list live long look lost loud love luck made mail main make many mark mass meal mean meat meet mile " +
  "milk mind mine miss moon more most move much must name near neck need nest news next nice nine none noon nose note"
)
  .split(" ")
  .filter((word) => word.length === 4);

const wordBytes = 5;
const ringWords = 2048;

/** Words joined once, that texts are cut out of: a prompt of thousands of words then costs no loop. Some 10 kB. */
export function wordRing(rng: Rng): string {
  return randomWords(rng, ringWords);
}

/** Makes texts of a given number of words. */
export interface WordSource {
  /** `count` words, with a space before each. Texts of different `rng` states share no beginning to speak of. */
  text(count: number, rng: Rng): string;
}

/** A source of texts cut out of a ring. */
export function wordSource(ring: string): WordSource {
  return {
    text(count, rng) {
      // Fresh words first: 16 of 200 are 122 bits, so that no prefix cache of a server meets a text twice.
      const fresh = Math.min(count, 16);
      let text = randomWords(rng, fresh);
      let left = count - fresh;
      while (left > 0) {
        const from = randomInt(rng, 0, ringWords - 1);
        const taken = Math.min(left, ringWords - from);
        text += ring.slice(from * wordBytes, (from + taken) * wordBytes);
        left -= taken;
      }
      return text;
    },
  };
}

function randomWords(rng: Rng, count: number): string {
  const chosen = new Array<string>(count);
  for (let i = 0; i < count; i++) chosen[i] = ` ${words[randomInt(rng, 0, words.length - 1)]}`;
  return chosen.join("");
}
