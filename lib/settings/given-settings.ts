/** What the user set for a run, gathered from -e and the environment. Pure: config.ts and `npm start` hand both in. */

import type { Environment } from "./parse-settings";
import { SettingError } from "./setting-error";
import { isSettingName, nearestName, type SettingName, settings } from "./settings";

/** Variables of the environment with this before a setting's name are meant for a run. */
export const environmentPrefix = "TOKENCLOCK_";

/** Settings that are read from the environment under their bare names, too: those that everyone keeps there. */
const bareNames: readonly string[] = ["BASE_URL", "API_KEY"] satisfies SettingName[];

/** Variables with the prefix that are none of a run's: the extension reads them itself, when the process begins. */
const ofTheProcess: readonly string[] = ["TOKENCLOCK_READER", "TOKENCLOCK_NODE"];

/**
 * Settings by name. An option (`-e NAME=value`) counts for more than TOKENCLOCK_NAME in the environment, and that for more
 * than BASE_URL and API_KEY there; the environment's other variables are no settings.
 * `own` names the settings that the test reads itself.
 * @throws SettingError for a name that is no setting, and for an empty value: mostly that of an unset variable.
 */
export function gatherSettings(
  options: Environment,
  environment: Environment,
  own: readonly string[] = [],
): Environment {
  const gathered: Record<string, string> = {};
  const take = (given: string, name: string, value: string, where: string) => {
    if (own.includes(name)) return;
    if (!isSettingName(name)) throw new SettingError(`${where}${given} is not a setting${meant(name)}`);
    if (value.trim() === "") throw new SettingError(emptyLine(name, `${where}${given}=`));
    gathered[name] = value;
  };
  for (const name of bareNames) {
    const value = environment[name];
    if (value !== undefined) take(name, name, value, "");
  }
  for (const [given, value = ""] of Object.entries(environment)) {
    if (given.startsWith(environmentPrefix) && !ofTheProcess.includes(given))
      take(given, given.slice(environmentPrefix.length), value, "");
  }
  for (const [given, value = ""] of Object.entries(options)) take(given, withoutPrefix(given), value, "-e ");
  return gathered;
}

/**
 * Refuses k6's own flags for a part of a load. A tokenclock test is one k6 scenario whose levels the module counts, so that they
 * would cut a level short or find no scenario.
 * @throws SettingError that names what to set instead.
 */
export function refuseLoadFlags(flags: readonly string[] = []): void {
  if (flags.includes("--once")) {
    throw new SettingError("--once would cut the first level short; set SMOKE=true, which sends one request a level");
  }
  if (flags.includes("--scenario")) {
    throw new SettingError(
      "--scenario: the levels of a test are parts of one k6 scenario; for one level alone set CONCURRENCY, RATE or BATCH_SIZES to it, for one phase of prefill-decode PHASE",
    );
  }
}

/** The settings as variables for a k6 that this project starts. */
export function asEnvironment(given: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) =>
      value === undefined ? [] : [[`${environmentPrefix}${name}`, value]],
    ),
  );
}

function withoutPrefix(name: string): string {
  return name.startsWith(environmentPrefix) ? name.slice(environmentPrefix.length) : name;
}

function emptyLine(name: string, given: string): string {
  const remedy = bareNames.includes(name)
    ? "is the variable that it comes from unset?"
    : "leave it out for its default";
  return `${given} is empty: ${remedy} (${name} is ${settings[name as SettingName].allowed})`;
}

/** "; did you mean X?" where a setting's name is near, else where the names are listed. */
function meant(name: string): string {
  const { name: nearest, distance } = nearestName(name.toUpperCase(), Object.keys(settings));
  return distance <= Math.max(1, Math.floor(nearest.length / 3))
    ? `; did you mean ${nearest}?`
    : "; docs/settings.md lists them";
}
