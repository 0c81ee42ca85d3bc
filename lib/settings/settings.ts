/** The settings of all scenarios: names, defaults, what is allowed, and the check of each. Pure: config.ts reads them. */

import {
  metricPresets,
  metricsItems,
  parseMetricsItem,
  parsePowerMetric,
  powerMetricSyntax,
} from "../figures/server-presets";
import { type Distribution, distributionSyntax, formatDistribution, parseDistribution } from "../workload/distribution";
import { type Column, columnRoles } from "../workload/formats/columns";
import type { Window } from "../workload/formats/read";
import { formatPopularity, type Popularity, parsePopularity } from "../workload/prefix-groups";
import { saltPattern } from "../workload/salt";
import { type Abandon, formatAbandon, formatWait, parseAbandon, parseWait, type Wait } from "../workload/wait";
import { requireAccess } from "./access";
import { showAddress } from "./address";
import { builtInApis, readyWireNames } from "./apis";
import { formatDurationMs, parseDurationMs } from "./duration";
import { presetNames } from "./presets";
import { boundSettings, keptDefaults, rateSettings } from "./replaced-defaults";
import { SettingError } from "./setting-error";
import type { WireDescription } from "./wire-description";

export { formatDurationMs, parseDurationMs, SettingError };

/** A kind of value: how it is read, shown in results, and described in messages ("is not ..."). */
interface Kind<T> {
  readonly allowed: string;
  /** undefined: not allowed. */
  parse(text: string): T | undefined;
  /** A form fit for results and logs; secrets are left out here. */
  show(value: T): unknown;
}

/** Steps of the offered load in k6's notation: within `durationMs` the rate or number of users moves to `target`. */
export interface LoadStep {
  readonly durationMs: number;
  readonly target: number;
}

/** How arrivals are spread in time. */
export type Arrival =
  | { readonly kind: "constant" }
  | { readonly kind: "poisson" }
  | { readonly kind: "gamma"; readonly cv: number };

/** A rate that repeats itself, requests/s: a sine between two rates, or a low rate with spikes of a high one. */
export type Pattern =
  | { readonly kind: "sine"; readonly low: number; readonly high: number; readonly periodMs: number }
  | {
      readonly kind: "spikes";
      readonly low: number;
      readonly high: number;
      readonly periodMs: number;
      /** How long a spike lasts, at the end of each period. */
      readonly lengthMs: number;
    };

/** What precedes the steady part of a level: one request a client, a number of requests, or a time. */
export type Warmup = { readonly perSlot: 1 } | { readonly requests: number } | { readonly durationMs: number };

const asIs = <T>(value: T): unknown => value;

const anyText: Kind<string> = { allowed: "a text", parse: (text) => text, show: asIs };

const file: Kind<string> = { allowed: "a file", parse: (text) => text || undefined, show: asIs };

const word: Kind<string> = {
  allowed: "one word",
  parse: (text) => (/^[\x21-\x7e]+$/.test(text) ? text : undefined),
  show: asIs,
};

const folder: Kind<string> = { allowed: "a folder", parse: (text) => text || undefined, show: asIs };

const secret: Kind<string> = {
  allowed: "a text",
  parse: (text) => (/^[\x20-\x7e]*$/.test(text) ? text : undefined),
  show: (value) => (value === "" ? "" : "(set)"),
};

const command: Kind<string> = {
  allowed: "a shell command",
  parse: (text) => text,
  // A command may hold a key.
  show: (value) => (value === "" ? undefined : "(set)"),
};

const baseUrl: Kind<string> = {
  allowed: "an address such as http://127.0.0.1:8000/v1 (http://, https:// or unix:///socket:/path)",
  // The API's paths are put before the query, which Azure's address has.
  parse: (text) =>
    /^(https?:\/\/[^\s/?#]+|unix:\/\/\/[^\s:?#]+:)(\/[^\s?#]*)?(\?[^\s#]+)?$/.test(text) && hasHost(text)
      ? text.replace(/\/+(?=$|\?)/, "")
      : undefined,
  show: showAddress,
};

/** Whether an http:// or https:// address has a host, and a port that there can be. */
function hasHost(address: string): boolean {
  const [, host = ""] = /^https?:\/\/(?:[^/@]*@)?([^/?#]*)/.exec(address) ?? [];
  const port = /:(\d+)$/.exec(host)?.[1];
  return address.startsWith("unix:") || (/^[^:]/.test(host) && (port === undefined || Number(port) <= 65_535));
}

const anyUrl: Kind<string> = {
  allowed: "an address with http:// or https://",
  parse: (text) => (/^https?:\/\/\S+$/.test(text) && hasHost(text) ? text : undefined),
  show: showAddress,
};

const origins: Kind<readonly string[]> = {
  allowed: "addresses such as https://other.example.com:8443, without a path, separated by commas",
  parse: (text) => {
    const list = text.split(/\s*,\s*/);
    return list.every((each) => /^https?:\/\/[^\s/?#@\\]+$/.test(each) && hasHost(each)) ? list : undefined;
  },
  show: (value) => value.join(",") || undefined,
};

const coordinatorUrl: Kind<string> = {
  allowed: "an address such as https://coordinator:7431, without a path",
  parse: (text) => (/^https?:\/\/[^\s/?#@]+\/?$/.test(text) && hasHost(text) ? text.replace(/\/$/, "") : undefined),
  show: asIs,
};

const metricsUrls: Kind<readonly string[] | "none"> = {
  allowed: "addresses with http:// or https://, separated by commas, or none",
  parse: (text) => {
    if (text === "none") return "none";
    const urls = splitUrls(text);
    return urls.every((url) => anyUrl.parse(url) !== undefined) && new Set(urls).size === urls.length
      ? urls
      : undefined;
  },
  show: (value) => (value === "none" ? value : value.map(showAddress).join(",") || undefined),
};

const splitUrls = (text: string): string[] => text.split(/\s*,\s*(?=https?:)/);

const metricNames: Kind<string> = {
  allowed: `auto, presets (${metricPresets.join(", ")}) and names of metrics such as vllm:num_* or mean(power{gpu="0"}), separated by commas`,
  parse: (text) => {
    const items = metricsItems(text);
    return items.length > 0 && items.every((item) => parseMetricsItem(item) !== undefined) ? text : undefined;
  },
  show: asIs,
};

const powerMetric: Kind<string> = {
  allowed: powerMetricSyntax,
  parse: (text) => (parsePowerMetric(text) ? text : undefined),
  show: (value) => value || undefined,
};

const urlPath: Kind<string> = {
  allowed: "a path that begins with / or an address with http:// or https://",
  parse: (text) => (/^\/\S*$/.test(text) || (/^https?:\/\/\S+$/.test(text) && hasHost(text)) ? text : undefined),
  show: showAddress,
};

/** A file of the user's, or, as a script's own default, the description itself. */
const wireFile: Kind<string | WireDescription> = {
  allowed: "a JSON file",
  parse: (text) => text,
  show: (value) => (typeof value === "string" ? value || undefined : (value.name ?? "(of the script)")),
};

const jsonPointer: Kind<string> = {
  allowed: "a JSON pointer such as /usage/total_tokens",
  parse: (text) => (text.startsWith("/") ? text : undefined),
  show: asIs,
};

const duration: Kind<number> = {
  allowed: "a duration such as 500ms, 30s, 1m30s or 2h",
  parse: parseDurationMs,
  show: formatDurationMs,
};

const positiveDuration: Kind<number> = {
  ...duration,
  allowed: `${duration.allowed} and longer than 0`,
  parse: (text) => parseDurationMs(text) || undefined,
};

const optionalDuration: Kind<number | undefined> = {
  allowed: positiveDuration.allowed,
  parse: positiveDuration.parse,
  show: (value) => (value === undefined ? undefined : formatDurationMs(value)),
};

const yesNo: Kind<boolean> = {
  allowed: "true or false (1, 0, yes and no are the same)",
  parse: (text) => ({ true: true, "1": true, yes: true, false: false, "0": false, no: false })[text.toLowerCase()],
  show: asIs,
};

const distribution: Kind<Distribution> = {
  allowed: distributionSyntax,
  parse: parseDistribution,
  show: formatDistribution,
};

const arrival: Kind<Arrival> = {
  allowed: "constant, poisson or gamma:CV with CV above 0",
  parse: (text) => {
    if (text === "constant" || text === "poisson") return { kind: text };
    const cv = Number(/^gamma:(\d+(?:\.\d+)?)$/.exec(text)?.[1]);
    return cv > 0 ? { kind: "gamma", cv } : undefined;
  },
  show: (value) => (value.kind === "gamma" ? `gamma:${value.cv}` : value.kind),
};

const pattern: Kind<Pattern | undefined> = {
  allowed:
    "sine:LOW:HIGH:PERIOD such as sine:5:50:10m, or spikes:LOW:HIGH:PERIOD:LENGTH such as spikes:5:50:1m:10s (rates below 1000000, LOW below HIGH)",
  parse: (text) => {
    const [kind = "", lowText = "", highText = "", period = "", length, ...more] = text.split(":");
    const [low, high] = [lowText, highText].map((word) => within(word, /^\d+(\.\d+)?$/, 0, 1e6));
    const [periodMs, lengthMs] = [parseDurationMs(period), parseDurationMs(length ?? "")];
    if (low === undefined || high === undefined || low >= high || !periodMs || more.length > 0) return undefined;
    if (kind === "sine") return length === undefined ? { kind, low, high, periodMs } : undefined;
    return kind === "spikes" && lengthMs && lengthMs < periodMs ? { kind, low, high, periodMs, lengthMs } : undefined;
  },
  show: (value) => {
    if (!value) return undefined;
    const sine = `${value.kind}:${value.low}:${value.high}:${formatDurationMs(value.periodMs)}`;
    return value.kind === "sine" ? sine : `${sine}:${formatDurationMs(value.lengthMs)}`;
  },
};

const warmup: Kind<Warmup> = {
  allowed: "auto (one request a client), a whole number of requests from 0, or a duration such as 5s",
  parse: (text) => {
    if (text === "auto") return { perSlot: 1 };
    if (/^\d{1,7}$/.test(text)) return { requests: Number(text) };
    const durationMs = parseDurationMs(text);
    return durationMs === undefined ? undefined : { durationMs };
  },
  show: (value) => {
    if ("requests" in value) return value.requests;
    return "durationMs" in value ? formatDurationMs(value.durationMs) : "auto";
  },
};

const clientsPerVU: Kind<"auto" | number> = {
  allowed: "auto (a few VUs carry all clients) or a whole number from 1 to 100000",
  parse: (text) => (text === "auto" ? text : within(text, /^\d{1,10}$/, 1, 100_000)),
  show: asIs,
};

const steps: Kind<readonly LoadStep[]> = {
  allowed: "steps as DURATION:TARGET, such as 30s:10,1m:50 (within 30s to 10, then within 1m to 50)",
  parse: (text) => {
    const parsed: LoadStep[] = [];
    for (const word of text.split(",")) {
      const [, time = "", target = ""] = /^\s*([^:]+):(\d+(?:\.\d+)?)\s*$/.exec(word) ?? [];
      const durationMs = parseDurationMs(time);
      if (durationMs === undefined || target === "") return undefined;
      parsed.push({ durationMs, target: Number(target) });
    }
    return parsed.some(({ durationMs }) => durationMs > 0) ? parsed : undefined;
  },
  show: (value) => value.map(({ durationMs, target }) => `${formatDurationMs(durationMs)}:${target}`).join(","),
};

const headers: Kind<Readonly<Record<string, string>>> = {
  allowed: 'a JSON object of texts, such as {"X-Team": "search"}',
  parse: (text) => {
    const value = parseJsonObject(text);
    return value && Object.values(value).every((each) => typeof each === "string")
      ? (value as Record<string, string>)
      : undefined;
  },
  // Headers carry keys: their names are results, their values are not.
  show: (value) => Object.fromEntries(Object.keys(value).map((name) => [name, "(set)"])),
};

const jsonObject: Kind<Readonly<Record<string, unknown>>> = {
  allowed: 'a JSON object, such as {"top_p": 0.9}',
  parse: parseJsonObject,
  show: asIs,
};

const salt: Kind<string> = {
  allowed: "1 to 64 letters, digits, dots, hyphens and underscores",
  parse: (text) => (saltPattern.test(text) ? text : undefined),
  show: (value) => value || undefined,
};

const columns: Kind<readonly Column[]> = {
  allowed: `ROLE=COLUMN,... with the roles ${columnRoles.join(", ")}, such as prompt=user_query,system=system_message`,
  parse: (text) => {
    const parsed = text.split(",").map((word) => /^\s*(\w+)=(.+?)\s*$/.exec(word));
    if (!parsed.every((each) => each !== null && columnRoles.includes(each[1] ?? ""))) return undefined;
    return parsed.map((each) => ({ role: each?.[1] ?? "", column: each?.[2] ?? "" }));
  },
  show: (value) => value.map(({ role, column }) => `${role}=${column}`).join(",") || undefined,
};

const wait: Kind<Wait> = {
  allowed:
    "recorded (as the file has it), a duration such as 2s or 0, or a distribution in ms such as lognormal:4000:3000",
  parse: parseWait,
  show: formatWait,
};

const abandonment: Kind<Abandon | undefined> = {
  allowed: "SHARE:AFTER with a share above 0 up to 1 and a time or a number of tokens, such as 0.1:2s or 0.1:20tokens",
  parse: parseAbandon,
  show: (value) => value && formatAbandon(value),
};

const popularity: Kind<Popularity> = {
  allowed: "uniform or zipf:EXPONENT with an exponent above 0",
  parse: parsePopularity,
  show: formatPopularity,
};

const headerName: Kind<string> = {
  allowed: "the name of a header, or none",
  parse: (text) => (/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(text) ? text : undefined),
  show: (value) => value || undefined,
};

const traceWindow: Kind<Window | undefined> = {
  allowed:
    "rows such as 1-1000, or times from the trace's first such as 10m-20m; either end may be left out (500-, -1h)",
  parse: (text) => {
    const [, from = "", to = ""] = /^([\w.]*)-([\w.]*)$/.exec(text) ?? [];
    if (/^\d*$/.test(from) && /^\d*$/.test(to) && from + to !== "") {
      const rows = {
        of: "rows" as const,
        from: Number(from || 1),
        to: to === "" ? Number.MAX_SAFE_INTEGER : Number(to),
      };
      return rows.from >= 1 && rows.to >= rows.from ? rows : undefined;
    }
    const fromMs = from === "" ? 0 : parseDurationMs(from);
    const toMs = to === "" ? Number.MAX_SAFE_INTEGER : parseDurationMs(to);
    if (from + to === "" || fromMs === undefined || toMs === undefined || toMs <= fromMs) return undefined;
    return { of: "time", from: fromMs, to: toMs };
  },
  show: (value) => {
    if (value === undefined) return undefined;
    const end = value.to === Number.MAX_SAFE_INTEGER ? "" : value.of === "rows" ? value.to : formatDurationMs(value.to);
    return `${value.of === "rows" ? value.from : formatDurationMs(value.from)}-${end}`;
  },
};

function oneOf<const T extends string>(...names: T[]): Kind<T> {
  return {
    allowed: `one of ${names.join(", ")}`,
    parse: (text) => names.find((name) => name === text),
    show: asIs,
  };
}

function whole(low: number, high: number): Kind<number> {
  return {
    allowed: `a whole number from ${low} to ${high}`,
    parse: (text) => within(text, /^\d{1,10}$/, low, high),
    show: asIs,
  };
}

function optional<T>(kind: Kind<T>): Kind<T | undefined> {
  return { ...kind, show: (value) => (value === undefined ? undefined : kind.show(value)) };
}

function wholes(low: number, high: number): Kind<readonly number[]> {
  return list("whole numbers", /^\d{1,10}$/, low, high);
}

function list(what: string, pattern: RegExp, low: number, high: number): Kind<readonly number[]> {
  return {
    allowed: `a list of ${what} from ${low} to ${high}, each once, such as 1,2,4`,
    parse: (text) => {
      const values = text.split(",").map((word) => within(word.trim(), pattern, low, high));
      const distinct = new Set(values);
      return distinct.has(undefined) || distinct.size < values.length ? undefined : (values as number[]);
    },
    show: (value) => value.join(",") || undefined,
  };
}

function number(low: number, high: number): Kind<number> {
  return {
    allowed: `a number from ${low} to ${high}`,
    parse: (text) => within(text, /^\d+(\.\d+)?$/, low, high),
    show: asIs,
  };
}

function within(text: string, pattern: RegExp, low: number, high: number): number | undefined {
  const value = pattern.test(text) ? Number(text) : Number.NaN;
  return value >= low && value <= high ? value : undefined;
}

function parseJsonObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

interface Setting<T> extends Kind<T> {
  readonly initial: T;
  readonly doc: string;
}

function setting<T>(kind: Kind<T>, initial: T, doc: string): Setting<T> {
  return { ...kind, initial, doc };
}

const sloMs = optional(number(0.001, 3_600_000));

/** Every setting there is, in the order in which documentation lists them. */
export const settings = {
  BASE_URL: setting(
    baseUrl,
    "",
    "Address of the server. For OpenAI's APIs it ends in /v1, as in their SDKs; for others it is what stands before the API's own path. Every run needs one.",
  ),
  SIMULATE: setting(
    yesNo,
    false,
    "Load a simulated server, which `npm start` starts for the run, instead of a BASE_URL. `npm start` without arguments does the same.",
  ),
  API: setting(
    oneOf(...builtInApis, ...readyWireNames, "custom"),
    "chat",
    "The API that the server speaks. custom is one that WIRE describes; json is any endpoint with JSON replies, named by ENDPOINT or TARGETS. docs/servers.md lists which server takes which.",
  ),
  WIRE: setting(
    wireFile,
    "",
    "File that describes an API which is not built in: its requests, and where its responses have text, token counts and the end; see docs/wires.md. API=custom only.",
  ),
  MODEL: setting(anyText, "", "Model name in the requests; by default the first that the server's /models lists."),
  API_KEY: setting(secret, "", "Sent as `Authorization: Bearer`; never written anywhere."),
  API_KEY_FILE: setting(file, "", "File with the key instead of API_KEY; read again when it changes, and on HTTP 401."),
  API_KEY_COMMAND: setting(
    command,
    "",
    "Shell command that prints the key; run again before the key expires, and on HTTP 401. Never written anywhere.",
  ),
  API_KEY_LIFETIME: setting(
    optionalDuration,
    undefined,
    "How long a key of API_KEY_COMMAND is valid. A JWT names its own expiry, other keys do not.",
  ),
  OAUTH_TOKEN_URL: setting(anyUrl, "", "Token endpoint of OAuth's client credentials grant, which gives the keys."),
  OAUTH_CLIENT_ID: setting(word, "", "Client id for OAUTH_TOKEN_URL."),
  OAUTH_CLIENT_SECRET: setting(secret, "", "Client secret for OAUTH_TOKEN_URL; never written anywhere."),
  OAUTH_CLIENT_SECRET_FILE: setting(
    file,
    "",
    "File with the client secret, instead of OAUTH_CLIENT_SECRET; read at each renewal.",
  ),
  OAUTH_SCOPE: setting(anyText, "", "Scopes that the request to OAUTH_TOKEN_URL names, separated by blanks."),
  OAUTH_AUDIENCE: setting(anyText, "", "Audience that the request to OAUTH_TOKEN_URL names."),
  AWS_SERVICE: setting(
    word,
    "",
    "Sign requests for this AWS service (bedrock, execute-api) with Signature Version 4. The credentials are those of API_KEY_COMMAND or API_KEY_FILE, else of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment.",
  ),
  AWS_REGION: setting(word, "", "AWS region of the signatures; with AWS_SERVICE."),
  HEADERS: setting(
    headers,
    {},
    "More headers of every request; their values are never written anywhere. Placeholders such as `{{uuid}}` and `{{key}}` are filled in, see docs/keys.md.",
  ),
  KEY_ORIGINS: setting(
    origins,
    [],
    "Servers that are sent the key and HEADERS beside BASE_URL's. No other is, see docs/keys.md.",
  ),
  TRACEPARENT: setting(
    yesNo,
    false,
    "Send each request a trace of its own in the header traceparent; its id is in the records (traceId).",
  ),
  TLS_CERT: setting(file, "", "The client's certificate for mutual TLS, PEM; with TLS_KEY."),
  TLS_KEY: setting(file, "", "Private key of TLS_CERT, PEM without a password."),
  TLS_CA: setting(file, "", "Certificates of authorities, PEM, that are trusted beside the system's."),
  TLS_SKIP_VERIFY: setting(yesNo, false, "Do not check the server's certificate."),
  TIMEOUT: setting(positiveDuration, 600_000, "Limit of one request, from sent to its last byte."),
  STAMPS: setting(
    oneOf("auto", "ring", "socket", "user"),
    "auto",
    "Where arrival times come from: a packet ring (Linux with CAP_NET_RAW), the sockets, or this process's own clock; auto takes the best there is.",
  ),
  LIVE: setting(
    oneOf("auto", "true", "false"),
    "auto",
    "A line a second on standard error while the load runs: counts, tokens/s, TTFT, time left. auto writes it if standard error is a terminal and k6 is not --quiet.",
  ),
  HTTP2: setting(yesNo, false, "Speak HTTP/2 (https: by ALPN; http: by prior knowledge)."),
  STREAM: setting(yesNo, true, "Ask for an event stream; false waits for whole replies."),

  CONTINUOUS_USAGE: setting(
    yesNo,
    false,
    "Ask for token counts in every chunk (vLLM): exact tokens per chunk for ITL.",
  ),

  CONCURRENCY: setting(
    wholes(1, 100_000),
    [1, 2, 4, 8],
    "Number of clients, each of which sends its next request when its previous one completes; a level for each number.",
  ),
  REQUESTS: setting(optional(whole(1, 1e9)), undefined, "Number of steady requests of a level; excludes DURATION."),
  DURATION: setting(optionalDuration, undefined, "Length of a level's steady part; excludes REQUESTS."),
  WARMUP: setting(
    warmup,
    { perSlot: 1 },
    "Warm-up before a level, which is in no metric of the level. The steady part begins without waiting for the last requests of the warm-up.",
  ),
  CLIENTS_PER_VU: setting(
    clientsPerVU,
    "auto",
    "How many clients of a level, or requests in flight of an open load, one k6 VU carries; 1 runs a VU for each.",
  ),
  MAX_DURATION: setting(
    positiveDuration,
    86_400_000,
    "Limit of the whole run; a run that reaches it is cut short and fails.",
  ),

  RATE: setting(
    list("numbers", /^\d+(\.\d+)?$/, 0.001, 1e6),
    [1],
    "Requests a second; a level for each rate, DURATION long.",
  ),
  STAGES: setting(steps, [], "A ramp instead of constant rates: requests a second, or users with LOOP=closed."),
  PATTERN: setting(
    pattern,
    undefined,
    "A rate that repeats itself, DURATION long, instead of constant rates: a sine, or spikes at the end of each period.",
  ),
  RATE_FILE: setting(
    file,
    "",
    "A CSV with the columns time (s) and rate (requests a second) instead of constant rates; see docs/scenarios.md.",
  ),
  ARRIVAL: setting(arrival, { kind: "constant" }, "How arrivals are spread in time."),
  LOOP: setting(oneOf("open", "closed"), "open", "What STAGES counts: arrivals a second (open) or users (closed)."),
  MAX_IN_FLIGHT: setting(
    whole(1, 100_000),
    1000,
    "Maximum of requests in flight at once under an open load; further requests wait.",
  ),
  TRACE: setting(
    anyText,
    "",
    "File of requests with their times: Mooncake and its dialects, Azure, BurstGPT, or prompts with times; see docs/datasets.md.",
  ),
  TRACE_UNIT: setting(
    oneOf("auto", "s", "ms", "us", "ns"),
    "auto",
    "Unit of TRACE's times. auto infers it: numbers with fractions are s, times since 1970 have the unit that fits their number of digits, everything else is ms.",
  ),
  TRACE_BLOCK: setting(
    optional(whole(1, 1_000_000)),
    undefined,
    "Input tokens that one of TRACE's hash_ids stands for; by default the size that fits all rows.",
  ),
  TRACE_WINDOW: setting(traceWindow, undefined, "Part of TRACE that is sent."),
  SPEED: setting(number(0.001, 1e6), 1, "How many times as fast TRACE is sent as it was recorded."),

  MIX: setting(anyText, "", "JSON file of the classes of load that run at once; see docs/scenarios.md."),
  SESSIONS: setting(
    optional(whole(1, 1e9)),
    undefined,
    "Number of conversations of a level, each sent to its last turn. REQUESTS (a number of turns) or DURATION may end a level instead.",
  ),
  SESSION_TURNS: setting(
    distribution,
    { kind: "fixed", value: 4 },
    "Turns of a synthetic conversation: number or distribution.",
  ),
  HISTORY: setting(
    oneOf("auto", "live", "recorded"),
    "auto",
    "Answers in the history of a turn: the server's own (live) or those of the file (recorded); auto takes the file's where it has all of them.",
  ),
  THINK_TIME: setting(
    wait,
    { kind: "recorded" },
    "Wait between an answer and the user's next turn. No latency and no queue delay contains it. A synthetic conversation has no recorded wait: its default is 0.",
  ),
  TOOL_TIME: setting(wait, { kind: "recorded" }, "Wait between a tool call and the turn with its result."),
  TOOL_ROUNDS: setting(
    whole(0, 100),
    0,
    "Maximum of tool calls after one user turn of a synthetic conversation. Above 0 its requests offer the model a tool.",
  ),
  TOOL_TOKENS: setting(
    distribution,
    { kind: "fixed", value: 64 },
    "Length of a tool's result in tokens, with TOOL_ROUNDS.",
  ),
  WAIT_CAP: setting(optionalDuration, undefined, "Upper limit of every THINK_TIME and TOOL_TIME."),
  WAIT_SCALE: setting(number(0, 1000), 1, "Factor for every THINK_TIME and TOOL_TIME, applied before WAIT_CAP."),
  SESSION_HEADER: setting(
    headerName,
    "X-Session-ID",
    "Header with the session's id in every request, for routers that keep a session on one replica; none sends no such header.",
  ),
  SESSION_ECHO: setting(
    headerName,
    "",
    "Header of the server's answers whose value the session's next requests send back, such as x-session-token.",
  ),
  ABANDON: setting(
    abandonment,
    undefined,
    "Share of turns that the client abandons, and when: a time after the request was sent, or a number of output tokens. The session ends there.",
  ),

  SEARCH_START: setting(
    number(0.001, 100_000),
    1,
    "Rate (LOOP=closed: clients) that a search for capacity probes first.",
  ),
  SEARCH_MOST: setting(number(0.001, 100_000), 1000, "The highest rate or number of clients that a search probes."),
  ATTAINMENT: setting(number(50, 99.9), 90, "Share of requests, %, that must meet every SLO for a probe to pass."),
  PRECISION: setting(
    number(1, 100),
    15,
    "The search ends when the lowest load that failed is at most this many % above the highest that passed.",
  ),
  CONFIDENCE: setting(number(50, 99.9), 95, "Probability, %, with which the interval contains the capacity."),
  PROBES: setting(whole(2, 100), 20, "Maximum of probes of a search."),
  PROBE_SD: setting(
    number(0, 20),
    3,
    "By how many % what the server carries differs from probe to probe (a standard deviation); the interval is widened by it.",
  ),
  PROBE_TIME: setting(
    positiveDuration,
    300_000,
    "Maximum length of a probe's steady part; a probe without a result by then is undecided.",
  ),
  PROBE_REQUESTS: setting(
    whole(100, 1_000_000),
    500,
    "Minimum of requests of a probe. Requests close in time influence each other, so a few requests prove little.",
  ),
  PROBE_MOST_REQUESTS: setting(
    whole(100, 1_000_000),
    20_000,
    "Maximum of requests of a probe; a probe without a result by then is undecided.",
  ),

  BATCH_SIZES: setting(
    wholes(1, 100_000),
    [1, 2, 4, 8],
    "Number of requests released at once; a level for each number.",
  ),
  RUNS: setting(whole(1, 10_000), 3, "How often a batch is repeated."),
  STAGGER: setting(duration, 0, "Time between two sends of a batch; 0 releases it at once."),
  REFILL: setting(
    yesNo,
    false,
    "Start a request whenever one of the batch completes, instead of waiting for the slowest.",
  ),
  INPUT_LENGTHS: setting(
    wholes(1, 10_000_000),
    [32, 128, 512, 1024, 2048],
    "Prompt lengths of prompt-ingestion, tokens.",
  ),
  DESCRIPTION: setting(anyText, "", "A text that is copied into the results."),

  DATASET: setting(
    anyText,
    "",
    "Prompts: the name of a shipped set, or a file in any format of docs/datasets.md. Its rows are sent one after the other, through warm-up and all levels. By default prompts are synthetic.",
  ),
  DATASET_LIMIT: setting(optional(whole(1, 1e9)), undefined, "Maximum of DATASET's rows that are used."),
  DATASET_SHUFFLE: setting(
    yesNo,
    false,
    "Shuffles DATASET's rows, in an order that SEED decides, before DATASET_LIMIT is applied.",
  ),
  DATASET_COLUMNS: setting(
    columns,
    [],
    "Roles of DATASET's or TRACE's columns whose names are not known; the role ignore leaves a column out.",
  ),
  TURNS: setting(
    oneOf("auto", "first", "last", "timed"),
    "auto",
    "What is sent of a conversation: its first turn, its last turn with the recorded history, or each turn of a TRACE at its own time; auto sends the first turn of ShareGPT and the like, and refuses other conversations.",
  ),
  INPUT_TOKENS: setting(distribution, { kind: "fixed", value: 128 }, "Input length in tokens: number or distribution."),
  OUTPUT_TOKENS: setting(
    distribution,
    { kind: "fixed", value: 128 },
    "Output length in tokens: number or distribution.",
  ),
  MAX_INPUT_TOKENS: setting(
    optional(whole(1, 10_000_000)),
    undefined,
    "Cuts a dataset's token-id prompts to this length.",
  ),
  MAX_OUTPUT_TOKENS: setting(optional(whole(1, 10_000_000)), undefined, "Upper limit of every output length."),
  IGNORE_EOS: setting(
    yesNo,
    true,
    "Force the output length: min_tokens and ignore_eos are sent, and a request that gets fewer tokens fails.",
  ),
  SHARED_PREFIX: setting(
    whole(0, 10_000_000),
    0,
    "Leading tokens that all prompts of a run share; the rest is unique to each.",
  ),
  PREFIX_GROUPS: setting(
    whole(1, 1_000_000),
    1,
    "How many different shared prefixes there are; each prompt or session begins with one of them.",
  ),
  PREFIX_POPULARITY: setting(popularity, { kind: "uniform" }, "How often each of the PREFIX_GROUPS prefixes is used."),
  TOKEN_IDS: setting(yesNo, false, "Send synthetic prompts as token ids: exact input lengths (completions only)."),
  TEMPERATURE: setting(optional(number(0, 100)), undefined, "Sampling temperature; by default not sent."),
  EXTRA_BODY: setting(jsonObject, {}, "Merged into every request body; null takes a field out."),
  SMOKE: setting(
    yesNo,
    false,
    "Smoke run: sends one request a level and judges failures alone, to see that the test works.",
  ),
  SEED: setting(
    whole(0, 2 ** 31 - 1),
    1,
    "Seed of the workload's lengths, order and arrivals. It is never sent to the server, unless the body of a WIRE has a place for it.",
  ),
  SALT: setting(
    salt,
    "",
    "Decides the words of synthetic prompts. By default every run draws a new one, so that no prefix cache knows the words, and writes it into its results. The same SEED and SALT send the same prompts.",
  ),
  CACHE: setting(
    oneOf("cold", "warm"),
    "cold",
    "What the server's prefix cache may have of the run's prompts. cold: nothing; a run that gets more than 1 % of its input from the cache is CACHE-BOUND and passes no gate. warm: anything; the share is reported. The default is warm with SHARED_PREFIX or with a TRACE that names blocks, else cold.",
  ),
  LENGTHS: setting(anyText, "", "Text lengths: short, medium, long, mixed, or numbers of words such as 10,500."),

  METHOD: setting(oneOf("GET", "POST", "PUT"), "POST", "HTTP method; API=json only."),
  ENDPOINT: setting(urlPath, "", "Path below the host of BASE_URL, or a whole address, instead of the API's own."),
  TARGETS: setting(
    anyText,
    "",
    "File with a path or address in each line; requests go to them one after the other. API=json only.",
  ),
  BODY: setting(anyText, "", "Request body; {{prompt}}, {{model}}, {{max_tokens}} are filled in; API=json only."),
  INPUT_TOKENS_POINTER: setting(jsonPointer, "", "JSON pointer to a reply's input token count; API=json only."),
  OUTPUT_TOKENS_POINTER: setting(jsonPointer, "", "JSON pointer to a reply's output token count; API=json only."),

  METRICS_URL: setting(
    metricsUrls,
    [],
    "Prometheus metrics pages that are polled, such as those of the server and its GPUs; by default /metrics on BASE_URL's host. Keys go to BASE_URL's own host only.",
  ),
  METRICS: setting(metricNames, "auto", "Which metrics of METRICS_URL are read; auto reads those of all presets."),
  METRICS_INTERVAL: setting(positiveDuration, 1000, "Time between two polls of METRICS_URL."),
  POWER_METRIC: setting(
    powerMetric,
    "",
    "Metric of METRICS_URL with the power or energy of the whole server, for joules per token; by default DCGM's or Triton's.",
  ),
  SPEED_THRESHOLD: setting(
    number(0, 1e6),
    20,
    "Minimum of tokens/s of one request that the report counts as fast enough.",
  ),
  PHASE: setting(oneOf("both", "full", "prefill"), "both", "Which half of prefill-decode to run."),
  PAUSE: setting(duration, 0, "Idle time between the phases of prefill-decode."),
  RESET_URL: setting(
    urlPath,
    "",
    "Gets a POST before each phase of prefill-decode, to empty the server's prefix cache; for example /reset_prefix_cache. On another host than BASE_URL's it gets no key and no headers.",
  ),
  BETWEEN: setting(
    command,
    "",
    "Command that `npm start` runs between the phases of prefill-decode, such as a restart of the server; never written anywhere.",
  ),
  BETWEEN_TIMEOUT: setting(
    positiveDuration,
    600_000,
    "Time limit of BETWEEN's command, and again of the wait until BASE_URL answers after it.",
  ),

  SLICES: setting(whole(8, 1000), 10, "Equal parts of a soak's DURATION that are compared."),
  DRIFT_LIMIT: setting(
    number(0, 1000),
    5,
    "How many percent a soak's TTFT and TPOT may rise and its throughput may fall over DURATION. A change that may be chance is no drift.",
  ),
  CLIENT_MEMORY_LIMIT: setting(
    number(0, 1_000_000),
    256,
    "How many MB the memory of the client, of each of several runners, may grow over a soak's DURATION.",
  ),
  CURVE_PROFILE: setting(
    oneOf("short", "full"),
    "short",
    "How long each point of endpoints-curve lasts. short: 10 s for the lowest concurrency and 20 s for the others, or DURATION for all. full: 600 s and 1200 s, as the rules of MLPerf Endpoints ask.",
  ),
  CURVE_MIN: setting(whole(1, 32), 1, "The lowest concurrency of endpoints-curve, without CONCURRENCY."),
  CURVE_MAX: setting(whole(33, 100_000), 256, "The highest concurrency of endpoints-curve, without CONCURRENCY."),
  PRESET: setting(
    optional(oneOf(...presetNames)),
    undefined,
    "Makes the lengths and SLOs of a known workload the defaults, [listed below](#presets).",
  ),

  THRESHOLDS: setting(
    anyText,
    "smoke",
    "Threshold profile: smoke, interactive, batch, none, or a JSON file, [described below](#threshold-profiles).",
  ),
  SLO_TTFT: setting(sloMs, undefined, "Limit of the time to first token, ms: gated and counted into goodput."),
  SLO_TPOT: setting(sloMs, undefined, "Limit of the time per output token, ms: gated and counted into goodput."),
  SLO_E2E: setting(sloMs, undefined, "Limit of the end-to-end latency, ms: gated and counted into goodput."),
  SLO_PERCENTILE: setting(number(1, 100), 95, "Percentile of each level that the SLOs above gate."),
  PRICE_INPUT: setting(optional(number(0, 1e6)), undefined, "Dollars for a million input tokens; with PRICE_OUTPUT."),
  PRICE_OUTPUT: setting(optional(number(0, 1e6)), undefined, "Dollars for a million output tokens; with PRICE_INPUT."),
  PRICE_CACHED: setting(
    optional(number(0, 1e6)),
    undefined,
    "Dollars for a million input tokens from the server's prefix cache; by default PRICE_INPUT.",
  ),
  PRICE_HOUR: setting(
    optional(number(0, 1e6)),
    undefined,
    "Dollars for an hour of the whole server, instead of prices for tokens.",
  ),
  RUNNERS: setting(
    whole(1, 1000),
    1,
    "Instances of k6 that run the load together, each with its --execution-segment; see docs/distributed.md.",
  ),
  COORDINATOR: setting(
    coordinatorUrl,
    "",
    "Address of `k6 x tokenclock coordinate`, where several instances meet. Levels, bursts and arrivals of several instances need it.",
  ),
  COORDINATOR_TOKEN: setting(
    secret,
    "",
    "The secret that instances and coordinator share, better set in the environment; never written anywhere.",
  ),
  COORDINATOR_TOKEN_FILE: setting(file, "", "File with the secret, instead of COORDINATOR_TOKEN."),
  RESULTS: setting(
    folder,
    "",
    "Folder for the run's result files, created if missing; files of an earlier run in it are moved aside. By default `npm start` creates a new folder below results/, and `bin/k6 run` writes no files.",
  ),
};

/** A setting's name. */
export type SettingName = keyof typeof settings;

/** Whether there is a setting of this name. */
export function isSettingName(text: string): text is SettingName {
  return Object.hasOwn(settings, text);
}

type ValueOf<N extends SettingName> = (typeof settings)[N]["initial"];

/** The effective settings. Durations are ms. */
export type Settings = { readonly [N in SettingName]: ValueOf<N> };

/** A scenario's own defaults; lengths may be written as plain numbers. */
export type Defaults = {
  readonly [N in SettingName]?: ValueOf<N> extends Distribution ? Distribution | number : ValueOf<N>;
};

/** Settings by name as the environment holds them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The effective settings: built-in default < scenario's default < environment. A scenario's default that would override a
 * setting of the environment is none (replaced-defaults.ts).
 * @throws SettingError for the first value that is not allowed.
 */
export function parseSettings(environment: Environment, ofScenario: Defaults): Settings {
  const values: Record<string, unknown> = {};
  const names = (Object.keys(environment) as SettingName[]).filter((name) => environment[name] !== undefined);
  const defaults = keptDefaults(names, ofScenario);
  for (const name of Object.keys(settings) as SettingName[]) {
    const kind = settings[name] as Setting<unknown>;
    const given = environment[name];
    if (given === undefined) {
      values[name] = fromDefault(name, defaults) ?? kind.initial;
      continue;
    }
    if (given.trim() === "") throw new SettingError(`${name}= is empty; it is ${kind.allowed}`);
    const value = kind.parse(given.trim());
    if (value === undefined) throw new SettingError(`${name}=${shownValue(name, given)} is not ${kind.allowed}`);
    values[name] = value;
  }
  requireOneOf(boundSettings, environment, "both bound a level");
  requireOneOf(rateSettings, environment, "both say how many requests a second");
  requireBound(environment, defaults);
  requireUsed(environment, values as Settings);
  requireAccess(values as Settings);
  requirePrices(values as Settings);
  requireFile(environment, values as Settings);
  // A scenario's own choice of token ids is one for the APIs that take them.
  if (!takesTokenIds(values as Settings)) values.TOKEN_IDS = false;
  return Object.freeze(values) as Settings;
}

/** @throws SettingError where the environment says one thing in two ways. */
function requireOneOf(names: readonly SettingName[], environment: Environment, why: string): void {
  const [one, other] = names.filter((name) => environment[name] !== undefined);
  if (one === undefined || other === undefined) return;
  throw new SettingError(`${one}=${environment[one]} and ${other}=${environment[other]} ${why}; set one of them`);
}

/**
 * @throws SettingError for a DURATION that a scenario's own ramp would ignore. Other scenarios have no use for STAGES, and their
 * levels one for DURATION.
 */
function requireBound({ DURATION: duration }: Environment, defaults: Defaults): void {
  if (duration === undefined || defaults.STAGES === undefined) return;
  throw new SettingError(
    `DURATION=${duration} is how long a constant RATE or a PATTERN lasts; set one of them, or only STAGES for a ramp`,
  );
}

/** @throws SettingError for prices of both kinds, and for half a price list. */
function requirePrices({ PRICE_INPUT: input, PRICE_OUTPUT: output, PRICE_CACHED: cached, PRICE_HOUR: hour }: Settings) {
  if ((input === undefined) !== (output === undefined)) {
    throw new SettingError("PRICE_INPUT and PRICE_OUTPUT go together; set both (0 is a price, too)");
  }
  if (cached !== undefined && input === undefined) {
    throw new SettingError("PRICE_CACHED is set without PRICE_INPUT and PRICE_OUTPUT; set them, too");
  }
  if (hour !== undefined && input !== undefined) {
    throw new SettingError("PRICE_HOUR and PRICE_INPUT are two ways to pay for the same tokens; set one of them");
  }
}

const takesTokenIds = ({ API: api }: Settings) => api === "completions" || api === "embeddings";

/** Settings that only API=json has a use for. */
const jsonOnly = ["METHOD", "TARGETS", "BODY", "INPUT_TOKENS_POINTER", "OUTPUT_TOKENS_POINTER"] as const;

/** @throws SettingError for a setting that the API would ignore or take for something else, or lacks. */
function requireUsed(environment: Environment, values: Settings): void {
  const { API: api } = values;
  if (environment.TOKEN_IDS !== undefined && values.TOKEN_IDS && !takesTokenIds(values)) {
    throw new SettingError(`TOKEN_IDS=${environment.TOKEN_IDS}: API=${api} takes no token ids; set API=completions`);
  }
  for (const name of jsonOnly) {
    if (api === "json" || environment[name] === undefined || values[name] === settings[name].initial) continue;
    throw new SettingError(`${name} is set, but API=${api} has no use for it: it is for API=json only`);
  }
  if (api === "custom" ? values.WIRE === "" : environment.WIRE !== undefined) {
    throw new SettingError(
      api === "custom"
        ? "API=custom needs WIRE, the file that describes it"
        : `WIRE=${environment.WIRE} describes an API, but API=${api} is another one; set API=custom`,
    );
  }
  if (api === "json" && values.ENDPOINT === "" && values.TARGETS === "") {
    throw new SettingError("API=json needs ENDPOINT or TARGETS: there is no path that all JSON APIs have");
  }
}

/** Settings that say how a file is read, by the settings that name one. */
const fileSettings = [
  { names: ["DATASET_LIMIT", "DATASET_SHUFFLE"], files: ["DATASET"] },
  { names: ["DATASET_COLUMNS", "TURNS"], files: ["DATASET", "TRACE"] },
  { names: ["TRACE_UNIT", "TRACE_BLOCK", "TRACE_WINDOW", "SPEED"], files: ["TRACE"] },
] as const;

/** @throws SettingError for a setting of a file where no file is set. */
function requireFile(environment: Environment, values: Settings): void {
  for (const { names, files } of fileSettings) {
    // A run's settings can be set again as they are shown, defaults too.
    const given = names.find((name) => environment[name] !== undefined && values[name] !== settings[name].initial);
    if (given === undefined || files.some((file) => values[file] !== "")) continue;
    throw new SettingError(
      `${given}=${environment[given]} says how the file of ${files.join(" or ")} is read; set that, or leave ${given} out`,
    );
  }
}

/** The value of one setting; undefined where the text is not allowed. */
export function parseSetting(name: SettingName, text: string): unknown {
  return settings[name].parse(text);
}

/** The settings without secrets, in a form to be read and set again: all, or those of the given names. */
export function shownSettings(
  of: Settings,
  names: readonly SettingName[] = Object.keys(settings) as SettingName[],
): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const name of names) {
    const value = (settings[name] as Setting<unknown>).show(of[name]);
    if (value !== undefined) shown[name] = value;
  }
  // Not in use then; set again beside STAGES it would be refused.
  if (of.STAGES.length > 0 || of.PATTERN !== undefined || of.RATE_FILE !== "") delete shown.RATE;
  return shown;
}

/** The default of a setting where a test has none of its own, as one would type it; "" where there is none. */
export function shownDefault(name: SettingName): string {
  const { initial, show } = settings[name] as Setting<unknown>;
  const shown = show(initial);
  return typeof shown === "object" ? JSON.stringify(shown) : String(shown ?? "");
}

/** docs/settings.md's table, in Markdown. */
export function settingsMarkdown(): string {
  const rows = (Object.keys(settings) as SettingName[]).map((name) => {
    const { doc, allowed } = settings[name];
    const text = shownDefault(name);
    const code = text === "" ? "" : `\`${text}\``;
    return `| \`${name}\` | ${doc} | ${allowed} | ${code} |`;
  });
  return ["| setting | meaning | allowed | default |", "|---|---|---|---|", ...rows, ""].join("\n");
}

/** Insertions, deletions, replacements and swaps of neighbours that lead from one text to the other. */
export function editDistance(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1];
      let best = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]) {
        best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      }
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[to.length] ?? 0;
}

function fromDefault(name: SettingName, defaults: Defaults): unknown {
  const value = defaults[name];
  const lengths = name === "INPUT_TOKENS" || name === "OUTPUT_TOKENS";
  return lengths && typeof value === "number" ? { kind: "fixed", value } : value;
}

function shownValue(name: SettingName, text: string): string {
  if (/^(API_KEY|API_KEY_COMMAND|OAUTH_CLIENT_SECRET|HEADERS|BETWEEN)$/.test(name)) return "(hidden)";
  if (name === "METRICS_URL") return splitUrls(text).map(showAddress).join(",");
  return /^(BASE_URL|ENDPOINT|RESET_URL|OAUTH_TOKEN_URL)$/.test(name) ? showAddress(text) : text;
}
