import assert from "node:assert/strict";
import { test } from "node:test";
import type { Prompt } from "../workload/prompt";
import { type BodySettings, requestBody } from "./body";

const settings: BodySettings = {
  API: "chat",
  MODEL: "",
  STREAM: true,
  IGNORE_EOS: true,
  CONTINUOUS_USAGE: false,
  TEMPERATURE: undefined,
  EXTRA_BODY: {},
  BODY: "",
};
const text: Prompt = { input: { kind: "text", text: "Hi" }, inputTokens: 1, outputTokens: 8 };
const ids: Prompt = { input: { kind: "tokenIds", tokenIds: [5, 6] }, inputTokens: 2, outputTokens: 8 };
const chat: Prompt = {
  input: {
    kind: "messages",
    messages: [
      { role: "system", content: "s" },
      { role: "user", content: "u" },
    ],
  },
  inputTokens: 0,
  outputTokens: 8,
};
const forced = { ignore_eos: true, min_tokens: 8 };
const usage = { stream: true, stream_options: { include_usage: true } };

const rows: { why: string; change?: Partial<BodySettings>; prompt?: Prompt; body: unknown }[] = [
  {
    why: "a row's own fields are passed on, its model and its ceiling too, and a ceiling is not forced",
    prompt: { ...text, ceiling: true, body: { model: "adapter", max_completion_tokens: 90, stop: ["x"] } },
    body: {
      model: "adapter",
      messages: [{ role: "user", content: "Hi" }],
      max_completion_tokens: 8,
      stop: ["x"],
      ...usage,
    },
  },
  {
    why: "MODEL counts for more than a row's model",
    change: { MODEL: "m", IGNORE_EOS: false },
    prompt: { ...text, body: { model: "adapter" } },
    body: { model: "m", messages: [{ role: "user", content: "Hi" }], max_tokens: 8, ...usage },
  },
  {
    why: "Anthropic's API takes the system prompt beside the messages",
    change: { API: "messages", IGNORE_EOS: false },
    prompt: chat,
    body: { model: "m", system: "s", messages: [{ role: "user", content: "u" }], max_tokens: 8, stream: true },
  },
  {
    why: "the Responses API has its own names for parts of text",
    change: { API: "responses", IGNORE_EOS: false },
    prompt: {
      ...chat,
      input: {
        kind: "messages",
        messages: [
          { role: "user", content: [{ type: "text", text: "u" }] },
          { role: "assistant", content: [{ type: "text", text: "a" }] },
        ],
      },
    },
    body: {
      model: "m",
      input: [
        { role: "user", content: [{ type: "input_text", text: "u" }] },
        { role: "assistant", content: [{ type: "output_text", text: "a" }] },
      ],
      max_output_tokens: 8,
      stream: true,
    },
  },
  {
    why: "chat sends the text as the user's message and forces the length",
    body: { model: "m", messages: [{ role: "user", content: "Hi" }], max_tokens: 8, ...usage, ...forced },
  },
  {
    why: "a conversation is sent as it is",
    prompt: chat,
    change: { IGNORE_EOS: false },
    body: {
      model: "m",
      messages: [
        { role: "system", content: "s" },
        { role: "user", content: "u" },
      ],
      max_tokens: 8,
      ...usage,
    },
  },
  {
    why: "completions take token ids",
    change: { API: "completions" },
    prompt: ids,
    body: { model: "m", prompt: [5, 6], max_tokens: 8, ...usage, ...forced },
  },
  {
    why: "embeddings neither stream nor have an output length",
    change: { API: "embeddings", TEMPERATURE: 1 },
    body: { model: "m", input: "Hi" },
  },
  {
    why: "responses name the limit differently and know no stream options",
    change: { API: "responses", IGNORE_EOS: false },
    body: { model: "m", input: [{ role: "user", content: "Hi" }], max_output_tokens: 8, stream: true },
  },
  {
    why: "messages are Anthropic's",
    change: { API: "messages", IGNORE_EOS: false, STREAM: false },
    body: { model: "m", messages: [{ role: "user", content: "Hi" }], max_tokens: 8 },
  },
  {
    why: "EXTRA_BODY adds, replaces and, with null, takes out; only it can send a seed",
    change: { EXTRA_BODY: { seed: 7, max_tokens: 9, min_tokens: null }, TEMPERATURE: 0 },
    body: {
      model: "m",
      messages: [{ role: "user", content: "Hi" }],
      max_tokens: 9,
      ...usage,
      ignore_eos: true,
      temperature: 0,
      seed: 7,
    },
  },
  {
    why: "token counts of every chunk are asked for on request",
    change: { CONTINUOUS_USAGE: true, IGNORE_EOS: false },
    body: {
      model: "m",
      messages: [{ role: "user", content: "Hi" }],
      max_tokens: 8,
      stream: true,
      stream_options: { include_usage: true, continuous_usage_stats: true },
    },
  },
  {
    why: "json fills the user's template",
    change: { API: "json", BODY: '{"q": "{{prompt}}", "n": {{max_tokens}}, "m": "{{model}}"}' },
    prompt: { ...text, input: { kind: "text", text: 'say "hi"\n' } },
    body: { q: 'say "hi"\n', n: 8, m: "m" },
  },
];
for (const { why, change, prompt = text, body } of rows) {
  test(why, () => assert.deepEqual(JSON.parse(requestBody({ ...settings, ...change }, "m", prompt)), body));
}
