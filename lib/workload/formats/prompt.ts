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

/** A text, a list of token ids, or an object with one of the names above. */
export const promptFormat: Format = {
  name: "prompts",
  matches: (record) =>
    typeof record === "string" ||
    isTokenIds(record) ||
    (isObject(record) && [...textFields, ...idFields, "texts"].some((name) => record[name] !== undefined)),
  read(record, notes) {
    if (typeof record === "string") return record === "" ? [] : [{ input: { kind: "text", text: record } }];
    if (isTokenIds(record)) return [{ input: { kind: "tokenIds", tokenIds: record }, inputTokens: record.length }];
    if (!isObject(record)) throw new Error(`${shown(record)} is no prompt`);
    const fields = new Fields(record, notes);
    const input = inputIn(record, fields);
    if (input === undefined) return [];
    const body = { ...bodyOf(record, fields, notes, isBody(record)), ...extraIn(fields) };
    const known = { ...fields.lengths(), ...fields.time() };
    fields.skip("delay", "session_id");
    fields.close();
    const ids = input.kind === "tokenIds" ? { inputTokens: input.tokenIds.length } : {};
    return [{ ...ids, ...known, input, ...(Object.keys(body).length > 0 ? { body } : {}), ...unit(record) }];
  },
};

/** SGLang's token traces count in seconds. */
function unit(record: Json): Pick<Row, "unit"> {
  return record.ts !== undefined && Array.isArray(record.input_tokens) ? { unit: "s" } : {};
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
  for (const name of attachments) {
    if (fields.has(name))
      throw new Error(
        `has ${name}: files are not sent from a row; write images as OpenAI messages with data: addresses, or ${ignoring(name)}`,
      );
  }
  for (const name of idFields) {
    if (isTokenIds(record[name])) return { kind: "tokenIds", tokenIds: fields.get(name) as number[] };
  }
  const parts = textParts(record, fields);
  if (parts === undefined) return undefined;
  if (typeof parts !== "string") return parts;
  return withImages(parts, systemIn(fields), fields);
}

/** The prompt's text (or, where prompt holds them, ids or messages); undefined where it is empty. */
function textParts(record: Json, fields: Fields): string | Input | undefined {
  const present = textFields.filter((name) => record[name] !== undefined);
  const broken = present.find((name) => record[name] === null || !isPrompt(record[name]));
  if (broken !== undefined) {
    throw new Error(
      `${broken}=${shown(record[broken])} is no prompt; name another column by DATASET_COLUMNS=prompt=COLUMN`,
    );
  }
  const filled = present.filter((name) => record[name] !== "");
  for (const { text, context, first } of contexts) {
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
  const [name] = filled;
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
  const name = systemFields.find((each) => fields.has(each));
  const value = name === undefined ? undefined : fields.get(name);
  if (value !== undefined && typeof value !== "string") throw new Error(`${name}=${shown(value)} is no text`);
  return value;
}

function withImages(text: string, system: string | undefined, fields: Fields): Input {
  const urls = imageFields.filter((name) => fields.has(name)).flatMap((name) => imagesIn(fields.json(name), name));
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
