/** What the server's tokenizer makes of prompts: asked once, before the load. Pure: llm-client.ts hands in how to ask. */
import { isDescribed } from "../settings/apis";
import type { Settings } from "../settings/settings";

/** Sends a body to a path of the server's. */
export type Ask = (path: string, body: object) => { readonly status: number; readonly body: string };

/**
 * Tokens of one of our words by /tokenize (vLLM, llama-server and the simulator have one); 1 where it cannot be asked. `text` has
 * every word once, whatever seed and salt are: lengths must not differ by them.
 */
export function findTokensPerWord(
  config: Pick<Settings, "API" | "TOKEN_IDS" | "DATASET" | "MODEL">,
  text: string,
  ask: Ask,
): number {
  if (config.API === "json" || config.TOKEN_IDS || config.DATASET !== "") return 1;
  const count = text.trim().split(" ").length;
  // vLLM reads `prompt`, llama-server `content`.
  const body = { model: config.MODEL || undefined, prompt: text, content: text, add_special_tokens: false };
  const { count: reported, tokens } = object(ask("/tokenize", body));
  const total = typeof reported === "number" ? reported : Array.isArray(tokens) ? tokens.length : count;
  return total > 0 ? total / count : 1;
}

/**
 * How many tokens all prompts begin with by the server's template (a beginning-of-text token, a system prompt, the marks of
 * a user's turn): where the tokens of two prompts that differ from their first word on part. undefined where the server
 * cannot be asked.
 */
export function findTemplateTokens(config: Pick<Settings, "API">, model: string, ask: Ask): number | undefined {
  const { API: api } = config;
  // Only the server knows which template the prompts of a described API meet.
  if (api === "json" || api === "embeddings" || isDescribed(api)) return undefined;
  const tokensOf = (word: string) =>
    api === "completions" ? textTokens(word, model, ask) : chatTokens(word, model, ask);
  const [a, b] = [tokensOf("river"), tokensOf("Moon")];
  if (!a || !b) return undefined;
  const parted = a.findIndex((token, i) => token !== b[i]);
  return parted >= 0 ? parted : undefined;
}

function textTokens(text: string, model: string, ask: Ask): unknown[] | undefined {
  // vLLM's names beside llama-server's.
  const special = { add_special_tokens: true, add_special: true, parse_special: true };
  return tokensIn(ask("/tokenize", { model, prompt: text, content: text, ...special }));
}

function chatTokens(text: string, model: string, ask: Ask): unknown[] | undefined {
  const messages = [{ role: "user", content: text }];
  const whole = tokensIn(ask("/tokenize", { model, messages, add_generation_prompt: true }));
  if (whole) return whole;
  // llama-server makes the text of a conversation and its tokens in two steps.
  const { prompt } = object(ask("/apply-template", { messages }));
  return typeof prompt === "string" ? textTokens(prompt, model, ask) : undefined;
}

function tokensIn(reply: ReturnType<Ask>): unknown[] | undefined {
  const { tokens } = object(reply);
  return Array.isArray(tokens) && tokens.length > 0 ? tokens : undefined;
}

function object({ status, body }: ReturnType<Ask>): Record<string, unknown> {
  if (status !== 200) return {};
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
