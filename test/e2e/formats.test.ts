/** The formats most in use, sent by the built k6 to a server that keeps the bodies: what arrived is what the file says. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { root } from "../../build/paths";
import { keepingServer } from "../support/keeping-server";
import { type EndedRun, type RunSettings, run } from "../support/run";
import { scratchDir } from "../support/scratch";

// biome-ignore lint/suspicious/noExplicitAny: bodies and rows have many shapes
type Any = any;

const fixture = (name: string) => path.join(root, "lib", "workload", "formats", "fixtures", name);
const textOf = (name: string) => readFileSync(fixture(name), "utf8");
const jsonl = (name: string): Any[] =>
  textOf(name)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

const user = (content: unknown) => ({ role: "user", content });
const length = (n: number) => ({ max_tokens: n, min_tokens: n, ignore_eos: true });
const stream = { stream: true, stream_options: { include_usage: true } };
const chat = (messages: unknown, more: object) => ({ model: "served", messages, ...more, ...stream });

const cases: { name: string; file: string; set?: RunSettings; says: RegExp; bodies: () => object[] }[] = [
  {
    name: "ShareGPT: the first turn, said so",
    file: "01-sharegpt-v3.json",
    set: { DATASET_LIMIT: 3 },
    says: /ShareGPT JSON: conversations; 3 rows.*only the first turn of a conversation is sent/s,
    bodies: () =>
      JSON.parse(textOf("01-sharegpt-v3.json"))
        .slice(0, 3)
        .map(({ conversations }: Any) => chat([user(conversations[0].value)], length(32))),
  },
  {
    name: "bodies with tools and sampling: every field, the row's model, the ceiling unforced",
    file: "20-aiperf-raw-payload.jsonl",
    says: /are ceilings/,
    bodies: () => jsonl("20-aiperf-raw-payload.jsonl").map((body) => ({ ...body, ...stream })),
  },
  {
    name: "MODEL counts for more than the rows' models",
    file: "20b-max-completion-tokens.jsonl",
    set: { MODEL: "mine" },
    says: /max_completion_tokens/,
    bodies: () => jsonl("20b-max-completion-tokens.jsonl").map((body) => ({ ...body, model: "mine", ...stream })),
  },
  {
    name: "OpenAI fine-tuning: without the recorded answer",
    file: "22-openai-finetune.jsonl",
    says: /the recorded answer: it is not sent \(6 rows\)/,
    bodies: () => jsonl("22-openai-finetune.jsonl").map(({ messages }) => chat(messages.slice(0, -1), length(32))),
  },
  {
    name: "vLLM's custom rows: texts and lengths",
    file: "02-vllm-custom.jsonl",
    says: /prompt, output_tokens; 6 rows/,
    bodies: () =>
      jsonl("02-vllm-custom.jsonl").map(({ prompt, output_tokens }) => chat([user(prompt)], length(output_tokens))),
  },
  {
    name: "GuideLLM's CSV: texts and lengths",
    file: "12-guidellm.csv",
    says: /GuideLLM CSV: prompt, output_tokens_count; 6 rows.*not sent: additional_column/s,
    bodies: () =>
      [...textOf("12-guidellm.csv").matchAll(/^"(.*)",(\d+),foo/gm)].map(([, prompt, n]) =>
        chat([user(prompt)], length(Number(n))),
      ),
  },
  {
    name: "AIPerf's mixed rows: images by address, more fields of the body",
    file: "17-aiperf-single.jsonl",
    says: /text, output_length, image, texts, timestamp, extra; 6 rows/,
    bodies: () => {
      const rows = jsonl("17-aiperf-single.jsonl");
      const part = (text: string) => ({ type: "text", text });
      return [
        chat([user(rows[0].text)], length(rows[0].output_length)),
        chat([user(rows[1].text)], length(rows[1].output_length)),
        chat([user([part(rows[2].text), { type: "image_url", image_url: { url: rows[2].image } }])], length(32)),
        chat([user(rows[3].texts.map(part))], length(32)),
        chat([user(rows[4].text)], length(32)),
        chat([user(rows[5].text)], { ...length(32), ...rows[5].extra }),
      ];
    },
  },
  {
    name: "batch files: each body",
    file: "21-openai-batch.jsonl",
    says: /batch JSONL/,
    bodies: () => jsonl("21-openai-batch.jsonl").map(({ body }) => ({ ...body, ...stream })),
  },
  {
    name: "MLPerf: token ids and lengths",
    file: "32-mlperf-openorca.jsonl",
    set: { API: "completions" },
    says: /MLPerf JSONL: tok_input/,
    bodies: () =>
      jsonl("32-mlperf-openorca.jsonl").map(({ tok_input: prompt, tok_output_length: n }) => ({
        ...{ model: "served", prompt, ...length(n), ...stream },
      })),
  },
  {
    name: "a file packed by gzip",
    file: "33b-prompts.jsonl.gz",
    says: /prompts JSONL: prompt; 6 rows/,
    bodies: () => jsonl("33-plain.jsonl").map(({ prompt }) => chat([user(prompt)], length(32))),
  },
  {
    name: "a conversation's last turn with its recorded history",
    file: "40-vllm-multi-turn.json",
    set: { TURNS: "last" },
    says: /earlier turns|conversation|OpenAI messages JSON/,
    bodies: () =>
      JSON.parse(textOf("40-vllm-multi-turn.json")).map(({ messages }: Any) => chat(messages.slice(0, -1), length(32))),
  },
];

for (const { name, file, set = {}, says, bodies } of cases) {
  test(`DATASET ${name}`, async (t) => {
    const server = await keepingServer(t);
    const wanted = bodies();
    const ended = await run("concurrency-sweep", {
      ...{ BASE_URL: server.baseUrl, CONCURRENCY: 1, REQUESTS: wanted.length, WARMUP: 0, OUTPUT_TOKENS: 32 },
      ...{ DATASET: fixture(file), THRESHOLDS: "none", ...set },
    });
    assert.deepEqual(
      server.requests.map(({ body }) => body),
      wanted,
      ended.stderr,
    );
    assert.match(ended.stderr, says);
    assert.ok(
      ended.requests.every(({ outcome }) => outcome === "completed"),
      ended.stdout,
    );
  });
}

test("DATASET_SHUFFLE sends every row once, in the order of SEED; DATASET_LIMIT takes the first of them", async (t) => {
  const sent = async (settings: RunSettings, count: number): Promise<string[]> => {
    const server = await keepingServer(t);
    const ended = await run("concurrency-sweep", {
      ...{ BASE_URL: server.baseUrl, CONCURRENCY: 1, REQUESTS: count, WARMUP: 0, THRESHOLDS: "none" },
      ...{ DATASET: fixture("65-eight.jsonl"), DATASET_SHUFFLE: "true", ...settings },
    });
    assert.equal(server.requests.length, count, ended.stderr);
    return server.requests.map(({ body }) => body.messages[0].content);
  };
  const file = jsonl("65-eight.jsonl").map(({ prompt }) => prompt);
  const drawn = await sent({}, 8);
  assert.deepEqual([...drawn].sort(), [...file].sort());
  assert.notDeepEqual(drawn, file);
  assert.deepEqual(await sent({ DATASET_LIMIT: 3 }, 6), [...drawn.slice(0, 3), ...drawn.slice(0, 3)]);
  assert.notDeepEqual(await sent({ SEED: 2 }, 8), drawn);
});

/** Leading words that two prompts have in common. */
function sharedWords(a: string, b: string): number {
  const [first, second] = [a.split(" "), b.split(" ")];
  const differs = first.findIndex((word, i) => word !== second[i]);
  return differs < 0 ? first.length : differs;
}

/** When each request was scheduled, ms from the first, in that order. */
function offsetsMs({ requests }: EndedRun): { atMs: number; id: unknown }[] {
  const first = Math.min(...requests.map(({ scheduledNs = Number.NaN }) => scheduledNs));
  return requests
    .map(({ scheduledNs = Number.NaN, id }) => ({ atMs: (scheduledNs - first) / 1e6, id }))
    .sort((a, b) => a.atMs - b.atMs);
}

test("TRACE in seconds with blocks of 16: each row at its time, with its lengths and its prefix", async (t) => {
  const server = await keepingServer(t);
  const ended = await run("arrival-rate-ramp", {
    ...{ BASE_URL: server.baseUrl, TRACE: fixture("52-bailian.jsonl"), SPEED: 2, THRESHOLDS: "none" },
  });
  assert.match(ended.stderr, /Bailian JSONL: .*times in s, blocks of 16 tokens, 2 times as fast/);
  const rows = jsonl("52-bailian.jsonl");
  const offsets = offsetsMs(ended).map(({ atMs }) => atMs);
  rows.forEach(({ timestamp }, k) => {
    assert.ok(Math.abs((offsets[k] ?? 0) - ((timestamp - 61.114) * 1000) / 2) < 0.001, `row ${k} at ${offsets[k]} ms`);
  });
  assert.deepEqual(
    server.requests.map(({ body }) => [body.messages[0].content.split(" ").length, body.min_tokens]),
    rows.map(({ input_length, output_length }) => [input_length, output_length]),
    ended.stderr,
  );
  const texts: string[] = server.requests.map(({ body }) => body.messages[0].content);
  const [a = "", b = "", c = "", d = ""] = texts;
  assert.deepEqual([sharedWords(a, b), sharedWords(a, c)], [48, 16], "shared blocks are shared text, and no more");
  assert.ok(sharedWords(a, d) < 4);
});

test("TRACE with rows 1 ms apart: row k is sent at row k's time", async (t) => {
  const server = await keepingServer(t);
  const ended = await run("arrival-rate-ramp", {
    ...{ BASE_URL: server.baseUrl, TRACE: fixture("67-gap1.jsonl"), THRESHOLDS: "none" },
  });
  const words = new Map(server.requests.map(({ id, body }) => [id, body.messages[0].content.split(" ").length]));
  const sent = offsetsMs(ended).map(({ atMs, id }) => [Math.round(atMs), words.get(id)]);
  assert.deepEqual(
    sent,
    jsonl("67-gap1.jsonl").map(({ timestamp, input_length }) => [timestamp, input_length]),
    ended.stderr,
  );
});

test("TRACE of prompts with times: bodies at their times", async (t) => {
  const server = await keepingServer(t);
  const file = path.join(scratchDir(), "timed.jsonl.GZ");
  writeFileSync(file, gzipSync(textOf("51b-aiperf-mooncake-messages.jsonl")));
  const ended = await run("arrival-rate-ramp", { BASE_URL: server.baseUrl, TRACE: file, THRESHOLDS: "none" });
  assert.deepEqual(
    server.requests.map(({ body }) => [body.messages, body.min_tokens]),
    jsonl("51b-aiperf-mooncake-messages.jsonl").map(({ messages, output_length }) => [messages, output_length]),
    ended.stderr,
  );
});

test("DATASET of Parquet: a row's prompt a request", async (t) => {
  const server = await keepingServer(t);
  const ended = await run("concurrency-sweep", {
    ...{ BASE_URL: server.baseUrl, DATASET: fixture("33c-prompts.parquet"), CONCURRENCY: "1", REQUESTS: "4" },
    ...{ WARMUP: "0", THRESHOLDS: "none" },
  });
  assert.equal(ended.code, 0, ended.stderr);
  assert.match(ended.stderr, /GuideLLM Parquet: prompt, output_tokens_count; 4 rows/);
  const rows = [
    ["Name three uses for an old bicycle wheel.", 5],
    ["Why does bread rise?", 6],
    ["Write two lines about fog.", 7],
    ["How far is the moon, roughly?", 8],
  ];
  assert.deepEqual(
    server.requests.map(({ body }) => [body.messages[0].content, body.min_tokens]),
    rows,
    ended.stderr,
  );
});

test("a file that is not understood ends the run before any request, with the field and the way out", async (t) => {
  const server = await keepingServer(t);
  for (const [scenario, setting, file, line] of [
    [
      "concurrency-sweep",
      "DATASET",
      "18-aiperf-multi.jsonl",
      /DATASET=\S+: line 1 is a conversation of 2 turns \(turns\)/,
    ],
    ["concurrency-sweep", "DATASET", "50-mooncake.jsonl", /set TRACE in the place of DATASET/],
    ["arrival-rate-ramp", "TRACE", "65-eight.jsonl", /line 1 has no time/],
  ] as const) {
    const ended = await run(scenario, { BASE_URL: server.baseUrl, [setting]: fixture(file) });
    assert.equal(ended.code, 104, ended.stderr);
    assert.match(ended.stderr, line);
  }
  assert.equal(server.requests.length, 0);
});
