/**
 * What one event of a stream says, by API. Only client-sse.ts needs it: the k6 module reads events itself. Pure.
 */
import type { Settings } from "./settings";

/** The parts of an event that measuring needs. */
export interface StreamEvent {
  /** Non-empty content, text, reasoning or tool-call delta. */
  readonly output: "none" | "reasoning" | "content";
  /** The stream has said that it is complete: a finish reason, or its last event. */
  readonly finished: boolean;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  /** An error object: the server's own words. */
  readonly error?: string;
}

const nothing: StreamEvent = { output: "none", finished: false };

interface Usage {
  prompt_tokens?: number;
  completion_tokens?: number;
  input_tokens?: number;
  output_tokens?: number;
}

interface Choice {
  text?: string;
  finish_reason?: string | null;
  delta?: { content?: string | null; reasoning_content?: string; reasoning?: string; tool_calls?: unknown[] };
}

interface Payload {
  type?: string;
  error?: { message?: string } | string;
  choices?: Choice[];
  usage?: Usage | null;
  delta?: string | { text?: string; thinking?: string; partial_json?: string; stop_reason?: string | null };
  message?: { usage?: Usage };
  response?: { usage?: Usage };
}

/** Reads the data of one event. undefined: it is neither JSON nor `[DONE]`. */
export function readEvent(api: Settings["API"], data: string): StreamEvent | undefined {
  if (data.trim() === "[DONE]") return { output: "none", finished: true };
  let payload: Payload;
  try {
    payload = JSON.parse(data) as Payload;
  } catch {
    return undefined;
  }
  if (payload === null || typeof payload !== "object") return undefined;
  if (payload.error) {
    const { error } = payload;
    return { ...nothing, error: typeof error === "string" ? error : (error.message ?? JSON.stringify(error)) };
  }
  const usage = payload.usage ?? payload.response?.usage ?? payload.message?.usage ?? {};
  const inputTokens = usage.prompt_tokens ?? usage.input_tokens;
  const outputTokens = usage.completion_tokens ?? usage.output_tokens;
  return { ...contentOf(api, payload), inputTokens, outputTokens };
}

function contentOf(api: Settings["API"], payload: Payload): StreamEvent {
  const { type = "", delta } = payload;
  if (api === "responses") {
    const words = typeof delta === "string" && delta !== "" && type.endsWith(".delta");
    const finished = type === "response.completed" || type === "response.incomplete";
    return { output: words ? (type.includes("reasoning") ? "reasoning" : "content") : "none", finished };
  }
  if (api === "messages") {
    const parts = typeof delta === "object" && delta !== null ? delta : {};
    const output = parts.thinking ? "reasoning" : parts.text || parts.partial_json ? "content" : "none";
    return { output, finished: type === "message_stop" || Boolean(parts.stop_reason) };
  }
  const [choice = {}] = payload.choices ?? [];
  const { content, reasoning_content, reasoning, tool_calls } = choice.delta ?? {};
  const finished = Boolean(choice.finish_reason);
  if (choice.text || content || tool_calls?.length) return { output: "content", finished };
  return { output: reasoning_content || reasoning ? "reasoning" : "none", finished };
}
