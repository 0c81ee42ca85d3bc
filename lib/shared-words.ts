import { shared } from "./client";
import type { Config } from "./config";
import { seededRng } from "./rng";
import { drawRing, type WordSource, wordSource } from "./words";

let opened: WordSource | undefined;

/** The words of synthetic prompts; drawn once for all VUs. Init context only. */
export function openWords(config: Config): WordSource {
  opened ??= wordSource(shared(`words ${config.SEED}`, () => drawRing(seededRng(config.SEED))));
  return opened;
}
