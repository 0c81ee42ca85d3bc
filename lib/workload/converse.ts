/** Holds one conversation: its turns in order, each with the history that the settings ask for. Pure: the caller sends. */
import type { Settings } from "../settings/settings";
import type { Message } from "./formats/conversation";
import type { Prompt } from "./prompt";
import type { PlannedSession, PlannedTurn } from "./sessions";

/** When a turn may be sent; what TurnOptions of the module's sessions is. */
export interface TurnTiming {
  readonly waitMs: number;
  readonly notBeforeMs?: number;
  readonly tool: boolean;
}

/** A call of a tool that the answer made. */
export interface Call {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/** What came of a turn, as far as its session goes on with it. */
export interface Answer {
  readonly text: string;
  readonly toolCalls: readonly Call[];
}

/** How a conversation's turns are sent. S stands for a turn that was permitted. */
export interface Sender<S> {
  /** Resolves when the turn is due, behind the end of those that it follows (none: of the one before it); null: no more is to be sent. */
  permit(timing: TurnTiming, after: readonly S[] | undefined): Promise<S | null>;
  /** Resolves when the turn has ended; undefined where it failed, or was given up. */
  send(prompt: Prompt, turn: PlannedTurn, permitted: S): Promise<Answer | undefined>;
  /** Says that a turn was added to those planned. */
  added(): void;
}

/** The settings that a conversation follows from. */
export type ConverseSettings = Pick<Settings, "HISTORY" | "API">;

/** What a scripted tool gives back, and how often it may be called behind one turn of the user's. */
export interface Tools {
  readonly rounds: number;
  /** The turn that hands over the result of the calls of an answer. */
  result(calls: readonly Call[]): PlannedTurn;
}

/**
 * Sends the turns of a session and resolves when it is over. A turn that failed ends it: `permit` gives no more. With `tools` the
 * answers that call one are given its result.
 */
export async function converse<S>(
  settings: ConverseSettings,
  { turns }: PlannedSession,
  sender: Sender<S>,
  tools?: Tools,
): Promise<void> {
  const chain = new Chain(settings, sender, tools);
  if (turns.every(({ after }) => after === undefined)) {
    for (const turn of turns) if (!(await chain.hold(turn, undefined))) return;
    return;
  }
  // Branches: each turn follows the first of those that it waits for.
  const held: Promise<Held<S> | undefined>[] = [];
  turns.forEach((turn, k) => {
    const after = turn.after ?? (k > 0 ? [k - 1] : []);
    held[k] = Promise.all(after.map((before) => held[before])).then((ended) => {
      const before = ended.filter((each) => each !== undefined);
      if (before.length < ended.length) return undefined;
      return chain.follow(before[0]).hold(
        turn,
        before.map(({ permitted }) => permitted),
      );
    });
  });
  await Promise.all(held);
}

/** A turn that has ended well, and the conversation up to its answer. */
interface Held<S> {
  readonly permitted: S;
  readonly chain: Chain<S>;
}

/** A conversation as it grows. */
class Chain<S> {
  private history: Message[] = [];
  private answer: Answer | undefined;
  private readonly settings: ConverseSettings;
  private readonly sender: Sender<S>;
  private readonly tools: Tools | undefined;

  constructor(settings: ConverseSettings, sender: Sender<S>, tools: Tools | undefined) {
    this.settings = settings;
    this.sender = sender;
    this.tools = tools;
  }

  /** The conversation that goes on behind this turn; a new one behind none. */
  follow(turn: Held<S> | undefined): Chain<S> {
    const chain = new Chain(this.settings, this.sender, this.tools);
    chain.history = [...(turn?.chain.history ?? [])];
    chain.answer = turn?.chain.answer;
    return chain;
  }

  /** Sends a turn, and what its tools answer; undefined where the session ends with it. */
  async hold(turn: PlannedTurn, after: readonly S[] | undefined): Promise<Held<S> | undefined> {
    let permitted = await this.one(turn, after);
    for (let round = 0; permitted !== undefined && this.tools && round < this.tools.rounds; round++) {
      const calls = this.answer?.toolCalls ?? [];
      if (calls.length === 0) break;
      this.sender.added();
      permitted = await this.one(this.tools.result(calls), [permitted]);
    }
    return permitted === undefined ? undefined : { permitted, chain: this };
  }

  private async one(turn: PlannedTurn, after: readonly S[] | undefined): Promise<S | undefined> {
    const { waitMs, notBeforeMs, tool } = turn;
    const timing = { waitMs, tool, ...(notBeforeMs === undefined ? {} : { notBeforeMs }) };
    const permitted = await this.sender.permit(timing, after);
    if (permitted === null) return undefined;
    // Only now: what a thousand sessions that wait will send would fill the memory.
    this.history = turn.whole ? [...turn.messages] : [...this.history, ...continued(this.settings, turn, this.answer)];
    const input = inputOf(this.history);
    this.answer = await this.sender.send({ ...turn.prompt, input }, turn, permitted);
    return this.answer && permitted;
  }
}

/** One message of the user's is sent as such, so that every API takes it. */
function inputOf(messages: readonly Message[]): Prompt["input"] {
  return { kind: "messages", messages: messages as (Message & { content: unknown })[] };
}

/** What a turn adds to the history: the answer to the turn before, and its own messages. */
function continued(
  { HISTORY: history, API: api }: ConverseSettings,
  { messages, answer: recorded }: Pick<PlannedTurn, "messages" | "answer">,
  live: Answer | undefined,
): Message[] {
  if (live === undefined) return [...messages]; // the first turn
  if (recorded && history !== "live") return [...recorded, ...messages];
  const results = messages.filter(({ role }) => role === "tool");
  if (api !== "chat" || live.toolCalls.length === 0 || results.length === 0) {
    // Results of tools that the live answer did not call: the file's own answer called them.
    if (results.length > 0 && recorded) return [...recorded, ...messages];
    const plain = messages.map((each) => (each.role === "tool" ? { role: "user", content: each.content } : each));
    return [{ role: "assistant", content: live.text }, ...plain];
  }
  const calls = live.toolCalls.map(({ id, name, arguments: text }, k) => ({
    id: id || `call_${k}`,
    type: "function",
    function: { name, arguments: text },
  }));
  // Each call has its result: the file's in their order, the last one again where the model called more.
  const matched = calls.map(({ id }, k) => ({ ...(results[k] ?? results.at(-1)), role: "tool", tool_call_id: id }));
  const rest = messages.filter(({ role }) => role !== "tool");
  return [
    { role: "assistant", content: live.text === "" ? null : live.text, tool_calls: calls } as Message,
    ...matched,
    ...rest,
  ];
}
