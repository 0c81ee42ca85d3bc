import { SharedArray } from "k6/data";
import type { Config } from "./config";
import { seededRng } from "./rng";
import { drawRing, type Ring, type WordSource, wordSource } from "./words";

/** The words of synthetic prompts; drawn once for all VUs. Init context only. */
export function openWords(config: Config): WordSource {
  const rings = new SharedArray<Ring>(`tokenclock words ${config.SEED}`, () => [drawRing(seededRng(config.SEED))]);
  const [ring = { text: "", tokenIds: [] }] = rings;
  // An element of a shared array is parsed anew at each access, and its arrays at each of theirs: copied out once.
  return wordSource({ text: ring.text, tokenIds: [...ring.tokenIds] });
}
