/** Traces: rows with a time and lengths, whose text is made of words. */
import { Fields, isObject, shown } from "./fields";
import type { Format, Json, Notes, Row } from "./row";

const lengthNames = ["input_length", "contexttokens", "request tokens", "input_tokens_total"];

/** Mooncake's fields and those of its dialects (Bailian, vLLM, GuideLLM, AIPerf, LMBench), Azure's and BurstGPT's. */
export const timedLengths: Format = {
  name: "trace",
  turnsIn: "session_id",
  matches: (record) => isObject(record) && hasLength(record) && !hasText(record),
  read(record, notes) {
    if (!isObject(record)) throw new Error("is no JSON object, unlike the rows before it");
    const fields = new Fields(record, notes);
    if (fields.among(textNames).length > 0 && hasText(record)) throw new Error("has a text, unlike the rows before it");
    const { inputTokens, outputTokens, ceiling } = fields.lengths();
    if (inputTokens === undefined) throw new Error(`has no ${lengthNames.join(", ")}`);
    if (outputTokens === undefined || ceiling) throw new Error("has no length of the answer (output_length)");
    const { time } = fields.time();
    const { blockIds } = blocksIn(fields);
    const row: Row = { inputTokens, outputTokens, time, blockIds };
    const place = fields.among(placeNames).length > 0 ? placeIn(record, fields) : undefined;
    fields.skip(aboutChat);
    fields.close();
    // A round's own time counts for more than the row's.
    return [place ? { ...row, ...place } : row];
  },
  like(record, notes) {
    const fields = new Fields(record, notes);
    // Of BurstGPT the place is the unit of its times.
    if (record["request tokens"] === undefined && fields.among(placeNames).length > 0) return undefined;
    return fields.likeness();
  },
};

const aboutChat = ["chat_id", "parent_chat_id", "turn", "type"];

const textNames = ["prompt", "text", "text_input", "input_text", "messages", "input_tokens"];

function hasLength(record: Json): boolean {
  for (let i = 0; i < lengthNames.length; i++) if (record[lengthNames[i] as string] !== undefined) return true;
  return false;
}

/** A loop without functions: a trace may have a million rows. */
function hasText(record: Json): boolean {
  for (let i = 0; i < textNames.length; i++) {
    const value = record[textNames[i] as string];
    if (value !== undefined && value !== "" && typeof value !== "number") return true;
  }
  return false;
}

function blocksIn(fields: Fields): Pick<Row, "blockIds"> {
  const ids = fields.json("hash_ids");
  if (ids === undefined) return {};
  if (!Array.isArray(ids)) throw new Error(`hash_ids=${shown(ids)} is no list of whole numbers`);
  for (let i = 0; i < ids.length; i++)
    if (!Number.isInteger(ids[i])) throw new Error(`hash_ids has ${shown(ids[i])}, which is no whole number`);
  return { blockIds: ids };
}

const placeNames = ["request tokens", "round_index", "session_id", "delay"];

/** Its place in a session: AIPerf's later turns have a delay in the place of a time, TraceLab's a round. */
function placeIn(record: Json, fields: Fields): Partial<Row> {
  if (record["request tokens"] !== undefined) return { unit: "s" }; // BurstGPT
  const round = fields.get("round_index");
  if (round !== undefined) {
    const [first] = Array.isArray(record.timing_events) ? record.timing_events : [];
    const at = isObject(first) ? { time: String(first.timestamp) } : {};
    return { session: String(fields.get("session_id")), turn: Number(round), ...at };
  }
  const session = fields.has("session_id") ? { session: String(fields.get("session_id")) } : {};
  if (!fields.has("delay")) return session;
  return { session: "", ...session, turn: 1, delayMs: Number(fields.get("delay")) };
}

/** WEKA's agentic traces: `requests: [{t, in, out, hash_ids, think_time}]` of one session a record, times in s. */
export const weka: Format = {
  name: "WEKA",
  turnsIn: "requests",
  matches: (record) => isObject(record) && Array.isArray(record.requests) && record.block_size !== undefined,
  read(record, notes) {
    const session = new Fields(record as Json, notes);
    const id = String(session.get("id") ?? "");
    const blockTokens = Number(session.get("block_size"));
    const requests = session.get("requests") as readonly unknown[];
    session.close();
    if (requests.length > 1) notes.used.add("think_time");
    notes.remark("t counts from the begin of each session: all sessions begin together");
    return requestRows(requests, { session: id, blockTokens }, notes);
  },
};

/**
 * The requests of a session in their order, those of a subagent among them: it begins when the request before it has ended, and
 * the one behind it waits for it. A subagent in front of all others begins with the session; one behind all is waited for by none.
 */
function requestRows(requests: readonly unknown[], session: Partial<Row>, notes: Notes): Row[] {
  const rows: Row[] = [];
  let last: number[] = []; // what the next request waits for
  let branched = false;
  /** Adds requests one after the other, the first behind `after`, and returns the last one's number. */
  const chain = (list: readonly unknown[], after: readonly number[], where: string): readonly number[] => {
    let ends = after;
    let before: Before | undefined;
    list.forEach((request, k) => {
      if (!isObject(request)) throw new Error(`${where}[${k}] is no JSON object`);
      if (Array.isArray(request.requests)) throw new Error(`${where}[${k}] is a subagent of a subagent; take it out`);
      const row = requestRow(request, rows.length, session, { where: `${where}[${k}]`, before }, notes);
      rows.push({ ...row, after: ends, tool: true }); // it belongs to the task that began it
      ends = [rows.length - 1];
      before = timesOf(request);
    });
    return ends;
  };
  let main: number[] = [];
  let before: Before | undefined;
  requests.forEach((request, k) => {
    if (!isObject(request)) throw new Error(`requests[${k}] is no JSON object`);
    if (Array.isArray(request.requests)) {
      branched = true;
      notes.uses("subagent");
      last = [...last, ...chain(request.requests, main, `requests[${k}].requests`)];
      return;
    }
    const row = requestRow(request, rows.length, session, { where: `requests[${k}]`, before }, notes);
    rows.push({ ...row, after: [...new Set([...main, ...last])] });
    main = [rows.length - 1];
    last = [];
    before = timesOf(request);
  });
  return branched ? rows : rows.map(({ after: _, ...row }) => row);
}

/** When a request began and how long its answer took, s. */
interface Before {
  readonly t: number;
  readonly took: number;
}

function timesOf({ t, api_time: took }: Json): Before | undefined {
  return typeof t === "number" && typeof took === "number" ? { t, took } : undefined;
}

function requestRow(
  request: Json,
  turn: number,
  session: Partial<Row>,
  { where, before }: { readonly where: string; readonly before: Before | undefined },
  notes: Notes,
): Row {
  const fields = new Fields(request, notes);
  const inputTokens = fields.count(["in"]);
  const outputTokens = fields.count(["out"]);
  if (inputTokens === undefined || outputTokens === undefined) throw new Error(`${where} lacks in or out`);
  const time = fields.get("t");
  const think = fields.get("think_time");
  const idle = typeof time === "number" && before ? Math.max(0, time - before.t - before.took) : undefined;
  const seconds = think === undefined ? idle : Number(think);
  const types = fields.get("input_types");
  fields.skip(["api_time"]);
  const row = {
    ...session,
    turn,
    inputTokens,
    outputTokens,
    unit: "s" as const,
    ...(typeof time === "number" ? { time } : {}),
    ...blocksIn(fields),
    ...(seconds === undefined ? {} : { delayMs: seconds * 1000 }),
    ...(Array.isArray(types) && types.includes("tool_result") ? { tool: true } : {}),
  };
  fields.close();
  return row;
}
