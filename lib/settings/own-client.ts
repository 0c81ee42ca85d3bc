/** Clients that a script has beside the test's own: other servers, or the same one asked otherwise. Pure. */
import type { Config } from "./parse-config";
import { asSet, partConfig } from "./part-config";
import { SettingError } from "./setting-error";

const allowed = [
  ...(["BASE_URL", "API", "MODEL", "API_KEY", "HEADERS", "ENDPOINT", "EXTRA_BODY", "TIMEOUT"] as const),
  ...(["OUTPUT_TOKENS", "STREAM", "IGNORE_EOS", "CONTINUOUS_USAGE", "TEMPERATURE"] as const),
];

/** Settings of a client, as -e would set them; the others are the test's. Another host gets neither its key nor its HEADERS. */
export type ClientSettings = {
  readonly [N in (typeof allowed)[number]]?: string | number | boolean | Readonly<Record<string, unknown>>;
};

/** The settings of the client `name`. @throws SettingError for a setting that a client has not, or a value that is not allowed. */
export function clientConfig(config: Config, name: string, settings: ClientSettings): Config {
  const given: Record<string, string> = {};
  for (const [setting, value] of Object.entries(settings)) {
    if (!(allowed as readonly string[]).includes(setting)) {
      throw new SettingError(`test.client("${name}"): ${setting} is not one of ${allowed.join(", ")}`);
    }
    if (value !== undefined) given[setting] = asSet(value);
  }
  try {
    return partConfig(config, `client ${name}`, given);
  } catch (error) {
    throw new SettingError(`test.client("${name}"): ${error instanceof Error ? error.message : error}`);
  }
}
