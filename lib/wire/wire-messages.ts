/** Messages in the shapes of APIs other than OpenAI's chat. */

/** A message of a chat. */
export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
}

/** The Responses API has names of its own for parts of text. */
export function typedParts(messages: readonly ChatMessage[]): ChatMessage[] {
  return messages.map((message) => {
    if (!Array.isArray(message.content)) return message;
    const type = message.role === "assistant" ? "output_text" : "input_text";
    return { ...message, content: message.content.map((part) => (part?.type === "text" ? { ...part, type } : part)) };
  });
}

/** Anthropic's API takes the system prompt beside the messages. */
export function withoutSystem(messages: readonly ChatMessage[]): Record<string, unknown> {
  const system = messages.filter(({ role }) => role === "system" || role === "developer");
  if (system.length === 0) return { messages };
  const texts = system.map(({ content }) => content);
  return {
    system: texts.every((text) => typeof text === "string") ? texts.join("\n\n") : texts.flat(),
    messages: messages.filter((message) => !system.includes(message)),
  };
}
