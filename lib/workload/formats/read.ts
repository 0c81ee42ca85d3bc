/** Reads a file of prompts or a trace, whatever its format is, into rows to be sent. Pure. */
import { BlockScale } from "./blocks";
import { type Column, renamed } from "./columns";
import { openRecords, type TextFile } from "./container";
import { joinMessageRows } from "./conversation";
import { formats, unknownRecord } from "./formats";
import { promptOf } from "./kept";
import { promptFormat } from "./prompt";
import { messagesFormat } from "./request";
import { type Format, Notes, type Row, shuffled, type TimeUnit } from "./row";
import { requireSendable, type SendApi } from "./send";
import { SessionRows } from "./sessions";
import { originOf, TimeScale, timeMs } from "./time";

export type { KeptRow } from "./kept";

/** The settings that a file is read by. */
export interface ReadSettings {
  readonly API: SendApi;
  readonly TURNS: "auto" | "first" | "last" | "timed";
  readonly DATASET_COLUMNS: readonly Column[];
  readonly DATASET_LIMIT?: number;
  readonly DATASET_SHUFFLE: boolean;
  readonly SEED: number;
  readonly TRACE_UNIT: "auto" | TimeUnit;
  readonly TRACE_BLOCK?: number;
  readonly TRACE_WINDOW?: Window;
  readonly SPEED: number;
}

/** A part of a trace: rows by number from 1, or times from its first, ms; `to` is included of rows and left out of times. */
export interface Window {
  readonly of: "rows" | "time";
  readonly from: number;
  readonly to: number;
}

/** What a file turned out to be: its rows in the order of sending, and lines about it. */
export interface ReadFile {
  /** KeptRow in JSON. */
  readonly rows: readonly string[];
  /** "GuideLLM JSONL: prompt, output_tokens_count; 5 rows". */
  readonly found: string;
  /** What is not sent or not as one might think, a line each. */
  readonly notes: readonly string[];
}

type Kind = "DATASET" | "TRACE";

/**
 * Reads the file that `kind` names, with `sessions` as conversations that are sent turn after turn (KeptSession).
 * @throws Error that names the row, the field and what to do, for the first row that is not understood.
 */
export function readFile(kind: Kind, name: string, file: TextFile, settings: ReadSettings, sessions = false): ReadFile {
  const records = openRecords(name, file, (value) => formats.some((format) => format.matches(value)));
  const notes = new Notes();
  const take = takerOf(kind, settings, notes, sessions);
  const choose = (rows: readonly Row[], format: Format) =>
    sessions ? rows : chosenTurns(rows, format, settings.TURNS, kind, notes);
  const format = eachRow(records.each, settings, notes, choose, take);
  if (!format) throw new Error("has no row in it");
  const kept = take.end();
  if (kept.length === 0) throw new Error("has no row to send: all are empty");
  const used = [...notes.used].join(", ") || "a text a row";
  const found = `${dialect(format, notes)} ${records.kind}: ${used}; ${kept.length} ${take.item}${kept.length === 1 ? "" : "s"}${take.about}`;
  return { rows: kept, found, notes: noteLines(notes) };
}

function takerOf(kind: Kind, settings: ReadSettings, notes: Notes, sessions: boolean): RowTaker {
  if (sessions) return new SessionRows(settings, notes, kind === "TRACE");
  return kind === "TRACE" ? new TraceRows(settings, notes) : new PromptRows(settings, notes);
}

type Each = (take: (record: unknown, place: string) => unknown) => void;

/** Makes of a file's rows what the load keeps. */
export interface RowTaker {
  /** Takes the rows of one record or conversation; false: enough. */
  take(rows: readonly Row[]): boolean;
  end(): readonly string[];
  readonly about: string;
  /** What it makes of the rows, in messages. */
  readonly item: string;
}

/** Reads all records; the file's format is that of its first. */
function eachRow(
  each: Each,
  settings: ReadSettings,
  notes: Notes,
  choose: (rows: readonly Row[], format: Format) => readonly Row[],
  taker: RowTaker,
): Format | undefined {
  let format: Format | undefined;
  const groups = new Map<string, Row[]>();
  const give = (rows: readonly Row[]) => taker.take(choose(rows, format as Format));
  each((record, place) => {
    try {
      const named = renamed(record, settings.DATASET_COLUMNS);
      format ??= formats.find((candidate) => candidate.matches(named));
      if (!format) throw new Error(unknownRecord(named));
      const rows = readerOf(named, format).read(named, notes);
      if (!rows) return true;
      if (!format.grouped) return give(rows);
      for (const row of rows) groups.set(row.session ?? "", [...(groups.get(row.session ?? "") ?? []), row]);
      return true;
    } catch (error) {
      throw new Error(`${place} ${error instanceof Error ? error.message : error}`);
    }
  });
  for (const [session, rows] of groups) {
    try {
      if (!give(joinMessageRows(rows))) break;
    } catch (error) {
      throw new Error(`conversation ${session} ${error instanceof Error ? error.message : error}`);
    }
  }
  return format;
}

/** Formats whose records may stand side by side in a file. */
const mixable: readonly Format[] = [promptFormat, messagesFormat];

/** The format that reads this record of a file. @throws Error where it is of another one than the file. */
function readerOf(record: unknown, format: Format): Format {
  const own = format.matches(record) ? format : (formats.find((candidate) => candidate.matches(record)) ?? format);
  if (own === format || (mixable.includes(own) && mixable.includes(format))) return own;
  throw new Error(`is of another format (${own.name}) than the rows before it (${format.name})`);
}

/** The turns of a conversation that are sent. @throws Error where it is not said which. */
function chosenTurns(
  rows: readonly Row[],
  format: Format,
  turns: ReadSettings["TURNS"],
  kind: Kind,
  notes: Notes,
): readonly Row[] {
  const [first] = rows;
  const last = rows.at(-1);
  if (!first || !last || (rows.length === 1 && (first.turn ?? 0) === 0)) return rows;
  if (turns === "first") return first.turn === 0 ? [first] : [];
  if (rows.some(({ after }) => after !== undefined))
    throw new Error(
      "has subagents, whose requests wait for one another: the scenario conversations sends them; here set TURNS=first",
    );
  if (turns === "timed" && kind === "TRACE") {
    if (rows.every(({ time }) => time !== undefined)) return rows;
    throw new Error(`has a turn without a time of its own; set TURNS=first`);
  }
  if (turns === "last" && kind === "DATASET") {
    if (!last.needsAnswers && rows.every(({ needsAnswers }) => !needsAnswers)) return [last];
    throw new Error("lacks the answers to its earlier turns, so that its last turn has no history; set TURNS=first");
  }
  if (format.firstTurn && turns === "auto") {
    notes.remark(
      "only the first turn of a conversation is sent, as the tools do that read this format; TURNS=last sends its last turn with the history before it",
    );
    return [first];
  }
  const unanswered = rows.some(({ needsAnswers }) => needsAnswers);
  const withHistory = unanswered ? "" : ", or TURNS=last to send the last turn with the recorded history";
  const ways = kind === "TRACE" ? ", or TURNS=timed to send each turn at its recorded time" : withHistory;
  const field = first.delayMs !== undefined && rows.length === 1 ? "delay" : (format.turnsIn ?? "messages");
  const what = rows.length > 1 ? `a conversation of ${rows.length} turns` : "a later turn of a conversation";
  throw new Error(
    `is ${what} (${field}): the scenario conversations sends them turn after turn; here set TURNS=first to send each first turn alone${ways}`,
  );
}

/** The rows of a DATASET. */
class PromptRows implements RowTaker {
  readonly about = "";
  readonly item = "row";
  private readonly texts: string[] = [];
  private readonly settings: ReadSettings;
  private readonly notes: Notes;

  constructor(settings: ReadSettings, notes: Notes) {
    this.settings = settings;
    this.notes = notes;
  }

  take(rows: readonly Row[]): boolean {
    if (rows.length === 0) this.notes.remark("empty rows are left out");
    for (const row of rows) this.add(row);
    const { DATASET_LIMIT: limit, DATASET_SHUFFLE: shuffle } = this.settings;
    return limit === undefined || shuffle || this.texts.length < limit;
  }

  private add(row: Row): void {
    if (!row.input)
      throw new Error("has lengths and no prompt: the file is a trace; set TRACE in the place of DATASET");
    if (row.input.kind === "text" && row.input.text === "") {
      this.notes.remark("empty rows are left out");
      return;
    }
    if (row.outputTokens === 0) throw new Error("has an output length of 0; take the row out, or leave the length out");
    if (row.time !== undefined)
      this.notes.remark(
        "times are not kept: the load says when a row is sent; set TRACE in the place of DATASET to send each at its time",
      );
    if (row.delayMs !== undefined) this.notes.remark("delays between turns are not kept");
    requireSendable(row, this.settings.API, this.notes);
    this.texts.push(JSON.stringify(promptOf(row, this.notes)));
  }

  end(): readonly string[] {
    const { DATASET_LIMIT: limit, DATASET_SHUFFLE: shuffle, SEED: seed } = this.settings;
    const texts = shuffle ? shuffled(this.texts, seed) : this.texts;
    return texts.slice(0, limit);
  }
}

/** The rows of a TRACE, which have times. */
class TraceRows implements RowTaker {
  about = "";
  readonly item = "row";
  private readonly rows: string[] = [];
  private readonly times: (number | string)[] = [];
  private readonly scale = new TimeScale();
  private readonly blocks = new BlockScale();
  private unit: TimeUnit | undefined;
  private blockTokens: number | undefined;
  private readonly settings: ReadSettings;
  private readonly notes: Notes;

  constructor(settings: ReadSettings, notes: Notes) {
    this.settings = settings;
    this.notes = notes;
  }

  take(rows: readonly Row[]): boolean {
    for (const row of rows) this.add(row);
    return true;
  }

  private add(row: Row): void {
    if (row.time === undefined)
      throw new Error("has no time (timestamp); rows without times are sent by DATASET in the place of TRACE");
    if (row.outputTokens === 0 || row.inputTokens === 0) {
      const lacks = row.outputTokens === 0 ? "output (requests that failed)" : "input";
      this.notes.remark(`rows without ${lacks} are left out`);
      return;
    }
    if (row.outputTokens === undefined) throw new Error("has no length of its answer (output_length)");
    this.scale.see(row.time);
    if (row.blockTokens === undefined && row.blockIds && row.inputTokens)
      this.blocks.see(row.inputTokens, row.blockIds.length);
    if (row.session !== undefined && row.input)
      this.notes.remark("requests of a session are sent at their times, without waiting for the answer before");
    this.unit ??= row.unit;
    this.blockTokens ??= row.blockTokens;
    this.times.push(row.time);
    if (row.input) requireSendable(row, this.settings.API, this.notes);
    const kept = row.input ? promptOf(row, this.notes) : row;
    const { inputTokens, outputTokens, ceiling, input, body } = kept;
    this.rows.push(
      JSON.stringify({ inputTokens, outputTokens, ceiling, input, body, blockIds: input ? undefined : row.blockIds }),
    );
  }

  end(): readonly string[] {
    const { TRACE_UNIT: asked, SPEED: speed, TRACE_BLOCK: block } = this.settings;
    const found = this.scale.unit();
    if (found === undefined && asked !== "auto" && this.rows.length > 0)
      throw new Error(`has dates for times, which have no unit; leave TRACE_UNIT=${asked} out`);
    const unit = found === undefined ? undefined : asked === "auto" ? (this.unit ?? found) : asked;
    const blockTokens = block ?? this.blockTokens ?? this.blocks.tokens();
    if (this.blocks.used && blockTokens === undefined) {
      throw new Error("has hash_ids whose number fits no block size; say how many tokens a block has by TRACE_BLOCK");
    }
    const baseMs = originOf(this.times[0] ?? 0, unit);
    const atMs = this.times.map((time) => timeMs(time, unit, baseMs));
    const order = this.order(atMs);
    const origin = this.origin(atMs, order);
    this.about = `${unit ? `, times in ${unit}` : ", dates"}${this.usesBlocks() ? `, blocks of ${blockTokens} tokens` : ""}${speed === 1 ? "" : `, ${speed} times as fast`}`;
    const blocks = this.usesBlocks() ? `"blockTokens":${blockTokens},` : "";
    return order.map((k) => `{"atMs":${((atMs[k] ?? 0) - origin) / speed},${blocks}${(this.rows[k] ?? "").slice(1)}`);
  }

  private usesBlocks(): boolean {
    return this.blocks.used || this.blockTokens !== undefined;
  }

  /** The rows' numbers by time, those of the window. */
  private order(atMs: readonly number[]): number[] {
    const order = atMs.map((_, k) => k);
    if (atMs.some((at, k) => k > 0 && at < (atMs[k - 1] ?? at))) {
      order.sort((a, b) => (atMs[a] ?? 0) - (atMs[b] ?? 0) || a - b);
      this.notes.remark("rows are not in the order of their times, in which they are sent");
    }
    const { TRACE_WINDOW: window } = this.settings;
    if (!window) return order;
    if (window.of === "rows") return order.slice(window.from - 1, window.to);
    const first = atMs[order[0] ?? 0] ?? 0;
    return order.filter((k) => {
      const at = (atMs[k] ?? 0) - first;
      return at >= window.from && at < window.to;
    });
  }

  /** The time that the load begins with: the window's, else the first row's. */
  private origin(atMs: readonly number[], order: readonly number[]): number {
    const { TRACE_WINDOW: window } = this.settings;
    const first = atMs.reduce((least, at) => Math.min(least, at), Number.POSITIVE_INFINITY);
    return window?.of === "time" ? first + window.from : (atMs[order[0] ?? 0] ?? 0);
  }
}

/** Dialects by a field that tells them. */
const dialects: Readonly<Record<string, string>> = {
  ...{ output_tokens_count: "GuideLLM", conversations: "ShareGPT", conversation: "HF chats", chat_id: "Bailian" },
  ...{ hash_ids: "Mooncake", contexttokens: "Azure", "request tokens": "BurstGPT", round_index: "TraceLab" },
  ...{ custom_id: "batch", captureData: "SageMaker capture", startTime: "LiteLLM log", tok_input: "MLPerf" },
  ...{ num_output_tokens: "SGLang token trace", "gen_ai.input.messages": "OpenTelemetry" },
};

function dialect(format: Format, { used, unsent }: Notes): string {
  const own = format.firstTurn || /^(trace|prompts|OpenAI messages|recorded requests)$/.test(format.name);
  const field = own ? Object.keys(dialects).find((each) => used.has(each) || unsent.has(each)) : undefined;
  return field === undefined ? format.name : (dialects[field] ?? format.name);
}

function noteLines({ unsent, remarks, used }: Notes): string[] {
  const lines = [...remarks].map(([text, rows]) => `${text} (${rows} ${rows === 1 ? "row" : "rows"})`);
  const names = [...unsent].filter((name) => !used.has(name));
  return names.length > 0 ? [`not sent: ${names.join(", ")}`, ...lines] : lines;
}
