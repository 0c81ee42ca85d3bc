import type { Prompt } from "./body";
import { Lines, type Slot, shared } from "./client";
import { type Config, orRefuse, shippedPath, userPath } from "./config";
import type { Entry } from "./dataset";
import { sample } from "./distribution";
import type { Server } from "./llm-client";
import { promptRows } from "./load-plan";
import { seededRng } from "./rng";
import { SettingError } from "./setting-error";
import { openWords } from "./shared-words";
import { shippedDatasets } from "./shipped-datasets";
import type { TraceRow } from "./trace";
import { hashText, type Lengths, recordedPrompts, syntheticPrompts } from "./workload";

/** What a prompt follows from. */
type Place = Pick<Slot, "index" | "level" | "serial">;

/** Where a scenario takes its prompts from. */
export interface PromptSource {
  /**
   * The prompt that belongs to this slot: the same length in every run with the same seed, the same words in every run with
   * the same salt. Synthetic words are those of `words` (by default the level); the rows of a file follow the slot's
   * serial number, so that none is sent twice before all were sent.
   */
  next(slot: Place, server: Server, words?: string): Prompt;
  /** The prompts of a batch that this slot releases. */
  batch(slot: Place, server: Server, size: number): Prompt[];
}

/** The prompts that DATASET, INPUT_TOKENS and the other settings of the workload describe. Init context only. */
export function openPrompts(config: Config, lengths: Lengths = {}): PromptSource {
  return sourceOf(openNext(config, lengths));
}

function sourceOf(next: PromptSource["next"]): PromptSource {
  return {
    next,
    batch: (slot, server, size) =>
      Array.from({ length: size }, (_, i) =>
        next({ level: slot.level, index: slot.index * size + i, serial: slot.serial + i }, server),
      ),
  };
}

function openNext(config: Config, lengths: Lengths): PromptSource["next"] {
  if (config.TARGETS !== "") return targetPrompts(config);
  if (config.DATASET !== "") return datasetPrompts(config, lengths);
  const prompts = syntheticPrompts(config, openWords(config), lengths);
  return (slot, server, words) => prompts.at(slot.index, slot.level, server.tokensPerWord, words);
}

/** The elements of a file, shared by all VUs. */
interface Elements {
  readonly length: number;
  at(index: number): unknown;
}

/** A dataset's entries in turn, each with the settings' output length where it has none of its own. */
function datasetPrompts(config: Config, lengths: Lengths): PromptSource["next"] {
  const { entrySyntax, parseEntry } = require("./dataset") as typeof import("./dataset");
  const elements = openElements("DATASET", config.DATASET, shippedDatasets[config.DATASET]);
  const entryAt = (index: number): Entry => {
    const entry = parseEntry(elements.at(index % elements.length));
    if (!entry) throw new SettingError(`DATASET=${config.DATASET}: element ${index + 1} is not ${entrySyntax}`);
    return entry;
  };
  // A bad row met in the middle of a run would end it there. Once for all VUs: it goes through the whole file.
  orRefuse(() =>
    shared("dataset checked", () => {
      for (let i = 0; i < elements.length; i++) requireSendable(config, entryAt(i));
      return true;
    }),
  );
  const outputs = lengths.outputTokens ?? config.OUTPUT_TOKENS;
  return (slot) => {
    const { input, inputTokens, outputTokens } = clipped(entryAt(slot.serial), config.MAX_INPUT_TOKENS);
    const rng = seededRng(config.SEED ^ hashText(slot.level), slot.index);
    const length = outputTokens ?? sample(outputs, rng);
    return { input, inputTokens, outputTokens: Math.min(length, config.MAX_OUTPUT_TOKENS ?? length) };
  };
}

/** @throws SettingError for token ids where the API takes none: as digits in a text they would be another prompt. */
function requireSendable({ API: api, DATASET: dataset }: Config, { input }: Entry): void {
  if (input.kind === "tokenIds" && api !== "completions" && api !== "embeddings" && api !== "json") {
    throw new SettingError(`DATASET=${dataset} holds token ids, which API=${api} does not take; set API=completions`);
  }
}

/** The addresses of TARGETS in turn: every line is a path or an address, the prompt is what BODY makes of nothing. */
function targetPrompts(config: Config): PromptSource["next"] {
  const elements = openElements("TARGETS", config.TARGETS, undefined);
  const urlAt = (index: number) => String(elements.at(index % elements.length)).trim();
  orRefuse(() =>
    shared("targets checked", () => {
      for (let i = 0; i < elements.length; i++) {
        if (/^(\/|https?:\/\/)/.test(urlAt(i))) continue;
        throw new SettingError(`TARGETS=${config.TARGETS}: line ${i + 1} is no path that begins with / and no address`);
      }
      return true;
    }),
  );
  return (slot) => {
    const url = urlAt(slot.serial);
    return { input: { kind: "text", text: "" }, inputTokens: 0, outputTokens: 0, url };
  };
}

/** Token ids can be cut to a length; what a text's length in tokens is, only the server knows. */
function clipped(entry: Entry, maxTokens: number | undefined): Entry {
  if (maxTokens === undefined || entry.input.kind !== "tokenIds" || entry.input.tokenIds.length <= maxTokens)
    return entry;
  const tokenIds = entry.input.tokenIds.slice(0, maxTokens);
  return { ...entry, input: { kind: "tokenIds", tokenIds }, inputTokens: maxTokens };
}

function openElements(setting: "DATASET" | "TARGETS", name: string, shippedFile: string | undefined): Elements {
  const path = shippedFile ? shippedPath(shippedFile) : userPath(name);
  return orRefuse(() => {
    let elements: Elements;
    try {
      elements = readElements(path);
    } catch (error) {
      // Go's errors come with the name of what threw them.
      const reason = (error instanceof Error ? error.message : String(error)).replace(/^(GoError: )?new Lines: /, "");
      const sets = setting === "DATASET" ? `; the sets that ship are ${Object.keys(shippedDatasets).join(", ")}` : "";
      throw new SettingError(`${setting}=${name} cannot be read: ${reason}${sets}`);
    }
    if (elements.length === 0) throw new SettingError(`${setting}=${name} has no element in it`);
    if (setting === "DATASET") promptRows(`${setting}=${name}`, elements.length);
    return elements;
  });
}

function readElements(path: string): Elements {
  const { parseCsv, parseJsonArray, parseLine } = require("./dataset") as typeof import("./dataset");
  const parse = path.endsWith(".csv") ? parseCsv : path.endsWith(".json") ? parseJsonArray : undefined;
  if (!parse) {
    const lines = new Lines(path);
    return { length: lines.length, at: (index) => parseLine(lines.get(index)) };
  }
  const array = shared(path, () => parse(open(path)));
  return { length: array.length, at: (index) => array[index] };
}

/** Prompts with the lengths of a trace's rows; where the trace knows blocks, equal blocks become equal text. */
export function tracePrompts(config: Config, trace: readonly TraceRow[]): PromptSource {
  const prompts = recordedPrompts(config, openWords(config), trace);
  // Not the slot's number in its level: the row's arrival and its prompt belong together.
  return sourceOf((slot, server, words) => prompts.at(slot.serial, slot.level, server.tokensPerWord, words));
}
