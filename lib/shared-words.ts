import { SharedArray } from "k6/data";
import type { Config } from "./config";
import { seededRng } from "./rng";
import { drawRing, type WordSource, wordSource } from "./words";

/** The words of synthetic prompts; drawn once for all VUs. Init context only. */
export function openWords(config: Config): WordSource {
  // Two strings: an array in a shared array is parsed, frozen and wrapped for every VU, needed or not.
  const rings = new SharedArray<string>(`tokenclock words ${config.SEED}`, () => {
    const ring = drawRing(seededRng(config.SEED));
    return [ring.text, JSON.stringify(ring.tokenIds)];
  });
  let tokenIds: number[] | undefined;
  return wordSource({
    text: rings[0] ?? "",
    get tokenIds() {
      tokenIds ??= JSON.parse(rings[1] ?? "[]") as number[];
      return tokenIds;
    },
  });
}
