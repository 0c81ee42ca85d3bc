/** How a run is let in by its server: keys, signatures, TLS, and the headers that carry them. Pure. */
import { mayHaveKey, showAddress } from "./address";
import type { Environment } from "./parse-settings";
import { SettingError } from "./setting-error";
import type { Settings } from "./settings";

/** Where the keys of a run come from, as the module takes it; with `aws`, `file` or `command` gives the credentials. */
export interface KeySpec {
  file?: string;
  command?: string;
  /** How long a key is used that does not say when it expires. */
  lifetimeMs?: number;
  oauth?: {
    tokenUrl: string;
    clientId: string;
    clientSecret?: string;
    secretFile?: string;
    scope?: string;
    audience?: string;
  };
  aws?: { service: string; region: string };
}

/** What a run is let in with, beside what stands in its headers. */
export interface AccessSpec {
  keys?: KeySpec;
  tls?: { cert?: string; key?: string; ca?: string; skipVerify?: boolean };
  traceparent?: boolean;
}

/** Where the key stands in a header. */
const keyPlaceholder = "{{key}}";

/** The settings of which each names a source of keys. */
const sources = ["API_KEY", "API_KEY_FILE", "API_KEY_COMMAND", "OAUTH_TOKEN_URL", "AWS_SERVICE"] as const;

/** The settings of one source that say nothing without it. */
const partsOf = {
  OAUTH_TOKEN_URL: [
    "OAUTH_CLIENT_ID",
    "OAUTH_CLIENT_SECRET",
    "OAUTH_CLIENT_SECRET_FILE",
    "OAUTH_SCOPE",
    "OAUTH_AUDIENCE",
  ],
  AWS_SERVICE: ["AWS_REGION"],
} as const;

/** @throws SettingError for keys from several sources, and for a source that is named by half. */
export function requireAccess(of: Settings): void {
  const named = sources.filter((name) => of[name] !== "");
  // A signature is made with credentials that a file or a command gives, too.
  const exclusive = named.filter((name) => name !== "AWS_SERVICE" || !(of.API_KEY_FILE || of.API_KEY_COMMAND));
  if (exclusive.length > 1) {
    throw new SettingError(`${exclusive.join(" and ")} each say where the key comes from; set one of them`);
  }
  for (const [source, parts] of Object.entries(partsOf) as [keyof typeof partsOf, readonly (keyof Settings)[]][]) {
    const part = parts.find((name) => of[name] !== "");
    if (of[source] === "" && part !== undefined) throw new SettingError(`${part} is set without ${source}; set both`);
  }
  if (of.OAUTH_TOKEN_URL !== "") {
    if (of.OAUTH_CLIENT_ID === "") throw new SettingError("OAUTH_TOKEN_URL is set without OAUTH_CLIENT_ID; set both");
    if ((of.OAUTH_CLIENT_SECRET === "") === (of.OAUTH_CLIENT_SECRET_FILE === "")) {
      throw new SettingError("OAUTH_TOKEN_URL needs one of OAUTH_CLIENT_SECRET and OAUTH_CLIENT_SECRET_FILE");
    }
  }
  if (of.AWS_SERVICE !== "" && of.AWS_REGION === "")
    throw new SettingError("AWS_SERVICE is set without AWS_REGION; set both");
  if (of.API_KEY_LIFETIME !== undefined && of.API_KEY_COMMAND === "") {
    throw new SettingError("API_KEY_LIFETIME is how long a key of API_KEY_COMMAND lives; set that, or leave it out");
  }
  if ((of.TLS_CERT === "") !== (of.TLS_KEY === ""))
    throw new SettingError("TLS_CERT and TLS_KEY go together; set both");
  if (/^https?:/.test(of.ENDPOINT)) requireKeyOrigin(`ENDPOINT=${showAddress(of.ENDPOINT)}`, of.ENDPOINT, of);
  const names = Object.keys(of.HEADERS);
  const own = names.find((name) => /^authorization$/i.test(name) && !of.HEADERS[name]?.includes(keyPlaceholder));
  if (own !== undefined && renewsKeys(of)) {
    throw new SettingError(`HEADERS holds ${own}, which ${named[0]} sets; leave one of them out`);
  }
  const carriers = names.filter((name) => of.HEADERS[name]?.includes(keyPlaceholder));
  if (carriers.length > 0 && (named.length === 0 || of.AWS_SERVICE !== "")) {
    throw new SettingError(
      `HEADERS holds {{key}} in ${carriers.join(", ")}, but there is no key; set one of API_KEY, API_KEY_FILE, API_KEY_COMMAND, OAUTH_TOKEN_URL`,
    );
  }
}

/** The settings that let requests in, of those that are set; what they hold is for BASE_URL's server alone. */
export function privateSettings(of: Settings): string[] {
  return [...sources.filter((name) => of[name] !== ""), ...(Object.keys(of.HEADERS).length > 0 ? ["HEADERS"] : [])];
}

/** @throws SettingError where requests to `url`, which `what` names, would carry the key or HEADERS to a server that they are not for. */
export function requireKeyOrigin(what: string, url: string, of: Settings): void {
  const held = privateSettings(of);
  if (held.length === 0 || of.BASE_URL === "" || mayHaveKey(url, of)) return;
  throw new SettingError(
    `${what} is on another server than BASE_URL, which ${held.join(" and ")} ${held.length > 1 || held[0] === "HEADERS" ? "are" : "is"} for; name that server in KEY_ORIGINS if it is to get them, or give it to a class or a client of its own`,
  );
}

/** Whether the module puts the key or the signature into each request. */
export function renewsKeys(of: Settings): boolean {
  return sources.some((name) => name !== "API_KEY" && of[name] !== "");
}

/** The key as headers hold it: {{key}} where the module fills it in, "" where there is none. */
export function keyOf(of: Settings): string {
  return of.API_KEY || (renewsKeys(of) && of.AWS_SERVICE === "" ? keyPlaceholder : "");
}

/** What the module is to know of keys and TLS; undefined where the settings say nothing of them. */
export function accessOf(of: Settings, path: (path: string) => string): AccessSpec | undefined {
  const file = (name: string) => (name === "" ? undefined : path(name));
  const access: AccessSpec = {};
  if (renewsKeys(of)) {
    access.keys = {
      file: file(of.API_KEY_FILE),
      command: of.API_KEY_COMMAND || undefined,
      lifetimeMs: of.API_KEY_LIFETIME,
      oauth:
        of.OAUTH_TOKEN_URL === ""
          ? undefined
          : {
              tokenUrl: of.OAUTH_TOKEN_URL,
              clientId: of.OAUTH_CLIENT_ID,
              clientSecret: of.OAUTH_CLIENT_SECRET || undefined,
              secretFile: file(of.OAUTH_CLIENT_SECRET_FILE),
              scope: of.OAUTH_SCOPE || undefined,
              audience: of.OAUTH_AUDIENCE || undefined,
            },
      aws: of.AWS_SERVICE === "" ? undefined : { service: of.AWS_SERVICE, region: of.AWS_REGION },
    };
  }
  if (of.TLS_CERT !== "" || of.TLS_CA !== "" || of.TLS_SKIP_VERIFY) {
    access.tls = {
      cert: file(of.TLS_CERT),
      key: file(of.TLS_KEY),
      ca: file(of.TLS_CA),
      skipVerify: of.TLS_SKIP_VERIFY,
    };
  }
  if (of.TRACEPARENT) access.traceparent = true;
  return Object.keys(access).length === 0 ? undefined : access;
}

/** What a name has in it whose value may be a secret. */
export const secretName = /auth|key|token|secret|cookie|password|credential/i;

/** The settings among those given with -e that hold a secret: a process's arguments can be read by all on its machine. */
export function secretsAmong(options: Environment): string[] {
  return Object.entries(options)
    .filter(([given, value = ""]) => {
      const name = given.replace(/^TOKENCLOCK_/, "");
      if (value.trim() === "") return false;
      if (/^(API_KEY|API_KEY_COMMAND|OAUTH_CLIENT_SECRET|COORDINATOR_TOKEN)$/.test(name)) return true;
      if (name === "HEADERS") {
        const pairs = /"([^"]+)"\s*:\s*"((?:[^"\\]|\\.)*)"/g;
        return [...value.matchAll(pairs)].some(
          ([, header = "", text = ""]) => secretName.test(header) && !/\{\{.*\}\}/.test(text),
        );
      }
      return /^https?:\/\/[^/@]+@/.test(value);
    })
    .map(([given]) => given);
}

/** The line that warns of secrets on a command line; undefined where there are none. */
export function secretsLine(options: Environment): string | undefined {
  const names = secretsAmong(options);
  if (names.length === 0) return undefined;
  const variable = names[0]?.replace(/^(TOKENCLOCK_)?/, "TOKENCLOCK_");
  return `${names.join(" and ")} given with -e can be read in the process list by everyone on this machine; set ${variable} in the environment instead`;
}
