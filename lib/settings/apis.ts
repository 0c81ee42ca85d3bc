/** The wire formats by name: those that the module reads by itself, and those that are described. Pure. */

/** Formats that the module knows. */
export const builtInApis = ["chat", "completions", "embeddings", "responses", "messages", "json"] as const;

/** Formats with a description of their own in lib/wire/wires. */
export const readyWireNames = [
  ...(["ollama-chat", "ollama-generate", "tgi", "sglang", "triton", "kserve", "llama-completion"] as const),
  ...(["converse", "speech", "rerank", "score"] as const),
] as const;

export type BuiltInApi = (typeof builtInApis)[number];
export type ReadyWire = (typeof readyWireNames)[number];
export type DescribedApi = ReadyWire | "custom";
export type ApiName = BuiltInApi | DescribedApi;

/** Whether a format is read by its description. */
export function isDescribed(api: ApiName): api is DescribedApi {
  return !(builtInApis as readonly string[]).includes(api);
}

/** Whether a format's replies are whole by nature, so that they have no first token. */
export function repliesWhole(api: ApiName): boolean {
  return api === "embeddings" || api === "json" || api === "rerank" || api === "score";
}

/** Whether a format generates nothing: there is no output length to ask for. */
export function generatesNothing(api: ApiName): boolean {
  return api === "embeddings" || api === "rerank" || api === "score";
}

/** Ready formats without a way to force the length of the output. */
export function endsAsItLikes(api: ApiName): boolean {
  return ["ollama-chat", "ollama-generate", "tgi", "kserve", "converse", "speech"].includes(api);
}
