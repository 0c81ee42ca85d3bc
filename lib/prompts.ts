import type { Prompt } from "./body";
import type { Slot } from "./client";
import type { Config } from "./config";
import type { Server } from "./llm-client";
import { type Lengths, syntheticPrompts } from "./workload";

/** Where a scenario takes its prompts from. */
export interface PromptSource {
  /** The prompt that belongs to this slot: the same in every run with the same seed. */
  next(slot: Slot, server: Server): Prompt;
}

/** The prompts that DATASET, INPUT_TOKENS and the other settings of the workload describe. Init context only. */
export function openPrompts(config: Config, lengths: Lengths = {}): PromptSource {
  const prompts = syntheticPrompts(config, lengths);
  return { next: (slot, server) => prompts.at(slot.index, slot.level, server.tokensPerWord) };
}
