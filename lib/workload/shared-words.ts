import { beforeLoad } from "../lazy";
import type { Config } from "../settings/config";
import { tokenclock } from "../wire/client";
import { saltedRngs } from "./rng";
import { everyWord, type WordSource, wordSource } from "./words";

let opened: WordSource | undefined;

/** The words of the run's synthetic prompts, drawn by its salt, once for all VUs. Init context only. */
export function openWords(config: Config): WordSource {
  opened ??= wordSource(
    tokenclock.shared("words", () => beforeLoad().drawRing(saltedRngs(config.SALT)("ring"), everyWord)),
  );
  return opened;
}
