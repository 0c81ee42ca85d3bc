/** A mix of classes of load in one run, read from the JSON that MIX names. Pure. */
import type { LevelGate } from "../figures/level-gate";
import type { SloMs } from "../figures/level-summary";
import { parseThreshold } from "../figures/threshold";
import type { Config } from "./parse-config";
import { SettingError } from "./setting-error";
import { parseSettings, type SettingName } from "./settings";

/** One class: what it sends, how often, and what it must keep. */
export interface MixClass extends LevelGate {
  readonly name: string;
  /** Requests, or with `sessions` conversations, a second. */
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
  ...(["EXTRA_BODY", "HEADERS", "ENDPOINT", "TIMEOUT", "ARRIVAL"] as const),
  ...(["SESSION_TURNS", "HISTORY", "THINK_TIME", "TOOL_TIME", "WAIT_CAP", "WAIT_SCALE", "ABANDON"] as const),
  ...(["TOOL_ROUNDS", "TOOL_TOKENS", "SESSION_HEADER", "SESSION_ECHO"] as const),
];

const fields = ["name", "share", "rate", "concurrency", "sessions", "model", "api", "settings", "slo", "thresholds"];

/**
 * The classes of a mix. A share is one of the run's RATE, which all shares together make up.
 * @throws SettingError that names the class, the field and what is allowed.
 */
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
    if ([share, rate, concurrency].filter((each) => each !== undefined).length !== 1) {
      wrong("it has one of share, rate and concurrency");
    }
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
      ...(concurrency === undefined ? { rate: rate ?? (share ?? 0) * (total ?? 0) } : { concurrency }),
      sessions: sessions === true,
      config: classConfig(config, name, of, wrong),
      sloMs: sloOf(of.slo, wrong),
      limits: limitsOf(of.thresholds, wrong),
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
function classConfig(config: Config, name: string, of: Record<string, unknown>, wrong: Wrong): Config {
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
  for (const [setting, value] of Object.entries(own)) {
    if (!(ownSettings as readonly string[]).includes(setting)) {
      wrong(`settings has ${setting}; a class may have ${ownSettings.join(", ")}`);
    }
    given[setting] = typeof value === "string" ? value : JSON.stringify(value);
  }
  try {
    const values = parseSettings(given, config);
    const changed = Object.fromEntries(Object.keys(given).map((each) => [each, values[each as SettingName]]));
    // What none of the class's settings names is the run's.
    return { ...config, ...changed, TOKEN_IDS: values.TOKEN_IDS, part: name };
  } catch (error) {
    return wrong(error instanceof Error ? error.message : String(error));
  }
}

function sloOf(slo: unknown, wrong: Wrong): SloMs {
  if (slo === undefined) return {};
  if (!isObject(slo)) return wrong("slo is no JSON object");
  for (const [name, ms] of Object.entries(slo)) {
    if (!["ttft", "tpot", "e2e"].includes(name)) wrong(`slo has ${name}; it may have ttft, tpot and e2e, in ms`);
    if (typeof ms !== "number" || !(ms > 0)) wrong(`slo.${name} ${JSON.stringify(ms)} is no number of ms above 0`);
  }
  return slo as SloMs;
}

function limitsOf(limits: unknown, wrong: Wrong): LevelGate["limits"] {
  if (limits === undefined) return {};
  if (!isObject(limits)) return wrong('thresholds is no JSON object such as {"llm_ttft": ["p(99)<500"]}');
  const parsed: Record<string, string[]> = {};
  for (const [metric, value] of Object.entries(limits)) {
    const expressions = (Array.isArray(value) ? value : [value]) as unknown[];
    for (const each of expressions) {
      try {
        parseThreshold(metric, each);
      } catch (error) {
        wrong(error instanceof Error ? error.message : String(error));
      }
    }
    parsed[metric] = expressions.map((each) => String(each).replace(/\s+/g, ""));
  }
  return parsed;
}
