/** The headers of requests. Pure. */
import { keyOf, renewsKeys } from "../settings/access";
import { isAzure } from "../settings/address";
import type { Settings } from "../settings/settings";

/** What a described API says of headers. */
export interface WireHeaders {
  readonly headers: Readonly<Record<string, string>>;
  /** One of them carries the key. */
  readonly ownKey: boolean;
}

/** Headers of every request: the key, the user's own, and those that the API demands. */
export function requestHeaders(config: Settings, wire?: WireHeaders): Record<string, string> {
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  const key = keyOf(config);
  const own = Object.entries(config.HEADERS);
  if (config.AWS_SERVICE !== "") headers.Authorization = "{{signature}}";
  else if (key !== "" && !wire?.ownKey && !own.some(([, value]) => value.includes("{{key}}"))) {
    // Azure's own keys are no bearer tokens; what a command or a token endpoint gives is one.
    const bearer = config.API_KEY_COMMAND !== "" || config.OAUTH_TOKEN_URL !== "";
    if (isAzure(config.BASE_URL) && !bearer) headers["api-key"] = key;
    else headers.Authorization = `Bearer ${key}`;
    if (config.API === "messages") headers["x-api-key"] = key;
  }
  if (config.API === "messages") headers["anthropic-version"] = "2023-06-01";
  const fixed = (value: string) => (renewsKeys(config) ? value : value.replaceAll("{{key}}", key));
  return { ...headers, ...wire?.headers, ...Object.fromEntries(own.map(([name, value]) => [name, fixed(value)])) };
}
