/** Recorded requests: OpenAI `messages`, whole bodies, batch files, and logs that hold them. */
import type { Input } from "../prompt";
import { inputOf, type Message, turnRows } from "./conversation";
import { Fields, isObject, isTexts, isTokenIds, shown } from "./fields";
import type { Format, Json, Notes, Row, Wire } from "./row";

/** Fields of a body that are passed on from a row that is not a whole body. */
export const bodyFields = new Set([
  ...["temperature", "top_p", "top_k", "min_p", "n", "stop", "seed", "presence_penalty", "frequency_penalty"],
  ...["repetition_penalty", "logit_bias", "logprobs", "top_logprobs", "response_format", "tools", "tool_choice"],
  ...["parallel_tool_calls", "functions", "function_call", "reasoning_effort", "modalities", "guided_json"],
  ...[
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "chat_template_kwargs",
    "stop_token_ids",
  ],
  ...["min_tokens", "ignore_eos", "continue_final_message", "add_generation_prompt", "stop_sequences", "thinking"],
]);

const passedFields: readonly string[] = [...bodyFields];

/** Fields that hold JSON in a text where the row comes from a table. */
const jsonFields = new Set([
  "tools",
  "tool_choice",
  "functions",
  "function_call",
  "response_format",
  "stop",
  "messages",
]);

/** What the load itself decides, and what an answer recorded in the row holds. */
const ownFields = new Set(["stream", "stream_options"]);
const recordedFields = ["usage", "id", "object", "created", "response", "choices", "metadata", "endTime"];
const batchFields = ["method", "custom_id"];

/** OpenAI rows: `messages` and what goes with them, or the list of messages alone. */
export const messagesFormat: Format = {
  name: "OpenAI messages",
  turnsIn: "messages",
  matches: (record) => isMessages(record) || (isObject(record) && isMessages(messagesOf(record))),
  read(record, notes) {
    if (isMessages(record)) return requestRows(checked(record, "the list"), {}, notes.uses("messages"), true);
    if (!isObject(record)) throw new Error("is no JSON object, unlike the rows before it");
    const fields = new Fields(record, notes);
    const value = fields.json("messages");
    if (!Array.isArray(value)) throw new Error("has no messages, unlike the rows before it");
    const messages = checked(value, "messages");
    const whole = fields.has("model") && !isLog(record);
    // Times and lengths first: in a body they would be no fields of it.
    const known = { ...fields.lengths(), ...fields.time() };
    fields.skip(recordedFields);
    const delay = fields.get("delay");
    const session = fields.get("session_id");
    const body = bodyOf(record, fields, notes, whole);
    const system = fields.get("system");
    if (typeof system === "string") messages.unshift({ role: "system", content: system });
    fields.close();
    const place = {
      ...(session === undefined ? {} : { session: String(session) }),
      ...(delay === undefined ? {} : { delayMs: Number(delay) }),
    };
    const row = withBody({ ...known, ...place }, body);
    return requestRows(messages, row, notes, whole);
  },
};

function messagesOf(record: Json): unknown {
  const { messages } = record;
  if (typeof messages !== "string") return messages;
  try {
    return JSON.parse(messages);
  } catch {
    return undefined;
  }
}

/** A log's fields stand beside the request's; its model is the one that answered. */
function isLog(record: Json): boolean {
  return record.startTime !== undefined || record.call_type !== undefined || record.request_id !== undefined;
}

/** Rows that hold a whole body in one of their fields. */
export const wrapped: Format = {
  name: "recorded requests",
  matches: (record) => isObject(record) && wrapperOf(record) !== undefined,
  read(record, notes) {
    const wrapper = isObject(record) ? wrapperOf(record) : undefined;
    if (!wrapper) throw new Error(`holds no request in ${wrapperFields.join(", ")}`);
    const fields = new Fields(record as Json, notes);
    let body: unknown = fields.json(wrapper);
    let where = wrapper;
    if (wrapper === "captureData") {
      where = "captureData.endpointInput.data";
      body = capturedBody(body);
    }
    const url = fields.get("url") ?? fields.get("path");
    fields.skip(batchFields);
    const row = bodyRow(body, where, notes, typeof url === "string" ? url : undefined);
    const { wire, ...known } = { ...row, ...fields.lengths(), ...fields.time() };
    fields.close();
    return [{ ...known, ...(wire === undefined ? {} : { wire }) }];
  },
};

const wrapperFields = [
  "body",
  "params",
  "payload",
  "request_body",
  "requestBody",
  "request",
  "inputs",
  "captureData",
  "input",
];

function wrapperOf(record: Json): string | undefined {
  if (["prompt", "instruction", "question"].some((name) => record[name] !== undefined)) return undefined;
  return wrapperFields.find((name) => {
    const value = record[name];
    if (typeof value === "string") return name !== "inputs" && /^\s*(\{|\[\s*\{)/.test(value);
    return isObject(value) || (Array.isArray(value) && value.every(isObject) && value.length > 0);
  });
}

function capturedBody(captured: unknown): unknown {
  const { endpointInput } = captured as { endpointInput?: { data?: unknown; encoding?: unknown } };
  if (endpointInput?.encoding === "BASE64")
    throw new Error("captureData.endpointInput.data is in base64; decode it first");
  return endpointInput?.data;
}

/** The row of a whole body (or a list of messages), all of whose fields are passed on. */
export function bodyRow(value: unknown, where: string, notes: Notes, url?: string): Row {
  let body = value;
  if (typeof body === "string") {
    try {
      body = JSON.parse(body);
    } catch {
      throw new Error(`${where} holds broken JSON`);
    }
  }
  if (isMessages(body)) body = { messages: body };
  if (!isObject(body)) throw new Error(`${where} is no request body, a JSON object with messages or prompt`);
  const fields = new Fields(body, notes);
  const known = fields.lengths();
  if (isMessages(body.messages)) {
    const messages = checked(fields.get("messages") as unknown[], `${where}.messages`);
    const row = withBody({ ...known, wire: wireOf(url, where) }, bodyOf(body, fields, notes, true));
    const only = requestRow(messages, row, notes);
    if (only) return only;
    throw new Error(`${where}.messages asks nothing`);
  }
  const name = ["prompt", "input", "question", "text"].find((each) => fields.has(each));
  if (name === undefined) throw new Error(`${where} has neither messages nor prompt`);
  const input = textInput(fields.get(name), `${where}.${name}`);
  const bare = Object.keys(body).every((each) => each === name);
  const wire = bare ? {} : { wire: wireOf(url, where, name) };
  return withBody({ ...known, ...wire, input }, bodyOf(body, fields, notes, true));
}

/** The wire format that an address, or a batch file's way of nesting, names. */
function wireOf(url: string | undefined, where: string, field = "messages"): Wire {
  if (url !== undefined) {
    const [, wire] = /\/(chat|completions|embeddings|responses|messages)\b/.exec(url) ?? [];
    if (wire === undefined)
      throw new Error(`url=${url} is none of /chat/completions, /completions, /embeddings, /responses, /messages`);
    return wire as Wire;
  }
  if (where === "params") return "messages";
  return field === "messages" ? "chat" : field === "prompt" ? "completions" : "responses";
}

/** The fields to pass on: of a whole body all, of another row those that bodies are known to have. */
export function bodyOf(record: Json, fields: Fields, notes: Notes, whole: boolean): Json {
  const body: Record<string, unknown> = {};
  const names = whole ? [...fields.rest(), ...("model" in record ? ["model"] : [])] : fields.among(passedFields);
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    if (!fields.has(name) || name === "messages") continue;
    if (ownFields.has(name)) {
      fields.skip([name]);
      notes.remark(`${name} is decided by the setting STREAM`);
      continue;
    }
    body[name] = jsonFields.has(name) ? fields.json(name) : fields.get(name);
  }
  // Under its own name, or the server would be told of a limit twice.
  if (fields.has("max_completion_tokens")) body.max_completion_tokens = record.max_completion_tokens;
  return body;
}

function withBody(row: Row, body: Json): Row {
  return Object.keys(body).length === 0 ? row : { ...row, wire: row.wire ?? "chat", body };
}

/** Messages as a row, or where they are a recorded chat of several turns that ends with an answer, a row a turn. */
function requestRows(messages: Message[], row: Row, notes: Notes, whole: boolean): Row[] {
  const ended = messages.at(-1)?.role === "assistant" && row.body?.continue_final_message !== true;
  const turns = messages.filter(({ role }) => role === "user").length;
  if (ended && turns > 1 && !whole) return turnRows(messages, row);
  const only = requestRow(messages, row, notes);
  return only ? [only] : [];
}

function requestRow(messages: Message[], row: Row, notes: Notes): Row | undefined {
  const open = [...messages];
  if (row.body?.continue_final_message !== true) {
    while (open.at(-1)?.role === "assistant") {
      open.pop();
      notes.remark("the last message is the assistant's, the recorded answer: it is not sent");
    }
  }
  if (!open.some(({ role }) => role === "user" || role === "tool")) return undefined;
  return withHistoryNote({ ...row, input: inputOf(open) }, notes);
}

function withHistoryNote(row: Row, notes: Notes): Row {
  const messages = row.input?.kind === "messages" ? row.input.messages : [];
  if (messages.some(({ role }) => role === "assistant")) {
    notes.remark(sentAsHistory);
  }
  return row;
}

/** Said of requests that hold earlier turns. */
export const sentAsHistory = "earlier turns are sent as the history of one request, with the answers that the file has";

/** Whether a value is a list of messages. */
export function isMessages(value: unknown): value is Message[] {
  return (
    Array.isArray(value) && value.length > 0 && value.every((each) => isObject(each) && typeof each.role === "string")
  );
}

/** @throws Error for a message that no API takes. */
function checked(list: readonly unknown[], where: string): Message[] {
  return list.map((each, i) => {
    if (!isObject(each) || typeof each.role !== "string") throw new Error(`${where}[${i}] has no role`);
    const { content, tool_calls: calls, function_call: call } = each;
    const bodyless = content === undefined || content === null;
    if (bodyless && calls === undefined && call === undefined) throw new Error(`${where}[${i}] has no content`);
    if (!bodyless && typeof content !== "string" && !Array.isArray(content)) {
      throw new Error(`${where}[${i}].content=${shown(content)} is neither a text nor a list of parts`);
    }
    return each as unknown as Message;
  });
}

function textInput(value: unknown, where: string): Input {
  if (typeof value === "string") return { kind: "text", text: value };
  if (isTokenIds(value)) return { kind: "tokenIds", tokenIds: value };
  if (isMessages(value)) return inputOf(value);
  if (isTexts(value) && value.length === 1) return { kind: "text", text: value[0] ?? "" };
  throw new Error(`${where}=${shown(value)} is neither a text nor a list of token ids`);
}
