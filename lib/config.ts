import { refuse, run } from "./client";
import type { SloMs } from "./level-summary";
import { type Profile, type ProfileName, parseProfile, profileNames } from "./profile";
import { type Defaults, likelyTypos, parseSettings, SettingError, type Settings, shownSettings } from "./settings";

/** Path from a bundle to the shipped datasets; set by the bundler. */
declare const DATASETS_PATH: string;

/** The effective settings of the run, and what follows from them. */
export interface Config extends Settings {
  readonly scenario: string;
  /** The gate: a shipped profile's name or the profile of the user's own file. */
  readonly profile: ProfileName | Profile;
  /** What looks like a mistake in the settings, a line each; shown once by setup(). */
  readonly warnings: readonly string[];
}

let current: Config | undefined;

/**
 * Reads all settings (built-in default < the scenario's < `-e NAME=value` or environment), checks them and declares the
 * run. A value that is not allowed ends the run with one line and exit code 104 before any load.
 */
export function readConfig(scenario: string, defaults: Defaults): Config {
  const config = orRefuse(() => {
    const settings = parseSettings(__ENV, defaults);
    // `npm start` takes it out of what k6 sees. Its value may hold a key.
    if (settings.BETWEEN !== "") {
      throw new SettingError("BETWEEN is set, but only `npm start prefill-decode` can run commands: k6 itself cannot");
    }
    // Only the runtimes with number 0, setup()'s among them, have the time to look for typing errors.
    const warnings = __VU === 0 ? likelyTypos(__ENV) : [];
    return Object.freeze({ ...settings, scenario, warnings, profile: readProfile(settings.THRESHOLDS) });
  });
  // The first runtime's words count, and it has number 0; with thousands of VUs the others' time is better spent.
  const first = __VU === 0;
  // k6 itself writes results into folders that exist, and fails to where one does not when all is over.
  const resultsDir = first ? config.RESULTS : undefined;
  run({ scenario, config: first ? shownSettings(config) : {}, sloMs: sloMs(config), resultsDir });
  current = config;
  return config;
}

/** The configuration that this VU's init code read. */
export function currentConfig(): Config {
  if (!current) throw new Error("readConfig was not called");
  return current;
}

/** The SLOs that are set. */
export function sloMs(config: Settings): SloMs {
  return { ttft: config.SLO_TTFT, tpot: config.SLO_TPOT, e2e: config.SLO_E2E };
}

/** The result of `read`; its SettingError ends the run with one line and exit code 104. Init context only. */
export function orRefuse<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof SettingError) refuse(`tokenclock: ${error.message}`);
    throw error;
  }
}

/** A path as the user wrote it, below the folder they are in, in the form that k6's open() takes. */
export function userPath(path: string): string {
  if (/^(\/|[A-Za-z]:[\\/]|file:)/.test(path)) return path;
  // k6 itself resolves paths from the script's folder, which for a bundle is none that users think of.
  return __ENV.PWD ? `${__ENV.PWD}/${path}` : path;
}

/** The path of a shipped dataset, in the form that k6's open() takes. */
export function shippedPath(file: string): string {
  return import.meta.resolve(DATASETS_PATH + file).replace(/^file:\/\//, "");
}

function readProfile(text: string): ProfileName | Profile {
  const name = profileNames.find((each) => each === text);
  if (name) return name;
  if (!text.endsWith(".json")) {
    throw new SettingError(`THRESHOLDS=${text} is not one of ${profileNames.join(", ")} or a JSON file`);
  }
  try {
    return parseProfile(open(userPath(text)));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SettingError(`THRESHOLDS=${text} cannot be used: ${reason}`);
  }
}
