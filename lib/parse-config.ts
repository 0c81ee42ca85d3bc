/** The configuration of a run, from what the user gave. Pure: config.ts hands in what k6 knows of it. */
import type { SloMs } from "./level-summary";
import { type Profile, type ProfileName, parseProfile, profileNames } from "./profile";
import { newSalt } from "./salt";
import { SettingError } from "./setting-error";
import { type Defaults, type Environment, likelyTypos, parseSettings, type Settings } from "./settings";

export { shownSettings } from "./settings";

/** The effective settings of the run, and what follows from them. */
export interface Config extends Settings {
  readonly scenario: string;
  /** The gate: a shipped profile's name or the profile of the user's own file. */
  readonly profile: ProfileName | Profile;
  /** The SLOs that are set. */
  readonly sloMs: SloMs;
  /** What looks like a mistake in the settings, a line each; shown once by setup(). */
  readonly warnings: readonly string[];
}

/**
 * Reads all settings: built-in default < the scenario's < environment. `readFile` gives the text of a file of the user's.
 * @throws SettingError for the first value that is not allowed.
 */
export function parseConfig(
  scenario: string,
  defaults: Defaults,
  environment: Environment,
  readFile: (path: string) => string,
): Config {
  const settings = parseSettings(environment, defaults);
  // `npm start` takes it out of what k6 sees. Its value may hold a key.
  if (settings.BETWEEN !== "") {
    throw new SettingError("BETWEEN is set, but only `npm start prefill-decode` can run commands: k6 itself cannot");
  }
  return {
    ...settings,
    SALT: settings.SALT || newSalt(),
    CACHE: repeatsText(settings, readFile) && environment.CACHE === undefined ? "warm" : settings.CACHE,
    scenario,
    profile: readProfile(settings.THRESHOLDS, readFile),
    sloMs: { ttft: settings.SLO_TTFT, tpot: settings.SLO_TPOT, e2e: settings.SLO_E2E },
    warnings: likelyTypos(environment),
  };
}

/** Whether prompts have beginnings in common on purpose, which a prefix cache is meant to keep. */
function repeatsText({ SHARED_PREFIX, TRACE }: Settings, readFile: (path: string) => string): boolean {
  if (SHARED_PREFIX > 0) return true;
  if (TRACE === "") return false;
  try {
    return /"hash_ids"\s*:\s*\[\s*\d/.test(readFile(TRACE));
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
