/** Settings that a test has of its own: declared beside those of settings.ts, read and checked like them. Pure. */
import { parseDistribution } from "../workload/distribution";
import { secretName } from "./access";
import { parseDurationMs } from "./duration";
import { SettingError } from "./setting-error";
import { isSettingName } from "./settings";

/** What an own setting may be, beside what its initial value says. */
export interface OwnKind {
  /** One sentence on what it is for; --help shows it. */
  readonly doc?: string;
  /** The only values of a text. */
  readonly oneOf?: readonly string[];
  /** Bounds of a number. */
  readonly min?: number;
  readonly max?: number;
  /** The text is a duration such as 2s, or a distribution such as uniform:2:8. */
  readonly is?: "duration" | "distribution";
}

/** An own setting with its initial value, of whose type all its values are. */
export interface OwnSetting extends OwnKind {
  readonly name: string;
  readonly value: string | number | boolean;
}

/** What is allowed, for messages and --help. */
export function ownAllowed({ value, oneOf, min, max, is }: OwnSetting): string {
  if (is === "duration") return "a duration such as 500ms, 30s or 1m30s";
  if (is === "distribution") return "a number or a distribution such as uniform:2:8, normal:5:1 or lognormal:5:2";
  if (oneOf) return `one of ${oneOf.join(", ")}`;
  if (typeof value === "boolean") return "true or false";
  if (typeof value === "string") return "a text";
  const from = min === undefined ? "" : ` from ${min}`;
  return `a number${from}${max === undefined ? "" : `${from ? " to" : " up to"} ${max}`}`;
}

/** @throws SettingError where a script declares what cannot be a setting. */
export function requireOwn(own: OwnSetting): void {
  const { name, value } = own;
  if (!/^[A-Z][A-Z0-9_]*$/.test(name)) {
    throw new SettingError(`test.setting("${name}"): a setting's name is capitals, digits and underscores`);
  }
  if (isSettingName(name)) {
    throw new SettingError(`test.setting("${name}"): every test may use ${name}; give openTest() a default of it`);
  }
  if (parse(own, String(value)) === undefined) {
    throw new SettingError(`test.setting("${name}"): its default ${value} is not ${ownAllowed(own)}`);
  }
}

/**
 * The value of an own setting; `text` is what the user set, undefined where nothing.
 * @throws SettingError for what is not allowed.
 */
export function ownValue(own: OwnSetting, text: string | undefined): string | number | boolean {
  const given = text ?? String(own.value);
  if (given.trim() === "") throw new SettingError(`${own.name}= is empty; it is ${ownAllowed(own)}`);
  const value = parse(own, given.trim());
  if (value === undefined) {
    const shown = secretName.test(own.name) ? "(hidden)" : given;
    throw new SettingError(`${own.name}=${shown} is not ${ownAllowed(own)}`);
  }
  return value;
}

function parse({ value, oneOf, min = -Infinity, max = Infinity, is }: OwnSetting, text: string) {
  if (is === "duration") return parseDurationMs(text) === undefined ? undefined : text;
  if (is === "distribution") return parseDistribution(text) === undefined ? undefined : text;
  if (typeof value === "boolean") return text === "true" ? true : text === "false" ? false : undefined;
  if (typeof value === "string") return !oneOf || oneOf.includes(text) ? text : undefined;
  const number = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  return number >= min && number <= max ? number : undefined;
}
