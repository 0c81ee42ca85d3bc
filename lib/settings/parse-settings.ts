/** Reads and checks all settings at once: which of them exclude, need or replace one another. Pure. */
import { requireAccess } from "./access";
import { boundSettings, keptDefaults, rateSettings } from "./replaced-defaults";
import { SettingError } from "./setting-error";
import { type Defaults, type Setting, type SettingName, type Settings, settings } from "./settings";

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
    if (value === undefined) throw new SettingError(`${name}=${kind.conceal?.(given) ?? given} is not ${kind.allowed}`);
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

function fromDefault(name: SettingName, defaults: Defaults): unknown {
  const value = defaults[name];
  const lengths = name === "INPUT_TOKENS" || name === "OUTPUT_TOKENS";
  return lengths && typeof value === "number" ? { kind: "fixed", value } : value;
}
