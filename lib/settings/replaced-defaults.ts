/** Defaults that give way to what the user set: of two ways to say the same, the user's counts. Pure. */
import type { Defaults, SettingName } from "./settings";

/** Ways to say how many requests a second. */
export const rateSettings = ["RATE", "STAGES", "PATTERN", "RATE_FILE"] as const;

/** What ends a level. */
export const boundSettings = ["SESSIONS", "REQUESTS", "DURATION"] as const;

/** A setting of the user's, and the settings of which a default would override it. */
interface Replacement {
  readonly given: readonly SettingName[];
  readonly drops: readonly SettingName[];
}

/** Every one of these says the same as each other. */
const alternatives = (names: readonly SettingName[]): Replacement[] =>
  names.map((name) => ({ given: [name], drops: names.filter((other) => other !== name) }));

/** All such pairs; docs/own-scenarios.md lists them. */
export const replacements: readonly Replacement[] = [
  ...alternatives(boundSettings),
  ...alternatives(rateSettings),
  { given: ["CONCURRENCY"], drops: [...rateSettings, "TRACE"] },
  { given: rateSettings, drops: ["TRACE"] },
  { given: ["DATASET"], drops: ["TRACE", "TARGETS"] },
  { given: ["ENDPOINT"], drops: ["TARGETS"] },
  { given: ["INPUT_TOKENS"], drops: ["MAX_INPUT_TOKENS"] },
  { given: ["OUTPUT_TOKENS"], drops: ["MAX_OUTPUT_TOKENS"] },
  { given: ["CURVE_MIN", "CURVE_MAX"], drops: ["CONCURRENCY"] },
  { given: ["PRICE_HOUR"], drops: ["PRICE_INPUT", "PRICE_OUTPUT", "PRICE_CACHED"] },
  { given: ["PRICE_INPUT", "PRICE_OUTPUT", "PRICE_CACHED"], drops: ["PRICE_HOUR"] },
];

/** Settings whose built-in default is a value: what says that there is none. */
const none: Defaults = { RATE: [], CONCURRENCY: [] };

/**
 * A test's defaults without those that `given`, the names of the user's settings, replace: their settings are as if nobody had
 * set them.
 */
export function keptDefaults(given: readonly SettingName[], defaults: Defaults): Defaults {
  const kept: Partial<Record<SettingName, unknown>> = { ...defaults };
  for (const { given: names, drops } of replacements) {
    if (!names.some((name) => given.includes(name))) continue;
    for (const name of drops) {
      if (kept[name] === undefined) continue;
      delete kept[name];
      if (name in none) kept[name] = none[name];
    }
  }
  return kept as Defaults;
}
