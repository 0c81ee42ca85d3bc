/** The configuration of a run, from what the user gave. Pure: config.ts hands in what k6 knows of it. */
import type { SloMs } from "../figures/level-summary";
import { type Profile, type ProfileName, parseProfile, profileNames } from "../figures/profile";
import { newSalt } from "../workload/salt";
import type { OwnSetting } from "./own";
import { type Environment, parseSettings } from "./parse-settings";
import { type PresetName, presets } from "./presets";
import { keptDefaults } from "./replaced-defaults";
import { SettingError } from "./setting-error";
import { type Defaults, parseSetting, type SettingName, type Settings } from "./settings";
import { smoked } from "./smoke";
import { requireEffect, requireUsed, type Use, usedSettings } from "./used-settings";

export { accessOf, secretsLine } from "./access";
export { gatherSettings, refuseLoadFlags } from "./given-settings";
export type { ClassSpec, MixClass } from "./mix";
export { isSettingName, shownSettings } from "./settings";

/** The effective settings of the run, and what follows from them. */
export interface Config extends Settings {
  readonly scenario: string;
  /** The gate: a shipped profile's name or the profile of the user's own file. */
  readonly profile: ProfileName | Profile;
  /** The SLOs that are set. */
  readonly sloMs: SloMs;
  /** Of a class of a mix: its name. */
  readonly part?: string;
  /** The settings that the scenario uses; the others are their defaults and say nothing. */
  readonly used: readonly SettingName[];
  /** The settings that the test has of its own, by name. */
  readonly own?: Readonly<Record<string, string | number | boolean>>;
}

/** What a scenario says of its settings. */
export interface Declaration {
  readonly scenario: string;
  readonly defaults: Defaults;
  /** The settings, or groups of them, that it uses beside those that every scenario uses. */
  readonly uses: readonly Use[];
  /** Settings of its own. */
  readonly own?: readonly OwnSetting[];
}

/**
 * Reads all settings: built-in default < the scenario's < what the user set (`given`, see gatherSettings). `readFile` gives
 * the text of a file of the user's, `readHead` how one begins that may be larger than memory.
 * @throws SettingError for the first value that is not allowed, and for a setting that the scenario does not use.
 */
export function parseConfig(
  { scenario, defaults, uses }: Declaration,
  given: Environment,
  readFile: (path: string) => string,
  readHead: (path: string) => string,
): Config {
  requireUsed(scenario, uses, given);
  const settings = parseSettings(given, withPreset(given.PRESET, defaults, uses));
  requireEffect(settings, given, usedSettings(uses));
  // `npm start` takes it out of what k6 sees. Its value may hold a key.
  if (settings.BETWEEN !== "") {
    throw new SettingError("BETWEEN is set, but only `npm start prefill-decode` can run commands: k6 itself cannot");
  }
  const config: Config = {
    ...settings,
    SALT: settings.SALT || newSalt(),
    CACHE: repeatsText(settings, readHead) && given.CACHE === undefined ? "warm" : settings.CACHE,
    scenario,
    profile: readProfile(settings.THRESHOLDS, readFile),
    sloMs: { ttft: settings.SLO_TTFT, tpot: settings.SLO_TPOT, e2e: settings.SLO_E2E },
    used: usedSettings(uses),
  };
  // Last: another mistake is reported first.
  if (config.BASE_URL === "") throw new SettingError(unnamedServer(config));
  return config.SMOKE ? smoked(config) : config;
}

/** The scenario's defaults with those of a preset before them: the ones that it uses. */
function withPreset(name: string | undefined, defaults: Defaults, uses: readonly Use[]): Defaults {
  if (name === undefined || !Object.hasOwn(presets, name.trim())) return defaults; // parseSettings refuses the name
  const used = usedSettings(uses);
  const own = Object.entries(presets[name.trim() as PresetName]).flatMap(([setting, text]) =>
    used.includes(setting as SettingName) ? [[setting, parseSetting(setting as SettingName, text)]] : [],
  );
  return {
    ...keptDefaults(
      own.map(([setting]) => setting as SettingName),
      defaults,
    ),
    ...Object.fromEntries(own),
  };
}

function unnamedServer({ SIMULATE: simulate }: Settings): string {
  return simulate
    ? "SIMULATE=true: only `npm start` starts the simulated server; start `bin/k6 x tokenclock simulate`, and name it in BASE_URL"
    : "BASE_URL is not set: name the server, such as -e BASE_URL=http://127.0.0.1:8000/v1";
}

/** Whether prompts have beginnings in common on purpose, which a prefix cache is meant to keep. */
function repeatsText({ SHARED_PREFIX, TRACE }: Settings, readHead: (path: string) => string): boolean {
  if (SHARED_PREFIX > 0) return true;
  if (TRACE === "") return false;
  try {
    return /"hash_ids"\s*:\s*\[\s*\d/.test(readHead(TRACE));
  } catch {
    return false; // whoever reads the trace says what is wrong with it
  }
}

function readProfile(text: string, readFile: (path: string) => string): ProfileName | Profile {
  const name = profileNames.find((each) => each === text);
  if (name) return name;
  if (!text.endsWith(".json")) {
    throw new SettingError(`THRESHOLDS=${text} is not one of ${profileNames.join(", ")} or a JSON file`);
  }
  try {
    return parseProfile(readFile(text));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SettingError(`THRESHOLDS=${text} cannot be used: ${reason}`);
  }
}
