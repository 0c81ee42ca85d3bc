/** Conversations: sets of recorded chats, and files of sessions. Each becomes a row a user's turn. */
import type { Input } from "../prompt";
import { Fields, isObject, isTexts, lengthFields, shown } from "./fields";
import { bodyRow } from "./request";
import type { Format, Json, Notes, Row } from "./row";

/** A message of a conversation. */
export interface Message {
  readonly role: string;
  readonly content?: unknown;
}

const roles: Readonly<Record<string, string>> = {
  ...{ human: "user", user: "user", prompter: "user", system: "system", developer: "developer", tool: "tool" },
  ...{ gpt: "assistant", assistant: "assistant", chatgpt: "assistant", bing: "assistant", bard: "assistant" },
  ...{ model: "assistant", ai: "assistant", function_call: "assistant", observation: "tool" },
};

/** The prompt of these messages: plain text where they are one of the user's. */
export function inputOf(messages: readonly Message[]): Input {
  const [only] = messages;
  return messages.length === 1 && only?.role === "user" && typeof only.content === "string"
    ? { kind: "text", text: only.content }
    : { kind: "messages", messages: messages as (Message & { content: unknown })[] };
}

/** The rows of a conversation, one for each answer that is asked for, with all messages before it. */
export function turnRows(messages: readonly Message[], more: Partial<Row> = {}): Row[] {
  const rows: Row[] = [];
  let answered = true;
  let pending = false;
  messages.forEach(({ role }, i) => {
    if (role === "assistant") {
      answered = true;
      return;
    }
    pending ||= role === "user" || role === "tool";
    const next = messages[i + 1]?.role;
    if (!pending || (next !== undefined && next !== "assistant" && next !== "user")) return;
    rows.push({
      ...more,
      input: inputOf(messages.slice(0, i + 1)),
      turn: rows.length,
      ...(answered ? {} : { needsAnswers: true }),
    });
    answered = false;
    pending = false;
  });
  return rows;
}

/** ShareGPT's `conversations: [{from, value}]` and HF's `conversation: [{role, content}]`. */
export const conversationSet: Format = {
  name: "conversations",
  firstTurn: true,
  matches: (record) => isObject(record) && setField(record) !== undefined,
  read(record, notes) {
    if (!isObject(record)) throw new Error("is no JSON object, unlike the rows before it");
    const fields = new Fields(record, notes);
    const name = setField(record);
    if (name === undefined) throw new Error("has neither conversations nor conversation, a list of messages");
    const messages = (fields.get(name) as readonly unknown[]).map((each, i) => message(each, i, name, notes));
    const system = fields.get("system") ?? fields.get("system_prompt");
    if (typeof system === "string") messages.unshift({ role: "system", content: system });
    const lengths = fields.lengths();
    fields.close();
    const spoken = messages.filter(({ content }) => content !== "");
    const begin = spoken.findIndex(({ role }) => role === "user");
    if (spoken.slice(0, Math.max(begin, 0)).some(({ role }) => role === "assistant")) {
      notes.remark("answers before the first question are not sent");
    }
    return turnRows(
      spoken.filter(({ role }, i) => i >= begin || role !== "assistant"),
      lengths,
    );
  },
};

function setField(record: Json): string | undefined {
  return ["conversations", "conversation"].find((name) => {
    const list = record[name];
    return Array.isArray(list) && list.every(isObject);
  });
}

function message(value: unknown, index: number, list: string, notes: Notes): Message {
  const { from, role, value: text, content = text } = value as Json;
  const speaker = role ?? from;
  const where = `${list}[${index}]`;
  // SGLang's own sets name no roles: the user speaks first.
  const name = speaker === undefined ? ["user", "assistant"][index % 2] : roles[String(speaker).toLowerCase()];
  if (name === undefined)
    throw new Error(`${where} has the role ${shown(speaker)}; known are human, gpt, user, assistant, system`);
  if (typeof content !== "string") {
    throw new Error(`${where} has no text; write rows with images or tools as OpenAI messages (field messages)`);
  }
  if ((value as Json).tool_calls !== undefined) notes.unsent.add(`${list}.tool_calls`);
  return { role: name, content };
}

/** Spec-Bench's `turns: [text]` and MT-bench's `prompt: [text]`: no answers are recorded. */
export const questionTurns: Format = {
  name: "questions in turns (Spec-Bench, MT-bench)",
  firstTurn: true,
  matches: (record) => isObject(record) && (isTexts(record.turns) || isTexts(record.prompt)),
  read(record, notes) {
    const fields = new Fields(record as Json, notes);
    const name = fields.has("turns") ? "turns" : "prompt";
    const turns = fields.get(name);
    if (!isTexts(turns)) throw new Error(`${name} is no list of texts`);
    const lengths = fields.lengths();
    fields.close();
    return turnRows(
      turns.map((content) => ({ role: "user", content })),
      lengths,
    );
  },
};

/** GuideLLM's columns `prefix, prompt_0, output_tokens_count_0, prompt_1, ...`. */
export const numberedTurns: Format = {
  name: "GuideLLM multi-turn",
  turnsIn: "prompt_1",
  matches: (record) => isObject(record) && record.prompt_0 !== undefined,
  read(record, notes) {
    const fields = new Fields(record as Json, notes);
    const system = fields.get("prefix") ?? fields.get("system_prompt");
    const messages: Message[] = typeof system === "string" ? [{ role: "system", content: system }] : [];
    const outputs: (number | undefined)[] = [];
    for (let k = 0; fields.has(`prompt_${k}`); k++) {
      messages.push({ role: "user", content: String(fields.get(`prompt_${k}`)) });
      outputs.push(fields.count(lengthFields.map((name) => `${name}_${k}`)));
      fields.skip([`prompt_tokens_count_${k}`]);
    }
    fields.close();
    return turnRows(messages).map((row, k) => withOutput(row, outputs[k]));
  },
};

/** AIPerf's `session_id, turns: [{text, delay, output_length}]`. */
export const aiperfTurns: Format = {
  name: "AIPerf multi_turn",
  turnsIn: "turns",
  matches: (record) => isObject(record) && Array.isArray(record.turns) && record.turns.every(isObject),
  read(record, notes) {
    const fields = new Fields(record as Json, notes);
    const session = fields.get("session_id");
    const turns = (fields.get("turns") as readonly unknown[]).filter(isObject);
    requireNoBranches(record as Json, turns);
    fields.close();
    const messages = turns.map((turn, k): Message => {
      const content = turn.text ?? turn.content;
      if (typeof content !== "string")
        throw new Error(`turns[${k}] has no text; write it as OpenAI messages (field messages)`);
      const role = turn.role === undefined ? "user" : roles[String(turn.role)];
      if (role === undefined) throw new Error(`turns[${k}] has the role ${shown(turn.role)}`);
      return { role, content };
    });
    const questions = turns.filter((_, k) => messages[k]?.role !== "assistant");
    return turnRows(messages).map((row, k) => {
      const turn = new Fields(questions[k] ?? {}, notes);
      turn.skip(["timestamp"]);
      const delay = turn.get("delay");
      return {
        ...withOutput(row, turn.count(lengthFields)),
        ...(session === undefined ? {} : { session: String(session) }),
        ...(delay === undefined ? {} : { delayMs: Number(delay) }),
      };
    });
  },
};

/** @throws Error for AIPerf's dag_jsonl, whose turns are lists of messages and begin other conversations of the file. */
function requireNoBranches(record: Json, turns: readonly Json[]): void {
  const names = ["forks", "spawns", "pre_session_spawns", "messages"];
  const found = names.find((name) => [record, ...turns].some((each) => each[name] !== undefined));
  if (found !== undefined)
    throw new Error(
      `has ${found}, as AIPerf's dag_jsonl has, whose branches are not read; write a conversation without branches as turns: [{text}], or its requests as inputs.json`,
    );
}

/** AIPerf's inputs.json: `session_id, payloads: [body]`, each body with the history in it. */
export const aiperfPayloads: Format = {
  name: "AIPerf inputs.json",
  turnsIn: "payloads",
  matches: (record) => isObject(record) && Array.isArray(record.payloads),
  read(record, notes) {
    const fields = new Fields(record as Json, notes);
    const session = String(fields.get("session_id") ?? "");
    const payloads = fields.get("payloads") as readonly unknown[];
    fields.close();
    return payloads.map((payload, turn) => ({ ...bodyRow(payload, `payloads[${turn}]`, notes), session, turn }));
  },
};

/** SGLang's agentic trace: a list of turns, each `{messages}` that are new in it. */
export const agenticTurns: Format = {
  name: "SGLang agentic trace",
  turnsIn: "conversations",
  matches: (record) =>
    Array.isArray(record) &&
    record.length > 0 &&
    record.every((turn) => isObject(turn) && Array.isArray(turn.messages)),
  read(record, notes) {
    if (!Array.isArray(record)) throw new Error("is no list of turns, unlike those before it");
    const history: Message[] = [];
    return record.map((turn: Json, k) => {
      const fields = new Fields(turn, notes);
      const messages = fields.get("messages");
      if (!Array.isArray(messages) || !messages.every(isObject))
        throw new Error(`turn ${k + 1} has no list of messages`);
      history.push(...(messages as unknown as Message[]));
      return {
        ...fields.lengths(),
        input: inputOf([...history]),
        turn: k,
        ...(k > 0 && messages[0]?.role !== "assistant" ? { needsAnswers: true } : {}),
      };
    });
  },
};

/**
 * MLPerf's agentic rows, one a message: `conversation_id, turn, role, content`; results of tools stand together in `tool_results`. The
 * first row may describe the file (`_type`).
 */
export const messageRows: Format = {
  name: "MLPerf agentic",
  turnsIn: "conversation_id",
  grouped: true,
  matches: (record) =>
    isObject(record) && (isAbout(record) || (record.conversation_id !== undefined && record.role !== undefined)),
  read(record, notes) {
    if (isAbout(record as Json)) return [];
    const fields = new Fields(record as Json, notes);
    const session = fields.get("conversation_id");
    const role = roles[String(fields.get("role"))];
    if (session === undefined || role === undefined) throw new Error("has no conversation_id or no known role");
    const own = ownMessages(fields, role);
    const system = fields.get("system");
    const messages = system === undefined ? own : [{ role: "system", content: system }, ...own];
    const tools = fields.json("tools");
    const seconds = fields.get("delay_seconds");
    const turn = fields.get("turn");
    fields.close();
    return [
      {
        input: { kind: "messages", messages: messages as never },
        ...(tools === undefined ? {} : { body: { tools } }),
        ...(seconds === undefined ? {} : { delayMs: Number(seconds) * 1000 }),
        ...(turn === undefined ? {} : { turn: Number(turn) }),
        session: String(session),
      },
    ];
  },
};

/** Whether a record of such a file is no message, but what the file says of itself. */
const isAbout = ({ _type: type }: Json): boolean => type === "dataset_metadata";

/** The messages of one row: one, or one for each result of a tool. @throws Error where it says nothing. */
function ownMessages(fields: Fields, role: string): Message[] {
  const results = fields.json("tool_results");
  if (results !== undefined) {
    if (!Array.isArray(results) || !results.every(isObject))
      throw new Error("has tool_results that are no list of results");
    return results.map(({ tool_call_id, content }, k) => {
      if (tool_call_id === undefined || content === undefined)
        throw new Error(`has no tool_call_id or no content in tool_results[${k}]`);
      return { role: "tool", tool_call_id, content };
    });
  }
  const calls = fields.json("tool_calls");
  // An answer may be calls alone, and a tool may have nothing to say.
  const content = fields.get("content") ?? (calls !== undefined ? null : role === "tool" ? "" : undefined);
  if (content === undefined) throw new Error(`has no content (role ${role})`);
  const named: Record<string, unknown> = { role, content };
  if (calls !== undefined) named.tool_calls = calls;
  for (const name of ["tool_call_id", "name", "reasoning_content"]) {
    const value = fields.get(name);
    if (value !== undefined) named[name] = value;
  }
  return [named as unknown as Message];
}

/**
 * The format is a line of turns. @throws Error where their numbers are no such line: branches, or turns in another order, would be
 * sent as one conversation that nobody held.
 */
function requireLine(rows: readonly Row[]): void {
  let last = Number.NEGATIVE_INFINITY;
  // A question and its answer may share a number, and so may the results of several tools.
  let speakers: string[] = [];
  for (const { turn, input } of rows) {
    if (turn === undefined) continue;
    const role = (input?.kind === "messages" && input.messages.at(-1)?.role) || "";
    if (turn !== last) speakers = [];
    if (!Number.isInteger(turn) || turn < last || (role !== "tool" && speakers.includes(role)))
      throw new Error(
        `has turn ${turn} (${role}) behind turn ${last}: this format knows no branches; number the turns of a conversation in their order, and give each branch a conversation_id of its own`,
      );
    speakers.push(role);
    last = turn;
  }
}

/** The turns of a conversation whose messages came a row each. A turn of several messages waits as long as the longest says. */
export function joinMessageRows(rows: readonly Row[]): Row[] {
  requireLine(rows);
  const messages: Message[] = [];
  const delays: (number | undefined)[] = [];
  for (const { input, delayMs } of rows) {
    if (input?.kind !== "messages") continue;
    for (const message of input.messages as Message[]) {
      // Rows may name the conversation's system prompt each.
      if (message.role === "system" && messages[0]?.role === "system" && messages[0].content === message.content)
        continue;
      messages.push(message);
      delays.push(message.role === "system" ? undefined : delayMs);
    }
  }
  const body = rows.find((row) => row.body !== undefined)?.body;
  const [{ session } = { session: "" }] = rows;
  let from = 0;
  return turnRows(messages, { session, ...(body === undefined ? {} : { body, wire: "chat" as const }) }).map((row) => {
    const upTo = row.input?.kind === "messages" ? row.input.messages.length : 1;
    const waits = delays.slice(from, upTo).filter((ms) => ms !== undefined);
    from = upTo;
    return waits.length === 0 ? row : { ...row, delayMs: Math.max(...waits) };
  });
}

function withOutput(row: Row, outputTokens: number | undefined): Row {
  return outputTokens === undefined ? row : { ...row, outputTokens };
}
