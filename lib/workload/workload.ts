import { draws } from "../lazy";
import type { Settings } from "../settings/settings";
import { type Distribution, sample } from "./distribution";
import type { KeptRow } from "./formats/read";
import type { Prompt } from "./prompt";
import { saltedRngs, seededRng } from "./rng";
import { blockTokens, type Trace } from "./trace";
import type { WordSource } from "./words";

/**
 * The prompts of a run. The n-th prompt is the same whichever VU asks for it. SEED fixes lengths and their order, SALT the
 * words: runs of equal SEED do equal work, and no prefix cache knows the words of a run from another one.
 */
export interface Prompts {
  /**
   * Prompt number `index` of the level called `level`. `tokensPerWord` turns words into the asked length. Prompts of
   * equal number and level have equal lengths, and equal words where `words` (by default the level) is equal, too.
   */
  at(index: number, level: string, tokensPerWord: number, words?: string): Prompt;
}

/** Lengths that replace the settings' own, for scenarios whose levels differ in them. */
export interface Lengths {
  readonly inputTokens?: Distribution;
  readonly outputTokens?: Distribution;
  /** The input length counts words, whatever tokens the server makes of them. */
  readonly inWords?: boolean;
}

/** Prompts made of common words (or random token ids), each unique from its first words on, unless SHARED_PREFIX asks otherwise. */
export function syntheticPrompts(config: Settings, words: WordSource, lengths: Lengths = {}): Prompts {
  const inputs = lengths.inputTokens ?? config.INPUT_TOKENS;
  const outputs = lengths.outputTokens ?? config.OUTPUT_TOKENS;
  const rngs = saltedRngs(config.SALT);
  // A source for each: one hashes its scope anew when that changes.
  const prefixRngs = saltedRngs(config.SALT);
  return {
    at(index, level, tokensPerWord, scope = level) {
      const lengthRng = seededRng(config.SEED ^ hashText(level), index + 1);
      const inputTokens = Math.min(sample(inputs, lengthRng), config.MAX_INPUT_TOKENS ?? Infinity);
      const outputTokens = Math.min(sample(outputs, lengthRng), config.MAX_OUTPUT_TOKENS ?? Infinity);
      const shared = Math.min(config.SHARED_PREFIX, inputTokens);
      // Drawn from numbers of its own: how many groups there are moves no length.
      const group = config.PREFIX_GROUPS === 1 ? 0 : groupOf(config, level, index);
      const sharedRng = () => prefixRngs("shared prefix", group);
      const rng = rngs(`level ${scope}`, index);
      if (config.TOKEN_IDS) {
        const own = words.tokenIds(inputTokens - shared, rng);
        const tokenIds = shared > 0 ? [...words.tokenIds(shared, sharedRng()), ...own] : own;
        return { input: { kind: "tokenIds", tokenIds }, inputTokens, outputTokens };
      }
      const wordsFor = (tokens: number) => (lengths.inWords ? tokens : Math.ceil(tokens / tokensPerWord));
      const own = words.text(wordsFor(inputTokens - shared), rng);
      const text = shared > 0 ? words.text(wordsFor(shared), sharedRng()) + own : own;
      const knownTokens = lengths.inWords ? 0 : inputTokens;
      return { input: { kind: "text", text: text.trimStart() }, inputTokens: knownTokens, outputTokens };
    },
  };
}

function groupOf(config: Settings, level: string, index: number): number {
  return draws().drawGroup(config, seededRng(config.SEED ^ hashText(`${level} groups`), index + 1));
}

/**
 * Prompts of a trace's lengths. Blocks of a Mooncake trace become the same words wherever their id occurs in the run, so
 * that a server's prefix cache hits as often as it did when the trace was recorded.
 */
export function recordedPrompts(config: Settings, words: WordSource, trace: Trace): Prompts {
  const rngs = saltedRngs(config.SALT);
  const blockRngs = saltedRngs(config.SALT);
  return {
    at(index, level, tokensPerWord, scope = level) {
      const row = trace.at(index % trace.length);
      if (!row) throw new Error("the trace is empty");
      const { inputTokens = 0, outputTokens, blockIds = [] } = row;
      if (row.input) {
        return filePrompt(config, row, () => outputTokens);
      }
      const wordsFor = (tokens: number) => Math.ceil(tokens / tokensPerWord);
      let text = "";
      let left = inputTokens;
      for (const id of blockIds) {
        const taken = Math.min(left, trace.blockTokens ?? blockTokens);
        text += words.text(wordsFor(taken), blockRngs("block", id));
        left -= taken;
      }
      if (left > 0) text += words.text(wordsFor(left), rngs(`level ${scope}`, index));
      return { input: { kind: "text", text: text.trimStart() }, inputTokens, outputTokens };
    },
  };
}

/**
 * The prompt of a file's row; `drawLength` gives the output length of a row that has none of its own. Token ids can be cut
 * to a length; what a text's length in tokens is, only the server knows.
 */
export function filePrompt(config: Settings, row: KeptRow, drawLength: () => number): Prompt {
  const { input, inputTokens = 0, outputTokens = drawLength(), body, ceiling } = row;
  if (!input) throw new Error("a row of DATASET has no prompt");
  const { MAX_INPUT_TOKENS: most = Infinity, MAX_OUTPUT_TOKENS: longest = Infinity } = config;
  const cut = input.kind === "tokenIds" && input.tokenIds.length > most;
  return {
    input: cut ? { kind: "tokenIds", tokenIds: input.tokenIds.slice(0, most) } : input,
    inputTokens: cut ? most : inputTokens,
    outputTokens: Math.min(outputTokens, longest),
    body,
    ceiling,
  };
}

/** A whole number that a text always gives (FNV-1a), for seeding. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}
