import { SharedArray } from "k6/data";
import type { Config } from "./config";
import { seededRng } from "./rng";
import { type WordSource, wordRing, wordSource } from "./words";

/** The words of synthetic prompts; drawn once for all VUs. Init context only. */
export function openWords(config: Config): WordSource {
  const [ring = ""] = new SharedArray(`tokenclock words ${config.SEED}`, () => [wordRing(seededRng(config.SEED))]);
  return wordSource(ring);
}
