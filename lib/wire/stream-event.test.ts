import assert from "node:assert/strict";
import { test } from "node:test";
import type { Settings } from "../settings/settings";
import { readEvent } from "./stream-event";

const rows: { api: Settings["API"]; data: unknown; is: object; why: string }[] = [
  {
    api: "chat",
    data: { choices: [{ delta: { role: "assistant", content: "" } }] },
    is: { output: "none", finished: false },
    why: "vLLM's role chunk is no output",
  },
  {
    api: "chat",
    data: { choices: [{ delta: { role: "assistant", content: null } }] },
    is: { output: "none", finished: false },
    why: "nor is llama-server's",
  },
  {
    api: "chat",
    data: { choices: [{ delta: { content: "a" } }] },
    is: { output: "content", finished: false },
    why: "content is output",
  },
  {
    api: "chat",
    data: { choices: [{ delta: { reasoning_content: "a" } }] },
    is: { output: "reasoning", finished: false },
    why: "reasoning is told apart",
  },
  {
    api: "chat",
    data: { choices: [{ delta: { tool_calls: [{}] } }] },
    is: { output: "content", finished: false },
    why: "a tool call is output",
  },
  {
    api: "chat",
    data: { choices: [], usage: { prompt_tokens: 3, completion_tokens: 9 } },
    is: { output: "none", inputTokens: 3, outputTokens: 9 },
    why: "usage comes in an event of its own",
  },
  {
    api: "completions",
    data: { choices: [{ text: "", finish_reason: "length" }], usage: { prompt_tokens: 3, completion_tokens: 9 } },
    is: { output: "none", finished: true, outputTokens: 9 },
    why: "or in the last event",
  },
  {
    api: "completions",
    data: { choices: [{ text: "a", finish_reason: null }] },
    is: { output: "content", finished: false },
    why: "text is output",
  },
  {
    api: "responses",
    data: { type: "response.output_text.delta", delta: "a" },
    is: { output: "content", finished: false },
    why: "responses: a text delta",
  },
  {
    api: "responses",
    data: { type: "response.completed", response: { usage: { input_tokens: 1, output_tokens: 2 } } },
    is: { output: "none", finished: true, outputTokens: 2 },
    why: "responses: the end carries usage",
  },
  {
    api: "messages",
    data: { type: "content_block_delta", delta: { type: "text_delta", text: "a" } },
    is: { output: "content", finished: false },
    why: "messages: a text delta",
  },
  {
    api: "messages",
    data: { type: "content_block_delta", delta: { type: "thinking_delta", thinking: "a" } },
    is: { output: "reasoning" },
    why: "messages: a thinking delta",
  },
  {
    api: "messages",
    data: { type: "message_delta", delta: { stop_reason: "max_tokens" }, usage: { output_tokens: 4 } },
    is: { output: "none", finished: true, outputTokens: 4 },
    why: "messages: the stop reason comes with usage",
  },
  {
    api: "chat",
    data: { error: { message: "engine died", code: 500 } },
    is: { error: "engine died", finished: false },
    why: "an error inside a 200 stream",
  },
];
for (const { api, data, is, why } of rows) {
  test(why, () => {
    const event = readEvent(api, JSON.stringify(data));
    assert.deepEqual({ ...event, ...is }, { ...event });
  });
}

test("[DONE] ends a stream; what is not JSON is no event", () => {
  assert.equal(readEvent("chat", "[DONE]")?.finished, true);
  assert.equal(readEvent("chat", "{half"), undefined);
  assert.equal(readEvent("chat", "null"), undefined);
});
