/** The description of an API that is not built in: how its requests are made and where its responses hold what is measured. Pure. */
import { keyOf } from "../settings/access";
import type { ReadyWire } from "../settings/apis";
import { SettingError } from "../settings/setting-error";
import type { Settings } from "../settings/settings";
import {
  type MessageStyle,
  messageStyles,
  type WireDescription,
  type WireResponse,
} from "../settings/wire-description";
import type { Prompt } from "../workload/prompt";
import { textOf } from "./body";
import { styled } from "./message-styles";
import { readyWires } from "./ready-wires";

/** The settings that places stand for. */
export type WireSettings = Pick<
  Settings,
  "API" | "MODEL" | "STREAM" | "IGNORE_EOS" | "TEMPERATURE" | "EXTRA_BODY" | "SEED"
>;

/** A prompt's body, of which the model's name is known. */
export type WireBody = (model: string, prompt: Prompt) => string;

interface Values {
  readonly settings: WireSettings;
  readonly model: string;
  readonly prompt: Prompt;
  readonly style: MessageStyle;
}

/** What a place stands for; undefined where it has no value. */
const places: Readonly<Record<string, (of: Values) => unknown>> = {
  prompt: ({ prompt }) => oneText(prompt),
  messages: ({ prompt, style }) => styled(prompt.input, style).messages,
  system: ({ prompt, style }) => styled(prompt.input, style).system,
  query: ({ prompt }) => cutUp(prompt)[0],
  document: ({ prompt }) => cutUp(prompt).slice(1).join(" "),
  documents: ({ prompt }) => cutUp(prompt).slice(1),
  model: ({ model }) => model || undefined,
  max_tokens: ({ prompt }) => prompt.outputTokens,
  min_tokens: ({ settings, prompt }) => (settings.IGNORE_EOS && !prompt.ceiling ? prompt.outputTokens : undefined),
  ignore_eos: ({ settings, prompt }) => (settings.IGNORE_EOS && !prompt.ceiling ? true : undefined),
  temperature: ({ settings }) => settings.TEMPERATURE,
  stream: ({ settings }) => settings.STREAM,
  seed: ({ settings }) => settings.SEED,
};

/** Places that bring the prompt in. */
const inputs = ["prompt", "messages", "query", "document", "documents"];

/** A prompt as one text. Images and the like are no part of one. */
function oneText({ input }: Prompt): string {
  const parts = input.kind === "messages" ? input.messages.flatMap(({ content }) => content) : [];
  const other = parts.find((part) => isObject(part) && part.type !== "text");
  if (isObject(other))
    throw new Error(`a message has a part of type ${other.type}, for which {{prompt}} has no place; use {{messages}}`);
  return textOf(input);
}

/** A prompt in nine parts of as many words: a query and eight documents. */
function cutUp(prompt: Prompt): string[] {
  const words = oneText(prompt).split(" ");
  const each = Math.max(1, Math.ceil(words.length / 9));
  return Array.from({ length: 9 }, (_, i) => words.slice(i * each, (i + 1) * each).join(" ")).filter(Boolean);
}

const placePattern = /\{\{\s*(\w+)\s*\}\}/g;

function placesIn(value: unknown): string[] {
  if (typeof value === "string") return [...value.matchAll(placePattern)].map(([, name = ""]) => name);
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(placesIn) : [];
}

/** Whether a wire's body can force the length of the output. */
export function forces({ request }: WireDescription): boolean {
  return placesIn(request.body).some((name) => name === "min_tokens" || name === "ignore_eos");
}

/** Whether a wire's requests name the model. */
export function namesModel({ request }: WireDescription): boolean {
  return placesIn([request.body, request.path, request.headers]).includes("model");
}

/** A described API with what follows from the settings. */
export interface Wire {
  readonly description: WireDescription;
  /** How a response is read: a stream, or with STREAM=false a whole reply. */
  readonly response: WireResponse;
  /** Where requests go, below BASE_URL. */
  readonly path: string;
  /** The same for a model, where the path names it. */
  readonly pathOf?: (model: string) => string;
  /** The request body for a prompt. */
  readonly body: WireBody;
  /** The server can be made to generate as many tokens as are asked for. */
  readonly forces: boolean;
  readonly namesModel: boolean;
  /** Headers of its own, filled in. */
  readonly headers: Readonly<Record<string, string>>;
  /** One of them carries the key. */
  readonly ownKey: boolean;
}

/** The described API that the settings name. `textOf` gives the text of a file. @throws SettingError for what is no description. */
export function describedWire(settings: Settings, textOf: (file: string) => string): Wire {
  const description = descriptionOf(settings, textOf);
  requirePlaces(description, settings);
  const { request, reply, response } = description;
  const whole: WireResponse = reply?.response ?? { ...response, format: "json", cumulative: false };
  const path = (settings.STREAM ? undefined : reply?.path) ?? request.path;
  const headers = Object.entries(request.headers ?? {});
  return {
    description,
    response: settings.STREAM ? response : whole,
    path,
    pathOf: placesIn(path).includes("model")
      ? (model) => path.replace(placePattern, encodeURIComponent(model))
      : undefined,
    body: wireBody(description, settings),
    forces: forces(description),
    namesModel: namesModel(description),
    headers: Object.fromEntries(
      headers.flatMap(([name, text]) => {
        const value = fillText(text, { model: settings.MODEL, api_key: keyOf(settings) });
        return value === undefined ? [] : [[name, value]];
      }),
    ),
    ownKey: headers.some(([, text]) => placesIn(text).includes("api_key")),
  };
}

function descriptionOf(
  { API: api, WIRE: wire }: WireSettings & Pick<Settings, "WIRE">,
  textOf: (file: string) => string,
): WireDescription {
  if (api === "custom") {
    return typeof wire === "string" ? parseWire(wire, textOf(wire)) : checkWire(wire.name ?? "of the script", wire);
  }
  return checkWire(api, readyWires[api as ReadyWire]);
}

/** The wire in a file's text. @throws SettingError for what is no description; the response's part the module checks. */
export function parseWire(name: string, text: string): WireDescription {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SettingError(`WIRE=${name} is no JSON: ${(error as Error).message}`);
  }
  return checkWire(name, value);
}

/** The same of a script's object. */
export function checkWire(name: string, value: unknown): WireDescription {
  const wrong = (line: string): never => {
    throw new SettingError(`WIRE=${name}: ${line}`);
  };
  const fields = (field: string, of: unknown, names: readonly string[]): Record<string, unknown> => {
    if (typeof of !== "object" || of === null || Array.isArray(of)) return wrong(`${field} is no JSON object`);
    const unknown = Object.keys(of).find((each) => !names.includes(each));
    if (unknown !== undefined) wrong(`${field} has an unknown field "${unknown}"; it has ${names.join(", ")}`);
    return of as Record<string, unknown>;
  };
  const isText = (field: string, of: unknown, what = "a text") => {
    if (typeof of !== "string") wrong(`${field} is ${JSON.stringify(of) ?? "missing"}; it is ${what}`);
  };
  const isPath = (field: string, of: unknown) => {
    if (typeof of !== "string" || !/^\/\S*$/.test(of))
      wrong(`${field} is ${JSON.stringify(of) ?? "missing"}; it is a path below BASE_URL, such as /api/chat`);
  };
  const known = (field: string, of: unknown, names: readonly string[]) => {
    const unknown = placesIn(of).find((each) => !names.includes(each));
    if (unknown !== undefined) wrong(`${field} has an unknown place {{${unknown}}}; there are ${names.join(", ")}`);
  };

  const all = fields("the description", value, ["name", "request", "response", "reply"]);
  if (all.name !== undefined) isText("name", all.name);
  const request = fields("request", all.request, ["path", "method", "headers", "body", "messages", "models"]);
  isPath("request.path", request.path);
  known("request.path", request.path, ["model"]);
  if (request.method !== undefined && request.method !== "POST" && request.method !== "PUT")
    wrong(`request.method is ${JSON.stringify(request.method)}; it is "POST" or "PUT"`);
  if (request.headers !== undefined) {
    const headers = fields("request.headers", request.headers, Object.keys(request.headers as object));
    for (const [name, text] of Object.entries(headers)) isText(`request.headers.${name}`, text);
    known("request.headers", headers, ["model", "api_key"]);
  }
  const body = fields("request.body", request.body, Object.keys((request.body ?? {}) as object));
  known("request.body", body, Object.keys(places));
  if (!placesIn(body).some((name) => inputs.includes(name)))
    wrong(`request.body has no place for the prompt ({{${inputs.join("}}, {{")}}}): all requests would be the same`);
  if (request.messages !== undefined && !(messageStyles as readonly unknown[]).includes(request.messages))
    wrong(`request.messages is ${JSON.stringify(request.messages)}; it is one of ${messageStyles.join(", ")}`);
  if (request.models !== undefined) {
    const models = fields("request.models", request.models, ["path", "at"]);
    isPath("request.models.path", models.path);
    isText("request.models.at", models.at, "a JSON pointer such as /data/0/id");
  }
  if (all.response === undefined) wrong("response is missing");
  if (all.reply !== undefined) {
    const reply = fields("reply", all.reply, ["path", "response"]);
    if (reply.path !== undefined) isPath("reply.path", reply.path);
    known("reply.path", reply.path, ["model"]);
    if (reply.response === undefined) wrong("reply.response is missing");
  }
  return { name, ...(all as unknown as WireDescription) };
}

/** @throws SettingError for a setting that the wire's requests have no place for. */
export function requirePlaces(wire: WireDescription, settings: WireSettings): void {
  const given = placesIn(wire.request.body);
  if (settings.TEMPERATURE !== undefined && !given.includes("temperature"))
    throw new SettingError(`TEMPERATURE is set, and request.body of the wire ${wire.name} has no place for it`);
  const streams = wire.response.format !== "json";
  if (!settings.STREAM && streams && wire.reply === undefined && !given.includes("stream"))
    throw new SettingError(
      `STREAM=false: the wire ${wire.name} has neither {{stream}} in request.body nor a reply; leave it out`,
    );
}

/** The maker of a wire's bodies. Fields of a file's row and EXTRA_BODY come over the description's. */
export function wireBody(wire: WireDescription, settings: WireSettings): WireBody {
  const fill = filled(wire.request.body);
  const style = wire.request.messages ?? "openai";
  const extra = Object.keys(settings.EXTRA_BODY).length > 0 ? settings.EXTRA_BODY : undefined;
  return (model, prompt) => {
    let body = fill({ settings, model, prompt, style });
    if (prompt.body) body = merged(body, prompt.body);
    if (extra) body = merged(body, extra);
    return JSON.stringify(body);
  };
}

/** Text with its places filled in, for paths and headers. undefined: one of them has no value. */
export function fillText(text: string, values: Readonly<Record<string, string>>): string | undefined {
  let missing = false;
  const whole = text.replace(placePattern, (_, name: string) => {
    missing ||= !values[name];
    return values[name] ?? "";
  });
  return missing ? undefined : whole;
}

/** Makes what fills the places of a value, once for all requests. */
function filled(value: unknown): (of: Values) => unknown {
  if (typeof value === "string") {
    const [place] = [...value.matchAll(placePattern)];
    if (place === undefined) return () => value;
    const read = places[place[1] ?? ""];
    if (place[0] === value.trim() && read) return read;
    return (of) => value.replace(placePattern, (_, name: string) => String(places[name]?.(of) ?? ""));
  }
  if (Array.isArray(value)) {
    const items = value.map(filled);
    return (of) => items.map((item) => item(of)).filter((item) => item !== undefined);
  }
  if (typeof value !== "object" || value === null) return () => value;
  const members = Object.entries(value).map(([name, member]) => [name, filled(member)] as const);
  return (of) => {
    const made: Record<string, unknown> = {};
    for (const [name, member] of members) {
      const value = member(of);
      if (value !== undefined) made[name] = value;
    }
    return made;
  };
}

/** Objects become one at every depth; null takes a member out. */
function merged(into: unknown, from: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const whole: Record<string, unknown> = isObject(into) ? { ...into } : {};
  for (const [name, value] of Object.entries(from)) {
    if (value === null) delete whole[name];
    else whole[name] = isObject(value) && isObject(whole[name]) ? merged(whole[name], value) : value;
  }
  return whole;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
