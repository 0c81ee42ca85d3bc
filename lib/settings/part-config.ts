/** The settings of a part of a run: of a class of load, or of a client beside the test's own. Pure. */
import { type KeyOrigins, mayHaveKey, sameHost } from "./address";
import type { Config } from "./parse-config";
import { parseSettings } from "./parse-settings";
import { type SettingName, settings } from "./settings";

/** A value as -e would set it. */
export const asSet = (value: unknown): string => (typeof value === "object" ? JSON.stringify(value) : String(value));

/** Settings that let a run in. */
const keySettings = ["API_KEY", "API_KEY_FILE", "API_KEY_COMMAND", "OAUTH_TOKEN_URL", "AWS_SERVICE"] as const;
const keyParts = [
  ...(["API_KEY_LIFETIME", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_CLIENT_SECRET_FILE"] as const),
  ...(["OAUTH_SCOPE", "OAUTH_AUDIENCE", "AWS_REGION", "KEY_ORIGINS"] as const),
];

/**
 * The run's settings with others of a part of it: a class, or another client. What none of them names is the run's, but for the key
 * and HEADERS where the part goes to another host, or has a key of its own.
 * @throws SettingError for a value that is not allowed.
 */
export function partConfig(config: Config, part: string, given: Readonly<Record<string, string>>): Config {
  const elsewhere = ofAnotherHost(given.BASE_URL, config);
  const otherServer = given.BASE_URL !== undefined && !sameHost(given.BASE_URL.trim(), config.BASE_URL);
  const initial = (names: readonly SettingName[]) =>
    Object.fromEntries(names.map((name) => [name, settings[name].initial]));
  const base: Config = {
    ...config,
    ...(elsewhere || given.API_KEY !== undefined ? initial([...keySettings, ...keyParts]) : {}),
    ...(elsewhere ? initial(["HEADERS"]) : {}),
    ...(otherServer ? initial(["MODEL", "ENDPOINT"]) : {}),
  };
  const values = parseSettings(given, base);
  const changed = Object.fromEntries(Object.keys(given).map((each) => [each, values[each as SettingName]]));
  return { ...base, ...changed, TOKEN_IDS: values.TOKEN_IDS, part };
}

/** Whether an address is of a server that the run's key and HEADERS are not for. */
export function ofAnotherHost(address: string | undefined, of: KeyOrigins): boolean {
  return address !== undefined && !mayHaveKey(address.trim(), of);
}
