/** A mix of classes of load in one run, read from the JSON that MIX names or from a script. Pure. */
import type { LevelGate } from "../figures/level-gate";
import { beforeLoad } from "../lazy";
import type { Config } from "./parse-config";
import { SettingError } from "./setting-error";
import type { SettingName } from "./settings";

/** One class: what it sends, how often, and what it must keep. */
export interface MixClass extends LevelGate {
  readonly name: string;
  /** Requests, or with `sessions` conversations, a second. Without it and `concurrency` the rate is that of config's PATTERN or RATE_FILE. */
  readonly rate?: number;
  /** Clients, or conversations, at once. */
  readonly concurrency?: number;
  readonly sessions: boolean;
  /** The run's settings with those of the class. */
  readonly config: Config;
}

/** Settings that a class may have of its own: what is sent, and to which model. */
const ownSettings: readonly SettingName[] = [
  ...(["DATASET", "DATASET_LIMIT", "DATASET_SHUFFLE", "DATASET_COLUMNS", "TURNS", "INPUT_TOKENS"] as const),
  ...(["MAX_INPUT_TOKENS", "SHARED_PREFIX", "PREFIX_GROUPS", "PREFIX_POPULARITY", "TOKEN_IDS"] as const),
  ...(["OUTPUT_TOKENS", "MAX_OUTPUT_TOKENS", "IGNORE_EOS", "STREAM", "CONTINUOUS_USAGE", "TEMPERATURE"] as const),
  ...(["BASE_URL", "EXTRA_BODY", "HEADERS", "ENDPOINT", "TIMEOUT", "ARRIVAL"] as const),
  ...(["SESSION_TURNS", "HISTORY", "THINK_TIME", "TOOL_TIME", "WAIT_CAP", "WAIT_SCALE", "ABANDON"] as const),
  ...(["TOOL_ROUNDS", "TOOL_TOKENS", "SESSION_HEADER", "SESSION_ECHO"] as const),
];

/** How much a class sends: it has one of these. */
const amounts = ["share", "rate", "concurrency", "pattern", "rateFile"] as const;

const fields = ["name", ...amounts, "sessions", "model", "api", "settings", "slo", "thresholds"];

/** A class as a script writes it. One of rate, concurrency, share, pattern and rateFile says how much it sends. */
export interface ClassSpec {
  /** Requests, or with `users` sessions, a second. */
  readonly rate?: number;
  /** Clients, or with `users` sessions, at once. */
  readonly concurrency?: number;
  /** Part of RATE; all shares are 1 together. */
  readonly share?: number;
  /** A rate that changes over time, as the settings PATTERN and RATE_FILE take it. */
  readonly pattern?: string;
  readonly rateFile?: string;
  /** Lengths in tokens, a number or a distribution such as "lognormal:200:80", and the file that prompts come from, as DATASET takes it. */
  readonly prompts?: {
    readonly input?: number | string;
    readonly output?: number | string;
    readonly dataset?: string;
  };
  /** Its model; by default the run's. */
  readonly model?: string;
  /** Its API, as the setting API takes it; by default the run's. */
  readonly api?: string;
  /** Its server's BASE_URL; by default the run's. Another host is sent neither the run's key nor its HEADERS. */
  readonly server?: string;
  /** The key of that server. */
  readonly key?: string;
  /** Fields of all its bodies, beside those of EXTRA_BODY. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** Headers of all its requests, beside HEADERS. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Other settings of its own, by name and as -e would set them, such as {STREAM: false}. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Its SLOs, which goodput counts: ms, or a percentile's limit such as "p(95)<300". */
  readonly slo?: { readonly ttft?: number | string; readonly tpot?: number | string; readonly e2e?: number | string };
  /** Its other limits by metric, in k6's language, such as {llm_itl_p99: "value<50"}. */
  readonly thresholds?: Readonly<Record<string, string | readonly string[]>>;
}

/** The classes of a mix: MIX's file. @throws SettingError that names the class, the field and what is allowed. */
export function parseMix(text: string, config: Config): MixClass[] {
  const fail = (line: string): never => {
    throw new SettingError(`MIX=${config.MIX}: ${line}`);
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return fail(`it is not JSON (${error instanceof Error ? error.message : error})`);
  }
  const { classes, ...rest } = (isObject(json) ? json : fail("it is no JSON object")) as Record<string, unknown>;
  const other = Object.keys(rest)[0];
  if (other !== undefined) fail(`${other} is not known; the file has classes alone`);
  return mixOf(classes, config, fail);
}

/**
 * The classes that a script gives by name, `users` being those whose sessions the script holds itself.
 * @throws SettingError that names the class, the field and what is allowed.
 */
export function parseClasses(
  classes: Readonly<Record<string, ClassSpec>>,
  users: readonly string[],
  config: Config,
): MixClass[] {
  const fail = (line: string): never => {
    throw new SettingError(`classes(): ${line}`);
  };
  const list = Object.entries(classes).map(([name, of]) => {
    const { prompts = {}, server, key, body, headers, settings, ...rest } = of;
    const unknown = Object.keys(prompts).find((field) => !["input", "output", "dataset"].includes(field));
    if (unknown !== undefined) fail(`class ${name}: prompts has ${unknown}; it may have input, output and dataset`);
    const given = {
      INPUT_TOKENS: prompts.input,
      OUTPUT_TOKENS: prompts.output,
      DATASET: prompts.dataset,
      BASE_URL: server,
      API_KEY: key,
      EXTRA_BODY: body && { ...config.EXTRA_BODY, ...body },
      // Those of the run may hold a key, which another server must not get.
      HEADERS: headers && { ...(beforeLoad().ofAnotherHost(server, config) ? {} : config.HEADERS), ...headers },
      ...settings,
    };
    const set = Object.entries(given).flatMap(([setting, value]) =>
      value === undefined ? [] : [[setting, beforeLoad().asSet(value)]],
    );
    return { ...rest, name, sessions: users.includes(name), settings: Object.fromEntries(set) };
  });
  return mixOf(list, config, fail, ["API_KEY"]);
}

/** A share is one of the run's RATE, which all shares together make up. */
function mixOf(classes: unknown, config: Config, fail: Wrong, more: readonly SettingName[] = []): MixClass[] {
  if (!Array.isArray(classes) || classes.length === 0) return fail("classes is no list of classes");
  const names = new Set<string>();
  let shares = 0;
  const parsed = classes.map((value, k): MixClass => {
    const of = (isObject(value) ? value : fail(`class ${k + 1} is no JSON object`)) as Record<string, unknown>;
    const { name } = of;
    if (typeof name !== "string" || !/^\w[\w-]{0,39}$/.test(name) || names.has(name)) {
      return fail(
        `class ${k + 1} has the name ${JSON.stringify(name)}; it is 1 to 40 letters, digits, _ and -, once each`,
      );
    }
    names.add(name);
    const wrong = (line: string): never => fail(`class ${name}: ${line}`);
    const unknown = Object.keys(of).find((field) => !fields.includes(field));
    if (unknown !== undefined) wrong(`${unknown} is not known; a class has ${fields.join(", ")}`);
    const number = (field: string): number | undefined => {
      const given = of[field];
      if (given === undefined) return undefined;
      return typeof given === "number" && given > 0
        ? given
        : wrong(`${field} ${JSON.stringify(given)} is no number above 0`);
    };
    const [share, rate, concurrency] = [number("share"), number("rate"), number("concurrency")];
    if (amounts.filter((field) => of[field] !== undefined).length !== 1) wrong(`it has one of ${amounts.join(", ")}`);
    if (concurrency !== undefined && !Number.isInteger(concurrency))
      wrong(`concurrency ${concurrency} is no whole number`);
    const [total] = config.RATE;
    if (share !== undefined && (total === undefined || config.RATE.length > 1)) {
      wrong("a share is one of RATE, which is to be one number");
    }
    shares += share ?? 0;
    const sessions = of.sessions ?? false;
    if (typeof sessions !== "boolean") wrong(`sessions ${JSON.stringify(sessions)} is neither true nor false`);
    return {
      name,
      ...(share !== undefined || rate !== undefined ? { rate: rate ?? (share ?? 0) * (total ?? 0) } : {}),
      ...(concurrency !== undefined ? { concurrency } : {}),
      sessions: sessions === true,
      config: classConfig(config, name, of, wrong, more),
      ...gateOf(of, wrong),
    };
  });
  if (shares > 0 && Math.abs(shares - 1) > 1e-6) fail(`the shares add up to ${Number(shares.toFixed(6))}, not to 1`);
  if (shares === 0 && config.RATE.length > 0) fail("RATE is set, but no class has a share of it; leave it out");
  return parsed;
}

type Wrong = (line: string) => never;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The run's settings with those of a class, checked as those of a command line. */
function classConfig(
  config: Config,
  name: string,
  of: Record<string, unknown>,
  wrong: Wrong,
  more: readonly SettingName[],
): Config {
  const own = of.settings ?? {};
  if (!isObject(own)) return wrong("settings is no JSON object");
  const given: Record<string, string> = {};
  const set = (field: string, setting: string, value: unknown) => {
    if (value === undefined) return;
    if (typeof value !== "string") wrong(`${field} ${JSON.stringify(value)} is no text`);
    given[setting] = String(value);
  };
  set("model", "MODEL", of.model);
  set("api", "API", of.api);
  set("pattern", "PATTERN", of.pattern);
  set("rateFile", "RATE_FILE", of.rateFile);
  for (const [setting, value] of Object.entries(own)) {
    if (!([...ownSettings, ...more] as readonly string[]).includes(setting)) {
      wrong(`settings has ${setting}; a class may have ${ownSettings.join(", ")}`);
    }
    given[setting] = beforeLoad().asSet(value);
  }
  try {
    return beforeLoad().partConfig(config, name, given);
  } catch (error) {
    return wrong(error instanceof Error ? error.message : String(error));
  }
}

/** SLOs and limits of a class. An SLO that is a percentile's limit is both. */
function gateOf({ slo, thresholds }: Record<string, unknown>, wrong: Wrong): LevelGate {
  const limits = limitsOf(thresholds, wrong);
  if (slo === undefined) return { sloMs: {}, limits };
  if (!isObject(slo)) return wrong("slo is no JSON object");
  const sloMs: Record<string, number> = {};
  for (const [name, given] of Object.entries(slo)) {
    const metric = Object.hasOwn(sloMetrics, name) ? sloMetrics[name as keyof typeof sloMetrics] : undefined;
    if (metric === undefined) return wrong(`slo has ${name}; it may have ttft, tpot and e2e, in ms`);
    const limit = typeof given === "string" ? given.replace(/\s+/g, "") : undefined;
    const ms = limit === undefined ? given : Number(/^p\(\d+(?:\.\d+)?\)<=?(\d+(?:\.\d+)?)$/.exec(limit)?.[1]);
    if (typeof ms !== "number" || !(ms > 0)) {
      return wrong(`slo.${name} ${JSON.stringify(given)} is no number of ms above 0, nor a limit such as "p(95)<300"`);
    }
    sloMs[name] = ms;
    if (limit !== undefined) limits[metric] = [limit, ...(limits[metric] ?? [])];
  }
  return { sloMs, limits };
}

const sloMetrics = { ttft: "llm_ttft", tpot: "llm_tpot", e2e: "llm_e2e_latency" } as const;

function limitsOf(limits: unknown, wrong: Wrong): Record<string, string[]> {
  if (limits === undefined) return {};
  if (!isObject(limits)) return wrong('thresholds is no JSON object such as {"llm_ttft": ["p(99)<500"]}');
  const parsed: Record<string, string[]> = {};
  for (const [metric, value] of Object.entries(limits)) {
    const expressions = (Array.isArray(value) ? value : [value]) as unknown[];
    for (const each of expressions) {
      try {
        beforeLoad().parseThreshold(metric, each);
      } catch (error) {
        wrong(error instanceof Error ? error.message : String(error));
      }
    }
    parsed[metric] = expressions.map((each) => String(each).replace(/\s+/g, ""));
  }
  return parsed;
}
