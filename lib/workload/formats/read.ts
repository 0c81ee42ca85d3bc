/** Reads a file of prompts or a trace, whatever its format is, into rows to be sent. Pure. */
import { type Column, renamed } from "./columns";
import { openRecords, type Records, type TextFile } from "./container";
import { joinMessageRows } from "./conversation";
import { formats, unknownRecord } from "./formats";
import { promptOf } from "./kept";
import type { Likeness, TimedRows } from "./like";
import { promptFormat } from "./prompt";
import { messagesFormat } from "./request";
import { type Format, type Json, Notes, numbersTo, type Row, requireDelay, shuffled, type TimeUnit } from "./row";
import { requireSendable, type SendApi } from "./send";
import type { Window } from "./times";

export type { KeptRow } from "./kept";
export type { Window } from "./times";

/** The settings that a file is read by. */
export interface ReadSettings {
  readonly API: SendApi;
  readonly TURNS: "auto" | "first" | "last" | "timed";
  readonly DATASET_COLUMNS: readonly Column[];
  readonly DATASET_LIMIT?: number;
  readonly DATASET_SHUFFLE: boolean;
  readonly SEED: number;
  readonly MAX_INPUT_TOKENS?: number | undefined;
  readonly TRACE_UNIT: "auto" | TimeUnit;
  readonly TRACE_BLOCK?: number;
  readonly TRACE_WINDOW?: Window;
  readonly SPEED: number;
  readonly HISTORY?: "auto" | "live" | "recorded";
}

/** Keeps the text of a row, KeptRow or KeptSession in JSON, or rows of lengths that the file has read by itself. */
export type Keep = (rows: string | TimedRows) => void;

/** Which of the kept rows are sent, and when. */
export interface Sending {
  /** Their numbers from 0 in the order of sending; absent: all, as they were kept. */
  readonly order?: Uint32Array;
  /** Of a TRACE: when each is sent, ms from the begin of the load, in the order of sending. */
  readonly timesMs?: Float64Array;
  /** Of a TRACE: input tokens that an id of a row's blocks stands for; absent where no row has ids. */
  readonly blockTokens?: number;
}

/** What a file turned out to be: how its rows are sent, and lines about it. */
export interface ReadFile extends Sending {
  /** "GuideLLM JSONL: prompt, output_tokens_count; 5 rows". */
  readonly found: string;
  /** What is not sent or not as one might think, a line each. */
  readonly notes: readonly string[];
}

type Kind = "DATASET" | "TRACE";

/**
 * Reads the file that `kind` names and hands each row to `keep`, as `reader` makes it: a row of a TRACE and a conversation need one of
 * their own.
 * A file may have millions of rows: of each only what `keep` makes of it and a few numbers in typed arrays outlive its reading.
 * @throws Error that names the row, the field and what to do, for the first row that is not understood.
 */
export function readFile(
  kind: Kind,
  name: string,
  file: TextFile,
  settings: ReadSettings,
  keep: Keep,
  { sessions = false, open }: RowReader = promptReader,
): ReadFile {
  if (sessions) requireUncut(settings);
  const records = openRecords(name, file, (value) => formats.some((format) => format.matches(value)));
  const notes = new Notes();
  let kept = 0;
  const counted: Keep = (rows) => {
    kept += typeof rows === "string" ? 1 : rows.length;
    keep(rows);
  };
  const take = open(settings, notes, counted);
  const choose = (rows: readonly Row[], format: Format) =>
    sessions ? rows : chosenTurns(rows, format, settings.TURNS, kind, notes);
  const format = eachRow(records, settings, notes, choose, take);
  if (!format) throw new Error("has no row in it");
  const sending = take.end();
  const count = sending.order?.length ?? kept;
  if (count === 0) throw new Error("has no row to send: all are empty");
  const used = [...notes.used].join(", ") || "a text a row";
  const found = `${dialect(format, notes)} ${records.kind}: ${used}; ${count} ${take.item}${count === 1 ? "" : "s"}${take.about}`;
  return { ...sending, found, notes: noteLines(notes) };
}

/** How the rows of a file are kept: as prompts, as rows with times (trace-rows.ts) or as conversations (sessions.ts). */
export interface RowReader {
  /** They are conversations, which are sent turn after turn. */
  readonly sessions?: boolean;
  open(settings: ReadSettings, notes: Notes, keep: Keep): RowTaker;
}

const promptReader: RowReader = { open: (settings, notes, keep) => new PromptRows(settings, notes, keep) };

/** Makes of a file's rows what the load keeps. */
export interface RowTaker {
  /** Takes the rows of one record or conversation; false: enough. */
  take(rows: readonly Row[]): boolean;
  /** Takes rows that look like the one taken last, as `like` has said. */
  takeAlike?(rows: TimedRows): void;
  /** What the file may read by itself where rows are like the one taken last; undefined: nothing. */
  like?(row: Likeness): Likeness | undefined;
  end(): Sending;
  readonly about: string;
  /** What it makes of the rows, in messages. */
  readonly item: string;
}

/** Reads all records; the file's format is that of its first. */
function eachRow(
  records: Records,
  settings: ReadSettings,
  notes: Notes,
  choose: (rows: readonly Row[], format: Format) => readonly Row[],
  taker: RowTaker,
): Format | undefined {
  let format: Format | undefined;
  // Rows in JSON: as objects they would take many times the memory of their text.
  const groups = new Map<string, string[]>();
  const give = (rows: readonly Row[]) => taker.take(choose(rows, format as Format));
  records.each((record, number) => {
    try {
      const named = renamed(record, settings.DATASET_COLUMNS);
      format ??= formats.find((candidate) => candidate.matches(named));
      if (!format) throw new Error(unknownRecord(named));
      const rows = readerOf(named, format).read(named, notes);
      if (!rows) return true;
      if (!format.grouped) {
        if (!give(rows)) return false;
        const like = named === record && taker.like ? format.like?.(named as Json, notes) : undefined;
        return like === undefined || taker.like?.(like);
      }
      for (const row of rows) {
        requireDelay(row);
        const group = groups.get(row.session ?? "") ?? [];
        if (group.push(JSON.stringify(row)) === 1) groups.set(row.session ?? "", group);
      }
      return true;
    } catch (error) {
      throw new Error(`${records.place} ${number} ${error instanceof Error ? error.message : error}`);
    }
  }, taker.takeAlike?.bind(taker));
  for (const [session, rows] of groups) {
    try {
      if (!give(joinMessageRows(rows.map((row) => JSON.parse(row))))) break;
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
  const first = rows[0];
  const last = rows[rows.length - 1];
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

/** @throws Error for a limit that a text is not cut to: how many tokens a word has only the server knows. */
function requireUncut({ MAX_INPUT_TOKENS: limit }: ReadSettings): void {
  if (limit !== undefined)
    throw new Error(
      `has texts, which MAX_INPUT_TOKENS=${limit} does not cut: it cuts prompts of token ids; leave it out, or shorten the file's rows`,
    );
}

/** The rows of a DATASET. */
class PromptRows implements RowTaker {
  readonly about = "";
  readonly item = "row";
  private count = 0;

  constructor(
    private readonly settings: ReadSettings,
    private readonly notes: Notes,
    private readonly keep: Keep,
  ) {}

  take(rows: readonly Row[]): boolean {
    if (rows.length === 0) this.notes.remark("empty rows are left out");
    for (let i = 0; i < rows.length; i++) this.add(rows[i] as Row);
    const { DATASET_LIMIT: limit, DATASET_SHUFFLE: shuffle } = this.settings;
    return limit === undefined || shuffle || this.count < limit;
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
    if (row.input.kind !== "tokenIds") requireUncut(this.settings);
    requireSendable(row, this.settings.API, this.notes);
    this.keep(JSON.stringify(promptOf(row, this.notes)));
    this.count++;
  }

  end(): Sending {
    const { DATASET_LIMIT: limit = this.count, DATASET_SHUFFLE: shuffle, SEED: seed } = this.settings;
    if (!shuffle && limit >= this.count) return {};
    const order = numbersTo(this.count);
    return { order: (shuffle ? shuffled(order, seed) : order).subarray(0, limit) };
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
