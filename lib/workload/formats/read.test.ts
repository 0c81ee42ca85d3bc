import assert from "node:assert/strict";
import { test } from "node:test";
import { readRows } from "../../../test/support/file-of-text";
import { parseSettings } from "../../settings/parse-settings";
import { shownSettings } from "../../settings/settings";
import { BlockScale } from "./blocks";
import type { ReadSettings } from "./read";
import { originOf, TimeScale, timeMs } from "./time";

const lines = (...rows: unknown[]) => rows.map((row) => JSON.stringify(row)).join("\n");

function dataset(name: string, text: string, set: Partial<ReadSettings> = {}) {
  return readRows("DATASET", name, text, set);
}

function trace(text: string, set: Partial<ReadSettings> = {}, name = "trace.jsonl") {
  const read = readRows("TRACE", name, text, set);
  return { ...read, atMs: read.rows.map((row) => JSON.parse(row).atMs as number) };
}

const rowAt = (timestamp: unknown, more: object = {}) => ({ timestamp, input_length: 40, output_length: 4, ...more });

const units: { why: string; times: unknown[]; unit: string | undefined; atMs: number[] }[] = [
  { why: "whole numbers are ms", times: [0, 300], unit: "ms", atMs: [0, 300] },
  { why: "one fraction makes seconds of all", times: [100, 100.25, 102], unit: "s", atMs: [0, 250, 2000] },
  { why: "a text's point is a fraction", times: ["5.0", "6.0"], unit: "s", atMs: [0, 1000] },
  { why: "ten digits are s since 1970", times: [1753780607, 1753780609], unit: "s", atMs: [0, 2000] },
  {
    why: "13 digits are ms since 1970, with fractions too",
    times: [1753780607550, 1753780607550.5],
    unit: "ms",
    atMs: [0, 0.5],
  },
  { why: "16 digits are us since 1970", times: [1753780607550317, 1753780607551317], unit: "us", atMs: [0, 1] },
  {
    why: "19 digits are ns since 1970, exact as texts",
    times: ["1753780607550317897", "1753780607550317998"],
    unit: "ns",
    atMs: [0, 0.000101],
  },
  {
    why: "dates keep seven decimals",
    times: ["2023-11-16 18:15:46.6805900", "2023-11-16 18:15:46.6805907"],
    unit: undefined,
    atMs: [0, 0.0007],
  },
  {
    why: "offsets from UTC count",
    times: ["2024-05-10T02:00:00+02:00", "2024-05-10T00:00:01Z"],
    unit: undefined,
    atMs: [0, 1000],
  },
];
for (const { why, times, unit, atMs } of units) {
  test(`times: ${why}`, () => {
    const scale = new TimeScale();
    for (const time of times) scale.see(time as number);
    assert.equal(scale.unit(), unit);
    const originMs = originOf(times[0] as number, scale.unit());
    const [first = 0, ...rest] = times.map((time) => timeMs(time as number, scale.unit(), originMs));
    for (const [k, at] of rest.entries()) {
      assert.ok(Math.abs(at - first - (atMs[k + 1] ?? 0)) < 2e-4, `${at - first} for ${atMs[k + 1]}`);
    }
  });
}

test("times that are of two kinds are refused, and so are dates of which only some have an offset", () => {
  assert.throws(() => trace(lines(rowAt(5), rowAt("2024-05-10 00:00:00"))), /line 2 the time .* is no number, unlike/);
  assert.throws(
    () => trace(lines(rowAt("2024-05-10 00:00:00Z"), rowAt("2024-05-10 00:00:01"))),
    /line 2 the time .* lacks an offset from UTC/,
  );
  assert.throws(
    () => trace(lines(rowAt("2024-05-10 00:00:00")), { TRACE_UNIT: "s" }),
    /dates .* leave TRACE_UNIT=s out/,
  );
});

test("TRACE_UNIT counts for more than the rule, SPEED divides", () => {
  assert.deepEqual(trace(lines(rowAt(1), rowAt(4)), { TRACE_UNIT: "s" }).atMs, [0, 3000]);
  assert.deepEqual(trace(lines(rowAt(0), rowAt(300)), { SPEED: 3 }).atMs, [0, 100]);
});

test("TRACE_WINDOW: rows from the first of them, times from where the window begins, in the order of the times", () => {
  const text = lines(rowAt(900), rowAt(100), rowAt(400), rowAt(600));
  assert.deepEqual(trace(text, { TRACE_WINDOW: { of: "rows", from: 2, to: 3 } }).atMs, [0, 200]);
  assert.deepEqual(trace(text, { TRACE_WINDOW: { of: "time", from: 200, to: 800 } }).atMs, [100, 300]);
  // From a time to another one, which is left out, and beyond the last.
  for (const [from, to, atMs] of [
    [0, 300, [0]],
    [300, 500, [0]],
    [301, 9000, [199, 499]],
  ] as const)
    assert.deepEqual(trace(text, { TRACE_WINDOW: { of: "time", from, to } }).atMs, atMs, `${from}-${to}`);
  assert.throws(() => trace(text, { TRACE_WINDOW: { of: "time", from: 801, to: 900 } }), /has no row in TRACE_WINDOW/);
  assert.throws(() => trace(text, { TRACE_WINDOW: { of: "rows", from: 9, to: 12 } }), /has no row in TRACE_WINDOW/);
});

const blocks: { why: string; rows: [tokens: number, ids: number][]; size: number | undefined }[] = [
  {
    why: "Mooncake",
    rows: [
      [1300, 3],
      [1800, 4],
      [1536, 3],
      [28, 1],
    ],
    size: 512,
  },
  {
    why: "Bailian",
    rows: [
      [48, 3],
      [64, 4],
      [40, 3],
    ],
    size: 16,
  },
  {
    why: "a full last block",
    rows: [
      [512, 1],
      [1024, 2],
    ],
    size: 512,
  },
  {
    why: "another power of two",
    rows: [
      [128, 2],
      [65, 2],
      [64, 1],
    ],
    size: 64,
  },
  {
    why: "no size fits all rows",
    rows: [
      [48, 3],
      [1024, 2],
    ],
    size: undefined,
  },
  { why: "several sizes fit", rows: [[600, 1]], size: undefined },
];
for (const { why, rows, size } of blocks) {
  test(`blocks: ${why}`, () => {
    const scale = new BlockScale();
    for (const [tokens, ids] of rows) scale.see(tokens, ids);
    assert.equal(scale.tokens(), size);
  });
}

test("hash_ids that fit no block size are refused until TRACE_BLOCK says it", () => {
  const text = lines(
    rowAt(0, { input_length: 48, hash_ids: [1, 2, 3] }),
    rowAt(1, { input_length: 1024, hash_ids: [1, 2] }),
  );
  assert.throws(() => trace(text), /hash_ids whose number fits no block size; .*TRACE_BLOCK/);
  assert.equal(JSON.parse(trace(text, { TRACE_BLOCK: 512 }).rows[0] ?? "").blockTokens, 512);
});

test("prompts may hold a trace's times, and DATASET says that it does not keep them", () => {
  const text = lines({ text: "a", output_length: 3, timestamp: 100 }, { text: "b", output_length: 4, timestamp: 350 });
  assert.deepEqual(trace(text).atMs, [0, 250]);
  assert.match(dataset("a.jsonl", text).notes.join("\n"), /times are not kept.*set TRACE/);
});

const refused: { why: string; name?: string; text: string; set?: Partial<ReadSettings>; says: RegExp }[] = [
  {
    why: "two names of a length that disagree",
    text: lines({ prompt: "a", output_tokens: 4, output_len: 5 }),
    says: /output_tokens=4 and output_len=5 disagree; .*ignore=output_len/,
  },
  {
    why: "a negative length",
    text: lines({ prompt: "a", output_tokens: -1 }),
    says: /row 1 output_tokens=-1 is no length/,
  },
  {
    why: "another format in the middle",
    text: lines({ prompt: "a" }, { conversations: [{ from: "human", value: "b" }] }),
    says: /line 2 is of another format \(conversations\) than the rows before it \(prompts\)/,
  },
  {
    why: "a role that nobody knows",
    text: lines({ conversations: [{ from: "narrator", value: "b" }] }),
    says: /conversations\[0\] has the role "narrator"/,
  },
  { why: "a table without rows", name: "a.csv", text: "prompt\n", says: /has no row in it/ },
  { why: "an open quote in a table", name: "a.csv", text: 'prompt,n\n"a,1\n', says: /Quoted field unterminated/ },
  {
    why: "a cell too few",
    name: "a.csv",
    text: "prompt,n\na\n",
    says: /row 1 has 1 cells for 2 columns \(prompt, n\)/,
  },
  { why: "two lists in an object", name: "a.json", text: '{"a": [{}], "b": [{}]}', says: /several lists \(a, b\)/ },
  {
    why: "no list in an object",
    name: "a.json",
    text: '{"tags": ["a"]}',
    says: /without a list of rows \(its fields are tags\)/,
  },
  { why: "control characters", name: "a.txt", text: "a\u0000b", says: /is no text file/ },
  {
    why: "plain text that is named JSONL",
    text: "hello\nyou",
    says: /line 1 is no JSON; a file of plain prompts is named .txt/,
  },
  { why: "no ending", name: "prompts", text: "a", says: /ending \. is not known/ },
  {
    why: "an embeddings request in a chat",
    text: lines({ url: "/v1/embeddings", body: { model: "m", input: "a" } }),
    says: /API=embeddings/,
  },
  {
    why: "a body of an unknown address",
    text: lines({ url: "/v1/rerank", body: { query: "a", messages: [{ role: "user", content: "a" }] } }),
    says: /url=\/v1\/rerank is none of/,
  },
  {
    why: "a message without content",
    text: lines({ messages: [{ role: "user" }] }),
    says: /messages\[0\] has no content/,
  },
  {
    why: "tool results on another API",
    text: lines({
      messages: [
        { role: "user", content: "a" },
        { role: "assistant", content: null, tool_calls: [] },
        { role: "tool", content: "b" },
      ],
    }),
    set: { API: "messages" },
    says: /tool calls in its messages.*set API=chat/,
  },
];
for (const { why, name = "a.jsonl", text, set, says } of refused) {
  test(`refused: ${why}`, () => assert.throws(() => dataset(name, text, set), { message: says }));
}

test("upper-case endings, TSV, and names of columns in any case are read", () => {
  const { rows, found } = dataset("A.TSV", 'Prompt\tOutput_Tokens\n"a\tb"\t5\n\nc, d\t6\n');
  assert.deepEqual(
    rows.map((row) => JSON.parse(row)),
    [
      { input: { kind: "text", text: "a\tb" }, outputTokens: 5 },
      { input: { kind: "text", text: "c, d" }, outputTokens: 6 },
    ],
  );
  assert.match(found, /^prompts TSV: prompt, output_tokens; 2 rows$/);
});

test("tool results and calls of a chat are passed on as they are", () => {
  const messages = [
    { role: "user", content: "Weather?" },
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "1", type: "function", function: { name: "w", arguments: "{}" } }],
    },
    { role: "tool", tool_call_id: "1", content: "rain" },
  ];
  const { rows } = dataset("a.jsonl", lines({ messages, tools: [{}] }));
  assert.deepEqual(JSON.parse(rows[0] ?? "").input.messages, messages);
});

test("entries of a HAR file that are no request to a model are left out and counted, and its headers are not read", () => {
  const entry = (method: string, url: string, text?: string) => ({
    ...{ startedDateTime: "2026-01-01T00:00:00Z", response: {} },
    request: {
      method,
      url,
      headers: [{ name: "Authorization", value: "Bearer key" }],
      ...(text && { postData: { text } }),
    },
  });
  const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: "a" }] });
  const entries = [
    entry("GET", "https://x/v1/models"),
    entry("POST", "https://x/v1/chat/completions?key=1", body),
    entry("POST", "https://x/track", "{}"),
  ];
  const { rows, notes, found } = dataset("a.har", JSON.stringify({ log: { entries } }));
  assert.deepEqual(
    rows.map((row) => JSON.parse(row)),
    [{ input: { kind: "text", text: "a" }, body: { model: "m" } }],
  );
  assert.match(notes.join("\n"), /no request to a model are left out \(2 rows\)/);
  assert.doesNotMatch(notes.join("\n"), /empty/);
  assert.doesNotMatch(rows.join() + notes.join() + found, /Bearer|key/);
});

test("a field of a row that is called like a time or a length of another format is not taken for one", () => {
  const { rows, notes } = dataset("a.jsonl", lines({ prompt: "a", time: { start: 1 }, in: "x", t: "y" }));
  assert.deepEqual(JSON.parse(rows[0] ?? ""), { input: { kind: "text", text: "a" } });
  assert.deepEqual(notes, ["not sent: time, in, t"]);
});

test("rows longer than the head of a file that decides its kind", () => {
  const [a, b] = ["a".repeat(100_000), "b".repeat(100_000)];
  const texts = (name: string, text: string) =>
    dataset(name, text).rows.map((row) => JSON.parse(row).input.text?.[0] ?? JSON.parse(row).input.messages.length);
  assert.deepEqual(texts("a.jsonl", lines({ prompt: a }, { prompt: b })), ["a", "b"]);
  assert.deepEqual(texts("a.json", lines({ prompt: a }, { prompt: b })), ["a", "b"]);
  assert.deepEqual(texts("a.json", JSON.stringify([{ prompt: a }, { prompt: b }])), ["a", "b"]);
  assert.deepEqual(texts("a.json", JSON.stringify({ data: [{ prompt: a }, { prompt: b }] })), ["a", "b"]);
  const system = { role: "system", content: a };
  const asked = [system, { role: "user", content: b }];
  assert.deepEqual(texts("a.jsonl", lines(asked, asked)), [2, 2]);
  assert.deepEqual(texts("a.jsonl", lines(asked)), [2]);
});

test("DATASET_COLUMNS: a path into the row, and a column that is left out, also of a body", () => {
  const nested = dataset("a.jsonl", lines({ inputs: { q: "a" }, n: 4 }), {
    DATASET_COLUMNS: [
      { role: "prompt", column: "inputs.q" },
      { role: "output_tokens", column: "n" },
    ],
  });
  assert.deepEqual(JSON.parse(nested.rows[0] ?? ""), { input: { kind: "text", text: "a" }, outputTokens: 4 });
  const table = dataset("a.csv", "User Query,Id\na,1\n", {
    DATASET_COLUMNS: [{ role: "prompt", column: "User Query" }],
  });
  assert.deepEqual(JSON.parse(table.rows[0] ?? "").input, { kind: "text", text: "a" });
  const without = dataset(
    "a.jsonl",
    lines({ url: "/v1/chat/completions", body: { model: "m", tools: [], messages: [{ role: "user", content: "a" }] } }),
    { API: "completions", DATASET_COLUMNS: [{ role: "ignore", column: "tools" }] },
  );
  assert.deepEqual(JSON.parse(without.rows[0] ?? "").body, { model: "m" });
});

test("rows of many different fields: each is read by its own, and every field that is not sent is listed", () => {
  const rows = Array.from({ length: 200 }, (_, k) => ({
    [`extra${k % 100}`]: k,
    prompt: `p${k}`,
    output_tokens: k + 1,
  }));
  const { rows: read, notes } = dataset("a.jsonl", lines(...rows));
  assert.deepEqual(
    read.map((row) => JSON.parse(row)),
    rows.map(({ prompt, output_tokens }) => ({ input: { kind: "text", text: prompt }, outputTokens: output_tokens })),
  );
  assert.deepEqual(notes, [
    `not sent: ${rows
      .slice(0, 100)
      .map((_, k) => `extra${k}`)
      .join(", ")}`,
  ]);
  // One name with a line break is not two names.
  const { notes: broken } = dataset(
    "a.jsonl",
    lines({ prompt: "a", b: 1, c: 1 }, { "prompt\nb": 1, c: 2, prompt: "d" }),
  );
  assert.deepEqual(broken, ["not sent: b, c, prompt\nb"]);
  const same = dataset("a.jsonl", lines({ a: 1, b: 2, prompt: "x" }, { "a\nb": 3, prompt: "y" }));
  assert.deepEqual(same.notes, ["not sent: a, b, a\nb"]);
});

test("a row without a length is not given that of the row before it", () => {
  const { rows } = dataset(
    "a.jsonl",
    lines(
      { prompt: "a", output_tokens: 4 },
      { prompt: "b", output_tokens: null },
      { prompt: "c", output_tokens: "" },
      { prompt: "d" },
    ),
  );
  assert.deepEqual(
    rows.map((row) => JSON.parse(row).outputTokens),
    [4, undefined, undefined, undefined],
  );
});

test("MAX_INPUT_TOKENS is refused where a row has a text, which it does not cut, and taken where all are token ids", () => {
  const texts = lines({ prompt: "a b c" });
  const says = /has texts, which MAX_INPUT_TOKENS=2 does not cut.*leave it out/;
  assert.throws(() => dataset("a.jsonl", texts, { MAX_INPUT_TOKENS: 2 }), says);
  assert.throws(() => readRows("DATASET", "a.jsonl", texts, { MAX_INPUT_TOKENS: 2 }, true), says);
  const ids = dataset("a.jsonl", lines({ token_ids: [1, 2, 3] }), { API: "completions", MAX_INPUT_TOKENS: 2 });
  assert.equal(ids.rows.length, 1);
});

test("DATASET_LIMIT stops reading: what stands behind is not looked at", () => {
  const text = `${lines({ prompt: "a" }, { prompt: "b" })}\nbroken`;
  assert.equal(dataset("a.jsonl", text, { DATASET_LIMIT: 2 }).rows.length, 2);
  assert.throws(() => dataset("a.jsonl", text, { DATASET_LIMIT: 3 }), /line 3 is no JSON/);
});

test("the settings of files are read and shown in a form to be set again", () => {
  const given = {
    DATASET_COLUMNS: "prompt=user query,ignore=image",
    TRACE_WINDOW: "10m-",
    TRACE_UNIT: "us",
    SPEED: "2.5",
    TURNS: "last",
    TRACE: "t.jsonl",
  };
  const settings = parseSettings(given, {});
  assert.deepEqual(settings.TRACE_WINDOW, { of: "time", from: 600_000, to: Number.MAX_SAFE_INTEGER });
  const shown = shownSettings(settings);
  for (const [name, value] of Object.entries(given)) assert.equal(String(shown[name]), value, name);
  assert.deepEqual(parseSettings({ TRACE: "t", TRACE_WINDOW: "-1000" }, {}).TRACE_WINDOW, {
    of: "rows",
    from: 1,
    to: 1000,
  });
  assert.equal(shownSettings(parseSettings({ TRACE: "t", TRACE_WINDOW: "5-9" }, {})).TRACE_WINDOW, "5-9");
  for (const bad of [
    { TRACE_WINDOW: "9-5" },
    { TRACE_WINDOW: "0-5" },
    { TRACE_WINDOW: "-" },
    { TRACE_WINDOW: "20m-10m" },
    { DATASET_COLUMNS: "prompt" },
    { DATASET_COLUMNS: "colour=red" },
    { SPEED: "0" },
    { DATASET_LIMIT: "0" },
  ]) {
    assert.throws(() => parseSettings(bad, {}), /is not/, JSON.stringify(bad));
  }
});

test("a setting of a file is refused where no file is set", () => {
  assert.throws(
    () => parseSettings({ DATASET_LIMIT: "5", TRACE: "t" }, {}),
    /DATASET_LIMIT=5 says how the file of DATASET is read/,
  );
  assert.throws(
    () => parseSettings({ TURNS: "first" }, {}),
    /TURNS=first says how the file of DATASET or TRACE is read/,
  );
  assert.throws(() => parseSettings({ SPEED: "2", DATASET: "d" }, {}), /SPEED=2 says how the file of TRACE is read/);
});

test("a table is read piece by piece: cells over several lines, blank rows, either line end, the row that an error is in", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const cells = ['"two,\nlines and a ""quote"""', "plain", '"another\n\nthree"'];
    const text = ["prompt,output_tokens", `${cells[0]},5`, ",", "", `${cells[1]},6`, `${cells[2]},7`, ""].join(end);
    assert.deepEqual(
      dataset("a.csv", text).rows.map((row) => JSON.parse(row).input.text),
      ['two,\nlines and a "quote"', "plain", "another\n\nthree"],
    );
  }
  assert.throws(() => dataset("a.csv", 'prompt,output_tokens\n"a\nb",5\nc,6,7\n'), /row 2 has 3 cells for 2 columns/);
  assert.throws(() => dataset("a.csv", 'prompt,output_tokens\na,5\n"b,6\nc,7\n'), /row 3 of the table: .*quote/i);
  assert.equal(dataset("a.csv", "prompt\na\nb\nc", { DATASET_LIMIT: 2 }).rows.length, 2);
});

test("times that are longer than a number is exact keep their differences, and rows of a time keep their order", () => {
  const times = ["1715300000123456789", "1715300000123457789", "1715300000123456790", "1715300000123456790"];
  const text = lines(...times.map((timestamp, k) => ({ timestamp, input_length: 10 + k, output_length: 5 })));
  const { atMs, rows } = trace(text);
  assert.deepEqual(atMs, [0, 1e-6, 1e-6, 1e-3]);
  assert.deepEqual(
    rows.map((row) => JSON.parse(row).inputTokens),
    [10, 12, 13, 11],
  );
});

test("a window takes rows in the order of their times, whatever their order in the file, and one with none in it is refused", () => {
  const text = lines(
    ...[30, 10, 0, 20, 40].map((timestamp) => ({ timestamp, input_length: 9 + timestamp, output_length: 5 })),
  );
  const windowOf = (of: "rows" | "time", from: number, to: number, set: Partial<ReadSettings> = {}) => {
    const { atMs, rows } = trace(text, { TRACE_WINDOW: { of, from, to }, ...set });
    return rows.map((row, k) => [atMs[k], JSON.parse(row).inputTokens - 9]);
  };
  assert.deepEqual(windowOf("rows", 2, 4), [
    [0, 10],
    [10, 20],
    [20, 30],
  ]); // prettier-ignore
  assert.deepEqual(windowOf("time", 15, 40), [
    [5, 20],
    [15, 30],
  ]); // prettier-ignore
  assert.deepEqual(windowOf("time", 15, 40, { SPEED: 2 }), [
    [2.5, 20],
    [7.5, 30],
  ]); // prettier-ignore
  assert.throws(() => windowOf("rows", 6, 9), /has no row in TRACE_WINDOW/);
  assert.throws(() => windowOf("time", 41, 50), /has no row in TRACE_WINDOW/);
});
