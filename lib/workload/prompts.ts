import { beforeLoad } from "../lazy";
import { type Config, orRefuse, userPath } from "../settings/config";
import { SettingError } from "../settings/setting-error";
import { type Slot, tokenclock } from "../wire/client";
import { sample } from "./distribution";
import { openFileRows } from "./file-rows";
import { promptRows } from "./load-plan";
import type { Prompt } from "./prompt";
import { seededRng } from "./rng";
import { openWords } from "./shared-words";
import type { Trace } from "./trace";
import { filePrompt, hashText, type Lengths, recordedPrompts, syntheticPrompts } from "./workload";

/** What a prompt follows from. */
type Place = Pick<Slot, "index" | "level" | "serial" | "members">;

/** Where a scenario takes its prompts from. */
export interface PromptSource {
  /**
   * The prompt that belongs to this slot: the same length in every run with the same seed, the same words in every run with
   * the same salt. Synthetic words are those of `words` (by default the level); the rows of a file follow the slot's
   * serial number, so that none is sent twice before all were sent. The server makes `tokensPerWord` of one of our words.
   */
  next(slot: Place, tokensPerWord: number, words?: string): Prompt;
  /** The prompts of a batch that this slot releases. */
  batch(slot: Place, tokensPerWord: number, size: number): Prompt[];
}

/** The prompts that DATASET, INPUT_TOKENS and the other settings of the workload describe. Init context only. */
export function openPrompts(config: Config, lengths: Lengths = {}): PromptSource {
  return sourceOf(openNext(config, lengths));
}

function sourceOf(next: PromptSource["next"]): PromptSource {
  return {
    next,
    batch: (slot, tokensPerWord, size) =>
      (slot.members ?? Array.from({ length: size }, (_, i) => i)).map((i) =>
        next({ level: slot.level, index: slot.index * size + i, serial: slot.serial + i }, tokensPerWord),
      ),
  };
}

function openNext(config: Config, lengths: Lengths): PromptSource["next"] {
  if (config.TARGETS !== "") return targetPrompts(config);
  if (config.DATASET !== "") return datasetPrompts(config, lengths);
  if (config.SHARED_PREFIX > 0) {
    const inputs = lengths.inputTokens ?? config.INPUT_TOKENS;
    // Once a process: what is loaded before the load would take a megabyte in each VU.
    orRefuse(() =>
      tokenclock.shared(`prefix of ${JSON.stringify(inputs)}`, () => {
        beforeLoad().requirePromptsOfTheirOwn(config, inputs);
        return true;
      }),
    );
  }
  const prompts = syntheticPrompts(config, openWords(config), lengths);
  return (slot, tokensPerWord, words) => prompts.at(slot.index, slot.level, tokensPerWord, words);
}

/** A dataset's rows in turn, each with the settings' output length where it has none of its own. */
function datasetPrompts(config: Config, lengths: Lengths): PromptSource["next"] {
  const rows = openFileRows(config, "DATASET");
  promptRows(`DATASET=${config.DATASET}`, rows.length);
  const outputs = lengths.outputTokens ?? config.OUTPUT_TOKENS;
  return (slot) => {
    const rng = seededRng(config.SEED ^ hashText(slot.level), slot.index);
    return filePrompt(config, rows.at(slot.serial % rows.length), () => sample(outputs, rng));
  };
}

/** The addresses of TARGETS in turn: every line is a path or an address, the prompt is what BODY makes of nothing. */
function targetPrompts(config: Config): PromptSource["next"] {
  const { TARGETS: name } = config;
  const urls = orRefuse(
    () =>
      new tokenclock.Rows("TARGETS", (add) => {
        try {
          new tokenclock.TextFile(userPath(name)).lines((line) => add(line.trim()));
        } catch (error) {
          // Go's errors come with the name of what threw them.
          const reason = (error instanceof Error ? error.message : String(error)).replace(
            /^(GoError: )?new TextFile: /,
            "",
          );
          throw new SettingError(`TARGETS=${name} cannot be read: ${reason}`);
        }
        return undefined;
      }),
  );
  orRefuse(() =>
    tokenclock.shared("targets checked", () => {
      if (urls.length === 0) throw new SettingError(`TARGETS=${name} has no line in it`);
      for (let i = 0; i < urls.length; i++) {
        const url = urls.at(i);
        if (url.startsWith("/")) continue;
        if (!/^https?:\/\//.test(url))
          throw new SettingError(`TARGETS=${name}: line ${i + 1} is no path that begins with / and no address`);
        beforeLoad().requireKeyOrigin(`TARGETS=${name}: line ${i + 1}`, url, config);
      }
      return true;
    }),
  );
  return (slot) => {
    const url = urls.at(slot.serial % urls.length);
    return { input: { kind: "text", text: "" }, inputTokens: 0, outputTokens: 0, url };
  };
}

/** The prompts of `source` as those of the level `level` and its rows, whichever level sends them; the words are those of `words`. */
export function repeated(source: PromptSource, level: string, words = level): PromptSource {
  return sourceOf(({ index }, tokensPerWord) => source.next({ index, serial: index, level }, tokensPerWord, words));
}

/** The prompts of `source`, each of which asks for so many tokens. */
export function answeredBy(source: PromptSource, outputTokens: number): PromptSource {
  return sourceOf((slot, tokensPerWord) => ({ ...source.next(slot, tokensPerWord), outputTokens }));
}

/** The prompts of a trace's rows; where it knows lengths and blocks only, equal blocks become equal text. */
export function tracePrompts(config: Config, trace: Trace): PromptSource {
  const prompts = recordedPrompts(config, openWords(config), trace);
  return sourceOf((slot, tokensPerWord) => prompts.at(slot.index, slot.level, tokensPerWord));
}
