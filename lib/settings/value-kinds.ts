/** The kinds of values that settings have: how each is read, shown, and described in messages. Pure. */
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
import { showAddress } from "./address";
import { formatDurationMs, parseDurationMs } from "./duration";
import type { WireDescription } from "./wire-description";

/** A kind of value: how it is read, shown in results, and described in messages ("is not ..."). */
export interface Kind<T> {
  readonly allowed: string;
  /** undefined: not allowed. */
  parse(text: string): T | undefined;
  /** A form fit for results and logs; secrets are left out here. */
  show(value: T): unknown;
  /** A text that is refused as its message shows it: without what may be a secret in it. By default the text itself. */
  conceal?(text: string): string;
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
const hidden = (): string => "(hidden)";

/** Addresses that are none. A password may have any character, a slash and a comma among them, and a key may stand behind #. */
const concealAddresses = (text: string): string =>
  showAddress(text.replace(/^(\w+:\/\/)?.*@/s, "$1").replace(/#.*/s, "#****"));

export const anyText: Kind<string> = { allowed: "a text", parse: (text) => text, show: asIs };

/** Any text; `allowed` says which ones make sense, where a file or the scenario decides. */
export const textOf = (allowed: string): Kind<string> => ({ ...anyText, allowed });

export const file: Kind<string> = { allowed: "a file", parse: (text) => text || undefined, show: asIs };

export const word: Kind<string> = {
  allowed: "one word",
  parse: (text) => (/^[\x21-\x7e]+$/.test(text) ? text : undefined),
  show: asIs,
};

export const folder: Kind<string> = { allowed: "a folder", parse: (text) => text || undefined, show: asIs };

export const secret: Kind<string> = {
  allowed: "a text",
  parse: (text) => (/^[\x20-\x7e]*$/.test(text) ? text : undefined),
  show: (value) => (value === "" ? "" : "(set)"),
  conceal: hidden,
};

export const command: Kind<string> = {
  allowed: "a shell command",
  parse: (text) => text,
  // A command may hold a key.
  show: (value) => (value === "" ? undefined : "(set)"),
  conceal: hidden,
};

export const baseUrl: Kind<string> = {
  allowed: "an address such as http://127.0.0.1:8000/v1 (http://, https:// or unix:///socket:/path)",
  // The API's paths are put before the query, which Azure's address has.
  parse: (text) =>
    /^(https?:\/\/[^\s/?#]+|unix:\/\/\/[^\s:?#]+:)(\/[^\s?#]*)?(\?[^\s#]+)?$/.test(text) && hasHost(text)
      ? text.replace(/\/+(?=$|\?)/, "")
      : undefined,
  show: showAddress,
  conceal: concealAddresses,
};

/** Whether an http:// or https:// address has a host, and a port that there can be. */
function hasHost(address: string): boolean {
  const [, host = ""] = /^https?:\/\/(?:[^/@]*@)?([^/?#]*)/.exec(address) ?? [];
  const port = /:(\d+)$/.exec(host)?.[1];
  return address.startsWith("unix:") || (/^[^:]/.test(host) && (port === undefined || Number(port) <= 65_535));
}

export const anyUrl: Kind<string> = {
  allowed: "an address with http:// or https://",
  parse: (text) => (/^https?:\/\/\S+$/.test(text) && hasHost(text) ? text : undefined),
  show: showAddress,
  conceal: concealAddresses,
};

export const origins: Kind<readonly string[]> = {
  allowed: "addresses such as https://other.example.com:8443, without a path, separated by commas",
  parse: (text) => {
    const list = text.split(/\s*,\s*/);
    return list.every((each) => /^https?:\/\/[^\s/?#@\\]+$/.test(each) && hasHost(each)) ? list : undefined;
  },
  show: (value) => value.join(",") || undefined,
  conceal: concealAddresses,
};

export const coordinatorUrl: Kind<string> = {
  allowed: "an address such as https://coordinator:7431, without a path",
  parse: (text) => (/^https?:\/\/[^\s/?#@]+\/?$/.test(text) && hasHost(text) ? text.replace(/\/$/, "") : undefined),
  show: asIs,
  conceal: concealAddresses,
};

export const metricsUrls: Kind<readonly string[] | "none"> = {
  allowed: "addresses with http:// or https://, separated by commas, or none",
  parse: (text) => {
    if (text === "none") return "none";
    const urls = splitUrls(text);
    return urls.every((url) => anyUrl.parse(url) !== undefined) && new Set(urls).size === urls.length
      ? urls
      : undefined;
  },
  show: (value) => (value === "none" ? value : value.map(showAddress).join(",") || undefined),
  conceal: concealAddresses,
};

const splitUrls = (text: string): string[] => text.split(/\s*,\s*(?=https?:)/);

export const metricNames: Kind<string> = {
  allowed: `auto, presets (${metricPresets.join(", ")}) and names of metrics such as vllm:num_* or mean(power{gpu="0"}), separated by commas`,
  parse: (text) => {
    const items = metricsItems(text);
    return items.length > 0 && items.every((item) => parseMetricsItem(item) !== undefined) ? text : undefined;
  },
  show: asIs,
};

export const powerMetric: Kind<string> = {
  allowed: powerMetricSyntax,
  parse: (text) => (parsePowerMetric(text) ? text : undefined),
  show: (value) => value || undefined,
};

export const urlPath: Kind<string> = {
  allowed: "a path that begins with / or an address with http:// or https://",
  parse: (text) => (/^\/\S*$/.test(text) || (/^https?:\/\/\S+$/.test(text) && hasHost(text)) ? text : undefined),
  show: showAddress,
  conceal: concealAddresses,
};

/** A file of the user's, or, as a script's own default, the description itself. */
export const wireFile: Kind<string | WireDescription> = {
  allowed: "a JSON file",
  parse: (text) => text,
  show: (value) => (typeof value === "string" ? value || undefined : (value.name ?? "(of the script)")),
};

export const jsonPointer: Kind<string> = {
  allowed: "a JSON pointer such as /usage/total_tokens",
  parse: (text) => (text.startsWith("/") ? text : undefined),
  show: asIs,
};

export const duration: Kind<number> = {
  allowed: "a duration such as 500ms, 30s, 1m30s or 2h",
  parse: parseDurationMs,
  show: formatDurationMs,
};

export const positiveDuration: Kind<number> = {
  ...duration,
  allowed: `${duration.allowed} and longer than 0`,
  parse: (text) => parseDurationMs(text) || undefined,
};

export const optionalDuration: Kind<number | undefined> = {
  allowed: positiveDuration.allowed,
  parse: positiveDuration.parse,
  show: (value) => (value === undefined ? undefined : formatDurationMs(value)),
};

export const yesNo: Kind<boolean> = {
  allowed: "true or false (1, 0, yes and no are the same)",
  parse: (text) => ({ true: true, "1": true, yes: true, false: false, "0": false, no: false })[text.toLowerCase()],
  show: asIs,
};

export const distribution: Kind<Distribution> = {
  allowed: distributionSyntax,
  parse: parseDistribution,
  show: formatDistribution,
};

export const arrival: Kind<Arrival> = {
  allowed: "constant, poisson or gamma:CV with CV above 0",
  parse: (text) => {
    if (text === "constant" || text === "poisson") return { kind: text };
    const cv = Number(/^gamma:(\d+(?:\.\d+)?)$/.exec(text)?.[1]);
    return cv > 0 ? { kind: "gamma", cv } : undefined;
  },
  show: (value) => (value.kind === "gamma" ? `gamma:${value.cv}` : value.kind),
};

export const pattern: Kind<Pattern | undefined> = {
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

export const warmup: Kind<Warmup> = {
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

export const clientsPerVU: Kind<"auto" | number> = {
  allowed: "auto (a few VUs carry all clients) or a whole number from 1 to 100000",
  parse: (text) => (text === "auto" ? text : within(text, /^\d{1,10}$/, 1, 100_000)),
  show: asIs,
};

export const steps: Kind<readonly LoadStep[]> = {
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

export const headers: Kind<Readonly<Record<string, string>>> = {
  allowed: 'a JSON object of texts, such as {"X-Team": "search"}',
  parse: (text) => {
    const value = parseJsonObject(text);
    return value && Object.values(value).every((each) => typeof each === "string")
      ? (value as Record<string, string>)
      : undefined;
  },
  // Headers carry keys: their names are results, their values are not.
  show: (value) => Object.fromEntries(Object.keys(value).map((name) => [name, "(set)"])),
  conceal: hidden,
};

export const jsonObject: Kind<Readonly<Record<string, unknown>>> = {
  allowed: 'a JSON object, such as {"top_p": 0.9}',
  parse: parseJsonObject,
  show: asIs,
};

export const salt: Kind<string> = {
  allowed: "1 to 64 letters, digits, dots, hyphens and underscores",
  parse: (text) => (saltPattern.test(text) ? text : undefined),
  show: (value) => value || undefined,
};

export const columns: Kind<readonly Column[]> = {
  allowed: `ROLE=COLUMN,... with the roles ${columnRoles.join(", ")}, such as prompt=user_query,system=system_message`,
  parse: (text) => {
    const parsed = text.split(",").map((word) => /^\s*(\w+)=(.+?)\s*$/.exec(word));
    if (!parsed.every((each) => each !== null && columnRoles.includes(each[1] ?? ""))) return undefined;
    return parsed.map((each) => ({ role: each?.[1] ?? "", column: each?.[2] ?? "" }));
  },
  show: (value) => value.map(({ role, column }) => `${role}=${column}`).join(",") || undefined,
};

export const wait: Kind<Wait> = {
  allowed:
    "recorded (as the file has it), a duration such as 2s or 0, or a distribution in ms such as lognormal:4000:3000",
  parse: parseWait,
  show: formatWait,
};

export const abandonment: Kind<Abandon | undefined> = {
  allowed: "SHARE:AFTER with a share above 0 up to 1 and a time or a number of tokens, such as 0.1:2s or 0.1:20tokens",
  parse: parseAbandon,
  show: (value) => value && formatAbandon(value),
};

export const popularity: Kind<Popularity> = {
  allowed: "uniform or zipf:EXPONENT with an exponent above 0",
  parse: parsePopularity,
  show: formatPopularity,
};

export const headerName: Kind<string> = {
  allowed: "the name of a header, or none",
  parse: (text) => (/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(text) ? text : undefined),
  show: (value) => value || undefined,
};

export const traceWindow: Kind<Window | undefined> = {
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

export function oneOf<const T extends string>(...names: T[]): Kind<T> {
  return {
    allowed: `one of ${names.join(", ")}`,
    parse: (text) => names.find((name) => name === text),
    show: asIs,
  };
}

export function whole(low: number, high: number): Kind<number> {
  return {
    allowed: `a whole number from ${low} to ${high}`,
    parse: (text) => within(text, /^\d{1,10}$/, low, high),
    show: asIs,
  };
}

export function optional<T>(kind: Kind<T>): Kind<T | undefined> {
  return { ...kind, show: (value) => (value === undefined ? undefined : kind.show(value)) };
}

export function wholes(low: number, high: number): Kind<readonly number[]> {
  return list("whole numbers", /^\d{1,10}$/, low, high);
}

export function list(what: string, pattern: RegExp, low: number, high: number): Kind<readonly number[]> {
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

export function number(low: number, high: number): Kind<number> {
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
