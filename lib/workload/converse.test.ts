/** What of each file of conversations is on the wire, turn by turn, against the file: texts, order, roles, tools and waits. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { readRows } from "../../test/support/file-of-text";
import { parseSettings } from "../settings/parse-settings";
import type { Settings } from "../settings/settings";
import { requestBody } from "../wire/body";
import { type Answer, converse, type Sender, type Tools, type TurnTiming } from "./converse";
import type { ReadSettings } from "./formats/read";
import type { KeptSession } from "./formats/sessions";
import { drawRing } from "./ring";
import { seededRng } from "./rng";
import { type PlannedSession, type PlannedTurn, recordedSessions, syntheticSessions } from "./sessions";
import { everyWord, wordSource } from "./words";

// biome-ignore lint/suspicious/noExplicitAny: the files have a dozen shapes
type Any = any;

const textOf = (file: string) => readFileSync(path.join(__dirname, "formats", "fixtures", file), "utf8");
const jsonl = (file: string): Any[] =>
  textOf(file)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
const json = (file: string): Any => JSON.parse(textOf(file));
const user = (content: unknown) => ({ role: "user", content });
const assistant = (content: unknown) => ({ role: "assistant", content });
const words = wordSource(drawRing(seededRng(1), everyWord));

/** One turn as a server would see it. */
interface Sent {
  body: Any;
  timing: TurnTiming;
}

/** Holds a session with a server that answers `LIVE 1`, `LIVE 2`, ... or what `answers` says. */
async function hold(
  plan: PlannedSession,
  settings: Settings,
  answers: (turn: number, body: Any) => Answer | undefined = (turn) => ({ text: `LIVE ${turn}`, toolCalls: [] }),
  tools?: Tools,
): Promise<Sent[]> {
  const sent: Sent[] = [];
  let over = false;
  const sender: Sender<number> = {
    permit: async (timing) => {
      if (over) return null;
      sent.push({ body: undefined, timing });
      return sent.length;
    },
    send: async (prompt, _, turn) => {
      const body = JSON.parse(requestBody(settings, "m", prompt));
      (sent[turn - 1] as Sent).body = body;
      const answer = answers(turn, body);
      over = answer === undefined;
      return answer;
    },
    added: () => {},
  };
  await converse(settings, plan, sender, tools);
  return sent;
}

function sessionsOf(
  file: string,
  set: Partial<ReadSettings> = {},
  kind: "DATASET" | "TRACE" = "DATASET",
): { read: ReturnType<typeof readRows>; sessions: KeptSession[] } {
  const read = readRows(kind, file, textOf(file), set, true);
  return { read, sessions: read.rows.map((row) => JSON.parse(row)) };
}

function plansOf(sessions: KeptSession[], settings: Settings) {
  const source = recordedSessions(settings, words, {
    length: sessions.length,
    at: (index) => sessions[index] as KeptSession,
  });
  return sessions.map((_, serial) => source.at({ index: serial, serial, level: "c1" }, 1));
}

interface Sample {
  file: string;
  found: RegExp;
  /** All messages of each conversation, with the answers that the file has. */
  conversations: Any[][];
  lengths?: number[];
  waits?: number[];
  body?: object;
}

const roles: Record<string, string> = { human: "user", gpt: "assistant", system: "system" };

const samples: Sample[] = [
  {
    file: "01-sharegpt-v3.json",
    found: /^ShareGPT JSON: conversations; 6 sessions, 10 turns$/,
    conversations: json("01-sharegpt-v3.json").map(({ conversations }: Any) =>
      conversations
        .map(({ from, value }: Any) => ({ role: roles[from], content: value }))
        .filter((each: Any, i: number) => i > 0 || each.role !== "assistant"),
    ),
  },
  {
    file: "07-specbench-question.jsonl",
    found: /6 sessions, 12 turns/,
    conversations: jsonl("07-specbench-question.jsonl").map(({ turns }) => turns.map(user)),
  },
  {
    file: "10-sglang-agentic.json",
    found: /^SGLang agentic trace JSON: .*6 sessions, 12 turns/,
    conversations: json("10-sglang-agentic.json").conversations.map((turns: Any) =>
      turns.flatMap(({ messages }: Any) => messages),
    ),
  },
  {
    file: "14-guidellm-multiturn.jsonl",
    found: /^GuideLLM multi-turn JSONL: .*6 sessions, 12 turns/,
    conversations: jsonl("14-guidellm-multiturn.jsonl").map(({ prefix, prompt_0, prompt_1 }) => [
      { role: "system", content: prefix },
      user(prompt_0),
      user(prompt_1),
    ]),
    lengths: [5, 6],
  },
  {
    file: "18-aiperf-multi.jsonl",
    found: /^AIPerf multi_turn JSONL: .*6 sessions, 12 turns/,
    conversations: jsonl("18-aiperf-multi.jsonl").map(({ turns }) => turns.map(({ text }: Any) => user(text))),
    lengths: [5, 6],
    waits: [0, 150],
  },
  {
    file: "19-aiperf-inputs.json",
    found: /^AIPerf inputs.json JSON: .*6 sessions, 12 turns/,
    conversations: json("19-aiperf-inputs.json").data.map(({ payloads }: Any) => payloads.at(-1).messages),
  },
  {
    file: "31d-evalscope-multi-turn.jsonl",
    found: /6 sessions, 12 turns/,
    conversations: jsonl("31d-evalscope-multi-turn.jsonl"),
  },
  {
    file: "32c-mlperf-agentic.jsonl",
    found: /^MLPerf agentic JSONL: .* \d+ sessions, \d+ turns/,
    conversations: [...new Set(jsonl("32c-mlperf-agentic.jsonl").map((row) => row.conversation_id))].map((id) =>
      jsonl("32c-mlperf-agentic.jsonl")
        .filter((row) => row.conversation_id === id)
        .flatMap(({ system, role, content }) => [
          ...(system === undefined ? [] : [{ role: "system", content: system }]),
          { role, content },
        ]),
    ),
    waits: [100, 200],
    body: { tools: jsonl("32c-mlperf-agentic.jsonl")[0].tools },
  },
  {
    file: "40-vllm-multi-turn.json",
    found: /4 sessions, 8 turns/,
    conversations: json("40-vllm-multi-turn.json").map(({ messages }: Any) => messages),
  },
  {
    file: "51b-aiperf-mooncake-messages.jsonl",
    found: /1 session, 2 turns/,
    conversations: [jsonl("51b-aiperf-mooncake-messages.jsonl")[1].messages],
    lengths: [6, 7],
  },
];

/** The messages of each turn, by the file's answers or the live ones. */
function turnsOf(messages: Any[], live: boolean): Any[][] {
  const turns: Any[][] = [];
  const history: Any[] = [];
  messages.forEach((message, i) => {
    if (message.role === "assistant") {
      if (!live) history.push(message);
      return;
    }
    // An answer stands between two turns, whether the file has it or not.
    if (turns.length > 0 && history.at(-1)?.role === "user") history.push(assistant(`LIVE ${turns.length}`));
    history.push(message);
    if (message.role === "system" || i === 0) {
      if (message.role !== "system") turns.push([...history]);
      return;
    }
    turns.push([...history]);
  });
  return turns;
}

for (const { file, found, conversations, lengths, waits, body } of samples) {
  for (const history of ["live", "auto"] as const) {
    test(`${file} is sent turn after turn, HISTORY=${history}`, async () => {
      const settings = parseSettings({ HISTORY: history, OUTPUT_TOKENS: "9" }, {});
      const { read, sessions } = sessionsOf(file);
      assert.match(read.found, found);
      assert.equal(sessions.length, conversations.length);
      for (const [k, plan] of plansOf(sessions, settings).entries()) {
        const sent = await hold(plan, settings);
        assert.deepEqual(
          sent.map((each) => each.body.messages),
          turnsOf(conversations[k] as Any[], history === "live"),
        );
        if (lengths)
          assert.deepEqual(
            sent.map((each) => each.body.max_tokens),
            lengths,
          );
        if (waits)
          assert.deepEqual(
            sent.map(({ timing }) => timing.waitMs),
            waits,
          );
        for (const [name, value] of Object.entries(body ?? {})) {
          for (const each of sent) {
            assert.deepEqual(each.body[name], value);
            assert.equal(each.body.ignore_eos, undefined, "beside tools no length is forced");
          }
        }
      }
    });
  }
}

test("sessions of lengths have the file's blocks as words, each turn the whole input", async () => {
  const settings = parseSettings({}, {});
  for (const [file, kind, inputs, outputs, waits] of [
    ["51-aiperf-mooncake-session.jsonl", "TRACE", [300, 400], [6, 6], [0, 200]],
    ["55-weka.json", "TRACE", [200, 300], [6, 6], [0, 500]],
  ] as const) {
    const { read, sessions } = sessionsOf(file, {}, kind);
    assert.match(read.found, /session/);
    for (const plan of plansOf(sessions, settings)) {
      const sent = await hold(plan, settings);
      const texts = sent.map((each) => each.body.messages[0].content as string);
      assert.deepEqual(
        texts.map((text) => text.split(" ").length),
        inputs,
      );
      assert.ok(sent.every((each) => each.body.messages.length === 1));
      assert.deepEqual(
        sent.map((each) => each.body.max_tokens),
        outputs,
      );
      assert.deepEqual(
        sent.map(({ timing }) => timing.waitMs),
        waits,
      );
      const shared = file.startsWith("55") ? 3 * 64 : 300;
      assert.equal(texts[0]?.slice(0, shared * 5 - 1), texts[1]?.slice(0, shared * 5 - 1), "equal ids, equal words");
    }
  }
  assert.deepEqual([...(sessionsOf("51-aiperf-mooncake-session.jsonl", {}, "TRACE").read.timesMs ?? [])], [0, 300]);
  const [tracelab] = sessionsOf("56-tracelab.jsonl", {}, "TRACE").sessions;
  assert.deepEqual(
    tracelab?.turns.map(({ atMs }) => atMs),
    [undefined, 1000, 2000, 3000],
    "no sooner than recorded",
  );
});

test("sessions are held in the file's order, whether their turns stand together, apart or wait for their times' unit", () => {
  const single = (text: string, more: object = {}) => ({ messages: [user(text)], ...more });
  const rows = [
    single("a"),
    single("b1", { session_id: "b" }),
    { messages: [user("c1"), assistant("c2"), user("c3")] },
    single("b2", { session_id: "b" }),
    single("d", { timestamp: 7 }),
    single("e"),
  ];
  const held = (set: Partial<ReadSettings> = {}, kept = rows) =>
    readRows("DATASET", "a.jsonl", kept.map((row) => JSON.stringify(row)).join("\n"), set, true).rows.map((row) =>
      (JSON.parse(row) as KeptSession).turns.map(({ messages }) => messages?.[0]?.content).join(),
    );
  assert.deepEqual(held(), ["a", "b1,b2", "c1,c3", "d", "e"]);
  assert.deepEqual(held({ DATASET_LIMIT: 2 }), ["a", "b1,b2"]);
  const mixed = held({ DATASET_SHUFFLE: true, SEED: 3 });
  assert.deepEqual([...mixed].sort(), held().sort());
  assert.notDeepEqual(mixed, held());
  assert.deepEqual(held({ DATASET_SHUFFLE: true, SEED: 3, DATASET_LIMIT: 3 }), mixed.slice(0, 3));
});

test("HISTORY=recorded refuses the first session that is held and lacks an answer, and no other", () => {
  const rows = [
    { messages: [user("a1"), assistant("a2"), user("a3")] },
    { messages: [user("b1")], session_id: "b" },
    { messages: [user("b1"), user("b2")], session_id: "b" },
    { messages: [user("c")] },
  ];
  const text = rows.map((row) => JSON.stringify(row)).join("\n");
  const held = (set: Partial<ReadSettings>) => readRows("DATASET", "a.jsonl", text, set, true).rows.length;
  for (const history of ["live", "auto"] as const) assert.equal(held({ HISTORY: history }), 3);
  assert.throws(() => held({ HISTORY: "recorded" }), {
    message: "session 2 has no answer before its turn 2, which HISTORY=recorded sends; set HISTORY=live",
  });
  assert.equal(held({ HISTORY: "recorded", DATASET_LIMIT: 1 }), 1, "what is not held lacks nothing");
});

test("a delay that is no time to wait for is refused with its place", () => {
  const mlperf = { conversation_id: "c", turn: 1, role: "user", content: "a" };
  const files: [row: object, says: RegExp][] = [
    [{ session_id: "s", turns: [{ text: "a" }, { text: "b", delay: "soon" }] }, /^(line|row) 1 has a delay of NaN ms/],
    [{ session_id: "s", turns: [{ text: "a" }, { text: "b", delay: -5 }] }, /^(line|row) 1 has a delay of -5 ms/],
    [{ ...mlperf, delay_seconds: "soon" }, /^(line|row) 1 has a delay of NaN ms/],
    [{ ...mlperf, delay_seconds: "1e999" }, /^(line|row) 1 has a delay of Infinity ms/],
  ];
  for (const [row, says] of files)
    assert.throws(() => readRows("DATASET", "a.jsonl", `${JSON.stringify(row)}\n`, {}, true), { message: says });
});

/** A conversation as the official set of MLPerf's agentic inference has it: calls of tools without words, and their results together. */
const agentic: Any[] = [
  { _type: "dataset_metadata", name: "agentic", rows: 6 },
  {
    conversation_id: "c",
    turn: 1,
    role: "user",
    system: "Be brief.",
    content: "Weather?",
    tools: [{ type: "function" }],
  },
  {
    ...{ conversation_id: "c", turn: 2, role: "assistant", reasoning_content: "Two towns." },
    tool_calls: ["a", "b"].map((id) => ({ id, type: "function", function: { name: "weather", arguments: "{}" } })),
  },
  {
    ...{ conversation_id: "c", turn: 3, role: "tool", delay_seconds: 1.5 },
    tool_results: [
      { tool_call_id: "a", content: "rain" },
      { tool_call_id: "b", content: "" },
    ],
  },
  { conversation_id: "c", turn: 4, role: "assistant", content: "Rain in one." },
  { conversation_id: "c", turn: 5, role: "user", system: "Be brief.", content: "And then?" },
];
const agenticFile = (rows: readonly object[]) =>
  readRows("DATASET", "agentic.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"), {}, true);

test("MLPerf agentic: results of tools are a message each, and calls and reasoning of the recorded answers are sent", async () => {
  const { rows, notes } = agenticFile(agentic);
  assert.equal(rows.length, 1);
  assert.ok(!notes.join().includes("not sent"), notes.join());
  const [plan] = plansOf([JSON.parse(rows[0] ?? "") as KeptSession], parseSettings({}, {}));
  assert.ok(plan);
  const sent = await hold(plan, parseSettings({}, {}));
  const first = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Weather?" },
  ];
  const second = [
    ...first,
    { role: "assistant", content: null, tool_calls: agentic[2].tool_calls, reasoning_content: "Two towns." },
    { role: "tool", tool_call_id: "a", content: "rain" },
    { role: "tool", tool_call_id: "b", content: "" },
  ];
  assert.deepEqual(
    sent.map(({ body }) => body.messages),
    [
      first,
      second,
      [...second, { role: "assistant", content: "Rain in one." }, { role: "user", content: "And then?" }],
    ],
  );
  assert.deepEqual(
    sent.map(({ timing }) => [timing.waitMs, timing.tool]),
    [
      [0, false],
      [1500, true],
      [0, false],
    ],
  );
});

test("branches of a conversation are refused where a format knows none, and so are messages that say nothing", () => {
  const at = (turn: number, role: string, more: object = { content: "a" }) => ({
    conversation_id: "c",
    turn,
    role,
    ...more,
  });
  const dag = (more: object) => ({ session_id: "s", turns: [{ text: "a", ...more }] });
  const files: [what: string, rows: object[], says: RegExp][] = [
    [
      "two answers to one turn",
      [at(1, "user"), at(2, "assistant"), at(2, "assistant")],
      /^conversation c has turn 2 \(assistant\) behind turn 2: this format knows no branches/,
    ],
    [
      "a turn that goes back",
      [at(1, "user"), at(2, "assistant"), at(3, "user"), at(1, "user")],
      /^conversation c has turn 1 \(user\) behind turn 3/,
    ],
    ["no number", [at(1.5, "user")], /has turn 1.5/],
    ["a user without words", [at(1, "user", {})], /^(line|row) 1 has no content \(role user\)/],
    [
      "a result without its call",
      [at(1, "user"), at(2, "tool", { tool_results: [{ content: "a" }] })],
      /^line 2 has no tool_call_id or no content in tool_results\[0\]/,
    ],
    ["AIPerf's forks", [dag({ forks: ["b"] })], /^(line|row) 1 has forks, as AIPerf's dag_jsonl has/],
    ["AIPerf's lists of messages", [dag({ messages: [] })], /^(line|row) 1 has messages, as AIPerf's dag_jsonl has/],
  ];
  for (const [what, rows, says] of files) assert.throws(() => agenticFile(rows), { message: says }, what);
  // A question and its answer may share a number.
  assert.equal(agenticFile([at(1, "user"), at(1, "assistant"), at(2, "user")]).rows.length, 1);
});

test("a subagent's requests run beside one another, and the next request waits for them", async () => {
  const request = (t: number, more: object = {}) => ({ t, in: 64, out: 2, hash_ids: [1], think_time: 0.5, ...more });
  const trace = {
    id: "a",
    block_size: 64,
    requests: [
      request(0),
      { type: "subagent", t: 1, requests: [request(0), request(1)] },
      { type: "subagent", t: 1, requests: [request(0)] },
      request(9, { input_types: ["tool_result"] }),
      { type: "subagent", t: 10, requests: [request(0)] },
    ],
  };
  const { rows } = readRows("DATASET", "weka.json", JSON.stringify(trace), {}, true);
  const { turns } = JSON.parse(rows[0] ?? "") as KeptSession;
  assert.deepEqual(
    turns.map(({ after, tool = false }) => [after, tool]),
    [
      [[], false],
      [[0], true],
      [[1], true],
      [[0], true],
      [[0, 2, 3], true],
      [[4], true],
    ],
  );
  const settings = parseSettings({}, {});
  const log: string[] = [];
  let turn = 0;
  const sender: Sender<number> = {
    permit: async (_, after) => {
      const number = turn++;
      log.push(`${number} after ${after?.join()}`);
      return number;
    },
    send: async (_prompt, _turn, number) => {
      await new Promise((resolve) => setImmediate(resolve));
      log.push(`${number} ended`);
      return { text: "", toolCalls: [] };
    },
    added: () => {},
  };
  await converse(settings, plansOf([{ turns }], settings)[0] as PlannedSession, sender);
  assert.deepEqual(
    log.slice(0, 4),
    ["0 after ", "0 ended", "1 after 0", "2 after 0"],
    "both begin with the parent's end",
  );
  const joined = log.findIndex((line) => /after 0,\d,\d/.test(line));
  assert.ok(joined > 0 && log.slice(0, joined).filter((line) => line.endsWith("ended")).length === 4, log.join("; "));
  assert.throws(
    () => readRows("TRACE", "weka.json", JSON.stringify(trace), { TURNS: "timed" }),
    /subagents, whose requests wait for one another: the scenario conversations sends them/,
  );
});

test("results of tools are matched to the calls that the live answer made", async () => {
  const call = (id: string) => ({ id, type: "function", function: { name: "look", arguments: "{}" } });
  const result = (id: string, content: string) => ({ role: "tool", tool_call_id: id, content });
  const recorded = [
    user("go"),
    { role: "assistant", content: null, tool_calls: [call("r1"), call("r2")] },
    result("r1", "one"),
    result("r2", "two"),
    assistant("done"),
  ];
  const read = readRows("DATASET", "a.jsonl", JSON.stringify({ messages: recorded }), {}, true);
  const sessions = read.rows.map((row) => JSON.parse(row) as KeptSession);
  assert.deepEqual(
    sessions[0]?.turns.map(({ tool = false }) => tool),
    [false, true],
  );
  const bodies = async (history: string, calls: string[]) => {
    const settings = parseSettings({ HISTORY: history }, {});
    const plan = plansOf(sessions, settings)[0] as PlannedSession;
    const toolCalls = calls.map((id) => ({ id, name: "look", arguments: '{"a":1}' }));
    const sent = await hold(plan, settings, () => ({ text: "", toolCalls }));
    return sent.map(({ body }) => body);
  };
  const live = await bodies("live", ["l1", "l2"]);
  assert.equal(live[1].messages[1].tool_calls[1].id, "l2");
  assert.deepEqual(live[1].messages.slice(2), [result("l1", "one"), result("l2", "two")]);
  assert.equal(live[1].ignore_eos, undefined, "a turn of tools has no forced length");
  assert.deepEqual((await bodies("live", ["a", "b", "c"]))[1].messages.slice(2), [
    result("a", "one"),
    result("b", "two"),
    result("c", "two"),
  ]);
  assert.deepEqual((await bodies("live", ["a"]))[1].messages.slice(2), [result("a", "one")]);
  assert.deepEqual((await bodies("live", []))[1].messages, recorded.slice(0, 4), "without a call the file's stands");
  assert.deepEqual((await bodies("auto", ["l1"]))[1].messages, recorded.slice(0, 4));
});

const synthetic = (set: Record<string, string>) => {
  const settings = { ...parseSettings(set, {}), SALT: set.SALT ?? "salt" } as Settings;
  return { settings, source: syntheticSessions(settings, words) };
};
const place = (index: number) => ({ index, serial: index, level: "c4" });

test("the same seed holds the same sessions, whoever asks and in whatever order", () => {
  const set = {
    SESSION_TURNS: "uniform:1:9",
    INPUT_TOKENS: "lognormal:50:40",
    OUTPUT_TOKENS: "uniform:1:99",
    THINK_TIME: "exponential:3000",
    ABANDON: "0.3:2s",
  };
  const { source } = synthetic(set);
  const forth = Array.from({ length: 50 }, (_, k) => source.at(place(k), 1));
  const back = Array.from({ length: 50 }, (_, k) => synthetic(set).source.at(place(49 - k), 1)).reverse();
  assert.deepEqual(back, forth);
  const plain = (turns: readonly PlannedTurn[]) =>
    turns.map(({ prompt, waitMs, abandoned }) => [prompt.outputTokens, waitMs, abandoned]);
  const other = synthetic({ ...set, SALT: "other" }).source.at(place(3), 1);
  assert.deepEqual(plain(other.turns), plain(forth[3]?.turns ?? []), "the salt moves no length and no wait");
  assert.notDeepEqual(other, forth[3]);
  assert.notDeepEqual(synthetic({ ...set, SEED: "2" }).source.at(place(3), 1), forth[3]);
  const withoutWaits = synthetic({ ...set, THINK_TIME: "0" }).source.at(place(3), 1).turns;
  assert.deepEqual(
    withoutWaits.map(({ prompt, abandoned }) => [prompt, abandoned]),
    forth[3]?.turns.map(({ prompt, abandoned }) => [prompt, abandoned]),
    "a wait that is not drawn moves nothing else",
  );
});

test("of many turns the share is abandoned that ABANDON sets", () => {
  for (const share of [0.05, 0.3, 0.9, 1]) {
    const { source } = synthetic({ SESSION_TURNS: "3", ABANDON: `${share}:2s` });
    const turns = Array.from({ length: 2000 }, (_, k) => source.at(place(k), 1).turns).flat();
    const gone = turns.filter(({ abandoned }) => abandoned).length / turns.length;
    const error = Math.sqrt((share * (1 - share)) / turns.length);
    assert.ok(Math.abs(gone - share) <= 3 * error, `${gone} of ${share} are abandoned`);
  }
});

test("waits are scaled, then capped; the first turn of a synthetic session has none", () => {
  const { source } = synthetic({ THINK_TIME: "4s", WAIT_SCALE: "0.5", SESSION_TURNS: "3" });
  assert.deepEqual(
    source.at(place(0), 1).turns.map(({ waitMs }) => waitMs),
    [0, 2000, 2000],
  );
  const capped = synthetic({ THINK_TIME: "4s", WAIT_SCALE: "0.5", WAIT_CAP: "1500ms", SESSION_TURNS: "2" }).source;
  assert.deepEqual(
    capped.at(place(0), 1).turns.map(({ waitMs }) => waitMs),
    [0, 1500],
  );
});

test("system prompts come from so many groups, as often as their popularity says", () => {
  const groupsOf = (set: Record<string, string>) => {
    const { source } = synthetic({ SHARED_PREFIX: "8", SESSION_TURNS: "1", ...set });
    const counts = new Map<unknown, number>();
    for (let k = 0; k < 600; k++) {
      const [first] = source.at(place(k), 1).turns[0]?.messages ?? [];
      assert.equal(first?.role, "system");
      counts.set(first?.content, (counts.get(first?.content) ?? 0) + 1);
    }
    return [...counts.values()].sort((a, b) => b - a);
  };
  assert.deepEqual(groupsOf({}), [600]);
  const even = groupsOf({ PREFIX_GROUPS: "4" });
  assert.equal(even.length, 4);
  assert.ok((even[3] ?? 0) > 100, even.join());
  const [first = 0, second = 0] = groupsOf({ PREFIX_GROUPS: "4", PREFIX_POPULARITY: "zipf:1" });
  assert.ok(first > 230 && first < 350 && second > 100 && second < 190, `${first}, ${second} of 288 and 144`);
});

test("a scripted tool answers the calls of an answer, no more often than its rounds", async () => {
  const { settings, source } = synthetic({ SESSION_TURNS: "2" });
  let added = 0;
  const tools: Tools = {
    rounds: 2,
    result: (calls) => {
      added++;
      const messages = calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "result" }));
      return {
        messages,
        prompt: { inputTokens: 0, outputTokens: 9, ceiling: true },
        waitMs: 70,
        tool: true,
        abandoned: false,
      };
    },
  };
  const sent = await hold(
    source.at(place(0), 1),
    settings,
    (turn) => ({ text: "", toolCalls: turn === 3 ? [] : [{ id: `c${turn}`, name: "look", arguments: "{}" }] }),
    tools,
  );
  assert.deepEqual(
    sent.map(({ body, timing }) => [body.messages.at(-1).role, timing.tool, timing.waitMs]),
    [
      ["user", false, 0],
      ["tool", true, 70],
      ["tool", true, 70],
      ["user", false, 0],
      ["tool", true, 70],
      ["tool", true, 70],
    ],
  );
  assert.equal(added, 4);
  assert.equal(sent[2]?.body.messages.at(-2).tool_calls[0].id, "c2");
});

test("a turn that failed is the session's last", async () => {
  const { settings, source } = synthetic({ SESSION_TURNS: "5" });
  const sent = await hold(source.at(place(0), 1), settings, (turn) =>
    turn === 2 ? undefined : { text: "x", toolCalls: [] },
  );
  assert.equal(sent.length, 2);
});
