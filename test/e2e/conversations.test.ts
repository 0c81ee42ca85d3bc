/** Conversations by the built k6: what is on the wire against the file, and what is reported against the server's truth. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { root } from "../../build/paths";
import { foldRecords } from "../../lib/figures/fold";
import type { RequestLine, SessionLine } from "../../lib/figures/records";
import { keepingServer } from "../support/keeping-server";
import { near, nearlyEqual } from "../support/near";
import { assertEndedWell, levelOf, type RunSettings, run } from "../support/run";
import { scratchDir } from "../support/scratch";
import { call, startServer } from "../support/simulated";
import { turnFigures } from "../support/turns";

// biome-ignore lint/suspicious/noExplicitAny: bodies and rows have many shapes
type Any = any;

const fixture = (name: string) => path.join(root, "lib", "workload", "formats", "fixtures", name);
const jsonl = (name: string): Any[] =>
  readFileSync(fixture(name), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
const json = (name: string): Any => JSON.parse(readFileSync(fixture(name), "utf8"));
const user = (content: unknown) => ({ role: "user", content });
const assistant = (content: unknown) => ({ role: "assistant", content });

/** Bodies by session header in the order of arrival, and the ids of their requests. */
interface Kept {
  readonly baseUrl: string;
  readonly sessions: Map<string, { id: unknown; body: Any; token: unknown; own: unknown }[]>;
}

/** A server that keeps what it is sent, answers `LIVE n` in turn n of a session, and gives each session a token. */
async function sessionServer(t: TestContext): Promise<Kept> {
  const sessions: Kept["sessions"] = new Map();
  const { baseUrl } = await keepingServer(t, ({ id, headers, body }) => {
    const session = String(headers["x-session-id"] ?? "");
    const turns = sessions.get(session) ?? [];
    sessions.set(session, turns);
    turns.push({ id, body, token: headers["x-token"], own: headers["x-own"] });
    return { headers: { "X-Token": `${session}-${turns.length}` }, text: `LIVE ${turns.length}` };
  });
  return { baseUrl, sessions };
}

interface Sample {
  file: string;
  set?: RunSettings;
  /** The messages of each session's turns. */
  turns: Any[][][];
  lengths?: (number | undefined)[];
  waits: number[];
  tools?: unknown;
}

const live = (questions: Any[][]): Any[][] =>
  questions.map((_, k) =>
    questions.slice(0, k + 1).flatMap((said, i) => [...(i > 0 ? [assistant(`LIVE ${i}`)] : []), ...said]),
  );

const names: Record<string, string> = { human: "user", user: "user", gpt: "assistant", system: "system" };

/** What is sent for each question of a recorded conversation: all before it. */
const recordedTurns = (messages: Any[]): Any[][] =>
  messages.flatMap(({ role }, k) => (role === "user" ? [messages.slice(0, k + 1)] : []));

const mlperf = () => {
  const rows = jsonl("32c-mlperf-agentic.jsonl");
  return [...new Set(rows.map((row) => row.conversation_id))].map((id) =>
    rows.filter((row) => row.conversation_id === id),
  );
};

const samples: Sample[] = [
  {
    file: "18-aiperf-multi.jsonl",
    turns: jsonl("18-aiperf-multi.jsonl").map(({ turns }) => live(turns.map(({ text }: Any) => [user(text)]))),
    lengths: [5, 6],
    waits: [0, 150],
  },
  {
    file: "14-guidellm-multiturn.jsonl",
    turns: jsonl("14-guidellm-multiturn.jsonl").map(({ prefix, prompt_0, prompt_1 }) =>
      live([[{ role: "system", content: prefix }, user(prompt_0)], [user(prompt_1)]]),
    ),
    lengths: [5, 6],
    waits: [0, 0],
  },
  {
    file: "32c-mlperf-agentic.jsonl",
    turns: mlperf().map(([first, answer, second]) => {
      const begin = [{ role: "system", content: first.system }, user(first.content)];
      return [begin, [...begin, assistant(answer.content), user(second.content)]];
    }),
    lengths: [undefined, undefined], // tools: no length is forced
    waits: [100, 200],
    tools: jsonl("32c-mlperf-agentic.jsonl")[0].tools,
  },
  {
    file: "40-vllm-multi-turn.json",
    turns: json("40-vllm-multi-turn.json").map(({ messages }: Any) => [messages.slice(0, 1), messages.slice(0, 3)]),
    waits: [0, 0],
  },
  {
    file: "40-vllm-multi-turn.json",
    set: { HISTORY: "live" },
    turns: json("40-vllm-multi-turn.json").map(({ messages }: Any) => live([[messages[0]], [messages[2]]])),
    waits: [0, 0],
  },
  {
    file: "10-sglang-agentic.json",
    set: { THINK_TIME: "40ms" },
    turns: json("10-sglang-agentic.json").conversations.map((turns: Any) =>
      live(turns.map(({ messages }: Any) => messages)),
    ),
    waits: [40, 40],
  },
  {
    file: "01-sharegpt-v3.json",
    turns: json("01-sharegpt-v3.json").map(({ conversations }: Any) => {
      const messages = conversations.map(({ from, value }: Any) => ({ role: names[from], content: value }));
      // An answer in front of every question belongs to none.
      return recordedTurns(messages[0].role === "assistant" ? messages.slice(1) : messages);
    }),
    waits: [],
  },
  // Of a message the role and the text are sent, whatever else the set says of it.
  ...["05-lmsys-chat-1m.jsonl", "06-wildchat.jsonl"].map((file) => ({
    file,
    turns: jsonl(file).map(({ conversation }) =>
      recordedTurns(conversation.map(({ role, content }: Any) => ({ role, content }))),
    ),
    lengths: [4], // OUTPUT_TOKENS
    waits: [0, 0],
  })),
  {
    file: "08-sglang-custom.jsonl",
    turns: jsonl("08-sglang-custom.jsonl").map(({ conversations }) =>
      recordedTurns(conversations.map(({ content }: Any, i: number) => (i % 2 === 0 ? user : assistant)(content))),
    ),
    waits: [0, 0],
  },
  {
    file: "07-specbench-question.jsonl",
    turns: jsonl("07-specbench-question.jsonl").map(({ turns }) => live(turns.map((each: string) => [user(each)]))),
    waits: [],
  },
  {
    file: "19-aiperf-inputs.json",
    turns: json("19-aiperf-inputs.json").data.map(({ payloads }: Any) => payloads.map(({ messages }: Any) => messages)),
    lengths: [undefined, undefined], // max_tokens is a ceiling
    waits: [],
  },
  {
    file: "31d-evalscope-multi-turn.jsonl",
    turns: jsonl("31d-evalscope-multi-turn.jsonl").map(recordedTurns),
    waits: [],
  },
  {
    file: "51b-aiperf-mooncake-messages.jsonl",
    set: { WAIT_SCALE: 0.5 },
    turns: [jsonl("51b-aiperf-mooncake-messages.jsonl").map(({ messages }) => messages)],
    lengths: [6, 7],
    waits: [0],
  },
];

for (const { file, set = {}, turns, lengths, waits, tools } of samples) {
  test(`${file} ${JSON.stringify(set)}: the wire has the file's conversations`, { timeout: 60_000 }, async (t) => {
    const server = await sessionServer(t);
    const ended = await run("conversations", {
      ...{ BASE_URL: server.baseUrl, DATASET: fixture(file), SESSIONS: turns.length, THRESHOLDS: "none" },
      ...{ CONCURRENCY: 2, SESSION_ECHO: "x-token", OUTPUT_TOKENS: 4, ...set },
      HEADERS: '{"X-Own":"{{session}}"}',
    });
    assertEndedWell(ended);
    const byId = new Map(ended.requests.map((each) => [each.id, each]));
    const sent = [...server.sessions].sort(([a], [b]) => indexOf(a) - indexOf(b));
    assert.equal(sent.length, turns.length);
    sent.forEach(([session, requests], k) => {
      assert.deepEqual(
        requests.map(({ body }) => body.messages),
        turns[k],
      );
      const records = requests.map(({ id }) => byId.get(String(id)) as RequestLine);
      assert.ok(
        records.every((each) => each.session === session),
        "the header and the record name the same session",
      );
      assert.ok(
        requests.every(({ own }) => own === session),
        "{{session}} is the session's id",
      );
      assert.deepEqual(
        records.map((each) => each.turn),
        requests.map((_, i) => i + 1),
      );
      assert.deepEqual(
        requests.map(({ token }) => token),
        requests.map((_, i) => (i === 0 ? undefined : `${session}-${i}`)),
        "what the server gave is sent back",
      );
      if (lengths)
        assert.deepEqual(
          requests.map(({ body }) => body.min_tokens),
          lengths,
        );
      if (tools) assert.ok(requests.every(({ body }) => JSON.stringify(body.tools) === JSON.stringify(tools)));
      const line = ended.records.find((each): each is SessionLine => each.type === "session" && each.id === session);
      records.forEach(({ scheduledNs = 0, sentNs = 0 }, i) => {
        const sinceNs = i === 0 ? (line?.startNs ?? 0) : (records[i - 1]?.endNs ?? 0);
        const waitMs = waits[i];
        if (waitMs !== undefined) assert.equal(Math.round((scheduledNs - sinceNs) / 1e3), waitMs * 1e3);
        assert.ok(sentNs >= scheduledNs, "no turn is sent before it is due");
      });
    });
  });
}

/** The number of a session, which its id ends with. */
const indexOf = (session: string): number => Number(/s(\d+)$/.exec(session)?.[1]);

test("sessions of a trace begin at their times, and have the blocks of the file", { timeout: 60_000 }, async (t) => {
  for (const [file, turns] of [
    ["51-aiperf-mooncake-session.jsonl", 2],
    ["55-weka.json", 2],
  ] as const) {
    const server = await sessionServer(t);
    const ended = await run("conversations", { BASE_URL: server.baseUrl, TRACE: fixture(file), THRESHOLDS: "none" });
    assertEndedWell(ended);
    for (const requests of server.sessions.values()) {
      assert.equal(requests.length, turns);
      const [first = "", second = ""] = requests.map(({ body }) => body.messages[0].content as string);
      assert.ok(second.startsWith(first.slice(0, 3 * 64 * 5 - 1)), "equal ids at the beginning are equal words");
    }
    const begins = ended.records.flatMap((each) => (each.type === "session" ? [each.startNs ?? 0] : []));
    if (file.startsWith("51")) assert.equal(Math.abs((begins[1] ?? 0) - (begins[0] ?? 0)), 300e6);
  }
});

test("56-tracelab.jsonl: the rounds of a session are sent at their times, with their lengths", {
  timeout: 60_000,
}, async (t) => {
  const server = await sessionServer(t);
  const [speed, rows] = [5, jsonl("56-tracelab.jsonl")];
  const ended = await run("conversations", {
    ...{ BASE_URL: server.baseUrl, TRACE: fixture("56-tracelab.jsonl"), SPEED: speed, THRESHOLDS: "none" },
  });
  assertEndedWell(ended);
  const wanted = [...new Set(rows.map(({ session_id: id }) => id))].map((id) =>
    rows.filter(({ session_id }) => session_id === id),
  );
  const sent = [...server.sessions].sort(([a], [b]) => indexOf(a) - indexOf(b));
  assert.equal(sent.length, wanted.length);
  const byId = new Map(ended.requests.map((each) => [each.id, each]));
  const atOf = ({ timing_events: [{ timestamp }] }: Any) => Date.parse(timestamp) / speed;
  sent.forEach(([session, requests], k) => {
    const rounds = wanted[k] ?? [];
    // The server counts a word as a token; what was said is not in the file, so each round is all of its request.
    assert.deepEqual(
      requests.map(({ body }) => [
        body.messages.map(({ role }: Any) => role),
        body.messages[0].content.split(" ").length,
      ]),
      rounds.map((row) => [["user"], row.input_tokens_total]),
    );
    assert.deepEqual(
      requests.map(({ body }) => [body.max_tokens, body.min_tokens]),
      rounds.map((row) => [row.output_tokens, row.output_tokens]),
    );
    const line = ended.records.find((each): each is SessionLine => each.type === "session" && each.id === session);
    const begin = line?.startNs ?? Number.NaN;
    requests.forEach(({ id }, i) => {
      const atMs = ((byId.get(String(id))?.scheduledNs ?? Number.NaN) - begin) / 1e6;
      const dueMs = atOf(rounds[i]) - atOf(rounds[0]);
      assert.ok(Math.abs(atMs - dueMs) < 0.001, `round ${i} of ${session}: ${atMs} ms instead of ${dueMs}`);
    });
  });
});

test("TRACE_WINDOW of sessions: those with the numbers or the times of the window are sent, and no other", {
  timeout: 60_000,
}, async (t) => {
  const windows: [string, string[]][] = [
    ["1-1", ["[0]"]],
    ["2-2", ["[1]"]],
    ["250ms-1s", ["[1]"]],
  ];
  const rows = readFileSync(fixture("51-aiperf-mooncake-session.jsonl"), "utf8").trim().split("\n");
  for (const [window, blocks] of windows) {
    const server = await sessionServer(t);
    const ended = await run("conversations", {
      ...{ BASE_URL: server.baseUrl, TRACE: fixture("51-aiperf-mooncake-session.jsonl"), THRESHOLDS: "none" },
      TRACE_WINDOW: window,
    });
    assertEndedWell(ended);
    assert.equal(server.sessions.size, blocks.length, window);
    const turns = rows.filter((row) => blocks.some((ids) => row.includes(`"hash_ids": ${ids}`))).length;
    assert.equal(ended.requests.length, turns, window);
  }
});

test("sessions arrive by RATE_FILE and PATTERN as requests do: at the times of the same schedule", {
  timeout: 60_000,
}, async () => {
  const server = await startServer(...engine);
  const rates = path.join(scratchDir(), "rates.csv");
  writeFileSync(rates, "time,rate\n0,0\n1,40\n1.001,10\n2,10\n");
  try {
    const loads: RunSettings[] = [
      { RATE_FILE: rates },
      { PATTERN: "sine:5:25:1s", DURATION: "2s", ARRIVAL: "poisson", SEED: 3 },
    ];
    for (const load of loads) {
      const shared = { BASE_URL: server.baseUrl, OUTPUT_TOKENS: 2, INPUT_TOKENS: 8, THRESHOLDS: "none", ...load };
      const requests = await run("arrival-rate-ramp", shared);
      const sessions = await run("conversations", { ...shared, SESSION_TURNS: 2 });
      for (const ended of [requests, sessions]) assertEndedWell(ended);
      assert.deepEqual(sessions.summary.schedule, requests.summary.schedule);
      assert.ok((sessions.summary.schedule?.requests ?? 0) > 20);
      const sinceFirst = (times: number[]) => times.sort((a, b) => a - b).map((ns) => ns - (times[0] ?? 0));
      const begins = sessions.records.flatMap((each) => (each.type === "session" ? [each.startNs ?? 0] : []));
      assert.deepEqual(sinceFirst(begins), sinceFirst(requests.requests.map(({ scheduledNs = 0 }) => scheduledNs)));
      assert.equal(sessions.requests.length, 2 * begins.length);
    }
  } finally {
    await server.stop();
  }
});

const engine = ["--step-time", "1ms", "--sequence-time", "10us", "--prefill-rate", "100000"];

test("TTFT, speed and cached input by turn are the server's truth, and the records fold to the summary", {
  timeout: 90_000,
}, async () => {
  const server = await startServer(...engine, "--enable-prefix-caching", "--enable-prompt-tokens-details");
  try {
    const ended = await run("conversations", {
      ...{ BASE_URL: server.baseUrl, CONCURRENCY: 8, SESSIONS: 32, SESSION_TURNS: "uniform:2:5", SHARED_PREFIX: 64 },
      ...{ INPUT_TOKENS: 100, OUTPUT_TOKENS: 8, THINK_TIME: "exponential:60", THRESHOLDS: "none" },
    });
    assertEndedWell(ended);
    const truth = new Map((await server.truth()).requests.map((each) => [each.id, each]));
    const level = levelOf(ended.summary, "c8");
    const { turns = [], sessions } = level;
    assert.equal(turns.length, 5);
    for (const { turn, requests, inputTokens, cachedTokens, cachedShare = 0, ttftMs, outputSpeed } of turns) {
      const own = ended.requests.filter((each) => each.turn === turn);
      const true_ = own.map(({ id }) => truth.get(id ?? "") as NonNullable<ReturnType<typeof truth.get>>);
      const total = (of: (each: (typeof true_)[number]) => number) => true_.reduce((sum, each) => sum + of(each), 0);
      assert.equal(requests, own.length);
      assert.equal(
        inputTokens,
        total(({ promptTokens }) => promptTokens),
      );
      assert.equal(
        cachedTokens,
        total(({ cachedTokens = 0 }) => cachedTokens),
      );
      assert.equal(cachedShare, cachedTokens / inputTokens);
      const ttft = total(({ beginNs, sendsNs }) => ((sendsNs[0]?.[0] ?? 0) - beginNs) / 1e6) / own.length;
      near(ttftMs.mean, ttft, `TTFT of turn ${turn}`, { absolute: 3 });
      const speed = total(({ sendsNs, outputTokens }) => {
        const times = sendsNs.filter(([, , tokens]) => tokens > 0).map(([from]) => from);
        return ((outputTokens - 1) * 1e9) / ((times.at(-1) ?? 0) - (times[0] ?? 0));
      });
      near(outputSpeed.mean, speed / own.length, `speed of turn ${turn}`, { relative: 0.1 });
    }
    const shares = turns.map(({ cachedShare = 0 }) => cachedShare);
    assert.ok(
      shares.every((share, k) => k === 0 || share > (shares[k - 1] ?? 0)),
      `${shares}: the history is cached`,
    );
    assert.deepEqual(
      [sessions?.sessions, sessions?.completed, sessions?.notSent, sessions?.turns],
      [32, 32, 0, ended.requests.length],
    );
    const [folded] = foldRecords(ended.records).levels;
    nearlyEqual(folded?.sessions, sessions, "sessions: what the records say, and what the module counted");
    // A speed is kept in thousandths.
    const speeds = (of: typeof turns) =>
      of.map(({ outputSpeed, ...rest }) => ({ ...rest, speed: Math.round(outputSpeed.mean) }));
    nearlyEqual(speeds(folded?.turns ?? []), speeds(turns), "turns");
  } finally {
    await server.stop();
  }
});

test("users who leave: the server has freed their requests, and no gate is violated by them", {
  timeout: 60_000,
}, async () => {
  const server = await startServer(...engine, "--sequence-time", "1ms");
  try {
    for (const after of ["30ms", "3tokens"]) {
      await server.reset();
      const ended = await run("conversations", {
        ...{
          BASE_URL: server.baseUrl,
          CONCURRENCY: 8,
          SESSIONS: 48,
          SESSION_TURNS: 3,
          OUTPUT_TOKENS: 40,
          ABANDON: `0.4:${after}`,
          SEED: 1,
        },
        THRESHOLDS: "none",
      });
      assertEndedWell(ended);
      const { sessions, abandoned = 0, failed, requests, completed } = levelOf(ended.summary, "c8");
      // SEED decides who leaves, however busy the machine is.
      near(abandoned / requests, 0.4, `${abandoned} of ${requests} turns`, { relative: 0.2 });
      assert.deepEqual([failed, sessions?.abandoned, requests - completed], [0, abandoned, abandoned]);
      assert.equal(sessions?.completed, 48 - abandoned);
      const gone = ended.requests.filter((each) => each.outcome === "failed");
      assert.ok(gone.every((each) => each.failure === "aborted"));
      const truth = new Map((await server.truth()).requests.map((each) => [each.id, each]));
      for (const { id, sentNs = 0, endNs = 0 } of gone) {
        const { outputTokens = 0 } = truth.get(id ?? "") ?? {};
        assert.ok(outputTokens < 40, "it was given up in the middle");
        if (after === "3tokens") assert.ok(outputTokens >= 3, `${outputTokens} tokens`);
        else assert.ok(endNs - sentNs >= 30e6);
      }
      const page = await call(`${server.origin}/metrics`);
      assert.match(
        page,
        new RegExp(`vllm:request_success_total\\{[^}]*finished_reason="abort"[^}]*\\} ${abandoned}\\b`),
      );
      assert.match(ended.stdout, /the server had freed all abandoned requests/);
      const [freed, ...others] = ended.summary.freed ?? [];
      assert.deepEqual([freed?.left, freed?.class, others], [0, undefined, []]);
      assert.ok((freed?.waitedS ?? 9) < 3, "it looked until the server was done");
    }
  } finally {
    await server.stop();
  }
});

test("a server that goes on for clients who are gone is named", { timeout: 60_000 }, async (t) => {
  const server = http.createServer((request, response) => {
    if (request.url === "/metrics")
      return response.end('vllm:num_requests_running{engine="0"} 2.0\nvllm:num_requests_waiting{engine="0"} 1.0\n');
    if (request.method === "GET") return response.end(JSON.stringify({ data: [{ id: "served" }] }));
    if (!request.url?.endsWith("/chat/completions")) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "a" } }] })}\n\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  const ended = await run("conversations", {
    BASE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    ...{ CONCURRENCY: 1, SESSIONS: 1, ABANDON: "1:20ms", THRESHOLDS: "none", SESSION_HEADER: "none" },
  });
  assert.match(ended.stdout, /the server still works on 3 requests 3 s after the end of the load/);
  assert.deepEqual(
    (ended.summary.freed ?? []).map(({ left, waitedS }) => [left, Math.round(waitedS)]),
    [[3, 3]],
  );
});

test("a class of a mix whose users leave: its server is looked at, too", { timeout: 60_000 }, async () => {
  const server = await startServer(...engine, "--sequence-time", "2ms");
  try {
    const mix = path.join(scratchDir(), "mix.json");
    const settings = { SESSION_TURNS: "2", OUTPUT_TOKENS: "40", ABANDON: "0.5:3tokens" };
    const plain = { OUTPUT_TOKENS: "2" };
    const talks = { name: "talks", concurrency: 2, sessions: true, settings };
    writeFileSync(mix, JSON.stringify({ classes: [{ name: "plain", rate: 4, settings: plain }, talks] }));
    const ended = await run("mixed", {
      ...{ BASE_URL: server.baseUrl, MIX: mix, DURATION: "600ms", THRESHOLDS: "none" },
    });
    assertEndedWell(ended);
    assert.ok((levelOf(ended.summary, "talks").abandoned ?? 0) > 0);
    assert.deepEqual(
      (ended.summary.freed ?? []).map(({ class: of, left }) => [of, left]),
      [["talks", 0]],
    );
    assert.match(ended.stdout, /the server of talks had freed all abandoned requests/);
  } finally {
    await server.stop();
  }
});

test("800 turns of 100 sessions: each request's input and cached input are the server's, and no latency has a think time", {
  timeout: 120_000,
}, async () => {
  const server = await startServer(
    ...["--step-time", "1ms", "--sequence-time", "10us", "--prefill-rate", "200000", "--max-num-seqs", "128"],
    ...["--num-gpu-blocks", "40000", "--enable-prefix-caching", "--enable-prompt-tokens-details"],
  );
  try {
    const ended = await run(
      "conversations",
      {
        ...{ BASE_URL: server.baseUrl, RATE: 50, DURATION: "2s", SESSION_TURNS: 8, THINK_TIME: "uniform:600:1000" },
        ...{ INPUT_TOKENS: 64, OUTPUT_TOKENS: 4, SHARED_PREFIX: 64, THRESHOLDS: "none" },
      },
      { timeoutMs: 110_000 },
    );
    assertEndedWell(ended);
    assert.equal(ended.requests.length, 800);
    const sessions = ended.records.filter((each): each is SessionLine => each.type === "session");
    const figures = turnFigures(ended.requests, sessions, (await server.truth()).requests);
    assert.deepEqual([figures.unmatched, figures.cachedWrong, figures.turnCachedError], [0, 0, 0]);
    near(figures.turnTtftErrorMs, 0, "TTFT of the worst turn", { absolute: 3 });
    // A think time in a latency would be in it whole.
    assert.ok(figures.leastThinkMs > 700 && figures.thinkErrorMs < 500, JSON.stringify(figures));
    assert.ok(figures.mostSessions > 90 && figures.vus <= 4, "four VUs hold all sessions");
    const last = ended.requests.filter(({ turn }) => turn === 8);
    const sum = (of: (request: RequestLine) => number) => last.reduce((total, each) => total + of(each), 0);
    const share = sum(({ cachedTokens = 0 }) => cachedTokens) / sum(({ inputTokens = 0 }) => inputTokens);
    assert.ok(last.length === 100 && share > 0.8, `turn 8: ${share} of the input is cached`);
  } finally {
    await server.stop();
  }
});

test("a tool is called, waited for and answered, and the task lasts until then", { timeout: 60_000 }, async () => {
  const server = await startServer(...engine);
  try {
    const ended = await run("conversations", {
      ...{ BASE_URL: server.baseUrl, CONCURRENCY: 2, SESSIONS: 4, SESSION_TURNS: 2, TOOL_ROUNDS: 3, TOOL_TIME: "35ms" },
      ...{ EXTRA_BODY: '{"simulate":{"toolRounds":2,"outputTokens":12}}', THRESHOLDS: "none", OUTPUT_TOKENS: 60 },
    });
    assertEndedWell(ended);
    const { sessions, turns = [] } = levelOf(ended.summary, "c2");
    assert.equal(turns.length, 6, "each of two turns calls the tool twice");
    assert.deepEqual([sessions?.completed, sessions?.taskMs.count], [4, 8]);
    assert.equal(sessions?.waitMs.mean, 4 * 35);
    assert.ok((sessions?.taskMs.min ?? 0) >= 70, "the waits for the tool are part of the task");
    // A session lasts from what the server had first of it to the last token that it sent; so does each of its tasks.
    const truth = new Map((await server.truth()).requests.map((each) => [each.id, each]));
    const bySession = new Map<string, RequestLine[]>();
    for (const each of ended.requests)
      bySession.set(each.session ?? "", [...(bySession.get(each.session ?? "") ?? []), each]);
    const lasted = (of: RequestLine[]) => {
      const own = of.map(({ id }) => truth.get(id ?? "") as NonNullable<ReturnType<typeof truth.get>>);
      const ends = own.map(({ sendsNs }) => sendsNs.at(-1)?.[0] ?? Number.NaN);
      return (Math.max(...ends) - Math.min(...own.map(({ beginNs }) => beginNs))) / 1e6;
    };
    const inTurn = [...bySession.values()].map((each) => each.sort((x, y) => (x.turn ?? 0) - (y.turn ?? 0)));
    const mean = (values: number[]) => values.reduce((sum, each) => sum + each, 0) / values.length;
    near(sessions?.durationMs.mean ?? 0, mean(inTurn.map(lasted)), "time of a session", { absolute: 10 });
    const tasks = inTurn.flatMap((each) => [each.slice(0, 3), each.slice(3)]);
    near(sessions?.taskMs.mean ?? 0, mean(tasks.map(lasted)), "time of a task", { absolute: 10 });
    assert.deepEqual(
      ended.requests
        .filter((each) => each.session === ended.requests[0]?.session)
        .sort((a, b) => (a.turn ?? 0) - (b.turn ?? 0))
        .map(({ tool = false, finishReason }) => [tool, finishReason]),
      [
        [false, "tool_calls"],
        [true, "tool_calls"],
        [true, "stop"],
        [false, "tool_calls"],
        [true, "tool_calls"],
        [true, "stop"],
      ],
    );
  } finally {
    await server.stop();
  }
});

const refused: [RunSettings, RegExp][] = [
  [
    { API: "completions" },
    /API=completions has no conversations; conversations takes one of chat, responses, messages/,
  ],
  [
    { DATASET: fixture("18-aiperf-multi.jsonl"), HISTORY: "recorded" },
    /DATASET=.*: session 1 has no answer before its turn 2, which HISTORY=recorded sends; set HISTORY=live/,
  ],
  [{ SESSIONS: 3, REQUESTS: 4 }, /SESSIONS=3 and REQUESTS=4 both bound a level/],
  [{ RATE: 1, DURATION: "1s", CONCURRENCY: 3 }, /CONCURRENCY is set and has no effect with RATE/],
  [{ PATTERN: "sine:1:2:1s", DURATION: "1s", CONCURRENCY: 3 }, /CONCURRENCY is set and has no effect with PATTERN/],
  [{ ABANDON: "2:1s" }, /ABANDON=2:1s is not SHARE:AFTER/],
  [{ THINK_TIME: "often" }, /THINK_TIME=often is not recorded/],
  [
    { TRACE: fixture("18-aiperf-multi.jsonl") },
    /a session whose first turn has no time; sessions without times are sent by DATASET/,
  ],
];
for (const [settings, says] of refused) {
  test(`refused before any load: ${JSON.stringify(settings).slice(0, 60)}`, async () => {
    const ended = await run("conversations", { BASE_URL: "http://127.0.0.1:9/v1", ...settings });
    assert.equal(ended.code, 104, ended.stdout + ended.stderr);
    assert.match(ended.stderr, says);
  });
}

test("a subagent's branches join on the wire", { timeout: 60_000 }, async (t) => {
  const server = await sessionServer(t);
  const file = path.join(scratchDir(), "weka.json");
  const request = (ids: number[], more: object = {}) => ({
    t: 0,
    in: ids.length * 16,
    out: 2,
    hash_ids: ids,
    think_time: 0.02,
    ...more,
  });
  const requests = [
    request([1]),
    { type: "subagent", t: 0, requests: [request([2]), request([2, 3])] },
    { type: "subagent", t: 0, requests: [request([4])] },
    request([1, 5], { input_types: ["tool_result"] }),
  ];
  writeFileSync(file, JSON.stringify({ id: "a", block_size: 16, requests }));
  const ended = await run("conversations", {
    BASE_URL: server.baseUrl,
    DATASET: file,
    SESSIONS: 1,
    CONCURRENCY: 1,
    THRESHOLDS: "none",
  });
  assertEndedWell(ended);
  const [sent = []] = [...server.sessions.values()];
  assert.equal(sent.length, 5);
  const records = new Map(ended.requests.map((each) => [each.id, each]));
  const at = (words: number) =>
    sent
      .filter(({ body }) => body.messages[0].content.split(" ").length === words)
      .map(({ id }) => records.get(String(id)) as RequestLine);
  const [begin, ...singles] = at(16);
  const doubles = at(32).sort((a, b) => (a.scheduledNs ?? 0) - (b.scheduledNs ?? 0));
  assert.deepEqual([singles.length, doubles.length], [2, 2]);
  for (const branch of singles)
    assert.equal((branch.scheduledNs ?? 0) - (begin?.endNs ?? 0), 20e6, "both begin with the parent's end");
  const last = doubles[1];
  const ends = [...singles, ...doubles.slice(0, 1)].map(({ endNs = 0 }) => endNs);
  assert.equal((last?.scheduledNs ?? 0) - Math.max(...ends), 20e6, "the parent waits for the last branch");
});
