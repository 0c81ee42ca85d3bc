import assert from "node:assert/strict";
import { test } from "node:test";
import { readyWireNames } from "../settings/apis";
import type { Input, Prompt } from "../workload/prompt";
import { readyWires } from "./ready-wires";
import { checkWire, fillText, forces, namesModel, parseWire, requirePlaces, type WireSettings, wireBody } from "./wire";

const settings: WireSettings = {
  ...{ API: "custom", MODEL: "", STREAM: true, IGNORE_EOS: true, TEMPERATURE: undefined, EXTRA_BODY: {}, SEED: 7 },
};

const promptOf = (input: Input, more: Partial<Prompt> = {}): Prompt => ({
  input,
  inputTokens: 0,
  outputTokens: 9,
  ...more,
});
const text = promptOf({ kind: "text", text: 'say "hi"' });

const response = { format: "sse", text: "/t", end: { data: "[DONE]" } };

function bodyOf(
  body: Record<string, unknown>,
  prompt = text,
  of: Partial<WireSettings> = {},
  more: object = {},
): unknown {
  const wire = checkWire("w", { request: { path: "/x", body, ...more }, response });
  return JSON.parse(wireBody(wire, { ...settings, ...of })("m", prompt));
}

test("places become values of their kind, inside texts too; one without a value goes with its member", () => {
  const body = {
    p: "{{prompt}}",
    n: "{{max_tokens}}",
    deep: { s: "{{ stream }}", t: "{{temperature}}", list: ["{{model}}", "{{temperature}}", 3, null] },
    words: "[{{model}}] {{prompt}}",
    seed: "{{seed}}",
    least: "{{min_tokens}}",
    all: "{{ignore_eos}}",
  };
  assert.deepEqual(bodyOf(body), {
    p: 'say "hi"',
    n: 9,
    deep: { s: true, list: ["m", 3, null] },
    words: '[m] say "hi"',
    seed: 7,
    least: 9,
    all: true,
  });
  const free = { IGNORE_EOS: false, STREAM: false, TEMPERATURE: 0 };
  assert.deepEqual(bodyOf(body, text, free), {
    p: 'say "hi"',
    n: 9,
    deep: { s: false, t: 0, list: ["m", 0, 3, null] },
    words: '[m] say "hi"',
    seed: 7,
  });
  assert.deepEqual(bodyOf({ p: "{{prompt}}", n: "{{min_tokens}}" }, { ...text, ceiling: true }), { p: 'say "hi"' });
});

test("fields of a row and EXTRA_BODY come over the description's, at every depth", () => {
  const body = { p: "{{prompt}}", options: { n: "{{max_tokens}}", keep: 1, drop: 2 } };
  const prompt = { ...text, body: { stop: ["x"] } };
  assert.deepEqual(bodyOf(body, prompt, { EXTRA_BODY: { options: { ctx: 8, drop: null }, p: null } }), {
    options: { n: 9, keep: 1, ctx: 8 },
    stop: ["x"],
  });
});

const talk = promptOf({
  kind: "messages",
  messages: [
    { role: "system", content: "Be brief." },
    {
      role: "user",
      content: [
        { type: "text", text: "What is it?" },
        { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
      ],
    },
  ],
});

test("messages have the shape that the API takes, images too", () => {
  const shaped = (messages: string) => bodyOf({ m: "{{messages}}", s: "{{system}}" }, talk, {}, { messages });
  assert.deepEqual(shaped("openai"), { m: talk.input.kind === "messages" && talk.input.messages });
  assert.deepEqual(shaped("ollama"), {
    m: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "What is it?", images: ["AAAA"] },
    ],
  });
  assert.deepEqual(shaped("anthropic"), {
    s: "Be brief.",
    m: [
      {
        role: "user",
        content: [
          { type: "text", text: "What is it?" },
          { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } },
        ],
      },
    ],
  });
  assert.deepEqual(shaped("converse"), {
    s: [{ text: "Be brief." }],
    m: [{ role: "user", content: [{ text: "What is it?" }, { image: { format: "png", source: { bytes: "AAAA" } } }] }],
  });
  assert.deepEqual(bodyOf({ m: "{{messages}}" }, text, {}, { messages: "converse" }), {
    m: [{ role: "user", content: [{ text: 'say "hi"' }] }],
  });
});

test("an image that cannot be sent is not left out", () => {
  assert.throws(
    () => bodyOf({ p: "{{prompt}}" }, talk),
    /part of type image_url, for which \{\{prompt\}\} has no place/,
  );
  const elsewhere = [{ role: "user", content: [{ type: "image_url", image_url: { url: "https://x/y.png" } }] }];
  const prompt = promptOf({ kind: "messages", messages: elsewhere });
  for (const messages of ["ollama", "converse"])
    assert.throws(() => bodyOf({ m: "{{messages}}" }, prompt, {}, { messages }), /images as data: addresses/);
});

test("a query and its documents are parts of the prompt", () => {
  const words = Array.from({ length: 27 }, (_, i) => `w${i}`);
  const prompt = promptOf({ kind: "text", text: words.join(" ") });
  const { q, d, one } = bodyOf({ q: "{{query}}", d: "{{documents}}", one: "{{document}}" }, prompt) as Record<
    string,
    unknown
  >;
  assert.equal(q, "w0 w1 w2");
  assert.ok(Array.isArray(d));
  assert.deepEqual([d.length, d.join(" ")], [8, words.slice(3).join(" ")]);
  assert.equal(one, words.slice(3).join(" "));
});

const refused: [unknown, RegExp][] = [
  [[], /^WIRE=w: the description is no JSON object$/],
  [{ request: { path: "/x", body: {} }, respond: 1 }, /unknown field "respond"; it has name, request, response, reply/],
  [{ response }, /request is no JSON object/],
  [{ request: { path: "x", body: { p: "{{prompt}}" } }, response }, /request.path is "x"; it is a path below BASE_URL/],
  [
    { request: { path: "/{{nodel}}", body: { p: "{{prompt}}" } }, response },
    /unknown place \{\{nodel\}\}; there are model/,
  ],
  [{ request: { path: "/x", body: "{{prompt}}" }, response }, /request.body is no JSON object/],
  [
    { request: { path: "/x", body: { p: "hello" } }, response },
    /no place for the prompt .*all requests would be the same/,
  ],
  [
    { request: { path: "/x", body: { p: "{{prompt}}", t: "{{top_p}}" } }, response },
    /unknown place \{\{top_p\}\}; there are prompt/,
  ],
  [
    { request: { path: "/x", body: { p: "{{prompt}}" }, method: "GET" }, response },
    /request.method is "GET"; it is "POST" or "PUT"/,
  ],
  [
    { request: { path: "/x", body: { p: "{{prompt}}" }, headers: { a: 1 } }, response },
    /request.headers.a is 1; it is a text/,
  ],
  [
    { request: { path: "/x", body: { p: "{{prompt}}" }, messages: "mine" }, response },
    /is one of openai, anthropic, converse, ollama/,
  ],
  [
    { request: { path: "/x", body: { p: "{{prompt}}" }, models: { path: "/m" } }, response },
    /request.models.at is missing/,
  ],
  [{ request: { path: "/x", body: { p: "{{prompt}}" } } }, /response is missing/],
  [
    { request: { path: "/x", body: { p: "{{prompt}}" } }, response, reply: { path: "/y" } },
    /reply.response is missing/,
  ],
];

test("what is no description is refused with the field and what is allowed", () => {
  for (const [value, message] of refused) {
    assert.throws(
      () => checkWire("w", value),
      (error: Error) => {
        assert.match(error.message, message);
        assert.match(error.message, /^WIRE=w/);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      },
    );
  }
  assert.throws(() => parseWire("w.json", "{"), /^SettingError: WIRE=w.json is no JSON|^Error: WIRE=w.json is no JSON/);
});

test("a setting without a place is refused", () => {
  const wire = checkWire("w", { request: { path: "/x", body: { p: "{{prompt}}" } }, response });
  assert.throws(
    () => requirePlaces(wire, { ...settings, TEMPERATURE: 1 }),
    /TEMPERATURE is set, and request.body of the wire w/,
  );
  assert.throws(() => requirePlaces(wire, { ...settings, STREAM: false }), /STREAM=false: the wire w has neither/);
  requirePlaces(wire, settings);
  requirePlaces({ ...wire, reply: { response: { format: "json", text: "/t" } } }, { ...settings, STREAM: false });
});

test("every ready wire is one, and says of its requests what there is", () => {
  assert.deepEqual(Object.keys(readyWires).sort(), [...readyWireNames].sort());
  const forced = readyWireNames.filter((name) => forces(checkWire(name, readyWires[name])));
  assert.deepEqual(forced, ["sglang", "triton", "llama-completion"]);
  const unnamed = readyWireNames.filter((name) => !namesModel(checkWire(name, readyWires[name])));
  assert.deepEqual(unnamed, ["tgi", "sglang", "llama-completion"]);
});

test("texts are filled, or left out where a value is missing", () => {
  assert.equal(fillText("/m/{{model}}/x", { model: "a" }), "/m/a/x");
  assert.equal(fillText("Key {{api_key}}", { api_key: "" }), undefined);
  assert.equal(fillText("plain", {}), "plain");
});
