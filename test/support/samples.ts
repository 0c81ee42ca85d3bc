/**
 * One file of every format in use (lib/workload/formats/fixtures, made up), and what of it is on the wire. What is expected is taken
 * from the file by a line of code of its own for each, not by the readers.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { root } from "../../build/paths";
import type { ReadSettings } from "../../lib/workload/formats/read";

export const fixtures = path.join(root, "lib", "workload", "formats", "fixtures");
/** The text of a sample, without a byte order mark. */
export const textOf = (name: string) => readFileSync(path.join(fixtures, name), "utf8").replace(/^\uFEFF/, "");

// biome-ignore lint/suspicious/noExplicitAny: the files have a hundred shapes
type Any = any;

const jsonl = (text: string): Any[] =>
  text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "")
    .map((line) => JSON.parse(line));
const json = (text: string): Any => JSON.parse(text);

const user = (content: unknown) => ({ role: "user", content });
const system = (content: unknown) => ({ role: "system", content });
/** The model of a file whose rows name none. */
export const model = "served";
const stream = { stream: true, stream_options: { include_usage: true } };
/** The length of an answer of which a row says nothing. */
export const unset = 32; // OUTPUT_TOKENS

/** A chat's body: a length is forced, and where the row has none the setting's. */
function chat(messages: unknown, length = unset, more: object = {}): object {
  return { model, messages, max_tokens: length, min_tokens: length, ignore_eos: true, ...stream, ...more };
}

/** A chat's body whose answer may end before this length. */
function upTo(ceiling: number, messages: unknown, more: object = {}): object {
  return { model, messages, max_tokens: ceiling, ...stream, ...more };
}

export interface Sample {
  file: string;
  set?: Partial<ReadSettings>;
  found: RegExp;
  bodies: (text: string) => object[];
  /** Each of these is said. */
  notes?: RegExp[];
}

const firstTurn = /only the first turn of a conversation is sent/;
const recorded = /the last message is the assistant's, the recorded answer/;
const ceilings = /are ceilings/;
const times = /times are not kept/;

const prompts = (text: string) => jsonl(text).map(({ prompt }) => chat([user(prompt)]));
const lines = (text: string) =>
  text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "")
    .map((line) => chat([user(line)]));

export const samples: Sample[] = [
  {
    file: "01-sharegpt-v3.json",
    found: /^ShareGPT JSON: conversations; 6 rows$/,
    bodies: (text) => json(text).map((row: Any) => chat([...systemTurn(row), user(firstHuman(row))])),
    notes: [firstTurn, /not sent: id/, /answers before the first question/],
  },
  {
    file: "01b-sharegpt-v3-empty.json",
    found: /^ShareGPT JSON: conversations; 2 rows$/,
    bodies: (text) => [json(text)[0], json(text)[3]].map((row) => chat([user(row.conversations[0].value)])),
    notes: [/empty rows are left out \(2 rows\)/],
  },
  {
    file: "02-vllm-custom.jsonl",
    found: /^prompts JSONL: prompt, output_tokens; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ prompt, output_tokens }) => chat([user(prompt)], output_tokens)),
  },
  { file: "04-sonnet.txt", found: /^prompts text: a text a row; 6 rows$/, bodies: lines },
  {
    file: "05-lmsys-chat-1m.jsonl",
    found: /^HF chats JSONL: conversation; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ conversation }) => chat([user(conversation[0].content)])),
    notes: [/not sent: conversation_id, model/],
  },
  {
    file: "06-wildchat.jsonl",
    found: /^HF chats JSONL: conversation; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ conversation }) => chat([user(conversation[0].content)])),
    notes: [/not sent: .*timestamp/],
  },
  {
    file: "07-specbench-question.jsonl",
    found: /^questions in turns .* turns; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ turns }) => chat([user(turns[0])])),
    notes: [firstTurn],
  },
  {
    file: "07b-mtbench-hf.jsonl",
    found: /^questions in turns .* prompt; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ prompt }) => chat([user(prompt[0])])),
    notes: [firstTurn],
  },
  {
    file: "08-sglang-custom.jsonl",
    found: /^ShareGPT JSONL: conversations; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ conversations }) => chat([user(conversations[0].content)])),
  },
  {
    file: "09-sglang-openai.jsonl",
    found: /^OpenAI messages JSONL: messages, .*tools/,
    bodies: (text) => jsonl(text).map(({ messages, max_tokens, ...more }) => upTo(max_tokens, messages, more)),
    notes: [ceilings],
  },
  {
    file: "10-sglang-agentic.json",
    set: { TURNS: "first" },
    found: /^SGLang agentic trace JSON/,
    bodies: (text) => json(text).conversations.map(([first]: Any[]) => chat(first.messages)),
  },
  {
    file: "11-sglang-token-trace.jsonl",
    set: { API: "completions" },
    found: /^SGLang token trace JSONL: input_tokens, num_output_tokens, ts; 6 rows$/,
    bodies: (text) =>
      jsonl(text).map(({ input_tokens, num_output_tokens: n }) => ({
        ...{ model, prompt: input_tokens, max_tokens: n, min_tokens: n, ignore_eos: true, ...stream },
      })),
    notes: [times],
  },
  {
    file: "12-guidellm.csv",
    found: /^GuideLLM CSV: prompt, output_tokens_count; 6 rows$/,
    bodies: (text) =>
      [...text.matchAll(/^"(.*)",(\d+),foo/gm)].map(([, prompt, length]) => chat([user(prompt)], Number(length))),
    notes: [/not sent: additional_column/],
  },
  {
    file: "14-guidellm-multiturn.jsonl",
    set: { TURNS: "first" },
    found: /^GuideLLM multi-turn JSONL/,
    bodies: (text) =>
      jsonl(text).map((row) => chat([system(row.prefix), user(row.prompt_0)], row.output_tokens_count_0)),
  },
  {
    file: "15-guidellm-tools.jsonl",
    found: /^prompts JSONL: prompt, tools; 6 rows$/,
    bodies: (text) => jsonl(text).map((row) => upTo(unset, [user(row.prompt)], { tools: JSON.parse(row.tools) })),
    notes: [/sent without a forced length \(6 rows\)/],
  },
  {
    file: "16-guidellm.json",
    found: /^GuideLLM JSON: prompt, output_tokens_count; 6 rows$/,
    bodies: (text) => json(text).data.map((row: Any) => chat([user(row.prompt)], row.output_tokens_count)),
  },
  {
    file: "17-aiperf-single.jsonl",
    found: /^prompts JSONL: text, output_length, image, texts, timestamp, extra; 6 rows$/,
    bodies: (text) => {
      const [a, b, c, d, e, f] = jsonl(text);
      return [
        chat([user(a.text)], a.output_length),
        chat([user(b.text)], b.output_length),
        chat([user([{ type: "text", text: c.text }, imagePart(c.image)])]),
        chat([user(d.texts.map((each: string) => ({ type: "text", text: each })))]),
        chat([user(e.text)]),
        chat([user(f.text)], unset, f.extra),
      ];
    },
    notes: [times],
  },
  {
    file: "17c-aiperf-single-image.jsonl",
    found: /text, image, output_length; 6 rows$/,
    bodies: (text) =>
      jsonl(text).map((row) =>
        chat([user([{ type: "text", text: row.text }, imagePart(row.image)])], row.output_length),
      ),
  },
  {
    file: "18-aiperf-multi.jsonl",
    set: { TURNS: "first" },
    found: /^AIPerf multi_turn JSONL/,
    bodies: (text) => jsonl(text).map(({ turns: [first] }) => chat([user(first.text)], first.output_length)),
  },
  {
    file: "19-aiperf-inputs.json",
    set: { TURNS: "last" },
    found: /^AIPerf inputs.json JSON/,
    bodies: (text) =>
      json(text).data.map(({ payloads }: Any) => {
        const { messages, max_tokens, ...more } = payloads.at(-1);
        return upTo(max_tokens, messages, more);
      }),
    notes: [ceilings],
  },
  {
    file: "20-aiperf-raw-payload.jsonl",
    found: /model, temperature, tools, response_format, stop, seed; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ messages, max_tokens, ...more }) => upTo(max_tokens, messages, more)),
    notes: [ceilings],
  },
  {
    file: "20b-max-completion-tokens.jsonl",
    found: /messages, max_completion_tokens, model; 6 rows$/,
    bodies: (text) => jsonl(text).map((row) => ({ ...row, ...stream })),
    notes: [ceilings],
  },
  {
    file: "21-openai-batch.jsonl",
    found: /^batch JSONL: body, url/,
    bodies: (text) => jsonl(text).map(({ body }) => ({ ...body, ...stream })),
  },
  {
    file: "21b-anthropic-batch.jsonl",
    set: { API: "messages" },
    found: /^batch JSONL: params/,
    bodies: (text) => jsonl(text).map(({ params }) => ({ ...params, stream: true })),
  },
  {
    file: "22-openai-finetune.jsonl",
    found: /^OpenAI messages JSONL: messages; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ messages }) => chat(messages.slice(0, -1))),
    notes: [recorded],
  },
  {
    file: "22b-openai-finetune-tools.jsonl",
    found: /messages, tools, parallel_tool_calls; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ messages, ...more }) => upTo(unset, messages.slice(0, -1), more)),
    notes: [recorded],
  },
  {
    file: "23-alpaca.json",
    found: /instruction, input; 6 rows$/,
    bodies: (text) =>
      json(text).map((row: Any) =>
        chat([user(row.input === "" ? row.instruction : `${row.instruction}\n\n${row.input}`)]),
      ),
  },
  {
    file: "24-dolly.jsonl",
    found: /instruction, context; 6 rows$/,
    bodies: (text) => jsonl(text).map((row) => chat([user(`${row.instruction}\n\n${row.context}`)])),
  },
  {
    file: "25-langsmith.jsonl",
    found: /^recorded requests JSONL: inputs, messages; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ inputs }) => chat(inputs.messages)),
    notes: [/not sent: id, outputs/],
  },
  {
    file: "26-langfuse-traces.json",
    found: /^recorded requests JSON: input, messages/,
    bodies: (text) => json(text).map(({ input }: Any) => chat(input.messages)),
    notes: [times],
  },
  {
    file: "26b-langfuse-list.json",
    found: /^recorded requests JSON: input, messages/,
    bodies: (text) => json(text).map(({ input }: Any) => chat(input)),
  },
  {
    file: "26c-langfuse.csv",
    found: /^recorded requests CSV: input, messages/,
    bodies: () => [
      chat([system("Be brief, and kind."), user("Why does bread rise?")]),
      chat([user("What rhymes with harbour?")]),
    ],
    notes: [times, /not sent: id, name, output/],
  },
  {
    file: "27-otel-inference-perf.json",
    found: /^OpenTelemetry spans JSON: gen_ai.input.messages/,
    bodies: (text) =>
      json(text).spans.map(({ attributes: a }: Any) =>
        upTo(a["gen_ai.request.max_tokens"], JSON.parse(a["gen_ai.input.messages"]), {
          model: a["gen_ai.request.model"],
        }),
      ),
    notes: [times, ceilings],
  },
  ...["28-session.har", "28b-session-har.json", "28c-session-oneline.har"].map((file) => ({
    file,
    found: /^HAR JSON/,
    bodies: (text: string) =>
      json(text).log.entries.map((entry: Any) => ({ ...JSON.parse(entry.request.postData.text), ...stream })),
    notes: [times, ceilings],
  })),
  {
    file: "29b-access-json.jsonl",
    found: /^recorded requests JSONL: request_body/,
    bodies: (text) => jsonl(text).map((row) => chat(JSON.parse(row.request_body).messages, row.completion_tokens)),
    notes: [times],
  },
  {
    file: "29c-litellm-spendlog.jsonl",
    found: /^LiteLLM log JSONL: .*completion_tokens/,
    bodies: (text) => jsonl(text).map((row) => chat(row.messages, row.completion_tokens)),
    notes: [times, /not sent: .*model/],
  },
  {
    file: "30-genai-bench.csv",
    found: /^prompts CSV: prompt; 6 rows$/,
    bodies: (text) => [...text.matchAll(/^\d,"(.*)",/gm)].map(([, prompt]) => chat([user(prompt)])),
  },
  {
    file: "30b-genai-bench-column.csv",
    set: { DATASET_COLUMNS: [{ role: "prompt", column: "report" }] },
    found: /^prompts CSV: prompt; 6 rows$/,
    bodies: (text) => [...text.matchAll(/^\d,"(.*)",/gm)].map(([, prompt]) => chat([user(prompt)])),
  },
  {
    file: "31-evalscope-openqa.jsonl",
    found: /question; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ question }) => chat([user(question)])),
  },
  {
    file: "31b-longalpaca.json",
    found: /instruction; 6 rows$/,
    bodies: (text) => json(text).map(({ instruction }: Any) => chat([user(instruction)])),
  },
  {
    file: "31c-line-by-line.txt",
    found: /^prompts text: .*; 4 rows$/,
    bodies: (text) => {
      const [a, b = "", c = "", d] = text.trim().split("\n");
      const { messages, max_tokens, ...more } = JSON.parse(c);
      return [chat([user(a)]), chat(JSON.parse(b)), upTo(max_tokens, messages, more), chat([user(d)])];
    },
  },
  {
    file: "31d-evalscope-multi-turn.jsonl",
    found: /^OpenAI messages JSONL: messages; 6 rows$/,
    bodies: (text) => jsonl(text).map((messages) => chat(messages)),
    notes: [/earlier turns are sent as the history of one request/],
  },
  {
    file: "31e-workload-trace.jsonl",
    found: /^recorded requests JSONL: body, /,
    bodies: (text) => jsonl(text).map(({ body }) => ({ ...body, ...stream })),
    notes: [times, ceilings, /not sent: headers/],
  },
  ...["32-mlperf-openorca.jsonl", "32b-mlperf-openorca-len.jsonl"].map((file) => ({
    file,
    set: { API: "completions" as const },
    found: /^MLPerf JSONL: tok_input, /,
    bodies: (text: string) =>
      jsonl(text).map((row) => {
        const n = row.tok_output_length ?? row.tok_output_len;
        return { model, prompt: row.tok_input, max_tokens: n, min_tokens: n, ignore_eos: true, ...stream };
      }),
  })),
  {
    file: "32-mlperf-openorca.jsonl",
    set: {
      DATASET_COLUMNS: [
        { role: "prompt", column: "question" },
        { role: "system", column: "system_prompt" },
        { role: "output_tokens", column: "tok_output_length" },
      ],
    },
    found: /^prompts JSONL: prompt, system, output_length; 6 rows$/,
    bodies: (text) =>
      jsonl(text).map((row) => chat([system(row.system_prompt), user(row.question)], row.tok_output_length)),
  },
  {
    file: "32c-mlperf-agentic.jsonl",
    set: { TURNS: "first" },
    found: /^MLPerf agentic JSONL: conversation_id, role, content, .*; 3 rows$/,
    bodies: (text) =>
      jsonl(text)
        .filter(({ turn }) => turn === 1)
        .map((row) => upTo(unset, [system(row.system), user(row.content)], { tools: row.tools })),
  },
  {
    file: "32c-mlperf-agentic.jsonl",
    set: { TURNS: "last" },
    found: /; 3 rows$/,
    bodies: (text) => {
      const rows = jsonl(text);
      return [0, 3, 6].map((k) =>
        upTo(unset, [system(rows[k].system), ...rows.slice(k, k + 3).map(({ role, content }) => ({ role, content }))], {
          tools: rows[k].tools,
        }),
      );
    },
  },
  ...[
    "33-plain.jsonl",
    "34-jsonlines.json",
    "34c-bom-crlf.jsonl",
    "38-prompt-completion.jsonl",
    "39c-humaneval.jsonl",
  ].map((file) => ({ file, found: /^prompts JSONL: prompt; 6 rows$/, bodies: prompts })),
  {
    file: "34b-pretty.jsonl",
    found: /^prompts JSON: prompt; 6 rows$/,
    bodies: (text) => json(text).map(({ prompt }: Any) => chat([user(prompt)])),
  },
  { file: "34d-crlf.txt", found: /^prompts text/, bodies: lines },
  {
    file: "34e-multiline-array.json",
    found: /^prompts JSON: prompt; 6 rows$/,
    bodies: (text) => json(text).data.map(({ prompt }: Any) => chat([user(prompt)])),
  },
  {
    file: "35-chat-image.jsonl",
    found: /messages, max_tokens|max_tokens, messages/,
    bodies: (text) => jsonl(text).map(({ messages, max_tokens }) => upTo(max_tokens, messages)),
  },
  {
    file: "37-sagemaker-capture.jsonl",
    found: /^SageMaker capture JSONL: captureData/i,
    bodies: (text) =>
      jsonl(text).map(({ captureData }) => {
        const { messages, max_tokens, ...more } = JSON.parse(captureData.endpointInput.data);
        return upTo(max_tokens, messages, more);
      }),
  },
  {
    file: "38b-system-user.jsonl",
    found: /prompt, system; 6 rows$/,
    bodies: (text) => jsonl(text).map((row) => chat([system(row.system), user(row.prompt)])),
  },
  {
    file: "39b-cnn-dailymail.jsonl",
    set: { DATASET_COLUMNS: [{ role: "prompt", column: "article" }] },
    found: /; 6 rows$/,
    bodies: (text) => jsonl(text).map(({ article }) => chat([user(article)])),
  },
  {
    file: "40-vllm-multi-turn.json",
    set: { TURNS: "first" },
    found: /^OpenAI messages JSON/,
    bodies: (text) => json(text).map(({ messages }: Any) => chat(messages.slice(0, 1))),
  },
  {
    file: "40-vllm-multi-turn.json",
    set: { TURNS: "last" },
    found: /^OpenAI messages JSON/,
    bodies: (text) => json(text).map(({ messages }: Any) => chat(messages.slice(0, -1))),
  },
  {
    file: "65-eight.jsonl",
    set: { DATASET_LIMIT: 3 },
    found: /; 3 rows$/,
    bodies: (text) =>
      jsonl(text)
        .slice(0, 3)
        .map(({ prompt, output_tokens }) => chat([user(prompt)], output_tokens)),
  },
  {
    file: "70b-semicolon.csv",
    found: /; 3 rows$/,
    bodies: (text) =>
      text
        .trim()
        .split("\n")
        .slice(1)
        .map((line) => chat([user(line)])),
  },
  {
    file: "70c-semicolon-sep.csv",
    found: /^prompts CSV: prompt, output_tokens; 2 rows$/,
    bodies: () => [chat([user("Say hello")], 7), chat([user("List a")], 8)],
  },
  {
    file: "70d-guidellm.tsv",
    found: /^GuideLLM TSV: prompt, output_tokens_count; 2 rows$/,
    bodies: () => [chat([user("Hello, how are you?")], 7), chat([user('Say "yes"; then stop.')], 8)],
  },
  {
    file: "70e-guidellm.CSV",
    found: /^GuideLLM CSV: prompt, output_tokens_count; 2 rows$/,
    bodies: () => [chat([user("Hello, how are you?")], 7), chat([user("Say yes")], 8)],
  },
  {
    file: "70g-emptyprompt.jsonl",
    found: /; 2 rows$/,
    bodies: () => [chat([user("a")]), chat([user("c")])],
    notes: [/empty rows are left out \(1 row\)/],
  },
  {
    file: "70h-captured.jsonl",
    found: /messages, max_tokens, usage; 1 row$/,
    bodies: () => [chat([user("x")], 12)],
  },
  {
    file: "70i-mapper.csv",
    set: {
      DATASET_COLUMNS: [
        { role: "prompt", column: "user_query" },
        { role: "system", column: "system_message" },
      ],
    },
    found: /^prompts CSV: prompt, system; 1 row$/,
    bodies: () => [chat([system("You are helpful."), user("What is AI?")])],
  },
];

const imagePart = (url: string) => ({ type: "image_url", image_url: { url } });
const firstHuman = ({ conversations }: Any) =>
  conversations.find(({ from }: Any) => from === "human" || from === "user").value;
const systemTurn = ({ conversations: [first] }: Any) => (first.from === "system" ? [system(first.value)] : []);

/** What is sent of a trace: times in ms, input and output tokens, ids of blocks. */
export type Sent = [atMs: number, inputTokens: number | undefined, outputTokens: number, blockIds?: number[]];

export interface TraceSample {
  file: string;
  set?: Partial<ReadSettings>;
  found: RegExp;
  rows: Sent[] | ((text: string) => Sent[]);
  input?: (text: string) => unknown[];
  notes?: RegExp[];
}

export const traces: TraceSample[] = [
  {
    file: "50-mooncake.jsonl",
    found: /^Mooncake JSONL: .*; 6 rows, times in ms, blocks of 512 tokens$/,
    rows: (text) => jsonl(text).map((row) => [row.timestamp, row.input_length, row.output_length, row.hash_ids]),
  },
  {
    file: "51-aiperf-mooncake-session.jsonl",
    set: { TURNS: "first" },
    found: /2 rows, times in ms, blocks of 512/,
    rows: [
      [0, 300, 6, [0]],
      [300, 300, 6, [1]],
    ],
  },
  {
    file: "51b-aiperf-mooncake-messages.jsonl",
    found: /2 rows, times in ms$/,
    rows: [
      [0, undefined, 6],
      [300, undefined, 7],
    ],
    input: (text) => jsonl(text).map(({ messages }) => messages),
    notes: [/sent at their times, without waiting for the answer before/],
  },
  ...["51c-aiperf-mooncake-text-input.jsonl", "51d-aisbench-mooncake-input-text.jsonl"].map((file) => ({
    file,
    found: /2 rows, times in ms$/,
    rows: (text: string) => jsonl(text).map((row): Sent => [row.timestamp, row.input_length, row.output_length]),
    input: (text: string) => jsonl(text).map((row) => [user(row.text_input ?? row.input_text)]),
  })),
  {
    file: "52-bailian.jsonl",
    found: /^Bailian JSONL: .*; 4 rows, times in s, blocks of 16 tokens$/,
    rows: (text) =>
      jsonl(text).map((row) => [(row.timestamp - 61.114) * 1000, row.input_length, row.output_length, row.hash_ids]),
    notes: [/not sent: chat_id, parent_chat_id, turn, type/],
  },
  {
    file: "52-bailian.jsonl",
    set: { SPEED: 4, TRACE_BLOCK: 20, TRACE_WINDOW: { of: "time", from: 400, to: 2000 } },
    found: /2 rows, times in s, blocks of 20 tokens, 4 times as fast$/,
    rows: [
      [(486 - 400) / 4, 64, 6, [1, 2, 3, 4]],
      [(1000 - 400) / 4, 40, 6, [1, 5, 6]],
    ],
  },
  {
    file: "53-azure-2023.csv",
    found: /^Azure CSV: .*; 5 rows, dates$/,
    rows: [
      [0, 74, 14],
      [314.579, 96, 9],
      [541.877, 87, 5],
      [710.427, 91, 6],
      [1319.41, 120, 7],
    ],
  },
  {
    file: "53b-azure-2024.csv",
    found: /^Azure CSV/,
    rows: [
      [0, 62, 5],
      [7.405, 99, 8],
      [690.07, 45, 4],
      [990.07, 70, 6],
      [1390.071, 70, 6],
    ],
  },
  {
    file: "53c-azure-offset.csv",
    found: /^Azure CSV: .*; 3 rows, dates$/,
    rows: [
      [0, 62, 5],
      [500, 99, 8],
      [1250, 45, 4],
    ],
  },
  {
    file: "54b-burstgpt-3.csv",
    found: /^BurstGPT CSV: .*; 3 rows, times in s$/,
    rows: [
      [0, 47, 8],
      [500, 41, 7],
      [3250, 52, 9],
    ],
    notes: [/without output .* left out \(1 row\)/, /not sent: session id/],
  },
  {
    file: "54-burstgpt-1.csv",
    found: /^BurstGPT CSV: .*; 3 rows, times in s$/,
    rows: [
      [0, 47, 8],
      [1000, 41, 7],
      [2000, 41, 7],
    ],
    notes: [/without output .* left out \(1 row\)/],
  },
  {
    file: "55-weka.json",
    set: { TURNS: "timed" },
    found: /^WEKA JSON: .*; 2 rows, times in s, blocks of 64 tokens$/,
    rows: [
      [0, 200, 6, [1, 2, 3]],
      [800, 300, 6, [1, 2, 3, 4]],
    ],
  },
  {
    file: "55b-weka-hf-row.jsonl",
    found: /^WEKA JSONL: .*; 2 rows/,
    rows: [
      [0, 200, 6, [1, 2, 3]],
      [0, 200, 6, [1, 2, 3]],
    ],
  },
  {
    file: "56-tracelab.jsonl",
    set: { TURNS: "first" },
    found: /^TraceLab JSONL/,
    rows: (text) =>
      jsonl(text)
        .filter(({ round_index }) => round_index === 0)
        .map((row, _, [first]) => [
          Date.parse(row.timing_events[0].timestamp) - Date.parse(first.timing_events[0].timestamp),
          row.input_tokens_total,
          row.output_tokens,
        ]),
  },
  ...["57-guidellm-trace.jsonl", "57b-guidellm-trace.csv"].map((file) => ({
    file,
    found: /; 3 rows, times in s$/,
    rows: [
      [0, 56, 6],
      [500, 52, 6],
      [1500, 52, 6],
    ] as Sent[],
  })),
  {
    file: "58-vllm-timed-trace.jsonl",
    found: /; 3 rows, times in s, blocks of 16 tokens$/,
    rows: (text) => jsonl(text).map((row) => [row.timestamp * 1000, row.input_length, row.output_length, row.hash_ids]),
  },
  {
    file: "59-lmbench-ns.jsonl",
    found: /2 rows, times in ns/,
    rows: [
      [0, 101, 6, [2843241808]],
      [400, 101, 6, [2843241808]],
    ],
  },
  {
    file: "60-mooncake-array.json",
    found: /^Mooncake JSON: /,
    rows: [
      [0, 40, 6, [1]],
      [300, 40, 6, [1]],
    ],
  },
  {
    file: "62-zero-output.jsonl",
    found: /2 rows/,
    rows: [
      [0, 40, 6, [1]],
      [300, 40, 6, [1]],
    ],
    notes: [/without output .* left out \(1 row\)/],
  },
  {
    file: "63-unsorted.jsonl",
    found: /3 rows/,
    rows: [
      [0, 50, 5],
      [300, 60, 4],
      [600, 40, 6],
    ],
    notes: [/not in the order of their times/],
  },
  {
    file: "64-two-days.jsonl",
    found: /2 rows, times in ms$/,
    rows: [
      [0, 40, 6],
      [172_800_000, 40, 6],
    ],
  },
  {
    file: "67-gap10.jsonl",
    found: /80 rows, times in ms$/,
    rows: (text) => jsonl(text).map((row) => [row.timestamp, row.input_length, row.output_length]),
  },
  {
    file: "11-sglang-token-trace.jsonl",
    set: { API: "completions" },
    found: /6 rows, times in s$/,
    rows: (text) =>
      jsonl(text).map(({ ts, input_tokens, num_output_tokens }, _, [first]) => [
        (ts - first.ts) * 1000,
        input_tokens.length,
        num_output_tokens,
      ]),
    input: (text) => jsonl(text).map(({ input_tokens }) => input_tokens),
  },
  ...["28-session.har", "28b-session-har.json", "28c-session-oneline.har"].map((file) => ({
    file,
    found: /^HAR JSON: .*; \d rows, dates$/,
    rows: (text: string) => {
      const entries: Any[] = json(text).log.entries;
      const at = ({ startedDateTime }: Any) => Date.parse(startedDateTime);
      const body = ({ request }: Any) => JSON.parse(request.postData.text);
      return entries.map((entry): Sent => [at(entry) - at(entries[0]), undefined, body(entry).max_tokens]);
    },
    input: (text: string) =>
      json(text).log.entries.map(({ request }: Any) => JSON.parse(request.postData.text).messages),
  })),
  {
    file: "29b-access-json.jsonl",
    found: /^recorded requests JSONL: .*; 6 rows, dates$/,
    rows: (text) =>
      jsonl(text).map(({ ts, prompt_tokens, completion_tokens }, _, [first]) => [
        Date.parse(ts) - Date.parse(first.ts),
        prompt_tokens,
        completion_tokens,
      ]),
    input: (text) => jsonl(text).map(({ request_body }) => JSON.parse(request_body).messages),
  },
  {
    file: "29c-litellm-spendlog.jsonl",
    found: /^LiteLLM log JSONL: .*; 6 rows, dates$/,
    rows: (text) =>
      jsonl(text).map(({ startTime, prompt_tokens, completion_tokens }, _, [first]) => [
        Date.parse(startTime) - Date.parse(first.startTime),
        prompt_tokens,
        completion_tokens,
      ]),
    input: (text) => jsonl(text).map(({ messages }) => messages),
  },
  {
    file: "31e-workload-trace.jsonl",
    found: /^recorded requests JSONL: .*; 2 rows, times in ms$/,
    rows: (text) => jsonl(text).map(({ timestamp, body }) => [timestamp - 1000, undefined, body.max_tokens]),
    input: (text) => jsonl(text).map(({ body }) => body.messages),
  },
  {
    file: "67-gap1.jsonl",
    set: { TRACE_WINDOW: { of: "rows", from: 101, to: 150 } },
    found: /50 rows, times in ms$/,
    rows: () => Array.from({ length: 50 }, (_, k): Sent => [k, 120 + k, 2]),
  },
];

export interface Refused {
  file: string;
  kind?: "TRACE";
  set?: Partial<ReadSettings>;
  /** The place, the field, and the way out. */
  says: RegExp;
}

export const refused: Refused[] = [
  { file: "03-vllm-custom-mm.jsonl", says: /^line 1 has image_files: .*DATASET_COLUMNS=ignore=image_files/ },
  { file: "10-sglang-agentic.json", says: /^row 1 is a conversation of 2 turns \(conversations\).*TURNS=first/ },
  { file: "11-sglang-token-trace.jsonl", says: /^line 1 holds token ids.*set API=completions/ },
  { file: "14-guidellm-multiturn.jsonl", says: /^line 1 is a conversation of 2 turns \(prompt_1\).*TURNS=first/ },
  {
    file: "14-guidellm-multiturn.jsonl",
    set: { TURNS: "last" },
    says: /lacks the answers to its earlier turns.*TURNS=first/,
  },
  {
    file: "15-guidellm-tools.jsonl",
    set: { API: "completions" },
    says: /^line 1 has tools, .*API=completions.*API=chat.*ignore=tools/,
  },
  { file: "18-aiperf-multi.jsonl", says: /\(turns\).*TURNS=first/ },
  { file: "19-aiperf-inputs.json", says: /\(payloads\).*TURNS=first .*TURNS=last/ },
  {
    file: "20-aiperf-raw-payload.jsonl",
    set: { API: "responses" },
    says: /has tools, response_format, stop, seed, which API=responses.*set API=chat/,
  },
  { file: "22b-openai-finetune-tools.jsonl", set: { API: "completions" }, says: /has tools, parallel_tool_calls/ },
  { file: "27b-otlp.json", says: /^row 1 is of no known format: its fields are resource, scopeSpans.*DATASET_COLUMNS/ },
  { file: "29-access.log", says: /ending \.log is not known.*name it \.txt/ },
  { file: "30b-genai-bench-column.csv", says: /its fields are id, report, summary.*DATASET_COLUMNS=prompt=COLUMN/ },
  { file: "32-mlperf-openorca.jsonl", says: /token ids.*API=completions/ },
  {
    file: "32c-mlperf-agentic.jsonl",
    says: /conversation c0 is a conversation of 2 turns \(conversation_id\).*TURNS=first/,
  },
  { file: "33c-prompts.parquet", says: /is a Parquet file, which only bin\/k6 reads; convert it/ },
  { file: "33b-prompts.jsonl.gz", says: /packed by gzip.*gunzip/ },
  { file: "35-chat-image.jsonl", set: { API: "completions" }, says: /part of type image_url.*set API=chat/ },
  { file: "36-rerank.jsonl", says: /its fields are query, documents.*DATASET_COLUMNS/ },
  { file: "38b-system-user.jsonl", set: { API: "completions" }, says: /has a system prompt.*set API=chat/ },
  { file: "39b-cnn-dailymail.jsonl", says: /its fields are article.*DATASET_COLUMNS/ },
  { file: "40-vllm-multi-turn.json", says: /\(messages\).*TURNS=first.*TURNS=last/ },
  { file: "50-mooncake.jsonl", says: /^line 1 has lengths and no prompt: .*set TRACE/ },
  {
    file: "51-aiperf-mooncake-session.jsonl",
    kind: "TRACE",
    says: /^line 2 is a later turn of a conversation \(delay\).*TURNS=first/,
  },
  {
    file: "53d-azure-bad.csv",
    kind: "TRACE",
    says: /^row 2 the time "05\/10\/2024 00:00:01" is neither a number nor a date/,
  },
  { file: "55-weka.json", kind: "TRACE", says: /^row 1 is a conversation of 2 turns \(requests\).*TURNS=timed/ },
  {
    file: "56-tracelab.jsonl",
    kind: "TRACE",
    says: /^line 2 is a later turn of a conversation \(session_id\).*TURNS=timed/,
  },
  { file: "61-snowflake-queries.jsonl", kind: "TRACE", says: /its fields are timestamp, queries/ },
  { file: "17-aiperf-single.jsonl", kind: "TRACE", says: /^line 1 has no time \(timestamp\).*DATASET/ },
  { file: "57b-guidellm-trace.csv", says: /^row 1 has lengths and no prompt: .*set TRACE/ },
  { file: "65-eight.jsonl", kind: "TRACE", says: /^line 1 has no time \(timestamp\).*DATASET/ },
  { file: "70-onecol.csv", says: /^row 1 has 2 cells for 1 columns.*quotes/ },
  { file: "70f-zero.jsonl", says: /^line 1 has an output length of 0/ },
  { file: "70i-mapper.csv", says: /its fields are user_query, system_message.*DATASET_COLUMNS/ },
  { file: "70j-fallback.jsonl", says: /^line 1 prompt=.* is no prompt.*DATASET_COLUMNS/ },
  { file: "70k-order.jsonl", says: /^line 2 has question and text and content: .*DATASET_COLUMNS=prompt=question/ },
  {
    file: "70i-mapper.csv",
    set: { DATASET_COLUMNS: [{ role: "prompt", column: "query" }] },
    says: /has no column query/,
  },
];
