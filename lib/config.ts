import { refuse, run, shared } from "./client";
import type { Config } from "./parse-config";
import { isSettingError } from "./setting-error";
import type { Defaults, Settings } from "./settings";

export type { Config } from "./parse-config";

/** Path from a bundle to the shipped datasets; set by the bundler. */
declare const DATASETS_PATH: string;

let current: Config | undefined;

/**
 * Reads all settings (built-in default < the scenario's < `-e NAME=value` or environment), checks them and declares the
 * run. A value that is not allowed ends the run with one line and exit code 104 before any load.
 */
export function readConfig(scenario: string, defaults: Defaults): Config {
  const config = orRefuse(() =>
    shared("config", () => settingsReader().parseConfig(scenario, defaults, __ENV, (path) => open(userPath(path)))),
  );
  // The first runtime's words count, and it has number 0.
  const first = __VU === 0;
  // k6 itself writes results into folders that exist, and fails to where one does not when all is over.
  const resultsDir = first ? config.RESULTS : undefined;
  const { sloMs, CACHE: cache, STAMPS: stamps } = config;
  run({ scenario, config: first ? shownSettings(config) : {}, sloMs, cache, resultsDir, stamps });
  current = config;
  return config;
}

/** The configuration that this VU's init code read. */
export function currentConfig(): Config {
  if (!current) throw new Error("readConfig was not called");
  return current;
}

/** The settings without secrets, in a form to be read and set again. For setup(), teardown() and handleSummary. */
export function shownSettings(of: Settings): Record<string, unknown> {
  return settingsReader().shownSettings(of);
}

/** The table of settings is larger than all else of a VU: loaded by those that need it. */
function settingsReader(): typeof import("./parse-config") {
  return require("./parse-config");
}

/** The result of `read`; its SettingError ends the run with one line and exit code 104. Init context only. */
export function orRefuse<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (isSettingError(error)) refuse(`tokenclock: ${error.message}`);
    throw error;
  }
}

/** Ends the run with this line and exit code 104 unless the settings hold what it demands. Init context only. */
export function demand(holds: boolean, line: string): void {
  if (!holds) refuse(`tokenclock: ${line}`);
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
