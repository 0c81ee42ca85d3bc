/**
 * What the events of one response say, by API. Only client-sse.ts needs it: the k6 module reads events itself, by the same rules
 * (extension/internal/stream), and its cases test both. Pure.
 */
import type { BuiltInApi } from "../settings/apis";
import { meansFailure } from "./failing-reason";

/** What an event adds to the answer. */
export type Output = "none" | "reasoning" | "content";

/** Why a response failed, as far as its body says it. */
export type BodyFailure = "error_event" | "malformed" | "reset" | "empty" | "truncated";

interface Usage {
  prompt_tokens?: number;
  completion_tokens?: number;
  input_tokens?: number;
  output_tokens?: number;
  total_tokens?: number;
  cache_read_input_tokens?: number;
  cache_creation_input_tokens?: number;
  completion_tokens_details?: { reasoning_tokens?: number } | null;
  output_tokens_details?: { reasoning_tokens?: number } | null;
}

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isFull = (value: unknown): value is string => typeof value === "string" && value !== "";
const listOf = (value: unknown): Json[] => (Array.isArray(value) ? value.filter(isObject) : []);

/** How often pieces must have grown out of the ones before until all are taken to hold the whole text so far. */
const growthsOfAll = 2;
/** A last piece that says all again must do so of some chunks and letters. */
const repeatChunks = 3;
const repeatLength = 8;

/** Reads one response, event by event. */
export class ResponseReader {
  inputTokens?: number;
  outputTokens?: number;
  /** The last output chunk repeated all of those before it. */
  repeated = false;
  /** The server's own words, or what could not be read. */
  message = "";

  readonly #api: BuiltInApi;
  #events = 0;
  #chunks = 0;
  #ended = false;
  #failed = false;
  #badReason = "";
  #unreadable = "";
  /** Number of the event that could not be read; 0 = it was no event. */
  #unreadableEvent = 0;
  #strange = "";
  #open = new Map<number, boolean>();
  #text = "";
  #last = "";
  #growing = true;
  #growths = 0;

  constructor(api: BuiltInApi) {
    this.#api = api;
  }

  /** Takes one event: its data, its name and its comment, "" where it has none. */
  event(data: string, name = "", comment = ""): Output {
    // This runs once a token in k6's interpreter, so it makes few objects and trims no long text.
    const short = data.length < 16 ? data.trim() : data;
    const isError = name === "error";
    if (short === "" && !isError) return "none";
    this.#events++;
    if (short === "[DONE]") {
      this.#ended = true;
      return "none";
    }
    if (isError) {
      this.#fail(errorIn(data) || data || comment || "the server reported an error without a message");
      return "none";
    }
    if (short === "null" || short === "{}") return "none";
    let payload: unknown;
    try {
      payload = JSON.parse(data);
    } catch {
      if (this.#unreadable === "") this.#unreadableEvent = this.#events;
      this.#unreadable ||= `an event's data is not JSON: ${data.slice(0, 200)}`;
      return "none";
    }
    return this.#take(isObject(payload) ? payload : {}, data);
  }

  /** Takes lines that are no fields of an event stream: an error without framing, or something that no API sends. */
  stray(lines: readonly string[]): void {
    const text = lines.join("\n").trim();
    if (text === "") return;
    const error = errorIn(text);
    if (error !== "") this.#fail(error);
    else this.#unreadable ||= `a line of the stream is no server-sent event: ${text.slice(0, 200)}`;
  }

  /** Takes a whole reply in the place of a stream; false: it is none of the API's. */
  reply(text: string): boolean {
    let payload: unknown;
    try {
      payload = JSON.parse(text);
    } catch {
      return false;
    }
    if (!isObject(payload)) return false;
    const known = this.#api === "responses" ? "output" : this.#api === "messages" ? "content" : "choices";
    if (errorIn(text) !== "") return false;
    if (this.#api === "embeddings" ? !Array.isArray(payload.data) : !Array.isArray(payload[known])) return false;
    this.#use(usageIn(payload), true);
    for (const choice of listOf(payload.choices)) this.#finish(Number(choice.index ?? 0), choice.finish_reason);
    return true;
  }

  /** Takes note that the last output chunk is no output of its own; call it at the end, before the counts are used. */
  get chunks(): number {
    return this.#chunks - (this.repeated ? 1 : 0);
  }

  /** Why the response failed; undefined: it is complete. `broken`: the connection ended before the response did. */
  failure(broken: boolean, hasBody: boolean): BodyFailure | undefined {
    if (this.#failed) return "error_event";
    if (this.#badReason !== "") {
      this.message ||= `the server ended the answer with the finish reason "${this.#badReason}"`;
      return "error_event";
    }
    const cut = broken && this.#unreadableEvent === this.#events && this.#events > 0;
    if (this.#unreadable !== "" && !cut) {
      this.message ||= this.#unreadable;
      return "malformed";
    }
    if (broken && !this.#complete()) return "reset";
    if (this.#strange !== "" && (this.#chunks === 0 || this.outputTokens === undefined)) {
      this.message ||= `an event is not one of the API ${this.#api}: ${this.#strange}`;
      return "malformed";
    }
    if (!hasBody) return "empty";
    if (!this.#complete()) return "truncated";
    return this.#chunks === 0 ? "empty" : undefined;
  }

  #complete(): boolean {
    return this.#ended || (this.#open.size > 0 && [...this.#open.values()].every((open) => !open));
  }

  #fail(message: string): void {
    this.#failed = true;
    this.message ||= message.slice(0, 300);
  }

  #take(payload: Json, data: string): Output {
    const error = errorOf(payload);
    if (error !== "") this.#fail(error);
    let output: Output;
    if (this.#api === "responses") output = this.#responses(payload);
    else if (this.#api === "messages") output = this.#messages(payload);
    else output = this.#completion(payload);
    if (error === "" && !this.#isKnown(payload)) this.#strange ||= data.slice(0, 200);
    if (output !== "none") this.#chunks++;
    return output;
  }

  #isKnown(payload: Json): boolean {
    if (this.#api === "responses" || this.#api === "messages") return typeof payload.type === "string";
    const { choices, usage, object } = payload;
    return (
      Array.isArray(choices) ||
      choices === null ||
      isObject(usage) ||
      (typeof object === "string" && /^(chat|text_)\.?completion/.test(object))
    );
  }

  #completion(payload: Json): Output {
    let output: Output = "none";
    for (const choice of listOf(payload.choices)) {
      const index = Number(choice.index ?? 0);
      const delta = isObject(choice.delta) ? choice.delta : undefined;
      const whole = delta === undefined && isObject(choice.message);
      // Beside a delta the message repeats what came.
      const kind = outputOf(delta ?? choice.message, choice.text);
      const text = textOf(delta ?? choice.message, choice.text);
      const fresh = kind === "none" || (index === 0 && text !== "" && !this.#isNew(text, whole)) ? "none" : kind;
      if (fresh === "content" || output === "none") output = fresh;
      if (fresh !== "none") this.#open.set(index, true);
      else if (!this.#open.has(index)) this.#open.set(index, true);
      this.#finish(index, choice.finish_reason);
    }
    this.#use(usageIn(payload), true);
    return output;
  }

  #finish(index: number, reason: unknown): void {
    if (!isFull(reason)) return;
    this.#open.set(index, false);
    if (meansFailure(reason)) this.#badReason ||= reason;
  }

  #responses(payload: Json): Output {
    const { type = "", delta, response } = payload as { type?: string; delta?: unknown; response?: unknown };
    if (isObject(response)) this.#use(response.usage as Usage | undefined, true);
    switch (type) {
      case "response.completed":
      case "response.incomplete": {
        this.#ended = true;
        const { incomplete_details: details, output } = (response ?? {}) as Json;
        const reason = isObject(details) ? details.reason : undefined;
        if (isFull(reason) && meansFailure(reason)) this.#badReason ||= reason;
        // Needed where no delta came.
        const parts = listOf(output).flatMap(({ content }) => listOf(content));
        return this.#chunks === 0 && parts.some(({ text }) => isFull(text)) ? "content" : "none";
      }
      case "response.failed":
      case "error":
        this.#failed = true;
        return "none";
    }
    if (!isFull(delta) || !type.endsWith(".delta")) return "none";
    return type.includes("reasoning") ? "reasoning" : "content";
  }

  #messages(payload: Json): Output {
    const { type, delta, message } = payload;
    // What the first event says of output is a placeholder.
    if (type === "message_start" && isObject(message)) this.#use(message.usage as Usage | undefined, false);
    else this.#use(payload.usage as Usage | undefined, true);
    if (type === "message_stop") this.#ended = true;
    if (type === "error") this.#failed = true;
    const block = type === "content_block_start" ? payload.content_block : delta;
    if (!isObject(block)) return "none";
    this.#finish(0, block.stop_reason);
    if (isFull(block.thinking)) return "reasoning";
    return isFull(block.text) || isFull(block.partial_json) ? "content" : "none";
  }

  #use(usage: Usage | null | undefined, isFinal: boolean): void {
    if (!isObject(usage)) return;
    const u = usage as Usage;
    const input =
      (u.prompt_tokens ?? u.input_tokens ?? 0) +
      (u.cache_read_input_tokens ?? 0) +
      (u.cache_creation_input_tokens ?? 0);
    if (input > 0) this.inputTokens = input;
    const output = u.completion_tokens ?? u.output_tokens;
    if (!isFinal || typeof output !== "number") return;
    const reasoning = (u.completion_tokens_details ?? u.output_tokens_details)?.reasoning_tokens ?? 0;
    // xAI's count leaves reasoning out; the total tells.
    const apart = reasoning > 0 && u.total_tokens === (u.prompt_tokens ?? u.input_tokens ?? 0) + output + reasoning;
    const all = apart ? output + reasoning : output;
    if (all > 0 || this.outputTokens === undefined) this.outputTokens = Math.max(all, this.outputTokens ?? 0);
  }

  /** Whether a piece of the first choice's content adds something to those before it. */
  #isNew(piece: string, whole: boolean): boolean {
    this.repeated = this.#chunks >= repeatChunks && this.#text.length >= repeatLength && piece === this.#text && !whole;
    if (whole && this.#chunks > 0 && this.#growths === 0 && this.#text.length > 0 && piece === this.#text) return false;
    if (this.#last !== "" && this.#growing) {
      if (!piece.startsWith(this.#last)) this.#growing = false;
      else if (piece.length > this.#last.length) this.#growths++;
      else if (whole || this.#growths >= growthsOfAll) return false;
    }
    if (this.#growing) this.#last = piece;
    this.#text += piece;
    return true;
  }
}

/** The usage of a chunk: beside its choices, else inside them, else where Groq has it. */
function usageIn(payload: Json): Usage | undefined {
  if (isObject(payload.usage)) return payload.usage;
  const inside = listOf(payload.choices).find(({ usage }) => isObject(usage))?.usage ?? (payload.x_groq as Json)?.usage;
  return isObject(inside) ? inside : undefined;
}

/** What a delta or message holds. */
function outputOf(delta: unknown, text: unknown): Output {
  if (isFull(text)) return "content";
  if (!isObject(delta)) return "none";
  const { content, refusal, tool_calls: calls, function_call: call, audio, images } = delta;
  if (isFull(content) || isFull(refusal)) return "content";
  const blocks = listOf(content);
  if (blocks.some(({ text }) => isFull(text))) return "content";
  const named = [...listOf(calls).map(({ function: called }) => called), call];
  if (named.some((called) => isObject(called) && (isFull(called.name) || isFull(called.arguments)))) return "content";
  if (isObject(audio) && (isFull(audio.data) || isFull(audio.transcript))) return "content";
  if (listOf(images).length > 0) return "content";
  const thoughts = [delta.reasoning_content, delta.reasoning, delta.thinking];
  const deep = [...blocks, ...listOf(delta.reasoning_details)].some(({ thinking, text, summary }) =>
    [thinking, text, summary].some((each) => isFull(each) || listOf(each).some((part) => isFull(part.text))),
  );
  return thoughts.some(isFull) || deep ? "reasoning" : "none";
}

function textOf(delta: unknown, text: unknown): string {
  if (isFull(text)) return text;
  return isObject(delta) && isFull(delta.content) ? delta.content : "";
}

function errorIn(text: string): string {
  try {
    const payload: unknown = JSON.parse(text);
    return isObject(payload) ? errorOf(payload) : "";
  } catch {
    return "";
  }
}

/** The error that an event or reply is, or holds, in the server's own words; "" = none. */
function errorOf(payload: Json): string {
  const { error, base_resp: base, object, message, type } = payload;
  const inChoice = listOf(payload.choices).find((choice) => choice.error)?.error;
  const found = error || inChoice || (payload.response as Json)?.error || (payload.x_groq as Json)?.error;
  if (found) {
    if (typeof found === "string") return found;
    const { message: words } = found as Json;
    return isFull(words) ? words : JSON.stringify(found);
  }
  if (isObject(base) && base.status_code !== undefined && !meansSuccess(base.status_code))
    return isFull(base.status_msg) ? base.status_msg : JSON.stringify(base);
  if (object === "error" || type === "error") return isFull(message) ? message : JSON.stringify(payload);
  // A code of failure instead of an answer.
  const code = payload.code ?? payload.error_code ?? payload.errcode;
  const faulty = payload.success === false || (code !== undefined && !isObject(code) && !meansSuccess(code));
  if (!faulty || payload.choices !== undefined || payload.usage !== undefined || typeof type === "string") return "";
  const words = message ?? payload.msg ?? payload.error_msg ?? payload.errmsg;
  return isFull(words) ? words : JSON.stringify(payload);
}

function meansSuccess(code: unknown): boolean {
  return code === null || ["", "false", "0", "200", "ok", "success"].includes(String(code).toLowerCase());
}
