import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import type { BuiltInApi } from "../settings/apis";
import { type Output, ResponseReader } from "./stream-event";

const folder = path.join(__dirname, "../../extension/internal/stream/testdata/wires");

interface Case {
  body: string;
  says: string;
  api: BuiltInApi;
  status?: number;
  huge?: number;
  breaks?: boolean;
  outcome?: string;
  message?: string;
  chunks?: number[];
  tokens?: number;
  input?: number;
}

const cases = JSON.parse(readFileSync(path.join(folder, "cases.json"), "utf8")) as Case[];

/** The events of a stream and its lines that are none of its fields, as a module of k6/x/sse hands them on. */
function eventsOf(body: string): { events: { data: string; name: string; comment: string }[]; stray: string[] } {
  const events: { data: string; name: string; comment: string }[] = [];
  const stray: string[] = [];
  let [data, name, comment, hasData] = ["", "", "", false];
  for (const line of [...body.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/), ""]) {
    if (line === "") {
      if (hasData || name !== "") events.push({ data, name, comment });
      [data, name, comment, hasData] = ["", "", "", false];
      continue;
    }
    const [, field = "", value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "data") {
      data = hasData ? `${data}\n${value}` : value;
      hasData = true;
    } else if (field === "event") name = value;
    else if (field === "") comment = value;
    else if (field !== "id" && field !== "retry") stray.push(line);
  }
  return { events, stray };
}

/** What this client cannot read as the module does. */
const notRead: Readonly<Record<string, string>> = {
  "25-ollama-ndjson-error.ndjson": "API=json is not streamed with xk6-sse",
  "55-tgi-generate-stream.sse": "API=json is not streamed with xk6-sse",
  "57-ollama-ndjson-ok.ndjson": "API=json is not streamed with xk6-sse",
};

for (const each of cases) {
  const { body, says, api, outcome = "" } = each;
  if (notRead[body] !== undefined || each.status !== undefined) continue;
  test(`${body}: ${says}`, () => {
    const text = readFileSync(path.join(folder, body), "utf8").replaceAll("@HUGE@", "x".repeat(each.huge ?? 0));
    const reader = new ResponseReader(api);
    if (body.endsWith(".json")) {
      if (outcome === "error_event") reader.stray(text.split("\n"));
      else assert.ok(reader.reply(text.trim()), "a reply in the place of a stream");
      if (outcome !== "") assert.equal(reader.failure(false, true), outcome);
      assert.equal(reader.outputTokens, each.tokens);
      return;
    }
    const { events, stray } = eventsOf(text);
    const chunks: number[] = [];
    let withData = 0;
    for (const { data, name, comment } of events) {
      const output: Output = reader.event(data, name, comment);
      if (output !== "none") chunks.push(withData);
      if (data !== "") withData++;
    }
    if (!each.breaks) reader.stray(stray);
    assert.equal(reader.failure(each.breaks ?? false, text !== "") ?? "", outcome, reader.message);
    if (outcome !== "" && outcome !== "reset" && outcome !== "truncated" && outcome !== "empty")
      assert.ok(reader.message.includes(each.message ?? ""), reader.message);
    assert.deepEqual(reader.repeated ? chunks.slice(0, -1) : chunks, each.chunks ?? []);
    assert.equal(reader.chunks, each.chunks?.length ?? 0);
    assert.equal(reader.outputTokens, each.tokens);
    assert.equal(reader.inputTokens ?? 0, each.input ?? 0);
  });
}

const rows: { api: BuiltInApi; events: unknown[]; outputs: Output[]; failure?: string; why: string }[] = [
  {
    api: "chat",
    events: [{ choices: [{ delta: { role: "assistant", content: "" } }] }, { choices: [{ delta: { content: null } }] }],
    outputs: ["none", "none"],
    failure: "truncated",
    why: "role chunks are no output",
  },
  {
    api: "chat",
    events: [
      { choices: [{ delta: { tool_calls: [{}] } }] },
      { choices: [{ delta: { tool_calls: [{ function: { name: "f" } }] } }] },
    ],
    outputs: ["none", "content"],
    failure: "truncated",
    why: "a tool call is output once it has a name",
  },
  {
    api: "completions",
    events: [{ choices: [{ text: "a", finish_reason: null }] }, { choices: [{ text: "", finish_reason: "length" }] }],
    outputs: ["content", "none"],
    why: "text is output, a finish reason the end",
  },
  {
    api: "chat",
    events: [
      { choices: [{ delta: { content: "a" } }] },
      { sources: [] },
      { choices: [{ delta: {}, finish_reason: "stop" }] },
    ],
    outputs: ["content", "none", "none"],
    failure: "malformed",
    why: "beside a strange event no tokens are guessed",
  },
  {
    api: "chat",
    events: [{ choices: [{ delta: { content: "a" } }] }, { code: "InvalidParameter", message: "no" }],
    outputs: ["content", "none"],
    failure: "error_event",
    why: "a vendor's code is an error",
  },
  {
    api: "chat",
    events: [
      { choices: [{ delta: { content: "ha" } }] },
      { choices: [{ delta: { content: "ha" }, finish_reason: "stop" }] },
    ],
    outputs: ["content", "content"],
    why: "laughter is no repeat",
  },
];
for (const { api, events, outputs, failure, why } of rows) {
  test(`${api}: ${why}`, () => {
    const reader = new ResponseReader(api);
    assert.deepEqual(
      events.map((event) => reader.event(JSON.stringify(event))),
      outputs,
    );
    assert.equal(reader.failure(false, true), failure, reader.message);
  });
}

test("data that is no JSON is malformed, an error event keeps its words, a page between events is none", () => {
  const broken = new ResponseReader("chat");
  broken.event('{"choices":');
  assert.equal(broken.failure(false, true), "malformed");
  const failed = new ResponseReader("chat");
  failed.event("went wrong", "error");
  assert.deepEqual([failed.failure(false, true), failed.message], ["error_event", "went wrong"]);
  const page = new ResponseReader("chat");
  page.stray(["<html>", "Bad gateway"]);
  assert.equal(page.failure(false, true), "malformed");
});
