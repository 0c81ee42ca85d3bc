/**
 * What one event of a stream says, by API. Only client-sse.ts needs it: the k6 module reads events itself. Pure.
 */
import type { Settings } from "../settings/settings";

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
  // This runs once a token in k6's interpreter, so it makes few objects and trims no long text.
  if (data.length < 16 && data.trim() === "[DONE]") return { output: "none", finished: true };
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
  const event = contentOf(api, payload);
  const usage = payload.usage ?? payload.response?.usage ?? payload.message?.usage;
  if (!usage) return event;
  const inputTokens = usage.prompt_tokens ?? usage.input_tokens;
  const outputTokens = usage.completion_tokens ?? usage.output_tokens;
  return { ...event, inputTokens, outputTokens };
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
  const choice = payload.choices?.[0];
  if (!choice) return nothing;
  const words = choice.delta;
  const finished = Boolean(choice.finish_reason);
  if (choice.text || words?.content || words?.tool_calls?.length) return { output: "content", finished };
  return { output: words?.reasoning_content || words?.reasoning ? "reasoning" : "none", finished };
}
