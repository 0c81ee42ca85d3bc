/** Whether an API can send what a row has: what it cannot is refused with the field and the way out. */
import type { ApiName } from "../../settings/apis";
import type { Input } from "../prompt";
import { isObject } from "./fields";
import { bodyFields } from "./request";
import type { Json, Notes, Row } from "./row";

export type SendApi = ApiName;

/** Fields of a chat's body that mean nothing in a completion. */
const chatOnly = new Set([
  ...["tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "modalities"],
  ...["chat_template_kwargs", "add_generation_prompt", "continue_final_message"],
]);

/** Fields that every API calls the same. */
const common = new Set(["model", "temperature", "top_p", "stream", "user", "metadata"]);

/** @throws Error for what `api` does not take. */
export function requireSendable(row: Row, api: SendApi, notes: Notes): void {
  if (row.wire !== undefined && row.body !== undefined) requireBody(row.wire, row.body, api);
  if (row.wire === undefined && row.body !== undefined) requireBody("chat", row.body, api);
  if (row.wire === "embeddings" && api !== "embeddings") {
    throw new Error("is a request for embeddings; set API=embeddings");
  }
  if (row.input) requireInput(row.input, row.wire, api, notes);
}

function requireBody(wire: NonNullable<Row["wire"]>, body: Json, api: SendApi): void {
  const names = Object.keys(body);
  const refused = names.filter((name) => !passes(name, wire, api));
  if (refused.length === 0) return;
  const out = refused.map((name) => `ignore=${name}`).join(",");
  throw new Error(
    `has ${refused.join(", ")}, which API=${api} does not take from a body of ${wire}; set API=${wire}, or leave them out by DATASET_COLUMNS=${out}`,
  );
}

function passes(name: string, wire: string, api: SendApi): boolean {
  if (wire === api || common.has(name)) return true;
  const completion = (each: string) => each === "chat" || each === "completions";
  return completion(wire) && completion(api) && bodyFields.has(name) && !chatOnly.has(name);
}

function requireInput(input: Input, wire: Row["wire"], api: SendApi, notes: Notes): void {
  if (input.kind === "tokenIds" && api !== "completions" && api !== "embeddings" && api !== "json") {
    throw new Error(`holds token ids, which API=${api} does not take; set API=completions`);
  }
  if (input.kind !== "messages" || api === "chat" || wire === api) return;
  const calls = input.messages.find((each) => "tool_calls" in each || each.role === "tool");
  if (calls)
    throw new Error(`has tool calls in its messages, which API=${api} does not take as they are; set API=chat`);
  const part = input.messages
    .flatMap(({ content }) => (Array.isArray(content) ? content : []))
    .find((each) => isOther(each) && !takesPart(api, each));
  if (part)
    throw new Error(
      `has a part of type ${part.type} in its messages, which API=${api} does not take as it is; set API=chat`,
    );
  if (takesRoles.has(api)) return;
  if (input.messages.some(({ role }) => role === "system")) {
    throw new Error(
      `has a system prompt, which API=${api} has no place for; set API=chat, or name the prompt alone by DATASET_COLUMNS=prompt=COLUMN`,
    );
  }
  notes.remark(`API=${api} takes one text: messages are joined by line breaks, without their roles`);
}

/** APIs whose messages have roles, the system's among them. What a custom one takes its description says. */
const takesRoles = new Set<SendApi>(["responses", "messages", "ollama-chat", "converse", "custom"]);

/** Whether an API takes a part that is no text: images have a shape in each, audio in OpenAI's alone. */
function takesPart(api: SendApi, part: Json): boolean {
  if (api === "custom") return true;
  if (part.type === "input_audio") return api === "responses";
  if (part.type !== "image_url") return false;
  const url = isObject(part.image_url) ? part.image_url.url : undefined;
  const here = typeof url === "string" && url.startsWith("data:");
  return api === "responses" || api === "messages" || (here && (api === "ollama-chat" || api === "converse"));
}

const isOther = (part: unknown): part is Json => isObject(part) && part.type !== "text";
