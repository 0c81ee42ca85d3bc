import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCsv, parseEntry, parseJsonArray, parseLine } from "./dataset";

const entries: { value: unknown; entry: unknown; why: string }[] = [
  {
    value: "Hello",
    entry: { input: { kind: "text", text: "Hello" }, inputTokens: 0, outputTokens: undefined },
    why: "a text is a prompt",
  },
  {
    value: [5, 6, 7],
    entry: { input: { kind: "tokenIds", tokenIds: [5, 6, 7] }, inputTokens: 3, outputTokens: undefined },
    why: "a list of whole numbers is a prompt of token ids, whose number is known",
  },
  {
    value: { prompt: "Hi", output_tokens: 12 },
    entry: { input: { kind: "text", text: "Hi" }, inputTokens: 0, outputTokens: 12 },
    why: "an object may name the output length",
  },
  {
    value: { prompt: [1, 2], max_tokens: "7" },
    entry: { input: { kind: "tokenIds", tokenIds: [1, 2] }, inputTokens: 2, outputTokens: 7 },
    why: "prompt may hold token ids, and numbers of a CSV are texts",
  },
  {
    value: {
      conversations: [
        { from: "system", value: "s" },
        { from: "human", value: "Q" },
        { from: "gpt", value: "A" },
      ],
    },
    entry: { input: { kind: "text", text: "Q" }, inputTokens: 0, outputTokens: undefined },
    why: "of a ShareGPT conversation the first human turn is asked",
  },
  {
    value: { messages: [{ role: "user", content: "Q" }] },
    entry: {
      input: { kind: "messages", messages: [{ role: "user", content: "Q" }] },
      inputTokens: 0,
      outputTokens: undefined,
    },
    why: "messages are sent as they are",
  },
  {
    value: { conversations: [{ from: "gpt", value: "A" }] },
    entry: undefined,
    why: "a conversation without a human asks nothing",
  },
  { value: { messages: [] }, entry: undefined, why: "no message is no prompt" },
  { value: [1.5], entry: undefined, why: "token ids are whole" },
  { value: "", entry: undefined, why: "nothing is no prompt" },
  { value: null, entry: undefined, why: "null is no prompt" },
];
for (const { value, entry, why } of entries) test(why, () => assert.deepEqual(parseEntry(value), entry));

test("a line is JSON where it is any, else the prompt itself", () => {
  assert.deepEqual(parseLine('{"prompt": "x"}'), { prompt: "x" });
  assert.deepEqual(parseLine("[1, 2]"), [1, 2]);
  assert.equal(parseLine('"quoted"'), "quoted");
  assert.equal(parseLine("plain words"), "plain words");
  assert.equal(parseLine("[tag] words"), "[tag] words");
  assert.equal(parseLine('{"prompt":"he'), undefined);
});

test("CSV: a known heading names the fields, quotes and line breaks inside fields survive, a BOM is dropped", () => {
  assert.deepEqual(parseCsv('\uFEFFPrompt,output_tokens\n"Hello, ""you""\nthere",5\n\nBye,6\n'), [
    { prompt: 'Hello, "you"\nthere', output_tokens: "5" },
    { prompt: "Bye", output_tokens: "6" },
  ]);
});

test("CSV without a known heading is refused: its rows would be prompts of anything", () => {
  assert.throws(() => parseCsv("a,b\n1,2"), /names none of the columns prompt, question/);
});

test("JSON: the array, or the first array inside", () => {
  assert.deepEqual(parseJsonArray("[1]"), [1]);
  assert.deepEqual(parseJsonArray('{"version": 1, "data": ["a"]}'), ["a"]);
  assert.deepEqual(parseJsonArray('{"version": 1}'), []);
});
