import { type Config, demand, orRefuse } from "../settings/config";
import { SettingError } from "../settings/setting-error";
import type { Distribution } from "./distribution";
import { openPrompts, type PromptSource } from "./prompts";

/** Texts of one length. */
export interface Texts {
  /** "short", "medium", "long", "mixed", a number of words, or "dataset" of texts of the user's own. */
  readonly length: string;
  readonly prompts: PromptSource;
}

/**
 * The texts that LENGTHS asks for: names or numbers of words, separated by commas. Those of DATASET have whatever length
 * they have, and are a kind of their own.
 */
export function openTexts(config: Config): Texts[] {
  if (config.DATASET !== "") return [{ length: "dataset", prompts: openPrompts(config) }];
  const lengths = config.LENGTHS.split(",").map((word) => word.trim());
  demand(new Set(lengths).size === lengths.length, `LENGTHS=${config.LENGTHS} names a length twice; name each once`);
  return lengths.map((length) => {
    const inputTokens = orRefuse(() => wordsOf(length, config.LENGTHS));
    // Lengths are words here, whatever tokens a server makes of them.
    const prompts = openPrompts(config, { inputTokens, inWords: true });
    return { length, prompts };
  });
}

function wordsOf(length: string, setting: string): Distribution {
  // mixed draws one of the three for each text.
  const namedWords: Record<string, number[]> = { short: [10], medium: [100], long: [400], mixed: [10, 100, 400] };
  const values = namedWords[length] ?? (/^[1-9]\d{0,6}$/.test(length) ? [Number(length)] : undefined);
  if (!values) {
    throw new SettingError(
      `LENGTHS=${setting} is not a list of ${Object.keys(namedWords).join(", ")} or numbers of words such as 10,500`,
    );
  }
  return { kind: "oneof", values };
}
