/** Conversations of a file as sessions: turns in order, each with what is new in it. For the VU that reads them (lib/lazy.ts). */
import { beforeLoad } from "../../lazy";
import { BlockScale } from "./blocks";
import type { Message } from "./conversation";
import type { Keep, ReadSettings, RowReader, RowTaker, Sending } from "./read";
import { type Json, type Notes, numbersTo, type Row, requireDelay, type TimeUnit } from "./row";
import { inTime, originOf, TimeScale, Times, timeMs } from "./times";

/** One turn of a session as the load keeps it, in JSON. */
export interface KeptTurn {
  /** What the user or the tools say: the messages behind the answer to the turn before. Absent where the file has lengths only. */
  readonly messages?: readonly Message[];
  /** The recorded answer to the turn before, which those messages follow; absent where the file has none. */
  readonly answer?: readonly Message[];
  /** The messages are the whole request, not what follows the turn before: the file's history was changed in between. */
  readonly whole?: boolean;
  readonly body?: Json;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly ceiling?: boolean;
  readonly blockIds?: readonly number[];
  readonly blockTokens?: number;
  /** Recorded wait between the last end of what it follows and this turn, ms. */
  readonly waitMs?: number;
  /** Recorded time since the session's begin, ms: it is sent no earlier. Absent where there is a wait. */
  readonly atMs?: number;
  /** It hands over results of tools: its wait is the tools'. */
  readonly tool?: boolean;
  /** The turns, by number, that must have ended before; by default the one before it. */
  readonly after?: readonly number[];
}

/** One session as the load keeps it. */
export interface KeptSession {
  /** As the file calls it. */
  readonly id?: string;
  readonly turns: readonly KeptTurn[];
}

/** Reads conversations, those of a TRACE with the times at which they begin. */
export function sessionReader(timed: boolean): RowReader {
  return { sessions: true, open: (settings, notes, keep) => new SessionRows(settings, notes, keep, timed) };
}

/** A session that is not kept yet: its rows in JSON. As objects they would take many times the memory of their text. */
type Waiting = string[];

/**
 * Takes the rows of a file as sessions. Rows with one session's name that stand apart belong together. What is complete is kept at
 * once: a file may have many sessions. What has times or lengths of words waits for the file's end, which tells their unit and the
 * size of a block.
 */
class SessionRows implements RowTaker {
  about = "";
  readonly item = "session";
  private readonly before = beforeLoad();
  /** Of each session its number among those that were kept, or its rows. */
  private readonly sessions: (number | Waiting)[] = [];
  private readonly byName = new Map<string, Waiting>();
  /** Of a TRACE: when each session begins. */
  private readonly begins = new Times();
  private readonly scale = new TimeScale();
  private readonly blocks = new BlockScale();
  private declared: Pick<Row, "unit" | "blockTokens"> = {};
  private kept = 0;
  /** Turns of each session that was kept. */
  private readonly turns: number[] = [];
  /** Of sessions that lack an answer which their history needs: the first turn behind one, from 0. */
  private readonly unanswered = new Map<number, number>();

  constructor(
    private readonly settings: ReadSettings,
    private readonly notes: Notes,
    private readonly keep: Keep,
    private readonly timed: boolean,
  ) {}

  take(taken: readonly Row[]): boolean {
    const rows = this.turnsOf(taken);
    const sent = rows.filter((row) => this.isSent(row));
    const [first] = sent;
    if (!first) {
      this.notes.remark("empty rows are left out");
      return true;
    }
    for (const row of sent) this.see(row);
    const apart = rows.length === 1 && first.session !== undefined;
    const known = apart ? this.byName.get(first.session ?? "") : undefined;
    if (known) {
      known.push(...sent.map((row) => JSON.stringify(row)));
      return true;
    }
    if (this.timed) this.begin(first);
    const complete = !apart && sent.every(({ input, time }) => input && time === undefined);
    const session = complete ? this.add(sent) : sent.map((row) => JSON.stringify(row));
    this.sessions.push(session);
    if (apart && typeof session !== "number") this.byName.set(first.session ?? "", session);
    const { DATASET_LIMIT: limit, DATASET_SHUFFLE: shuffle } = this.settings;
    // A session whose turns stand apart may go on at the file's end.
    return limit === undefined || shuffle || this.byName.size > 0 || this.sessions.length < limit;
  }

  /** Looks at what the whole file tells of a row. */
  private see(row: Row): void {
    requireDelay(row);
    if (row.time !== undefined) this.scale.see(row.time);
    if (row.blockTokens === undefined && row.blockIds && row.inputTokens)
      this.blocks.see(row.inputTokens, row.blockIds.length);
    if (row.input) this.before.requireSendable(row, this.settings.API, this.notes);
    const { unit = row.unit, blockTokens = row.blockTokens } = this.declared;
    this.declared = { ...(unit && { unit }), ...(blockTokens !== undefined && { blockTokens }) };
  }

  private begin({ time }: Row): void {
    if (time === undefined)
      throw new Error(
        "has a session whose first turn has no time; sessions without times are sent by DATASET in the place of TRACE",
      );
    this.begins.add(time);
  }

  /** Keeps a session and returns its number. */
  private add(rows: readonly Row[], unit?: TimeUnit, blockTokens?: number): number {
    const begins = rows[0]?.time;
    const originMs = begins === undefined ? 0 : originOf(begins, unit);
    const at = (time: number | string) => timeMs(time, unit, originMs);
    const session = this.session(rows, at, blockTokens);
    this.keep(JSON.stringify(session));
    const lacks = session.turns.findIndex(lacksAnswer);
    if (lacks >= 0) this.unanswered.set(this.kept, lacks);
    this.turns.push(rows.length);
    return this.kept++;
  }

  /** A recorded request that holds its history is a conversation of as many turns. */
  private turnsOf(rows: readonly Row[]): readonly Row[] {
    const [only] = rows;
    if (rows.length !== 1 || only?.session !== undefined || only?.input?.kind !== "messages") return rows;
    const messages = only.input.messages as readonly Message[];
    if (!messages.some(({ role }) => role === "assistant")) return rows;
    this.notes.remarks.delete(this.before.sentAsHistory);
    return this.before.turnRows(messages, { ...only, turn: undefined });
  }

  private isSent({ input, outputTokens, inputTokens, blockIds }: Row): boolean {
    if (input?.kind === "text" && input.text === "") return false;
    if (outputTokens === 0 || (!input && inputTokens === 0)) {
      this.notes.remark("turns without output or input are left out");
      return false;
    }
    if (!input && (inputTokens === undefined || outputTokens === undefined)) {
      throw new Error(`has neither a prompt nor the lengths of one${blockIds ? " (hash_ids alone)" : ""}`);
    }
    return true;
  }

  end(): Sending {
    const unit = this.timeUnit();
    const blockTokens = this.blockSize();
    const { order, timesMs } = this.timed ? this.inTime(unit) : { order: this.drawn(), timesMs: undefined };
    let turns = 0;
    // What is left is kept in the order of sending, so that only this is.
    for (let i = 0; i < order.length; i++) {
      const session = this.sessions[order[i] as number] as number | Waiting;
      const waiting = typeof session !== "number";
      const number = waiting ? this.add(session.map(rowIn), unit, blockTokens) : session;
      if (waiting) this.sessions[order[i] as number] = number;
      order[i] = number;
      turns += this.turns[number] as number;
      this.requireAnswers(number, i);
    }
    this.about = `, ${turns} turns${blockTokens === undefined ? "" : `, blocks of ${blockTokens} tokens`}`;
    return { order, ...(timesMs && { timesMs }) };
  }

  /** @throws Error where the session, number `place` of those that are held, lacks an answer that it is sent with. */
  private requireAnswers(session: number, place: number): void {
    const turn = this.unanswered.get(session);
    if (turn !== undefined && this.settings.HISTORY === "recorded")
      throw new Error(
        `session ${place + 1} has no answer before its turn ${turn + 1}, which HISTORY=recorded sends; set HISTORY=live`,
      );
  }

  /** The sessions of a DATASET that are held, in their order. */
  private drawn(): Uint32Array {
    const { DATASET_LIMIT: limit, DATASET_SHUFFLE: shuffle, SEED: seed } = this.settings;
    const order = numbersTo(this.sessions.length);
    return (shuffle ? this.before.shuffled(order, seed) : order).subarray(0, limit);
  }

  private timeUnit() {
    const { TRACE_UNIT: given } = this.settings;
    const found = this.scale.unit();
    return found === undefined ? undefined : given === "auto" ? (this.declared.unit ?? found) : given;
  }

  private blockSize(): number | undefined {
    const { blockTokens: declared } = this.declared;
    const size = this.settings.TRACE_BLOCK ?? declared ?? this.blocks.tokens();
    if (this.blocks.used && size === undefined)
      throw new Error("has hash_ids whose number fits no block size; say how many tokens a block has by TRACE_BLOCK");
    return this.blocks.used || declared !== undefined ? size : undefined;
  }

  /** The sessions of a TRACE in the order of their begins, those of the window. */
  private inTime(unit: TimeUnit | undefined): { order: Uint32Array; timesMs: Float64Array } {
    const { TRACE_WINDOW: window, SPEED: speed } = this.settings;
    const { order = numbersTo(this.begins.length), timesMs } = inTime(this.begins.ms(unit), window, speed, () => {});
    if (window && timesMs.length === 0) throw new Error("has no session in TRACE_WINDOW");
    return { order, timesMs };
  }

  private session(rows: readonly Row[], at: (time: number | string) => number, blockTokens: number | undefined) {
    const zero = rows[0]?.time === undefined ? 0 : at(rows[0].time);
    const { SPEED: speed } = this.settings;
    let before: readonly Message[] = [];
    const turns = rows.map((row, k): KeptTurn => {
      const { input: _, ...lengths } = this.before.promptOf(row, this.notes);
      const messages = messagesOf(row);
      const news = messages && k > 0 ? newIn(messages, before) : messages && { messages };
      if (messages) before = messages;
      if (news && "whole" in news) this.notes.remark("turns whose history differs from the turn before are sent whole");
      const waits = waitOf(row, k, zero, at, speed);
      return {
        ...news,
        ...lengths,
        ...(row.input ? {} : { blockIds: row.blockIds, blockTokens }),
        ...waits,
        ...((row.tool ?? messages?.at(-1)?.role === "tool") ? { tool: true } : {}),
        ...(row.after === undefined ? {} : { after: row.after }),
      };
    });
    const id = rows[0]?.session;
    return { ...(id === undefined || id === "" ? {} : { id }), turns };
  }
}

const rowIn = (text: string): Row => JSON.parse(text);

/** Whether the file has no answer to the turn before this one, with which its request would begin. */
function lacksAnswer({ messages, answer, whole }: KeptTurn, turn: number): boolean {
  return turn > 0 && messages !== undefined && !whole && answer === undefined;
}

function waitOf(
  { delayMs, time }: Row,
  turn: number,
  zero: number,
  at: (time: number | string) => number,
  speed: number,
): Pick<KeptTurn, "waitMs" | "atMs"> {
  if (delayMs !== undefined) return { waitMs: delayMs / speed };
  if (time === undefined || turn === 0) return {};
  return { atMs: Math.max(0, at(time) - zero) / speed };
}

function messagesOf({ input }: Row): readonly Message[] | undefined {
  if (input?.kind === "messages") return input.messages;
  if (input?.kind === "tokenIds")
    throw new Error("holds token ids, which are no turn of a conversation; set API=chat and a text");
  return input && [{ role: "user", content: input.text }];
}

/** What a turn's messages add to those of the turn before: the recorded answer to that, and what follows it. */
function newIn(
  messages: readonly Message[],
  before: readonly Message[],
): Pick<KeptTurn, "messages" | "answer" | "whole"> {
  // Turns of one record share their messages.
  const same = before.every(
    (message, i) => message === messages[i] || JSON.stringify(message) === JSON.stringify(messages[i]),
  );
  if (!same || messages.length <= before.length) return { messages, whole: true };
  const rest = messages.slice(before.length);
  const begins = rest.findIndex(({ role }) => role !== "assistant");
  if (begins < 0) return { messages, whole: true };
  return { messages: rest.slice(begins), ...(begins > 0 ? { answer: rest.slice(0, begins) } : {}) };
}
