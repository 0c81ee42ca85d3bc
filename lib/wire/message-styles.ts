/** A conversation in the shapes of APIs other than OpenAI's chat: roles, the system prompt, parts of text, images and audio. Pure. */
import type { MessageStyle } from "../settings/wire-description";
import type { Input } from "../workload/prompt";

/** A message of a chat. */
export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
}

/** An input as a conversation, with the system prompt beside it where the style has it there (undefined: none). */
export function styled(input: Input, style: MessageStyle): { messages: unknown[]; system?: unknown } {
  const messages: readonly ChatMessage[] =
    input.kind === "messages"
      ? input.messages
      : [{ role: "user", content: input.kind === "text" ? input.text : input.tokenIds.join(" ") }];
  switch (style) {
    case "openai":
      return { messages: [...messages] };
    case "ollama":
      return { messages: messages.map(ollamaMessage) };
    case "anthropic":
      return withoutSystem(messages);
    case "converse": {
      const { system, others } = apart(messages);
      return {
        messages: others.map(({ role, content }) => ({ role, content: partsOf(content).map(conversePart) })),
        ...(system.length > 0 && { system: system.flatMap(({ content }) => partsOf(content).map(conversePart)) }),
      };
    }
  }
}

/** The Responses API has names of its own for parts of text, and an image's address stands in its part. */
export function typedParts(messages: readonly ChatMessage[]): ChatMessage[] {
  return messages.map((message) => {
    if (!Array.isArray(message.content)) return message;
    const type = message.role === "assistant" ? "output_text" : "input_text";
    const content = message.content.map((part: Part) => {
      if (part?.type === "text") return { ...part, type };
      if (part?.type !== "image_url") return part;
      const { url, detail } = part.image_url ?? {};
      return { type: "input_image", image_url: url, ...(detail !== undefined && { detail }) };
    });
    return { ...message, content };
  });
}

/** Anthropic's API takes the system prompt beside the messages, and images as their bytes or address. */
export function withoutSystem(messages: readonly ChatMessage[]): { messages: ChatMessage[]; system?: unknown } {
  const { system, others } = apart(messages);
  const texts = system.map(({ content }) => content);
  const shaped = others.map((message) =>
    Array.isArray(message.content) ? { ...message, content: message.content.map(anthropicPart) } : message,
  );
  if (system.length === 0) return { messages: shaped };
  return {
    system: texts.every((text) => typeof text === "string") ? texts.join("\n\n") : texts.flat(),
    messages: shaped,
  };
}

/** Part of a message's content. */
interface Part {
  readonly type?: string;
  readonly text?: string;
  readonly image_url?: { readonly url?: string; readonly detail?: string };
}

function apart(messages: readonly ChatMessage[]): { system: ChatMessage[]; others: ChatMessage[] } {
  const isSystem = ({ role }: ChatMessage) => role === "system" || role === "developer";
  return { system: messages.filter(isSystem), others: messages.filter((message) => !isSystem(message)) };
}

function partsOf(content: unknown): Part[] {
  return Array.isArray(content) ? (content as Part[]) : [{ type: "text", text: String(content ?? "") }];
}

/** The type and the base64 bytes of a data: address; undefined where it is another address. */
function bytesIn(url = ""): { type: string; data: string } | undefined {
  const [, type = "", data] = /^data:([^;,]*);base64,(.*)$/s.exec(url) ?? [];
  return data === undefined ? undefined : { type, data };
}

function anthropicPart(part: Part): unknown {
  if (part?.type !== "image_url") return part;
  const url = part.image_url?.url;
  const bytes = bytesIn(url);
  const source = bytes ? { type: "base64", media_type: bytes.type, data: bytes.data } : { type: "url", url };
  return { type: "image", source };
}

function conversePart(part: Part): unknown {
  if (part?.type === "text") return { text: part.text ?? "" };
  const { type, data } = imageIn(part);
  return { image: { format: type.replace("image/", ""), source: { bytes: data } } };
}

/** The bytes of an image, which these APIs take alone. */
function imageIn(part: Part): { type: string; data: string } {
  const bytes = part?.type === "image_url" ? bytesIn(part.image_url?.url) : undefined;
  if (bytes) return bytes;
  throw new Error(
    `a part of type ${part?.type} cannot be sent by this API: it takes text, and images as data: addresses`,
  );
}

/** Ollama's messages have one text, and images beside it. */
function ollamaMessage(message: ChatMessage): unknown {
  if (!Array.isArray(message.content)) return message;
  const parts = partsOf(message.content);
  const text = parts.flatMap(({ type, text }) => (type === "text" ? [text ?? ""] : [])).join("\n");
  const images = parts.filter(({ type }) => type !== "text").map((part) => imageIn(part).data);
  return { ...message, content: text, ...(images.length > 0 && { images }) };
}
