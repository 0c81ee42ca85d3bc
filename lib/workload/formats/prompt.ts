/** Rows with a prompt and what is known of its lengths, under every name in use. */
import type { Input } from "../prompt";
import { inputOf } from "./conversation";
import { Fields, ignoring, isObject, isTexts, isTokenIds, shown } from "./fields";
import { bodyFields, bodyOf, isMessages } from "./request";
import type { Format, Json, Row } from "./row";

/** Names under which files keep a prompt's text. */
const textFields = ["prompt", "question", "instruction", "text", "content", "input", "text_input", "input_text"];
const idFields = ["prompt_token_ids", "token_ids", "input_ids", "tok_input", "input_tokens"];
const systemFields = ["system", "system_prompt", "prefix"];

/** Fields that hold what cannot be sent from a file: the prompt would ask for something that is not there. */
const attachments = [
  ...["image_files", "video", "videos", "audio", "audios", "multi_modal_data", "documents", "files"],
];
const imageFields = ["image", "images", "image_url", "image_urls"];

/** A second text that belongs to the prompt, and whether it goes before it. */
const contexts: readonly { text: string; context: string; first: boolean }[] = [
  { text: "instruction", context: "input", first: false },
  { text: "instruction", context: "context", first: false },
  { text: "question", context: "context", first: true },
  { text: "prompt", context: "context", first: true },
];

/** What belongs to another field's text. */
const contextFields = ["input", "context"];
const places = ["delay", "session_id"];
const promptFields = [...textFields, ...idFields, "texts"];

function hasPrompt(record: Json): boolean {
  for (let i = 0; i < promptFields.length; i++) if (record[promptFields[i] as string] !== undefined) return true;
  return false;
}

/** A text, a list of token ids, or an object with one of the names above. */
export const promptFormat: Format = {
  name: "prompts",
  matches: (record) => typeof record === "string" || isTokenIds(record) || (isObject(record) && hasPrompt(record)),
  read(record, notes) {
    if (typeof record === "string") return record === "" ? [] : [{ input: { kind: "text", text: record } }];
    if (isTokenIds(record)) return [{ input: { kind: "tokenIds", tokenIds: record }, inputTokens: record.length }];
    if (!isObject(record)) throw new Error(`${shown(record)} is no prompt`);
    const fields = new Fields(record, notes);
    const input = inputIn(record, fields);
    if (input === undefined) return [];
    let body = bodyOf(record, fields, notes, isBody(record));
    if (fields.has("extra")) body = { ...body, ...extraIn(fields) };
    const { inputTokens, outputTokens, ceiling } = fields.lengths();
    const { time } = fields.time();
    fields.skip(places);
    fields.close();
    const counted = inputTokens ?? (input.kind === "tokenIds" ? input.tokenIds.length : undefined);
    const row: Row = { inputTokens: counted, outputTokens, ceiling, time, input, unit: unitOf(record) };
    return [Object.keys(body).length > 0 ? { ...row, body } : row];
  },
};

/** SGLang's token traces count in seconds. */
function unitOf(record: Json): Row["unit"] {
  return record.ts !== undefined && Array.isArray(record.input_tokens) ? "s" : undefined;
}

/** Whether the row is a body of /completions. */
function isBody(record: Json): boolean {
  return (
    record.model !== undefined && Object.keys(record).some((name) => name === "max_tokens" || bodyFields.has(name))
  );
}

/** AIPerf's `extra`: more fields of the body. */
function extraIn(fields: Fields): Json {
  const extra = fields.json("extra");
  return isObject(extra) ? extra : {};
}

function inputIn(record: Json, fields: Fields): Input | undefined {
  const attached = fields.among(attachments).find((name) => fields.has(name));
  if (attached !== undefined)
    throw new Error(
      `has ${attached}: files are not sent from a row; write images as OpenAI messages with data: addresses, or ${ignoring(attached)}`,
    );
  const ids = fields.among(idFields).find((name) => isTokenIds(record[name]));
  if (ids !== undefined) return { kind: "tokenIds", tokenIds: fields.get(ids) as number[] };
  const parts = textParts(record, fields);
  if (parts === undefined) return undefined;
  if (typeof parts !== "string") return parts;
  return withImages(parts, systemIn(fields), fields);
}

/** The prompt's text (or, where prompt holds them, ids or messages); undefined where it is empty. */
function textParts(record: Json, fields: Fields): string | Input | undefined {
  const present = fields.among(textFields).filter((name) => record[name] !== undefined);
  const broken = present.find((name) => record[name] === null || !isPrompt(record[name]));
  if (broken !== undefined) {
    throw new Error(
      `${broken}=${shown(record[broken])} is no prompt; name another column by DATASET_COLUMNS=prompt=COLUMN`,
    );
  }
  const filled = present.filter((name) => record[name] !== "");
  for (let i = 0; i < contexts.length && fields.among(contextFields).length > 0; i++) {
    const { text, context, first } = contexts[i] as (typeof contexts)[number];
    if (record[text] === undefined || record[context] === undefined) continue;
    const others = filled.filter((name) => name !== text && name !== context);
    if (others.length > 0) break;
    const two = [fields.get(text), fields.get(context)].filter((each) => each !== undefined);
    const ordered = first ? two.reverse() : two;
    return record[text] === "" ? undefined : ordered.join("\n\n");
  }
  if (filled.length > 1) {
    throw new Error(`has ${filled.join(" and ")}: say which is the prompt by DATASET_COLUMNS=prompt=${filled[0]}`);
  }
  const texts = record.texts;
  if (filled.length === 0 && isTexts(texts)) {
    return { kind: "messages", messages: [{ role: "user", content: textsOf(fields.get("texts") as string[]) }] };
  }
  const name = filled[0];
  if (name === undefined) {
    if (present.length > 0) return undefined;
    throw new Error(`has none of ${textFields.join(", ")}; name the column by DATASET_COLUMNS=prompt=COLUMN`);
  }
  const value = fields.get(name);
  if (typeof value === "string") return value;
  if (isTokenIds(value)) return { kind: "tokenIds", tokenIds: value };
  if (isMessages(value)) return inputOf(value);
  throw new Error(`${name}=${shown(value)} is no prompt`);
}

function isPrompt(value: unknown): boolean {
  return typeof value === "string" || isTokenIds(value) || isMessages(value);
}

const textsOf = (texts: readonly string[]) => texts.map((text) => ({ type: "text", text }));

function systemIn(fields: Fields): string | undefined {
  const name = fields.among(systemFields).find((each) => fields.has(each));
  const value = name === undefined ? undefined : fields.get(name);
  if (value !== undefined && typeof value !== "string") throw new Error(`${name}=${shown(value)} is no text`);
  return value;
}

function withImages(text: string, system: string | undefined, fields: Fields): Input {
  const images = fields.among(imageFields);
  if (images.length === 0 && system === undefined) return { kind: "text", text };
  const urls = images.filter((name) => fields.has(name)).flatMap((name) => imagesIn(fields.json(name), name));
  const content =
    urls.length === 0 ? text : [...textsOf([text]), ...urls.map((url) => ({ type: "image_url", image_url: { url } }))];
  const user = { role: "user", content };
  return inputOf(system === undefined ? [user] : [{ role: "system", content: system }, user]);
}

function imagesIn(value: unknown, name: string): string[] {
  const urls = (Array.isArray(value) ? value : [value]).map((each) => (isObject(each) ? each.url : each));
  const bad = urls.find((url) => typeof url !== "string" || !/^(https?:\/\/|data:)/.test(url));
  if (bad === undefined) return urls as string[];
  throw new Error(
    `${name}=${shown(bad)} is no address: image files are not read; write a data: or https: address, or ${ignoring(name)}`,
  );
}
