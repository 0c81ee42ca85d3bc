import { messageStyles } from "../lazy";
import type { Settings } from "../settings/settings";
import type { Input, Prompt } from "../workload/prompt";

/** The settings a body follows from. */
export type BodySettings = Pick<
  Settings,
  "API" | "MODEL" | "STREAM" | "IGNORE_EOS" | "CONTINUOUS_USAGE" | "TEMPERATURE" | "EXTRA_BODY" | "BODY"
>;

/** The request body for a prompt, as text to be sent. `seed` is never among its fields unless EXTRA_BODY puts it there. */
export function requestBody(settings: BodySettings, model: string, prompt: Prompt): string {
  if (settings.API === "json") return fillTemplate(settings.BODY, model, prompt);
  const fields: Record<string, unknown> = { model, ...inputFields(settings, prompt), ...prompt.body };
  // Who sets MODEL asks that one, whatever a file's rows were sent to.
  if (settings.MODEL !== "") fields.model = model;
  if (prompt.body?.max_completion_tokens !== undefined) {
    fields.max_completion_tokens = prompt.outputTokens;
    delete fields.max_tokens;
  }
  if (settings.API !== "embeddings") {
    if (settings.STREAM) fields.stream = true;
    if (settings.STREAM && (settings.API === "chat" || settings.API === "completions")) {
      fields.stream_options = settings.CONTINUOUS_USAGE
        ? { include_usage: true, continuous_usage_stats: true }
        : { include_usage: true };
    }
    if (settings.IGNORE_EOS && !prompt.ceiling) {
      fields.ignore_eos = true;
      fields.min_tokens = prompt.outputTokens;
    }
    if (settings.TEMPERATURE !== undefined) fields.temperature = settings.TEMPERATURE;
  }
  for (const [name, value] of Object.entries(settings.EXTRA_BODY)) {
    if (value === null) delete fields[name];
    else fields[name] = value;
  }
  return JSON.stringify(fields);
}

function inputFields({ API: api }: BodySettings, { input, outputTokens }: Prompt): Record<string, unknown> {
  const messages = input.kind === "messages" ? input.messages : [{ role: "user", content: textOf(input) }];
  const text = input.kind === "tokenIds" ? input.tokenIds : textOf(input);
  switch (api) {
    case "completions":
      return { prompt: text, max_tokens: outputTokens };
    case "embeddings":
      return { input: text };
    case "responses":
      return {
        input: messageStyles().typedParts(messages),
        max_output_tokens: outputTokens,
      };
    case "messages":
      return { ...messageStyles().withoutSystem(messages), max_tokens: outputTokens };
    default:
      return { messages, max_tokens: outputTokens };
  }
}

/** The text of an input for APIs that take no conversation. Token ids are written as numbers where only text is taken. */
export function textOf(input: Input): string {
  switch (input.kind) {
    case "text":
      return input.text;
    case "tokenIds":
      return input.tokenIds.join(" ");
    case "messages":
      return input.messages
        .map(({ content }) => (typeof content === "string" ? content : JSON.stringify(content)))
        .join("\n");
  }
}

/** BODY with its places filled in; texts are escaped to stand inside JSON quotes. */
function fillTemplate(template: string, model: string, prompt: Prompt): string {
  const quoted = (text: string) => JSON.stringify(text).slice(1, -1);
  return template.replace(/\{\{(prompt|model|max_tokens)\}\}/g, (_, name) => {
    if (name === "prompt") return quoted(textOf(prompt.input));
    return name === "model" ? quoted(model) : String(prompt.outputTokens);
  });
}
